//! Credentials under every surface: keys, tokens, passwords, API keys, and who is calling.
//!
//! * [`keys`]: one master secret, one derived key for each use, rotation.
//! * [`jwt`]: tokens signed by one pinned algorithm and verified without leeway.
//! * [`passwords`]: Argon2id on a bounded number of threads; `django`: the hashes that imported accounts bring.
//! * [`api_key`]: the form of API keys and their scopes.
//! * [`caller`]: the `Caller` and `SessionCaller` parameters of operations. Who a token belongs to
//!   is answered by an [`Authenticate`], which the accounts domain implements.
//! * [`revocation`], [`cache`]: a session's validity may be remembered only while every revocation
//!   reaches this process; otherwise each request asks the database.
//!
//! What surprises: an operation without a `Caller` parameter does not look at credentials at all,
//! so a stale `Authorization` header cannot break login, register or refresh.

pub mod api_key;
pub mod cache;
pub mod caller;
mod django;
mod hub_bus;
pub mod jwt;
pub mod keys;
pub mod passwords;
pub mod revocation;
mod secret;
mod settings;

pub use api_key::{NewApiKey, Scopes};
pub use cache::AuthCache;
pub use caller::{ApiKeyRef, Authenticate, Caller, ScopeTable, SessionCaller, UserType};
pub use django::DjangoHash;
pub use hub_bus::HubBus;
pub use jwt::{Claims, Jwt, NewToken, TokenFault, TokenType};
pub use keys::{KeyUse, Keys};
pub use passwords::{PasswordFailure, Passwords, Verdict};
pub use revocation::{AuthChange, LocalBus, RevocationBus};
pub use secret::{SecretKeyMismatch, SecretKeyState, check_secret_key};
pub use settings::{AuthSettings, PasswordCost};
