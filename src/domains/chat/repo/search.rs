//! Searching what was said.
//!
//! The index names candidates, the text of each decides. What a room has beyond its mark in
//! `chat_search_marks` is not indexed yet and is read through, so a message is found at once.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement, SimpleExpr, UnionType};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select,
};
use yunque_kernel::db::{dialect, text_index};
use yunque_kernel::http::Page;
use yunque_kernel::search::Needle;
use yunque_kernel::{DbError, UserId};

use super::MESSAGE_INDEX;
use crate::entity::{member, message};

/// Messages that are read through for a text that no index knows.
const RECENT: i64 = 20_000;
/// Rooms among which these are shared.
const RECENT_ROOMS: usize = 200;
/// Rooms that lag behind, up to which the index helps.
const MOST_LAGGING: usize = 200;

/// A room that is searched, and how far it is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Searched {
    id: i64,
    head_id: i64,
    last_seq: i64,
    indexed_seq: i64,
}

/// A page of the messages that contain a text, newest first: of one room, or of all rooms where a
/// user is a member. Upper and lower case are the same where the database knows the letters.
///
/// A text without grams ([`Needle`]) is looked for in the newest [`RECENT`] messages, and the total
/// counts those.
pub async fn search_messages(
    conn: &impl ConnectionTrait,
    user: UserId,
    room: Option<i64>,
    text: &str,
    page: Page,
) -> Result<(Vec<message::Model>, u64), DbError> {
    let rooms = list_searched(conn, user, room).await?;
    if rooms.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let backend = conn.get_database_backend();
    let select = in_rooms(user, room)
        .filter(message::Column::IsDeleted.eq(false))
        .filter(text_index::contains(
            backend,
            column(message::Column::Content),
            text,
        ));
    let lagging: Vec<Searched> = rooms
        .iter()
        .copied()
        .filter(|room| room.indexed_seq < room.last_seq)
        .collect();
    let select = match Needle::of(text) {
        None => select.filter(recent(rooms)),
        // A database that was filled before it had an index.
        Some(_) if lagging.len() > MOST_LAGGING => select,
        Some(needle) => {
            let candidates = candidates(backend, &needle, &rooms, &lagging);
            select.filter(column(message::Column::Id).in_subquery(candidates))
        }
    };
    let found = select
        .clone()
        .order_by_desc(message::Column::Id)
        .offset(page.offset())
        .limit(page.limit())
        .all(conn)
        .await?;
    let seen = page.offset() + found.len() as u64;
    // A page that is not full is the last one.
    let is_last = (found.len() as u64) < page.limit() && (!found.is_empty() || page.offset() == 0);
    let total = match is_last {
        true => seen,
        false => dialect::count(conn, select.into_query()).await?,
    };
    Ok((found, total))
}

fn column(column: message::Column) -> SimpleExpr {
    Expr::col((message::Entity, column))
}

fn in_rooms(user: UserId, room: Option<i64>) -> Select<message::Entity> {
    let of_room = match room {
        Some(room) => column(message::Column::RoomId).eq(room),
        None => {
            let own = Query::select()
                .column(member::Column::RoomId)
                .from(member::Entity)
                .and_where(member::Column::UserId.eq(user.0))
                .and_where(member::Column::IsBanned.eq(false))
                .take();
            column(message::Column::RoomId).in_subquery(own)
        }
    };
    message::Entity::find().filter(of_room)
}

async fn list_searched(
    conn: &impl ConnectionTrait,
    user: UserId,
    room: Option<i64>,
) -> Result<Vec<Searched>, DbError> {
    let of = |table: &'static str, column: &'static str| Expr::col((Alias::new(table), Alias::new(column)));
    let (rooms, marks) = ("chat_rooms", "chat_search_marks");
    let mut select = Query::select()
        .expr(of(rooms, "id"))
        .expr(of(rooms, "head_id"))
        .expr(of(rooms, "last_seq"))
        .expr(of(marks, "indexed_seq"))
        .from(Alias::new(rooms))
        .inner_join(Alias::new(marks), of(rooms, "id").eq(of(marks, "room_id")))
        .take();
    match room {
        Some(room) => select.and_where(of(rooms, "id").eq(room)),
        None => {
            let members = "chat_room_members";
            select
                .inner_join(Alias::new(members), of(members, "room_id").eq(of(rooms, "id")))
                .and_where(of(members, "user_id").eq(user.0))
                .and_where(of(members, "is_banned").eq(false))
        }
    };
    let rows = conn.query_all(&select).await?;
    let searched = rows.iter().map(|row| {
        Ok(Searched {
            id: row.try_get_by_index(0)?,
            head_id: row.try_get_by_index(1)?,
            last_seq: row.try_get_by_index(2)?,
            indexed_seq: row.try_get_by_index(3)?,
        })
    });
    searched.collect()
}

/// Ids of what the index has, and of all that it has not yet.
///
/// In a select of its own, because MySQL would ask for each message whether it is in a union.
fn candidates(
    backend: DbBackend,
    needle: &Needle,
    rooms: &[Searched],
    lagging: &[Searched],
) -> SelectStatement {
    let ids: Vec<i64> = rooms.iter().map(|room| room.id).collect();
    let mut found = MESSAGE_INDEX.matching(backend, needle, &ids);
    if !lagging.is_empty() {
        let unindexed = lagging.iter().map(|room| (room.id, room.indexed_seq));
        let rest = message::Entity::find()
            .select_only()
            .column(message::Column::Id)
            .filter(any_after(unindexed))
            .into_query();
        found.union(UnionType::Distinct, rest);
    }
    let ids = Alias::new("found");
    Query::select()
        .column((ids.clone(), Alias::new("id")))
        .from_subquery(found, ids)
        .take()
}

/// The newest messages of rooms, as evenly shared among them as their sizes allow.
fn recent(mut rooms: Vec<Searched>) -> Condition {
    rooms.sort_by_key(|room| std::cmp::Reverse(room.head_id));
    rooms.truncate(RECENT_ROOMS);
    rooms.sort_by_key(|room| room.last_seq);
    let (mut left, count) = (RECENT, rooms.len());
    any_after(rooms.into_iter().enumerate().map(|(n, room)| {
        let share = left / i64::try_from(count - n).unwrap_or(1);
        let taken = Ord::min(share, room.last_seq);
        left -= taken;
        (room.id, room.last_seq - taken)
    }))
}

/// Messages of rooms after a `seq` of each.
fn any_after(rooms: impl IntoIterator<Item = (i64, i64)>) -> Condition {
    rooms.into_iter().fold(Condition::any(), |any, (room, seq)| {
        any.add(
            Condition::all()
                .add(message::Column::RoomId.eq(room))
                .add(message::Column::Seq.gt(seq)),
        )
    })
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::SqliteQueryBuilder;

    use super::*;

    fn room(id: i64, last_seq: i64, indexed_seq: i64) -> Searched {
        Searched {
            id,
            head_id: id,
            last_seq,
            indexed_seq,
        }
    }

    fn shown(condition: Condition) -> String {
        let select = message::Entity::find()
            .select_only()
            .filter(condition)
            .into_query();
        let sql = select.to_string(SqliteQueryBuilder);
        sql.replace("\"chat_messages\".", "").replace('"', "")
    }

    #[test]
    fn small_rooms_leave_their_share_to_large_ones() {
        let sql = shown(recent(vec![
            room(1, 50_000, 0),
            room(2, 10, 0),
            room(3, 15_000, 0),
        ]));
        for part in [
            "room_id = 2 AND seq > 0",
            "room_id = 3 AND seq > 5005",
            "room_id = 1 AND seq > 40005",
        ] {
            assert!(sql.contains(part), "{sql}");
        }
        let many = (1..=1000).map(|id| room(id, 1_000_000, 0)).collect();
        let sql = shown(recent(many));
        assert_eq!(sql.matches("seq >").count(), RECENT_ROOMS);
        assert!(sql.contains("room_id = 1000 AND seq > 999900"), "{sql}");
    }

    #[test]
    fn what_is_not_indexed_is_read_through() {
        let needle = Needle::of("tea").expect("grams");
        let of = |rooms: &[Searched], lagging: &[Searched]| {
            candidates(DbBackend::Sqlite, &needle, rooms, lagging).to_string(SqliteQueryBuilder)
        };
        let rooms = [room(1, 9, 9), room(2, 9, 4)];
        let sql = of(&rooms, &rooms[1..]);
        assert!(sql.contains("xtea AND (r01 OR r02)"), "{sql}");
        assert!(sql.contains("UNION") && sql.contains("\"seq\" > 4"), "{sql}");
        assert!(!of(&rooms[..1], &[]).contains("UNION"));
    }
}
