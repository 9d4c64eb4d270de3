//! Invitations: who gives them, what they open, and how they end.

use std::time::Duration;

use super::*;
use crate::support::server::PASSWORD;

async fn invites(user: &User) -> Vec<Value> {
    let list = user.client.get(INVITES).await.expect(200);
    list_of(&list).clone()
}

async fn answer(user: &User, invite: &Value, how: &str) -> Reply {
    let path = format!("{INVITES}{}/{how}/", id_of(invite));
    user.client.post(&path, json!({})).await
}

#[tokio::test]
async fn an_invitation_opens_a_private_room() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    let body = json!({ "user_ids": [s.bob.id, s.alice.id], "usernames": ["CAROL"] });
    let done = s.alice.client.post(&at(room, "invite/"), body).await.expect(200);
    let mut invited = ids(&done["invited"]);
    invited.sort_unstable();
    assert_eq!(invited, [s.bob.id, s.carol.id]);
    assert_eq!(done["already_members"], json!([u2(&s.alice)]));

    let told = notes_of(&s.bob, "room_invite").await;
    assert_eq!(told.len(), 1, "{told:?}");
    covers(
        &told[0],
        &json!({ "title": "房间邀请：云雀茶馆", "room": { "id": room }, "message": null, "is_read": false }),
    );
    // An invitation is not yet a right to look.
    forbidden(s.bob.client.get(&at(room, "messages/")).await);
    let mine = invites(&s.bob).await;
    assert_eq!(mine.len(), 1, "{mine:?}");
    assert!(mine[0].to_string().contains("云雀茶馆"), "{}", mine[0]);
    answer(&s.bob, &mine[0], "accept").await.expect(200);
    assert_eq!(look(&s.bob, room).await["my_role"], "member");
    assert_eq!(invites(&s.bob).await, Vec::<Value>::new());

    // Joining accepts as well.
    join(&s.carol, room).await;
    assert_eq!(invites(&s.carol).await, Vec::<Value>::new());
    let shown = look(&s.alice, room).await;
    assert_eq!(shown["member_count"], 3);
    let told = history(&s.alice, room).await;
    let texts: Vec<&Value> = told.iter().map(|m| &m["content"]).collect();
    assert_eq!(texts, ["bob 加入了房间", "carol 加入了房间"]);
}

#[tokio::test]
async fn a_declined_invitation_opens_nothing() {
    let s = Stage::set().await;
    let room = create(&s.alice, "group").await;
    invite(&s.alice, room, &s.bob).await.expect(200);
    let mine = invites(&s.bob).await;
    // It is bob's to answer.
    for how in ["accept", "decline"] {
        answer(&s.carol, &mine[0], how).await.refused(404, "not_found");
        answer(&s.alice, &mine[0], how).await.refused(404, "not_found");
    }
    answer(&s.bob, &mine[0], "decline").await.expect(200);
    assert_eq!(invites(&s.bob).await, Vec::<Value>::new());
    s.bob
        .client
        .post(&at(room, "join/"), json!({}))
        .await
        .refused_with(403, "invite_required", "该房间需要邀请才能加入");
    let late = answer(&s.bob, &mine[0], "accept").await;
    assert!((400..500).contains(&late.status), "{}", late.text());
    assert_eq!(look(&s.alice, room).await["member_count"], 1);
    // Being asked again is another invitation.
    invite(&s.alice, room, &s.bob).await.expect(200);
    join(&s.bob, room).await;
}

#[tokio::test]
async fn who_invites_depends_on_the_room() {
    let s = Stage::set().await;
    let (dave, erin) = (s.srv.user("dave").await, s.srv.user("erin").await);
    for (kind, member_may) in [("public", true), ("private", false), ("group", true)] {
        let room = create(&s.alice, kind).await;
        // Strangers never.
        forbidden(invite(&s.carol, room, &dave).await);
        invite(&s.alice, room, &s.bob).await.expect(200);
        join(&s.bob, room).await;
        let reply = invite(&s.bob, room, &dave).await;
        assert_eq!(reply.status == 200, member_may, "{kind}: {}", reply.text());
        if !member_may {
            forbidden(reply);
            set_role(&s.alice, room, &s.bob, "moderator").await.expect(200);
            invite(&s.bob, room, &dave).await.expect(200);
        }
        join(&dave, room).await;
        // Inviting asks nothing of a member but to be one: muted or not, a banned one may not.
        act(&s.alice, room, &s.bob, "ban").await.expect(200);
        forbidden(invite(&s.bob, room, &erin).await);
    }
    let missing = invite(&s.alice, 999_999, &dave).await;
    missing.refused_with(404, "not_found", NO_ROOM);
}

#[tokio::test]
async fn invitations_are_checked() {
    let s = Stage::set().await;
    let path = s.at("invite/");
    let many: Vec<i64> = (1..=51).collect();
    for body in [
        json!({}),
        json!({ "user_ids": [] }),
        json!({ "user_ids": [], "usernames": [] }),
        json!({ "user_ids": many }),
        json!({ "user_ids": "1" }),
        json!({ "usernames": [7] }),
    ] {
        let reply = s.alice.client.post(&path, body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
    }
    let body = json!({ "user_ids": [s.carol.id, 987_654_321], "usernames": ["ghost"] });
    let reply = s.alice.client.post(&path, body).await;
    let text = reply.text();
    reply.expect(400);
    assert!(text.contains("987654321") && text.contains("ghost"), "{text}");
    assert_eq!(invites(&s.carol).await, Vec::<Value>::new(), "all or nothing");
    assert_eq!(notes(&s.carol, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn asking_twice_is_one_invitation() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    for _ in 0..3 {
        invite(&s.alice, room, &s.bob).await.expect(200);
    }
    assert_eq!(invites(&s.bob).await.len(), 1);
    assert_eq!(notes_of(&s.bob, "room_invite").await.len(), 1);
}

#[tokio::test]
async fn an_invitation_into_a_full_room_waits() {
    let s = Stage::set().await;
    let limited = json!({ "room_type": "private", "max_members": 2 });
    let room = id_of(&create_with(&s.alice, limited).await);
    invite(&s.alice, room, &s.carol).await.expect(200);
    admit(&s.alice, room, &s.bob).await;
    let mine = invites(&s.carol).await;
    let full = answer(&s.carol, &mine[0], "accept").await;
    full.refused_with(400, "room_full", "房间已满");
    leave(&s.bob, room).await;
    answer(&s.carol, &mine[0], "accept").await.expect(200);
    assert_eq!(look(&s.carol, room).await["member_count"], 2);
}

#[tokio::test]
async fn an_invitation_ends_after_a_week() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    invite(&s.alice, room, &s.bob).await.expect(200);
    invite(&s.alice, room, &s.carol).await.expect(200);
    let mine = invites(&s.bob).await;
    s.srv.clock.advance(Duration::from_secs(7 * 86_400 - 60));
    let carol = s.srv.login("carol", PASSWORD).await;
    join(&carol, room).await;
    s.srv.clock.advance(Duration::from_secs(120));
    let bob = s.srv.login("bob", PASSWORD).await;
    assert_eq!(invites(&bob).await, Vec::<Value>::new());
    bob.client.post(&at(room, "join/"), json!({})).await.refused_with(
        403,
        "invite_required",
        "该房间需要邀请才能加入",
    );
    answer(&bob, &mine[0], "accept").await.refused(404, "not_found");
    // It does not stand in the way of another one.
    let alice = s.srv.login("alice", PASSWORD).await;
    admit(&alice, room, &bob).await;
}

#[tokio::test]
async fn a_ban_revokes_invitations() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    admit(&s.alice, room, &s.bob).await;
    act(&s.alice, room, &s.bob, "ban").await.expect(200);
    // Nor does an invitation get round it.
    let _ = invite(&s.alice, room, &s.bob).await;
    let reply = s.bob.client.post(&at(room, "join/"), json!({})).await;
    reply.refused_with(403, "banned", "您已被该房间封禁");
    for pending in invites(&s.bob).await {
        let reply = answer(&s.bob, &pending, "accept").await;
        assert!((400..500).contains(&reply.status), "{}", reply.text());
    }
    assert_eq!(look(&s.alice, room).await["member_count"], 1);
}

#[tokio::test]
async fn a_new_room_invites_at_once() {
    let s = Stage::set().await;
    let body = json!({ "room_type": "private", "member_ids": [s.bob.id, s.carol.id] });
    let created = create_with(&s.alice, body).await;
    let room = id_of(&created);
    assert_eq!(created["member_count"], 1, "they are asked first");
    forbidden(s.bob.client.get(&at(room, "")).await);
    assert_eq!(notes_of(&s.bob, "room_invite").await.len(), 1);
    let mine = invites(&s.carol).await;
    answer(&s.carol, &mine[0], "accept").await.expect(200);
    join(&s.bob, room).await;
    assert_eq!(look(&s.alice, room).await["member_count"], 3);
}

#[tokio::test]
async fn an_invitation_into_a_closed_room_opens_nothing() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    invite(&s.alice, room, &s.bob).await.expect(200);
    let mine = invites(&s.bob).await;
    s.alice.client.delete(&at(room, "")).await.expect(204);
    let reply = s.bob.client.post(&at(room, "join/"), json!({})).await;
    reply.refused_with(404, "not_found", NO_ROOM);
    let reply = answer(&s.bob, &mine[0], "accept").await;
    assert!((400..500).contains(&reply.status), "{}", reply.text());
    assert!(invite(&s.alice, room, &s.carol).await.status >= 400);
}
