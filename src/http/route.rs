//! The paths of the endpoint. The router, the 404 page, the page `/` and `docs/http.md` come from here.

use crate::closed_set::closed_set;
use crate::metrics::Format;

/// A status code, and when it is returned.
type Status = (u16, &'static str);

/// What is known of a path beside itself and its meaning.
struct Facts {
    content_type: &'static str,
    statuses: &'static [Status],
}

const OK: &[Status] = &[(200, "always")];

closed_set! {
    /// A path of the endpoint.
    pub enum Route: Facts {
        /// A page for people: the state of each target.
        Overview = "/" {
            content_type: "text/html; charset=utf-8",
            statuses: &[(200, "once there is a configuration"), (503, "while the agent waits for a valid one")],
        },
        /// Every metric, for Prometheus, in the format that the client prefers.
        Metrics = "/metrics" { content_type: Format::Text.content_type(), statuses: OK },
        /// JSON: the state, the last outcomes and the last failures of each target, the token of each identity, and why the
        /// last configuration was rejected.
        Status = "/status" { content_type: "application/json", statuses: OK },
        /// Liveness: whether the probing loop responds. Depends on nothing outside the process.
        Live = "/livez" {
            content_type: "text/plain; charset=utf-8",
            statuses: &[(200, "while the probing loop responds"), (503, "if it does not respond within 2 s")],
        },
        /// Readiness: whether each target of the start has an outcome. Independent of the health of the caches.
        Ready = "/readyz" {
            content_type: "text/plain; charset=utf-8",
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

impl Route {
    /// Returns the route of `path`, if there is one.
    pub(super) fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.as_str() == path)
    }

    /// Returns the `Content-Type` of the response; for metrics, that of a client without a preference.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        self.facts().content_type
    }

    /// Returns the status codes, each with when it is returned.
    #[must_use]
    pub const fn statuses(self) -> &'static [(u16, &'static str)] {
        self.facts().statuses
    }
}
