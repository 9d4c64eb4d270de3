//! `chat_search_marks` and `chat_message_index`: how far each room is indexed.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect,
};
use yunque_kernel::db::dialect;
use yunque_kernel::db::text_index::TextIndex;
use yunque_kernel::{DbError, Tx};

use crate::entity::{message, room, search_mark};

/// What was said. Its ids are those of `chat_messages`.
pub const MESSAGE_INDEX: TextIndex = TextIndex("chat_message_index");

/// Nothing of a new room is indexed.
pub async fn insert_search_marks(tx: &Tx, rooms: &[i64]) -> Result<(), DbError> {
    let mut insert = Query::insert()
        .into_table(search_mark::Entity)
        .columns([search_mark::Column::RoomId, search_mark::Column::IndexedSeq])
        .take();
    for room in rooms {
        insert.values_panic([(*room).into(), 0_i64.into()]);
    }
    tx.execute(&insert).await?;
    Ok(())
}

/// Rooms without a mark, which a server of an older version has made.
pub async fn list_unmarked_rooms(conn: &impl ConnectionTrait, limit: u64) -> Result<Vec<i64>, DbError> {
    let marked = Query::select()
        .column(search_mark::Column::RoomId)
        .from(search_mark::Entity)
        .take();
    let select = room::Entity::find()
        .select_only()
        .column(room::Column::Id)
        .filter(room::Column::Id.not_in_subquery(marked))
        .limit(limit);
    Ok(select.into_tuple().all(conn).await?)
}

/// How far rooms are indexed, locked until the transaction ends.
pub async fn lock_search_marks(tx: &Tx, rooms: &[i64]) -> Result<BTreeMap<i64, i64>, DbError> {
    let select = search_mark::Entity::find()
        .filter(search_mark::Column::RoomId.is_in(rooms.iter().copied()))
        .order_by_asc(search_mark::Column::RoomId);
    let rows = dialect::locked(tx, select).all(tx).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.room_id, row.indexed_seq))
        .collect())
}

/// Moves marks that are locked, by one statement.
pub async fn update_search_marks(tx: &Tx, marks: &BTreeMap<i64, i64>) -> Result<(), DbError> {
    if marks.is_empty() {
        return Ok(());
    }
    let columns = [search_mark::Column::RoomId, search_mark::Column::IndexedSeq];
    let mut insert = Query::insert()
        .into_table(search_mark::Entity)
        .columns(columns)
        .take();
    for (room, seq) in marks {
        insert.values_panic([(*room).into(), (*seq).into()]);
    }
    dialect::upsert(&mut insert, &columns[..1], &columns[1..]);
    tx.execute(&insert).await?;
    Ok(())
}

/// `last_seq` of rooms.
pub async fn list_last_seqs(conn: &impl ConnectionTrait, rooms: &[i64]) -> Result<Vec<(i64, i64)>, DbError> {
    let select = room::Entity::find()
        .select_only()
        .columns([room::Column::Id, room::Column::LastSeq])
        .filter(room::Column::Id.is_in(rooms.iter().copied()));
    Ok(select.into_tuple().all(conn).await?)
}

/// A message as the index needs it.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Unindexed {
    pub id: i64,
    pub room_id: i64,
    pub seq: i64,
    pub is_deleted: bool,
    pub content: String,
}

/// Messages of rooms with a `seq` in these (room, after, upto), by room and `seq`.
pub async fn list_unindexed(
    conn: &impl ConnectionTrait,
    ranges: &[(i64, i64, i64)],
) -> Result<Vec<Unindexed>, DbError> {
    let mut any = Condition::any();
    for (room, after, upto) in ranges {
        any = any.add(
            Condition::all()
                .add(message::Column::RoomId.eq(*room))
                .add(message::Column::Seq.gt(*after))
                .add(message::Column::Seq.lte(*upto)),
        );
    }
    let select = message::Entity::find()
        .select_only()
        .columns([
            message::Column::Id,
            message::Column::RoomId,
            message::Column::Seq,
            message::Column::IsDeleted,
            message::Column::Content,
        ])
        .filter(any)
        .order_by_asc(message::Column::RoomId)
        .order_by_asc(message::Column::Seq);
    Ok(select.into_model().all(conn).await?)
}

/// Rooms with messages that are not indexed, by id.
pub async fn list_unindexed_rooms(
    conn: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<i64>, DbError> {
    let (rooms, marks) = (Alias::new("chat_rooms"), Alias::new("chat_search_marks"));
    let id = || Expr::col((rooms.clone(), Alias::new("id")));
    let indexed = Expr::col((marks.clone(), Alias::new("indexed_seq")));
    let select = Query::select()
        .expr(id())
        .from(rooms.clone())
        .inner_join(
            marks.clone(),
            id().eq(Expr::col((marks.clone(), Alias::new("room_id")))),
        )
        .and_where(Expr::col((rooms.clone(), Alias::new("last_seq"))).gt(indexed))
        .and_where(id().gt(after))
        .order_by_expr(id(), sea_orm::Order::Asc)
        .limit(limit)
        .take();
    let rows = conn.query_all(&select).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}
