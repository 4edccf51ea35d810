//! `cachepulse metrics`: every metric, with its type, labels and help.

use std::fmt;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::output::{OutputFormat, finish};
use crate::metrics::{DEFINITIONS, Definition, Label, MetricType};

#[derive(Debug, Args)]
pub(super) struct ListMetrics {
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

impl ListMetrics {
    pub(super) fn run(&self) -> ExitCode {
        match self.output {
            OutputFormat::Text => finish(&Table, ExitCode::SUCCESS),
            OutputFormat::Json => {
                let line = |metric| {
                    serde_json::to_string(&MetricDocument::new(metric)).expect("strings always serialise")
                };
                let lines: Vec<String> = DEFINITIONS.iter().map(line).collect();
                finish(&lines.join("\n"), ExitCode::SUCCESS)
            }
        }
    }
}

/// The metrics as columns of text.
struct Table;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels =
            |metric: &Definition| metric.labels.iter().map(|label| label.name).collect::<Vec<_>>().join(",");
        let width = |text: fn(&Definition) -> usize| DEFINITIONS.iter().map(text).max().unwrap_or_default();
        let name = width(|metric| metric.name.len());
        let label = width(|metric| metric.labels.iter().map(|label| label.name.len() + 1).sum());
        write!(f, "{:name$}  {:9}  {:label$}  HELP", "NAME", "TYPE", "LABELS")?;
        for metric in DEFINITIONS {
            let (kind, labels) = (metric.kind.as_str(), labels(metric));
            write!(f, "\n{:name$}  {kind:9}  {labels:label$}  {}", metric.name, metric.help)?;
        }
        Ok(())
    }
}

/// One metric as JSON.
#[derive(Debug, Serialize)]
struct MetricDocument {
    name: &'static str,
    r#type: MetricType,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'static str>,
    labels: Vec<LabelDocument>,
    help: &'static str,
}

#[derive(Debug, Serialize)]
struct LabelDocument {
    name: &'static str,
    /// Absent if the values are not a closed set.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<&'static str>>,
}

impl MetricDocument {
    fn new(metric: &Definition) -> Self {
        Self {
            name: metric.name,
            r#type: metric.kind,
            unit: metric.unit(),
            labels: metric.labels.iter().map(LabelDocument::new).collect(),
            help: metric.help,
        }
    }
}

impl LabelDocument {
    fn new(label: &Label) -> Self {
        let values = label.values.map(|values| values().into_iter().map(|(value, _)| value).collect());
        Self { name: label.name, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_table_has_a_row_for_each_metric_with_aligned_columns() {
        let table = Table.to_string();
        let help = table.find("HELP").unwrap();
        assert_eq!(table.lines().count(), 1 + DEFINITIONS.len());
        for (row, metric) in table.lines().skip(1).zip(DEFINITIONS) {
            assert!(row.starts_with(metric.name), "{row}");
            assert_eq!(&row[help..], metric.help);
        }
    }

    #[test]
    fn json_holds_type_unit_labels_with_their_values_and_help() {
        let json = |name: &str| -> Value {
            let metric = DEFINITIONS.iter().find(|metric| metric.name == name).unwrap();
            serde_json::to_value(MetricDocument::new(metric)).unwrap()
        };
        let connects = json("cachepulse_connects_total");
        assert_eq!(connects["type"], "counter");
        assert_eq!(
            connects["labels"],
            json!([{"name": "target"}, {"name": "result", "values": ["success", "failure"]}])
        );
        assert_eq!(connects.get("unit"), None);
        assert_eq!(json("cachepulse_probe_duration_seconds")["unit"], "seconds");
    }
}
