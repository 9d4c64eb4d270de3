//! Adding messages to rooms that are locked: the one place that gives out `seq`.

use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Query, SimpleExpr};
use yunque_kernel::{DbError, Tx, UserId};

use crate::dto::People;
use crate::entity::{message, room};
use crate::kinds::MessageType;
use crate::{Core, frames, repo};

/// A message that may be added.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub room: i64,
    pub sender: UserId,
    pub message_type: MessageType,
    pub content: String,
    pub file: Option<FileLink>,
    pub reply_to: Option<i64>,
    pub client_id: Option<String>,
}

/// The file that a message shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileLink {
    pub url: String,
    pub name: Option<String>,
    pub size: Option<i64>,
    /// Set if it is one of our uploads.
    pub upload: Option<i64>,
}

/// A message that was added, and the newest one of the room before it.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub row: message::Model,
    pub previous: i64,
}

impl Core {
    /// Adds messages to rooms that are locked, by two statements, and moves the rooms' counters here
    /// and in the database.
    pub(crate) async fn append(
        &self,
        tx: &Tx,
        rooms: &mut BTreeMap<i64, room::Model>,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Appended>, DbError> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.now();
        let mut rows = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let room = rooms.get_mut(&draft.room).ok_or_else(not_locked)?;
            rows.push(number(room, draft, now));
        }
        repo::insert_messages(tx, &mut rows).await?;
        let mut appended = Vec::with_capacity(rows.len());
        let mut changed = Vec::new();
        for row in rows {
            let room = rooms.get_mut(&row.room_id).ok_or_else(not_locked)?;
            let previous = std::mem::replace(&mut room.head_id, row.id);
            room.last_message_id = Some(row.id);
            if !changed.contains(&room.id) {
                changed.push(room.id);
            }
            appended.push(Appended { row, previous });
        }
        let changed: Vec<&room::Model> = changed.iter().filter_map(|id| rooms.get(id)).collect();
        save_counters(tx, &changed).await?;
        self.index_after_commit(tx, changed.iter().map(|room| room.id));
        Ok(appended)
    }

    /// Lets the server say something in a locked room, on behalf of somebody.
    pub(crate) async fn say(
        &self,
        tx: &Tx,
        room: &mut room::Model,
        sender: UserId,
        text: String,
        people: &People,
    ) -> Result<(), DbError> {
        let draft = Draft {
            room: room.id,
            sender,
            message_type: MessageType::System,
            content: text,
            file: None,
            reply_to: None,
            client_id: None,
        };
        let mut rooms = BTreeMap::from([(room.id, room.clone())]);
        let appended = self.append(tx, &mut rooms, vec![draft]).await?;
        if let Some(moved) = rooms.remove(&room.id) {
            *room = moved;
        }
        self.publish(tx, &appended, people);
        Ok(())
    }

    /// Tells the sockets of what was added, after the commit.
    pub(crate) fn publish(&self, tx: &Tx, appended: &[Appended], people: &People) {
        let hub = self.ctx.realtime.clone();
        let frames: Vec<_> = appended
            .iter()
            .map(|Appended { row, previous }| {
                let frame = frames::stored(row, Some(*previous), people).encode();
                (frames::room_topic(yunque_kernel::ChatRoomId(row.room_id)), frame)
            })
            .collect();
        tx.after_commit(move || {
            for (topic, frame) in frames {
                hub.publish(&topic, frame);
            }
        });
    }
}

fn not_locked() -> DbError {
    DbError::Other("a message for a room that is not locked".to_owned())
}

/// The row of a draft, with the room's next numbers.
fn number(room: &mut room::Model, draft: Draft, now: chrono::DateTime<chrono::Utc>) -> message::Model {
    let Draft {
        room: room_id,
        sender,
        message_type,
        content,
        file,
        reply_to,
        client_id,
    } = draft;
    // Everybody was told of everything so far, and of this there is nothing to tell.
    let was_notified = room.notified_seq == room.last_seq;
    room.last_seq += 1;
    if message_type == MessageType::System {
        if was_notified {
            room.notified_seq = room.last_seq;
        }
    } else {
        room.last_ordinal += 1;
    }
    let file = file.unwrap_or_default();
    message::Model {
        id: 0,
        room_id,
        seq: room.last_seq,
        ordinal: room.last_ordinal,
        sender_id: Some(sender.0),
        message_type: message_type.as_str().to_owned(),
        content,
        file_url: Some(file.url).filter(|url| !url.is_empty()),
        file_name: file.name,
        file_size: file.size,
        upload_id: file.upload,
        is_edited: false,
        edited_at: None,
        is_deleted: false,
        deleted_at: None,
        deleted_by: None,
        reply_to_id: reply_to,
        client_id,
        created_at: now,
        updated_at: now,
    }
}

/// One statement for any number of rooms.
async fn save_counters(tx: &Tx, rooms: &[&room::Model]) -> Result<(), DbError> {
    let id = || Expr::col(room::Column::Id);
    let by_room = |value: fn(&room::Model) -> SimpleExpr| -> SimpleExpr {
        if let [only] = rooms {
            return value(only);
        }
        let cases = rooms.iter().fold(CaseStatement::new(), |cases, room| {
            cases.case(id().eq(room.id), value(room))
        });
        cases.into()
    };
    let update = Query::update()
        .table(room::Entity)
        .value(room::Column::LastSeq, by_room(|r| Expr::value(r.last_seq)))
        .value(
            room::Column::NotifiedSeq,
            by_room(|r| Expr::value(r.notified_seq)),
        )
        .value(
            room::Column::LastOrdinal,
            by_room(|r| Expr::value(r.last_ordinal)),
        )
        .value(room::Column::HeadId, by_room(|r| Expr::value(r.head_id)))
        .value(
            room::Column::LastMessageId,
            by_room(|r| Expr::value(r.last_message_id)),
        )
        .and_where(id().is_in(rooms.iter().map(|room| room.id)))
        .take();
    tx.execute(&update).await?;
    Ok(())
}
