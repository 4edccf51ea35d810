//! Redirections: a node's answer about a key that another node has.

use super::{AnnouncedHost, Hosts, Slot};
use crate::target::Endpoint;

/// What a redirection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// The slot belongs to another node.
    Moved,
    /// The slot migrates, and the key is already at another node or new.
    Ask,
}

/// The error that a node answers with if it does not have a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Whether the slot has moved or is moving.
    pub kind: RedirectKind,
    /// The slot of the key.
    pub slot: Slot,
    host: AnnouncedHost,
    port: u16,
}

impl Redirect {
    /// Reads the text of an error: `MOVED 5061 10.0.0.4:8502` or `ASK …`. `None` if it is another error.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let kind = match words.next()? {
            "MOVED" => RedirectKind::Moved,
            "ASK" => RedirectKind::Ask,
            _ => return None,
        };
        let slot = words.next()?.parse().ok().and_then(Slot::new)?;
        // What the session adds to the text begins with a colon. At the last one: IPv6 addresses have no brackets.
        let (host, port) = words.next()?.trim_end_matches(':').rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        Some(Self { kind, slot, host: AnnouncedHost::new(host), port })
    }

    /// Whether both name the same node.
    #[must_use]
    pub fn leads_where(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// Returns the address of the node that has the key, if it is known.
    #[must_use]
    pub fn address(&self, hosts: Hosts<'_>) -> Option<Endpoint> {
        hosts.address(&self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_names_kind_slot_and_address() {
        let asked = "cache.test".into();
        for (text, kind, slot, address) in [
            ("MOVED 5061 127.0.0.1:25103", RedirectKind::Moved, 5061, Some("127.0.0.1:25103")),
            ("ASK 0 node.cache.test:1", RedirectKind::Ask, 0, Some("node.cache.test:1")),
            ("MOVED 16383 :25100", RedirectKind::Moved, 16383, Some("cache.test:25100")),
            ("MOVED 5061 ?:25100", RedirectKind::Moved, 5061, None),
            ("MOVED 5061 2001:db8::6:65535", RedirectKind::Moved, 5061, Some("[2001:db8::6]:65535")),
            ("ASK 5061 [::1]:6379 more", RedirectKind::Ask, 5061, Some("[::1]:6379")),
        ] {
            let redirect = Redirect::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((redirect.kind, redirect.slot.number()), (kind, slot), "{text}");
            let found = redirect.address(Hosts::Announced { asked: &asked });
            assert_eq!(found.map(|it| it.to_string()).as_deref(), address, "{text}");
        }
    }

    #[test]
    fn other_errors_are_no_redirections() {
        for text in [
            "",
            "MOVED",
            "MOVED 5061",
            "MOVED 5061 127.0.0.1",
            "MOVED 16384 127.0.0.1:1",
            "MOVED -1 127.0.0.1:1",
            "MOVED 1 127.0.0.1:0",
            "MOVED 1 127.0.0.1:65536",
            "MOVED 1 127.0.0.1:",
            "MOVEDX 1 127.0.0.1:1",
            "CLUSTERDOWN Hash slot not served",
        ] {
            assert_eq!(Redirect::parse(text), None, "{text}");
        }
    }
}
