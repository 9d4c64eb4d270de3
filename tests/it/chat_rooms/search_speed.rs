//! How long a search takes among 200,000 messages, with the index and without. Run by hand:
//! `cargo test --test it -- --ignored --nocapture search_speed`.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;
use crate::support::{eventually, sql};

const MESSAGES: usize = 200_000;
const ROOMS: usize = 10;
const BEHIND: &str = "SELECT COUNT(*) FROM chat_rooms r LEFT JOIN chat_search_marks k ON k.room_id = r.id \
                      WHERE r.last_seq > COALESCE(k.indexed_seq, 0)";

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    /// Small ones more often than large ones, as words are.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unit = (self.0 >> 33) as f64 / f64::from(1_u32 << 31);
        ((unit * unit * unit) * sides as f64) as usize
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 24] = [
            "the", "ing", "ou", "ter", "an", "ra", "mo", "lin", "es", "ka", "ver", "so", "pre", "con", "ti",
            "al", "um", "qua", "ve", "bri", "os", "ex", "zo", "yp",
        ];
        let mut text = String::new();
        for _ in 0..5 + self.roll(20) {
            if self.0 & (1 << 40) == 0 {
                for _ in 0..=self.roll(3) {
                    text.push_str(PARTS[self.roll(PARTS.len())]);
                }
                text.push(' ');
            } else {
                let sign = 0x4e00 + self.roll(3000) as u32;
                text.extend(char::from_u32(sign));
            }
        }
        text
    }
}

async fn fill(s: &Stage) -> Vec<i64> {
    let mut rooms = vec![s.room];
    for _ in 1..ROOMS {
        let room = create(&s.alice, "public").await;
        join(&s.bob, room).await;
        rooms.push(room);
    }
    let time = match crate::support::database::server_url() {
        Some(url) if url.starts_with("mysql") => "2026-01-01 00:00:00",
        _ => "2026-01-01 00:00:00+00:00",
    };
    let mut dice = Dice(7);
    let mut seqs = vec![10; ROOMS];
    for _ in 0..MESSAGES / 500 {
        let mut insert =
            "INSERT INTO chat_messages (room_id, seq, ordinal, sender_id, message_type, content, \
                          created_at, updated_at) VALUES "
                .to_owned();
        for n in 0..500 {
            let at = dice.roll(ROOMS);
            seqs[at] += 1;
            let (room, seq, text, sender) = (rooms[at], seqs[at], dice.text(), s.alice.id);
            let comma = if n == 0 { "" } else { "," };
            write!(
                insert,
                "{comma}({room},{seq},{seq},{sender},'text','{text}','{time}','{time}')"
            )
            .expect("a text");
        }
        sql::execute(&s.srv, &insert).await;
    }
    for (room, seq) in rooms.iter().zip(seqs) {
        let update =
            format!("UPDATE chat_rooms SET last_seq = {seq}, last_ordinal = {seq} WHERE id = {room}");
        sql::execute(&s.srv, &update).await;
    }
    rooms
}

async fn measure(s: &Stage, rooms: &[i64], what: &str) {
    let one = format!("room_id={}", rooms[0]);
    for (text, rest) in [
        ("乌龙", ""),
        ("一丁", ""),
        ("一丁", one.as_str()),
        ("一", ""),
        ("the", ""),
        ("thelin", ""),
        ("quaver bri", ""),
        ("quaver", one.as_str()),
        ("zo", ""),
        ("nothing like it", ""),
        ("q", ""),
    ] {
        let path = format!(
            "/api/chat/messages/search/?q={}&{rest}",
            utf8_percent_encode(text, NON_ALPHANUMERIC)
        );
        let mut best = Duration::MAX;
        let mut total = Value::Null;
        for _ in 0..3 {
            let begun = Instant::now();
            total = s.bob.client.get(&path).await.expect(200)["total"].clone();
            best = best.min(begun.elapsed());
        }
        println!(
            "{what}: {text:?} {rest}: {total} found in {} ms",
            best.as_millis()
        );
    }
}

#[tokio::test]
#[ignore = "takes minutes; a measurement"]
async fn a_search_among_many_messages() {
    let s = Stage::set().await;
    let rooms = fill(&s).await;
    measure(&s, &rooms, "without").await;
    let begun = Instant::now();
    s.srv.clock.advance(Duration::from_secs(61));
    eventually("all is indexed", 600, || async {
        sql::number(&s.srv, BEHIND).await == 0
    })
    .await;
    println!("indexed in {} s", begun.elapsed().as_secs());
    measure(&s, &rooms, "with").await;
}
