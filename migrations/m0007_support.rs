//! Support chat: one session for each customer, and its messages.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, one_of, reference, unique};

migration!("m0007_support");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let sessions = [
        unique(&["client_id"]),
        index(&["agent_id", "-updated_at"]),
        index(&["-updated_at", "-id"]),
    ];
    schema
        .create("support_sessions", &sessions, |t, c| {
            t.col(c.id())
                .col(c.bigint("client_id"))
                .col(c.bigint_null("agent_id"))
                .col(c.bool("is_active", true))
                // No foreign key: messages point to sessions already.
                .col(c.bigint_null("last_message_id"))
                .col(c.int("unread_client", 0))
                .col(c.int("unread_agent", 0))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut reference(
                    "support_sessions",
                    "client_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ))
                .foreign_key(&mut reference(
                    "support_sessions",
                    "agent_id",
                    "users",
                    ForeignKeyAction::SetNull,
                ));
        })
        .await?;
    let messages = [
        unique(&["image"]),
        index(&["session_id", "id"]),
        // Partial (unread only) where a database had it; MySQL has not, so it leads to the same rows.
        index(&["session_id", "message_type", "is_read", "id"]),
    ];
    schema
        .create("support_messages", &messages, |t, c| {
            t.col(c.id())
                .col(c.bigint("session_id"))
                .col(c.bigint("sender_id"))
                .col(c.text("message_type", 6))
                .col(c.text("content_type", 5))
                .col(c.long_text_null("content"))
                // Storage key without the leading `media/`.
                .col(c.text_null("image", 255))
                .col(c.bool("is_read", false))
                .col(c.time("created_at"))
                .foreign_key(&mut reference(
                    "support_messages",
                    "session_id",
                    "support_sessions",
                    ForeignKeyAction::Cascade,
                ))
                .foreign_key(&mut reference(
                    "support_messages",
                    "sender_id",
                    "users",
                    ForeignKeyAction::Restrict,
                ))
                .check(one_of("message_type", &["client", "agent", "system"]))
                .check(one_of("content_type", &["text", "image"]))
                .check(Expr::cust("content_type <> 'text' OR content IS NOT NULL"))
                .check(Expr::cust("content_type <> 'image' OR image IS NOT NULL"));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop(&["support_messages", "support_sessions"]).await
}
