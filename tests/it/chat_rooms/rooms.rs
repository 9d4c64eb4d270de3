//! `/api/chat/rooms/`: making, listing, showing, changing and closing rooms.

use super::*;

#[tokio::test]
async fn a_new_room_is_answered_whole() {
    let s = Stage::set().await;
    let body = json!({ "name": "  前端组  ", "room_type": "group" });
    let created = s.alice.client.post(ROOMS, body).await.expect(201);
    has_keys(&created, &RC);
    covers(
        &created,
        &json!({
            "name": "前端组", "description": null, "room_type": "group", "created_by": u4(&s.alice),
            "member_count": 1, "is_active": true, "max_members": 50,
        }),
    );
    assert_eq!(created["created_by"].as_object().unwrap().len(), U4.len());
    assert_eq!(created["created_at"], created["updated_at"]);
    assert!(created["created_at"].as_str().unwrap().ends_with('Z'));
    let shown = look(&s.alice, id_of(&created)).await;
    covers(&shown, &created);
    covers(
        &shown,
        &json!({ "members": [u4(&s.alice)], "my_role": "admin", "last_message_id": null }),
    );
    assert_eq!(
        history(&s.alice, id_of(&created)).await.len(),
        0,
        "none for the creator"
    );
}

#[tokio::test]
async fn a_new_room_is_checked_field_by_field() {
    let s = Stage::set().await;
    let base = json!({ "name": "a", "room_type": "public" });
    for (field, value, text) in [
        ("name", json!(""), "该字段不能为空"),
        ("name", json!("  \n "), "该字段不能为空"),
        ("name", json!("字".repeat(101)), "长度不能超过 100 个字符"),
        ("name", json!(7), "类型错误"),
        ("name", json!("a\u{0}b"), "包含不允许的字符"),
        (
            "description",
            json!("字".repeat(2001)),
            "长度不能超过 2000 个字符",
        ),
        ("description", json!(1), "类型错误"),
        ("room_type", json!("open"), "无效的选项"),
        ("room_type", json!("Public"), "无效的选项"),
        ("room_type", json!(1), "类型错误"),
        ("max_members", json!(0), "数值超出范围"),
        ("max_members", json!(-1), "数值超出范围"),
        ("max_members", json!(1001), "数值超出范围"),
        ("max_members", json!("50"), "类型错误"),
        ("max_members", json!(2.5), "类型错误"),
    ] {
        let mut body = base.clone();
        body[field] = value.clone();
        let reply = s.alice.client.post(ROOMS, body).await;
        assert_eq!(reply.status, 400, "{field} {value}: {}", reply.text());
        reply.faulted(field, text);
    }
    for missing in ["name", "room_type"] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().remove(missing);
        s.alice
            .client
            .post(ROOMS, body)
            .await
            .faulted(missing, "该字段是必填项");
    }
    for (field, value) in [
        ("name", json!("字".repeat(100))),
        ("description", json!("字".repeat(2000))),
        ("description", Value::Null),
        ("max_members", json!(1)),
        ("max_members", json!(1000)),
    ] {
        let mut body = base.clone();
        body[field] = value.clone();
        let created = s.alice.client.post(ROOMS, body).await.expect(201);
        assert_eq!(created[field], value);
    }
    s.alice.client.post(ROOMS, json!([])).await.expect(400);
    s.srv
        .client
        .post(ROOMS, base)
        .await
        .refused_with(401, "not_authenticated", "未提供认证信息");
}

#[tokio::test]
async fn what_a_client_may_not_set_is_ignored() {
    let s = Stage::set().await;
    let body = json!({
        "name": "mine", "room_type": "public", "id": 7, "created_by": s.bob.id, "member_count": 9, "is_active": false,
        "last_seq": 99, "direct_key": "1:2", "created_at": "2000-01-01T00:00:00Z",
    });
    let created = s.alice.client.post(ROOMS, body).await.expect(201);
    covers(
        &created,
        &json!({ "created_by": u4(&s.alice), "member_count": 1, "is_active": true }),
    );
    assert!(!created["created_at"].as_str().unwrap().starts_with("2000"));
    assert_eq!(
        say(&s.alice, id_of(&created), "first").await["seq"],
        1,
        "the counter is the server's"
    );
}

#[tokio::test]
async fn a_room_is_made_once_with_a_key() {
    let s = Stage::set().await;
    let client = s.alice.client.with_header("idempotency-key", "room-1");
    let body = json!({ "name": "once", "room_type": "public" });
    let first = client.post(ROOMS, body.clone()).await.expect(201);
    let again = client.post(ROOMS, body).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.expect(201), first);
    let other = json!({ "name": "twice", "room_type": "public" });
    client
        .post(ROOMS, other)
        .await
        .refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn the_list_shows_own_and_public_rooms_newest_first() {
    let s = Stage::set().await;
    let hidden = create(&s.alice, "private").await;
    let group = create(&s.carol, "group").await;
    let public = create(&s.carol, "public").await;
    let of = async |user: &User, query: &str| {
        let list = user.client.get(&format!("{ROOMS}?{query}")).await.expect(200);
        ids(&list)
    };
    assert_eq!(of(&s.alice, "").await, [public, hidden, s.room]);
    assert_eq!(of(&s.alice, "scope=all").await, [public, hidden, s.room]);
    assert_eq!(of(&s.alice, "scope=mine").await, [hidden, s.room]);
    assert_eq!(of(&s.alice, "scope=public").await, [public, s.room]);
    assert_eq!(of(&s.carol, "").await, [public, group, s.room]);
    assert_eq!(of(&s.carol, "scope=mine").await, [public, group]);
    assert_eq!(of(&s.carol, "room_type=group").await, [group]);
    assert_eq!(of(&s.carol, "room_type=private").await, Vec::<i64>::new());
    let stranger = listed(&s.carol, s.room).await;
    has_keys(&stranger, &RL);
    covers(
        &stranger,
        &json!({ "is_member": false, "unread_count": 0, "member_count": 2, "is_active": true, "max_members": 50 }),
    );
    for (query, field, text) in [
        ("scope=other", "scope", "无效的选项"),
        ("room_type=secret", "room_type", "无效的选项"),
        ("page=0", "page", "数值超出范围"),
        ("page_size=101", "page_size", "数值超出范围"),
        ("page=x", "page", "类型错误"),
    ] {
        let reply = s.alice.client.get(&format!("{ROOMS}?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        reply.faulted(field, text);
    }
}

#[tokio::test]
async fn the_list_is_searched_and_turned_by_page() {
    let s = Stage::set().await;
    let mut made = vec![s.room];
    for n in 0..5 {
        made.push(id_of(
            &create_with(&s.alice, json!({ "name": format!("Rust 学习 {n}%") })).await,
        ));
    }
    made.push(id_of(&create_with(&s.alice, json!({ "name": "Москва" })).await));
    made.reverse();
    let get = async |query: &str| s.carol.client.get(&format!("{ROOMS}?{query}")).await;
    for (search, found) in [
        ("学习", 5),
        ("rust", 5),
        ("习 3", 1),
        ("茶", 1),
        ("%25", 5),
        ("_", 0),
        ("%D0%9C%D0%BE%D1%81%D0%BA%D0%B2%D0%B0", 1),
        ("%D0%BC%D0%BE%D1%81%D0%BA", 1),
        ("nothing", 0),
    ] {
        let list = get(&format!("search={search}")).await.expect(200);
        assert_eq!(list_of(&list).len(), found, "{search}: {list}");
    }
    let page = get("page=2&page_size=2").await;
    assert_eq!(page.header("x-total-count"), "7");
    assert_eq!((page.header("x-page"), page.header("x-page-size")), ("2", "2"));
    let link = page.header("link").to_owned();
    assert!(
        link.contains("rel=\"next\"") && link.contains("rel=\"prev\""),
        "{link}"
    );
    assert_eq!(ids(&page.expect(200)), made[2..4]);
    let past = get("page=9&page_size=2").await;
    assert_eq!(past.header("x-total-count"), "7");
    assert_eq!(past.expect(200), json!([]));
    assert_eq!(get("").await.header("x-page-size"), "50");
}

#[tokio::test]
async fn the_last_message_of_a_list_is_cut_to_a_hundred_characters() {
    let s = Stage::set().await;
    let long = "字".repeat(150);
    let sent = s.say(&s.bob, &long).await;
    assert_eq!(
        listed(&s.alice, s.room).await["last_message"],
        json!({
            "id": sent["id"], "content": "字".repeat(100), "sender": "bob", "created_at": sent["created_at"],
        })
    );
    delete(&s.bob, &sent).await.expect(200);
    let before = listed(&s.alice, s.room).await["last_message"].clone();
    assert_eq!(before["content"], "bob 加入了房间");
}

#[tokio::test]
async fn a_room_is_shown_to_those_who_may_see_it() {
    let s = Stage::set().await;
    let shown = look(&s.carol, s.room).await;
    covers(
        &shown,
        &json!({ "member_count": 2, "members": [u4(&s.alice), u4(&s.bob)], "my_role": null }),
    );
    assert_eq!(look(&s.bob, s.room).await["my_role"], "member");
    let last = s.say(&s.bob, "hello").await;
    assert_eq!(look(&s.alice, s.room).await["last_message_id"], last["id"]);
    for path in [
        at(s.room + 1000, ""),
        format!("{ROOMS}0/"),
        format!("{ROOMS}99999999999999999999/"),
    ] {
        let reply = s.alice.client.get(&path).await;
        assert_eq!(reply.status, 404, "{path}");
    }
    let reply = s.alice.client.get(&at(s.room + 1000, "")).await;
    reply.refused_with(404, "not_found", NO_ROOM);
    let english = s.carol.client.with_header("accept-language", "en");
    let room = create(&s.alice, "private").await;
    english
        .get(&at(room, ""))
        .await
        .refused_with(403, "not_member", "You may not access this room.");
    // With and without the slash.
    let bare = format!("{ROOMS}{}", s.room);
    assert_eq!(s.alice.client.get(&bare).await.expect(200)["id"], s.room);
}

#[tokio::test]
async fn only_admins_of_the_room_change_it() {
    let s = Stage::with(&[QUIET]).await;
    let mut socket = s.open(&s.bob).await;
    let body = json!({
        "name": "新名字", "description": "为什么", "room_type": "public", "max_members": 3,
    });
    for who in [&s.bob, &s.carol] {
        forbidden(who.client.patch(&s.at(""), body.clone()).await);
        forbidden(who.client.put(&s.at(""), body.clone()).await);
    }
    set_role(&s.alice, s.room, &s.bob, "moderator").await.expect(200);
    forbidden(s.bob.client.patch(&s.at(""), body.clone()).await);
    let shown = s.alice.client.patch(&s.at(""), body).await.expect(200);
    has_keys(&shown, &RC);
    covers(
        &shown,
        &json!({
            "id": s.room, "name": "新名字", "description": "为什么", "max_members": 3, "room_type": "public",
            "members": [u4(&s.alice), u4(&s.bob)],
        }),
    );
    let told = socket.of("room_updated").await;
    covers(
        &told["room"],
        &json!({ "id": s.room, "name": "新名字", "max_members": 3 }),
    );
    let again = json!({
        "name": "又一个", "description": null, "room_type": "private", "max_members": 3,
    });
    let shown = s.alice.client.put(&s.at(""), again).await.expect(200);
    covers(
        &shown,
        &json!({ "description": null, "room_type": "private", "name": "又一个", "max_members": 3 }),
    );
    s.carol
        .client
        .get(&s.at(""))
        .await
        .refused_with(403, "not_member", DENIED);
    for (body, field, text) in [
        (json!({ "name": "" }), "name", "该字段不能为空"),
        (json!({ "room_type": "x" }), "room_type", "无效的选项"),
        (json!({ "max_members": 1001 }), "max_members", "数值超出范围"),
        (json!({ "max_members": 0 }), "max_members", "数值超出范围"),
    ] {
        let reply = s.alice.client.patch(&s.at(""), body).await;
        reply.faulted(field, text);
    }
    let reply = s.alice.client.patch(&s.at(""), json!({ "max_members": 1 })).await;
    reply.refused(400, "max_members_too_small");
    let shown = s
        .alice
        .client
        .patch(&s.at(""), json!({ "max_members": 2 }))
        .await
        .expect(200);
    assert_eq!(shown["max_members"], 2);
    let missing = s.alice.client.patch(&at(s.room + 1000, ""), json!({})).await;
    missing.refused_with(404, "not_found", NO_ROOM);
}

#[tokio::test]
async fn a_closed_room_is_gone_and_can_be_opened_again() {
    let s = Stage::set().await;
    s.say(&s.bob, "before").await;
    for who in [&s.bob, &s.carol] {
        forbidden(who.client.delete(&s.at("")).await);
    }
    let reply = s.alice.client.delete(&s.at("")).await;
    assert_eq!((reply.status, reply.bytes.len()), (204, 0));
    for who in [&s.alice, &s.bob, &s.carol] {
        assert_eq!(listed(who, s.room).await, Value::Null);
    }
    let shown = look(&s.bob, s.room).await;
    assert_eq!(shown["is_active"], false);
    assert_eq!(history(&s.bob, s.room).await[1]["content"], "before");
    let told = notes_of(&s.bob, "system").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["room"]["id"], s.room);
    s.carol
        .client
        .post(&s.at("join/"), json!({}))
        .await
        .refused_with(404, "not_found", NO_ROOM);
    send(&s.bob, s.room, json!({ "content": "x" }))
        .await
        .refused_with(409, "room_inactive", "房间已关闭");

    let shown = s
        .alice
        .client
        .patch(&s.at(""), json!({ "is_active": true }))
        .await
        .expect(200);
    assert_eq!(shown["is_active"], true);
    s.say(&s.bob, "after").await;
    join(&s.carol, s.room).await;
    assert_eq!(listed(&s.carol, s.room).await["member_count"], 3);
}

#[tokio::test]
async fn other_methods_are_not_there() {
    let s = Stage::set().await;
    for (path, allowed) in [
        (ROOMS.to_owned(), "POST"),
        (s.at("join/"), "POST"),
        (s.at("members/"), "GET"),
    ] {
        let reply = s.alice.client.delete(&path).await;
        assert!(reply.header("allow").contains(allowed), "{path}");
        reply.refused_with(405, "method_not_allowed", "不支持的请求方法");
    }
}

#[tokio::test]
async fn no_address_is_shown_anywhere() {
    let s = Stage::set().await;
    let sent = s.say(&s.alice, "hello bob").await;
    for path in [
        ROOMS.to_owned(),
        s.at(""),
        s.at("members/"),
        s.at("messages/"),
        s.at("online/"),
        message_at(&sent, ""),
        message_at(&sent, "reads/"),
        NOTES.to_owned(),
        "/api/chat/unread/".to_owned(),
    ] {
        let reply = s.bob.client.get(&path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        is_discreet(&reply.text());
    }
}
