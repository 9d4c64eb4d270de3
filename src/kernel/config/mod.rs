//! Settings: process environment, then `.env`, then defaults, in that order.
//!
//! A section is a struct with `fn read(&mut Reader) -> Self`. The reader never stops at the first
//! fault: it collects all of them, each with the variable's name, what is wrong and an example, so
//! that one start tells everything. It also remembers every setting that was asked for; that list
//! is what `config show` prints and what `.env.example` is compared with.

mod env;
mod reader;
mod values;

pub use env::{Env, Source};
pub use reader::{ConfigFault, ConfigFaults, Reader, SettingView};
pub use values::{Days, FromSetting, List, Seconds, Size};

/// One environment variable: its name, its default as text (empty = unset) and one line of help.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    pub help: &'static str,
    pub secret: bool,
}

impl Setting {
    pub const fn new(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Setting {
            name,
            default,
            help,
            secret: false,
        }
    }

    /// A setting whose value is never printed.
    pub const fn secret(name: &'static str, help: &'static str) -> Self {
        Setting {
            name,
            default: "",
            help,
            secret: true,
        }
    }
}

/// Implements [`FromSetting`] for an enum of fixed words.
///
/// ```ignore
/// setting_enum!(LogFormat { Text = "text", Json = "json" });
/// ```
#[macro_export]
macro_rules! setting_enum {
    ($name:ident { $first:ident = $first_word:literal $(, $variant:ident = $word:literal)* $(,)? }) => {
        impl $crate::config::FromSetting for $name {
            const EXAMPLE: &'static str = concat!($first_word $(, " or ", $word)*);
            fn from_setting(text: &str) -> Result<Self, String> {
                match text {
                    $first_word => Ok($name::$first),
                    $($word => Ok($name::$variant),)*
                    _ => Err("is none of the words it may be".to_owned()),
                }
            }
        }
    };
}
