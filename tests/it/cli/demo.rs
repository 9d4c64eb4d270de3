//! The test account of the seed documents: everybody knows its password.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Said, Shell};
use crate::support::Client;

const MAKE: [&str; 4] = ["create-group", "developer", "--demo-user", "--json"];
const FORCE: [&str; 6] = [
    "create-group",
    "developer",
    "--demo-user",
    "--force",
    "--password-stdin",
    "--json",
];
/// Where others could use the account, with what production asks for besides.
const PRODUCTION: [(&str, &str); 3] = [
    ("APP_ENV", "production"),
    ("ARGON2_MEMORY_KIB", "19456"),
    ("ARGON2_ITERATIONS", "2"),
];
const REACHABLE: [(&str, &str); 1] = [("LISTEN", "0.0.0.0:0")];

impl Shell {
    async fn show(&self) -> Value {
        let said = self.run(&["user", "show", "developer", "--json"]).await;
        said.expect(0).json()
    }

    /// A server that runs until it is dropped, and a client of it.
    async fn serve(&self, args: &[&str], env: &[(&str, &str)]) -> (Child, Client) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_yunque"))
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .envs(env.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.expect("listens in time").expect("readable").expect("a line");
        let (_, rest) = line.split_once("listens on ").expect("the first line");
        let base = rest.split_whitespace().next().expect("an address");
        let port = base.rsplit(':').next().expect("a port");
        let client = Client::new(&format!("http://127.0.0.1:{port}"));
        (child, client)
    }
}

/// Only one server at a time has the data folder.
async fn ended(mut server: Child) {
    server.kill().await.expect("killed");
}

async fn login(client: &Client, password: &str) -> crate::support::Reply {
    let body = json!({ "login": "developer", "password": password });
    client.post("/api/token/", body).await
}

#[track_caller]
fn refused(said: Said) {
    let said = said.expect(2);
    assert!(
        said.err.contains("password that everybody knows") && said.err.contains("Run: ")
            || said.err.contains("Make it with another one: yunque create-group"),
        "{said:?}"
    );
    assert_eq!(said.out, "");
}

#[tokio::test]
async fn it_is_made_once_as_an_ordinary_customer() {
    let shell = Shell::new().await;
    let first = shell.run(&MAKE).await.expect(0);
    let report = first.json();
    assert_eq!(
        (&report["demo_user_created"], &report["added"]),
        (&json!(true), &json!(["developer"]))
    );
    let before = shell.show().await;
    assert_eq!(
        (&before["user_type"], &before["is_staff"], &before["email"]),
        (&json!("customer"), &json!(false), &json!("developer@example.com"))
    );
    let second = shell.run(&MAKE).await.expect(0);
    assert!(second.err.contains("keeps its password"), "{second:?}");
    let report = second.json();
    assert_eq!(
        (&report["demo_user_created"], &report["added"], &report["is_new"]),
        (&json!(false), &json!([]), &json!(false))
    );
    assert_eq!(shell.show().await, before);
    // A member of further groups, still the same account.
    let other = shell
        .run(&["create-group", "testers", "--demo-user", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&other["is_new"], &other["demo_user_created"], &other["added"]),
        (&json!(true), &json!(false), &json!(["developer"]))
    );
}

#[tokio::test]
async fn it_is_not_made_where_others_can_reach_it() {
    let shell = Shell::new().await;
    for open in [&PRODUCTION[..], &REACHABLE] {
        refused(shell.run_with(&MAKE, open, "").await);
        let unforced: Vec<&str> = FORCE.iter().copied().filter(|arg| *arg != "--force").collect();
        refused(shell.run_with(&unforced, open, "granite-Owl-52\n").await);
        refused(shell.run_with(&FORCE, open, "developer123\n").await);
    }
    let without_password = ["create-group", "developer", "--demo-user", "--force"];
    shell.run_with(&without_password, &REACHABLE, "").await.expect(2);
    for (args, open) in [
        (
            &["serve", "--demo", "--listen", "127.0.0.1:0"][..],
            &PRODUCTION[..],
        ),
        (&["serve", "--demo", "--listen", "0.0.0.0:0"], &[]),
        (&["serve", "--demo", "--listen", "[::]:0"], &[]),
        (&["serve", "--demo"], &REACHABLE),
    ] {
        refused(shell.run_with(args, open, "").await);
    }
    shell.run(&["user", "show", "developer"]).await.expect(1);
}

#[tokio::test]
async fn forced_it_has_another_password_and_servers_run_with_it() {
    let shell = Shell::new().await;
    let made = shell.run_with(&FORCE, &PRODUCTION, "granite-Owl-52\n").await;
    assert_eq!(made.expect(0).json()["demo_user_created"], true);
    let (server, client) = shell.serve(&["serve", "--listen", "0.0.0.0:0"], &[]).await;
    login(&client, "granite-Owl-52").await.expect(200);
    login(&client, "developer123").await.expect(401);
    ended(server).await;
    let (_server, client) = shell
        .serve(&["serve", "--listen", "127.0.0.1:0"], &PRODUCTION)
        .await;
    login(&client, "granite-Owl-52").await.expect(200);
}

#[tokio::test]
async fn an_account_that_was_there_keeps_its_password() {
    let shell = Shell::new().await;
    shell.run(&MAKE).await.expect(0);
    let set = ["user", "set-password", "developer", "--password-stdin"];
    shell.run_with(&set, &[], "plum-Kettle-64\n").await.expect(0);
    shell.run(&MAKE).await.expect(0);
    let forced = shell.run_with(&FORCE, &REACHABLE, "granite-Owl-52\n").await;
    assert!(forced.expect(0).err.contains("keeps its password"));
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0"];
    let (_server, client) = shell.serve(&demo, &[]).await;
    login(&client, "plum-Kettle-64").await.expect(200);
    for other in ["developer123", "granite-Owl-52"] {
        login(&client, other).await.expect(401);
    }
}

#[tokio::test]
async fn serve_demo_makes_it_and_it_logs_in() {
    let shell = Shell::new().await;
    let demo = ["serve", "--demo", "--listen", "127.0.0.1:0"];
    for _ in 0..2 {
        let (server, client) = shell.serve(&demo, &[]).await;
        let user = login(&client, "developer123").await.expect(200)["user"].clone();
        assert_eq!(
            (&user["user_type"], &user["first_name"], &user["last_name"]),
            (&json!("customer"), &json!("Developer"), &json!("User"))
        );
        ended(server).await;
    }
}

#[tokio::test]
async fn a_server_that_others_can_reach_does_not_start_with_the_public_password() {
    let shell = Shell::new().await;
    shell.run(&MAKE).await.expect(0);
    let open = [
        (&["serve", "--listen", "127.0.0.1:0"][..], &PRODUCTION[..]),
        (&["serve", "--listen", "0.0.0.0:0"], &[]),
    ];
    for (args, env) in open {
        let said = shell.run_with(args, env, "").await;
        assert!(
            said.err.contains("yunque user set-password developer"),
            "{said:?}"
        );
        refused(said);
    }
    // Not an account that can be used.
    shell.run(&["user", "disable", "developer"]).await.expect(0);
    for (args, env) in open {
        ended(shell.serve(args, env).await.0).await;
    }
    shell.run(&["user", "enable", "developer"]).await.expect(0);
    refused(shell.run(open[1].0).await);
    let set = ["user", "set-password", "developer", "--password-stdin"];
    shell.run_with(&set, &[], "another one\n").await.expect(0);
    for (args, env) in open {
        ended(shell.serve(args, env).await.0).await;
    }
    let report = shell.run(&["doctor", "--json"]).await.expect(0).json();
    let checks = report["checks"].as_array().expect("checks");
    let demo = checks.iter().find(|c| c["check"] == "demo account");
    assert_eq!(demo.expect("looked at")["status"], "ok");
}

#[tokio::test]
async fn whose_address_is_taken_is_told() {
    let shell = Shell::new().await;
    let flags = [
        "createsuperuser",
        "--username",
        "root",
        "--email",
        "developer@example.com",
        "--password-stdin",
    ];
    shell.run_with(&flags, &[], "correct horse\n").await.expect(0);
    let said = shell.run(&MAKE).await.expect(1);
    assert!(said.err.contains("developer@example.com"), "{said:?}");
}
