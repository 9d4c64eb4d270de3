//! What the emulator keeps: small objects in memory, large ones in a folder that goes with it.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use crc::{CRC_64_XZ, Crc, Digest, Table};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::now;

/// Larger objects go to the folder.
const IN_MEMORY: usize = 1024 * 1024;
const PIECE: usize = 64 * 1024;

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// One stored object.
#[derive(Clone, Debug)]
pub struct Object {
    pub content_type: String,
    pub size: u64,
    pub crc64: u64,
    pub modified: DateTime<Utc>,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Memory(Bytes),
    File(PathBuf),
}

/// An object on its way in.
pub struct Sink {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<(tokio::fs::File, PathBuf)>,
    size: u64,
    crc64: Digest<'static, u64, Table<16>>,
}

impl Sink {
    pub fn new(folder: &Path) -> Self {
        Sink {
            folder: folder.to_owned(),
            memory: Vec::new(),
            file: None,
            size: 0,
            crc64: CRC64.digest(),
        }
    }

    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.size += piece.len() as u64;
        self.crc64.update(piece);
        if let Some((file, _)) = &mut self.file {
            return file.write_all(piece).await;
        }
        self.memory.extend_from_slice(piece);
        if self.memory.len() > IN_MEMORY {
            let path = self.folder.join(uuid::Uuid::new_v4().simple().to_string());
            let mut file = tokio::fs::File::create(&path).await?;
            file.write_all(&std::mem::take(&mut self.memory)).await?;
            self.file = Some((file, path));
        }
        Ok(())
    }

    pub async fn finish(self, content_type: String) -> io::Result<Object> {
        let data = match self.file {
            Some((mut file, path)) => {
                file.flush().await?;
                Data::File(path)
            }
            None => Data::Memory(self.memory.into()),
        };
        Ok(Object {
            content_type,
            size: self.size,
            crc64: self.crc64.finalize(),
            modified: now(),
            data,
        })
    }
}

impl Object {
    /// Up to one piece from `at`, not past `end`.
    pub async fn piece(&self, at: u64, end: u64) -> io::Result<Bytes> {
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        match &self.data {
            Data::Memory(bytes) => {
                let at = usize::try_from(at).expect("in memory");
                Ok(bytes.slice(at..at + len))
            }
            Data::File(path) => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(io::SeekFrom::Start(at)).await?;
                let mut piece = vec![0; len];
                file.read_exact(&mut piece).await?;
                Ok(piece.into())
            }
        }
    }

    /// All of it. For tests of ordinary size.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::Memory(bytes) => bytes.to_vec(),
            Data::File(path) => std::fs::read(path).expect("own file"),
        }
    }
}
