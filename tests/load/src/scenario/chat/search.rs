//! How long a search takes among many messages, and how long until they are indexed.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;

use super::{messages_of, number, open_room};
use crate::Fault;
use crate::scenario::sizes;
use crate::server::{Account, Peers, Place, Server, Size};
use crate::table::{Row, Table};

const MESSAGES: usize = 200_000;
const ROOMS: usize = 10;
const CHUNK: usize = 500;
/// Of each search the fastest counts.
const TRIES: usize = 3;
/// Longer than it takes on any machine.
const PATIENCE: Duration = Duration::from_secs(600);
const BEHIND: &str = "SELECT COUNT(*) FROM chat_rooms r LEFT JOIN chat_search_marks k ON k.room_id = r.id \
                      WHERE r.last_seq > COALESCE(k.indexed_seq, 0)";
/// Nowhere, in some, in many; inside words, of two words; without a gram.
const SEARCHES: [&str; 7] = ["乌龙", "一丁", "一", "the", "quaver bri", "zo", "q"];

pub async fn run(peers: &Peers, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        search(peers, size, table).await?;
    }
    Ok(())
}

async fn search(peers: &Peers, size: Size, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, size).await?;
    let server = place.serve(&["--no-worker"]).await?;
    let reader = server.account(0).await?;
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        rooms.push(open_room(&server, &reader, &format!("load {n}")).await?);
    }
    let database = place.connect().await?;
    fill(&database, &rooms, reader.id).await?;
    let without = searches(&server, &reader).await?;
    server.stop().await?;

    let server = place.serve(&[]).await?;
    let worker = match size {
        Size::Embedded => None,
        Size::Servers => Some(place.worker(1).await?),
    };
    let begun = Instant::now();
    for room in &rooms {
        // What is said in a room brings all that the index lacks of it.
        let body = json!({ "content": "there" }).to_string();
        server
            .ask("POST", &messages_of(*room), Some(&reader.token), Some(&body))
            .await?;
    }
    while number(&database, BEHIND).await? > 0 {
        if begun.elapsed() > PATIENCE {
            return Err("the index is not filled".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let figure = format!("{MESSAGES} messages indexed, {}", size.name());
    table.add(Row::info(figure, format!("{took:.1} s")));
    let with = searches(&server, &reader).await?;
    for ((text, (found, with)), (_, without)) in SEARCHES.iter().zip(with).zip(without) {
        let figure = format!("search of {text:?} in them, {}", size.name());
        table.add(Row {
            against: format!("{without:.0} ms"),
            ..Row::info(figure, format!("{with:.0} ms, {found} found"))
        });
    }
    if let Some(worker) = worker {
        worker.stop().await?;
    }
    database.close().await?;
    server.stop().await
}

/// How many are found, and in how many milliseconds.
async fn searches(server: &Server, reader: &Account) -> Result<Vec<(i64, f64)>, Fault> {
    let mut all = Vec::new();
    for text in SEARCHES {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/chat/messages/search/?q={encoded}");
        let (mut found, mut fastest) = (0, f64::INFINITY);
        for _ in 0..TRIES {
            let begun = Instant::now();
            let page = server.ask("GET", &path, Some(&reader.token), None).await?;
            fastest = fastest.min(begun.elapsed().as_secs_f64() * 1000.0);
            found = page["total"].as_i64().ok_or("a page without a total")?;
        }
        all.push((found, fastest));
    }
    Ok(all)
}

/// Puts messages into rooms, more of them into some than into others.
async fn fill(database: &DatabaseConnection, rooms: &[i64], sender: i64) -> Result<(), Fault> {
    let mut dice = Dice(7);
    let mut last = vec![0; rooms.len()];
    for _ in 0..MESSAGES / CHUNK {
        let mut insert =
            "INSERT INTO chat_messages (room_id, seq, ordinal, sender_id, message_type, content, \
                          is_edited, is_deleted, created_at, updated_at) VALUES "
                .to_owned();
        for n in 0..CHUNK {
            let at = dice.roll(rooms.len());
            last[at] += 1;
            let (room, seq, text) = (rooms[at], last[at], dice.text());
            let comma = if n == 0 { "" } else { "," };
            write!(
                insert,
                "{comma}({room},{seq},{seq},{sender},'text','{text}',0,0,'2026-01-01 00:00:00','2026-01-01 00:00:00')"
            )?;
        }
        database.execute_unprepared(&insert).await?;
    }
    for room in rooms {
        let of_room = format!("FROM chat_messages WHERE room_id = {room}");
        let update = format!(
            "UPDATE chat_rooms SET last_seq = (SELECT MAX(seq) {of_room}), last_ordinal = (SELECT MAX(ordinal) {of_room}), \
             notified_seq = (SELECT MAX(seq) {of_room}), head_id = (SELECT MAX(id) {of_room}), \
             last_message_id = (SELECT MAX(id) {of_room}) WHERE id = {room}"
        );
        database.execute_unprepared(&update).await?;
    }
    Ok(())
}

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
