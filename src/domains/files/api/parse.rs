//! From the shapes of this surface to valid uploads, with every fault collected.

use yunque_kernel::error::messages;
use yunque_kernel::http::body::Content;
use yunque_kernel::{ApiError, Faults};

use crate::Files;
use crate::dto::FileCreateIn;
use crate::error::{FilesError, codes, size_text};
use crate::names::{FileName, FolderPath, is_content_type};
use crate::service::NewUpload;
use crate::settings::SizeMismatch;
use crate::staging::{JsonContents, Spooled, Staged, Upload};
use crate::status::Source;

/// Texts up to this size together are decoded in place.
const DECODE_INLINE: usize = 64 * 1024;

/// An item whose fields are valid and whose bytes are decoded, not yet staged.
pub struct Decoded {
    labels: Labels,
    size: u64,
    bytes: Spooled,
}

/// Name, type and place: what every way of uploading has in common.
pub struct Labels {
    pub name: FileName,
    pub content_type: String,
    pub path: FolderPath,
}

/// Checks the labels; `None` with faults added.
pub fn labels(faults: &mut Faults, name: &str, content_type: &str, path: Option<&str>) -> Option<Labels> {
    let file_name = FileName::parse(name);
    if file_name.is_none() {
        faults.add("name", messages::BAD_FORMAT);
    }
    let content_type_ok = is_content_type(content_type);
    if !content_type_ok {
        faults.add("content_type", messages::BAD_FORMAT);
    }
    let folder = path.map_or_else(|| Some(FolderPath::root()), FolderPath::parse);
    if folder.is_none() {
        faults.add("path", messages::BAD_FORMAT);
    }
    match (file_name, folder) {
        (Some(name), Some(path)) if content_type_ok => Some(Labels {
            name,
            content_type: content_type.to_owned(),
            path,
        }),
        _ => None,
    }
}

/// The bytes behind base64 content; `None` with a fault added. Missing content is never right, and
/// blank content only for size 0.
fn content(faults: &mut Faults, upload: Upload, size: Option<u64>) -> Option<Spooled> {
    let code = match upload {
        Upload::Bytes(bytes) => return Some(bytes),
        Upload::Blank(bytes) if size == Some(0) => return Some(bytes),
        Upload::Blank(_) | Upload::Missing => &codes::CONTENT_REQUIRED,
        Upload::NotBase64 => &codes::INVALID_BASE64,
    };
    faults.add_coded("file_content", code);
    None
}

impl Files {
    /// Takes the contents of a JSON body in.
    pub(super) fn contents(&self) -> JsonContents {
        self.staging().contents(self.settings().max_bytes)
    }

    /// Checks one object.
    pub(super) async fn decode_one(
        &self,
        item: FileCreateIn,
        contents: JsonContents,
    ) -> Result<Decoded, ApiError> {
        let decoded = self.decode_all(vec![item], contents).await;
        let (mut items, faults) = decoded?;
        match (items.pop(), faults.into_iter().next()) {
            (Some(item), None) => Ok(item),
            (_, Some((_, faults))) => Err(faults.into_error()),
            (None, None) => Err(codes::CONTENT_REQUIRED.into()),
        }
    }

    /// Checks a batch; all faults of all items, keyed `<index>.<field>`.
    pub(super) async fn decode_batch(
        &self,
        items: Vec<FileCreateIn>,
        contents: JsonContents,
    ) -> Result<Vec<Decoded>, ApiError> {
        if items.is_empty() || items.len() > self.settings().batch_max {
            return Err(Faults::one("non_field_errors", messages::OUT_OF_RANGE));
        }
        let (items, faults) = self.decode_all(items, contents).await?;
        let mut all = Faults::new();
        for (index, inner) in faults {
            all.nest(index, inner);
        }
        all.into_result(items)
    }

    /// Long contents were decoded while they arrived; many short ones are work for a blocking thread.
    async fn decode_all(
        &self,
        items: Vec<FileCreateIn>,
        mut contents: JsonContents,
    ) -> Result<(Vec<Decoded>, Vec<(usize, Faults)>), ApiError> {
        let (max, rule) = (self.settings().max_bytes, self.settings().size_mismatch);
        let text: usize = items.iter().map(|i| text_length(i.file_content.as_ref())).sum();
        let work = move || {
            let mut decoded = Vec::with_capacity(items.len());
            let mut faulty = Vec::new();
            for (index, item) in items.into_iter().enumerate() {
                let mut faults = Faults::new();
                match decode_item(&mut faults, item, &mut contents, rule)? {
                    Some(item) if faults.is_empty() => decoded.push(item),
                    _ => faulty.push((index, faults)),
                }
            }
            let total: u64 = decoded.iter().map(|d: &Decoded| d.bytes.size).sum();
            if faulty.is_empty() && total > max {
                return Err(ApiError::from(FilesError::TooLarge));
            }
            Ok((decoded, faulty))
        };
        if text < DECODE_INLINE {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(ApiError::internal)?
    }

    /// Stages a decoded item.
    pub(super) async fn stage(&self, item: Decoded) -> Result<NewUpload, FilesError> {
        let Decoded { labels, size, bytes } = item;
        let Labels {
            name,
            content_type,
            path,
        } = labels;
        Ok(NewUpload {
            name,
            content_type,
            size,
            path,
            source: Source::Base64,
            staged: stage(bytes).await?,
        })
    }

    /// Stages new content for a file of this size.
    pub(super) async fn stage_again(
        &self,
        text: Content,
        mut contents: JsonContents,
        size: u64,
    ) -> Result<Staged, ApiError> {
        let mut faults = Faults::new();
        let Some(bytes) = content(&mut faults, contents.take(Some(text))?, Some(size)) else {
            return Err(faults.into_error());
        };
        if bytes.size != size {
            return Err(FilesError::SizeMismatch {
                declared: size,
                actual: bytes.size,
            }
            .into());
        }
        Ok(stage(bytes).await?)
    }
}

async fn stage(bytes: Spooled) -> Result<Staged, FilesError> {
    let spool = bytes.spool.ok_or(FilesError::TooLarge)?;
    Ok(spool.stage().await?)
}

fn text_length(content: Option<&Content>) -> usize {
    match content {
        Some(Content::Text(text)) => text.len(),
        _ => 0,
    }
}

fn decode_item(
    faults: &mut Faults,
    item: FileCreateIn,
    contents: &mut JsonContents,
    rule: SizeMismatch,
) -> Result<Option<Decoded>, FilesError> {
    let FileCreateIn {
        name,
        content_type,
        size,
        file_content,
        path,
    } = item;
    let labels = labels(faults, &name.0, &content_type, path.as_deref());
    let size = u64::try_from(size).ok();
    let bytes = content(faults, contents.take(file_content)?, size);
    let (Some(labels), Some(size), Some(bytes)) = (labels, size, bytes) else {
        return Ok(None);
    };
    if bytes.size != size && rule == SizeMismatch::Reject {
        faults.add_coded_text("size", codes::SIZE_MISMATCH.code, size_text(size, bytes.size));
    }
    Ok(Some(Decoded { labels, size, bytes }))
}
