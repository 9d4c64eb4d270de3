//! Where values come from. The only place that reads environment variables.

use std::collections::BTreeMap;
use std::path::Path;

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Environment,
    EnvFile,
    CommandLine,
    Default,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Environment => "environment",
            Source::EnvFile => ".env",
            Source::CommandLine => "command line",
            Source::Default => "default",
        }
    }
}

/// The layered variables of one process.
#[derive(Clone, Debug, Default)]
pub struct Env {
    overrides: BTreeMap<String, String>,
    process: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
}

impl Env {
    /// Reads the process environment and `file` (or `./.env` when it exists).
    ///
    /// # Errors
    /// A named file that is missing, or a file with a line that cannot be read.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that reads the environment"
        )]
        let process = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let default = Path::new(".env");
        let file = match file {
            Some(path) => read_file(path)?,
            None if default.exists() => read_file(default)?,
            None => BTreeMap::new(),
        };
        Ok(Env {
            overrides: BTreeMap::new(),
            process,
            file,
        })
    }

    /// Only these values; nothing is read from outside. For tests and for `openapi export`.
    pub fn fixed<K: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (K, V)>) -> Self {
        let process = values.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Env {
            process,
            ..Env::default()
        }
    }

    /// The variables of the file, whether or not something overrides them.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str)
    }

    /// A command-line flag wins over every other source.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.overrides.insert(name.to_owned(), value.into());
    }

    /// The trimmed value and its source; an empty value counts as unset.
    pub fn get(&self, name: &str) -> Option<(&str, Source)> {
        self.find(name)
            .map(|(value, source)| (value.trim(), source))
            .filter(|(value, _)| !value.is_empty())
    }

    /// The value as it is, for passwords: their blanks belong to them. An empty value counts as unset.
    pub fn get_untrimmed(&self, name: &str) -> Option<&str> {
        self.find(name)
            .map(|(value, _)| value)
            .filter(|value| !value.is_empty())
    }

    fn find(&self, name: &str) -> Option<(&str, Source)> {
        [
            (&self.overrides, Source::CommandLine),
            (&self.process, Source::Environment),
            (&self.file, Source::EnvFile),
        ]
        .into_iter()
        .find_map(|(layer, source)| Some((layer.get(name)?.as_str(), source)))
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{place}: {e}"))?;
    // Some editors begin a file with a mark that says only that it is UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let entries: Result<_, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    entries.map_err(|e| match e {
        dotenvy::Error::LineParse(rest, _) => format!("{place}: {}", bad_line(text, &rest)),
        other => format!("{place}: {other}"),
    })
}

/// Where a line cannot be read, without its value, which may be a secret. `rest` is the part that was not understood.
fn bad_line(text: &str, rest: &str) -> String {
    let rest = rest.lines().next().unwrap_or_default();
    let mut lines = text.lines().zip(1..);
    let Some((line, number)) = lines.find(|(line, _)| line.trim_end().ends_with(rest.trim_end())) else {
        return "a quote is not closed".to_owned();
    };
    let name = line.split_once('=').map_or("", |(name, _)| name.trim());
    let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
    let what = if named { name } else { "it" };
    format!(
        "line {number}: {what} cannot be read. A line is NAME=value; put a value with a blank, a $, a # or a quote \
         into single quotes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
        let path = file.path().display().to_string();
        read_file(file.path()).map_err(|e| e.replace(&path, ".env"))
    }

    #[test]
    fn a_file_may_begin_with_a_byte_order_mark() {
        let read = read("\u{feff}APP_ENV=production\nA='x $y #z'\n").expect("readable");
        assert_eq!(read.get("APP_ENV").map(String::as_str), Some("production"));
        assert_eq!(read.get("A").map(String::as_str), Some("x $y #z"));
    }

    #[test]
    fn only_passwords_keep_their_blanks() {
        let env = Env::fixed([("A", "  x y "), ("B", " "), ("C", "")]);
        assert_eq!(env.get("A"), Some(("x y", Source::Environment)));
        assert_eq!(env.get_untrimmed("A"), Some("  x y "));
        assert_eq!((env.get("B"), env.get_untrimmed("B")), (None, Some(" ")));
        assert_eq!((env.get("C"), env.get_untrimmed("C")), (None, None));
    }

    #[test]
    fn a_bad_line_is_named_and_its_value_is_not() {
        for (text, line, name) in [
            (
                "A=1\n\n# x\nSECRET_KEY=my secret key\nB=2\n",
                "line 4",
                "SECRET_KEY",
            ),
            ("A=1\nB=2\nDB_PASSWORD=\"hunter2$\"x y\n", "line 3", "DB_PASSWORD"),
            ("A=1\nhunter2 secret\n", "line 2", "it"),
            ("DB_PASSWORD='hunter2 secret\n", "", ""),
        ] {
            let fault = read(text).expect_err(text);
            assert!(
                fault.starts_with(".env: ") && fault.contains(line) && fault.contains(name),
                "{fault}"
            );
            assert!(
                !fault.contains("secret key") && !fault.contains("hunter2"),
                "{fault}"
            );
        }
    }
}
