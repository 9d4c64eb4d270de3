//! Chat rooms: the index of what was said.
//!
//! Nothing is filled in here: a job reads the messages of rooms that lag behind, in small steps, and
//! until then they are searched without an index.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, migration, reference};

migration!("m0011_chat_search");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.create_text_index("chat_message_index").await?;
    // Not columns of `chat_rooms`: whoever sends holds those rows, and must not wait for the index.
    schema
        .create("chat_search_marks", &[], |t, c| {
            t.col(c.bigint("room_id").primary_key().take())
                // Messages up to this `seq` are in the index, unless they are deleted.
                .col(c.bigint("indexed_seq").default(0).take())
                .foreign_key(&mut reference(
                    "chat_search_marks",
                    "room_id",
                    "chat_rooms",
                    ForeignKeyAction::Cascade,
                ));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop(&["chat_search_marks", "chat_message_index"]).await
}
