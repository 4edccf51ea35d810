//! Entra's token service, and the proxy of AKS identity bindings in its place.
//!
//! Source: Microsoft Learn, "OAuth 2.0 client credentials flow"; Azure/azure-workload-identity.

use hyper::Method;
use serde_json::json;

use super::certificate::CertificateAssertion;
use super::{Approval, Protocol, Scheme, TokenRequest, TokenResponse};
use crate::authority::{BINDING_AUDIENCE, CACHE_AUDIENCES, EXCHANGE_AUDIENCE, Rejection};
use crate::endpoint::{Principal, Shared};

impl TokenResponse {
    pub(super) fn no_tenant() -> Self {
        entra(400, "invalid_request", 90002, "Tenant not found.")
    }
}

impl TokenRequest<'_> {
    /// Returns the addresses of the tenant's endpoints, if this asks for them, as MSAL does before its first request.
    pub(in crate::endpoint) fn discovery(&self, shared: &Shared) -> Option<TokenResponse> {
        let tenant = shared.authority.tenant_id();
        let is_asked = self.head.uri.path() == format!("/{tenant}/v2.0/.well-known/openid-configuration");
        let Scheme::Https { .. } = self.scheme else { return None };
        let base = format!("https://{}/{tenant}", self.header("host")?);
        is_asked.then(|| {
            let document = json!({
                "issuer": format!("{base}/v2.0"),
                "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
                "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            });
            TokenResponse::new(200, document)
        })
    }

    pub(super) fn check_token_service<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        if self.head.method != Method::POST {
            return Err(entra(400, "invalid_request", 900_561, "The endpoint only accepts POST requests."));
        }
        let is_form = self
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if !is_form || self.field("grant_type").is_none() {
            return Err(entra(400, "invalid_request", 900_144, "The body must contain 'grant_type'."));
        }
        if self.field("grant_type") != Some("client_credentials") {
            return Err(entra(400, "unsupported_grant_type", 70003, "The grant type is not supported."));
        }
        let audience = self
            .field("scope")
            .and_then(|scope| scope.strip_suffix("/.default"))
            .filter(|resource| CACHE_AUDIENCES.contains(resource))
            .ok_or_else(|| {
                entra(400, "invalid_scope", 70011, "The provided value for 'scope' is not valid.")
            })?;
        let principal = self
            .field("client_id")
            .and_then(|id| shared.principals.iter().find(|principal| principal.client_id == id))
            .ok_or_else(|| {
                entra(400, "unauthorized_client", 700_016, "The application was not found in the directory.")
            })?;
        match (self.field("client_assertion"), self.field("client_secret")) {
            (Some(assertion), _) => self.check_assertion(shared, principal, assertion)?,
            (None, Some(secret)) if secret == shared.client_secret.expose() => {}
            (None, Some(_)) => {
                return Err(entra(401, "invalid_client", 7_000_215, "Invalid client secret provided."));
            }
            (None, None) => {
                return Err(entra(
                    401,
                    "invalid_client",
                    7_000_216,
                    "'client_assertion' or 'client_secret' is required.",
                ));
            }
        }
        let protocol = Protocol::TokenService;
        Ok(Approval { principal, audience: audience.to_owned(), asked: None, protocol })
    }

    /// Checks an assertion: one that the application signed, or a federated token, which must be this authority's, for
    /// exchange, for this application, and valid now.
    fn check_assertion(
        &self,
        shared: &Shared,
        principal: &Principal,
        assertion: &str,
    ) -> Result<(), TokenResponse> {
        if self.field("client_assertion_type")
            != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        {
            return Err(entra(400, "invalid_request", 900_144, "The 'client_assertion_type' is wrong."));
        }
        if let (Scheme::Https { .. }, Some(signed)) = (self.scheme, CertificateAssertion::of(assertion)) {
            let host = self.header("host").unwrap_or_default();
            let address = format!("https://{host}{}", self.head.uri.path());
            let checked = signed.check(principal, &address, shared);
            return checked.map_err(|(code, words)| entra(401, "invalid_client", code, words));
        }
        let audience = match self.scheme {
            Scheme::TokenProxy => BINDING_AUDIENCE,
            Scheme::Http | Scheme::Https { .. } => EXCHANGE_AUDIENCE,
        };
        let refused = match shared.authority.verify(assertion, &[audience]) {
            Ok(claims) if claims.appid == principal.client_id => return Ok(()),
            // An API server does not know the account, and says so in its own words.
            Err(_) if *self.scheme == Scheme::TokenProxy => {
                return Err(kubernetes(401, "Unauthorized", "Unauthorized"));
            }
            Err(Rejection::Expired | Rejection::NotYetValid) => {
                let words = "Client assertion is not within its valid time range.";
                return Err(entra(401, "invalid_client", 700_024, words));
            }
            Ok(_) => (700_213, "subject"),
            Err(Rejection::Signature) => (700_211, "issuer"),
            Err(Rejection::Audience) => (700_212, "audience"),
            Err(_) => (70_021, "issuer, subject and audience"),
        };
        let (code, what) = refused;
        let words = format!("No matching federated identity record found for presented assertion {what}.");
        Err(entra(400, "invalid_client", code, &words))
    }
}

/// Returns an error of a Kubernetes API server.
fn kubernetes(status: u16, reason: &str, message: &str) -> TokenResponse {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    });
    TokenResponse::new(status, body)
}

/// Returns an error of Entra's token service. The real ones also have a timestamp.
fn entra(status: u16, error: &str, code: u32, words: &str) -> TokenResponse {
    TokenResponse::new(
        status,
        json!({
            "error": error,
            "error_description": format!("AADSTS{code}: {words}"),
            "error_codes": [code],
            "trace_id": "00000000-0000-0000-0000-000000000000",
            "correlation_id": "00000000-0000-0000-0000-000000000000",
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        }),
    )
}
