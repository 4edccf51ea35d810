//! Where a cache is, and how the connection to it is encrypted.

use std::time::Duration;

use super::{About, Absent, Choice, Flag, Group, Key, Kind, Values, WORD};
use crate::target::{Protocol, TargetName};

const GROUP: Group = Group::Connection;

/// `targets[].name`
pub static NAME: Key<&str> = Key {
    about: About {
        path: "targets[].name",
        flag: Some(Flag::new("name", "NAME").common()),
        group: GROUP,
        help: "Name of the target in metrics, logs and pages",
        doc: "The value of the label `target`. Unique within the configuration, also without regard to \
              case, which Azure Monitor ignores; 1 to 128 characters, without leading or trailing spaces, not `.` or \
              `..`. With flags, the default is the first label of the host.",
        example: "orders",
        pattern: "^\\S([^\\x00-\\x1f\\x7f]{0,126}\\S)?$",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a name"),
    absent: Absent::Required,
};
const _: () = assert!(TargetName::MAX_LENGTH == 128, "as the documentation of the key says");

/// `targets[].host`
pub static HOST: Key<&str> = Key {
    about: About {
        path: "targets[].host",
        flag: Some(Flag::new("host", "HOST").common()),
        group: GROUP,
        help: "Host name or IP address of the cache",
        doc: "Use the public name, even with a private endpoint: it resolves to the private address, and the \
              certificate is issued for it. A port may follow, as in `orders:6380`. A Redis URL \
              (`rediss://orders:6380`) or the connection string of the Azure portal \
              (`orders:6380,ssl=True,abortConnect=False`) sets `port`, `tls` and `username`, too. Neither may contain \
              a password. Behind Redis Sentinel, give `sentinel` instead.",
        example: "orders.redis.cache.windows.net",
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Host, "a host name such as orders.redis.cache.windows.net"),
    absent: Absent::Required,
};

/// `targets[].port`
pub static PORT: Key<u16> = Key {
    about: About {
        path: "targets[].port",
        flag: Some(Flag::new("port", "PORT").common()),
        group: GROUP,
        help: "TCP port",
        doc: "With `sentinel` it is not used: the sentinels name the primary's port.",
        example: "6380",
        ..About::EMPTY
    },
    values: Values::Range(1, u16::MAX),
    absent: Absent::Described("10000 for Azure Managed Redis, otherwise 6380, or 6379 without TLS"),
};

/// `targets[].tls`
pub static TLS: TlsKeys = TlsKeys {
    whole: Key {
        about: About {
            path: "targets[].tls",
            flag: Some(Flag::new("tls", "BOOL").common()),
            group: GROUP,
            help: "Whether the connection is encrypted",
            doc: "TLS 1.2 or 1.3. The certificate is verified with the platform's root certificates. A mapping enables \
                  TLS and sets its details.",
            example: "{ca_file: ca.pem}",
            keys: &[&TLS.ca_file, &TLS.server_name, &TLS.cert_file, &TLS.key_file],
            ..About::EMPTY
        },
        values: Values::Any,
        absent: Absent::Default(true),
    },
    ca_file: pem_file(
        "targets[].tls.ca_file",
        Flag::new("ca-file", "FILE").common(),
        "PEM file with root certificates to trust in addition to the platform's",
        CA_FILE,
    ),
    server_name: server_name(
        "targets[].tls.server_name",
        Flag::new("server-name", "NAME"),
        "With `sentinel`, each primary's certificate is verified for this name.",
        Absent::Described("the host; with `sentinel`, the primary's address as the sentinels name it"),
    ),
    cert_file: pem_file(
        "targets[].tls.cert_file",
        Flag::new("cert-file", "FILE"),
        "PEM file with the client certificate, for servers that ask for one",
        CERT_FILE,
    ),
    key_file: pem_file(
        "targets[].tls.key_file",
        Flag::new("key-file", "FILE"),
        "PEM file with the private key of the client certificate",
        KEY_FILE,
    ),
};

/// `targets[].protocol`
pub static PROTOCOL: Key<Option<Protocol>> = Key {
    about: About {
        path: "targets[].protocol",
        flag: Some(Flag::new("protocol", "VERSION")),
        group: GROUP,
        help: "Version of RESP, the protocol of Redis",
        doc: "RESP3 begins with `HELLO 3`, RESP2 with `AUTH`. With `auto`, a server that turned out not to know `HELLO 3` \
              gets RESP2 for an hour.",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice { name: "auto", value: None, help: "RESP3, or RESP2 if the server does not know it" },
        Choice {
            name: "resp3",
            value: Some(Protocol::Resp3),
            help: "RESP3; the connection fails if the server does not know it",
        },
        Choice { name: "resp2", value: Some(Protocol::Resp2), help: "RESP2" },
    ]),
    absent: Absent::Default(None),
};

/// `targets[].dns_refresh`
pub static DNS_REFRESH: Key<Option<Duration>> = Key {
    about: About {
        path: "targets[].dns_refresh",
        flag: Some(Flag::new("dns-refresh", "DURATION")),
        group: GROUP,
        help: "Time from one lookup of the host's name to the next while connected",
        doc: "If two answers in a row lack the address of the open connection, the connection is replaced, at most \
              every 10 minutes. A lookup that fails changes nothing. An IP address is never looked up. `0s` turns lookups \
              off. With `sentinel`, the host is the primary's.",
        ..About::EMPTY
    },
    values: Values::Range(Some(Duration::from_secs(1)), Some(Duration::from_secs(3600))),
    absent: Absent::Default(Some(Duration::from_secs(60))),
};

/// `targets[].max_connection_age`
pub static MAX_CONNECTION_AGE: Key<Option<Duration>> = Key {
    about: About {
        path: "targets[].max_connection_age",
        flag: Some(Flag::new("max-connection-age", "DURATION")),
        group: GROUP,
        help: "Age at which the open connection is replaced",
        doc: "The new connection is opened first. If that fails, the old one stays. `0s` is no limit.",
        example: "6h",
        ..About::EMPTY
    },
    values: Values::Range(Some(Duration::from_secs(10)), Some(Duration::from_secs(7 * 24 * 3600))),
    absent: Absent::Default(None),
};

/// The keys of the encryption of connections: the key that turns it on, and its details.
#[derive(Debug)]
pub struct TlsKeys {
    /// Whether connections are encrypted, or a mapping of the others.
    pub whole: Key<bool>,
    /// Root certificates.
    pub ca_file: Key<&'static str>,
    /// The name that is verified.
    pub server_name: Key<&'static str>,
    /// The client certificate.
    pub cert_file: Key<&'static str>,
    /// Its private key.
    pub key_file: Key<&'static str>,
}

/// The documentation and the example of a file.
type Documented = (&'static str, &'static str);

pub(super) const CA_FILE: Documented = (
    "A server may show a certificate of this file as its own. A relative path starts at the working directory. A \
     changed file is used from the next connection on.",
    "/etc/cachepulse/ca.pem",
);
pub(super) const CERT_FILE: Documented = (
    "Intermediate certificates may follow. Needs the private key as well. Both files are read again when they change.",
    "/etc/cachepulse/client.pem",
);
pub(super) const KEY_FILE: Documented =
    ("RSA, P-256, P-384 or Ed25519, as PKCS#8, PKCS#1 or SEC1, not encrypted.", "/etc/cachepulse/client.key");

pub(super) const fn pem_file(
    path: &'static str,
    flag: Flag,
    help: &'static str,
    (doc, example): Documented,
) -> Key<&'static str> {
    Key {
        about: About { path, flag: Some(flag), group: GROUP, help, doc, example, ..About::EMPTY },
        values: Values::Text(Kind::Path, "the path of a PEM file"),
        absent: Absent::Nothing,
    }
}

pub(super) const fn server_name(
    path: &'static str,
    flag: Flag,
    doc: &'static str,
    absent: Absent<&'static str>,
) -> Key<&'static str> {
    Key {
        about: About {
            path,
            flag: Some(flag),
            group: GROUP,
            help: "Name for SNI and the certificate check",
            doc,
            example: "inventory.example.com",
            pattern: WORD,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Host, "a host name or an IP address"),
        absent,
    }
}
