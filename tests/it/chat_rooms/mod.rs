//! `/api/chat/rooms/…`, `/api/chat/messages/…`, `/api/chat/notifications/…` and their sockets.

mod changes;
mod concurrency;
mod direct;
mod faults;
mod frames;
mod invites;
mod leaving;
mod limits;
mod members;
mod messages;
mod notifications;
mod notified;
mod paging;
mod presence;
mod reads;
mod relay;
mod resume;
mod rights;
mod roles;
mod rooms;
mod scenarios;
mod scenarios_live;
mod search;
mod search_index;
mod sending;
mod sockets;
mod statements;
mod uploads;

use serde_json::{Value, json};

use crate::sockets::{Socket, greeted};
use crate::support::{Reply, TestServer, User, database};

const ROOMS: &str = "/api/chat/rooms/";
const NOTES: &str = "/api/chat/notifications/";
const INVITES: &str = "/api/chat/invites/";
const DIRECT: &str = "/api/chat/direct/";

const DENIED: &str = "无权限访问该房间";
const NO_ROOM: &str = "房间不存在";
const NO_MESSAGE: &str = "消息不存在";
const PLACEHOLDER: &str = "[消息已删除]";

/// Automatic presence would stand between the frames that a test counts.
const QUIET: (&str, &str) = ("CHAT_PRESENCE_BROADCAST", "false");

const U4: [&str; 4] = ["id", "username", "first_name", "last_name"];
const RL: [&str; 12] = [
    "id",
    "name",
    "description",
    "room_type",
    "created_by",
    "member_count",
    "last_message",
    "created_at",
    "is_member",
    "unread_count",
    "is_active",
    "max_members",
];
const RC: [&str; 10] = [
    "id",
    "name",
    "description",
    "room_type",
    "created_by",
    "member_count",
    "is_active",
    "max_members",
    "created_at",
    "updated_at",
];
const RM: [&str; 9] = [
    "id",
    "room",
    "user",
    "role",
    "joined_at",
    "last_read_at",
    "is_muted",
    "is_banned",
    "online",
];
const M: [&str; 16] = [
    "id",
    "room",
    "sender",
    "message_type",
    "content",
    "file_url",
    "file_name",
    "file_size",
    "is_edited",
    "is_deleted",
    "reply_to",
    "created_at",
    "updated_at",
    "seq",
    "client_id",
    "reply_preview",
];
const MF: [&str; 16] = [
    "id",
    "room_id",
    "seq",
    "sender",
    "content",
    "message_type",
    "timestamp",
    "created_at",
    "reply_to",
    "file_url",
    "file_name",
    "file_size",
    "is_edited",
    "is_deleted",
    "updated_at",
    "client_id",
];
const N: [&str; 10] = [
    "id",
    "notification_type",
    "title",
    "content",
    "room",
    "message",
    "is_read",
    "created_at",
    "count",
    "updated_at",
];

/// A public room of alice's with bob in it; carol stands outside.
struct Stage {
    srv: TestServer,
    /// A second server on the same database and Redis.
    far: Option<TestServer>,
    alice: User,
    bob: User,
    carol: User,
    room: i64,
}

impl Stage {
    async fn set() -> Self {
        Self::with(&[]).await
    }

    async fn with(extra: &[(&str, &str)]) -> Self {
        let srv = TestServer::with(extra).await;
        let (alice, bob, carol) = (
            srv.user("alice").await,
            srv.user("bob").await,
            srv.user("carol").await,
        );
        let room = create(&alice, "public").await;
        join(&bob, room).await;
        Stage {
            srv,
            far: None,
            alice,
            bob,
            carol,
            room,
        }
    }

    /// On two servers; `None` when they could share nothing: SQLite belongs to one process, and without Redis
    /// one does not hear the other.
    async fn on_two(extra: &[(&str, &str)]) -> Option<Self> {
        database::server_url()?;
        let mut stage = Self::with(extra).await;
        stage.srv.app.redis.as_ref()?;
        stage.far = Some(stage.srv.sibling().await);
        Some(stage)
    }

    /// The other server, if there are two.
    fn there(&self) -> &TestServer {
        self.far.as_ref().unwrap_or(&self.srv)
    }

    /// A socket here.
    async fn open(&self, user: &User) -> Socket {
        open(&self.srv, self.room, user).await
    }

    /// A socket on the other server, if there are two.
    async fn open_there(&self, user: &User) -> Socket {
        open(self.there(), self.room, user).await
    }

    fn at(&self, rest: &str) -> String {
        at(self.room, rest)
    }

    async fn say(&self, user: &User, text: &str) -> Value {
        say(user, self.room, text).await
    }
}

fn at(room: i64, rest: &str) -> String {
    format!("{ROOMS}{room}/{rest}")
}

fn message_at(message: &Value, rest: &str) -> String {
    format!("/api/chat/messages/{}/{rest}", id_of(message))
}

fn member_at(room: i64, user: &User, rest: &str) -> String {
    format!("{ROOMS}{room}/members/{}/{rest}", user.id)
}

fn socket_of(room: i64, user: &User) -> String {
    format!("/ws/chat/{room}/?token={}", user.access)
}

/// A socket past its greeting.
async fn open(srv: &TestServer, room: i64, user: &User) -> Socket {
    greeted(srv, &socket_of(room, user)).await.0
}

#[track_caller]
fn id_of(object: &Value) -> i64 {
    object["id"].as_i64().unwrap_or_else(|| panic!("an id: {object}"))
}

#[track_caller]
fn list_of(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("a bare array: {value}"))
}

#[track_caller]
fn ids(list: &Value) -> Vec<i64> {
    list_of(list).iter().map(id_of).collect()
}

/// A user with four keys; nobody here has names.
fn u4(user: &User) -> Value {
    json!({ "id": user.id, "username": user.name, "first_name": "", "last_name": "" })
}

fn u2(user: &User) -> Value {
    json!({ "id": user.id, "username": user.name })
}

/// Every key is there; more may be.
#[track_caller]
fn has_keys(object: &Value, keys: &[&str]) {
    let have = object
        .as_object()
        .unwrap_or_else(|| panic!("an object: {object}"));
    for key in keys {
        assert!(have.contains_key(*key), "no {key}: {object}");
    }
}

/// `actual` says everything that `expected` says; objects may say more.
#[track_caller]
fn covers(actual: &Value, expected: &Value) {
    fn find(actual: &Value, expected: &Value) -> Option<String> {
        match (actual, expected) {
            (Value::Object(have), Value::Object(want)) => want.iter().find_map(|(key, value)| {
                let found = have
                    .get(key)
                    .map_or(Some("is missing".to_owned()), |v| find(v, value));
                found.map(|what| format!(".{key} {what}"))
            }),
            (Value::Array(have), Value::Array(want)) if have.len() == want.len() => {
                have.iter().zip(want).find_map(|(a, e)| find(a, e))
            }
            _ if actual == expected => None,
            _ => Some(format!("is {actual}, not {expected}")),
        }
    }
    if let Some(what) = find(actual, expected) {
        panic!("{what}: {actual}");
    }
}

/// Makes a room and returns what is answered.
async fn create_with(owner: &User, changes: Value) -> Value {
    let mut body = json!({ "name": "云雀茶馆", "room_type": "public" });
    for (key, value) in changes.as_object().expect("an object") {
        body[key] = value.clone();
    }
    owner.client.post(ROOMS, body).await.expect(201)
}

async fn create(owner: &User, kind: &str) -> i64 {
    id_of(&create_with(owner, json!({ "room_type": kind })).await)
}

async fn join(user: &User, room: i64) {
    let done = user.client.post(&at(room, "join/"), json!({})).await.expect(200);
    assert_eq!(done["message"], "成功加入房间");
}

async fn leave(user: &User, room: i64) {
    let done = user.client.post(&at(room, "leave/"), json!({})).await.expect(200);
    assert_eq!(done["message"], "成功离开房间");
}

async fn invite(host: &User, room: i64, guest: &User) -> Reply {
    let body = json!({ "user_ids": [guest.id] });
    host.client.post(&at(room, "invite/"), body).await
}

/// Lets somebody into a room that is not public.
async fn admit(host: &User, room: i64, guest: &User) {
    invite(host, room, guest).await.expect(200);
    join(guest, room).await;
}

async fn look(user: &User, room: i64) -> Value {
    user.client.get(&at(room, "")).await.expect(200)
}

/// What a list of rooms says about a room.
async fn listed(user: &User, room: i64) -> Value {
    let list = user
        .client
        .get(&format!("{ROOMS}?page_size=100"))
        .await
        .expect(200);
    let found = list_of(&list).iter().find(|r| id_of(r) == room);
    found.unwrap_or(&Value::Null).clone()
}

async fn send(user: &User, room: i64, body: Value) -> Reply {
    user.client.post(&at(room, "messages/"), body).await
}

async fn say(user: &User, room: i64, text: &str) -> Value {
    send(user, room, json!({ "content": text })).await.expect(201)
}

async fn delete(user: &User, message: &Value) -> Reply {
    user.client.delete(&message_at(message, "delete/")).await
}

async fn edit(user: &User, message: &Value, text: &str) -> Reply {
    let body = json!({ "content": text });
    user.client.patch(&message_at(message, ""), body).await
}

async fn message_of(user: &User, message: &Value) -> Value {
    user.client.get(&message_at(message, "")).await.expect(200)
}

/// All messages of a room, oldest first.
async fn history(user: &User, room: i64) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map_or(0, id_of);
        let path = at(room, &format!("messages/?limit=100&after_id={after}"));
        let page = user.client.get(&path).await.expect(200);
        let page = list_of(&page["messages"]);
        all.extend(page.iter().cloned());
        if page.len() < 100 {
            return all;
        }
    }
}

/// Does something to a member: `kick`, `mute`, `unmute`, `ban` or `unban`.
async fn act(who: &User, room: i64, member: &User, what: &str) -> Reply {
    let path = member_at(room, member, &format!("{what}/"));
    who.client.post(&path, json!({})).await
}

async fn set_role(admin: &User, room: i64, member: &User, role: &str) -> Reply {
    let body = json!({ "role": role });
    admin.client.patch(&member_at(room, member, ""), body).await
}

/// A row of the member list.
async fn member(viewer: &User, room: i64, user: &User) -> Value {
    let list = viewer.client.get(&at(room, "members/")).await.expect(200);
    let found = list_of(&list).iter().find(|m| m["user"]["id"] == user.id);
    found
        .unwrap_or_else(|| panic!("{} is no member: {list}", user.name))
        .clone()
}

/// Own notifications, the newest first; `query` without `?`.
async fn notes(user: &User, query: &str) -> Vec<Value> {
    let list = user.client.get(&format!("{NOTES}?{query}")).await.expect(200);
    list_of(&list).clone()
}

/// Those of one type.
async fn notes_of(user: &User, kind: &str) -> Vec<Value> {
    notes(user, &format!("notification_type={kind}")).await
}

async fn unread(user: &User, room: i64) -> Value {
    listed(user, room).await["unread_count"].clone()
}

/// The same person, spoken to through another server.
fn through(srv: &TestServer, user: &User) -> User {
    User {
        client: srv.client.with_token(&user.access),
        ..user.clone()
    }
}

/// A 403, whatever its reason.
#[track_caller]
fn forbidden(reply: Reply) -> Value {
    let body = reply.expect(403);
    has_keys(&body, &["error", "code", "detail"]);
    body
}

/// No e-mail address is anywhere in it.
#[track_caller]
fn is_discreet(text: &str) {
    assert!(
        !text.contains("@example.com") && !text.contains("\"email\""),
        "{text}"
    );
}

async fn developer(srv: &TestServer) -> User {
    let group = yunque_accounts::NewGroup {
        name: "developer".to_owned(),
        demo_user: Some(yunque_accounts::DemoUser::default()),
        ..Default::default()
    };
    srv.app.accounts.create_group(group).await.expect("a group");
    let body = json!({ "username": "developer", "password": "developer123" });
    let reply = srv.client.post("/api/token/", body).await.expect(200);
    srv.signed_in(&reply, "developer", "developer123")
}
