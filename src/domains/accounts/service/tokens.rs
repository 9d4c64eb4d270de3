//! Pairs of tokens, their rotation, and what happens to a token that is used twice.

use chrono::{DateTime, TimeDelta, Utc};
use yunque_kernel::Tx;
use yunque_kernel::auth::api_key::sha256_hex;
use yunque_kernel::auth::{AuthChange, Claims, NewToken, TokenFault, TokenType};
use yunque_kernel::clock::is_storable;
use yunque_kernel::ids::{SessionId, UserId};

use super::client::Client;
use crate::error::AccountsError;
use crate::repo::security;
use crate::repo::sessions::{self, Rotation, SessionState};
use crate::settings::TokenLives;
use crate::{Accounts, Heard};

/// The family of URLs that a session belongs to. A refresh token works only on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/user/`
    Cloud,
    /// `/api/token/`
    Api,
}

impl Surface {
    pub fn as_str(self) -> &'static str {
        match self {
            Surface::Cloud => "cloud",
            Surface::Api => "api",
        }
    }
}

/// New tokens of a session.
#[derive(Clone, Debug)]
pub struct TokenPair {
    pub access: String,
    pub refresh: String,
}

/// What the tokens of one session say.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenSubject {
    pub user: UserId,
    pub session: SessionId,
    pub token_version: i32,
    pub generation: i32,
    pub access_ttl: i64,
    pub refresh_ttl: i64,
}

/// A rotation whose time is still open after this belongs to a process that died before it answered.
const LONGEST_ANSWER: TimeDelta = TimeDelta::seconds(60);

enum Refreshed {
    Pair(TokenPair),
    /// A new pair of this generation, committed.
    Rotated(TokenPair, i32),
    /// The token was used before, by a request that this one could not know of.
    LostRace,
    Reused(Heard),
    Unusable,
}

impl Accounts {
    pub(super) fn lives(&self, surface: Surface) -> TokenLives {
        match surface {
            Surface::Cloud => self.0.settings.cloud_tokens,
            Surface::Api => self.0.settings.api_tokens,
        }
    }

    pub(super) fn issue(&self, subject: TokenSubject, now: DateTime<Utc>) -> TokenPair {
        TokenPair {
            access: self.issue_access(subject, now),
            refresh: self.issue_refresh(subject, now),
        }
    }

    fn issue_access(&self, subject: TokenSubject, now: DateTime<Utc>) -> String {
        self.0
            .jwt
            .issue(&claims_of(subject, TokenType::Access, subject.access_ttl, now))
    }

    fn issue_refresh(&self, subject: TokenSubject, now: DateTime<Utc>) -> String {
        self.0
            .jwt
            .issue(&claims_of(subject, TokenType::Refresh, subject.refresh_ttl, now))
    }

    /// Exchanges a refresh token for a new pair; the old one is void. Of parallel uses of one token
    /// exactly one succeeds. A token that was replaced before the request came in ends its session.
    ///
    /// # Errors
    /// `RefreshRequired`, `TokenInvalid`, `TokenExpired`, `TokenReused`.
    pub async fn refresh(
        &self,
        surface: Surface,
        token: Option<&str>,
        client: &Client,
    ) -> Result<TokenPair, AccountsError> {
        let token = token
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .ok_or(AccountsError::RefreshRequired)?;
        let claims = self
            .0
            .jwt
            .verify(token, TokenType::Refresh, self.now().timestamp())
            .map_err(fault)?;
        let (presented, claims_session) = (sha256_hex(token), claims.session());
        let (accounts, client, token) = (self.clone(), client.clone(), token.to_owned());
        let done = self.0.ctx.db.write("refresh", move |tx| {
            let (accounts, claims, client) = (accounts.clone(), claims.clone(), client.clone());
            let (presented, token) = (presented.clone(), token.clone());
            async move {
                accounts
                    .rotate(&tx, surface, &claims, &presented, token, &client)
                    .await
            }
        });
        match done.await? {
            Refreshed::Pair(pair) => Ok(pair),
            Refreshed::Rotated(pair, generation) => {
                self.settle_rotation(claims_session, generation).await;
                Ok(pair)
            }
            Refreshed::LostRace | Refreshed::Unusable => Err(AccountsError::TokenInvalid),
            Refreshed::Reused(heard) => {
                heard.everywhere().await;
                Err(AccountsError::TokenReused)
            }
        }
    }

    /// Looks at an access or refresh token of any surface: would it be accepted where it belongs?
    ///
    /// # Errors
    /// `TokenInvalid`, `TokenExpired`. A refresh token that was used is only invalid here, because nobody tries to
    /// use it.
    pub async fn check_token(&self, token: &str) -> Result<(), AccountsError> {
        let now = self.now().timestamp();
        match self.0.jwt.verify(token, TokenType::Refresh, now) {
            Ok(claims) => self.check_refresh(&claims, &sha256_hex(token)).await,
            Err(TokenFault::Expired) => Err(AccountsError::TokenExpired),
            Err(TokenFault::Invalid) => self.holder_of(token).await.map(drop),
        }
    }

    async fn check_refresh(&self, claims: &Claims, presented: &str) -> Result<(), AccountsError> {
        let (reader, session) = (self.0.ctx.db.reader(), claims.session());
        let state = sessions::find_state(reader, session).await?;
        let live = state.is_some_and(|state| is_live(&state, claims));
        if live && sessions::is_current(reader, session, presented).await? {
            Ok(())
        } else {
            Err(AccountsError::TokenInvalid)
        }
    }

    /// Nobody can know of a rotation before its answer is on the way, so its time is taken after the
    /// commit. Whoever finds it open came before.
    async fn settle_rotation(&self, session: SessionId, generation: i32) {
        let now = self.now();
        let settle =
            move |tx: Tx| async move { sessions::settle_rotation(&tx, session, generation, now).await };
        if let Err(error) = self.0.ctx.db.write("refresh_settled", settle).await {
            tracing::warn!(error = %error, session.id = %session, "the time of a token rotation could not be noted");
        }
    }

    async fn rotate(
        &self,
        tx: &Tx,
        surface: Surface,
        claims: &Claims,
        presented: &str,
        token: String,
        client: &Client,
    ) -> Result<Refreshed, AccountsError> {
        let session = claims.session();
        let Some(state) = sessions::find_state(tx, session).await? else {
            return Ok(Refreshed::Unusable);
        };
        if !fits(&state, surface, claims) {
            return Ok(Refreshed::Unusable);
        }
        let now = self.now();
        let subject = TokenSubject {
            user: UserId(state.user_id),
            session,
            token_version: state.token_version,
            generation: state.generation.saturating_add(1),
            access_ttl: state.access_ttl,
            refresh_ttl: state.refresh_ttl,
        };
        if !self.0.settings.rotate_refresh {
            let current = sessions::claim_use(tx, session, presented, now).await?;
            let pair = TokenPair {
                access: self.issue_access(subject, now),
                refresh: token,
            };
            return Ok(if current {
                Refreshed::Pair(pair)
            } else {
                Refreshed::Unusable
            });
        }
        let expires_at = life(state.refresh_ttl).and_then(|life| now.checked_add_signed(life));
        let Some(expires_at) = expires_at.filter(|at| is_storable(*at)) else {
            return Ok(Refreshed::Unusable);
        };
        let pair = self.issue(subject, now);
        let rotation = Rotation {
            session,
            presented_hash: presented,
            new_hash: &sha256_hex(&pair.refresh),
            now,
            expires_at,
        };
        if sessions::claim_rotation(tx, &rotation).await? {
            return Ok(Refreshed::Rotated(pair, subject.generation));
        }
        self.judge_second_use(tx, claims, client).await
    }

    /// The token is genuine but not the current one. Reads the session again, because the winner may
    /// have committed only now.
    async fn judge_second_use(
        &self,
        tx: &Tx,
        claims: &Claims,
        client: &Client,
    ) -> Result<Refreshed, AccountsError> {
        let session = claims.session();
        let Some(state) = sessions::find_state(tx, session).await? else {
            return Ok(Refreshed::Unusable);
        };
        let used = claims
            .generation
            .is_some_and(|generation| i64::from(state.generation) > generation);
        if state.revoked_at.is_some() || !used {
            return Ok(Refreshed::Unusable);
        }
        // Only of the latest rotation do we know when it was; an older token is certainly reused.
        let latest = claims
            .generation
            .is_some_and(|generation| i64::from(state.generation) == generation + 1);
        let issued_at = life(state.refresh_ttl).and_then(|life| state.expires_at.checked_sub_signed(life));
        let Some(open_until) = issued_at.and_then(|at| at.checked_add_signed(LONGEST_ANSWER)) else {
            return Ok(Refreshed::Unusable);
        };
        let at = state.rotated_at.unwrap_or(open_until);
        let raced = client.received_at <= at + self.0.settings.reuse_grace;
        if latest && raced {
            return Ok(Refreshed::LostRace);
        }
        let user = UserId(state.user_id);
        sessions::claim_revocation(tx, user, session, self.now()).await?;
        let data =
            serde_json::json!({ "sid": session, "gen": claims.generation, "current_gen": state.generation });
        security::insert_event(
            tx,
            Some(user),
            "refresh_token_reused",
            Some(&client.ip),
            &data,
            self.now(),
        )
        .await?;
        tracing::warn!(user.id = %user, session.id = %session, "a refresh token was used twice; its session is revoked");
        Ok(Refreshed::Reused(
            self.tell(tx, AuthChange::Session { user, session }).await?,
        ))
    }
}

fn fits(state: &SessionState, surface: Surface, claims: &Claims) -> bool {
    state.surface == surface.as_str() && is_live(state, claims)
}

fn is_live(state: &SessionState, claims: &Claims) -> bool {
    state.user_id == claims.user_id
        && state.is_active
        && i64::from(state.token_version) == claims.tv
        && state.revoked_at.is_none()
}

/// The life of a token, as a row has it. `None` for what cannot be a time: a session with such a row is unusable.
fn life(seconds: i64) -> Option<TimeDelta> {
    TimeDelta::try_seconds(seconds)
}

fn claims_of(subject: TokenSubject, kind: TokenType, ttl_seconds: i64, now: DateTime<Utc>) -> NewToken {
    NewToken {
        kind,
        user: subject.user,
        session: subject.session,
        token_version: i64::from(subject.token_version),
        generation: i64::from(subject.generation),
        issued_at: now.timestamp(),
        ttl_seconds,
    }
}

pub(super) fn fault(fault: TokenFault) -> AccountsError {
    match fault {
        TokenFault::Invalid => AccountsError::TokenInvalid,
        TokenFault::Expired => AccountsError::TokenExpired,
    }
}
