//! The program under test: where it keeps its data, and its processes.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::Fault;
use crate::client::{Conn, request};

/// Every account has it.
const PASSWORD: &str = "correct-horse-battery";
const START_WITHIN: Duration = Duration::from_secs(20);
/// Limits stay on, as in production, and out of reach.
const LIMITS: &[(&str, &str)] = &[
    ("RATE_LIMIT_USER", "100000000/min"),
    ("RATE_LIMIT_ANONYMOUS", "100000000/min"),
    ("RATE_LIMIT_REGISTER", "100000000/h"),
    ("RATE_LIMIT_FILE_CREATE", "100000000/min"),
    ("RATE_LIMIT_CHAT_SEND", "100000000/min"),
    ("RATE_LIMIT_CHAT_BURST", "1000000"),
    ("WS_FRAME_RATE", "100000000/min"),
];

/// The servers to test on.
#[derive(Clone, Debug, clap::Args)]
pub struct Peers {
    /// The release build of yunque
    #[arg(long, value_name = "FILE")]
    pub yunque: PathBuf,
    /// A MariaDB account that may create databases
    #[arg(long, value_name = "URL")]
    pub mariadb: Option<String>,
    /// A Redis of our own
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// A folder with bullmq in node_modules
    #[arg(long, value_name = "DIR")]
    pub bullmq: Option<PathBuf>,
    /// A folder with ws and bun in node_modules
    #[arg(long, value_name = "DIR")]
    pub sockets: Option<PathBuf>,
    /// Where data folders are made; a real disk
    #[arg(long, value_name = "DIR", default_value = "/tmp")]
    pub scratch: PathBuf,
}

/// The database of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// SQLite; jobs in the process.
    Embedded,
    /// MariaDB and Redis; workers apart.
    Servers,
}

impl Size {
    pub fn name(self) -> &'static str {
        match self {
            Size::Embedded => "SQLite",
            Size::Servers => "MariaDB",
        }
    }
}

/// A fresh installation: a data folder, a database, settings.
pub struct Place {
    pub database: String,
    pub redis: Option<String>,
    binary: PathBuf,
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Place {
    /// # Errors
    /// The database cannot be made.
    pub async fn fresh(peers: &Peers, size: Size) -> Result<Self, Fault> {
        let folder = TempDir::with_prefix_in("yunque-load-", &peers.scratch)?;
        let mut env: Vec<(String, String)> = LIMITS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let data = folder.path().join("data");
        env.push(("DATA_DIR".to_owned(), data.display().to_string()));
        let mut redis = None;
        let database = match size {
            Size::Embedded => format!("sqlite://{}", data.join("yunque.db").display()),
            Size::Servers => {
                let base = peers.mariadb.as_deref().ok_or("this scenario needs --mariadb")?;
                let name = format!("load_{}", uuid::Uuid::new_v4().simple());
                let admin = Database::connect(quiet(base)).await?;
                admin
                    .execute_unprepared(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
                    .await?;
                admin.close().await?;
                let (server, _) = base.rsplit_once('/').ok_or("--mariadb has no database")?;
                let url = format!("{server}/{name}");
                redis = Some(peers.redis.clone().ok_or("this scenario needs --redis")?);
                env.push(("DATABASE_URL".to_owned(), url.clone()));
                env.push((
                    "SECRET_KEY".to_owned(),
                    "load test, not a secret of anybody".repeat(2),
                ));
                env.push(("REDIS_URL".to_owned(), redis.clone().unwrap_or_default()));
                url
            }
        };
        let place = Place {
            database,
            redis,
            binary: peers.yunque.clone(),
            folder,
            env,
        };
        if size == Size::Servers {
            place.yunque(&["migrate", "up"]).await?;
        }
        Ok(place)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command of the program to its end.
    async fn yunque(&self, arguments: &[&str]) -> Result<(), Fault> {
        let done = self.command(arguments).output().await?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned().into()),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .kill_on_drop(true);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&self, arguments: &[&str], log: &str) -> Result<Child, Fault> {
        let log = std::fs::File::create(self.folder.path().join(log))?;
        let mut command = self.command(arguments);
        Ok(command.stdout(Stdio::null()).stderr(log).spawn()?)
    }

    /// `yunque serve`, answering.
    ///
    /// # Errors
    /// It does not answer soon.
    pub async fn serve(&self, arguments: &[&str]) -> Result<Server, Fault> {
        let address = free_address()?;
        let listen = address.to_string();
        let log = format!("serve-{}.log", address.port());
        let begun = Instant::now();
        let child = self.start(&[&["serve", "--listen", &listen], arguments].concat(), &log)?;
        let mut server = Server {
            child,
            address,
            started_in: Duration::ZERO,
        };
        let probe = request("GET", "/healthz", None, None);
        loop {
            if let Ok(mut conn) = Conn::open(address, 0).await
                && conn.exchange(&probe).await.is_ok_and(|status| status == 200)
            {
                server.started_in = begun.elapsed();
                return Ok(server);
            }
            if begun.elapsed() > START_WITHIN || server.child.try_wait()?.is_some() {
                let log = std::fs::read_to_string(self.folder.path().join(log)).unwrap_or_default();
                return Err(format!("yunque serve did not start:\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// `yunque worker`.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn worker(&self, number: usize) -> Result<Server, Fault> {
        let child = self.start(&["worker"], &format!("worker{number}.log"))?;
        // It has no port to ask; a worker that is late only costs the run.
        tokio::time::sleep(Duration::from_millis(700)).await;
        Ok(Server {
            child,
            address: free_address()?,
            started_in: Duration::ZERO,
        })
    }

    /// A connection of our own to the same database.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn connect(&self) -> Result<DatabaseConnection, Fault> {
        Ok(connect(&self.database, 1).await?)
    }
}

fn quiet(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false);
    options
}

/// A plain pool, as a program without any of ours would open it. SQLite's promises are the same: the
/// file is in WAL mode already, and the default is to sync each commit.
///
/// # Errors
/// The database does not answer.
pub async fn connect(url: &str, size: u32) -> Result<DatabaseConnection, sea_orm::DbErr> {
    let mut options = quiet(url);
    options
        .max_connections(size)
        .min_connections(1)
        .test_before_acquire(false);
    Database::connect(options).await
}

/// Plain SQL with values.
pub fn sql(backend: DbBackend, text: &str, values: impl IntoIterator<Item = sea_orm::Value>) -> Statement {
    Statement::from_sql_and_values(backend, text, values)
}

/// A port that nobody listens on.
///
/// # Errors
/// There is none.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A running process. It ends with this value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From its start to its first answer.
    pub started_in: Duration,
}

impl Server {
    /// Bytes of a line of `/proc/PID/status`, such as `VmRSS`.
    ///
    /// # Errors
    /// The process is gone.
    pub fn memory(&self, line: &str) -> Result<u64, Fault> {
        let status = std::fs::read_to_string(self.proc("status")?)?;
        let found = status
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
        let kib: u64 = found
            .and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok())
            .ok_or("no such line")?;
        Ok(kib * 1024)
    }

    /// Forgets the highest memory use so far.
    ///
    /// # Errors
    /// The process is gone.
    pub fn reset_peak(&self) -> Result<(), Fault> {
        Ok(std::fs::write(self.proc("clear_refs")?, "5")?)
    }

    fn proc(&self, file: &str) -> Result<PathBuf, Fault> {
        let id = self.child.id().ok_or("the process has ended")?;
        Ok(format!("/proc/{id}/{file}").into())
    }

    /// Tells it to stop and waits.
    ///
    /// # Errors
    /// It did not stop well.
    pub async fn stop(mut self) -> Result<(), Fault> {
        let id = self.child.id().ok_or("the process has ended by itself")?;
        Command::new("kill")
            .arg("-TERM")
            .arg(id.to_string())
            .status()
            .await?;
        let status = tokio::time::timeout(Duration::from_secs(40), self.child.wait()).await??;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the process ended with {status}").into()),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.ask("POST", path, None, Some(&body.to_string())).await
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Result<Value, Fault> {
        let mut conn = Conn::open(self.address, 0).await?;
        let status = conn.exchange(&request(method, path, token, body)).await?;
        match status {
            200..300 => Ok(serde_json::from_slice(conn.body())?),
            _ => {
                let text = String::from_utf8_lossy(conn.body());
                Err(format!("{method} {path}: {status} {text}").into())
            }
        }
    }

    /// Registers an account and logs it in.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn account(&self, number: usize) -> Result<Account, Fault> {
        let name = format!("load{number}");
        let new = json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD });
        let made = self.post("/user/register/", &new).await?;
        let login = json!({ "username": name, "password": PASSWORD });
        let tokens = self.post("/user/login/", &login).await?;
        Ok(Account {
            id: made["id"].as_i64().ok_or("no id")?,
            token: tokens["access"].as_str().ok_or("no token")?.to_owned(),
            login: request("POST", "/user/login/", None, Some(&login.to_string())).into(),
        })
    }

    /// # Errors
    /// As [`Server::account`].
    pub async fn accounts(&self, n: usize) -> Result<Vec<Account>, Fault> {
        futures_util::stream::iter((0..n).map(|number| self.account(number)))
            .buffered(4)
            .try_collect()
            .await
    }
}

/// A registered user.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: i64,
    pub token: String,
    /// The request that logs in.
    pub login: Arc<[u8]>,
}
