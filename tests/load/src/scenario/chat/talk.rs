//! What is said, and how fast.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::Fault;
use crate::crowd::Crowd;
use crate::socket::{TEXT, frame};

/// A chat message of usual length.
pub const SAYING: &str = "大家好，明天下午三点的会议改到二楼的小会议室，请提前十分钟到，带上上周的数据。";
/// Messages on their way at once, below the 256 frames that a socket may be behind.
const UNDER_WAY: u64 = 128;
const WARM_UP: Duration = Duration::from_secs(1);
/// Nothing arrives for so long: something is wrong.
const STUCK: Duration = Duration::from_secs(10);

/// In what form a server wants a message.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Ours makes the frame for all from what it is told.
    Told,
    /// A peer passes on what it gets. So it gets a frame as long as ours, head included.
    Passed { length: u64 },
}

impl Form {
    /// The frame of message number `n`.
    fn frame(self, n: u64, sent: u64) -> Vec<u8> {
        let content = format!("~{sent:012} {SAYING}");
        let payload = match self {
            Form::Told => format!(r#"{{"type":"chat_message","content":"{content}"}}"#),
            Form::Passed { length } => {
                let front = format!(
                    r#"{{"type":"chat_message","message":{{"id":{n},"seq":{n},"content":"{content}","rest":""#
                );
                // The head of a frame of 126 to 65,535 bytes is four bytes long.
                let rest = (length as usize).saturating_sub(front.len() + 4 + 3);
                format!(r#"{front}{}"}}}}"#, "x".repeat(rest))
            }
        };
        frame(TEXT, payload.as_bytes())
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages that arrived, over all sockets, per second.
    pub deliveries: f64,
    pub messages: f64,
    /// Of a frame, on average.
    pub length: f64,
}

impl Pace {
    pub fn line(&self) -> String {
        let Pace {
            deliveries,
            messages,
            length,
        } = self;
        format!(
            "{deliveries:.0} deliveries/s ({messages:.0} messages/s, frames of {length:.0} bytes, {:.0} MB/s)",
            deliveries * length / 1e6
        )
    }
}

/// As fast as it goes.
///
/// # Errors
/// Not everything arrives.
pub async fn blast(crowd: &Crowd, form: Form, time: Duration) -> Result<Pace, Fault> {
    let before = crowd.seen();
    let begun = Instant::now();
    let (mut sent, mut counted_from, mut moved) = (0, None, (before.messages, begun));
    let (from, until) = loop {
        let (now, seen) = (Instant::now(), crowd.seen());
        if seen.messages > moved.0 {
            moved = (seen.messages, now);
        }
        if seen.closed + seen.errors > 0 || now - moved.1 > STUCK {
            return Err(crowd.fault("no longer delivered"));
        }
        if counted_from.is_none() && now >= begun + WARM_UP {
            counted_from = Some((now, seen));
        }
        if let Some(from) = counted_from
            && now >= begun + WARM_UP + time
        {
            break (from, (now, seen));
        }
        let arrived = (seen.messages - before.messages) / crowd.len();
        let next = (arrived + UNDER_WAY).max(sent);
        let frames: Vec<u8> = (sent..next).flat_map(|n| form.frame(n + 1, 0)).collect();
        crowd.say(&frames).await?;
        sent = next;
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let expected = before.messages + sent * crowd.len();
    crowd
        .wait("not everything arrived", STUCK, |seen| seen.messages >= expected)
        .await?;
    let seconds = (until.0 - from.0).as_secs_f64();
    let messages = (until.1.messages - from.1.messages) as f64;
    Ok(Pace {
        deliveries: messages / seconds,
        messages: messages / crowd.len() as f64 / seconds,
        length: (until.1.bytes - from.1.bytes) as f64 / messages,
    })
}

/// What came of a steady stream.
#[derive(Clone, Debug)]
pub struct Steadiness {
    /// Messages per second that were sent.
    pub rate: f64,
    /// Messages that a socket did not get, got twice, or got out of order; over all sockets.
    pub lost: u64,
    /// Microseconds, sorted.
    delays: Vec<u32>,
}

impl Steadiness {
    /// In milliseconds.
    pub fn quantile(&self, q: f64) -> f64 {
        let at = (self.delays.len().saturating_sub(1) as f64 * q).round() as usize;
        self.delays.get(at).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    }

    pub fn line(&self) -> String {
        format!(
            "{:.0} messages/s, {} deliveries: p50 {:.1} ms, p99 {:.1} ms, slowest {:.1} ms; lost or doubled: {}",
            self.rate,
            self.delays.len(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
            self.lost
        )
    }
}

/// So many messages a second, each with the moment at which it is sent, through a crowd that
/// [follows](crate::crowd::Look::Follow) and has heard nothing yet.
///
/// # Errors
/// A socket is closed.
pub async fn steady(crowd: &Crowd, form: Form, per_second: u32, time: Duration) -> Result<Steadiness, Fault> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < WARM_UP + time {
        ticks.tick().await;
        // Those of the warm-up are counted, but not their delays.
        let at = if begun.elapsed() < WARM_UP {
            0
        } else {
            crowd.clock()
        };
        sent += 1;
        crowd.say(&form.frame(sent, at)).await?;
    }
    let rate = sent as f64 / begun.elapsed().as_secs_f64();
    crowd.settled(sent * crowd.len()).await;
    if crowd.seen().closed + crowd.seen().errors > 0 {
        return Err(crowd.fault("not everything arrived"));
    }
    let mut delays = Vec::new();
    let mut lost = 0;
    for heard in crowd.heard() {
        lost += heard.breaks + heard.messages.abs_diff(sent);
        delays.extend(heard.delays);
    }
    delays.sort_unstable();
    Ok(Steadiness { rate, lost, delays })
}
