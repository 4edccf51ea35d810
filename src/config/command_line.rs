//! Converts flags to a document, and paths in that document back to flags.

use super::document::{Node, Value};
use super::field::{Field, Invalid};
use super::flags::{Flags, Given, is_at_or_below};
use super::keys::connection::{HOST, NAME, TLS};
use super::keys::sentinel::{self, SERVICE};
use super::keys::{self, Descriptor, Kind};
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
    for (order, given) in flags.given().iter().enumerate() {
        let path = given.key.about().path;
        if given.value == "true" && flags.given().iter().any(|other| is_tls_detail(other, path)) {
            // `--ca-file` alone turns TLS on.
            continue;
        }
        if [&TLS, &sentinel::TLS]
            .into_iter()
            .any(|tls| is_tls_detail(given, tls.whole.about.path) && flags.value(&tls.whole) == Some("false"))
        {
            let path = path.replacen("[]", "[0]", 1);
            findings.add_problem(Noted { order, path, message: "not used without TLS".to_owned() });
            continue;
        }
        let leaf = leaf(order, given);
        match path.strip_prefix(TARGET) {
            Some(path) => insert(&mut target, path, leaf),
            None => insert(&mut agent, path, leaf),
        }
    }
    if flags.value(&NAME).is_none() {
        // Without a valid host or a service there is no configuration, so the name does not matter.
        let service = || flags.value(&SERVICE);
        let name = flags.value(&HOST).and_then(location::short_name).or_else(service).unwrap_or("unnamed");
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
fn flag_of(mut path: String, flags: &Flags) -> String {
    // An item of a list has the flag of the list.
    if path.ends_with(']')
        && let Some(start) = path.rfind('[')
    {
        path.truncate(start);
    }
    if let Some(given) = flags.at_or_below(&path) {
        return given.name();
    }
    let mut keys = keys::all().map(Descriptor::about).filter(|about| is_at_or_below(about.path, &path));
    match keys.find_map(|about| Some((about, about.flag?))) {
        Some((about, flag)) => flags.origin(about, &path).name(flag),
        None => path,
    }
}

/// Returns the value of a flag. That of a list has commas between the items.
fn leaf(order: usize, given: &Given) -> Node {
    let text = |text: &str| Node { order, value: Value::Text(text.to_owned()) };
    match given.key.kind() {
        Kind::Hosts => {
            let items = given.value.split(',').map(|item| text(item.trim())).collect();
            Node { order, value: Value::List(items) }
        }
        _ => text(&given.value),
    }
}

/// Whether `given` is a detail of the TLS that the key at `tls` turns on.
fn is_tls_detail(given: &Given, tls: &str) -> bool {
    let is_tls = [&TLS, &sentinel::TLS].into_iter().any(|keys| keys.whole.about.path == tls);
    is_tls && given.key.about().path.strip_prefix(tls).is_some_and(|rest| rest.starts_with('.'))
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
