//! The faults of a request for a token.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};

use super::expiry::ExpiryForm;

/// A fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The response has this status, whatever was requested.
    Status {
        /// The status code.
        code: u16,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u32>,
        /// The body.
        body: ErrorBody,
    },
    /// There is no response.
    Hang,
    /// The connection is reset.
    Reset,
    /// The JSON ends in the middle.
    Truncated,
    /// Fields of the response have these values, or with `None` are missing.
    Fields(Vec<(&'static str, Option<Value>)>),
    /// The response says in this form when the token expires.
    Expiry(ExpiryForm),
    /// Azure Arc challenges in this way. Other faults apply to the response with the token.
    Challenge(Challenge),
    /// The token has no object id.
    WithoutObjectId,
    /// The token has this object id.
    ObjectId(String),
    /// The token expired a second ago.
    Expired,
    /// The token is valid for this long.
    Lifetime(Duration),
    /// The token is the same as the last time, if there was one.
    SameToken,
}

impl TokenFault {
    /// Returns the status `code` with an error in JSON, as Azure sends it.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None, body: ErrorBody::Json }
    }

    /// Returns a response without the field `name`.
    #[must_use]
    pub fn without(name: &'static str) -> Self {
        Self::Fields(vec![(name, None)])
    }

    /// Returns a response in which the field `name` has this value.
    #[must_use]
    pub fn with(name: &'static str, value: impl Into<Value>) -> Self {
        Self::Fields(vec![(name, Some(value.into()))])
    }

    /// Whether this is a fault of any response, a challenge of Azure Arc, too.
    pub(super) fn is_of_challenges(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Hang | Self::Reset | Self::Challenge(_))
    }

    /// Changes the fields of a response with a token that is valid for `left` seconds and expires at `end`, in seconds
    /// since 1970.
    pub(super) fn change(&self, fields: &mut Map<String, Value>, end: u64, left: u64) {
        match self {
            Self::Fields(changes) => {
                for (name, value) in changes {
                    match value {
                        Some(value) => fields.insert((*name).to_owned(), value.clone()),
                        None => fields.remove(*name),
                    };
                }
            }
            Self::Expiry(form) => form.apply(fields, end, left),
            _ => {}
        }
    }

    /// Returns the status 429 with `Retry-After: seconds`.
    #[must_use]
    pub fn throttled(seconds: u32) -> Self {
        Self::Status { code: 429, retry_after: Some(seconds), body: ErrorBody::Json }
    }
}

/// How Azure Arc challenges, against the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// There is no challenge: the first response has the status 200.
    None,
    /// Without the header `WWW-Authenticate`.
    WithoutHeader,
    /// With a key in another folder.
    OtherFolder,
    /// With a key that is one byte too long.
    LongKey,
    /// With a key that ends with a line break.
    LineBreak,
    /// With the path of a key that does not exist.
    NoFile,
}

/// The body of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// JSON, as Azure sends it.
    Json,
    /// JSON, as the metadata service sends it if an identity is not assigned to the machine.
    NoIdentity,
    /// JSON, as a Kubernetes API server sends it that does not let the service account pass.
    Kubernetes,
    /// A page, as proxies and gateways send it.
    Html,
    /// Nothing.
    Empty,
}

impl ErrorBody {
    pub(super) fn response(self, code: u16, retry_after: Option<u32>) -> Response<Full<Bytes>> {
        let (kind, body) = match self {
            Self::Json => (
                Some("application/json; charset=utf-8"),
                r#"{"error":"server_error","error_description":"The request could not be served."}"#,
            ),
            Self::NoIdentity => (
                Some("application/json; charset=utf-8"),
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
            ),
            Self::Kubernetes => (
                Some("application/json"),
                r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"use-managed-identity is forbidden","reason":"Forbidden","code":403}"#,
            ),
            Self::Html => (Some("text/html"), "<html><body><h1>Service Unavailable</h1></body></html>"),
            Self::Empty => (None, ""),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(kind) = kind {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
