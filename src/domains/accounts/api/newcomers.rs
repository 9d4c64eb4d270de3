//! `/api/users/…`: the ways to an account. One's own, and those that agents and admins make.

use poem_openapi::OpenApi;
use yunque_kernel::auth::{Caller, UserType};
use yunque_kernel::http::{Body, BodyDigest, Claim, Created, Replayable, RequestInfo, Scope};
use yunque_kernel::ids::UserId;
use yunque_kernel::{ApiError, Text};

use super::AccountsTags;
use crate::dto::agents::{CustomerCreateIn, UserCreateIn, UserOut, UserRegisterIn};
use crate::error::AccountsError;
use crate::repo::members::MemberRow;
use crate::service::register::Newcomer;
use crate::values::{MaybeBlankPassword, Password};
use crate::{Accounts, Client, Registration};

const DIFFERENT: Text = Text::fixed("两次输入的密码不一致", "The passwords differ.");

pub(super) struct NewcomersApi {
    pub accounts: Accounts,
}

/// A repetition that is there must be one.
fn confirm(password: &Password, repeated: Option<MaybeBlankPassword>) -> Result<(), AccountsError> {
    match repeated {
        Some(repeated) if !repeated.equals(password) => {
            Err(AccountsError::field("confirm_password", DIFFERENT))
        }
        _ => Ok(()),
    }
}

/// Kind and place are decided by whoever makes the account, never by the body.
fn newcomer(body: UserCreateIn) -> Result<Newcomer, AccountsError> {
    let UserCreateIn {
        username,
        password,
        email,
        phone,
        name,
        display_name,
        confirm_password,
    } = body;
    confirm(&password, confirm_password)?;
    let registration = Registration {
        username,
        email,
        password,
        display_name: display_name.unwrap_or_default(),
    };
    Ok(Newcomer {
        name: name.unwrap_or_default().into_string(),
        phone: phone.unwrap_or_default(),
        ..Newcomer::new(registration, UserType::Customer)
    })
}

impl NewcomersApi {
    /// Makes an account at most once for an idempotency key, and shows it.
    async fn once<F>(
        &self,
        scope: Scope,
        digest: BodyDigest,
        make: impl FnOnce(Claim) -> F,
    ) -> Result<Replayable<Created<UserOut>>, ApiError>
    where
        F: Future<Output = Result<MemberRow, AccountsError>>,
    {
        let work = async |claim| Ok(Created(self.accounts.shown(make(claim).await?)));
        self.accounts.idempotency().run(scope, digest, work).await
    }
}

#[OpenApi(prefix_path = "/api/users", tag = "AccountsTags::Users")]
impl NewcomersApi {
    /// Registers a customer, perhaps of an agent.
    ///
    /// Anyone may; the new account is not logged in by it. Honours `Idempotency-Key`.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, `agent_not_found`, 403 `registration_closed`,
    /// 409 `idempotency_in_progress`, 422 `idempotency_key_reused`.
    #[oai(path = "/register", method = "post", operation_id = "register_customer")]
    async fn register(
        &self,
        info: RequestInfo,
        body: Body<UserRegisterIn>,
    ) -> Result<Replayable<Created<UserOut>>, ApiError> {
        let (body, digest) = body.into_parts();
        let UserRegisterIn {
            username,
            email,
            password,
            confirm_password,
            name,
            phone,
            agent,
        } = body;
        let account = UserCreateIn {
            username,
            password,
            email,
            phone,
            name,
            display_name: None,
            confirm_password,
        };
        let client = Client::of(&info);
        let make = async |claim| {
            self.accounts
                .register_customer(newcomer(account)?, agent.as_deref(), &client, &claim)
                .await
        };
        self.once(Scope::address(&info)?, digest, make).await
    }

    /// Creates a second-level agent below the caller, who must be a first-level agent.
    ///
    /// Honours `Idempotency-Key`.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, 403 `not_agent_l1`, 409
    /// `idempotency_in_progress`, 422 `idempotency_key_reused`.
    #[oai(
        path = "/create_sub_agent",
        method = "post",
        operation_id = "create_sub_agent"
    )]
    async fn create_sub_agent(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<UserCreateIn>,
    ) -> Result<Replayable<Created<UserOut>>, ApiError> {
        let (body, digest) = body.into_parts();
        let make = async |claim| {
            self.accounts
                .create_sub_agent(&caller, newcomer(body)?, &claim)
                .await
        };
        self.once(Scope::user(caller.user_id, &info)?, digest, make).await
    }

    /// Creates a first-level agent; for admins.
    ///
    /// Honours `Idempotency-Key`.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, 403 `permission_denied`, 409
    /// `idempotency_in_progress`, 422 `idempotency_key_reused`.
    #[oai(path = "/create_agent", method = "post", operation_id = "create_agent")]
    async fn create_agent(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<UserCreateIn>,
    ) -> Result<Replayable<Created<UserOut>>, ApiError> {
        let (body, digest) = body.into_parts();
        let make = async |claim| self.accounts.create_agent(&caller, newcomer(body)?, &claim).await;
        self.once(Scope::user(caller.user_id, &info)?, digest, make).await
    }

    /// Creates a customer; for agents and admins.
    ///
    /// Below the caller, or below `agent_id`: one of the caller's sub-agents, for admins any agent.
    /// Honours `Idempotency-Key`.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, `agent_not_found`, 403 `permission_denied`, 409
    /// `idempotency_in_progress`, 422 `idempotency_key_reused`.
    #[oai(path = "/create_customer", method = "post", operation_id = "create_customer")]
    async fn create_customer(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<CustomerCreateIn>,
    ) -> Result<Replayable<Created<UserOut>>, ApiError> {
        let (body, digest) = body.into_parts();
        let CustomerCreateIn { account, agent_id } = body;
        let make = async |claim| {
            self.accounts
                .create_customer(&caller, newcomer(account)?, agent_id.map(UserId), &claim)
                .await
        };
        self.once(Scope::user(caller.user_id, &info)?, digest, make).await
    }
}
