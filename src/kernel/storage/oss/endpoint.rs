//! Where a bucket is: how an endpoint setting becomes the front part of a URL.

use crate::config::FromSetting;

/// An OSS endpoint, or a domain that is bound to one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    /// Host, with the port when one was given.
    authority: String,
    path_style: bool,
}

impl Endpoint {
    /// `https://{bucket}.{endpoint}`, or `http://host:port/{bucket}` for a plain endpoint with an
    /// explicit port (a test server or a gateway on a private address, where no name of the bucket
    /// resolves).
    pub fn of_bucket(&self, bucket: &str) -> String {
        let Endpoint {
            scheme, authority, ..
        } = self;
        if self.path_style {
            format!("{scheme}://{authority}/{bucket}")
        } else {
            format!("{scheme}://{bucket}.{authority}")
        }
    }

    /// The front part when this is a custom domain, which names its bucket by itself.
    pub fn of_domain(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The region in the names that Aliyun gives: `oss-cn-hangzhou.aliyuncs.com`.
    pub fn region(&self) -> Option<&str> {
        let name = self.aliyun_name()?.strip_prefix("oss-")?;
        let region = name.strip_suffix("-internal").unwrap_or(name);
        // `oss-accelerate` and `oss-accelerate-overseas` stand for all regions.
        (region.contains('-') && !region.starts_with("accelerate")).then_some(region)
    }

    /// Whether it is Aliyun's own, not a gateway or a test server.
    pub fn is_aliyun(&self) -> bool {
        self.aliyun_name().is_some()
    }

    fn aliyun_name(&self) -> Option<&str> {
        self.authority.strip_suffix(".aliyuncs.com")
    }

    /// Whether only machines inside Aliyun reach it.
    pub fn is_internal(&self) -> bool {
        self.authority.contains("-internal.")
    }

    /// Whether somebody put the bucket in front, as the console shows it.
    pub fn starts_with_bucket(&self, bucket: &str) -> bool {
        self.authority
            .strip_prefix(bucket)
            .is_some_and(|rest| rest.starts_with('.'))
    }

    pub fn is_plain(&self) -> bool {
        self.scheme == "http"
    }
}

impl FromSetting for Endpoint {
    const EXAMPLE: &'static str = "oss-cn-hangzhou.aliyuncs.com";

    fn from_setting(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => ("https", rest),
            Some(("http", rest)) => ("http", rest),
            Some(_) => return Err("must start with https:// or http://, or with the host".to_owned()),
            None => ("https", text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
        // Only what an authority may hold; then the parser decides about the host.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let url = url::Url::parse(&format!("{scheme}://{authority}/"));
        let host = url.as_ref().ok().and_then(url::Url::host);
        let (true, Some(host)) = (authority.chars().all(plain), host) else {
            return Err("must be a host name, without path or user".to_owned());
        };
        let is_address = !matches!(host, url::Host::Domain(_));
        // From the text, because a parsed URL forgets an explicit `:80`.
        let has_port = authority
            .rsplit(']')
            .next()
            .is_some_and(|tail| tail.contains(':'));
        let path_style = is_address || (scheme == "http" && has_port);
        Ok(Endpoint {
            scheme,
            authority,
            path_style,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_at(text: &str) -> Result<String, String> {
        Endpoint::from_setting(text).map(|e| e.of_bucket("bkt"))
    }

    #[test]
    fn endpoints_come_with_and_without_scheme() {
        let hangzhou = Ok("https://bkt.oss-cn-hangzhou.aliyuncs.com".to_owned());
        assert_eq!(bucket_at("oss-cn-hangzhou.aliyuncs.com"), hangzhou);
        assert_eq!(bucket_at("https://OSS-cn-hangzhou.aliyuncs.com/"), hangzhou);
        assert_eq!(bucket_at("http://oss.test"), Ok("http://bkt.oss.test".to_owned()));
        assert_eq!(
            bucket_at("https://oss.test:8443"),
            Ok("https://bkt.oss.test:8443".to_owned())
        );
    }

    #[test]
    fn a_plain_endpoint_with_a_port_is_path_style() {
        assert_eq!(
            bucket_at("http://127.0.0.1:9000"),
            Ok("http://127.0.0.1:9000/bkt".to_owned())
        );
        assert_eq!(
            bucket_at("http://oss.test:80"),
            Ok("http://oss.test:80/bkt".to_owned())
        );
        assert_eq!(
            bucket_at("http://[::1]:9000"),
            Ok("http://[::1]:9000/bkt".to_owned())
        );
        assert_eq!(bucket_at("http://[::1]"), Ok("http://[::1]/bkt".to_owned()));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "",
            "ftp://x",
            "https://u:p@x",
            "x/y",
            "x?y",
            "https://",
            "a b",
            "x:port",
            "http://x#y",
        ] {
            assert!(bucket_at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_are_read_from_the_names_of_aliyun() {
        let region = |t| {
            Endpoint::from_setting(t)
                .expect("valid")
                .region()
                .map(str::to_owned)
        };
        assert_eq!(
            region("oss-cn-hangzhou.aliyuncs.com").as_deref(),
            Some("cn-hangzhou")
        );
        assert_eq!(
            region("https://oss-ap-southeast-1-internal.aliyuncs.com").as_deref(),
            Some("ap-southeast-1")
        );
        for other in [
            "oss-accelerate.aliyuncs.com",
            "oss-accelerate-overseas.aliyuncs.com",
            "oss.test",
            "http://127.0.0.1:9",
        ] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn usual_mistakes_are_recognised() {
        let e = |t| Endpoint::from_setting(t).expect("valid");
        assert!(e("oss-cn-hangzhou-internal.aliyuncs.com").is_internal());
        assert!(e("bkt.oss-cn-hangzhou.aliyuncs.com").starts_with_bucket("bkt"));
        assert!(!e("bktx.aliyuncs.com").starts_with_bucket("bkt"));
    }
}
