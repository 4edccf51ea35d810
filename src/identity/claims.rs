//! The claims of a token that the agent reads. Only the cache verifies the signature.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use serde_json::{Map, Value};

use super::Token;

/// The longest resource id that is kept, in bytes.
const RESOURCE_ID_LENGTH: usize = 512;

/// The claims of a JSON Web Token.
#[derive(Debug, Default)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Reads the claims of `jwt`. A token that is not a JWT has none.
    pub(super) fn of(jwt: &str) -> Self {
        Self::read(jwt).unwrap_or_default()
    }

    fn read(jwt: &str) -> Option<Self> {
        let payload = jwt.split('.').nth(1)?;
        let json =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        Some(Self(serde_json::from_slice(&json).ok()?))
    }

    /// Returns the claim `oid`: the identity's object id, if it is one printable word that is not too long.
    pub(super) fn object_id(&self) -> Option<Arc<str>> {
        self.word("oid", Token::OBJECT_ID_LENGTH)
    }

    /// Returns the claim `appid`: the identity's client id.
    pub(super) fn client_id(&self) -> Option<Arc<str>> {
        self.word("appid", Token::OBJECT_ID_LENGTH)
    }

    /// Returns the claim `xms_mirid`: the Azure resource id of a user-assigned managed identity, or of the machine or
    /// application whose system-assigned identity it is.
    pub(super) fn resource_id(&self) -> Option<Arc<str>> {
        self.word("xms_mirid", RESOURCE_ID_LENGTH)
    }

    /// Returns a claim that is one printable word of at most `limit` bytes.
    fn word(&self, name: &str, limit: usize) -> Option<Arc<str>> {
        let word = self.0.get(name)?.as_str()?;
        let fits = (1..=limit).contains(&word.len());
        (fits && word.bytes().all(|byte| byte.is_ascii_graphic())).then(|| word.into())
    }

    /// Returns the claim `exp`: when the token expires.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(self.0.get("exp")?.as_u64()?);
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    }

    /// Whether the claim `aud` is `audience`, or a list that contains it.
    pub(super) fn has_audience(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|one| one == audience),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        let encode = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
        Claims::of(&format!("{}.{}.signature", encode("{}"), encode(json)))
    }

    fn object_id(json: &str) -> Option<String> {
        claims(json).object_id().map(|id| id.to_string())
    }

    #[test]
    fn the_user_name_comes_from_the_claim_oid() {
        assert_eq!(object_id(r#"{"oid":"7c3a","sub":"x"}"#).as_deref(), Some("7c3a"));
    }

    #[test]
    fn a_token_without_an_oid_has_no_user_name() {
        for json in ["{}", r#"{"oid":""}"#, r#"{"oid":1}"#, "[]", "x"] {
            assert_eq!(object_id(json), None, "{json}");
        }
        for token in ["", "opaque", "a.b.c", "a.!!.c"] {
            assert_eq!(Claims::of(token).object_id(), None, "{token}");
        }
    }

    #[test]
    fn an_oid_with_spaces_or_control_characters_or_too_long_is_ignored() {
        let named = |oid: &str| object_id(&serde_json::json!({ "oid": oid }).to_string());
        assert!(named(&"x".repeat(Token::OBJECT_ID_LENGTH)).is_some());
        for oid in
            ["7c3a 8b", "7c3a\nlevel=error", "\u{1b}[31m", "ö", &"x".repeat(Token::OBJECT_ID_LENGTH + 1)]
        {
            assert_eq!(named(oid), None, "{oid:?}");
        }
    }

    #[test]
    fn the_identity_that_answered_has_a_client_id_and_a_resource_id() {
        let found = claims(r#"{"appid":"c1","xms_mirid":"/subscriptions/0/x"}"#);
        assert_eq!(found.client_id().as_deref(), Some("c1"));
        assert_eq!(found.resource_id().as_deref(), Some("/subscriptions/0/x"));
        let none = claims(&format!(r#"{{"appid":"two words","xms_mirid":"{}"}}"#, "x".repeat(513)));
        assert_eq!((none.client_id(), none.resource_id()), (None, None));
    }

    #[test]
    fn the_expiry_is_a_number_of_seconds() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(claims(r#"{"exp":1700000000}"#).expires_at(), Some(expected));
        for json in ["{}", r#"{"exp":"soon"}"#, r#"{"exp":-1}"#, r#"{"exp":18446744073709551615}"#] {
            assert_eq!(claims(json).expires_at(), None, "{json}");
        }
    }

    #[test]
    fn an_audience_may_be_one_of_several() {
        assert!(claims(r#"{"aud":"a"}"#).has_audience("a"));
        assert!(claims(r#"{"aud":["b","a"]}"#).has_audience("a"));
        assert!(!claims(r#"{"aud":"ab"}"#).has_audience("a") && !claims("{}").has_audience("a"));
    }
}
