//! Typing, and who is there.

use std::time::{Duration, Instant};

use super::*;

fn typing(user: &User, is_typing: bool) -> Value {
    json!({ "type": "typing", "user": u2(user), "is_typing": is_typing })
}

fn types(is_typing: bool) -> Value {
    json!({ "type": "typing", "is_typing": is_typing })
}

#[tokio::test]
async fn typing_is_told_once_a_second_and_ends_by_itself() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    for _ in 0..20 {
        bob.send(types(true)).await;
    }
    assert_eq!(alice.next().await, typing(&s.bob, true));
    assert_eq!(bob.next().await, typing(&s.bob, true), "to the sender too");
    let begun = Instant::now();
    // Whatever of the repetitions is told, silence ends it.
    let mut last = Value::Null;
    while last != typing(&s.bob, false) {
        last = alice.next().await;
        assert_eq!(last["type"], "typing", "{last}");
    }
    assert!(
        (4..9).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        history(&s.alice, s.room).await.len(),
        1,
        "nothing of it is stored"
    );
}

#[tokio::test]
async fn typing_ends_with_the_word_or_the_connection() {
    let s = Stage::with(&[QUIET]).await;
    let (mut alice, mut bob) = (s.open(&s.alice).await, s.open(&s.bob).await);
    bob.send(types(true)).await;
    assert_eq!(alice.next().await, typing(&s.bob, true));
    bob.send(types(false)).await;
    assert_eq!(alice.next().await, typing(&s.bob, false));
    drop(bob);
    let mut bob = s.open(&s.bob).await;
    bob.send(types(true)).await;
    assert_eq!(alice.of("typing").await, typing(&s.bob, true));
    drop(bob);
    assert_eq!(alice.of("typing").await, typing(&s.bob, false));
}

#[tokio::test]
async fn arrivals_are_told_to_the_others_once() {
    let s = Stage::set().await;
    let mut alice = s.open(&s.alice).await;
    let mut bob = s.open(&s.bob).await;
    assert_eq!(
        alice.next().await,
        json!({ "type": "user_join", "user": u2(&s.bob) })
    );
    // A second connection of the same user is no arrival.
    let mut second = s.open(&s.bob).await;
    second.say("it is me").await;
    assert_eq!(alice.next().await["type"], "chat_message");
    // Nobody hears of their own arrival.
    for socket in [&mut bob, &mut second] {
        assert_eq!(socket.next().await["type"], "chat_message");
    }
    drop(second);
    s.say(&s.alice, "are you there?").await;
    assert_eq!(alice.next().await["type"], "chat_message");
    let begun = Instant::now();
    drop(bob);
    assert_eq!(
        alice.next().await,
        json!({ "type": "user_leave", "user": u2(&s.bob) })
    );
    assert!(
        begun.elapsed() > Duration::from_secs(4),
        "after a while: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn who_comes_back_soon_was_never_away() {
    let s = Stage::set().await;
    let mut alice = s.open(&s.alice).await;
    let bob = s.open(&s.bob).await;
    assert_eq!(alice.next().await["type"], "user_join");
    drop(bob);
    let mut bob = s.open(&s.bob).await;
    // Longer than an absence is waited for; that nothing is told can only be seen by waiting.
    alice.silent(6_500).await;
    bob.say("here I am").await;
    assert_eq!(alice.next().await["type"], "chat_message");
}

#[tokio::test]
async fn presence_can_be_switched_off() {
    let s = Stage::with(&[QUIET]).await;
    let mut alice = s.open(&s.alice).await;
    let mut bob = s.open(&s.bob).await;
    bob.say("hello").await;
    assert_eq!(alice.next().await["type"], "chat_message");
    // What is asked for is still told.
    bob.send(json!({ "type": "user_join" })).await;
    assert_eq!(alice.next().await["type"], "user_join");
}

#[tokio::test]
async fn typing_and_presence_cross_servers() {
    let Some(s) = Stage::on_two(&[]).await else {
        return;
    };
    let mut alice = s.open(&s.alice).await;
    let mut bob = s.open_there(&s.bob).await;
    assert_eq!(alice.of("user_join").await["user"], u2(&s.bob));
    bob.send(types(true)).await;
    assert_eq!(alice.of("typing").await["user"], u2(&s.bob));
    let online = s.alice.client.get(&s.at("online/")).await.expect(200);
    let mut there = ids(&online);
    there.sort_unstable();
    assert_eq!(there, [s.alice.id, s.bob.id]);
    drop(bob);
    assert_eq!(alice.of("user_leave").await["user"], u2(&s.bob));
}
