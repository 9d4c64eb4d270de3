//! Codes that were mailed to reset a password.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, reference, unique};

migration!("m0006_password_reset");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let indexes = [
        unique(&["token_hash"]),
        index(&["user_id"]),
        index(&["expires_at"]),
    ];
    schema
        .create("password_reset_codes", &indexes, |t, c| {
            // Keyed HMAC of the folded address, in hex: one active code for each address, and the
            // addresses that somebody merely tried are not kept.
            t.col(c.text("email_hmac", 64).primary_key())
                // NULL for an address without an active account, which gets a code all the same.
                .col(c.bigint_null("user_id"))
                // Keyed HMAC of address and code, in hex.
                .col(c.text("code_hmac", 64))
                .col(c.int("attempts", 0))
                .col(c.time("expires_at"))
                // SHA-256 of the token that the code was exchanged for, in hex.
                .col(c.text_null("token_hash", 64))
                .col(c.time_null("token_expires_at"))
                .col(c.text("request_ip", 45))
                .foreign_key(&mut reference(
                    "password_reset_codes",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.drop(&["password_reset_codes"]).await
}
