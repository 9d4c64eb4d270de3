//! Leaving, and who inherits the room.

use super::*;
use crate::sockets::{ended, refused};
use crate::support::sql;

#[tokio::test]
async fn leaving_is_told_once_and_may_be_repeated() {
    let s = Stage::set().await;
    leave(&s.bob, s.room).await;
    leave(&s.bob, s.room).await;
    leave(&s.carol, s.room).await;
    let told: Vec<Value> = history(&s.alice, s.room).await;
    let texts: Vec<&Value> = told.iter().map(|m| &m["content"]).collect();
    assert_eq!(texts, ["bob 加入了房间", "bob 离开了房间"]);
    covers(
        &told[1],
        &json!({ "message_type": "system", "sender": u4(&s.bob) }),
    );
    assert_eq!(look(&s.alice, s.room).await["member_count"], 1);
    s.bob
        .client
        .get(&s.at("messages/"))
        .await
        .refused_with(403, "not_member", DENIED);
    let path = at(s.room + 1000, "leave/");
    let reply = s.bob.client.post(&path, json!({})).await;
    reply.refused_with(404, "not_found", NO_ROOM);
    assert_eq!(notes(&s.alice, "").await, Vec::<Value>::new(), "no notification");
}

#[tokio::test]
async fn leaving_ends_the_socket() {
    let s = Stage::set().await;
    let mut socket = s.open(&s.bob).await;
    leave(&s.bob, s.room).await;
    assert_eq!(socket.end().await.0, 4403);
    assert_eq!(
        refused(&s.srv, &socket_of(s.room, &s.bob)).await,
        ended(4403, "not_member")
    );
}

#[tokio::test]
async fn the_longest_serving_moderator_inherits_before_any_member() {
    let s = Stage::set().await;
    let mut others = Vec::new();
    for name in ["dave", "erin"] {
        let user = s.srv.user(name).await;
        join(&user, s.room).await;
        others.push(user);
    }
    join(&s.carol, s.room).await;
    // The later one was made moderator first: service counts from joining.
    for user in [&s.carol, &others[1]] {
        set_role(&s.alice, s.room, user, "moderator").await.expect(200);
    }
    leave(&s.alice, s.room).await;
    let role = async |user: &User| look(user, s.room).await["my_role"].clone();
    assert_eq!(role(&others[1]).await, "admin");
    assert_eq!(role(&s.carol).await, "moderator");
    assert_eq!(role(&s.bob).await, "member");
    leave(&others[1], s.room).await;
    assert_eq!(role(&s.carol).await, "admin");
    leave(&s.carol, s.room).await;
    assert_eq!(role(&s.bob).await, "admin", "then the longest-serving member");
    assert_eq!(role(&others[0]).await, "member");
}

#[tokio::test]
async fn who_cannot_log_in_inherits_only_when_nobody_else_is_left() {
    let s = Stage::set().await;
    let admin = s.srv.admin("boss").await;
    join(&s.carol, s.room).await;
    let dave = s.srv.user("dave").await;
    join(&dave, s.room).await;
    set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
    let switch = async |user: &User, is_active: bool| {
        let path = format!("/user/{}/", user.id);
        let body = json!({ "is_active": is_active });
        admin.client.patch(&path, body).await.expect(200);
    };
    // The longest-serving moderator, and the member after him.
    switch(&s.bob, false).await;
    switch(&s.carol, false).await;
    leave(&s.alice, s.room).await;
    let role = async |user: &User| member(&admin, s.room, user).await["role"].clone();
    assert_eq!(role(&dave).await, "admin", "the only one who can do anything");
    assert_eq!(role(&s.bob).await, "moderator");

    // Among those who are away, the order is the same.
    leave(&dave, s.room).await;
    assert_eq!(role(&s.bob).await, "admin");
    assert_eq!(role(&s.carol).await, "member");
}

#[tokio::test]
async fn an_heir_is_found_behind_many_who_are_away() {
    let s = Stage::with(&[("RATE_LIMIT_ENABLED", "false")]).await;
    leave(&s.bob, s.room).await;
    let more = json!({ "max_members": 100 });
    s.alice.client.patch(&s.at(""), more).await.expect(200);
    let away = (0..60).map(|n| {
        let s = &s;
        async move {
            let user = s.srv.user(&format!("away{n}")).await;
            join(&user, s.room).await;
            user.id.to_string()
        }
    });
    let away = futures_util::future::join_all(away).await.join(", ");
    join(&s.carol, s.room).await;
    let gone = format!("UPDATE users SET is_active = FALSE WHERE id IN ({away})");
    sql::execute(&s.srv, &gone).await;
    leave(&s.alice, s.room).await;
    assert_eq!(look(&s.carol, s.room).await["my_role"], "admin");
}

#[tokio::test]
async fn an_admin_who_leaves_others_behind_hands_nothing_on() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    set_role(&s.alice, s.room, &s.carol, "admin").await.expect(200);
    leave(&s.alice, s.room).await;
    assert_eq!(look(&s.bob, s.room).await["my_role"], "member");
    assert_eq!(look(&s.carol, s.room).await["my_role"], "admin");
}

#[tokio::test]
async fn a_banned_member_inherits_nothing() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    leave(&s.alice, s.room).await;
    assert_eq!(look(&s.carol, s.room).await["my_role"], "admin");
    leave(&s.carol, s.room).await;
    // Nobody is left who counts.
    let late = s.alice.client.post(&s.at("join/"), json!({})).await;
    late.refused_with(404, "not_found", NO_ROOM);
}

#[tokio::test]
async fn the_last_member_closes_the_room() {
    let s = Stage::set().await;
    leave(&s.bob, s.room).await;
    leave(&s.alice, s.room).await;
    for who in [&s.alice, &s.bob, &s.carol] {
        assert_eq!(listed(who, s.room).await, Value::Null);
        let reply = who.client.post(&s.at("join/"), json!({})).await;
        reply.refused_with(404, "not_found", NO_ROOM);
    }
}

#[tokio::test]
async fn a_creator_who_left_is_a_stranger() {
    let s = Stage::set().await;
    let room = create(&s.alice, "group").await;
    admit(&s.alice, room, &s.bob).await;
    leave(&s.alice, room).await;
    assert_eq!(look(&s.bob, room).await["my_role"], "admin");
    assert_eq!(listed(&s.alice, room).await, Value::Null);
    s.alice
        .client
        .get(&at(room, ""))
        .await
        .refused_with(403, "not_member", DENIED);
    forbidden(
        s.alice
            .client
            .patch(&at(room, ""), json!({ "name": "mine" }))
            .await,
    );
    forbidden(s.alice.client.delete(&at(room, "")).await);
    let reply = s.alice.client.post(&at(room, "join/"), json!({})).await;
    reply.refused_with(403, "invite_required", "该房间需要邀请才能加入");
}

#[tokio::test]
async fn leaving_and_coming_back_does_not_end_a_mute() {
    let s = Stage::set().await;
    act(&s.alice, s.room, &s.bob, "mute").await.expect(200);
    leave(&s.bob, s.room).await;
    join(&s.bob, s.room).await;
    assert_eq!(member(&s.alice, s.room, &s.bob).await["is_muted"], true);
    let path = s.at("messages/");
    let sent = s.bob.client.post(&path, json!({ "content": "again" })).await;
    sent.refused(403, "muted");
    act(&s.alice, s.room, &s.bob, "unmute").await.expect(200);
    s.bob
        .client
        .post(&path, json!({ "content": "again" }))
        .await
        .expect(201);
}
