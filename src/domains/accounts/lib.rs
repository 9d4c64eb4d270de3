//! Accounts under every surface: users, sessions, groups, API keys.
//!
//! * Tables: `users`, `user_profiles`, `user_login_logs`, `groups`, `user_groups`, `auth_sessions`,
//!   `auth_login_attempts`, `auth_login_gates`, `auth_api_keys`, `password_reset_codes`,
//!   `security_events`, and the tables of mail tokens and second factors, whose endpoints come with
//!   later surfaces.
//! * A login is a row of `auth_sessions`; its id is the `sid` of all its tokens. A refresh is one
//!   conditional update of that row, so of parallel uses of a token exactly one succeeds.
//! * Every write that takes rights away says so in its transaction ([`AuthChange`]) and is heard by
//!   all processes before the request is answered; see `kernel::auth::revocation`.
//! * Uniqueness is decided by the database alone. Names and addresses have a folded `*_key` column,
//!   because the three databases fold differently.
//! * Agents and their customers form trees. Who sees and manages whom is one rule, [`scope`], that
//!   other domains ask for as well ([`Accounts::scope_of`], [`Accounts::is_ancestor`]).
//! * Jobs: `purge_user` removes personal data; `accounts_sweep` removes old rows; `check_avatar`
//!   removes pictures that are nobody's.
//! * Other domains use [`Accounts::briefs`] and [`Accounts::is_in_group`] (cached), [`Accounts::named`],
//!   [`Accounts::contactable`], [`Accounts::reserve_space`] and its siblings, [`Accounts::on_purge`] and
//!   [`Accounts::on_parent_change`]. They hear of changes through [`Accounts::bus`].
//!
//! What surprises: a login runs to its end even when its client has gone, because an attempt that
//! was announced to the throttle must also be settled there.

pub mod api;
pub mod dto;
mod entity;
mod error;
mod jobs;
mod mails;
mod policy;
mod repo;
pub mod scope;
mod service;
#[cfg(test)]
mod service_tests;
mod settings;
pub mod values;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use yunque_kernel::auth::{AuthCache, AuthChange, HubBus, Jwt, RevocationBus};
use yunque_kernel::ids::UserId;
use yunque_kernel::{Ctx, DbError, Tx};

pub use error::{AccountsError, codes};
pub use jobs::{AccountsSweep, CheckAvatar, PurgeUser};
pub use repo::space::StorageInfo;
pub use repo::users::AccountRow;
pub use scope::{Place, Reach, Scope};
pub use service::api_keys::{ApiKeyView, CreatedApiKey};
pub use service::briefs::{Brief, NO_LONGER_A_USER};
pub use service::client::Client;
pub use service::console::{NewSuperuser, SessionView, UserDetails, UserFilter, UserView};
pub use service::contacts::{ContactPolicy, NamedUser};
pub use service::groups::{DemoUser, GroupReport, NewGroup, demo};
pub use service::import::{Import, ImportFault, ImportOptions, ImportReport};
pub use service::login::Login;
pub use service::register::Registration;
pub use service::tokens::{Surface, TokenPair};
pub use settings::{AccountsSettings, PasswordPolicy, Threshold, TokenLives};

/// What another domain does when an account's personal data is removed: usually it enqueues a job
/// that removes what the account owned.
#[async_trait]
pub trait PurgeHook: Send + Sync + 'static {
    /// Runs in the transaction that anonymises the account.
    async fn user_purged(&self, tx: &Tx, user: UserId) -> Result<(), DbError>;
}

/// What another domain keeps that counts against a user's quota, besides the files.
#[async_trait]
pub trait SpaceHook: Send + Sync + 'static {
    /// Bytes. Runs in the transaction that recounts, with the user's row locked.
    async fn space_of(&self, tx: &Tx, user: UserId) -> Result<u64, DbError>;
}

/// A customer who got another parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub customer: UserId,
    /// The agent before; `None` when there was none.
    pub from: Option<UserId>,
    pub to: Option<UserId>,
}

/// What another domain does when customers get another agent.
pub trait ParentHook: Send + Sync + 'static {
    /// Runs in the transaction that moves the customers, after their rows are written. It must end
    /// before the transaction does, and keep no clone of `tx`.
    fn customers_moved(&self, tx: Tx, moves: Vec<Moved>) -> BoxFuture<'_, Result<(), DbError>>;
}

/// The accounts domain. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    ctx: Ctx,
    settings: AccountsSettings,
    jwt: Jwt,
    bus: HubBus,
    cache: AuthCache,
    briefs: service::briefs::Briefs,
    memberships: service::membership::Memberships,
    activity: service::activity::Activity,
    turns: service::throttle::Turns,
    imported_read: tokio::sync::OnceCell<()>,
    purge_hooks: RwLock<Vec<Arc<dyn PurgeHook>>>,
    space_hooks: RwLock<Vec<Arc<dyn SpaceHook>>>,
    parent_hooks: RwLock<Vec<Arc<dyn ParentHook>>>,
    contact_policy: RwLock<Option<Arc<dyn ContactPolicy>>>,
}

impl Accounts {
    /// Registers this domain's jobs and body formats as well.
    pub fn new(ctx: Ctx, settings: AccountsSettings) -> Self {
        values::register_formats();
        let bus = HubBus::new(ctx.realtime.clone());
        let shared: Arc<dyn RevocationBus> = Arc::new(bus.clone());
        let accounts = Accounts(Arc::new(Inner {
            jwt: Jwt::new(&ctx.keys),
            cache: AuthCache::new(shared),
            briefs: service::briefs::Briefs::new(&bus),
            memberships: service::membership::Memberships::new(&bus),
            activity: service::activity::Activity::default(),
            imported_read: tokio::sync::OnceCell::new(),
            turns: service::throttle::Turns::default(),
            purge_hooks: RwLock::default(),
            space_hooks: RwLock::default(),
            parent_hooks: RwLock::default(),
            contact_policy: RwLock::default(),
            bus,
            settings,
            ctx,
        }));
        accounts
            .0
            .ctx
            .queue
            .register::<PurgeUser>(accounts.clone(), PurgeUser::plan());
        accounts
            .0
            .ctx
            .queue
            .register::<AccountsSweep>(accounts.clone(), AccountsSweep::plan());
        accounts
            .0
            .ctx
            .queue
            .register::<CheckAvatar>(accounts.clone(), CheckAvatar::plan());
        accounts.0.ctx.mail.register::<mails::ResetCode>();
        accounts
    }

    pub fn settings(&self) -> &AccountsSettings {
        &self.0.settings
    }

    /// Tells of every [`AuthChange`], made here or elsewhere: close the sockets of a user whose
    /// rights changed, drop what is remembered about a profile.
    pub fn bus(&self) -> &HubBus {
        &self.0.bus
    }

    /// Adds what must happen when an account's personal data is removed.
    pub fn on_purge(&self, hook: Arc<dyn PurgeHook>) {
        self.0
            .purge_hooks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(hook);
    }

    /// Adds what counts when a user's space is counted again.
    pub fn on_recount(&self, hook: Arc<dyn SpaceHook>) {
        self.0
            .space_hooks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(hook);
    }

    /// Adds what must happen when customers get another agent.
    pub fn on_parent_change(&self, hook: Arc<dyn ParentHook>) {
        self.0
            .parent_hooks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(hook);
    }

    /// For operations that honour `Idempotency-Key`.
    fn idempotency(&self) -> &yunque_kernel::http::Idempotency {
        &self.0.ctx.idempotency
    }

    fn purge_hooks(&self) -> Vec<Arc<dyn PurgeHook>> {
        self.0
            .purge_hooks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tells the other domains of customers that were moved in this transaction.
    async fn tell_moves(&self, tx: &Tx, moves: Vec<Moved>) -> Result<(), DbError> {
        if moves.is_empty() {
            return Ok(());
        }
        let hooks = self
            .0
            .parent_hooks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for hook in hooks {
            hook.customers_moved(tx.clone(), moves.clone()).await?;
        }
        Ok(())
    }

    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.0.ctx.clock.now()
    }

    /// Records a change in the transaction that makes it, and publishes it after the commit.
    async fn tell(&self, tx: &Tx, change: AuthChange) -> Result<Heard, DbError> {
        self.tell_all(tx, vec![change]).await
    }

    /// The same for many changes.
    async fn tell_all(&self, tx: &Tx, changes: Vec<AuthChange>) -> Result<Heard, DbError> {
        AuthChange::record(&changes, tx, self.now()).await?;
        let (done, heard) = tokio::sync::oneshot::channel();
        let bus = self.0.bus.clone();
        // In a task of its own: it must be heard even if the client has gone meanwhile.
        tx.after_commit(move || {
            yunque_kernel::task::spawn(async move {
                // Each waits for its confirmations, so one after the other would take long.
                let publishing = changes.into_iter().map(|change| bus.publish(change));
                futures_util::future::join_all(publishing).await;
                // Nobody may be waiting any more.
                let _ = done.send(());
            });
        });
        Ok(Heard(heard))
    }
}

/// Waits until a change is known everywhere, or could not be told in time.
#[must_use = "an answer before the change is heard breaks the promise of immediate revocation"]
struct Heard(tokio::sync::oneshot::Receiver<()>);

impl Heard {
    async fn everywhere(self) {
        // An error means that the publishing task is gone, at shutdown.
        let _ = self.0.await;
    }
}
