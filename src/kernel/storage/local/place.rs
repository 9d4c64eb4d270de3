//! Files that come into their place whole, with their content type, and stay there after a crash.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{NamedTempFile, TempPath};
use uuid::Uuid;

use super::{Existing, TEMP};
use crate::storage::DEFAULT_TYPE;

/// Folders remembered as durable; one for each user and kind of object.
const REMEMBERED: usize = 10_000;

/// Where an object goes.
pub(super) struct Place {
    pub path: PathBuf,
    pub content_type: String,
    pub existing: Existing,
}

/// A small object that is in memory.
pub(super) struct Write {
    pub bytes: Vec<u8>,
    pub place: Place,
}

/// The folder of all objects. Everything here blocks.
pub(super) struct Root {
    path: PathBuf,
    /// Folders whose own names were synced by this process, so that one sync is enough for an object.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Root {
    pub fn new(path: PathBuf) -> Self {
        Root {
            path,
            durable: Mutex::default(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn temporary(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.path.join(TEMP))
    }

    /// Puts a complete temporary file in its place.
    pub fn settle(&self, file: File, temp: TempPath, place: &Place) -> io::Result<()> {
        file.sync_all()?;
        drop(file);
        self.put_in_place(temp, place)?;
        self.sync(self.folder_of(place))
    }

    /// Writes many objects, each of them as by [`Root::settle`]. A fault of one is no fault of the others.
    pub fn write_all(&self, writes: Vec<Write>) -> Vec<io::Result<()>> {
        // All are written before the first is synced: the journal then takes them in one go.
        let written: Vec<_> = writes
            .into_iter()
            .map(|Write { bytes, place }| {
                let mut temp = self.temporary()?;
                temp.write_all(&bytes)?;
                Ok::<_, io::Error>((temp.into_parts(), place))
            })
            .collect();
        let placed: Vec<io::Result<PathBuf>> = written
            .into_iter()
            .map(|written| {
                let ((file, temp), place) = written?;
                file.sync_all()?;
                drop(file);
                self.put_in_place(temp, &place)?;
                Ok(self.folder_of(&place).to_owned())
            })
            .collect();
        let folders: BTreeSet<&PathBuf> = placed.iter().filter_map(|p| p.as_ref().ok()).collect();
        let lost: Vec<(PathBuf, ErrorKind)> = folders
            .into_iter()
            .filter_map(|folder| self.sync(folder).err().map(|e| (folder.clone(), e.kind())))
            .collect();
        placed
            .into_iter()
            .map(|placed| {
                let folder = placed?;
                match lost.iter().find(|(f, _)| *f == folder) {
                    Some((_, kind)) => Err((*kind).into()),
                    None => Ok(()),
                }
            })
            .collect()
    }

    fn folder_of<'a>(&'a self, place: &'a Place) -> &'a Path {
        place.path.parent().unwrap_or(&self.path)
    }

    fn put_in_place(&self, temp: TempPath, place: &Place) -> io::Result<()> {
        let Place {
            path,
            content_type,
            existing,
        } = place;
        let folder = self.folder_of(place);
        if !self.is_durable(folder) {
            fs::create_dir_all(folder)?;
        }
        match existing {
            // The type goes first, so that a visible object has the right one.
            Existing::Replace => {
                self.put_type(path, content_type)?;
                temp.persist(path)?;
            }
            // Two writers may race for a key; only the first may say what type it has.
            Existing::Keep => {
                temp.persist_noclobber(path)?;
                self.put_type(path, content_type)?;
            }
        }
        Ok(())
    }

    fn put_type(&self, path: &Path, content_type: &str) -> io::Result<()> {
        let beside = type_file(path);
        if content_type == implied_type(path) {
            return match fs::remove_file(beside) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        let mut temp = self.temporary()?;
        temp.write_all(content_type.as_bytes())?;
        temp.as_file().sync_all()?;
        temp.persist(beside)?;
        Ok(())
    }

    /// A rename is durable when its folder is; a new folder when its parents are.
    fn sync(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()?;
        if self.is_durable(folder) {
            return Ok(());
        }
        for parent in folder
            .ancestors()
            .skip(1)
            .take_while(|f| f.starts_with(&self.path))
        {
            File::open(parent)?.sync_all()?;
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    /// Is this folder there, and its own name on the disk for good?
    fn is_durable(&self, folder: &Path) -> bool {
        self.durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(folder)
            && folder.is_dir()
    }
}

/// The type of an object that has none beside it.
pub(super) fn implied_type(path: &Path) -> &'static str {
    mime_guess::from_path(path).first_raw().unwrap_or(DEFAULT_TYPE)
}

pub(super) fn type_file(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.type"))
}

/// Who a folder is: an id in the file `name`, made once and the same for every process that shares the folder.
/// Blocking; for the start.
///
/// # Errors
/// The folder cannot be written, or the file holds something else.
pub fn folder_identity(folder: &Path, name: &str) -> io::Result<Uuid> {
    let path = folder.join(name);
    if !path.exists() {
        let mut file = NamedTempFile::new_in(folder)?;
        writeln!(file, "{}", Uuid::new_v4())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Ok(_) => File::open(folder)?.sync_all()?,
            // Another process was faster; its id counts.
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.error),
        }
    }
    let text = fs::read_to_string(&path)?;
    let damaged = |_| {
        io::Error::new(
            ErrorKind::InvalidData,
            format!("{} does not hold an id", path.display()),
        )
    };
    Uuid::parse_str(text.trim()).map_err(damaged)
}
