//! Files that are uploaded to be sent.
//!
//! The row comes first, and with it the space is taken; then the bytes are stored. So there is no
//! object that nobody knows of, whatever happens in between: a row that no message has used after a
//! day is swept, with its object if there is one. A file goes with the last message that shows it.
//! Its removal is a job, which locks users before anything else, as everybody does.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::stream;
use yunque_kernel::auth::Caller;
use yunque_kernel::image::{Format, Limits};
use yunque_kernel::queue::{Job, JobError, NewJob};
use yunque_kernel::storage::{ByteRange, GetObject, attachment};
use yunque_kernel::{DbError, Tx, UserId};

use super::append::Draft;
use crate::dto::ChatUploadOut;
use crate::jobs::PurgeChatFiles;
use crate::kinds::MessageType;
use crate::repo::{self, NewUpload};
use crate::{Chat, ChatError, Core};

/// Below `media/`.
const FOLDER: &str = "chat_files/";
/// What is told of files that are no pictures; nothing a client says is trusted.
const PLAIN: &str = "application/octet-stream";
/// Extension of names that have none of their own.
const NO_EXTENSION: &str = "bin";
/// Characters of `chat_uploads.file_name`.
const MAX_NAME: usize = 255;
/// A file that no message shows after this long is not going to be sent.
const UNUSED: TimeDelta = TimeDelta::hours(24);
const PAGE: u64 = 500;

/// A stored file on its way to whoever has its address.
pub(crate) struct OpenedUpload {
    pub object: GetObject,
    pub content_type: &'static str,
    /// The value of `Content-Disposition`; pictures are shown.
    pub disposition: Option<String>,
}

impl Chat {
    /// Stores a file under an address that nobody can guess. Pictures lose what nobody else should
    /// know, such as where they were taken, unless they are too damaged for that.
    ///
    /// # Errors
    /// `GroupRequired`, `QuotaExceeded`; storage failed.
    pub(crate) async fn upload(
        &self,
        caller: &Caller,
        file_name: &str,
        bytes: Bytes,
    ) -> Result<ChatUploadOut, ChatError> {
        self.admit(caller).await?;
        let ctx = self.ctx();
        let format = Format::sniff(&bytes);
        let bytes = match format {
            Some(_) => match ctx.images.clean(bytes.clone(), Limits::default()).await {
                Ok(clean) => Bytes::from(clean.bytes),
                Err(_) => bytes,
            },
            None => bytes,
        };
        let file_name = file_name_of(file_name);
        let extension = match format {
            Some(format) => format.extension().to_owned(),
            None => extension_of(&file_name),
        };
        let file = format!("{FOLDER}{}.{extension}", uuid::Uuid::new_v4().simple());
        let content_type = format.map_or(PLAIN, Format::content_type);
        let size = bytes.len() as u64;
        let new = NewUpload {
            user: caller.user_id,
            file: file.clone(),
            file_name: file_name.clone(),
            content_type: content_type.to_owned(),
            size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
        };
        let id = self.core().reserve_upload(new, size).await?;
        let body = stream::iter([Ok(bytes)]);
        if let Err(error) = ctx
            .storage
            .put(&object_key(&file), content_type, size, body)
            .await
        {
            self.core().give_up_upload(id).await;
            return Err(error.into());
        }
        Ok(ChatUploadOut {
            file_url: format!("{}/{}", ctx.public_base_url, object_key(&file)),
            file_name,
            file_size: i64::try_from(size).unwrap_or(i64::MAX),
            message_type: match format {
                Some(_) => MessageType::Image,
                None => MessageType::File,
            },
        })
    }

    /// A file by the last part of its address; `None` for names of nothing.
    ///
    /// # Errors
    /// Storage failed, or has not got it.
    pub(crate) async fn open_upload(
        &self,
        name: &str,
        range: Option<ByteRange>,
    ) -> Result<Option<OpenedUpload>, ChatError> {
        let Some(extension) = extension_of_ours(name) else {
            return Ok(None);
        };
        let file = format!("{FOLDER}{name}");
        let (content_type, disposition) = match Format::from_extension(extension) {
            Some(format) => (format.content_type(), None),
            None => match repo::find_upload(self.ctx().db.reader(), &file).await? {
                Some(row) => (PLAIN, Some(attachment(&row.file_name))),
                None => return Ok(None),
            },
        };
        let object = self.ctx().storage.get(&object_key(&file), range).await?;
        Ok(Some(OpenedUpload {
            object,
            content_type,
            disposition,
        }))
    }
}

impl Chat {
    /// Bytes of a user's quota that his files here take; for whoever recomputes what he uses.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn space_of(&self, tx: &Tx, user: UserId) -> Result<u64, DbError> {
        let bytes = repo::sum_uploads(tx, user).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

impl Core {
    /// The upload that an address leads to, if it is one of ours. Outside of transactions; no query for
    /// addresses elsewhere.
    pub(crate) async fn upload_of(&self, file_url: &str) -> Result<Option<i64>, DbError> {
        let Some(file) = file_of(&self.ctx.public_base_url, file_url) else {
            return Ok(None);
        };
        let found = repo::find_upload(self.ctx.db.reader(), &file).await?;
        Ok(found.map(|upload| upload.id))
    }

    /// Lets new messages point to uploads only if those stay: one that nobody used for a day may be on its way out.
    pub(super) async fn keep_uploads(&self, tx: &Tx, drafts: &mut [Draft]) -> Result<(), DbError> {
        let shown = drafts.iter().filter_map(|draft| draft.file.as_ref()?.upload);
        let shown: Vec<i64> = shown.collect();
        if shown.is_empty() {
            return Ok(());
        }
        let staying = repo::lock_staying(tx, &shown).await?;
        for file in drafts.iter_mut().filter_map(|draft| draft.file.as_mut()) {
            file.upload = file.upload.filter(|id| staying.contains(id));
        }
        Ok(())
    }

    /// Counts new messages that show uploads; one id for each of them.
    pub(crate) async fn use_uploads(&self, tx: &Tx, ids: &[i64]) -> Result<(), DbError> {
        let mut uses: BTreeMap<i64, i32> = BTreeMap::new();
        for id in ids {
            *uses.entry(*id).or_default() += 1;
        }
        if uses.is_empty() {
            return Ok(());
        }
        repo::update_uses(tx, &uses).await
    }

    /// One message less shows an upload; with the last one it goes.
    pub(crate) async fn drop_upload(&self, tx: &Tx, id: i64) -> Result<(), DbError> {
        if repo::claim_unused(tx, id).await? {
            let job = NewJob::new(&PurgeChatFiles { upload_id: id });
            self.ctx.queue.enqueue(tx, job).await?;
        }
        Ok(())
    }

    async fn reserve_upload(&self, new: NewUpload, size: u64) -> Result<i64, ChatError> {
        let core = self.clone();
        let reserve = move |tx: Tx| {
            let (core, new) = (core.clone(), new.clone());
            async move {
                if !core.accounts.reserve_space(&tx, new.user, size).await? {
                    return Err(ChatError::QuotaExceeded);
                }
                Ok(repo::insert_upload(&tx, new, core.now()).await?)
            }
        };
        self.ctx.db.write("chat.reserve_upload", reserve).await
    }

    /// An upload that came to nothing. Should this fail, the sweep does it.
    async fn give_up_upload(&self, id: i64) {
        let core = self.clone();
        let give_up = move |tx: Tx| {
            let core = core.clone();
            async move { core.drop_upload(&tx, id).await }
        };
        if let Err(e) = self.ctx.db.write("chat.give_up_upload", give_up).await {
            tracing::warn!(error = %e, upload.id = id, "an upload that failed stays until it is swept");
        }
    }

    /// Removes the object of a file that is to go, then its row, and gives its space back.
    pub(crate) async fn purge_upload(&self, id: i64) -> Result<(), JobError> {
        let Some(upload) = repo::find_going(self.ctx.db.reader(), id).await? else {
            return Ok(());
        };
        self.ctx.storage.delete(&object_key(&upload.file)).await?;
        let (core, user) = (self.clone(), UserId(upload.user_id));
        let size = u64::try_from(upload.size_bytes).unwrap_or(0);
        let remove = move |tx: Tx| {
            let core = core.clone();
            async move {
                core.accounts.lock_user(&tx, user).await?;
                if repo::delete_going(&tx, id).await? {
                    core.accounts.release_space(&tx, user, size).await?;
                }
                Ok::<_, DbError>(())
            }
        };
        Ok(self.ctx.db.write("chat.purge_upload", remove).await?)
    }

    /// Lets files go that were never sent, and those whose job was lost.
    pub(crate) async fn sweep_uploads(&self) -> Result<usize, DbError> {
        let before = self.now() - UNUSED;
        let mut swept = 0;
        loop {
            let core = self.clone();
            let claim = move |tx: Tx| {
                let core = core.clone();
                async move {
                    let ids = repo::claim_stale(&tx, before, PAGE).await?;
                    let jobs = ids
                        .iter()
                        .map(|id| NewJob::new(&PurgeChatFiles { upload_id: *id }));
                    core.ctx.queue.enqueue_many(&tx, jobs.collect()).await?;
                    Ok::<_, DbError>(ids.len())
                }
            };
            let claimed = self.ctx.db.write("chat.sweep_uploads", claim).await?;
            swept += claimed;
            if claimed == 0 {
                break;
            }
        }
        Ok(swept + self.revive_purges().await?)
    }

    async fn revive_purges(&self) -> Result<usize, DbError> {
        let (mut revived, mut after) = (0, 0);
        loop {
            let page = repo::list_going(self.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(revived);
            };
            after = *last;
            let subjects: Vec<String> = page.iter().map(|id| upload_subject(*id)).collect();
            let live = self
                .ctx
                .queue
                .unfinished_among(PurgeChatFiles::KIND, &subjects)
                .await?;
            for id in page.into_iter().filter(|id| !live.contains(&upload_subject(*id))) {
                let job = NewJob::new(&PurgeChatFiles { upload_id: id }).dedupe(format!("purge_chat:{id}"));
                revived += usize::from(self.enqueue_alone(job).await?);
            }
        }
    }

    /// Enqueues a job that was lost.
    pub(super) async fn enqueue_alone(&self, job: NewJob) -> Result<bool, DbError> {
        let queue = self.ctx.queue.clone();
        let enqueue = move |tx: Tx| {
            let (queue, job) = (queue.clone(), job.clone());
            async move { queue.enqueue(&tx, job).await.map(|id| id.is_some()) }
        };
        self.ctx.db.write("chat.revive", enqueue).await
    }

    /// Subjects of the files that are to go.
    pub(crate) async fn expected_purges(&self) -> Result<Vec<String>, DbError> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = repo::list_going(self.ctx.db.reader(), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = *last;
            all.extend(page.into_iter().map(upload_subject));
        }
    }
}

pub(crate) fn upload_subject(id: i64) -> String {
    format!("upload:{id}")
}

/// Where a file lies in storage; its address below the public base as well.
fn object_key(file: &str) -> String {
    format!("media/{file}")
}

/// The key of the file that an address of ours leads to.
fn file_of(public_base_url: &str, file_url: &str) -> Option<String> {
    let path = file_url.strip_prefix(public_base_url)?.strip_prefix("/media/")?;
    let name = path.strip_prefix(FOLDER)?;
    extension_of_ours(name).map(|_| path.to_owned())
}

/// The extension of a name of our own making; `None` for all others.
fn extension_of_ours(name: &str) -> Option<&str> {
    let (id, extension) = name.split_once('.')?;
    let is_ours = id.len() == 32
        && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && is_plain_extension(extension);
    is_ours.then_some(extension)
}

fn is_plain_extension(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z'))
}

/// What a client calls its file, as far as that is a name.
fn file_name_of(text: &str) -> String {
    let base = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    match clean.trim() {
        "" | "." | ".." => "file".to_owned(),
        name => name.to_owned(),
    }
}

/// The extension of a file that is no picture of ours, and so does not end like one.
fn extension_of(file_name: &str) -> String {
    let extension = file_name.rsplit_once('.').map(|(_, end)| end.to_lowercase());
    extension
        .filter(|end| is_plain_extension(end) && Format::from_extension(end).is_none())
        .unwrap_or_else(|| NO_EXTENSION.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_our_own_making_are_uploads() {
        let base = "https://a.b";
        let name = "0123456789abcdef0123456789abcdef";
        let of = |url: String| file_of(base, &url);
        assert_eq!(
            of(format!("{base}/media/chat_files/{name}.pdf")),
            Some(format!("chat_files/{name}.pdf"))
        );
        for bad in [
            format!("https://a.b.c/media/chat_files/{name}.pdf"),
            format!("{base}/media/chat_images/{name}.png"),
            format!("{base}/media/chat_files/{name}"),
            format!("{base}/media/chat_files/{name}.pdf?x=1"),
            format!("{base}/media/chat_files/../{name}.pdf"),
            format!("{base}/media/chat_files/{name}x.pdf"),
            format!("{base}/media/chat_files/{name}.tar.gz"),
            format!("{base}/media/chat_files/{}.pdf", name.to_uppercase()),
        ] {
            assert_eq!(of(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn names_of_clients_are_tamed() {
        for (text, name, extension) in [
            ("报告.PDF", "报告.PDF", "pdf"),
            ("../../etc/passwd", "passwd", "bin"),
            ("C:\\x\\run.exe", "run.exe", "exe"),
            ("not really.png", "not really.png", "bin"),
            ("a.b c", "a.b c", "bin"),
            ("a\u{7}.txt", "a.txt", "txt"),
            ("", "file", "bin"),
            ("..", "file", "bin"),
        ] {
            let kept = file_name_of(text);
            assert_eq!((kept.as_str(), extension_of(&kept).as_str()), (name, extension));
        }
        assert_eq!(file_name_of(&"文".repeat(300)).chars().count(), MAX_NAME);
    }
}
