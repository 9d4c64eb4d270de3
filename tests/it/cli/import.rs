//! Accounts from a file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Shell;
use crate::support::server::PASSWORD;
use crate::support::{TestServer, sql};

/// As Django stores a password, computed here on its own: the first block of PBKDF2.
fn django(password: &str, salt: &str, iterations: u32) -> String {
    let mac = |data: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).expect("any key");
        mac.update(data);
        mac.finalize().into_bytes().into()
    };
    let mut last = mac(&[salt.as_bytes(), &[0, 0, 0, 1]].concat());
    let mut sum = last;
    for _ in 1..iterations {
        last = mac(&last);
        sum.iter_mut().zip(last).for_each(|(a, b)| *a ^= b);
    }
    format!("pbkdf2_sha256${iterations}${salt}${}", STANDARD.encode(sum))
}

fn file(shell: &Shell, lines: &[Value]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let path = shell.folder.path().join("users.ndjson");
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

fn person(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com") })
}

fn with(mut person: Value, more: Value) -> Value {
    for (field, value) in more.as_object().expect("fields") {
        person[field] = value.clone();
    }
    person
}

#[tokio::test]
async fn imported_people_log_in_with_their_old_passwords_and_get_new_hashes() {
    let server = TestServer::start().await;
    let shell = Shell::beside(&server);
    let stored = django(PASSWORD, "seasalt", 2000);
    let path = file(
        &shell,
        &[
            with(
                person("Imported"),
                json!({ "password": stored, "first_name": "Im", "is_verified": true,
                        "date_joined": "2019-05-01T10:00:00Z" }),
            ),
            with(
                person("asleep"),
                json!({ "password": django(PASSWORD, "s", 10), "is_active": false }),
            ),
            person("without"),
        ],
    );
    let said = shell.run(&["user", "import", &path, "--dry-run"]).await.expect(0);
    assert!(
        said.out
            .contains("3 accounts would be made, 0 were here already, 0 lines refused"),
        "{said:?}"
    );
    shell.run(&["user", "show", "imported"]).await.expect(1);
    let said = shell.run(&["user", "import", &path]).await.expect(0);
    assert!(
        said.out.contains("3 accounts made, 0 were here already"),
        "{said:?}"
    );
    let again = shell
        .run(&["user", "import", &path, "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(again, json!({ "created": 0, "present": 3, "refused": [] }));

    let login = |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        let client = server.client.clone();
        async move { client.post("/user/login/", body).await }
    };
    login("imported", "wrong-horse-8")
        .await
        .refused(401, "invalid_credentials");
    login("asleep", PASSWORD)
        .await
        .refused(401, "invalid_credentials");
    login("without", "!").await.refused(401, "invalid_credentials");
    login("imported@example.com", PASSWORD).await.expect(200);
    let hash = sql::text(
        &server,
        "SELECT password FROM users WHERE username_key = 'imported'",
    )
    .await;
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    login("imported", PASSWORD).await.expect(200);
    let shown = shell
        .run(&["user", "show", "imported", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&shown["date_joined"], &shown["is_verified"], &shown["username"]),
        (&json!("2019-05-01T10:00:00Z"), &json!(true), &json!("Imported"))
    );
}

#[tokio::test]
async fn a_refused_line_is_named_and_keeps_no_other_out() {
    let server = TestServer::start().await;
    let shell = Shell::beside(&server);
    server.user("alice").await;
    let path = file(
        &shell,
        &[
            person("first"),
            with(person("boss"), json!({ "is_staff": true })),
            with(person("md"), json!({ "password": "md5$salt$0123456789abcdef" })),
            with(person("first"), json!({ "email": "other@example.com" })),
            with(person("alice"), json!({ "email": "not-hers@example.com" })),
            with(person("new"), json!({ "email": "ALICE@example.com" })),
            with(person("odd"), json!({ "passwrod": "x" })),
            with(person("a b"), json!({ "email": "ab@example.com" })),
            with(person("late"), json!({ "date_joined": "2999-01-01T00:00:00Z" })),
            json!([1]),
            person("last"),
        ],
    );
    let report = shell
        .run(&["user", "import", &path, "--json"])
        .await
        .expect(1)
        .json();
    assert_eq!((&report["created"], &report["present"]), (&json!(2), &json!(0)));
    let refused = report["refused"].as_array().expect("a list");
    let reasons: Vec<(u64, &str)> = refused
        .iter()
        .map(|fault| {
            let reason = fault["reason"].as_str().expect("text");
            let words = reason.split([':', ' ', ',']).next().expect("a word");
            (fault["line"].as_u64().expect("a line"), words)
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (2, "is_staff"),
            (3, "password"),
            (4, "username"),
            (5, "username"),
            (6, "email"),
            (7, "unknown"),
            (8, "username"),
            (9, "date_joined"),
            (10, "invalid"),
        ]
    );
    let said = shell
        .run(&["user", "import", &path, "--allow-staff"])
        .await
        .expect(1);
    assert!(
        said.out.contains("1 accounts made, 2 were here already"),
        "{said:?}"
    );
    shell.run(&["user", "import", "nowhere.ndjson"]).await.expect(2);
    let boss = shell
        .run(&["user", "show", "boss", "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(boss["user_type"], "admin");
}
