//! What can go wrong in support chat, and what clients hear of it.

use yunque_kernel::image::ImageFault;
use yunque_kernel::{ApiError, Code, Coded, DbError, Text, UserId};

/// The codes of this domain.
pub mod codes {
    yunque_kernel::codes! {
        EMPTY_CONTENT = 400, "empty_content", "文本消息不能为空", "Text is required.";
        IMAGE_REQUIRED = 400, "image_required", "图片消息必须包含图片文件", "An image file is required.";
        IMAGE_TOO_LARGE = 400, "image_too_large", "图片大小不能超过10MB", "Images are limited to 10 MB.";
        CLIENT_ID_REQUIRED = 400, "validation_error", "请提供客户ID", "A client id is required.";
        NOT_PARTICIPANT = 403, "not_participant", "您没有权限在此会话中发送消息", "You may not send messages in this session.";
        AGENT_CANNOT_OPEN = 403, "agent_cannot_open", "代理不能创建聊天会话", "Agents cannot open chat sessions.";
        AGENTS_ONLY = 403, "permission_denied", "只有代理可以访问此API", "Only agents may use this.";
        HISTORY_DENIED = 403, "permission_denied", "您没有权限查看此用户的聊天记录", "You may not see this user's chat history.";
        CLEAR_DENIED = 403, "permission_denied", "您没有权限删除此会话记录", "You may not delete this session.";
        SESSION_DENIED = 403, "permission_denied", "您没有权限访问此会话", "You may not access this session.";
        DELETE_DENIED = 403, "permission_denied", "只能删除自己两分钟内发送的消息", "You may only delete your own messages, within two minutes.";
        SESSION_NOT_FOUND = 404, "not_found", "会话不存在", "Session not found.";
        MESSAGE_NOT_FOUND = 404, "not_found", "消息不存在", "Message not found.";
        HISTORY_NOT_FOUND = 404, "not_found", "未找到与该用户的聊天记录", "There is no chat history with this user.";
        SESSION_CLOSED = 409, "session_closed", "会话已关闭", "The session is closed.";
        NO_AGENT = 409, "no_agent", "您还没有专属客服，请联系管理员", "No agent is responsible for you yet.";
    }
}

/// The fault of an `agent_id` that nobody may be assigned to.
pub const NO_SUCH_AGENT: Text = Text::fixed("请选择您名下的有效代理", "Choose an active agent of your own.");

/// Errors of the support services.
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    #[error("no such session")]
    SessionNotFound,
    #[error("no such message in this session")]
    MessageNotFound,
    #[error("no session with this customer")]
    HistoryNotFound,
    #[error("not a participant")]
    NotParticipant,
    #[error("neither a participant nor an ancestor of the agent")]
    SessionDenied,
    #[error("neither the customer's agent nor above")]
    HistoryDenied,
    #[error("neither the agent nor an admin")]
    ClearDenied,
    #[error("not the sender, or too late")]
    DeleteDenied,
    #[error("agents have no session of their own")]
    AgentCannotOpen,
    #[error("not an agent")]
    AgentsOnly,
    #[error("only customers open sessions")]
    CustomersOnly,
    #[error("the customer has no agent")]
    NoAgent,
    #[error("the session is closed")]
    Closed,
    #[error("no text")]
    EmptyContent,
    #[error("no image")]
    ImageRequired,
    #[error("the image is larger than allowed")]
    ImageTooLarge,
    #[error("not an active agent in the caller's subtree")]
    NoSuchAgent,
    /// Not for clients: the agent is another one than was looked up; look again.
    #[error("the agent changed to {0:?} meanwhile")]
    AgentIs(Option<UserId>),
    #[error(transparent)]
    Image(#[from] ImageFault),
    #[error(transparent)]
    Storage(#[from] yunque_kernel::storage::StorageError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Coded for SupportError {
    fn code(&self) -> Code {
        match self {
            SupportError::SessionNotFound => codes::SESSION_NOT_FOUND,
            SupportError::MessageNotFound => codes::MESSAGE_NOT_FOUND,
            SupportError::HistoryNotFound => codes::HISTORY_NOT_FOUND,
            SupportError::NotParticipant => codes::NOT_PARTICIPANT,
            SupportError::SessionDenied => codes::SESSION_DENIED,
            SupportError::HistoryDenied => codes::HISTORY_DENIED,
            SupportError::ClearDenied => codes::CLEAR_DENIED,
            SupportError::DeleteDenied => codes::DELETE_DENIED,
            SupportError::AgentCannotOpen => codes::AGENT_CANNOT_OPEN,
            SupportError::AgentsOnly => codes::AGENTS_ONLY,
            SupportError::CustomersOnly => yunque_kernel::error::common::PERMISSION_DENIED,
            SupportError::NoAgent => codes::NO_AGENT,
            SupportError::Closed => codes::SESSION_CLOSED,
            SupportError::EmptyContent => codes::EMPTY_CONTENT,
            SupportError::ImageRequired => codes::IMAGE_REQUIRED,
            SupportError::ImageTooLarge => codes::IMAGE_TOO_LARGE,
            SupportError::NoSuchAgent => yunque_kernel::error::common::VALIDATION_ERROR,
            SupportError::AgentIs(_) => yunque_kernel::error::common::SERVICE_UNAVAILABLE,
            SupportError::Image(e) => e.code(),
            SupportError::Storage(e) => e.code(),
            SupportError::Db(e) => e.code(),
        }
    }

    /// Every 400 names its field.
    fn decorate(&self, mut error: ApiError) -> ApiError {
        let field = match self {
            SupportError::EmptyContent => "content",
            SupportError::ImageRequired | SupportError::ImageTooLarge => "image",
            SupportError::Image(ImageFault::Stopping) => return error,
            SupportError::Image(_) => "image",
            SupportError::NoSuchAgent => {
                error.text = NO_SUCH_AGENT;
                "agent_id"
            }
            SupportError::Storage(e) => return e.decorate(error),
            _ => return error,
        };
        error.faults.add_coded_text(field, error.code, error.text.clone());
        error
    }
}
