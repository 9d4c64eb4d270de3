//! Chat rooms: invitations and notifications.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, one_of, reference, unique};

migration!("m0010_chat_notices");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let invites = [
        unique(&["pending_key"]),
        index(&["invitee_id", "status", "id"]),
        index(&["room_id", "status"]),
        index(&["inviter_id"]),
    ];
    schema
        .create("chat_invites", &invites, |t, c| {
            t.col(c.id())
                .col(c.bigint("room_id"))
                .col(c.bigint("inviter_id"))
                .col(c.bigint("invitee_id"))
                .col(c.text("status", 8).default("pending").take())
                .col(c.time("created_at"))
                .col(c.time("expires_at"))
                // `{room}:{invitee}`; null once answered.
                .col(c.text_null("pending_key", 41))
                .foreign_key(&mut cascade("chat_invites", "room_id", "chat_rooms"))
                .foreign_key(&mut cascade("chat_invites", "inviter_id", "users"))
                .foreign_key(&mut cascade("chat_invites", "invitee_id", "users"))
                .check(one_of("status", &["pending", "accepted", "declined", "revoked"]));
        })
        .await?;
    let notifications = [
        unique(&["coalesce_key"]),
        unique(&["user_id", "message_id"]),
        index(&["user_id", "-updated_at", "-id"]),
        // Partial (unread only) where a database had it; MySQL has not, so it leads to the same rows.
        index(&["user_id", "is_read", "notification_type"]),
        index(&["room_id"]),
        index(&["message_id"]),
        index(&["is_read", "updated_at"]),
    ];
    schema
        .create("chat_notifications", &notifications, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("notification_type", 11))
                .col(c.text("title", 200))
                .col(c.long_text("content"))
                .col(c.bigint_null("room_id"))
                .col(c.bigint_null("message_id"))
                .col(c.bool("is_read", false))
                .col(c.int("count", 1))
                // `{user}:{room}`; null once read.
                .col(c.text_null("coalesce_key", 64))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut cascade("chat_notifications", "user_id", "users"))
                .foreign_key(&mut cascade("chat_notifications", "room_id", "chat_rooms"))
                .foreign_key(&mut cascade("chat_notifications", "message_id", "chat_messages"))
                .check(one_of(
                    "notification_type",
                    &["message", "mention", "room_invite", "system"],
                ));
        })
        .await
}

fn cascade(table: &'static str, column: &'static str, target: &'static str) -> ForeignKeyCreateStatement {
    reference(table, column, target, ForeignKeyAction::Cascade)
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop(&["chat_notifications", "chat_invites"]).await
}
