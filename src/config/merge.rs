//! YAML's merge keys.
//! Source: <https://yaml.org/type/merge.html>

use std::collections::HashSet;

use super::document::{Node, Value};

/// The key of a mapping or mappings that are merged into the mapping around it.
pub(super) const MERGE: &str = "<<";

/// Merges the mappings under the merge keys into `entries`. Existing keys take precedence over merged ones, and earlier
/// mappings over later ones. A value that cannot be merged stays under the merge key.
pub(super) fn with_merged(entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
    if !entries.iter().any(|(key, _)| key == MERGE) {
        return entries;
    }
    let (merges, mut all): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, node)| key == MERGE && is_mergeable(node));
    let mut known: HashSet<String> = all.iter().map(|(key, _)| key.clone()).collect();
    let sources = merges.into_iter().flat_map(|(_, node)| match node.value {
        Value::List(items) => items,
        _ => vec![node],
    });
    for source in sources {
        let Value::Map(entries) = source.value else { continue };
        let start = all.len();
        all.extend(entries.into_iter().filter(|(key, _)| !known.contains(key)));
        known.extend(all[start..].iter().map(|(key, _)| key.clone()));
    }
    all
}

fn is_mergeable(node: &Node) -> bool {
    match &node.value {
        Value::Map(_) => true,
        Value::List(items) => items.iter().all(|item| matches!(item.value, Value::Map(_))),
        _ => false,
    }
}
