//! Workers that die, stop, or are told to.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use yunque_kernel::db::dialect;

use super::kinds::{Obedient, enqueue, job, plan, register, state};
use crate::support::{TestServer, eventually, raw};

/// Makes a job look as if a worker took it and died.
async fn orphan(server: &TestServer, id: yunque_kernel::JobId) {
    let sql = "UPDATE jobs SET state = 'running', lease_owner = 'gone-1-abc', started_at = ? WHERE id = ?";
    let values = [server.clock.now().into(), id.into()];
    assert_eq!(
        dialect::execute(server.app.ctx.db.writer(), sql, values)
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn queue_gives_jobs_of_a_silent_worker_to_others() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let later = server.clock.now() + chrono::TimeDelta::seconds(60);
    let id = enqueue(&server, job("a", "ok").run_at(later))
        .await
        .expect("an id");
    orphan(&server, id).await;
    server.clock.advance(Duration::from_secs(61));
    let begun = Instant::now();
    eventually("it ran", 12, || async { notebook.count("run a") == 1 }).await;
    // Expiry 4 s, plus at most 5 s (reliability Q2).
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    server.settle().await;
    let row = server.app.ctx.queue.find(id).await.unwrap().expect("a row");
    assert_eq!((row.state.as_str(), row.losses, row.attempts), ("done", 1, 0));
}

#[tokio::test]
async fn queue_buries_a_job_that_lost_twenty_workers() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let later = server.clock.now() + chrono::TimeDelta::seconds(6000);
    let id = enqueue(&server, job("killer", "ok").run_at(later))
        .await
        .expect("an id");
    let sql = "UPDATE jobs SET losses = 19 WHERE id = ?";
    dialect::execute(server.app.ctx.db.writer(), sql, [id.into()])
        .await
        .unwrap();
    orphan(&server, id).await;
    eventually("it is dead", 12, || async { state(&server, id).await == "dead" }).await;
    assert_eq!(notebook.lines(), ["dead killer lost its worker too often"]);
}

#[tokio::test]
async fn queue_tells_of_a_loop_that_panics() {
    let server = TestServer::start().await;
    let queues = ["mail".to_owned()];
    let worker = server
        .app
        .start_worker(Some(&queues), None)
        .await
        .expect("starts");
    // No moment is that late, so whoever asks for the time next panics.
    server.clock.advance(Duration::MAX);
    let told = tokio::time::timeout(Duration::from_secs(20), worker.failed()).await;
    assert!(told.is_ok(), "the worker looks alive");
}

#[tokio::test]
async fn queue_lets_running_jobs_finish_when_it_stops() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    server.app.ctx.queue.register::<Obedient>(
        notebook.clone(),
        yunque_kernel::queue::Plan {
            timeout: Duration::from_secs(10),
            ..plan()
        },
    );
    let id = enqueue(&server, job("s", "slow")).await.expect("an id");
    eventually("it runs", 5, || async { notebook.count("run s") == 1 }).await;
    let before = server.app.ctx.queue.live_workers().await.unwrap();
    let server = server.restart().await;
    assert_eq!(notebook.lines(), ["run s", "end s"]);
    assert_eq!(state(&server, id).await, "done");
    let after = server.app.ctx.queue.live_workers().await.unwrap();
    assert!(
        before
            .iter()
            .all(|(old, _)| after.iter().all(|(new, _)| new != old)),
        "the worker signed off"
    );
}

#[tokio::test]
async fn queue_takes_no_new_jobs_while_requests_end() {
    let server = TestServer::start().await;
    if server.app.redis.is_some() && !server.app.is_embedded() {
        // The worker is a process of its own there.
        return;
    }
    let mut slow = raw::connect(&server).await;
    slow.write_all(
        b"POST /user/login/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
    )
    .await
    .expect("sent");
    // Until the request is known, the connection is idle and ends at once.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let app = server.app.clone();
    let stopping = tokio::spawn(server.stop());
    eventually("the worker signs off", 5, || async {
        app.ctx.queue.live_workers().await.unwrap().is_empty()
    })
    .await;
    assert!(!stopping.is_finished(), "the request was not waited for");
    drop(slow);
    stopping.await.expect("a clean end");
}

#[tokio::test]
async fn queue_takes_leases_back_after_a_restart() {
    let server = TestServer::start().await;
    let later = server.clock.now() + chrono::TimeDelta::seconds(6000);
    let id = enqueue(&server, job("a", "ok").run_at(later))
        .await
        .expect("an id");
    orphan(&server, id).await;
    let server = server.restart().await;
    let notebook = register(&server);
    server.clock.advance(Duration::from_secs(6001));
    eventually("it ran", 12, || async { notebook.count("run a") == 1 }).await;
}
