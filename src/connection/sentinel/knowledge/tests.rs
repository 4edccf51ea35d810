//! What follows from what sentinels say, by example.

use super::*;

const OLD: u16 = 1;
const NEW: u16 = 2;
/// Where no primary is.
const WRONG: u16 = 3;

fn at(port: u16) -> Endpoint {
    Endpoint { host: "10.0.0.1".into(), port }
}

/// What three sentinels say, at certain seconds.
struct Bench {
    knowledge: Knowledge,
    start: Instant,
    second: u64,
}

impl Bench {
    /// After these sentinels have named these ports.
    fn after(statements: &[(usize, u16)]) -> Self {
        let mut bench = Self { knowledge: Knowledge::new(3), start: Instant::now(), second: 0 };
        for &(sentinel, port) in statements {
            bench.named(sentinel, port);
        }
        bench
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    fn named(&mut self, sentinel: usize, port: u16) -> Option<u16> {
        let now = self.now();
        self.knowledge.named(sentinel, &at(port), now).map(|address| address.port)
    }

    fn reached(&mut self, port: u16) -> Option<u16> {
        let now = self.now();
        self.knowledge.reached(&at(port), now).map(|address| address.port)
    }

    fn unreached(&mut self, port: u16) -> Option<u16> {
        self.refuted(port, false)
    }

    fn refuted(&mut self, port: u16, is_another: bool) -> Option<u16> {
        let now = self.now();
        self.knowledge.refuted(&at(port), is_another, now).map(|address| address.port)
    }

    fn primary(&self) -> Option<u16> {
        self.knowledge.primary().map(|address| address.port)
    }

    fn rumour(&self) -> Option<u16> {
        self.knowledge.rumour().map(|address| address.port)
    }

    /// Where a new connection leads to.
    fn guess(&self) -> Option<u16> {
        self.knowledge.guess().map(|place| place.address.port)
    }

    fn distrusted(&self) -> Vec<usize> {
        self.knowledge.distrusted().collect()
    }
}

#[test]
fn the_first_answer_is_the_primary_and_no_change() {
    let mut bench = Bench::after(&[]);
    assert_eq!((bench.primary(), bench.guess(), bench.knowledge.epoch()), (None, None, 0));
    assert_eq!(bench.named(1, OLD), None);
    assert_eq!((bench.primary(), bench.guess(), bench.knowledge.epoch()), (Some(OLD), Some(OLD), 1));
}

#[test]
fn a_change_of_one_sentinel_is_a_rumour_until_a_server_was_reached_there() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD)]);
    let epoch = bench.knowledge.epoch();
    assert_eq!((bench.named(1, NEW), bench.rumour()), (None, None), "the third may say otherwise");
    bench.knowledge.silent(2);
    assert_eq!((bench.primary(), bench.rumour(), bench.guess()), (Some(OLD), Some(NEW), Some(NEW)));
    let rumoured = bench.knowledge.guess().unwrap().epoch;
    assert!(bench.knowledge.stands(epoch), "connections go on");
    assert_eq!(bench.reached(NEW), Some(OLD));
    assert!(!bench.knowledge.stands(epoch) && bench.knowledge.stands(rumoured));
    for sentinel in [0, 2, 0] {
        assert_eq!(bench.named(sentinel, OLD), None, "it has not heard yet");
    }
    assert_eq!((bench.named(0, NEW), bench.primary()), (None, Some(NEW)));
    assert_eq!(bench.knowledge.epoch(), rumoured);
}

#[test]
fn one_sentinel_against_two_moves_nothing_and_is_distrusted_once_they_had_time_to_hear() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (2, OLD), (0, NEW)]);
    assert_eq!((bench.rumour(), bench.guess(), bench.reached(NEW)), (None, Some(OLD), None));
    bench.second = 9;
    assert_eq!((bench.named(1, OLD), bench.named(2, OLD), bench.distrusted()), (None, None, vec![]));
    bench.second = 10;
    assert_eq!((bench.named(1, OLD), bench.distrusted()), (None, vec![0]));
    bench.knowledge.silent(1);
    assert_eq!((bench.rumour(), bench.reached(NEW), bench.primary()), (None, None, Some(OLD)), "it is over");
}

#[test]
fn one_sentinel_is_followed_against_two_whose_primary_is_away() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (2, OLD), (0, NEW)]);
    assert_eq!(bench.unreached(OLD), None);
    assert_eq!((bench.rumour(), bench.guess()), (Some(NEW), Some(NEW)));
    assert_eq!((bench.reached(NEW), bench.primary()), (Some(OLD), Some(NEW)));
}

#[test]
fn a_change_on_which_most_agree_needs_no_server_to_be_reached() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (2, OLD), (1, NEW)]);
    let rumoured = bench.knowledge.epoch() + 1;
    assert_eq!(bench.named(0, NEW), Some(OLD));
    assert_eq!(
        (bench.rumour(), bench.knowledge.epoch()),
        (None, rumoured),
        "whoever leads there already stays"
    );
    assert_eq!(bench.unreached(NEW), None, "a failed primary");
    assert_eq!((bench.guess(), bench.distrusted()), (Some(NEW), vec![]));
}

#[test]
fn a_failover_back_is_a_change_again() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (0, NEW), (1, NEW)]);
    assert_eq!((bench.named(0, OLD), bench.rumour()), (None, None));
    assert_eq!(bench.named(1, OLD), Some(NEW));
    assert_eq!(bench.knowledge.epoch(), 3);
}

#[test]
fn a_sentinel_whose_change_leads_nowhere_is_left_and_starts_no_rumour_again() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD)]);
    let epoch = bench.knowledge.epoch();
    bench.named(0, WRONG);
    assert_eq!(bench.unreached(WRONG), None);
    assert_eq!(
        (bench.guess(), bench.distrusted(), bench.knowledge.order()),
        (Some(OLD), vec![0], &[1, 2, 0][..])
    );
    // It alternates, and it names one address after the other.
    for port in [OLD, WRONG, OLD, WRONG, 7, 8, 9, NEW] {
        assert_eq!((bench.named(0, port), bench.rumour(), bench.guess()), (None, None, Some(OLD)), "{port}");
    }
    bench.knowledge.answered(0);
    assert_eq!(bench.knowledge.order(), [1, 2, 0], "others are asked first");
    assert!(bench.knowledge.stands(epoch));
    // In agreement with another it is believed, and then again.
    assert_eq!((bench.named(1, NEW), bench.distrusted()), (Some(OLD), vec![]));
    bench.named(0, OLD);
    bench.knowledge.silent(2);
    assert_eq!(bench.rumour(), Some(OLD));
}

#[test]
fn others_who_had_time_to_hear_of_a_change_outweigh_who_told_it() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (0, WRONG)]);
    bench.knowledge.silent(2);
    assert_eq!(bench.reached(WRONG), Some(OLD));
    bench.second = 9;
    assert_eq!((bench.named(1, OLD), bench.named(2, OLD)), (None, None));
    bench.second = 10;
    assert_eq!((bench.named(0, WRONG), bench.named(1, OLD)), (None, None), "one against one");
    assert_eq!((bench.named(2, OLD), bench.primary()), (Some(WRONG), Some(OLD)));
    assert_eq!(bench.distrusted(), [0]);
}

#[test]
fn a_sentinel_that_was_restarted_with_an_old_file_changes_nothing() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (0, NEW), (1, NEW)]);
    bench.knowledge.silent(0);
    assert_eq!((bench.named(0, OLD), bench.rumour()), (None, None));
    assert_eq!(bench.primary(), Some(NEW));
}

#[test]
fn the_only_sentinel_that_answers_is_believed_once_its_server_is_reached() {
    let mut bench = Bench::after(&[(0, OLD)]);
    bench.knowledge.silent(0);
    assert_eq!((bench.primary(), bench.guess()), (Some(OLD), None), "nobody says otherwise, nor so");
    assert_eq!((bench.named(1, NEW), bench.guess()), (None, Some(NEW)));
    assert_eq!(bench.unreached(NEW), Some(OLD), "nobody says otherwise");
    assert_eq!((bench.primary(), bench.distrusted()), (Some(NEW), vec![]));
}

#[test]
fn one_that_was_wrong_and_is_the_only_one_to_answer_is_believed_if_no_other_comes_back() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (0, WRONG)]);
    bench.unreached(WRONG);
    bench.knowledge.silent(1);
    assert_eq!((bench.named(0, WRONG), bench.guess()), (None, None));
    bench.named(2, OLD);
    bench.second = 15;
    assert_eq!((bench.named(0, WRONG), bench.guess()), (None, Some(OLD)), "another one answers");
    bench.knowledge.silent(2);
    assert_eq!((bench.named(0, WRONG), bench.guess()), (None, None));
    bench.second = 25;
    assert_eq!((bench.named(0, WRONG), bench.guess()), (None, Some(WRONG)));
}

#[test]
fn without_a_change_the_majority_is_believed() {
    let mut bench = Bench::after(&[(0, OLD), (1, NEW)]);
    assert_eq!(bench.primary(), Some(OLD), "one against one");
    bench.named(2, NEW);
    assert_eq!(bench.primary(), Some(NEW));
}

#[test]
fn a_first_answer_that_leads_nowhere_is_outweighed_by_another() {
    let mut bench = Bench::after(&[(0, WRONG)]);
    assert_eq!((bench.unreached(WRONG), bench.guess()), (None, Some(WRONG)), "there is no other");
    assert_eq!(bench.knowledge.order(), [1, 2, 0], "others are asked first");
    bench.named(1, OLD);
    assert_eq!((bench.unreached(WRONG), bench.primary()), (Some(WRONG), Some(OLD)));
    assert_eq!((bench.unreached(OLD), bench.primary()), (Some(OLD), Some(WRONG)), "it may be back");
    assert_eq!((bench.unreached(WRONG), bench.primary()), (Some(WRONG), Some(OLD)));
}

#[test]
fn a_primary_that_is_down_is_not_given_up_for_what_fewer_say() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD), (2, WRONG)]);
    assert_eq!((bench.unreached(OLD), bench.guess(), bench.distrusted()), (None, Some(OLD), vec![]));
    // The failover is followed at once.
    assert_eq!((bench.named(0, NEW), bench.guess()), (None, Some(NEW)));
}

#[test]
fn a_server_that_is_not_the_primary_counts_only_if_there_is_no_other() {
    let mut bench = Bench::after(&[(0, OLD)]);
    bench.knowledge.answered(0);
    assert_eq!(bench.refuted(OLD, true), None);
    assert_eq!((bench.knowledge.order(), bench.primary()), (&[1, 2, 0][..], Some(OLD)));
    bench.named(1, OLD);
    bench.named(2, NEW);
    assert_eq!((bench.refuted(OLD, true), bench.primary()), (Some(OLD), Some(NEW)), "whatever most say");
    assert_eq!((bench.named(0, OLD), bench.named(1, OLD), bench.primary()), (None, None, Some(NEW)));
    bench.second = 60;
    assert_eq!((bench.named(0, OLD), bench.primary()), (Some(NEW), Some(OLD)), "it may have become one");
}

#[test]
fn the_sentinel_that_answered_is_asked_first_and_a_silent_one_last() {
    let mut knowledge = Knowledge::new(3);
    knowledge.silent(0);
    assert_eq!(knowledge.order(), [1, 2, 0]);
    knowledge.answered(2);
    assert_eq!(knowledge.order(), [2, 1, 0]);
}

#[test]
fn it_is_contested_while_sentinels_name_different_addresses() {
    let mut bench = Bench::after(&[(0, OLD), (1, OLD)]);
    assert!(!bench.knowledge.is_contested());
    bench.named(2, NEW);
    assert!(bench.knowledge.is_contested());
    bench.knowledge.silent(2);
    assert!(!bench.knowledge.is_contested());
}

#[test]
fn a_sentinel_that_does_not_answer_is_asked_last_the_next_time() {
    let mut knowledge = Knowledge::new(3);
    knowledge.asked(0);
    knowledge.asked(1);
    knowledge.answered(1);
    assert_eq!(knowledge.order(), [1, 2, 0]);
}
