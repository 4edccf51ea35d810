//! A log that tests read.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::fmt;

/// What is logged; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Never logs anything, and is there so that there are always two subscribers. As long as there is one, tracing asks only
/// that of the thread which comes first by an event whether anybody wants it, and a thread without one answers for all.
static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(fmt().with_writer(io::sink).finish()));

/// Lets `subscriber` have what this thread logs while the guard lives, whatever other threads do.
pub(crate) fn subscribe(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    LazyLock::force(&OTHER);
    set_default(subscriber)
}

/// Returns what this thread logs while the guard lives.
pub(crate) fn logged() -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    (lines, subscribe(fmt().with_writer(move || writer.clone()).finish()))
}

#[test]
fn a_thread_logs_what_another_one_without_a_subscriber_came_by_first() {
    let event = || tracing::info!("connection lost");
    let (lines, _guard) = logged();
    std::thread::spawn(event).join().unwrap();
    event();
    assert_eq!(lines.text().matches("connection lost").count(), 1, "{}", lines.text());
}
