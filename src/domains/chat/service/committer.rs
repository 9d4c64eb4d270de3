//! Sending: messages that come together are checked and committed together, by a fixed number of
//! statements for a batch, however many they are and over however many rooms.
//!
//! Committers are sharded by room: one on SQLite, where there is one writer anyway, four elsewhere.
//! What can be looked at before the transaction (texts, names that are mentioned, files) has been;
//! who may speak is asked inside it, with the room locked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use yunque_kernel::batch::Batcher;
use yunque_kernel::db::DbKind;
use yunque_kernel::{ChatRoomId, DbError, Tx, UserId};

use super::append::{Appended, Draft, FileLink};
use super::mentions::Mentions;
use super::notify::Sent;
use crate::dto::People;
use crate::entity::{member, message, room};
use crate::kinds::MessageType;
use crate::{ChatError, Core, policy, repo};

/// Messages in one transaction.
const MOST: usize = 128;
/// Committers where the database has many writers.
const SHARDS: usize = 4;

/// A message on its way, looked at as far as that goes without its room.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub room: ChatRoomId,
    pub sender: UserId,
    pub message_type: MessageType,
    pub content: String,
    pub file: Option<FileLink>,
    pub reply_to: Option<i64>,
    pub client_id: Option<String>,
    pub mentions: Mentions,
    /// The sender, and who is replied to.
    pub people: People,
}

/// A message that is stored.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub room: room::Model,
    pub row: message::Model,
    /// The message that it answers.
    pub reply: Option<message::Model>,
    /// False when the sender had sent it before.
    pub is_new: bool,
}

type Answer = Result<Delivered, ChatError>;

/// The tasks that commit.
pub(crate) struct Committers(Vec<Batcher<Outgoing, Answer>>);

impl Committers {
    /// Inside a runtime.
    pub fn start(core: &Core) -> Self {
        let shards = match core.ctx.db.kind() {
            DbKind::Sqlite => 1,
            DbKind::MySql | DbKind::Postgres => SHARDS,
        };
        let committer = || {
            let core = core.clone();
            Batcher::new(MOST, move |batch| core.clone().commit_batch(batch))
        };
        Committers((0..shards).map(|_| committer()).collect())
    }

    /// Takes a message to be stored, and gives what tells that it was.
    ///
    /// # Errors
    /// As [`Core::commit`] says of this message; the database's.
    pub async fn add(
        &self,
        outgoing: Outgoing,
    ) -> Result<impl Future<Output = Answer> + Send + use<>, ChatError> {
        let shard = usize::try_from(outgoing.room.0).unwrap_or(0) % self.0.len();
        let answer = self.0[shard].add(outgoing).await;
        let answer = answer.map_err(|_| DbError::Cancelled)?;
        Ok(async { answer.await.map_err(|_| DbError::Cancelled)? })
    }
}

/// What a batch stands on: everything that is read, with the rooms locked.
struct Ground {
    rooms: BTreeMap<i64, room::Model>,
    members: HashMap<(i64, i64), member::Model>,
    /// Messages by room, sender and the sender's own id.
    known: HashMap<(i64, i64, String), message::Model>,
    replies: HashMap<i64, message::Model>,
}

/// What becomes of one message of a batch.
enum Verdict {
    Refused(ChatError),
    Known(Box<message::Model>),
    /// One of the drafts; a repetition inside the batch shares it.
    New {
        draft: usize,
        is_first: bool,
    },
}

impl Core {
    async fn commit_batch(self, batch: Vec<Outgoing>) -> Vec<Answer> {
        let is_one_room = batch.iter().all(|one| one.room == batch[0].room);
        match self.write(&batch).await {
            Ok(answers) => return answers,
            // Nobody would fare better alone, except that a room may be locked by somebody.
            Err(e) if e.is_transient() && (is_one_room || !matches!(e, DbError::Conflict(_))) => {
                return batch.iter().map(|_| Err(e.clone().into())).collect();
            }
            Err(_) => {}
        }
        let mut answers = Vec::with_capacity(batch.len());
        let mut locked: HashMap<i64, DbError> = HashMap::new();
        // One after the other, so that those of one sender stay in their order.
        for one in &batch {
            let answer = match locked.get(&one.room.0) {
                Some(error) => Err(error.clone()),
                None => self.write(std::slice::from_ref(one)).await,
            };
            answers.push(match answer {
                Ok(mut answers) => answers.pop().unwrap_or(Err(DbError::Cancelled.into())),
                Err(e) => {
                    if e.is_transient() {
                        // The others in this room need not wait for the same once more each.
                        locked.insert(one.room.0, e.clone());
                    }
                    Err(e.into())
                }
            });
        }
        answers
    }

    async fn write(&self, batch: &[Outgoing]) -> Result<Vec<Answer>, DbError> {
        let (this, batch): (_, Arc<[Outgoing]>) = (self.clone(), batch.into());
        let send = move |tx: Tx| {
            let (this, batch) = (this.clone(), batch.clone());
            async move { this.commit(&tx, &batch).await }
        };
        self.ctx.db.write("chat.send", send).await
    }

    /// Stores those messages of a batch that may be sent, and says of each what became of it.
    ///
    /// Refusals: `RoomNotFound`, `NotMember`, `RoomInactive`, `Muted`, `SystemDenied`,
    /// `InvalidReply`.
    ///
    /// # Errors
    /// The database's; then nothing is stored.
    pub(crate) async fn commit(&self, tx: &Tx, batch: &[Outgoing]) -> Result<Vec<Answer>, DbError> {
        let mut ground = self.ground(tx, batch).await?;
        let mut drafts: Vec<Draft> = Vec::new();
        let mut authors: Vec<&Outgoing> = Vec::new();
        let mut taken: HashMap<(i64, i64, &str), usize> = HashMap::new();
        let mut verdicts = Vec::with_capacity(batch.len());
        for one in batch {
            let name = one.client_id.as_deref();
            let name = name.map(|name| (one.room.0, one.sender.0, name));
            verdicts.push(match self.judge(&ground, one) {
                Err(refusal) => Verdict::Refused(refusal),
                Ok(Some(known)) => Verdict::Known(Box::new(known)),
                Ok(None) => match name.and_then(|name| taken.get(&name)) {
                    Some(draft) => Verdict::New {
                        draft: *draft,
                        is_first: false,
                    },
                    None => {
                        let draft = drafts.len();
                        drafts.push(draft_of(one));
                        authors.push(one);
                        if let Some(name) = name {
                            taken.insert(name, draft);
                        }
                        Verdict::New {
                            draft,
                            is_first: true,
                        }
                    }
                },
            });
        }
        self.keep_uploads(tx, &mut drafts).await?;
        let appended = self.append(tx, &mut ground.rooms, drafts).await?;
        self.after_append(tx, &mut ground, &appended, &authors).await?;
        let answers = verdicts.into_iter().zip(batch);
        Ok(answers
            .map(|(verdict, one)| answer(verdict, one, &ground, &appended))
            .collect())
    }

    /// What goes with new messages: their senders' marks, files, notifications, frames.
    async fn after_append(
        &self,
        tx: &Tx,
        ground: &mut Ground,
        appended: &[Appended],
        authors: &[&Outgoing],
    ) -> Result<(), DbError> {
        if appended.is_empty() {
            return Ok(());
        }
        let mut marks: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for Appended { row, .. } in appended {
            if let Some(member) = ground.members.get(&(row.room_id, row.sender().0)) {
                marks.insert(member.id, (row.id, row.ordinal));
            }
        }
        repo::update_marks(tx, &marks, self.now()).await?;
        let uploads: Vec<i64> = appended.iter().filter_map(|a| a.row.upload_id).collect();
        if !uploads.is_empty() {
            self.use_uploads(tx, &uploads).await?;
        }
        let people: People = authors.iter().flat_map(|one| one.people.clone()).collect();
        let sent: Vec<Sent<'_>> = appended
            .iter()
            .zip(authors)
            .filter(|(appended, _)| appended.row.kind() != MessageType::System)
            .map(|(Appended { row, .. }, one)| {
                let author = ground.members.get(&(row.room_id, row.sender().0));
                Sent {
                    row,
                    mentions: &one.mentions,
                    to_all: one.mentions.all && author.is_some_and(policy::is_moderator),
                }
            })
            .collect();
        if !sent.is_empty() {
            self.notify(tx, &mut ground.rooms, &sent, &people).await?;
        }
        self.publish(tx, appended, &people);
        Ok(())
    }

    async fn ground(&self, tx: &Tx, batch: &[Outgoing]) -> Result<Ground, DbError> {
        let mut senders: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut names: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        let mut replied: Vec<i64> = Vec::new();
        for one in batch {
            let of_room = senders.entry(one.room.0).or_default();
            if !of_room.contains(&one.sender.0) {
                of_room.push(one.sender.0);
            }
            if let Some(name) = &one.client_id {
                names.entry(one.room.0).or_default().push(name);
            }
            replied.extend(one.reply_to);
        }
        let ids: Vec<i64> = senders.keys().copied().collect();
        let rooms = repo::lock_rooms(tx, &ids).await?;
        let pairs: Vec<(i64, Vec<i64>)> = senders.into_iter().collect();
        let members = repo::list_members_of(tx, &pairs).await?;
        let names: Vec<(i64, Vec<&str>)> = names.into_iter().collect();
        let known = repo::list_by_client_ids(tx, &names).await?;
        let replies = repo::list_messages_by_ids(tx, &replied).await?;
        Ok(Ground {
            rooms: rooms.into_iter().map(|room| (room.id, room)).collect(),
            members: members.into_iter().map(|m| ((m.room_id, m.user_id), m)).collect(),
            known: known
                .into_iter()
                .filter_map(|m| Some(((m.room_id, m.sender_id?, m.client_id.clone()?), m)))
                .collect(),
            replies: replies.into_iter().map(|m| (m.id, m)).collect(),
        })
    }

    /// The message that this one repeats, or `None` if it may be stored.
    fn judge(&self, ground: &Ground, one: &Outgoing) -> Result<Option<message::Model>, ChatError> {
        let room = ground.rooms.get(&one.room.0).ok_or(ChatError::RoomNotFound)?;
        let row = ground.members.get(&(room.id, one.sender.0));
        let member = row.filter(|row| !row.is_banned).ok_or(ChatError::NotMember)?;
        if let Some(name) = &one.client_id {
            let known = ground.known.get(&(room.id, one.sender.0, name.clone()));
            if let Some(known) = known {
                return Ok(Some(known.clone()));
            }
        }
        policy::speak(room, row, self.now())?;
        if one.message_type == MessageType::System && !policy::is_moderator(member) {
            return Err(ChatError::SystemDenied);
        }
        if let Some(reply) = one.reply_to {
            let found = ground.replies.get(&reply);
            found
                .filter(|message| message.room_id == room.id && !message.is_deleted)
                .ok_or(ChatError::InvalidReply)?;
        }
        Ok(None)
    }
}

fn draft_of(one: &Outgoing) -> Draft {
    Draft {
        room: one.room.0,
        sender: one.sender,
        message_type: one.message_type,
        content: one.content.clone(),
        file: one.file.clone(),
        reply_to: one.reply_to,
        client_id: one.client_id.clone(),
    }
}

fn answer(verdict: Verdict, one: &Outgoing, ground: &Ground, appended: &[Appended]) -> Answer {
    let (row, is_new) = match verdict {
        Verdict::Refused(refusal) => return Err(refusal),
        Verdict::Known(row) => (*row, false),
        Verdict::New { draft, is_first } => {
            let appended = appended.get(draft).ok_or(DbError::Cancelled)?;
            (appended.row.clone(), is_first)
        }
    };
    let room = ground.rooms.get(&one.room.0).ok_or(ChatError::RoomNotFound)?;
    Ok(Delivered {
        room: room.clone(),
        reply: row.reply_to_id.and_then(|id| ground.replies.get(&id).cloned()),
        row,
        is_new,
    })
}
