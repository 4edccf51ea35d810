//! The pushes of Redis Enterprise: a name, mostly a number and seconds, and what they are about.
//!
//! Servers differ in what they leave out, so only the order matters: numbers, then the rest.

use std::fmt::Write as _;
use std::time::Duration;

use super::event::{Effect, Event};
use super::notice::Notice;
use crate::connection::push::Argument;
use crate::target::Endpoint;

/// A notice that announces a longer time is wrong.
const MAX_SECONDS: i64 = 3600;
/// The longest host name.
const MAX_HOST: usize = 253;

/// Reads the push `name` with `arguments`. One with wrong content is [`Event::Other`].
pub(super) fn read(name: &str, arguments: &[Argument]) -> Notice {
    let detail = describe(name, arguments);
    let event = Event::of_push(name);
    let numbers = arguments.iter().map_while(integer).take(2).collect::<Vec<_>>();
    let rest = &arguments[numbers.len()..];
    let mut notice = Notice::new(event, &detail);
    // A number alone is the event's: more harm is done by taking it for seconds.
    if let Some(sequence) = numbers.first() {
        notice = notice.with_sequence(*sequence);
    }
    let seconds = match event.effect() {
        Effect::Begins(_) => numbers.get(1).copied().unwrap_or(0).max(0),
        _ => 0,
    };
    notice.seconds = Duration::from_secs(seconds.unsigned_abs());
    let is_valid = event != Event::Other && !arguments.is_empty() && seconds <= MAX_SECONDS;
    let destination = match event {
        Event::Moving => Destination::read(rest.first()),
        // Which slots have moved is a nested list, whose form has changed.
        Event::SlotsMigrated => Destination::Open,
        _ if matches!(rest.first(), Some(Argument::Other)) => Destination::Wrong,
        _ => Destination::Open,
    };
    match destination {
        Destination::Open if is_valid => notice,
        Destination::Endpoint(endpoint) if is_valid => Notice { endpoint: Some(endpoint), ..notice },
        _ => Notice::other(&detail),
    }
}

/// Reads a number. Some servers may send it as text.
fn integer(argument: &Argument) -> Option<i64> {
    match argument {
        Argument::Integer(number) => Some(*number),
        Argument::Text(text) => text.parse().ok(),
        Argument::Null | Argument::Other => None,
    }
}

/// Where an endpoint moves.
enum Destination {
    /// To this one.
    Endpoint(Endpoint),
    /// The notice leaves it open.
    Open,
    /// The notice is wrong.
    Wrong,
}

impl Destination {
    fn read(argument: Option<&Argument>) -> Self {
        let text = match argument {
            None | Some(Argument::Null) => return Self::Open,
            Some(Argument::Text(text)) => text.trim(),
            Some(Argument::Integer(_) | Argument::Other) => return Self::Wrong,
        };
        if text.is_empty() || text == "?" || text.eq_ignore_ascii_case("null") {
            return Self::Open;
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Self::Wrong };
        let port = port.parse().ok().filter(|port| *port != 0);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_valid = host.len() <= MAX_HOST
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
        match port {
            Some(_) if host.is_empty() || host == "?" => Self::Open,
            Some(port) if is_valid => Self::Endpoint(Endpoint { host: host.into(), port }),
            _ => Self::Wrong,
        }
    }
}

fn describe(name: &str, arguments: &[Argument]) -> String {
    let mut text = name.to_owned();
    for argument in arguments {
        let _ = match argument {
            Argument::Integer(number) => write!(text, " {number}"),
            Argument::Text(argument) => write!(text, " {argument}"),
            Argument::Null => write!(text, " null"),
            Argument::Other => write!(text, " […]"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Argument {
        Argument::Text(text.to_owned())
    }

    use Argument::{Integer, Null, Other};

    #[test]
    fn the_documented_pushes_are_read() {
        for (name, arguments, event, sequence, seconds) in [
            ("MOVING", vec![Integer(4), Integer(15), text("10.0.0.4:6379")], Event::Moving, 4, 15),
            ("MIGRATING", vec![Integer(1), Integer(10), text("1,2")], Event::Migrating, 1, 10),
            ("MIGRATED", vec![Integer(2), text("1,2")], Event::Migrated, 2, 0),
            ("FAILING_OVER", vec![Integer(5), Integer(3), text("1")], Event::FailingOver, 5, 3),
            ("FAILED_OVER", vec![Integer(6), text("1")], Event::FailedOver, 6, 0),
            ("SMIGRATING", vec![Integer(7), text("123,789-1000")], Event::SlotsMigrating, 7, 0),
            ("SMIGRATED", vec![Integer(8), Other], Event::SlotsMigrated, 8, 0),
            // Drafts of it.
            ("SMIGRATED", vec![Integer(8), text("10.0.0.4:6379"), text("1-9")], Event::SlotsMigrated, 8, 0),
            ("migrating", vec![text("3"), text("10"), text("1")], Event::Migrating, 3, 10),
        ] {
            let notice = read(name, &arguments);
            let read = (notice.event, notice.sequence, notice.seconds.as_secs());
            assert_eq!(read, (event, Some(sequence), seconds), "{name} {arguments:?}");
        }
    }

    #[test]
    fn what_a_server_leaves_out_is_unknown() {
        for (arguments, sequence, seconds) in [
            (vec![text("1,2")], None, 0),
            (vec![Integer(9), text("1,2")], Some(9), 0),
            (vec![Integer(9), Integer(-1), text("1,2")], Some(9), 0),
            (vec![Integer(9), Integer(0)], Some(9), 0),
            (vec![Null], None, 0),
        ] {
            let notice = read("MIGRATING", &arguments);
            let read = (notice.event, notice.sequence, notice.seconds.as_secs());
            assert_eq!(read, (Event::Migrating, sequence, seconds), "{arguments:?}");
        }
    }

    #[test]
    fn an_endpoint_moves_to_an_address_at_once_and_otherwise_after_half_the_time() {
        let moving = |endpoint: &[Argument]| {
            let arguments = [&[Integer(4), Integer(15)], endpoint].concat();
            let moving = read("MOVING", &arguments).moving().expect("it moves");
            (moving.endpoint.map(|endpoint| endpoint.to_string()), moving.wait.as_millis())
        };
        let to = |endpoint: &str| (Some(endpoint.to_owned()), 0);
        assert_eq!(moving(&[text("10.0.0.4:6379")]), to("10.0.0.4:6379"));
        assert_eq!(moving(&[text("node-2.orders.example:6379")]), to("node-2.orders.example:6379"));
        assert_eq!(moving(&[text("2001:db8::6:6379")]), to("[2001:db8::6]:6379"));
        assert_eq!(moving(&[text("[2001:db8::6]:6379")]), to("[2001:db8::6]:6379"));
        for open in [&[][..], &[Null], &[text("null")], &[text("?")], &[text("")], &[text(":6379")]] {
            assert_eq!(moving(open), (None, 7500), "{open:?}");
        }
        assert_eq!(read("MIGRATING", &[Integer(4), Integer(15)]).moving(), None);
    }

    #[test]
    fn a_push_with_wrong_content_is_another_event() {
        let long = text(&format!("{}:6379", "a".repeat(300)));
        for (name, arguments) in [
            ("MOVING", vec![]),
            ("MOVING", vec![Other]),
            ("MOVING", vec![Integer(4), Integer(15), Integer(16)]),
            ("MOVING", vec![Integer(4), Integer(15), Other]),
            ("MOVING", vec![Integer(4), Integer(15), text("nowhere")]),
            ("MOVING", vec![Integer(4), Integer(15), text("a b:6379")]),
            ("MOVING", vec![Integer(4), Integer(15), text("a:0")]),
            ("MOVING", vec![Integer(4), Integer(15), text("a:65536")]),
            ("MOVING", vec![Integer(4), Integer(15), long]),
            ("MOVING", vec![Integer(4), Integer(3601), Null]),
            ("MIGRATING", vec![Other, text("1")]),
            ("MIGRATING", vec![Integer(1), Integer(i64::MAX)]),
            ("FAILED_OVER", vec![]),
            ("NodeMaintenanceStart", vec![Integer(1)]),
            ("RESHARDING", vec![Integer(1)]),
        ] {
            let notice = read(name, &arguments);
            assert_eq!((notice.event, notice.moving()), (Event::Other, None), "{name} {arguments:?}");
        }
    }

    #[test]
    fn the_number_identifies_an_event_whatever_else_a_node_says() {
        let identity = |name, arguments: &[Argument]| read(name, arguments).identity;
        let moving = identity("MOVING", &[Integer(4), Integer(15), text("10.0.0.4:6379")]);
        assert_eq!(moving, identity("MOVING", &[Integer(4), Integer(12), Null]));
        assert_ne!(moving, identity("MOVING", &[Integer(5), Integer(15), text("10.0.0.4:6379")]));
        assert_ne!(moving, identity("MIGRATING", &[Integer(4), Integer(15), text("10.0.0.4:6379")]));
        assert_ne!(identity("MIGRATING", &[text("1")]), identity("MIGRATING", &[text("1,2")]));
    }
}
