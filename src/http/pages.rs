//! The page behind each route. No page contains secrets or the addresses of clients.

use std::borrow::Cow;
use std::io::{self, BufRead};

use flate2::Compression;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Request, Response, StatusCode, Uri};

use super::accept::{Accepted, prefers_html};
use super::body::{Content, Encoded, gzip};
use super::discovery::{self, TargetList};
use super::html::{self, View};
use super::probe;
use super::query::Query;
use super::refusal::Refusal;
use super::route::{Found, READ, Route};
use super::{Lifecycle, Liveness, Reloaded};
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::piecewise::Piecewise;
use crate::status::{Filter, Readiness, Status};

/// The type of error pages.
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// The headers of the request that a negotiated page depends on.
const NEGOTIATED: &str = "Accept, Accept-Encoding";

/// A shorter body, in bytes, fits a packet without compression.
const GZIP_FROM: usize = 1024;

/// The sources of the pages.
#[derive(Clone, Debug)]
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/status`, `/readyz` and `/`.
    pub status: Status,
    /// For `/livez`.
    pub liveness: Liveness,
    /// For `/-/reload`.
    pub lifecycle: Lifecycle,
    /// The routes that are served.
    pub routes: &'static [Route],
    /// Who is served.
    pub guard: Guard,
}

pub(super) struct Page {
    code: StatusCode,
    content_type: Cow<'static, str>,
    content: Content,
    /// The headers of the request that the content depends on.
    vary: &'static str,
}

impl Page {
    fn new(code: StatusCode, content_type: &'static str, text: Vec<u8>) -> Self {
        let content = Box::new(io::Cursor::new(text));
        Self { code, content_type: content_type.into(), content, vary: "Accept-Encoding" }
    }

    pub(super) fn text(code: StatusCode, text: &str) -> Self {
        Self::new(code, TEXT_TYPE, format!("{text}\n").into_bytes())
    }

    /// Metrics in the format that was accepted.
    pub(super) fn metrics(accepted: &Accepted, content: impl BufRead + Send + 'static) -> Self {
        Self::long(accepted.content_type(), NEGOTIATED, content)
    }

    /// A page that is written while it is sent.
    fn long(
        content_type: Cow<'static, str>,
        vary: &'static str,
        content: impl BufRead + Send + 'static,
    ) -> Self {
        Self { code: StatusCode::OK, content_type, content: Box::new(content), vary }
    }

    /// A page for people.
    fn html(code: StatusCode, page: String) -> Self {
        Self::new(code, Route::Overview.content_type(), page.into_bytes())
    }

    /// A page that says whether something holds.
    fn check(holds: bool, text: &str) -> Self {
        Self::text(if holds { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

impl Pages {
    /// Responds to `request`, whose body is never read; compressed, if that is worth it and `compress` allows it. hyper
    /// omits the body of a response to HEAD.
    pub(super) async fn respond<B>(
        &self,
        request: &Request<B>,
        compress: bool,
    ) -> io::Result<Response<Encoded>> {
        let found = Route::of(request.uri().path()).filter(|found| self.routes.contains(&found.route));
        let methods = found.as_ref().map_or(READ, |found| found.route.methods());
        let allowed = (!methods.contains(&request.method().as_str())).then(|| methods.join(", "));
        let page = match (&allowed, &found) {
            (Some(allowed), _) => {
                let text = format!("method not allowed: use {allowed}");
                Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text))
            }
            (None, Some(found)) => self.page(found, request.uri(), request.headers()).await,
            (None, None) => Err(Refusal::not_found(self.routes)),
        };
        let mut page = page.unwrap_or_else(|refusal| match found {
            Some(Found { route, .. }) if !route.is_for_people() => Page::text(refusal.code, &refusal.text),
            _ => self.refusal(&refusal, request),
        });
        let zipped = compress && page.content.fill_buf()?.len() >= GZIP_FROM;
        let is_html = page.content_type == Route::Overview.content_type();
        // Pages for people are rare, and their pictures are not repetitive.
        let level = if is_html { Compression::default() } else { Compression::fast() };
        let mut response = Response::new(if zipped { gzip(page.content, level) } else { page.content });
        *response.status_mut() = page.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&page.content_type).map_err(io::Error::other)?);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static(page.vary));
        if zipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(allowed) = allowed {
            headers.insert(ALLOW, HeaderValue::from_str(&allowed).map_err(io::Error::other)?);
        }
        if is_html {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
            // For browsers that do not know frame-ancestors.
            headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("deny"));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
        Ok(response)
    }

    /// Returns the page that says why there is no page for people: for them if they look at it.
    fn refusal<B>(&self, refusal: &Refusal, request: &Request<B>) -> Page {
        // Nobody looks at the endpoint of health.
        let is_for_people = self.routes.contains(&Route::Overview) && prefers_html(request.headers());
        let page = if is_for_people {
            Page::html(refusal.code, html::refusal(refusal, request.uri().path()))
        } else {
            Page::text(refusal.code, &refusal.text)
        };
        Page { vary: NEGOTIATED, ..page }
    }

    /// Returns the page that was found.
    async fn page(&self, found: &Found<'_>, uri: &Uri, headers: &HeaderMap) -> Result<Page, Refusal> {
        let (route, query) = (found.route, Query::of(uri));
        let is_served = match route {
            Route::Overview | Route::Metrics | Route::Status | Route::Reload | Route::Live | Route::Ready => {
                true
            }
            // About targets, which there are none of.
            Route::Target | Route::Probe | Route::Discovery => !self.status.is_waiting(),
        };
        if !is_served {
            let text = "waiting for a valid configuration: /status says what is wrong";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        Ok(match route {
            Route::Overview => {
                let (filter, view, overview) = (filter(query)?, view(query)?, self.status.overview());
                let code = match overview.readiness {
                    Readiness::Unconfigured => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::OK,
                };
                Page::html(code, html::overview(&overview, &filter, &view))
            }
            Route::Target => {
                let (view, now) = (view(query)?, self.status.now());
                let Some(details) = self.status.details(&found.name, now) else {
                    let text = "not found: there is no target of this name";
                    return Err(Refusal::new(StatusCode::NOT_FOUND, text));
                };
                Page::html(StatusCode::OK, html::target(&details, now, &view))
            }
            Route::Metrics => {
                let accepted = Accepted::new(headers);
                Page::metrics(&accepted, self.metrics.exposition(accepted.format))
            }
            Route::Status => {
                let text = self.status.text(filter(query)?);
                let text =
                    text.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
                Page::long(route.content_type().into(), "Accept-Encoding", text)
            }
            Route::Probe => probe::page(&self.status, query, headers)?,
            Route::Discovery => {
                let Some(address) = discovery::own_address(uri, headers) else {
                    return Err(Refusal::bad_request("Host: expected a host, with or without a port"));
                };
                let has_tls = self.guard.newest().tls.is_some();
                let list = TargetList::new(address, has_tls, self.status.names());
                Page::long(route.content_type().into(), "Accept-Encoding", Piecewise::new(list))
            }
            Route::Reload => self.reload().await,
            Route::Live if self.liveness.is_alive().await => Page::check(true, "alive"),
            Route::Live => Page::check(false, "not alive: the probing loop does not respond"),
            Route::Ready => {
                let readiness = self.status.readiness();
                Page::check(readiness.is_ready(), &readiness.to_string())
            }
        })
    }

    async fn reload(&self) -> Page {
        if !self.lifecycle.is_enabled() {
            let text = "Lifecycle API is not enabled: set http.lifecycle to true and restart the agent";
            return Page::text(StatusCode::FORBIDDEN, text);
        }
        let rejected = |text: &str| Page::text(StatusCode::INTERNAL_SERVER_ERROR, text);
        match self.lifecycle.reload().await {
            Some(Reloaded::Accepted) => Page::text(StatusCode::OK, "configuration reloaded"),
            Some(Reloaded::Rejected) => {
                let [config, web_config] = self.status.rejections();
                let config = config.map(|detail| format!("configuration rejected: {detail}"));
                let web_config = web_config.map(|detail| format!("web configuration rejected: {detail}"));
                let details: Vec<String> = [config, web_config].into_iter().flatten().collect();
                // What the status does not show, this page does not show either.
                if details.is_empty() {
                    rejected("configuration rejected: the log says why")
                } else {
                    rejected(&details.join("\n"))
                }
            }
            Some(Reloaded::NoFile) => rejected("there is no configuration file to load"),
            None => Page::check(false, "the reload has no result yet: see the log"),
        }
    }
}

/// Returns the targets that `q` and `state` select.
///
/// # Errors
/// If they cannot be used.
fn filter(query: Query<'_>) -> Result<Filter, Refusal> {
    let parameter = |name| query.get(name).map_err(Refusal::bad_request);
    Filter::new(&parameter("q")?, &parameter("state")?).map_err(Refusal::bad_request)
}

/// Returns how a page for people is to be shown.
///
/// # Errors
/// If the parameters cannot be used.
fn view(query: Query<'_>) -> Result<View, Refusal> {
    View::new(|name| query.get(name)).map_err(Refusal::bad_request)
}
