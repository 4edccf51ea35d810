//! Values of the key `host`: a host with an optional port, a Redis URL, or a connection string of `StackExchange.Redis` or
//! the Azure portal.
//!
//! Messages do not repeat anything that could be a secret.

use super::field::{Field, Invalid};
use super::host::{self, Fault as HostFault};
use super::keys::connection::HOST;
use super::keys::identity::{ACCESS_KEY, PASSWORD, TYPE, USERNAME};
use super::keys::{IdentityType, SecretKeys};

/// The location of a cache, with the other settings of its URL or connection string.
#[derive(Debug, PartialEq)]
pub(super) struct Location<'a> {
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) tls: Option<bool>,
    pub(super) username: Option<&'a str>,
}

/// The options of a connection string that affect only the behaviour of a client.
/// Source: `StackExchange.Redis`, "Configuration".
const IGNORED_OPTIONS: [&str; 24] = [
    "abortConnect",
    "allowAdmin",
    "asyncTimeout",
    "channelPrefix",
    "clientName",
    "configChannel",
    "configCheckSeconds",
    "connectRetry",
    "connectTimeout",
    "heartbeatConsistencyChecks",
    "heartbeatInterval",
    "highIntegrity",
    "keepAlive",
    "name",
    "preserveAsyncOrder",
    "protocol",
    "resolveDns",
    "responseTimeout",
    "setlib",
    "sslProtocols",
    "syncTimeout",
    "tiebreaker",
    "version",
    "writeBuffer",
];

/// Reads the value of the key `host`.
pub(super) fn read<'a>(field: &Field<'a>) -> Result<Location<'a>, Invalid> {
    let what = HOST.words();
    parse(field.text(&HOST)?).map_err(|fault| match fault {
        Fault::Host(HostFault::Character(c)) => {
            field.problem(format!("expected {what}, found text with \"{c}\" in it; give the name alone"))
        }
        Fault::Host(HostFault::PrivateLink(public)) => field.problem(format!(
            "a private link name has no certificate; give the public name {public}, which resolves to the private \
             address"
        )),
        Fault::Host(HostFault::NoName) => field.expected(format_args!("{what}, or an IP address")),
        Fault::Colon => {
            field.problem(format!("expected {what}, or an IP address; only a port may follow a colon"))
        }
        Fault::NoName => field.problem(format!("expected {what}, or a URL with such a name")),
        Fault::Port => field.problem("expected a port from 1 to 65535 after the host"),
        Fault::Scheme => {
            field.problem("expected a URL that starts with redis:// or rediss://, or the host name alone")
        }
        Fault::UrlPassword(without) => field.problem(format!(
            "the URL contains a password; write {without} and give the password {}",
            way_of(field, IdentityType::Password, &PASSWORD)
        )),
        Fault::AccessKey(without) => field.problem(format!(
            "the connection string contains a password; write {without} and give the access key {}",
            way_of(field, IdentityType::AccessKey, &ACCESS_KEY)
        )),
        Fault::User => field.problem(format!(
            "the user has characters other than letters, digits and -._; give it as {}",
            field.name_of(&USERNAME)
        )),
        Fault::Database => field.problem("cachepulse probes database 0; leave out the other one"),
        Fault::UrlOptions => field.problem("the URL has options, which are not used; leave them out"),
        Fault::SecondHost => field.problem(
            "expected one host, and options as NAME=VALUE; give each cache a target of its own",
        ),
        Fault::Ssl => field.problem("expected ssl=True or ssl=False in the connection string"),
        Fault::Option => field.problem(
            "the connection string has options other than those of a client's timeouts and retries; leave them out",
        ),
    })
}

/// Returns how the operator configures a secret of the identity type `identity`.
fn way_of(field: &Field<'_>, identity: IdentityType, keys: &SecretKeys) -> String {
    let name = TYPE.name_of(&identity);
    if field.is_of_flags() {
        format!("with {} {}", field.setting(&TYPE, name), field.setting(&keys.file, "FILE"))
    } else {
        format!("as identity.{}: {{file: …}}, with identity.type: {name}", keys.whole.about.name())
    }
}

/// Returns a short name for the host in `text`: its first label, or a whole address.
pub(super) fn short_name(text: &str) -> Option<&str> {
    parse(text).ok().map(|location| host::short_name(location.host))
}

/// Parses a host and an optional port. `None` if it is anything else.
pub(super) fn parse_address(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = split_port(text).ok()?;
    Some((host::parse(host).ok()?, port))
}

#[derive(Debug, PartialEq)]
enum Fault {
    /// A host alone that is not valid.
    Host(HostFault),
    /// Text with a colon that belongs neither to a port nor to an IPv6 address. It may be a password, so it is not repeated.
    Colon,
    /// No host in a URL or connection string, or one that is not valid.
    NoName,
    Port,
    Scheme,
    /// Contains the URL without the password.
    UrlPassword(String),
    /// Contains the connection string without the access key.
    AccessKey(String),
    User,
    Database,
    UrlOptions,
    SecondHost,
    Ssl,
    Option,
}

fn parse(text: &str) -> Result<Location<'_>, Fault> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return parse_url(scheme, rest);
    }
    if text.contains(',') {
        return parse_connection_string(text);
    }
    let (host, port) = split_port(text)?;
    let host = host::parse(host).map_err(|fault| match fault {
        HostFault::NoName if host.contains(':') => Fault::Colon,
        fault => Fault::Host(fault),
    })?;
    Ok(Location { host, port, tls: None, username: None })
}

/// Parses the URL after the scheme: `[USER@]HOST[:PORT][/0]`.
fn parse_url<'a>(scheme: &str, rest: &'a str) -> Result<Location<'a>, Fault> {
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "redis" => false,
        "rediss" => true,
        _ => return Err(Fault::Scheme),
    };
    // Up to the last `@`, because a password may contain any character.
    let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    if !password.is_empty() {
        let user = if is_plain(user) { format!("{user}@") } else { String::new() };
        return Err(Fault::UrlPassword(format!("{scheme}://{user}{}", shown(authority))));
    }
    if !user.is_empty() && !is_plain(user) {
        return Err(Fault::User);
    }
    match path {
        "" | "/" | "/0" => {}
        path if path[1..].bytes().all(|byte| byte.is_ascii_digit()) => return Err(Fault::Database),
        _ => return Err(Fault::UrlOptions),
    }
    let (host, port) = parse_authority(authority)?;
    Ok(Location { host, port, tls: Some(is_tls), username: Some(user).filter(|user| !user.is_empty()) })
}

/// Parses `HOST[:PORT],OPTION=VALUE,…`, in any order.
fn parse_connection_string(text: &str) -> Result<Location<'_>, Fault> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let options = || parts().filter_map(|part| part.split_once('='));
    let is_password = |part: &&str| {
        part.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("password"))
    };
    if parts().any(|part| is_password(&part)) {
        // A part after the password may be the rest of a password with a comma.
        let mut before = parts().take_while(|part| !is_password(part));
        let host = before.find(|part| !part.contains('=')).unwrap_or_default();
        let is_tls = options()
            .any(|(name, value)| name.trim().eq_ignore_ascii_case("ssl") && boolean(value) == Some(true));
        return Err(Fault::AccessKey(format!("{}{}", shown(host), if is_tls { ",ssl=True" } else { "" })));
    }
    let mut hosts = parts().filter(|part| !part.contains('='));
    let host = hosts.next().ok_or(Fault::NoName)?;
    if hosts.next().is_some() {
        return Err(Fault::SecondHost);
    }
    let (host, port) = parse_authority(host)?;
    let mut location = Location { host, port, tls: None, username: None };
    for (name, value) in options().map(|(name, value)| (name.trim(), value.trim())) {
        if name.eq_ignore_ascii_case("ssl") {
            location.tls = Some(boolean(value).ok_or(Fault::Ssl)?);
        } else if name.eq_ignore_ascii_case("user") {
            location.username = Some(value).filter(|user| !user.is_empty());
        } else if name.eq_ignore_ascii_case("defaultDatabase") {
            if value != "0" {
                return Err(Fault::Database);
            }
        } else if !IGNORED_OPTIONS.iter().any(|ignored| name.eq_ignore_ascii_case(ignored)) {
            return Err(Fault::Option);
        }
    }
    if location.username.is_some_and(|user| !is_plain(user)) {
        return Err(Fault::User);
    }
    Ok(location)
}

/// Parses the host and port of a URL or connection string.
fn parse_authority(text: &str) -> Result<(&str, Option<u16>), Fault> {
    let (host, port) = split_port(text)?;
    match host::parse(host) {
        Ok(host) => Ok((host, port)),
        Err(fault @ HostFault::PrivateLink(_)) => Err(Fault::Host(fault)),
        Err(_) => Err(Fault::NoName),
    }
}

/// Returns a host and port for a message, or a placeholder, because an invalid one may be a part of a password.
fn shown(authority: &str) -> &str {
    if parse_authority(authority).is_ok() { authority } else { "HOST" }
}

/// Splits a host and the port after it. An IPv6 address with a port has brackets.
fn split_port(text: &str) -> Result<(&str, Option<u16>), Fault> {
    let Some((host, port)) = text.rsplit_once(':') else { return Ok((text, None)) };
    let is_bare_ipv6 = host.contains(':') && !host.ends_with(']');
    if is_bare_ipv6 || text.ends_with(']') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((text, None));
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(Fault::Port),
    }
}

fn is_plain(user: &str) -> bool {
    !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Parses an option with the words that `StackExchange.Redis` accepts.
fn boolean(value: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word));
    if is_one_of(["true", "yes", "on", "1"]) {
        Some(true)
    } else if is_one_of(["false", "no", "off", "0"]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Location<'_> = Location { host: "orders", port: None, tls: None, username: None };

    #[test]
    fn a_host_with_a_port_a_url_and_a_connection_string_are_parsed() {
        for (text, location) in [
            ("orders", PLAIN),
            ("orders:6380", Location { port: Some(6380), ..PLAIN }),
            ("::1", Location { host: "::1", ..PLAIN }),
            ("[::1]", Location { host: "::1", ..PLAIN }),
            ("[::1]:6380", Location { host: "::1", port: Some(6380), ..PLAIN }),
            ("redis://orders", Location { tls: Some(false), ..PLAIN }),
            ("REDISS://orders:6380/", Location { port: Some(6380), tls: Some(true), ..PLAIN }),
            ("rediss://u@orders/0", Location { tls: Some(true), username: Some("u"), ..PLAIN }),
            ("rediss://[::1]:1", Location { host: "::1", port: Some(1), tls: Some(true), ..PLAIN }),
            (
                "orders:6380,ssl=True,abortConnect=False,user=u,",
                Location { port: Some(6380), tls: Some(true), username: Some("u"), ..PLAIN },
            ),
            ("connectTimeout=5000, orders,defaultDatabase=0", PLAIN),
            ("orders,ssl=false", Location { tls: Some(false), ..PLAIN }),
            ("orders,ssl=on", Location { tls: Some(true), ..PLAIN }),
            ("orders,ssl=0", Location { tls: Some(false), ..PLAIN }),
        ] {
            assert_eq!(parse(text), Ok(location), "{text}");
        }
    }

    #[test]
    fn an_invalid_location_is_rejected_with_its_reason() {
        for (text, fault) in [
            ("orders:0", Fault::Port),
            ("orders:", Fault::Port),
            ("orders:65536", Fault::Port),
            ("https://orders", Fault::Scheme),
            ("rediss://", Fault::NoName),
            ("rediss://two words", Fault::NoName),
            ("rediss://orders/1", Fault::Database),
            ("rediss://orders/cache", Fault::UrlOptions),
            ("rediss://orders?protocol=3", Fault::UrlOptions),
            ("rediss://orders#insecure", Fault::UrlOptions),
            ("rediss://a@b@orders", Fault::User),
            ("a:1,b:2,ssl=True", Fault::SecondHost),
            ("ssl=True,", Fault::NoName),
            ("orders,proxy=Twemproxy", Fault::Option),
            ("orders,sslHost=other", Fault::Option),
            ("orders,defaultDatabase=1", Fault::Database),
            ("orders,ssl=maybe", Fault::Ssl),
            ("orders,ssl=", Fault::Ssl),
            ("orders,ssl", Fault::SecondHost),
            ("orders:hunter2", Fault::Colon),
            ("a:b:c", Fault::Colon),
            ("orders/0", Fault::Host(HostFault::Character('/'))),
            ("10.0.0.256:1", Fault::Host(HostFault::NoName)),
        ] {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
        let private = parse("rediss://orders.privatelink.redis.cache.windows.net");
        let public = HostFault::PrivateLink("orders.redis.cache.windows.net".into());
        assert_eq!(private, Err(Fault::Host(public)));
    }

    #[test]
    fn a_password_is_rejected_and_left_out_of_the_advice() {
        for (text, without) in [
            ("rediss://:hunter2@orders:6380", "rediss://orders:6380"),
            ("redis://u:hunter2@orders/0", "redis://u@orders"),
            ("rediss://u:hun:ter@2@orders", "rediss://u@orders"),
            ("rediss://u:x@hunter2/?#@orders", "rediss://u@orders"),
            ("rediss://u:x@hunter2/ter:a", "rediss://u@hunter2"),
        ] {
            assert_eq!(parse(text), Err(Fault::UrlPassword(without.into())), "{text}");
        }
        for (text, without) in [
            ("orders:6380,password=hunter2=,ssl=True", "orders:6380,ssl=True"),
            ("orders:6380,ssl=False,Password=hun,ter2", "orders:6380"),
            ("password=x,two words", "HOST"),
        ] {
            assert_eq!(parse(text), Err(Fault::AccessKey(without.into())), "{text}");
        }
    }
}
