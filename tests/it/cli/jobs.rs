//! `jobs`: one by one, and all that a filter lets through.

use serde_json::json;
use yunque_accounts::AccountsSweep;
use yunque_kernel::Tx;
use yunque_kernel::queue::NewJob;

use super::Shell;
use crate::support::TestServer;

/// A queue that nobody drains.
pub(super) const PARKED: &str = "upload@0123456789abcdef0123456789abcdef";

pub(super) async fn park(server: &TestServer, jobs: usize) {
    let queue = server.app.ctx.queue.clone();
    let done = server.app.ctx.db.write("park", move |tx: Tx| {
        let queue = queue.clone();
        async move {
            let new = (0..jobs)
                .map(|_| NewJob::new(&AccountsSweep {}).queue(PARKED))
                .collect();
            queue.enqueue_many(&tx, new).await
        }
    });
    done.await.expect("enqueued");
}

#[tokio::test]
async fn jobs_are_changed_one_by_one_or_by_filter() {
    let server = TestServer::start().await;
    park(&server, 1203).await;
    let shell = Shell::beside(&server);
    let all = |verb: &'static str| ["jobs", verb, "--all", "--queue", PARKED, "--json"];

    let listed = shell
        .run(&["jobs", "list", "--queue", PARKED, "--limit", "2", "--json"])
        .await
        .expect(0)
        .json();
    let ids: Vec<String> = (0..2).map(|i| listed[i]["id"].to_string()).collect();
    assert_eq!(
        (&listed[0]["state"], &listed[0]["payload"]),
        (&json!("ready"), &json!({}))
    );
    let shown = shell
        .run(&["jobs", "show", &ids[0], "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(shown["queue"], PARKED);
    shell.run(&["jobs", "show", "999999999"]).await.expect(1);

    shell.run(&["jobs", "cancel", &ids[0], &ids[1]]).await.expect(0);
    let said = shell.run(&["jobs", "cancel", &ids[0]]).await.expect(1);
    assert!(said.err.contains("cancelled"), "{said:?}");
    shell
        .run(&["jobs", "cancel", &ids[0], "--queue", PARKED])
        .await
        .expect(2);

    let said = shell.run(&all("cancel")).await.expect(2);
    assert!(
        said.err.contains("1201") && said.err.contains("--yes"),
        "{said:?}"
    );
    let with = |verb, more: &[&'static str]| [&all(verb)[..], &["--yes"], more].concat();
    let done = shell
        .run(&with("cancel", &["--limit", "200"]))
        .await
        .expect(0)
        .json();
    assert_eq!(done, json!({ "done": 200, "skipped": 0, "refused": [] }));
    let said = shell.run(&with("cancel", &[])).await.expect(0);
    assert_eq!(said.json()["done"], 1001);
    assert!(
        said.err.contains("cancel: 1000"),
        "a pipe hears of the progress: {said:?}"
    );

    let said = shell
        .run(&with("retry", &["--state", "cancelled", "--limit", "3"]))
        .await
        .expect(0);
    assert_eq!(said.json()["done"], 3);
    let nothing = shell
        .run(&with("purge", &["--state", "cancelled", "--older-than", "1h"]))
        .await
        .expect(0);
    assert_eq!(nothing.json()["done"], 0);
    let said = shell
        .run(&with("purge", &["--state", "cancelled"]))
        .await
        .expect(0);
    assert_eq!(said.json()["done"], 1200);
    let left = shell
        .run(&["jobs", "list", "--queue", PARKED, "--json"])
        .await
        .expect(0)
        .json();
    assert_eq!(left.as_array().map(Vec::len), Some(3));
    shell.run(&["jobs", "list", "--summary"]).await.expect(0);
    shell.run(&["jobs", "audit"]).await.expect(0);
}
