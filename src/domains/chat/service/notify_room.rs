//! What the job `notify_chat_room` does: tells the members of a room that is too large for doing that
//! together with each message.
//!
//! It works from `notified_seq` up to what was said when it began, in short transactions that hold the
//! room, and moves `notified_seq` in the same ones: whatever is lost is done again, and nothing twice.
//! What was said meanwhile is left to a job a second later.

use std::collections::{BTreeMap, HashMap, HashSet};

use yunque_kernel::queue::{Job, NewJob};
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::notify::{Notice, Stored, fitting, message_title};
use crate::dto::{self, People};
use crate::entity::{member, message, notification, room};
use crate::jobs::{NotifyChatRoom, room_subject};
use crate::kinds::{MessageType, NoticeType, Notify};
use crate::repo::coalesce_key;
use crate::{Core, repo};

/// Rows of one transaction where each message has its own for each member.
const ROWS: i64 = 2000;
/// Messages of one transaction where a member has one row for all of them.
const MESSAGES: i64 = 2000;
const PAGE: u64 = 500;

/// How one transaction of the job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Told up to here.
    Told(i64),
    /// Nothing is left, or another run has done it.
    Over,
}

impl Core {
    pub(crate) async fn notify_room(&self, id: i64) -> Result<(), DbError> {
        let reader = self.ctx.db.reader();
        let Some(room) = repo::list_rooms_by_ids(reader, &[id]).await?.pop() else {
            return Ok(());
        };
        let (mut from, end) = (room.notified_seq, room.last_seq);
        while from < end {
            let is_large = u32::try_from(room.member_count).unwrap_or(0) > self.settings.notify_coalesce;
            let most = if is_large {
                MESSAGES
            } else {
                (ROWS / i64::from(room.member_count.max(1))).max(1)
            };
            let to = end.min(from + most);
            // Who wrote does not change; what was written may, and is read again inside.
            let said = repo::list_said(reader, id, from + 1, to).await?;
            let people = self
                .people(said.iter().filter_map(|(_, sender)| sender.map(UserId)))
                .await?;
            let core = self.clone();
            let step = move |tx: Tx| {
                let (core, people) = (core.clone(), people.clone());
                async move {
                    core.notify_step(&tx, id, (from, to), is_large, to == end, &people)
                        .await
                }
            };
            match self.ctx.db.write("chat.notify_room", step).await? {
                Step::Told(to) => from = to,
                Step::Over => return Ok(()),
            }
        }
        Ok(())
    }

    async fn notify_step(
        &self,
        tx: &Tx,
        id: i64,
        (from, to): (i64, i64),
        is_large: bool,
        is_last: bool,
        people: &People,
    ) -> Result<Step, DbError> {
        let Some(room) = repo::lock_room(tx, ChatRoomId(id)).await? else {
            return Ok(Step::Over);
        };
        if room.notified_seq != from {
            return Ok(Step::Over);
        }
        let members: Vec<member::Model> = repo::list_active(tx, &[id])
            .await?
            .into_iter()
            .filter(|member| member.notify() == Notify::All)
            .collect();
        if is_large {
            self.tell_together(tx, &room, &members, (from, to), people)
                .await?;
        } else {
            self.tell_each_message(tx, &room, &members, (from, to), people)
                .await?;
        }
        repo::update_notified_seq(tx, id, to).await?;
        if is_last && room.last_seq > to {
            let job = self.notify_later(id);
            self.ctx.queue.enqueue_many(tx, vec![job]).await?;
        }
        Ok(Step::Told(to))
    }

    /// One row for each message and member. One that a member has marked as read in the meantime is
    /// read from the start.
    async fn tell_each_message(
        &self,
        tx: &Tx,
        room: &room::Model,
        members: &[member::Model],
        (from, to): (i64, i64),
        people: &People,
    ) -> Result<(), DbError> {
        let mut messages = repo::list_range(tx, room.id, from + 1, to).await?;
        messages.retain(|row| row.kind() != MessageType::System && !row.is_deleted);
        messages.reverse();
        let ids: Vec<i64> = messages.iter().map(|row| row.id).collect();
        if ids.is_empty() || members.is_empty() {
            return Ok(());
        }
        let told = repo::list_notified(tx, &ids).await?;
        let read: HashSet<(i64, i64)> = repo::list_read_pairs(tx, &ids).await?.into_iter().collect();
        let mut unread = Vec::new();
        let mut known = Vec::new();
        for row in &messages {
            let title = message_title(&dto::name(people, row.sender()).username);
            let content = dto::preview(&row.content);
            let others = members
                .iter()
                .filter(|member| member.user() != row.sender() && !told.contains(&(row.id, member.user_id)));
            for member in others {
                let notice = Notice {
                    user: member.user(),
                    kind: NoticeType::Message,
                    title: title.clone(),
                    content: content.clone(),
                    room: Some(room),
                    message: Some(row),
                };
                match read.contains(&(row.id, member.user_id)) {
                    true => known.push(notice),
                    false => unread.push(notice),
                }
            }
        }
        self.tell(tx, unread, people).await?;
        self.tell_read(tx, &known).await
    }

    /// One unread row for each member, moved to the newest message that is news to him, which counts
    /// how many there were: by one UPDATE and one INSERT.
    async fn tell_together(
        &self,
        tx: &Tx,
        room: &room::Model,
        members: &[member::Model],
        (from, to): (i64, i64),
        people: &People,
    ) -> Result<(), DbError> {
        let said = repo::list_said(tx, room.id, from + 1, to).await?;
        let (Some((oldest, _)), Some((newest, _))) = (said.first(), said.last()) else {
            return Ok(());
        };
        let mut named: HashMap<i64, HashSet<i64>> = HashMap::new();
        for (message, user) in repo::list_mentioned(tx, room.id, *oldest, *newest).await? {
            named.entry(user).or_default().insert(message);
        }
        // How many messages are news to whom, and the newest of them.
        let mut news: BTreeMap<i64, (i32, i64)> = BTreeMap::new();
        for member in members {
            let named = named.get(&member.user_id);
            let fresh = said.iter().filter(|(id, sender)| {
                *id > member.mark_id
                    && *sender != Some(member.user_id)
                    && named.is_none_or(|named| !named.contains(id))
            });
            let (mut count, mut last) = (0, 0);
            for (id, _) in fresh {
                (count, last) = (count + 1, *id);
            }
            if count > 0 {
                news.insert(member.user_id, (count, last));
            }
        }
        let shown: HashSet<i64> = news.values().map(|(_, last)| *last).collect();
        let shown: Vec<i64> = shown.into_iter().collect();
        let messages: HashMap<i64, message::Model> = repo::list_messages_by_ids(tx, &shown)
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        let keys: Vec<String> = news.keys().map(|user| coalesce_key(*user, room.id)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut rows = repo::lock_coalesced(tx, &keys).await?;
        for row in &mut rows {
            let Some((count, last)) = news.remove(&row.user_id) else {
                continue;
            };
            let Some(message) = messages.get(&last) else {
                continue;
            };
            row.count = row.count.saturating_add(count);
            row.message_id = Some(last);
            (row.title, row.content) = texts_of(message, people);
            row.updated_at = now.max(row.updated_at);
        }
        let moved_at = rows.iter().map(|row| row.updated_at).max().unwrap_or(now);
        rows.iter_mut().for_each(|row| row.updated_at = moved_at);
        repo::update_coalesced(tx, &rows).await?;
        let mut new: Vec<notification::Model> = news
            .into_iter()
            .filter_map(|(user, (count, last))| {
                let (title, content) = texts_of(messages.get(&last)?, people);
                Some(notification::Model {
                    id: 0,
                    user_id: user,
                    notification_type: NoticeType::Message.as_str().to_owned(),
                    title,
                    content,
                    room_id: Some(room.id),
                    message_id: Some(last),
                    is_read: false,
                    count,
                    coalesce_key: Some(coalesce_key(user, room.id)),
                    created_at: now,
                    updated_at: now,
                })
            })
            .collect();
        repo::insert_notifications(tx, &mut new).await?;
        let stored = rows.iter().chain(&new).map(|row| Stored {
            row,
            room: Some(room),
            message: row.message_id.and_then(|id| messages.get(&id)),
        });
        self.push(tx, stored, people);
        Ok(())
    }

    /// Rooms that lag behind without a job get one. There are none unless a job was given up.
    pub(crate) async fn revive_notifiers(&self) -> Result<usize, DbError> {
        let (mut revived, mut after) = (0, 0);
        loop {
            let page = repo::list_behind(self.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(revived);
            };
            after = *last;
            let subjects: Vec<String> = page.iter().map(|room| room_subject(*room)).collect();
            let live = self.ctx.queue.live_among(NotifyChatRoom::KIND, &subjects).await?;
            for room in page
                .into_iter()
                .filter(|room| !live.contains(&room_subject(*room)))
            {
                let job =
                    NewJob::new(&NotifyChatRoom { room_id: room }).dedupe(format!("notify_chat:{room}"));
                revived += usize::from(self.enqueue_alone(job).await?);
            }
        }
    }

    /// Subjects of the rooms that lag behind.
    pub(crate) async fn expected_notifiers(&self) -> Result<Vec<String>, DbError> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = repo::list_behind(self.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = *last;
            all.extend(page.into_iter().map(room_subject));
        }
    }
}

fn texts_of(row: &message::Model, people: &People) -> (String, String) {
    let title = message_title(&dto::name(people, row.sender()).username);
    (fitting(&title), dto::preview(&row.content))
}
