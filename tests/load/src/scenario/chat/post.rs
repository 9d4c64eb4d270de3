//! Messages over HTTP against a bare handler that inserts one row.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::talk::SAYING;
use super::{USERS, join, messages_of, open_room};
use crate::Fault;
use crate::client::request;
use crate::drive::{Drive, Until};
use crate::scenario::{BareServer, in_turns, served, sizes};
use crate::server::{Account, Peers, Place, Size};
use crate::table::{Row, Table};

const CONNECTIONS: usize = 64;
/// So few have their notifications written together with the message.
const FEW: usize = 4;

/// Rooms, the members of each, and what is asked for, in percent of the bare handler.
struct Case {
    rooms: usize,
    members: usize,
    target: Option<f64>,
}

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        let (one, many) = match size {
            Size::Embedded => (None, Some(100.0)),
            Size::Servers => (Some(60.0), Some(60.0)),
        };
        let case = |rooms, members, target| Case {
            rooms,
            members,
            target,
        };
        let cases = [
            case(1, 1 + USERS, one),
            case(20, 1 + USERS, many),
            case(20, FEW, None),
        ];
        let place = Place::fresh(peers, size).await?;
        let server = place.serve(&[]).await?;
        let accounts = server.accounts(1 + USERS).await?;
        server.stop().await?;
        for case in cases {
            posts(&place, size, &accounts, &case, time, table).await?;
        }
    }
    Ok(())
}

async fn posts(
    place: &Place,
    size: Size,
    accounts: &[Account],
    case: &Case,
    time: Duration,
    table: &mut Table,
) -> Result<(), Fault> {
    let server = place.serve(&[]).await?;
    let mut rooms = Vec::new();
    // Whoever makes one is in it.
    for account in accounts.iter().take(case.rooms) {
        rooms.push(open_room(&server, account, "load").await?);
    }
    let members = |n: usize| {
        let step = if case.members == FEW { case.rooms } else { 1 };
        let first = if case.members == FEW { n } else { 0 };
        accounts.iter().skip(first).step_by(step).take(case.members)
    };
    let joins = rooms.iter().enumerate();
    join(
        &server,
        joins.flat_map(|(n, room)| members(n).map(|account| (*room, account))),
    )
    .await?;
    server.stop().await?;

    let body = json!({ "content": SAYING }).to_string();
    let posts = |token: &dyn Fn(&Account) -> Result<String, Fault>, path: &dyn Fn(i64) -> String| {
        (0..CONNECTIONS)
            .map(|n| {
                let (room, account) = (rooms[n % rooms.len()], &accounts[n]);
                Ok(request("POST", &path(room), Some(&token(account)?), Some(&body)).into())
            })
            .collect::<Result<Vec<Arc<[u8]>>, Fault>>()
    };
    let ours = posts(&|account| Ok(account.token.clone()), &messages_of)?;
    let theirs = posts(&|account| crate::bare::token(account.id), &|room| {
        format!("/rooms/{room}/messages")
    })?;
    let what = format!(
        "{} {} of {} members, {}",
        case.rooms,
        if case.rooms == 1 { "room" } else { "rooms" },
        case.members,
        size.name()
    );
    let (ours, bare) = in_turns(
        async || served(place, &[], &ours, time, &what).await,
        async || {
            let server = BareServer::start("bare-chat", &place.database).await?;
            let drive = Drive {
                warm_up: Duration::from_secs(1),
                ..Drive::new(server.address, CONNECTIONS, Until::Time(time))
            };
            let report = drive.run(&theirs).await?;
            println!("    bare: {}", report.line());
            Ok(report.rate())
        },
    )
    .await?;
    let figure = format!("POST of a message, {what} / bare inserts of one row");
    table.add(match case.target {
        Some(target) => Row::ratio(figure, ours, bare, target, "/s"),
        None => Row::beside(figure, ours, bare, "/s"),
    });
    Ok(())
}
