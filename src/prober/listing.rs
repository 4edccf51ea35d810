//! In which probes `CLIENT LIST` runs. A long list costs the server time, and a peer that does not answer costs the
//! connection.

use tokio::time::Instant;

use super::fallback::MEMORY;
use crate::connection::client_list::ClientList as List;
use crate::target::{ClientList, ClientListMode, Protocol};

/// Up to so many clients are listed in every probe, and for each so many more a probe is skipped.
const CLIENTS: u64 = 500;
/// About the length of a line, for the part of a list that did not come.
const LINE: u64 = 300;
/// A list that was cut off is asked for at least in every n-th probe: its size is not known.
const RAREST: u64 = 60;

/// Decides in which probes `CLIENT LIST` runs.
#[derive(Debug)]
pub(super) struct Listing {
    config: ClientList,
    /// How many probes go by from one list to the next, where the number of clients decides.
    every: u64,
    /// How many have gone by since the last list; `None` before the first.
    passed: Option<u64>,
    /// How often in a row there was no answer.
    unanswered: u32,
    left_out_until: Option<Instant>,
    /// The length of the last list, in bytes, as the server announced it.
    pub(super) length: usize,
}

/// The reply to `CLIENT LIST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The whole list.
    Whole,
    /// The beginning of a list.
    CutOff,
    /// An error, or something else than a list.
    Refusal,
    /// None: the peer hung up or let the time pass.
    Missing,
}

impl Listing {
    pub(super) const fn new(config: ClientList) -> Self {
        Self { config, every: 1, passed: None, unanswered: 0, left_out_until: None, length: 0 }
    }

    /// Whether the list is a step of the probe that runs now. To be asked once in each.
    pub(super) fn is_due(&mut self) -> bool {
        let every = self.config.every.map_or(self.every, |every| u64::from(every.get()));
        let passed = self.passed.map_or(every, |passed| passed + 1);
        self.passed = Some(passed);
        let is_left_out = self.left_out_until.is_some_and(|until| Instant::now() < until);
        let is_due = self.config.mode != ClientListMode::Off && passed >= every && !is_left_out;
        if is_due {
            self.passed = Some(0);
        }
        is_due
    }

    /// Notes how the peer, which speaks `protocol`, replied.
    pub(super) fn note(&mut self, reply: Reply, list: &List, protocol: Protocol) {
        self.length = list.length;
        self.every = match reply {
            Reply::Whole => list.count.div_ceil(CLIENTS).max(1),
            Reply::CutOff if self.config.mode == ClientListMode::Optional => {
                let clients = list.count.max(list.length as u64 / LINE);
                clients.div_ceil(CLIENTS).clamp(1, RAREST)
            }
            // A failure that fails the probe lasts until a list has come.
            Reply::CutOff | Reply::Refusal | Reply::Missing => 1,
        };
        self.unanswered = if reply == Reply::Missing { self.unanswered + 1 } else { 0 };
        // A server that knows HELLO knows CLIENT LIST, so it was probably busy.
        let patience = match protocol {
            Protocol::Resp2 => 1,
            Protocol::Resp3 => 2,
        };
        let gives_up = self.config.mode == ClientListMode::Optional && self.unanswered >= patience;
        self.left_out_until = gives_up.then(|| Instant::now() + MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::time::advance;

    use super::*;

    fn listing(mode: ClientListMode) -> Listing {
        Listing::new(ClientList { mode, every: None })
    }

    fn list(count: u64, length: usize) -> List {
        List { count, length, ..List::default() }
    }

    /// Returns after how many probes the list is asked for again.
    fn next(listing: &mut Listing) -> usize {
        (1..).take(1_000).find(|_| listing.is_due()).unwrap_or(usize::MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn up_to_500_clients_are_listed_in_every_probe_and_more_of_them_less_often() {
        let mut listing = listing(ClientListMode::Optional);
        assert_eq!(next(&mut listing), 1, "the first probe asks");
        for (clients, probes) in [(0, 1), (1, 1), (500, 1), (501, 2), (1_000, 2), (1_001, 3), (50_000, 100)] {
            listing.note(Reply::Whole, &list(clients, 30 * 300), Protocol::Resp3);
            assert_eq!(next(&mut listing), probes, "{clients} clients");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_was_cut_off_is_as_long_as_what_came_or_was_announced_but_asked_for_in_every_60th_probe()
     {
        let mut listing = listing(ClientListMode::Optional);
        assert!(listing.is_due());
        for (counted, announced, probes) in
            [(1_200, 30_000, 3), (10, 450_000, 3), (10, 150_299, 1), (0, 150_300, 2), (5, 90_000_000, 60)]
        {
            listing.note(Reply::CutOff, &list(counted, announced), Protocol::Resp3);
            assert_eq!(next(&mut listing), probes, "{counted} clients of {announced} bytes");
        }
        listing.note(Reply::Refusal, &list(0, 0), Protocol::Resp3);
        assert_eq!(next(&mut listing), 1, "a refusal costs nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_is_kept_whatever_the_length() {
        let config = ClientList { mode: ClientListMode::Optional, every: NonZeroU32::new(3) };
        let mut listing = Listing::new(config);
        assert_eq!(next(&mut listing), 1);
        listing.note(Reply::Whole, &list(90_000, 0), Protocol::Resp3);
        assert_eq!(next(&mut listing), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_without_a_reply_is_asked_again_after_an_hour() {
        for (protocol, patience) in [(Protocol::Resp2, 1), (Protocol::Resp3, 2)] {
            let mut listing = listing(ClientListMode::Optional);
            for _ in 0..patience {
                assert_eq!(next(&mut listing), 1);
                listing.note(Reply::Missing, &list(0, 0), protocol);
            }
            assert_eq!(next(&mut listing), usize::MAX, "{protocol:?}");
            advance(MEMORY / 100 * 99).await;
            assert!(!listing.is_due());
            advance(MEMORY / 100).await;
            assert!(listing.is_due());
            listing.note(Reply::Whole, &list(1, 300), protocol);
            assert!(listing.is_due());
        }
        let mut listing = listing(ClientListMode::Required);
        listing.note(Reply::Missing, &list(0, 0), Protocol::Resp2);
        listing.note(Reply::CutOff, &list(0, 90_000_000), Protocol::Resp2);
        assert!(listing.is_due(), "a required list is never left out, and a failure lasts until it has come");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_off_is_never_asked_for() {
        assert_eq!(next(&mut listing(ClientListMode::Off)), usize::MAX);
    }
}
