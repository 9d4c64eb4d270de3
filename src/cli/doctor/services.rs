//! Servers around the database: Redis, object storage, mail.

use secrecy::SecretString;
use yunque_kernel::auth::Keys;
use yunque_kernel::db::DbKind;
use yunque_kernel::mail::{MailBackend, Mailer};
use yunque_kernel::redis_link::{RedisFacts, RedisLink};
use yunque_kernel::storage::{CorsAnswer, LocalPlace, Storage, StorageKind};

use super::report::{Report, spent};
use crate::app::Settings;

pub async fn redis(report: &mut Report, settings: &Settings) {
    let Some(url) = &settings.redis.url else {
        let detail = match settings.db.kind {
            DbKind::Sqlite => "not used in the embedded size",
            _ => "not used: one process serves and works, and looks for jobs every 250 ms",
        };
        report.ok("redis", detail);
        return;
    };
    match facts(url, settings.redis.prefix.as_deref()).await {
        Ok((facts, round_trip)) => judge(report, &facts, round_trip),
        Err(e) => report.failed(
            "redis",
            format!("does not answer: {e}"),
            "Check REDIS_URL (or CELERY_BROKER_URL), and that the server runs and can be reached. Until then jobs start \
             late and realtime stays within one process.",
        ),
    }
}

async fn facts(
    url: &SecretString,
    prefix: Option<&str>,
) -> Result<(RedisFacts, std::time::Duration), String> {
    let link = RedisLink::open(url, prefix.unwrap_or("yq:")).map_err(|e| e.to_string())?;
    // The first round trip connects as well.
    link.ping().await.map_err(|e| e.to_string())?;
    let round_trip = link.ping().await.map_err(|e| e.to_string())?;
    Ok((link.facts().await.map_err(|e| e.to_string())?, round_trip))
}

fn judge(report: &mut Report, facts: &RedisFacts, round_trip: std::time::Duration) {
    let version = facts.version.as_deref().unwrap_or("of unknown version");
    let detail = format!("Redis {version}, answers in {}", spent(round_trip));
    let major: Option<u32> = facts
        .version
        .as_deref()
        .and_then(|v| v.split('.').next()?.parse().ok());
    match &facts.write_refusal {
        Some(why) => report.failed(
            "redis",
            format!("{detail}, and refuses to store: {why}"),
            "REDIS_URL must name a primary with free memory, and a user who may write.",
        ),
        None if major.is_some_and(|major| major < 5) => {
            report.failed("redis", detail, "Upgrade: Redis 5 or newer is needed (BZPOPMIN).");
        }
        None => report.ok("redis", detail),
    }
    let refusal = facts
        .config_refusal
        .as_deref()
        .unwrap_or("the server does not tell");
    match facts.maxmemory_policy.as_deref() {
        Some("noeviction") => report.ok("redis memory", "maxmemory-policy is noeviction"),
        Some(policy) => report.warn(
            "redis memory",
            format!("maxmemory-policy is {policy}: a full server forgets login limits and wake-ups"),
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        ),
        None => report.unknown(
            "redis memory",
            format!("maxmemory-policy cannot be read: {refusal}"),
            "Look it up in the console of the provider: it should be noeviction.",
        ),
    }
    match facts.appendonly.as_deref() {
        Some("yes") => report.ok("redis disk", "appendonly is yes"),
        Some(_) => report.warn(
            "redis disk",
            "appendonly is no: a restart forgets login limits (jobs are safe in the database)",
            "CONFIG SET appendonly yes, and in redis.conf",
        ),
        None => report.unknown(
            "redis disk",
            format!("appendonly cannot be read: {refusal}"),
            "Look it up in the console of the provider: it should be on.",
        ),
    }
}

pub async fn storage(report: &mut Report, settings: &Settings) {
    // No URL that is signed with this key is given to anybody.
    let place = LocalPlace {
        data_dir: &settings.data_dir,
        public_base_url: &settings.http.public_base_url,
        keys: &Keys::ephemeral(),
    };
    let storage = match Storage::open(&settings.storage, place) {
        Ok(storage) => storage,
        Err(e) => {
            report.failed(
                "storage",
                e.to_string(),
                "Check the owner of the folder `objects` in DATA_DIR.",
            );
            return;
        }
    };
    match storage.probe().await {
        Ok(time) => report.ok(
            "storage",
            format!("{}: put, get and delete in {}", storage.place(), spent(time)),
        ),
        Err(e) => {
            report.failed("storage", format!("{}: {e}", storage.place()), e.remedy());
            return;
        }
    }
    if storage.kind() == StorageKind::Local {
        return;
    }
    match storage.probe_presigned().await {
        Ok(Some(time)) => {
            report.ok(
                "presigned URLs",
                format!("put and get under the public name in {}", spent(time)),
            );
        }
        Ok(None) => {}
        Err(e) => report.failed("presigned URLs", e.to_string(), e.remedy()),
    }
    cors(report, settings, &storage).await;
}

/// Pages that are known to call the API must be able to upload; of others we only suppose it.
async fn cors(report: &mut Report, settings: &Settings, storage: &Storage) {
    let known: Vec<&str> = settings
        .http
        .cors_allowed_origins
        .iter()
        .map(String::as_str)
        .filter(|o| *o != "*")
        .collect();
    let base = settings.http.public_base_url.as_str();
    let own = base.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let (origins, is_known) = if known.is_empty() {
        (vec![own.as_str()], false)
    } else {
        (known, true)
    };
    for origin in origins {
        let remedy = format!(
            "Add a CORS rule to the bucket: origin {origin}, method PUT, headers content-type and x-oss-forbid-overwrite."
        );
        let refused = format!("the bucket refuses uploads from pages of {origin}");
        match storage.cors_allows_put(origin).await {
            CorsAnswer::Allowed => report.ok("bucket CORS", format!("pages of {origin} may upload")),
            CorsAnswer::Refused if is_known => report.failed("bucket CORS", refused, remedy),
            CorsAnswer::Refused => report.warn("bucket CORS", refused, remedy),
            CorsAnswer::Unknown(e) => report.unknown(
                "bucket CORS",
                format!("the rules cannot be read: {e}"),
                format!("Allow oss:GetBucketCors, or check by hand. {remedy}"),
            ),
        }
    }
}

pub async fn mail(report: &mut Report, settings: &Settings) {
    let mail = &settings.mail;
    let outcome = Mailer::check_settings(mail, &settings.data_dir).await;
    match (outcome, mail.backend) {
        (Ok(()), MailBackend::Smtp) => report.ok("mail", format!("the SMTP server lets us in; from {}", mail.from)),
        (Ok(()), MailBackend::File) => {
            let folder = settings.data_dir.join("mail");
            report.ok("mail", format!("mails are written to {}; set SMTP_URL to send them", folder.display()));
        }
        (Ok(()), _) => report.ok("mail", "mails are only logged"),
        (Err(e), MailBackend::Smtp) => report.failed(
            "mail",
            e.to_string(),
            "Check SMTP_URL: smtps://user:password@host for port 465, smtp://user:password@host:587?tls=required for \
             STARTTLS; user and password percent-encoded.",
        ),
        (Err(e), _) => report.failed("mail", e.to_string(), "Check the owner of the folder `mail` in DATA_DIR."),
    }
}
