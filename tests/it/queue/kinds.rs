//! Jobs made for these tests. Each server gets its own notebook, where runs and hooks are written.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yunque_kernel::queue::{Job, JobContext, JobError, NewJob, Plan};
use yunque_kernel::{Db, DbError, JobId, Tx};

use crate::support::TestServer;

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Notebook(Arc<Mutex<Vec<String>>>);

impl Notebook {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|l| *l == line).count()
    }
}

/// Does as it is told: `ok`, `retry`, `fail`, `panic`, `hang`, `slow`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Obedient {
    pub name: String,
    pub order: String,
}

#[async_trait]
impl Job for Obedient {
    const KIND: &'static str = "test_obedient";
    type Domain = Notebook;

    fn subject(&self) -> Option<String> {
        Some(self.name.clone())
    }

    async fn run(&self, notebook: &Notebook, cx: &JobContext) -> Result<(), JobError> {
        notebook.write(format!("run {}", self.name));
        match self.order.as_str() {
            "retry" => Err(JobError::retry(format!("no luck {}", cx.attempt))),
            "fail" => Err(JobError::fail("never")),
            "panic" => panic!("as ordered"),
            "hang" => std::future::pending().await,
            "slow" => {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                notebook.write(format!("end {}", self.name));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn on_attempt_failed(&self, notebook: &Notebook, _: &Tx, reason: &str) -> Result<(), DbError> {
        notebook.write(format!("failed {} {reason}", self.name));
        Ok(())
    }

    async fn on_dead(&self, notebook: &Notebook, _: &Tx, reason: &str) -> Result<(), DbError> {
        notebook.write(format!("dead {} {reason}", self.name));
        Ok(())
    }

    async fn on_retry(&self, notebook: &Notebook, _: &Tx) -> Result<(), JobError> {
        if self.name == "stubborn" {
            return Err(JobError::fail("not again"));
        }
        notebook.write(format!("revived {}", self.name));
        Ok(())
    }

    async fn on_cancel(&self, notebook: &Notebook, _: &Tx) -> Result<(), DbError> {
        notebook.write(format!("cancelled {}", self.name));
        Ok(())
    }

    async fn expected(_: &Notebook, _: &Db) -> Result<Option<Vec<String>>, DbError> {
        Ok(Some(vec!["wanted".to_owned()]))
    }
}

pub fn plan() -> Plan {
    Plan {
        max_attempts: 4,
        retry_base: Duration::from_secs(60),
        jitter: 0.0,
        timeout: Duration::from_millis(700),
        ..Plan::default()
    }
}

/// Makes the kind known to a server.
pub fn register(server: &TestServer) -> Notebook {
    let notebook = Notebook::default();
    server
        .app
        .ctx
        .queue
        .register::<Obedient>(notebook.clone(), plan());
    notebook
}

pub fn job(name: &str, order: &str) -> NewJob {
    NewJob::new(&Obedient {
        name: name.to_owned(),
        order: order.to_owned(),
    })
}

/// Enqueues in a transaction of its own.
pub async fn enqueue(server: &TestServer, job: NewJob) -> Option<JobId> {
    let queue = server.app.ctx.queue.clone();
    let enqueued = server.app.ctx.db.write("test.enqueue", move |tx: Tx| {
        let (queue, job) = (queue.clone(), job.clone());
        async move { queue.enqueue(&tx, job).await }
    });
    enqueued.await.expect("enqueue")
}

pub async fn enqueue_many(server: &TestServer, jobs: Vec<NewJob>) -> Vec<JobId> {
    let queue = server.app.ctx.queue.clone();
    let enqueued = server.app.ctx.db.write("test.enqueue_many", move |tx: Tx| {
        let (queue, jobs) = (queue.clone(), jobs.clone());
        async move { queue.enqueue_many(&tx, jobs).await }
    });
    enqueued.await.expect("enqueue")
}

pub async fn state(server: &TestServer, id: JobId) -> String {
    server
        .app
        .ctx
        .queue
        .find(id)
        .await
        .expect("jobs")
        .map_or_else(|| "gone".to_owned(), |row| row.state)
}
