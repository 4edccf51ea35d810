//! Where a node says that it is, in `CLUSTER SLOTS` and in redirections.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::target::Endpoint;

/// The longest host name that DNS has.
const MAX_HOST: usize = 253;

/// The host that a node announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnouncedHost {
    /// A name or an address without brackets.
    Host(Arc<str>),
    /// The host that was asked: null, or the empty text of a node that does not know its own address.
    Asked,
    /// A host that the node does not know (`?`), or text that is no host.
    Unknown,
}

impl AnnouncedHost {
    /// Reads the announced `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text {
            "" => Self::Asked,
            _ => host(text).map_or(Self::Unknown, |host| Self::Host(host.into())),
        }
    }
}

/// Which host leads to a node.
#[derive(Clone, Copy, Debug)]
pub enum Hosts<'a> {
    /// The announced one.
    Announced {
        /// The host that was asked. It leads to nodes that announce no other.
        asked: &'a Arc<str>,
    },
    /// One host for all nodes, which differ by their ports.
    One(&'a Arc<str>),
}

impl Hosts<'_> {
    /// Returns the address of a node that announces `host` and `port`; `None` if nothing is known to lead there.
    #[must_use]
    pub fn address(self, host: &AnnouncedHost, port: u16) -> Option<Endpoint> {
        let host = match (self, host) {
            (Self::Announced { .. }, AnnouncedHost::Unknown) => return None,
            (Self::Announced { asked }, AnnouncedHost::Asked) => asked,
            (Self::Announced { .. }, AnnouncedHost::Host(host)) | (Self::One(host), _) => host,
        };
        (port > 0).then(|| Endpoint { host: Arc::clone(host), port })
    }
}

/// Returns `text` without brackets if it is an address or may be a name.
fn host(text: &str) -> Option<&str> {
    let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if unbracketed.parse::<Ipv6Addr>().is_ok() {
        return Some(unbracketed);
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = text.len() <= MAX_HOST && text.bytes().all(is_part) && !text.starts_with(['.', '-']);
    // No top-level domain consists of digits.
    let is_number = text.trim_end_matches('.').rsplit('.').next()?.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && (!is_number || text.parse::<Ipv4Addr>().is_ok())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_endpoint_has_its_meaning() {
        let asked = "cache.test".into();
        let hosts = Hosts::Announced { asked: &asked };
        for (announced, address) in [
            ("10.0.0.4", Some("10.0.0.4:8502")),
            ("node-1.cache.test", Some("node-1.cache.test:8502")),
            ("node_1.cache.test.", Some("node_1.cache.test.:8502")),
            ("2001:db8::6", Some("[2001:db8::6]:8502")),
            ("[2001:db8::6]", Some("[2001:db8::6]:8502")),
            ("", Some("cache.test:8502")),
            ("?", None),
        ] {
            let found = hosts.address(&AnnouncedHost::new(announced), 8502);
            assert_eq!(found.map(|it| it.to_string()).as_deref(), address, "{announced}");
        }
    }

    #[test]
    fn text_that_is_no_host_leads_nowhere() {
        let long = "a".repeat(254);
        for text in ["a b", "a\n", "a/b", "u@h", "10.0.0.256", "1", "..", ".", "-a", "[a]", "a:1", "é", &long]
        {
            assert_eq!(AnnouncedHost::new(text), AnnouncedHost::Unknown, "{text}");
        }
    }

    #[test]
    fn one_host_leads_to_all_nodes_by_their_ports() {
        let host = "cache.test".into();
        for announced in ["10.0.0.4", "", "?", "a b"] {
            let found = Hosts::One(&host).address(&AnnouncedHost::new(announced), 15001);
            assert_eq!(found.unwrap().to_string(), "cache.test:15001", "{announced}");
        }
        assert_eq!(Hosts::One(&host).address(&AnnouncedHost::Asked, 0), None, "0 is no port");
    }
}
