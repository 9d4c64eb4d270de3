//! Failed logins are counted by an index of their own, however many logins succeed from an address.

use sea_orm_migration::prelude::*;

use crate::schema::{Ix, Schema, index, migration};

migration!("m0008_login_attempts");

const TABLE: &str = "auth_login_attempts";

fn former() -> [Ix; 2] {
    [
        index(&["ip_address", "-created_at"]),
        index(&["username", "ip_address", "-created_at"]),
    ]
}

fn present() -> [Ix; 2] {
    [
        index(&["ip_address", "is_successful", "created_at"]),
        index(&["username", "ip_address", "is_successful", "created_at"])
            .named("auth_login_attempts_pair_idx"),
    ]
}

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.replace_indexes(TABLE, &former(), &present()).await
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema.replace_indexes(TABLE, &present(), &former()).await
}
