//! Who may do what, from outside the rooms: strangers, banned and muted members, groups, keys, platform
//! admins; and what is left of a closed room.

use super::*;
use crate::accounts::api_key;
use crate::sockets::{ended, refused};
use crate::support::{Client, eventually, sql};

/// Everything that is done to a room and its messages, as somebody.
async fn everything(client: &Client, room: i64, message: &Value, member: &User) -> Vec<(String, Reply)> {
    let mut done = Vec::new();
    for rest in ["messages/", "members/", "online/"] {
        done.push((format!("GET {rest}"), client.get(&at(room, rest)).await));
    }
    for rest in ["", "reads/"] {
        let path = message_at(message, rest);
        done.push((format!("GET {path}"), client.get(&path).await));
    }
    for (rest, body) in [
        ("messages/", json!({ "content": "x" })),
        ("read/", json!({})),
        ("invite/", json!({ "user_ids": [member.id] })),
        ("transfer/", json!({ "user_id": member.id })),
    ] {
        done.push((format!("POST {rest}"), client.post(&at(room, rest), body).await));
    }
    for what in ["kick", "mute", "unmute", "ban", "unban"] {
        let path = member_at(room, member, &format!("{what}/"));
        done.push((what.to_owned(), client.post(&path, json!({})).await));
    }
    let path = member_at(room, member, "");
    done.push((
        "PATCH member".into(),
        client.patch(&path, json!({ "role": "admin" })).await,
    ));
    done.push((
        "PATCH me".into(),
        client.patch(&at(room, "me/"), json!({ "notify": "none" })).await,
    ));
    done.push((
        "PATCH room".into(),
        client.patch(&at(room, ""), json!({ "name": "x" })).await,
    ));
    done.push((
        "PUT room".into(),
        client
            .put(&at(room, ""), json!({ "name": "x", "room_type": "public" }))
            .await,
    ));
    done.push(("DELETE room".into(), client.delete(&at(room, "")).await));
    let path = message_at(message, "");
    done.push((
        "PATCH message".into(),
        client.patch(&path, json!({ "content": "x" })).await,
    ));
    done.push(("DELETE message".into(), client.delete(&path).await));
    let path = message_at(message, "delete/");
    done.push(("DELETE message/delete".into(), client.delete(&path).await));
    let path = message_at(message, "read/");
    done.push(("POST message/read".into(), client.post(&path, json!({})).await));
    done
}

async fn state(s: &Stage, room: i64) -> (Value, Vec<Value>) {
    (look(&s.alice, room).await, history(&s.alice, room).await)
}

#[tokio::test]
async fn strangers_do_nothing_in_any_kind_of_room() {
    let s = Stage::set().await;
    for kind in ["public", "private", "group"] {
        let room = create(&s.alice, kind).await;
        admit(&s.alice, room, &s.bob).await;
        let message = say(&s.alice, room, "the secret text").await;
        let before = state(&s, room).await;
        for (what, reply) in everything(&s.carol.client, room, &message, &s.bob).await {
            assert_eq!(reply.status, 403, "{kind} {what}: {}", reply.text());
            assert!(!reply.text().contains("secret"), "{kind} {what}");
            has_keys(&reply.json(), &["error", "code", "detail"]);
        }
        assert_eq!(state(&s, room).await, before, "{kind}");
    }
}

#[tokio::test]
async fn banned_members_do_nothing() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let own = s.say(&s.carol, "my own").await;
    set_role(&s.alice, s.room, &s.carol, "admin").await.expect(200);
    set_role(&s.alice, s.room, &s.carol, "member").await.expect(200);
    act(&s.alice, s.room, &s.carol, "ban").await.expect(200);
    let before = state(&s, s.room).await;
    for (what, reply) in everything(&s.carol.client, s.room, &own, &s.bob).await {
        assert_eq!(reply.status, 403, "{what}: {}", reply.text());
    }
    assert_eq!(state(&s, s.room).await, before);
    assert_ne!(listed(&s.carol, s.room).await["is_member"], true);
    let unread = s.carol.client.get("/api/chat/unread/").await.expect(200);
    assert_eq!(unread["total"], 0);
}

#[tokio::test]
async fn nothing_is_done_without_a_login() {
    let s = Stage::set().await;
    let message = s.say(&s.alice, "the secret text").await;
    let mut done = everything(&s.srv.client, s.room, &message, &s.bob).await;
    for path in [
        ROOMS,
        NOTES,
        INVITES,
        "/api/chat/unread/",
        "/api/chat/messages/search/?q=a",
        "/api/chat/notifications/unread_count/",
        &s.at(""),
    ] {
        done.push((path.to_owned(), s.srv.client.get(path).await));
    }
    for path in [
        s.at("join/"),
        s.at("leave/"),
        DIRECT.to_owned(),
        format!("{NOTES}read_all/"),
        format!("{INVITES}1/accept/"),
    ] {
        done.push((path.clone(), s.srv.client.post(&path, json!({})).await));
    }
    for (what, reply) in done {
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"api\"", "{what}");
        reply.refused_with(401, "not_authenticated", "未提供认证信息");
    }
}

#[tokio::test]
async fn a_closed_room_is_read_by_its_members_and_that_is_all() {
    let s = Stage::set().await;
    let sent = s.say(&s.bob, "kept").await;
    s.alice.client.delete(&s.at("")).await.expect(204);
    for rest in ["", "messages/", "members/"] {
        s.bob.client.get(&s.at(rest)).await.expect(200);
    }
    assert_eq!(message_of(&s.bob, &sent).await["content"], "kept");
    let reply = s.bob.client.post(&s.at("join/"), json!({})).await;
    reply.refused_with(404, "not_found", NO_ROOM);
    assert_eq!(refused(&s.srv, &socket_of(s.room, &s.bob)).await.0, 4410);
    s.carol
        .client
        .get(&s.at("messages/"))
        .await
        .refused_with(403, "not_member", DENIED);
}

#[tokio::test]
async fn a_group_may_be_required() {
    let s = Stage::set().await;
    let (alice, bob) = (s.alice.clone(), s.bob.clone());
    let room = s.room;
    let srv = s.srv.restart_with(&[("CHAT_REQUIRED_GROUP", "developer")]).await;
    let group = yunque_accounts::NewGroup {
        name: "developer".to_owned(),
        members: vec!["alice".to_owned()],
        ..Default::default()
    };
    srv.app.accounts.create_group(group).await.expect("a group");
    let (alice, bob) = (through(&srv, &alice), through(&srv, &bob));
    alice.client.get(ROOMS).await.expect(200);
    say(&alice, room, "for developers").await;
    open(&srv, room, &alice).await;
    for path in [
        ROOMS.to_owned(),
        NOTES.to_owned(),
        at(room, "messages/"),
        "/api/chat/unread/".to_owned(),
    ] {
        let reply = bob.client.get(&path).await;
        reply.refused_with(403, "permission_denied", "权限不足");
    }
    let body = json!({ "name": "x", "room_type": "public" });
    let reply = bob.client.post(ROOMS, body).await;
    reply.refused(403, "permission_denied");
    send(&bob, room, json!({ "content": "x" }))
        .await
        .refused(403, "permission_denied");
    let end = ended(4403, "permission_denied");
    assert_eq!(refused(&srv, &socket_of(room, &bob)).await, end);
    let pushes = format!("/ws/notifications/?token={}", bob.access);
    assert_eq!(refused(&srv, &pushes).await, end);
    let test = srv.client.get("/api/chat/test/").await;
    assert_eq!(test.status, 200, "the page is for anyone");
}

#[tokio::test]
async fn keys_need_the_scope_of_chat() {
    let s = Stage::set().await;
    let key = async |scopes: &[&str]| {
        let key = api_key(&s.srv, &s.bob, scopes).await;
        s.srv.client.with_header("x-api-key", &key)
    };
    let (path, body) = (s.at("messages/"), json!({ "content": "by key" }));
    let reader = key(&["chat:read"]).await;
    reader.get(&path).await.expect(200);
    reader
        .post(&path, body.clone())
        .await
        .refused(403, "insufficient_scope");
    let other = key(&["agents:write", "cloud:write"]).await;
    other.get(&path).await.refused(403, "insufficient_scope");
    let writer = key(&["chat:write"]).await;
    writer.post(&path, body).await.expect(201);
}

#[tokio::test]
async fn platform_admins_read_and_moderate_every_room() {
    let s = Stage::set().await;
    let chief = s.srv.admin("chief").await;
    let room = create(&s.alice, "private").await;
    admit(&s.alice, room, &s.bob).await;
    let sent = say(&s.bob, room, "in private").await;
    let events = format!(
        "SELECT COUNT(*) FROM security_events WHERE user_id = {}",
        chief.id
    );
    let before = sql::number(&s.srv, &events).await;
    covers(
        &look(&chief, room).await,
        &json!({ "id": room, "member_count": 2 }),
    );
    let page = chief.client.get(&at(room, "messages/")).await.expect(200);
    assert_eq!(page["messages"][0]["content"], "in private");
    eventually("the reading is on record", 10, || async {
        sql::number(&s.srv, &events).await > before
    })
    .await;
    act(&chief, room, &s.bob, "mute").await.expect(200);
    send(&s.bob, room, json!({ "content": "x" }))
        .await
        .refused(403, "muted");
    delete(&chief, &sent).await.expect(200);
    assert_eq!(message_of(&s.alice, &sent).await["is_deleted"], true);
    act(&chief, room, &s.bob, "ban").await.expect(200);
    // Without being there.
    assert_eq!(look(&s.alice, room).await["member_count"], 1);
    let members = s.alice.client.get(&at(room, "members/")).await.expect(200);
    assert!(!members.to_string().contains("chief"), "{members}");
}

#[tokio::test]
async fn a_key_of_an_admin_is_one_of_staff_only_with_that_scope() {
    let s = Stage::set().await;
    let chief = s.srv.admin("chief").await;
    let room = create(&s.alice, "private").await;
    say(&s.alice, room, "in private").await;
    let path = at(room, "messages/");
    let plain = api_key(&s.srv, &chief, &["chat:read"]).await;
    let plain = s.srv.client.with_header("x-api-key", &plain);
    let reply = plain.get(&path).await;
    assert!(!reply.text().contains("in private"));
    reply.expect(403);
    let staff = api_key(&s.srv, &chief, &["chat:read", "staff"]).await;
    let staff = s.srv.client.with_header("x-api-key", &staff);
    let page = staff.get(&path).await.expect(200);
    assert_eq!(page["messages"][0]["content"], "in private");
}

#[tokio::test]
async fn whoever_is_gone_is_still_named() {
    let s = Stage::set().await;
    let chief = s.srv.admin("chief").await;
    let sent = s.say(&s.bob, "my last words").await;
    let path = format!("/user/{}/", s.bob.id);
    let gone = chief.client.delete(&path).await;
    assert!(gone.status < 300, "{}", gone.text());
    s.srv.settle().await;
    let shown = message_of(&s.alice, &sent).await;
    has_keys(&shown["sender"], &U4);
    assert_eq!(shown["content"], "my last words");
    assert_ne!(shown["sender"]["username"], "bob");
    is_discreet(&shown.to_string());
}
