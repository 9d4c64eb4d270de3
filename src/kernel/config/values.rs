//! How the text of a setting becomes a typed value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A type that a setting can have.
pub trait FromSetting: Sized {
    /// Shown when the value cannot be read.
    const EXAMPLE: &'static str;

    /// # Errors
    /// What is wrong, without the variable's name.
    fn from_setting(text: &str) -> Result<Self, String>;
}

/// A duration: plain seconds, or with a suffix: `90`, `90s`, `5m`, `2h`, `7d`, `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// A size in bytes, or with a suffix: `1048576`, `64KiB`, `10MiB`, `5GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Values separated by commas; blanks around them are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl FromSetting for Seconds {
    const EXAMPLE: &'static str = "90, 90s, 5m or 7d";

    fn from_setting(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text)?;
        let ms_per_unit: u64 = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(format!("unknown unit {unit:?}")),
        };
        let ms = number.checked_mul(ms_per_unit).ok_or("too large")?;
        Ok(Seconds(Duration::from_millis(ms)))
    }
}

impl FromSetting for Size {
    const EXAMPLE: &'static str = "1048576, 64KiB or 10MiB";

    fn from_setting(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text)?;
        let bytes_per_unit: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "kb" => 1000,
            "m" | "mib" => 1 << 20,
            "mb" => 1_000_000,
            "g" | "gib" => 1 << 30,
            "gb" => 1_000_000_000,
            "t" | "tib" => 1 << 40,
            _ => return Err(format!("unknown unit {unit:?}")),
        };
        number
            .checked_mul(bytes_per_unit)
            .map(Size)
            .ok_or_else(|| "too large".to_owned())
    }
}

fn split_unit(text: &str) -> Result<(u64, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits
        .parse()
        .map_err(|_| "must start with a whole number".to_owned())?;
    Ok((number, unit.trim()))
}

impl<T: FromSetting> FromSetting for List<T> {
    const EXAMPLE: &'static str = T::EXAMPLE;

    fn from_setting(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(T::from_setting)
            .collect::<Result<_, _>>()
            .map(List)
    }
}

impl FromSetting for bool {
    const EXAMPLE: &'static str = "true or false";

    fn from_setting(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

impl FromSetting for String {
    const EXAMPLE: &'static str = "text";

    fn from_setting(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromSetting for PathBuf {
    const EXAMPLE: &'static str = "./data";

    fn from_setting(text: &str) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }
}

impl FromSetting for url::Url {
    const EXAMPLE: &'static str = "https://api.example.com";

    fn from_setting(text: &str) -> Result<Self, String> {
        url::Url::parse(text).map_err(|e| format!("is not a URL: {e}"))
    }
}

macro_rules! parsed {
    ($($ty:ty: $example:literal;)*) => {$(
        impl FromSetting for $ty {
            const EXAMPLE: &'static str = $example;
            fn from_setting(text: &str) -> Result<Self, String> {
                text.parse().map_err(|e| format!("{e}"))
            }
        }
    )*};
}

parsed! {
    u16: "8000";
    u32: "10";
    u64: "1000";
    usize: "16";
    i64: "0";
    f64: "0.5";
    SocketAddr: "127.0.0.1:8000";
    ipnet::IpNet: "10.0.0.0/8";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_take_plain_numbers_and_suffixes() {
        let s = |t: &str| Seconds::from_setting(t).map(|s| s.0.as_millis());
        assert_eq!(s("90"), Ok(90_000));
        assert_eq!(s("5m"), Ok(300_000));
        assert_eq!(s("7d"), Ok(604_800_000));
        assert_eq!(s("250ms"), Ok(250));
        assert!(s("-1").is_err() && s("5 parsecs").is_err() && s("").is_err());
        let b = |t: &str| Size::from_setting(t).map(|s| s.0);
        assert_eq!(b("10MiB"), Ok(10_485_760));
        assert_eq!(b("64 KiB"), Ok(65_536));
        assert_eq!(b("12"), Ok(12));
        assert!(b("1e9").is_err() && b("99999999999999999999").is_err());
    }
}
