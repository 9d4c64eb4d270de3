//! What was read, message by message or up to one, and how the others hear of it.
//!
//! A member's mark is a high-water mark: nothing before it is unread. Who read a message is noted for
//! messages that were marked one by one, and for those that were there when a room was marked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use yunque_kernel::auth::Caller;
use yunque_kernel::clock::rfc3339;
use yunque_kernel::realtime::Hub;
use yunque_kernel::{ChatMessageId, ChatRoomId, Tx, UserId};

use crate::dto::{self, ChatNameOut, ChatReadOut, ChatReaderOut};
use crate::repo::{self, Mark};
use crate::{Chat, ChatError, frames};

/// Messages for which marking a room notes who read them: the newest of those that were there.
const NOTED: i64 = 1000;
/// Between two frames about what was read in a room with many online.
const PAUSE: Duration = Duration::from_secs(1);

/// Up to where a room is marked.
#[derive(Clone, Copy, Debug)]
struct Target {
    mark: Mark,
    seq: i64,
}

impl Chat {
    /// Marks a message as read by the caller. Doing it again changes nothing.
    ///
    /// # Errors
    /// `GroupRequired`, `MessageNotFound`, `MessageDenied`.
    pub async fn mark_read(&self, caller: &Caller, message: ChatMessageId) -> Result<(), ChatError> {
        self.admit(caller).await?;
        let found = repo::find_message(self.ctx().db.reader(), message).await?;
        let row = found.ok_or(ChatError::MessageNotFound)?;
        let (chat, by) = (self.clone(), caller.clone());
        let mark_read = move |tx: Tx| {
            let (chat, by, row) = (chat.clone(), by.clone(), row.clone());
            async move {
                let member = repo::lock_member(&tx, row.room_id, by.user_id).await?;
                let member = member.filter(|member| !member.is_banned);
                let member = member.ok_or(ChatError::MessageDenied)?;
                let now = chat.now();
                let mark = Mark {
                    message: row.id,
                    ordinal: row.ordinal,
                };
                repo::update_mark(&tx, member.id, mark, now).await?;
                // The message before its notification, as whoever deletes it takes them. Everybody has
                // read what he wrote himself.
                if row.sender() != by.user_id && repo::insert_read(&tx, row.id, by.user_id, now).await? {
                    chat.tell_read(&tx, &by, row.room_id, row.id, now);
                }
                repo::update_message_read(&tx, by.user_id, row.room_id, row.id).await?;
                Ok::<_, ChatError>(())
            }
        };
        self.ctx().db.write("chat.mark_read", mark_read).await
    }

    /// Marks everything in a room as read by the caller, or what was said up to a message, and tells
    /// how many messages of others were not noted as read before.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`, `NotMember`, `MessageNotFound`.
    pub async fn read_room(
        &self,
        caller: &Caller,
        id: ChatRoomId,
        up_to: Option<i64>,
    ) -> Result<u64, ChatError> {
        let standing = self.standing(caller, id).await?;
        standing.member().ok_or(ChatError::NotMember)?;
        let (chat, by) = (self.clone(), caller.clone());
        let read_room = move |tx: Tx| {
            let (chat, by) = (chat.clone(), by.clone());
            async move { chat.read_locked(&tx, &by, id, up_to).await }
        };
        self.ctx().db.write("chat.read_room", read_room).await
    }

    async fn read_locked(
        &self,
        tx: &Tx,
        by: &Caller,
        id: ChatRoomId,
        up_to: Option<i64>,
    ) -> Result<u64, ChatError> {
        let member = repo::lock_member(tx, id.0, by.user_id).await?;
        let member = member
            .filter(|member| !member.is_banned)
            .ok_or(ChatError::NotMember)?;
        let Some(target) = self.target(tx, by, id, up_to).await? else {
            return Ok(0);
        };
        let (now, Target { mark, seq }) = (self.now(), target);
        let from = (seq - NOTED + 1).max(1);
        let updated = repo::insert_reads(tx, id.0, by.user_id, from, seq, now).await?;
        repo::update_mark(tx, member.id, mark, now).await?;
        repo::update_read_up_to(tx, by.user_id, id.0, mark.message).await?;
        if updated > 0 {
            self.tell_read(tx, by, id.0, mark.message, now);
        }
        Ok(updated)
    }

    /// The message up to which a room is marked; `None` when nothing was said.
    async fn target(
        &self,
        tx: &Tx,
        by: &Caller,
        id: ChatRoomId,
        up_to: Option<i64>,
    ) -> Result<Option<Target>, ChatError> {
        if let Some(up_to) = up_to {
            let found = repo::find_message_of(tx, id.0, up_to).await?;
            let row = found.ok_or(ChatError::MessageNotFound)?;
            let mark = Mark {
                message: row.id,
                ordinal: row.ordinal,
            };
            return Ok(Some(Target { mark, seq: row.seq }));
        }
        let (room, _) = repo::find_room(tx, id, by.user_id)
            .await?
            .ok_or(ChatError::RoomNotFound)?;
        let mark = Mark {
            message: room.head_id,
            ordinal: room.last_ordinal,
        };
        Ok((room.last_seq > 0).then_some(Target {
            mark,
            seq: room.last_seq,
        }))
    }

    /// Who has read a message: its sender when he sent it, then the others in the order of reading.
    ///
    /// # Errors
    /// `GroupRequired`, `MessageNotFound`, `MessageDenied`.
    pub async fn list_message_reads(
        &self,
        caller: &Caller,
        message: ChatMessageId,
    ) -> Result<Vec<ChatReadOut>, ChatError> {
        let (row, _) = self.readable_message(caller, message).await?;
        let reads = repo::list_reads(self.ctx().db.reader(), row.id).await?;
        let readers: Vec<(UserId, DateTime<Utc>)> = row
            .sender_id
            .map(|sender| (UserId(sender), row.created_at))
            .into_iter()
            .chain(reads.iter().map(|read| (UserId(read.user_id), read.read_at)))
            .collect();
        let people = self.core().people(readers.iter().map(|(user, _)| *user)).await?;
        Ok(readers
            .into_iter()
            .map(|(user, at)| ChatReadOut {
                user: dto::name(&people, user),
                read_at: rfc3339(at),
            })
            .collect())
    }

    /// Tells the sockets of a room after the commit: at once, or in a crowd together with others.
    fn tell_read(&self, tx: &Tx, by: &Caller, room: i64, message: i64, at: DateTime<Utc>) {
        let (chat, reader) = (
            self.clone(),
            ChatNameOut {
                id: by.user_id.0,
                username: by.username.to_string(),
            },
        );
        tx.after_commit(move || {
            let (hub, at) = (&chat.ctx().realtime, rfc3339(at));
            if chat.is_crowded(room) {
                let read = ChatReaderOut {
                    user: reader,
                    message_id: message,
                    read_at: at,
                };
                chat.core().reads.add(hub, room, read);
            } else {
                let frame = frames::message_read(&reader, message, &at);
                hub.publish(&frames::room_topic(ChatRoomId(room)), frame);
            }
        });
    }
}

/// What was read in rooms with many online and is told within a second, by room and reader. Each
/// instance tells what was marked through it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatheredReads(Arc<Mutex<HashMap<i64, Readers>>>);

type Readers = BTreeMap<i64, ChatReaderOut>;

impl GatheredReads {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<i64, Readers>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when nothing of this room was waiting.
    fn insert(&self, room: i64, read: ChatReaderOut) -> bool {
        self.with(|rooms| {
            let is_first = !rooms.contains_key(&room);
            let readers = rooms.entry(room).or_default();
            let known = readers.get(&read.user.id).map_or(0, |known| known.message_id);
            if known < read.message_id {
                readers.insert(read.user.id, read);
            }
            is_first
        })
    }

    fn take(&self, room: i64) -> Vec<ChatReaderOut> {
        let readers = self.with(|rooms| rooms.remove(&room)).unwrap_or_default();
        readers.into_values().collect()
    }

    fn add(&self, hub: &Hub, room: i64, read: ChatReaderOut) {
        if !self.insert(room, read) {
            return;
        }
        let (this, hub) = (self.clone(), hub.clone());
        yunque_kernel::task::spawn(async move {
            tokio::time::sleep(PAUSE).await;
            let frame = frames::messages_read(this.take(room));
            hub.publish(&frames::room_topic(ChatRoomId(room)), frame);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: i64, message: i64) -> ChatReaderOut {
        ChatReaderOut {
            user: ChatNameOut {
                id: reader,
                username: "x".to_owned(),
            },
            message_id: message,
            read_at: String::new(),
        }
    }

    #[test]
    fn a_reader_is_told_once_with_the_newest_message() {
        let reads = GatheredReads::default();
        let told = |room| -> Vec<(i64, i64)> {
            let told = reads.take(room).into_iter();
            told.map(|read| (read.user.id, read.message_id)).collect()
        };
        assert!(reads.insert(1, read(7, 10)));
        assert!(!reads.insert(1, read(7, 12)));
        assert!(!reads.insert(1, read(7, 11)));
        assert!(!reads.insert(1, read(8, 3)));
        assert!(reads.insert(2, read(7, 1)));
        assert_eq!(told(1), [(7, 12), (8, 3)]);
        assert_eq!(told(1), []);
        assert!(reads.insert(1, read(7, 13)));
    }
}
