//! Faults of the original that must not come back, by their number in the contract ("chat" 7). Those that another
//! test would catch are not tested twice:
//!
//! | # | Test |
//! |---|---|
//! | 3 | `scenarios::chat_scenario_08_a_stranger_gets_nowhere_near_a_private_room` |
//! | 5 | `scenarios::chat_scenario_09_a_reply_to_another_room_is_refused_and_shows_nothing` |
//! | 10 | `scenarios::chat_scenario_10_a_deleted_message_is_a_placeholder_everywhere` |
//! | 15 | `statements::chat_scenario_15_…`, `statements::members_and_notifications_cost_as_many_statements_as_one` |
//! | 17 | `sockets::a_token_comes_in_three_ways_and_the_first_counts`, `sockets::a_disabled_user_is_closed_and_stays_outside`, `scenarios_live::chat_scenario_13_…`; for what is logged see `guards::secrets` |
//! | 18 | `sockets::checks_come_in_their_order`, `sockets::a_refusal_is_one_error_frame_and_a_close` |
//! | 19 | `scenarios_live::chat_scenario_02_…_on_two_servers`, `…_16_…`, `limits`, `sockets::a_client_that_answers_no_ping_is_ended_and_gone_from_the_room` |
//! | 20 | `accounts::auth_api_tokens` |
//! | 23 | `scenarios_live::chat_scenario_16_…`, `frames::bad_frames_are_answered_to_their_sender_and_end_nothing`, `frames::times_end_with_z_everywhere` |
//! | 25 | `scenarios_live::chat_scenario_03_twenty_senders_are_seen_in_one_order` |

use super::*;
use crate::sockets::{ended, refused};
use crate::support::sql;

#[tokio::test]
async fn chat_fault_01_outsiders_post_nothing_and_closed_rooms_take_nothing() {
    let s = Stage::set().await;
    for kind in ["text", "system"] {
        let body = json!({ "content": "x", "message_type": kind });
        send(&s.carol, s.room, body.clone())
            .await
            .refused_with(403, "not_member", DENIED);
        send(&s.carol, 999_999, body)
            .await
            .refused_with(404, "not_found", NO_ROOM);
    }
    let body = json!({ "content": "x", "message_type": "system" });
    let reply = forbidden(send(&s.bob, s.room, body.clone()).await);
    assert_eq!(reply["error"], "无权发送系统消息");
    s.alice.client.delete(&s.at("")).await.expect(204);
    for body in [body, json!({ "content": "x" })] {
        send(&s.alice, s.room, body)
            .await
            .refused_with(409, "room_inactive", "房间已关闭");
    }
    assert_eq!(history(&s.alice, s.room).await.len(), 1);
}

#[tokio::test]
async fn chat_fault_02_a_socket_asks_more_than_whether_the_token_is_signed() {
    let s = Stage::set().await;
    let chief = s.srv.admin("chief").await;
    let private = create(&s.alice, "private").await;
    assert_eq!(
        refused(&s.srv, &socket_of(private, &s.carol)).await,
        ended(4403, "not_member")
    );
    let mut bob = s.open(&s.bob).await;
    let forged = json!({ "type": "chat_message", "content": "x", "message_type": "system" });
    bob.send(forged).await;
    assert_eq!(bob.of("error").await["message"], "无权发送系统消息");
    s.alice.client.delete(&s.at("")).await.expect(204);
    assert_eq!(bob.end().await.0, 4410);
    assert_eq!(refused(&s.srv, &socket_of(s.room, &s.bob)).await.0, 4410);
    let path = format!("/api/users/{}/disable_user/", s.carol.id);
    chief.client.post(&path, json!({})).await.expect(200);
    assert_eq!(
        refused(&s.srv, &socket_of(private, &s.carol)).await,
        ended(4401, "token_invalid")
    );
    assert_eq!(history(&s.alice, s.room).await.len(), 1, "nothing was said");
}

#[tokio::test]
async fn chat_fault_04_a_room_is_changed_by_its_admin_only() {
    let s = Stage::set().await;
    let before = look(&s.alice, s.room).await;
    for who in [&s.bob, &s.carol] {
        for body in [
            json!({ "is_active": false }),
            json!({ "max_members": 1000 }),
            json!({ "created_by": who.id, "name": "mine" }),
            json!({}),
        ] {
            forbidden(who.client.patch(&s.at(""), body).await);
        }
        let whole = json!({ "name": "mine", "room_type": "private", "max_members": 1000 });
        forbidden(who.client.put(&s.at(""), whole).await);
        forbidden(who.client.delete(&s.at("")).await);
    }
    assert_eq!(look(&s.alice, s.room).await, before);
}

#[tokio::test]
async fn chat_fault_06_no_address_and_no_list_of_members_is_handed_around() {
    let s = Stage::with(&[QUIET]).await;
    join(&s.carol, s.room).await;
    let mut bob = s.open(&s.bob).await;
    let sent = s.say(&s.alice, "hello @bob").await;
    let frame = bob.message().await;
    let seen = [
        sent.to_string(),
        frame.to_string(),
        s.bob.client.get(ROOMS).await.text(),
        s.bob.client.get(&s.at("")).await.text(),
        s.bob.client.get(&s.at("members/")).await.text(),
        s.bob.client.get(NOTES).await.text(),
    ];
    for text in &seen {
        is_discreet(text);
    }
    for text in [&seen[0], &seen[1], &seen[2], &seen[5]] {
        assert!(!text.contains("carol"), "{text}");
    }
    assert_eq!(sent["sender"].as_object().unwrap().len(), 4, "{sent}");
    assert_eq!(sent["room"].as_object().unwrap().len(), 2, "{sent}");
}

#[tokio::test]
async fn chat_fault_07_what_was_made_is_answered_whole() {
    let s = Stage::set().await;
    let created = create_with(&s.alice, json!({})).await;
    has_keys(&created, &RC);
    has_keys(&created["created_by"], &U4);
    let sent = say(&s.alice, id_of(&created), "hello").await;
    has_keys(&sent, &M);
    covers(
        &sent,
        &json!({ "room": { "id": created["id"], "name": created["name"] }, "is_edited": false, "is_deleted": false }),
    );
}

#[tokio::test]
async fn chat_fault_08_places_are_counted_and_members_need_none() {
    let s = Stage::set().await;
    for bad in [-1, 0, 1001] {
        let body = json!({ "name": "x", "room_type": "public", "max_members": bad });
        let reply = s.alice.client.post(ROOMS, body).await;
        reply.faulted("max_members", "数值超出范围");
    }
    let room = id_of(&create_with(&s.alice, json!({ "max_members": 2 })).await);
    join(&s.bob, room).await;
    let full = s.carol.client.post(&at(room, "join/"), json!({})).await;
    full.refused_with(400, "room_full", "房间已满");
    for member in [&s.alice, &s.bob] {
        join(member, room).await;
    }
    assert_eq!(look(&s.alice, room).await["member_count"], 2);
    assert_eq!(history(&s.alice, room).await.len(), 1, "joined once");
}

#[tokio::test]
async fn chat_fault_09_an_outsider_is_refused_rather_than_shown_an_empty_list() {
    let s = Stage::set().await;
    s.say(&s.alice, "hello").await;
    for rest in ["messages/", "members/", "online/", "messages/?page=9"] {
        let reply = s.carol.client.get(&s.at(rest)).await;
        reply.refused_with(403, "not_member", DENIED);
    }
}

#[tokio::test]
async fn chat_fault_11_both_ways_of_sending_do_the_same() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    let by_rest = s.say(&s.alice, "hello @bob").await;
    assert_eq!(
        bob.message().await["id"],
        by_rest["id"],
        "REST reaches the socket"
    );
    let frame = json!({ "type": "chat_message", "content": "hello @alice", "reply_to": by_rest["id"] });
    bob.send(frame).await;
    alice.message().await;
    let by_socket = alice.message().await;
    assert_eq!(by_socket["reply_to"], by_rest["id"]);
    let mine = notes(&s.alice, "").await;
    assert_eq!(mine.len(), 1, "the socket notifies: {mine:?}");
    covers(
        &mine[0],
        &json!({ "notification_type": "mention", "message": { "id": by_socket["id"] } }),
    );
    for (frame, kind) in [
        (json!({ "type": "typing", "is_typing": true }), "typing"),
        (json!({ "type": "user_join" }), "user_join"),
    ] {
        bob.send(frame).await;
        assert_eq!(alice.of(kind).await["user"], u2(&s.bob));
    }
    alice.send(json!({ "type": "user_leave" })).await;
    assert_eq!(bob.of("user_leave").await["user"], u2(&s.alice));
}

#[tokio::test]
async fn chat_fault_12_lists_show_what_can_be_entered_and_nothing_else() {
    let s = Stage::set().await;
    let of_carol = create(&s.carol, "public").await;
    assert_eq!(listed(&s.bob, of_carol).await["id"], of_carol);
    leave(&s.carol, of_carol).await;
    assert_eq!(
        listed(&s.bob, of_carol).await,
        Value::Null,
        "nobody is left in it"
    );
    s.alice.client.delete(&s.at("")).await.expect(204);
    for who in [&s.alice, &s.bob, &s.carol] {
        assert_eq!(listed(who, s.room).await, Value::Null);
    }
    let group = create(&s.alice, "group").await;
    admit(&s.alice, group, &s.bob).await;
    leave(&s.alice, group).await;
    assert_eq!(listed(&s.alice, group).await, Value::Null);
    forbidden(
        s.alice
            .client
            .patch(&at(group, ""), json!({ "name": "mine" }))
            .await,
    );
    assert_eq!(look(&s.bob, group).await["my_role"], "admin");
}

#[tokio::test]
async fn chat_fault_13_what_a_membership_says_is_obeyed() {
    let s = Stage::set().await;
    let sent = s.say(&s.alice, "read me").await;
    let before = member(&s.alice, s.room, &s.bob).await["last_read_at"].clone();
    let path = message_at(&sent, "read/");
    s.bob.client.post(&path, json!({})).await.expect(200);
    let after = member(&s.alice, s.room, &s.bob).await["last_read_at"].clone();
    assert!(after.is_string() && after != before, "{before} {after}");
    act(&s.alice, s.room, &s.bob, "mute").await.expect(200);
    send(&s.bob, s.room, json!({ "content": "x" }))
        .await
        .refused_with(403, "muted", "您已被禁言");
    act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    forbidden(s.bob.client.get(&s.at("messages/")).await);
    // Every view agrees about who is in.
    assert_eq!(look(&s.alice, s.room).await["members"], json!([u4(&s.alice)]));
    assert_eq!(look(&s.alice, s.room).await["member_count"], 1);
    let members = s.alice.client.get(&s.at("members/")).await.expect(200);
    assert_eq!(list_of(&members).len(), 1);
}

#[tokio::test]
async fn chat_fault_14_every_kind_of_notification_comes_about_and_is_paged() {
    let s = Stage::set().await;
    for n in 0..55 {
        s.say(&s.alice, &n.to_string()).await;
    }
    s.say(&s.alice, "@bob").await;
    let room = create(&s.alice, "private").await;
    invite(&s.alice, room, &s.bob).await.expect(200);
    set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
    for (kind, count) in [("mention", 1), ("room_invite", 1), ("system", 1)] {
        assert_eq!(notes_of(&s.bob, kind).await.len(), count, "{kind}");
    }
    let shown = s.bob.client.get(NOTES).await;
    assert_eq!(shown.header("x-total-count"), "58");
    assert_eq!(list_of(&shown.expect(200)).len(), 50);
    assert_eq!(notes(&s.bob, "page=2").await.len(), 8);
    let path = format!("{NOTES}unread_count/");
    assert_eq!(
        s.bob.client.get(&path).await.expect(200),
        json!({ "unread_count": 58 })
    );
}

#[tokio::test]
async fn chat_fault_16_pages_neither_shift_nor_end_in_an_error() {
    let s = Stage::set().await;
    for n in 0..6 {
        s.say(&s.alice, &n.to_string()).await;
    }
    let first = s.bob.client.get(&s.at("messages/?page_size=3")).await.expect(200);
    let oldest_seen = id_of(&first["messages"][2]);
    for n in 6..9 {
        s.say(&s.alice, &n.to_string()).await;
    }
    let path = s.at(&format!("messages/?before_id={oldest_seen}&limit=3"));
    let second = s.bob.client.get(&path).await.expect(200);
    let texts: Vec<&Value> = list_of(&second["messages"])
        .iter()
        .map(|m| &m["content"])
        .collect();
    assert_eq!(texts, ["2", "1", "0"]);
    let past = s.bob.client.get(&s.at("messages/?page=1000")).await.expect(200);
    covers(&past, &json!({ "messages": [], "page": 1000, "total": 10 }));
    let rooms = s.bob.client.get(&format!("{ROOMS}?page=1000")).await.expect(200);
    assert_eq!(rooms, json!([]));
}

#[tokio::test]
async fn chat_fault_21_the_test_page_is_a_page_or_is_not_there() {
    let srv = TestServer::start().await;
    // Credentials are not looked at.
    for client in [srv.client.clone(), srv.client.with_token("garbage")] {
        let page = client.get("/api/chat/test/").await;
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(page.header("content-type").starts_with("text/html"));
        let html = page.text();
        for named in ["/api/token/", "/api/chat/rooms/", "/ws/chat/"] {
            assert!(html.contains(named), "{named}");
        }
        assert!(!html.contains("developer123"), "no secrets");
    }
    let srv = srv.restart_with(&[("CHAT_TEST_PAGE", "false")]).await;
    srv.client.get("/api/chat/test/").await.refused(404, "not_found");
}

#[tokio::test]
async fn chat_fault_22_the_test_account_is_an_ordinary_one() {
    let srv = TestServer::start().await;
    let alice = srv.user("alice").await;
    let room = create(&alice, "private").await;
    let developer = developer(&srv).await;
    let kinds = "SELECT COUNT(*) FROM users WHERE username = 'developer' AND user_type = 'customer'";
    assert_eq!(sql::number(&srv, kinds).await, 1);
    forbidden(developer.client.get(&at(room, "")).await);
    forbidden(developer.client.get(&at(room, "messages/")).await);
}

#[tokio::test]
async fn chat_fault_24_a_room_comes_about_whole_or_not_at_all() {
    let s = Stage::set().await;
    let rooms = sql::number(&s.srv, "SELECT COUNT(*) FROM chat_rooms").await;
    let body = json!({ "name": "half", "room_type": "private", "member_ids": [s.bob.id, 987_654_321] });
    s.alice.client.post(ROOMS, body).await.expect(400);
    assert_eq!(
        sql::number(&s.srv, "SELECT COUNT(*) FROM chat_rooms").await,
        rooms
    );
    assert_eq!(notes_of(&s.bob, "room_invite").await, Vec::<Value>::new());
    // No room is without an admin.
    create(&s.alice, "public").await;
    let orphans = "SELECT COUNT(*) FROM chat_rooms WHERE id NOT IN \
                   (SELECT room_id FROM chat_room_members WHERE role = 'admin')";
    assert_eq!(sql::number(&s.srv, orphans).await, 0);
    let wrong = "SELECT COUNT(*) FROM chat_rooms r WHERE member_count <> \
                 (SELECT COUNT(*) FROM chat_room_members m WHERE m.room_id = r.id)";
    assert_eq!(sql::number(&s.srv, wrong).await, 0);
}
