//! Flags as a document, and the way back from a path in it to the flag.

use super::document::{Node, Value};
use super::field::{Field, Invalid};
use super::flags::{Flags, Given};
use super::keys;
use super::keys::connection::{CA_FILE, HOST, NAME, SERVER_NAME, TLS};
use super::location;
use super::problem::{Finding, Findings, Language, Noted, Problems};

/// The list that the one target is in.
const TARGET: &str = "targets[].";

/// What `reader` makes of the document that says what `flags` say.
///
/// # Errors
/// Every problem, with the flag or variable for its path.
pub(super) fn read<T>(
    flags: &Flags,
    reader: impl FnOnce(&Field<'_>) -> Result<T, Invalid>,
) -> Result<(T, Vec<Finding>), Problems> {
    let findings = Findings::new(Language::Flags);
    let document = document(flags, &findings);
    let read = reader(&Field::root(&document, &findings));
    findings.conclude(read, |noted| locate(flags, noted))
}

/// The document that says what `flags` say. What cannot be said in a document is noted in `findings`.
fn document(flags: &Flags, findings: &Findings) -> Node {
    let mut target = Vec::new();
    let mut agent = Vec::new();
    let has_tls_details = flags.given().iter().any(is_tls_detail);
    for (order, given) in flags.given().iter().enumerate() {
        let path = given.key.about().path;
        if path == TLS.about.path && given.value == "true" && has_tls_details {
            // `--ca-file` alone turns TLS on.
            continue;
        }
        if is_tls_detail(given) && flags.value(&TLS) == Some("false") {
            let path = path.replacen("[]", "[0]", 1);
            findings.add_problem(Noted { order, path, message: "not used without TLS".to_owned() });
            continue;
        }
        let leaf = Node { order, value: Value::Text(given.value.clone()) };
        match path.strip_prefix(TARGET) {
            Some(path) => insert(&mut target, path, leaf),
            None => insert(&mut agent, path, leaf),
        }
    }
    if flags.value(&NAME).is_none() {
        // Without a good host there is no configuration, and the name does not matter.
        let name = flags.value(&HOST).and_then(location::short_name).unwrap_or("unnamed");
        insert(&mut target, NAME.about.name(), Node { order: 0, value: Value::Text(name.to_owned()) });
    }
    let target = Node { order: 0, value: Value::Map(target) };
    insert(&mut agent, "targets", Node { order: 0, value: Value::List(vec![target]) });
    Node { order: 0, value: Value::Map(agent) }
}

/// The findings that were `noted`, with flags and variables for paths.
fn locate(flags: &Flags, mut noted: Vec<Noted>) -> Vec<Finding> {
    noted.sort_by_key(|noted| noted.order);
    noted.dedup();
    let finding = |Noted { path, message, .. }| Finding {
        file: None,
        position: None,
        path: flag_of(path, flags),
        message,
    };
    noted.into_iter().map(finding).collect()
}

/// The flag that `path` comes from: the one of this very key, or else the first below it. As the operator wrote it, if
/// it was given.
fn flag_of(path: String, flags: &Flags) -> String {
    let key_path = path.replacen("[0]", "[]", 1);
    let is_or_is_below = |candidate: &str| {
        candidate.strip_prefix(key_path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(given) = flags.given().iter().find(|given| is_or_is_below(given.key.about().path)) {
        return given.name();
    }
    let mut flags =
        keys::all().filter(|key| is_or_is_below(key.about().path)).filter_map(|key| key.about().flag);
    flags.next().map_or(path, |flag| flag.to_string())
}

fn is_tls_detail(given: &Given) -> bool {
    [&CA_FILE, &SERVER_NAME].iter().any(|key| key.about.path == given.key.about().path)
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
