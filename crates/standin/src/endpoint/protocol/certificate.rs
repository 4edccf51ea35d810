//! The assertion that a service principal signs with the key of its certificate.
//!
//! Source: Microsoft Learn, "Microsoft identity platform application authentication certificate credentials".

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD as BASE64};
use ring::digest;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use serde::Deserialize;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::endpoint::{Principal, Settings, Shared, lock};

/// The longest time for which an assertion may be valid, in seconds.
const LONGEST: f64 = 600.0;

/// The header of an assertion.
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// The certificate's SHA-256.
    #[serde(rename = "x5t#S256")]
    sha256: Option<String>,
    /// The certificate's SHA-1, which older libraries send.
    #[serde(rename = "x5t")]
    sha1: Option<String>,
    /// The certificate and those of its issuers.
    x5c: Option<Vec<String>>,
}

/// Times are seconds since 1970, perhaps with a fraction, as MSAL for Python sends them.
#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    /// MSAL for Python sends none.
    nbf: Option<f64>,
    iat: f64,
    exp: f64,
}

/// An assertion that names a certificate.
pub(super) struct CertificateAssertion<'a> {
    header: Header,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// Why an assertion is refused: the number of Entra's error, and its words.
pub(super) type Refusal = (u32, &'static str);

const MALFORMED: Refusal = (50027, "JWT token is invalid or malformed.");
const UNKNOWN: Refusal = (
    700_027,
    "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The \
     key was not found.]",
);
const SIGNATURE: Refusal =
    (700_027, "Client assertion failed signature validation. [Reason - The key used is wrong.]");
const TIME: Refusal = (700_024, "Client assertion is not within its valid time range.");
const AUDIENCE: Refusal = (700_023, "Client assertion audience claim does not match Realm issuer.");
const ISSUER: Refusal =
    (700_021, "Client assertion application identifier doesn't match 'client_id' parameter.");

impl<'a> CertificateAssertion<'a> {
    /// Reads `jwt`; `None` if its header names no certificate.
    pub(super) fn of(jwt: &'a str) -> Option<Self> {
        let (signed, signature) = jwt.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        let names_certificate = header.sha256.is_some() || header.sha1.is_some();
        names_certificate.then_some(Self { header, signed, payload, signature })
    }

    /// Checks that the assertion is signed with a certificate that `principal` may use, and meant for the address
    /// `audience` now.
    pub(super) fn check(
        &self,
        principal: &Principal,
        audience: &str,
        shared: &Shared,
    ) -> Result<(), Refusal> {
        let now = shared.authority.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let certificate = self.certificate(&lock(&shared.settings), now)?;
        let algorithm: &dyn SignatureVerificationAlgorithm = match &*self.header.alg {
            "PS256" => webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            "RS256" => webpki::ring::RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(MALFORMED),
        };
        let signature = BASE64.decode(self.signature).map_err(|_| MALFORMED)?;
        let key = EndEntityCert::try_from(&certificate).map_err(|_| UNKNOWN)?;
        key.verify_signature(algorithm, self.signed.as_bytes(), &signature).map_err(|_| SIGNATURE)?;
        let payload = BASE64.decode(self.payload).map_err(|_| MALFORMED)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| MALFORMED)?;
        let now = now.as_secs_f64();
        if claims.aud != audience {
            Err(AUDIENCE)
        } else if [claims.iss, claims.sub].iter().any(|id| *id != principal.client_id) {
            Err(ISSUER)
        } else if claims.jti.is_empty() {
            Err(MALFORMED)
        } else if !(claims.nbf.unwrap_or(claims.iat)..claims.exp).contains(&now)
            || claims.exp - claims.iat > LONGEST
        {
            Err(TIME)
        } else {
            Ok(())
        }
    }

    /// Returns the certificate that the header names: a registered one, or one in `x5c` of a trusted issuer.
    fn certificate(&self, settings: &Settings, now: Duration) -> Result<CertificateDer<'static>, Refusal> {
        let sent =
            self.header.x5c.iter().flatten().map(|text| STANDARD.decode(text).map(CertificateDer::from));
        let sent: Vec<_> = sent.collect::<Result<_, _>>().map_err(|_| MALFORMED)?;
        if sent.first().is_some_and(|first| !self.names(first)) {
            return Err(MALFORMED);
        }
        let registered = settings.certificates.iter().map(|der| CertificateDer::from(der.clone()));
        if let Some(registered) = registered.into_iter().find(|certificate| self.names(certificate)) {
            return Ok(registered);
        }
        let issuer = settings.certificate_issuer.clone().map(CertificateDer::from).ok_or(UNKNOWN)?;
        let [own, issuers @ ..] = &*sent else { return Err(UNKNOWN) };
        let anchor = anchor_from_trusted_cert(&issuer).map_err(|_| UNKNOWN)?;
        let time = UnixTime::since_unix_epoch(now);
        let key = EndEntityCert::try_from(own).map_err(|_| UNKNOWN)?;
        let usage = KeyUsage::client_auth();
        key.verify_for_usage(ALL_VERIFICATION_ALGS, &[anchor], issuers, time, usage, None, None)
            .map_err(|_| UNKNOWN)?;
        Ok(own.clone())
    }

    /// Whether the header has the thumbprint of `certificate`. Only that of SHA-1 may be padded.
    fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        match (&self.header.sha256, &self.header.sha1) {
            (Some(sha256), _) => *sha256 == BASE64.encode(digest::digest(&digest::SHA256, certificate)),
            (None, Some(sha1)) => {
                let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
                *sha1 == BASE64.encode(hash) || *sha1 == URL_SAFE.encode(hash)
            }
            (None, None) => false,
        }
    }
}
