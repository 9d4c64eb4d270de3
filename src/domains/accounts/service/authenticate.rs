//! Whose credentials a request carries. At most one query, none while the answer is remembered.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use yunque_kernel::ApiError;
use yunque_kernel::auth::api_key::hash_of;
use yunque_kernel::auth::cache::CredentialKey;
use yunque_kernel::auth::{ApiKeyRef, Authenticate, Caller, Claims, Scopes, TokenType, UserType};
use yunque_kernel::ids::UserId;

use super::tokens::fault;
use crate::Accounts;
use crate::error::AccountsError;
use crate::repo::{keys, sessions};

#[async_trait]
impl Authenticate for Accounts {
    async fn jwt(&self, token: &str) -> Result<Caller, ApiError> {
        Ok(self.caller_of_token(token).await?)
    }

    async fn jwt_until(&self, token: &str) -> Result<(Caller, i64), ApiError> {
        let claims = self.claims_of(token)?;
        let caller = self.holder_of_claims(&claims).await?;
        self.note_use(&caller, None, self.now().timestamp());
        Ok((caller, claims.exp))
    }

    async fn api_key(&self, key: &str, ip: IpAddr) -> Result<Caller, ApiError> {
        Ok(self.caller_of_key(key, ip).await?)
    }

    fn jwt_at_a_glance(&self, token: &str) -> Result<(), ApiError> {
        self.claims_of(token)?;
        Ok(())
    }

    fn api_key_at_a_glance(&self, key: &str) -> Result<(), ApiError> {
        hash_of(key).ok_or(AccountsError::TokenInvalid)?;
        Ok(())
    }
}

impl Accounts {
    async fn caller_of_token(&self, token: &str) -> Result<Caller, AccountsError> {
        let caller = self.holder_of(token).await?;
        self.note_use(&caller, None, self.now().timestamp());
        Ok(caller)
    }

    /// Whose access token this is, if it is good. Asking is no use of it.
    pub(super) async fn holder_of(&self, token: &str) -> Result<Caller, AccountsError> {
        self.holder_of_claims(&self.claims_of(token)?).await
    }

    fn claims_of(&self, token: &str) -> Result<Claims, AccountsError> {
        let now = self.now().timestamp();
        self.0.jwt.verify(token, TokenType::Access, now).map_err(fault)
    }

    async fn holder_of_claims(&self, claims: &Claims) -> Result<Caller, AccountsError> {
        let now = self.now().timestamp();
        let version = i32::try_from(claims.tv).map_err(|_| AccountsError::TokenInvalid)?;
        let key = CredentialKey::Session(claims.session());
        if let Some(caller) = self.0.cache.find(&key, Some(version), now) {
            if caller.user_id != claims.user() {
                return Err(AccountsError::TokenInvalid);
            }
            return Ok(caller);
        }
        let ticket = self.0.cache.ticket();
        let state = sessions::find_state(self.0.ctx.db.reader(), claims.session()).await?;
        let state = state.ok_or(AccountsError::TokenInvalid)?;
        let good = state.user_id == claims.user_id
            && state.revoked_at.is_none()
            && state.is_active
            && state.token_version == version;
        if !good {
            return Err(AccountsError::TokenInvalid);
        }
        let caller = Caller {
            user_id: UserId(state.user_id),
            username: state.username.into(),
            is_staff: state.is_staff,
            user_type: UserType::from_stored(&state.user_type),
            session: Some(claims.session()),
            key: None,
        };
        self.0.cache.store(ticket, key, caller.clone(), version, None);
        Ok(caller)
    }

    async fn caller_of_key(&self, text: &str, ip: IpAddr) -> Result<Caller, AccountsError> {
        let now = self.now().timestamp();
        let hash: Arc<str> = hash_of(text).ok_or(AccountsError::TokenInvalid)?.into();
        let key = CredentialKey::ApiKey(hash.clone());
        if let Some(caller) = self.0.cache.find(&key, None, now) {
            self.note_use(&caller, Some(&ip.to_string()), now);
            return Ok(caller);
        }
        let ticket = self.0.cache.ticket();
        let state = keys::find_state(self.0.ctx.db.reader(), &hash)
            .await?
            .ok_or(AccountsError::TokenInvalid)?;
        let expires_at = state.expires_at.map(|at| at.timestamp());
        if !state.key_active || !state.is_active || expires_at.is_some_and(|at| at <= now) {
            return Err(AccountsError::TokenInvalid);
        }
        let scopes = Scopes::from_json(&state.permissions);
        let caller = Caller {
            user_id: UserId(state.user_id),
            username: state.username.into(),
            is_staff: state.is_staff && scopes.staff(),
            user_type: UserType::from_stored(&state.user_type),
            session: None,
            key: Some(ApiKeyRef {
                id: state.id,
                scopes: Arc::new(scopes),
            }),
        };
        self.0
            .cache
            .store(ticket, key, caller.clone(), state.token_version, expires_at);
        self.note_use(&caller, Some(&ip.to_string()), now);
        Ok(caller)
    }
}
