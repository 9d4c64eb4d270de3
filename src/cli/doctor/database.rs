//! The database: there, new enough, set up as the queries need it, with our schema.

use chrono::TimeDelta;
use yunque_kernel::Clock;
use yunque_kernel::db::inspect::{Inspection, Product, Version};
use yunque_kernel::db::{Db, DbKind};

use super::report::{Report, spent};
use crate::app::Settings;
use crate::app::schema::{Schema, SchemaError, remedy};

/// Tokens and leases are compared with times of one second.
const CLOCK_ODD: TimeDelta = TimeDelta::seconds(1);
const CLOCK_WRONG: TimeDelta = TimeDelta::seconds(30);

/// Tells whether the application can be built on it.
pub async fn check(report: &mut Report, settings: &Settings) -> bool {
    let db = match Db::connect(&settings.db).await {
        Ok(db) => db,
        Err(e) => {
            report.failed(
                "database",
                format!("{} cannot be used: {e}", settings.db.kind.as_str()),
                remedy(&settings.db, &e),
            );
            return false;
        }
    };
    match db.inspect(&Clock::default()).await {
        Ok(found) => judge(report, settings, &found),
        Err(e) => {
            report.failed(
                "database",
                format!("{} does not answer: {e}", db.kind().as_str()),
                remedy(&settings.db, &e),
            );
            return false;
        }
    }
    migrations(report, settings).await
}

fn judge(report: &mut Report, settings: &Settings, found: &Inspection) {
    let (product, version) = (found.product, Version::parse(&found.version));
    let detail = format!(
        "{} {}, answers in {}",
        product.as_str(),
        found.version,
        spent(found.round_trip)
    );
    if version < product.oldest() {
        let needed = format!(
            "Upgrade: {} {} or newer is supported.",
            product.as_str(),
            product.oldest()
        );
        report.failed("database", detail, needed);
    } else {
        report.ok("database", detail);
    }
    let is_server = product != Product::Sqlite;
    charset(report, found);
    if found.isolation == "read committed" || !is_server {
        report.ok("isolation", found.isolation.as_str());
    } else {
        let detail = format!(
            "transactions run at {}, although each connection asks for read committed",
            found.isolation
        );
        report.failed(
            "isolation",
            detail,
            "A proxy between us and the database must keep session settings.",
        );
    }
    if found.id_step != 1 {
        let detail = format!(
            "auto_increment_increment is {}; multi-row inserts need 1",
            found.id_step
        );
        report.failed(
            "generated ids",
            detail,
            "SET GLOBAL auto_increment_increment = 1 (several writing masters are not supported).",
        );
    }
    report.good_if(
        found.is_durable,
        "durability",
        if found.is_durable {
            "a commit survives a crash"
        } else {
            "the newest commits may be lost in a crash"
        },
        match product {
            Product::Sqlite => "Set SQLITE_SYNCHRONOUS=full.",
            Product::Postgres => "Set fsync = on and synchronous_commit = on.",
            Product::MySql | Product::MariaDb => "Set innodb_flush_log_at_trx_commit = 1.",
        },
    );
    if let Some(most) = found.max_connections {
        let ours = u64::from(settings.db.max_connections);
        let detail = format!("{ours} for each process, the server takes {most}");
        report.good_if(
            ours < most,
            "connections",
            detail,
            "Lower DATABASE_MAX_CONNECTIONS, or raise max_connections.",
        );
    }
    if is_server {
        clock(report, found.clock_ahead);
    }
}

fn charset(report: &mut Report, found: &Inspection) {
    match found.product {
        Product::MySql | Product::MariaDb => {
            let remedy = "ALTER DATABASE … CHARACTER SET utf8mb4 (and ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4).";
            if found.charset != "utf8mb4" {
                let detail = format!(
                    "new tables are {}, which cannot hold every character",
                    found.charset
                );
                report.failed("charset", detail, remedy);
            } else if found.tables_in_other_charsets > 0 {
                let detail = format!("{} tables are not utf8mb4", found.tables_in_other_charsets);
                report.failed("charset", detail, remedy);
            } else {
                report.ok("charset", found.charset.as_str());
            }
        }
        Product::Postgres if found.charset != "UTF8" => {
            let detail = format!(
                "the database is {}, which cannot hold every character",
                found.charset
            );
            report.failed(
                "charset",
                detail,
                "Create the database again with ENCODING 'UTF8'.",
            );
        }
        Product::Postgres | Product::Sqlite => report.ok("charset", found.charset.as_str()),
    }
}

fn clock(report: &mut Report, ahead: TimeDelta) {
    let ms = ahead.num_milliseconds();
    let side = if ms < 0 { "behind" } else { "ahead of" };
    let detail = format!("the database's clock is {} ms {side} ours", ms.abs());
    let remedy = "Let NTP set the clocks of both machines.";
    if ahead.abs() >= CLOCK_WRONG {
        report.failed("clock", detail, remedy);
    } else {
        report.good_if(ahead.abs() < CLOCK_ODD, "clock", detail, remedy);
    }
}

/// A server database is migrated by hand; SQLite by the part that opens the application.
async fn migrations(report: &mut Report, settings: &Settings) -> bool {
    let steps = match Schema::open(&settings.db).await {
        Ok(schema) => schema.steps().await,
        Err(e) => Err(e),
    };
    match steps {
        Ok(steps) => {
            let missing: Vec<&str> = steps
                .iter()
                .filter(|s| !s.applied)
                .map(|s| s.name.as_str())
                .collect();
            if missing.is_empty() {
                report.ok("migrations", format!("{} applied", steps.len()));
            } else if settings.db.kind == DbKind::Sqlite {
                report.ok(
                    "migrations",
                    format!("{} missing, every command applies them by itself", missing.len()),
                );
            } else {
                report.failed(
                    "migrations",
                    format!("missing: {}", missing.join(", ")),
                    "Run: yunque migrate up",
                );
                return false;
            }
            true
        }
        Err(e @ SchemaError::Newer(_)) => {
            report.failed(
                "migrations",
                e.to_string(),
                "Install the newer version of this program again.",
            );
            false
        }
        Err(e) => {
            report.failed(
                "migrations",
                e.to_string(),
                "Check the rights of the database user.",
            );
            false
        }
    }
}
