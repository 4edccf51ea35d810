//! The certificate of a service principal, and the statements that it signs to request tokens.
//!
//! `azure_identity` takes certificates only as PKCS#12 and with OpenSSL, and sends their chain in a form that is not that of
//! RFC 7515. So the statement is made here, and `azure_identity` only exchanges it.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{KeyPair as _, RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;

use crate::clock::Rfc3339;
use crate::connection::tls::certificate::Certificate;
use crate::connection::tls::pem::{self, PemError};
use crate::connection::tls::x509;
use crate::hex::hex;
use crate::secret::Secret;

/// How long a statement is valid. Entra recommends 5 to 10 minutes.
/// Source: Microsoft Learn, "Microsoft identity platform application authentication certificate credentials".
const LIFETIME: Duration = Duration::from_secs(600);

/// The files of a service principal's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, perhaps those of its issuers, and its private key unless that has a file of its own.
    pub file: PathBuf,
    /// The private key.
    pub key_file: Option<PathBuf>,
}

/// A service principal's certificate with its private key.
pub struct ClientCertificate {
    /// The certificate, and then the others of its file.
    chain: Vec<CertificateDer<'static>>,
    key: RsaKeyPair,
    valid_from: Option<SystemTime>,
    expiry: Option<SystemTime>,
}

impl ClientCertificate {
    /// Reads the certificate of the private key in `key`, both in PEM. Certificates of issuers may be in the same file, in
    /// any order.
    ///
    /// # Errors
    /// [`CertificateError`] if the certificate or the key is missing or cannot be used.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        Binary::of(certificate).map_or(Ok(()), |binary| Err(CertificateError::Binary(binary)))?;
        Binary::of(key).map_or(Ok(()), |binary| Err(CertificateError::BinaryKey(binary)))?;
        let mut chain = pem::certificates(certificate)?;
        let key = match pem::private_key(key)? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(CertificateError::NotRsa),
        }
        .map_err(|_| CertificateError::NotRsa)?;
        let own = chain.iter().position(|certificate| has_key(certificate, &key));
        let own = chain.remove(own.ok_or(PemError::OtherKey)?);
        let validity = Certificate::parse(&own);
        let (valid_from, expiry) = validity.map_or((None, None), |own| (own.valid_from, own.expiry));
        chain.insert(0, own);
        Ok(Self { chain, key, valid_from, expiry })
    }

    /// Returns why the certificate cannot be used at `now`, if it cannot.
    #[must_use]
    pub fn lapse(&self, now: SystemTime) -> Option<Lapse> {
        match (self.valid_from, self.expiry) {
            (Some(start), _) if now < start => Some(Lapse::NotYetValid(start)),
            (_, Some(end)) if now >= end => Some(Lapse::Expired(end)),
            _ => None,
        }
    }

    /// Returns when the certificate expires.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        self.expiry
    }

    /// Returns the thumbprint by which Azure's portal lists the certificate.
    pub(super) fn thumbprint(&self) -> String {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.chain[0]);
        hex(hash.as_ref()).to_uppercase()
    }

    /// Signs a statement for the token endpoint `audience` that this is the application `client_id`. `None` if the system
    /// has no random numbers.
    pub(super) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        send_chain: bool,
        now: SystemTime,
    ) -> Option<Secret> {
        let random = SystemRandom::new();
        let mut id = [0; 16];
        random.fill(&mut id).ok()?;
        let thumbprint = digest::digest(&digest::SHA256, &self.chain[0]);
        let mut header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": BASE64.encode(thumbprint)});
        if send_chain {
            header["x5c"] = self.chain.iter().map(|certificate| STANDARD.encode(certificate)).collect();
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": guid(id),
            "nbf": now,
            "iat": now,
            "exp": now + LIFETIME.as_secs(),
        });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
        Some(Secret::new(format!("{signed}.{}", BASE64.encode(signature))))
    }
}

/// What a file contains that is not PEM but binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// A certificate with its key (PKCS#12).
    Pkcs12,
    /// A certificate (DER).
    Certificate,
    /// A private key (DER).
    Key,
}

impl Binary {
    /// Returns what the binary `file` contains; `None` for text. Files of these kinds start with a long sequence, whose first
    /// two bytes no text has.
    fn of(file: &[u8]) -> Option<Self> {
        let [0x30, length @ 0x80..=0x84, content @ ..] = file else { return None };
        match content.get(usize::from(length - 0x80)..)? {
            // The version of PKCS#12 is 3. That of a key is 0 or 1.
            [0x02, 0x01, 0x03, ..] => Some(Self::Pkcs12),
            [0x02, ..] => Some(Self::Key),
            _ => Some(Self::Certificate),
        }
    }

    /// Returns the command that converts the file.
    const fn conversion(self) -> &'static str {
        match self {
            Self::Pkcs12 => "openssl pkcs12 -in FILE -nodes -out FILE.pem",
            Self::Certificate => "openssl x509 -inform DER -in FILE -out FILE.pem",
            Self::Key => "openssl pkey -inform DER -in FILE -out FILE.pem",
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs12 => "PKCS#12 (.pfx, .p12)",
            Self::Certificate => "a certificate in DER (.cer, .der)",
            Self::Key => "a private key in DER",
        })
    }
}

/// Whether `certificate` is that of `key`.
fn has_key(certificate: &CertificateDer<'_>, key: &RsaKeyPair) -> bool {
    let Some(certificate) = x509::parse(certificate) else { return false };
    let public = certificate.public_key();
    public.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION
        && *public.subject_public_key.data == *key.public_key().as_ref()
}

/// Returns a random (version 4) GUID of `bytes`.
fn guid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

/// A certificate is not valid now. The text follows the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// It is valid only from this time on.
    NotYetValid(SystemTime),
    /// It expired at this time.
    Expired(SystemTime),
}

impl Lapse {
    /// Returns what to do about it.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::NotYetValid(_) => {
                "Check this machine's clock, and use the previous certificate until then."
            }
            Self::Expired(_) => {
                "Renew the certificate, and add the new one to the application: in Entra ID under App registrations, \
                 Certificates & secrets, or with `az ad app credential reset --id CLIENT_ID --append --cert @FILE`. If it \
                 is not expired, check this machine's clock."
            }
        }
    }
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYetValid(start) => {
                write!(f, "holds a certificate that is not valid before {}", Rfc3339(*start))
            }
            Self::Expired(end) => write!(f, "holds a certificate that expired at {}", Rfc3339(*end)),
        }
    }
}

/// A service principal's certificate cannot be used. The text follows the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The file of the certificate is not PEM but binary.
    Binary(Binary),
    /// The file of the key is not PEM but binary.
    BinaryKey(Binary),
    /// The private key is not an RSA key that can be used.
    NotRsa,
    /// The PEM cannot be used.
    Pem(PemError),
}

impl CertificateError {
    /// Whether it is about the private key, which may have a file of its own.
    #[must_use]
    pub const fn is_of_key(self) -> bool {
        use PemError::{EncryptedKey, NoKey, OtherKey, UnsupportedKey};
        matches!(
            self,
            Self::BinaryKey(_) | Self::NotRsa | Self::Pem(NoKey | EncryptedKey | UnsupportedKey | OtherKey)
        )
    }
}

impl From<PemError> for CertificateError {
    fn from(error: PemError) -> Self {
        Self::Pem(error)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(binary) | Self::BinaryKey(binary) => {
                write!(f, "is not PEM but {binary}; convert it with `{}`", binary.conversion())
            }
            Self::NotRsa => f.write_str(
                "holds a private key that Entra ID does not take, such as one for elliptic curves; it takes RSA keys of \
                 2,048 to 4,096 bits",
            ),
            Self::Pem(PemError::EncryptedKey) => f.write_str(
                "holds an encrypted private key; decrypt it with `openssl pkey -in FILE -out key.pem`, and give that \
                 file as key_file",
            ),
            Self::Pem(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CertificateError {}

#[cfg(test)]
mod tests;
