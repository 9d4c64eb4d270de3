//! Who may do what in a session. Pure functions.
//!
//! A *participant* is the customer, the assigned agent, or any admin. An ancestor of the agent
//! reads without being one. Sessions have sequential ids, so that one exists is no secret: those of
//! others are refused (403), not hidden.

use yunque_kernel::UserId;
use yunque_kernel::auth::{Caller, UserType};

use crate::entity::session::Model;
use crate::error::SupportError;
use crate::kinds::MessageType;

/// The side of the conversation that somebody stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Agent,
}

impl Side {
    /// What this side's messages are.
    pub fn writes(self) -> MessageType {
        match self {
            Side::Client => MessageType::Client,
            Side::Agent => MessageType::Agent,
        }
    }

    /// What this side has to read.
    pub fn reads(self) -> MessageType {
        match self {
            Side::Client => MessageType::Agent,
            Side::Agent => MessageType::Client,
        }
    }

    /// From whose point of view a session is shown.
    pub fn of_viewer(viewer: UserId, session: &Model) -> Self {
        if viewer == session.client() {
            Side::Client
        } else {
            Side::Agent
        }
    }
}

/// The side of a participant; `None` for everybody else.
pub fn side(caller: &Caller, session: &Model) -> Option<Side> {
    if caller.user_id == session.client() {
        Some(Side::Client)
    } else if session.agent() == Some(caller.user_id) || caller.is_staff {
        Some(Side::Agent)
    } else {
        None
    }
}

/// # Errors
/// `NotParticipant`.
pub fn write(caller: &Caller, session: &Model) -> Result<Side, SupportError> {
    side(caller, session).ok_or(SupportError::NotParticipant)
}

/// What participants do besides writing.
///
/// # Errors
/// `SessionDenied`.
pub fn take_part(caller: &Caller, session: &Model) -> Result<Side, SupportError> {
    side(caller, session).ok_or(SupportError::SessionDenied)
}

/// Participants and the ancestors of the agent. `above` is the agent's parent.
pub fn may_read(caller: &Caller, session: &Model, above: Option<UserId>) -> bool {
    side(caller, session).is_some() || (caller.user_type.is_agent() && above == Some(caller.user_id))
}

/// Handing a session to another agent: admins, the ancestors of the agent, and a first-level agent
/// who has the session itself, or it could never give back what it took over.
pub fn may_assign(caller: &Caller, session: &Model, above: Option<UserId>) -> bool {
    let is_own = caller.user_type == UserType::AgentL1 && session.agent() == Some(caller.user_id);
    caller.is_staff || is_own || (caller.user_type.is_agent() && above == Some(caller.user_id))
}

/// Deleting the whole record: the agent and admins, never the customer.
pub fn may_clear(caller: &Caller, session: &Model) -> bool {
    side(caller, session) == Some(Side::Agent)
}

/// # Errors
/// Only customers have a session of their own.
pub fn open(caller: &Caller) -> Result<(), SupportError> {
    match caller.user_type {
        UserType::Customer => Ok(()),
        UserType::AgentL1 | UserType::AgentL2 => Err(SupportError::AgentCannotOpen),
        UserType::Admin | UserType::Editor => Err(SupportError::CustomersOnly),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

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

    /// Of client 1 with agent 2, whose parent is 3.
    fn session() -> Model {
        Model {
            id: 1,
            client_id: 1,
            agent_id: Some(2),
            is_active: true,
            last_message_id: None,
            unread_client: 0,
            unread_agent: 0,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn rights_follow_the_place_in_the_tree() {
        use UserType::{Admin, AgentL1, AgentL2, Customer, Editor};
        let above = Some(UserId(3));
        // who, side, reads, assigns, clears
        let table = [
            (caller(1, Customer), Some(Side::Client), true, false, false),
            (caller(2, AgentL2), Some(Side::Agent), true, false, true),
            (caller(3, AgentL1), None, true, true, false),
            (caller(4, Admin), Some(Side::Agent), true, true, true),
            (caller(5, Customer), None, false, false, false),
            (caller(6, AgentL1), None, false, false, false),
            (caller(7, AgentL2), None, false, false, false),
            (caller(8, Editor), None, false, false, false),
        ];
        for (who, expected, reads, assigns, clears) in table {
            let s = session();
            assert_eq!(side(&who, &s), expected, "{who:?}");
            assert_eq!(write(&who, &s).is_ok(), expected.is_some(), "{who:?}");
            assert_eq!(may_read(&who, &s, above), reads, "{who:?}");
            assert_eq!(may_assign(&who, &s, above), assigns, "{who:?}");
            assert_eq!(may_clear(&who, &s), clears, "{who:?}");
        }
        // Once it has the session, a first-level agent takes part and can hand it on.
        let own = Model {
            agent_id: Some(3),
            ..session()
        };
        let first = caller(3, AgentL1);
        assert_eq!(side(&first, &own), Some(Side::Agent));
        assert!(may_assign(&first, &own, None));
        // Without an agent only admins are left.
        let waiting = Model {
            agent_id: None,
            ..session()
        };
        for who in [caller(2, AgentL2), first] {
            assert!(!may_read(&who, &waiting, None), "{who:?}");
        }
    }

    #[test]
    fn only_customers_open_sessions() {
        use UserType::{Admin, AgentL1, AgentL2, Customer, Editor};
        assert!(open(&caller(1, Customer)).is_ok());
        for agent in [AgentL1, AgentL2] {
            assert!(matches!(
                open(&caller(1, agent)),
                Err(SupportError::AgentCannotOpen)
            ));
        }
        for other in [Admin, Editor] {
            assert!(matches!(
                open(&caller(1, other)),
                Err(SupportError::CustomersOnly)
            ));
        }
    }
}
