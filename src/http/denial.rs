//! The response to a request that the guard denies, as Prometheus' exporters write it.

use std::io;

use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::body::Encoded;
use crate::guard::Denied;

/// Returns the response to a request that is `denied`.
pub(super) fn denial(denied: Denied) -> Response<Encoded> {
    let code = match denied {
        Denied::Unauthorized => StatusCode::UNAUTHORIZED,
        Denied::RateLimited | Denied::Busy => StatusCode::TOO_MANY_REQUESTS,
    };
    let text = format!("{}\n", code.canonical_reason().unwrap_or_default());
    let content: Encoded = Box::new(io::Cursor::new(text));
    let mut response = Response::new(content);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match denied {
        Denied::Unauthorized => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic")),
        Denied::RateLimited | Denied::Busy => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
    };
    response
}
