//! The cheapest authenticated read, against a bare handler on the same database. Driven by wrk.

use std::time::Duration;

use tokio::process::Command;

use super::own;
use crate::Fault;
use crate::client::{Conn, request};
use crate::server::{Peers, Place, Size};
use crate::table::{Row, Table};

const ROUNDS: u32 = 2;

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    let sizes = [(Size::Embedded, true), (Size::Servers, peers.mariadb.is_some())];
    for (size, _) in sizes.into_iter().filter(|(_, available)| *available) {
        let place = Place::fresh(peers, size).await?;
        let (mut bare, mut ours) = (0.0, 0.0);
        for round in 0..ROUNDS {
            let server = place.serve(&[]).await?;
            let account = server.account(round as usize).await?;
            ours += wrk(
                &format!("http://{}/user/profile/", server.address),
                &account.token,
                time,
            )
            .await?;
            server.stop().await?;

            let address = crate::server::free_address()?;
            let listen = address.to_string();
            let mut serving =
                own(&["bare-profile", "--listen", &listen, "--database", &place.database])?.spawn()?;
            let token = crate::bare::profile::token(account.id)?;
            let probe = request("GET", "/profile", Some(&token), None);
            loop {
                if let Ok(mut conn) = Conn::open(address, 0).await
                    && conn.exchange(&probe).await.is_ok_and(|status| status == 200)
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            bare += wrk(&format!("http://{address}/profile"), &token, time).await?;
            serving.kill().await?;
        }
        let rounds = f64::from(ROUNDS);
        let figure = format!("GET /user/profile/ / bare handler, {}", size.name());
        table.add(Row::ratio(figure, ours / rounds, bare / rounds, 80.0, "/s"));
    }
    Ok(())
}

/// Requests per second as wrk sees them, after one second that does not count.
async fn wrk(url: &str, token: &str, time: Duration) -> Result<f64, Fault> {
    let header = format!("Authorization: Bearer {token}");
    let mut rate = None;
    for seconds in [1, time.as_secs()] {
        let duration = format!("{seconds}s");
        let arguments = ["-t1", "-c64", "-d", &duration, "--latency", "-H", &header, url];
        let done = Command::new("wrk").args(arguments).output().await?;
        let text = String::from_utf8(done.stdout)?;
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(text.into());
        }
        let value = |label: &str| {
            text.lines()
                .find_map(|l| l.trim().strip_prefix(label))
                .map(str::trim)
        };
        rate = value("Requests/sec:").and_then(|v| v.parse::<f64>().ok());
        if seconds > 1 {
            println!(
                "    {url}: {}/s, p99 {}",
                value("Requests/sec:").unwrap_or("?"),
                value("99%").unwrap_or("?")
            );
        }
    }
    rate.ok_or_else(|| "wrk printed no rate".into())
}
