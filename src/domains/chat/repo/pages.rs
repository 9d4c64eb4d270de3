//! Pages that are read by one statement each: messages of a room, and rooms.
//!
//! Both are asked for more than anything else, so only what is shown of a row is read, and columns
//! are taken in the order in which they are selected.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{
    Asterisk, CaseStatement, Expr, ExprTrait, IntoCondition, Query, SelectStatement, SimpleExpr,
};
use sea_orm::{
    Condition, ConnectionTrait, DbBackend, DbErr, JoinType, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    TryGetable,
};
use yunque_kernel::db::{FixedText, dialect};
use yunque_kernel::http::Page;
use yunque_kernel::{ChatRoomId, DbError, UserId};

use super::messages::windowed;
use super::rooms::visible;
use super::{MessageFilter, RoomFilter, Window};
use crate::entity::{deleted, member, message, room};
use crate::kinds::RoomType;

const ROOM: &str = "room";
const OWN: &str = "own";
const CHOSEN: &str = "chosen";
const MESSAGE: &str = "message";
const REPLIED: &str = "replied";

/// What is asked most: the newest messages, and all rooms that somebody sees.
static NEWEST: FixedText<4> = FixedText::new();
static LIST: FixedText<3> = FixedText::new();

/// As [`shown`] takes them.
const SHOWN: [message::Column; 14] = {
    use message::Column::*;
    [
        Id,
        Seq,
        SenderId,
        MessageType,
        Content,
        FileUrl,
        FileName,
        FileSize,
        IsEdited,
        IsDeleted,
        ReplyToId,
        ClientId,
        CreatedAt,
        UpdatedAt,
    ]
};
/// As [`preview`] takes them.
const PREVIEW: [message::Column; 4] = {
    use message::Column::*;
    [Id, SenderId, Content, CreatedAt]
};

/// The columns of a row, one after the other.
struct Columns<'a> {
    row: &'a QueryResult,
    next: usize,
}

impl<'a> Columns<'a> {
    fn of(row: &'a QueryResult) -> Self {
        Columns { row, next: 0 }
    }

    fn take<T: TryGetable>(&mut self) -> Result<T, DbErr> {
        let at = self.next;
        self.next += 1;
        self.row.try_get_by_index(at)
    }
}

/// `None` where no message was joined.
fn shown(columns: &mut Columns<'_>) -> Result<Option<message::Shown>, DbErr> {
    let Some(id) = columns.take()? else {
        return Ok(None);
    };
    Ok(Some(message::Shown {
        id,
        seq: columns.take()?,
        sender_id: columns.take()?,
        message_type: columns.take()?,
        content: columns.take()?,
        file_url: columns.take()?,
        file_name: columns.take()?,
        file_size: columns.take()?,
        is_edited: columns.take()?,
        is_deleted: columns.take()?,
        reply_to_id: columns.take()?,
        client_id: columns.take()?,
        created_at: columns.take()?,
        updated_at: columns.take()?,
    }))
}

/// `None` where no message was joined.
fn preview(columns: &mut Columns<'_>) -> Result<Option<message::Preview>, DbErr> {
    let Some(id) = columns.take()? else {
        return Ok(None);
    };
    Ok(Some(message::Preview {
        id,
        sender_id: columns.take()?,
        content: columns.take()?,
        created_at: columns.take()?,
    }))
}

/// As much of a room as goes with a page of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRoom {
    pub name: String,
    pub room_type: RoomType,
    pub last_seq: i64,
    /// Whether the caller has a row in the room that is not banned.
    pub is_member: bool,
}

/// A message, and the one that it answers.
pub type PageMessage = (message::Shown, Option<message::Preview>);

/// A part of a room's messages with the room and the caller's row in it, by one statement. It is
/// for the caller of this to judge who may see the messages; `None` without such a room.
pub async fn find_page(
    conn: &impl ConnectionTrait,
    room: ChatRoomId,
    user: UserId,
    filter: &MessageFilter,
    window: Window,
    limit: u64,
) -> Result<Option<(PageRoom, Vec<PageMessage>)>, DbError> {
    let backend = conn.get_database_backend();
    let statement = match window {
        // Nothing is ever removed from a room, so a page is a range of numbers.
        Window::Newest { skip } if filter.is_empty() => {
            let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            let numbers = [room.0, user.0, number(skip.saturating_add(limit)), number(skip)];
            NEWEST.with(backend, numbers, |[room, user, from, to]| {
                backend.build(&newest(room, user, from, to))
            })
        }
        _ => backend.build(&filtered(room.0, user.0, filter, window, limit)),
    };
    let rows = conn.query_all_raw(statement).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut columns = Columns::of(first);
    let room = PageRoom {
        name: columns.take()?,
        room_type: RoomType::from_stored(&columns.take::<String>()?),
        last_seq: columns.take()?,
        is_member: columns.take::<Option<bool>>()? == Some(false),
    };
    let messages_begin = columns.next;
    let mut messages = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns {
            row,
            next: messages_begin,
        };
        let Some(message) = shown(&mut columns)? else {
            continue;
        };
        messages.push((message, preview(&mut columns)?));
    }
    // By the database it would cost MariaDB a temporary table. Ids have the same order.
    messages.sort_unstable_by_key(|(message, _)| match window {
        Window::After(_) => message.seq,
        Window::Newest { .. } | Window::Before(_) => -message.seq,
    });
    Ok(Some((room, messages)))
}

/// Messages from so many before the newest one up to so many before it.
fn newest(room: i64, user: i64, from: i64, to: i64) -> SelectStatement {
    let back = |by: i64| Expr::col((ROOM, room::Column::LastSeq)).sub(by);
    let seq = || Expr::col((MESSAGE, message::Column::Seq));
    let of_room = Expr::col((MESSAGE, message::Column::RoomId)).equals((ROOM, room::Column::Id));
    let chosen = Condition::all()
        .add(of_room)
        .add(seq().gt(back(from)))
        .add(seq().lte(back(to)));
    with_messages(in_room(room, user), chosen)
}

fn filtered(room: i64, user: i64, filter: &MessageFilter, window: Window, limit: u64) -> SelectStatement {
    let ids = windowed(room, filter, window, limit)
        .select_only()
        .columns([message::Column::RoomId, message::Column::Id])
        .into_query();
    let of_room = Expr::col((CHOSEN, message::Column::RoomId)).equals((ROOM, room::Column::Id));
    let mut select = in_room(room, user);
    select.join_subquery(JoinType::LeftJoin, ids, CHOSEN, of_room.into_condition());
    let chosen = Expr::col((MESSAGE, message::Column::Id)).equals((CHOSEN, message::Column::Id));
    with_messages(select, chosen.into_condition())
}

/// The room is the one row that all else is joined to, so there is one without messages as well. The
/// rows come in any order.
fn in_room(room: i64, user: i64) -> SelectStatement {
    let own = Condition::all()
        .add(Expr::col((OWN, member::Column::RoomId)).equals((ROOM, room::Column::Id)))
        .add(Expr::col((OWN, member::Column::UserId)).eq(user));
    Query::select()
        .columns([room::Column::Name, room::Column::RoomType, room::Column::LastSeq].map(|c| (ROOM, c)))
        .column((OWN, member::Column::IsBanned))
        .from_as(room::Entity, ROOM)
        .join_as(JoinType::LeftJoin, member::Entity, OWN, own)
        .and_where(Expr::col((ROOM, room::Column::Id)).eq(room))
        .take()
}

fn with_messages(mut select: SelectStatement, chosen: Condition) -> SelectStatement {
    let column = |of: &'static str, column: message::Column| Expr::col((of, column));
    let replied = column(REPLIED, message::Column::Id).equals((MESSAGE, message::Column::ReplyToId));
    select
        .columns(SHOWN.map(|c| (MESSAGE, c)))
        .columns(PREVIEW.map(|c| (REPLIED, c)))
        .join_as(JoinType::LeftJoin, message::Entity, MESSAGE, chosen)
        .join_as(JoinType::LeftJoin, message::Entity, REPLIED, replied);
    select
}

/// A room as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoom {
    pub id: i64,
    pub name: String,
    pub description: Option<String>,
    pub room_type: String,
    pub created_by: Option<i64>,
    pub member_count: i32,
    pub max_members: i32,
    pub created_at: DateTime<Utc>,
    /// `None` for who is not a member.
    pub reading: Option<Reading>,
    /// The newest message that is not deleted, for members.
    pub last_message: Option<message::Preview>,
}

/// How far a member has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub last_ordinal: i64,
    pub mark_ordinal: i64,
    /// Deleted messages behind the mark; 0 where nothing is behind it.
    pub deleted_after_mark: i64,
}

/// A page of the active rooms that a user may see, newest first, and how many there are: by one
/// statement for the last page, by two for the others.
pub async fn list_rooms(
    conn: &impl ConnectionTrait,
    user: UserId,
    filter: &RoomFilter,
    page: Page,
) -> Result<(Vec<ListedRoom>, u64), DbError> {
    let backend = conn.get_database_backend();
    let build = |[user, offset, limit]: [i64; 3]| {
        let select = listed(
            backend,
            UserId(user),
            filter,
            offset.unsigned_abs(),
            limit.unsigned_abs(),
        );
        dialect::limited(backend, &select)
    };
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // One more than is shown tells whether there are more, which are counted then.
    let numbers = [user.0, number(page.offset()), number(page.limit() + 1)];
    let statement = match filter.is_empty() {
        true => LIST.with(backend, numbers, build),
        false => build(numbers),
    };
    let found = conn.query_all_raw(statement).await?;
    let shown = found
        .len()
        .min(usize::try_from(page.limit()).unwrap_or(usize::MAX));
    let is_end = shown == found.len() && (shown > 0 || page.offset() == 0);
    let total = match is_end {
        true => page.offset() + shown as u64,
        false => count_visible(conn, user, filter).await?,
    };
    let rooms = found[..shown]
        .iter()
        .map(|row| listed_room(&mut Columns::of(row)));
    Ok((rooms.collect::<Result<_, _>>()?, total))
}

async fn count_visible(
    conn: &impl ConnectionTrait,
    user: UserId,
    filter: &RoomFilter,
) -> Result<u64, DbError> {
    let select = visible(conn.get_database_backend(), user, filter)
        .select_only()
        .expr(Expr::col(Asterisk).count());
    let counted: Vec<i64> = select.into_tuple().all(conn).await?;
    Ok(counted.first().map_or(0, |n| n.unsigned_abs()))
}

fn listed_room(columns: &mut Columns<'_>) -> Result<ListedRoom, DbErr> {
    Ok(ListedRoom {
        id: columns.take()?,
        name: columns.take()?,
        description: columns.take()?,
        room_type: columns.take()?,
        created_by: columns.take()?,
        member_count: columns.take()?,
        max_members: columns.take()?,
        created_at: columns.take()?,
        reading: {
            let last_ordinal = columns.take()?;
            let mark: Option<i64> = columns.take()?;
            let deleted: Option<i64> = columns.take()?;
            mark.map(|mark_ordinal| Reading {
                last_ordinal,
                mark_ordinal,
                deleted_after_mark: deleted.unwrap_or(0),
            })
        },
        last_message: preview(columns)?,
    })
}

/// Those who are banned from a room are not shown it, so whoever has a row there is a member.
fn listed(backend: DbBackend, user: UserId, filter: &RoomFilter, offset: u64, limit: u64) -> SelectStatement {
    let mut select = visible(backend, user, filter)
        .select_only()
        .order_by_desc(room::Column::Id)
        .offset(offset)
        .limit(limit)
        .into_query();
    // What was said in a room is for its members.
    let last = Condition::all()
        .add(
            Expr::col((message::Entity, message::Column::Id))
                .equals((room::Entity, room::Column::LastMessageId)),
        )
        .add(Expr::col((member::Entity, member::Column::Id)).is_not_null());
    use room::Column::*;
    select
        .columns(
            [
                Id,
                Name,
                Description,
                RoomType,
                CreatedBy,
                MemberCount,
                MaxMembers,
                CreatedAt,
                LastOrdinal,
            ]
            .map(|c| (room::Entity, c)),
        )
        .column((member::Entity, member::Column::MarkOrdinal))
        .expr(deleted_after_mark())
        .columns(PREVIEW.map(|c| (message::Entity, c)))
        .left_join(message::Entity, last);
    select
}

/// Looked up only where something is behind the mark.
fn deleted_after_mark() -> SimpleExpr {
    let mark = |column| Expr::col((member::Entity, column));
    let behind = Query::select()
        .expr(Expr::col(Asterisk).count())
        .from(deleted::Entity)
        .and_where(
            Expr::col((deleted::Entity, deleted::Column::RoomId)).equals((room::Entity, room::Column::Id)),
        )
        .and_where(Expr::col((deleted::Entity, deleted::Column::MessageId)).gt(mark(member::Column::MarkId)))
        .take();
    CaseStatement::new()
        .case(
            Expr::col((room::Entity, room::Column::LastOrdinal)).gt(mark(member::Column::MarkOrdinal)),
            subquery(behind),
        )
        .into()
}

fn subquery(select: SelectStatement) -> SimpleExpr {
    SimpleExpr::SubQuery(None, Box::new(select.into()))
}
