//! Settings of the object storage. The four names that the seed shows (`ALIYUN_ACCESS_KEY`,
//! `ALIYUN_ACCESS_KEY_SECRET`, `OSS_ENDPOINT`, `OSS_BUCKET_NAME`) switch OSS on when all are set.

use std::time::Duration;

use secrecy::SecretString;

use super::oss::Endpoint;
use crate::config::{Reader, Seconds, Setting};

const BACKEND: Setting = Setting::new(
    "STORAGE_BACKEND",
    "",
    "oss or local; default oss when its four settings are set, else local.",
);
const KEY_ID: Setting = Setting::new("ALIYUN_ACCESS_KEY", "", "Access key id for OSS.");
const KEY_SECRET: Setting = Setting::secret("ALIYUN_ACCESS_KEY_SECRET", "Access key secret for OSS.");
const ENDPOINT: Setting = Setting::new(
    "OSS_ENDPOINT",
    "",
    "OSS endpoint the server talks to, with or without scheme.",
);
const BUCKET: Setting = Setting::new(
    "OSS_BUCKET_NAME",
    "",
    "Bucket for uploaded files; keep it private.",
);
const TOKEN: Setting = Setting::secret(
    "ALIYUN_SECURITY_TOKEN",
    "Security token of temporary OSS credentials.",
);
const PUBLIC_ENDPOINT: Setting = Setting::new(
    "OSS_PUBLIC_ENDPOINT",
    "",
    "OSS endpoint in URLs for clients; default OSS_ENDPOINT.",
);
const CUSTOM_DOMAIN: Setting = Setting::new(
    "OSS_CUSTOM_DOMAIN",
    "",
    "Domain bound to the bucket, in URLs for clients instead of the endpoint.",
);
const SIGNATURE: Setting = Setting::new(
    "OSS_SIGNATURE",
    "",
    "v4 or v1; default v4 when the region is known. Aliyun refuses v1 for new accounts and buckets.",
);
const REGION: Setting = Setting::new(
    "OSS_REGION",
    "",
    "Region of the bucket, for v4 signatures; default the one named in OSS_ENDPOINT.",
);
const CONNECT_TIMEOUT: Setting = Setting::new(
    "OSS_CONNECT_TIMEOUT",
    "5s",
    "How long a connection to OSS may take.",
);
const READ_TIMEOUT: Setting = Setting::new(
    "OSS_READ_TIMEOUT",
    "30s",
    "How long OSS may take to answer, and to send the next piece of an object.",
);

/// The kinds of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    Oss,
    Local,
}

crate::setting_enum!(StorageKind { Oss = "oss", Local = "local" });

/// How requests to OSS are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signature {
    V1,
    V4,
}

crate::setting_enum!(Signature { V1 = "v1", V4 = "v4" });

/// Which storage, and how to reach it.
#[derive(Clone, Debug)]
pub enum StorageSettings {
    Local,
    Oss(Box<OssSettings>),
}

/// One bucket and the keys to it.
#[derive(Clone, Debug)]
pub struct OssSettings {
    pub key_id: String,
    pub key_secret: SecretString,
    pub security_token: Option<SecretString>,
    pub bucket: String,
    pub endpoint: Endpoint,
    pub public_endpoint: Option<Endpoint>,
    pub custom_domain: Option<Endpoint>,
    /// Requests are signed for this region, in version 4; without one in version 1.
    pub region: Option<String>,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
}

impl StorageSettings {
    /// All settings are looked at, whatever the backend, so that `config show` lists them.
    pub fn read(r: &mut Reader<'_>) -> Self {
        let chosen = r.optional::<StorageKind>(&BACKEND);
        let required = [KEY_ID, KEY_SECRET, ENDPOINT, BUCKET];
        let (present, missing): (Vec<Setting>, Vec<Setting>) =
            required.into_iter().partition(|s| r.is_set(s));
        let key_id = r.optional::<String>(&KEY_ID);
        let key_secret = r.secret(&KEY_SECRET);
        let endpoint = r.optional::<Endpoint>(&ENDPOINT);
        let bucket = r.optional::<String>(&BUCKET);
        let security_token = r.secret(&TOKEN);
        let public_endpoint = r.optional::<Endpoint>(&PUBLIC_ENDPOINT);
        let custom_domain = r.optional::<Endpoint>(&CUSTOM_DOMAIN);
        let signature = r.optional::<Signature>(&SIGNATURE);
        let region = r.optional::<String>(&REGION);
        let connect_timeout = r.above_zero::<Seconds>(&CONNECT_TIMEOUT).0;
        let read_timeout = r.above_zero::<Seconds>(&READ_TIMEOUT).0;

        let wants_oss = match chosen {
            Some(kind) => kind == StorageKind::Oss,
            // A wrong word is a fault already; do not add guesses to it.
            None if r.is_set(&BACKEND) => false,
            None => !present.is_empty(),
        };
        if !wants_oss {
            return StorageSettings::Local;
        }
        let because = match present.first() {
            Some(other) if chosen.is_none() => format!("is missing, although {} is set", other.name),
            _ => "is missing, although STORAGE_BACKEND is oss".to_owned(),
        };
        for setting in &missing {
            r.fault(
                setting,
                because.as_str(),
                "Set it, or set STORAGE_BACKEND=local to keep files in the data folder.",
            );
        }
        let (Some(key_id), Some(key_secret), Some(endpoint), Some(bucket)) =
            (key_id, key_secret, endpoint, bucket)
        else {
            return StorageSettings::Local;
        };
        check(
            r,
            &bucket,
            &endpoint,
            public_endpoint.as_ref(),
            custom_domain.as_ref(),
        );
        let region = region_to_sign_for(r, signature, region, &endpoint);
        StorageSettings::Oss(Box::new(OssSettings {
            key_id,
            key_secret,
            security_token,
            bucket,
            endpoint,
            public_endpoint,
            custom_domain,
            region,
            connect_timeout,
            read_timeout,
        }))
    }

    pub fn kind(&self) -> StorageKind {
        match self {
            StorageSettings::Local => StorageKind::Local,
            StorageSettings::Oss(_) => StorageKind::Oss,
        }
    }
}

fn region_to_sign_for(
    r: &mut Reader<'_>,
    signature: Option<Signature>,
    region: Option<String>,
    endpoint: &Endpoint,
) -> Option<String> {
    let region = region.or_else(|| endpoint.region().map(str::to_owned));
    match (signature, &region) {
        (Some(Signature::V1), _) => None,
        (Some(Signature::V4), None) => {
            let problem = "is missing, and OSS_ENDPOINT does not name a region to sign for";
            r.fault(&REGION, problem, "Example: cn-hangzhou. Or set OSS_SIGNATURE=v1.");
            None
        }
        (None, None) if endpoint.is_aliyun() => {
            r.warn(
                "OSS_ENDPOINT names no region, so requests are signed in version 1, which Aliyun refuses for new \
                 buckets. Set OSS_REGION.",
            );
            None
        }
        _ => region,
    }
}

fn check(
    r: &mut Reader<'_>,
    bucket: &str,
    endpoint: &Endpoint,
    public: Option<&Endpoint>,
    domain: Option<&Endpoint>,
) {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edges = !bucket.starts_with('-') && !bucket.ends_with('-');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) || !edges {
        let problem = format!("{bucket:?} is not a bucket name");
        r.fault(
            &BUCKET,
            problem,
            "3 to 63 lower-case letters, digits and hyphens. Example: my-app-files.",
        );
    }
    for (setting, endpoint) in [(&ENDPOINT, Some(endpoint)), (&PUBLIC_ENDPOINT, public)] {
        if endpoint.is_some_and(|e| e.starts_with_bucket(bucket)) {
            r.fault(
                setting,
                "must not start with the bucket",
                "Example: oss-cn-hangzhou.aliyuncs.com.",
            );
        }
    }
    if public.or(domain).is_none() && endpoint.is_internal() {
        r.warn(
            "OSS_ENDPOINT is an internal one and URLs for clients are made from it, but browsers cannot reach it. \
             Set OSS_PUBLIC_ENDPOINT or OSS_CUSTOM_DOMAIN.",
        );
    }
    if domain.or(public).unwrap_or(endpoint).is_plain() {
        r.warn("URLs of files for clients start with http://, so files travel unencrypted.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    const FOUR: [(&str, &str); 4] = [
        ("ALIYUN_ACCESS_KEY", "id"),
        ("ALIYUN_ACCESS_KEY_SECRET", "hush"),
        ("OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com"),
        ("OSS_BUCKET_NAME", "my-files"),
    ];

    /// Settings and warnings, or the faults by name.
    type Outcome = Result<(StorageSettings, Vec<String>), Vec<(String, String)>>;

    fn read(values: &[(&str, &str)]) -> Outcome {
        let env = Env::fixed(values.iter().copied());
        let mut r = Reader::new(&env);
        let settings = StorageSettings::read(&mut r);
        match r.finish(settings) {
            Ok((settings, _, warnings)) => Ok((settings, warnings)),
            Err(faults) => Err(faults.0.into_iter().map(|f| (f.name, f.problem)).collect()),
        }
    }

    fn kind(values: &[(&str, &str)]) -> StorageKind {
        read(values).expect("valid").0.kind()
    }

    #[test]
    fn four_settings_switch_oss_on() {
        assert_eq!(kind(&[]), StorageKind::Local);
        assert_eq!(kind(&FOUR), StorageKind::Oss);
        let mut local = FOUR.to_vec();
        local.push(("STORAGE_BACKEND", "local"));
        assert_eq!(kind(&local), StorageKind::Local);
        assert_eq!(
            kind(&[("STORAGE_BACKEND", "local"), ("OSS_BUCKET_NAME", "my-files")]),
            StorageKind::Local
        );
    }

    #[test]
    fn each_missing_setting_is_named() {
        let names = |values: &[(&str, &str)]| -> Vec<String> {
            read(values)
                .expect_err("incomplete")
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names(&FOUR[..2]), ["OSS_ENDPOINT", "OSS_BUCKET_NAME"]);
        assert_eq!(names(&[("STORAGE_BACKEND", "oss")]).len(), 4);
        assert_eq!(names(&[("STORAGE_BACKEND", "s3")]), ["STORAGE_BACKEND"]);
    }

    #[test]
    fn values_are_checked() {
        let with = |name: &str, value: &'static str| {
            let mut all = FOUR
                .map(|(n, v)| if n == name { (n, value) } else { (n, v) })
                .to_vec();
            all.push(("X", "x"));
            read(&all)
        };
        for (name, value) in [
            ("OSS_ENDPOINT", "ftp://x"),
            ("OSS_ENDPOINT", "my-files.oss-cn-hangzhou.aliyuncs.com"),
            ("OSS_BUCKET_NAME", "My_Files"),
            ("OSS_BUCKET_NAME", "-x-"),
        ] {
            let faults = with(name, value).expect_err("wrong");
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].0, name);
        }
        let (_, warnings) = with("OSS_ENDPOINT", "oss-cn-hangzhou-internal.aliyuncs.com").expect("valid");
        assert!(warnings[0].contains("OSS_PUBLIC_ENDPOINT"));
    }

    #[test]
    fn signatures_are_version_4_where_the_region_is_known() {
        let region = |more: &[(&'static str, &'static str)]| {
            let values: Vec<_> = FOUR.iter().chain(more).copied().collect();
            match read(&values).expect("valid") {
                (StorageSettings::Oss(oss), warnings) => (oss.region, warnings.len()),
                (StorageSettings::Local, _) => unreachable!("four settings"),
            }
        };
        assert_eq!(region(&[]), (Some("cn-hangzhou".to_owned()), 0));
        assert_eq!(region(&[("OSS_SIGNATURE", "v1")]), (None, 0));
        assert_eq!(
            region(&[("OSS_REGION", "cn-beijing")]),
            (Some("cn-beijing".to_owned()), 0)
        );
        assert_eq!(region(&[("OSS_ENDPOINT", "https://gateway.test")]), (None, 0));
        assert_eq!(
            region(&[("OSS_ENDPOINT", "oss-accelerate.aliyuncs.com")]),
            (None, 1)
        );
        let faults = read(&[
            FOUR[0],
            FOUR[1],
            FOUR[3],
            ("OSS_ENDPOINT", "https://gateway.test"),
            ("OSS_SIGNATURE", "v4"),
        ]);
        assert_eq!(faults.expect_err("no region")[0].0, "OSS_REGION");
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut all = FOUR.to_vec();
        all.push(("ALIYUN_SECURITY_TOKEN", "sts-token"));
        let printed = format!("{:?}", read(&all).expect("valid").0);
        assert!(
            !printed.contains("hush") && !printed.contains("sts-token"),
            "{printed}"
        );
    }
}
