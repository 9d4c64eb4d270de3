//! A page of messages and the list of rooms against bare handlers with one joined query each, and
//! again with a million messages in the room.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use serde_json::json;

use super::talk::SAYING;
use super::{join, messages_of, number, open_room};
use crate::Fault;
use crate::scenario::{BareServer, in_turns, mean, sizes, wrk};
use crate::server::{Account, Peers, Place, Server, Size};
use crate::table::{Row, Table};

/// As many as a page has; each of them has sent one of its messages.
const USERS: usize = 20;
const ROOMS: usize = 20;
const MILLION: i64 = 1_000_000;
const CHUNK: i64 = 100_000;
/// In the middle of a million.
const DEEP: i64 = MILLION / 20 / 2;
/// Nothing in the background: neither notifications nor the index for searching.
const SERVE: &[&str] = &["--no-worker"];
const LIST: &str = "/api/chat/rooms/?page_size=20";

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        pages(peers, size, time, table).await?;
    }
    Ok(())
}

async fn pages(peers: &Peers, size: Size, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, size).await?;
    let server = place.serve(SERVE).await?;
    let accounts = server.accounts(USERS).await?;
    let reader = &accounts[0];
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        rooms.push(open_room(&server, reader, &format!("load {n}")).await?);
    }
    // The newest room has the messages; the others have their last one from it too.
    let (room, others) = rooms.split_last().ok_or("no room")?;
    join(&server, accounts[1..].iter().map(|account| (*room, account))).await?;
    for other in others {
        say(&server, *other, reader).await?;
    }
    talk(&server, *room, &accounts).await?;
    server.stop().await?;

    let bare_token = crate::bare::token(reader.id)?;
    let page = format!("{}?page=1&page_size=20", messages_of(*room));
    let bare_page = format!("/rooms/{room}/messages");
    let mut few = Vec::new();
    for (what, path, bare_path) in [
        ("page of 20 messages", page.as_str(), bare_page.as_str()),
        ("list of 20 rooms", LIST, "/rooms"),
    ] {
        let (ours, bare) = in_turns(
            async || read(&place, reader, path, time).await,
            async || {
                let server = BareServer::start("bare-chat", &place.database).await?;
                let url = format!("http://{}{bare_path}", server.address);
                wrk(&url, &bare_token, time).await
            },
        )
        .await?;
        let figure = format!("{what} / bare handler, {}", size.name());
        table.add(Row::ratio(figure, ours, bare, 80.0, "/s"));
        few.push(ours);
    }

    let database = place.connect().await?;
    fill(&database, *room).await?;
    database.close().await?;
    let server = place.serve(SERVE).await?;
    talk(&server, *room, &accounts).await?;
    server.stop().await?;
    let deep = format!("{}?page={DEEP}&page_size=20", messages_of(*room));
    for (what, path, few) in [
        ("page of 20 messages", page.as_str(), few[0]),
        ("page 25,000", deep.as_str(), few[0]),
        ("list of 20 rooms", LIST, few[1]),
    ] {
        let many = mean(async || read(&place, reader, path, time).await).await?;
        let figure = format!(
            "{what} with 1,000,000 messages / with few (page 1), {}",
            size.name()
        );
        table.add(Row::ratio(figure, many, few, 80.0, "/s"));
    }
    Ok(())
}

async fn read(place: &Place, reader: &Account, path: &str, time: Duration) -> Result<f64, Fault> {
    let server = place.serve(SERVE).await?;
    let rate = wrk(&format!("http://{}{path}", server.address), &reader.token, time).await?;
    server.stop().await?;
    Ok(rate)
}

/// Two messages of each.
async fn talk(server: &Server, room: i64, accounts: &[Account]) -> Result<(), Fault> {
    for account in accounts.iter().chain(accounts) {
        say(server, room, account).await?;
    }
    Ok(())
}

async fn say(server: &Server, room: i64, account: &Account) -> Result<(), Fault> {
    let body = json!({ "content": SAYING }).to_string();
    server
        .ask("POST", &messages_of(room), Some(&account.token), Some(&body))
        .await?;
    Ok(())
}

/// Puts a million messages of all members into a room, behind those that are there.
async fn fill(database: &DatabaseConnection, room: i64) -> Result<(), Fault> {
    let backend = database.get_database_backend();
    let one = async |text: &str| number(database, text).await;
    let last_id = one("SELECT MAX(id) FROM chat_messages").await?;
    let last_seq = one(&format!("SELECT last_seq FROM chat_rooms WHERE id = {room}")).await?;
    let last_ordinal = one(&format!("SELECT last_ordinal FROM chat_rooms WHERE id = {room}")).await?;
    for from in (1..=MILLION).step_by(CHUNK as usize) {
        let to = from + CHUNK - 1;
        let numbers = match backend {
            DbBackend::MySql => format!("SELECT seq AS i FROM seq_{from}_to_{to}"),
            _ => format!(
                "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) SELECT i FROM n"
            ),
        };
        let insert = format!(
            "INSERT INTO chat_messages (id, room_id, seq, ordinal, sender_id, message_type, content, is_edited, \
             is_deleted, created_at, updated_at) \
             SELECT {last_id} + n.i, {room}, {last_seq} + n.i, {last_ordinal} + n.i, who.user_id, 'text', '{SAYING}', \
             0, 0, t.created_at, t.created_at \
             FROM ({numbers}) AS n \
             JOIN (SELECT user_id, ROW_NUMBER() OVER (ORDER BY id) - 1 AS place FROM chat_room_members \
             WHERE room_id = {room}) AS who ON who.place = n.i % {USERS} \
             JOIN chat_messages AS t ON t.id = {last_id}",
        );
        database.execute_unprepared(&insert).await?;
    }
    let end = last_id + MILLION;
    let update = format!(
        "UPDATE chat_rooms SET last_seq = last_seq + {MILLION}, last_ordinal = last_ordinal + {MILLION}, \
         notified_seq = last_seq + {MILLION}, head_id = {end}, last_message_id = {end} WHERE id = {room}"
    );
    database.execute_unprepared(&update).await?;
    let stored = one(&format!(
        "SELECT COUNT(*) FROM chat_messages WHERE room_id = {room}"
    ))
    .await?;
    let seq = one(&format!("SELECT last_seq FROM chat_rooms WHERE id = {room}")).await?;
    match stored == seq {
        true => Ok(()),
        false => Err(format!("{stored} messages in the room, whose last is number {seq}").into()),
    }
}
