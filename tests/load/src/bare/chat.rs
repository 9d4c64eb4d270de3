//! Handlers of poem for chat rooms that verify a JWT and run one statement. Nothing else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use poem::error::InternalServerError;
use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::web::{Data, Json, Path};
use poem::{EndpointExt, IntoResponse, Request, Route, Server, get, handler};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, FromQueryResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use yunque_kernel::Clock;

use super::token::Verifier;
use crate::Fault;
use crate::server::sql;

/// As much of a table of messages as an insert needs.
const TABLE: &str = "(room_id BIGINT NOT NULL, seq BIGINT NOT NULL, sender_id BIGINT NOT NULL, \
     message_type VARCHAR(6) NOT NULL, content TEXT NOT NULL, created_at DATETIME(6) NOT NULL, \
     updated_at DATETIME(6) NOT NULL, UNIQUE (room_id, seq))";
const INSERT: &str = "INSERT INTO bare_messages (room_id, seq, sender_id, message_type, content, created_at, updated_at) \
     VALUES (?, ?, ?, ?, ?, ?, ?)";
/// With the membership of whoever reads.
const PAGE: &str = "SELECT m.id, m.seq, m.message_type, m.content, m.file_url, m.file_name, m.file_size, m.is_edited, \
     m.is_deleted, m.reply_to_id, m.client_id, m.created_at, m.updated_at, r.id AS room, r.name AS room_name, \
     r.last_seq AS total, u.id AS sender, u.username, u.first_name, u.last_name \
     FROM chat_messages m JOIN chat_rooms r ON r.id = m.room_id \
     JOIN chat_room_members me ON me.room_id = m.room_id AND me.user_id = ? \
     LEFT JOIN users u ON u.id = m.sender_id \
     WHERE m.room_id = ? ORDER BY m.seq DESC LIMIT 20";
const LIST: &str = "SELECT r.id, r.name, r.description, r.room_type, r.member_count, r.is_active, r.max_members, \
     r.created_at, c.id AS creator, c.username, c.first_name, c.last_name, m.id AS message, m.content, \
     m.created_at AS sent_at, s.username AS sender \
     FROM chat_rooms r LEFT JOIN chat_room_members me ON me.room_id = r.id AND me.user_id = ? AND NOT me.is_banned \
     LEFT JOIN users c ON c.id = r.created_by \
     LEFT JOIN chat_messages m ON m.id = r.last_message_id LEFT JOIN users s ON s.id = m.sender_id \
     WHERE r.is_active AND (r.room_type = 'public' OR me.id IS NOT NULL) ORDER BY r.id DESC LIMIT 20";

struct State {
    /// SQLite has one connection that writes.
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    verifier: Verifier,
    next: AtomicI64,
}

#[derive(Deserialize)]
struct NewMessage {
    content: String,
}

#[handler]
async fn insert(
    request: &Request,
    state: Data<&std::sync::Arc<State>>,
    room: Path<i64>,
    new: Json<NewMessage>,
) -> poem::Result<poem::Response> {
    let sender = state.verifier.user(request)?;
    let seq = state.next.fetch_add(1, Ordering::Relaxed);
    let now = Clock::default().now();
    let values = [
        room.0.into(),
        seq.into(),
        sender.into(),
        "text".into(),
        new.content.as_str().into(),
        now.into(),
        now.into(),
    ];
    let id = super::insert(&state.writer, INSERT, values)
        .await
        .map_err(InternalServerError)?;
    let message = json!({
        "id": id, "room": room.0, "seq": seq, "sender": sender, "message_type": "text", "content": new.0.content,
        "created_at": now, "updated_at": now,
    });
    Ok(Json(message).with_status(StatusCode::CREATED).into_response())
}

#[derive(FromQueryResult)]
struct MessageRow {
    id: i64,
    seq: i64,
    message_type: String,
    content: String,
    file_url: Option<String>,
    file_name: Option<String>,
    file_size: Option<i64>,
    is_edited: bool,
    is_deleted: bool,
    reply_to_id: Option<i64>,
    client_id: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    room: i64,
    room_name: String,
    total: i64,
    sender: Option<i64>,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

#[derive(Serialize)]
struct Room {
    id: i64,
    name: String,
}

#[derive(Serialize)]
struct User {
    id: Option<i64>,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

#[derive(Serialize)]
struct Message {
    id: i64,
    room: Room,
    sender: User,
    message_type: String,
    content: String,
    file_url: Option<String>,
    file_name: Option<String>,
    file_size: Option<i64>,
    is_edited: bool,
    is_deleted: bool,
    reply_to: Option<i64>,
    reply_preview: Option<Value>,
    seq: i64,
    client_id: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Message {
            id: row.id,
            room: Room {
                id: row.room,
                name: row.room_name,
            },
            sender: User {
                id: row.sender,
                username: row.username,
                first_name: row.first_name,
                last_name: row.last_name,
            },
            message_type: row.message_type,
            content: row.content,
            file_url: row.file_url,
            file_name: row.file_name,
            file_size: row.file_size,
            is_edited: row.is_edited,
            is_deleted: row.is_deleted,
            reply_to: row.reply_to_id,
            reply_preview: None,
            seq: row.seq,
            client_id: row.client_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Serialize)]
struct Page {
    messages: Vec<Message>,
    page: u32,
    page_size: u32,
    total: i64,
}

#[handler]
async fn page(
    request: &Request,
    state: Data<&std::sync::Arc<State>>,
    room: Path<i64>,
) -> poem::Result<Json<Page>> {
    let reader = state.verifier.user(request)?;
    let rows = query::<MessageRow>(&state.reader, PAGE, &[reader, room.0]).await?;
    Ok(Json(Page {
        page: 1,
        page_size: 20,
        total: rows.first().map_or(0, |row| row.total),
        messages: rows.into_iter().map(Message::from).collect(),
    }))
}

#[derive(FromQueryResult)]
struct RoomRow {
    id: i64,
    name: String,
    description: Option<String>,
    room_type: String,
    member_count: i32,
    is_active: bool,
    max_members: i32,
    created_at: DateTime<Utc>,
    creator: Option<i64>,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    message: Option<i64>,
    content: Option<String>,
    sent_at: Option<DateTime<Utc>>,
    sender: Option<String>,
}

#[derive(Serialize)]
struct LastMessage {
    id: i64,
    content: Option<String>,
    sender: Option<String>,
    created_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct ListedRoom {
    id: i64,
    name: String,
    description: Option<String>,
    room_type: String,
    created_by: User,
    member_count: i32,
    last_message: Option<LastMessage>,
    is_active: bool,
    max_members: i32,
    created_at: DateTime<Utc>,
}

impl From<RoomRow> for ListedRoom {
    fn from(row: RoomRow) -> Self {
        ListedRoom {
            id: row.id,
            name: row.name,
            description: row.description,
            room_type: row.room_type,
            created_by: User {
                id: row.creator,
                username: row.username,
                first_name: row.first_name,
                last_name: row.last_name,
            },
            member_count: row.member_count,
            last_message: row.message.map(|id| LastMessage {
                id,
                content: row.content,
                sender: row.sender,
                created_at: row.sent_at,
            }),
            is_active: row.is_active,
            max_members: row.max_members,
            created_at: row.created_at,
        }
    }
}

#[handler]
async fn list(request: &Request, state: Data<&std::sync::Arc<State>>) -> poem::Result<Json<Vec<ListedRoom>>> {
    let reader = state.verifier.user(request)?;
    let rows = query::<RoomRow>(&state.reader, LIST, &[reader]).await?;
    Ok(Json(rows.into_iter().map(ListedRoom::from).collect()))
}

async fn query<R: FromQueryResult>(
    database: &DatabaseConnection,
    text: &str,
    values: &[i64],
) -> poem::Result<Vec<R>> {
    let values = values.iter().map(|value| (*value).into());
    let statement = sql(database.get_database_backend(), text, values);
    R::find_by_statement(statement)
        .all(database)
        .await
        .map_err(InternalServerError)
}

/// Serves until the process is ended: `POST` and `GET` of `/rooms/{id}/messages`, `GET` of `/rooms`.
///
/// # Errors
/// The port or the database cannot be used.
pub async fn serve(address: SocketAddr, database: &str) -> Result<(), Fault> {
    let sqlite = database.starts_with("sqlite");
    let writer = crate::server::connect(database, if sqlite { 1 } else { 16 }).await?;
    let id = match writer.get_database_backend() {
        DbBackend::MySql => "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, ",
        _ => "id INTEGER PRIMARY KEY AUTOINCREMENT, ",
    };
    let table = TABLE.replacen('(', &format!("({id}"), 1);
    writer
        .execute_unprepared(&format!("CREATE TABLE IF NOT EXISTS bare_messages {table}"))
        .await?;
    let last = sql(
        writer.get_database_backend(),
        "SELECT COALESCE(MAX(seq), 0) FROM bare_messages",
        [],
    );
    let last: i64 = writer
        .query_one_raw(last)
        .await?
        .ok_or("no row")?
        .try_get_by_index(0)?;
    let reader = match sqlite {
        true => crate::server::connect(database, 8).await?,
        false => writer.clone(),
    };
    let state = State {
        writer,
        reader,
        verifier: Verifier::default(),
        next: AtomicI64::new(last + 1),
    };
    let route = Route::new()
        .at("/healthz", get(ready))
        .at("/rooms", get(list))
        .at("/rooms/:room/messages", get(page).post(insert))
        .data(std::sync::Arc::new(state));
    Ok(Server::new(TcpListener::bind(address.to_string()))
        .run(route)
        .await?)
}

#[handler]
fn ready() -> &'static str {
    "ready"
}
