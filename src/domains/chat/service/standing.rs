//! Where a caller stands in a room; the beginning of nearly every use case.

use serde_json::json;
use yunque_kernel::auth::Caller;
use yunque_kernel::{ChatRoomId, DbError, Tx};

use crate::entity::room;
use crate::policy::{Reader, Standing};
use crate::{Chat, ChatError, Core, repo};

impl Chat {
    /// Whether the caller may use chat rooms at all.
    ///
    /// # Errors
    /// `GroupRequired`.
    pub async fn admit(&self, caller: &Caller) -> Result<(), ChatError> {
        self.core().admit(caller).await
    }

    /// Where the caller stands in a room, closed or not.
    ///
    /// # Errors
    /// `GroupRequired`, `RoomNotFound`.
    pub(crate) async fn standing(&self, caller: &Caller, id: ChatRoomId) -> Result<Standing, ChatError> {
        self.admit(caller).await?;
        self.core().standing(caller, id).await
    }

    /// The same for one who wants to read; a platform admin's look into a room that is not public
    /// is recorded.
    ///
    /// # Errors
    /// As [`Chat::standing`], and `NotMember`.
    pub(crate) async fn reader(&self, caller: &Caller, id: ChatRoomId) -> Result<Standing, ChatError> {
        let standing = self.standing(caller, id).await?;
        standing.read()?;
        self.record(caller, &standing).await?;
        Ok(standing)
    }

    /// Records that a platform admin looked into a room of others.
    pub(crate) async fn record(&self, caller: &Caller, standing: &Standing) -> Result<(), DbError> {
        self.record_reader(caller, standing.room.key(), standing.reader())
            .await
    }

    /// The same of one who is judged as a reader only.
    pub(crate) async fn record_reader(
        &self,
        caller: &Caller,
        room: ChatRoomId,
        reader: Reader,
    ) -> Result<(), DbError> {
        if !reader.is_recorded() {
            return Ok(());
        }
        let data = json!({ "room_id": room.0, "room_type": reader.room_type.as_str() });
        let accounts = &self.core().accounts;
        accounts
            .record_event(caller.user_id, "chat_room_read", &data)
            .await
    }
}

impl Core {
    pub(crate) async fn admit(&self, caller: &Caller) -> Result<(), ChatError> {
        let Some(group) = &self.settings.required_group else {
            return Ok(());
        };
        if self.accounts.is_in_group(caller.user_id, group).await? {
            Ok(())
        } else {
            Err(ChatError::GroupRequired)
        }
    }

    pub(crate) async fn standing(&self, caller: &Caller, id: ChatRoomId) -> Result<Standing, ChatError> {
        let found = repo::find_room(self.ctx.db.reader(), id, caller.user_id).await?;
        let (room, row) = found.ok_or(ChatError::RoomNotFound)?;
        Ok(Standing::new(room, row, caller))
    }

    /// The same inside a transaction, with the room locked.
    pub(crate) async fn locked_standing(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: ChatRoomId,
    ) -> Result<Standing, ChatError> {
        let room: room::Model = repo::lock_room(tx, id).await?.ok_or(ChatError::RoomNotFound)?;
        let row = repo::find_member(tx, room.id, caller.user_id).await?;
        Ok(Standing::new(room, row, caller))
    }
}
