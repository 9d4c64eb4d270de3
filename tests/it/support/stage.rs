//! Customers and those who answer them, as support chat and its sockets need them.

use serde_json::json;

use super::server::PASSWORD;
use super::{TestServer, User, sql};

/// A tree with a customer at its end, and people beside it.
pub struct Stage {
    pub srv: TestServer,
    pub admin: User,
    /// First level, above `agent`.
    pub boss: User,
    /// Second level, the parent of `customer`.
    pub agent: User,
    pub customer: User,
    /// A customer of nobody.
    pub stranger: User,
    /// First level of another tree.
    pub rival: User,
    pub editor: User,
}

impl Stage {
    pub async fn set() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(extra: &[(&str, &str)]) -> Self {
        let srv = TestServer::with(extra).await;
        let admin = srv.admin("chief").await;
        let boss = member(&srv, "boss1", "agent_l1", None).await;
        let agent = member(&srv, "agent2", "agent_l2", Some(&boss)).await;
        Stage {
            customer: member(&srv, "customer", "customer", Some(&agent)).await,
            stranger: member(&srv, "stranger", "customer", None).await,
            rival: member(&srv, "rival", "agent_l1", None).await,
            editor: member(&srv, "editor", "editor", None).await,
            srv,
            admin,
            boss,
            agent,
        }
    }

    /// Opens the customer's session.
    pub async fn session(&self) -> i64 {
        open(&self.customer).await
    }
}

/// A user of a kind, somewhere in the tree.
pub async fn member(srv: &TestServer, name: &str, kind: &str, parent: Option<&User>) -> User {
    srv.register(name).await;
    let parent = parent.map_or("NULL".to_owned(), |p| p.id.to_string());
    let set =
        format!("UPDATE users SET user_type = '{kind}', parent_id = {parent} WHERE username = '{name}'");
    sql::execute(srv, &set).await;
    srv.login(name, PASSWORD).await
}

/// Opens a customer's session, new or not.
pub async fn open(customer: &User) -> i64 {
    let reply = customer.client.post("/api/chat/sessions/", json!({})).await;
    assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
    reply.json()["id"].as_i64().expect("id")
}
