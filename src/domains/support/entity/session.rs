//! `support_sessions`: the one conversation of a customer.

use sea_orm::entity::prelude::*;
use yunque_kernel::UserId;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "support_sessions")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub client_id: i64,
    /// Who answers; `None` until somebody is assigned.
    pub agent_id: Option<i64>,
    pub is_active: bool,
    pub last_message_id: Option<i64>,
    /// Messages of the agent's side that the client has not read.
    pub unread_client: i32,
    /// Messages of the client that the agent's side has not read.
    pub unread_agent: i32,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn client(&self) -> UserId {
        UserId(self.client_id)
    }

    pub fn agent(&self) -> Option<UserId> {
        self.agent_id.map(UserId)
    }
}
