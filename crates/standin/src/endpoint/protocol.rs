//! The protocols of the identity endpoint: which requests are valid, and the exact shape of the responses.
//!
//! Source: Microsoft Learn, "How to use managed identities for App Service", "How to use managed identities on a virtual
//! machine to acquire an access token", "OAuth 2.0 client credentials flow".

use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fault::TokenFault;
use super::{Principal, RequestRecord, Shared};
use crate::TOKEN_PROXY_NAME;
use crate::authority::{BINDING_AUDIENCE, CACHE_AUDIENCES, EXCHANGE_AUDIENCE, Rejection, Token};

/// How a request came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// App Service and IMDS.
    Http,
    /// Entra's token service.
    Https {
        /// The name in SNI.
        server_name: Option<String>,
    },
    /// The proxy of AKS identity bindings.
    TokenProxy,
}

/// The protocol of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    AppService,
    Imds,
    TokenService,
}

/// A request for a token.
pub(super) struct TokenRequest<'a> {
    scheme: &'a Scheme,
    head: &'a Parts,
    /// The query, or with POST the form.
    fields: Vec<(String, String)>,
}

/// A valid request, which gets a token.
pub(super) struct Approval<'a> {
    pub(super) principal: &'a Principal,
    pub(super) audience: String,
    protocol: Protocol,
}

impl Approval<'_> {
    pub(super) fn is_managed_identity(&self) -> bool {
        self.protocol != Protocol::TokenService
    }
}

/// A response, before faults change it.
pub(super) struct TokenResponse {
    status: StatusCode,
    body: Value,
}

impl<'a> TokenRequest<'a> {
    pub(super) fn new(scheme: &'a Scheme, head: &'a Parts, body: &[u8]) -> Self {
        let source =
            if head.method == Method::POST { body } else { head.uri.query().unwrap_or_default().as_bytes() };
        Self { scheme, head, fields: form_urlencoded::parse(source).into_owned().collect() }
    }

    pub(super) fn record(&self) -> RequestRecord {
        let identity = self.identity_field().map(|(_, value)| value.to_owned());
        let (method, path) = (self.head.method.to_string(), self.head.uri.path().to_owned());
        let server_name = match self.scheme {
            Scheme::Http => None,
            Scheme::Https { server_name } => server_name.clone(),
            Scheme::TokenProxy => Some(TOKEN_PROXY_NAME.to_owned()),
        };
        let host = self.header("host").map(str::to_owned);
        RequestRecord { at: Instant::now(), method, path, identity, host, server_name }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Returns the field that names an identity, under any of its names.
    fn identity_field(&self) -> Option<(&'static str, &str)> {
        ["client_id", "object_id", "principal_id", "mi_res_id", "msi_res_id"]
            .into_iter()
            .find_map(|name| Some((name, self.field(name)?)))
    }

    /// Validates the request.
    pub(super) fn check<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let tenant = shared.authority.tenant_id();
        match (self.scheme, self.head.uri.path()) {
            (Scheme::Http, "/msi/token") => self.check_app_service(shared),
            (Scheme::Http, "/metadata/identity/oauth2/token") => self.check_imds(shared),
            (Scheme::Https { .. }, path) if path == format!("/{tenant}/oauth2/v2.0/token") => {
                self.check_token_service(shared)
            }
            (Scheme::Https { .. }, path) if path.ends_with("/oauth2/v2.0/token") => {
                Err(entra(400, "invalid_request", 90002, "Tenant not found."))
            }
            (Scheme::TokenProxy, path) if path == format!("/token-proxy/{tenant}/oauth2/v2.0/token") => {
                self.check_token_service(shared)
            }
            _ => Err(TokenResponse::new(404, json!({"error": "not_found"}))),
        }
    }

    fn check_app_service<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let refuse = |status: u16, message: &str| {
            Err(TokenResponse::new(status, json!({"statusCode": status, "message": message})))
        };
        if self.head.method != Method::GET {
            return refuse(405, "The method is not allowed.");
        }
        if self.header("x-identity-header") != Some(shared.header.expose()) {
            return refuse(401, "The header X-IDENTITY-HEADER is missing or wrong.");
        }
        if self.field("api-version") != Some("2019-08-01") {
            return refuse(400, "The api-version is missing or not supported.");
        }
        let Some(audience) = self.field("resource").filter(|resource| CACHE_AUDIENCES.contains(resource))
        else {
            return refuse(400, "The resource is missing or unknown.");
        };
        let Some(principal) = self.managed_identity(shared) else {
            return refuse(400, "No managed identity was found for the specified id.");
        };
        Ok(Approval { principal, audience: audience.to_owned(), protocol: Protocol::AppService })
    }

    fn check_imds<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let refuse = |error: &str, description: &str| {
            Err(TokenResponse::new(400, json!({"error": error, "error_description": description})))
        };
        if self.head.method != Method::GET {
            return refuse("bad_request_102", "The method is not allowed");
        }
        if !self.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return refuse("invalid_request", "Required metadata header not specified");
        }
        if self.head.headers.contains_key("x-forwarded-for") {
            return refuse("invalid_request", "The header X-Forwarded-For is not allowed");
        }
        if self.field("api-version").is_none() {
            return refuse("invalid_request", "Required query variable 'api-version' is missing");
        }
        let Some(resource) = self.field("resource") else {
            return refuse("invalid_request", "Required query variable 'resource' is missing");
        };
        if !CACHE_AUDIENCES.contains(&resource) {
            return refuse(
                "invalid_resource",
                "AADSTS500011: The resource principal was not found in the tenant.",
            );
        }
        let Some(principal) = self.managed_identity(shared) else {
            return refuse("invalid_request", "Identity not found");
        };
        Ok(Approval { principal, audience: resource.to_owned(), protocol: Protocol::Imds })
    }

    fn managed_identity<'s>(&self, shared: &'s Shared) -> Option<&'s Principal> {
        let requested = self.identity_field();
        shared.principals.iter().find(|principal| match requested {
            None => principal.system_assigned,
            Some(("client_id", id)) => principal.client_id == id,
            Some(("object_id" | "principal_id", id)) => principal.object_id == id,
            Some((_, id)) => principal.resource_id.as_deref() == Some(id),
        })
    }

    fn check_token_service<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
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
        Ok(Approval { principal, audience: audience.to_owned(), protocol: Protocol::TokenService })
    }

    /// Checks that a federated token is this authority's, for exchange, for this application, and valid now.
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

impl TokenResponse {
    fn new(status: u16, body: Value) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body }
    }

    /// Returns the token as its protocol does: managed identities send every value as a string, the token service
    /// sends numbers.
    pub(super) fn granted(approval: &Approval<'_>, token: &Token, now: SystemTime) -> Self {
        let secret = token.secret.expose();
        let end = token.expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = token.expires_at.duration_since(now).unwrap_or_default().as_secs();
        let (audience, client_id) = (&approval.audience, &approval.principal.client_id);
        let body = match approval.protocol {
            Protocol::AppService => json!({
                "access_token": secret,
                "client_id": client_id,
                "expires_on": end.to_string(),
                "resource": audience,
                "token_type": "Bearer",
            }),
            Protocol::Imds => json!({
                "access_token": secret,
                "client_id": client_id,
                "expires_in": left.to_string(),
                "expires_on": end.to_string(),
                "ext_expires_in": left.to_string(),
                "not_before": end.saturating_sub(left).to_string(),
                "refresh_token": "",
                "resource": audience,
                "token_type": "Bearer",
            }),
            Protocol::TokenService => json!({
                "access_token": secret,
                "expires_in": left,
                "ext_expires_in": left,
                "token_type": "Bearer",
            }),
        };
        Self::new(200, body)
    }

    pub(super) fn into_http(mut self, fault: Option<&TokenFault>) -> Response<Full<Bytes>> {
        if let (Some(fault), Some(fields)) = (fault, self.body.as_object_mut()) {
            match fault {
                TokenFault::NumericExpiry => {
                    let number =
                        fields.get("expires_on").and_then(Value::as_str).and_then(|text| text.parse().ok());
                    if let Some(number) = number {
                        fields.insert("expires_on".to_owned(), Value::Number(number));
                    }
                }
                TokenFault::WithoutField(name) => {
                    fields.remove(*name);
                }
                _ => {}
            }
        }
        let mut text = self.body.to_string();
        if fault == Some(&TokenFault::Truncated) {
            text.truncate(text.len() / 2);
        }
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        response
    }
}
