//! The keys of a web configuration file, whose format is that of Prometheus and its exporters.
//!
//! Source: "Web configuration" in the documentation of Prometheus' exporter toolkit.

use super::{About, Absent, Choice, Descriptor, Key, Kind, Values};
use crate::guard::{ClientAuth, TlsVersion};

/// The top-level keys.
pub static ROOT: &[&dyn Descriptor] = &[&TLS, &HTTP, &USERS, &RATE_LIMIT];

/// `tls_server_config`
pub static TLS: Key<&str> = Key {
    about: About {
        path: "tls_server_config",
        help: "TLS; without it, the endpoint serves plain HTTP",
        example: "{cert_file: server.pem, key_file: server.key}",
        keys: &[
            &CERT_FILE,
            &KEY_FILE,
            &CERT,
            &KEY,
            &CLIENT_AUTH_TYPE,
            &CLIENT_CA_FILE,
            &CLIENT_CA,
            &CLIENT_ALLOWED_SANS,
            &MIN_VERSION,
            &MAX_VERSION,
            &CIPHER_SUITES,
            &PREFER_SERVER_CIPHER_SUITES,
            &CURVE_PREFERENCES,
        ],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

const PEM_FILE: &str = "the path of a PEM file";

/// `tls_server_config.cert_file`
pub static CERT_FILE: Key<&str> = Key {
    about: About {
        path: "tls_server_config.cert_file",
        help: "PEM file with the server's certificate; intermediate certificates may follow",
        doc: "A relative path starts at the folder of the web configuration file.",
        example: "server.pem",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, PEM_FILE),
    absent: Absent::Nothing,
};

/// `tls_server_config.key_file`
pub static KEY_FILE: Key<&str> = Key {
    about: About {
        path: "tls_server_config.key_file",
        help: "PEM file with the private key of the certificate",
        doc: "RSA, P-256, P-384 or Ed25519, as PKCS#8, PKCS#1 or SEC1, not encrypted.",
        example: "server.key",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, PEM_FILE),
    absent: Absent::Nothing,
};

/// `tls_server_config.cert`
pub static CERT: Key<&str> = Key {
    about: About {
        path: "tls_server_config.cert",
        help: "The certificate itself in PEM, in place of cert_file",
        example: "|\n  -----BEGIN CERTIFICATE-----\n  …",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a certificate in PEM"),
    absent: Absent::Nothing,
};

/// `tls_server_config.key`
pub static KEY: Key<&str> = Key {
    about: About {
        path: "tls_server_config.key",
        help: "The private key itself in PEM, in place of key_file",
        example: "|\n  -----BEGIN PRIVATE KEY-----\n  …",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "a private key in PEM"),
    absent: Absent::Nothing,
};

/// `tls_server_config.client_auth_type`
pub static CLIENT_AUTH_TYPE: Key<ClientAuth> = Key {
    about: About {
        path: "tls_server_config.client_auth_type",
        help: "Whether clients must show a certificate",
        ..About::EMPTY
    },
    values: Values::Choices(&[
        Choice { name: "NoClientCert", value: ClientAuth::None, help: "No" },
        Choice {
            name: "RequestClientCert",
            value: ClientAuth::Request,
            help: "They are asked for one, and any or none is accepted",
        },
        Choice {
            name: "RequireAnyClientCert",
            value: ClientAuth::RequireAny,
            help: "Any certificate is accepted",
        },
        Choice { name: "RequireClientCert", value: ClientAuth::RequireAny, help: "The same" },
        Choice {
            name: "VerifyClientCertIfGiven",
            value: ClientAuth::VerifyIfGiven,
            help: "None, or one that is trusted by client_ca_file",
        },
        Choice {
            name: "RequireAndVerifyClientCert",
            value: ClientAuth::RequireAndVerify,
            help: "One that is trusted by client_ca_file",
        },
    ]),
    absent: Absent::Default(ClientAuth::None),
};

/// `tls_server_config.client_ca_file`
pub static CLIENT_CA_FILE: Key<&str> = Key {
    about: About {
        path: "tls_server_config.client_ca_file",
        help: "PEM file with the authorities that issue the certificates of clients",
        doc: "A client may also show a certificate of this file as its own. Without a file, no certificate is trusted.",
        example: "clients.pem",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Path, PEM_FILE),
    absent: Absent::Nothing,
};

/// `tls_server_config.client_ca`
pub static CLIENT_CA: Key<&str> = Key {
    about: About {
        path: "tls_server_config.client_ca",
        help: "The authorities themselves in PEM, in place of client_ca_file",
        example: "|\n  -----BEGIN CERTIFICATE-----\n  …",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Text, "certificates in PEM"),
    absent: Absent::Nothing,
};

/// `tls_server_config.client_allowed_sans`
pub static CLIENT_ALLOWED_SANS: Key<&str> = Key {
    about: About {
        path: "tls_server_config.client_allowed_sans",
        help: "Alternative names of which a client's certificate must have one",
        doc: "DNS names, e-mail addresses, IP addresses and URIs, compared as text. Only with `RequireAnyClientCert` and \
              `RequireAndVerifyClientCert`.",
        example: "[prometheus.example.com]",
        ..About::EMPTY
    },
    values: Values::Words(0, 1000),
    absent: Absent::Nothing,
};

static VERSIONS: &[Choice<TlsVersion>] = &[
    Choice { name: "TLS12", value: TlsVersion::Tls12, help: "TLS 1.2" },
    Choice { name: "TLS13", value: TlsVersion::Tls13, help: "TLS 1.3" },
];

/// `tls_server_config.min_version`
pub static MIN_VERSION: Key<TlsVersion> = Key {
    about: About { path: "tls_server_config.min_version", help: "Lowest version of TLS", ..About::EMPTY },
    values: Values::Choices(VERSIONS),
    absent: Absent::Default(TlsVersion::Tls12),
};

/// `tls_server_config.max_version`
pub static MAX_VERSION: Key<TlsVersion> = Key {
    about: About { path: "tls_server_config.max_version", help: "Highest version of TLS", ..About::EMPTY },
    values: Values::Choices(VERSIONS),
    absent: Absent::Default(TlsVersion::Tls13),
};

/// `tls_server_config.cipher_suites`
pub static CIPHER_SUITES: Key<&str> = Key {
    about: About {
        path: "tls_server_config.cipher_suites",
        help: "Cipher suites of TLS 1.2, best first",
        doc: "Those of TLS 1.3 may be named, and are always enabled. Suites with CBC are not supported.",
        example: "[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
        ..About::EMPTY
    },
    values: Values::Words(0, 100),
    absent: Absent::Described("all"),
};

/// `tls_server_config.prefer_server_cipher_suites`
pub static PREFER_SERVER_CIPHER_SUITES: Key<bool> = Key {
    about: About {
        path: "tls_server_config.prefer_server_cipher_suites",
        help: "Whether the order of cipher_suites decides and not that of the client",
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Default(true),
};

/// `tls_server_config.curve_preferences`
pub static CURVE_PREFERENCES: Key<&str> = Key {
    about: About {
        path: "tls_server_config.curve_preferences",
        help: "Curves of the key exchange, best first: X25519, CurveP256, CurveP384",
        doc: "`CurveP521` is not supported.",
        example: "[X25519, CurveP256]",
        ..About::EMPTY
    },
    values: Values::Words(0, 100),
    absent: Absent::Described("all"),
};

/// `http_server_config`
pub static HTTP: Key<&str> = Key {
    about: About {
        path: "http_server_config",
        help: "HTTP",
        example: "{headers: {X-Frame-Options: deny}}",
        keys: &[&HTTP2, &HEADERS],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `http_server_config.http2`
pub static HTTP2: Key<bool> = Key {
    about: About {
        path: "http_server_config.http2",
        help: "Accepted for compatibility; the endpoint speaks HTTP/1.1 only",
        doc: "As in Prometheus, `true` with `cipher_suites` needs one of their two with `AES_128_GCM` for TLS 1.2.",
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Default(true),
};

/// `http_server_config.headers`
pub static HEADERS: Key<&str> = Key {
    about: About {
        path: "http_server_config.headers",
        help: "Headers of every response",
        doc: "They replace the agent's own headers of the same name. These five are allowed.",
        example: "{Strict-Transport-Security: max-age=31536000}",
        keys: &[
            &CONTENT_SECURITY_POLICY,
            &FRAME_OPTIONS,
            &CONTENT_TYPE_OPTIONS,
            &XSS_PROTECTION,
            &TRANSPORT_SECURITY,
        ],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

const fn header(path: &'static str, help: &'static str, example: &'static str) -> Key<&'static str> {
    Key {
        about: About { path, help, example, ..About::EMPTY },
        values: Values::Text(Kind::Text, "the value of a header"),
        absent: Absent::Nothing,
    }
}

/// `http_server_config.headers.Content-Security-Policy`
pub static CONTENT_SECURITY_POLICY: Key<&str> = header(
    "http_server_config.headers.Content-Security-Policy",
    "What a page may load and run",
    "default-src 'none'",
);

/// `http_server_config.headers.X-Frame-Options`
pub static FRAME_OPTIONS: Key<&str> =
    header("http_server_config.headers.X-Frame-Options", "Who may frame a page: deny or sameorigin", "deny");

/// `http_server_config.headers.X-Content-Type-Options`
pub static CONTENT_TYPE_OPTIONS: Key<&str> = header(
    "http_server_config.headers.X-Content-Type-Options",
    "Whether browsers may guess the type of a page: nosniff",
    "nosniff",
);

/// `http_server_config.headers.X-XSS-Protection`
pub static XSS_PROTECTION: Key<&str> = header(
    "http_server_config.headers.X-XSS-Protection",
    "Filter of old browsers against cross-site scripting",
    "1",
);

/// `http_server_config.headers.Strict-Transport-Security`
pub static TRANSPORT_SECURITY: Key<&str> = header(
    "http_server_config.headers.Strict-Transport-Security",
    "For how long browsers use only HTTPS",
    "max-age=31536000",
);

/// `basic_auth_users`
pub static USERS: Key<&str> = Key {
    about: About {
        path: "basic_auth_users",
        help: "Users, each with the bcrypt hash of the password; without any, no password is needed",
        doc: "`cachepulse hash-password` prints such a hash, and so does `htpasswd -nB`.",
        example: "{prometheus: $2b$10$3su7aya3MsjH6f5lI/wifOUFE4dcox1xY9cFaYcMxG.IMNojlyhCa}",
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `rate_limit`
pub static RATE_LIMIT: Key<&str> = Key {
    about: About {
        path: "rate_limit",
        help: "Limit to the rate of requests of all clients together",
        example: "{interval: 100ms, burst: 20}",
        keys: &[&INTERVAL, &BURST],
        ..About::EMPTY
    },
    values: Values::Mapping,
    absent: Absent::Nothing,
};

/// `rate_limit.interval`
pub static INTERVAL: Key<&str> = Key {
    about: About {
        path: "rate_limit.interval",
        help: "Time between two requests; 0 is no limit",
        example: "100ms",
        ..About::EMPTY
    },
    values: Values::Text(Kind::Duration, "a duration as in Go, such as 100ms or 1.5s"),
    absent: Absent::Described("no limit"),
};

/// `rate_limit.burst`
pub static BURST: Key<u32> = Key {
    about: About {
        path: "rate_limit.burst",
        help: "Requests that are allowed at once; 0 denies every request",
        example: "20",
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Default(0),
};

/// Every key once, each before those below it.
pub fn all() -> impl Iterator<Item = &'static dyn Descriptor> {
    super::below(ROOT)
}
