//! Queries for Prometheus about one target, ready to paste.

use super::definition as define;
use super::encoder::Encoder as _;
use super::label::TARGET;
use super::text::Text;

/// Returns queries about the target called `name`, each with what it shows.
#[must_use]
pub fn queries(name: &str) -> Vec<(&'static str, String)> {
    // A string of a query is escaped as a label is.
    let escaped = Text.label(name);
    let series = |metric: &str| format!("{metric}{{{}=\"{escaped}\"}}", TARGET.name);
    let over = |function: &str, metric: &str, range: &str| format!("{function}({}[{range}])", series(metric));
    let p99 = |histogram: &str| {
        let native = over("rate", histogram, "5m");
        let classic = over("rate", &format!("{histogram}_bucket"), "5m");
        format!(
            "histogram_quantile(0.99, sum({native})) or histogram_quantile(0.99, sum by (le) ({classic}))"
        )
    };
    let unavailable = over("increase", define::UNAVAILABLE.name, "24h");
    vec![
        ("Whether it is available", series(define::PROBE_SUCCESS.name)),
        ("Availability of the last day", format!("1 - {unavailable} / 86400")),
        ("Failed probes by reason", over("increase", define::PROBE_FAILURES.name, "1h")),
        ("99th percentile of a probe", p99(define::PROBE_DURATION.name)),
        ("Connections that were lost", over("increase", define::DISCONNECTS.name, "1h")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_reads_native_and_classic_histograms() {
        let queries = queries("a");
        let query = &queries[3].1;
        assert!(query.contains(r#"(cachepulse_probe_duration_seconds{target="a"}[5m])"#), "{query}");
        assert!(query.contains(r#"(cachepulse_probe_duration_seconds_bucket{target="a"}[5m])"#), "{query}");
    }

    #[test]
    fn a_name_is_escaped_as_a_string_of_a_query() {
        let queries = queries(r#"a "b" \c"#);
        assert_eq!(queries[0].1, r#"cachepulse_probe_success{target="a \"b\" \\c"}"#);
        assert_eq!(
            queries[1].1,
            r#"1 - increase(cachepulse_unavailable_seconds_total{target="a \"b\" \\c"}[24h]) / 86400"#
        );
    }
}
