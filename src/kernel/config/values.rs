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

/// The longest duration: a hundred years. A date of today plus or minus this is one that every database keeps.
const LONGEST: Duration = Duration::from_secs(100 * 365 * SECONDS_PER_DAY);
/// The largest size, 1 EiB: two of them still add up to a number that a database keeps.
const LARGEST: u64 = 1 << 60;
/// The highest count of anything: as good as no limit, and far from where sums overflow.
const MOST: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// A duration of at most a hundred years: plain seconds, or with a suffix: `90`, `90s`, `5m`, `2h`, `7d`, `250ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// A duration in whole days, at most a hundred years: `30`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days(pub Duration);

/// A size in bytes of at most 1 EiB, or with a suffix: `1048576`, `64KiB`, `10MiB`, `5GiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        let time = number.checked_mul(ms_per_unit).map(Duration::from_millis);
        within_longest(time).map(Seconds)
    }
}

impl FromSetting for Days {
    const EXAMPLE: &'static str = "30";

    fn from_setting(text: &str) -> Result<Self, String> {
        let days: u64 = text.parse().map_err(|_| "must be a whole number".to_owned())?;
        let time = days.checked_mul(SECONDS_PER_DAY).map(Duration::from_secs);
        within_longest(time).map(Days)
    }
}

fn within_longest(time: Option<Duration>) -> Result<Duration, String> {
    time.filter(|time| *time <= LONGEST)
        .ok_or_else(|| "is more than a hundred years".to_owned())
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
            .filter(|bytes| *bytes <= LARGEST)
            .map(Size)
            .ok_or_else(|| "is more than 1 EiB".to_owned())
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

macro_rules! counted {
    ($($ty:ty: $example:literal;)*) => {$(
        impl FromSetting for $ty {
            const EXAMPLE: &'static str = $example;
            fn from_setting(text: &str) -> Result<Self, String> {
                let count: u64 = text.parse().map_err(|_| "must be a whole number".to_owned())?;
                let count = Some(count).filter(|count| *count <= MOST);
                count
                    .and_then(|count| Self::try_from(count).ok())
                    .ok_or_else(|| format!("is more than {MOST}"))
            }
        }
    )*};
}

counted! {
    u32: "10";
    u64: "1000";
    usize: "16";
}

parsed! {
    u16: "8000";
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

    #[test]
    fn what_no_date_no_column_and_no_machine_holds_is_refused() {
        assert!(Seconds::from_setting("36500d").is_ok() && Days::from_setting("36500").is_ok());
        assert!(Size::from_setting("1048576TiB").is_ok());
        assert!(u32::from_setting("1000000000").is_ok() && usize::from_setting("0").is_ok());
        for refused in [
            Seconds::from_setting("36501d").err(),
            Seconds::from_setting("106751991167d").err(),
            Seconds::from_setting("18446744073709551615").err(),
            Days::from_setting("36501").err(),
            Days::from_setting("18446744073709551615").err(),
            Size::from_setting("1048577TiB").err(),
            Size::from_setting("18446744073709551615").err(),
            u32::from_setting("1000000001").err(),
            u64::from_setting("18446744073709551615").err(),
            usize::from_setting("-1").err(),
        ] {
            assert!(refused.is_some());
        }
    }
}
