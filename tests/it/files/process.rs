//! `yunque serve` and `yunque worker` as processes of their own, for tests that kill them or look at
//! their memory.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::oss::OssEmulator;
use crate::support::server::PASSWORD;
use crate::support::{Client, database};

/// What a set of processes shares.
pub(crate) struct Site {
    data: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// Running processes. They are killed when dropped.
pub(crate) struct Running {
    pub serve: Child,
    worker: Option<Child>,
    pub client: Client,
}

impl Site {
    pub async fn new(oss: Option<&OssEmulator>) -> Self {
        let data = tempfile::tempdir().expect("temporary folder");
        let url = database::fresh(data.path()).await;
        let mut env: Vec<(String, String)> = [
            ("SECRET_KEY", "f3a91c5e7d2b4860918273645fedcba9f3a91c5e"),
            ("SQLITE_SYNCHRONOUS", "off"),
            ("ARGON2_MEMORY_KIB", "8"),
            ("ARGON2_ITERATIONS", "1"),
            ("UPLOAD_RETRY_BASE", "1s"),
            ("WORKER_HEARTBEAT", "1s"),
            ("WORKER_EXPIRY", "3s"),
            ("JOBS_POLL_INTERVAL", "200ms"),
            ("LOG_LEVEL", "warn"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        env.push(("DATABASE_URL".into(), url));
        env.push(("DATA_DIR".into(), data.path().display().to_string()));
        if let Ok(redis) = std::env::var("TEST_REDIS_URL")
            && !redis.is_empty()
        {
            env.push(("REDIS_URL".into(), redis));
            env.push((
                "REDIS_PREFIX".into(),
                format!("t:{}:", uuid::Uuid::new_v4().simple()),
            ));
        }
        env.extend(oss.map(OssEmulator::env).unwrap_or_default());
        Site { data, env }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yunque"));
        command
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            // Away from any `.env` file.
            .current_dir(self.data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// With Redis workers are processes of their own, except on SQLite.
    pub async fn start(&self, with_worker: bool) -> Running {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        if !with_worker {
            args.push("--no-worker");
        }
        let mut serve = self.command(&args).spawn().expect("the program starts");
        let mut lines = BufReader::new(serve.stdout.take().expect("piped")).lines();
        let address = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                if let Some((_, rest)) = line.split_once("listens on ") {
                    return rest.split_whitespace().next().expect("an address").to_owned();
                }
            }
            panic!("the server ended before it listened");
        };
        let base = tokio::time::timeout(Duration::from_secs(60), address)
            .await
            .expect("listens in time");
        // Whatever it prints later must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let embedded = self
            .value("DATABASE_URL")
            .is_some_and(|u| u.starts_with("sqlite"));
        let separate = with_worker && !embedded && self.value("REDIS_URL").is_some();
        let worker = separate.then(|| {
            self.command(&["worker"])
                .stdout(Stdio::null())
                .spawn()
                .expect("the worker starts")
        });
        Running {
            serve,
            worker,
            client: Client::new(&base),
        }
    }

    /// Empties the carrier, as a flushed Redis would be.
    pub async fn flush_redis(&self) {
        if let (Some(url), Some(prefix)) = (self.value("REDIS_URL"), self.value("REDIS_PREFIX")) {
            super::durability::forget_keys(url, prefix).await;
        }
    }
}

impl Running {
    /// SIGKILL, for all of them.
    pub async fn kill(mut self) {
        for child in [Some(&mut self.serve), self.worker.as_mut()]
            .into_iter()
            .flatten()
        {
            child.kill().await.expect("killed");
        }
    }

    /// A new account, logged in.
    pub async fn account(&self) -> String {
        let body = json!({ "username": "alice", "email": "alice@example.com", "password": PASSWORD });
        self.client.post("/user/register/", body).await.expect(201);
        let body = json!({ "username": "alice", "password": PASSWORD });
        self.client.post("/user/login/", body).await.expect(200)["access"]
            .as_str()
            .expect("access")
            .to_owned()
    }

    /// A line of `/proc/{pid}/status` in KiB.
    pub fn memory_kib(&self, line: &str) -> u64 {
        let pid = self.serve.id().expect("running");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
        let value = status
            .lines()
            .find_map(|l| l.strip_prefix(line))
            .expect("the line");
        value
            .trim_matches([':', ' ', '\t'])
            .split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number")
    }
}
