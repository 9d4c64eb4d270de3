//! What a domain writes for each kind of mail, and the frame around it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::MailError;
use crate::error::Lang;

/// One kind of mail: its values, and its texts in both languages.
///
/// `html` returns the inside of the body; the kernel puts page and footer around it. Values are
/// stored between queueing and sending, so a changed shape gets a new `NAME`.
pub trait Template: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Stored with every mail: `<domain>.<mail>`.
    const NAME: &'static str;

    /// The values hold a code or a link that signs in: they are removed also when the mail finally
    /// failed, so an operator cannot send it again.
    const IS_SECRET: bool = false;

    /// Must not repeat text that a user wrote.
    fn subject(&self, lang: Lang) -> String;

    /// # Errors
    /// As askama says.
    fn text(&self, lang: Lang) -> askama::Result<String>;

    /// # Errors
    /// As askama says.
    fn html(&self, lang: Lang) -> askama::Result<String>;
}

/// Implements [`Template`] with two askama files, which see the struct as `m` and the language as
/// the flag `en`. Files lie in the `dirs` of the crate's `askama.toml`; `.html` escapes, `.txt`
/// does not. The crate needs `askama` as a dependency.
///
/// ```ignore
/// mail_template!(PasswordChanged, "accounts.password_changed",
///     "密码已修改", "Your password was changed", "password_changed.txt", "password_changed.html");
/// ```
/// A trailing `secret` marks the values as secret.
#[macro_export]
macro_rules! mail_template {
    ($ty:ty, $name:literal, $zh:literal, $en:literal, $text:tt, $html:tt) => {
        $crate::mail_template!(@impl $ty, $name, $zh, $en, $text, $html, false);
    };
    ($ty:ty, $name:literal, $zh:literal, $en:literal, $text:tt, $html:tt, secret) => {
        $crate::mail_template!(@impl $ty, $name, $zh, $en, $text, $html, true);
    };
    (@impl $ty:ty, $name:literal, $zh:literal, $en:literal, $text:tt, $html:tt, $secret:literal) => {
        impl $crate::mail::Template for $ty {
            const NAME: &'static str = $name;
            const IS_SECRET: bool = $secret;

            fn subject(&self, lang: $crate::Lang) -> String {
                match lang {
                    $crate::Lang::Zh => $zh.to_owned(),
                    $crate::Lang::En => $en.to_owned(),
                }
            }

            fn text(&self, lang: $crate::Lang) -> askama::Result<String> {
                #[derive(askama::Template)]
                #[template(path = $text)]
                struct View<'a> {
                    m: &'a $ty,
                    en: bool,
                }
                askama::Template::render(&View { m: self, en: lang == $crate::Lang::En })
            }

            fn html(&self, lang: $crate::Lang) -> askama::Result<String> {
                #[derive(askama::Template)]
                #[template(path = $html)]
                struct View<'a> {
                    m: &'a $ty,
                    en: bool,
                }
                askama::Template::render(&View { m: self, en: lang == $crate::Lang::En })
            }
        }
    };
}

/// A mail with its frame, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}

#[derive(askama::Template)]
#[template(path = "frame.html")]
struct HtmlFrame<'a> {
    lang: &'a str,
    subject: &'a str,
    body: &'a str,
    footer: &'a str,
}

#[derive(askama::Template)]
#[template(path = "frame.txt")]
struct TextFrame<'a> {
    body: &'a str,
    footer: &'a str,
}

type Render = Arc<dyn Fn(Value, Lang) -> Result<Rendered, MailError> + Send + Sync>;

/// The templates of a process, by name.
#[derive(Default)]
pub(super) struct Templates(RwLock<HashMap<&'static str, Render>>);

impl Templates {
    pub fn add<T: Template>(&self) {
        let render: Render = Arc::new(|values, lang| {
            let mail: T = serde_json::from_value(values)?;
            Ok(Rendered {
                subject: mail.subject(lang),
                text: mail.text(lang)?,
                html: mail.html(lang)?,
            })
        });
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(T::NAME, render);
    }

    pub fn knows(&self, name: &str) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name)
    }

    pub fn render(&self, name: &str, values: Value, lang: Lang, sender: &str) -> Result<Rendered, MailError> {
        let render = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        let render = render.ok_or_else(|| MailError::UnknownTemplate(name.to_owned()))?;
        let Rendered { subject, text, html } = render(values, lang)?;
        let footer = match lang {
            Lang::Zh => format!("此邮件由 {sender} 自动发送，请勿回复。"),
            Lang::En => format!("Sent automatically by {sender}; replies are not read."),
        };
        let html_frame = HtmlFrame {
            lang: lang.tag(),
            subject: &subject,
            body: &html,
            footer: &footer,
        };
        let html = askama::Template::render(&html_frame)?;
        let text = askama::Template::render(&TextFrame {
            body: text.trim(),
            footer: &footer,
        })?;
        Ok(Rendered { subject, text, html })
    }
}
