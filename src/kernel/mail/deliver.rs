//! The backends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::MailError;
use super::build::{SentMail, mask_address};
use super::settings::{MailBackend, MailSettings};
use super::smtp::Smtp;
use crate::telemetry::Metrics;

pub(super) struct Transport {
    backend: Backend,
    metrics: Metrics,
}

enum Backend {
    Smtp(Smtp),
    File(PathBuf),
    Log,
    Memory(Outbox),
}

/// The mailbox of the memory backend.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    mails: Vec<SentMail>,
    failures: Vec<MailError>,
}

impl Outbox {
    /// Everything that was sent, oldest first.
    pub fn all(&self) -> Vec<SentMail> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .mails
            .clone()
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<SentMail> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).mails)
    }

    /// Mails to one address.
    pub fn to(&self, address: &str) -> Vec<SentMail> {
        self.all().into_iter().filter(|mail| mail.to == address).collect()
    }

    /// The next delivery fails with `error`; called twice, the next two do.
    pub fn fail_next(&self, error: MailError) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failures
            .push(error);
    }

    fn put(&self, mail: SentMail) -> Result<(), MailError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.failures.is_empty() {
            return Err(kept.failures.remove(0));
        }
        kept.mails.push(mail);
        Ok(())
    }
}

impl Transport {
    pub fn new(settings: &MailSettings, folder: &Path, metrics: Metrics) -> Result<Self, MailError> {
        let backend = match (settings.backend, &settings.smtp_url) {
            (MailBackend::Smtp, Some(url)) => Backend::Smtp(Smtp::new(url)?),
            (MailBackend::Smtp, None) => return Err(MailError::Backend("SMTP_URL is unset".to_owned())),
            (MailBackend::File, _) => Backend::File(folder.to_owned()),
            (MailBackend::Log, _) => Backend::Log,
            (MailBackend::Memory, _) => Backend::Memory(Outbox::default()),
        };
        Ok(Transport { backend, metrics })
    }

    /// Hands a mail over. Neither the log nor an error tells its text or the whole address.
    pub async fn deliver(&self, id: &str, mail: SentMail) -> Result<(), MailError> {
        let begun = Instant::now();
        let (to, subject) = (mask_address(&mail.to), mail.subject.clone());
        let result = match &self.backend {
            Backend::Smtp(smtp) => smtp.send(mail).await,
            Backend::File(folder) => write_file(folder, id, &mail.raw).await,
            Backend::Log => Ok(()),
            Backend::Memory(outbox) => outbox.put(mail),
        };
        self.metrics
            .mail
            .send_seconds
            .observe(begun.elapsed().as_secs_f64());
        if result.is_ok() {
            match &self.backend {
                Backend::Log => tracing::info!(
                    mail.id = id,
                    mail.to = to,
                    mail.subject = subject,
                    "mail (not sent)"
                ),
                _ => tracing::debug!(mail.id = id, mail.to = to, "mail handed over"),
            }
        }
        result
    }

    pub async fn check(&self) -> Result<(), MailError> {
        match &self.backend {
            Backend::Smtp(smtp) => smtp.check().await,
            Backend::File(folder) => make_folder(folder).await,
            Backend::Log | Backend::Memory(_) => Ok(()),
        }
    }

    pub fn outbox(&self) -> Option<&Outbox> {
        match &self.backend {
            Backend::Memory(outbox) => Some(outbox),
            _ => None,
        }
    }
}

async fn make_folder(folder: &Path) -> Result<(), MailError> {
    tokio::fs::create_dir_all(folder).await.map_err(disk)
}

/// Writes under another name first, so that a reader never sees half a mail.
async fn write_file(folder: &Path, id: &str, raw: &[u8]) -> Result<(), MailError> {
    make_folder(folder).await?;
    let half = folder.join(format!(".{id}.part"));
    let written = async {
        let mut options = tokio::fs::OpenOptions::new();
        options.create(true).truncate(true).write(true);
        // Mails hold codes.
        #[cfg(unix)]
        options.mode(0o600);
        let mut file = options.open(&half).await?;
        file.write_all(raw).await?;
        file.sync_all().await?;
        tokio::fs::rename(&half, folder.join(format!("{id}.eml"))).await
    };
    written.await.map_err(disk)
}

/// A full disk may have room later.
fn disk(error: std::io::Error) -> MailError {
    MailError::Temporary {
        reason: format!("mail folder: {}", error.kind()),
    }
}
