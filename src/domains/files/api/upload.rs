//! `/file/…`: the ways in. JSON with base64, multipart, presigned, and starting again.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use poem::web::Field;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::types::ToJSON;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use yunque_kernel::auth::Caller;
use yunque_kernel::error::messages;
use yunque_kernel::http::{
    Body, BodyDigest, Bucket, ContentBody, Created, Json, MultipartBody, Replayable, RequestInfo, Scope, body,
};
use yunque_kernel::{ApiError, Faults, FileId, Text};

use super::FilesTags;
use super::files::text;
use super::parse::{Labels, labels};
use crate::Files;
use crate::dto::{
    self, FileCreatedOut, FileMultipartIn, FileOut, FileUploadIn, FileUploadOut, PresignIn, PresignOut,
    RetryUploadIn, RetryUploadOut,
};
use crate::error::{FilesError, codes};
use crate::service::{NewPresign, NewUpload, Placement, PresignedUpload, Restarted};
use crate::staging::{self, Staged};
use crate::status::Source;

/// Body limit of the multipart way: the file and room for its other parts.
const MULTIPART_LIMIT: u64 = (1 << 30) + (1 << 20);
const RESTARTED: Text = Text::fixed("重新上传任务已启动", "Upload restarted.");
/// Fields of a multipart upload besides the file. Others are skipped unread.
const PLAIN_FIELDS: [&str; 3] = ["path", "content_type", "size"];
/// Longest value of one, in bytes.
const MAX_FIELD: usize = 8192;
/// How often a file that is here shows that it is wanted, while other parts come.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

pub(super) struct UploadApi {
    files: Files,
}

impl UploadApi {
    pub fn new(files: Files) -> Self {
        UploadApi { files }
    }
}

#[OpenApi(prefix_path = "/file", tag = "FilesTags::Files")]
impl UploadApi {
    /// Uploads a file, or a batch of 1 to 20, as base64 in JSON.
    ///
    /// Answers at once with `pending`; a job brings the bytes to storage, and
    /// `GET /file/upload_status/` tells how it goes. An object is answered with an object, an array
    /// with an array in the same order. A batch is accepted as a whole or not at all; its faults are
    /// keyed `<index>.<field>`. At most 50 MiB decoded, 70 MiB of body. Honours `Idempotency-Key`.
    /// Errors: 400 `invalid_base64`, `size_mismatch`, `content_required`, `quota_exceeded`, 409, 413 `file_too_large`, 422.
    #[oai(path = "/", method = "post", operation_id = "upload_files")]
    async fn upload(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: ContentBody<FileUploadIn, { body::BASE64_LIMIT }>,
    ) -> Result<Replayable<Created<FileUploadOut>>, ApiError> {
        // One before its bytes are read, and the others as soon as they can be counted.
        self.files.limits().quick(Bucket::FileCreate, caller.user_id)?;
        let received = body.read(self.files.contents()).await?;
        if let FileUploadIn::Many(items) = &received.value {
            let rest = items.len().saturating_sub(1).min(self.files.settings().batch_max);
            self.files
                .limits()
                .quick_rest(Bucket::FileCreate, caller.user_id, rest)?;
        }
        let scope = Scope::user(caller.user_id, &info)?;
        let place = Placement::of(&caller, &info.request_id);
        self.files
            .idempotency()
            .run(scope, received.digest, |claim| async move {
                let contents = received.contents;
                let (items, single) = match received.value {
                    FileUploadIn::One(item) => (vec![self.files.decode_one(item, contents).await?], true),
                    FileUploadIn::Many(items) => (self.files.decode_batch(items, contents).await?, false),
                };
                let mut uploads = Vec::with_capacity(items.len());
                for item in items {
                    uploads.push(self.files.stage(item).await?);
                }
                let rows = self
                    .files
                    .accept(place, uploads, claim, move |rows| answer(rows, single).to_json())
                    .await?;
                Ok(Created(answer(&rows, single)))
            })
            .await
    }

    /// Uploads one file as `multipart/form-data`, streamed, up to 1 GiB.
    ///
    /// The plain fields `path`, `content_type` and `size` are best sent before `file`, so that a
    /// fault in them is told before the bytes are taken; `size`, when given, must be exact. Honours
    /// `Idempotency-Key`.
    /// Errors: 400 `size_mismatch`, `content_required`, `quota_exceeded`, 409, 413 `file_too_large`, 422.
    #[oai(path = "/upload", method = "post", operation_id = "upload_file_stream")]
    async fn upload_stream(
        &self,
        caller: Caller,
        info: RequestInfo,
        mut body: MultipartBody<FileMultipartIn, MULTIPART_LIMIT>,
    ) -> Result<Replayable<Created<FileCreatedOut>>, ApiError> {
        self.files.limits().quick(Bucket::FileCreate, caller.user_id)?;
        let scope = Scope::user(caller.user_id, &info)?;
        let place = Placement::of(&caller, &info.request_id);
        let most = self.early_limit(&caller, &info).await?;
        let (upload, digest) = self.take_multipart(&mut body, most).await?;
        self.files
            .idempotency()
            .run(scope, digest, |claim| async move {
                let answer = |rows: &[crate::entity::file::Model]| rows.first().map(dto::created).to_json();
                let rows = self.files.accept(place, vec![upload], claim, answer).await?;
                let file = rows.first().ok_or(FilesError::NotFound)?;
                Ok(Created(dto::created(file)))
            })
            .await
    }

    /// Starts an upload that goes to storage directly, up to 5 GiB.
    ///
    /// Send the bytes to `upload_url` with `method` and `headers` within an hour, then call
    /// `POST /file/{id}/complete/`. The space is reserved meanwhile. Honours `Idempotency-Key`.
    /// Errors: 400 `quota_exceeded`, 409, 413 `file_too_large`, 422.
    #[oai(path = "/presign", method = "post", operation_id = "presign_file")]
    async fn presign(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<PresignIn>,
    ) -> Result<Replayable<Created<PresignOut>>, ApiError> {
        self.files.limits().quick(Bucket::FileCreate, caller.user_id)?;
        let (input, digest) = body.into_parts();
        let scope = Scope::user(caller.user_id, &info)?;
        let place = Placement::of(&caller, &info.request_id);
        self.files
            .idempotency()
            .run(scope, digest, |claim| async move {
                let mut faults = Faults::new();
                let labels = labels(
                    &mut faults,
                    &input.name.0,
                    &input.content_type,
                    input.path.as_deref(),
                );
                let Some(labels) = labels else {
                    return Err(faults.into_error());
                };
                let size = u64::try_from(input.size).unwrap_or(0);
                let new = NewPresign {
                    name: labels.name,
                    content_type: labels.content_type,
                    size,
                    path: labels.path,
                };
                let upload = self
                    .files
                    .presign(place, new, claim, |u| presigned(u).to_json())
                    .await?;
                Ok(Created(presigned(&upload)))
            })
            .await
    }

    /// Confirms a presigned upload. Repeating it is harmless.
    ///
    /// Errors: 400 `size_mismatch`, 409 `object_missing`, `not_pending`.
    #[oai(path = "/:id/complete", method = "post", operation_id = "complete_file")]
    async fn complete(&self, caller: Caller, id: Path<FileId>) -> Result<Json<FileOut>, ApiError> {
        let file = self.files.complete(caller.user_id, id.0).await?;
        Ok(Json(dto::full(&file, self.files.storage())))
    }

    /// Gives a pending upload up; its space is free again.
    ///
    /// The bytes are dropped, so starting it again takes new content.
    /// Errors: 409 `not_pending`.
    #[oai(path = "/:id/cancel", method = "post", operation_id = "cancel_file")]
    async fn cancel(&self, caller: Caller, id: Path<FileId>) -> Result<Json<FileOut>, ApiError> {
        let file = self.files.cancel(caller.user_id, id.0).await?;
        Ok(Json(dto::full(&file, self.files.storage())))
    }

    /// Starts a failed or waiting upload again, with new content or with that still staged.
    ///
    /// Honours `Idempotency-Key`.
    /// Errors: 400 `already_completed`, `content_required`, `invalid_base64`, `size_mismatch`, `quota_exceeded`, 409 `upload_in_progress`, 413, 422.
    #[oai(
        path = "/:id/retry_upload",
        method = "post",
        operation_id = "retry_file_upload"
    )]
    async fn retry_upload(
        &self,
        caller: Caller,
        info: RequestInfo,
        id: Path<FileId>,
        body: ContentBody<RetryUploadIn, { body::BASE64_LIMIT }>,
    ) -> Result<Replayable<Json<RetryUploadOut>>, ApiError> {
        self.files.limits().quick(Bucket::FileCreate, caller.user_id)?;
        let received = body.read(self.files.contents()).await?;
        let scope = Scope::user(caller.user_id, &info)?;
        let place = Placement::of(&caller, &info.request_id);
        let (id, lang) = (id.0, info.lang);
        self.files
            .idempotency()
            .run(scope, received.digest, |claim| async move {
                let size = self.files.retry_size(&place, id).await?;
                let staged = match received.value.file_content {
                    Some(text) => Some(self.files.stage_again(text, received.contents, size).await?),
                    None => None,
                };
                let answer = move |r: &Restarted| restarted(r, lang).to_json();
                let done = self.files.restart(place, id, staged, claim, answer).await?;
                Ok(Json(restarted(&done, lang)))
            })
            .await
    }
}

impl UploadApi {
    /// What is left of the caller's quota: more is refused before it is taken in. No limit for a
    /// request with a key, which may be a repeat of one that took the space, and hears its answer.
    async fn early_limit(&self, caller: &Caller, info: &RequestInfo) -> Result<Option<u64>, ApiError> {
        if info.idempotency_key()?.is_some() {
            return Ok(None);
        }
        Ok(Some(self.files.space_left(caller.user_id).await?))
    }

    /// Reads the parts as they come; the file is staged while it arrives, up to `most` bytes.
    async fn take_multipart(
        &self,
        body: &mut MultipartBody<FileMultipartIn, MULTIPART_LIMIT>,
        most: Option<u64>,
    ) -> Result<(NewUpload, BodyDigest), ApiError> {
        let mut fields = PlainFields::default();
        let mut file: Option<(FilePart, Staged)> = None;
        while let Some(part) = while_wanted(file.as_ref(), body.next()).await? {
            let name = part.name().unwrap_or_default().to_owned();
            if PLAIN_FIELDS.contains(&name.as_str()) {
                let text = while_wanted(file.as_ref(), body.text(part, MAX_FIELD)).await?;
                fields.set(&name, &text)?;
            } else if name == "file" && file.is_none() {
                let told = FilePart {
                    name: part.file_name().unwrap_or_default().to_owned(),
                    content_type: part.content_type().map(str::to_owned),
                };
                // What is wrong by now is refused before the bytes come.
                fields.labels(&told)?;
                // A file that is not as long as it was announced is refused for that first.
                let most = most.filter(|most| fields.size.is_none_or(|size| size > *most));
                file = Some((told, self.take_file(part, body.fault(), most).await?));
            } else {
                while_wanted(file.as_ref(), body.skip(part)).await?;
            }
        }
        let Some((told, staged)) = file else {
            let mut faults = Faults::new();
            faults.add_coded_text("file", codes::CONTENT_REQUIRED.code, messages::REQUIRED);
            return Err(faults.into_error());
        };
        let Labels {
            name,
            content_type,
            path,
        } = fields.labels(&told)?;
        let size = staged.size;
        if let Some(declared) = fields.size.filter(|n| *n != size) {
            return Err(FilesError::SizeMismatch {
                declared,
                actual: size,
            }
            .into());
        }
        let mut hash = Sha256::new();
        for text in [name.as_str(), &content_type, path.as_str()] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(staged.sha256);
        let upload = NewUpload {
            name,
            content_type,
            size,
            path,
            source: Source::Multipart,
            staged,
        };
        Ok((upload, BodyDigest(hash.finalize().into())))
    }

    async fn take_file(
        &self,
        part: Field,
        fault: body::RawFault,
        most: Option<u64>,
    ) -> Result<Staged, ApiError> {
        let mut intake = self.files.staging().intake();
        let mut bytes = tokio_util::io::ReaderStream::with_capacity(part.into_async_read(), 64 * 1024);
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(|e| fault.explain().caused_by(e))?;
            intake.push(chunk).await.map_err(staging::failure)?;
            if intake.size() > self.files.settings().stream_max {
                return Err(FilesError::TooLarge.into());
            }
            // What is announced need not come, but what has come is certain.
            if most.is_some_and(|most| intake.size() > most) {
                return Err(FilesError::QuotaExceeded.into());
            }
        }
        Ok(intake.finish().await.map_err(staging::failure)?)
    }
}

/// Waits for what comes after the file. It may drip in for longer than the sweep lets files be that
/// nobody refers to, so the file is touched meanwhile.
async fn while_wanted<T>(
    file: Option<&(FilePart, Staged)>,
    coming: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let mut coming = pin!(coming);
    loop {
        match timeout(TOUCH_EVERY, &mut coming).await {
            Ok(done) => return done,
            Err(_) => {
                if let Some((_, staged)) = file {
                    staged.touch().map_err(staging::failure)?;
                }
            }
        }
    }
}

/// The plain fields of a multipart upload.
#[derive(Default)]
struct PlainFields {
    path: Option<String>,
    content_type: Option<String>,
    size: Option<u64>,
}

/// What the head of the file's part says.
struct FilePart {
    name: String,
    content_type: Option<String>,
}

impl PlainFields {
    /// The fields that are there so far, together with those of the file's part.
    fn labels(&self, file: &FilePart) -> Result<Labels, ApiError> {
        let content_type = self.content_type.as_ref().or(file.content_type.as_ref());
        let content_type = content_type.map_or("application/octet-stream", String::as_str);
        let mut faults = Faults::new();
        labels(&mut faults, &file.name, content_type, self.path.as_deref()).ok_or_else(|| faults.into_error())
    }

    fn set(&mut self, name: &str, text: &str) -> Result<(), ApiError> {
        let text = text.trim();
        match name {
            "path" => self.path = Some(text.to_owned()),
            "content_type" => self.content_type = Some(text.to_owned()).filter(|t| !t.is_empty()),
            _ => {
                self.size = Some(
                    text.parse()
                        .map_err(|_| Faults::one("size", messages::BAD_TYPE))?,
                )
            }
        }
        Ok(())
    }
}

fn answer(rows: &[crate::entity::file::Model], single: bool) -> FileUploadOut {
    let mut items: Vec<FileCreatedOut> = rows.iter().map(dto::created).collect();
    match items.pop() {
        Some(item) if single => FileUploadOut::One(item),
        last => {
            items.extend(last);
            FileUploadOut::Many(items)
        }
    }
}

fn presigned(upload: &PresignedUpload) -> PresignOut {
    let FileCreatedOut {
        id,
        name,
        content_type,
        size,
        upload_status,
    } = dto::created(&upload.file);
    PresignOut {
        id,
        name,
        content_type,
        size,
        upload_status,
        upload_url: upload.link.url.clone(),
        method: upload.link.method.to_owned(),
        headers: upload.link.headers.clone().into_iter().collect(),
        expires_at: dto::time(upload.link.expires_at),
    }
}

fn restarted(restarted: &Restarted, lang: yunque_kernel::Lang) -> RetryUploadOut {
    RetryUploadOut {
        message: text(&RESTARTED, lang),
        task_id: restarted.job.to_string(),
        file_id: restarted.file.id,
        upload_status: restarted.file.status(),
    }
}
