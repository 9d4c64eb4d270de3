//! `…/members/`: who is in a room, and what is done to them.

use std::time::Duration;

use yunque_kernel::clock::rfc3339;

use super::*;
use crate::support::eventually;

#[tokio::test]
async fn members_are_listed_in_the_order_they_came() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    set_role(&s.alice, s.room, &s.carol, "moderator")
        .await
        .expect(200);
    let reply = s.bob.client.get(&s.at("members/")).await;
    assert_eq!(reply.header("x-total-count"), "3");
    assert_eq!(reply.header("x-page-size"), "100");
    let list = reply.expect(200);
    let expected = [(&s.alice, "admin"), (&s.bob, "member"), (&s.carol, "moderator")];
    assert_eq!(list_of(&list).len(), expected.len());
    for (row, (user, role)) in list_of(&list).iter().zip(expected) {
        has_keys(row, &RM);
        covers(
            row,
            &json!({
                "room": { "id": s.room, "name": "云雀茶馆" }, "user": u4(user), "role": role, "is_muted": false,
                "is_banned": false, "online": false,
            }),
        );
        assert!(row["joined_at"].as_str().unwrap().ends_with('Z'), "{row}");
    }
    let of = async |query: &str| {
        let list = s
            .bob
            .client
            .get(&s.at(&format!("members/?{query}")))
            .await
            .expect(200);
        let names: Vec<String> = list_of(&list)
            .iter()
            .map(|m| m["user"]["username"].as_str().unwrap().to_owned())
            .collect();
        names
    };
    assert_eq!(of("role=moderator").await, ["carol"]);
    assert_eq!(of("role=member").await, ["bob"]);
    assert_eq!(of("search=ARO").await, ["carol"]);
    assert_eq!(of("search=nobody").await, Vec::<String>::new());
    assert_eq!(of("page=2&page_size=2").await, ["carol"]);
    assert_eq!(of("page=9").await, Vec::<String>::new());
    let _socket = s.open(&s.carol).await;
    eventually("carol is online", 5, || async {
        of("online=true").await == ["carol"] && of("online=false").await == ["alice", "bob"]
    })
    .await;
    assert_eq!(member(&s.alice, s.room, &s.carol).await["online"], true);
    for (query, field, text) in [
        ("role=owner", "role", "无效的选项"),
        ("page_size=101", "page_size", "数值超出范围"),
    ] {
        let reply = s.bob.client.get(&s.at(&format!("members/?{query}"))).await;
        reply.faulted(field, text);
    }
    s.bob
        .client
        .get(&at(s.room + 1000, "members/"))
        .await
        .refused_with(404, "not_found", NO_ROOM);
}

#[tokio::test]
async fn strangers_see_no_members_even_of_a_public_room() {
    let s = Stage::set().await;
    for rest in ["members/", "messages/", "online/"] {
        let reply = s.carol.client.get(&s.at(rest)).await;
        reply.refused_with(403, "not_member", DENIED);
    }
}

#[tokio::test]
async fn a_kicked_member_may_come_back() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    let done = act(&s.alice, s.room, &s.bob, "kick").await.expect(200);
    assert_eq!(done["message"], "成员已移出房间");
    assert_eq!(bob.end().await.0, 4403);
    let system = alice.message().await;
    covers(
        &system,
        &json!({ "message_type": "system", "content": "bob 被移出房间" }),
    );
    assert_eq!(look(&s.alice, s.room).await["member_count"], 1);
    send(&s.bob, s.room, json!({ "content": "x" }))
        .await
        .refused_with(403, "not_member", DENIED);
    let told = notes_of(&s.bob, "system").await;
    assert_eq!(told.len(), 1, "{told:?}");
    // Nobody to kick any more.
    act(&s.alice, s.room, &s.bob, "kick")
        .await
        .refused(404, "not_found");
    join(&s.bob, s.room).await;
    assert_eq!(look(&s.bob, s.room).await["my_role"], "member");
}

#[tokio::test]
async fn a_kicked_member_of_a_private_room_needs_another_invitation() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    admit(&s.alice, room, &s.bob).await;
    act(&s.alice, room, &s.bob, "kick").await.expect(200);
    let reply = s.bob.client.post(&at(room, "join/"), json!({})).await;
    reply.refused_with(403, "invite_required", "该房间需要邀请才能加入");
}

#[tokio::test]
async fn a_muted_member_reads_and_says_nothing() {
    let s = Stage::with(&[QUIET]).await;
    let own = s.say(&s.bob, "while I may").await;
    let mut socket = s.open(&s.bob).await;
    let shown = act(&s.alice, s.room, &s.bob, "mute").await.expect(200);
    has_keys(&shown, &RM);
    covers(
        &shown,
        &json!({ "user": u4(&s.bob), "is_muted": true, "is_banned": false }),
    );
    let told = socket.of("member_updated").await;
    covers(&told["member"], &json!({ "user": u4(&s.bob), "is_muted": true }));

    let muted = |reply: Reply| drop(reply.refused_with(403, "muted", "您已被禁言"));
    muted(send(&s.bob, s.room, json!({ "content": "x" })).await);
    muted(edit(&s.bob, &own, "x").await);
    for frame in [
        json!({ "type": "chat_message", "content": "x", "client_id": "c1" }),
        json!({ "type": "typing", "is_typing": true, "client_id": "c1" }),
    ] {
        socket.send(frame).await;
        let error = json!({ "code": "muted", "message": "您已被禁言", "client_id": "c1" });
        covers(&socket.of("error").await, &error);
    }
    s.say(&s.alice, "can you hear me?").await;
    assert_eq!(socket.message().await["content"], "can you hear me?");
    s.bob.client.get(&s.at("messages/")).await.expect(200);
    assert_eq!(member(&s.alice, s.room, &s.bob).await["is_muted"], true);

    let shown = act(&s.alice, s.room, &s.bob, "unmute").await.expect(200);
    assert_eq!(shown["is_muted"], false);
    s.say(&s.bob, "at last").await;
}

#[tokio::test]
async fn a_mute_may_end_by_itself() {
    let s = Stage::set().await;
    let until = rfc3339(s.srv.clock.now() + Duration::from_secs(600));
    let path = member_at(s.room, &s.bob, "mute/");
    let shown = s
        .alice
        .client
        .post(&path, json!({ "until": until }))
        .await
        .expect(200);
    assert_eq!(shown["is_muted"], true);
    send(&s.bob, s.room, json!({ "content": "x" }))
        .await
        .refused(403, "muted");
    s.srv.clock.advance(Duration::from_secs(601));
    s.say(&s.bob, "ten minutes later").await;
    assert_eq!(member(&s.alice, s.room, &s.bob).await["is_muted"], false);

    let until = rfc3339(s.srv.clock.now() + Duration::from_secs(600));
    let body = json!({ "is_muted": true, "mute_until": until });
    let path = member_at(s.room, &s.bob, "");
    s.alice.client.patch(&path, body).await.expect(200);
    send(&s.bob, s.room, json!({ "content": "x" }))
        .await
        .refused(403, "muted");
    s.srv.clock.advance(Duration::from_secs(601));
    s.say(&s.bob, "ten more").await;
    let bad = json!({ "is_muted": true, "mute_until": "tomorrow" });
    let reply = s.alice.client.patch(&path, bad).await;
    reply.refused(400, "validation_error");
}

#[tokio::test]
async fn a_banned_member_is_outside_until_the_ban_is_lifted() {
    let s = Stage::set().await;
    let shown = act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    has_keys(&shown, &RM);
    covers(&shown, &json!({ "user": u4(&s.bob), "is_banned": true }));
    assert_eq!(look(&s.alice, s.room).await["member_count"], 1);
    let told = notes_of(&s.bob, "system").await;
    assert_eq!(told.len(), 1, "{told:?}");
    // Leaving does not take the ban away.
    leave(&s.bob, s.room).await;
    s.bob
        .client
        .post(&s.at("join/"), json!({}))
        .await
        .refused_with(403, "banned", "您已被该房间封禁");
    let rows = async |user: &User, query: &str| {
        let list = user
            .client
            .get(&s.at(&format!("members/{query}")))
            .await
            .expect(200);
        list_of(&list).len()
    };
    assert_eq!(rows(&s.alice, "").await, 1);
    assert_eq!(rows(&s.alice, "?include_banned=true").await, 2);
    let shown = act(&s.alice, s.room, &s.bob, "unban").await.expect(200);
    assert_eq!(shown["is_banned"], false);
    join(&s.bob, s.room).await;
    s.say(&s.bob, "back").await;
    assert_eq!(look(&s.alice, s.room).await["member_count"], 2);
}

#[tokio::test]
async fn banned_members_are_listed_to_moderators_only() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let path = member_at(s.room, &s.carol, "");
    let shown = s
        .alice
        .client
        .patch(&path, json!({ "is_banned": true }))
        .await
        .expect(200);
    assert_eq!(shown["is_banned"], true);
    let reply = s.bob.client.get(&s.at("members/?include_banned=true")).await;
    assert!(!reply.text().contains("carol"), "{}", reply.text());
    assert!(!look(&s.bob, s.room).await.to_string().contains("carol"));
    set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
    let list = s
        .bob
        .client
        .get(&s.at("members/?include_banned=true"))
        .await
        .expect(200);
    let banned: Vec<_> = list_of(&list).iter().filter(|m| m["is_banned"] == true).collect();
    assert_eq!(banned.len(), 1, "{list}");
    s.alice
        .client
        .patch(&path, json!({ "is_banned": false }))
        .await
        .expect(200);
    join(&s.carol, s.room).await;
}

#[tokio::test]
async fn a_place_that_a_ban_freed_is_free() {
    let s = Stage::set().await;
    let room = id_of(&create_with(&s.alice, json!({ "max_members": 2 })).await);
    join(&s.bob, room).await;
    let full = s.carol.client.post(&at(room, "join/"), json!({})).await;
    full.refused_with(400, "room_full", "房间已满");
    act(&s.alice, room, &s.bob, "ban").await.expect(200);
    join(&s.carol, room).await;
    assert_eq!(look(&s.alice, room).await["member_count"], 2);
}

#[tokio::test]
async fn members_that_do_not_exist_are_not_found() {
    let s = Stage::set().await;
    for what in ["kick", "mute", "unmute", "ban"] {
        act(&s.alice, s.room, &s.carol, what)
            .await
            .refused(404, "not_found");
        act(&s.alice, s.room + 1000, &s.bob, what)
            .await
            .refused_with(404, "not_found", NO_ROOM);
    }
    let body = json!({ "role": "moderator" });
    s.alice
        .client
        .patch(&s.at("members/999999/"), body.clone())
        .await
        .refused(404, "not_found");
    let reply = s
        .alice
        .client
        .patch(&member_at(s.room, &s.bob, ""), json!({ "role": "king" }))
        .await;
    reply.faulted("role", "无效的选项");
    // Nothing but the listed things is done.
    assert_eq!(act(&s.alice, s.room, &s.bob, "promote").await.status, 404);
}

#[tokio::test]
async fn everyone_sets_what_they_are_told() {
    let s = Stage::set().await;
    let path = s.at("me/");
    for notify in ["mentions", "none", "all"] {
        let shown = s
            .bob
            .client
            .patch(&path, json!({ "notify": notify }))
            .await
            .expect(200);
        has_keys(&shown, &RM);
        covers(&shown, &json!({ "user": u4(&s.bob), "notify": notify }));
    }
    let reply = s.bob.client.patch(&path, json!({ "notify": "some" })).await;
    reply.faulted("notify", "无效的选项");
    // Nothing else of oneself.
    let sly = json!({ "notify": "all", "role": "admin", "is_muted": false });
    let shown = s.bob.client.patch(&path, sly).await.expect(200);
    assert_eq!(shown["role"], "member");
    s.carol
        .client
        .patch(&path, json!({ "notify": "all" }))
        .await
        .refused_with(403, "not_member", DENIED);
}

#[tokio::test]
async fn those_with_a_socket_are_online() {
    let s = Stage::set().await;
    let online = async || s.alice.client.get(&s.at("online/")).await.expect(200);
    assert_eq!(online().await, json!([]));
    let (first, second) = (s.open(&s.bob).await, s.open(&s.bob).await);
    eventually("bob is there", 5, || async {
        online().await == json!([u2(&s.bob)])
    })
    .await;
    drop(first);
    let _mine = s.open(&s.alice).await;
    eventually("both are there once", 5, || async {
        let mut now: Vec<i64> = ids(&online().await);
        now.sort_unstable();
        now == [s.alice.id, s.bob.id]
    })
    .await;
    drop(second);
    eventually("bob has gone", 15, || async {
        online().await == json!([u2(&s.alice)])
    })
    .await;
}

#[tokio::test]
async fn the_detail_shows_who_runs_the_room_first() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let dave = s.srv.user("dave").await;
    join(&dave, s.room).await;
    set_role(&s.alice, s.room, &s.carol, "moderator")
        .await
        .expect(200);
    set_role(&s.alice, s.room, &dave, "admin").await.expect(200);
    let shown = look(&s.bob, s.room).await;
    let expected = json!([u4(&s.alice), u4(&dave), u4(&s.carol), u4(&s.bob)]);
    assert_eq!(shown["members"], expected);
}
