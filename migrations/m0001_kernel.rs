//! Tables of the kernel: jobs and their workers, request bookkeeping, installation facts.

use sea_orm_migration::prelude::*;

use crate::schema::{Schema, index, migration, one_of, unique};

migration!("m0001_kernel");

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let jobs = [
        unique(&["dedupe_key"]),
        index(&["queue", "state", "fair_round", "id"]),
        index(&["state", "run_at"]),
        index(&["lease_owner", "state"]),
        index(&["subject", "kind"]),
    ];
    schema
        .create("jobs", &jobs, |t, c| {
            t.col(c.id())
                .col(c.text("queue", 100))
                .col(c.text("kind", 100))
                .col(c.long_text("payload"))
                .col(c.text_null("subject", 191))
                // NULL in every terminal state, because MySQL has no partial unique index.
                .col(c.text_null("dedupe_key", 191))
                .col(c.text("state", 12))
                .col(c.int("priority", 0))
                .col(c.int("attempts", 0))
                .col(c.int("max_attempts", 1))
                .col(c.int("losses", 0))
                .col(c.time("run_at"))
                .col(c.bigint("fair_key"))
                .col(c.bigint("fair_round"))
                .col(c.text_null("lease_owner", 100))
                .col(c.long_text_null("last_error"))
                .col(c.text_null("request_id", 128))
                .col(c.time("created_at"))
                .col(c.time_null("started_at"))
                .col(c.time_null("finished_at"))
                .check(one_of(
                    "state",
                    &["ready", "running", "done", "dead", "cancelled"],
                ));
        })
        .await?;
    schema
        .create("job_workers", &[index(&["expires_at"])], |t, c| {
            t.col(c.text("id", 100).primary_key())
                .col(c.long_text("queues"))
                .col(c.text("host", 255))
                .col(c.time("started_at"))
                .col(c.time("heartbeat_at"))
                .col(c.time("expires_at"))
                .col(c.bool("stopping", false));
        })
        .await?;
    schema
        .create("job_daily", &[], |t, c| {
            t.col(ColumnDef::new("day").date().not_null())
                .col(c.text("kind", 100))
                .col(c.text("state", 12))
                .col(c.bigint("count"))
                .primary_key(Index::create().col("day").col("kind").col("state"));
        })
        .await?;
    schema
        .create("idempotency_keys", &[index(&["created_at"])], |t, c| {
            t.col(c.text("scope_hash", 64).primary_key())
                .col(c.text("body_hash", 64))
                // NULL while the first request still runs.
                .col(ColumnDef::new("status").integer().null())
                .col(c.long_text_null("body"))
                // Tells the holder of a claim from one that took it over.
                .col(c.text("owner", 40))
                .col(c.time("locked_until"))
                .col(c.time("created_at"));
        })
        .await?;
    schema
        .create("strict_limits", &[index(&["expires_at"])], |t, c| {
            t.col(c.text("bucket", 64).primary_key())
                .col(c.long_text("hits"))
                .col(c.time("expires_at"));
        })
        .await?;
    schema
        .create("yunque_meta", &[], |t, c| {
            t.col(c.text("name", 100).primary_key()).col(c.long_text("value"));
        })
        .await?;
    schema
        .create("auth_changes", &[index(&["created_at"])], |t, c| {
            t.col(c.id())
                .col(c.bigint("user_id"))
                .col(c.bigint_null("session_id"))
                .col(c.text("kind", 20))
                .col(c.time("created_at"));
        })
        .await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema
        .drop(&[
            "auth_changes",
            "yunque_meta",
            "strict_limits",
            "idempotency_keys",
            "job_daily",
            "job_workers",
            "jobs",
        ])
        .await
}
