//! The key `labels` of a target.

use super::field::{Field, Invalid};
use super::keys::Values;
use super::keys::labels::{LABEL, LABELS};
use crate::metrics::DEFINITIONS;
use crate::target::Labels;

/// The longest value, in characters.
const LONGEST: usize = 256;

/// Labels that Prometheus itself adds to series.
const OF_PROMETHEUS: [&str; 2] = ["le", "quantile"];

/// Labels on which rules and queries join series. Where the scrape does not add them, those of a target would be on one side only.
const OF_JOINS: [&str; 2] = ["cluster", "namespace"];

/// Reads a mapping of names to values.
pub(super) fn read(field: &Field<'_>) -> Result<Labels, Invalid> {
    let fields = field.any_fields(&format!("a mapping such as {}", LABELS.about.example))?;
    let labels: Vec<_> = fields.each().map(|(name, value)| read_label(name, &value)).collect();
    let labels = labels.into_iter().collect::<Result<Labels, _>>()?;
    if let Values::Named(_, most) = LABELS.values
        && labels.iter().count() > most
    {
        return Err(field.problem(format!("expected at most {most} labels, found {}", labels.iter().count())));
    }
    let twice = labels.iter().zip(labels.iter().skip(1)).find(|((one, _), (other, _))| one == other);
    match twice {
        Some(((name, _), _)) => Err(field.problem(format!("duplicate label{}", field.after_space(name)))),
        None => Ok(labels),
    }
}

fn read_label(name: &str, value: &Field<'_>) -> Result<(Box<str>, Box<str>), Invalid> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || name.starts_with("__") {
        return Err(value.problem(format!(
            "invalid name{}; expected letters, digits and underscores, without a digit or two underscores in front",
            value.after_space(name)
        )));
    }
    if is_exported(name) {
        return Err(value.problem(format!("the agent exports a label {name} itself; choose another name")));
    }
    if OF_JOINS.contains(&name) {
        return Err(value.problem(format!(
            "queries join series on the label {name}, which only the scrape may add; choose another name"
        )));
    }
    let text = value.text(&LABEL)?;
    if text.chars().count() > LONGEST {
        return Err(value.problem(format!("expected a value of at most {LONGEST} characters")));
    }
    Ok((name.into(), text.into()))
}

/// Whether a series of the agent has a label called `name`.
fn is_exported(name: &str) -> bool {
    let mut own = DEFINITIONS.iter().flat_map(|definition| definition.labels);
    OF_PROMETHEUS.contains(&name) || own.any(|label| label.name == name)
}
