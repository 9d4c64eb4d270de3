//! Closed-loop load: each connection sends its next request when it has the answer to the last.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Conn;

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Time(Duration),
    /// So many requests, over all connections.
    Count(usize),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Drive {
    pub server: SocketAddr,
    pub connections: usize,
    pub until: Until,
    /// Answers before this are not counted.
    pub warm_up: Duration,
    /// Wait of a connection between an answer and its next request.
    pub pause: Duration,
    /// Source addresses start here, so that several runs at once are different clients.
    pub first_client: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Answers below 400.
    pub good: usize,
    /// Others, by status; 0 is a broken connection.
    pub bad: BTreeMap<u16, usize>,
    pub took: Duration,
    /// Sorted, of good answers.
    latencies: Vec<Duration>,
}

impl Report {
    /// Good answers per second.
    pub fn rate(&self) -> f64 {
        self.good as f64 / self.took.as_secs_f64()
    }

    pub fn quantile(&self, q: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * q).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// `12,345/s, p50 1.2 ms, p99 3.4 ms`, and what went wrong.
    pub fn line(&self) -> String {
        let ms = |q| self.quantile(q).as_secs_f64() * 1000.0;
        let mut line = format!(
            "{:.0}/s, p50 {:.1} ms, p99 {:.1} ms",
            self.rate(),
            ms(0.5),
            ms(0.99)
        );
        if !self.bad.is_empty() {
            line.push_str(&format!(", BAD ANSWERS {:?}", self.bad));
        }
        line
    }

    fn add(&mut self, other: Report) {
        self.good += other.good;
        self.latencies.extend(other.latencies);
        for (status, n) in other.bad {
            *self.bad.entry(status).or_default() += n;
        }
    }
}

impl Drive {
    pub fn new(server: SocketAddr, connections: usize, until: Until) -> Self {
        Drive {
            server,
            connections,
            until,
            warm_up: Duration::ZERO,
            pause: Duration::ZERO,
            first_client: 0,
        }
    }

    /// Connection `i` repeats `requests[i % requests.len()]`.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn run(&self, requests: &[Arc<[u8]>]) -> io::Result<Report> {
        let mut conns = Vec::with_capacity(self.connections);
        for i in 0..self.connections {
            conns.push(Conn::open(self.server, self.first_client + i).await?);
        }
        let begun = Instant::now();
        let sent = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for (i, conn) in conns.into_iter().enumerate() {
            let request = requests[i % requests.len()].clone();
            tasks.spawn(repeat(self.clone(), i, conn, request, begun, sent.clone()));
        }
        let mut report = Report::default();
        while let Some(done) = tasks.join_next().await {
            report.add(done.map_err(io::Error::other)??);
        }
        report.latencies.sort_unstable();
        report.took = match self.until {
            Until::Time(time) => time,
            Until::Count(_) => begun.elapsed(),
        };
        Ok(report)
    }
}

async fn repeat(
    drive: Drive,
    index: usize,
    mut conn: Conn,
    request: Arc<[u8]>,
    begun: Instant,
    sent: Arc<AtomicUsize>,
) -> io::Result<Report> {
    let mut report = Report::default();
    loop {
        let at = Instant::now();
        let over = match drive.until {
            Until::Time(time) => at >= begun + drive.warm_up + time,
            Until::Count(count) => sent.fetch_add(1, Ordering::Relaxed) >= count,
        };
        if over {
            return Ok(report);
        }
        let status = conn.exchange(&request).await.unwrap_or(0);
        let now = Instant::now();
        let within = match drive.until {
            Until::Time(time) => now >= begun + drive.warm_up && now < begun + drive.warm_up + time,
            Until::Count(_) => true,
        };
        if within && (200..400).contains(&status) {
            report.good += 1;
            report.latencies.push(now - at);
        } else if within {
            *report.bad.entry(status).or_default() += 1;
        }
        if status == 0 {
            conn = Conn::open(drive.server, drive.first_client + index).await?;
        }
        if !drive.pause.is_zero() {
            tokio::time::sleep(drive.pause).await;
        }
    }
}
