//! What is remembered of a peer that does not know HELLO: it gets RESP2 at once, for an hour.

use std::time::Duration;

use tokio::time::Instant;

use crate::target::Protocol;

/// How long the peer is not asked again for what it does not know.
pub(super) const MEMORY: Duration = Duration::from_secs(60 * 60);
/// A hang-up may have another cause than HELLO, so several in a row are needed.
const HANG_UPS: u32 = 2;

/// The protocol to begin with where none is configured.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallback {
    resp2_until: Option<Instant>,
    /// How often in a row the peer has hung up on HELLO.
    hang_ups: u32,
}

impl Fallback {
    /// Returns the protocol of an opening that begins now. `None` is RESP3, or RESP2 if the server does not know that.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.resp2_until.filter(|until| Instant::now() < *until).map(|_| Protocol::Resp2)
    }

    /// An opening without a protocol to begin with has led to a connection that speaks `spoken` and has answered PING.
    /// `hung_up` says whether the peer hung up on HELLO first.
    pub(super) fn negotiated(&mut self, spoken: Protocol, hung_up: bool) {
        self.hang_ups = if hung_up { self.hang_ups + 1 } else { 0 };
        let is_sure = spoken == Protocol::Resp2 && (!hung_up || self.hang_ups >= HANG_UPS);
        self.resp2_until = is_sure.then(|| Instant::now() + MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_without_hello_gets_resp2_for_an_hour() {
        let mut fallback = Fallback::default();
        assert_eq!(fallback.protocol(), None);
        fallback.negotiated(Protocol::Resp3, false);
        assert_eq!(fallback.protocol(), None);
        fallback.negotiated(Protocol::Resp2, false);
        assert_eq!(fallback.protocol(), Some(Protocol::Resp2));
        advance(MEMORY / 100 * 99).await;
        assert_eq!(fallback.protocol(), Some(Protocol::Resp2));
        advance(MEMORY / 100).await;
        assert_eq!(fallback.protocol(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_up_counts_only_if_another_follows_and_once_more_after_the_hour() {
        let mut fallback = Fallback::default();
        fallback.negotiated(Protocol::Resp2, true);
        assert_eq!(fallback.protocol(), None);
        fallback.negotiated(Protocol::Resp3, false);
        fallback.negotiated(Protocol::Resp2, true);
        assert_eq!(fallback.protocol(), None, "not in a row");
        fallback.negotiated(Protocol::Resp2, true);
        assert_eq!(fallback.protocol(), Some(Protocol::Resp2));
        advance(MEMORY).await;
        fallback.negotiated(Protocol::Resp2, true);
        assert_eq!(fallback.protocol(), Some(Protocol::Resp2));
    }
}
