//! The rejection of a configuration that seems to name a web configuration, rightly or with a mistake.

use std::error::Error;
use std::fmt;
use std::path::Path;

use super::super::document::{self, Node, Value};
use super::super::field::closest;
use super::super::keys::agent::{HTTP, WEB_CONFIG_FILE};
use super::super::keys::{VARIABLE_PREFIX, web};
use super::super::sources::Sources;
use super::super::watch::Rejection;

/// The rejection of a configuration that seems to name a web configuration: who may see it is not known.
#[derive(Debug)]
pub struct Unguarded(Rejection);

impl Unguarded {
    /// Marks the `rejection` of a configuration, if the file at `path`, or one of the arguments and names of variables in `words`,
    /// seems to name a web configuration.
    #[must_use]
    pub fn mark(
        rejection: Rejection,
        words: impl IntoIterator<Item = String>,
        path: Option<&Path>,
        sources: &Sources,
    ) -> Rejection {
        let content = path.and_then(|path| sources.read(path).ok());
        let is_named = words.into_iter().any(|word| is_given_by(&word))
            || content.is_some_and(|content| is_named_in(&content));
        if is_named { Self(rejection).into() } else { rejection }
    }
}

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Unguarded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Whether `word` is an argument or the name of a variable that seems to name a web configuration.
fn is_given_by(word: &str) -> bool {
    match word.strip_prefix('-').or_else(|| word.strip_prefix(VARIABLE_PREFIX)) {
        Some(name) => is_name(name.split('=').next().unwrap_or_default()),
        None => false,
    }
}

/// Whether a configuration file with this `content`, which may be invalid, seems to name a web configuration.
fn is_named_in(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    match document::parse(&text) {
        Ok(document) => is_named_below(&document, "") || has_unknown_key(document.get(HTTP.about.name())),
        Err(_) => text.split(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).any(is_name),
    }
}

/// Whether a key below `node`, whose own key is `parent`, seems to name a web configuration, or to be one: `web_config_file`,
/// `web: {config_file: …}`, `basic_auth_users`.
fn is_named_below(node: &Node, parent: &str) -> bool {
    match &node.value {
        Value::List(items) => items.iter().any(|item| is_named_below(item, parent)),
        Value::Map(entries) => entries.iter().any(|(key, node)| {
            is_name(key)
                || plain(key) == "web"
                || is_name(&format!("{parent}{key}"))
                || is_named_below(node, key)
        }),
        _ => false,
    }
}

/// Whether `http` has a key that it does not know, and that is no typing error of another one.
fn has_unknown_key(http: Option<&Node>) -> bool {
    let known = HTTP.about.keys.iter().map(|key| key.about().name());
    let known: Vec<&str> = known.filter(|name| *name != WEB_CONFIG_FILE.about.name()).collect();
    match http.map(|http| &http.value) {
        Some(Value::Map(entries)) => {
            entries.iter().any(|(key, _)| closest(key, known.iter().copied()).is_none())
        }
        _ => false,
    }
}

/// Whether `word` seems to be the name of the key for the file, or that of a key at the top of the file.
fn is_name(word: &str) -> bool {
    let word = plain(word);
    let of_file = web::ROOT.iter().map(|key| key.about().name());
    word.starts_with("webconfig")
        || of_file
            .chain([WEB_CONFIG_FILE.about.name()])
            .any(|name| closest(&word, [&*plain(name)].into_iter()).is_some())
}

/// Returns `word` without what is easily confused: the case, and what separates its parts.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !"._- ".contains(*c)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_a_web_configuration_is_recognised_even_if_it_is_invalid() {
        for named in [
            "http: {web_config_file: web.yml}",
            "http: {listen: 1, web_config_file: web.yml}\ntargets: 3",
            // In the wrong place, or with a typing error.
            "web_config_file: web.yml",
            "targets: [{web_config_file: web.yml}]",
            "http: {web-config-file: web.yml}",
            "http: {web.config.file: web.yml}",
            "http: {web_confg_file: web.yml}",
            "http: {webConfigFile: web.yml}",
            "http: {WEB_CONFIG_FILE: web.yml}",
            "http: {webconfig: web.yml}",
            "http: {web_config: {file: web.yml}}",
            "http: {web: {config_file: web.yml}}",
            "web: {config: {file: web.yml}}",
            "http: {config_file: web.yml}",
            // What belongs in the web configuration.
            "http: {basic_auth_users: {a: b}}",
            "tls_server_config: {cert_file: a}",
            "http: {basicAuthUsers: {a: b}}",
            "http: {tls: {cert_file: a}}",
            "http: {users: {a: b}}",
            // No YAML.
            "http: {web_config_file: web.yml",
            "http:\n\tweb_config_file: web.yml",
            "http:\n\twebConfigFile: web.yml",
            "http: [}\nWEB: web_config_file=web.yml",
            "http: {tls_server_config: {",
        ] {
            assert!(is_named_in(named.as_bytes()), "{named}");
        }
        assert!(is_named_in(b"\xff web_config_file: a"));
        for other in [
            "",
            "# web_config_file: web.yml\ntargets: []",
            "http: {listen: web_config_file}",
            "http: {listn: ':1', health-listen: ':2', lifecycle: maybe}",
            "targets: [{name: web, host: web-config.example.com, tls: {cert_file: a, key_file: b}}]",
            "http: web",
            "http: {",
            "a: [}",
        ] {
            assert!(!is_named_in(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn an_argument_or_a_variable_that_names_a_web_configuration_is_recognised_with_typing_errors() {
        for (word, is_named) in [
            ("--web-config-file", true),
            ("--web-config-file=web.yml", true),
            ("--web.config.file", true),
            ("-web.config.file", true),
            ("--web-confg-file", true),
            ("--web-config", true),
            ("CACHEPULSE_WEB_CONFIG_FILE", true),
            ("CACHEPULSE_WEB_CONFIGFILE", true),
            ("web-config-file", false),
            ("--listen=web-config-file", false),
            ("WEB_CONFIG_FILE", false),
            ("CACHEPULSE_CONFIG", false),
            ("--config", false),
        ] {
            assert_eq!(is_given_by(word), is_named, "{word}");
        }
    }
}
