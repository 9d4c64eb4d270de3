//! Mails of this domain; notices about accounts come with the kernel.

use serde::{Deserialize, Serialize};
use yunque_kernel::mail_template;

/// A code that resets the password. Holds nothing that the receiver wrote: anybody may have it sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResetCode {
    /// 6 digits.
    pub code: String,
    /// How long it is valid.
    pub minutes: i64,
    /// Where it was asked for.
    pub ip: String,
}

mail_template!(
    ResetCode,
    "accounts.reset_code",
    "重置密码验证码",
    "Your password reset code",
    "reset_code.txt",
    "reset_code.html",
    secret
);
