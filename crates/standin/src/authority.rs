//! The token authority: signs tokens that look like Entra's, and verifies them as a cache does.
//!
//! It signs with ES256 where Azure uses RS256, because ring generates no RSA keys; only this authority verifies the
//! signature. `endpoint.rs` decides who gets a token, `front.rs` which tokens open a session.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::secret::Secret;

/// The audiences of a token for a cache: the resource's name, or its application id.
/// Source: Microsoft Learn, "Use Microsoft Entra ID for cache authentication".
pub const CACHE_AUDIENCES: [&str; 2] = ["https://redis.azure.com", "acca5fbb-b7e4-4009-81f1-37e38fd66d78"];

/// The audience of a Kubernetes service account's token that is exchanged.
pub const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// The audience of one that the proxy of AKS identity bindings exchanges.
pub const BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// How far before its issue Entra's tokens become valid, for clocks that run slow.
const BACKDATED: Duration = Duration::from_secs(300);

/// Signs and verifies tokens.
pub struct Authority {
    key: EcdsaKeyPair,
    random: SystemRandom,
    tenant_id: String,
    clock: Clock,
}

/// The content of a token to sign.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// The claim `oid`; `None` leaves it out, as no real token does.
    pub object_id: Option<&'a str>,
    /// The claim `appid`.
    pub client_id: &'a str,
    /// The claim `aud`; see [`CACHE_AUDIENCES`].
    pub audience: &'a str,
    /// When it is issued.
    pub issued_at: SystemTime,
    /// How long it is valid, in whole seconds.
    pub lifetime: Duration,
}

/// A signed token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The JWT.
    pub secret: Secret,
    /// When it expires.
    pub expires_at: SystemTime,
    /// The claim `oid`: the object id of the identity.
    pub object_id: Option<Arc<str>>,
}

/// The claims of a verified token. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The audience.
    pub aud: String,
    /// The issuer.
    pub iss: String,
    /// When it was issued.
    pub iat: u64,
    /// It is not valid before this.
    pub nbf: u64,
    /// It is not valid from this on.
    pub exp: u64,
    /// The object id of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<String>,
    /// The client id of the identity.
    pub appid: String,
    /// The tenant.
    pub tid: String,
    /// The kind of identity: always `app`.
    pub idtyp: String,
    /// Random, so that no two tokens are equal, and as long as it takes for the length of real tokens.
    aio: String,
}

impl Claims {
    /// Returns when the token expires.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.exp)
    }
}

/// Why a sign-in is rejected. The client does not learn the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is not a token.
    Malformed,
    /// Another key signed it, or it was changed.
    Signature,
    /// It is for another audience.
    Audience,
    /// It is not valid yet.
    NotYetValid,
    /// It has expired.
    Expired,
    /// It names another user, or none.
    User,
    /// Its user has no access policy on this cache.
    NoPolicy,
    /// It came over a connection without TLS.
    Plaintext,
    /// It is not one of the access keys.
    AccessKey,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a token",
            Self::Signature => "bad signature",
            Self::Audience => "token for another audience",
            Self::NotYetValid => "token not valid yet",
            Self::Expired => "token expired",
            Self::User => "token of another user",
            Self::NoPolicy => "user without an access policy",
            Self::Plaintext => "token over a connection without TLS",
            Self::AccessKey => "wrong access key",
        })
    }
}

impl Authority {
    /// Returns an authority for `tenant_id` with a new key.
    pub fn new(tenant_id: impl Into<String>, clock: Clock) -> io::Result<Self> {
        let random = SystemRandom::new();
        let failed = |_| io::Error::other("cannot generate the token-signing key");
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|_| io::Error::other("cannot load the token-signing key"))?;
        Ok(Self { key, random, tenant_id: tenant_id.into(), clock })
    }

    /// Returns the tenant's id.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Returns the wall-clock time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns how long it is until `time`; zero if it has passed.
    #[must_use]
    pub fn until(&self, time: SystemTime) -> Duration {
        self.clock.until(time)
    }

    /// Signs a token.
    pub fn mint(&self, grant: &Grant<'_>) -> io::Result<Token> {
        let issued = whole_seconds(grant.issued_at);
        let mut padding = [0; 768];
        self.fill(&mut padding)?;
        let claims = Claims {
            aud: grant.audience.to_owned(),
            iss: format!("https://sts.windows.net/{}/", self.tenant_id),
            iat: issued,
            nbf: issued.saturating_sub(BACKDATED.as_secs()),
            exp: issued.saturating_add(grant.lifetime.as_secs()),
            oid: grant.object_id.map(str::to_owned),
            appid: grant.client_id.to_owned(),
            tid: self.tenant_id.clone(),
            idtyp: "app".to_owned(),
            aio: BASE64.encode(padding),
        };
        let header = BASE64.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let payload = BASE64.encode(serde_json::to_vec(&claims)?);
        let signed = format!("{header}.{payload}");
        let signature = self
            .key
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| io::Error::other("cannot sign the token"))?;
        let jwt = format!("{signed}.{}", BASE64.encode(signature));
        Ok(Token {
            secret: Secret::new(jwt),
            expires_at: claims.expires_at(),
            object_id: claims.oid.map(Arc::from),
        })
    }

    /// Verifies that a token is this authority's, for one of `audiences`, and valid now.
    pub fn verify(&self, jwt: &str, audiences: &[&str]) -> Result<Claims, Rejection> {
        let (signed, signature) = jwt.rsplit_once('.').ok_or(Rejection::Malformed)?;
        let (_header, payload) = signed.split_once('.').ok_or(Rejection::Malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| Rejection::Malformed);
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| Rejection::Signature)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Rejection::Malformed)?;
        let now = whole_seconds(self.clock.now());
        if !audiences.contains(&claims.aud.as_str()) {
            Err(Rejection::Audience)
        } else if now < claims.nbf {
            Err(Rejection::NotYetValid)
        } else if now >= claims.exp {
            Err(Rejection::Expired)
        } else {
            Ok(claims)
        }
    }

    /// Returns a new random secret, such as an access key.
    pub fn new_secret(&self) -> io::Result<Secret> {
        let mut bytes = [0; 32];
        self.fill(&mut bytes)?;
        Ok(Secret::new(BASE64.encode(bytes)))
    }

    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.random.fill(bytes).map_err(|_| io::Error::other("the system returned no random numbers"))
    }
}

fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(now: SystemTime) -> Grant<'static> {
        Grant {
            object_id: Some("oid-1"),
            client_id: "app-1",
            audience: CACHE_AUDIENCES[0],
            issued_at: now,
            lifetime: Duration::from_secs(60),
        }
    }

    fn authority() -> Authority {
        Authority::new("tenant-1", Clock::system()).unwrap()
    }

    #[test]
    fn a_token_has_the_claims_of_its_grant_and_the_length_of_real_ones() {
        let authority = authority();
        let token = authority.mint(&grant(authority.now())).unwrap();
        let claims = authority.verify(token.secret.expose(), &CACHE_AUDIENCES).unwrap();
        assert_eq!((claims.oid.as_deref(), claims.appid.as_str()), (Some("oid-1"), "app-1"));
        assert_eq!((claims.tid.as_str(), claims.idtyp.as_str()), ("tenant-1", "app"));
        assert_eq!((claims.exp - claims.iat, claims.iat - claims.nbf), (60, 300));
        assert_eq!(token.expires_at, claims.expires_at());
        assert_eq!(token.object_id.as_deref(), Some("oid-1"));
        assert!((1400..2000).contains(&token.secret.expose().len()), "{}", token.secret.expose().len());
    }

    #[test]
    fn two_tokens_are_never_the_same() {
        let authority = authority();
        let now = authority.now();
        assert_ne!(authority.mint(&grant(now)).unwrap().secret, authority.mint(&grant(now)).unwrap().secret);
    }

    #[test]
    fn a_changed_token_is_rejected() {
        let authority = authority();
        let token = authority.mint(&grant(authority.now())).unwrap();
        let jwt = token.secret.expose();
        let parts: Vec<&str> = jwt.split('.').collect();
        let mut claims: serde_json::Value =
            serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
        claims["oid"] = "oid-2".into();
        let forged = format!("{}.{}.{}", parts[0], BASE64.encode(claims.to_string()), parts[2]);
        assert_eq!(authority.verify(&forged, &CACHE_AUDIENCES), Err(Rejection::Signature));
    }

    #[test]
    fn a_token_signed_by_another_key_is_rejected() {
        let (authority, other) = (authority(), authority());
        let token = other.mint(&grant(other.now())).unwrap();
        assert_eq!(authority.verify(token.secret.expose(), &CACHE_AUDIENCES), Err(Rejection::Signature));
    }

    #[test]
    fn a_token_for_another_audience_is_rejected() {
        let authority = authority();
        let elsewhere = Grant { audience: "https://vault.azure.net", ..grant(authority.now()) };
        let token = authority.mint(&elsewhere).unwrap();
        assert_eq!(authority.verify(token.secret.expose(), &CACHE_AUDIENCES), Err(Rejection::Audience));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_valid_from_five_minutes_before_its_issue_until_its_expiry() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let began = tokio::time::Instant::now();
        let clock = Clock::new(move || start + began.elapsed());
        let authority = Authority::new("tenant-1", clock).unwrap();
        let later = authority.mint(&grant(start + Duration::from_secs(301))).unwrap();
        let verify = |token: &Token| authority.verify(token.secret.expose(), &CACHE_AUDIENCES).map(|_| ());
        assert_eq!(verify(&later), Err(Rejection::NotYetValid));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(verify(&later), Ok(()));
        tokio::time::advance(Duration::from_secs(359)).await;
        assert_eq!(verify(&later), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(verify(&later), Err(Rejection::Expired));
    }

    #[test]
    fn a_text_that_is_not_a_token_is_malformed() {
        let authority = authority();
        for text in ["", "a", "a.b", "a.b.c.", "..", "a.!.c"] {
            let rejection = authority.verify(text, &CACHE_AUDIENCES).unwrap_err();
            assert!(matches!(rejection, Rejection::Malformed | Rejection::Signature), "{text}");
        }
    }
}
