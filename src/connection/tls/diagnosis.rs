//! Why a handshake failed: the reason, and a text that says what the server showed and what this agent offers.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use x509_parser::asn1_rs::{FromDer as _, Oid};
use x509_parser::prelude::X509Version;

use super::certificate::Certificate;
use super::remedy::Remedy;
use super::stream::ClientCertificateRefused;
use super::witness::Seen;
use super::x509;
use crate::clock::Rfc3339;
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason, Phase, Stage};

/// The longest detail, in characters.
const MAX_DETAIL: usize = 400;

/// The longest text of a peer that is shown, in characters.
const MAX_TEXT: usize = 120;

/// What this agent has to offer. OpenSSL's servers, such as Redis, send the same alert whatever is missing.
const NOTHING_IN_COMMON: &str = "the server found no cipher suite or key type that both sides support; this agent offers TLS 1.3, and TLS 1.2 with \
     ECDHE and AES-GCM or ChaCha20, for keys of the types P-256, P-384, Ed25519 and RSA (not P-521)";

/// What to do about a peer that seems to speak plain text.
pub(in crate::connection) const PLAIN_TEXT: &str = "Set `port` to the one with TLS. Set `tls: false` if the cache serves plain text on this port and need not encrypt.";

/// Which certificate has expired.
const OWN: &str = "the certificate";
const ABOVE: &str = "the certificate of an authority above the server's";

/// What to do about a peer that has spoken TLS before.
const SPOKE_TLS: &str = "This address has completed TLS handshakes before. Check whether the cache is restarting or overloaded, and \
                         whether its TLS settings have changed.";

/// Returns the failure of a handshake of which `seen` was seen: for `server_name`, ended by `error`, or by the deadline
/// without one; `remedy` helps. A peer that `speaks_tls` is not taken for one that speaks plain text.
pub(super) fn diagnose(
    error: Option<&io::Error>,
    seen: &Seen,
    server_name: &str,
    remedy: Remedy,
    speaks_tls: bool,
) -> Failure {
    if speaks_tls && error.is_none() {
        let detail = "the peer accepted the connection and did not finish the TLS handshake in time, although it has \
                      finished earlier ones";
        return failure(FailureReason::CommandTimeout, &detail);
    }
    let failure = diagnose_stranger(error, seen, server_name, remedy);
    let is_handshake = failure.reason == FailureReason::TlsHandshake;
    let advice = if speaks_tls && is_handshake { Some(SPOKE_TLS) } else { failure.advice };
    Failure { advice, ..failure }
}

/// Returns the failure of a handshake with a peer of which nothing else is known.
fn diagnose_stranger(error: Option<&io::Error>, seen: &Seen, server_name: &str, remedy: Remedy) -> Failure {
    let handshake = |detail: &dyn fmt::Display| failure(FailureReason::TlsHandshake, detail);
    if let Some(text) = plain_text(&seen.first_bytes) {
        let detail = format!("the peer answered in plain text: {:?}", excerpt(text, MAX_TEXT));
        return Failure { advice: Some(PLAIN_TEXT), ..handshake(&detail) };
    }
    let Some(error) = error else {
        if seen.first_bytes.is_empty() {
            let detail = "the peer accepted the connection and sent no byte in answer to the TLS greeting, as a Redis \
                          that speaks plain text does";
            return Failure { advice: Some(PLAIN_TEXT), ..handshake(&detail) };
        }
        return handshake(&"the peer did not finish the handshake in time");
    };
    if let Some(refused) = seen.answer.and_then(|answer| ClientCertificateRefused::from_alert(error, answer))
    {
        return failure(FailureReason::TlsClientCertificate, &refused);
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => {
            failure(FailureReason::TlsCertificate, &certificate_fault(error, seen, server_name, remedy))
        }
        Some(Error::AlertReceived(alert)) => handshake(&alert_fault(*alert, remedy)),
        Some(Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => handshake(&alert_fault(AlertDescription::ProtocolVersion, remedy)),
        Some(Error::PeerIncompatible(_)) => handshake(&NOTHING_IN_COMMON),
        Some(Error::InvalidMessage(fault)) if seen.first_bytes.first().is_some_and(|byte| !is_tls(*byte)) => {
            handshake(&format_args!("the peer does not speak TLS ({})", words(fault)))
        }
        Some(Error::InvalidMessage(fault)) => {
            handshake(&format_args!("the peer sent a malformed message ({})", words(fault)))
        }
        Some(Error::PeerMisbehaved(fault)) => {
            handshake(&format_args!("the peer violated the protocol ({})", words(fault)))
        }
        Some(error) => handshake(&words(error)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            handshake(&"the peer closed the connection during the handshake")
        }
        None => handshake(error),
    }
}

/// Returns the failure of a name that no certificate can have.
pub(super) fn impossible_name(server_name: &str) -> Failure {
    let detail = format!("no certificate can be valid for the name {server_name:?}");
    failure(FailureReason::TlsCertificate, &detail)
}

fn failure(reason: FailureReason, detail: &dyn fmt::Display) -> Failure {
    Failure::new(reason, Stage::Phase(Phase::Tls), excerpt(&detail.to_string(), MAX_DETAIL))
}

/// Whether a record of TLS can begin with `byte`, its content type (RFC 8446, section 5.1).
const fn is_tls(byte: u8) -> bool {
    matches!(byte, 20..=24)
}

/// Returns the first line of `bytes` if it is text.
fn plain_text(bytes: &[u8]) -> Option<&str> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let is_text = !line.is_empty() && line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    if is_text { std::str::from_utf8(line).ok() } else { None }
}

fn alert_fault(alert: AlertDescription, remedy: Remedy) -> String {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            NOTHING_IN_COMMON.to_owned()
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        AlertDescription::UnrecognisedName => {
            format!("the server knows no host of this name (SNI){}", remedy.unknown_name)
        }
        alert => format!("the server ended the handshake with the alert {}", name_of_alert(alert)),
    }
}

/// Says what is wrong with the server's certificate or with one above it.
fn certificate_fault(error: &CertificateError, seen: &Seen, server_name: &str, remedy: Remedy) -> String {
    let Remedy { untrusted, unusual, .. } = remedy;
    let certificate = seen.certificate.as_ref().and_then(Certificate::parse);
    let parsed = seen.certificate.as_ref().and_then(|der| x509::parse(der));
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = match certificate {
                Some(it) if it.names.is_empty() => {
                    format!("it names no host, only the subject {}", it.subject)
                }
                Some(it) => format!("it is valid for {}", it.names.join(", ")),
                None => "it is not readable".to_owned(),
            };
            format!("the certificate is not valid for {server_name}; {names}")
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            let end = time(*not_after);
            let which = if certificate.is_some_and(|it| it.expiry == Some(end)) { OWN } else { ABOVE };
            format!("{which} expired at {}", Rfc3339(end))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let start = time(*not_before);
            let which = if certificate.is_some_and(|it| it.valid_from == Some(start)) { OWN } else { ABOVE };
            format!("{which} is not valid before {}", Rfc3339(start))
        }
        CertificateError::UnknownIssuer => match certificate {
            Some(it) => {
                format!(
                    "no trusted authority has issued the certificate; its issuer is {}{untrusted}",
                    it.issuer
                )
            }
            None => format!("no trusted authority has issued the certificate{untrusted}"),
        },
        CertificateError::BadSignature => {
            format!("the certificate is not signed by the trusted authority of its issuer's name{untrusted}")
        }
        CertificateError::BadEncoding => "the certificate is not correctly encoded".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => format!(
            "a certificate of the chain is signed with {}, which this agent does not support",
            algorithm(signature_algorithm_id)
        ),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => format!(
            "a certificate of the chain is signed with {} and a key of the type {}, which this agent does not support",
            algorithm(signature_algorithm_id),
            key_type(public_key_algorithm_id)
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not meant for a server (extended key usage)".to_owned()
        }
        CertificateError::Other(other) => match parsed {
            Some(parsed) if parsed.version() != X509Version::V3 => {
                format!("the certificate is of X.509 version 1{unusual}")
            }
            Some(parsed) if x509::is_authority(&parsed) => {
                format!("the server shows a CA certificate as its own{unusual}")
            }
            _ => format!("the certificate cannot be used: {}", words(&other.0)),
        },
        other => format!("the certificate cannot be used: {}", words(other)),
    }
}

fn time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// Returns the name of `alert` as the specifications have it, such as `handshake_failure`, or its number.
pub(super) fn name_of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::Unknown(number) => number.to_string(),
        alert => words(&alert).replace(' ', "_"),
    }
}

/// Returns the words of a variant's name, without its fields: rustls has no texts for them.
fn words(variant: &dyn fmt::Debug) -> String {
    let name = format!("{variant:?}");
    let mut words = String::new();
    let mut is_after_lower = false;
    for c in name.chars().take_while(char::is_ascii_alphanumeric) {
        if is_after_lower && c.is_ascii_uppercase() {
            words.push(' ');
        }
        is_after_lower = !c.is_ascii_uppercase();
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Returns the name of a signature algorithm. `id` is the content of an `AlgorithmIdentifier`.
fn algorithm(id: &[u8]) -> String {
    named(id, |oid| {
        Some(match oid {
            "1.2.840.113549.1.1.4" => "RSA and MD5",
            "1.2.840.113549.1.1.5" => "RSA and SHA-1",
            "1.2.840.113549.1.1.10" => "RSA-PSS",
            "1.2.840.113549.1.1.11" => "RSA and SHA-256",
            "1.2.840.113549.1.1.12" => "RSA and SHA-384",
            "1.2.840.113549.1.1.13" => "RSA and SHA-512",
            "1.2.840.113549.1.1.14" => "RSA and SHA-224",
            "1.2.840.10045.4.1" => "ECDSA and SHA-1",
            "1.2.840.10045.4.3.1" => "ECDSA and SHA-224",
            "1.2.840.10045.4.3.2" => "ECDSA and SHA-256",
            "1.2.840.10045.4.3.3" => "ECDSA and SHA-384",
            "1.2.840.10045.4.3.4" => "ECDSA and SHA-512",
            "1.2.840.10040.4.3" => "DSA and SHA-1",
            "2.16.840.1.101.3.4.3.2" => "DSA and SHA-256",
            "1.2.156.10197.1.501" => "SM2 and SM3",
            "1.3.101.112" => "Ed25519",
            "1.3.101.113" => "Ed448",
            _ => return None,
        })
    })
}

/// Returns the name of a type of key. `id` is the content of an `AlgorithmIdentifier`: for an elliptic curve its second
/// object identifier names the curve.
fn key_type(id: &[u8]) -> String {
    let curve =
        Oid::from_der(id).ok().filter(|(rest, _)| rest.first() == Some(&OID_TAG)).map(|(rest, _)| rest);
    named(curve.unwrap_or(id), |oid| {
        Some(match oid {
            "1.2.840.10045.3.1.7" => "P-256",
            "1.3.132.0.34" => "P-384",
            "1.3.132.0.35" => "P-521",
            "1.3.132.0.10" => "secp256k1",
            "1.2.840.113549.1.1.1" => "RSA",
            "1.2.840.113549.1.1.10" => "RSA-PSS",
            "1.2.840.10040.4.1" => "DSA",
            "1.3.101.112" => "Ed25519",
            "1.3.101.113" => "Ed448",
            _ => return None,
        })
    })
}

/// The tag of an object identifier in DER.
const OID_TAG: u8 = 6;

/// Returns the `name` of the object identifier at the start of `der`, or its numbers.
fn named(der: &[u8], name: impl Fn(&str) -> Option<&'static str>) -> String {
    let Ok((_, oid)) = Oid::from_der(der) else { return "an unknown algorithm".to_owned() };
    let numbers = oid.to_id_string();
    name(&numbers).map_or_else(|| format!("the algorithm {numbers}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text for a fault of a certificate that could not be read.
    fn text(error: &CertificateError) -> String {
        certificate_fault(error, &Seen::default(), "cache.test", Remedy::OF_TARGET)
    }

    #[test]
    fn a_signature_algorithm_that_is_not_supported_is_named_in_words() {
        // The contents of `AlgorithmIdentifier`s, in DER.
        let ecdsa_sha512 = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04".to_vec();
        let p521 = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23".to_vec();
        let rsa_sha1 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00".to_vec();
        let private = b"\x06\x03\x2a\x03\x04".to_vec();
        let signed_with = |signature_algorithm_id| {
            text(&CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id,
                supported_algorithms: Vec::new(),
            })
        };
        let (before, after) =
            ("a certificate of the chain is signed with ", ", which this agent does not support");
        assert_eq!(signed_with(rsa_sha1), format!("{before}RSA and SHA-1{after}"));
        assert_eq!(signed_with(private), format!("{before}the algorithm 1.2.3.4{after}"));
        assert_eq!(signed_with(vec![0xff]), format!("{before}an unknown algorithm{after}"));
        let by_key = text(&CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: ecdsa_sha512,
            public_key_algorithm_id: p521,
        });
        assert_eq!(by_key, format!("{before}ECDSA and SHA-512 and a key of the type P-521{after}"));
    }

    #[test]
    fn alerts_have_the_names_of_the_specification() {
        assert_eq!(name_of_alert(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(name_of_alert(AlertDescription::HandshakeFailure), "handshake_failure");
        assert_eq!(name_of_alert(AlertDescription::Unknown(200)), "200");
    }

    #[test]
    fn what_has_no_text_of_its_own_is_said_in_words_without_fields() {
        let error = CertificateError::UnhandledCriticalExtension;
        assert_eq!(text(&error), "the certificate cannot be used: unhandled critical extension");
        assert_eq!(words(&rustls::InvalidMessage::MissingData("a field")), "missing data");
    }

    #[test]
    fn only_a_line_of_printable_characters_is_plain_text() {
        assert_eq!(plain_text(b"-ERR no\r\n\xff"), Some("-ERR no"));
        assert_eq!(plain_text(b"\x15\x03\x01"), None);
        assert_eq!(plain_text(b""), None);
        assert_eq!(plain_text(b"\r\n"), None);
    }
}
