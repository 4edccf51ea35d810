//! The response of an identity endpoint that contains a token.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::super::claims::Claims;
use super::super::expiry::expires_at;
use super::super::{ManagedIdentityId, Token};
use super::Host;
use crate::files::without_mark;
use crate::secret::Secret;

/// A response with a token. `token_type` and `resource` say nothing new, and some endpoints leave them out.
pub(in crate::identity) struct Reply(Map<String, Value>);

/// Which identity a response says that it is of, compared with the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// The same, or none was asked for.
    Same,
    /// It names none, or only by another kind of id.
    Missing,
    /// Another one.
    Other,
}

impl Reply {
    /// Parses a response.
    pub(in crate::identity) fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let fields: Map<String, Value> =
            serde_json::from_slice(without_mark(body)).map_err(|_| "the response is not a JSON object")?;
        match fields.get("access_token") {
            Some(Value::String(token)) if !token.is_empty() => Ok(Self(fields)),
            _ => Err("the response contains no token"),
        }
    }

    /// Compares the identity that the response names with `asked`, like with like.
    pub(super) fn echo(&self, asked: &ManagedIdentityId) -> Echo {
        match (asked, self.echoed(asked)) {
            (ManagedIdentityId::System, _) => Echo::Same,
            (_, None) => Echo::Missing,
            (
                ManagedIdentityId::ClientId(id)
                | ManagedIdentityId::ObjectId(id)
                | ManagedIdentityId::ResourceId(id),
                Some(echoed),
            ) => {
                if echoed.eq_ignore_ascii_case(id) {
                    Echo::Same
                } else {
                    Echo::Other
                }
            }
        }
    }

    fn echoed(&self, asked: &ManagedIdentityId) -> Option<&str> {
        let names: &[&str] = match asked {
            ManagedIdentityId::System => &[],
            ManagedIdentityId::ClientId(_) => &["client_id"],
            ManagedIdentityId::ObjectId(_) => &["object_id"],
            ManagedIdentityId::ResourceId(_) => &["msi_res_id", "mi_res_id"],
        };
        names.iter().find_map(|name| self.0.get(*name)?.as_str().filter(|id| !id.is_empty()))
    }

    /// Returns the words for a token of another identity than `asked`.
    pub(super) fn other_identity(&self, asked: &ManagedIdentityId, host: Host) -> String {
        let (ManagedIdentityId::ClientId(id)
        | ManagedIdentityId::ObjectId(id)
        | ManagedIdentityId::ResourceId(id)) = asked
        else {
            return String::new();
        };
        match self.echoed(asked) {
            Some(other) => {
                format!("{host} returned a token of another identity: asked for {id}, got {other}")
            }
            None => format!(
                "{host} does not say that its token is one of {id}: its agent is too old for user-assigned identities and \
                 returns the token of the system-assigned one"
            ),
        }
    }

    /// Returns the token.
    pub(in crate::identity) fn token(mut self, now: SystemTime) -> Result<Token, &'static str> {
        let Some(Value::String(token)) = self.0.remove("access_token") else { return Err("it has gone") };
        let secret = Secret::new(token);
        let claim = Claims::of(secret.expose()).expires_at();
        let expires_at = expires_at(&self.0, claim, now)
            .ok_or("neither the response nor the token says when it expires")?;
        Ok(Token::new(secret, expires_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(response: &str, asked: &ManagedIdentityId) -> Echo {
        let response = format!(r#"{{"access_token":"t",{response}}}"#);
        Reply::parse(response.as_bytes()).unwrap().echo(asked)
    }

    #[test]
    fn an_echoed_id_is_compared_with_the_one_that_was_asked_for_like_with_like() {
        let client = ManagedIdentityId::ClientId("AbC".into());
        let object = ManagedIdentityId::ObjectId("abc".into());
        let resource = ManagedIdentityId::ResourceId("/subscriptions/x".into());
        for (response, asked, expected) in [
            (r#""client_id":"aBc""#, &client, Echo::Same),
            (r#""client_id":"abd""#, &client, Echo::Other),
            (r#""client_id":"""#, &client, Echo::Missing),
            (r#""client_id":7"#, &client, Echo::Missing),
            (r#""object_id":"abd""#, &client, Echo::Missing),
            (r#""client_id":"abd""#, &object, Echo::Missing),
            (r#""object_id":"ABC""#, &object, Echo::Same),
            (r#""msi_res_id":"/Subscriptions/X""#, &resource, Echo::Same),
            (r#""mi_res_id":"/subscriptions/x""#, &resource, Echo::Same),
            (r#""mi_res_id":"/subscriptions/y""#, &resource, Echo::Other),
            (r#""client_id":"abd""#, &ManagedIdentityId::System, Echo::Same),
        ] {
            assert_eq!(echo(response, asked), expected, "{response} {asked:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        assert!(Reply::parse("\u{feff}{\"access_token\":\"t\"}".as_bytes()).is_ok());
    }

    #[test]
    fn a_response_without_a_token_is_an_error() {
        for body in ["", "[]", r#"["t"]"#, "\"t\"", "<html>"] {
            assert_eq!(
                Reply::parse(body.as_bytes()).err(),
                Some("the response is not a JSON object"),
                "{body}"
            );
        }
        for body in ["{}", r#"{"access_token":""}"#, r#"{"access_token":5}"#] {
            assert_eq!(Reply::parse(body.as_bytes()).err(), Some("the response contains no token"), "{body}");
        }
    }
}
