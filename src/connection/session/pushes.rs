//! What a server sends out of band: taken from between the replies, and kept for whoever asked for it.
//!
//! Anyone who may publish decides how long a push is. One that is too long is skipped while it comes, in constant memory.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;

use super::{Session, closed, io_failure, unexpected};
use crate::connection::push::Push;
use crate::connection::reply::{self, Limits, Malformed};
use crate::probe::{Failure, Stage};

/// How many pushes wait at most. They are taken between any two rounds; a server that sends more loses them.
const MAX_WAITING: usize = 32;

/// The pushes that nobody has taken yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pushes(VecDeque<Push>);

/// What happens on an idle connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Incident {
    /// The connection is lost, or the peer sent something that it was not asked for.
    Lost(Failure),
    /// There is a push to take.
    Pushed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Keeps pushes from now on. Otherwise they are skipped.
    pub fn keep_pushes(&mut self) {
        self.pushes.get_or_insert_default();
    }

    /// Takes the oldest push.
    pub fn take_push(&mut self) -> Option<Push> {
        self.pushes.as_mut()?.0.pop_front()
    }

    /// Waits, between commands, until the connection is lost or there is a push to take. May be dropped at any time
    /// without harm.
    pub async fn incident(&mut self) -> Incident {
        while !self.has_pushes() {
            if let Some(failure) = self.listen().await {
                return Incident::Lost(failure);
            }
        }
        Incident::Pushed
    }

    /// Waits, between commands, until the connection is lost or the peer sends something that it was not asked for. May
    /// be dropped at any time without harm.
    pub async fn lost(&mut self) -> Failure {
        loop {
            if let Some(failure) = self.listen().await {
                return failure;
            }
        }
    }

    /// Takes what is at hand, or else reads. Returns why the connection cannot be used any more.
    async fn listen(&mut self) -> Option<Failure> {
        let at_hand = self.incoming.len();
        let failure = match self.frame_after_pushes().await {
            Ok(Some(length)) => self.unprompted(length),
            // A push was taken. The next read may take for ever.
            Ok(None) if self.incoming.len() < at_hand => return None,
            Ok(None) => match self.incoming.read_from(&mut self.stream).await {
                Ok(0) => closed(Stage::Idle),
                Ok(_) => return None,
                Err(error) => io_failure(Stage::Idle, &error),
            },
            Err(_) => unexpected(),
        };
        self.in_step = false;
        Some(failure)
    }

    fn has_pushes(&self) -> bool {
        self.pushes.as_ref().is_some_and(|pushes| !pushes.0.is_empty())
    }

    /// Takes the pushes at hand, and returns the length of the frame after them if it is whole.
    pub(super) async fn frame_after_pushes(&mut self) -> Result<Option<usize>, Malformed> {
        self.take_pushes().await?;
        if self.is_at_push() { Ok(None) } else { self.frame() }
    }

    /// Takes the pushes at hand that are whole.
    pub(super) async fn take_pushes(&mut self) -> Result<(), Malformed> {
        if !self.is_at_push() {
            return Ok(());
        }
        while self.is_at_push()
            && let Some(push) = self.next_push()?
        {
            self.keep(push);
        }
        // A peer that never stops must not keep the clock from being looked at.
        yield_now().await;
        Ok(())
    }

    /// Whether what is at hand belongs to a push.
    pub(super) fn is_at_push(&self) -> bool {
        self.incoming.is_skipping() || reply::is_push(&self.incoming)
    }

    /// Takes the push at hand if it is whole.
    pub(super) fn next_push(&mut self) -> Result<Option<Push>, Malformed> {
        if !self.incoming.is_skipping() {
            match self.incoming.frame(Limits::OF_PUSH) {
                Ok(None) => return Ok(None),
                Ok(Some(length)) => {
                    // Reading it costs something.
                    let push = if self.pushes.is_some() {
                        reply::push(&self.incoming[..length])
                    } else {
                        Push::Unreadable
                    };
                    self.incoming.discard(length);
                    return Ok(Some(push));
                }
                Err(Malformed::TooLarge | Malformed::TooMany) => self.incoming.begin_to_skip(),
                Err(malformed) => return Err(malformed),
            }
        }
        Ok(self.incoming.skip()?.then_some(Push::Unreadable))
    }

    pub(super) fn keep(&mut self, push: Push) {
        if let Some(Pushes(waiting)) = self.pushes.as_deref_mut()
            && waiting.len() < MAX_WAITING
        {
            waiting.push_back(push);
        }
    }
}
