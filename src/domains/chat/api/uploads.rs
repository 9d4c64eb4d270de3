//! `/api/chat/upload/`, and `/media/chat_files/…` for everybody who has an address: names are random,
//! so an address is the right to look.

use bytes::Bytes;
use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use yunque_kernel::auth::Caller;
use yunque_kernel::error::{common, messages};
use yunque_kernel::http::{Bucket, Created, MultipartBody, ObjectKind, ObjectReply, asked_range};
use yunque_kernel::{ApiError, Faults, Text};

use super::ChatTags;
use crate::Chat;
use crate::dto::{ChatUploadIn, ChatUploadOut};

/// Contract "chat" 1.3: exactly 20 MiB are allowed.
const MAX_FILE: usize = 20 << 20;
/// The file, and room for what is around it.
const MULTIPART_LIMIT: u64 = (MAX_FILE as u64) + (1 << 20);
/// Bodies up to this size need no room of their own.
const SMALL: u64 = 256 * 1024;
const ONE_FILE: Text = Text::fixed("只能上传一个文件", "Only one file can be uploaded.");

/// A file on its way to a client.
struct ChatFile;

impl ObjectKind for ChatFile {
    const MEDIA_TYPE: &'static str = "application/octet-stream";
    const DESCRIPTION: &'static str = "The file.";
    /// A name is never used again, so what it shows never changes.
    const CACHE_CONTROL: &'static str = "public, max-age=31536000, immutable";
    const CONTENT_SECURITY_POLICY: &'static str = "default-src 'none'; sandbox";
}

pub(super) struct UploadsApi {
    chat: Chat,
}

impl UploadsApi {
    pub fn new(chat: Chat) -> Self {
        UploadsApi { chat }
    }
}

#[OpenApi(tag = "ChatTags::Chat")]
impl UploadsApi {
    /// Uploads a file of at most 20 MiB that is to be sent; its address goes into a message.
    ///
    /// It counts against the caller's quota. `message_type` is `image` for JPEG, PNG, GIF and WebP by
    /// content, whose metadata are removed, else `file`. A file that no message shows after 24 hours
    /// is removed, as is one whose last message is deleted.
    /// Errors: 400 `quota_exceeded`, 403, 413.
    #[oai(path = "/api/chat/upload", method = "post", operation_id = "upload_chat_file")]
    async fn upload(
        &self,
        caller: Caller,
        body: MultipartBody<ChatUploadIn, MULTIPART_LIMIT>,
    ) -> Result<Created<ChatUploadOut>, ApiError> {
        // Before megabytes are read for nothing.
        self.chat.admit(&caller).await?;
        self.chat.ctx().limits.quick(Bucket::FileCreate, caller.user_id)?;
        let (name, bytes) = read_file(body).await?;
        Ok(Created(self.chat.upload(&caller, &name, bytes).await?))
    }

    /// Sends a file of a chat room to whoever has its address; what is no picture, as a download.
    ///
    /// One byte range is supported. Outside of the rate limits.
    /// Errors: 404, 416 `range_not_satisfiable`.
    #[oai(
        path = "/media/chat_files/:file",
        method = "get",
        operation_id = "get_chat_file"
    )]
    async fn file(&self, request: &Request, file: Path<String>) -> Result<ObjectReply<ChatFile>, ApiError> {
        let opened = self.chat.open_upload(&file.0, asked_range(request)).await?;
        let opened = opened.ok_or(common::NOT_FOUND)?;
        Ok(ObjectReply::new(
            opened.object,
            opened.content_type,
            opened.disposition,
        ))
    }
}

/// The name and the bytes of the part `file`. The body is read to its end before anything is refused
/// for its size, so that the connection stays usable.
async fn read_file(
    mut body: MultipartBody<ChatUploadIn, MULTIPART_LIMIT>,
) -> Result<(String, Bytes), ApiError> {
    let largest = MAX_FILE as u64;
    let expected = body.declared().unwrap_or(largest).min(largest);
    if expected > SMALL {
        // What came, and for pictures what is left of it after the cleaning.
        body.hold(expected * 2).await?;
    }
    let mut file = None;
    while let Some(part) = body.next().await? {
        if part.name() != Some("file") {
            body.skip(part).await?;
            continue;
        }
        if file.is_some() {
            return Err(Faults::one("file", ONE_FILE));
        }
        let name = part.file_name().unwrap_or_default().to_owned();
        file = Some((name, body.bytes(part, MAX_FILE).await?));
    }
    let (name, bytes) = file.ok_or_else(|| Faults::one("file", messages::REQUIRED))?;
    Ok((name, bytes.ok_or(common::PAYLOAD_TOO_LARGE)?))
}
