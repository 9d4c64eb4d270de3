//! The cheapest authenticated read, against a bare handler on the same database. Driven by wrk.

use std::time::Duration;

use super::{BareServer, in_turns, sizes, wrk};
use crate::Fault;
use crate::server::{Peers, Place};
use crate::table::{Row, Table};

pub async fn run(peers: &Peers, time: Duration, table: &mut Table) -> Result<(), Fault> {
    for size in sizes(peers) {
        let place = Place::fresh(peers, size).await?;
        let server = place.serve(&[]).await?;
        let account = server.account(0).await?;
        server.stop().await?;
        let bare_token = crate::bare::token(account.id)?;
        let (ours, bare) = in_turns(
            async || {
                let server = place.serve(&[]).await?;
                let url = format!("http://{}/user/profile/", server.address);
                let rate = wrk(&url, &account.token, time).await?;
                server.stop().await?;
                Ok(rate)
            },
            async || {
                let server = BareServer::start("bare-profile", &place.database).await?;
                wrk(&format!("http://{}/profile", server.address), &bare_token, time).await
            },
        )
        .await?;
        let figure = format!("GET /user/profile/ / bare handler, {}", size.name());
        table.add(Row::ratio(figure, ours, bare, 80.0, "/s"));
    }
    Ok(())
}
