//! What a server's certificate says of itself. Whether it is trusted is decided in `verifier.rs`.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use super::x509;
use crate::excerpt::excerpt;

/// The longest name that is kept, in characters. The server chose it, so it is bounded.
const NAME_LENGTH: usize = 200;

/// A certificate's own words: each one line, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it was issued to, such as `CN=cache.example`. Empty in many certificates, which have only names.
    pub subject: String,
    /// The host names and addresses that it is valid for.
    pub names: Vec<String>,
    /// The authority that issued it.
    pub issuer: String,
    /// When it becomes valid.
    pub valid_from: Option<SystemTime>,
    /// When it expires.
    pub expiry: Option<SystemTime>,
}

impl Certificate {
    /// Reads `certificate`; `None` if it is not one.
    #[must_use]
    pub fn parse(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = x509::parse(certificate)?;
        let names = x509::alternative_names(&certificate).ok().flatten().unwrap_or_default();
        Some(Self {
            subject: excerpt(&x509::name(certificate.subject()), NAME_LENGTH),
            names: names.iter().filter_map(host).collect(),
            issuer: excerpt(&x509::name(certificate.issuer()), NAME_LENGTH),
            valid_from: time(certificate.validity().not_before),
            expiry: time(certificate.validity().not_after),
        })
    }
}

/// When `certificate` expires.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    time(x509::parse(certificate)?.validity().not_after)
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(excerpt(name, NAME_LENGTH)),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())).ok()
}

fn time(time: ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(time.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_names_issuer_and_expiry_are_read() {
        let mut params =
            rcgen::CertificateParams::new(["cache.test".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "cache\u{1b}[31m");
        params.not_before = rcgen::date_time_ymd(2100, 1, 1);
        params.not_after = rcgen::date_time_ymd(2101, 1, 1);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::parse(certificate.der()).unwrap();
        assert_eq!(read.names, ["cache.test", "127.0.0.1"]);
        assert_eq!(read.valid_from, Some(rcgen::date_time_ymd(2100, 1, 1).into()));
        assert_eq!(read.expiry, Some(rcgen::date_time_ymd(2101, 1, 1).into()));
        assert!(read.subject.starts_with("CN=cache") && !read.subject.contains('\u{1b}'), "{read:?}");
        assert_eq!(read.issuer, read.subject, "it signed itself");
    }

    #[test]
    fn bytes_that_are_no_certificate_are_none() {
        assert_eq!(Certificate::parse(&CertificateDer::from_slice(b"\x30\x82")), None);
    }
}
