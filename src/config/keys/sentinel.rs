//! The sentinels that name the primary of a target.

use super::connection::{CA_FILE, CERT_FILE, KEY_FILE, TlsKeys, pem_file, server_name};
use super::secret::{SecretKeys, secret_doc, secret_env, secret_file, secret_mapping};
use super::{About, Absent, Choice, Flag, Group, IdentityType, Key, Kind, Values, WORD};

const GROUP: Group = Group::Connection;

/// The port of a sentinel that is given without one.
pub const DEFAULT_PORT: u16 = 26379;

/// `targets[].sentinel`
pub static SENTINEL: Key<&str> = Key {
    about: About {
        path: "targets[].sentinel",
        group: GROUP,
        help: "Redis Sentinel, which names the primary, instead of a host",
        doc: "The sentinels are asked for the primary's address at every connection. When they name another server, the \
              connection to the previous one is closed at once: that one takes writes for seconds after a failover, and \
              loses them.",
        example: "{service: mymaster, addresses: [sentinel-0.example.com, sentinel-1.example.com]}",
        keys: &[&SERVICE, &ADDRESSES, &IDENTITY, &USERNAME, &TLS.whole],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `targets[].sentinel.service`
pub static SERVICE: Key<&str> = Key {
    about: About {
        path: "targets[].sentinel.service",
        flag: Some(Flag::new("sentinel-service", "NAME")),
        group: GROUP,
        help: "Name under which the sentinels monitor the primary",
        doc: "The name in `sentinel monitor`.",
        example: "mymaster",
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "the name of a service, such as mymaster"),
    absent: Absent::Required,
};

/// `targets[].sentinel.addresses`
pub static ADDRESSES: Key<&str> = Key {
    about: About {
        path: "targets[].sentinel.addresses",
        flag: Some(Flag::new("sentinel-addresses", "HOSTS")),
        group: GROUP,
        help: "Hosts of the sentinels, each with an optional port",
        doc: "Name all of them: the agent needs one that answers. They are asked in turn, beginning with the one that \
              answered last. The default port is 26379. With the flag, commas separate them.",
        example: "[sentinel-0.example.com, \"sentinel-1.example.com:26380\"]",
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Hosts(1, 32),
    absent: Absent::Required,
};

const TYPES: &[Choice<IdentityType>] = &[
    Choice { name: "none", value: IdentityType::None, help: "No sign-in" },
    Choice {
        name: "password",
        value: IdentityType::Password,
        help: "A password: that of an ACL user, or `requirepass`",
    },
];

/// `targets[].sentinel.identity`
pub static IDENTITY: Key<IdentityType> = Key {
    about: About {
        path: "targets[].sentinel.identity",
        group: GROUP,
        help: "How to sign in to the sentinels: a type, or a mapping with its details",
        doc: "It is separate from the sign-in to the cache. A user of the sentinels needs the rights \
              `+ping +sentinel|get-master-addr-by-name +subscribe &+switch-master`, and `+sentinel|ckquorum` for \
              `cachepulse_sentinel_quorum`.",
        example: "{type: password, password: {file: /etc/cachepulse/sentinel-password}}",
        keys: &[&TYPE, &PASSWORD.whole],
        ..About::EMPTY
    },
    values: Values::Choices(TYPES),
    absent: Absent::Default(TYPE.default()),
};

/// `targets[].sentinel.identity.type`
pub static TYPE: Key<IdentityType> = Key {
    about: About {
        path: "targets[].sentinel.identity.type",
        flag: Some(Flag::new("sentinel-identity", "TYPE")),
        group: GROUP,
        help: "How to sign in to the sentinels",
        example: "password",
        ..About::EMPTY
    },
    values: Values::Choices(TYPES),
    absent: Absent::Default(IdentityType::None),
};

/// `targets[].sentinel.identity.password`
pub static PASSWORD: SecretKeys = SecretKeys {
    whole: secret_mapping(
        "targets[].sentinel.identity.password",
        GROUP,
        "Source of the sentinels' password",
        secret_doc!("The secret is read at each sign-in."),
        "{env: SENTINEL_PASSWORD}",
        &[IdentityType::Password],
        &[&PASSWORD.file, &PASSWORD.env],
        Absent::Required,
    ),
    file: secret_file(
        "targets[].sentinel.identity.password.file",
        GROUP,
        Flag::new("sentinel-password-file", "FILE"),
        "File with the sentinels' password",
        &[IdentityType::Password],
    ),
    env: secret_env(
        "targets[].sentinel.identity.password.env",
        GROUP,
        Flag::new("sentinel-password-env", "NAME"),
        "Environment variable with the sentinels' password",
        &[IdentityType::Password],
    ),
};

/// `targets[].sentinel.username`
pub static USERNAME: Key<&str> = Key {
    about: About {
        path: "targets[].sentinel.username",
        flag: Some(Flag::new("sentinel-username", "NAME")),
        group: GROUP,
        help: "User of the sentinels' password",
        example: "probe",
        pattern: WORD,
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a user name without spaces"),
    absent: Absent::Described("the default user"),
};

/// `targets[].sentinel.tls`
pub static TLS: TlsKeys = TlsKeys {
    whole: Key {
        about: About {
            path: "targets[].sentinel.tls",
            flag: Some(Flag::new("sentinel-tls", "BOOL")),
            group: GROUP,
            help: "Whether the connections to the sentinels are encrypted",
            doc: "It is separate from `tls`, which concerns the cache. A mapping enables TLS and sets its details.",
            example: "{ca_file: ca.pem}",
            keys: &[&TLS.ca_file, &TLS.server_name, &TLS.cert_file, &TLS.key_file],
            ..About::EMPTY
        },
        values: Values::Any,
        absent: Absent::Described("as `tls`, without its `server_name`"),
    },
    ca_file: pem_file(
        "targets[].sentinel.tls.ca_file",
        Flag::new("sentinel-ca-file", "FILE"),
        "PEM file with root certificates for the sentinels",
        CA_FILE,
    ),
    server_name: server_name(
        "targets[].sentinel.tls.server_name",
        Flag::new("sentinel-server-name", "NAME"),
        "The certificate of each sentinel is verified for this name.",
        Absent::Described("the host of each sentinel"),
    ),
    cert_file: pem_file(
        "targets[].sentinel.tls.cert_file",
        Flag::new("sentinel-cert-file", "FILE"),
        "PEM file with the client certificate for the sentinels",
        CERT_FILE,
    ),
    key_file: pem_file(
        "targets[].sentinel.tls.key_file",
        Flag::new("sentinel-key-file", "FILE"),
        "PEM file with the private key of the client certificate for the sentinels",
        KEY_FILE,
    ),
};
