//! Chat rooms: deliveries against broadcast servers that store nothing, messages and pages against
//! bare handlers, and many sockets that do nothing.

mod fanout;
mod idle;
mod pages;
mod peer;
mod post;
mod search;
mod steady;
mod talk;

use futures_util::{StreamExt as _, TryStreamExt as _};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::{Value, json};

pub use fanout::run as fanout;
pub use idle::run as idle;
pub use pages::run as pages;
pub use peer::alone as peers_alone;
pub use post::run as post;
pub use search::run as search;
pub use steady::run as steady;

use crate::Fault;
use crate::server::{Account, Server, sql};
use crate::socket::Door;

/// The server's default limit.
const SOCKETS_PER_USER: usize = 10;
/// Users among the receivers, at least; with the sender more than keep a notification for each message.
const USERS: usize = 100;

fn messages_of(room: i64) -> String {
    format!("/api/chat/rooms/{room}/messages/")
}

/// Makes a public room with place for all.
async fn open_room(server: &Server, admin: &Account, name: &str) -> Result<i64, Fault> {
    let new = json!({ "name": name, "room_type": "public", "max_members": 1000 }).to_string();
    let token = Some(admin.token.as_str());
    let room = server.ask("POST", "/api/chat/rooms/", token, Some(&new)).await?;
    room["id"].as_i64().ok_or_else(|| "a room without an id".into())
}

/// Lets accounts join rooms.
async fn join(server: &Server, joins: impl IntoIterator<Item = (i64, &Account)>) -> Result<(), Fault> {
    futures_util::stream::iter(joins)
        .map(|(room, account)| async move {
            let path = format!("/api/chat/rooms/{room}/join/");
            server.ask("POST", &path, Some(&account.token), None).await
        })
        .buffer_unordered(8)
        .try_for_each(|_: Value| async { Ok(()) })
        .await
}

/// The one number that a statement gives.
async fn number(database: &DatabaseConnection, text: &str) -> Result<i64, Fault> {
    let statement = sql(database.get_database_backend(), text, []);
    let row = database.query_one_raw(statement).await?;
    Ok(row.ok_or("no row")?.try_get_by_index(0)?)
}

/// A room and those in it. The first of them made it.
struct Room {
    id: i64,
    members: Vec<Account>,
}

impl Room {
    async fn fresh(server: &Server, members: usize) -> Result<Self, Fault> {
        let members = server.accounts(members).await?;
        let (admin, others) = members.split_first().ok_or("a room of nobody")?;
        let id = open_room(server, admin, "load").await?;
        join(server, others.iter().map(|account| (id, account))).await?;
        Ok(Room { id, members })
    }

    /// A socket of the first member, and so many of the others in turn.
    fn doors(&self, servers: &[&Server], receivers: usize) -> Vec<Door> {
        let path = format!("/ws/chat/{}/", self.id);
        let others = self.members[1..].iter().cycle().take(receivers);
        self.members[..1]
            .iter()
            .chain(others)
            .enumerate()
            .map(|(n, account)| {
                // A user's sockets are spread over the instances as well.
                let turn = n / self.members.len() + n;
                Door::new(servers[turn % servers.len()].address, &path, Some(&account.token))
            })
            .collect()
    }
}
