//! The notices of one target, over all its connections, and what is known from them.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::event::{Effect, Event, Kind};
use super::notice::Notice;

/// How long the same notice on another connection is a duplicate.
const DUPLICATES: Duration = Duration::from_secs(10);
/// A server repeats its last completion to each connection that asks for notices: so long after that, one is history.
const REPLAY: Duration = Duration::from_secs(2);
/// How many notices are remembered to find duplicates, and how many connections for each.
const MAX_REMEMBERED: usize = 32;
const MAX_CONNECTIONS: usize = 512;
/// How long a scheduled time is known after it has passed, and how far ahead one may be.
const PAST: Duration = Duration::from_secs(3600);
const AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// So many notices are logged in so long a time.
const LOGGED: u32 = 10;
const LOGGED_IN: Duration = Duration::from_secs(60);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For durations.
    pub instant: Instant,
    /// For announced times.
    pub time: SystemTime,
}

/// The connection on which a notice came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The connection, among all of the target.
    pub connection: u64,
    /// When the server agreed to send pushes on it.
    pub agreed: Option<Instant>,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is a new event.
    Event {
        /// What it reports. [`Event::Other`] if the announced time is wrong.
        event: Event,
        /// Whether it is logged for all to see: not if many came before.
        is_loud: bool,
    },
    /// It came on another connection before.
    Duplicate,
    /// It reports the past: the server repeats it to new connections.
    Replayed,
}

/// What is known of maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Whether maintenance is going on or about to begin.
    pub is_active: bool,
    /// The start that was announced last.
    pub scheduled: Option<SystemTime>,
}

/// The notices of one target. Bounded, whatever servers send.
#[derive(Debug, Default)]
pub struct Notices {
    /// By [`Kind`].
    active: [Option<Active>; Kind::COUNT],
    scheduled: Option<Scheduled>,
    /// The newest last.
    remembered: VecDeque<Remembered>,
    /// How many were logged since when.
    logged: Option<(Instant, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    until: Instant,
    sequence: Option<i64>,
    began: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Scheduled {
    start: SystemTime,
    until: Instant,
}

#[derive(Debug)]
struct Remembered {
    identity: u64,
    until: Instant,
    connections: Vec<u64>,
}

impl Notices {
    /// Notes a notice that `receiver` got.
    pub fn note(&mut self, receiver: Receiver, notice: &Notice, now: Moment) -> Noted {
        self.forget(now.instant);
        if self.is_duplicate(receiver.connection, notice.identity) {
            return Noted::Duplicate;
        }
        let effect = notice.event.effect();
        if let Effect::Ends(kind) = effect
            && self.is_replayed(kind, receiver, now.instant)
        {
            self.end(kind, |active| is_later(notice.sequence, active.sequence));
            return Noted::Replayed;
        }
        let event = if self.schedule(notice, now) { notice.event } else { Event::Other };
        match event.effect() {
            Effect::Begins(kind) => self.begin(kind, notice, now.instant),
            Effect::Ends(kind) => self.end(kind, |_| true),
            Effect::None => {}
        }
        self.remember(receiver.connection, notice, now.instant);
        Noted::Event { event, is_loud: self.is_loud(now.instant) }
    }

    /// Returns what is known at `now`.
    #[must_use]
    pub fn announced(&self, now: Instant) -> Announced {
        Announced {
            is_active: self.active.iter().flatten().any(|active| now < active.until),
            scheduled: self.scheduled.filter(|scheduled| now < scheduled.until).map(|it| it.start),
        }
    }

    /// Returns when [`Self::announced`] changes by itself.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let active = self.active.iter().flatten().map(|active| active.until).max();
        let times = [active, self.scheduled.map(|scheduled| scheduled.until)];
        times.into_iter().flatten().filter(|until| now < *until).min()
    }

    /// Whether `connection` is not the first to get the notice. The second of the same notices on one connection is the
    /// second on any other.
    fn is_duplicate(&mut self, connection: u64, identity: u64) -> bool {
        let mut same = self.remembered.iter_mut().filter(|notice| notice.identity == identity);
        let Some(other) = same.find(|notice| !notice.connections.contains(&connection)) else { return false };
        if other.connections.len() < MAX_CONNECTIONS {
            other.connections.push(connection);
        }
        true
    }

    fn remember(&mut self, connection: u64, notice: &Notice, now: Instant) {
        if self.remembered.len() == MAX_REMEMBERED {
            self.remembered.pop_front();
        }
        // An endpoint that moves is announced to new connections until it has moved.
        let until = now + DUPLICATES.max(notice.seconds);
        self.remembered.push_back(Remembered {
            identity: notice.identity,
            until,
            connections: vec![connection],
        });
    }

    /// Whether the end of `kind` is history: it came as soon as the server agreed to send notices, which has not sent the
    /// begin to anyone since.
    fn is_replayed(&self, kind: Kind, receiver: Receiver, now: Instant) -> bool {
        let has_begun = |agreed| self.active[kind as usize].is_some_and(|active| agreed <= active.began);
        kind != Kind::Node
            && receiver.agreed.is_some_and(|agreed| now <= agreed + REPLAY && !has_begun(agreed))
    }

    /// Notes the announced start. Returns whether it is plausible.
    fn schedule(&mut self, notice: &Notice, now: Moment) -> bool {
        let Some(start) = notice.start else { return true };
        if !matches!(notice.event, Event::Scheduled | Event::Starting) {
            return true;
        }
        let left = match start.duration_since(now.time) {
            Ok(ahead) if ahead <= AHEAD => ahead + PAST,
            Ok(_) => return false,
            Err(passed) => PAST.saturating_sub(passed.duration()),
        };
        if left.is_zero() {
            return false;
        }
        self.scheduled = Some(Scheduled { start, until: now.instant + left });
        true
    }

    fn begin(&mut self, kind: Kind, notice: &Notice, now: Instant) {
        let until = now + kind.limit(notice.seconds);
        let before = self.active[kind as usize].map(|active| active.until);
        self.active[kind as usize] = Some(Active {
            until: before.map_or(until, |before| before.max(until)),
            sequence: notice.sequence,
            began: now,
        });
    }

    fn end(&mut self, kind: Kind, is_ended: impl Fn(&Active) -> bool) {
        let active = &mut self.active[kind as usize];
        *active = active.filter(|active| !is_ended(active));
    }

    fn is_loud(&mut self, now: Instant) -> bool {
        let (since, logged) = self.logged.filter(|(since, _)| now < *since + LOGGED_IN).unwrap_or((now, 0));
        self.logged = Some((since, logged.saturating_add(1)));
        logged < LOGGED
    }

    fn forget(&mut self, now: Instant) {
        self.remembered.retain(|notice| now < notice.until);
        for active in &mut self.active {
            *active = active.filter(|active| now < active.until);
        }
        self.scheduled = self.scheduled.filter(|scheduled| now < scheduled.until);
    }
}

/// Whether an event with the number `sequence` happened after the one with the number `than`.
fn is_later(sequence: Option<i64>, than: Option<i64>) -> bool {
    matches!((sequence, than), (Some(sequence), Some(than)) if sequence > than)
}

#[cfg(test)]
mod tests;
