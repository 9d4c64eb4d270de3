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
        [
            (&self.overrides, Source::CommandLine),
            (&self.process, Source::Environment),
            (&self.file, Source::EnvFile),
        ]
        .into_iter()
        .find_map(|(layer, source)| Some((layer.get(name)?.trim(), source)))
        .filter(|(value, _)| !value.is_empty())
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let entries = dotenvy::from_path_iter(path).map_err(|e| format!("{}: {e}", path.display()))?;
    entries
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{}: {e}", path.display()))
}
