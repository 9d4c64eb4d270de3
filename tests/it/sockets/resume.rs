//! `?since=`.

use serde_json::{Value, json};

use super::{Socket, Stage, greeted, path_of};

/// Everything up to `resume_complete`: ids, and that frame.
async fn replayed(socket: &mut Socket) -> (Vec<i64>, Value) {
    let mut ids = Vec::new();
    loop {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("chat_message") => ids.push(frame["message"]["id"].as_i64().expect("id")),
            Some("resume_complete") => return (ids, frame),
            _ => panic!("{frame}"),
        }
    }
}

#[tokio::test]
async fn what_was_missed_comes_first_and_as_it_is_now() {
    let s = Stage::set().await;
    for n in 0..130 {
        s.say(&s.agent, &n.to_string()).await;
    }
    let stored = s.messages().await;
    let ids: Vec<i64> = stored.iter().map(|m| m["id"].as_i64().expect("id")).collect();
    for from in [0, 1, 60, 131] {
        let since = if from == 0 { 0 } else { ids[from - 1] };
        let target = format!("{}&since={since}", path_of(s.session, &s.customer));
        let (mut socket, greeting) = greeted(&s.srv, &target).await;
        assert_eq!(greeting["last_message_id"], ids[130]);
        let (got, end) = replayed(&mut socket).await;
        assert_eq!(got, ids[from..]);
        assert_eq!(
            end,
            json!({
                "type": "resume_complete", "from": since, "to": ids[130],
                "count": 131 - from, "truncated": false,
            })
        );
    }
    let path = s.at("mark_read/");
    s.customer.client.post(&path, json!({})).await.expect(200);
    let target = format!("{}&since={}", path_of(s.session, &s.customer), ids[129]);
    let (mut socket, _) = greeted(&s.srv, &target).await;
    let message = socket.message().await;
    assert_eq!(message["is_read"], true);
    assert_eq!(message, s.messages().await[130]);
}

#[tokio::test]
async fn a_long_absence_is_cut_and_said_so() {
    let s = Stage::with(&[("CHAT_RESUME_MAX", "20")]).await;
    for n in 0..30 {
        s.say(&s.agent, &n.to_string()).await;
    }
    let ids: Vec<i64> = s
        .messages()
        .await
        .iter()
        .map(|m| m["id"].as_i64().expect("id"))
        .collect();
    for (from, truncated) in [(0, true), (10, true), (11, false)] {
        let since = if from == 0 { 0 } else { ids[from - 1] };
        let target = format!("{}&since={since}", path_of(s.session, &s.agent));
        let (mut socket, _) = greeted(&s.srv, &target).await;
        let (got, end) = replayed(&mut socket).await;
        assert_eq!(got, ids[11..], "from {from}");
        assert_eq!(
            (&end["truncated"], &end["count"]),
            (&json!(truncated), &json!(20))
        );
    }
}

/// Cut a socket, send 50 messages, come back while 50 more arrive: exactly 100, in order, once each.
#[tokio::test]
async fn the_seam_of_a_resume_is_exact() {
    let s = Stage::set().await;
    let mut first = s.join(&s.customer).await;
    let last = s.say(&s.agent, "last seen").await["id"].as_i64().expect("id");
    assert_eq!(first.message().await["id"], last);
    drop(first);
    for n in 0..50 {
        s.say(&s.agent, &n.to_string()).await;
    }
    let sending = async {
        let mut socket = s.join(&s.agent).await;
        for n in 50..75 {
            s.say(&s.agent, &n.to_string()).await;
            socket.say(&(n + 1000).to_string()).await;
        }
        socket
    };
    let resuming = futures_util::future::join_all((0..6).map(|user| {
        let s = &s;
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(user * 30)).await;
            let target = format!("{}&since={last}", path_of(s.session, &s.customer));
            let (mut socket, _) = greeted(&s.srv, &target).await;
            let mut ids = Vec::new();
            let mut completed = None;
            while ids.len() < 100 {
                let frame = socket.next().await;
                match frame["type"].as_str() {
                    Some("chat_message") => ids.push(frame["message"]["id"].as_i64().expect("id")),
                    Some("resume_complete") => {
                        assert_eq!(completed.replace(ids.len()), None);
                        assert_eq!(frame["count"], ids.len());
                    }
                    _ => panic!("{frame}"),
                }
            }
            (ids, completed, socket)
        }
    }));
    let (_sender, resumed) = futures_util::future::join(sending, resuming).await;
    let stored: Vec<i64> = s
        .messages()
        .await
        .iter()
        .map(|m| m["id"].as_i64().expect("id"))
        .filter(|id| *id > last)
        .collect();
    assert_eq!(stored.len(), 100);
    for (ids, completed, mut socket) in resumed {
        assert_eq!(ids, stored);
        assert!(completed.is_none_or(|at| at >= 50), "{completed:?}");
        if completed.is_none() {
            assert_eq!(socket.next().await["type"], "resume_complete");
        }
        socket.silent(20).await;
    }
}
