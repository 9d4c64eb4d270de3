//! From the caller's transaction to the mailbox.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Env, Reader};
use crate::db::DbSettings;
use crate::ids::JobId;
use crate::queue::{Carrier, Job, JobContext, JobError, QueueSettings};

/// A mail whose values must not outlive it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Code {
    code: String,
}

impl Template for Code {
    const NAME: &'static str = "test.code";
    const IS_SECRET: bool = true;

    fn subject(&self, _: Lang) -> String {
        "code".to_owned()
    }

    fn text(&self, _: Lang) -> askama::Result<String> {
        Ok(self.code.clone())
    }

    fn html(&self, _: Lang) -> askama::Result<String> {
        Ok(self.code.clone())
    }
}

struct World {
    db: Db,
    queue: Queue,
    mailer: Mailer,
    clock: Clock,
    folder: TempDir,
}

/// The tables as the migrations make them, as far as mail needs them.
const SCHEMA: &str = "CREATE TABLE outgoing_mails (id integer PRIMARY KEY AUTOINCREMENT, template text NOT NULL, \
    lang text NOT NULL, to_address text NOT NULL, params text, is_secret boolean NOT NULL, attempts integer NOT NULL, \
    last_error text, expires_at text, created_at text NOT NULL, sent_at text, failed_at text); \
    CREATE TABLE jobs (id integer PRIMARY KEY AUTOINCREMENT, queue text, kind text, payload text, subject text, \
    dedupe_key text UNIQUE, state text, priority integer, attempts integer, max_attempts integer, losses integer \
    DEFAULT 0, run_at text, fair_key integer, fair_round integer, lease_owner text, last_error text, request_id text, \
    created_at text, started_at text, finished_at text)";

impl World {
    async fn new(settings: MailSettings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let env = Env::fixed([("SQLITE_SYNCHRONOUS", "off")]);
        let mut r = Reader::new(&env);
        let db = Db::connect(&DbSettings::read(&mut r, folder.path()))
            .await
            .expect("a database");
        db.writer().execute_unprepared(SCHEMA).await.expect("tables");
        let clock = Clock::default();
        let queue = Queue::new(
            db.clone(),
            clock.clone(),
            Carrier::memory(),
            QueueSettings::read(&mut r),
        );
        let mailer = Mailer::new(
            &settings,
            folder.path(),
            db.clone(),
            clock.clone(),
            Keys::ephemeral(),
            Metrics::new(),
        )
        .expect("a mailer");
        mailer.register::<Code>();
        mailer.register_jobs(&queue);
        World {
            db,
            queue,
            mailer,
            clock,
            folder,
        }
    }

    async fn memory() -> Self {
        Self::new(MailSettings::memory()).await
    }

    /// Queues a mail and returns its id.
    async fn queue(&self, message: Message) -> i64 {
        let (mailer, queue) = (self.mailer.clone(), self.queue.clone());
        let write = move |tx: Tx| {
            let (mailer, queue, message) = (mailer.clone(), queue.clone(), message.clone());
            async move { mailer.queue(&tx, &queue, message).await }
        };
        self.db.write("test", write).await.expect("queued");
        self.number("SELECT MAX(id) FROM outgoing_mails").await
    }

    async fn number(&self, sql: &str) -> i64 {
        let stmt = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, sql.to_owned());
        let row = self
            .db
            .reader()
            .query_one_raw(stmt)
            .await
            .expect("a query")
            .expect("a row");
        row.try_get_by_index::<Option<i64>>(0)
            .expect("a number")
            .unwrap_or(0)
    }

    async fn run(&self, mail_id: i64) -> Result<(), JobError> {
        SendMail { mail_id }.run(&self.mailer, &context()).await
    }

    async fn die(&self, mail_id: i64) {
        let mailer = self.mailer.clone();
        let write = move |tx: Tx| {
            let mailer = mailer.clone();
            async move { SendMail { mail_id }.on_dead(&mailer, &tx, "given up").await }
        };
        self.db.write("test", write).await.expect("hook");
    }

    async fn retry(&self, mail_id: i64) -> Result<(), JobError> {
        let mailer = self.mailer.clone();
        let write = move |tx: Tx| {
            let mailer = mailer.clone();
            async move { SendMail { mail_id }.on_retry(&mailer, &tx).await }
        };
        self.db.write("test", write).await
    }

    fn outbox(&self) -> &Outbox {
        self.mailer.outbox().expect("memory backend")
    }
}

fn context() -> JobContext {
    let cancelled = CancellationToken::new();
    JobContext {
        id: JobId(1),
        attempt: 1,
        max_attempts: 4,
        request_id: None,
        cancelled,
    }
}

fn notice(name: &str, lang: Lang) -> Message {
    let changed_at = DateTime::from_timestamp(1_700_000_000, 0).expect("in range");
    let mail = PasswordChanged {
        username: name.to_owned(),
        changed_at,
        ip: Some("203.0.113.9".to_owned()),
    };
    Message::new("alice@example.com", lang, &mail)
}

fn code() -> Message {
    Message::new(
        "alice@example.com",
        Lang::Zh,
        &Code {
            code: "918273".to_owned(),
        },
    )
}

#[tokio::test]
async fn a_queued_mail_is_sent_once_and_forgets_its_values() {
    let world = World::memory().await;
    let id = world.queue(notice("alice", Lang::Zh)).await;
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM jobs WHERE queue = 'mail' AND kind = 'send_mail'")
            .await,
        1
    );
    assert_eq!(
        SendMail::expected(&world.mailer, &world.db).await.expect("ids"),
        Some(vec![format!("mail:{id}")])
    );
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE params LIKE '%alice%'")
            .await,
        0
    );
    world.run(id).await.expect("sent");
    world.run(id).await.expect("nothing left to do");
    let mails = world.outbox().to("alice@example.com");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].subject, "密码已修改");
    assert!(
        mails[0].text.contains("alice，您好：") && mails[0].text.contains("203.0.113.9"),
        "{}",
        mails[0].text
    );
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE params IS NULL AND sent_at IS NOT NULL")
            .await,
        1
    );
    assert_eq!(
        SendMail::expected(&world.mailer, &world.db).await.expect("ids"),
        Some(vec![])
    );
    world.run(999).await.expect("a purged mail is no error");
}

#[tokio::test]
async fn user_text_is_escaped_in_html() {
    let world = World::memory().await;
    let id = world
        .queue(notice("<script>alert(1)</script>\"><svg onload=x>", Lang::En))
        .await;
    world.run(id).await.expect("sent");
    let mail = &world.outbox().take()[0];
    assert_eq!(mail.subject, "Your password was changed");
    assert!(
        !mail.html.contains("<script") && !mail.html.contains("<svg"),
        "{}",
        mail.html
    );
    assert!(
        mail.html.contains("&#60;script&#62;") && mail.html.contains("lang=\"en\""),
        "{}",
        mail.html
    );
    assert!(
        mail.text.starts_with("Hello <script>"),
        "plain text is not escaped: {}",
        mail.text
    );
    assert!(
        mail.text
            .ends_with("\n\n-- \nSent automatically by Yunque; replies are not read."),
        "{:?}",
        mail.text
    );
}

#[tokio::test]
async fn every_notice_has_texts_in_both_languages() {
    let world = World::memory().await;
    let at = world.clock.now();
    let moved = EmailChanged {
        username: "bob".into(),
        new_address: mask_address("robert@example.com"),
        changed_at: at,
        ip: None,
    };
    for lang in [Lang::Zh, Lang::En] {
        world
            .mailer
            .send_now(Message::new("a@b.cn", lang, &moved))
            .await
            .expect("sent");
        world
            .mailer
            .send_now(Message::new("a@b.cn", lang, &TestMail { sent_at: at }))
            .await
            .expect("sent");
    }
    let mails = world.outbox().take();
    assert_eq!(mails.len(), 4);
    assert!(mails[0].text.contains("r***@example.com") && !mails[0].text.contains("robert"));
    assert_ne!(mails[0].subject, mails[2].subject);
}

#[tokio::test]
async fn temporary_failures_are_retried_and_permanent_ones_are_final() {
    let world = World::memory().await;
    let id = world.queue(notice("alice", Lang::Zh)).await;
    world.outbox().fail_next(MailError::Temporary {
        reason: "busy".into(),
    });
    world.outbox().fail_next(MailError::Permanent {
        reason: "refused (550)".into(),
    });
    assert_eq!(world.run(id).await.expect_err("busy").reason, "busy");
    assert_eq!(world.run(id).await.expect_err("refused").reason, "refused (550)");
    world.die(id).await;
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE failed_at IS NOT NULL")
            .await,
        1
    );
    world
        .run(id)
        .await
        .expect("a mail that was given up is left alone");
    assert!(world.outbox().all().is_empty());
    world.retry(id).await.expect("an operator may try again");
    world.run(id).await.expect("sent");
    assert_eq!(world.outbox().all().len(), 1);
    assert!(world.retry(id).await.is_err(), "sent is sent");
}

#[tokio::test]
async fn secret_values_are_gone_after_the_final_failure() {
    let world = World::memory().await;
    let id = world.queue(code()).await;
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE params LIKE '%918273%'")
            .await,
        0,
        "sealed"
    );
    world.die(id).await;
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE params IS NOT NULL")
            .await,
        0
    );
    assert!(world.retry(id).await.is_err());
}

#[tokio::test]
async fn a_mail_is_not_sent_after_its_time() {
    let world = World::memory().await;
    let id = world
        .queue(code().expires_at(world.clock.now() + TimeDelta::minutes(5)))
        .await;
    world.clock.advance(Duration::from_secs(301));
    world.run(id).await.expect("done with it");
    assert!(world.outbox().all().is_empty());
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE last_error = 'expired' AND params IS NULL")
            .await,
        1
    );
}

#[tokio::test]
async fn only_old_finished_mails_are_removed() {
    let world = World::memory().await;
    let sent = world.queue(notice("alice", Lang::Zh)).await;
    world.run(sent).await.expect("sent");
    world.queue(notice("bob", Lang::Zh)).await;
    PurgeMails {}
        .run(&world.mailer, &context())
        .await
        .expect("nothing is old");
    assert_eq!(world.number("SELECT COUNT(*) FROM outgoing_mails").await, 2);
    world.clock.advance(Duration::from_secs(3601));
    PurgeMails {}
        .run(&world.mailer, &context())
        .await
        .expect("purged");
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM outgoing_mails WHERE sent_at IS NULL")
            .await,
        1
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM outgoing_mails").await, 1);
}

#[tokio::test]
async fn an_address_that_cannot_be_mailed_does_not_fail_the_caller() {
    let world = World::memory().await;
    world
        .queue(Message::new(
            "a@b.cn\r\nBcc: v@x.cn",
            Lang::Zh,
            &Code { code: "1".into() },
        ))
        .await;
    assert_eq!(world.number("SELECT COUNT(*) FROM outgoing_mails").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM jobs").await, 0);
}

#[tokio::test]
async fn the_file_backend_writes_whole_private_files() {
    let world = World::new(MailSettings {
        backend: MailBackend::File,
        ..MailSettings::memory()
    })
    .await;
    let id = world.queue(notice("alice", Lang::Zh)).await;
    world.run(id).await.expect("written");
    let files: Vec<_> = std::fs::read_dir(world.folder.path().join("mail"))
        .expect("a folder")
        .flatten()
        .collect();
    assert_eq!(files.len(), 1);
    let name = files[0].file_name().into_string().expect("UTF-8");
    assert!(
        name.starts_with(&format!("{id}.")) && name.ends_with(".eml"),
        "{name}"
    );
    let text = std::fs::read_to_string(files[0].path()).expect("readable");
    assert!(text.contains("To: alice@example.com"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            files[0].metadata().expect("metadata").permissions().mode() & 0o777,
            0o600
        );
    }
}
