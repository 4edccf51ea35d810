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
/// The largest memory of a session: the limit and the size of a read, in a vector that grows by doubling.
const ROOM: usize = 2 * (LIMIT + 4096);

/// The result of `CLIENT LIST`, and whether the session is usable afterwards.
type Verdict = (Result<ClientList, Failure>, bool);

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
        let result = session.client_list(Instant::now() + Duration::from_secs(1)).await;
        (result, session.is_usable())
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
    is_what_redis_reads(reply, &verdict);

    // Further bytes change nothing, unless they are read together with the reply: that is unexpected data.
    let with_more = ask(&mut ScriptedCache::new(said, sizes));
    let out_of_step =
        matches!(&with_more, (Err(failure), false) if failure.reason == FailureReason::ProtocolError);
    assert!(with_more == verdict || out_of_step, "{with_more:?}, and {verdict:?} alone");
}

/// The `redis` crate finds the same end of the same reply, or the agent rejects it.
fn is_what_redis_reads(reply: &[u8], verdict: &Verdict) {
    use FailureReason::{Closed, ProtocolError, ReplyTooLarge};
    let read = redis::parse_redis_value(reply);
    match verdict {
        (Ok(list), usable) => {
            let Ok(Value::BulkString(text)) = read else { panic!("{read:?} is not a list") };
            assert_eq!(ClientList::parse(text).as_ref(), Some(list));
            assert!(usable, "a valid reply does not end the session");
        }
        (Err(failure), usable) => {
            is_one_short_line(&failure.detail);
            match read {
                Ok(Value::ServerError(_)) => assert!(usable, "an error reply does not end the session"),
                Ok(Value::BulkString(text)) => assert_eq!(ClientList::parse(text), None),
                Ok(_) => assert_eq!((failure.reason, usable), (ProtocolError, &false)),
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
    assert!(detail.chars().count() <= 200, "{detail}");
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
    let (result, _) = ask(&mut ScriptedCache::new(&[head.as_bytes(), text, b"\r\n"].concat(), sizes));
    let Some(list) = ClientList::parse(text.to_vec()) else {
        assert_eq!(result.map_err(|failure| failure.reason), Err(FailureReason::ProtocolError));
        return;
    };
    let text = std::str::from_utf8(text).expect("a list is text");
    let mut clients = list.clients();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let client = clients.next().expect("every line is a client");
        let says = |name: &str, meant: &dyn Fn(&str) -> bool| {
            line.split(' ').any(|field| field.strip_prefix(name).is_some_and(meant))
        };
        assert!(says("id=", &|id| id.parse() == Ok(client.id)), "{client:?}: {line}");
        assert!(client.addr.is_empty() || says("addr=", &|addr| addr == client.addr), "{client:?}: {line}");
    }
    assert_eq!(clients.next(), None, "every client is a line");
    assert_eq!(result.as_ref(), Ok(&list));
}
