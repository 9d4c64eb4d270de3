//! The people and things that probes act on.

use base64::Engine as _;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use yunque_kernel::ids::UserId;

use super::table::{Names, Probe};
use crate::support::{Client, Reply, TestServer, User, jwt};

/// A server with an owner of one of everything, a stranger and an admin.
pub struct Stage {
    pub srv: TestServer,
    pub owner: User,
    pub stranger: User,
    pub admin: User,
    pub file: i64,
    /// Of a second session of the owner.
    session: i64,
    /// The owner's support session, and what was said in it.
    support: i64,
    said: i64,
    chat: Chat,
}

/// What the owner has in chat rooms.
struct Chat {
    /// A private room of the owner, and what was said in it.
    room: i64,
    message: i64,
    /// To a room of the admin.
    invite: i64,
    /// Of that invitation.
    notification: i64,
}

impl Chat {
    async fn set(owner: &User, admin: &User) -> Self {
        let id = |value: &Value| value["id"].as_i64().expect("id");
        let private = json!({ "name": "of the owner", "room_type": "private" });
        let room = id(&owner
            .client
            .post("/api/chat/rooms/", private.clone())
            .await
            .expect(201));
        let path = format!("/api/chat/rooms/{room}/messages/");
        let said = json!({ "content": "of the owner" });
        let message = id(&owner.client.post(&path, said).await.expect(201));
        let other = id(&admin.client.post("/api/chat/rooms/", private).await.expect(201));
        let path = format!("/api/chat/rooms/{other}/invite/");
        let whom = json!({ "user_ids": [owner.id] });
        admin.client.post(&path, whom).await.expect(200);
        let first = |list: Value| id(&list[0]);
        Chat {
            room,
            message,
            invite: first(owner.client.get("/api/chat/invites/").await.expect(200)),
            notification: first(owner.client.get("/api/chat/notifications/").await.expect(200)),
        }
    }
}

impl Stage {
    pub async fn set() -> Self {
        let srv = TestServer::start().await;
        let (owner, stranger, admin) = (
            srv.user("owner").await,
            srv.user("stranger").await,
            srv.admin("boss").await,
        );
        let content = base64::engine::general_purpose::STANDARD.encode(b"of the owner");
        let body =
            json!({ "name": "own.txt", "content_type": "text/plain", "size": 12, "file_content": content });
        let file = owner.client.post("/file/", body).await.expect(201)["id"]
            .as_i64()
            .expect("id");
        srv.settle().await;
        let opened = owner
            .client
            .post("/api/chat/sessions/", json!({}))
            .await
            .expect(201);
        let support = opened["id"].as_i64().expect("id");
        let path = format!("/api/chat/sessions/{support}/messages/");
        let sent = owner
            .client
            .post(&path, json!({ "content": "of the owner" }))
            .await;
        let said = sent.expect(201)["id"].as_i64().expect("id");
        let chat = Chat::set(&owner, &admin).await;
        let second = srv.login("owner", &owner.password).await;
        let session = jwt::claims(&second.access)["sid"].as_i64().expect("sid");
        Stage {
            srv,
            owner,
            stranger,
            admin,
            file,
            session,
            support,
            said,
            chat,
        }
    }

    fn target(&self, probe: &Probe) -> (Method, String) {
        let (method, path) = probe.operation.split_once(' ').expect("METHOD /path/");
        let id = match probe.names {
            Names::File => self.file,
            Names::Support => self.support,
            _ => self.owner.id,
        };
        let message = match probe.names {
            Names::Room => self.chat.message,
            _ => self.said,
        };
        let path = path
            .replace("{room_id}", &self.chat.room.to_string())
            .replace("{user_id}", &self.owner.id.to_string())
            .replace("{invite_id}", &self.chat.invite.to_string())
            .replace("{notification_id}", &self.chat.notification.to_string())
            .replace("{id}", &id.to_string())
            .replace("{sid}", &self.session.to_string())
            .replace("{message_id}", &message.to_string())
            .replace("{file}", "0123456789abcdef0123456789abcdef.png");
        assert!(!path.contains('{'), "{}", probe.operation);
        (method.parse().expect("a method"), path)
    }

    pub async fn call(&self, client: &Client, probe: &Probe, body: Option<(&str, &[u8])>) -> Reply {
        let (method, path) = self.target(probe);
        let mut request = client.request(method, &path);
        if let Some((kind, bytes)) = body {
            request = request.header("content-type", kind).body(bytes.to_vec());
        }
        client.send(request).await
    }

    pub async fn key(&self, user: &User, scopes: &[&str]) -> Client {
        let scopes: Vec<String> = scopes.iter().map(|s| (*s).to_owned()).collect();
        let name = format!("k{}", uuid::Uuid::new_v4().simple());
        let key = self
            .srv
            .app
            .accounts
            .create_api_key(UserId(user.id), &name, &scopes, None)
            .await
            .expect("key");
        self.srv.client.with_header("x-api-key", key.text.expose_secret())
    }

    /// Everything of the owner that a stranger could have changed.
    pub async fn belongings(&self) -> Value {
        let get = |path: String| async move { self.owner.client.get(&path).await.expect(200) };
        json!({
            "account": get("/user/profile/".into()).await,
            "files": get("/file/".into()).await,
            "file": get(format!("/file/{}/", self.file)).await,
            "space": get("/file/storage-info/".into()).await,
            "support": get(format!("/api/chat/sessions/{}/", self.support)).await,
            "said": get(format!("/api/chat/sessions/{}/messages/", self.support)).await,
            "room": get(format!("/api/chat/rooms/{}/", self.chat.room)).await,
            "members": get(format!("/api/chat/rooms/{}/members/", self.chat.room)).await,
            "messages": get(format!("/api/chat/rooms/{}/messages/", self.chat.room)).await,
            "invites": get("/api/chat/invites/".into()).await,
            "notifications": get("/api/chat/notifications/".into()).await,
            "sessions": get("/user/sessions/".into()).await.as_array().expect("list").len(),
        })
    }
}
