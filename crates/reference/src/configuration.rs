//! `docs/configuration.md`.

use cachepulse::config::keys::{self, Absent, Descriptor, Group, Kind, Values, identity};

use crate::markdown::{code, page as fill, table};

pub(crate) fn page() -> String {
    fill(
        include_str!("configuration.md"),
        &[
            ("connection", group(Group::Connection)),
            ("identity", group(Group::Identity)),
            ("probe", group(Group::Probe)),
            ("cluster", group(Group::Cluster)),
            ("fleet", group(Group::Fleet)),
            ("agent", group(Group::Agent)),
            ("types", types()),
        ],
    )
}

/// Returns the table of the keys of one group.
fn group(group: Group) -> String {
    let keys = keys::all().filter(|key| key.about().group == group);
    table(["Key", "Flag, variable", "Value", "Default", "Meaning"], keys.map(row))
}

/// Returns the table of the keys of a web configuration.
pub(crate) fn web() -> String {
    let row = |key: &dyn Descriptor| {
        let path = code(key.about().path);
        [path, value(key), absent(key.default_text()), meaning(key)]
    };
    table(["Key", "Value", "Default", "Meaning"], keys::web::all().map(row))
}

fn row(key: &dyn Descriptor) -> [String; 5] {
    let about = key.about();
    let flag = about.flag.map_or_else(String::new, |flag| format!("`{flag}` `{}`", flag.variable()));
    [code(name(key)), flag, value(key), absent(key.default_text()), meaning(key)]
}

/// Returns the path of a key, within its target if it has one.
fn name(key: &dyn Descriptor) -> &'static str {
    let path = key.about().path;
    path.strip_prefix("targets[].").unwrap_or(path)
}

fn value(key: &dyn Descriptor) -> String {
    let kind = match key.kind() {
        Kind::Boolean => "`true` or `false`",
        Kind::Integer | Kind::Ordinal | Kind::IntegerOrAuto => "whole number",
        Kind::Duration | Kind::DurationOrOff => "duration",
        Kind::Size => "size",
        Kind::Choice => {
            let choices = key.choices().into_iter().map(|(name, _)| code(name));
            return choices.collect::<Vec<_>>().join(", ");
        }
        Kind::Text => "text",
        Kind::Path => "path",
        Kind::Host => "host",
        Kind::Address => "address and port",
        Kind::Url => "URL",
        Kind::Mapping => "mapping",
        Kind::List => "list",
        Kind::Hosts => "list of hosts",
        Kind::Words => "list of words",
        Kind::Named => "mapping of names",
    };
    let beside = key.kind().beside_range().map(|value| format!("`{value}` or ")).unwrap_or_default();
    match key.range() {
        Some((least, most)) => format!("{beside}{kind}, `{least}` to `{most}`"),
        None => kind.to_owned(),
    }
}

fn absent(absent: Absent<String>) -> String {
    match absent {
        Absent::Required => "required".to_owned(),
        Absent::Default(value) => code(&value),
        Absent::Described(words) => words.to_owned(),
        Absent::Nothing => "none".to_owned(),
    }
}

fn meaning(key: &dyn Descriptor) -> String {
    let about = key.about();
    let mut sentences = vec![format!("{}.", about.help)];
    if !about.doc.is_empty() {
        sentences.push(about.doc.to_owned());
    }
    // The types of an identity have a table of their own.
    if about.group != Group::Identity {
        sentences.extend(key.choices().into_iter().map(|(name, help)| format!("`{name}`: {help}.")));
    }
    sentences.join(" ")
}

/// Returns the table of the types of an identity, each with the keys that it uses.
fn types() -> String {
    let Values::Choices(types) = &identity::TYPE.values else { return String::new() };
    let rows = types.iter().map(|choice| {
        // The two places of a secret, one level below it, are left out.
        let used = keys::all().filter(|key| {
            let about = key.about();
            !about.identities.is_empty()
                && about.is_used_by(choice.value)
                && name(*key).split('.').count() <= 2
        });
        let used: Vec<String> = used.map(|key| code(key.about().name())).collect();
        [code(choice.name), format!("{}.", choice.help), used.join(", ")]
    });
    table(["Type", "Meaning", "Keys"], rows)
}
