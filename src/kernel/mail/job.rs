//! The job that sends one mail.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::store::{self, MailRow};
use super::{MailError, Mailer, build, smtp};
use crate::db::{Db, DbError, Tx};
use crate::ids::UserId;
use crate::queue::{Job, JobContext, JobError, NewJob, Plan, Priority};

/// Mails have a queue of their own, so that a mail server that hangs holds up nothing else.
pub const MAIL_QUEUE: &str = "mail";

/// Sends the row `mail_id` of `outgoing_mails`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendMail {
    pub mail_id: i64,
}

impl SendMail {
    /// One attempt and three retries, after about 10, 20 and 40 seconds: a code is valid for
    /// minutes only.
    pub fn plan() -> Plan {
        Plan {
            max_attempts: 4,
            retry_base: Duration::from_secs(10),
            retry_max: Duration::from_secs(300),
            jitter: 0.2,
            timeout: smtp::DELIVER + Duration::from_secs(30),
        }
    }

    pub(super) fn job(&self, owner: Option<UserId>) -> NewJob {
        let job = NewJob::new(self).queue(MAIL_QUEUE).priority(Priority::High);
        match owner {
            Some(user) => job.owner(user),
            None => job,
        }
    }

    async fn send(&self, mailer: &Mailer, row: &MailRow) -> Result<(), MailError> {
        let inner = &mailer.0;
        let values = row.open(&inner.keys)?;
        let rendered = inner
            .templates
            .render(&row.template, values, row.lang(), &inner.sender_name())?;
        let id = format!("{}.{}", row.id, row.created_at.timestamp_micros());
        let mail = build::build(&inner.from, &row.to_address, &id, inner.clock.now(), rendered)?;
        inner.transport.deliver(&id, mail).await
    }

    /// The mail is out; forgetting that would send it twice, so a busy database is asked again.
    async fn mark_sent(&self, mailer: &Mailer) -> Result<(), DbError> {
        let (id, clock) = (self.mail_id, mailer.0.clock.clone());
        let mut pause = Duration::from_millis(200);
        loop {
            let clock = clock.clone();
            let marked = mailer.0.db.write("mail.sent", move |tx| {
                let now = clock.now();
                async move { store::update_sent(&tx, id, now).await }
            });
            match marked.await {
                Err(_) if pause < Duration::from_secs(4) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
    }

    fn count(mailer: &Mailer, row: &MailRow, outcome: &str) {
        // The label comes from the table; only names that this process knows become metrics.
        let template = if mailer.0.templates.knows(&row.template) {
            row.template.as_str()
        } else {
            "unknown"
        };
        mailer
            .0
            .metrics
            .mail
            .mails
            .with_label_values(&[template, outcome])
            .inc();
    }
}

#[async_trait]
impl Job for SendMail {
    const KIND: &'static str = "send_mail";

    type Domain = Mailer;

    fn subject(&self) -> Option<String> {
        Some(format!("mail:{}", self.mail_id))
    }

    async fn run(&self, mailer: &Mailer, _cx: &JobContext) -> Result<(), JobError> {
        // Purged, or finished by an earlier run whose end was not noted.
        let Some(row) = store::find(mailer.0.db.reader(), self.mail_id).await? else {
            return Ok(());
        };
        if row.is_finished() {
            return Ok(());
        }
        if row.expires_at.is_some_and(|at| at <= mailer.0.clock.now()) {
            Self::count(mailer, &row, "expired");
            let (id, now) = (row.id, mailer.0.clock.now());
            let given_up = move |tx: Tx| async move { store::update_failed(&tx, id, "expired", now).await };
            return Ok(mailer.0.db.write("mail.expired", given_up).await?);
        }
        match self.send(mailer, &row).await {
            Ok(()) => {
                Self::count(mailer, &row, "sent");
                Ok(self.mark_sent(mailer).await?)
            }
            // A process of a newer version may know it.
            Err(error @ (MailError::Temporary { .. } | MailError::UnknownTemplate(_))) => {
                Self::count(mailer, &row, "retry");
                Err(JobError::retry(error.to_string()).caused_by(error))
            }
            Err(error) => {
                Self::count(mailer, &row, "failed");
                Err(JobError::fail(error.to_string()).caused_by(error))
            }
        }
    }

    async fn on_attempt_failed(&self, _mailer: &Mailer, tx: &Tx, reason: &str) -> Result<(), DbError> {
        store::update_attempt(tx, self.mail_id, reason).await
    }

    async fn on_dead(&self, mailer: &Mailer, tx: &Tx, reason: &str) -> Result<(), DbError> {
        store::update_failed(tx, self.mail_id, reason, mailer.0.clock.now()).await
    }

    async fn on_retry(&self, _mailer: &Mailer, tx: &Tx) -> Result<(), JobError> {
        if store::update_retried(tx, self.mail_id).await? {
            return Ok(());
        }
        Err(JobError::fail(
            "this mail was sent already, or its secret values were removed",
        ))
    }

    async fn on_cancel(&self, mailer: &Mailer, tx: &Tx) -> Result<(), DbError> {
        store::update_failed(tx, self.mail_id, "cancelled", mailer.0.clock.now()).await
    }

    async fn expected(_mailer: &Mailer, db: &Db) -> Result<Option<Vec<String>>, DbError> {
        let ids = store::list_unfinished(db.reader()).await?;
        Ok(Some(ids.into_iter().map(|id| format!("mail:{id}")).collect()))
    }
}

/// Removes rows that were finished long ago (`MAIL_KEEP`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PurgeMails {}

#[async_trait]
impl Job for PurgeMails {
    const KIND: &'static str = "purge_mails";

    type Domain = Mailer;

    async fn run(&self, mailer: &Mailer, _cx: &JobContext) -> Result<(), JobError> {
        let before = mailer.0.clock.now() - mailer.0.keep;
        let purge = move |tx: Tx| async move { store::purge(&tx, before).await };
        let removed = mailer.0.db.write("mail.purge", purge).await?;
        tracing::info!(mails = removed, "old mails were removed");
        Ok(())
    }
}
