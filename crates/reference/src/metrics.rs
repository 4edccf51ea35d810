//! `docs/metrics.md`.

use std::fmt::Write as _;

use cachepulse::metrics::{DEFINITIONS, Definition, Label, MetricType, bucket_bounds};

use crate::markdown::{code, page as fill, table};

pub(crate) fn page() -> String {
    let (process, own): (Vec<&Definition>, Vec<&Definition>) =
        DEFINITIONS.iter().partition(|it| it.name.starts_with("process_"));
    let rows = own.iter().map(|it| [link(it), it.kind.as_str().to_owned(), labels(it), it.help.to_owned()]);
    let process_rows =
        process.iter().map(|it| [code(it.name), it.kind.as_str().to_owned(), it.help.to_owned()]);
    let bounds = bucket_bounds().map(|bound| bound.to_string());
    fill(
        include_str!("metrics.md"),
        &[
            ("metrics", table(["Metric", "Type", "Labels", "Meaning"], rows)),
            ("details", own.into_iter().map(details).collect()),
            ("process", table(["Metric", "Type", "Meaning"], process_rows)),
            ("bounds", bounds.collect::<Vec<_>>().join(", ")),
        ],
    )
}

fn link(metric: &Definition) -> String {
    format!("[`{name}`](#{name})", name = metric.name)
}

fn labels(metric: &Definition) -> String {
    metric.labels.iter().map(|label| code(label.name)).collect::<Vec<_>>().join(", ")
}

/// Returns the section of one metric.
fn details(metric: &Definition) -> String {
    // The help of a timestamp names the unit.
    let unit = metric.unit().filter(|unit| !metric.help.contains(unit));
    let unit = unit.map_or_else(String::new, |unit| format!(", in {unit}"));
    let mut text = format!("### {}\n\n{}{unit}. {}", metric.name, capitalised(metric.kind), metric.help);
    if !metric.doc.is_empty() {
        text.push(' ');
        text.push_str(metric.doc);
    }
    text.push_str("\n\n");
    for label in metric.labels {
        text.push_str(&bullet(label));
    }
    if !metric.labels.is_empty() {
        text.push('\n');
    }
    text
}

fn capitalised(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "Counter",
        MetricType::Gauge => "Gauge",
        MetricType::Histogram => "Histogram",
        MetricType::Summary => "Summary",
    }
}

/// Returns the label with its values. Reasons have a page of their own, which says what each means.
fn bullet(label: &Label) -> String {
    let mut text = format!("- `{}`: {}", label.name, label.meaning);
    let values = label.values.map(|values| values()).unwrap_or_default();
    if label.name == "reason" {
        let values: Vec<String> = values.iter().map(|(value, _)| code(value)).collect();
        let _ = write!(text, " One of {}.", values.join(", "));
    } else {
        for (value, meaning) in values {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  - `{value}`: {meaning}");
        }
    }
    text.push('\n');
    text
}
