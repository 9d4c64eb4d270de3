//! What no new message tells reaches every socket in its order, also when Redis is away: edits,
//! deletions, bans, closing.

use std::time::{Duration, Instant};

use super::relay::Relay;
use super::*;

/// Lost on the way, it comes with the comparison with the database; and a little for a busy machine.
const LATE: Duration = Duration::from_secs(8);

async fn on_two_without_redis() -> Option<Stage> {
    let relay = Relay::start().await?;
    let s = Stage::on_two(&[QUIET, ("REDIS_URL", &relay.url)]).await?;
    relay.cut();
    Some(s)
}

#[tokio::test]
async fn a_ban_ends_a_socket_elsewhere_without_redis() {
    let Some(s) = on_two_without_redis().await else {
        return;
    };
    let (mut banned, mut other) = (s.open_there(&s.bob).await, s.open_there(&s.alice).await);
    let begun = Instant::now();
    act(&s.alice, s.room, &s.bob, "ban").await.expect(200);
    assert_eq!(banned.end().await.0, 4403);
    assert!(begun.elapsed() < LATE, "{:?}", begun.elapsed());
    let said = s.say(&s.alice, "is bob away?").await;
    assert_eq!(
        other.message().await["id"],
        said["id"],
        "who may be here still is"
    );
}

#[tokio::test]
async fn a_closed_room_ends_its_sockets_elsewhere_without_redis() {
    let Some(s) = on_two_without_redis().await else {
        return;
    };
    let mut socket = s.open_there(&s.bob).await;
    s.alice.client.delete(&s.at("")).await.expect(204);
    assert_eq!(socket.end().await.0, 4410);
}

#[tokio::test]
async fn edits_and_deletions_are_told_elsewhere_without_redis() {
    let Some(s) = on_two_without_redis().await else {
        return;
    };
    let mut socket = s.open_there(&s.bob).await;
    let (one, two) = (s.say(&s.alice, "one").await, s.say(&s.alice, "two").await);
    for said in [&one, &two] {
        assert_eq!(socket.message().await["id"], said["id"]);
    }
    let begun = Instant::now();
    edit(&s.alice, &one, "one, edited").await.expect(200);
    edit(&s.alice, &two, "two, edited").await.expect(200);
    delete(&s.alice, &two).await.expect(200);
    let mut now = std::collections::HashMap::new();
    while now.len() < 2 || now[&id_of(&two)] != "message_deleted" {
        let frame = socket.next().await;
        let kind = frame["type"].as_str().unwrap_or_default().to_owned();
        assert!(kind.starts_with("message_"), "{frame}");
        now.insert(id_of(&frame["message"]), kind);
        assert!(begun.elapsed() < LATE, "{now:?}");
    }
    assert_eq!(now[&id_of(&one)], "message_edited");
}

/// The author edits and the moderator deletes at once, again and again: what is heard last is what is so.
#[tokio::test]
async fn the_last_frame_of_a_message_tells_how_it_is() {
    let s = Stage::with(&[QUIET]).await;
    let mut socket = s.open_there(&s.bob).await;
    for n in 0..20 {
        let said = s.say(&s.bob, &format!("{n}")).await;
        let (edited, deleted) = tokio::join!(edit(&s.bob, &said, "edited"), delete(&s.alice, &said));
        deleted.expect(200);
        let mut last = String::new();
        // The message itself, an edit if it came first, and the deletion.
        for _ in 0..2 + i32::from(edited.status == 200) {
            let frame = socket.next().await;
            assert_eq!(frame["message"]["id"], said["id"], "{frame}");
            last = frame["type"].as_str().unwrap_or_default().to_owned();
        }
        assert_eq!(last, "message_deleted");
    }
}
