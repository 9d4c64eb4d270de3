//! Where the master secret comes from, and the proof that all processes have the same one.
//!
//! Two hosts that each made their own secret would answer each other's tokens with random 401s.
//! Therefore a secret is made up only where one process owns the data (SQLite, development), and
//! the database keeps a check value by which any other process notices that it has another secret.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rand::RngCore;
use secrecy::SecretString;

use super::keys::{KeyUse, Keys};
use super::settings::{AuthSettings, REMEDY, SECRET_KEY};
use crate::config::{ConfigFault, Reader};
use crate::db::{Db, DbError, DbKind, Meta};
use crate::hex;

const FILE: &str = "secret.key";
const CHECK_NAME: &str = "secret_key_check";

/// How this process's secret relates to the one that the database knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKeyState {
    /// The database saw a secret for the first time.
    Recorded,
    Same,
    /// The database knew one of the previous keys: what is encrypted should be encrypted again.
    Rotated,
}

/// The process must not start with this secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyMismatch {
    #[error(
        "SECRET_KEY differs from the one that this database was used with. Set the same SECRET_KEY on every \
         host; to change it, put the former value into SECRET_KEY_PREVIOUS"
    )]
    Different,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl AuthSettings {
    /// Faults a missing secret, so that a check of the configuration finds what [`AuthSettings::keys`] refuses.
    pub fn require_key(&self, r: &mut Reader<'_>, production: bool, db: DbKind) {
        if let Some(problem) = self.lack(production, db) {
            r.fault(&SECRET_KEY, problem, REMEDY);
        }
    }

    /// Why a secret has to be set, when it is not.
    fn lack(&self, production: bool, db: DbKind) -> Option<&'static str> {
        if self.secret_key.is_some() {
            None
        } else if production {
            Some("is required with APP_ENV=production")
        } else if db != DbKind::Sqlite {
            Some("is required with a server database")
        } else {
            None
        }
    }

    /// The keys of this process. In development with SQLite a missing secret is made once and kept
    /// in the data folder, readable by its owner only.
    ///
    /// # Errors
    /// A missing secret where one is required, or a file that cannot be read or written.
    pub fn keys(&self, production: bool, db: DbKind, data_dir: &Path) -> Result<Keys, ConfigFault> {
        let fault = |problem: String| ConfigFault {
            name: SECRET_KEY.name.to_owned(),
            problem,
            remedy: REMEDY.to_owned(),
        };
        if let Some(problem) = self.lack(production, db) {
            return Err(fault(problem.to_owned()));
        }
        let secret = match &self.secret_key {
            Some(secret) => secret.clone(),
            None => load_or_make(&data_dir.join(FILE)).map_err(|e| {
                fault(format!(
                    "is unset and {} is unusable: {e}",
                    data_dir.join(FILE).display()
                ))
            })?,
        };
        Ok(Keys::new(&secret, &self.previous_keys))
    }
}

fn load_or_make(path: &Path) -> std::io::Result<SecretString> {
    if let Some(found) = load(path)? {
        return Ok(found);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    // Written beside and linked into place, so that nobody ever reads half a secret and of two
    // processes that start at once one wins.
    let draft = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(hex::encode(&bytes).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    load(path)?.ok_or_else(|| std::io::Error::other("the new secret cannot be read back"))
}

fn load(path: &Path) -> std::io::Result<Option<SecretString>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let text = text.trim();
    if text.len() < 32 {
        return Err(std::io::Error::other("it holds fewer than 32 characters"));
    }
    if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "the secret can be read by other users of this machine; run chmod 600 on it");
    }
    Ok(Some(SecretString::from(text)))
}

/// Compares the secret with the database's check value; see the module's text.
///
/// # Errors
/// `Different` when neither the current nor a previous key is the known one.
pub async fn check_secret_key(db: &Db, keys: &Keys) -> Result<SecretKeyState, SecretKeyMismatch> {
    let checks: Vec<String> = keys
        .all(KeyUse::Check)
        .iter()
        .map(|key| hex::encode(&key.bytes))
        .collect();
    let before = Meta::get(db, CHECK_NAME).await?;
    let known = match before {
        Some(known) => known,
        None => {
            let known = Meta::get_or_insert(db, CHECK_NAME, &checks[0]).await?;
            if known == checks[0] {
                return Ok(SecretKeyState::Recorded);
            }
            known
        }
    };
    match checks.iter().position(|check| *check == known) {
        Some(0) => Ok(SecretKeyState::Same),
        Some(_) => {
            Meta::set(db, CHECK_NAME, &checks[0]).await?;
            Ok(SecretKeyState::Rotated)
        }
        None => Err(SecretKeyMismatch::Different),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Reader};

    fn settings(values: &[(&str, &str)]) -> AuthSettings {
        let env = Env::fixed(values.iter().copied());
        AuthSettings::read(&mut Reader::new(&env), false)
    }

    #[test]
    fn a_secret_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let s = settings(&[]);
        let first = s.keys(false, DbKind::Sqlite, dir.path()).expect("made");
        let again = s.keys(false, DbKind::Sqlite, dir.path()).expect("read");
        assert_eq!(first.current(KeyUse::Jwt).bytes, again.current(KeyUse::Jwt).bytes);
        let mode = std::fs::metadata(dir.path().join(FILE))
            .expect("file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).expect("folder").count(), 1);
    }

    #[test]
    fn production_and_server_databases_need_an_explicit_secret() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let s = settings(&[]);
        assert!(s.keys(true, DbKind::Sqlite, dir.path()).is_err());
        assert!(s.keys(false, DbKind::Postgres, dir.path()).is_err());
        assert!(s.keys(false, DbKind::MySql, dir.path()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).expect("folder").count(), 0);
        let s = settings(&[("SECRET_KEY", "3f9c1f6f0a2b4c58d7e6915a2b3c4d5e6f708192a3b4c5d6")]);
        assert!(s.keys(true, DbKind::Postgres, dir.path()).is_ok());
    }
}
