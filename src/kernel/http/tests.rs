//! A small API behind the real layers on a real socket.

mod bodies;
mod client;
mod envelope;
mod idempotent;
mod limits;
mod sockets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use poem::{FromRequest, IntoResponse, Request};
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, Object, OpenApi, SecurityScheme, auth::Bearer};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use client::{Answer, read_all};

use super::*;
use crate::clock::Clock;
use crate::db::{Db, DbKind, DbSettings, SqliteSync, Tx};
use crate::error::{ApiError, common};
use crate::ids::UserId;

#[derive(Debug, Object)]
struct HttpThingIn {
    #[oai(validator(min_length = 1, max_length = 20))]
    name: String,
    size: i64,
}

#[derive(Debug, Object)]
struct HttpThing {
    id: i64,
    name: String,
}

#[derive(Debug, Object)]
struct HttpLogin {
    username: String,
    code: Option<i64>,
}

#[derive(Debug, Enum)]
#[oai(rename_all = "lowercase")]
enum HttpColour {
    Red,
}

#[derive(Debug, Object)]
struct HttpParts {
    file: super::body::FilePart,
    path: Option<String>,
}

/// Knows one token, `good`, of user 7.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", checker = "check")]
struct HttpCaller(#[expect(dead_code, reason = "only its presence counts")] UserId);

async fn check(request: &Request, bearer: Bearer) -> poem::Result<UserId> {
    if bearer.token != "good" {
        return Err(ApiError::from(common::TOKEN_INVALID).into());
    }
    charge_user(request, UserId(7))?;
    Ok(UserId(7))
}

#[derive(Clone)]
struct TestApi {
    idempotency: Idempotency,
    limits: Limits,
    runs: Arc<AtomicUsize>,
}

#[OpenApi]
impl TestApi {
    #[oai(path = "/things", method = "post", operation_id = "create_thing")]
    async fn create(&self, body: Body<HttpThingIn>) -> Result<Created<HttpThing>, ApiError> {
        Ok(Created(HttpThing {
            id: 1,
            name: body.into_inner().name,
        }))
    }

    #[oai(path = "/things", method = "get", operation_id = "list_things")]
    async fn list(
        &self,
        info: RequestInfo,
        page: Query<Option<i64>>,
        page_size: Query<Option<i64>>,
        colour: Query<Option<HttpColour>>,
    ) -> Result<Listed<HttpThing>, ApiError> {
        let _ = colour;
        let page = PageQuery::of(page.0, page_size.0, 20)?;
        Ok(Listed::new(
            vec![HttpThing {
                id: 1,
                name: "名".into(),
            }],
            45,
            page,
            &info,
        ))
    }

    #[oai(path = "/things/:id", method = "get", operation_id = "get_thing")]
    async fn get(&self, id: Path<i64>) -> Result<Json<HttpThing>, ApiError> {
        Ok(Json(HttpThing {
            id: id.0,
            name: "名".into(),
        }))
    }

    #[oai(path = "/things/:id", method = "delete", operation_id = "delete_thing")]
    async fn delete(&self, _id: Path<i64>) -> Result<NoContent, ApiError> {
        Ok(NoContent)
    }

    #[oai(path = "/panic", method = "get", operation_id = "panic")]
    async fn panic(&self) -> Result<NoContent, ApiError> {
        panic!("secret words");
    }

    #[oai(path = "/broken", method = "get", operation_id = "broken")]
    async fn broken(&self) -> Result<NoContent, ApiError> {
        Err(ApiError::internal("SELECT * FROM secrets"))
    }

    #[oai(path = "/slow", method = "get", operation_id = "slow")]
    async fn slow(&self) -> Result<NoContent, ApiError> {
        tokio::time::sleep(Duration::from_millis(600)).await;
        Ok(NoContent)
    }

    #[oai(path = "/large", method = "get", operation_id = "large")]
    async fn large(&self) -> Result<Json<String>, ApiError> {
        Ok(Json("x".repeat(32 << 20)))
    }

    #[oai(path = "/secure", method = "get", operation_id = "secure")]
    async fn secure(&self, _caller: HttpCaller) -> Result<NoContent, ApiError> {
        Ok(NoContent)
    }

    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(&self, body: FormOrJson<HttpLogin>) -> Result<Json<String>, ApiError> {
        let login = body.into_inner();
        Ok(Json(format!("{} {:?}", login.username, login.code)))
    }

    #[oai(path = "/raw", method = "put", operation_id = "put_raw")]
    async fn raw(&self, body: RawBody<{ 3 << 20 }>) -> Result<Json<u64>, ApiError> {
        use futures_util::StreamExt;
        let (stream, fault) = body.into_stream();
        let mut stream = std::pin::pin!(stream);
        let mut total = 0;
        while let Some(chunk) = stream.next().await {
            total += chunk.map_err(|_| fault.explain())?.len() as u64;
        }
        Ok(Json(total))
    }

    #[oai(path = "/parts", method = "post", operation_id = "post_parts")]
    async fn parts(&self, mut body: MultipartBody<HttpParts, { 1 << 20 }>) -> Result<Json<String>, ApiError> {
        let mut seen = String::new();
        while let Some(part) = body.next().await? {
            match part.name() {
                Some("path") => seen.push_str(&body.text(part, 10).await?),
                Some("file") => {
                    let mut bytes = part.into_async_read();
                    let read = tokio::io::copy(&mut bytes, &mut tokio::io::sink()).await;
                    let size = read.map_err(|e| body.fault().explain().caused_by(e))?;
                    seen.push_str(&format!(" {size}"));
                }
                _ => {}
            }
        }
        Ok(Json(seen))
    }

    #[oai(path = "/mail", method = "post", operation_id = "mail")]
    async fn mail(&self, body: Body<HttpLogin>) -> Result<NoContent, ApiError> {
        self.limits
            .strict(Bucket::ResetMail, &body.value.username)
            .await?;
        Ok(NoContent)
    }

    #[oai(path = "/once", method = "post", operation_id = "once")]
    async fn once(
        &self,
        info: RequestInfo,
        body: Body<HttpThingIn>,
    ) -> Result<Replayable<Created<HttpThing>>, ApiError> {
        let (input, digest) = body.into_parts();
        let scope = Scope::address(&info)?;
        self.idempotency
            .run(scope, digest, |claim| self.make(input, claim))
            .await
    }
}

impl TestApi {
    /// What a service does: its work and the stored answer in one transaction.
    async fn make(&self, input: HttpThingIn, claim: Claim) -> Result<Created<HttpThing>, ApiError> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        match input.name.as_str() {
            "refused" => return Err(common::CONFLICT.into()),
            "down" => return Err(ApiError::unavailable("down")),
            "slow" => tokio::time::sleep(Duration::from_millis(1500)).await,
            _ => {}
        }
        let thing = Arc::new((run as i64, input.name));
        let stored = thing.clone();
        let work = move |tx: Tx| {
            let (claim, stored) = (claim.clone(), stored.clone());
            async move {
                claim
                    .store(&tx, 201, &serde_json::json!({"id": stored.0, "name": stored.1}))
                    .await
            }
        };
        self.idempotency_db()
            .write::<_, ApiError, _, _>("test", move |tx| {
                let work = work(tx);
                async move { work.await.map_err(ApiError::from) }
            })
            .await?;
        Ok(Created(HttpThing {
            id: thing.0,
            name: thing.1.clone(),
        }))
    }

    fn idempotency_db(&self) -> Db {
        self.idempotency.db().clone()
    }
}

struct TestServer {
    addr: SocketAddr,
    clock: Clock,
    runs: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

pub(crate) async fn database(dir: &std::path::Path) -> Db {
    let settings = DbSettings {
        kind: DbKind::Sqlite,
        url: SecretString::from(format!("sqlite://{}", dir.join("test.db").display())),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(5),
        sqlite_sync: SqliteSync::Off,
    };
    let db = Db::connect(&settings).await.expect("database");
    use sea_orm::ConnectionTrait;
    for table in [
        "CREATE TABLE idempotency_keys (scope_hash text primary key, body_hash text not null, status integer, body text, \
         owner text not null, locked_until timestamp_with_timezone_text not null, created_at timestamp_with_timezone_text not null)",
        "CREATE TABLE strict_limits (bucket text primary key, hits text not null, expires_at timestamp_with_timezone_text not null)",
    ] {
        db.writer().execute_unprepared(table).await.expect("table");
    }
    db
}

/// Sends every frame back.
async fn echo(request: Request) -> poem::Result<poem::Response> {
    use futures_util::StreamExt;
    let socket = poem::web::websocket::WebSocket::from_request_without_body(&request).await?;
    let upgraded = socket.on_upgrade(|stream| async move {
        let (sink, frames) = stream.split();
        frames.forward(sink).await.ok();
    });
    Ok(upgraded.into_response())
}

impl TestServer {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(values: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let db = database(dir.path()).await;
        let settings = Arc::new(HttpSettings::for_tests(values));
        let clock = Clock::default();
        let limits = Limits::new(settings.limits.clone(), clock.clone(), db.clone(), None);
        let runs = Arc::new(AtomicUsize::new(0));
        let idempotency = Idempotency::new(db, clock.clone(), b"key");
        let api = TestApi {
            idempotency,
            limits: limits.clone(),
            runs: runs.clone(),
        };
        let info = openapi::Info {
            title: "T".into(),
            version: "1".into(),
            description: "D".into(),
            server: "/".into(),
        };
        let document = openapi::Document::of::<TestApi>(&info, &[]);
        let deps = HttpDeps {
            settings: settings.clone(),
            clock: clock.clone(),
            limits,
            observer: Arc::new(()),
            memory: settings.body_memory(),
        };
        let app = AppBuilder::new(deps)
            .api(api)
            .route(poem::http::Method::GET, "/ws/", poem::endpoint::make(echo))
            .route(
                poem::http::Method::GET,
                "/healthz",
                poem::endpoint::make_sync(|_| "ok"),
            )
            .document(move || document.clone())
            .build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let addr = listener.local_addr().expect("address");
        let shutdown = CancellationToken::new();
        let serving = {
            let (settings, shutdown) = (settings.clone(), shutdown.clone());
            crate::task::spawn(async move { serve(app, listener, &settings, shutdown).await })
        };
        TestServer {
            addr,
            clock,
            runs,
            shutdown,
            serving,
            _dir: dir,
        }
    }
}
