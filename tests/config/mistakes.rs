//! Every mistake and its complete message.

use std::fs;

use cachepulse::config::Config;
use cachepulse::config::keys::{self, Descriptor};

use crate::{documents, text};

/// Set it to write the messages before they are compared: `UPDATE=1 cargo test --test config`. Review the difference.
const UPDATE: &str = "UPDATE";

#[test]
fn every_mistake_is_reported_in_full() {
    let mistakes = documents("tests/config/invalid");
    assert!(mistakes.len() >= 40, "only {} documents", mistakes.len());
    for path in mistakes {
        let reported = match Config::from_yaml(path.file_name().unwrap().to_str().unwrap(), &text(&path)) {
            Ok(_) => panic!("{} is accepted", path.display()),
            Err(problems) => without_lists(&format!("{problems}\n")),
        };
        assert!(!reported.contains("hunter2"), "the message of {} contains a secret", path.display());
        if std::env::var_os(UPDATE).is_some() {
            fs::write(path.with_extension("txt"), &reported).unwrap();
        }
        assert_eq!(reported, text(path.with_extension("txt")), "{}", path.display());
    }
}

/// Replaces the lists of all keys of a target and of the top level, so that a new key changes no expected message.
fn without_lists(messages: &str) -> String {
    let list = |keys: &[&dyn Descriptor]| {
        let names: Vec<&str> = keys.iter().map(|key| key.about().name()).collect();
        let (last, others) = names.split_last().unwrap();
        format!("expected {} or {last}", others.join(", "))
    };
    messages
        .replace(&list(keys::agent::TARGETS.about.keys), "expected <the keys of a target>")
        .replace(&list(keys::ROOT), "expected <the top-level keys>")
}

#[test]
fn every_message_has_its_document() {
    for entry in fs::read_dir("tests/config/invalid").unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} has no document", path.display());
    }
}
