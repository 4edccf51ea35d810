//! What the sentinels of a service have said of its primary, and which address follows from that.
//!
//! Pure: no I/O and no clock. Sentinels disagree for moments after a failover, and for long where the network is split. The
//! newest change wins: a sentinel that names another address than before has learnt of a failover, and one that repeats an
//! old address has not.

use std::cmp::Reverse;

use crate::target::Endpoint;

/// What the sentinels have said. They are numbered in the order of the configuration.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// The last statement of each sentinel. `None` for one that did not answer last time, or does not know the service.
    said: Vec<Option<Statement>>,
    /// The sentinels in the order in which to ask them.
    order: Vec<usize>,
    /// The changes so far.
    changes: u64,
    primary: Option<Endpoint>,
    epoch: u64,
}

/// What a sentinel has said.
#[derive(Clone, Debug)]
struct Statement {
    address: Endpoint,
    /// The number of the change after which it said so. 0 if it has said nothing else before.
    change: u64,
    /// Whether the server at the address turned out not to be the primary.
    is_disproved: bool,
}

impl Knowledge {
    /// Creates the knowledge of `sentinels` that were not asked yet.
    pub(super) fn new(sentinels: usize) -> Self {
        Self {
            said: vec![None; sentinels],
            order: (0..sentinels).collect(),
            changes: 0,
            primary: None,
            epoch: 0,
        }
    }

    /// Returns the address of the primary, as far as the sentinels have said.
    #[must_use]
    pub const fn primary(&self) -> Option<&Endpoint> {
        self.primary.as_ref()
    }

    /// Returns how often the primary has changed.
    pub(in crate::connection) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the sentinels in the order in which to ask them: the one that answered last comes first.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns the address that `sentinel` names.
    #[must_use]
    pub fn said_by(&self, sentinel: usize) -> Option<&Endpoint> {
        self.said[sentinel].as_ref().map(|statement| &statement.address)
    }

    /// Records that `sentinel` names `address`. Returns the previous primary if it has changed.
    pub(super) fn named(&mut self, sentinel: usize, address: &Endpoint) -> Option<Endpoint> {
        match &self.said[sentinel] {
            Some(statement) if statement.address == *address => {}
            previous => {
                self.changes += u64::from(previous.is_some());
                let change = if previous.is_some() { self.changes } else { 0 };
                let address = address.clone();
                self.said[sentinel] = Some(Statement { address, change, is_disproved: false });
            }
        }
        self.decide(sentinel)
    }

    /// Records that `sentinel` was asked and answered first.
    pub(super) fn answered(&mut self, sentinel: usize) {
        self.order.retain(|other| *other != sentinel);
        self.order.insert(0, sentinel);
    }

    /// Records that `sentinel` names no address: it does not answer, or does not know the service.
    pub(super) fn silent(&mut self, sentinel: usize) {
        self.said[sentinel] = None;
        self.order.retain(|other| *other != sentinel);
        self.order.push(sentinel);
    }

    /// Records that the server at `address` is not the primary. Those who say so are asked last, and count only if no
    /// other address is known.
    pub(super) fn disproved(&mut self, address: &Endpoint) {
        let is_wrong = |statement: &Option<Statement>| {
            statement.as_ref().is_some_and(|statement| statement.address == *address)
        };
        let said = &self.said;
        self.order.sort_by_key(|sentinel| is_wrong(&said[*sentinel]));
        for statement in self.said.iter_mut().flatten().filter(|statement| statement.address == *address) {
            statement.is_disproved = true;
        }
        let first = self.order[0];
        self.decide(first);
    }

    /// Records that the server at `address` is the primary.
    pub(super) fn confirmed(&mut self, address: &Endpoint) {
        for statement in self.said.iter_mut().flatten().filter(|statement| statement.address == *address) {
            statement.is_disproved = false;
        }
    }

    /// Decides which address is the primary's. Of addresses that are as good, the present one wins, or else that of
    /// `sentinel`. Returns the previous primary if it has changed.
    fn decide(&mut self, sentinel: usize) -> Option<Endpoint> {
        let votes = |address: &Endpoint| {
            self.said.iter().flatten().filter(|statement| statement.address == *address).count()
        };
        let statements = self.said.iter().enumerate();
        let best = statements
            .filter_map(|(index, statement)| Some((index, statement.as_ref()?)))
            .max_by_key(|(index, statement)| {
                let is_present = self.primary.as_ref() == Some(&statement.address);
                // Without a change, the majority decides.
                let votes = if statement.change == 0 { votes(&statement.address) } else { 0 };
                let is_new = *index == sentinel;
                (!statement.is_disproved, statement.change, votes, is_present, is_new, Reverse(*index))
            })?;
        let address = best.1.address.clone();
        if self.primary.as_ref() == Some(&address) {
            return None;
        }
        let previous = self.primary.replace(address);
        self.epoch += u64::from(previous.is_some());
        previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Endpoint {
        Endpoint { host: "10.0.0.1".into(), port }
    }

    const OLD: u16 = 1;
    const NEW: u16 = 2;

    /// The knowledge after these sentinels, of three, have named these ports.
    fn after(statements: &[(usize, u16)]) -> Knowledge {
        let mut knowledge = Knowledge::new(3);
        for &(sentinel, port) in statements {
            knowledge.named(sentinel, &at(port));
        }
        knowledge
    }

    #[test]
    fn the_first_answer_is_the_primary_and_no_change() {
        let mut knowledge = Knowledge::new(3);
        assert_eq!(knowledge.primary(), None);
        assert_eq!(knowledge.named(1, &at(OLD)), None);
        assert_eq!((knowledge.primary(), knowledge.epoch()), (Some(&at(OLD)), 0));
    }

    #[test]
    fn one_sentinel_that_changes_its_mind_outweighs_two_that_have_not_heard_yet() {
        let mut knowledge = after(&[(0, OLD), (1, OLD), (2, OLD)]);
        assert_eq!(knowledge.named(1, &at(NEW)), Some(at(OLD)));
        assert_eq!((knowledge.primary(), knowledge.epoch()), (Some(&at(NEW)), 1));
        for sentinel in [0, 2, 0] {
            assert_eq!(knowledge.named(sentinel, &at(OLD)), None, "it repeats what it said before");
        }
        assert_eq!(knowledge.named(0, &at(NEW)), None);
        assert_eq!((knowledge.primary(), knowledge.epoch()), (Some(&at(NEW)), 1));
    }

    #[test]
    fn a_failover_back_is_a_change_again() {
        let mut knowledge = after(&[(0, OLD), (1, OLD), (0, NEW), (1, NEW)]);
        assert_eq!(knowledge.named(0, &at(OLD)), Some(at(NEW)));
        assert_eq!(knowledge.named(1, &at(OLD)), None);
        assert_eq!(knowledge.epoch(), 2);
    }

    #[test]
    fn a_sentinel_that_was_restarted_with_an_old_file_changes_nothing() {
        let mut knowledge = after(&[(0, OLD), (1, OLD), (0, NEW), (1, NEW)]);
        knowledge.silent(0);
        assert_eq!(knowledge.named(0, &at(OLD)), None);
        assert_eq!(knowledge.primary(), Some(&at(NEW)));
    }

    #[test]
    fn the_only_sentinel_that_answers_is_believed() {
        let mut knowledge = after(&[(0, OLD)]);
        knowledge.silent(0);
        assert_eq!(knowledge.primary(), Some(&at(OLD)), "nobody says otherwise");
        assert_eq!(knowledge.named(1, &at(NEW)), Some(at(OLD)));
    }

    #[test]
    fn without_a_change_the_majority_is_believed() {
        let mut knowledge = after(&[(0, OLD), (1, NEW)]);
        assert_eq!(knowledge.primary(), Some(&at(OLD)), "one against one");
        knowledge.named(2, &at(NEW));
        assert_eq!(knowledge.primary(), Some(&at(NEW)));
    }

    #[test]
    fn an_address_that_is_not_the_primarys_counts_only_if_there_is_no_other() {
        let mut knowledge = after(&[(0, OLD)]);
        knowledge.answered(0);
        knowledge.disproved(&at(OLD));
        assert_eq!(knowledge.order(), [1, 2, 0], "others are asked first");
        assert_eq!(knowledge.primary(), Some(&at(OLD)));
        assert_eq!(knowledge.named(2, &at(NEW)), Some(at(OLD)));
        assert_eq!(knowledge.named(0, &at(OLD)), None);
        assert_eq!(knowledge.primary(), Some(&at(NEW)));
        knowledge.confirmed(&at(OLD));
        assert_eq!(knowledge.named(0, &at(OLD)), None, "the present one goes on");
        assert_eq!(knowledge.primary(), Some(&at(NEW)));
    }

    #[test]
    fn the_sentinel_that_answered_is_asked_first_and_a_silent_one_last() {
        let mut knowledge = Knowledge::new(3);
        knowledge.silent(0);
        assert_eq!(knowledge.order(), [1, 2, 0]);
        knowledge.answered(2);
        assert_eq!(knowledge.order(), [2, 1, 0]);
    }
}
