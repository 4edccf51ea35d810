//! A value of the document with its path. Its readers return the value if it is valid, and note a problem otherwise.
//!
//! Reads values of the types in the descriptors (text, numbers, choices, lists, mappings). Does not depend on any key.

use std::fmt::Display;
use std::path::Path;

use super::document::{Node, Value};
use super::keys::{About, Choice, Descriptor, Key, Kind, Values};
use super::merge::MERGE;
use super::parse::Parse;
use super::problem::{Collector, Language, Noted};
use super::sources::Sources;
use super::unknown;
use crate::files::{Content, ReadError};
use crate::identity::redaction::is_no_path;
use crate::secret::may_hold_password;

/// The number of characters of an invalid value that a message repeats.
const SHOWN: usize = 60;

/// What is wrong with a path that is probably a secret, which is not repeated.
pub(super) const LIKE_SECRET: &str = "found what looks like a secret; start a relative path with ./";

/// What is found in place of a known value, and not repeated.
const OTHER_TEXT: &str = "other text";

/// The prefix of ignored top-level keys, for anchors.
const EXTENSION: &str = "x-";

/// The value is invalid, and a problem was noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invalid(());

impl Invalid {
    /// Only for [`Collector::add_problem`], so that there is always a problem.
    pub(super) fn after_a_problem() -> Self {
        Self(())
    }
}

/// A value and its path.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: String,
    /// The order of the key or value whose position is reported.
    place: usize,
    findings: &'a Collector,
}

impl<'a> Field<'a> {
    /// Returns the whole document.
    pub(super) fn root(node: &'a Node, findings: &'a Collector) -> Self {
        Self { node, path: String::new(), place: node.first_leaf().unwrap_or(node.order), findings }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Returns the content of a file that the document names.
    pub(super) fn read_file(&self, path: &Path) -> Result<Content, ReadError> {
        self.findings.sources.read(path)
    }

    /// Returns where the files are read that the document names.
    pub(super) fn sources(&self) -> &'a Sources {
        &self.findings.sources
    }

    /// Whether the document comes from flags instead of YAML.
    pub(super) fn is_of_flags(&self) -> bool {
        matches!(self.findings.language, Language::Flags(_))
    }

    /// Whether messages may repeat the value.
    fn shows_values(&self) -> bool {
        self.findings.language.shows_values()
    }

    /// Returns a space and `text` in quotes, or nothing if messages may not repeat values.
    pub(super) fn after_space(&self, text: &str) -> String {
        if self.shows_values() { format!(" {}", quoted(text)) } else { String::new() }
    }

    /// Returns the name of `key` in messages: its flag or its key in YAML.
    pub(super) fn name_of<T>(&self, key: &Key<T>) -> String {
        match (&self.findings.language, key.about.flag) {
            (Language::Flags(flags), Some(flag)) => flags.origin(&key.about, &self.path).name(flag),
            _ => key.about.name().to_owned(),
        }
    }

    /// Returns how the operator gives `key` this value: `--identity none`, `CACHEPULSE_IDENTITY=none` or `type: none`.
    pub(super) fn setting<T>(&self, key: &Key<T>, value: &str) -> String {
        let between = match (&self.findings.language, key.about.flag) {
            (Language::Flags(flags), Some(_)) => flags.origin(&key.about, &self.path).before_value(),
            _ => ": ",
        };
        format!("{}{between}{value}", self.name_of(key))
    }

    /// Notes a problem with this value.
    pub(super) fn problem(&self, message: impl Into<String>) -> Invalid {
        self.findings.add_problem(self.noted(message.into()))
    }

    /// Notes a warning about this value.
    pub(super) fn warning(&self, message: impl Into<String>) {
        self.findings.add_warning(self.noted(message.into()));
    }

    fn noted(&self, message: String) -> Noted {
        Noted { order: self.place, path: self.path.clone(), message }
    }

    /// Notes a problem with this value, which should be `what`.
    pub(super) fn expected(&self, what: impl Display) -> Invalid {
        let shows_values = self.shows_values();
        let found = match self.value() {
            Value::Null => "nothing",
            Value::Text(text) if text.trim().is_empty() => "empty text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Tagged => "a value with a tag",
            Value::Bool(value) if shows_values => &quoted(&value.to_string()),
            Value::Number(text) | Value::Text(text) if shows_values => &quoted(text),
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => OTHER_TEXT,
        };
        self.problem(format!("expected {what}, found {found}"))
    }

    /// Parses the value of `key` and checks its range. Also accepts numbers in quotes, as templates write them.
    pub(super) fn read<T: Parse>(&self, key: &Key<T>) -> Result<T, Invalid> {
        let (range, such_as) = match &key.values {
            Values::Range(least, most) => {
                (Some(least..=most), format!(" from {} to {}", least.written(), most.written()))
            }
            _ => (None, String::new()),
        };
        let value = match self.value() {
            Value::Text(text) | Value::Number(text) => T::parse(text),
            Value::Bool(value) => T::parse(if *value { "true" } else { "false" }),
            _ => None,
        };
        let fits = |value: &T| value.is_outside_ranges() || range.is_none_or(|range| range.contains(&value));
        value.filter(fits).ok_or_else(|| {
            self.expected(format_args!("{}{such_as}{}{}", T::NOUN, T::SUCH_AS, self.or_mapping(&key.about)))
        })
    }

    /// Returns the value of `key`, which accepts a closed set.
    pub(super) fn choice<T: Copy>(&self, key: &Key<T>) -> Result<T, Invalid> {
        let choices: &[Choice<T>] = if let Values::Choices(choices) = &key.values { choices } else { &[] };
        let names = || choices.iter().map(|choice| choice.name);
        let text = match self.value() {
            Value::Text(text) => text,
            // Tools that know YAML 1.1, such as Helm, take `on` and `off` for booleans.
            Value::Bool(true) if names().any(|name| name == "on") => "on",
            Value::Bool(false) if names().any(|name| name == "off") => "off",
            Value::Number(number) if names().any(|name| name == number) => number,
            _ => return Err(self.expected(one_of(names()))),
        };
        match (choices.iter().find(|choice| choice.name == text), closest(text, names())) {
            (Some(choice), _) => Ok(choice.value),
            (None, Some(meant)) => {
                let shown = self.after_space(text);
                Err(self.problem(format!("unknown value{shown}; did you mean \"{meant}\"?")))
            }
            (None, None) if is_word(text) => Err(self.expected(one_of(names()))),
            // It may be a secret in the wrong place.
            (None, None) => Err(self.problem(format!("expected {}, found {OTHER_TEXT}", one_of(names())))),
        }
    }

    /// Returns the mention of the other form of a key that also accepts a mapping. Flags have no mappings.
    fn or_mapping(&self, about: &About) -> String {
        if about.keys.is_empty() || self.is_of_flags() {
            return String::new();
        }
        format!(", or a mapping such as {}", about.example)
    }

    /// Returns the text of `key`. Rejects a number, because YAML does not keep its spelling.
    pub(super) fn text(&self, key: &Key<&str>) -> Result<&'a str, Invalid> {
        let what = key.words();
        match self.value() {
            Value::Text(text) if text.trim().is_empty() => Err(self.expected(what)),
            Value::Text(text) if text.chars().any(char::is_control) => {
                Err(self.problem(format!("expected {what}, found text with control characters")))
            }
            Value::Text(text) if matches!(key.values, Values::Text(Kind::Path, _)) && is_no_path(text) => {
                Err(self.problem(format!("expected {what}, {LIKE_SECRET}")))
            }
            Value::Text(text) => Ok(text),
            Value::Number(number) => {
                let found = if self.shows_values() {
                    format!("the number {}", shortened(number))
                } else {
                    "a number".to_owned()
                };
                Err(self.problem(format!("expected {what}, found {found}; put it in quotes")))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Returns the text of `key`, which must not contain spaces.
    pub(super) fn word(&self, key: &Key<&str>) -> Result<&'a str, Invalid> {
        let text = self.text(key)?;
        if text.contains(char::is_whitespace) { Err(self.expected(key.words())) } else { Ok(text) }
    }

    /// Returns the items of a list.
    pub(super) fn items(&self, what: &str) -> Result<Vec<Field<'a>>, Invalid> {
        let Value::List(items) = self.value() else { return Err(self.expected(what)) };
        let item = |(index, node): (usize, &'a Node)| Field {
            node,
            path: format!("{}[{index}]", self.path),
            place: node.first_leaf().unwrap_or(self.place),
            findings: self.findings,
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// Returns the items of a list, whose number must be one that `key` allows. Messages call them `noun`.
    pub(super) fn items_of<T>(
        &self,
        key: &Key<T>,
        what: &str,
        noun: &str,
    ) -> Result<Vec<Field<'a>>, Invalid> {
        let items = self.items(what)?;
        match key.values {
            Values::List(least, most) | Values::Hosts(least, most) | Values::Words(least, most)
                if !(least..=most).contains(&items.len()) =>
            {
                Err(self.problem(format!("expected {least} to {most} {noun}, found {}", items.len())))
            }
            _ => Ok(items),
        }
    }

    /// Returns the keys of the mapping that `about` describes.
    pub(super) fn fields(&self, about: &About) -> Result<Fields<'a>, Invalid> {
        self.fields_listing(about, |_| true)
    }

    /// Returns the keys of the mapping that `about` describes. The message about an unknown key lists those that
    /// `is_listed` selects.
    pub(super) fn fields_listing(
        &self,
        about: &About,
        is_listed: impl Fn(&About) -> bool,
    ) -> Result<Fields<'a>, Invalid> {
        self.known_fields(about.keys, &format!("a mapping such as {}", about.example), is_listed)
    }

    /// Returns the keys of a mapping. Notes unknown and duplicate keys.
    pub(super) fn fields_of(&self, known: &[&dyn Descriptor], what: &str) -> Result<Fields<'a>, Invalid> {
        self.known_fields(known, what, |_| true)
    }

    fn known_fields(
        &self,
        known: &[&dyn Descriptor],
        what: &str,
        is_listed: impl Fn(&About) -> bool,
    ) -> Result<Fields<'a>, Invalid> {
        let fields = self.any_fields(what)?;
        let mut seen = Vec::with_capacity(known.len());
        for (key, node) in fields.entries {
            if self.path.is_empty() && key.starts_with(EXTENSION) {
                continue;
            }
            let problem = if key == MERGE {
                format!("expected a mapping or a list of mappings under \"{MERGE}\"")
            } else if !known.iter().any(|known| known.about().name() == key) {
                unknown::message(key, &self.path, known, &self.findings.language, &is_listed)
            } else if seen.contains(&key) {
                format!("duplicate key {}", quoted(key))
            } else {
                seen.push(key);
                continue;
            };
            // The problem concerns the key, which directly precedes its value.
            let order = node.order.saturating_sub(1);
            self.findings.add_problem(Noted { order, path: self.path.clone(), message: problem });
        }
        Ok(fields)
    }

    /// Returns the keys of a mapping without validation.
    pub(super) fn any_fields(&self, what: &str) -> Result<Fields<'a>, Invalid> {
        let Value::Map(entries) = self.value() else { return Err(self.expected(what)) };
        Ok(Fields { whole: self.clone(), entries })
    }

    /// Returns a mapping without keys at this value's position.
    pub(super) fn no_fields(&self) -> Fields<'a> {
        Fields { whole: self.clone(), entries: &[] }
    }
}

/// The keys of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    whole: Field<'a>,
    entries: &'a [(String, Node)],
}

impl<'a> Fields<'a> {
    fn at(&self, key: &str, node: &'a Node) -> Field<'a> {
        let dot = if self.whole.path.is_empty() { "" } else { "." };
        // Lists and mappings have no position, but their keys do.
        let place = if node.is_leaf() { node.order } else { node.order.saturating_sub(1) };
        Field { node, path: format!("{}{dot}{key}", self.whole.path), place, findings: self.whole.findings }
    }

    /// How the operator writes `key`.
    pub(super) fn name_of<T>(&self, key: &Key<T>) -> String {
        self.whole.name_of(key)
    }

    /// Returns how the operator gives `key` this value.
    pub(super) fn setting<T>(&self, key: &Key<T>, value: &str) -> String {
        self.whole.setting(key, value)
    }

    /// Whether the document comes from flags instead of YAML.
    pub(super) fn is_of_flags(&self) -> bool {
        self.whole.is_of_flags()
    }

    /// Returns the value of `key`, if it is given.
    pub(super) fn get<T>(&self, key: &Key<T>) -> Option<Field<'a>> {
        self.named(key.about.name())
    }

    /// Iterates over the keys that are given, each with its value.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        // Whoever wrote the document chose the names.
        let language = &self.whole.findings.language;
        let shown = |name: &str| if language.shows_key(name) { shortened(name) } else { "*".to_owned() };
        self.entries.iter().map(move |(name, node)| (name.as_str(), self.at(&shown(name), node)))
    }

    /// Returns the value of the key called `name`, if it is given.
    pub(super) fn named(&self, name: &str) -> Option<Field<'a>> {
        self.entries.iter().find(|(given, _)| given == name).map(|(name, node)| self.at(name, node))
    }

    /// Returns the value of `key`. Notes a problem with advice if it is not given.
    pub(super) fn required<T>(&self, key: &Key<T>, advice: &str) -> Result<Field<'a>, Invalid> {
        self.get(key).ok_or_else(|| {
            let missing = Field { place: self.whole.place, ..self.at(key.about.name(), self.whole.node) };
            missing.problem(format!("missing; {advice}"))
        })
    }

    /// Parses the value of `key`, if it is given.
    pub(super) fn read<T: Parse>(&self, key: &Key<T>) -> Option<Result<T, Invalid>> {
        self.get(key).map(|field| field.read(key))
    }

    /// Returns the value of `key`, which accepts a closed set, if it is given.
    pub(super) fn choice<T: Copy>(&self, key: &Key<T>) -> Option<Result<T, Invalid>> {
        self.get(key).map(|field| field.choice(key))
    }
}

/// Whether `text` looks like a name.
pub(super) fn is_word(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte))
}

/// Returns `text` in quotes, shortened and without control characters.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

fn shortened(text: &str) -> String {
    if may_hold_password(text) {
        return "<redacted>".to_owned();
    }
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Joins names as in `a, b or c`.
pub(super) fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// Returns the known key that is closest to `key`: at most one typing error away, or two for a long key.
pub(super) fn closest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near = (key.len() / 3).clamp(1, 2);
    known
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}
