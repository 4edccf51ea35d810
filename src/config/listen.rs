//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::keys::agent::LISTEN;
use super::parse::Parse;

/// The description of an address to listen on that completes the message "expected …".
pub const EXPECTED: &str = "an address and a port such as 10.0.0.4:9860, localhost:9860 or :9860";

/// Parses an IP address and a port. `localhost` is 127.0.0.1; without an address, it is that of `default`.
///
/// An address of IPv6 may lack its brackets, as in `$(POD_IP):9860` of Kubernetes: the port is what follows the last colon.
#[must_use]
pub fn parse(text: &str, default: IpAddr) -> Option<SocketAddr> {
    let with_port = |ip: IpAddr, port: &str| Some(SocketAddr::new(ip, port.parse().ok()?));
    match text.rsplit_once(':')? {
        ("", port) => with_port(default, port),
        (host, port) if host.eq_ignore_ascii_case("localhost") => with_port(Ipv4Addr::LOCALHOST.into(), port),
        (host, port) => match host.parse::<Ipv6Addr>() {
            Ok(ip) => with_port(ip.into(), port),
            Err(_) => text.parse().ok(),
        },
    }
}

/// Parses what [`parse`] does, and an address without a port, which then has that of `default`.
#[must_use]
pub fn parse_with_default_port(text: &str, default: SocketAddr) -> Option<SocketAddr> {
    let bare = || {
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let is_local = address.eq_ignore_ascii_case("localhost");
        let ip = if is_local { Some(Ipv4Addr::LOCALHOST.into()) } else { address.parse().ok() };
        Some(SocketAddr::new(ip?, default.port()))
    };
    parse(text, default.ip()).or_else(bare)
}

/// Whether only one socket can listen at these two addresses: they have the same port, and one includes the other. The
/// system chooses a free port for 0.
#[must_use]
pub(super) fn conflict(one: SocketAddr, other: SocketAddr) -> bool {
    let includes = |all: IpAddr, addr: IpAddr| match all {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => addr.is_ipv4(),
        _ => all == addr,
    };
    let (one_ip, other_ip) = (one.ip(), other.ip());
    one.port() == other.port()
        && one.port() != 0
        && (includes(one_ip, other_ip) || includes(other_ip, one_ip))
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
            ("::1:9860", "[::1]:9860"),
            (":::9860", "[::]:9860"),
            ("fd00:10:96::a:80", "[fd00:10:96::a]:80"),
            ("1:2:3:4:5:6:7:8:9860", "[1:2:3:4:5:6:7:8]:9860"),
            ("[fe80::1%2]:9860", "[fe80::1%2]:9860"),
            (":9860", "0.0.0.0:9860"),
            ("localhost:0", "127.0.0.1:0"),
            ("LocalHost:9860", "127.0.0.1:9860"),
        ] {
            assert_eq!(parse(text, Ipv4Addr::UNSPECIFIED.into()), addr.parse().ok(), "{text}");
        }
        assert_eq!(parse(":1", Ipv4Addr::LOCALHOST.into()), "127.0.0.1:1".parse().ok());
    }

    #[test]
    fn a_port_may_be_left_out_where_there_is_a_default() {
        let default = "[::]:9860".parse().unwrap();
        for (text, addr) in [
            ("::1", "[::1]:9860"),
            ("[::1]", "[::1]:9860"),
            ("fd00:10:244::5", "[fd00:10:244::5]:9860"),
            ("10.0.0.1", "10.0.0.1:9860"),
            ("localhost", "127.0.0.1:9860"),
            (":1", "[::]:1"),
            ("::1:80", "[::1]:80"),
            ("[::1:80]", "[::1:80]:9860"),
        ] {
            assert_eq!(parse_with_default_port(text, default), addr.parse().ok(), "{text}");
        }
        for text in ["", "9860", "cache", "[::1", "10.0.0.1:"] {
            assert_eq!(parse_with_default_port(text, default), None, "{text}");
        }
    }

    #[test]
    fn addresses_conflict_if_their_ports_are_equal_and_one_includes_the_other() {
        for (one, other, expected) in [
            ("[::]:9860", "[::]:9860", true),
            ("[::]:9860", "127.0.0.1:9860", true),
            ("0.0.0.0:9860", "10.0.0.1:9860", true),
            ("10.0.0.1:9860", "10.0.0.1:9860", true),
            ("0.0.0.0:9860", "[::]:9860", true),
            ("0.0.0.0:9860", "[::1]:9860", false),
            ("10.0.0.1:9860", "127.0.0.1:9860", false),
            ("[::]:9860", "[::]:9861", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(conflict(one, other), expected, "{one} {other}");
            assert_eq!(conflict(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn an_address_without_a_port_or_with_another_name_is_rejected() {
        for text in [
            "",
            "9860",
            ":",
            ":65536",
            "localhost",
            "localhost:",
            "cache:9860",
            "::1:9860x",
            "::1",
            "10.0.0.1",
        ] {
            assert_eq!(parse(text, Ipv4Addr::UNSPECIFIED.into()), None, "{text}");
        }
    }
}
