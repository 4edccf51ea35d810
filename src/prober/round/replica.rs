//! The step of a round that reads a replica of a shard: what it returns shows how far it is behind its primary.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::replicas::Reader;
use super::Round;
use crate::connection::session::Session;
use crate::probe::Step;

impl Reader {
    /// Reads what was written last to the shard's primary; before the first write, `any_key`.
    pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        any_key: &str,
        timeout: Duration,
        session: &mut Session<S>,
        round: &mut Round,
    ) -> Result<(), ()> {
        let started = Instant::now();
        let expected = self.expected(started);
        let key = expected.as_ref().map_or(any_key, |expected| &expected.key);
        let read = session.read(key, started + timeout).await;
        if let (Ok(value), Some(expected)) = (&read, &expected) {
            // A value that is no text is none of ours.
            let value = value.as_ref().and_then(|value| std::str::from_utf8(value).ok());
            self.returned(value, expected, started);
        }
        round.note(Step::Get, started, read).map(drop)
    }
}
