//! The faults of a request for a token.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

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
    /// Managed identity: `expires_on` is a number, where Azure sends a string.
    NumericExpiry,
    /// This field of the response is missing.
    WithoutField(&'static str),
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

    /// Returns the status 429 with `Retry-After: seconds`.
    #[must_use]
    pub fn throttled(seconds: u32) -> Self {
        Self::Status { code: 429, retry_after: Some(seconds), body: ErrorBody::Json }
    }
}

/// The body of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// JSON, as Azure sends it.
    Json,
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
