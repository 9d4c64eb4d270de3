//! Mails on their way out.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration};

migration!("m0004_mail");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let indexes = [index(&["sent_at", "failed_at"]), index(&["created_at"])];
    schema
        .create("outgoing_mails", &indexes, |t, c| {
            t.col(c.id())
                .col(c.text("template", 100))
                .col(c.text("lang", 8))
                .col(c.text("to_address", 320))
                // Sealed, base64; NULL once the mail is sent.
                .col(c.long_text_null("params"))
                .col(c.bool("is_secret", false))
                .col(c.int("attempts", 0))
                .col(c.text_null("last_error", 255))
                .col(c.time_null("expires_at"))
                .col(c.time("created_at"))
                .col(c.time_null("sent_at"))
                .col(c.time_null("failed_at"));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop(&["outgoing_mails"]).await
}
