//! Chat rooms: how often something changed of which sockets have to hear and no new message tells;
//! and a search mark for each room, which rooms get from now on when they are made.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, migration};

migration!("m0012_chat_changes");

const MARKS: &str = "INSERT INTO chat_search_marks (room_id, indexed_seq) \
     SELECT id, 0 FROM chat_rooms WHERE id NOT IN (SELECT room_id FROM chat_search_marks)";

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let changes = schema.columns.bigint("changes").default(0).take();
    schema.add_column("chat_rooms", "changes", changes).await?;
    schema.connection().execute_unprepared(MARKS).await?;
    Ok(())
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop_column("chat_rooms", "changes").await
}
