//! What each path answers. No page says anything that `/metrics` and the log may not say: no secrets, no clients'
//! addresses.

use std::fmt::Write as _;
use std::io;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::Liveness;
use super::body::{Content, Text, gzip};
use super::encoding::accepts_gzip;
use crate::metrics::Metrics;
use crate::status::{Readiness, Status, StatusDocument, TargetDocument};

/// Prometheus' text format. It is what every `Accept` of Prometheus takes, protobuf first or not; and Prometheus 3
/// marks a target down that does not name its type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";
const HTML_TYPE: &str = "text/html; charset=utf-8";

/// A body under this many bytes fits a packet anyway.
const GZIP_FROM: usize = 1024;

/// What the pages are made of.
#[derive(Clone, Debug)]
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/status`, `/readyz` and `/`.
    pub status: Status,
    /// For `/livez`.
    pub liveness: Liveness,
}

struct Page {
    code: StatusCode,
    content_type: &'static str,
    content: Content,
}

impl Page {
    fn new(code: StatusCode, content_type: &'static str, text: Vec<u8>) -> Self {
        Self { code, content_type, content: Box::new(io::Cursor::new(text)) }
    }

    fn text(code: StatusCode, text: &str) -> Self {
        Self::new(code, TEXT_TYPE, format!("{text}\n").into_bytes())
    }
}

impl Pages {
    /// Answers `request`; its body is never read. hyper leaves out the body of an answer to HEAD.
    pub(super) async fn respond<B>(&self, request: &Request<B>) -> io::Result<Response<Text>> {
        let mut page = if matches!(*request.method(), Method::GET | Method::HEAD) {
            self.page(request.uri().path()).await
        } else {
            Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
        };
        let zipped = page.content.fill_buf()?.len() >= GZIP_FROM && accepts_gzip(request.headers());
        let mut response = Response::new(if zipped { gzip(page.content) } else { page.content });
        *response.status_mut() = page.code;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if zipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if page.code == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if page.content_type == HTML_TYPE {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        Ok(response)
    }

    async fn page(&self, path: &str) -> Page {
        match path {
            "/metrics" => {
                let content = Box::new(self.metrics.exposition());
                Page { code: StatusCode::OK, content_type: METRICS_TYPE, content }
            }
            "/livez" if self.liveness.is_alive().await => Page::text(StatusCode::OK, "alive"),
            "/livez" => {
                Page::text(StatusCode::SERVICE_UNAVAILABLE, "not alive: the probing loop does not answer")
            }
            "/readyz" => {
                let readiness = self.status.readiness();
                let ready = readiness == Readiness::Ready;
                let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Page::text(code, &readiness.to_string())
            }
            "/status" => match serde_json::to_vec_pretty(&self.status.document()) {
                Ok(body) => Page::new(StatusCode::OK, JSON_TYPE, body),
                Err(error) => Page::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
            "/" => {
                let body = overview(&self.status.document()).into_bytes();
                Page::new(StatusCode::OK, HTML_TYPE, body)
            }
            _ => Page::text(StatusCode::NOT_FOUND, "not found: try / /metrics /status /livez /readyz"),
        }
    }
}

/// The short page for people.
fn overview(document: &StatusDocument) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>cachepulse</title>\n\
         <style>body{{font:16px sans-serif;margin:2em}}td,th{{text-align:left;padding:.2em 1em .2em 0}}\
         .up{{color:#17722b}}.down{{color:#b3261e;font-weight:bold}}</style></head><body>\n\
         <h1>cachepulse {}</h1>\n<p>{}</p>\n\
         <p><a href=\"/metrics\">/metrics</a> <a href=\"/status\">/status</a> <a href=\"/livez\">/livez</a> \
         <a href=\"/readyz\">/readyz</a></p>\n\
         <table><tr><th>target</th><th>endpoint</th><th>state</th><th>since</th><th>last failure</th></tr>\n",
        document.version,
        escape(&document.readiness),
    );
    for target in &document.targets {
        row(&mut html, target);
    }
    html.push_str("</table></body></html>\n");
    html
}

fn row(html: &mut String, target: &TargetDocument) {
    let failure = target.failures.first().and_then(|outcome| Some((outcome.time, outcome.failure.as_ref()?)));
    let failure = failure.map_or_else(String::new, |(time, failure)| {
        format!("{time}: {} at {}: {}", failure.reason, failure.stage, failure.detail)
    });
    let state = target.state.as_str();
    // Writing to a string cannot fail.
    let _ = writeln!(
        html,
        "<tr><td>{}</td><td>{}</td><td class=\"{state}\">{state}</td><td>{}</td><td>{}</td></tr>",
        escape(&target.target),
        escape(&target.endpoint),
        target.since,
        escape(&failure),
    );
}

/// `text` as the text of an element.
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
    fn markup_in_names_and_servers_words_stays_text() {
        assert_eq!(escape(r#"<b a="1" c='2'>&"#), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
    }
}
