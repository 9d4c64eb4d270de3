//! What a socket costs that does nothing, and what happens when all come back at once.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::talk::SAYING;
use super::{Room, SOCKETS_PER_USER, messages_of};
use crate::Fault;
use crate::client::{Conn, request};
use crate::crowd::{Crowd, GENTLE, Heard, Look};
use crate::server::{Account, Peers, Place, Server, Size};
use crate::socket::Door;
use crate::table::{Row, Table};

const SOCKETS: usize = 5000;
const MISSED: u64 = 50;
const BETWEEN_POSTS: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_secs(5);
/// For all to come back.
const PATIENCE: Duration = Duration::from_secs(60);
const KB: f64 = 1000.0;

pub async fn run(peers: &Peers, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, Size::Embedded).await?;
    let server = place.serve(&[]).await?;
    let room = Room::fresh(&server, SOCKETS / SOCKETS_PER_USER).await?;
    server.stop().await?;

    // Started again, so that what registering took is not in the memory before. What is known of each user is: it is
    // no part of a socket.
    let server = place.serve(&[]).await?;
    look_in(&server, &room).await?;
    tokio::time::sleep(SETTLE).await;
    let before = server.memory("VmRSS")? as f64;
    let crowd = Crowd::open(doors(&server, &room, ""), GENTLE, Look::Count).await?;
    crowd.welcomed().await?;
    tokio::time::sleep(SETTLE).await;
    let after = server.memory("VmRSS")? as f64;
    println!(
        "    VmRSS {:.1} MB without sockets, {:.1} MB with {SOCKETS}",
        before / 1e6,
        after / 1e6
    );
    table.add(Row::at_most(
        "5,000 idle sockets: memory of each",
        (after - before) / SOCKETS as f64 / KB,
        9.0,
        " KB",
    ));
    drop(crowd);
    // Until the server knows that they are gone: a user's sockets in a room are limited.
    tokio::time::sleep(SETTLE).await;
    come_back(&server, &room, table).await?;
    server.stop().await
}

/// `SOCKETS` sockets, each user's spread over the list.
fn doors(server: &Server, room: &Room, query: &str) -> Vec<Door> {
    let path = format!("/ws/chat/{}/{query}", room.id);
    let members = room.members.iter().cycle().take(SOCKETS);
    members
        .map(|account| Door::new(server.address, &path, Some(&account.token)))
        .collect()
}

/// One request of each member.
async fn look_in(server: &Server, room: &Room) -> Result<(), Fault> {
    let path = format!("/api/chat/rooms/{}/", room.id);
    futures_util::stream::iter(&room.members)
        .map(|account| server.ask("GET", &path, Some(&account.token), None))
        .buffer_unordered(8)
        .try_for_each(|_: Value| async { Ok(()) })
        .await
}

async fn come_back(server: &Server, room: &Room, table: &mut Table) -> Result<(), Fault> {
    let (poster, path) = (&room.members[0], messages_of(room.id));
    let (last_id, last_seq) = newest(server, room).await?;
    let mut posts = Posts::open(server, poster, &path).await?;
    for _ in 0..MISSED {
        posts.next().await?;
    }
    let back = Cell::new(false);
    let posting = async {
        while !back.get() {
            posts.next().await?;
            tokio::time::sleep(BETWEEN_POSTS).await;
        }
        Ok::<_, Fault>(())
    };
    let coming_back = async {
        let begun = Instant::now();
        let doors = doors(server, room, &format!("?since={last_id}"));
        let resumed = async {
            let crowd = Crowd::open(doors, SOCKETS, Look::Follow).await?;
            let all = crowd.len();
            crowd
                .wait("not all sockets were resumed", 2 * PATIENCE, |seen| {
                    seen.resumed == all
                })
                .await?;
            Ok::<_, Fault>(crowd)
        };
        let crowd = tokio::time::timeout(PATIENCE, resumed).await.ok().transpose()?;
        let took = begun.elapsed();
        back.set(true);
        Ok::<_, Fault>((crowd, took))
    };
    let ((), (crowd, took)) = tokio::try_join!(posting, coming_back)?;
    table.add(Row::at_most(
        "5,000 sockets reconnect at once: until all are resumed",
        took.as_secs_f64(),
        10.0,
        " s",
    ));
    let Some(crowd) = crowd else {
        println!("    gave up: not all of them were");
        return Ok(());
    };

    let (_, end) = newest(server, room).await?;
    let stored = end - last_seq;
    crowd.settled(stored * crowd.len()).await;
    if crowd.seen().closed > 0 {
        return Err(crowd.fault("sockets were closed"));
    }
    let whole = |heard: &Heard| {
        heard.breaks == 0
            && heard.messages == stored
            && (heard.first_seq, heard.last_seq) == (last_seq + 1, end)
    };
    let broken = crowd.heard().iter().filter(|heard| !whole(heard)).count();
    println!(
        "    {} handshakes were refused and tried again; {} messages to each, {MISSED} of them missed before; \
         slowest post meanwhile {:.0} ms",
        crowd.seen().refused,
        stored,
        posts.slowest.as_secs_f64() * 1000.0
    );
    table.add(Row::none(
        "5,000 sockets reconnect at once: those without each message once",
        broken as u64,
    ));
    table.add(Row::none(
        "5,000 sockets reconnect at once: posts refused meanwhile",
        posts.refused,
    ));
    Ok(())
}

/// Id and number of the newest message.
async fn newest(server: &Server, room: &Room) -> Result<(u64, u64), Fault> {
    let path = format!("{}?page_size=1", messages_of(room.id));
    let page = server
        .ask("GET", &path, Some(&room.members[0].token), None)
        .await?;
    let last = |key: &str| page["messages"][0][key].as_u64().ok_or("no message");
    Ok((last("id")?, last("seq")?))
}

/// Posts, one after the other.
struct Posts {
    conn: Conn,
    request: Vec<u8>,
    address: SocketAddr,
    refused: u64,
    slowest: Duration,
}

impl Posts {
    async fn open(server: &Server, poster: &Account, path: &str) -> Result<Self, Fault> {
        let body = json!({ "content": SAYING }).to_string();
        Ok(Posts {
            conn: Conn::open(server.address, 0).await?,
            request: request("POST", path, Some(&poster.token), Some(&body)),
            address: server.address,
            refused: 0,
            slowest: Duration::ZERO,
        })
    }

    async fn next(&mut self) -> Result<(), Fault> {
        let begun = Instant::now();
        let answer = self.conn.exchange(&self.request).await;
        if !matches!(answer, Ok(201)) {
            let text = String::from_utf8_lossy(self.conn.body());
            println!("    post: {answer:?} {text}");
            self.refused += 1;
        }
        if answer.is_err() {
            self.conn = Conn::open(self.address, 0).await?;
        }
        self.slowest = self.slowest.max(begun.elapsed());
        Ok(())
    }
}
