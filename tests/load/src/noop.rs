//! Jobs that do nothing, on the kernel's own queue. The product has no such kind, so these workers
//! are processes of this program.

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use yunque_kernel::config::{Env, Reader};
use yunque_kernel::db::DbSettings;
use yunque_kernel::queue::{
    Carrier, Job, JobContext, JobError, NewJob, Plan, Queue, QueueSettings, Worker, WorkerOptions,
};
use yunque_kernel::redis_link::RedisLink;
use yunque_kernel::{Clock, Db, DbError, Tx, UserId};

use crate::Fault;
use crate::server::sql;

/// The queue of these jobs.
pub const QUEUE: &str = "noop";
/// Jobs stored by one transaction.
const BATCH: usize = 500;

#[derive(Serialize, Deserialize)]
struct Noop {
    n: u64,
}

#[async_trait]
impl Job for Noop {
    const KIND: &'static str = "load_noop";
    type Domain = ();

    async fn run(&self, (): &(), _: &JobContext) -> Result<(), JobError> {
        Ok(())
    }
}

/// Where the jobs are.
#[derive(Clone, Debug, clap::Args)]
pub struct Link {
    #[arg(long)]
    pub database: String,
    #[arg(long)]
    pub redis: String,
    /// Before every Redis key
    #[arg(long)]
    pub prefix: String,
}

/// The kernel's queue over a database and a Redis, with nothing else of the product.
#[derive(Clone)]
pub struct Noops {
    db: Db,
    queue: Queue,
}

impl Noops {
    /// # Errors
    /// The database does not answer.
    pub async fn open(link: &Link) -> Result<Self, Fault> {
        let env = Env::fixed([("DATABASE_URL", link.database.as_str())]);
        let mut reader = Reader::new(&env);
        let settings = DbSettings::read(&mut reader, std::path::Path::new("."));
        let queue = QueueSettings::read(&mut reader);
        let db = Db::connect(&settings).await?;
        let redis = RedisLink::open(&SecretString::from(link.redis.as_str()), link.prefix.as_str())?;
        let queue = Queue::new(db.clone(), Clock::default(), Carrier::redis(redis), queue);
        queue.register::<Noop>((), Plan::default());
        Ok(Noops { db, queue })
    }

    /// Works until the process is ended.
    ///
    /// # Errors
    /// The worker cannot start, or dies.
    pub async fn work(self, concurrency: usize) -> Result<(), Fault> {
        let options = WorkerOptions {
            queues: vec![(QUEUE.to_owned(), concurrency)],
            sole: false,
        };
        let worker = Worker::start(self.queue, options, Vec::new()).await?;
        worker.failed().await;
        Err("the worker died".into())
    }

    /// Stores `n` jobs of one user, a batch at a time.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn enqueue(&self, user: i64, n: u64) -> Result<(), DbError> {
        let mut first = 0;
        while first < n {
            let last = n.min(first + BATCH as u64);
            let queue = self.queue.clone();
            self.db
                .write("noop.enqueue", move |tx: Tx| {
                    let queue = queue.clone();
                    async move {
                        let job = |n| NewJob::new(&Noop { n }).queue(QUEUE).owner(UserId(user));
                        queue.enqueue_many(&tx, (first..last).map(job).collect()).await?;
                        Ok::<_, DbError>(())
                    }
                })
                .await?;
            first = last;
        }
        Ok(())
    }

    /// Finished jobs of one user.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn done(&self, user: i64) -> Result<u64, DbError> {
        let text = "SELECT COUNT(*) FROM jobs WHERE queue = ? AND state = 'done' AND fair_key = ?";
        self.count(text, [QUEUE.into(), user.into()]).await
    }

    /// Finished jobs of everybody; reads an index only.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn all_done(&self) -> Result<u64, DbError> {
        self.count(
            "SELECT COUNT(*) FROM jobs WHERE queue = ? AND state = 'done'",
            [QUEUE.into()],
        )
        .await
    }

    async fn count(
        &self,
        text: &str,
        values: impl IntoIterator<Item = sea_orm::Value>,
    ) -> Result<u64, DbError> {
        let row = self
            .db
            .reader()
            .query_one_raw(sql(DbBackend::MySql, text, values))
            .await?;
        let n: i64 = row.map_or(Ok(0), |r| r.try_get_by_index(0))?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    /// Removes all finished jobs.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn forget(&self) -> Result<(), DbError> {
        self.db
            .writer()
            .execute_unprepared("DELETE FROM jobs WHERE state = 'done'")
            .await?;
        Ok(())
    }

    /// Waits until `n` jobs are done.
    ///
    /// # Errors
    /// They are not within two minutes.
    pub async fn wait_for(&self, n: u64) -> Result<(), Fault> {
        let all = async {
            while self.all_done().await? < n {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok::<_, Fault>(())
        };
        tokio::time::timeout(Duration::from_secs(120), all).await?
    }
}
