//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::keys::agent::LISTEN;
use super::parse::Parse;

/// The description of an address to listen on that completes the message "expected …".
pub const EXPECTED: &str = "an address and a port such as 10.0.0.4:9860, localhost:9860 or :9860";

/// Parses an IP address and a port. `localhost` is 127.0.0.1; without an address, it is that of `default`.
#[must_use]
pub fn parse(text: &str, default: IpAddr) -> Option<SocketAddr> {
    let with_port = |ip: IpAddr, port: &str| Some(SocketAddr::new(ip, port.parse().ok()?));
    match text.rsplit_once(':') {
        Some(("", port)) => with_port(default, port),
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
            with_port(Ipv4Addr::LOCALHOST.into(), port)
        }
        _ => text.parse().ok(),
    }
}

impl Parse for SocketAddr {
    const NOUN: &'static str = EXPECTED;

    fn parse(text: &str) -> Option<Self> {
        parse(text, LISTEN.default().ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_left_out_or_be_localhost() {
        for (text, addr) in [
            ("10.0.0.1:9860", "10.0.0.1:9860"),
            ("[::1]:9860", "[::1]:9860"),
            (":9860", "0.0.0.0:9860"),
            ("localhost:0", "127.0.0.1:0"),
            ("LocalHost:9860", "127.0.0.1:9860"),
        ] {
            assert_eq!(parse(text, Ipv4Addr::UNSPECIFIED.into()), addr.parse().ok(), "{text}");
        }
        assert_eq!(parse(":1", Ipv4Addr::LOCALHOST.into()), "127.0.0.1:1".parse().ok());
    }

    #[test]
    fn an_address_without_a_port_or_with_another_name_is_rejected() {
        for text in
            ["", "9860", ":", ":65536", "localhost", "localhost:", "cache:9860", "::1:9860x", "10.0.0.1"]
        {
            assert_eq!(parse(text, Ipv4Addr::UNSPECIFIED.into()), None, "{text}");
        }
    }
}
