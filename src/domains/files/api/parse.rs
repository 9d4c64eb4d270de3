//! From the shapes of this surface to valid uploads, with every fault collected.

use bytes::Bytes;
use yunque_kernel::error::messages;
use yunque_kernel::{ApiError, Faults};

use crate::Files;
use crate::decode;
use crate::dto::FileCreateIn;
use crate::error::{FilesError, codes, size_text};
use crate::names::{FileName, FolderPath, is_content_type};
use crate::service::NewUpload;
use crate::settings::SizeMismatch;
use crate::status::Source;

/// An item whose fields are valid and whose bytes are decoded, not yet staged.
pub struct Decoded {
    name: FileName,
    content_type: String,
    size: u64,
    path: FolderPath,
    bytes: Bytes,
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

/// Decodes base64 content; `None` with a fault added. Missing content is only right for size 0.
pub fn content(faults: &mut Faults, text: Option<&str>, size: Option<u64>) -> Option<Bytes> {
    match text.map(str::trim) {
        None | Some("") if size == Some(0) && text.is_some() => Some(Bytes::new()),
        None | Some("") => {
            faults.add_coded("file_content", &codes::CONTENT_REQUIRED);
            None
        }
        Some(text) => {
            let bytes = decode::base64(text);
            if bytes.is_none() {
                faults.add_coded("file_content", &codes::INVALID_BASE64);
            }
            bytes.map(Bytes::from)
        }
    }
}

impl Files {
    /// Checks one object.
    pub(super) async fn decode_one(&self, item: FileCreateIn) -> Result<Decoded, ApiError> {
        let decoded = self.decode_all(vec![item]).await;
        let (mut items, faults) = decoded?;
        match (items.pop(), faults.into_iter().next()) {
            (Some(item), None) => Ok(item),
            (_, Some((_, faults))) => Err(faults.into_error()),
            (None, None) => Err(codes::CONTENT_REQUIRED.into()),
        }
    }

    /// Checks a batch; all faults of all items, keyed `<index>.<field>`.
    pub(super) async fn decode_batch(&self, items: Vec<FileCreateIn>) -> Result<Vec<Decoded>, ApiError> {
        if items.is_empty() || items.len() > self.settings().batch_max {
            return Err(Faults::one("non_field_errors", messages::OUT_OF_RANGE));
        }
        let (items, faults) = self.decode_all(items).await?;
        let mut all = Faults::new();
        for (index, inner) in faults {
            all.nest(index, inner);
        }
        all.into_result(items)
    }

    /// Decoding is work for a blocking thread: 50 MiB take a noticeable moment.
    async fn decode_all(
        &self,
        items: Vec<FileCreateIn>,
    ) -> Result<(Vec<Decoded>, Vec<(usize, Faults)>), ApiError> {
        let (max, rule) = (self.settings().max_bytes, self.settings().size_mismatch);
        let text: u64 = items
            .iter()
            .map(|i| i.file_content.as_ref().map_or(0, |c| c.len() as u64))
            .sum();
        let work = move || {
            let mut decoded = Vec::with_capacity(items.len());
            let mut faulty = Vec::new();
            for (index, item) in items.into_iter().enumerate() {
                let mut faults = Faults::new();
                match decode_item(&mut faults, item, rule) {
                    Some(item) if faults.is_empty() => decoded.push(item),
                    _ => faulty.push((index, faults)),
                }
            }
            let total: u64 = decoded.iter().map(|d: &Decoded| d.bytes.len() as u64).sum();
            if faulty.is_empty() && total > max {
                return Err(ApiError::from(FilesError::TooLarge));
            }
            Ok((decoded, faulty))
        };
        if text < 64 * 1024 {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(ApiError::internal)?
    }

    /// Stages a decoded item.
    pub(super) async fn stage(&self, item: Decoded) -> Result<NewUpload, FilesError> {
        let Decoded {
            name,
            content_type,
            size,
            path,
            bytes,
        } = item;
        let staged = self.staging().stage(bytes).await?;
        Ok(NewUpload {
            name,
            content_type,
            size,
            path,
            source: Source::Base64,
            staged,
        })
    }
}

fn decode_item(faults: &mut Faults, item: FileCreateIn, rule: SizeMismatch) -> Option<Decoded> {
    let FileCreateIn {
        name,
        content_type,
        size,
        file_content,
        path,
    } = item;
    let labels = labels(faults, &name.0, &content_type, path.as_deref());
    let size = u64::try_from(size).ok();
    let bytes = content(faults, file_content.as_deref(), size);
    let (Some(labels), Some(size), Some(bytes)) = (labels, size, bytes) else {
        return None;
    };
    let actual = bytes.len() as u64;
    if actual != size && rule == SizeMismatch::Reject {
        faults.add_coded_text("size", codes::SIZE_MISMATCH.code, size_text(size, actual));
    }
    let Labels {
        name,
        content_type,
        path,
    } = labels;
    Some(Decoded {
        name,
        content_type,
        size,
        path,
        bytes,
    })
}
