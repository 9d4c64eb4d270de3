//! Lists ask the database as often for many rows as for one.

use super::*;
use crate::support::statements::Statements;

const LISTS: [&str; 5] = [
    "/api/chat/sessions/?page_size=100",
    "/api/chat/sessions/agent_chat_users/",
    "/api/chat/sessions/unread_total/",
    "/api/users/?page_size=100",
    "/api/users/customers/?page_size=100",
];

/// Statements of each list for those who see the sessions: the first time after a start, when
/// nothing is remembered, and once more.
async fn counted(srv: &TestServer, viewers: &[&User]) -> Vec<(String, usize, usize)> {
    let statements = Statements::watched();
    let mut counts = Vec::new();
    for viewer in viewers {
        let client = srv.client.with_token(&viewer.access);
        for path in LISTS {
            let (cold, first) = statements.during(client.get(path)).await;
            let (warm, again) = statements.during(client.get(path)).await;
            assert_eq!(
                (first.status, again.status),
                (200, 200),
                "{path}: {}",
                first.text()
            );
            assert!(warm >= 1, "{path} asks the database");
            counts.push((format!("{} {path}", viewer.name), cold, warm));
        }
    }
    counts
}

/// The least of three starts. A machine that is busy with other tests adds statements (a caller who is remembered
/// for five seconds is looked up again) and saves none.
async fn least_counted(mut srv: TestServer, viewers: &[&User]) -> (TestServer, Vec<(String, usize, usize)>) {
    let mut least = Vec::new();
    for start in 0..3 {
        srv = srv.restart().await;
        srv.hears_others().await;
        let counts = counted(&srv, viewers).await;
        if start == 0 {
            least = counts;
            continue;
        }
        for ((_, cold, warm), (_, now_cold, now_warm)) in least.iter_mut().zip(counts) {
            (*cold, *warm) = (now_cold.min(*cold), now_warm.min(*warm));
        }
    }
    (srv, least)
}

#[tokio::test]
async fn lists_of_fifty_cost_as_many_statements_as_lists_of_one() {
    let Stage {
        srv,
        boss,
        agent,
        customer,
        ..
    } = Stage::set().await;
    say(&customer, open(&customer).await, "one").await;
    let viewers = [&agent, &boss];
    let (srv, one) = least_counted(srv, &viewers).await;

    for n in 0..49 {
        let customer = member(&srv, &format!("c{n}"), "customer", Some(&agent)).await;
        say(&customer, open(&customer).await, "another").await;
    }
    let (srv, fifty) = least_counted(srv, &viewers).await;
    assert_eq!(one, fifty);

    let client = srv.client.with_token(&boss.access);
    let list = client.get(LISTS[0]).await.expect(200);
    assert_eq!(list["results"].as_array().map(Vec::len), Some(50));
    // How many, which, and what was said last; for the one above also whose agents are below.
    for (viewer, expected) in [(&agent, 3), (&boss, 4)] {
        let what = format!("{} {}", viewer.name, LISTS[0]);
        let found = fifty.iter().find(|(of, ..)| *of == what);
        assert_eq!(found.map(|(_, _, warm)| *warm), Some(expected), "{what}");
    }
}
