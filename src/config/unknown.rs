//! The message about an unknown key: where it belongs, which key was probably meant, or which keys exist.

use super::field::{closest, one_of, quoted};
use super::keys::agent::DEFAULTS;
use super::keys::sentinel::SENTINEL;
use super::keys::{self, About, Descriptor};
use super::problem::Language;

/// Returns the message about `key` in the mapping at `path`, whose keys are `known`, of a document in `language`. The message
/// lists those that `is_listed` selects.
pub(super) fn message(
    key: &str,
    path: &str,
    known: &[&dyn Descriptor],
    language: &Language,
    is_listed: impl Fn(&About) -> bool,
) -> String {
    let known = || known.iter().map(|key| key.about());
    // Few targets have sentinels.
    let (of_sentinels, mut places): (Vec<String>, Vec<String>) = keys::below(language.keys())
        .filter(|other| other.about().name() == key)
        .map(|other| place(other.about(), path))
        .partition(|place| place.starts_with("in sentinel"));
    places.extend(of_sentinels);
    let advice = if !places.is_empty() {
        format!("it belongs {}", one_of(places.iter().map(String::as_str)))
    } else if let Some(meant) = closest(key, known().map(About::name)) {
        format!("did you mean \"{meant}\"?")
    } else {
        format!("expected {}", one_of(known().filter(|key| is_listed(key)).map(About::name)))
    };
    let shown = if language.shows_key(key) { quoted(key) } else { "<redacted>".to_owned() };
    format!("unknown key {shown}; {advice}")
}

/// Returns where the key that `about` describes belongs, as seen from the mapping at `path`.
fn place(about: &About, path: &str) -> String {
    let is_default = DEFAULTS.about.keys.iter().any(|key| key.about().path == about.path);
    match about.path.rsplit_once('.').map_or("", |(parent, _)| parent) {
        "" => "at the top level".to_owned(),
        "targets[]" if path.starts_with("targets[") => "in the target".to_owned(),
        "targets[]" if path.starts_with(DEFAULTS.about.path) && is_default => "in defaults".to_owned(),
        "targets[]" if is_default => "in a target or in defaults".to_owned(),
        "targets[]" => "in a target".to_owned(),
        // Some of its keys have the names of keys elsewhere.
        parent if parent.starts_with(SENTINEL.about.path) => {
            format!("in {}", parent.strip_prefix("targets[].").unwrap_or(parent))
        }
        parent if parent.ends_with(".*") => format!("in one of {}", parent.trim_end_matches(".*")),
        parent => format!("in {}", parent.rsplit('.').next().unwrap_or(parent)),
    }
}
