//! `/api/chat/direct/`: a room of two.

use super::*;

async fn direct(user: &User, with: &User) -> Reply {
    user.client.post(DIRECT, json!({ "user_id": with.id })).await
}

#[tokio::test]
async fn a_pair_has_one_room() {
    let s = Stage::set().await;
    let made = direct(&s.alice, &s.bob).await.expect(201);
    has_keys(&made, &RC);
    covers(
        &made,
        &json!({ "room_type": "private", "member_count": 2, "is_active": true, "created_by": u4(&s.alice) }),
    );
    for (one, other) in [(&s.alice, &s.bob), (&s.bob, &s.alice)] {
        let again = direct(one, other).await.expect(200);
        assert_eq!(again["id"], made["id"]);
    }
    let room = id_of(&made);
    for user in [&s.alice, &s.bob] {
        assert_eq!(listed(user, room).await["is_member"], true);
    }
    let sent = say(&s.alice, room, "hi").await;
    assert_eq!(notes(&s.bob, "").await[0]["message"]["id"], sent["id"]);
    let answer = say(&s.bob, room, "hello").await;
    assert_eq!(answer["seq"].as_i64(), sent["seq"].as_i64().map(|n| n + 1));
    assert_ne!(direct(&s.alice, &s.carol).await.expect(201)["id"], made["id"]);
}

#[tokio::test]
async fn nobody_else_comes_in() {
    let s = Stage::set().await;
    let room = id_of(&direct(&s.alice, &s.bob).await.expect(201));
    say(&s.alice, room, "between us").await;
    let reply = s.carol.client.get(&at(room, "messages/")).await;
    reply.refused_with(403, "not_member", DENIED);
    let reply = invite(&s.alice, room, &s.carol).await;
    assert!((400..500).contains(&reply.status), "{}", reply.text());
    forbidden(s.carol.client.post(&at(room, "join/"), json!({})).await);
    let body = json!({ "room_type": "public", "max_members": 10 });
    let _ = s.alice.client.patch(&at(room, ""), body).await;
    forbidden(s.carol.client.get(&at(room, "")).await);
    let shown = look(&s.bob, room).await;
    covers(&shown, &json!({ "room_type": "private", "member_count": 2 }));
}

#[tokio::test]
async fn one_needs_somebody_else_who_exists() {
    let s = Stage::set().await;
    let own = direct(&s.alice, &s.alice).await;
    own.expect(400);
    for id in [json!(999_999), json!(i64::MAX)] {
        let reply = s.alice.client.post(DIRECT, json!({ "user_id": id })).await;
        reply.refused(404, "not_found");
    }
    s.alice
        .client
        .post(DIRECT, json!({}))
        .await
        .faulted("user_id", "该字段是必填项");
    s.alice
        .client
        .post(DIRECT, json!({ "user_id": "bob" }))
        .await
        .faulted("user_id", "类型错误");
}

#[tokio::test]
async fn a_room_of_two_is_in_no_public_list() {
    let s = Stage::set().await;
    let room = id_of(&direct(&s.alice, &s.bob).await.expect(201));
    assert_eq!(listed(&s.carol, room).await, Value::Null);
    let list = s
        .alice
        .client
        .get(&format!("{ROOMS}?scope=public"))
        .await
        .expect(200);
    assert!(!ids(&list).contains(&room), "{list}");
}
