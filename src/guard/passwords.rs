//! The thread that checks passwords, one at a time, and what is known of those that it has checked. It runs only while nothing
//! else needs the processor, so that a flood of wrong passwords delays no probe.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::{fmt, io, thread};

use tokio::sync::oneshot;

use super::basic::Credentials;
use super::memory::Memory;
use super::{Rules, Users};
use crate::lock::lock;
use crate::os;

/// How many passwords may wait. At a cost of 10, the last one waits for about a second.
const QUEUE: usize = 16;

/// Checks passwords. Clones share the memory, and the thread, which starts with the first password.
#[derive(Clone)]
pub(super) struct Passwords {
    memory: Arc<Mutex<Memory>>,
    queue: Arc<Mutex<Option<SyncSender<Check>>>>,
}

/// A password that waits to be checked.
struct Check {
    rules: Arc<Rules>,
    credentials: Credentials,
    answer: oneshot::Sender<bool>,
}

impl Passwords {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self { memory: Arc::new(Mutex::new(Memory::new())), queue: Arc::default() }
    }

    /// Returns whether `credentials` are right for one of `users`, if that is known.
    pub(super) fn recall(&self, users: &Users, credentials: &Credentials) -> Option<bool> {
        lock(&self.memory).recall(users, credentials)
    }

    /// Returns whether `credentials` are right. `None` if too many wait.
    pub(super) async fn check(&self, rules: Arc<Rules>, credentials: Credentials) -> Option<bool> {
        let (answer, checked) = oneshot::channel();
        self.queue().ok()?.try_send(Check { rules, credentials, answer }).ok()?;
        checked.await.ok()
    }

    fn queue(&self) -> io::Result<SyncSender<Check>> {
        let mut queue = lock(&self.queue);
        if let Some(queue) = &*queue {
            return Ok(queue.clone());
        }
        let (send, checks) = sync_channel(QUEUE);
        let memory = Arc::clone(&self.memory);
        thread::Builder::new().name("passwords".into()).spawn(move || run(&checks, &memory))?;
        Ok(queue.insert(send).clone())
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

fn run(checks: &Receiver<Check>, memory: &Mutex<Memory>) {
    os::lower_thread_priority();
    for Check { rules, credentials, answer } in checks {
        let Some(users) = &rules.users else { continue };
        // Clients that are gone cost nothing, and the same password is checked once.
        if !answer.is_closed() {
            // In a statement of its own: nobody waits for the memory during a check.
            let known = lock(memory).recall(users, &credentials);
            let is_right = known.unwrap_or_else(|| {
                let is_right = users.check(&credentials);
                lock(memory).remember(users, &credentials, is_right);
                is_right
            });
            let _ = answer.send(is_right);
        }
    }
}
