//! One link of a target: what it leads to, and what it has found so far.
//!
//! Pure: no I/O and no clock.

use std::sync::Arc;

use super::Deciding;
use super::contact::Contact;
use crate::probe::Failure;
use crate::status::Watch;
use crate::topology::{Slot, SlotSet};

/// Names a link within its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::prober) struct LinkId(pub(in crate::prober) u32);

/// What a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::prober) enum Part {
    /// The configured host.
    Front,
    /// The node that has these slots, of which there is at least one.
    Shard(Arc<SlotSet>),
}

impl Part {
    /// Returns the lowest slot; none for the configured host, which comes first.
    pub(super) fn lowest(&self) -> Option<Slot> {
        self.slots()?.lowest()
    }

    /// Returns the slots that failures of this part are about.
    pub(in crate::prober) const fn slots(&self) -> Option<&Arc<SlotSet>> {
        match self {
            Self::Front => None,
            Self::Shard(slots) => Some(slots),
        }
    }
}

/// One link.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: LinkId,
    pub(super) part: Part,
    pub(super) contact: Contact,
    /// It has settled all ticks below this one, or takes no part in them.
    pub(super) settled: u64,
    pub(super) verdict: Option<Result<(), Failure>>,
}

impl Member {
    /// Creates a link of which nothing is known, and whose first tick is the one with the number `first`.
    pub(super) fn new(id: LinkId, part: Part, first: u64) -> Self {
        Self { id, part, contact: Contact::default(), settled: first, verdict: None }
    }

    /// Whether what it finds decides for the target.
    pub(super) const fn decides(&self, deciding: Deciding) -> bool {
        match (deciding, &self.part) {
            (Deciding::Front, Part::Front) => true,
            (_, Part::Shard(_)) => self.contact.decides(),
            (Deciding::Shards, Part::Front) => false,
        }
    }

    /// Returns what is known of its server.
    pub(super) const fn watch(&self) -> Watch {
        match &self.verdict {
            // It is the agent that lacks something.
            _ if !self.contact.is_reached() && !self.contact.is_local() => {
                if self.contact.is_tried() {
                    Watch::Unwatched
                } else {
                    Watch::Unknown
                }
            }
            Some(Ok(())) => Watch::Up,
            Some(Err(_)) => Watch::Down,
            None => Watch::Unknown,
        }
    }

    /// Returns what its server is down with.
    pub(super) fn failure(&self) -> Option<Failure> {
        let failure = self.verdict.as_ref()?.as_ref().err()?;
        Some(self.named(failure.clone()))
    }

    /// Returns `failure` with the slots that it is about.
    pub(super) fn named(&self, failure: Failure) -> Failure {
        Failure { slots: self.part.slots().cloned(), ..failure }
    }
}
