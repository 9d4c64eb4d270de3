//! Sessions, login attempts, mail tokens, API keys, second factors, security events.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, one_of, reference, unique};

migration!("m0003_credentials");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    sessions_and_attempts(schema).await?;
    mail_tokens(schema).await?;
    keys_and_factors(schema).await?;
    let events = [index(&["user_id", "-id"]), index(&["created_at"])];
    schema
        .create("security_events", &events, |t, c| {
            t.col(c.id())
                .col(c.bigint_null("user_id"))
                .col(c.text("kind", 50))
                .col(c.text_null("ip", 45))
                // JSON object without secrets.
                .col(c.long_text("data"))
                .col(c.time("created_at"));
        })
        .await
}

async fn sessions_and_attempts(schema: &Schema<'_>) -> Result<(), DbErr> {
    let sessions = [
        unique(&["refresh_hash"]),
        index(&["user_id", "revoked_at", "-last_used_at"]),
        index(&["expires_at"]),
    ];
    schema
        .create("auth_sessions", &sessions, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("surface", 12))
                .col(c.int("gen", 0))
                // SHA-256 of the current refresh token, in hex.
                .col(c.text("refresh_hash", 64))
                .col(c.time_null("rotated_at"))
                .col(c.int("token_version", 0))
                .col(c.bool("remember_me", false))
                .col(c.text("ip_address", 45))
                .col(c.text("user_agent", 512))
                .col(c.text("device_type", 50))
                // Seconds.
                .col(c.bigint("access_ttl"))
                .col(c.bigint("refresh_ttl"))
                .col(c.time("created_at"))
                .col(c.time("last_used_at"))
                .col(c.time("expires_at"))
                .col(c.time_null("revoked_at"))
                .foreign_key(&mut reference(
                    "auth_sessions",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ))
                .check(one_of("surface", &["cloud", "api", "v1"]));
        })
        .await?;
    let attempts = [
        index(&["ip_address", "-created_at"]),
        index(&["username", "-created_at"]),
        index(&["username", "ip_address", "-created_at"]),
        index(&["created_at"]),
    ];
    schema
        .create("auth_login_attempts", &attempts, |t, c| {
            t.col(c.id())
                .col(c.text("username", 254))
                .col(c.text("ip_address", 45))
                .col(c.text("user_agent", 512))
                .col(c.bool("is_successful", false))
                // `pending` while the password is being verified.
                .col(c.text("failure_reason", 100))
                // Set on failures that no longer count: the pair logged in, or was unblocked.
                .col(c.time_null("cleared_at"))
                .col(c.time("created_at"));
        })
        .await?;
    // A row to lock while failures are counted, so that count and record are one step.
    schema
        .create("auth_login_gates", &[index(&["touched_at"])], |t, c| {
            t.col(c.text("bucket", 64).primary_key())
                .col(c.time("touched_at"));
        })
        .await
}

async fn mail_tokens(schema: &Schema<'_>) -> Result<(), DbErr> {
    let verification = [
        unique(&["token_hash"]),
        index(&["user_id", "purpose"]),
        index(&["expires_at"]),
    ];
    schema
        .create("auth_email_verification_tokens", &verification, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("token_hash", 64))
                // The address that the token proves.
                .col(c.text("email", 254))
                .col(c.text("purpose", 10))
                .col(c.time("created_at"))
                .col(c.time("expires_at"))
                .col(c.time_null("used_at"))
                .foreign_key(&mut reference(
                    "auth_email_verification_tokens",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ))
                .check(one_of("purpose", &["verify", "change"]));
        })
        .await?;
    let reset = [
        unique(&["token_hash"]),
        index(&["user_id"]),
        index(&["expires_at"]),
    ];
    schema
        .create("auth_password_reset_tokens", &reset, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("token_hash", 64))
                .col(c.text_null("ip_address", 45))
                .col(c.time("created_at"))
                .col(c.time("expires_at"))
                .col(c.time_null("used_at"))
                .foreign_key(&mut reference(
                    "auth_password_reset_tokens",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ));
        })
        .await
}

async fn keys_and_factors(schema: &Schema<'_>) -> Result<(), DbErr> {
    let api_keys = [
        unique(&["key_hash"]),
        unique(&["user_id", "name"]),
        index(&["user_id", "-created_at"]),
    ];
    schema
        .create("auth_api_keys", &api_keys, |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("name", 100))
                .col(c.text("key_hash", 64))
                .col(c.text("prefix", 12))
                .col(c.bool("is_active", true))
                // JSON list of scopes.
                .col(c.long_text("permissions"))
                .col(c.time_null("last_used"))
                .col(c.text_null("last_used_ip", 45))
                .col(c.time("created_at"))
                .col(c.time_null("expires_at"))
                .foreign_key(&mut reference(
                    "auth_api_keys",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ));
        })
        .await?;
    schema
        .create("auth_two_factor", &[unique(&["user_id"])], |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("state", 10))
                .col(c.bytes("secret_encrypted"))
                .col(c.time_null("pending_expires_at"))
                .col(c.bigint("last_used_step").default(0_i64))
                .col(c.time_null("enabled_at"))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut reference(
                    "auth_two_factor",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ))
                .check(one_of("state", &["pending", "enabled"]));
        })
        .await?;
    schema
        .create("auth_backup_codes", &[index(&["user_id", "used_at"])], |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.text("code_hash", 64))
                .col(c.time_null("used_at"))
                .col(c.time("created_at"))
                .foreign_key(&mut reference(
                    "auth_backup_codes",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema
        .drop(&[
            "security_events",
            "auth_backup_codes",
            "auth_two_factor",
            "auth_api_keys",
            "auth_password_reset_tokens",
            "auth_email_verification_tokens",
            "auth_login_gates",
            "auth_login_attempts",
            "auth_sessions",
        ])
        .await
}
