//! Why there is no page: as text, and for people who look at the endpoint in a browser as a page.

use std::fmt;

use hyper::StatusCode;

use super::route::Route;

/// Why a request gets no page.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    /// What is wrong, in words.
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(super) fn bad_request(error: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }

    /// There is no such path among `routes`.
    pub(super) fn not_found(routes: &[Route]) -> Self {
        let routes = routes.iter().map(|route| route.as_str()).collect::<Vec<_>>().join(" ");
        Self::new(StatusCode::NOT_FOUND, format!("not found: try {routes}"))
    }
}
