//! The must-pass scenarios of the contract.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn agents_scenario_06_message_bodies_are_those_of_the_seed() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let sent = say(&stage.customer, session, "这是一条文本消息").await;
    has_keys(&sent, &SM);
    let customer = &stage.customer;
    let expected = json!({
        "id": sent["id"], "session": session, "sender": customer.id,
        "sender_info": { "id": customer.id, "username": "customer", "name": "customer", "avatar": null },
        "message_type": "client", "content_type": "text", "content": "这是一条文本消息",
        "image": null, "image_url": null, "is_read": false, "created_at": sent["created_at"],
    });
    assert_eq!(sent, expected);
    assert!(sent["created_at"].as_str().unwrap().ends_with('Z'));

    let picture = pictures::png();
    let sent = send_image(&stage.agent, session, "../../image 123.png", &picture)
        .await
        .expect(201);
    has_keys(&sent, &SM);
    let image = sent["image"].as_str().expect("a key");
    let url = format!("{}/media/{image}", stage.srv.client.base());
    let expected = json!({
        "id": sent["id"], "session": session, "sender": stage.agent.id,
        "sender_info": { "id": stage.agent.id, "username": "agent2", "name": "agent2", "avatar": null },
        "message_type": "agent", "content_type": "image", "content": null,
        "image": image, "image_url": url, "is_read": false, "created_at": sent["created_at"],
    });
    assert_eq!(sent, expected);
    let name = image.strip_prefix("chat_images/").expect("the folder");
    let hex = name.strip_suffix(".png").expect("the sniffed type");
    assert!(
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        "{name}"
    );
    // Without credentials.
    let shown = stage.srv.client.get(&url).await;
    assert_eq!((shown.status, shown.header("content-type")), (200, "image/png"));
    assert_eq!(shown.bytes, picture);
    // The list shows the same.
    let list = stage.customer.client.get(&messages_of(session)).await.expect(200);
    assert_eq!(list[2], sent);
    assert_eq!(list.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn agents_scenario_07_bad_texts_and_images_are_refused() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let (customer, path) = (&stage.customer, messages_of(session));
    for body in [
        json!({}),
        json!({ "content": null }),
        json!({ "content_type": "text" }),
        json!({ "content_type": "text", "content": "" }),
        json!({ "content": " \n\t \u{3000}" }),
    ] {
        let reply = customer.client.post(&path, body).await;
        fault(reply, "empty_content", "content", "文本消息不能为空");
    }
    let missing = "图片消息必须包含图片文件";
    let body = json!({ "content_type": "image", "content": "x" });
    fault(
        customer.client.post(&path, body).await,
        "image_required",
        "image",
        missing,
    );
    let kind = part("content_type", None, b"image");
    for parts in [
        vec![kind.clone()],
        vec![kind.clone(), part("image", Some(""), b"")],
        vec![part("content", None, b"x"), kind.clone()],
    ] {
        let reply = send_parts(&customer.client, &path, &parts).await;
        fault(reply, "image_required", "image", missing);
    }
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>"#;
    for (name, bytes) in [
        ("a.png", &b"I am a picture"[..]),
        ("a.png", b"<html><script>alert(1)</script>"),
        ("a.svg", svg),
        ("a.png", svg),
        ("a.bmp", b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0"),
        ("a.jpg", b"%PDF-1.7"),
    ] {
        let text = "不支持的图片格式，仅支持 JPEG、PNG、GIF、WebP";
        fault(
            send_image(customer, session, name, bytes).await,
            "unsupported_image",
            "image",
            text,
        );
    }
    const LIMIT: usize = 10_485_760;
    let too_large = pictures::jpeg_of_size(LIMIT + 1);
    let reply = send_image(customer, session, "a.jpg", &too_large).await;
    fault(reply, "image_too_large", "image", "图片大小不能超过10MB");
    assert_eq!(stored_images(&stage.srv), Vec::<String>::new());
    let largest = pictures::jpeg_of_size(LIMIT);
    send_image(customer, session, "a.jpg", &largest).await.expect(201);

    let gps = pictures::jpeg(&[pictures::exif_with_gps(6)]);
    let sent = send_image(customer, session, "a.jpg", &gps).await.expect(201);
    let kept = stage
        .srv
        .client
        .get(sent["image_url"].as_str().unwrap())
        .await
        .bytes;
    let holds = |text: &[u8]| kept.windows(text.len()).any(|w| w == text);
    assert!(!holds(b"48.8583N"), "the position is gone");
    assert!(
        holds(b"Exif\0\0") && holds(&[0x12, 0x01, 3, 0, 1, 0, 0, 0, 6]),
        "the orientation stays"
    );
    assert!(kept.ends_with(&pictures::jpeg(&[])[20..]), "and so do the pixels");
}

#[tokio::test]
async fn agents_scenario_08_strangers_are_refused_and_roles_cannot_be_forged() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    say(&stage.customer, session, "secret").await;
    for who in [&stage.stranger, &stage.rival, &stage.editor] {
        let client = &who.client;
        let text = "您没有权限访问此会话";
        let list = client.get(&messages_of(session)).await;
        assert!(!list.text().contains("secret"));
        refusal(list, 403, "permission_denied", text);
        refusal(client.get(&at(session)).await, 403, "permission_denied", text);
        let body = json!({ "content": "hello" });
        let reply = client.post(&messages_of(session), body).await;
        refusal(reply, 403, "not_participant", "您没有权限在此会话中发送消息");
        let reply = send_image(who, session, "a.png", &pictures::png()).await;
        refusal(reply, 403, "not_participant", "您没有权限在此会话中发送消息");
        let reply = client
            .post(&format!("{}mark_read/", at(session)), json!({}))
            .await;
        refusal(reply, 403, "permission_denied", text);
    }
    let forged = json!({
        "content": "me", "message_type": "system", "sender": stage.agent.id, "session": 999,
        "is_read": true, "agent": stage.rival.id, "client": stage.stranger.id, "id": 1, "created_at": "2000-01-01T00:00:00Z",
    });
    let sent = stage
        .customer
        .client
        .post(&messages_of(session), forged)
        .await
        .expect(201);
    assert_eq!(
        (
            &sent["message_type"],
            &sent["sender"],
            &sent["session"],
            &sent["is_read"]
        ),
        (
            &json!("client"),
            &json!(stage.customer.id),
            &json!(session),
            &json!(false)
        )
    );
    assert!(!sent["created_at"].as_str().unwrap().starts_with("2000"));
    let forged = json!({ "agent": stage.rival.id, "client": stage.stranger.id, "is_active": false });
    let again = stage.customer.client.post(SESSIONS, forged).await.expect(200);
    assert_eq!(
        (&again["client"], &again["agent"], &again["is_active"]),
        (&json!(stage.customer.id), &json!(stage.agent.id), &json!(true))
    );
    // There is no way to write a session or a message.
    for path in [
        at(session),
        messages_of(session),
        format!("{}1/", messages_of(session)),
    ] {
        for method in ["PATCH", "PUT"] {
            let method: Method = method.parse().unwrap();
            let request = stage
                .customer
                .client
                .request(method, &path)
                .json_text("{\"agent\":1}");
            stage
                .customer
                .client
                .send(request)
                .await
                .refused(405, "method_not_allowed");
        }
    }
    let delete = stage.customer.client.delete(&at(session)).await;
    delete.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn agents_scenario_09_parallel_creations_make_one_session() {
    let stage = Stage::set().await;
    let replies = join_all((0..20).map(|_| stage.customer.client.post(SESSIONS, json!({})))).await;
    let created = replies.iter().filter(|r| r.status == 201).count();
    assert_eq!(created, 1);
    let mut found = std::collections::BTreeSet::new();
    for reply in replies {
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
        found.insert(reply.json()["id"].as_i64().unwrap());
    }
    assert_eq!(found.len(), 1);
    let rows = sql::number(&stage.srv, "SELECT COUNT(*) FROM support_sessions").await;
    let messages = sql::number(&stage.srv, "SELECT COUNT(*) FROM support_messages").await;
    assert_eq!((rows, messages), (1, 1));
    let session = found.into_iter().next().unwrap();
    let list = stage.customer.client.get(&messages_of(session)).await.expect(200);
    let first = &list[0];
    assert_eq!(
        (
            &first["content"],
            &first["message_type"],
            &first["is_read"],
            &first["sender"]
        ),
        (
            &json!("会话已创建"),
            &json!("system"),
            &json!(true),
            &json!(stage.customer.id)
        )
    );
}

/// A JSON body on a request that is built by hand.
trait JsonText {
    fn json_text(self, body: &str) -> Self;
}

impl JsonText for reqwest::RequestBuilder {
    fn json_text(self, body: &str) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_owned())
    }
}
