//! `/user/` and `/user-settings/`: accounts, credentials, sessions. Modules named `auth_…` hold what
//! may differ between databases, with and without Redis.

mod admin;
mod auth_api_tokens;
mod auth_forged;
mod auth_instances;
mod auth_keys;
mod auth_login;
mod auth_revocation;
mod auth_throttle;
mod auth_tokens;
mod deletion;
mod email;
mod own;
mod register;
mod scenarios;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use yunque_kernel::ids::UserId;

use crate::support::{Reply, TestServer, User};

/// An ordinary account as the seed shows it.
pub fn account(id: i64, username: &str, email: &str, display_name: &str) -> Value {
    json!({
        "id": id, "username": username, "email": email, "display_name": display_name, "is_active": true,
        "permission": "user",
    })
}

/// An error without `detail`.
pub fn error(text: &str, code: &str) -> Value {
    json!({ "error": text, "code": code })
}

/// An error of a status that repeats its text as `detail`.
pub fn detailed(text: &str, code: &str) -> Value {
    json!({ "detail": text, "error": text, "code": code })
}

/// Status and whole body.
#[track_caller]
pub fn answered(reply: Reply, status: u16, body: Value) {
    assert_eq!(reply.expect(status), body);
}

/// The text of a fault of one field, whatever else is wrong.
#[track_caller]
pub fn fault_of(reply: Reply, field: &str) -> String {
    let body = reply.refused(400, "validation_error");
    let fault = body["errors"][field][0].as_str();
    fault
        .unwrap_or_else(|| panic!("no fault of {field}: {body}"))
        .to_owned()
}

/// A body for `/user/register/`.
pub fn registration(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

/// The same with one field replaced.
pub fn registration_with(field: &str, value: Value) -> Value {
    let mut body = registration("somebody");
    body[field] = value;
    body
}

pub use crate::support::server::PASSWORD;

/// Another good password.
pub const OTHER_PASSWORD: &str = "staple-battery-8";

/// Makes an API key as the command does.
pub async fn api_key(srv: &TestServer, user: &User, scopes: &[&str]) -> String {
    let scopes: Vec<String> = scopes.iter().map(|s| (*s).to_owned()).collect();
    let name = format!("key-{}", uuid::Uuid::new_v4().simple());
    let key = srv
        .app
        .accounts
        .create_api_key(UserId(user.id), &name, &scopes, None)
        .await;
    key.unwrap_or_else(|e| panic!("{e}"))
        .text
        .expose_secret()
        .to_owned()
}

/// Whether a token opens the profile. Anything but 200 and 401 fails.
#[track_caller]
pub fn lives(reply: &Reply) -> bool {
    match reply.status {
        200 => true,
        401 => false,
        _ => panic!("{} {}", reply.status, reply.text()),
    }
}

/// Whether the access token of `user` is still good.
pub async fn is_in(user: &User) -> bool {
    lives(&user.client.get("/user/profile/").await)
}

/// Whether a refresh token is still good; uses it up.
pub async fn refreshes(srv: &TestServer, refresh: &str) -> bool {
    lives(
        &srv.client
            .post("/user/refresh-token/", json!({ "refresh": refresh }))
            .await,
    )
}

/// A login that must not succeed; returns the whole answer.
pub async fn try_login(srv: &TestServer, name: &str, password: &str) -> Reply {
    srv.client
        .post("/user/login/", json!({ "username": name, "password": password }))
        .await
}
