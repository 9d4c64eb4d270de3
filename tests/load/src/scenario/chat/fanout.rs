//! One sender as fast as it goes, many who listen.

use std::time::Duration;

use super::peer::{Kind, Peer};
use super::talk::{Form, Pace, blast};
use super::{Room, USERS};
use crate::Fault;
use crate::crowd::{Crowd, GENTLE, Look};
use crate::scenario::ROUNDS;
use crate::server::{Peers, Place, Size};
use crate::table::{Row, Table};

const RECEIVERS: [usize; 2] = [200, 1000];

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, Size::Embedded).await?;
    let server = place.serve(&[]).await?;
    let room = Room::fresh(&server, 1 + USERS).await?;
    server.stop().await?;
    for receivers in RECEIVERS {
        let (mut ours, mut ws, mut bun) = (0.0, 0.0, 0.0);
        for _ in 0..ROUNDS {
            let pace = stored(&place, &room, receivers, time).await?;
            println!("    {receivers} receivers: {}", pace.line());
            ours += pace.deliveries;
            let length = pace.length.round() as u64;
            for (kind, sum) in [(Kind::Ws, &mut ws), (Kind::Bun, &mut bun)] {
                let Some(folder) = &peers.sockets else { continue };
                let peer = Peer::start(folder, kind).await?;
                let crowd = peer.crowd(1 + receivers, Look::Count).await?;
                let pace = blast(&crowd, Form::Passed { length }, time).await?;
                println!("    {kind:?}: {}", pace.line());
                *sum += pace.deliveries;
            }
        }
        let rounds = f64::from(ROUNDS);
        let (ours, ws, bun) = (ours / rounds, ws / rounds, bun / rounds);
        let figure = format!("1 sender, {receivers} receivers: deliveries");
        if peers.sockets.is_none() {
            table.add(Row::info(figure, format!("{ours:.0}/s")));
            continue;
        }
        table.add(Row::ratio(
            format!("{figure} / Node ws, not stored"),
            ours,
            ws,
            300.0,
            "/s",
        ));
        table.add(Row::beside(
            format!("{figure} / Bun (uWebSockets), not stored"),
            ours,
            bun,
            "/s",
        ));
    }
    Ok(())
}

async fn stored(place: &Place, room: &Room, receivers: usize, time: Duration) -> Result<Pace, Fault> {
    let server = place.serve(&[]).await?;
    let crowd = Crowd::open(room.doors(&[&server], receivers), GENTLE, Look::Count).await?;
    crowd.welcomed().await?;
    let pace = blast(&crowd, Form::Told, time).await?;
    drop(crowd);
    server.stop().await?;
    Ok(pace)
}
