//! Sessions: list, end one, end all.

use yunque_kernel::Tx;
use yunque_kernel::auth::{AuthChange, Caller, SessionCaller, TokenType};
use yunque_kernel::ids::{SessionId, UserId};

use crate::entity::session;
use crate::error::AccountsError;
use crate::repo::{sessions, users};
use crate::{Accounts, Heard};

impl Accounts {
    /// Ends the calling session, and that of `refresh` if it is the same user's. Anything else in
    /// `refresh` is ignored.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn logout(&self, caller: &SessionCaller, refresh: Option<&str>) -> Result<(), AccountsError> {
        let mut ids = vec![caller.session];
        let now = self.now().timestamp();
        let given = refresh.and_then(|token| self.0.jwt.verify(token.trim(), TokenType::Refresh, now).ok());
        if let Some(claims) = given.filter(|claims| claims.user() == caller.user_id) {
            ids.push(claims.session());
        }
        self.end_sessions(caller.user_id, ids).await.map(drop)
    }

    /// Ends every session of the caller and voids all tokens that were ever made for it.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn logout_everywhere(&self, caller: &Caller) -> Result<(), AccountsError> {
        self.revoke_everything(caller.user_id).await.map(drop)
    }

    /// The caller's live sessions, the last used first; at most 100.
    ///
    /// # Errors
    /// Only the database's.
    pub(crate) async fn list_sessions(&self, caller: &Caller) -> Result<Vec<session::Model>, AccountsError> {
        Ok(sessions::list_live(self.0.ctx.db.reader(), caller.user_id, self.now()).await?)
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// `NotFound` unless it is a live session of the caller.
    pub async fn end_session(&self, caller: &Caller, id: SessionId) -> Result<(), AccountsError> {
        match self.end_sessions(caller.user_id, vec![id]).await? {
            0 => Err(AccountsError::NotFound),
            _ => Ok(()),
        }
    }

    async fn end_sessions(&self, user: UserId, ids: Vec<SessionId>) -> Result<usize, AccountsError> {
        let accounts = self.clone();
        let ended = self.0.ctx.db.write("end_sessions", move |tx: Tx| {
            let (accounts, ids) = (accounts.clone(), ids.clone());
            async move {
                let mut ended = Vec::new();
                for session in ids {
                    if sessions::claim_revocation(&tx, user, session, accounts.now()).await? {
                        ended.push(AuthChange::Session { user, session });
                    }
                }
                let count = ended.len();
                Ok::<_, AccountsError>((count, accounts.tell_all(&tx, ended).await?))
            }
        });
        let (count, heard) = ended.await?;
        heard.everywhere().await;
        Ok(count)
    }

    /// Ends all sessions of a user and raises the token version. Returns how many were alive.
    pub(super) async fn revoke_everything(&self, user: UserId) -> Result<u64, AccountsError> {
        let accounts = self.clone();
        let revoked = self.0.ctx.db.write("revoke_sessions", move |tx: Tx| {
            let accounts = accounts.clone();
            async move {
                let now = accounts.now();
                if !users::update_token_version(&tx, user, now).await? {
                    return Err(AccountsError::NotFound);
                }
                let count = sessions::update_all_revoked(&tx, user, None, now).await?;
                Ok((count, accounts.tell(&tx, AuthChange::User { user }).await?))
            }
        });
        let (count, heard): (u64, Heard) = revoked.await?;
        heard.everywhere().await;
        Ok(count)
    }
}
