//! Converts flags to a document, and paths in that document back to flags.

use super::document::{Node, Value};
use super::field::{Field, Invalid};
use super::flags::{Flags, Given, is_at_or_below};
use super::keys::connection::{HOST, NAME, TLS};
use super::keys::{self, Descriptor};
use super::location;
use super::problem::{Collector, Finding, Language, Noted, Problems};
use super::sources::Sources;

/// The path prefix of the keys of the target.
const TARGET: &str = "targets[].";

/// Converts `flags` to a document and reads it with `reader`, which reads files from `sources`.
///
/// # Errors
/// Every problem, with the flag or variable as its path.
pub(super) fn read<T>(
    flags: &Flags,
    sources: &Sources,
    reader: impl FnOnce(&Field<'_>) -> Result<T, Invalid>,
) -> Result<(T, Vec<Finding>), Problems> {
    let findings = Collector::new(Language::Flags(flags.clone()), sources.clone());
    let document = document(flags, &findings);
    let read = reader(&Field::root(&document, &findings));
    findings.conclude(read, |noted| locate(flags, noted))
}

/// Converts `flags` to a document. Contradictions that a document cannot contain are noted in `findings`.
fn document(flags: &Flags, findings: &Collector) -> Node {
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
        // Without a valid host there is no configuration, so the name does not matter.
        let name = flags.value(&HOST).and_then(location::short_name).unwrap_or("unnamed");
        insert(&mut target, NAME.about.name(), Node { order: 0, value: Value::Text(name.to_owned()) });
    }
    let target = Node { order: 0, value: Value::Map(target) };
    insert(&mut agent, "targets", Node { order: 0, value: Value::List(vec![target]) });
    Node { order: 0, value: Value::Map(agent) }
}

/// Returns the findings that were `noted`, with flags and variables as paths.
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

/// Returns the flag or variable of `path` as it was given. If none was, returns the flag or variable of the key, or the
/// first one below it.
fn flag_of(path: String, flags: &Flags) -> String {
    if let Some(given) = flags.at_or_below(&path) {
        return given.name();
    }
    let mut keys = keys::all().map(Descriptor::about).filter(|about| is_at_or_below(about.path, &path));
    match keys.find_map(|about| Some((about, about.flag?))) {
        Some((about, flag)) => flags.origin(about, &path).name(flag),
        None => path,
    }
}

fn is_tls_detail(given: &Given) -> bool {
    given.key.about().path.strip_prefix(TLS.about.path).is_some_and(|rest| rest.starts_with('.'))
}

/// Inserts `leaf` at `path`, and the mappings above it.
fn insert(entries: &mut Vec<(String, Node)>, path: &str, leaf: Node) {
    let Some((key, rest)) = path.split_once('.') else {
        entries.push((path.to_owned(), leaf));
        return;
    };
    let position = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
        entries.push((key.to_owned(), Node { order: leaf.order, value: Value::Map(Vec::new()) }));
        entries.len() - 1
    });
    // Anything else than a mapping is reported as a problem later.
    if let Value::Map(entries) = &mut entries[position].1.value {
        insert(entries, rest, leaf);
    }
}
