//! `/sd`: the configured targets for Prometheus, which scrapes each of them from `/probe` of this agent.
//!
//! Source: "Writing HTTP service discovery" in Prometheus' documentation.

use std::io;
use std::vec;

use hyper::Uri;
use hyper::header::{HOST, HeaderMap};
use hyper::http::uri::Authority;
use serde::Serialize;

use super::Route;
use crate::buffer::Buffer;
use crate::config::is_host;
use crate::piecewise::Pieces;
use crate::target::TargetName;

/// The port of a `Host` without one. Prometheus 2 would add it, Prometheus 3 would not.
const HTTP_PORT: u16 = 80;

/// One scrape target, as Prometheus reads it. Any other key, or a value that is no text, would fail the whole list.
#[derive(Debug, Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: Labels<'a>,
}

#[derive(Debug, Serialize)]
struct Labels<'a> {
    /// Without it, that of the scrape configuration counts.
    #[serde(rename = "__scheme__", skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
    #[serde(rename = "__metrics_path__")]
    path: &'static str,
    #[serde(rename = "__param_target")]
    target: &'a str,
    /// Distinguishes the series of the targets, because the address is the same.
    instance: &'a str,
}

/// The list of the targets.
#[derive(Debug)]
pub(super) struct TargetList {
    /// The address of this agent, with a port.
    address: String,
    has_tls: bool,
    targets: vec::IntoIter<TargetName>,
    /// What precedes the next target.
    separator: u8,
}

impl TargetList {
    /// Creates the list of `targets`, which are scraped from `address`, with TLS if this agent `has_tls`.
    pub(super) fn new(address: String, has_tls: bool, targets: Vec<TargetName>) -> Self {
        Self { address, has_tls, targets: targets.into_iter(), separator: b'[' }
    }
}

impl Pieces for TargetList {
    fn write(&mut self, out: &mut Buffer) -> io::Result<bool> {
        let Some(target) = self.targets.next() else {
            out.put(if self.separator == b'[' { b"[]" } else { b"]" });
            return Ok(false);
        };
        out.push(std::mem::replace(&mut self.separator, b','));
        let name = target.as_str();
        let labels = Labels {
            scheme: self.has_tls.then_some("https"),
            path: Route::Probe.as_str(),
            target: name,
            instance: name,
        };
        serde_json::to_writer(out, &Group { targets: [&self.address], labels })?;
        Ok(true)
    }
}

/// Returns host and port at which the client has reached this agent; `None` if that is not an address. A `uri` that has
/// them takes precedence over the header `Host` (RFC 9112, section 3.2.2).
pub(super) fn own_address(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let authority = if let Some(authority) = uri.authority() {
        authority.clone()
    } else {
        let mut hosts = headers.get_all(HOST).iter();
        let (host, None) = (hosts.next()?, hosts.next()) else { return None };
        Authority::try_from(host.as_bytes()).ok()?
    };
    let name = authority.host();
    let port = match authority.as_str().strip_prefix(name)? {
        "" => HTTP_PORT,
        _ => authority.port_u16().filter(|port| *port > 0)?,
    };
    is_host(name).then(|| format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piecewise::Piecewise;

    #[test]
    fn the_address_is_that_of_the_request_with_a_port() {
        let relative = Uri::from_static("/sd");
        let address = |host: &str| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            own_address(&relative, &headers)
        };
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        for (host, expected) in [
            ("cachepulse.shop.svc:9860", "cachepulse.shop.svc:9860"),
            ("10.0.0.1:9860", "10.0.0.1:9860"),
            ("[::1]:9860", "[::1]:9860"),
            ("cachepulse", "cachepulse:80"),
            ("my_agent.shop.:9860", "my_agent.shop.:9860"),
            ("[fd00::1]", "[fd00::1]:80"),
            (&longest, &format!("{longest}:80")),
        ] {
            assert_eq!(address(host).as_deref(), Some(expected), "{host}");
        }
        for host in [
            "",
            ":9860",
            "a:",
            "a:b",
            "a:99999",
            "a:0",
            ".",
            "..",
            "-",
            "a..b:1",
            "10.0.0.256:1",
            "::1",
            &format!("{longest}x"),
            "user@a:9860",
            "a/b:1",
            "a,b",
            "a b",
            "<a>",
            "a%41:1",
            "[::1",
            "[x]:1",
            "[::1%251]:1",
            "http://a:1",
            "é:1",
        ] {
            assert_eq!(address(host), None, "{host}");
        }
        assert_eq!(own_address(&relative, &HeaderMap::new()), None);
        let mut twice = HeaderMap::new();
        twice.append(HOST, "a:1".parse().unwrap());
        twice.append(HOST, "b:1".parse().unwrap());
        assert_eq!(own_address(&relative, &twice), None);
        // As a proxy sends it.
        let absolute = |uri| own_address(&Uri::from_static(uri), &twice);
        assert_eq!(absolute("http://agent.shop.svc:9860/sd").as_deref(), Some("agent.shop.svc:9860"));
        assert_eq!(absolute("http://user@agent:9860/sd"), None);
    }

    #[test]
    fn each_target_is_an_item_with_the_keys_that_prometheus_knows() {
        let list = |address: &str, has_tls, names: &[&str]| {
            let names = names.iter().map(|name| TargetName::new(name).unwrap());
            let list = TargetList::new(address.to_owned(), has_tls, names.collect());
            std::io::read_to_string(Piecewise::new(list)).unwrap()
        };
        let names = ["orders", "a \"b\""];
        assert_eq!(
            list("agent:9860", false, &names),
            r#"[{"targets":["agent:9860"],"labels":{"__metrics_path__":"/probe","__param_target":"orders","instance":"orders"}},{"targets":["agent:9860"],"labels":{"__metrics_path__":"/probe","__param_target":"a \"b\"","instance":"a \"b\""}}]"#
        );
        let guarded: serde_json::Value = serde_json::from_str(&list("a:1", true, &names)).unwrap();
        assert_eq!(guarded[1]["labels"]["__scheme__"], "https");
        assert_eq!(list("agent:9860", false, &[]), "[]");
    }
}
