//! The rules for notices of one target, and properties that hold for any sequence of them.

use super::*;
use crate::connection::push::{Argument, Push};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// 2026-11-26T09:00:00Z
const MORNING: u64 = 1_795_683_600;

/// The clock of a test.
#[derive(Clone, Copy)]
struct Now(Instant);

impl Now {
    fn after(self, duration: Duration) -> Moment {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MORNING) + duration;
        Moment { instant: self.0 + duration, time }
    }
}

fn azure(kind: &str, start: &str) -> Notice {
    let payload = format!("NotificationType|{kind}|StartTimeInUTC|{start}|IsReplica|False");
    let arguments = vec![Argument::Text(crate::maintenance::AZURE_CHANNEL.into()), Argument::Text(payload)];
    Notice::of_push(&Push::Read { name: "message".into(), arguments }).expect("a notice")
}

fn push(name: &str, arguments: &[Argument]) -> Notice {
    Notice::of_push(&Push::Read { name: name.into(), arguments: arguments.to_vec() }).expect("a notice")
}

use Argument::{Integer, Null};

fn on(connection: u64) -> Receiver {
    Receiver { connection, agreed: None }
}

fn event(noted: Noted) -> Option<Event> {
    match noted {
        Noted::Event { event, .. } => Some(event),
        Noted::Duplicate | Noted::Replayed => None,
    }
}

#[test]
fn the_maintenance_of_a_node_is_scheduled_then_active_and_then_over() {
    let (now, mut notices) = (Now(Instant::now()), Notices::default());
    let note = |notices: &mut Notices, notice, at| {
        let noted = event(notices.note(on(1), &notice, now.after(at)));
        (noted, notices.announced(now.after(at).instant).is_active)
    };
    let scheduled = azure("NodeMaintenanceScheduled", "2026-11-26T09:14:00");
    assert_eq!(note(&mut notices, scheduled, Duration::ZERO), (Some(Event::Scheduled), false));
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(MORNING) + 14 * MINUTE;
    assert_eq!(notices.announced(now.0).scheduled, Some(start));
    for (kind, minute, reported, is_active) in [
        ("NodeMaintenanceStarting", 13, Event::Starting, true),
        ("NodeMaintenanceStart", 14, Event::Start, true),
        ("NodeMaintenanceFailoverComplete", 15, Event::FailoverComplete, true),
        ("NodeMaintenanceEnded", 18, Event::Ended, false),
    ] {
        assert_eq!(note(&mut notices, azure(kind, ""), minute * MINUTE), (Some(reported), is_active));
    }
    assert_eq!(notices.announced(now.0 + 73 * MINUTE).scheduled, Some(start));
    assert_eq!(notices.next_change(now.0 + 73 * MINUTE), Some(now.0 + 74 * MINUTE));
    assert_eq!(notices.announced(now.0 + 74 * MINUTE).scheduled, None, "an hour after it has passed");
}

#[test]
fn maintenance_ends_by_itself() {
    let now = Now(Instant::now());
    for (notice, until) in [
        (azure("NodeMaintenanceStart", ""), 30 * MINUTE),
        (push("MIGRATING", &[Integer(1), Integer(20), Null]), 60 * SECOND),
        (push("MIGRATING", &[Integer(1), Integer(3), Null]), 30 * SECOND),
        (push("MOVING", &[Integer(1), Integer(-5), Null]), 30 * SECOND),
        (push("FAILING_OVER", &[Null]), 30 * SECOND),
        (push("SMIGRATING", &[Integer(1), Argument::Text("1-9".into())]), 30 * SECOND),
    ] {
        let mut notices = Notices::default();
        notices.note(on(1), &notice, now.after(Duration::ZERO));
        assert_eq!(notices.next_change(now.0), Some(now.0 + until), "{notice:?}");
        assert!(notices.announced(now.0 + until - SECOND).is_active);
        assert!(!notices.announced(now.0 + until).is_active);
        assert_eq!(notices.next_change(now.0 + until), None);
    }
}

#[test]
fn kinds_of_maintenance_end_independently() {
    let (now, mut notices) = (Now(Instant::now()), Notices::default());
    let at = |seconds| now.after(Duration::from_secs(seconds));
    notices.note(on(1), &push("MIGRATING", &[Integer(1), Integer(60), Null]), at(0));
    notices.note(on(1), &push("FAILING_OVER", &[Integer(2), Integer(10), Null]), at(0));
    notices.note(on(1), &push("MIGRATED", &[Integer(3), Null]), at(5));
    assert!(notices.announced(at(5).instant).is_active);
    notices.note(on(1), &push("FAILED_OVER", &[Integer(4), Null]), at(6));
    assert!(!notices.announced(at(6).instant).is_active);
}

#[test]
fn a_notice_counts_once_however_many_connections_get_it() {
    let (now, mut notices) = (Now(Instant::now()), Notices::default());
    let start = azure("NodeMaintenanceStart", "");
    let mut note = |connection, seconds| {
        event(notices.note(on(connection), &start, now.after(Duration::from_secs(seconds))))
    };
    assert_eq!(note(1, 0), Some(Event::Start));
    assert_eq!([note(2, 0), note(3, 9)], [None, None]);
    assert_eq!(note(1, 9), Some(Event::Start), "two nodes of the same look");
    assert_eq!([note(2, 9), note(3, 9)], [None, None], "the second is the second on each connection");
    assert_eq!(note(4, 19), Some(Event::Start), "10 s later it is another one");
}

#[test]
fn a_move_that_is_repeated_to_a_new_connection_counts_once() {
    let (now, mut notices) = (Now(Instant::now()), Notices::default());
    let at = |seconds| now.after(Duration::from_secs(seconds));
    let moving = |seconds| push("MOVING", &[Integer(7), Integer(seconds), Null]);
    assert_eq!(event(notices.note(on(1), &moving(60), at(0))), Some(Event::Moving));
    assert_eq!(event(notices.note(on(2), &moving(25), at(35))), None);
    let next = push("MOVING", &[Integer(8), Integer(60), Null]);
    assert_eq!(event(notices.note(on(2), &next, at(36))), Some(Event::Moving));
}

#[test]
fn a_completion_right_after_the_server_agreed_is_history() {
    let (now, mut notices) = (Now(Instant::now()), Notices::default());
    let at = |seconds| now.after(Duration::from_secs(seconds));
    let receiver = |agreed| Receiver { connection: agreed, agreed: Some(at(agreed).instant) };
    let failed_over = |sequence| push("FAILED_OVER", &[Integer(sequence), Null]);
    assert_eq!(notices.note(receiver(10), &failed_over(3), at(11)), Noted::Replayed);
    assert_eq!(event(notices.note(receiver(10), &failed_over(4), at(13))), Some(Event::FailedOver));

    notices.note(receiver(10), &push("FAILING_OVER", &[Integer(5), Integer(60), Null]), at(20));
    assert_eq!(notices.note(receiver(30), &failed_over(4), at(30)), Noted::Replayed);
    assert!(notices.announced(at(30).instant).is_active, "an older one ends nothing");
    assert_eq!(notices.note(receiver(31), &failed_over(6), at(31)), Noted::Replayed);
    assert!(!notices.announced(at(31).instant).is_active, "the connection before it missed this one");

    notices.note(receiver(40), &push("FAILING_OVER", &[Integer(8), Integer(1), Null]), at(40));
    assert_eq!(event(notices.note(receiver(40), &failed_over(9), at(41))), Some(Event::FailedOver));
    let ended = azure("NodeMaintenanceEnded", "");
    assert_eq!(
        event(notices.note(receiver(50), &ended, at(50))),
        Some(Event::Ended),
        "Azure repeats nothing"
    );
}

#[test]
fn a_wrong_time_changes_nothing() {
    let now = Now(Instant::now());
    for start in ["2026-11-26T08:00:00", "2026-12-03T09:00:01", "9999-12-31T23:59:59", "never"] {
        for kind in ["NodeMaintenanceScheduled", "NodeMaintenanceStarting"] {
            let mut notices = Notices::default();
            let noted = notices.note(on(1), &azure(kind, start), now.after(Duration::ZERO));
            assert_eq!(event(noted), Some(Event::Other), "{start}");
            assert_eq!(notices.announced(now.0), Announced::default(), "{start}");
        }
    }
    let mut notices = Notices::default();
    notices.note(on(1), &azure("NodeMaintenanceScheduled", "2026-11-26T08:30:00"), now.after(Duration::ZERO));
    assert_eq!(notices.next_change(now.0), Some(now.0 + 30 * MINUTE), "it may come late");
}

#[test]
fn a_flood_of_notices_is_logged_only_at_its_beginning() {
    let (now, mut notices) = (Now(Instant::now()), Notices::default());
    let mut note = |number, seconds| {
        let notice = push("MIGRATED", &[Integer(number), Null]);
        let noted = notices.note(on(1), &notice, now.after(Duration::from_secs(seconds)));
        matches!(noted, Noted::Event { is_loud: true, .. })
    };
    assert_eq!((0..1000).filter(|number| note(*number, 0)).count(), LOGGED as usize);
    assert!(!note(1000, 59));
    assert!(note(1001, 60));
}

/// A random notice, plausible or hostile.
fn any(random: &mut fastrand::Rng) -> Notice {
    let names =
        ["MOVING", "MIGRATING", "MIGRATED", "FAILING_OVER", "FAILED_OVER", "SMIGRATING", "SMIGRATED", "NEW"];
    let kinds = [
        "NodeMaintenanceScheduled",
        "NodeMaintenanceStarting",
        "NodeMaintenanceStart",
        "NodeMaintenanceFailoverComplete",
        "NodeMaintenanceEnded",
        "New",
    ];
    if random.bool() {
        let starts = ["", "2026-11-26T09:10:00", "2026-11-26T07:00:00", "2100-01-01T00:00:00", "x"];
        return azure(kinds[random.usize(..kinds.len())], starts[random.usize(..starts.len())]);
    }
    let mut argument = || match random.u8(..6) {
        0 => Null,
        1 => Argument::Other,
        2 => Argument::Text("10.0.0.4:6379".into()),
        3 => Integer(random.i64(..)),
        _ => Integer(random.i64(0..60)),
    };
    let arguments = [argument(), argument(), argument()];
    push(names[random.usize(..names.len())], &arguments[..random.usize(..=3)])
}

#[test]
fn any_sequence_of_notices_is_bounded_and_its_maintenance_ends() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (now, mut notices, mut at) = (Now(Instant::now()), Notices::default(), Duration::ZERO);
        for _ in 0..300 {
            at += Duration::from_millis(random.u64(..4000));
            let moment = now.after(at);
            let agreed =
                random.bool().then(|| moment.instant.checked_sub(SECOND * random.u32(..4))).flatten();
            let receiver = Receiver { connection: random.u64(..4), agreed };
            let (notice, before) = (any(&mut random), notices.announced(moment.instant));
            let noted = notices.note(receiver, &notice, moment);
            let after = notices.announced(moment.instant);
            match noted {
                Noted::Duplicate | Noted::Event { event: Event::Other, .. } => {
                    assert_eq!(after, before, "seed {seed}");
                }
                Noted::Replayed => assert_eq!(after.scheduled, before.scheduled, "seed {seed}"),
                Noted::Event { event, .. } => match event.effect() {
                    Effect::Begins(_) => assert!(after.is_active, "seed {seed}"),
                    Effect::Ends(_) | Effect::None => {
                        assert!(before.is_active || !after.is_active, "seed {seed}");
                    }
                },
            }
            let other = Receiver { connection: receiver.connection + 1, ..receiver };
            if matches!(noted, Noted::Event { .. }) {
                assert_eq!(notices.note(other, &notice, moment), Noted::Duplicate, "seed {seed}");
            }
            assert!(notices.remembered.len() <= MAX_REMEMBERED);
            // What changes by itself does so at the time that is told.
            if let Some(next) = notices.next_change(moment.instant) {
                assert_eq!(notices.announced(next - Duration::from_nanos(1)), after, "seed {seed}");
                assert_ne!(notices.announced(next), after, "seed {seed}");
            }
        }
        let end = now.0 + at + AHEAD + 2 * PAST + 3 * Duration::from_secs(3600);
        assert_eq!(notices.announced(end), Announced::default(), "seed {seed}");
        assert_eq!(notices.next_change(end), None, "seed {seed}");
    }
}
