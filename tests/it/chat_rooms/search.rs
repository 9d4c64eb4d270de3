//! `/api/chat/messages/search/`.

use super::*;
use crate::support::eventually;

async fn search(user: &User, query: &str) -> Value {
    let path = format!("/api/chat/messages/search/?{query}");
    user.client.get(&path).await.expect(200)
}

async fn found(user: &User, query: &str) -> Vec<i64> {
    ids(&search(user, query).await["messages"])
}

/// The index follows at most two seconds behind.
async fn finds(user: &User, query: &str, expected: &[&Value]) {
    let expected: Vec<i64> = expected.iter().map(|m| id_of(m)).collect();
    eventually(query, 10, || async { found(user, query).await == expected }).await;
}

#[tokio::test]
async fn chinese_words_of_one_and_two_characters_are_found() {
    let s = Stage::set().await;
    let weather = s.say(&s.alice, "今天天气很好").await;
    let market = s.say(&s.bob, "明天去市场吗？").await;
    let mixed = s.say(&s.alice, "Rust语言 is fun").await;
    finds(&s.bob, "q=天气", &[&weather]).await;
    finds(&s.bob, "q=天", &[&market, &weather]).await;
    finds(&s.bob, "q=市场", &[&market]).await;
    finds(&s.bob, "q=今天天气", &[&weather]).await;
    finds(&s.bob, "q=语言", &[&mixed]).await;
    finds(&s.bob, "q=言", &[&mixed]).await;
    finds(&s.bob, "q=rust", &[&mixed]).await;
    finds(&s.bob, "q=FUN", &[&mixed]).await;
    // Characters that stand apart are not the word.
    assert_eq!(found(&s.bob, "q=气市").await, Vec::<i64>::new());
}

#[tokio::test]
async fn answers_have_the_form_of_a_list() {
    let s = Stage::set().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(s.say(&s.alice, &format!("云雀飞过 {n}")).await);
    }
    eventually("all are found", 10, || async {
        found(&s.bob, "q=云雀").await.len() == 5
    })
    .await;
    let page = search(&s.bob, "q=云雀&page=2&page_size=2").await;
    covers(&page, &json!({ "page": 2, "page_size": 2, "total": 5 }));
    assert_eq!(ids(&page["messages"]), [id_of(&sent[2]), id_of(&sent[1])]);
    has_keys(&page["messages"][0], &M);
    let past = search(&s.bob, "q=云雀&page=9").await;
    assert_eq!(past["messages"], json!([]));
}

#[tokio::test]
async fn only_rooms_of_the_caller_are_searched() {
    let s = Stage::set().await;
    let secret = create(&s.alice, "private").await;
    let hidden = say(&s.alice, secret, "秘密计划").await;
    let open = s.say(&s.alice, "公开计划").await;
    finds(&s.alice, "q=计划", &[&open, &hidden]).await;
    assert_eq!(found(&s.bob, "q=计划").await, [id_of(&open)]);
    // A public room that one is not a member of is not one's own.
    assert_eq!(found(&s.carol, "q=计划").await, Vec::<i64>::new());
    finds(&s.alice, &format!("q=计划&room_id={secret}"), &[&hidden]).await;
    let path = format!("/api/chat/messages/search/?q=计划&room_id={secret}");
    let foreign = s.bob.client.get(&path).await;
    assert!(!foreign.text().contains("秘密"), "{}", foreign.text());
    leave(&s.bob, s.room).await;
    assert_eq!(found(&s.bob, "q=计划").await, Vec::<i64>::new());
}

#[tokio::test]
async fn what_was_deleted_or_changed_is_not_found_any_more() {
    let s = Stage::set().await;
    let gone = s.say(&s.bob, "后悔的话").await;
    let edited = s.say(&s.bob, "错别字在此").await;
    finds(&s.alice, "q=后悔", &[&gone]).await;
    finds(&s.alice, "q=错别", &[&edited]).await;
    delete(&s.bob, &gone).await.expect(200);
    assert_eq!(found(&s.alice, "q=后悔").await, Vec::<i64>::new(), "at once");
    assert_eq!(found(&s.alice, "q=已删除").await, Vec::<i64>::new());
    edit(&s.bob, &edited, "改正文字").await.expect(200);
    finds(&s.alice, "q=改正", &[&edited]).await;
    finds(&s.alice, "q=错别", &[]).await;
}

#[tokio::test]
async fn questions_are_checked() {
    let s = Stage::set().await;
    s.say(&s.alice, "100% of_it \"quoted\" AND NOT * 'x'").await;
    for query in ["", "q=", "q=%20%20"] {
        let reply = s
            .bob
            .client
            .get(&format!("/api/chat/messages/search/?{query}"))
            .await;
        let body = reply.refused(400, "validation_error");
        assert!(body["errors"]["q"].is_array(), "{query}: {body}");
    }
    let long = "字".repeat(101);
    let reply = s
        .bob
        .client
        .get(&format!("/api/chat/messages/search/?q={long}"))
        .await;
    reply.faulted("q", "长度不能超过 100 个字符");
    search(&s.bob, &format!("q={}", "字".repeat(100))).await;
    // What is an operator elsewhere is text here.
    for odd in [
        "%25", "_", "\"", "'", "*", "AND", "NEAR(", "-x", "a*", "\\", ")", ":", "^", "%2B", "！", "😀",
    ] {
        let path = format!("/api/chat/messages/search/?q={odd}");
        let reply = s.bob.client.get(&path).await;
        assert_eq!(reply.status, 200, "{odd}: {}", reply.text());
    }
}
