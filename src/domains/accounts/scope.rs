//! Whose accounts somebody sees and manages: one rule for every surface and domain.
//!
//! Accounts hang in trees of at most three levels through `parent_id`: a first-level agent, its
//! second-level agents, customers of either. An ancestor of somebody is his parent or his parent's
//! parent. Only agents have anybody below them, so an ancestor is always an agent.

use yunque_kernel::auth::{Caller, UserType};
use yunque_kernel::ids::UserId;

/// Where an account hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: UserId,
    pub user_type: UserType,
    pub parent: Option<UserId>,
    pub grandparent: Option<UserId>,
    pub is_active: bool,
    /// Was deleted, although its personal data may still be there.
    pub is_deleted: bool,
}

impl Place {
    /// Is `ancestor` the parent, or the parent's parent?
    pub fn is_below(&self, ancestor: UserId) -> bool {
        self.parent == Some(ancestor) || self.grandparent == Some(ancestor)
    }
}

/// How far somebody reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Sees and manages everybody.
    Everybody,
    /// Sees everybody, manages nobody.
    Reading,
    /// Sees and manages those below.
    Tree,
    /// Sees only the own account.
    Own,
}

/// What one caller may see and manage. The own account is always seen and, but for admins, never
/// managed: what one may do to oneself has operations of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub user: UserId,
    pub reach: Reach,
}

impl Scope {
    pub fn of(caller: &Caller) -> Self {
        let reach = match caller.user_type {
            _ if caller.is_staff => Reach::Everybody,
            UserType::Editor => Reach::Reading,
            UserType::AgentL1 | UserType::AgentL2 => Reach::Tree,
            // An admin's API key without the scope `staff` has no more rights than a customer.
            UserType::Admin | UserType::Customer => Reach::Own,
        };
        Scope {
            user: caller.user_id,
            reach,
        }
    }

    pub fn sees(&self, place: &Place) -> bool {
        place.id == self.user
            || match self.reach {
                Reach::Everybody | Reach::Reading => true,
                Reach::Tree => place.is_below(self.user),
                Reach::Own => false,
            }
    }

    pub fn manages(&self, place: &Place) -> bool {
        match self.reach {
            Reach::Everybody => true,
            Reach::Tree => place.is_below(self.user),
            Reach::Reading | Reach::Own => false,
        }
    }

    /// May customers be given to this agent? The caller's own place counts as well.
    pub fn hands_to(&self, agent: &Place) -> bool {
        self.manages(agent) || (self.reach == Reach::Tree && agent.id == self.user)
    }
}

/// Which kind of account may hang below which.
pub fn may_hang_below(child: UserType, parent: UserType) -> bool {
    match child {
        UserType::AgentL2 => parent == UserType::AgentL1,
        UserType::Customer => parent.is_agent(),
        UserType::Admin | UserType::Editor | UserType::AgentL1 => false,
    }
}

/// Can this kind of account have a parent at all?
pub fn may_have_parent(child: UserType) -> bool {
    matches!(child, UserType::AgentL2 | UserType::Customer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [UserType; 5] = [
        UserType::Admin,
        UserType::Editor,
        UserType::AgentL1,
        UserType::AgentL2,
        UserType::Customer,
    ];

    fn caller(id: i64, user_type: UserType) -> Caller {
        Caller {
            user_id: UserId(id),
            username: "x".into(),
            is_staff: user_type == UserType::Admin,
            user_type,
            session: None,
            key: None,
        }
    }

    fn place(id: i64, parent: Option<i64>, grandparent: Option<i64>) -> Place {
        Place {
            id: UserId(id),
            user_type: UserType::Customer,
            parent: parent.map(UserId),
            grandparent: grandparent.map(UserId),
            is_active: true,
            is_deleted: false,
        }
    }

    #[test]
    fn a_tree_has_three_levels() {
        let below = |parent: UserType| -> Vec<UserType> {
            TYPES.into_iter().filter(|t| may_hang_below(*t, parent)).collect()
        };
        assert_eq!(below(UserType::AgentL1), [UserType::AgentL2, UserType::Customer]);
        assert_eq!(below(UserType::AgentL2), [UserType::Customer]);
        for none in [UserType::Admin, UserType::Editor, UserType::Customer] {
            assert_eq!(below(none), []);
        }
        for child in TYPES {
            let somewhere = TYPES.iter().any(|parent| may_hang_below(child, *parent));
            assert_eq!(may_have_parent(child), somewhere, "{child}");
        }
    }

    #[test]
    fn agents_reach_those_below_and_nobody_else() {
        // 1 → 2 → 3, and 9 is of another tree.
        let (agent, sub, customer) = (
            place(1, None, None),
            place(2, Some(1), None),
            place(3, Some(2), Some(1)),
        );
        let stranger = place(9, Some(8), Some(7));
        for kind in [UserType::AgentL1, UserType::AgentL2] {
            let top = Scope::of(&caller(1, kind));
            assert!(top.manages(&sub) && top.manages(&customer) && top.sees(&sub));
            assert!(top.sees(&agent) && !top.manages(&agent) && top.hands_to(&agent));
            assert!(!top.sees(&stranger) && !top.manages(&stranger) && !top.hands_to(&stranger));
        }
        let middle = Scope::of(&caller(2, UserType::AgentL2));
        assert!(middle.manages(&customer) && !middle.sees(&agent));
    }

    #[test]
    fn editors_read_everything_and_customers_only_themselves() {
        let other = place(9, Some(8), None);
        let editor = Scope::of(&caller(1, UserType::Editor));
        assert!(editor.sees(&other) && !editor.manages(&other) && !editor.hands_to(&other));
        let customer = Scope::of(&caller(8, UserType::Customer));
        assert!(!customer.sees(&other) && !customer.manages(&other) && customer.sees(&place(8, None, None)));
        let admin = Scope::of(&caller(1, UserType::Admin));
        assert!(admin.sees(&other) && admin.manages(&other));
        let key_of_an_admin = Caller {
            is_staff: false,
            ..caller(1, UserType::Admin)
        };
        assert!(!Scope::of(&key_of_an_admin).sees(&other));
    }
}
