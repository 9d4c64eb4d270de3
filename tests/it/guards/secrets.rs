//! Secrets never leave: a real server with the chattiest log goes through everything that touches
//! them, then its log, its database and every answer are searched.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::json;

use crate::support::{Client, eventually};

const PASSWORD: &str = "canary-Password-one";
const SECOND: &str = "canary-Password-two";
const WRONG: &str = "canary-Password-wrong";
const SAID: &str = "canary-words-in-a-chat";
const SECRET_KEY: &str = "canary7d2b4860918273645fedcba9f3a91c5e0b1d";

/// Ends with the test, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn yunque(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yunque"));
    command
        .env_clear()
        .current_dir(data)
        .env("DATA_DIR", data)
        .env("SECRET_KEY", SECRET_KEY)
        .env("ARGON2_MEMORY_KIB", "8")
        .env("ARGON2_ITERATIONS", "1")
        .env("MAIL_BACKEND", "file")
        .env("LOG_FORMAT", "json")
        .env("LOG_LEVEL", "trace");
    command
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("address").port()
}

#[tokio::test]
async fn no_secret_reaches_the_log_the_database_or_an_answer() {
    let data = tempfile::tempdir().expect("folder");
    let port = free_port();
    let log = data.path().join("server.log");
    let file = std::fs::File::create(&log).expect("log file");
    let server = yunque(data.path())
        .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("handle"))
        .stderr(file)
        .spawn()
        .expect("the server starts");
    let server = Server(server);
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    eventually("the server answers", 30, || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;

    let mut secrets: Vec<String> = [PASSWORD, SECOND, WRONG, SECRET_KEY].map(str::to_owned).into();
    let mut answers = String::new();
    let mut note = |reply: &crate::support::Reply| {
        if !(200..300).contains(&reply.status) {
            answers.push_str(&format!("{:?} {}\n", reply.headers, reply.text()));
        }
    };

    let register = json!({ "username": "alice", "email": "alice@example.com", "password": PASSWORD });
    client
        .with_header("idempotency-key", "one")
        .post("/user/register/", register.clone())
        .await
        .expect(201);
    note(&client.post("/user/register/", register).await);
    note(
        &client
            .post(
                "/user/register/",
                json!({ "username": "b", "email": PASSWORD, "password": [PASSWORD] }),
            )
            .await,
    );
    note(
        &client
            .post("/user/login/", json!({ "username": "alice", "password": WRONG }))
            .await,
    );
    note(
        &client
            .post("/user/login/", json!({ "username": {}, "password": WRONG }))
            .await,
    );
    let broken = client
        .request(reqwest::Method::POST, "/user/login/")
        .header("content-type", "application/json");
    note(
        &client
            .send(broken.body(format!("{{\"password\":\"{WRONG}\"")))
            .await,
    );
    let login = client
        .post(
            "/user/login/",
            json!({ "username": "alice", "password": PASSWORD }),
        )
        .await
        .expect(200);
    let (access, first) = (
        login["access"].as_str().unwrap(),
        login["refresh"].as_str().unwrap(),
    );
    let me = client.with_token(access);
    me.get("/user/profile/").await.expect(200);
    over_sockets(port, &me, access).await;
    note(&client.get(&format!("/user/profile/?token={access}")).await);
    note(&client.get(&format!("/user/{access}/")).await);
    let pair = client
        .post("/user/refresh-token/", json!({ "refresh": first }))
        .await
        .expect(200);
    let second = pair["refresh"].as_str().unwrap();
    let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
    note(&me.post("/user/change-password/", change(WRONG, SECOND)).await);
    me.post("/user/change-password/", change(PASSWORD, SECOND))
        .await
        .expect(200);
    let body = json!({ "name": "a.txt", "content_type": "text/plain", "size": 21, "file_content": "Y2FuYXJ5LWZpbGUtY29udGVudHM=" });
    let upload = me.post("/file/", body).await;
    note(&upload);
    let key = yunque(data.path())
        .env("LOG_LEVEL", "warn")
        .args(["apikey", "create", "alice", "--name", "canary"])
        .output()
        .expect("the command runs");
    let text = String::from_utf8_lossy(&key.stdout).trim().to_owned();
    assert!(text.starts_with("ak_"), "{key:?}");
    let by_key = client.with_header("x-api-key", &text);
    by_key.get("/user/profile/").await.expect(200);
    client.with_token(&text).get("/user/profile/").await.expect(200);
    note(&by_key.post("/user/logout/", json!({})).await);
    note(
        &client
            .with_header("x-api-key", &format!("{text}x"))
            .get("/user/profile/")
            .await,
    );
    note(
        &client
            .post("/user/refresh-token/", json!({ "refresh": first }))
            .await,
    );
    for token in [first, access] {
        let (check, exchange) = (json!({ "token": token }), json!({ "refresh": token }));
        note(&client.post("/api/token/verify/", check).await);
        note(&client.post("/api/token/refresh/", exchange).await);
    }
    note(&me.get("/user/profile/").await);
    secrets.extend(
        [
            access,
            first,
            second,
            pair["access"].as_str().unwrap(),
            text.as_str(),
        ]
        .map(str::to_owned),
    );
    secrets.extend([
        "canary-file-contents".to_owned(),
        "Y2FuYXJ5LWZpbGUtY29udGVudHM".to_owned(),
    ]);
    // What was put off is written by then.
    tokio::time::sleep(Duration::from_millis(1500)).await;

    let logged = std::fs::read_to_string(&log).expect("the log");
    assert!(
        logged.contains("\"level\""),
        "the log was captured: {logged:.300}"
    );
    assert!(!logged.contains(SAID), "what people say is nobody's business");
    let dump = dump(data.path()).await;
    assert!(dump.contains("alice@example.com"), "the dump is one");
    let mails = folder(&data.path().join("mail"));
    for secret in &secrets {
        // A signature alone is as good as the token it belongs to for whoever has the rest.
        let signature = secret.rsplit('.').next().unwrap_or(secret);
        for (place, text) in [
            ("log", &logged),
            ("database", &dump),
            ("answers", &answers),
            ("mails", &mails),
        ] {
            for needle in [secret.as_str(), signature] {
                if let Some(at) = text.find(needle) {
                    let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
                    panic!("{needle:.16}… is in the {place}: {:.400}", &text[from..]);
                }
            }
        }
    }
    drop(server);
}

/// Hands the token over in every way that a socket takes it, and says something.
async fn over_sockets(port: u16, me: &Client, access: &str) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let session = me.post("/api/chat/sessions/", json!({})).await.expect(201);
    let base = format!("ws://127.0.0.1:{port}/ws/chat/sessions/{}/", session["id"]);
    let (bearer, listed) = (format!("Bearer {access}"), format!("bearer, {access}"));
    for (query, header) in [
        (format!("?token={access}"), None),
        (format!("?token={access}x"), None),
        (String::new(), Some(("authorization", bearer.as_str()))),
        (String::new(), Some(("sec-websocket-protocol", listed.as_str()))),
    ] {
        let mut request = format!("{base}{query}").into_client_request().expect("a request");
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().expect("value"));
        }
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("upgraded");
        for frame in [
            json!({ "type": "chat_message", "content": SAID }),
            json!({ "type": "auth", "token": access }),
            json!({ "type": "auth", "token": format!("{access}x") }),
            json!({ "type": SAID, "client_id": SAID }),
        ] {
            let _ = socket.send(Message::text(frame.to_string())).await;
        }
        let _ = socket.send(Message::text(format!("{{{SAID}"))).await;
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// Every cell of every table that is text or can be read as text.
async fn dump(data: &Path) -> String {
    let file = std::fs::read_dir(data)
        .expect("folder")
        .filter_map(Result::ok)
        .map(|e| e.path());
    let file = file.into_iter().find(|p| {
        p.extension()
            .is_some_and(|e| e == "db" || e == "sqlite" || e == "sqlite3")
    });
    let file = file.expect("a database file in the data folder");
    let conn = Database::connect(format!("sqlite://{}?mode=ro", file.display()))
        .await
        .expect("database");
    let backend = conn.get_database_backend();
    let all = |sql: String| {
        let conn = conn.clone();
        async move {
            conn.query_all_raw(Statement::from_string(backend, sql))
                .await
                .expect("rows")
        }
    };
    let mut text = String::new();
    for table in all("SELECT name FROM sqlite_master WHERE type = 'table'".into()).await {
        let table: String = table.try_get_by_index(0).expect("a name");
        let columns = all(format!("SELECT name FROM pragma_table_info('{table}')")).await;
        for column in columns {
            let column: String = column.try_get_by_index(0).expect("a name");
            // The staged file itself is of course its content.
            if table.starts_with("staged") {
                continue;
            }
            let sql =
                format!("SELECT CAST(\"{column}\" AS TEXT) FROM \"{table}\" WHERE \"{column}\" IS NOT NULL");
            for row in all(sql).await {
                let cell: String = row.try_get_by_index(0).unwrap_or_default();
                text.push_str(&format!("{table}.{column}: {}\n", cell.replace('\n', " ")));
            }
        }
    }
    text
}

/// All files of a folder, one after the other; empty when there is none.
fn folder(path: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(path) else {
        return String::new();
    };
    let read = |entry: std::fs::DirEntry| std::fs::read(entry.path()).unwrap_or_default();
    let parts = entries.filter_map(Result::ok).map(read);
    parts
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}
