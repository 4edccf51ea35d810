//! Maintenance notices: what a cache pushes on an idle connection, up to what a target knows from it. Each byte of the first
//! line of an input, counted from `0`, is the size of a piece; the rest is what the cache pushes.

use std::time::{Duration, SystemTime};

use cachepulse::connection::session::{Incident, Session};
use cachepulse::maintenance::{Announced, Event, Moment, Noted, Notice, Notices, Receiver};
use tokio::time::Instant;

use crate::runtime::run;
use crate::scripted_cache::ScriptedCache;

const LIMIT: usize = 64 * 1024;
/// Longer than anything announced is known.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) fn holds(input: &[u8]) {
    let (sizes, said) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let sizes: Vec<u8> = sizes.iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    let said = said.strip_prefix(b"\n").unwrap_or(said);
    let pushed = pushed(said, &sizes);
    assert_eq!(pushed, self::pushed(said, &[]), "in pieces of {sizes:?}");
    is_known_for_a_while(&pushed);
}

/// Returns the notices among what a session gets.
fn pushed(said: &[u8], sizes: &[u8]) -> Vec<Notice> {
    let mut cache = ScriptedCache::new(said, sizes);
    let mut notices = Vec::new();
    run(async {
        let mut session = Session::new(&mut cache, LIMIT, None);
        session.keep_pushes();
        while session.incident().await == Incident::Pushed {
            while let Some(push) = session.take_push() {
                notices.extend(Notice::of_push(&push));
            }
        }
        // It may have come with what ended the connection.
        while let Some(push) = session.take_push() {
            notices.extend(Notice::of_push(&push));
        }
    });
    notices
}

fn is_known_for_a_while(pushed: &[Notice]) {
    let (instant, time) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut notices = Notices::default();
    for (notice, connection) in pushed.iter().zip(0..) {
        let detail = notice.detail();
        assert!(detail.chars().count() <= 300 && !detail.contains(char::is_control), "{detail:?}");
        let before = notices.announced(instant);
        let receiver = Receiver { connection, agreed: Some(instant) };
        let noted = notices.note(receiver, notice, Moment { instant, time });
        if matches!(noted, Noted::Duplicate | Noted::Event { event: Event::Other, .. }) {
            assert_eq!(notices.announced(instant), before, "{notice:?}");
        }
        if let Some(moving) = notice.moving() {
            assert!(moving.wait <= Duration::from_secs(1800), "{notice:?}");
        }
    }
    assert_eq!(notices.announced(instant + LONG), Announced::default());
}
