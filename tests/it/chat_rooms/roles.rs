//! Who may do what: the table of roles, one case after the other.

use super::*;

/// A room with one of every kind: alice is admin, bob moderator, carol member; then a second of each.
struct Court {
    s: Stage,
    admin: User,
    moderator: User,
    member: User,
}

impl Court {
    async fn set() -> Self {
        let s = Stage::set().await;
        join(&s.carol, s.room).await;
        set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
        let mut others = Vec::new();
        for name in ["admin2", "moderator2", "member2"] {
            let user = s.srv.user(name).await;
            join(&user, s.room).await;
            others.push(user);
        }
        let Ok([admin, moderator, member]) = <[User; 3]>::try_from(others) else {
            panic!("three");
        };
        set_role(&s.alice, s.room, &admin, "admin").await.expect(200);
        set_role(&s.alice, s.room, &moderator, "moderator")
            .await
            .expect(200);
        Court {
            s,
            admin,
            moderator,
            member,
        }
    }

    async fn role(&self, user: &User) -> Value {
        member(&self.s.alice, self.s.room, user).await["role"].clone()
    }
}

#[tokio::test]
async fn nobody_acts_on_those_above_beside_or_on_themselves() {
    let c = Court::set().await;
    let s = &c.s;
    for (who, on) in [
        // Another admin only after his role was changed.
        (&s.alice, &c.admin),
        (&s.bob, &s.alice),
        (&s.bob, &c.moderator),
        (&s.carol, &s.alice),
        (&s.carol, &s.bob),
        (&s.carol, &c.member),
    ] {
        for what in ["kick", "mute", "unmute", "ban", "unban"] {
            let reply = act(who, s.room, on, what).await;
            assert_eq!(
                reply.status,
                403,
                "{} {what} {}: {}",
                who.name,
                on.name,
                reply.text()
            );
        }
        for body in [json!({ "is_muted": true }), json!({ "is_banned": true })] {
            let reply = who.client.patch(&member_at(s.room, on, ""), body).await;
            assert_eq!(reply.status, 403, "{} on {}: {}", who.name, on.name, reply.text());
        }
    }
    for who in [&s.alice, &s.bob, &s.carol] {
        for what in ["kick", "mute", "ban"] {
            let reply = act(who, s.room, who, what).await;
            assert!(
                (400..500).contains(&reply.status),
                "{} {what} themself: {}",
                who.name,
                reply.text()
            );
        }
    }
    let list = s
        .alice
        .client
        .get(&s.at("members/?include_banned=true"))
        .await
        .expect(200);
    assert_eq!(list_of(&list).len(), 6);
    for row in list_of(&list) {
        assert_eq!(
            (&row["is_muted"], &row["is_banned"]),
            (&json!(false), &json!(false))
        );
    }
}

#[tokio::test]
async fn moderators_act_on_members_and_admins_on_all_below() {
    let c = Court::set().await;
    let s = &c.s;
    for (who, on) in [
        (&s.bob, &c.member),
        (&s.alice, &c.member),
        (&s.alice, &c.moderator),
    ] {
        for what in ["mute", "unmute", "ban", "unban"] {
            let reply = act(who, s.room, on, what).await;
            assert_eq!(
                reply.status,
                200,
                "{} {what} {}: {}",
                who.name,
                on.name,
                reply.text()
            );
        }
        join(on, s.room).await;
        act(who, s.room, on, "kick").await.expect(200);
        join(on, s.room).await;
    }
    // After the role was changed.
    act(&s.alice, s.room, &c.admin, "kick").await.expect(403);
    set_role(&s.alice, s.room, &c.admin, "member").await.expect(200);
    act(&s.alice, s.room, &c.admin, "kick").await.expect(200);
}

#[tokio::test]
async fn only_admins_set_roles_and_hand_the_room_on() {
    let c = Court::set().await;
    let s = &c.s;
    for who in [&s.bob, &s.carol] {
        for role in ["admin", "moderator", "member"] {
            forbidden(set_role(who, s.room, &c.member, role).await);
            // Least of all one's own.
            let reply = set_role(who, s.room, who, role).await;
            assert!((400..500).contains(&reply.status), "{}", reply.text());
        }
        let body = json!({ "user_id": c.member.id });
        forbidden(who.client.post(&s.at("transfer/"), body).await);
    }
    assert_eq!(c.role(&s.bob).await, "moderator");
    assert_eq!(c.role(&s.carol).await, "member");
    let shown = set_role(&s.alice, s.room, &s.carol, "moderator")
        .await
        .expect(200);
    has_keys(&shown, &RM);
    covers(&shown, &json!({ "user": u4(&s.carol), "role": "moderator" }));
    assert_eq!(look(&s.carol, s.room).await["my_role"], "moderator");
    let told = notes_of(&s.carol, "system").await;
    assert_eq!(told.len(), 1, "a role change is told: {told:?}");
}

#[tokio::test]
async fn a_room_is_handed_on_to_a_member() {
    let s = Stage::set().await;
    let path = s.at("transfer/");
    let outside = s.alice.client.post(&path, json!({ "user_id": s.carol.id })).await;
    assert!(matches!(outside.status, 400 | 404), "{}", outside.text());
    s.alice
        .client
        .post(&path, json!({}))
        .await
        .faulted("user_id", "该字段是必填项");
    let shown = s
        .alice
        .client
        .post(&path, json!({ "user_id": s.bob.id }))
        .await
        .expect(200);
    has_keys(&shown, &RC);
    assert_eq!(look(&s.bob, s.room).await["my_role"], "admin");
    s.bob
        .client
        .patch(&s.at(""), json!({ "name": "bob's" }))
        .await
        .expect(200);
    // Whoever made it stays named as its maker.
    assert_eq!(look(&s.bob, s.room).await["created_by"], u4(&s.alice));
}

#[tokio::test]
async fn the_last_admin_stays_one() {
    let s = Stage::set().await;
    let chief = s.srv.admin("chief").await;
    for role in ["moderator", "member"] {
        let reply = set_role(&chief, s.room, &s.alice, role).await;
        reply.refused(409, "last_admin");
        // By themself it is refused for one reason or the other.
        let reply = set_role(&s.alice, s.room, &s.alice, role).await;
        assert!(matches!(reply.status, 400 | 403 | 409), "{}", reply.text());
    }
    assert_eq!(look(&s.alice, s.room).await["my_role"], "admin");
    set_role(&s.alice, s.room, &s.bob, "admin").await.expect(200);
    set_role(&s.bob, s.room, &s.alice, "member").await.expect(200);
    assert_eq!(look(&s.alice, s.room).await["my_role"], "member");
    set_role(&chief, s.room, &s.bob, "member")
        .await
        .refused(409, "last_admin");
}

#[tokio::test]
async fn a_role_change_reaches_the_sockets() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
    for socket in [&mut alice, &mut bob] {
        let frame = socket.of("member_updated").await;
        has_keys(&frame["member"], &RM);
        covers(
            &frame["member"],
            &json!({ "user": u4(&s.bob), "role": "moderator" }),
        );
    }
    bob.send(json!({ "type": "chat_message", "content": "维护通知", "message_type": "system" }))
        .await;
    assert_eq!(alice.message().await["message_type"], "system");
    set_role(&s.alice, s.room, &s.bob, "member").await.expect(200);
    alice.of("member_updated").await;
    bob.send(json!({ "type": "chat_message", "content": "once more", "message_type": "system" }))
        .await;
    assert_eq!(bob.of("error").await["message"], "无权发送系统消息");
}

#[tokio::test]
async fn system_messages_are_for_those_who_run_the_room() {
    let c = Court::set().await;
    let s = &c.s;
    let body = json!({ "content": "维护通知", "message_type": "system" });
    for who in [&s.alice, &s.bob] {
        let sent = send(who, s.room, body.clone()).await.expect(201);
        covers(&sent, &json!({ "message_type": "system", "sender": u4(who) }));
    }
    let reply = forbidden(send(&s.carol, s.room, body).await);
    assert_eq!(reply["error"], "无权发送系统消息");
    // They create no notifications and are not unread.
    assert_eq!(notes(&s.carol, "").await, Vec::<Value>::new());
    assert_eq!(unread(&s.carol, s.room).await, 0);
}

#[tokio::test]
async fn messages_of_others_are_deleted_by_those_who_run_the_room() {
    let c = Court::set().await;
    let s = &c.s;
    let of = async |user: &User| s.say(user, "mine").await;
    let by_member = of(&c.member).await;
    delete(&s.carol, &by_member)
        .await
        .refused_with(403, "not_sender", "只能删除自己的消息");
    delete(&s.bob, &by_member).await.expect(200);
    // A moderator acts on members only.
    for author in [&s.alice, &c.moderator] {
        let message = of(author).await;
        forbidden(delete(&s.bob, &message).await);
        assert_eq!(message_of(&s.carol, &message).await["is_deleted"], false);
    }
    let by_moderator = of(&c.moderator).await;
    delete(&s.alice, &by_moderator).await.expect(200);
    let by_admin = of(&c.admin).await;
    forbidden(delete(&s.alice, &by_admin).await);
    delete(&c.admin, &by_admin).await.expect(200);
    // Editing is the sender's alone.
    let by_member = of(&c.member).await;
    for who in [&s.alice, &s.bob, &s.carol] {
        forbidden(edit(who, &by_member, "put in the mouth").await);
    }
}
