//! 200 messages a second for 1,000 who listen: on one instance, on two, and what it does to those
//! who post.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::peer::{Kind, Peer};
use super::talk::{Form, SAYING, Steadiness, steady};
use super::{Room, USERS, messages_of};
use crate::Fault;
use crate::client::request;
use crate::crowd::{Crowd, GENTLE, Look};
use crate::drive::{Drive, Until};
use crate::scenario::ROUNDS;
use crate::server::{Peers, Place, Server, Size};
use crate::table::{Met, Row, Table};

const RECEIVERS: usize = 1000;
const PER_SECOND: u32 = 200;
/// Those who post, and how long each waits between its messages: about a hundred a second.
const POSTERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(37);

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    // Of a few seconds p99 would be a matter of luck.
    let time = time * 2;
    let place = Place::fresh(peers, Size::Embedded).await?;
    let server = place.serve(&[]).await?;
    let room = Room::fresh(&server, 1 + USERS).await?;
    one_instance(peers, &server, &room, time, table).await?;
    posting(&server, &room, time, table).await?;
    server.stop().await?;
    if peers.mariadb.is_some() {
        two_instances(peers, time, table).await?;
    }
    Ok(())
}

async fn one_instance(
    peers: &Peers,
    server: &Server,
    room: &Room,
    time: Duration,
    table: &mut Table,
) -> Result<(), Fault> {
    let crowd = Crowd::open(room.doors(&[server], RECEIVERS), GENTLE, Look::Follow).await?;
    crowd.welcomed().await?;
    let ours = steady(&crowd, Form::Told, PER_SECOND, time).await?;
    println!("    1 instance: {}", ours.line());
    let seen = crowd.seen();
    drop(crowd);
    let mut theirs = None;
    if let Some(folder) = &peers.sockets {
        let peer = Peer::start(folder, Kind::Bun).await?;
        let crowd = peer.crowd(1 + RECEIVERS, Look::Follow).await?;
        let length = seen.bytes / seen.messages.max(1);
        let bun = steady(&crowd, Form::Passed { length }, PER_SECOND, time).await?;
        println!("    Bun: {}", bun.line());
        theirs = Some(bun.quantile(0.99));
    }
    table.add(nothing_lost("1 instance", &ours));
    let p99 = ours.quantile(0.99);
    let good = p99 <= 20.0 || theirs.is_some_and(|theirs| p99 <= 1.5 * theirs);
    table.add(Row {
        figure: "200 messages/s, 1,000 receivers: p99 until delivered / Bun".to_owned(),
        measured: format!("{p99:.1} ms"),
        against: theirs.map_or_else(String::new, |theirs| format!("{theirs:.1} ms")),
        target: "<= 20 ms or 1.5 x".to_owned(),
        met: if good { Met::Yes } else { Met::No },
    });
    Ok(())
}

fn nothing_lost(instances: &str, stream: &Steadiness) -> Row {
    let figure = format!("200 messages/s, 1,000 receivers, {instances}: lost or doubled");
    Row::none(figure, stream.lost)
}

/// The same posts with and without sockets in the room.
async fn posting(server: &Server, room: &Room, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let path = messages_of(room.id);
    let body = json!({ "content": SAYING }).to_string();
    let posts: Vec<Arc<[u8]>> = room.members[..POSTERS]
        .iter()
        .map(|account| request("POST", &path, Some(&account.token), Some(&body)).into())
        .collect();
    let drive = Drive {
        warm_up: Duration::from_secs(1),
        pause: PAUSE,
        ..Drive::new(server.address, POSTERS, Until::Time(time))
    };
    let (mut without, mut with) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let alone = drive.run(&posts).await?;
        println!("    POST, nobody listens: {}", alone.line());
        without += alone.quantile(0.99).as_secs_f64() * 1000.0;
        let crowd = Crowd::open(room.doors(&[server], RECEIVERS), GENTLE, Look::Count).await?;
        crowd.welcomed().await?;
        let heard = drive.run(&posts).await?;
        println!("    POST, 1,000 receivers: {}", heard.line());
        with += heard.quantile(0.99).as_secs_f64() * 1000.0;
    }
    let rounds = f64::from(ROUNDS);
    let (without, with) = (without / rounds, with / rounds);
    table.add(Row {
        figure: "POST of a message, 100/s: p99 with 1,000 receivers / without".to_owned(),
        measured: format!("{with:.1} ms = {:.1} x", with / without),
        against: format!("{without:.1} ms"),
        target: "<= 2 x".to_owned(),
        met: if with <= 2.0 * without { Met::Yes } else { Met::No },
    });
    Ok(())
}

async fn two_instances(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, Size::Servers).await?;
    let (one, two) = (place.serve(&[]).await?, place.serve(&[]).await?);
    let room = Room::fresh(&one, 1 + USERS).await?;
    let crowd = Crowd::open(room.doors(&[&one, &two], RECEIVERS), GENTLE, Look::Follow).await?;
    crowd.welcomed().await?;
    let stream = steady(&crowd, Form::Told, PER_SECOND, time).await?;
    println!("    2 instances: {}", stream.line());
    drop(crowd);
    table.add(nothing_lost("2 instances", &stream));
    table.add(Row::at_most(
        "200 messages/s, 1,000 receivers, 2 instances: p99 until delivered",
        stream.quantile(0.99),
        50.0,
        " ms",
    ));
    one.stop().await?;
    two.stop().await
}
