//! Reads typed settings and collects every fault.

use secrecy::SecretString;

use super::{Env, FromSetting, Setting, Source};

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    pub name: String,
    pub problem: String,
    pub remedy: String,
}

/// All wrong settings of a start; exit code 2.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub struct ConfigFaults(pub Vec<ConfigFault>);

fn list(faults: &[ConfigFault]) -> String {
    let lines = faults
        .iter()
        .map(|f| format!("{}: {}. {}", f.name, f.problem, f.remedy));
    lines.collect::<Vec<_>>().join("\n")
}

/// One setting as it is in force, for `config show` and `.env.example`.
#[derive(Clone, Debug)]
pub struct SettingView {
    pub setting: Setting,
    /// The heading it stands under; see [`Reader::section`].
    pub section: &'static str,
    /// `***` for secrets, `None` when unset.
    pub value: Option<String>,
    pub source: Source,
}

/// Reads settings out of an [`Env`].
pub struct Reader<'a> {
    env: &'a Env,
    section: &'static str,
    faults: Vec<ConfigFault>,
    warnings: Vec<String>,
    seen: Vec<SettingView>,
}

impl<'a> Reader<'a> {
    pub fn new(env: &'a Env) -> Self {
        Reader {
            env,
            section: "",
            faults: Vec::new(),
            warnings: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Settings that are read from now on stand under this heading.
    pub fn section(&mut self, name: &'static str) -> &mut Self {
        self.section = name;
        self
    }

    /// The value of a setting that has a default. A fault yields the default, so that reading
    /// goes on and finds the other faults.
    pub fn get<T: FromSetting>(&mut self, setting: &Setting) -> T {
        match self.optional(setting) {
            Some(value) => value,
            None => T::from_setting(setting.default)
                .unwrap_or_else(|e| unreachable!("default of {} is valid: {e}", setting.name)),
        }
    }

    /// The value of a setting that may be unset. A default that is not empty counts as set.
    pub fn optional<T: FromSetting>(&mut self, setting: &Setting) -> Option<T> {
        let (text, _) = self.look(setting)?;
        match T::from_setting(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                let shown = if setting.secret { "***" } else { text.as_str() };
                self.fault(
                    setting,
                    format!("{shown:?} {problem}"),
                    format!("Example: {}.", T::EXAMPLE),
                );
                None
            }
        }
    }

    /// The value of a setting with a default, for which zero makes no sense.
    pub fn above_zero<T: FromSetting + Default + PartialEq>(&mut self, setting: &Setting) -> T {
        let value: T = self.get(setting);
        if value == T::default() {
            let example = format!("Example: {}.", setting.default);
            self.fault(setting, "must be more than zero", example);
        }
        value
    }

    pub fn secret(&mut self, setting: &Setting) -> Option<SecretString> {
        self.look(setting).map(|(text, _)| SecretString::from(text))
    }

    /// Whether somebody set this, as opposed to the default.
    pub fn is_set(&self, setting: &Setting) -> bool {
        self.env.get(setting.name).is_some()
    }

    pub fn fault(&mut self, setting: &Setting, problem: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(ConfigFault {
            name: setting.name.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// Something risky that does not stop the start.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn look(&mut self, setting: &Setting) -> Option<(String, Source)> {
        let found = match self.env.get(setting.name) {
            Some((text, source)) => Some((text.to_owned(), source)),
            None if setting.default.is_empty() => None,
            None => Some((setting.default.to_owned(), Source::Default)),
        };
        if !self.seen.iter().any(|v| v.setting.name == setting.name) {
            self.seen.push(SettingView {
                setting: *setting,
                section: self.section,
                value: found.as_ref().map(|(t, _)| {
                    if setting.secret {
                        "***".to_owned()
                    } else {
                        t.clone()
                    }
                }),
                source: found.as_ref().map_or(Source::Default, |(_, s)| *s),
            });
        }
        found
    }

    /// What was read, in order.
    pub fn seen(&self) -> &[SettingView] {
        &self.seen
    }

    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Hands the finished settings on, unless something was wrong.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn finish<T>(self, settings: T) -> Result<(T, Vec<SettingView>, Vec<String>), ConfigFaults> {
        if self.faults.is_empty() {
            Ok((settings, self.seen, self.warnings))
        } else {
            Err(ConfigFaults(self.faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::Seconds;

    const LISTEN: Setting = Setting::new("LISTEN", "127.0.0.1:8000", "address");
    const WAIT: Setting = Setting::new("WAIT", "5s", "wait");
    const KEY: Setting = Setting::secret("KEY", "key");

    #[test]
    fn all_faults_are_collected_and_name_their_variable() {
        let env = Env::fixed([("LISTEN", "nowhere"), ("WAIT", "soon")]);
        let mut r = Reader::new(&env);
        let _: SocketAddr = r.get(&LISTEN);
        let _: Seconds = r.get(&WAIT);
        let faults = r.finish(()).expect_err("two faults").0;
        assert_eq!(
            faults.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
            ["LISTEN", "WAIT"]
        );
    }

    #[test]
    fn secrets_are_masked_and_empty_values_are_unset() {
        let env = Env::fixed([("KEY", "hunter2hunter2"), ("WAIT", "  ")]);
        let mut r = Reader::new(&env);
        assert!(r.secret(&KEY).is_some());
        assert_eq!(r.get::<Seconds>(&WAIT).0.as_secs(), 5);
        assert_eq!(r.seen()[0].value.as_deref(), Some("***"));
    }
}
