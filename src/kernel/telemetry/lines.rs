//! Log lines on their way out, many to a write.
//!
//! A line of a busy server costs more to write than to make. So lines wait a few milliseconds for
//! company; warnings and errors go at once, with everything before them. A process that is killed
//! loses the lines of those milliseconds, one that ends by itself calls [`Lines::flush`].

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const COMPANY: Duration = Duration::from_millis(5);
/// Nobody waits with more than this.
const MOST: usize = 64 * 1024;

/// The output of one process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lines(Arc<Inner>);

struct Inner {
    waiting: Mutex<Vec<u8>>,
    arrived: Condvar,
    /// Locked before `waiting`, so that lines keep their order.
    out: Mutex<Box<dyn Write + Send>>,
}

impl Lines {
    /// Without a thread, lines wait for [`Lines::flush`] or an urgent one.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        Lines(Arc::new(Inner {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            out: Mutex::new(Box::new(out)),
        }))
    }

    /// Starts the thread that writes waiting lines; it lives as long as the process.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn write_behind(&self) -> std::io::Result<()> {
        let lines = self.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || lines.run())
            .map(drop)
    }

    fn run(&self) {
        loop {
            let mut waiting = locked(&self.0.waiting);
            while waiting.is_empty() {
                waiting = self
                    .0
                    .arrived
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            drop(waiting);
            std::thread::sleep(COMPANY);
            self.flush();
        }
    }

    /// Adds a line for the thread to write.
    pub fn push(&self, line: &[u8], at_once: bool) {
        let mut waiting = locked(&self.0.waiting);
        let first = waiting.is_empty();
        waiting.extend_from_slice(line);
        let many = waiting.len() > MOST;
        drop(waiting);
        if at_once || many {
            self.flush();
        } else if first {
            self.0.arrived.notify_one();
        }
    }

    /// Writes everything that waits.
    pub fn flush(&self) {
        let mut out = locked(&self.0.out);
        let lines = std::mem::take(&mut *locked(&self.0.waiting));
        // Nowhere to report a failing stderr to.
        let _ = out.write_all(&lines);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
