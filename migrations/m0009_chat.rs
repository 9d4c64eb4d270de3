//! Chat rooms: rooms, members, messages and what was read of them.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, one_of, reference, unique};

migration!("m0009_chat");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    rooms(schema).await?;
    members(schema).await?;
    mutes(schema).await?;
    messages(schema).await?;
    deleted(schema).await?;
    let reads = [index(&["user_id"])];
    schema
        .create("chat_message_reads", &reads, |t, c| {
            t.col(c.bigint("message_id"))
                .col(c.bigint("user_id"))
                .col(c.time("read_at"))
                .primary_key(Index::create().col("message_id").col("user_id"))
                .foreign_key(&mut cascade("chat_message_reads", "message_id", "chat_messages"))
                .foreign_key(&mut cascade("chat_message_reads", "user_id", "users"));
        })
        .await
}

fn cascade(table: &'static str, column: &'static str, target: &'static str) -> ForeignKeyCreateStatement {
    reference(table, column, target, ForeignKeyAction::Cascade)
}

fn set_null(table: &'static str, column: &'static str, target: &'static str) -> ForeignKeyCreateStatement {
    reference(table, column, target, ForeignKeyAction::SetNull)
}

async fn rooms(schema: &Schema<'_>) -> Result<(), DbErr> {
    let indexes = [
        unique(&["direct_key"]),
        index(&["room_type", "is_active", "-id"]),
        index(&["created_by"]),
    ];
    schema
        .create("chat_rooms", &indexes, |t, c| {
            t.col(c.id())
                .col(c.text("name", 100))
                .col(c.long_text_null("description"))
                .col(c.text("room_type", 7))
                .col(c.bigint_null("created_by"))
                .col(c.bool("is_active", true))
                .col(c.int("max_members", 50))
                .col(c.int("member_count", 0))
                .col(c.bigint("last_seq").default(0).take())
                .col(c.bigint("notified_seq").default(0).take())
                // Messages that somebody has to read, those of the server not among them.
                .col(c.bigint("last_ordinal").default(0).take())
                // The newest message, deleted or not; what sockets are compared with.
                .col(c.bigint("head_id").default(0).take())
                // The newest message that is not deleted. No foreign key: messages point to rooms already.
                .col(c.bigint_null("last_message_id"))
                // `{low id}:{high id}` of a room of two.
                .col(c.text_null("direct_key", 41))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut set_null("chat_rooms", "created_by", "users"))
                .check(one_of("room_type", &["public", "private", "group"]))
                .check(Expr::cust("max_members BETWEEN 1 AND 1000"));
        })
        .await
}

async fn members(schema: &Schema<'_>) -> Result<(), DbErr> {
    let indexes = [
        unique(&["room_id", "user_id"]),
        index(&["user_id", "is_banned", "room_id"]),
    ];
    schema
        .create("chat_room_members", &indexes, |t, c| {
            t.col(c.id())
                .col(c.bigint("room_id"))
                .col(c.bigint("user_id"))
                .col(c.text("role", 9).default("member").take())
                .col(c.time("joined_at"))
                .col(c.time_null("last_read_at"))
                .col(c.bigint_null("last_read_message_id"))
                // Everything up to this message counts as read, and so many messages were said up to it.
                .col(c.bigint("mark_id").default(0).take())
                .col(c.bigint("mark_ordinal").default(0).take())
                .col(c.bool("is_muted", false))
                .col(c.time_null("mute_until"))
                .col(c.bool("is_banned", false))
                .col(c.text("notify", 8).default("all").take())
                .foreign_key(&mut cascade("chat_room_members", "room_id", "chat_rooms"))
                .foreign_key(&mut cascade("chat_room_members", "user_id", "users"))
                .check(one_of("role", &["admin", "moderator", "member"]))
                .check(one_of("notify", &["all", "mentions", "none"]));
        })
        .await
}

/// Mutes of those who left: whoever comes back is as silent as before.
async fn mutes(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema
        .create("chat_mutes", &[index(&["user_id"])], |t, c| {
            t.col(c.bigint("room_id"))
                .col(c.bigint("user_id"))
                .col(c.time_null("mute_until"))
                .primary_key(Index::create().col("room_id").col("user_id"))
                .foreign_key(&mut cascade("chat_mutes", "room_id", "chat_rooms"))
                .foreign_key(&mut cascade("chat_mutes", "user_id", "users"));
        })
        .await
}

async fn messages(schema: &Schema<'_>) -> Result<(), DbErr> {
    let uploads = [
        unique(&["file"]),
        index(&["user_id"]),
        index(&["uses", "created_at"]),
    ];
    schema
        .create("chat_uploads", &uploads, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                // Storage key without the leading `media/`.
                .col(c.text("file", 255))
                .col(c.text("file_name", 255))
                .col(c.text("content_type", 255))
                .col(c.bigint("size_bytes"))
                // Messages that show it.
                .col(c.int("uses", 0))
                .col(c.time("created_at"))
                .foreign_key(&mut cascade("chat_uploads", "user_id", "users"));
        })
        .await?;
    let indexes = [
        unique(&["room_id", "seq"]),
        unique(&["room_id", "sender_id", "client_id"]),
        index(&["room_id", "id"]),
        index(&["room_id", "updated_at", "id"]),
        index(&["sender_id"]),
        index(&["reply_to_id"]),
        index(&["upload_id"]),
    ];
    schema
        .create("chat_messages", &indexes, |t, c| {
            t.col(c.id())
                .col(c.bigint("room_id"))
                .col(c.bigint("seq"))
                // As `last_ordinal` of the room after this message.
                .col(c.bigint("ordinal"))
                .col(c.bigint_null("sender_id"))
                .col(c.text("message_type", 6))
                .col(c.long_text("content"))
                .col(c.text_null("file_url", 2048))
                .col(c.text_null("file_name", 255))
                .col(c.bigint_null("file_size"))
                .col(c.bigint_null("upload_id"))
                .col(c.bool("is_edited", false))
                .col(c.time_null("edited_at"))
                .col(c.bool("is_deleted", false))
                .col(c.time_null("deleted_at"))
                .col(c.bigint_null("deleted_by"))
                .col(c.bigint_null("reply_to_id"))
                .col(c.text_null("client_id", 64))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut cascade("chat_messages", "room_id", "chat_rooms"))
                .foreign_key(&mut set_null("chat_messages", "sender_id", "users"))
                .foreign_key(&mut set_null("chat_messages", "reply_to_id", "chat_messages"))
                .foreign_key(&mut set_null("chat_messages", "upload_id", "chat_uploads"))
                .check(one_of("message_type", &["text", "image", "file", "system"]))
                .check(Expr::cust("file_size IS NULL OR file_size >= 0"));
        })
        .await
}

/// Deleted messages that somebody had to read: few, so counting them costs little.
async fn deleted(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema
        .create("chat_deleted_messages", &[], |t, c| {
            t.col(c.bigint("room_id"))
                .col(c.bigint("message_id"))
                // Kept only if the settings say so.
                .col(c.long_text_null("content"))
                .col(c.bigint_null("deleted_by"))
                .col(c.time("deleted_at"))
                .primary_key(Index::create().col("room_id").col("message_id"))
                .foreign_key(&mut cascade("chat_deleted_messages", "room_id", "chat_rooms"))
                .foreign_key(&mut cascade(
                    "chat_deleted_messages",
                    "message_id",
                    "chat_messages",
                ));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema
        .drop(&[
            "chat_deleted_messages",
            "chat_message_reads",
            "chat_messages",
            "chat_uploads",
            "chat_mutes",
            "chat_room_members",
            "chat_rooms",
        ])
        .await
}
