//! A target as a whole: turns what its links' ledgers found into the target's outcomes, verdict and outage.
//!
//! Pure: no I/O and no clock. With one link everything passes as it is. With several, a tick fails as soon as one of the
//! links that decide fails it, and succeeds when all of them have passed it; the target is up if all of them are.

mod contact;
mod member;
mod ticks;
mod union;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{Effect, Out, Span};
use crate::probe::{Failure, FailureReason, PhaseTimes, StepResults};
use crate::status::Watch;
use crate::topology::SlotSet;
pub(super) use contact::Reach;
use member::Member;
pub(super) use member::{LinkId, Part};
use ticks::Ticks;
use union::Union;

/// Which links decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Deciding {
    /// The one to the configured host, and those to shards.
    #[default]
    Front,
    /// Those to shards. Each decides from the moment on at which its server has taken a connection.
    Shards,
}

/// What a success of the configured host waits for: it says nothing about the target yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaited {
    #[default]
    Nothing,
    /// It is not known yet whether there is a cluster, whether all of its slots have an owner, and whether its shards serve.
    Cluster,
    /// Earlier probers of the target have reached shards that may be down.
    Shards,
    /// The same, and it is known where they may serve: a failure of the configured host says nothing either.
    KnownShards,
}

/// The whole of one target.
#[derive(Debug, Default)]
pub(super) struct Whole {
    deciding: Deciding,
    awaited: Awaited,
    /// In the order of their lowest slots.
    members: Vec<Member>,
    ticks: Ticks,
    /// The failure of slots that have no owner, and up to when it is counted.
    uncovered: Option<(Box<Failure>, Instant)>,
    unavailable: Union,
    /// The newest outage, as far as it was counted.
    outage: Option<Span>,
    verdict: Option<Result<(), FailureReason>>,
    /// Since when the target is down, if it is.
    down_since: Option<Instant>,
}

impl Whole {
    /// A link joins, whose first tick is the one with the number `first`.
    pub(super) fn join(&mut self, id: LinkId, part: Part, first: u64) {
        let place = self.members.partition_point(|member| member.part.lowest() <= part.lowest());
        if self.members.is_empty() {
            // Most targets have one.
            self.members.reserve_exact(1);
        }
        self.members.insert(place, Member::new(id, part, first));
    }

    /// A link leaves.
    pub(super) fn leave(&mut self, id: LinkId, at: Instant, out: Out<'_>) {
        self.members.retain(|member| member.id != id);
        self.changed(at, out);
    }

    /// A link leads to other slots from now on.
    pub(super) fn rename(&mut self, id: LinkId, part: Part) {
        if let Some(member) = self.member(id) {
            member.part = part;
            self.members.sort_by_key(|member| member.part.lowest());
        }
    }

    /// Other links decide from now on.
    pub(super) fn decide_by(&mut self, deciding: Deciding, at: Instant, out: Out<'_>) {
        let is_away = |member: &Member| member.contact.is_missed() || matches!(member.verdict, Some(Err(_)));
        if !self.members.iter().any(is_away) {
            // Until the next tick, all that is known is what the host has found.
            self.await_no_shards(at, out);
        }
        self.deciding = deciding;
        self.await_no_shards(at, out);
    }

    /// The target is not up before it is known whether it is a cluster, and something is known of each shard.
    pub(super) fn await_cluster(&mut self) {
        if self.awaited == Awaited::Nothing {
            self.awaited = Awaited::Cluster;
        }
    }

    /// Earlier probers of the target have reached shards: the target is not up before other links decide, or
    /// [`Self::await_no_shards`]. If it is known where they are, it is not down before that for the configured host alone.
    pub(super) const fn await_shards(&mut self, are_known: bool) {
        self.awaited = if are_known { Awaited::KnownShards } else { Awaited::Shards };
    }

    /// Whether a failure of the configured host says nothing yet.
    pub(super) fn excuses_host(&self) -> bool {
        self.awaited == Awaited::KnownShards
    }

    /// Shards have been tried, or there are none. One that was missed is down or answers soon, and waited for.
    pub(super) fn await_no_shards(&mut self, at: Instant, out: Out<'_>) {
        let is_missed = |member: &Member| member.contact.is_missed() && member.verdict.is_none();
        let is_open =
            self.deciding == Deciding::Shards && self.deciding().any(|(_, member)| is_missed(member));
        if is_open {
            self.changed(at, out);
        } else {
            self.await_nothing(at, out);
        }
    }

    fn await_nothing(&mut self, at: Instant, out: Out<'_>) {
        let was_awaited = std::mem::take(&mut self.awaited) != Awaited::Nothing;
        if was_awaited && self.is_away() {
            let failure = self.blamed(None);
            self.ticks.fail_waiting(self.spoilt(), &failure, out);
        }
        self.changed(at, out);
    }

    /// Returns below which number ticks that still wait have failed: those that a link which is away has settled.
    fn spoilt(&self) -> u64 {
        let is_away = |member: &&Member| matches!(member.verdict, Some(Err(_)));
        let away = self.deciding().map(|(_, member)| member).filter(is_away);
        away.map(|member| member.settled).max().unwrap_or(0)
    }

    /// The link leads to a server or a shard that was reached before, by an earlier prober of the target or by another link.
    pub(super) fn known(&mut self, id: LinkId, at: Instant, out: Out<'_>) {
        if self.member(id).is_some_and(|member| member.contact.known()) {
            self.changed(at, out);
        }
    }

    /// The link has signed in. Returns whether its server is reached for the first time, after failures.
    pub(super) fn reached(&mut self, id: LinkId) -> bool {
        self.member(id).is_some_and(|member| member.contact.connected())
    }

    /// The link's server has taken a connection, and does not serve. Returns the same.
    pub(super) fn refused(&mut self, id: LinkId) -> bool {
        self.member(id).is_some_and(|member| member.contact.refused())
    }

    /// An attempt of the link to connect has failed. Returns whether its server is unreached after this, the first attempt.
    pub(super) fn tried(&mut self, id: LinkId, reach: Reach) -> bool {
        self.member(id).is_some_and(|member| member.contact.failed(reach))
    }

    /// Something is known of what the link has found, if it has reached its server. It decides from now on.
    pub(super) fn shown(&mut self, id: LinkId) {
        if let Some(member) = self.member(id) {
            member.contact.shown();
        }
    }

    /// Whether the link's server has ever taken a connection.
    pub(super) fn is_reached(&self, id: LinkId) -> bool {
        self.members.iter().any(|member| member.id == id && member.contact.is_reached())
    }

    /// Whether the link's server or shard was reached, by the link or before it.
    pub(super) fn is_known(&self, id: LinkId) -> bool {
        self.members.iter().any(|member| member.id == id && member.contact.is_known())
    }

    /// Whether an attempt of the link has ended.
    pub(super) fn is_tried(&self, id: LinkId) -> bool {
        self.members.iter().any(|member| member.id == id && member.contact.is_tried())
    }

    /// Returns what is known of the link's server.
    pub(super) fn watch_of(&self, id: LinkId) -> Watch {
        self.members.iter().find(|member| member.id == id).map_or(Watch::Unknown, Member::watch)
    }

    /// Returns the slots of the link's shard.
    pub(super) fn slots_of(&self, id: LinkId) -> Option<&Arc<SlotSet>> {
        self.members.iter().find(|member| member.id == id)?.part.slots()
    }

    /// Whether the topology is known, so that shards are watched or at least tried.
    pub(super) fn has_shards(&self) -> bool {
        self.members.iter().any(|member| member.part.slots().is_some())
    }

    /// Returns the first of the links that decide, by the lowest slot.
    pub(super) fn first(&self) -> Option<LinkId> {
        self.deciding().next().map(|(_, member)| member.id)
    }

    /// Whether the target is up, as far as that is known.
    pub(super) fn verdict(&self) -> Option<bool> {
        self.verdict.map(|verdict| verdict.is_ok())
    }

    /// Slots have no owner, which are named in `failure`; or all have one again.
    pub(super) fn uncover(&mut self, failure: Option<Failure>, at: Instant, out: Out<'_>) {
        self.count_uncovered(at, out);
        if let Some(failure) = &failure {
            self.ticks.fail_waiting(u64::MAX, failure, out);
        }
        self.uncovered = failure.map(|failure| (Box::new(failure), at));
        self.changed(at, out);
    }

    /// Returns what the link's server is down with, whether or not the link decides.
    pub(super) fn failure_of(&self, id: LinkId) -> Option<Failure> {
        self.members.iter().find(|member| member.id == id)?.failure()
    }

    /// A link has noticed a tick. Returns whether it is the first to do so.
    pub(super) fn tick(&mut self, number: u64, at: Instant, out: Out<'_>) -> bool {
        let is_new = self.ticks.notice(number);
        self.count_uncovered(at, out);
        if is_new && let Some((failure, _)) = &self.uncovered {
            self.ticks.fail_known(&[number], failure, out);
        }
        is_new
    }

    /// The effect of a fact in the ledger of link `id`. `settled` are the ticks of [`Effect::Settled`].
    pub(super) fn effect(&mut self, id: LinkId, at: Instant, effect: Effect, settled: &[u64], out: Out<'_>) {
        let deciding = self.deciding;
        let Some(place) = self.members.iter().position(|member| member.id == id) else { return };
        let decides = self.members[place].decides(deciding);
        let fails = decides && !(self.excuses_host() && self.members[place].part == Part::Front);
        match effect {
            Effect::Settled { outcome, .. } => {
                if let Some(last) = settled.last() {
                    self.members[place].settled = last + 1;
                }
                if !decides || outcome.result.is_err() && !fails {
                    return;
                }
                let mut outcome = outcome;
                if place != self.first_deciding() {
                    // Each node has clients of its own.
                    outcome.clients = None;
                }
                if let Err(failure) = outcome.result {
                    let blamed = self.blamed(Some((place, failure.clone())));
                    if blamed != self.members[place].named(failure) {
                        // These are of another node than the failure.
                        (outcome.phases, outcome.steps) = (PhaseTimes::default(), StepResults::default());
                    }
                    outcome.result = Err(blamed);
                    self.ticks.fail(settled, &outcome, out);
                    self.ticks.pass(&[], &outcome, self.passed(), out);
                } else {
                    self.ticks.pass(settled, &outcome, self.passed(), out);
                }
            }
            Effect::FailedBetweenTicks(mut outcome) => {
                outcome.result = outcome.result.map_err(|failure| self.members[place].named(failure));
                if fails {
                    out(Effect::FailedBetweenTicks(outcome));
                }
            }
            Effect::Up { outage } => {
                self.members[place].verdict = Some(Ok(()));
                self.verdict_changed(at, outage, out);
            }
            Effect::Down(failure) => {
                self.members[place].verdict = Some(Err(failure));
                self.verdict_changed(at, None, out);
            }
            Effect::Unavailable(span) if fails => self.unavailable(span, out),
            Effect::Lost(failure) if fails => out(Effect::Lost(self.members[place].named(failure))),
            Effect::Reopened(_) if decides => {
                out(Effect::Reopened(self.members[place].part.slots().cloned()));
            }
            Effect::Unavailable(_) | Effect::Lost(_) | Effect::Reopened(_) => {}
        }
    }

    fn member(&mut self, id: LinkId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn deciding(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().filter(|(_, member)| member.decides(self.deciding))
    }

    fn first_deciding(&self) -> usize {
        self.deciding().next().map_or(0, |(place, _)| place)
    }

    /// Returns below which number all deciding links have settled the ticks; 0 if none decides, or nobody can yet.
    fn passed(&self) -> u64 {
        if self.awaited != Awaited::Nothing {
            return 0;
        }
        self.deciding().map(|(_, member)| member.settled).min().unwrap_or(0)
    }

    /// Which links decide has changed.
    fn changed(&mut self, at: Instant, out: Out<'_>) {
        self.ticks.settle_passed(self.passed(), out);
        self.verdict_changed(at, None, out);
    }

    /// Returns the failure to blame: `of` a link, or one that is known.
    fn blamed(&self, of: Option<(usize, Failure)>) -> Failure {
        let (place, failure) = of.map_or((None, None), |(place, failure)| (Some(place), Some(failure)));
        let own = place.zip(failure).map(|(place, failure)| self.members[place].named(failure));
        let known = self
            .deciding()
            .filter(|(other, _)| Some(*other) != place)
            .filter_map(|(_, member)| member.failure());
        let uncovered = self.uncovered.as_ref().map(|(failure, _)| (**failure).clone());
        let all = own.into_iter().chain(known).chain(uncovered);
        gravest(all).expect("there is a failure")
    }

    fn verdict_changed(&mut self, at: Instant, outage: Option<Duration>, out: Out<'_>) {
        if self.is_away() {
            self.down_since.get_or_insert(at);
            let failure = self.blamed(None);
            let verdict = Err(failure.reason);
            if self.verdict.replace(verdict) != Some(verdict) {
                out(Effect::Down(failure));
            }
            return;
        }
        if self.awaited != Awaited::Nothing {
            return;
        }
        let deciding = self.deciding().count();
        let up = self.deciding().filter(|(_, member)| member.verdict == Some(Ok(()))).count();
        if up > 0 && up == deciding && self.verdict.replace(Ok(())) != Some(Ok(())) {
            let is_alone = deciding == 1;
            let since = self.down_since.take();
            // What is older did not bring the target down.
            let last = self.outage.take().filter(|outage| since.is_none_or(|since| since <= outage.until));
            let counted = last.and_then(|outage| at.checked_duration_since(outage.from));
            out(Effect::Up { outage: if is_alone { outage.or(counted) } else { counted } });
        }
    }

    /// Whether a part of the target is known to be away.
    fn is_away(&self) -> bool {
        let is_excused = |member: &Member| self.excuses_host() && member.part == Part::Front;
        let is_away = |member: &Member| matches!(member.verdict, Some(Err(_))) && !is_excused(member);
        self.uncovered.is_some() || self.deciding().any(|(_, member)| is_away(member))
    }

    fn unavailable(&mut self, span: Span, out: Out<'_>) {
        // An earlier one may have passed before the target was down. While it is down, there may be times that do not count.
        let was_down = |at: Instant| self.down_since.is_some_and(|since| since <= at);
        let goes_on = |outage: &Span| span.from <= outage.until || was_down(outage.until);
        self.outage = Some(self.outage.filter(goes_on).map_or(span, |outage| Span {
            from: outage.from.min(span.from),
            until: outage.until.max(span.until),
        }));
        self.unavailable.add(span, &mut |span| out(Effect::Unavailable(span)));
    }

    fn count_uncovered(&mut self, at: Instant, out: Out<'_>) {
        if let Some((_, counted)) = &mut self.uncovered
            && *counted < at
        {
            let span = Span { from: std::mem::replace(counted, at), until: at };
            self.unavailable(span, out);
        }
    }
}

/// Returns the failure to blame for the whole. Any other reason takes precedence over that of a cluster which is down because of
/// another node, then the lowest slot decides.
pub(super) fn gravest(failures: impl IntoIterator<Item = Failure>) -> Option<Failure> {
    failures.into_iter().min_by_key(|failure| {
        let lowest = failure.slots.as_ref().and_then(|slots| slots.lowest());
        (failure.reason == FailureReason::ClusterDown, lowest)
    })
}

#[cfg(test)]
mod tests;
