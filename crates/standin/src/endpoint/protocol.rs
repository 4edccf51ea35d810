//! The protocols of the identity endpoint: which requests are valid, and the exact shape of the responses.
//!
//! Which host has which endpoint is in `hosts.rs`, Entra's token service in `token_service.rs`.

mod certificate;
mod hosts;
mod token_service;

use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fault::TokenFault;
use super::{Principal, RequestRecord, Shared};
use crate::TOKEN_PROXY_NAME;
use crate::authority::Token;
pub use hosts::ManagedHost;

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
    ManagedIdentity(ManagedHost),
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
    /// The field and the value that named the identity, for hosts that repeat it.
    asked: Option<(&'static str, String)>,
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
    /// The header `WWW-Authenticate`.
    challenge: Option<String>,
    /// When the token expires in seconds since 1970, and in how many seconds that is.
    expiry: (u64, u64),
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
        ["client_id", "clientid", "object_id", "principal_id", "mi_res_id", "msi_res_id"]
            .into_iter()
            .find_map(|name| Some((name, self.field(name)?)))
    }

    /// Whether this is the first of the two requests of Azure Arc.
    pub(super) fn is_to_be_challenged(&self) -> bool {
        let is_arc = *self.scheme == Scheme::Http && self.head.uri.path() == ManagedHost::Arc.path();
        is_arc && self.header("authorization").is_none()
    }

    /// Validates the request.
    pub(super) fn check<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let tenant = shared.authority.tenant_id();
        let path = self.head.uri.path();
        match self.scheme {
            Scheme::Http => match ManagedHost::ALL.into_iter().find(|host| host.path() == path) {
                Some(host) => self.check_host(host, shared),
                None => Err(TokenResponse::not_found()),
            },
            Scheme::Https { .. } if path == format!("/{tenant}/oauth2/v2.0/token") => {
                self.check_token_service(shared)
            }
            Scheme::Https { .. } if path.ends_with("/oauth2/v2.0/token") => Err(TokenResponse::no_tenant()),
            Scheme::TokenProxy if path == format!("/token-proxy/{tenant}/oauth2/v2.0/token") => {
                self.check_token_service(shared)
            }
            Scheme::Https { .. } | Scheme::TokenProxy => Err(TokenResponse::not_found()),
        }
    }
}

impl TokenResponse {
    fn new(status: u16, body: Value) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, challenge: None, expiry: (0, 0), body }
    }

    fn not_found() -> Self {
        Self::new(404, json!({"error": "not_found"}))
    }

    /// Returns a first response of Azure Arc that asks for no key.
    pub(super) fn unchallenged() -> Self {
        Self::new(200, json!({}))
    }

    /// Returns the first response of Azure Arc, with this header `WWW-Authenticate`.
    pub(super) fn challenge(header: Option<String>) -> Self {
        let body = json!({"error": "unauthorized", "error_description": "A key is required."});
        Self { challenge: header, ..Self::new(401, body) }
    }

    /// Returns the token as its protocol does: managed identities send every value as a string, the token service
    /// sends numbers.
    pub(super) fn granted(approval: &Approval<'_>, token: &Token, now: SystemTime) -> Self {
        let secret = token.secret.expose();
        let end = token.expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = token.expires_at.duration_since(now).unwrap_or_default().as_secs();
        let (audience, client_id) = (&approval.audience, &approval.principal.client_id);
        let mut body = match approval.protocol {
            Protocol::ManagedIdentity(ManagedHost::AppService) => json!({
                "access_token": secret,
                "client_id": client_id,
                "expires_on": end.to_string(),
                "resource": audience,
                "token_type": "Bearer",
            }),
            // The only one with a number.
            Protocol::ManagedIdentity(ManagedHost::MachineLearning) => json!({
                "access_token": secret,
                "client_id": client_id,
                "expires_on": end,
                "resource": audience,
                "token_type": "Bearer",
            }),
            Protocol::ManagedIdentity(ManagedHost::Imds | ManagedHost::Arc | ManagedHost::CloudShell) => {
                json!({
                    "access_token": secret,
                    "client_id": client_id,
                    "expires_in": left.to_string(),
                    "expires_on": end.to_string(),
                    "ext_expires_in": left.to_string(),
                    "not_before": end.saturating_sub(left).to_string(),
                    "refresh_token": "",
                    "resource": audience,
                    "token_type": "Bearer",
                })
            }
            Protocol::TokenService => json!({
                "access_token": secret,
                "expires_in": left,
                "ext_expires_in": left,
                "token_type": "Bearer",
            }),
        };
        if let (Some((name, id)), Protocol::ManagedIdentity(ManagedHost::Arc)) =
            (&approval.asked, approval.protocol)
        {
            body[*name] = json!(id);
        }
        Self { expiry: (end, left), ..Self::new(200, body) }
    }

    pub(super) fn into_http(mut self, fault: Option<&TokenFault>) -> Response<Full<Bytes>> {
        if let (Some(fault), Some(fields)) = (fault, self.body.as_object_mut()) {
            fault.change(fields, self.expiry.0, self.expiry.1);
        }
        let mut text = self.body.to_string();
        if fault == Some(&TokenFault::Truncated) {
            text.truncate(text.len() / 2);
        }
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Some(header) = self.challenge.and_then(|header| HeaderValue::from_str(&header).ok()) {
            headers.insert(WWW_AUTHENTICATE, header);
        }
        response
    }
}
