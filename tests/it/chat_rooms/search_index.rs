//! `/api/chat/messages/search/` with its index: answers are those of reading every message, and the
//! index follows whatever happens to the job that fills it.

use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;
use crate::support::{eventually, sql};

const BEHIND: &str = "SELECT COUNT(*) FROM chat_rooms r LEFT JOIN chat_search_marks k ON k.room_id = r.id \
                      WHERE r.last_seq > COALESCE(k.indexed_seq, 0)";

async fn search(user: &User, text: &str, rest: &str) -> Value {
    let text = utf8_percent_encode(text, NON_ALPHANUMERIC);
    let path = format!("/api/chat/messages/search/?q={text}&{rest}");
    user.client.get(&path).await.expect(200)
}

/// Ids that are found, and that the total is their number.
async fn found(user: &User, text: &str) -> Vec<i64> {
    let page = search(user, text, "page_size=100").await;
    let ids = ids(&page["messages"]);
    assert_eq!(page["total"], ids.len(), "{text}: {page}");
    ids
}

/// Waits until no room lags behind.
async fn indexed(srv: &TestServer) {
    eventually("all is indexed", 20, || async {
        sql::number(srv, BEHIND).await == 0
    })
    .await;
}

fn is_mysql() -> bool {
    database::server_url().is_some_and(|url| url.starts_with("mysql"))
}

/// Messages in the index.
async fn rows(srv: &TestServer) -> i64 {
    let count = if is_mysql() {
        "COUNT(DISTINCT id)"
    } else {
        "COUNT(*)"
    };
    sql::number(srv, &format!("SELECT {count} FROM chat_message_index")).await
}

fn key(message: &Value) -> String {
    match database::server_url() {
        Some(_) => format!("id = {}", id_of(message)),
        None => format!("rowid = {}", id_of(message)),
    }
}

/// As the contract means it: whatever contains the text, in any case.
fn expected(said: &[(i64, String)], text: &str) -> Vec<i64> {
    let text = text.to_lowercase();
    let hits = said
        .iter()
        .rev()
        .filter(|(_, content)| content.to_lowercase().contains(&text));
    hits.map(|(id, _)| *id).collect()
}

const SAID: [&str; 22] = [
    "今天天气很好，我们去喝乌龙茶吧！",
    "乌龙茶",
    "茶",
    "Rust语言 is fun, 不是吗",
    "Hello World, hello again",
    "the cat sat about the house",
    "ok",
    "OK computer",
    "I am 5 years old; route 66",
    "Привет, Мир! Ещё раз ПРИВЕТ",
    "Καλημέρα κόσμε",
    "안녕하세요 세계",
    "สวัสดีชาวโลก",
    "こんにちは、世界！カタカナも",
    "I ❤️ 茶 😀👍🏽 and 😀",
    "100% of_it \"quoted\" AND NOT * 'x' !! a+b -c (d) ~e <f> @g",
    "NEAR(one two) OR x:y ^z {col} : \\ a*b",
    "www.example.com/path?q=1&the=com",
    "Straße ÉCOLE école",
    "zzz Zebra jazz",
    "𠮷野家 🀄",
    "line one\nline two\tend",
];

/// Everything that is said in the room then, oldest first.
async fn say_all(s: &Stage) -> Vec<(i64, String)> {
    for text in SAID {
        s.say(&s.alice, text).await;
    }
    let said = history(&s.alice, s.room).await;
    let content = |m: &Value| m["content"].as_str().expect("a text").to_owned();
    said.iter().map(|m| (id_of(m), content(m))).collect()
}

#[tokio::test]
async fn the_index_answers_as_reading_every_message_would() {
    let s = Stage::set().await;
    let said = say_all(&s).await;
    indexed(&s.srv).await;
    let mut asked: Vec<String> = [
        "天气",
        "气天",
        "茶",
        "乌龙茶",
        "rust",
        "RUST语言",
        "语言 IS",
        "ell",
        "llo w",
        "the",
        "THE",
        "about",
        "bout",
        "com",
        "www",
        "ok",
        "k",
        "o",
        "5",
        "66",
        "6",
        "i am",
        "привет",
        "МИР",
        "ё",
        "ещё",
        "κόσμε",
        "안녕",
        "세",
        "สวัส",
        "世界",
        "世界！",
        "カタ",
        "😀",
        "👍",
        "❤",
        "%",
        "_",
        "\"",
        "'",
        "*",
        "+",
        "-",
        "!",
        "!!",
        "a+b",
        "-c",
        "(d)",
        "~e",
        "<f>",
        "@g",
        "NEAR",
        "NEAR(",
        "OR",
        "AND NOT",
        "NOT *",
        "x:y",
        "^z",
        "{col}",
        "\\",
        "a*b",
        "a*",
        "0% of_it",
        "of_i",
        "école",
        "STRAßE",
        "ß",
        "zz",
        "zzz",
        "jazz",
        "𠮷",
        "🀄",
        "q=1&",
        "xyz nothing",
        "乌茶",
        "hello there",
        "+the",
        "\"the cat\"",
        "the -cat",
        "hel*",
        "茶*",
        "天 气",
    ]
    .map(str::to_owned)
    .to_vec();
    // Parts of everything, of all lengths.
    for (n, (_, text)) in said.iter().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        for len in [1, 2, 3, 5, 100] {
            let from = (n * 7 + len) % chars.len();
            let part: String = chars[from..chars.len().min(from + len)].iter().collect();
            asked.push(part.trim().to_owned());
        }
    }
    asked.retain(|text| !text.is_empty() && !text.contains(char::is_control));
    for text in &asked {
        assert_eq!(found(&s.bob, text).await, expected(&said, text), "{text:?}");
    }
    // The same without an index.
    sql::execute(&s.srv, "UPDATE chat_search_marks SET indexed_seq = 0").await;
    for text in asked.iter().step_by(3) {
        assert_eq!(found(&s.bob, text).await, expected(&said, text), "{text:?}");
    }
}

#[tokio::test]
async fn it_is_the_index_that_is_asked() {
    let s = Stage::set().await;
    let first = s.say(&s.alice, "the same words").await;
    let second = s.say(&s.alice, "the same words").await;
    indexed(&s.srv).await;
    assert_eq!(found(&s.bob, "same").await, [id_of(&second), id_of(&first)]);
    let forget = format!("DELETE FROM chat_message_index WHERE {}", key(&first));
    sql::execute(&s.srv, &forget).await;
    assert_eq!(found(&s.bob, "same").await, [id_of(&second)]);
    assert_eq!(found(&s.bob, "me").await, [id_of(&second)], "by prefix");
    assert_eq!(found(&s.bob, "e").await.len(), 2, "too short for an index");
}

#[tokio::test]
async fn what_was_said_is_found_at_once_and_indexed_soon() {
    let s = Stage::set().await;
    let sent = s.say(&s.alice, "头一句话").await;
    assert_eq!(found(&s.bob, "一句").await, [id_of(&sent)]);
    let begun = Instant::now();
    indexed(&s.srv).await;
    // Two seconds are promised; a busy machine is given some more.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(found(&s.bob, "一句").await, [id_of(&sent)]);
    // So is what the server says itself.
    join(&s.carol, s.room).await;
    assert_eq!(found(&s.bob, "carol 加入").await.len(), 1);
    indexed(&s.srv).await;
    assert_eq!(found(&s.bob, "carol 加入").await.len(), 1);
    let seqs = "SELECT SUM(last_seq) FROM chat_rooms";
    let seqs = format!("SELECT CAST(({seqs}) AS {}) AS n", bigint());
    assert_eq!(rows(&s.srv).await, sql::number(&s.srv, &seqs).await);
}

fn bigint() -> &'static str {
    if is_mysql() { "SIGNED" } else { "BIGINT" }
}

#[tokio::test]
async fn edits_and_deletions_reach_the_index_at_once() {
    let s = Stage::set().await;
    let edited = s.say(&s.bob, "错别字在此 before").await;
    let gone = s.say(&s.bob, "后悔的话 before").await;
    indexed(&s.srv).await;
    let before = rows(&s.srv).await;
    edit(&s.bob, &edited, "改正文字 after").await.expect(200);
    assert_eq!(found(&s.alice, "改正").await, [id_of(&edited)]);
    assert_eq!(found(&s.alice, "错别").await, Vec::<i64>::new());
    assert_eq!(found(&s.alice, "before").await, [id_of(&gone)]);
    delete(&s.bob, &gone).await.expect(200);
    assert_eq!(found(&s.alice, "后悔").await, Vec::<i64>::new());
    assert_eq!(found(&s.alice, "已删除").await, Vec::<i64>::new());
    assert_eq!(rows(&s.srv).await, before - 1);
    // Before the index has them.
    let edited = s.say(&s.bob, "first words").await;
    edit(&s.bob, &edited, "second thoughts").await.expect(200);
    let gone = s.say(&s.bob, "third time").await;
    delete(&s.bob, &gone).await.expect(200);
    for _ in 0..2 {
        assert_eq!(found(&s.alice, "first").await, Vec::<i64>::new());
        assert_eq!(found(&s.alice, "second").await, [id_of(&edited)]);
        assert_eq!(found(&s.alice, "third").await, Vec::<i64>::new());
        indexed(&s.srv).await;
    }
}

#[tokio::test]
async fn edits_race_with_the_job_and_win() {
    let s = Stage::set().await;
    for n in 0..30 {
        let sent = s.say(&s.bob, &format!("draft number {n}")).await;
        if n % 3 == 0 {
            // About when the job runs.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        edit(&s.bob, &sent, &format!("final number {n}"))
            .await
            .expect(200);
    }
    indexed(&s.srv).await;
    assert_eq!(found(&s.alice, "draft").await, Vec::<i64>::new());
    assert_eq!(found(&s.alice, "final").await.len(), 30);
}

/// As after a crash between a message and its job, or in a database from before the index.
#[tokio::test]
async fn what_no_job_was_made_for_is_indexed_within_a_minute() {
    let s = Stage::set().await;
    let said = say_all(&s).await;
    indexed(&s.srv).await;
    s.srv.settle().await;
    let before = rows(&s.srv).await;
    for forget in [
        "UPDATE chat_search_marks SET indexed_seq = 0",
        "DELETE FROM chat_message_index",
        "DELETE FROM jobs WHERE kind = 'index_chat'",
    ] {
        sql::execute(&s.srv, forget).await;
    }
    assert_eq!(
        found(&s.bob, "乌龙").await,
        expected(&said, "乌龙"),
        "still found"
    );
    s.srv.later(Duration::from_secs(61)).await;
    indexed(&s.srv).await;
    assert_eq!(rows(&s.srv).await, before);
    for text in ["乌龙", "hello", "the", "ok"] {
        assert_eq!(found(&s.bob, text).await, expected(&said, text), "{text}");
    }
    // Doing it again changes nothing.
    sql::execute(&s.srv, "UPDATE chat_search_marks SET indexed_seq = 1").await;
    s.srv.later(Duration::from_secs(61)).await;
    indexed(&s.srv).await;
    assert_eq!(rows(&s.srv).await, before);
    assert_eq!(found(&s.bob, "乌龙").await, expected(&said, "乌龙"));
}

#[tokio::test]
async fn a_job_that_its_worker_left_behind_is_done_by_another() {
    let s = Stage::set().await;
    let sent = s.say(&s.alice, "before the fall").await;
    indexed(&s.srv).await;
    // Stopped before the job of the last message is made, and started again.
    let last = s.say(&s.alice, "the last words").await;
    let Stage { srv, bob, .. } = s;
    let srv = srv.restart().await;
    let bob = through(&srv, &bob);
    assert_eq!(found(&bob, "the").await, [id_of(&last), id_of(&sent)]);
    srv.later(Duration::from_secs(61)).await;
    indexed(&srv).await;
    assert_eq!(found(&bob, "the").await, [id_of(&last), id_of(&sent)]);
}

#[tokio::test]
async fn only_own_rooms_are_searched() {
    let s = Stage::set().await;
    let secret = create(&s.alice, "private").await;
    let hidden = say(&s.alice, secret, "秘密 plan").await;
    let open = s.say(&s.alice, "公开 plan").await;
    let mut more = Vec::new();
    for n in 0..4 {
        let room = create(&s.alice, "group").await;
        more.push(id_of(&say(&s.alice, room, &format!("plan {n}")).await));
    }
    for _ in 0..2 {
        assert_eq!(found(&s.bob, "plan").await, [id_of(&open)]);
        assert_eq!(found(&s.bob, "p").await, [id_of(&open)]);
        assert_eq!(found(&s.bob, "秘").await, Vec::<i64>::new());
        assert_eq!(found(&s.carol, "plan").await, Vec::<i64>::new());
        let mut all = vec![id_of(&hidden), id_of(&open)];
        all.extend(&more);
        all.reverse();
        assert_eq!(found(&s.alice, "plan").await, all);
        let one = search(&s.alice, "plan", &format!("room_id={secret}")).await;
        assert_eq!(ids(&one["messages"]), [id_of(&hidden)]);
        indexed(&s.srv).await;
    }
    leave(&s.bob, s.room).await;
    assert_eq!(found(&s.bob, "plan").await, Vec::<i64>::new());
    join(&s.bob, s.room).await;
    assert_eq!(found(&s.bob, "plan").await, [id_of(&open)]);
    act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    assert_eq!(found(&s.bob, "plan").await, Vec::<i64>::new());
}

#[tokio::test]
async fn pages_and_totals_hold_across_the_mark() {
    let s = Stage::set().await;
    let mut sent = Vec::new();
    for n in 0..25 {
        sent.push(id_of(&s.say(&s.alice, &format!("云雀 flies {n}")).await));
        s.say(&s.alice, "something else").await;
        if n == 15 {
            indexed(&s.srv).await;
        }
    }
    sent.reverse();
    for _ in 0..2 {
        for text in ["云雀", "flies", "雀", "云雀 fl"] {
            let mut all = Vec::new();
            for page in 1..=4 {
                let rest = format!("page={page}&page_size=7");
                let answer = search(&s.bob, text, &rest).await;
                covers(&answer, &json!({ "page": page, "page_size": 7, "total": 25 }));
                all.extend(ids(&answer["messages"]));
            }
            assert_eq!(all, sent, "{text}");
            let past = search(&s.bob, text, "page=5&page_size=7").await;
            covers(&past, &json!({ "messages": [], "total": 25 }));
            let whole = search(&s.bob, text, "page=5&page_size=5").await;
            covers(&whole, &json!({ "total": 25 }));
        }
        indexed(&s.srv).await;
    }
    let nothing = search(&s.bob, "鲸鱼", "").await;
    covers(&nothing, &json!({ "messages": [], "total": 0 }));
}

#[tokio::test]
async fn long_messages_are_indexed_to_their_end() {
    let s = Stage::set().await;
    let words: String = (0..1200).map(|n| format!("w{n:05} ")).collect();
    let long = s.say(&s.alice, &format!("{words}结尾")).await;
    let signs: String = (0..9_990).filter_map(|n| char::from_u32(0x4e00 + n)).collect();
    let wide = s.say(&s.alice, &format!("{signs}尾声")).await;
    for _ in 0..12 {
        s.say(&s.alice, &signs).await;
    }
    indexed(&s.srv).await;
    assert_eq!(found(&s.bob, "w01199 结尾").await, [id_of(&long)]);
    assert_eq!(found(&s.bob, "尾声").await, [id_of(&wide)]);
    assert_eq!(found(&s.bob, "w01200").await, Vec::<i64>::new());
}

#[tokio::test]
async fn two_servers_fill_one_index() {
    let Some(s) = Stage::on_two(&[]).await else { return };
    let far = through(s.there(), &s.alice);
    let other = create(&s.alice, "public").await;
    let mut sent = Vec::new();
    for n in 0..20 {
        let by = if n % 2 == 0 { &s.alice } else { &far };
        let room = if n % 3 == 0 { other } else { s.room };
        sent.push(id_of(&say(by, room, &format!("shared index {n}")).await));
    }
    indexed(&s.srv).await;
    sent.sort_unstable();
    sent.reverse();
    assert_eq!(found(&s.alice, "shared").await, sent);
    assert_eq!(found(&far, "index").await, sent);
}
