//! The page behind each route. No page contains secrets or the addresses of clients.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead};

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};

use super::Liveness;
use super::accept::Accepted;
use super::body::{Content, Encoded, gzip};
use super::query::Query;
use super::route::{Found, READ, Route};
use super::{discovery, probe};
use crate::metrics::Metrics;
use crate::status::{ClusterDocument, Filter, NOT_REQUESTED, Status, StatusDocument, TargetDocument};

/// The type of error pages.
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

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
    /// The routes that are served.
    pub routes: &'static [Route],
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

    pub(super) fn bad_request(error: impl fmt::Display) -> Self {
        Self::text(StatusCode::BAD_REQUEST, &error.to_string())
    }

    /// Metrics in the format that was accepted.
    pub(super) fn metrics(accepted: &Accepted, content: impl BufRead + Send + 'static) -> Self {
        Self {
            code: StatusCode::OK,
            content_type: accepted.content_type(),
            content: Box::new(content),
            vary: "Accept, Accept-Encoding",
        }
    }

    fn not_found(routes: &[Route]) -> Self {
        let routes = routes.iter().map(|route| route.as_str()).collect::<Vec<_>>().join(" ");
        Self::text(StatusCode::NOT_FOUND, &format!("not found: try {routes}"))
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
        let mut page = if !methods.contains(&request.method().as_str()) {
            let allowed = methods.join(", ");
            Page::text(StatusCode::METHOD_NOT_ALLOWED, &format!("method not allowed: use {allowed}"))
        } else if let Some(found) = found {
            let page = self.page(&found, Query::of(request.uri()), request.headers()).await;
            page.unwrap_or_else(|refusal| refusal)
        } else {
            Page::not_found(self.routes)
        };
        let zipped = compress && page.content.fill_buf()?.len() >= GZIP_FROM;
        let mut response = Response::new(if zipped { gzip(page.content) } else { page.content });
        *response.status_mut() = page.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&page.content_type).map_err(io::Error::other)?);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static(page.vary));
        if zipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if page.code == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_str(&methods.join(", ")).map_err(io::Error::other)?);
        }
        if page.content_type == Route::Overview.content_type() {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        Ok(response)
    }

    /// Returns the page that was found.
    ///
    /// # Errors
    /// A page that says why there is none.
    async fn page(&self, found: &Found<'_>, query: Query<'_>, headers: &HeaderMap) -> Result<Page, Page> {
        let route = found.route;
        let is_served = match route {
            Route::Metrics | Route::Status | Route::Live | Route::Ready => true,
            // About targets, which there are none of.
            Route::Overview | Route::Target | Route::Probe | Route::Discovery => !self.status.is_waiting(),
        };
        if !is_served {
            return Err(Page::check(false, "waiting for a valid configuration: /status says what is wrong"));
        }
        Ok(match route {
            Route::Overview => {
                let body = overview(&self.status.document()).into_bytes();
                Page::new(StatusCode::OK, route.content_type(), body)
            }
            Route::Target => {
                let mut document = self.status.document();
                document.targets.retain(|target| target.target == found.name);
                if document.targets.is_empty() {
                    return Err(Page::text(
                        StatusCode::NOT_FOUND,
                        "not found: there is no target of this name",
                    ));
                }
                Page::new(StatusCode::OK, route.content_type(), overview(&document).into_bytes())
            }
            Route::Metrics => {
                let accepted = Accepted::new(headers);
                Page::metrics(&accepted, self.metrics.exposition(accepted.format))
            }
            Route::Status => {
                let filter = filter(query)?;
                match serde_json::to_vec_pretty(&self.status.selected(&filter)) {
                    Ok(body) => Page::new(StatusCode::OK, route.content_type(), body),
                    Err(error) => Page::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
            Route::Probe => probe::page(&self.status, query, headers)?,
            Route::Discovery => {
                let Some(address) = discovery::own_address(headers) else {
                    return Err(Page::bad_request("Host: expected a host, with or without a port"));
                };
                let body = discovery::list(&address, &self.status.names());
                Page::new(StatusCode::OK, route.content_type(), body)
            }
            Route::Live if self.liveness.is_alive().await => Page::check(true, "alive"),
            Route::Live => Page::check(false, "not alive: the probing loop does not respond"),
            Route::Ready => {
                let readiness = self.status.readiness();
                Page::check(readiness.is_ready(), &readiness.to_string())
            }
        })
    }
}

/// Returns the targets that `q` and `state` select.
///
/// # Errors
/// A page that says what is wrong with them.
fn filter(query: Query<'_>) -> Result<Filter, Page> {
    let parameter = |name| query.get(name).map_err(Page::bad_request);
    Filter::new(&parameter("q")?, &parameter("state")?).map_err(Page::bad_request)
}

/// Returns the page `/`, for people.
fn overview(document: &StatusDocument) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>cachepulse</title>\n\
         <style>body{{font:16px sans-serif;margin:2em}}td,th{{text-align:left;padding:.2em 1em .2em 0}}\
         .up{{color:#17722b}}.down{{color:#b3261e;font-weight:bold}}</style></head><body>\n\
         <h1>cachepulse {}</h1>\n<p>{}</p>\n<p>{}</p>\n\
         <table><tr><th>target</th><th>endpoint</th><th>state</th><th>since</th><th>server</th>\
         <th>maintenance</th><th>new connections</th><th>last failure</th></tr>\n",
        document.version,
        escape(&document.readiness),
        links(),
    );
    for target in &document.targets {
        row(&mut html, target);
    }
    html.push_str("</table>\n");
    for target in &document.targets {
        if let Some(cluster) = &target.cluster {
            shards(&mut html, &target.target, cluster);
        }
    }
    html.push_str("</body></html>\n");
    html
}

/// Returns links to the other pages.
fn links() -> String {
    let is_linked = |route: &Route| !matches!(route, Route::Overview | Route::Target | Route::Probe);
    let others = Route::ALL.into_iter().filter(is_linked);
    let link =
        |route: Route| format!("<a href=\"{route}\" title=\"{}\">{route}</a>", escape(route.meaning()));
    others.map(link).collect::<Vec<_>>().join(" ")
}

fn row(html: &mut String, target: &TargetDocument) {
    let failure = target.failures.first().and_then(|outcome| Some((outcome.time, outcome.failure.as_ref()?)));
    let failure = failure.map_or_else(String::new, |(time, failure)| {
        format!("{time}: {} at {}: {}", failure.reason, failure.stage, failure.detail)
    });
    let new_connection =
        target.new_connection.as_ref().map_or_else(String::new, |probed| match &probed.failure {
            None => "up".to_owned(),
            Some(failure) => {
                format!(
                    "down ({} in a row): {} at {}",
                    probed.consecutive_failures, failure.reason, failure.stage
                )
            }
        });
    let server = target.server.as_ref().map(ToString::to_string);
    let sentinel = target.sentinel.as_ref().map(|sentinel| format!("sentinel: {sentinel}"));
    let server = server.into_iter().chain(sentinel).collect::<Vec<_>>().join("; ");
    let maintenance =
        target.maintenance.as_ref().map_or_else(|| NOT_REQUESTED.to_owned(), ToString::to_string);
    let state = target.state.as_str();
    // Writing to a string cannot fail.
    let _ = writeln!(
        html,
        "<tr><td>{}</td><td>{}</td><td class=\"{state}\">{state}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td></tr>",
        escape(&target.target),
        escape(&target.endpoint),
        target.since,
        escape(&server),
        escape(&maintenance),
        escape(&new_connection),
        escape(&failure),
    );
}

/// Writes what is known of the cluster that is the target called `name`.
fn shards(html: &mut String, name: &str, cluster: &ClusterDocument) {
    // Writing to a string cannot fail.
    let _ = writeln!(html, "<h2>{}</h2>\n<p>{}</p>", escape(name), escape(&cluster.to_string()));
    for failure in cluster.topology_failure.iter().chain(&cluster.replica_failure) {
        let _ = writeln!(html, "<p>{}</p>", escape(&failure.to_string()));
    }
    html.push_str(
        "<table><tr><th>shard</th><th>slots</th><th>role</th><th>state</th><th>since</th><th>address</th>\
         <th>last failure</th></tr>\n",
    );
    for node in &cluster.shards {
        let state = node.state.as_str();
        let failure = node.last_failure.as_ref().map_or_else(String::new, ToString::to_string);
        let behind = node.staleness_seconds.map_or_else(String::new, |age| format!(", {age:.3} s behind"));
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}{behind}</td><td class=\"{state}\">{state}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            node.shard,
            node.slots,
            node.role,
            node.since,
            escape(node.address.as_deref().unwrap_or_default()),
            escape(&failure),
        );
    }
    html.push_str("</table>\n");
}

/// Escapes `text` for use in an element or attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_texts_is_escaped() {
        assert_eq!(escape(r#"<b a="1" c='2'>&"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
    }
}
