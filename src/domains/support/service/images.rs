//! Images on their way into storage and out of it.

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::stream;
use yunque_kernel::image::{Clean, Limits};
use yunque_kernel::queue::{JobError, NewJob};
use yunque_kernel::{Tx, UserId};

use crate::jobs::CheckSupportImage;
use crate::{Support, SupportError, repo};

/// An image whose message has not come about after this long never will.
const ORPHAN_AGE: TimeDelta = TimeDelta::hours(1);

impl Support {
    /// Checks an image, leaves only the picture, and stores it under a key that nobody can guess.
    /// Returns that key without the leading `media/`.
    ///
    /// # Errors
    /// What the bytes are not; storage failed.
    pub async fn store_image(&self, owner: UserId, bytes: Bytes) -> Result<String, SupportError> {
        let Clean { format, bytes, .. } = self.0.ctx.images.clean(bytes, Limits::default()).await?;
        let image = format!(
            "chat_images/{}.{}",
            uuid::Uuid::new_v4().simple(),
            format.extension()
        );
        self.watch_image(owner, &image).await?;
        let size = bytes.len() as u64;
        let body = stream::iter([Ok(Bytes::from(bytes))]);
        self.0
            .ctx
            .storage
            .put(&object_key(&image), format.content_type(), size, body)
            .await?;
        Ok(image)
    }

    /// The job that removes the image should its message never come about. Committed before the
    /// image exists, so that no crash leaves one that nobody knows of.
    async fn watch_image(&self, owner: UserId, image: &str) -> Result<(), SupportError> {
        let job = CheckSupportImage {
            image: image.to_owned(),
        };
        let job = NewJob::new(&job).owner(owner).run_at(self.now() + ORPHAN_AGE);
        let queue = self.0.ctx.queue.clone();
        self.0
            .ctx
            .db
            .write("support.watch_image", move |tx: Tx| {
                let (queue, job) = (queue.clone(), job.clone());
                async move {
                    queue.enqueue(&tx, job).await?;
                    Ok::<_, SupportError>(())
                }
            })
            .await
    }

    /// Removes an image whose message was not accepted after all. Should that fail, the job does it.
    pub async fn discard_image(&self, image: &str) {
        if let Err(e) = self.0.ctx.storage.delete(&object_key(image)).await {
            tracing::warn!(error = %e, "an image without a message stays until it is looked for");
        }
    }

    pub(crate) async fn drop_orphan(&self, image: &str) -> Result<(), JobError> {
        if repo::has_image(self.0.ctx.db.reader(), image).await? {
            return Ok(());
        }
        self.purge_images(&[image.to_owned()]).await
    }

    pub(crate) async fn purge_images(&self, images: &[String]) -> Result<(), JobError> {
        for image in images {
            self.0.ctx.storage.delete(&object_key(image)).await?;
        }
        Ok(())
    }
}

/// Where an image lies in storage.
fn object_key(image: &str) -> String {
    format!("media/{image}")
}
