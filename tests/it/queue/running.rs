//! Enqueueing and running.

use std::time::Duration;

use yunque_kernel::queue::Priority;
use yunque_kernel::{DbError, Tx, UserId};

use super::kinds::{enqueue, enqueue_many, job, register, state};
use crate::support::{TestServer, eventually};

#[tokio::test]
async fn queue_runs_a_committed_job_once() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let id = enqueue(&server, job("a", "ok")).await.expect("an id");
    server.settle().await;
    assert_eq!(notebook.lines(), ["run a"]);
    assert_eq!(state(&server, id).await, "done");
}

#[tokio::test]
async fn queue_forgets_a_job_whose_transaction_rolls_back() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let queue = server.app.ctx.queue.clone();
    let result: Result<(), DbError> = server
        .app
        .ctx
        .db
        .write("test.rollback", move |tx: Tx| {
            let queue = queue.clone();
            async move {
                queue.enqueue(&tx, job("a", "ok")).await?;
                Err(DbError::Other("on purpose".into()))
            }
        })
        .await;
    assert!(result.is_err());
    enqueue(&server, job("b", "ok")).await;
    server.settle().await;
    assert_eq!(notebook.lines(), ["run b"]);
}

#[tokio::test]
async fn queue_retries_with_growing_waits_and_then_gives_up() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let id = enqueue(&server, job("a", "retry")).await.expect("an id");
    server.settle().await;
    for (runs, wait) in [(1, 60), (2, 120), (3, 240)] {
        assert_eq!(notebook.count("run a"), runs);
        server.later(Duration::from_secs(wait - 5)).await;
        assert_eq!(notebook.count("run a"), runs, "too early");
        server.later(Duration::from_secs(6)).await;
        eventually("the next attempt", 10, || async {
            notebook.count("run a") == runs + 1
        })
        .await;
        server.settle().await;
    }
    let row = server.app.ctx.queue.find(id).await.unwrap().expect("a row");
    assert_eq!((row.state.as_str(), row.attempts), ("dead", 4));
    assert_eq!(row.last_error.as_deref(), Some("no luck 4"));
    assert_eq!(notebook.count("failed a no luck 1"), 1);
    assert_eq!(notebook.count("dead a no luck 4"), 1);
    server.later(Duration::from_secs(100_000)).await;
    assert_eq!(notebook.count("run a"), 4);
}

#[tokio::test]
async fn queue_gives_up_at_once_on_a_final_error() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let id = enqueue(&server, job("a", "fail")).await.expect("an id");
    server.settle().await;
    assert_eq!(notebook.lines(), ["run a", "dead a never"]);
    assert_eq!(state(&server, id).await, "dead");
}

#[tokio::test]
async fn queue_survives_panics_and_timeouts_of_handlers() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    enqueue(&server, job("p", "panic")).await;
    enqueue(&server, job("h", "hang")).await;
    eventually("both failed", 10, || async {
        notebook.count("failed p panicked") == 1 && notebook.count("failed h timed out") == 1
    })
    .await;
    enqueue(&server, job("after", "ok")).await;
    server.settle().await;
    assert_eq!(notebook.count("run after"), 1);
}

#[tokio::test]
async fn queue_keeps_one_live_job_for_a_dedupe_key() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let later = server.clock.now() + chrono::TimeDelta::seconds(3600);
    let first = enqueue(&server, job("a", "ok").dedupe("k").run_at(later)).await;
    assert!(first.is_some());
    assert_eq!(enqueue(&server, job("b", "ok").dedupe("k")).await, None);
    server.later(Duration::from_secs(3601)).await;
    eventually("it ran", 10, || async { notebook.count("run a") == 1 }).await;
    server.settle().await;
    assert!(enqueue(&server, job("c", "ok").dedupe("k")).await.is_some());
    server.settle().await;
    assert_eq!(notebook.lines(), ["run a", "run c"]);
}

#[tokio::test]
async fn queue_serves_another_user_before_a_backlog() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let backlog = (0..1500)
        .map(|i| job(&format!("a{i}"), "ok").owner(UserId(1)))
        .collect();
    let ids = enqueue_many(&server, backlog).await;
    assert_eq!(ids.len(), 1500);
    enqueue(&server, job("b", "ok").owner(UserId(2))).await;
    server.settle().await;
    let lines = notebook.lines();
    let place = lines.iter().position(|l| l == "run b").expect("it ran");
    assert_eq!(lines.len(), 1501);
    assert!(place < 1000, "ran as number {place}");
}

#[tokio::test]
async fn queue_runs_high_priority_first() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let mut jobs: Vec<_> = (0..300).map(|i| job(&format!("n{i}"), "ok")).collect();
    jobs.push(job("urgent", "ok").priority(Priority::High));
    enqueue_many(&server, jobs).await;
    server.settle().await;
    let place = notebook
        .lines()
        .iter()
        .position(|l| l == "run urgent")
        .expect("it ran");
    assert!(place < 150, "ran as number {place}");
}

#[tokio::test]
async fn queue_puts_back_kinds_it_does_not_know_and_buries_them_after_an_hour() {
    let server = TestServer::start().await;
    let id = enqueue(&server, job("a", "ok")).await.expect("an id");
    server.settle().await;
    let row = server.app.ctx.queue.find(id).await.unwrap().expect("a row");
    assert_eq!((row.state.as_str(), row.attempts), ("ready", 0));
    server.later(Duration::from_secs(3700)).await;
    eventually("given up", 10, || async { state(&server, id).await == "dead" }).await;
    // A build that knows the kind picks it up after a retry.
    let notebook = register(&server);
    server.app.ctx.queue.retry(id).await.expect("retry");
    server.settle().await;
    assert_eq!(notebook.lines(), ["revived a", "run a"]);
}

#[tokio::test]
async fn queue_finds_jobs_that_the_carrier_never_heard_of() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    // As after a crash between commit and push: the row is there, nobody was told.
    let later = server.clock.now() + chrono::TimeDelta::seconds(600);
    let ids = enqueue_many(
        &server,
        (0..50)
            .map(|i| job(&format!("j{i}"), "ok").run_at(later))
            .collect(),
    )
    .await;
    server.later(Duration::from_secs(601)).await;
    eventually("all ran", 15, || async { notebook.lines().len() == 50 }).await;
    server.settle().await;
    for id in ids {
        assert_eq!(state(&server, id).await, "done");
    }
}
