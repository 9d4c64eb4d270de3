//! Errors as clients see them.
//!
//! A domain keeps its own error enum and a table of codes ([`codes!`](crate::codes)); everything
//! becomes one [`ApiError`], which stays a value until `http::render` writes it once, with the
//! language, the request id and the envelope of the contract. `Display` texts are for logs and may
//! name internals; client texts come from the tables only.

mod api_error;
mod faults;
mod lang;

pub use api_error::{ApiError, Code, Coded, Extra};
pub use faults::{Fault, Faults};
pub use lang::{Lang, Text};

/// Declares a table of error codes: one constant for each, and `ALL` for the exported list.
///
/// ```ignore
/// codes! {
///     /// The name is in use.
///     USERNAME_TAKEN = 400, "username_taken", "用户名已存在", "Username is taken.";
/// }
/// ```
#[macro_export]
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $code:literal, $zh:literal, $en:literal;)*) => {
        $($(#[$doc])* pub const $name: $crate::Code = $crate::Code {
            status: $status,
            code: $code,
            text: $crate::Text::fixed($zh, $en),
        };)*
        /// Every code of this table, for `openapi/error-codes.json`.
        pub const ALL: &[$crate::Code] = &[$($name),*];
    };
}

/// The codes that every surface shares (contract "conventions" 6).
pub mod common {
    codes! {
        VALIDATION_ERROR = 400, "validation_error", "请求参数错误", "Invalid request.";
        PARSE_ERROR = 400, "parse_error", "无效的JSON格式", "Invalid JSON.";
        NOT_AUTHENTICATED = 401, "not_authenticated", "未提供认证信息", "Authentication credentials were not provided.";
        INVALID_CREDENTIALS = 401, "invalid_credentials", "用户名或密码错误", "Incorrect username or password.";
        TOKEN_INVALID = 401, "token_invalid", "token无效或已过期", "Token is invalid or expired.";
        TOKEN_EXPIRED = 401, "token_expired", "token无效或已过期", "Token is invalid or expired.";
        TOKEN_REUSED = 401, "token_reused", "token无效或已过期", "Token is invalid or expired.";
        PERMISSION_DENIED = 403, "permission_denied", "权限不足", "Permission denied.";
        API_KEY_NOT_ALLOWED = 403, "api_key_not_allowed", "该操作不支持 API 密钥", "API keys cannot perform this action.";
        INSUFFICIENT_SCOPE = 403, "insufficient_scope", "密钥权限不足", "The key lacks the needed scope.";
        NOT_FOUND = 404, "not_found", "资源不存在", "Not found.";
        METHOD_NOT_ALLOWED = 405, "method_not_allowed", "不支持的请求方法", "Method not allowed.";
        CONFLICT = 409, "conflict", "请求冲突", "Conflict.";
        IDEMPOTENCY_IN_PROGRESS = 409, "idempotency_in_progress", "请求冲突", "A request with this key is still running.";
        PAYLOAD_TOO_LARGE = 413, "payload_too_large", "请求体过大", "Request body too large.";
        URI_TOO_LONG = 414, "uri_too_long", "请求地址过长", "Request URI too long.";
        UNSUPPORTED_MEDIA_TYPE = 415, "unsupported_media_type", "不支持的媒体类型", "Unsupported media type.";
        IDEMPOTENCY_KEY_REUSED = 422, "idempotency_key_reused", "幂等键已用于不同的请求", "The idempotency key was used for a different request.";
        THROTTLED = 429, "throttled", "请求过于频繁，请稍后再试", "Too many requests, try again later.";
        LOGIN_BLOCKED = 429, "login_blocked", "登录失败次数过多，请稍后重试", "Too many failed logins; try again later.";
        HEADERS_TOO_LARGE = 431, "headers_too_large", "请求头过大", "Request headers too large.";
        INTERNAL_ERROR = 500, "internal_error", "服务器内部错误", "Internal server error.";
        SERVICE_UNAVAILABLE = 503, "service_unavailable", "服务暂不可用", "Service unavailable.";
    }
}

/// Field messages that every surface shares.
pub mod messages {
    use super::Text;

    pub const REQUIRED: Text = Text::fixed("该字段是必填项", "This field is required.");
    pub const BLANK: Text = Text::fixed("该字段不能为空", "This field may not be blank.");
    pub const BAD_CHOICE: Text = Text::fixed("无效的选项", "Not a valid choice.");
    pub const BAD_EMAIL: Text = Text::fixed("邮箱格式不正确", "Enter a valid e-mail address.");
    pub const BAD_TYPE: Text = Text::fixed("类型错误", "Wrong type.");
    pub const BAD_FORMAT: Text = Text::fixed("格式不正确", "Wrong format.");
    pub const BAD_CHARACTER: Text =
        Text::fixed("包含不允许的字符", "Contains characters that are not allowed.");
    pub const OUT_OF_RANGE: Text = Text::fixed("数值超出范围", "Out of range.");

    /// `长度不能超过 {n} 个字符`
    pub fn too_long(n: usize) -> Text {
        Text::owned(
            format!("长度不能超过 {n} 个字符"),
            format!("At most {n} characters."),
        )
    }

    /// `长度不能少于 {n} 个字符`
    pub fn too_short(n: usize) -> Text {
        Text::owned(
            format!("长度不能少于 {n} 个字符"),
            format!("At least {n} characters."),
        )
    }

    /// `密码长度不能少于 {n} 位`
    pub fn short_password(n: usize) -> Text {
        Text::owned(
            format!("密码长度不能少于 {n} 位"),
            format!("The password needs at least {n} characters."),
        )
    }
}
