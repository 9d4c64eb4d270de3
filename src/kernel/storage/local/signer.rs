//! Presigned URLs of the local backend: `{PUBLIC_BASE_URL}/file/{id}/content/?…&signature=…`.
//!
//! The query says everything the request may do; an HMAC-SHA256 over it, the method and the path
//! makes it a promise of this server. Fields are hashed with their lengths in front, so no two
//! different grants have the same text. Links that were signed with a former key stay good.

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use crate::auth::{KeyUse, Keys};
use crate::hex;
use crate::storage::Disposition;

/// Changing what is signed changes this, so that old signatures fail instead of meaning something
/// else.
const LABEL: &str = "yunque local object 1";

/// What a presigned URL allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAction {
    /// Create the object, once, with exactly this type and length.
    Put { content_type: String, size: u64 },
    /// Read the object.
    Get {
        disposition: Disposition,
        file_name: String,
    },
}

/// One verified presigned URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalGrant {
    pub key: String,
    pub action: LocalAction,
    pub expires_at: DateTime<Utc>,
}

impl LocalGrant {
    /// Whether an upload with this `Content-Type` header is the one that was signed.
    pub fn allows_type(&self, header: Option<&str>) -> bool {
        match &self.action {
            LocalAction::Put { content_type, .. } => header.map(str::trim) == Some(content_type.as_str()),
            LocalAction::Get { .. } => true,
        }
    }
}

/// Why a presigned URL is not accepted; for the client both are a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    #[error("bad signature")]
    BadSignature,
    #[error("signature expired")]
    Expired,
}

/// Makes and checks the URLs. Cheap to clone.
#[derive(Clone)]
pub struct LocalSigner {
    keys: Keys,
    base: String,
}

impl LocalSigner {
    /// `keys` are those of this installation, the same on all hosts; `public_base_url` goes in
    /// front of the paths.
    pub fn new(keys: &Keys, public_base_url: &str) -> Self {
        LocalSigner {
            keys: keys.clone(),
            base: public_base_url.trim_end_matches('/').to_owned(),
        }
    }

    /// The URL for `grant` at `path`, which starts with a slash. Expiry is kept in whole seconds.
    pub fn url(&self, path: &str, grant: &LocalGrant) -> String {
        let signature = hex::encode(&self.keys.mac(KeyUse::Presign, &message(path, grant)));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("key", &grant.key);
        match &grant.action {
            LocalAction::Put { content_type, size } => {
                query
                    .append_pair("type", content_type)
                    .append_pair("size", &size.to_string());
            }
            LocalAction::Get {
                disposition,
                file_name,
            } => {
                query
                    .append_pair("disposition", word(*disposition))
                    .append_pair("name", file_name);
            }
        }
        query
            .append_pair("expires", &grant.expires_at.timestamp().to_string())
            .append_pair("signature", &signature);
        format!("{}{path}?{}", self.base, query.finish())
    }

    /// Checks a request. `path` may come with or without its trailing slash; a `HEAD` is allowed
    /// where a `GET` is.
    ///
    /// # Errors
    /// `BadSignature` for anything that this server did not sign like this, then `Expired`.
    pub fn verify(
        &self,
        method: &str,
        path: &str,
        query: &str,
        now: DateTime<Utc>,
    ) -> Result<LocalGrant, GrantFault> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name: &str| {
            let mut found = pairs
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, value)| value.to_string());
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(GrantFault::BadSignature),
            }
        };
        let action = match method {
            "PUT" => LocalAction::Put {
                content_type: field("type")?,
                size: number(&field("size")?)?,
            },
            "GET" | "HEAD" => LocalAction::Get {
                disposition: from_word(&field("disposition")?)?,
                file_name: field("name")?,
            },
            _ => return Err(GrantFault::BadSignature),
        };
        let seconds = i64::try_from(number(&field("expires")?)?).map_err(|_| GrantFault::BadSignature)?;
        let expires_at = DateTime::from_timestamp(seconds, 0).ok_or(GrantFault::BadSignature)?;
        let grant = LocalGrant {
            key: field("key")?,
            action,
            expires_at,
        };
        let signature = hex::decode(&field("signature")?).ok_or(GrantFault::BadSignature)?;
        if !self
            .keys
            .verify_mac(KeyUse::Presign, &message(path, &grant), &signature)
        {
            return Err(GrantFault::BadSignature);
        }
        if now >= expires_at {
            Err(GrantFault::Expired)
        } else {
            Ok(grant)
        }
    }
}

/// What is signed.
fn message(path: &str, grant: &LocalGrant) -> Vec<u8> {
    let expires = grant.expires_at.timestamp().to_string();
    let (method, first, second) = match &grant.action {
        LocalAction::Put { content_type, size } => ("PUT", content_type.clone(), size.to_string()),
        LocalAction::Get {
            disposition,
            file_name,
        } => ("GET", word(*disposition).to_owned(), file_name.clone()),
    };
    let mut message = Vec::new();
    for field in [
        LABEL,
        method,
        path.trim_end_matches('/'),
        &grant.key,
        &first,
        &second,
        &expires,
    ] {
        message.extend_from_slice(&(field.len() as u64).to_be_bytes());
        message.extend_from_slice(field.as_bytes());
    }
    message
}

fn word(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    }
}

fn from_word(text: &str) -> Result<Disposition, GrantFault> {
    match text {
        "inline" => Ok(Disposition::Inline),
        "attachment" => Ok(Disposition::Attachment),
        _ => Err(GrantFault::BadSignature),
    }
}

fn number(text: &str) -> Result<u64, GrantFault> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or(GrantFault::BadSignature)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    fn keys(current: &str, previous: &[&str]) -> Keys {
        let previous: Vec<_> = previous.iter().map(|s| SecretString::from(*s)).collect();
        Keys::new(&SecretString::from(current), &previous)
    }

    fn signer() -> LocalSigner {
        LocalSigner::new(&keys("first", &[]), "https://api.example.com/")
    }

    fn put() -> LocalGrant {
        let action = LocalAction::Put {
            content_type: "text/plain; a=b".into(),
            size: 12,
        };
        LocalGrant {
            key: "files/1/x.txt".into(),
            action,
            expires_at: at(1000),
        }
    }

    fn get() -> LocalGrant {
        let action = LocalAction::Get {
            disposition: Disposition::Attachment,
            file_name: "报告 &=1.txt".into(),
        };
        LocalGrant {
            key: "files/1/x.txt".into(),
            action,
            expires_at: at(1000),
        }
    }

    fn query_of(grant: &LocalGrant) -> String {
        let url = signer().url("/file/7/content/", grant);
        let (front, query) = url.split_once('?').expect("has a query");
        assert_eq!(front, "https://api.example.com/file/7/content/");
        query.to_owned()
    }

    #[test]
    fn urls_are_accepted_until_they_expire() {
        for (method, grant) in [("PUT", put()), ("GET", get()), ("HEAD", get())] {
            let query = query_of(&grant);
            assert_eq!(
                signer().verify(method, "/file/7/content/", &query, at(999)),
                Ok(grant.clone())
            );
            assert_eq!(
                signer().verify(method, "/file/7/content", &query, at(0)),
                Ok(grant)
            );
            assert_eq!(
                signer().verify(method, "/file/7/content/", &query, at(1000)),
                Err(GrantFault::Expired)
            );
        }
    }

    #[test]
    fn urls_survive_a_change_of_the_secret() {
        let query = query_of(&put());
        let verify =
            |keys: &Keys| LocalSigner::new(keys, "").verify("PUT", "/file/7/content/", &query, at(0));
        assert_eq!(verify(&keys("second", &["first"])), Ok(put()));
        assert_eq!(verify(&keys("third", &["second"])), Err(GrantFault::BadSignature));
    }

    #[test]
    fn nothing_about_a_url_can_be_changed() {
        let bad = Err(GrantFault::BadSignature);
        let (put, get) = (query_of(&put()), query_of(&get()));
        let verify = |method: &str, path: &str, query: &str| signer().verify(method, path, query, at(0));
        assert_eq!(verify("GET", "/file/7/content/", &put), bad);
        assert_eq!(verify("PUT", "/file/7/content/", &get), bad);
        assert_eq!(verify("DELETE", "/file/7/content/", &get), bad);
        assert_eq!(verify("PUT", "/file/8/content/", &put), bad);
        for (from, to) in [
            ("size=12", "size=13"),
            ("size=12", "size=%2B12"),
            ("expires=1000", "expires=2000"),
            ("x.txt", "y.txt"),
            ("text%2Fplain", "text%2Fhtml"),
            ("signature=", "signature=0"),
            ("signature=", "signatur="),
            ("size=12", "size=12&size=12"),
        ] {
            assert!(put.contains(from), "{put}");
            assert_eq!(
                verify("PUT", "/file/7/content/", &put.replace(from, to)),
                bad,
                "{to}"
            );
        }
        assert_eq!(
            verify("GET", "/file/7/content/", &get.replace("attachment", "inline")),
            bad
        );
        assert_eq!(
            LocalSigner::new(&keys("second", &[]), "").verify("PUT", "/file/7/content/", &put, at(0)),
            bad
        );
        assert_eq!(verify("GET", "/file/7/content/", ""), bad);
    }
}
