//! The hostile pictures of the promise list, and that good ones come out as pictures without what
//! nobody else should know.

mod cleaning;
mod hostile;
mod samples;

use super::*;
use samples::*;

fn checked(bytes: &[u8]) -> Result<Clean, ImageFault> {
    clean(bytes, &Limits::default())
}

#[track_caller]
fn good(bytes: &[u8]) -> Clean {
    let clean = checked(bytes).unwrap_or_else(|e| panic!("{e}"));
    // What was cleaned is clean.
    assert_eq!(checked(&clean.bytes).as_ref(), Ok(&clean));
    clean
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|w| w == text)
}

const SECRET: &[u8] = b"48.8583 N 2.2945 E";

#[tokio::test]
async fn many_callers_get_their_turns() {
    let images = Images::default();
    let mut tasks = Vec::new();
    for i in 0..40 {
        let images = images.clone();
        let bytes: Bytes = if i % 2 == 0 {
            png_of(64, 64, &[])
        } else {
            b"no".to_vec()
        }
        .into();
        tasks.push(crate::task::spawn(async move {
            images.clean(bytes, Limits::default()).await.is_ok()
        }));
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("no panic"));
    }
    assert!(done.iter().enumerate().all(|(i, ok)| *ok == (i % 2 == 0)));
}
