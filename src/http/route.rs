//! The paths of the endpoint. The router, the 404 page, the page `/` and `docs/http.md` come from here.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::closed_set::closed_set;
use crate::metrics::Format;

/// The end of a path that names something, such as a target.
const NAME: &str = "NAME";

/// A status code, and when it is returned.
type Status = (u16, &'static str);

/// What is known of a path beside itself and its meaning.
struct Facts {
    content_type: &'static str,
    methods: &'static [&'static str],
    statuses: &'static [Status],
}

const OK: &[Status] = &[(200, "always")];
/// The methods of a page.
pub(super) const READ: &[&str] = &["GET", "HEAD"];

closed_set! {
    /// A path of the endpoint.
    pub enum Route: Facts {
        /// A page for people: the state of each target.
        Overview = "/" {
            content_type: "text/html; charset=utf-8",
            methods: READ,
            statuses: &[
                (200, "once there is a configuration"),
                (400, "if a parameter is wrong"),
                (503, "while the agent waits for a valid one"),
            ],
        },
        /// A page for people: one target. Its name is percent-encoded.
        Target = "/targets/NAME" {
            content_type: "text/html; charset=utf-8",
            methods: READ,
            statuses: &[
                (200, "if there is a target of this name"),
                (400, "if a parameter is wrong"),
                (404, "if not"),
                (503, "while the agent waits for a valid configuration"),
            ],
        },
        /// Every metric, for Prometheus, in the format that the client prefers.
        Metrics = "/metrics" { content_type: Format::Text.content_type(), methods: READ, statuses: OK },
        /// JSON: the state, the last outcomes and the last failures of each target, the token of each identity, and why the
        /// last configuration was rejected.
        Status = "/status" {
            content_type: "application/json",
            methods: READ,
            statuses: &[(200, "normally"), (400, "if a parameter is wrong")],
        },
        /// The last probe of the target `?target=NAME`, for scrapers that know Prometheus' Blackbox exporter: `probe_success`,
        /// `probe_duration_seconds` and `probe_age_seconds`. `&debug=true` explains it.
        Probe = "/probe" {
            content_type: Format::Text.content_type(),
            methods: &["GET", "HEAD", "POST"],
            statuses: &[
                (200, "once the target has an outcome, success or failure"),
                (400, "if the parameter `target` is missing or repeated"),
                (404, "if no target has this name"),
                (503, "before the first outcome, and while the agent waits for a valid configuration"),
            ],
        },
        /// JSON: the targets, for Prometheus' HTTP service discovery. Each is scraped from `/probe` of this agent.
        Discovery = "/sd" {
            content_type: "application/json",
            methods: READ,
            statuses: &[
                (200, "normally"),
                (400, "if the header `Host` is not a host, with or without a port"),
                (503, "while the agent waits for a valid configuration"),
            ],
        },
        /// Loads the configuration file and the web configuration again, as SIGHUP does, and waits for the results. Only with
        /// `http.lifecycle: true`.
        Reload = "/-/reload" {
            content_type: "text/plain; charset=utf-8",
            methods: &["POST", "PUT"],
            statuses: &[
                (200, "if both are in use"),
                (403, "unless `http.lifecycle` is `true`"),
                (500, "if one is rejected, with its problems; the previous one stays in use"),
                (503, "without a result within 30 s"),
            ],
        },
        /// Liveness: whether the probing loop responds. Depends on nothing outside the process.
        Live = "/livez" {
            content_type: "text/plain; charset=utf-8",
            methods: READ,
            statuses: &[(200, "while the probing loop responds"), (503, "if it does not respond within 2 s")],
        },
        /// Readiness: whether each target of the start has an outcome. Independent of the health of the caches.
        Ready = "/readyz" {
            content_type: "text/plain; charset=utf-8",
            methods: READ,
            statuses: &[
                (
                    200,
                    "once each target that the agent was started with has an outcome, after 10 s at the latest, and \
                     while it waits for a valid configuration",
                ),
                (503, "before that, and during shutdown"),
            ],
        },
    }
}

/// A route, and the decoded name at the end of the path if the route has one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) route: Route,
    pub(super) name: Cow<'a, str>,
}

impl Route {
    /// The routes of the health endpoint.
    pub const HEALTH: &[Self] = &[Self::Live, Self::Ready];

    /// Returns the route of `path`, if there is one.
    pub(super) fn of(path: &str) -> Option<Found<'_>> {
        Self::ALL.into_iter().find_map(|route| {
            let name = name(route.as_str(), path).or_else(|| name(route.alias()?, path))?;
            Some(Found { route, name: percent_decode_str(name).decode_utf8_lossy() })
        })
    }

    /// Returns another path of the same page: the one that Prometheus has for it.
    #[must_use]
    pub const fn alias(self) -> Option<&'static str> {
        match self {
            Self::Live => Some("/-/healthy"),
            Self::Ready => Some("/-/ready"),
            _ => None,
        }
    }

    /// Returns the `Content-Type` of the response; for metrics, that of a client without a preference.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        self.facts().content_type
    }

    /// Returns the methods that are allowed.
    #[must_use]
    pub const fn methods(self) -> &'static [&'static str] {
        self.facts().methods
    }

    /// Whether it is a page for people.
    pub(super) const fn is_for_people(self) -> bool {
        matches!(self, Self::Overview | Self::Target)
    }

    /// Whether pages for people have a link to it.
    pub(super) const fn is_linked(self) -> bool {
        !self.is_for_people() && !matches!(self, Self::Probe | Self::Reload)
    }

    /// Returns the status codes, each with when it is returned.
    #[must_use]
    pub const fn statuses(self) -> &'static [(u16, &'static str)] {
        self.facts().statuses
    }
}

/// Returns the name in `path` if it is one of those that `pattern` describes, empty for a pattern without a name.
fn name<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.strip_suffix(NAME) {
        Some(start) => path.strip_prefix(start).filter(|name| !name.is_empty()),
        None => (path == pattern).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_name_is_found_as_it_is() {
        for route in Route::ALL {
            assert_eq!(Route::of(route.as_str()).unwrap().route, route);
        }
        assert_eq!(Route::of("/metrics").unwrap().name, "");
        assert_eq!(Route::of("/-/healthy").unwrap().route, Route::Live);
        assert_eq!(Route::of("/-/ready").unwrap().route, Route::Ready);
        for path in ["", "//", "/metrics/", "/Metrics", "/%6detrics", "/nowhere", "/-/"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_name_is_what_follows_the_start_of_its_path() {
        for (path, expected) in [
            ("/targets/orders", Some("orders")),
            ("/targets/a/b", Some("a/b")),
            ("/targets/NAME", Some("NAME")),
            ("/targets/", None),
            ("/targets", None),
            ("/targetsorders", None),
            ("/", None),
        ] {
            assert_eq!(name("/targets/NAME", path), expected, "{path}");
        }
    }
}
