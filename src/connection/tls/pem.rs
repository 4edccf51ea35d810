//! PEM files: the certificates and the private key in them.

use std::borrow::Cow;
use std::fmt;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::x509;
use crate::files::without_mark;

/// Returns the certificates in `pem`, at least one.
///
/// # Errors
/// [`PemError`] if there is none, or one that is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&without_headers(without_mark(pem))) {
        let certificate = certificate.map_err(|_| PemError::Damaged)?;
        if x509::parse(&certificate).is_none() {
            return Err(PemError::DamagedCertificate { number: certificates.len() + 1 });
        }
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err(PemError::NoCertificate) } else { Ok(certificates) }
}

/// Returns the first private key in `pem`: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// [`PemError`] if there is none, or one that is damaged or encrypted.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let is_encrypted = |pem: &[u8]| {
        let text = String::from_utf8_lossy(pem);
        text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    };
    match PrivateKeyDer::pem_slice_iter(without_mark(pem)).next() {
        _ if is_encrypted(pem) => Err(PemError::EncryptedKey),
        Some(Ok(key)) => Ok(key),
        Some(Err(_)) => Err(PemError::Damaged),
        None => Err(PemError::NoKey),
    }
}

/// Returns `chain`, which starts with the owner's certificate, together with its private key in `pem`.
///
/// # Errors
/// [`PemError`] if `pem` holds no key that can be used, or another than that of the certificate.
pub fn certified_key(chain: Vec<CertificateDer<'static>>, pem: &[u8]) -> Result<CertifiedKey, PemError> {
    let key = any_supported_type(&private_key(pem)?).map_err(|_| PemError::UnsupportedKey)?;
    let own = chain.first().ok_or(PemError::NoCertificate)?;
    let own = x509::parse(own).ok_or(PemError::DamagedCertificate { number: 1 })?;
    if key.public_key().is_none_or(|public| *public != *own.public_key().raw) {
        return Err(PemError::OtherKey);
    }
    Ok(CertifiedKey::new(chain, key))
}

/// Returns `pem` without the headers of encrypted keys, such as `Proc-Type: 4,ENCRYPTED`, which the parser takes for damage,
/// also if only the certificates beside the key are wanted.
fn without_headers(pem: &[u8]) -> Cow<'_, [u8]> {
    let lines = || pem.split_inclusive(|byte| *byte == b'\n');
    if lines().any(|line| line.starts_with(b"Proc-Type:")) {
        lines().filter(|line| !line.contains(&b':')).collect::<Vec<_>>().concat().into()
    } else {
        pem.into()
    }
}

/// The content of a PEM file cannot be used. The text follows the name of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemError {
    /// There is a section without an end, or one that is not base64.
    Damaged,
    /// There is no section with a certificate.
    NoCertificate,
    /// A section does not contain a certificate.
    DamagedCertificate {
        /// Which one, from 1.
        number: usize,
    },
    /// There is no section with a private key.
    NoKey,
    /// The private key is encrypted.
    EncryptedKey,
    /// The private key is damaged, or of a type that is not supported.
    UnsupportedKey,
    /// The private key is not that of the certificate.
    OtherKey,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("is damaged PEM"),
            Self::NoCertificate => f.write_str("holds no certificate in PEM (BEGIN CERTIFICATE)"),
            Self::DamagedCertificate { number } => write!(f, "is damaged at certificate {number}"),
            Self::NoKey => f.write_str("holds no private key in PEM (BEGIN PRIVATE KEY)"),
            Self::EncryptedKey => f.write_str("holds an encrypted private key; decrypt it with `openssl pkey`"),
            Self::UnsupportedKey => f.write_str(
                "holds a private key of a type that is not supported; supported are P-256, P-384, Ed25519 and RSA of \
                 2,048 to 4,096 bits",
            ),
            Self::OtherKey => f.write_str("holds another private key than that of the certificate"),
        }
    }
}

impl std::error::Error for PemError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::Authority;

    /// The start of what `openssl rsa -aes256 -traditional` writes.
    const ENCRYPTED_PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                                   DEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";

    #[test]
    fn certificates_that_are_missing_or_damaged_are_an_error() {
        let error = |text: &[u8]| certificates(text).unwrap_err().to_string();
        assert_eq!(error(b""), "holds no certificate in PEM (BEGIN CERTIFICATE)");
        assert_eq!(error(b"\x30\x82"), "holds no certificate in PEM (BEGIN CERTIFICATE)");
        assert_eq!(error(b"-----BEGIN CERTIFICATE-----\nMIIB\n"), "is damaged PEM");
        let other = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert_eq!(error((Authority::new().pem() + other).as_bytes()), "is damaged at certificate 2");
    }

    #[test]
    fn certificates_beside_an_encrypted_key_and_after_a_byte_order_mark_are_read() {
        let certificate = Authority::new().pem();
        assert_eq!(certificates(format!("{ENCRYPTED_PKCS1}{certificate}").as_bytes()).unwrap().len(), 1);
        assert_eq!(certificates(format!("\u{feff}{certificate}").as_bytes()).unwrap().len(), 1);
        let key = "\u{feff}-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        assert!(private_key(key.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_that_is_missing_damaged_or_encrypted_is_an_error() {
        let error = |text: &str| private_key(text.as_bytes()).unwrap_err();
        assert_eq!(error(&Authority::new().pem()), PemError::NoKey);
        assert_eq!(error("-----BEGIN PRIVATE KEY-----\nMIIB\n"), PemError::Damaged);
        let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!((error(pkcs8), error(ENCRYPTED_PKCS1)), (PemError::EncryptedKey, PemError::EncryptedKey));
    }
}
