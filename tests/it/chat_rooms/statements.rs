//! Lists ask the database as often for many rows as for one.

use super::*;
use crate::support::eventually;
use crate::support::statements::Statements;

/// Statements of every page: the first time after a start, when nothing is remembered, and once more.
async fn counted(srv: &TestServer, viewer: &User, pages: &[(String, usize)]) -> Vec<(usize, usize)> {
    let statements = Statements::watched();
    let client = srv.client.with_token(&viewer.access);
    let mut counts = Vec::new();
    for (path, rows) in pages {
        let (cold, first) = statements.during(client.get(path)).await;
        let (warm, again) = statements.during(client.get(path)).await;
        assert_eq!(again.status, 200, "{path}: {}", again.text());
        let shown = first.expect(200);
        let list = shown.get("messages").unwrap_or(&shown);
        assert_eq!(list_of(list).len(), *rows, "{path}");
        assert!(warm >= 1, "{path} asks the database");
        counts.push((cold, warm));
    }
    counts
}

/// The least of three starts; a machine that is busy with other tests adds statements and saves none.
async fn least_counted(
    mut srv: TestServer,
    viewer: &User,
    pages: &[(String, usize)],
) -> (TestServer, Vec<(usize, usize)>) {
    let mut least = vec![(usize::MAX, usize::MAX); pages.len()];
    for _ in 0..3 {
        srv = srv.restart().await;
        srv.hears_others().await;
        let counts = counted(&srv, viewer, pages).await;
        for ((cold, warm), (now_cold, now_warm)) in least.iter_mut().zip(counts) {
            (*cold, *warm) = (now_cold.min(*cold), now_warm.min(*warm));
        }
    }
    (srv, least)
}

/// A page of one row and a full one of so many.
fn one_and_many(path: &str, many: usize) -> [(String, usize); 2] {
    let of = |rows: usize| (format!("{path}page_size={rows}"), rows);
    [of(1), of(many)]
}

/// Each length is counted after starts of its own, so that neither remembers what the other looked up.
async fn same_for_one_and_many(srv: TestServer, viewer: &User, path: &str, many: usize) -> TestServer {
    counted_for_one_and_many(srv, viewer, path, many).await.0
}

/// The same, with what a page costs once the caller and those who are shown are remembered.
async fn counted_for_one_and_many(
    srv: TestServer,
    viewer: &User,
    path: &str,
    many: usize,
) -> (TestServer, usize) {
    let [one, full] = one_and_many(path, many);
    let (srv, of_one) = least_counted(srv, viewer, &[one]).await;
    let (srv, of_many) = least_counted(srv, viewer, &[full]).await;
    assert_eq!(of_one, of_many, "{path}");
    let (_, warm) = of_many[0];
    (srv, warm)
}

#[tokio::test]
async fn chat_scenario_15_fifty_rooms_cost_as_many_statements_as_one() {
    let s = Stage::set().await;
    s.say(&s.bob, "the last word of room 0").await;
    for n in 1..50 {
        let owner = if n % 2 == 0 { &s.alice } else { &s.bob };
        let guest = if n % 2 == 0 { &s.bob } else { &s.alice };
        let room = id_of(&create_with(owner, json!({ "name": format!("room {n}") })).await);
        join(guest, room).await;
        say(guest, room, &format!("the last word of room {n}")).await;
    }
    let Stage {
        srv, alice, carol, ..
    } = s;
    // There are more than are shown, so these are counted as well.
    let (srv, of_own) = counted_for_one_and_many(srv, &alice, &format!("{ROOMS}?"), 49).await;
    let public = format!("{ROOMS}?scope=public&");
    let (srv, of_others) = counted_for_one_and_many(srv, &carol, &public, 49).await;
    assert_eq!((of_own, of_others), (2, 2));
    let (srv, of_all) = least_counted(srv, &alice, &[(format!("{ROOMS}?page_size=50"), 50)]).await;
    assert_eq!(of_all[0].1, 1);
    let client = srv.client.with_token(&alice.access);
    let list = client.get(ROOMS).await.expect(200);
    for (n, room) in list_of(&list).iter().rev().enumerate() {
        let last = format!("the last word of room {n}");
        assert_eq!(room["last_message"]["content"], last, "{room}");
        assert_eq!(room["member_count"], 2);
    }
}

#[tokio::test]
async fn chat_scenario_15_a_hundred_messages_cost_as_many_statements_as_one() {
    let s = Stage::set().await;
    join(&s.carol, s.room).await;
    let mut last = s.say(&s.alice, "first").await;
    for n in 0..100 {
        let who = [&s.alice, &s.bob, &s.carol][n % 3];
        let body = json!({ "content": format!("answer {n}"), "reply_to": last["id"] });
        last = send(who, s.room, body).await.expect(201);
    }
    let Stage { srv, alice, room, .. } = s;
    let (srv, of_page) = counted_for_one_and_many(srv, &alice, &at(room, "messages/?"), 100).await;
    assert_eq!(of_page, 1);
    // By cursor as well.
    let page = |rows: usize| {
        let path = at(room, &format!("messages/?before_id={}&limit={rows}", i64::MAX));
        [(path, rows)]
    };
    let (srv, of_one) = least_counted(srv, &alice, &page(1)).await;
    let (_srv, of_many) = least_counted(srv, &alice, &page(100)).await;
    assert_eq!(of_one, of_many);
    assert_eq!(of_many[0].1, 1);
}

#[tokio::test]
async fn members_and_notifications_cost_as_many_statements_as_one() {
    let s = Stage::set().await;
    for n in 0..8 {
        let user = s.srv.user(&format!("guest{n}")).await;
        join(&user, s.room).await;
        for m in 0..5 {
            say(&user, s.room, &format!("from {n}: {m}")).await;
        }
    }
    let Stage {
        srv,
        alice,
        bob,
        room,
        ..
    } = s;
    eventually("everything is told", 10, || async {
        notes(&bob, "").await.len() == 40
    })
    .await;
    let srv = same_for_one_and_many(srv, &alice, &at(room, "members/?"), 10).await;
    same_for_one_and_many(srv, &bob, &format!("{NOTES}?"), 40).await;
}

#[tokio::test]
async fn unread_counts_of_fifty_rooms_cost_as_many_statements_as_of_one() {
    let s = Stage::set().await;
    s.say(&s.alice, "unread").await;
    let unread = "/api/chat/unread/".to_owned();
    let shown = |srv: &TestServer| srv.client.with_token(&s.bob.access);
    assert_eq!(shown(&s.srv).get(&unread).await.expect(200)["total"], 1);
    let mut srv = s.srv;
    let (mut costs, mut rooms) = (Vec::new(), 1);
    for until in [1, 50] {
        while rooms < until {
            let alice = through(&srv, &s.alice);
            let room = create(&alice, "public").await;
            join(&through(&srv, &s.bob), room).await;
            for n in 0..3 {
                say(&alice, room, &n.to_string()).await;
            }
            rooms += 1;
        }
        let mut least = (usize::MAX, usize::MAX);
        for _ in 0..3 {
            srv = srv.restart().await;
            let statements = Statements::watched();
            let client = srv.client.with_token(&s.bob.access);
            let (cold, first) = statements.during(client.get(&unread)).await;
            let (warm, again) = statements.during(client.get(&unread)).await;
            assert_eq!(first.expect(200), again.expect(200));
            least = (least.0.min(cold), least.1.min(warm));
        }
        costs.push(least);
    }
    assert_eq!(costs[0], costs[1]);
    let client = srv.client.with_token(&s.bob.access);
    assert_eq!(client.get(&unread).await.expect(200)["total"], 1 + 49 * 3);
}
