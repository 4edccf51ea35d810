//! Content negotiation: whether the client is a browser, the format of metrics that it prefers, and the escaping of names that
//! it asks for.
//!
//! Source: "Content negotiation" and "Escaping schemes" in Prometheus' documentation, and what its releases send.

use std::borrow::Cow;

use hyper::header::{ACCEPT, HeaderMap};

use super::weighted::{Alternative, alternatives};
use crate::metrics::Format;

/// The escaping schemes under which the names of the metrics stay as they are. Under `dots` their underscores would double.
const ESCAPINGS: [&str; 3] = ["allow-utf-8", "underscores", "values"];

/// Whether the client prefers HTML over text, as browsers do.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let weight = |name: &str| {
        let named = alternatives(headers, ACCEPT).filter(|it| it.name.eq_ignore_ascii_case(name));
        named.map(|alternative| alternative.weight).fold(0.0, f32::max)
    };
    weight("text/html") > weight("text/plain")
}

/// The format of a response, and the escaping that it confirms.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) format: Format,
    escaping: Option<&'static str>,
}

impl Accepted {
    /// Returns the format with the largest weight, of equal ones the first. A client that accepts none gets the text
    /// format, as from every exporter.
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let mut accepted: Vec<Alternative<'_>> =
            alternatives(headers, ACCEPT).filter(|alternative| alternative.weight > 0.0).collect();
        accepted.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        let mut escaping = None;
        for alternative in accepted {
            let asked = alternative.parameter("escaping");
            // The last one up to the accepted format counts, also where another alternative names it.
            escaping = ESCAPINGS.into_iter().find(|known| asked == Some(known)).or(escaping);
            if let Some(format) = format(&alternative) {
                return Self { format, escaping };
            }
        }
        Self { format: Format::Text, escaping: None }
    }

    /// Returns the `Content-Type` of the response.
    pub(super) fn content_type(&self) -> Cow<'static, str> {
        let format = self.format.content_type();
        match self.escaping {
            Some(escaping) => format!("{format}; escaping={escaping}").into(),
            None => format.into(),
        }
    }
}

/// Returns the format that `alternative` names, if there is one.
fn format(alternative: &Alternative<'_>) -> Option<Format> {
    let version = alternative.parameter("version");
    let is_named = |name: &str| alternative.name.eq_ignore_ascii_case(name);
    if is_named("application/openmetrics-text") {
        matches!(version, None | Some("1.0.0")).then_some(Format::OpenMetrics)
    } else if is_named("application/vnd.google.protobuf") {
        let is_known = alternative.parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && alternative.parameter("encoding") == Some("delimited");
        is_known.then_some(Format::Protobuf)
    } else if is_named("text/plain") || is_named("text/*") || is_named("*/*") {
        matches!(version, None | Some("0.0.4")).then_some(Format::Text)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        Accepted::new(&headers).content_type().into_owned()
    }

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const OPEN_UTF8: &str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

    #[test]
    fn each_release_of_prometheus_gets_the_format_that_it_prefers() {
        let prometheus_2_53 = "application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_3_5 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let only_text_3_5 = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(accepted(&[prometheus_2_53]), OPEN);
        assert_eq!(accepted(&[prometheus_3_5]), OPEN_UTF8);
        assert_eq!(accepted(&[only_text_3_5]), format!("{TEXT}; escaping=allow-utf-8"));
    }

    #[test]
    fn each_release_of_prometheus_with_native_histograms_gets_protobuf() {
        const ASKED: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        const PROTOBUF: &str =
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        for others in [
            // 2.42, where the first has no weight.
            ",application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // 2.53
            ";q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,application/openmetrics-text;version=0.0.1;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            // 3.5
            ";q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        ] {
            assert_eq!(accepted(&[&format!("{ASKED}{others}")]), PROTOBUF);
        }
        let utf8 = format!("{ASKED};escaping=allow-utf-8;q=0.6,text/plain;q=0.1");
        assert_eq!(accepted(&[&utf8]), format!("{PROTOBUF}; escaping=allow-utf-8"));
        for other in [
            "application/vnd.google.protobuf",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf;proto=other;encoding=delimited",
        ] {
            assert_eq!(accepted(&[other]), TEXT, "{other}");
        }
    }

    #[test]
    fn weights_decide_and_then_the_order() {
        for (accept, expected) in [
            ("text/plain;q=0.2, application/openmetrics-text;q=0.3", OPEN),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.3", TEXT),
            ("application/openmetrics-text;version=1.0.0,text/plain", OPEN),
            ("text/plain,application/openmetrics-text", TEXT),
            ("application/openmetrics-text;q=0,text/plain;q=0.1", TEXT),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=1.0", OPEN),
            ("application/openmetrics-text;q=high", TEXT),
        ] {
            assert_eq!(accepted(&[accept]), expected, "{accept}");
        }
        assert_eq!(accepted(&["text/plain;q=0.2", "application/openmetrics-text;q=0.3"]), OPEN);
    }

    #[test]
    fn a_client_that_names_no_known_format_gets_text() {
        assert_eq!(accepted(&[]), TEXT);
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "text/plain;version=9.9.9",
            ",;,;q=,",
        ] {
            assert_eq!(accepted(&[accept]), TEXT, "{accept}");
        }
    }

    #[test]
    fn only_who_names_html_and_prefers_it_to_text_gets_it() {
        let prefers = |accept: &str| prefers_html(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]));
        for yes in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain;q=0.2, Text/HTML;level=1;q=0.3",
        ] {
            assert!(prefers(yes), "{yes}");
        }
        for no in
            ["", "*/*", "text/*", "text/html;q=0", "text/html,text/plain", "text/html;q=0.3,text/plain;q=0.4"]
        {
            assert!(!prefers(no), "{no}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn an_escaping_is_confirmed_if_it_leaves_the_names_alone() {
        for (escaping, confirmed) in [
            ("underscores", "; escaping=underscores"),
            ("values", "; escaping=values"),
            ("dots", ""),
            ("backslashes", ""),
        ] {
            let accept = format!("application/openmetrics-text;version=1.0.0;escaping={escaping}");
            assert_eq!(accepted(&[&accept]), format!("{OPEN}{confirmed}"));
        }
    }
}
