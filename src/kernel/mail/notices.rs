//! Mails that the kernel brings: notices about accounts, and the test mail of `doctor`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::mail_template;

/// To the owner, after the password was changed by anyone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PasswordChanged {
    pub username: String,
    pub changed_at: DateTime<Utc>,
    /// Where the change came from, unless it was a command on the server.
    pub ip: Option<String>,
}

mail_template!(
    PasswordChanged,
    "account.password_changed",
    "密码已修改",
    "Your password was changed",
    "password_changed.txt",
    "password_changed.html"
);

/// To the **old** address, after an account's address was changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmailChanged {
    pub username: String,
    /// Masked ([`super::mask_address`]): whoever reads the old mailbox need not learn the new one.
    pub new_address: String,
    pub changed_at: DateTime<Utc>,
    pub ip: Option<String>,
}

mail_template!(
    EmailChanged,
    "account.email_changed",
    "邮箱已更改",
    "Your e-mail address was changed",
    "email_changed.txt",
    "email_changed.html"
);

/// Shows an operator that mail works.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TestMail {
    pub sent_at: DateTime<Utc>,
}

mail_template!(
    TestMail,
    "system.test",
    "邮件测试",
    "Mail test",
    "test.txt",
    "test.html"
);
