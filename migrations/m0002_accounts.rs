//! One account table for every surface, with profiles, login logs and groups.

use sea_orm_migration::prelude::*;
use yunque_kernel::db::dialect::insert_ignore;

use crate::schema::{Schema, index, migration, one_of, reference, unique};

migration!("m0002_accounts");

/// 10 GiB.
const DEFAULT_QUOTA_BYTES: i64 = 10 << 30;

async fn up(schema: &Schema<'_>) -> Result<(), DbErr> {
    let users = [
        unique(&["username_key"]),
        unique(&["email_key"]),
        unique(&["phone_key"]),
        index(&["is_active", "-date_joined", "-id"]),
        index(&["is_active", "-last_active", "-id"]),
        index(&["parent_id", "user_type", "id"]),
    ];
    schema
        .create("users", &users, |t, c| {
            t.col(c.id())
                .col(c.text("username", 150))
                .col(c.text("username_key", 150))
                .col(c.text("email", 254))
                .col(c.text("email_key", 254))
                .col(c.text("password", 256))
                .col(c.text("display_name", 150))
                .col(c.text("name", 150).default(""))
                .col(c.text("first_name", 150).default(""))
                .col(c.text("last_name", 150).default(""))
                .col(c.text_null("phone", 20))
                .col(c.text_null("phone_key", 20))
                .col(c.text_null("avatar", 255))
                .col(ColumnDef::new("birth_date").date().null())
                .col(c.text_null("gender", 1))
                .col(c.text_null("bio", 500))
                .col(c.text_null("country", 100))
                .col(c.text_null("city", 100))
                .col(c.text_null("website", 200))
                .col(c.text_null("github", 100))
                .col(c.text("user_type", 12).default("customer"))
                .col(c.bigint_null("parent_id"))
                .col(c.bool("is_verified", false))
                .col(c.bool("is_premium", false))
                .col(c.bool("is_staff", false))
                .col(c.bool("is_active", true))
                .col(c.int("token_version", 0))
                .col(c.bigint("quota").default(DEFAULT_QUOTA_BYTES))
                .col(c.bigint("used_space").default(0_i64))
                // JSON object; missing keys mean the documented defaults.
                .col(c.long_text("privacy_setting"))
                .col(c.time("date_joined"))
                .col(c.time("updated_at"))
                .col(c.time_null("last_login"))
                .col(c.time_null("last_active"))
                .col(c.time_null("deactivated_at"))
                .col(c.time_null("purged_at"))
                .foreign_key(&mut reference(
                    "users",
                    "parent_id",
                    "users",
                    ForeignKeyAction::SetNull,
                ))
                .check(one_of(
                    "user_type",
                    &["admin", "editor", "agent_l1", "agent_l2", "customer"],
                ))
                .check(Expr::cust("(user_type = 'admin') = is_staff"))
                .check(Expr::cust("used_space >= 0"));
        })
        .await?;
    schema
        .create("user_profiles", &[], |t, c| {
            t.col(c.bigint("user_id").primary_key())
                .col(c.text("language", 10).default("zh-hans"))
                .col(c.text("timezone", 50).default("Asia/Shanghai"))
                .col(c.text("theme", 20).default("light"))
                .col(c.bool("email_notifications", true))
                .col(c.bool("sms_notifications", true))
                .col(c.bool("push_notifications", true))
                .col(c.int("login_count", 0))
                .col(c.int("points", 0))
                .col(c.int("level", 1))
                .col(c.time("created_at"))
                .col(c.time("updated_at"))
                .foreign_key(&mut reference(
                    "user_profiles",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ))
                .check(Expr::cust("login_count >= 0 AND points >= 0 AND level >= 1"));
        })
        .await?;
    let login_logs = [
        index(&["user_id", "-login_time", "-id"]),
        index(&["ip_address", "-login_time"]),
        index(&["login_time"]),
    ];
    schema
        .create("user_login_logs", &login_logs, |t, c| {
            t.col(c.id())
                // NULL when the attempted name matched nobody.
                .col(c.bigint_null("user_id"))
                .col(c.text("ip_address", 45))
                .col(c.text("user_agent", 512))
                .col(c.text("location", 200).default(""))
                .col(c.text("device_type", 50))
                .col(c.time("login_time"))
                .col(c.bool("is_successful", true))
                .foreign_key(&mut reference(
                    "user_login_logs",
                    "user_id",
                    "users",
                    ForeignKeyAction::Cascade,
                ));
        })
        .await?;
    schema
        .create("groups", &[unique(&["name"])], |t, c| {
            t.col(c.id())
                .col(c.text("name", 150))
                .col(c.long_text("description"));
        })
        .await?;
    schema
        .create(
            "user_groups",
            &[unique(&["user_id", "group_id"]), index(&["group_id", "user_id"])],
            |t, c| {
                t.col(c.id())
                    .col(c.bigint("user_id"))
                    .col(c.bigint("group_id"))
                    .foreign_key(&mut reference(
                        "user_groups",
                        "user_id",
                        "users",
                        ForeignKeyAction::Cascade,
                    ))
                    .foreign_key(&mut reference(
                        "user_groups",
                        "group_id",
                        "groups",
                        ForeignKeyAction::Cascade,
                    ));
            },
        )
        .await?;
    let developer = Query::insert()
        .into_table("groups")
        .columns(["name", "description"])
        .values_panic(["developer".into(), "开发者".into()])
        .take();
    insert_ignore(schema.connection(), developer, &["name"])
        .await
        .map_err(|e| DbErr::Custom(e.to_string()))?;
    Ok(())
}

async fn down(schema: &Schema<'_>) -> Result<(), DbErr> {
    schema
        .drop(&[
            "user_groups",
            "groups",
            "user_login_logs",
            "user_profiles",
            "users",
        ])
        .await
}
