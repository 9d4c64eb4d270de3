//! `yunque openapi`: the published document and the error codes, as files that are checked in.
//!
//! Both come from types alone. `--check` is for CI: it names what differs, and guards what clients
//! rely on: an error code stays what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use yunque_kernel::http::openapi::Document;

use super::output;
use crate::app::{self, StartError};

const CODES_FILE: &str = "error-codes.json";
const SOCKETS_FILE: &str = "asyncapi.json";
/// Differences that are listed; more say no more.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: yunque openapi export --check")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write openapi.json, asyncapi.json and error-codes.json
    #[command(
        after_help = "Examples:\n  yunque openapi export\n  yunque openapi export --check\n  \
        yunque openapi export --format yaml --dir /tmp/api"
    )]
    Export {
        /// Write nothing; fail when the files are not what would be written
        #[arg(long)]
        check: bool,
        /// Format of the document
        #[arg(long, value_enum, default_value_t = Format::Json)]
        format: Format,
        /// Folder of the files
        #[arg(long, value_name = "DIR", default_value = "openapi")]
        dir: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Yaml,
}

impl Args {
    pub fn run(self) -> Result<ExitCode, StartError> {
        let Action::Export { check, format, dir } = self.action;
        let document = app::document();
        let (name, text) = match format {
            Format::Json => ("openapi.json", document.json()),
            Format::Yaml => ("openapi.yaml", document.yaml()),
        };
        let files = [
            (dir.join(name), text),
            (dir.join(SOCKETS_FILE), app::socket_document().json()),
            (dir.join(CODES_FILE), app::error_codes()),
        ];
        let problems = document.problems();
        for problem in &problems {
            eprintln!("problem: {problem}");
        }
        let broken = broken_codes(&dir)?;
        for fault in &broken {
            eprintln!("{CODES_FILE}: {fault}");
        }
        let good = if check {
            // Not `all`, which would stop at the first file.
            let wrong = files.iter().map(|(path, text)| is_current(path, text, &document));
            let wrong = wrong
                .collect::<Result<Vec<_>, _>>()?
                .iter()
                .filter(|current| !**current)
                .count();
            wrong == 0 && broken.is_empty()
        } else {
            for (path, text) in &files {
                write(path, text)?;
            }
            true
        };
        Ok(if good && problems.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn write(path: &Path, text: &str) -> Result<(), StartError> {
    if read(path)?.as_deref() == Some(text) {
        output::say(format_args!("{} is current", path.display()));
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|e| failed(path, &e))?;
    output::say(format_args!("{} written", path.display()));
    Ok(())
}

/// Compares a file with what would be written, and tells the difference.
fn is_current(path: &Path, text: &str, document: &Document) -> Result<bool, StartError> {
    let shown = path.display();
    let Some(old) = read(path)? else {
        eprintln!("{shown} is missing. Run: yunque openapi export");
        return Ok(false);
    };
    if old == text {
        output::say(format_args!("{shown} is current"));
        return Ok(true);
    }
    eprintln!("{shown} is out of date. Run: yunque openapi export");
    let differences = match serde_json::from_str::<Value>(&old) {
        Ok(old) if old["openapi"].is_string() => differences(&old, document.value()),
        _ => first_difference(&old, text),
    };
    for line in differences.iter().take(SHOWN) {
        eprintln!("  {line}");
    }
    if differences.len() > SHOWN {
        eprintln!("  and {} more", differences.len() - SHOWN);
    }
    Ok(false)
}

/// What changed between two documents, by operation and schema.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let (was, is) = (parts(old), parts(new));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        match (was.get(name), is.get(name)) {
            (None, _) => lines.push(format!("+ {name}")),
            (_, None) => lines.push(format!("- {name}")),
            (Some(a), Some(b)) if a != b => lines.push(format!("~ {name}")),
            _ => {}
        }
    }
    if lines.is_empty() {
        lines.push("only the order or the format differs".to_owned());
    }
    lines
}

/// `GET /user/`, `schema UserOut`, `info` … and what stands there.
fn parts(document: &Value) -> BTreeMap<String, &Value> {
    let mut parts = BTreeMap::new();
    for (path, item) in entries(&document["paths"]) {
        for (method, operation) in entries(item) {
            parts.insert(format!("{} {path}", method.to_uppercase()), operation);
        }
    }
    for (kind, items) in entries(&document["components"]) {
        for (name, item) in entries(items) {
            let kind = if kind == "schemas" { "schema" } else { kind };
            parts.insert(format!("{kind} {name}"), item);
        }
    }
    for (name, value) in
        entries(document).filter(|(name, _)| !["paths", "components"].contains(&name.as_str()))
    {
        parts.insert(name.clone(), value);
    }
    parts
}

/// The members of an object; none of anything else.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn first_difference(old: &str, new: &str) -> Vec<String> {
    let line = old.lines().zip(new.lines()).take_while(|(a, b)| a == b).count();
    let at = |text: &str| {
        text.lines()
            .nth(line)
            .unwrap_or("(end of file)")
            .trim()
            .to_owned()
    };
    vec![
        format!("line {}:", line + 1),
        format!("- {}", at(old)),
        format!("+ {}", at(new)),
    ]
}

/// Codes of the file that clients may know and that are gone, or answer another status.
fn broken_codes(dir: &Path) -> Result<Vec<String>, StartError> {
    let path = dir.join(CODES_FILE);
    let Some(old) = read(&path)? else {
        return Ok(Vec::new());
    };
    Ok(broken_between(&old, &app::error_codes()))
}

fn broken_between(old: &str, new: &str) -> Vec<String> {
    let (was, is) = (statuses(old), statuses(new));
    let mut faults = Vec::new();
    for (code, old) in was {
        match is.get(&code) {
            None => faults.push(format!("code {code} is gone; clients may rely on it")),
            Some(new) => {
                for status in old.difference(new) {
                    faults.push(format!(
                        "code {code} no longer has status {status}; clients may rely on it"
                    ));
                }
            }
        }
    }
    faults
}

fn statuses(text: &str) -> BTreeMap<String, BTreeSet<u64>> {
    let rows: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    let mut map: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for row in &rows {
        if let (Some(code), Some(status)) = (row["code"].as_str(), row["status"].as_u64()) {
            map.entry(code.to_owned()).or_default().insert(status);
        }
    }
    map
}

fn read(path: &Path) -> Result<Option<String>, StartError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path, &e)),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> StartError {
    StartError::Other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_code_must_neither_vanish_nor_change_its_status() {
        let codes = |rows: &[(&str, u64)]| {
            let rows: Vec<Value> = rows
                .iter()
                .map(|(c, s)| json!({ "code": c, "status": s }))
                .collect();
            Value::from(rows).to_string()
        };
        let old = codes(&[("conflict", 409), ("gone", 410), ("shared", 400), ("shared", 409)]);
        assert!(broken_between(&old, &old).is_empty());
        let more = codes(&[
            ("conflict", 409),
            ("gone", 410),
            ("shared", 400),
            ("shared", 409),
            ("new", 400),
        ]);
        assert!(broken_between(&old, &more).is_empty());
        let faults = broken_between(
            &old,
            &codes(&[("conflict", 400), ("shared", 400), ("shared", 409)]),
        );
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(
            faults[0].contains("conflict no longer has status 409") && faults[1].contains("gone is gone")
        );
        assert!(broken_between("not json", &old).is_empty());
    }

    #[test]
    fn differences_name_operations_and_schemas() {
        let old = json!({ "openapi": "3.0.3", "paths": { "/a/": { "get": { "x": 1 }, "post": {} } },
            "components": { "schemas": { "A": {} } } });
        let new = json!({ "openapi": "3.0.3", "paths": { "/a/": { "get": { "x": 2 } }, "/b/": { "get": {} } },
            "components": { "schemas": { "A": {} } } });
        assert_eq!(differences(&old, &new), ["~ GET /a/", "+ GET /b/", "- POST /a/"]);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), ["line 2:", "- b", "+ c"]);
    }
}
