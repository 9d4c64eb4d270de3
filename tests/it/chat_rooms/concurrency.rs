//! Many at once: places in a room, one room of two, one message of one `client_id`, the last admin.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};

use super::*;
use crate::support::sql;

fn statuses(replies: &[Reply]) -> Vec<u16> {
    let mut all: Vec<u16> = replies.iter().map(|r| r.status).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn chat_scenario_07_a_hundred_joins_fill_ten_places() {
    let srv = TestServer::start().await;
    let owner = srv.user("owner").await;
    let room = id_of(&create_with(&owner, json!({ "max_members": 11 })).await);
    let mut users = Vec::new();
    for n in 0..100 {
        users.push(srv.user(&format!("guest{n}")).await);
    }
    let path = at(room, "join/");
    let replies = join_all(users.iter().map(|u| u.client.post(&path, json!({})))).await;
    let full = replies.iter().filter(|r| r.status == 400).count();
    assert_eq!((full, replies.len() - full), (90, 10));
    for reply in replies {
        if reply.status == 200 {
            assert_eq!(reply.json()["message"], "成功加入房间");
        } else {
            reply.refused_with(400, "room_full", "房间已满");
        }
    }
    let shown = look(&owner, room).await;
    assert_eq!(shown["member_count"], 11);
    assert_eq!(list_of(&shown["members"]).len(), 11);
    let rows = sql::number(&srv, "SELECT COUNT(*) FROM chat_room_members").await;
    assert_eq!(rows, 11);
    // One system message for each who came in, counted like any other.
    let told = history(&owner, room).await;
    assert_eq!(told.len(), 10);
    assert!(told.iter().all(|m| m["message_type"] == "system"), "{told:?}");
}

#[tokio::test]
async fn parallel_joins_of_one_user_are_one_membership() {
    let s = Stage::set().await;
    let path = s.at("join/");
    let replies = join_all((0..20).map(|_| s.carol.client.post(&path, json!({})))).await;
    assert_eq!(statuses(&replies), [200; 20]);
    let shown = look(&s.alice, s.room).await;
    assert_eq!(shown["member_count"], 3);
    let told = history(&s.alice, s.room).await;
    let about_carol = told.iter().filter(|m| m["content"] == "carol 加入了房间");
    assert_eq!(about_carol.count(), 1);
}

#[tokio::test]
async fn joins_and_leaves_at_once_keep_the_count_right() {
    let s = Stage::set().await;
    let mut users = Vec::new();
    for n in 0..8 {
        users.push(s.srv.user(&format!("guest{n}")).await);
    }
    let (enter, go) = (s.at("join/"), s.at("leave/"));
    join_all(users.iter().map(|user| {
        let (enter, go) = (&enter, &go);
        async move {
            for _ in 0..3 {
                user.client.post(enter, json!({})).await.expect(200);
                user.client.post(go, json!({})).await.expect(200);
            }
        }
    }))
    .await;
    assert_eq!(look(&s.alice, s.room).await["member_count"], 2);
    let rows = sql::number(&s.srv, "SELECT COUNT(*) FROM chat_room_members").await;
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn parallel_direct_rooms_of_a_pair_are_one_room() {
    let s = Stage::set().await;
    let calls = (0..20).map(|n| {
        let (who, with) = if n % 2 == 0 {
            (&s.alice, s.bob.id)
        } else {
            (&s.bob, s.alice.id)
        };
        who.client.post(DIRECT, json!({ "user_id": with }))
    });
    let replies = join_all(calls).await;
    let created = replies.iter().filter(|r| r.status == 201).count();
    assert_eq!(created, 1, "{:?}", statuses(&replies));
    let found: BTreeSet<i64> = replies
        .into_iter()
        .map(|r| {
            assert!(matches!(r.status, 200 | 201), "{}", r.text());
            id_of(&r.json())
        })
        .collect();
    assert_eq!(found.len(), 1);
    let room = found.into_iter().next().expect("one");
    assert_eq!(look(&s.alice, room).await["member_count"], 2);
}

#[tokio::test]
async fn chat_scenario_14_a_client_id_is_one_message_however_often_it_is_sent() {
    same_client_id_is_one_message(Stage::with(&[QUIET]).await).await;
}

#[tokio::test]
async fn a_client_id_is_one_message_on_two_servers() {
    if let Some(s) = Stage::on_two(&[QUIET]).await {
        same_client_id_is_one_message(s).await;
    }
}

async fn same_client_id_is_one_message(s: Stage) {
    let body = |id: &str| json!({ "content": "once", "client_id": id });
    let first = send(&s.bob, s.room, body("c-1")).await.expect(201);
    assert_eq!(first["client_id"], "c-1");
    let again = send(&s.bob, s.room, body("c-1")).await.expect(200);
    assert_eq!(again, first);
    // Somebody else's id is another one.
    let other = send(&s.alice, s.room, body("c-1")).await.expect(201);
    assert_ne!(other["id"], first["id"]);

    let far = through(s.there(), &s.bob);
    let sends = (0..20).map(|n| {
        let bob = if n % 2 == 0 { &s.bob } else { &far };
        send(bob, s.room, body("c-2"))
    });
    let replies = join_all(sends).await;
    let created = replies.iter().filter(|r| r.status == 201).count();
    assert_eq!(created, 1, "{:?}", statuses(&replies));
    let found: BTreeSet<i64> = replies.into_iter().map(|r| id_of(&r.json())).collect();
    assert_eq!(found.len(), 1);

    // Over the socket the first message comes again, to this socket only.
    let (mut sender, mut watcher) = (s.open(&s.bob).await, s.open(&s.alice).await);
    let frame = json!({ "type": "chat_message", "content": "once", "client_id": "c-2" });
    sender.send(frame).await;
    assert_eq!(Some(&id_of(&sender.message().await)), found.first());
    let last = s.say(&s.alice, "last").await;
    assert_eq!(watcher.message().await["id"], last["id"]);

    let texts = history(&s.alice, s.room).await;
    let once = texts.iter().filter(|m| m["content"] == "once").count();
    assert_eq!(once, 3);
    assert_eq!(listed(&s.alice, s.room).await["last_message"]["id"], last["id"]);
    assert_eq!(unread(&s.alice, s.room).await, 0, "she spoke last");
}

/// Another room of alice's, with bob as its second admin.
async fn ruled_by_two(s: &Stage) -> i64 {
    let room = create(&s.alice, "public").await;
    super::join(&s.bob, room).await;
    set_role(&s.alice, room, &s.bob, "admin").await.expect(200);
    room
}

#[tokio::test]
async fn two_admins_who_leave_at_once_leave_an_admin_behind() {
    let s = Stage::set().await;
    for round in 0..6 {
        let room = ruled_by_two(&s).await;
        super::join(&s.carol, room).await;
        if round % 2 == 1 {
            set_role(&s.alice, room, &s.carol, "moderator").await.expect(200);
        }
        let go = at(room, "leave/");
        let (one, two) = join(
            s.alice.client.post(&go, json!({})),
            s.bob.client.post(&go, json!({})),
        )
        .await;
        assert_eq!((one.status, two.status), (200, 200));
        covers(
            &look(&s.carol, room).await,
            &json!({ "member_count": 1, "my_role": "admin", "is_active": true }),
        );
    }
}

#[tokio::test]
async fn all_who_leave_at_once_close_the_room() {
    let s = Stage::set().await;
    for _ in 0..4 {
        let room = ruled_by_two(&s).await;
        let go = at(room, "leave/");
        join(
            s.alice.client.post(&go, json!({})),
            s.bob.client.post(&go, json!({})),
        )
        .await;
        let reply = s.carol.client.post(&at(room, "join/"), json!({})).await;
        reply.refused_with(404, "not_found", NO_ROOM);
    }
}

#[tokio::test]
async fn two_admins_who_demote_each_other_leave_an_admin_behind() {
    let s = Stage::set().await;
    for _ in 0..6 {
        let room = ruled_by_two(&s).await;
        let (one, two) = join(
            set_role(&s.alice, room, &s.bob, "member"),
            set_role(&s.bob, room, &s.alice, "member"),
        )
        .await;
        let done = [&one, &two].iter().filter(|r| r.status == 200).count();
        assert_eq!(done, 1, "{} {}", one.text(), two.text());
        for reply in [one, two] {
            assert!(matches!(reply.status, 200 | 403 | 409), "{}", reply.text());
        }
        let members = s.alice.client.get(&at(room, "members/")).await.expect(200);
        let admins = list_of(&members).iter().filter(|m| m["role"] == "admin");
        assert_eq!(admins.count(), 1, "{members}");
    }
}

#[tokio::test]
async fn parallel_sends_are_counted_and_gapless() {
    let s = Stage::set().await;
    let before = history(&s.alice, s.room).await.len();
    join_all((0..60).map(|n| {
        let user = if n % 2 == 0 { &s.alice } else { &s.bob };
        say(user, s.room, "at once")
    }))
    .await;
    let page = s.alice.client.get(&s.at("messages/")).await.expect(200);
    assert_eq!(page["total"], before + 60);
    let stored = history(&s.alice, s.room).await;
    let seqs: Vec<i64> = stored.iter().map(|m| m["seq"].as_i64().unwrap()).collect();
    let expected: Vec<i64> = (1..=i64::try_from(before + 60).unwrap()).collect();
    assert_eq!(seqs, expected);
    let last = &look(&s.alice, s.room).await["last_message_id"];
    assert_eq!(last, &stored.last().unwrap()["id"]);
}

#[tokio::test]
async fn parallel_reads_of_a_message_are_one_receipt() {
    let s = Stage::set().await;
    let message = s.say(&s.alice, "read me").await;
    let path = message_at(&message, "read/");
    let replies = join_all((0..20).map(|_| s.bob.client.post(&path, json!({})))).await;
    assert_eq!(statuses(&replies), [200; 20]);
    let receipts = s
        .alice
        .client
        .get(&message_at(&message, "reads/"))
        .await
        .expect(200);
    let of_bob = list_of(&receipts).iter().filter(|r| r["user"]["id"] == s.bob.id);
    assert_eq!(of_bob.count(), 1, "{receipts}");
}

#[tokio::test]
async fn parallel_acceptances_of_an_invitation_are_one_membership() {
    let s = Stage::set().await;
    let room = create(&s.alice, "private").await;
    invite(&s.alice, room, &s.carol).await.expect(200);
    let list = s.carol.client.get(INVITES).await.expect(200);
    let accept = format!("{INVITES}{}/accept/", id_of(&list[0]));
    let replies = join_all((0..10).map(|_| s.carol.client.post(&accept, json!({})))).await;
    assert!(
        replies.iter().any(|r| r.status == 200),
        "{:?}",
        statuses(&replies)
    );
    assert!(replies.iter().all(|r| r.status < 500), "{:?}", statuses(&replies));
    assert_eq!(look(&s.alice, room).await["member_count"], 2);
}
