//! A service principal: an application with a secret or a certificate.

use super::super::secret::{SecretKeys, secret_doc, secret_env, secret_file, secret_mapping};
use super::super::{About, Absent, Flag, Key, Kind, Values};
use super::{GROUP, IdentityType};

/// The documentation of a secret that is exchanged for tokens.
const TOKEN_SECRET: &str = secret_doc!("The secret is read at each request for a token.");

/// `targets[].identity.client_secret`
pub static CLIENT_SECRET: SecretKeys = SecretKeys {
    whole: secret_mapping(
        "targets[].identity.client_secret",
        GROUP,
        "Source of the application's secret",
        TOKEN_SECRET,
        "{file: /etc/cachepulse/client-secret}",
        &[IdentityType::ClientSecret],
        &[&CLIENT_SECRET.file, &CLIENT_SECRET.env],
        Absent::Described("$AZURE_CLIENT_SECRET"),
    ),
    file: secret_file(
        "targets[].identity.client_secret.file",
        GROUP,
        Flag::new("client-secret-file", "FILE"),
        "File with the application's secret",
        &[IdentityType::ClientSecret],
    ),
    env: secret_env(
        "targets[].identity.client_secret.env",
        GROUP,
        Flag::new("client-secret-env", "NAME"),
        "Environment variable with the application's secret",
        &[IdentityType::ClientSecret],
    ),
};

const CERTIFICATE: &[IdentityType] = &[IdentityType::ClientCertificate];

/// The keys of a client certificate.
#[derive(Debug)]
pub struct CertificateKeys {
    /// The mapping.
    pub whole: Key<&'static str>,
    /// The file with the certificate.
    pub file: Key<&'static str>,
    /// The file with its private key.
    pub key_file: Key<&'static str>,
}

/// `targets[].identity.client_certificate`
pub static CLIENT_CERTIFICATE: CertificateKeys = CertificateKeys {
    whole: Key {
        about: About {
            path: "targets[].identity.client_certificate",
            group: GROUP,
            help: "Certificate of the application, with its private key",
            doc: "PEM with an RSA key that is not encrypted. The files are read at each request for a token: a renewed \
                  certificate needs no restart.",
            example: "{file: /etc/cachepulse/client-certificate.pem}",
            identities: CERTIFICATE,
            keys: &[&CLIENT_CERTIFICATE.file, &CLIENT_CERTIFICATE.key_file],
            ..About::EMPTY
        },
        values: Values::Mapping,
        absent: Absent::Described("$AZURE_CLIENT_CERTIFICATE_PATH"),
    },
    file: Key {
        about: About {
            path: "targets[].identity.client_certificate.file",
            flag: Some(Flag::new("client-certificate-file", "FILE")),
            group: GROUP,
            help: "File with the application's certificate, and its private key",
            doc: "The certificates of its issuers may follow; see `send_certificate_chain`.",
            example: "/etc/cachepulse/client-certificate.pem",
            identities: CERTIFICATE,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Path, "the path of a file"),
        absent: Absent::Required,
    },
    key_file: Key {
        about: About {
            path: "targets[].identity.client_certificate.key_file",
            flag: Some(Flag::new("client-certificate-key-file", "FILE")),
            group: GROUP,
            help: "File with the certificate's private key, if it is not in the same file",
            doc: "For Secrets of the type `kubernetes.io/tls`, which have two files.",
            example: "/etc/cachepulse/client-certificate.key",
            identities: CERTIFICATE,
            ..About::EMPTY
        },
        values: Values::Text(Kind::Path, "the path of a file"),
        absent: Absent::Described("the key in `file`"),
    },
};

/// `targets[].identity.send_certificate_chain`
pub static SEND_CERTIFICATE_CHAIN: Key<bool> = Key {
    about: About {
        path: "targets[].identity.send_certificate_chain",
        flag: Some(Flag::new("send-certificate-chain", "BOOL")),
        group: GROUP,
        help: "Whether the certificate and those of its issuers are sent with each request",
        doc: "For applications that trust a subject name and an issuer instead of one certificate.",
        example: "true",
        identities: CERTIFICATE,
        ..About::EMPTY
    },
    values: Values::Any,
    absent: Absent::Described("$AZURE_CLIENT_SEND_CERTIFICATE_CHAIN, or false"),
};
