//! Mail: written into the caller's transaction, sent by a job, never inside a request.
//!
//! - A domain brings its own mails: a struct with the values, which implements [`Template`]
//!   (usually by [`mail_template!`](crate::mail_template)), registered with [`Mailer::register`].
//! - [`Mailer::queue`] stores address and values in `outgoing_mails` and enqueues [`SendMail`] with
//!   the row's id. The values are sealed with a key derived from `SECRET_KEY`, because they may be
//!   codes, and are removed as soon as the mail is sent.
//! - A backend ([`MailBackend`]) delivers: SMTP, `.eml` files in the data folder, the log, or
//!   memory for tests.
//!
//! What surprises: mail is sent at least once. A process that dies between the mail server's
//! acceptance and the write of `sent_at` sends again; both copies carry the same `Message-ID`.
//! An address that no mail can go to is no error for the caller, who may be changing a password.

mod build;
mod deliver;
mod job;
mod notices;
mod settings;
mod smtp;
mod store;
mod template;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use build::{SentMail, is_mailable, mask_address};
pub use deliver::Outbox;
pub use job::{MAIL_QUEUE, PurgeMails, SendMail};
pub use notices::{EmailChanged, PasswordChanged, TestMail};
pub use settings::{MailBackend, MailSettings};
pub use template::Template;

use crate::auth::Keys;
use crate::clock::Clock;
use crate::db::{Db, DbError, Tx};
use crate::error::Lang;
use crate::ids::UserId;
use crate::queue::{NewJob, Plan, Priority, Queue, Schedule};
use crate::telemetry::Metrics;
use deliver::Transport;
use template::Templates;

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Worth another attempt: the server is away, busy or misconfigured on our side.
    #[error("{reason}")]
    Temporary { reason: String },
    /// The server will never take this mail.
    #[error("{reason}")]
    Permanent { reason: String },
    /// The address or a header has a form that must not be sent.
    #[error("{0}")]
    Malformed(&'static str),
    #[error("no mail template named {0}")]
    UnknownTemplate(String),
    #[error("mail template: {0}")]
    Template(#[from] askama::Error),
    #[error("mail values cannot be read: {0}")]
    Values(#[from] serde_json::Error),
    #[error("mail backend: {0}")]
    Backend(String),
}

impl MailError {
    /// Whether the same mail may go through later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, MailError::Temporary { .. })
    }
}

/// One mail to one person.
#[derive(Clone, Debug)]
pub struct Message {
    to: String,
    lang: Lang,
    template: &'static str,
    values: Value,
    is_secret: bool,
    expires_at: Option<DateTime<Utc>>,
    owner: Option<UserId>,
    request_id: Option<String>,
}

impl Message {
    /// A mail to a bare address, without a display name: what users call themselves never gets
    /// into a header.
    ///
    /// # Panics
    /// Never for the structs this is made for: only maps with keys that are no text fail.
    pub fn new<T: Template>(to: impl Into<String>, lang: Lang, template: &T) -> Self {
        Message {
            to: to.into(),
            lang,
            template: T::NAME,
            values: serde_json::to_value(template).expect("a template is a plain struct"),
            is_secret: T::IS_SECRET,
            expires_at: None,
            owner: None,
            request_id: None,
        }
    }

    /// Not worth sending after this, such as a code that is then void.
    pub fn expires_at(mut self, at: DateTime<Utc>) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Whose mail it is; mails of different users take turns.
    pub fn owner(mut self, user: UserId) -> Self {
        self.owner = Some(user);
        self
    }

    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }
}

/// A cheap handle: register templates, queue mails, send them.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    keys: Keys,
    metrics: Metrics,
    from: lettre::message::Mailbox,
    transport: Transport,
    templates: Templates,
    keep: Duration,
}

impl Mailer {
    /// # Errors
    /// The backend cannot be set up: a folder that cannot be made, an SMTP URL without a host.
    pub fn new(
        settings: &MailSettings,
        data_dir: &Path,
        db: Db,
        clock: Clock,
        keys: Keys,
        metrics: Metrics,
    ) -> Result<Self, MailError> {
        let transport = Transport::new(settings, &data_dir.join("mail"), metrics.clone())?;
        let mailer = Mailer(Arc::new(Inner {
            db,
            clock,
            keys,
            metrics,
            from: settings.from.clone(),
            transport,
            templates: Templates::default(),
            keep: settings.keep,
        }));
        mailer.register::<PasswordChanged>();
        mailer.register::<EmailChanged>();
        mailer.register::<TestMail>();
        Ok(mailer)
    }

    /// Makes a template known to the process that sends. Mails of an unknown one wait for a process
    /// that knows it.
    pub fn register<T: Template>(&self) {
        self.0.templates.add::<T>();
    }

    /// Registers the jobs of mail; once, in every process. [`SendMail`] runs in the queue
    /// [`MAIL_QUEUE`], which workers have to drain.
    pub fn register_jobs(&self, queue: &Queue) {
        queue.register::<SendMail>(self.clone(), SendMail::plan());
        queue.register::<PurgeMails>(self.clone(), Plan::default());
    }

    /// The daily removal of old rows.
    pub fn schedule() -> Schedule {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        Schedule::new("purge_mails", hours(24), hours(3), || {
            NewJob::new(&PurgeMails {}).priority(Priority::Low)
        })
    }

    /// Stores a mail in the caller's transaction; it goes out after the commit. An address that no
    /// mail can go to is skipped with a warning.
    ///
    /// # Errors
    /// As the database says.
    pub async fn queue(&self, tx: &Tx, queue: &Queue, message: Message) -> Result<(), DbError> {
        if !is_mailable(&message.to) {
            tracing::warn!(
                mail.template = message.template,
                "a mail was dropped: its address cannot be mailed"
            );
            return Ok(());
        }
        let (owner, request_id) = (message.owner, message.request_id.clone());
        let row = store::NewMail::seal(&self.0.keys, message, self.0.clock.now());
        let mail_id = store::insert(tx, row).await?;
        let job = SendMail { mail_id }.job(owner).request_id(request_id);
        queue.enqueue(tx, job).await?;
        Ok(())
    }

    /// Sends at once and waits. For `doctor` and other commands, not for requests.
    ///
    /// # Errors
    /// As the backend says.
    pub async fn send_now(&self, message: Message) -> Result<(), MailError> {
        let now = self.0.clock.now();
        let id = format!("now.{}", now.timestamp_micros());
        let parts = self.0.templates.render(
            message.template,
            message.values,
            message.lang,
            &self.0.sender_name(),
        )?;
        let mail = build::build(&self.0.from, &message.to, &id, now, parts)?;
        self.0.transport.deliver(&id, mail).await
    }

    /// Whether the backend would take mail now. Sends nothing.
    ///
    /// # Errors
    /// As the backend says.
    pub async fn check(&self) -> Result<(), MailError> {
        self.0.transport.check().await
    }

    /// [`Mailer::check`] from settings alone: `doctor` looks at mail also when there is no database.
    ///
    /// # Errors
    /// As the backend says.
    pub async fn check_settings(settings: &MailSettings, data_dir: &Path) -> Result<(), MailError> {
        let transport = Transport::new(settings, &data_dir.join("mail"), Metrics::new())?;
        transport.check().await
    }

    /// What the memory backend received; `None` with any other.
    pub fn outbox(&self) -> Option<&Outbox> {
        self.0.transport.outbox()
    }
}

impl Inner {
    /// How the installation calls itself towards people.
    fn sender_name(&self) -> String {
        self.from
            .name
            .clone()
            .unwrap_or_else(|| self.from.email.domain().to_owned())
    }
}
