//! Settings of WebSockets.

use std::time::Duration;

use crate::config::{Reader, Seconds, Setting, Size};
use crate::http::Rate;
use crate::http::limits::LimitSettings;

const MAX_CONNECTIONS: Setting = Setting::new(
    "WS_MAX_CONNECTIONS",
    "20000",
    "WebSockets open at once in one process; further handshakes are answered 503",
);
const MAX_PER_ROOM: Setting = Setting::new(
    "WS_MAX_PER_USER_AND_ROOM",
    "10",
    "WebSockets of one user in one room, in one process",
);
const HANDSHAKES: Setting = Setting::new(
    "WS_MAX_HANDSHAKES",
    "64",
    "Handshakes that are examined at once; 128 times as many wait up to 5s for that, others are answered 503",
);
const MAX_MESSAGE: Setting = Setting::new(
    "WS_MAX_MESSAGE",
    "64KiB",
    "Longest frame and longest message of a client",
);
const PING_INTERVAL: Setting = Setting::new("WS_PING_INTERVAL", "25s", "How often the server pings a client");
const IDLE_TIMEOUT: Setting = Setting::new(
    "WS_IDLE_TIMEOUT",
    "35s",
    "A client from which nothing came for so long is closed; longer than WS_PING_INTERVAL",
);
const WRITE_TIMEOUT: Setting = Setting::new(
    "WS_WRITE_TIMEOUT",
    "10s",
    "A client that takes no byte for so long is cut off",
);
const REPAIR_INTERVAL: Setting = Setting::new(
    "WS_REPAIR_INTERVAL",
    "5s",
    "How often rooms are compared with the database, in case a message between instances got lost",
);
const RESUME_MAX: Setting = Setting::new(
    "CHAT_RESUME_MAX",
    "1000",
    "Most messages that a socket replays after a reconnect",
);
const DRAIN: Setting = Setting::new(
    "WS_DRAIN",
    "6s",
    "Longest time over which the good-byes to all sockets are spread at shutdown; at most 7s",
);
const FRAME_RATE: Setting = Setting::new(
    "WS_FRAME_RATE",
    "50/s",
    "Frames of one socket, four seconds' worth at once (20 times as many in development)",
);

/// The longest spread that leaves the last sockets time to answer within eight seconds.
const LONGEST_DRAIN: Duration = Duration::from_secs(7);

/// Everything that sockets need to know.
#[derive(Clone, Debug)]
pub struct WsSettings {
    pub max_connections: usize,
    pub max_per_user_and_room: usize,
    pub max_handshakes: usize,
    /// Bytes.
    pub max_message: usize,
    pub ping_interval: Duration,
    pub idle_timeout: Duration,
    pub write_timeout: Duration,
    pub repair_interval: Duration,
    pub resume_max: u64,
    pub drain: Duration,
    /// `None`: not limited.
    pub frame_rate: Option<Rate>,
}

impl WsSettings {
    /// `production` is `APP_ENV=production`.
    pub fn read(r: &mut Reader<'_>, production: bool) -> Self {
        let mut frame_rate = Rate::wide(r, &FRAME_RATE, production);
        frame_rate.burst = frame_rate.count.saturating_mul(4);
        let settings = WsSettings {
            max_connections: r.get(&MAX_CONNECTIONS),
            max_per_user_and_room: r.above_zero(&MAX_PER_ROOM),
            max_handshakes: r.above_zero(&HANDSHAKES),
            max_message: usize::try_from(r.above_zero::<Size>(&MAX_MESSAGE).0).unwrap_or(usize::MAX),
            ping_interval: r.above_zero::<Seconds>(&PING_INTERVAL).0,
            idle_timeout: r.above_zero::<Seconds>(&IDLE_TIMEOUT).0,
            write_timeout: r.above_zero::<Seconds>(&WRITE_TIMEOUT).0,
            repair_interval: r.above_zero::<Seconds>(&REPAIR_INTERVAL).0,
            resume_max: r.above_zero(&RESUME_MAX),
            drain: r.get::<Seconds>(&DRAIN).0.min(LONGEST_DRAIN),
            frame_rate: LimitSettings::enabled(r).then_some(frame_rate),
        };
        if settings.idle_timeout <= settings.ping_interval {
            r.fault(
                &IDLE_TIMEOUT,
                "must be longer than WS_PING_INTERVAL, or every quiet client is closed",
                "Example: 35s with WS_PING_INTERVAL=25s.",
            );
        }
        settings
    }
}

#[cfg(test)]
impl WsSettings {
    /// Defaults of development, with the given variables.
    pub(crate) fn for_tests(values: &[(&str, &str)]) -> Self {
        let env = crate::config::Env::fixed(values.iter().copied());
        let mut reader = Reader::new(&env);
        let settings = Self::read(&mut reader, true);
        reader.finish(settings).expect("valid settings").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;

    #[test]
    fn a_timeout_below_the_ping_is_a_fault() {
        let env = Env::fixed([("WS_IDLE_TIMEOUT", "25s"), ("WS_WRITE_TIMEOUT", "0")]);
        let mut r = Reader::new(&env);
        let settings = WsSettings::read(&mut r, true);
        let faults = r.finish(settings).expect_err("two faults").0;
        let names: Vec<_> = faults.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["WS_WRITE_TIMEOUT", "WS_IDLE_TIMEOUT"]);
    }

    #[test]
    fn development_is_wider_and_load_tests_are_free() {
        let rate = |production, limited| {
            let env = Env::fixed([("RATE_LIMIT_ENABLED", limited)]);
            let rate = WsSettings::read(&mut Reader::new(&env), production).frame_rate;
            rate.map(|r| (r.count, r.burst))
        };
        assert_eq!(rate(true, "true"), Some((50, 200)));
        assert_eq!(rate(false, "true"), Some((1000, 4000)));
        assert_eq!(rate(true, "false"), None);
    }
}
