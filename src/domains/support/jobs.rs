//! The jobs of this domain: images that nobody needs (any more).

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use yunque_kernel::queue::{Job, JobContext, JobError, Plan};

use crate::Support;

/// Looks whether an image that was stored has a message, and removes it if not. Enqueued before the
/// image is stored, to run an hour later; withdrawn when the message is inserted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckSupportImage {
    /// As in the message: without the leading `media/`.
    pub image: String,
}

#[async_trait]
impl Job for CheckSupportImage {
    const KIND: &'static str = "check_support_image";
    type Domain = Support;

    fn subject(&self) -> Option<String> {
        Some(image_subject(&self.image))
    }

    async fn run(&self, support: &Support, _: &JobContext) -> Result<(), JobError> {
        support.drop_orphan(&self.image).await
    }
}

pub(crate) fn image_subject(image: &str) -> String {
    format!("image:{image}")
}

/// Removes the images of messages that are gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PurgeSupportImages {
    pub images: Vec<String>,
}

impl PurgeSupportImages {
    /// Images of one job, so that a run stays short.
    pub const MOST: usize = 100;
}

#[async_trait]
impl Job for PurgeSupportImages {
    const KIND: &'static str = "purge_support_images";
    type Domain = Support;

    async fn run(&self, support: &Support, _: &JobContext) -> Result<(), JobError> {
        support.purge_images(&self.images).await
    }
}

impl Support {
    pub(crate) fn register_jobs(&self) {
        let plan = Plan {
            max_attempts: 10,
            timeout: Duration::from_secs(300),
            ..Plan::default()
        };
        let queue = &self.0.ctx.queue;
        queue.register::<CheckSupportImage>(self.clone(), plan);
        queue.register::<PurgeSupportImages>(self.clone(), plan);
    }
}
