//! The SMTP backend.
//!
//! The library's pooled transport has no deadline for a whole delivery, and dropping a delivery
//! half-way would put a connection back into the pool whose next answer belongs to the last mail.
//! So a delivery runs in a task of its own, which the caller's cancellation does not reach, and
//! when the deadline passes the whole pool is replaced.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::MailError;
use super::build::SentMail;

const CONNECT: Duration = Duration::from_secs(10);
/// For one whole delivery, connecting included.
pub(super) const DELIVER: Duration = Duration::from_secs(30);
/// Connections to the server; few, because servers limit them.
const POOL: u32 = 4;

type Pool = AsyncSmtpTransport<Tokio1Executor>;

#[derive(Clone)]
pub(super) struct Smtp {
    url: Arc<SecretString>,
    pool: Arc<RwLock<Pool>>,
    deadline: Duration,
}

impl Smtp {
    pub fn new(url: &SecretString) -> Result<Self, MailError> {
        let pool = connect(url)?;
        Ok(Smtp {
            url: Arc::new(url.clone()),
            pool: Arc::new(RwLock::new(pool)),
            deadline: DELIVER,
        })
    }

    #[cfg(test)]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Smtp { deadline, ..self }
    }

    pub async fn send(&self, mail: SentMail) -> Result<(), MailError> {
        self.run(move |pool| async move { pool.send(mail.message).await.map(|_| true) })
            .await
    }

    /// Connects, greets and signs in.
    pub async fn check(&self) -> Result<(), MailError> {
        self.run(|pool| async move { pool.test_connection().await }).await
    }

    async fn run<F, Fut>(&self, work: F) -> Result<(), MailError>
    where
        F: FnOnce(Pool) -> Fut,
        Fut: Future<Output = Result<bool, Error>> + Send + 'static,
    {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let working = work(pool);
        let smtp = self.clone();
        let task = crate::task::spawn(async move {
            match tokio::time::timeout(smtp.deadline, working).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(temporary("the mail server does not answer")),
                Ok(Err(error)) => Err(classify(&error)),
                Err(_) => {
                    smtp.start_over();
                    Err(temporary("the mail server took too long"))
                }
            }
        });
        task.await
            .unwrap_or_else(|_| Err(temporary("the delivery was interrupted")))
    }

    fn start_over(&self) {
        if let Ok(pool) = connect(&self.url) {
            *self.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
        }
    }
}

fn connect(url: &SecretString) -> Result<Pool, MailError> {
    // `tls=none` is our word for "in clear, on purpose", which the library expresses by silence.
    let bad = |_| MailError::Backend("SMTP_URL cannot be read".to_owned());
    let mut url = Url::parse(url.expose_secret()).map_err(bad)?;
    if url
        .query_pairs()
        .any(|(key, value)| key == "tls" && value == "none")
    {
        url.set_query(None);
    }
    let builder =
        Pool::from_url(url.as_str()).map_err(|_| MailError::Backend("SMTP_URL cannot be used".to_owned()))?;
    let pool = PoolConfig::new()
        .max_size(POOL)
        .idle_timeout(Duration::from_secs(30));
    Ok(builder.timeout(Some(CONNECT)).pool_config(pool).build())
}

fn temporary(reason: &str) -> MailError {
    MailError::Temporary {
        reason: reason.to_owned(),
    }
}

/// Only the status goes into the reason: a server's text may repeat the address. A refused sign-in
/// is the operator's fault, not the mail's, and heals when he mends it.
fn classify(error: &Error) -> MailError {
    tracing::debug!(%error, "mail delivery failed");
    let status = error.status().map(|code| code.to_string());
    match status.as_deref() {
        Some(code @ ("530" | "534" | "535" | "538")) => {
            temporary(&format!("the mail server refuses our user or password ({code})"))
        }
        Some(code) if error.is_permanent() => MailError::Permanent {
            reason: format!("the mail server refused the mail ({code})"),
        },
        Some(code) => temporary(&format!("the mail server is not ready ({code})")),
        None if error.is_tls() => temporary("TLS with the mail server failed"),
        None if error.is_timeout() => temporary("the mail server took too long"),
        None if error.is_client() => MailError::Permanent {
            reason: "the mail server cannot take this kind of mail".to_owned(),
        },
        None => temporary("the mail server cannot be reached"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use chrono::DateTime;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::build;
    use super::super::template::Rendered;
    use super::*;

    /// A mail server that answers as told: one answer for `RCPT`, `None` never answers.
    async fn smtp_server(rcpt: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        crate::task::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                crate::task::spawn(talk(stream, rcpt));
            }
        });
        address
    }

    async fn talk(mut stream: TcpStream, rcpt: Option<&'static str>) -> std::io::Result<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await?;
        let mut in_data = false;
        while let Some(line) = lines.next_line().await? {
            let answer = match line.get(..4).unwrap_or("") {
                _ if in_data && line != "." => continue,
                "DATA" => {
                    in_data = true;
                    "354 go on"
                }
                "RCPT" => match rcpt {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                },
                "QUIT" => "221 bye",
                _ => {
                    in_data = false;
                    "250 ok"
                }
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    async fn over_smtp(rcpt: Option<&'static str>) -> Result<(), MailError> {
        let address = smtp_server(rcpt).await;
        let url = SecretString::from(format!("smtp://{address}"));
        let smtp = Smtp::new(&url)?.with_deadline(Duration::from_millis(500));
        let from = "Yunque <noreply@example.com>".parse().expect("an address");
        let parts = Rendered {
            subject: "s".into(),
            text: "t".into(),
            html: "h".into(),
        };
        let mail = build::build(&from, "alice@example.com", "1", DateTime::UNIX_EPOCH, parts)?;
        smtp.check().await?;
        smtp.send(mail.clone()).await?;
        smtp.send(mail).await
    }

    #[tokio::test]
    async fn smtp_answers_are_told_apart() {
        over_smtp(Some("250 ok")).await.expect("taken");
        let refused = over_smtp(Some("550 5.1.1 no such user alice@example.com"))
            .await
            .expect_err("refused");
        assert!(
            matches!(&refused, MailError::Permanent { reason } if reason == "the mail server refused the mail (550)")
        );
        let busy = over_smtp(Some("451 try later")).await.expect_err("busy");
        assert!(busy.is_temporary(), "{busy}");
        let refused = over_smtp(Some("535 wrong password"))
            .await
            .expect_err("our fault");
        assert!(refused.is_temporary(), "{refused}");
    }

    #[tokio::test]
    async fn a_mail_server_that_hangs_or_is_away_is_given_up_in_time() {
        let begun = Instant::now();
        let slow = over_smtp(None).await.expect_err("too slow");
        assert!(
            slow.is_temporary() && begun.elapsed() < Duration::from_secs(5),
            "{slow}"
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = SecretString::from(format!("smtp://{}", listener.local_addr().expect("bound")));
        drop(listener);
        let away = Smtp::new(&url)
            .expect("a URL")
            .check()
            .await
            .expect_err("nobody there");
        assert!(away.is_temporary(), "{away}");
    }
}
