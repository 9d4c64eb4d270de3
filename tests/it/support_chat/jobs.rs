//! Images that nobody needs (any more) go by job.

use std::time::Duration;

use bytes::Bytes;
use yunque_kernel::UserId;

use super::*;

#[tokio::test]
async fn a_deleted_message_takes_its_image_along() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let sent = send_image(&stage.customer, session, "a.png", &pictures::png())
        .await
        .expect(201);
    let url = sent["image_url"].as_str().unwrap();
    let path = format!("{}{}/", messages_of(session), sent["id"]);
    assert_eq!(stage.customer.client.delete(&path).await.status, 204);
    stage.srv.settle().await;
    assert_eq!(stored_images(&stage.srv), Vec::<String>::new());
    assert_eq!(stage.srv.client.get(url).await.status, 404);
}

#[tokio::test]
async fn an_image_without_a_message_is_gone_after_an_hour() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    let sent = send_image(&stage.customer, session, "a.png", &pictures::png())
        .await
        .expect(201);
    // As if the server had died between the image and its message.
    let owner = UserId(stage.customer.id);
    let orphan = stage
        .srv
        .app
        .support
        .store_image(owner, Bytes::from(pictures::gif()))
        .await;
    let orphan = orphan.expect("stored");
    stage.srv.later(Duration::from_secs(3500)).await;
    assert_eq!(stored_images(&stage.srv).len(), 2);
    stage.srv.later(Duration::from_secs(200)).await;
    let left = stored_images(&stage.srv);
    let kept = sent["image"].as_str().unwrap();
    assert_eq!(left.len(), 1);
    assert!(kept.ends_with(&left[0]) && !orphan.ends_with(&left[0]));
}

/// No job is left behind by a message that came about.
#[tokio::test]
async fn the_watch_over_an_image_ends_with_its_message() {
    let stage = Stage::set().await;
    let session = stage.session().await;
    send_image(&stage.customer, session, "a.png", &pictures::png())
        .await
        .expect(201);
    let waiting = "SELECT COUNT(*) FROM jobs WHERE kind = 'check_support_image' AND state = 'ready'";
    assert_eq!(sql::number(&stage.srv, waiting).await, 0);
    let all = "SELECT COUNT(*) FROM jobs WHERE kind = 'check_support_image'";
    assert_eq!(sql::number(&stage.srv, all).await, 1);
}
