//! Notifications as they come about.
//!
//! Everything here runs in the transaction of what it tells of, with the room locked; frames for
//! `/ws/notifications/` are published after the commit. Small rooms are told at once. In larger
//! ones only mentions are; the rest is the job's (`notify_room`). That job exists whenever
//! `notified_seq` lags behind `last_seq`, so it is enqueued by the message that makes it lag.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::TimeDelta;
use yunque_kernel::queue::NewJob;
use yunque_kernel::realtime::BridgeState;
use yunque_kernel::{DbError, Tx, UserId};

use super::mentions::Mentions;
use crate::dto::{self, People};
use crate::entity::{member, message, notification, room};
use crate::jobs::NotifyChatRoom;
use crate::kinds::{NoticeType, Notify};
use crate::{Core, frames, repo};

/// Characters of `chat_notifications.title`.
const MAX_TITLE: usize = 200;
/// Between two runs of the job of one room.
const PAUSE: TimeDelta = TimeDelta::seconds(1);

/// Something that a user is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Notice<'a> {
    pub user: UserId,
    pub kind: NoticeType,
    pub title: String,
    pub content: String,
    pub room: Option<&'a room::Model>,
    pub message: Option<&'a message::Model>,
}

/// A new message that is none of the server's, and whom it names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub row: &'a message::Model,
    pub mentions: &'a Mentions,
    /// It names everybody, and its sender may.
    pub to_all: bool,
}

/// A stored notification and what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub row: &'a notification::Model,
    pub room: Option<&'a room::Model>,
    pub message: Option<&'a message::Model>,
}

/// What a mention and a plain message are called.
pub(super) fn mention_title(sender: &str, room: &room::Model) -> String {
    format!("{sender} 在 {} 中提到了你", room.name)
}

pub(super) fn message_title(sender: &str) -> String {
    format!("新消息来自 {sender}")
}

pub(super) fn fitting(title: &str) -> String {
    title.chars().take(MAX_TITLE).collect()
}

impl Core {
    /// Writes notifications, by one statement for a thousand of them, and pushes them.
    pub(crate) async fn tell(
        &self,
        tx: &Tx,
        notices: Vec<Notice<'_>>,
        people: &People,
    ) -> Result<(), DbError> {
        if notices.is_empty() {
            return Ok(());
        }
        let rows = self.store(tx, &notices, false).await?;
        let stored = rows.iter().zip(&notices).map(|(row, notice)| Stored {
            row,
            room: notice.room,
            message: notice.message,
        });
        self.push(tx, stored, people);
        Ok(())
    }

    /// Writes notifications of what their users have read already; nobody needs to hear of those.
    pub(super) async fn tell_read(&self, tx: &Tx, notices: &[Notice<'_>]) -> Result<(), DbError> {
        self.store(tx, notices, true).await.map(drop)
    }

    async fn store(
        &self,
        tx: &Tx,
        notices: &[Notice<'_>],
        is_read: bool,
    ) -> Result<Vec<notification::Model>, DbError> {
        let now = self.now();
        let mut rows: Vec<notification::Model> = notices
            .iter()
            .map(|notice| notification::Model {
                id: 0,
                user_id: notice.user.0,
                notification_type: notice.kind.as_str().to_owned(),
                title: fitting(&notice.title),
                content: notice.content.clone(),
                room_id: notice.room.map(|room| room.id),
                message_id: notice.message.map(|message| message.id),
                is_read,
                count: 1,
                coalesce_key: None,
                created_at: now,
                updated_at: now,
            })
            .collect();
        repo::insert_notifications(tx, &mut rows).await?;
        Ok(rows)
    }

    /// Sends notifications to the sockets of their users after the commit. Costs next to nothing when
    /// nobody can be listening.
    pub(super) fn push<'a>(&self, tx: &Tx, stored: impl IntoIterator<Item = Stored<'a>>, people: &People) {
        let hub = &self.ctx.realtime;
        let is_alone = hub.bridge().state == BridgeState::Local;
        let (mut rooms, mut messages) = (HashMap::new(), HashMap::new());
        let mut rows = Vec::new();
        for Stored { row, room, message } in stored {
            if is_alone && !hub.has_subscribers(&frames::user_topic(row.user())) {
                continue;
            }
            if let Some(room) = room {
                rooms.entry(room.id).or_insert_with(|| room.clone());
            }
            if let Some(message) = message {
                messages.entry(message.id).or_insert_with(|| message.clone());
            }
            rows.push(row.clone());
        }
        if rows.is_empty() {
            return;
        }
        let (core, mut people) = (self.clone(), people.clone());
        let strangers: Vec<UserId> = rooms
            .values()
            .filter_map(|room| room.created_by.map(UserId))
            .filter(|creator| !people.contains_key(creator))
            .collect();
        let publish = move |people: &People| {
            for row in &rows {
                let room = row.room_id.and_then(|id| rooms.get(&id));
                let message = row.message_id.and_then(|id| messages.get(&id));
                let shown = dto::notification(row, room, message, people);
                let frame = frames::notification(&shown);
                core.ctx.realtime.publish(&frames::user_topic(row.user()), frame);
            }
        };
        let core = self.clone();
        tx.after_commit(move || {
            if strangers.is_empty() {
                return publish(&people);
            }
            yunque_kernel::task::spawn(async move {
                // Without their creators rooms would look abandoned; then rather no frame, as the list
                // has everything.
                if let Ok(creators) = core.people(strangers).await {
                    people.extend(creators);
                    publish(&people);
                }
            });
        });
    }

    /// Tells the members of locked rooms of new messages there, by a fixed number of statements.
    /// `rooms` are as they are after the messages were added.
    pub(crate) async fn notify(
        &self,
        tx: &Tx,
        rooms: &mut BTreeMap<i64, room::Model>,
        sent: &[Sent<'_>],
        people: &People,
    ) -> Result<(), DbError> {
        let mut first: BTreeMap<i64, i64> = BTreeMap::new();
        for Sent { row, .. } in sent {
            let seq = first.entry(row.room_id).or_insert(row.seq);
            *seq = row.seq.min(*seq);
        }
        let (mut now, mut later) = (HashSet::new(), Vec::new());
        for (id, seq) in first {
            let Some(room) = rooms.get(&id) else { continue };
            // Otherwise the job of that room is waiting already, and these are its business too.
            if room.notified_seq + 1 != seq {
                continue;
            }
            if u32::try_from(room.member_count).unwrap_or(0) <= self.settings.notify_inline_max {
                now.insert(id);
            } else {
                later.push(id);
            }
        }
        let members = self.audience(tx, sent, &now).await?;
        let mut notices = Vec::new();
        for one in sent {
            if let Some(room) = rooms.get(&one.row.room_id) {
                let told = members.get(&room.id).map_or(&[][..], Vec::as_slice);
                notices_of(one, room, told, now.contains(&room.id), people, &mut notices);
            }
        }
        self.tell(tx, notices, people).await?;
        if !now.is_empty() {
            let now: Vec<i64> = now.into_iter().collect();
            repo::update_notified(tx, &now).await?;
            for id in now {
                if let Some(room) = rooms.get_mut(&id) {
                    room.notified_seq = room.last_seq;
                }
            }
        }
        let jobs = later.into_iter().map(|room| self.notify_later(room)).collect();
        self.ctx.queue.enqueue_many(tx, jobs).await?;
        Ok(())
    }

    /// The job that tells the members of a room of what is new there. Whoever calls this has the room
    /// locked and saw that nothing was left to tell before, so there is one job at a time and no key
    /// is needed; the key of a job that is just ending would keep the next one out.
    pub(super) fn notify_later(&self, room: i64) -> NewJob {
        NewJob::new(&NotifyChatRoom { room_id: room }).run_at(self.now() + PAUSE)
    }

    /// Members by room: all of those rooms that are told `now` or as a whole, and else those that
    /// messages name. At most two statements.
    async fn audience(
        &self,
        tx: &Tx,
        sent: &[Sent<'_>],
        now: &HashSet<i64>,
    ) -> Result<HashMap<i64, Vec<member::Model>>, DbError> {
        let mut whole: Vec<i64> = now.iter().copied().collect();
        let to_all = sent.iter().filter(|one| one.to_all);
        whole.extend(to_all.map(|one| one.row.room_id));
        whole.sort_unstable();
        whole.dedup();
        let mut named: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for one in sent.iter().filter(|one| !whole.contains(&one.row.room_id)) {
            let users = one.mentions.users.iter().map(|user| user.0);
            if !one.mentions.users.is_empty() {
                named.entry(one.row.room_id).or_default().extend(users);
            }
        }
        let mut members = Vec::new();
        if !whole.is_empty() {
            members = repo::list_active(tx, &whole).await?;
        }
        if !named.is_empty() {
            let named: Vec<(i64, Vec<i64>)> = named.into_iter().collect();
            let found = repo::list_members_of(tx, &named).await?;
            members.extend(found.into_iter().filter(|member| !member.is_banned));
        }
        let mut by_room: HashMap<i64, Vec<member::Model>> = HashMap::new();
        for member in members {
            by_room.entry(member.room_id).or_default().push(member);
        }
        Ok(by_room)
    }

    /// An edited message names somebody it did not name before: what he was told of it becomes a
    /// mention he has not read. Whom it does not name any more is left alone.
    pub(crate) async fn mention_by_edit(
        &self,
        tx: &Tx,
        room: &room::Model,
        one: Sent<'_>,
        people: &People,
    ) -> Result<(), DbError> {
        let row = one.row;
        if one.mentions.is_empty() {
            return Ok(());
        }
        let mut members = self.audience(tx, &[one], &HashSet::new()).await?;
        let members = members.remove(&room.id).unwrap_or_default();
        let mut notices = Vec::new();
        notices_of(&one, room, &members, false, people, &mut notices);
        let Some(first) = notices.first() else {
            return Ok(());
        };
        let (title, content) = (fitting(&first.title), first.content.clone());
        let users: Vec<i64> = notices.iter().map(|notice| notice.user.0).collect();
        let mut known = repo::lock_of_message(tx, row.id, &users).await?;
        notices.retain(|notice| known.iter().all(|known| known.user() != notice.user));
        known.retain(|known| known.notification_type != NoticeType::Mention.as_str());
        if !known.is_empty() {
            let now = self.now();
            let ids: Vec<i64> = known.iter().map(|known| known.id).collect();
            repo::update_to_mention(tx, &ids, &title, &content, now).await?;
            for known in &mut known {
                known.notification_type = NoticeType::Mention.as_str().to_owned();
                (known.title, known.content) = (title.clone(), content.clone());
                (known.is_read, known.coalesce_key, known.updated_at) = (false, None, now);
            }
            let moved = known.iter().map(|row_of| Stored {
                row: row_of,
                room: Some(room),
                message: Some(row),
            });
            self.push(tx, moved, people);
        }
        self.tell(tx, notices, people).await
    }
}

/// Who of `members` is told what of one message. `to_everybody`: those whom it does not name as well.
fn notices_of<'a>(
    one: &Sent<'a>,
    room: &'a room::Model,
    members: &[member::Model],
    to_everybody: bool,
    people: &People,
    notices: &mut Vec<Notice<'a>>,
) {
    let sender = one.row.sender();
    let name = dto::name(people, sender).username;
    let content = dto::preview(&one.row.content);
    for member in members.iter().filter(|member| member.user() != sender) {
        let is_named = one.to_all || one.mentions.users.contains(&member.user());
        let (kind, title) = match (member.notify(), is_named) {
            (Notify::All | Notify::Mentions, true) => (NoticeType::Mention, mention_title(&name, room)),
            (Notify::All, false) if to_everybody => (NoticeType::Message, message_title(&name)),
            _ => continue,
        };
        notices.push(Notice {
            user: member.user(),
            kind,
            title,
            content: content.clone(),
            room: Some(room),
            message: Some(one.row),
        });
    }
}
