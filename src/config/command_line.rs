//! Flags as a document, and the way back from a path in it to the flag.

use super::document::{Node, Value};
use super::flags::Flags;
use super::host;
use super::problem::Findings;

/// What stands before a path within the one target.
const TARGET: &str = "targets[0].";

/// The document that says what `flags` say. What cannot be said in a document is noted in `findings`.
pub(super) fn document(flags: &Flags, findings: &Findings) -> Node {
    let mut target = Vec::new();
    let mut agent = Vec::new();
    let has_tls_details = flags.entries().any(|(_, path, _)| is_tls_detail(path));
    for (order, (_, path, value)) in flags.entries().enumerate() {
        match path {
            // `--ca-file` says by itself that there is TLS.
            "targets[0].tls" if value == "true" && has_tls_details => continue,
            _ if is_tls_detail(path) && flags.tls.as_deref() == Some("false") => {
                findings.add(order, path.to_owned(), "has no meaning with --tls false".to_owned());
                continue;
            }
            _ => {}
        }
        let leaf = Node { order, value: Value::Text(value.to_owned()) };
        match path.strip_prefix(TARGET) {
            Some(path) => insert(&mut target, path, leaf),
            None => insert(&mut agent, path, leaf),
        }
    }
    if !target.iter().any(|(key, _)| key == "name") {
        // Without a good host there is no configuration, and the name does not matter.
        let name = flags.host.as_deref().and_then(host::short_name).unwrap_or("unnamed");
        insert(&mut target, "name", Node { order: 0, value: Value::Text(name.to_owned()) });
    }
    let target = Node { order: 0, value: Value::Map(target) };
    insert(&mut agent, "targets", Node { order: 0, value: Value::List(vec![target]) });
    Node { order: 0, value: Value::Map(agent) }
}

/// The flag that `path` comes from: the one that stands for it, or else the first below it.
pub(super) fn flag_of(path: String) -> String {
    let below = |key: &str| key.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'));
    let row = Flags::TABLE.iter().find(|(_, key, _)| *key == path);
    let row = row.or_else(|| Flags::TABLE.iter().find(|(_, key, _)| below(key)));
    row.map_or(path, |(flag, _, _)| (*flag).to_owned())
}

fn is_tls_detail(path: &str) -> bool {
    path.starts_with("targets[0].tls.")
}

/// Puts `leaf` at `path`, below the mappings that the path asks for.
fn insert(entries: &mut Vec<(String, Node)>, path: &str, leaf: Node) {
    let Some((key, rest)) = path.split_once('.') else {
        entries.push((path.to_owned(), leaf));
        return;
    };
    let position = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
        entries.push((key.to_owned(), Node { order: leaf.order, value: Value::Map(Vec::new()) }));
        entries.len() - 1
    });
    // If it is no mapping, it is wrong, and will be found to be.
    if let Value::Map(entries) = &mut entries[position].1.value {
        insert(entries, rest, leaf);
    }
}
