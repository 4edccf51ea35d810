//! What the sentinels of a service have said of its primary, and which address follows from that.
//!
//! Pure: no I/O and no clock. Sentinels disagree for moments after a failover, and for long where the network is split or one
//! of them is wrong. One that names another address than before has probably learnt of a failover, so that its answer is a
//! rumour: the primary changes once most sentinels name it, or once a server was reached at that address while no more
//! sentinels than those say otherwise, or may do so when they are asked. If neither happens, or the others still say otherwise
//! when they had time to hear of it, that sentinel starts no rumour again before it has agreed with others about a change.
//! A primary that cannot be reached is no reason to wait for the others.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use crate::target::Endpoint;

/// How long the other sentinels may take to hear of a failover that one of them has told.
const HEARING: Duration = Duration::from_secs(10);
/// How long it counts that the primary was not found at an address that is still named.
const MEMORY: Duration = Duration::from_secs(60);

/// What the sentinels have said. They are numbered in the order of the configuration.
#[derive(Clone, Debug)]
pub struct Knowledge {
    voices: Vec<Voice>,
    /// The sentinels in the order in which to ask them.
    order: Vec<usize>,
    primary: Option<Place>,
    /// Where one sentinel says that the primary is now.
    rumour: Option<Place>,
    /// Since when it says so.
    rumoured: Option<Instant>,
    /// By when all sentinels have heard of the primary, if it was a rumour.
    heard: Option<Instant>,
    /// Since when those that answer name other addresses than the primary's.
    unnamed: Option<Instant>,
    /// The places so far.
    places: u64,
    /// The failed attempts to reach a primary so far.
    refutations: u64,
}

/// One sentinel.
#[derive(Clone, Debug, Default)]
struct Voice {
    /// Its last statement. `None` if it did not answer last time, or does not know the service.
    said: Option<Statement>,
    /// Whether it is to be asked about the rumour, since nothing is known of what it says.
    is_awaited: bool,
    /// Whether a change that it told turned out to be wrong.
    is_distrusted: bool,
}

impl Voice {
    fn names(&self, address: &Endpoint) -> bool {
        self.said.as_ref().is_some_and(|said| said.address == *address)
    }
}

/// What a sentinel has said.
#[derive(Clone, Debug)]
struct Statement {
    address: Endpoint,
    /// When it said so last.
    at: Instant,
    refuted: Option<Refutation>,
}

/// The last attempt to reach the primary at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refutation {
    number: u64,
    at: Instant,
    /// Whether a server answered which is not the primary.
    is_another: bool,
}

/// Where the primary is, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: Endpoint,
    /// Each change of the primary has another one, from 1.
    pub(super) epoch: u64,
}

impl Knowledge {
    /// Creates the knowledge of `sentinels` that were not asked yet.
    pub(super) fn new(sentinels: usize) -> Self {
        Self {
            voices: vec![Voice::default(); sentinels],
            order: (0..sentinels).collect(),
            primary: None,
            rumour: None,
            rumoured: None,
            heard: None,
            unnamed: None,
            places: 0,
            refutations: 0,
        }
    }

    /// Returns the address of the primary, as far as the sentinels have said.
    #[must_use]
    pub fn primary(&self) -> Option<&Endpoint> {
        self.primary.as_ref().map(|place| &place.address)
    }

    /// Returns the address at which one sentinel says that the primary is now, unless more say otherwise. The caller
    /// reports whether a server is there.
    #[must_use]
    pub fn rumour(&self) -> Option<&Endpoint> {
        self.credible().map(|place| &place.address)
    }

    /// Whether sentinels name different addresses.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        let mut addresses = self.statements().map(|said| &said.address);
        let first = addresses.next();
        addresses.any(|address| Some(address) != first)
    }

    /// Returns where to connect to, if any sentinel names it.
    pub(super) fn guess(&self) -> Option<&Place> {
        self.credible().or(self.primary.as_ref()).filter(|place| self.votes(&place.address) > 0)
    }

    /// Returns the epoch of the primary; 0 if there is none.
    pub(in crate::connection) fn epoch(&self) -> u64 {
        self.primary.as_ref().map_or(0, |place| place.epoch)
    }

    /// Whether the primary may still be where it was in `epoch`.
    pub(in crate::connection) fn stands(&self, epoch: u64) -> bool {
        self.epoch() == epoch || self.rumour.as_ref().is_some_and(|place| place.epoch == epoch)
    }

    /// Returns the sentinels in the order in which to ask them: the one that answered last comes first.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns the sentinels that were wrong about a change.
    pub(super) fn distrusted(&self) -> impl Iterator<Item = usize> {
        self.voices.iter().enumerate().filter(|(_, voice)| voice.is_distrusted).map(|(index, _)| index)
    }

    /// Records that `sentinel` names `address` at the instant `now`. Returns the previous primary if it has changed.
    pub(super) fn named(&mut self, sentinel: usize, address: &Endpoint, now: Instant) -> Option<Endpoint> {
        let voice = &mut self.voices[sentinel];
        let previous = voice.said.take();
        let has_changed = previous.as_ref().is_some_and(|said| said.address != *address);
        let refuted = previous.filter(|_| !has_changed).and_then(|said| said.refuted);
        let refuted = refuted.filter(|refuted| now < refuted.at + MEMORY);
        voice.said = Some(Statement { address: address.clone(), at: now, refuted });
        voice.is_awaited = false;
        let is_distrusted = voice.is_distrusted;
        if self.primary.is_none() {
            self.primary = Some(self.place(address));
            return None;
        }
        self.rumour.take_if(|rumour| !self.voices.iter().any(|voice| voice.names(&rumour.address)));
        if let Some(agreed) = self.agreed() {
            return self.adopt_agreed(&agreed);
        }
        let is_unnamed = self.primary().is_some_and(|primary| self.votes(primary) == 0);
        self.unnamed = is_unnamed.then(|| self.unnamed.unwrap_or(now));
        let is_believed = match self.unnamed {
            // Another one may just have been lost that knows better.
            Some(since) => !is_distrusted || since + HEARING <= now,
            None => has_changed && !is_distrusted,
        };
        let is_rumoured = self.rumour.as_ref().is_some_and(|rumour| rumour.address == *address);
        if is_believed && self.primary() != Some(address) && !is_rumoured {
            self.rumour = Some(self.place(address));
            self.rumoured = Some(now);
            self.voices.iter_mut().for_each(|voice| voice.is_awaited = voice.said.is_none());
        }
        if self.rumoured.is_some_and(|since| since + HEARING <= now)
            && self.credible().is_none()
            && let Some(rumour) = self.rumour.take()
        {
            self.distrust(&rumour.address);
        }
        None
    }

    /// Records that `sentinel` is asked: until it answers, the others are asked first.
    pub(super) fn asked(&mut self, sentinel: usize) {
        self.order.retain(|other| *other != sentinel);
        self.order.push(sentinel);
    }

    /// Records that `sentinel` was asked and answered first.
    pub(super) fn answered(&mut self, sentinel: usize) {
        self.order.retain(|other| *other != sentinel);
        let place = if self.voices[sentinel].is_distrusted { self.order.len() } else { 0 };
        self.order.insert(place, sentinel);
    }

    /// Records that `sentinel` names no address: it does not answer, or does not know the service.
    pub(super) fn silent(&mut self, sentinel: usize) {
        let voice = &mut self.voices[sentinel];
        (voice.said, voice.is_awaited) = (None, false);
        self.order.retain(|other| *other != sentinel);
        self.order.push(sentinel);
    }

    /// Records that a server was reached at `address`. Returns the previous primary if it has changed.
    pub(super) fn reached(&mut self, address: &Endpoint, now: Instant) -> Option<Endpoint> {
        self.credible().filter(|place| place.address == *address)?;
        let place = self.rumour.take()?;
        self.heard = Some(now + HEARING);
        self.primary.replace(place).map(|place| place.address)
    }

    /// Records that the server at `address` is the primary. Returns the previous primary if it has changed.
    pub(super) fn confirmed(&mut self, address: &Endpoint, now: Instant) -> Option<Endpoint> {
        for said in self.saying(address) {
            said.refuted = None;
        }
        self.reached(address, now)
    }

    /// Records that the primary was not found at `address`, and whether another server is there. Those who named it are asked
    /// last. Returns the previous primary if it has changed.
    pub(super) fn refuted(&mut self, address: &Endpoint, is_another: bool, at: Instant) -> Option<Endpoint> {
        self.refutations += 1;
        let refutation = Refutation { number: self.refutations, at, is_another };
        for said in self.saying(address) {
            said.refuted = Some(refutation);
        }
        let voices = &self.voices;
        self.order.sort_by_key(|sentinel| {
            let voice = &voices[*sentinel];
            (voice.is_distrusted, voice.names(address))
        });
        if let Some(rumour) = self.rumour.take_if(|place| place.address == *address) {
            if self.primary().is_some_and(|primary| self.votes(primary) > 0) {
                self.distrust(address);
                return None;
            }
            // Nobody says otherwise.
            self.heard = None;
            return self.primary.replace(rumour).map(|place| place.address);
        }
        let instead = (self.primary() == Some(address)).then(|| self.instead_of(address)).flatten()?;
        self.distrust(address);
        self.heard = None;
        let place = self.place(&instead);
        self.primary.replace(place).map(|place| place.address)
    }

    /// Returns the rumour, unless more sentinels name a primary which is not known to be away. Those that are still to be asked
    /// may do so.
    fn credible(&self) -> Option<&Place> {
        let rumour = self.rumour.as_ref()?;
        let Some(primary) = self.primary().filter(|primary| self.refutation_of(primary).is_none()) else {
            return Some(rumour);
        };
        let awaited = self.voices.iter().filter(|voice| voice.is_awaited).count();
        let others = self.votes(primary);
        (others == 0 || others + awaited <= self.votes(&rumour.address)).then_some(rumour)
    }

    /// Returns the address that more sentinels name than the primary's, though they had time to hear of that.
    fn agreed(&self) -> Option<Endpoint> {
        let primary = self.primary()?;
        let counts = |said: &&Statement| self.heard.is_none_or(|heard| said.at >= heard);
        let votes = |address: &Endpoint| {
            self.statements().filter(counts).filter(|said| said.address == *address).count()
        };
        let is_another = |said: &Statement| said.refuted.is_some_and(|refuted| refuted.is_another);
        let others = self.statements().filter(|said| said.address != *primary && !is_another(said));
        let best = others.max_by_key(|said| votes(&said.address))?;
        let votes = votes(&best.address);
        (votes > 1 && votes > self.votes(primary)).then(|| best.address.clone())
    }

    /// Lets the primary be at the address on which most sentinels agree.
    fn adopt_agreed(&mut self, address: &Endpoint) -> Option<Endpoint> {
        let place = match self.rumour.take() {
            Some(rumour) if rumour.address == *address => rumour,
            _ => self.place(address),
        };
        let previous = self.primary.replace(place).map(|place| place.address);
        if self.heard.take().is_some()
            && let Some(previous) = &previous
        {
            self.distrust(previous);
        }
        for voice in &mut self.voices {
            voice.is_distrusted &= voice.said.as_ref().is_none_or(|said| said.address != *address);
        }
        previous
    }

    /// Returns which address may be the primary's if it was not found at `address`. Of those that were tried as well, the one
    /// whose turn is longest ago.
    fn instead_of(&self, address: &Endpoint) -> Option<Endpoint> {
        let is_another = |address: &Endpoint| self.refutation_of(address).is_some_and(|it| it.is_another);
        let others = self.statements().map(|said| &said.address).filter(|other| *other != address);
        // A server that says what it is weighs more than any number of sentinels.
        let candidates = others.filter(|other| {
            self.votes(other) >= self.votes(address) || (is_another(address) && !is_another(other))
        });
        let best = candidates.max_by_key(|other| {
            let turn = self.refutation_of(other).map_or(0, |refuted| refuted.number);
            (!is_another(other), Reverse(turn), self.votes(other))
        });
        best.cloned()
    }

    fn refutation_of(&self, address: &Endpoint) -> Option<Refutation> {
        let of_address = self.statements().filter(|said| said.address == *address);
        of_address.filter_map(|said| said.refuted).max_by_key(|refuted| refuted.number)
    }

    fn distrust(&mut self, address: &Endpoint) {
        for voice in &mut self.voices {
            voice.is_distrusted |= voice.names(address);
        }
    }

    fn place(&mut self, address: &Endpoint) -> Place {
        self.places += 1;
        Place { address: address.clone(), epoch: self.places }
    }

    fn votes(&self, address: &Endpoint) -> usize {
        self.statements().filter(|said| said.address == *address).count()
    }

    fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.voices.iter().filter_map(|voice| voice.said.as_ref())
    }

    fn saying(&mut self, address: &Endpoint) -> impl Iterator<Item = &mut Statement> {
        self.voices.iter_mut().filter_map(|voice| voice.said.as_mut()).filter(|said| said.address == *address)
    }
}

#[cfg(test)]
mod tests;
