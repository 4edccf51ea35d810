//! `docs/http.md`.

use std::time::Duration;

use cachepulse::http::{Limits, MAX_REQUEST_HEADER, Route};
use cachepulse::metrics::{Format, PROBE_DEFINITIONS};
use cachepulse::status::StateFilter;

use crate::configuration;
use crate::markdown::{code, page as fill, table};

pub(crate) fn page() -> String {
    let rows = Route::ALL.map(|route| {
        let statuses = route.statuses().iter().map(|(status, when)| format!("{status} {when}"));
        [
            path(route),
            route.methods().join(", "),
            route.meaning().to_owned(),
            code(route.content_type()),
            statuses.collect::<Vec<_>>().join("; "),
        ]
    });
    let formats = Format::ALL.map(|format| [format.to_string(), code(format.content_type())]);
    let health: Vec<String> = Route::HEALTH.iter().map(|route| code(route.as_str())).collect();
    let limits = Limits::DEFAULT;
    let connections =
        format!("{}; {} at the health endpoint", limits.connections, Limits::HEALTH.connections);
    let limit_rows = [
        ["open connections", "the connection that has been idle longest is closed", &connections],
        [
            "responses being sent",
            "further requests wait, except for `/livez` and `/readyz`; a client that has read nothing for a second is disconnected",
            &limits.responses.to_string(),
        ],
        [
            "size of a request's header",
            "the request is rejected",
            &format!("{} KiB", MAX_REQUEST_HEADER / 1024),
        ],
        ["time to receive a request's header", "the connection is closed", &seconds(limits.header)],
        ["time without progress while sending", "the connection is closed", &seconds(limits.write)],
    ];
    let states = StateFilter::ALL.map(|state| [code(state.as_str()), state.meaning().to_owned()]);
    let probe = PROBE_DEFINITIONS.map(|metric| [code(metric.name), metric.help.to_owned()]);
    fill(
        include_str!("http.md"),
        &[
            ("probe", table(["Metric", "Meaning"], probe)),
            ("states", table(["`state`", "Targets"], states)),
            ("routes", table(["Path", "Methods", "Content", "Content type", "Status codes"], rows)),
            ("health", health.join(" and ")),
            ("web", configuration::web()),
            ("formats", table(["Format", "Content type"], formats)),
            (
                "limits",
                table(
                    ["Limit", "Value", "At the limit"],
                    limit_rows.map(|[limit, then, value]| [limit, value, then].map(str::to_owned)),
                ),
            ),
        ],
    )
}

/// Returns the paths of a route.
fn path(route: Route) -> String {
    let alias = route.alias().map(|alias| format!(", {}", code(alias)));
    code(route.as_str()) + &alias.unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
