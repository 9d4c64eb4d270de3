//! Logins against bare hashes, and what 64 of them at once do to everybody else.

use std::sync::Arc;
use std::time::Duration;

use super::{number, own};
use crate::Fault;
use crate::client::request;
use crate::drive::{Drive, Until};
use crate::server::{Peers, Place, Size};
use crate::table::{Row, Table};

const ROUNDS: u32 = 2;
const AT_ONCE: usize = 64;

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, Size::Embedded).await?;
    let server = place.serve(&[]).await?;
    let logins: Vec<Arc<[u8]>> = server
        .accounts(AT_ONCE)
        .await?
        .into_iter()
        .map(|a| a.login)
        .collect();
    let (mut bare, mut ours) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let seconds = time.as_secs().to_string();
        // The server is idle meanwhile.
        bare += number(&mut own(&["bare-hashes", "--seconds", &seconds])?).await?;
        let drive = Drive {
            warm_up: Duration::from_secs(1),
            ..Drive::new(server.address, 8, Until::Time(time))
        };
        let report = drive.run(&logins).await?;
        println!("    8 connections: {}", report.line());
        ours += report.rate();
    }
    let rounds = f64::from(ROUNDS);
    table.add(Row::ratio(
        "logins / bare Argon2id hashes",
        ours / rounds,
        bare / rounds,
        95.0,
        "/s",
    ));

    let logging_in = Drive::new(server.address, AT_ONCE, Until::Time(time * 2));
    let probing = Drive {
        pause: Duration::from_millis(5),
        first_client: 200,
        ..Drive::new(server.address, 1, Until::Time(time * 2))
    };
    let probe: [Arc<[u8]>; 1] = [request("GET", "/healthz", None, None).into()];
    let (logged_in, probed) = tokio::try_join!(logging_in.run(&logins), probing.run(&probe))?;
    println!(
        "    64 logins at once: {}; /healthz: {}",
        logged_in.line(),
        probed.line()
    );
    let p99 = probed.quantile(0.99).as_secs_f64() * 1000.0;
    table.add(Row::at_most(
        "/healthz p99 under 64 concurrent logins",
        p99,
        250.0,
        " ms",
    ));
    table.add(Row::info("logins meanwhile", logged_in.line()));
    server.stop().await
}
