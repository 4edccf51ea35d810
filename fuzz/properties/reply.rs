//! Replies of a cache: framing, and the list of clients. Each byte of the first line of an input, counted from `0`, is the
//! size of a piece; the rest is the reply.

use std::time::Duration;

use cachepulse::connection::client_list::ClientList;
use cachepulse::connection::session::Session;
use cachepulse::probe::{Failure, FailureReason};
use redis::Value;
use tokio::time::Instant;

use crate::runtime::run;
use crate::scripted_cache::ScriptedCache;

/// The smallest `reply_limit` of a configuration.
const LIMIT: usize = 64 * 1024;
/// How far a reply may exceed the limit by its lines, how much is read at once, and how far a vector that grows by
/// doubling exceeds what it must hold.
const ROOM: usize = 2 * (LIMIT + 64 * 1024 + 4096);
/// A list of clients is not kept.
const ROOM_OF_A_LIST: usize = 8 * 1024;

/// The result of `GET`, and whether the session is usable afterwards.
type Verdict = (Result<(), Failure>, bool);

pub(crate) fn holds(input: &[u8]) {
    let (sizes, said) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let sizes: Vec<u8> = sizes.iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    let said = said.strip_prefix(b"\n").unwrap_or(said);
    is_framed_alike_in_any_pieces(said, &sizes);
    is_bounded(said);
    is_read_as_a_list(said, &sizes);
}

fn ask(cache: &mut ScriptedCache<'_>) -> Verdict {
    run(async {
        let mut session = Session::new(&mut *cache, LIMIT, None);
        let result = session.get("key", "value", Instant::now() + Duration::from_secs(1)).await;
        (result, session.is_usable())
    })
}

fn list(cache: &mut ScriptedCache<'_>) -> (Result<(), Failure>, ClientList) {
    run(async {
        let mut session = Session::new(&mut *cache, LIMIT, None);
        let mut list = ClientList::default();
        let deadline = Instant::now() + Duration::from_secs(1);
        let result = session.client_list(&mut list, true, deadline).await;
        (result, list)
    })
}

fn is_framed_alike_in_any_pieces(said: &[u8], sizes: &[u8]) {
    // Byte by byte, the session reads no more than the verdict needs.
    let mut careful = ScriptedCache::new(said, &[1]);
    let verdict = ask(&mut careful);
    let reply = &said[..careful.sent];
    for sizes in [sizes, &[]] {
        assert_eq!(ask(&mut ScriptedCache::new(reply, sizes)), verdict, "in pieces of {sizes:?}");
    }
    // Pushes and attributes come before the reply itself.
    if !reply.starts_with(b">") && !reply.starts_with(b"|") {
        is_what_redis_reads(reply, &verdict);
    }

    // Further bytes change nothing, unless they are read together with the reply: that is unexpected data.
    let with_more = ask(&mut ScriptedCache::new(said, sizes));
    let out_of_step =
        matches!(&with_more, (Err(failure), false) if failure.reason == FailureReason::ProtocolError);
    assert!(with_more == verdict || out_of_step, "{with_more:?}, and {verdict:?} alone");
}

/// The `redis` crate finds the same end of the same reply, or the agent rejects it.
fn is_what_redis_reads(reply: &[u8], verdict: &Verdict) {
    use FailureReason::{Closed, ProtocolError, ReplyTooLarge, ValueMismatch};
    let read = redis::parse_redis_value(reply);
    match verdict {
        (Ok(()), usable) => assert!(usable, "a valid reply does not end the session"),
        (Err(failure), usable) => {
            is_one_short_line(&failure.detail);
            match read {
                Ok(Value::ServerError(_)) => assert!(usable, "an error reply does not end the session"),
                Ok(Value::BulkString(_) | Value::VerbatimString { .. } | Value::Nil) => {
                    // The agent is stricter about null: `$-1` and nothing else.
                    let is_refused = [ProtocolError, ReplyTooLarge].contains(&failure.reason) && !usable;
                    assert!(is_refused || (failure.reason == ValueMismatch && *usable), "{failure}");
                }
                Ok(_) => assert_eq!((failure.reason, usable), (ProtocolError, &false)),
                // An error whose text is not UTF-8 is shown escaped.
                Err(_) if reply.starts_with(b"-") && *usable => {}
                Err(_) => {
                    assert!([ProtocolError, ReplyTooLarge, Closed].contains(&failure.reason), "{failure}");
                    assert!(!usable);
                }
            }
        }
    }
    if let Some((_, all_but_the_last)) = reply.split_last() {
        assert!(redis::parse_redis_value(all_but_the_last).is_err(), "the reply ended earlier");
    }
}

fn is_one_short_line(detail: &str) {
    assert!(detail.chars().count() <= 400, "{detail}");
    assert!(!detail.contains(char::is_control), "{detail:?}");
}

/// An endless reply is read up to the limit.
fn is_bounded(said: &[u8]) {
    let mut cache = ScriptedCache::new(said, &[]);
    cache.endless = true;
    let _ = ask(&mut cache);
    assert!(cache.room <= ROOM, "{} bytes of memory", cache.room);
}

fn is_read_as_a_list(text: &[u8], sizes: &[u8]) {
    let head = format!("${}\r\n", text.len());
    let reply = [head.as_bytes(), text, b"\r\n"].concat();
    let mut cache = ScriptedCache::new(&reply, sizes);
    let (result, list) = list(&mut cache);
    assert!(cache.room <= ROOM_OF_A_LIST, "{} bytes of memory", cache.room);
    assert_eq!(result, Ok(()), "whatever the text is");
    let lines: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    assert_eq!(list.count, lines.len() as u64);
    let mut lines = lines.iter();
    for client in list.clients {
        let id = client.id.to_string();
        let is_said = |line: &&&[u8]| line.split(|byte| *byte == b' ').any(|field| says(field, &id));
        assert!(lines.any(|line| is_said(&line)), "{client:?} is in no line, or not in order");
    }
}

fn says(field: &[u8], id: &str) -> bool {
    let digits = field.strip_prefix(b"id=").and_then(|id| std::str::from_utf8(id).ok());
    digits.and_then(|digits| digits.parse::<u64>().ok()).is_some_and(|number| number.to_string() == id)
}
