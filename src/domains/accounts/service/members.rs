//! The users' surface: agents and their customers, for those who may see and manage them.

use yunque_kernel::auth::{Caller, SessionCaller, UserType};
use yunque_kernel::http::Page;
use yunque_kernel::http::idempotency::Claim;
use yunque_kernel::ids::UserId;

use super::changes::{AccountChanges, Right};
use super::client::Client;
use super::register::{AnswerForm, Newcomer, Parent};
use crate::Accounts;
use crate::error::AccountsError;
use crate::repo::members::{self, MemberFilter, MemberRow};
use crate::repo::tree;
use crate::scope::{Reach, Scope};
use crate::values::{CurrentPassword, Password};

/// A page of accounts, and how many there are in all.
pub(crate) type MemberPage = (Vec<MemberRow>, u64);

impl Accounts {
    /// The caller's own account.
    ///
    /// # Errors
    /// `NotFound` when it vanished since the token was checked.
    pub(crate) async fn own_member(&self, caller: &Caller) -> Result<MemberRow, AccountsError> {
        self.member_row(caller.user_id).await
    }

    /// An account without asking who wants to see it.
    pub(crate) async fn member_row(&self, id: UserId) -> Result<MemberRow, AccountsError> {
        let found = members::find(self.0.ctx.db.reader(), id).await?;
        found.ok_or(AccountsError::NotFound)
    }

    /// An account, for its owner, those above it, admins and editors.
    ///
    /// # Errors
    /// `NotFound` for everybody else.
    pub(crate) async fn member(&self, caller: &Caller, id: UserId) -> Result<MemberRow, AccountsError> {
        let place = tree::find_place(self.0.ctx.db.reader(), id).await?;
        match place {
            Some(place) if Scope::of(caller).sees(&place) => self.member_row(id).await,
            _ => Err(AccountsError::NotFound),
        }
    }

    /// Everybody the caller sees: all for admins and editors, those below for agents, oneself for
    /// customers.
    ///
    /// # Errors
    /// Only the database's.
    pub(crate) async fn list_members(
        &self,
        caller: &Caller,
        filter: &MemberFilter,
        page: Page,
    ) -> Result<MemberPage, AccountsError> {
        let scope = Scope::of(caller);
        Ok(members::list(self.0.ctx.db.reader(), scope, filter, page).await?)
    }

    /// The second-level agents of a first-level agent, for admins those of all or of one, each with
    /// the number of its customers.
    ///
    /// # Errors
    /// `PermissionDenied` for everybody else.
    pub(crate) async fn list_sub_agents(
        &self,
        caller: &Caller,
        mut filter: MemberFilter,
        page: Page,
    ) -> Result<(Vec<(MemberRow, i64)>, u64), AccountsError> {
        let scope = Scope::of(caller);
        match scope.reach {
            Reach::Everybody => {}
            Reach::Tree if caller.user_type == UserType::AgentL1 => filter.parent = Some(caller.user_id),
            _ => return Err(AccountsError::PermissionDenied),
        }
        filter.user_type = Some(UserType::AgentL2);
        let reader = self.0.ctx.db.reader();
        let (rows, total) = members::list(reader, scope, &filter, page).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let counts = members::count_customers(reader, &ids).await?;
        let counted = |row: MemberRow| {
            let customers = counts.get(&row.id).copied().unwrap_or(0);
            (row, customers)
        };
        Ok((rows.into_iter().map(counted).collect(), total))
    }

    /// The customers of an agent and of its sub-agents, for admins all.
    ///
    /// # Errors
    /// `PermissionDenied` for everybody else.
    pub(crate) async fn list_customers(
        &self,
        caller: &Caller,
        mut filter: MemberFilter,
        page: Page,
    ) -> Result<MemberPage, AccountsError> {
        let scope = Scope::of(caller);
        if !matches!(scope.reach, Reach::Everybody | Reach::Tree) {
            return Err(AccountsError::PermissionDenied);
        }
        filter.user_type = Some(UserType::Customer);
        Ok(members::list(self.0.ctx.db.reader(), scope, &filter, page).await?)
    }

    /// A first-level agent makes a second-level agent below itself.
    ///
    /// # Errors
    /// `NotAgentL1` for everybody else; `Taken`, a reserved name.
    pub(crate) async fn create_sub_agent(
        &self,
        caller: &Caller,
        new: Newcomer,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        if caller.user_type != UserType::AgentL1 {
            return Err(AccountsError::NotAgentL1);
        }
        let new = Newcomer {
            user_type: UserType::AgentL2,
            parent: Some(Parent {
                id: caller.user_id,
                within: None,
                refusal: || AccountsError::NotAgentL1,
            }),
            by: Some(caller.user_id),
            ..new
        };
        self.create(new, AnswerForm::Users, claim).await
    }

    /// An admin makes a first-level agent.
    ///
    /// # Errors
    /// `PermissionDenied` for everybody else; `Taken`, a reserved name.
    pub(crate) async fn create_agent(
        &self,
        caller: &Caller,
        new: Newcomer,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        if Scope::of(caller).reach != Reach::Everybody {
            return Err(AccountsError::PermissionDenied);
        }
        let new = Newcomer {
            user_type: UserType::AgentL1,
            by: Some(caller.user_id),
            ..new
        };
        self.create(new, AnswerForm::Users, claim).await
    }

    /// An agent makes a customer, its own or that of one of its sub-agents; an admin anybody's or
    /// nobody's.
    ///
    /// # Errors
    /// `PermissionDenied` for everybody else; `AgentNotFound`; `Taken`, a reserved name.
    pub(crate) async fn create_customer(
        &self,
        caller: &Caller,
        new: Newcomer,
        agent: Option<UserId>,
        claim: &Claim,
    ) -> Result<MemberRow, AccountsError> {
        let scope = Scope::of(caller);
        let agent = match scope.reach {
            Reach::Everybody => agent,
            Reach::Tree => agent.or(Some(caller.user_id)),
            Reach::Reading | Reach::Own => return Err(AccountsError::PermissionDenied),
        };
        let new = Newcomer {
            user_type: UserType::Customer,
            parent: agent.map(|id| Parent {
                id,
                within: Some(scope),
                refusal: || AccountsError::AgentNotFound { field: "agent_id" },
            }),
            by: Some(caller.user_id),
            ..new
        };
        self.create(new, AnswerForm::Users, claim).await
    }

    /// Changes the caller's own profile. A new address needs a JWT, and the password of admins and
    /// of users with two factors.
    ///
    /// # Errors
    /// `Taken`, `ApiKeyNotAllowed`, `WrongPassword`, a reserved name.
    pub(crate) async fn update_profile(
        &self,
        caller: &Caller,
        changes: AccountChanges,
        password: Option<&CurrentPassword>,
        client: &Client,
    ) -> Result<MemberRow, AccountsError> {
        let id = caller.user_id;
        self.write_changes(caller, id, changes, password, client, Right::Decided)
            .await?;
        self.member_row(id).await
    }

    /// Changes an account that the caller manages. Kind and parent are left alone unless an admin
    /// asks.
    ///
    /// # Errors
    /// `NotFound` for accounts of others, `CannotTargetSelf` for one's own; `CannotDisableAdmin`,
    /// `LastStaff`, `HasChildren`, `AgentNotFound`; else as [`Accounts::update_profile`].
    pub(crate) async fn update_member(
        &self,
        caller: &Caller,
        id: UserId,
        mut changes: AccountChanges,
        password: Option<&CurrentPassword>,
        client: &Client,
    ) -> Result<MemberRow, AccountsError> {
        let scope = self.manages(caller, id).await?;
        if scope.reach != Reach::Everybody {
            (changes.user_type, changes.parent) = (None, None);
        }
        self.write_changes(caller, id, changes, password, client, Right::Manager(scope))
            .await?;
        self.member_row(id).await
    }

    /// Disables or enables an account that the caller manages. A disabled one is signed out
    /// everywhere at once. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `NotFound`, `CannotTargetSelf`, `CannotDisableAdmin`.
    pub(crate) async fn set_member_active(
        &self,
        caller: &Caller,
        id: UserId,
        active: bool,
        client: &Client,
    ) -> Result<(), AccountsError> {
        let scope = self.manages(caller, id).await?;
        let changes = AccountChanges {
            is_active: Some(active),
            ..Default::default()
        };
        self.write_changes(caller, id, changes, None, client, Right::Manager(scope))
            .await
            .map(drop)
    }

    /// Sets the password of an account that the caller manages, never the own. Its sessions end.
    ///
    /// # Errors
    /// `NotFound`, `CannotTargetSelf`, field faults of `new_password`.
    pub(crate) async fn set_member_password(
        &self,
        caller: &SessionCaller,
        id: UserId,
        new: &Password,
        client: &Client,
    ) -> Result<(), AccountsError> {
        let scope = self.manages(caller, id).await?;
        if caller.user_id == id {
            return Err(AccountsError::CannotTargetSelf);
        }
        self.set_managed_password(scope, id, new, client).await
    }

    /// The caller's scope, if this account is in it and managed. It is looked at once more under
    /// lock; here so that nothing else is told of accounts of others.
    async fn manages(&self, caller: &Caller, id: UserId) -> Result<Scope, AccountsError> {
        let scope = Scope::of(caller);
        let place = tree::find_place(self.0.ctx.db.reader(), id).await?;
        match place {
            Some(place) if !place.is_deleted && scope.manages(&place) => Ok(scope),
            Some(place) if place.id == caller.user_id => Err(AccountsError::CannotTargetSelf),
            _ => Err(AccountsError::NotFound),
        }
    }
}
