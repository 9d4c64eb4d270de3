//! What operators do.

use std::time::Duration;

use yunque_kernel::JobId;
use yunque_kernel::queue::JobState;
use yunque_kernel::queue::admin::{AdminError, Filter};

use super::kinds::{enqueue, job, register, state};
use crate::support::{TestServer, sql};

#[tokio::test]
async fn queue_admin_retries_a_dead_job_once() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let id = enqueue(&server, job("a", "fail")).await.expect("an id");
    server.settle().await;
    let queue = &server.app.ctx.queue;
    // A job that has failed again may be retried again, so this run takes its time.
    sql::execute(
        &server,
        "UPDATE jobs SET payload = REPLACE(payload, '\"fail\"', '\"slow\"')",
    )
    .await;
    queue.retry(id).await.expect("retry");
    assert!(matches!(queue.retry(id).await, Err(AdminError::WrongState(_))));
    server.settle().await;
    assert_eq!(notebook.count("run a"), 2);
    assert_eq!(notebook.count("revived a"), 1);
    assert!(matches!(
        queue.retry(JobId(999_999)).await,
        Err(AdminError::NotFound)
    ));
}

#[tokio::test]
async fn queue_admin_respects_the_domains_refusal() {
    let server = TestServer::start().await;
    register(&server);
    let id = enqueue(&server, job("stubborn", "fail")).await.expect("an id");
    server.settle().await;
    let refused = server.app.ctx.queue.retry(id).await;
    assert!(matches!(refused, Err(AdminError::Refused(reason)) if reason == "not again"));
    assert_eq!(state(&server, id).await, "dead");
}

#[tokio::test]
async fn queue_admin_cancels_waiting_jobs_only() {
    let server = TestServer::start().await;
    let notebook = register(&server);
    let later = server.clock.now() + chrono::TimeDelta::seconds(3600);
    let id = enqueue(&server, job("a", "ok").run_at(later).dedupe("k"))
        .await
        .expect("an id");
    let queue = &server.app.ctx.queue;
    queue.cancel(id).await.expect("cancel");
    assert_eq!(notebook.lines(), ["cancelled a"]);
    assert!(matches!(queue.cancel(id).await, Err(AdminError::WrongState(_))));
    server.later(Duration::from_secs(3700)).await;
    assert_eq!(notebook.count("run a"), 0);
    // The key is free again.
    assert!(enqueue(&server, job("b", "ok").dedupe("k")).await.is_some());
}

#[tokio::test]
async fn queue_admin_purges_finished_jobs_and_keeps_their_count() {
    let server = TestServer::start().await;
    register(&server);
    for i in 0..3 {
        enqueue(&server, job(&format!("j{i}"), "ok")).await;
    }
    let dead = enqueue(&server, job("d", "fail")).await.expect("an id");
    server.settle().await;
    let queue = &server.app.ctx.queue;
    let mine = || async {
        let filter = Filter {
            kind: Some("test_obedient".into()),
            ..Filter::default()
        };
        queue.list(&filter, 100).await.unwrap().len()
    };
    assert_eq!(mine().await, 4);
    let soon = server.clock.now() + chrono::TimeDelta::seconds(10);
    let purged = queue.purge(JobState::Done, soon, |_| {}).await.expect("purge");
    assert!(purged >= 3);
    assert_eq!(mine().await, 1);
    assert_eq!(state(&server, dead).await, "dead");
    let sql = "SELECT count FROM job_daily WHERE kind = 'test_obedient' AND state = 'done'";
    let conn = server.app.ctx.db.reader();
    let stmt =
        yunque_kernel::db::dialect::statement(sea_orm::ConnectionTrait::get_database_backend(conn), sql, []);
    let row = sea_orm::ConnectionTrait::query_one_raw(conn, stmt)
        .await
        .unwrap()
        .expect("a day");
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 3);
}

#[tokio::test]
async fn queue_admin_audit_names_missing_and_stray_jobs() {
    let server = TestServer::start().await;
    register(&server);
    let later = server.clock.now() + chrono::TimeDelta::seconds(3600);
    let stray = enqueue(&server, job("stray", "ok").run_at(later))
        .await
        .expect("an id");
    let audit = server.app.ctx.queue.audit().await.expect("audit");
    assert_eq!(audit.without_job["test_obedient"], ["wanted"]);
    assert_eq!(audit.without_subject["test_obedient"], [stray.0]);
    enqueue(&server, job("wanted", "ok").run_at(later)).await;
    let audit = server.app.ctx.queue.audit().await.expect("audit");
    assert!(!audit.without_job.contains_key("test_obedient"));
}
