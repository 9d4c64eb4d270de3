//! `/api/token/` and `/api/users/`: agents, their customers, passwords by mail.

mod avatar;
mod create;
mod deletion;
mod faults;
mod manage;
mod own;
mod reset;
mod reset_limits;
mod roles;
mod scenarios;
mod tokens;
mod tree;

use serde_json::{Value, json};

use crate::support::{Client, Reply, TestServer, User};

pub use crate::accounts::{OTHER_PASSWORD, PASSWORD, answered, api_key, detailed, error, fault_of, lives};

/// A user of `/api/users/` without particulars, as the contract shows it. `parent` is id and name.
pub fn ua(
    id: i64,
    username: &str,
    user_type: &str,
    parent: Option<(i64, &str)>,
    created_at: &Value,
) -> Value {
    json!({
        "id": id, "username": username, "email": format!("{username}@example.com"), "name": "",
        "phone": null, "avatar": null, "user_type": user_type,
        "parent_id": parent.map(|(id, _)| id), "parent_username": parent.map(|(_, name)| name),
        "is_active": true, "created_at": created_at, "display_name": username, "first_name": "",
        "last_name": "",
    })
}

/// A body for any of the operations that make an account.
pub fn newcomer(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

/// The same with one field replaced.
pub fn newcomer_with(field: &str, value: Value) -> Value {
    let mut body = newcomer("somebody");
    body[field] = value;
    body
}

pub async fn token(client: &Client, name: &str, password: &str) -> Reply {
    let body = json!({ "login": name, "password": password });
    client.post("/api/token/", body).await
}

pub async fn sign_in(srv: &TestServer, name: &str, password: &str) -> User {
    let reply = token(&srv.client, name, password).await.expect(200);
    srv.signed_in(&reply, name, password)
}

/// Makes an account by one of the operations and signs it in.
pub async fn made_by(srv: &TestServer, maker: &User, operation: &str, name: &str) -> User {
    let path = format!("/api/users/{operation}/");
    maker.client.post(&path, newcomer(name)).await.expect(201);
    sign_in(srv, name, PASSWORD).await
}

/// Two first-level agents with a sub-agent each, and customers at every place.
pub struct Forest {
    pub srv: TestServer,
    pub admin: User,
    pub agent: User,
    pub sub: User,
    /// Of the agent itself.
    pub own_customer: User,
    /// Of its sub-agent.
    pub customer: User,
    pub other_agent: User,
    pub other_sub: User,
    pub other_customer: User,
}

impl Forest {
    pub async fn grown() -> Self {
        let srv = TestServer::start().await;
        let admin = srv.admin("boss").await;
        let agent = made_by(&srv, &admin, "create_agent", "agent").await;
        let sub = made_by(&srv, &agent, "create_sub_agent", "sub").await;
        let own_customer = made_by(&srv, &agent, "create_customer", "own_customer").await;
        let customer = made_by(&srv, &sub, "create_customer", "customer").await;
        let other_agent = made_by(&srv, &admin, "create_agent", "other_agent").await;
        let other_sub = made_by(&srv, &other_agent, "create_sub_agent", "other_sub").await;
        let other_customer = made_by(&srv, &other_sub, "create_customer", "other_customer").await;
        Forest {
            srv,
            admin,
            agent,
            sub,
            own_customer,
            customer,
            other_agent,
            other_sub,
            other_customer,
        }
    }

    /// An editor, made by the admin out of a customer.
    pub async fn editor(&self) -> User {
        let made = made_by(&self.srv, &self.admin, "create_customer", "editor").await;
        let body = json!({ "user_type": "editor" });
        self.admin.client.patch(&one(&made), body).await.expect(200);
        sign_in(&self.srv, "editor", PASSWORD).await
    }
}

/// The path of a user.
pub fn one(user: &User) -> String {
    format!("/api/users/{}/", user.id)
}

/// The user names of a list, in its order.
#[track_caller]
pub fn names(page: &Value) -> Vec<String> {
    let results = page["results"]
        .as_array()
        .unwrap_or_else(|| panic!("no results: {page}"));
    let name = |user: &Value| user["username"].as_str().expect("a name").to_owned();
    results.iter().map(name).collect()
}

/// The names of a list, sorted.
pub async fn listed(user: &User, path: &str) -> Vec<String> {
    let mut names = names(&user.client.get(path).await.expect(200));
    names.sort_unstable();
    names
}

/// Whether the access token of `user` is still good.
pub async fn is_in(user: &User) -> bool {
    lives(&user.client.get("/api/users/profile/").await)
}

/// Mails to an address once everything due was sent.
pub async fn mails(srv: &TestServer, address: &str) -> Vec<yunque_kernel::mail::SentMail> {
    srv.settle().await;
    srv.app.ctx.mail.outbox().expect("memory").to(address)
}

/// The six digits of the newest reset mail to an address.
pub async fn mailed_code(srv: &TestServer, address: &str) -> String {
    let mails = mails(srv, address).await;
    let newest = mails
        .iter()
        .rev()
        .find(|mail| mail.subject == "重置密码验证码" || mail.subject == "Your password reset code");
    let text = &newest.expect("a reset mail").text;
    let runs = text.split(|c: char| !c.is_ascii_digit());
    let codes: Vec<&str> = runs.filter(|run| run.len() == 6).collect();
    assert_eq!(codes.len(), 1, "{text}");
    codes[0].to_owned()
}

pub const RESET: &str = "/api/users/reset_password/";

/// Asks for a code as the first step does.
pub async fn ask_code(srv: &TestServer, address: &str) {
    let body = json!({ "email": address });
    let reply = srv.client.post(RESET, body).await;
    answered(reply, 200, json!({ "message": "验证码已发送到您的邮箱" }));
}

/// A code that is not this one.
pub fn wrong(code: &str) -> &'static str {
    if code == "000000" { "111111" } else { "000000" }
}

/// A second step.
pub async fn reset_with(srv: &TestServer, address: &str, code: &str) -> Reply {
    let body = json!({ "email": address, "code": code, "new_password": OTHER_PASSWORD });
    srv.client.post(RESET, body).await
}
