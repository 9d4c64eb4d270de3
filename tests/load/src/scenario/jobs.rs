//! Jobs that do nothing, against BullMQ on the same Redis; and one user's backlog in front of
//! another user's job.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{number, own};
use crate::Fault;
use crate::noop::{Link, Noops};
use crate::server::{Peers, Place, Size};
use crate::table::{Row, Table};

const JOBS: u64 = 20_000;
const BACKLOG: u64 = 100_000;
const ROUNDS: u32 = 3;
/// In each process, ours and theirs.
const CONCURRENCY: &str = "50";

pub async fn run(peers: &Peers, table: &mut Table) -> Result<(), Fault> {
    let place = Place::fresh(peers, Size::Servers).await?;
    let link = Link {
        database: place.database.clone(),
        redis: place.redis.clone().ok_or("this scenario needs --redis")?,
        prefix: format!("load-{}:", uuid::Uuid::new_v4().simple()),
    };
    let noops = Noops::open(&link).await?;
    let (mut ours, mut theirs, mut theirs_alone) = (0.0, 0.0, 0.0);
    for _ in 0..ROUNDS {
        noops.forget().await?;
        let workers = [worker(&link)?, worker(&link)?];
        // One small batch first: connections are open and statements prepared, as in BullMQ.
        noops.enqueue(1, 100).await?;
        noops.wait_for(100).await?;
        let begun = Instant::now();
        noops.enqueue(1, JOBS).await?;
        let stored = begun.elapsed();
        noops.wait_for(JOBS + 100).await?;
        let rate = JOBS as f64 / begun.elapsed().as_secs_f64();
        println!(
            "    2 workers: {rate:.0}/s, stored in {:.1} s",
            stored.as_secs_f64()
        );
        ours += rate;
        end(workers).await?;
        if let Some(folder) = &peers.bullmq {
            theirs += bullmq(folder, &link, 2).await?;
            theirs_alone += bullmq(folder, &link, 1).await?;
        }
    }
    let rounds = f64::from(ROUNDS);
    if peers.bullmq.is_some() {
        let figure = "20,000 no-op jobs, 2 workers / BullMQ, 2 processes";
        table.add(Row::ratio(figure, ours / rounds, theirs / rounds, 100.0, "/s"));
        table.add(Row::info(
            "the aim beyond: BullMQ, 1 process",
            format!("{:.0}/s", theirs_alone / rounds),
        ));
    } else {
        table.add(Row::info(
            "20,000 no-op jobs, 2 workers",
            format!("{:.0}/s", ours / rounds),
        ));
    }
    fairness(&noops, &link, table).await
}

async fn fairness(noops: &Noops, link: &Link, table: &mut Table) -> Result<(), Fault> {
    noops.forget().await?;
    noops.enqueue(1, BACKLOG).await?;
    let workers = [worker(link)?, worker(link)?];
    noops.wait_for(2000).await?;
    let begun = Instant::now();
    noops.enqueue(2, 1).await?;
    while noops.done(2).await? == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delay = begun.elapsed().as_secs_f64() * 1000.0;
    let left = BACKLOG.saturating_sub(noops.done(1).await?);
    println!("    {left} jobs of the other user were still waiting");
    table.add(Row::at_most(
        "first job of a user behind 100,000 of another",
        delay,
        2000.0,
        " ms",
    ));
    end(workers).await
}

fn worker(link: &Link) -> Result<Child, Fault> {
    let Link {
        database,
        redis,
        prefix,
    } = link;
    let arguments = [
        "noop-worker",
        "--database",
        database,
        "--redis",
        redis,
        "--prefix",
        prefix,
        "--concurrency",
        CONCURRENCY,
    ];
    Ok(own(&arguments)?.spawn()?)
}

async fn end(workers: impl IntoIterator<Item = Child>) -> Result<(), Fault> {
    for mut worker in workers {
        worker.kill().await?;
    }
    Ok(())
}

/// Jobs per second with so many worker processes.
async fn bullmq(folder: &std::path::Path, link: &Link, processes: usize) -> Result<f64, Fault> {
    let queue = format!("load-{}", uuid::Uuid::new_v4().simple());
    let node = |script: &str| {
        let mut command = Command::new("node");
        command
            .arg(folder.join(script))
            .arg(&link.redis)
            .arg(&queue)
            .kill_on_drop(true);
        command
    };
    let mut workers = Vec::new();
    for _ in 0..processes {
        let mut worker = node("worker.mjs")
            .arg(CONCURRENCY)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = worker.stdout.take().ok_or("no output")?;
        // It says "ready" once.
        BufReader::new(output).lines().next_line().await?;
        workers.push(worker);
    }
    let rate = number(node("produce.mjs").arg(JOBS.to_string())).await?;
    println!("    BullMQ, {processes} processes: {rate:.0}/s");
    end(workers).await?;
    Ok(rate)
}
