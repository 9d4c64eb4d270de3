//! The command line, as processes of their own.

mod accounts;
mod demo;
mod doctor;
mod files;
mod import;
mod jobs;
mod schema;
mod settings;

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{TestServer, database};

/// Where commands run: a folder without a `.env` file, and variables.
struct Shell {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// What a command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Shell {
    /// Without a database; commands make their own in the folder.
    fn bare() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let cheap = [
            ("SQLITE_SYNCHRONOUS", "off"),
            ("ARGON2_MEMORY_KIB", "8"),
            ("ARGON2_ITERATIONS", "1"),
        ];
        Shell {
            folder,
            env: cheap.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }

    /// With a database of the kind under test.
    async fn new() -> Self {
        let mut shell = Self::bare();
        let url = database::fresh(shell.folder.path()).await;
        shell.set("DATABASE_URL", &url);
        shell.set("DATA_DIR", "data");
        shell.set("SECRET_KEY", "f3a91c5e7d2b4860918273645fedcba9f3a91c5e");
        shell
    }

    /// On the same machine as a running server.
    fn beside(server: &TestServer) -> Self {
        Shell {
            folder: tempfile::tempdir().expect("temporary folder"),
            env: server.env.clone(),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    async fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, &[], "").await
    }

    async fn run_with(&self, args: &[&str], env: &[(&str, &str)], stdin: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_yunque"))
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .envs(env.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut input = child.stdin.take().expect("piped");
        // A command that reads nothing may be gone already.
        let _ = input.write_all(stdin.as_bytes()).await;
        drop(input);
        let output = child.wait_with_output().await.expect("an end");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

#[tokio::test]
async fn every_command_has_help_with_an_example() {
    let shell = Shell::bare();
    let groups: [(&str, &[&str]); 5] = [
        ("migrate", &["up", "down", "status", "fresh"]),
        ("apikey", &["create", "list", "revoke"]),
        (
            "user",
            &[
                "list",
                "show",
                "disable",
                "enable",
                "set-password",
                "sessions",
                "revoke-sessions",
                "reset-2fa",
            ],
        ),
        ("jobs", &["list", "show", "retry", "cancel", "purge", "audit"]),
        ("config", &["check", "show", "example"]),
    ];
    let single = [
        "serve",
        "worker",
        "createsuperuser",
        "create-group",
        "openapi",
        "doctor",
        "completions",
        "man",
    ];
    let mut commands: Vec<Vec<&str>> = single.iter().map(|name| vec![*name]).collect();
    commands.push(vec!["openapi", "export"]);
    for (group, members) in groups {
        commands.push(vec![group]);
        commands.extend(members.iter().map(|member| vec![group, *member]));
    }
    for mut args in commands {
        args.push("--help");
        let said = shell.run(&args).await.expect(0);
        assert!(said.out.contains("Example"), "{args:?}: {}", said.out);
    }
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    let shell = Shell::bare();
    for args in [
        &["nonsense"][..],
        &["serve", "--listen", "x"],
        &["jobs", "retry"],
        &["jobs", "cancel", "--all", "--state", "dead"],
    ] {
        let said = shell.run(args).await.expect(2);
        assert!(!said.err.is_empty(), "{args:?}");
    }
    assert!(!shell.folder.path().join("data").exists(), "nothing was opened");
}
