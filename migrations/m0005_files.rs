//! Files and the staged bytes of small uploads.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, one_of, reference, unique};

migration!("m0005_files");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let files = [
        unique(&["object_key"]),
        unique(&["folder_key"]),
        // Lists run over live files; MySQL has no partial index, so the column leads the id.
        index(&["user_id", "deleted_at", "-id"]),
        index(&["upload_status", "updated_at"]),
    ];
    schema
        .create("files", &files, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("name", 255))
                // Folded by the application for search: the databases fold differently.
                .col(c.text("name_key", 1024).default(""))
                .col(c.text("content_type", 255))
                .col(c.bigint("size"))
                .col(c.text("path", 1024).default("/"))
                .col(c.text_null("object_key", 511))
                .col(c.text("upload_status", 12).default("pending"))
                .col(c.long_text_null("upload_error"))
                .col(c.int("attempts", 0))
                .col(c.int("generation", 1))
                .col(c.text_null("staged_ref", 255))
                .col(c.text_null("sha256", 64))
                .col(c.text("source", 12))
                // SHA-256 of user, path and name, on live folders only.
                .col(c.text_null("folder_key", 64))
                .col(c.time_null("deleted_at"))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut reference(
                    "files",
                    "user_id",
                    "users",
                    ForeignKeyAction::Restrict,
                ))
                .check(Expr::cust("size >= 0"))
                .check(one_of(
                    "upload_status",
                    &["pending", "uploading", "completed", "failed"],
                ))
                .check(one_of("source", &["base64", "multipart", "presigned", "folder"]));
        })
        .await?;
    schema
        .create("staged_blobs", &[index(&["created_at"])], |t, c| {
            t.col(c.text("staged_ref", 255))
                .col(c.int("chunk", 0))
                .col(c.bytes("bytes"))
                .col(c.time("created_at"))
                .primary_key(Index::create().col("staged_ref").col("chunk"));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop(&["staged_blobs", "files"]).await
}
