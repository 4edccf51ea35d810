//! Host names and addresses, and the defaults for Azure's host names.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use rustls::pki_types::ServerName;

use crate::target::Product;

/// Why a text is not a host.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// It contains a character that is not allowed in a host.
    Character(char),
    /// It is a name of a private DNS zone; contains the public name.
    PrivateLink(String),
    /// Anything else.
    NoName,
}

/// Parses a host name, an IPv4 address, or an IPv6 address with or without brackets. Returns it without.
pub(super) fn parse(text: &str) -> Result<&str, Fault> {
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if Ipv6Addr::from_str(address).is_ok() {
        return Ok(address);
    }
    if let Some(c) = text.chars().find(|c| !(c.is_alphanumeric() || "-_.:[]%".contains(*c))) {
        return Err(Fault::Character(c));
    }
    // The name must be valid for the certificate check of rustls.
    let valid = match ServerName::try_from(text) {
        Ok(ServerName::DnsName(_)) => !is_broken_ipv4(text),
        other => other.is_ok(),
    };
    if !valid {
        return Err(Fault::NoName);
    }
    match public_name(text) {
        Some(public) => Err(Fault::PrivateLink(public)),
        None => Ok(text),
    }
}

/// Whether `text` is a host name or an address; one of IPv6 with or without brackets.
#[must_use]
pub fn is_host(text: &str) -> bool {
    parse(text).is_ok()
}

/// Whether `name` is an invalid address such as `10.0.0.256`: no top-level domain consists of digits.
fn is_broken_ipv4(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or(name);
    last.bytes().all(|byte| byte.is_ascii_digit()) && Ipv4Addr::from_str(name).is_err()
}

/// Returns the public name of a cache behind a private endpoint, if `name` is its private name.
fn public_name(name: &str) -> Option<String> {
    let labels: Vec<&str> = name.split('.').collect();
    let position = labels.windows(2).position(|pair| {
        pair[0].eq_ignore_ascii_case("privatelink") && pair[1].to_ascii_lowercase().starts_with("redis")
    })?;
    let cache = if position == 0 { vec!["<name>"] } else { labels[..position].to_vec() };
    Some([&cache, &labels[position + 1..]].concat().join("."))
}

/// Returns the first label of a host name, or a whole address.
pub(super) fn short_name(host: &str) -> &str {
    let is_address = Ipv4Addr::from_str(host).is_ok() || host.contains(':');
    if is_address { host } else { host.split('.').next().unwrap_or(host) }
}

/// Returns the default port. Azure Managed Redis has one port, with and without TLS. All other hosts have the two ports of
/// Azure Cache for Redis.
pub(super) fn default_port(host: &str, tls: bool) -> u16 {
    match tls {
        _ if Product::of_host(host) == Some(Product::ManagedRedis) => 10000,
        true => 6380,
        false => 6379,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_hosts() {
        for host in [
            "orders.redis.cache.windows.net",
            "orders.redis.cache.windows.net.",
            "Orders.Redis.Cache.Windows.Net",
            "localhost",
            "my_redis",
            "redis-0.redis.default.svc.cluster.local",
            "127.0.0.1",
            "::1",
            "2001:db8::6",
        ] {
            assert_eq!(parse(host), Ok(host));
        }
        assert_eq!(parse("[::1]"), Ok("::1"));
    }

    #[test]
    fn text_that_is_not_a_host_is_rejected_with_its_reason() {
        for (text, fault) in [
            ("user@orders", Fault::Character('@')),
            ("orders/0", Fault::Character('/')),
            ("two words", Fault::Character(' ')),
            ("orders:6380", Fault::NoName),
            ("[::1]:6380", Fault::NoName),
            ("10.0.0.256", Fault::NoName),
            ("10.0.0", Fault::NoName),
            ("a..b", Fault::NoName),
            (".", Fault::NoName),
            ("-a", Fault::NoName),
            ("fe80::1%eth0", Fault::NoName),
            ("bücher.example", Fault::NoName),
        ] {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
        assert_eq!(parse(&format!("{}.net", "a".repeat(64))), Err(Fault::NoName));
    }

    #[test]
    fn a_private_link_name_is_rejected_with_the_public_name() {
        for (private, public) in [
            ("orders.privatelink.redis.cache.windows.net", "orders.redis.cache.windows.net"),
            ("orders.eastus.privatelink.redis.azure.net", "orders.eastus.redis.azure.net"),
            ("privatelink.redis.azure.net", "<name>.redis.azure.net"),
            ("o.PrivateLink.redisenterprise.cache.azure.net", "o.redisenterprise.cache.azure.net"),
        ] {
            assert_eq!(parse(private), Err(Fault::PrivateLink(public.into())));
        }
        assert_eq!(parse("privatelink.example.com"), Ok("privatelink.example.com"));
    }

    #[test]
    fn the_default_port_depends_on_the_product_and_on_tls() {
        for (host, with_tls, without) in [
            ("orders.redis.cache.windows.net", 6380, 6379),
            ("orders.redis.cache.usgovcloudapi.net", 6380, 6379),
            ("orders.redis.cache.chinacloudapi.cn", 6380, 6379),
            ("orders.redis.cache.sovcloud-api.de", 6380, 6379),
            ("orders.redis.cache.sovcloud-api.fr", 6380, 6379),
            ("orders.eastus.redis.azure.net", 10000, 10000),
            ("ORDERS.eastus.Redis.Azure.Net.", 10000, 10000),
            ("orders.eastus.redisenterprise.cache.azure.net", 10000, 10000),
            ("orders.redis.usgovcloudapi.net", 10000, 10000),
            ("orders.redis.chinacloudapi.cn", 10000, 10000),
            ("orders.redis.sovcloud-api.de", 10000, 10000),
            ("orders.redis.sovcloud-api.fr", 10000, 10000),
            ("notredis.azure.net", 6380, 6379),
            ("redis.example.com", 6380, 6379),
            ("127.0.0.1", 6380, 6379),
        ] {
            assert_eq!((default_port(host, true), default_port(host, false)), (with_tls, without), "{host}");
        }
    }

    #[test]
    fn the_short_name_is_the_first_label_or_the_address() {
        assert_eq!(short_name("orders.redis.cache.windows.net"), "orders");
        assert_eq!(short_name("localhost"), "localhost");
        assert_eq!(short_name("10.0.0.1"), "10.0.0.1");
        assert_eq!(short_name("::1"), "::1");
    }
}
