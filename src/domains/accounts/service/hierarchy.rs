//! The tree of agents and customers: what other domains ask about it, and the writes that change
//! it. Who may do what is in [`crate::scope`].
//!
//! Every write of `parent_id` or `user_type` locks the parent's row and looks at it then, so nobody
//! is hung below an account that is just ceasing to be an agent. Rows of users are locked in the
//! order of their ids.

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, SimpleExpr};
use yunque_kernel::auth::{AuthChange, Caller, UserType};
use yunque_kernel::error::Text;
use yunque_kernel::ids::UserId;
use yunque_kernel::{DbError, Tx};

use super::register::Parent;
use crate::entity::user::{self, Column};
use crate::error::AccountsError;
use crate::repo::{tree, users};
use crate::scope::{Place, Scope, may_hang_below, may_have_parent};
use crate::{Accounts, Heard, Moved};

const NO_PARENT: Text = Text::fixed("该类型的账户不能有上级", "Accounts of this type have no parent.");

/// A new kind or place of one account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoleWish {
    pub user_type: Option<UserType>,
    pub parent: Option<Option<UserId>>,
}

impl RoleWish {
    pub fn is_empty(&self) -> bool {
        self.user_type.is_none() && self.parent.is_none()
    }
}

/// What a granted [`RoleWish`] writes.
pub(super) struct RoleChange {
    pub columns: Vec<(Column, SimpleExpr)>,
    /// The kind before and after, when it changes.
    pub kinds: Option<(UserType, UserType)>,
    /// The parent before and after, when it changes.
    pub parents: Option<(Option<UserId>, Option<UserId>)>,
    pub moves: Vec<Moved>,
}

impl Accounts {
    /// Whose accounts a caller sees and manages.
    pub fn scope_of(&self, caller: &Caller) -> Scope {
        Scope::of(caller)
    }

    /// Where an account hangs; `None` for an unknown id. `conn` is a reader or a transaction.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn place(&self, conn: &impl ConnectionTrait, id: UserId) -> Result<Option<Place>, DbError> {
        tree::find_place(conn, id).await
    }

    /// The same with the account's row locked, so that its parent stays until the transaction ends.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn lock_place(&self, tx: &Tx, id: UserId) -> Result<Option<Place>, DbError> {
        match users::lock(tx, id).await? {
            Some(_) => tree::find_place(tx, id).await,
            None => Ok(None),
        }
    }

    /// Is `ancestor` the parent of `user`, or the parent's parent?
    ///
    /// # Errors
    /// Only the database's.
    pub async fn is_ancestor(
        &self,
        conn: &impl ConnectionTrait,
        ancestor: UserId,
        user: UserId,
    ) -> Result<bool, DbError> {
        let place = tree::find_place(conn, user).await?;
        Ok(place.is_some_and(|place| place.is_below(ancestor)))
    }

    /// The second-level agents right below an agent, by id.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn sub_agents_of(
        &self,
        conn: &impl ConnectionTrait,
        agent: UserId,
    ) -> Result<Vec<UserId>, DbError> {
        tree::list_sub_agents(conn, agent).await
    }

    /// Locks the parent of an account that is about to be inserted, and checks that it may be one.
    pub(super) async fn lock_parent(
        &self,
        tx: &Tx,
        child: UserType,
        parent: Parent,
    ) -> Result<(), AccountsError> {
        let Parent { id, within, refusal } = parent;
        let place = self.lock_place(tx, id).await?.ok_or_else(refusal)?;
        let in_reach = within.is_none_or(|scope| scope.hands_to(&place));
        if in_reach && is_open_to(child, &place) {
            Ok(())
        } else {
            Err(refusal())
        }
    }

    /// Checks a new kind or place of an account whose row, and whose parents' rows, are locked.
    pub(super) async fn judge_role(
        &self,
        tx: &Tx,
        row: &user::Model,
        wish: RoleWish,
    ) -> Result<Option<RoleChange>, AccountsError> {
        let (id, old) = (UserId(row.id), UserType::from_stored(&row.user_type));
        let (old_parent, new) = (row.parent_id.map(UserId), wish.user_type.unwrap_or(old));
        let parent = match wish.parent {
            Some(parent) => parent,
            None if may_have_parent(new) => old_parent,
            None => None,
        };
        if (old, old_parent) == (new, parent) {
            return Ok(None);
        }
        if let Some(parent) = parent {
            if !may_have_parent(new) {
                return Err(AccountsError::field("parent_id", NO_PARENT));
            }
            let refusal = AccountsError::AgentNotFound { field: "parent_id" };
            let place = self.lock_place(tx, parent).await?;
            // Who hangs below a disabled agent stays there.
            let fits = place.is_some_and(|place| {
                place.id != id
                    && if old_parent == Some(parent) {
                        may_hang_below(new, place.user_type)
                    } else {
                        is_open_to(new, &place)
                    }
            });
            if !fits {
                return Err(refusal);
            }
        }
        if old != new {
            self.let_children_go(tx, id, |child| may_hang_below(child, new))
                .await?;
        }
        let agent_of = |kind: UserType, parent| (kind == UserType::Customer).then_some(parent).flatten();
        let (from, to) = (agent_of(old, old_parent), agent_of(new, parent));
        let moves = if from == to {
            Vec::new()
        } else {
            vec![Moved {
                customer: id,
                from,
                to,
            }]
        };
        Ok(Some(RoleChange {
            columns: vec![
                (Column::UserType, Expr::value(new.as_str())),
                (Column::IsStaff, Expr::value(new == UserType::Admin)),
                (Column::ParentId, Expr::value(parent.map(|id| id.0))),
            ],
            kinds: (old != new).then_some((old, new)),
            parents: (old_parent != parent).then_some((old_parent, parent)),
            moves,
        }))
    }

    /// Everybody right below an account must be able to stay, by `stays`. Those who were deleted are
    /// let go instead.
    async fn let_children_go(
        &self,
        tx: &Tx,
        id: UserId,
        stays: impl Fn(UserType) -> bool,
    ) -> Result<(), AccountsError> {
        let mut leaving = Vec::new();
        for child in tree::lock_children(tx, id).await? {
            if stays(child.user_type) {
                continue;
            }
            if !child.is_deleted {
                return Err(AccountsError::HasChildren);
            }
            if !leaving.contains(&child.user_type) {
                leaving.push(child.user_type);
            }
        }
        for kind in leaving {
            tree::update_parent(tx, id, kind, None, self.now()).await?;
        }
        Ok(())
    }

    /// Hands everybody right below a leaving account to `heir`, whose row is locked and in reach.
    ///
    /// # Errors
    /// `HasChildren` without an heir; `AgentNotFound` when not all of them may hang below it.
    pub(super) async fn hand_over(
        &self,
        tx: &Tx,
        leaving: UserId,
        heir: Option<&Place>,
    ) -> Result<Heard, AccountsError> {
        let children = tree::lock_children(tx, leaving).await?;
        let (now, mut moves) = (self.now(), Vec::new());
        let mut moved = Vec::new();
        for kind in [UserType::AgentL2, UserType::Customer] {
            let of_kind = || children.iter().filter(|child| child.user_type == kind);
            if of_kind().next().is_none() {
                continue;
            }
            let fits = heir.filter(|heir| is_open_to(kind, heir)).map(|heir| heir.id);
            if fits.is_none() && of_kind().any(|child| !child.is_deleted) {
                return Err(match heir {
                    None => AccountsError::HasChildren,
                    Some(_) => AccountsError::AgentNotFound { field: "reassign_to" },
                });
            }
            tree::update_parent(tx, leaving, kind, fits, now).await?;
            moved.extend(of_kind().map(|child| child.id));
            if kind == UserType::Customer {
                moves.extend(of_kind().map(|child| Moved {
                    customer: child.id,
                    from: Some(leaving),
                    to: fits,
                }));
            }
        }
        // What is remembered of them names the former agent; that of a sub-agent decides who else
        // reads its sessions.
        let changes = moved.into_iter().map(|user| AuthChange::Profile { user });
        let heard = self.tell_all(tx, changes.collect()).await?;
        self.tell_moves(tx, moves).await?;
        Ok(heard)
    }
}

/// May new accounts of this kind hang below it?
fn is_open_to(child: UserType, parent: &Place) -> bool {
    parent.is_active && !parent.is_deleted && may_hang_below(child, parent.user_type)
}

/// Locks rows of users in the order of their ids.
pub(super) async fn lock_in_order(tx: &Tx, ids: impl IntoIterator<Item = UserId>) -> Result<(), DbError> {
    let mut ids: Vec<UserId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        users::lock(tx, id).await?;
    }
    Ok(())
}
