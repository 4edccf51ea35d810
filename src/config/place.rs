//! Adds lines, columns and names of targets to findings.

use std::sync::Arc;

use super::document::{self, Node, Value};
use super::problem::{Finding, Noted};
use crate::target::TargetName;

/// Returns the findings that were `noted` about the document which was parsed from `yaml` in the file called `name`. They are
/// in the order of the file. One about an anchor is reported once, even if aliases repeat it. The names of targets are those in
/// `names`, which is the document if messages may repeat them.
pub(super) fn locate(name: &str, yaml: &str, names: Option<&Node>, noted: Vec<Noted>) -> Vec<Finding> {
    if noted.is_empty() {
        return Vec::new();
    }
    let positions = document::positions(yaml, noted.iter().map(|noted| noted.order).collect());
    let file: Arc<str> = name.into();
    let mut found: Vec<(usize, Finding)> = noted
        .into_iter()
        .map(|Noted { order, path, message }| {
            let position = positions.get(&order).copied();
            let path = match names {
                Some(document) => with_name(path, document),
                None => path,
            };
            (order, Finding { file: Some(Arc::clone(&file)), position, path, message })
        })
        .collect();
    found.sort_by_key(|(order, finding)| (finding.position, *order));
    found.dedup_by(|(_, a), (_, b)| a.position == b.position && a.message == b.message);
    found.into_iter().map(|(_, finding)| finding).collect()
}

/// Adds the name of the target to `path`, if it has one: `targets[2] (orders).interval`.
fn with_name(path: String, document: &Node) -> String {
    let name = || {
        let (index, _) = path.strip_prefix("targets[")?.split_once(']')?;
        let Value::List(targets) = &document.get("targets")?.value else { return None };
        let Value::Text(name) = &targets.get(index.parse::<usize>().ok()?)?.get("name")?.value else {
            return None;
        };
        TargetName::new(name)
    };
    match name() {
        Some(name) => path.replacen(']', &format!("] ({name})"), 1),
        None => path,
    }
}
