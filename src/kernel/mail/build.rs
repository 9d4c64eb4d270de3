//! From rendered texts to a message, with nothing in the headers that could start another one.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::MailError;
use super::template::Rendered;

/// RFC 5321: 64 for the local part, 255 for the domain, and the `@`.
const ADDRESS_MAX: usize = 320;

/// A finished mail, as backends take it and tests look at it.
#[derive(Clone, Debug)]
pub struct SentMail {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// With all headers, as it goes over the wire.
    pub raw: Vec<u8>,
    pub(super) message: Message,
}

/// Whether mail can be sent to this address at all. Stricter than what an account may have:
/// quoted local parts and control characters are out.
pub fn is_mailable(address: &str) -> bool {
    address.len() <= ADDRESS_MAX
        && !address
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>' | ','))
        && Address::from_str(address).is_ok()
}

/// `alice@example.com` → `a***@example.com`; for logs and notices.
pub fn mask_address(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}***@{domain}", local.chars().take(1).collect::<String>()),
        None => "***".to_owned(),
    }
}

/// * `id`: becomes the `Message-ID`; the same for every attempt, so that receivers can recognise a
///   mail that was sent twice.
pub(super) fn build(
    from: &Mailbox,
    to: &str,
    id: &str,
    now: DateTime<Utc>,
    rendered: Rendered,
) -> Result<SentMail, MailError> {
    if !is_mailable(to) {
        return Err(MailError::Malformed("the address cannot be mailed"));
    }
    let Rendered { subject, text, html } = rendered;
    if subject.is_empty() || subject.chars().any(char::is_control) {
        return Err(MailError::Malformed(
            "the subject is empty or has control characters",
        ));
    }
    let address = Address::from_str(to).map_err(|_| MailError::Malformed("the address cannot be mailed"))?;
    // Keeps vacation replies and other robots from answering (RFC 3834).
    let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, address))
        .subject(subject.as_str())
        .date(now.into())
        .message_id(Some(format!("<mail.{id}@{}>", from.email.domain())))
        .raw_header(HeaderValue::new(auto_submitted, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(text.clone(), html.clone()))
        .map_err(|_| MailError::Malformed("the message lacks a sender or a recipient"))?;
    Ok(SentMail {
        to: to.to_owned(),
        subject,
        text,
        html,
        raw: message.formatted(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(to: &str, subject: &str) -> Result<SentMail, MailError> {
        let from = "云雀 <noreply@example.com>".parse().expect("an address");
        let rendered = Rendered {
            subject: subject.into(),
            text: "text".into(),
            html: "<p>text</p>".into(),
        };
        build(&from, to, "7", DateTime::UNIX_EPOCH, rendered)
    }

    #[test]
    fn headers_cannot_be_injected() {
        for to in [
            "a@b.cn\r\nBcc: v@x.cn",
            "a@b.cn\nBcc: v@x.cn",
            "a@b.cn\0",
            "a@b.cn, v@x.cn",
            "\"x\r\nSubject: y\"@b.cn",
            "\"a b\"@b.cn",
            "x <a@b.cn>",
            "a@b.cn ",
            "",
            "nobody",
        ] {
            assert!(matches!(mail(to, "s"), Err(MailError::Malformed(_))), "{to:?}");
        }
        for subject in ["", "a\r\nBcc: v@x.cn", "a\0"] {
            assert!(
                matches!(mail("a@b.cn", subject), Err(MailError::Malformed(_))),
                "{subject:?}"
            );
        }
        let raw = mail("a@b.cn", "=?utf-8?q?=0d=0aBcc:_v@x.cn?=")
            .expect("only text")
            .raw;
        let raw = String::from_utf8(raw).expect("ASCII");
        let head = raw.split("\r\n\r\n").next().expect("a head");
        assert!(
            !head.lines().any(|l| l.to_ascii_lowercase().starts_with("bcc")),
            "{head}"
        );
    }

    #[test]
    fn a_mail_has_both_parts_and_a_stable_id() {
        let mail = mail("用户@example.com", "密码已修改");
        assert!(mail.is_ok(), "addresses may be international");
        let mail = self::mail("a@b.cn", "密码已修改").expect("built");
        let raw = String::from_utf8(mail.raw).expect("ASCII");
        for part in [
            "Message-ID: <mail.7@example.com>",
            "Auto-Submitted: auto-generated",
            "text/plain",
            "text/html",
        ] {
            assert!(raw.contains(part), "{part} in {raw}");
        }
        assert!(raw.is_ascii());
    }

    #[test]
    fn addresses_are_masked() {
        assert_eq!(mask_address("alice@example.com"), "a***@example.com");
        assert_eq!(mask_address("李雷@example.com"), "李***@example.com");
        assert_eq!(mask_address("nobody"), "***");
    }
}
