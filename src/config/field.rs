//! A value of the document together with its path: what it says if it is right, a problem noted if it is not.
//!
//! Reads the kinds of values that descriptors of keys speak of (text, numbers, choices, lists, mappings), but knows no
//! single key.

use std::fmt::Display;

use super::document::{Node, Value};
use super::keys::{About, Choice, Descriptor, Key, Values};
use super::merge::MERGE;
use super::parse::Parse;
use super::problem::{Findings, Language, Noted};
use crate::secret::may_hold_password;

/// How much of a bad value a message repeats, in characters.
const SHOWN: usize = 60;

/// How top-level keys begin that are ignored, so that there is a place for anchors.
const EXTENSION: &str = "x-";

/// The value is wrong, and a problem was noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invalid(());

impl Invalid {
    /// Only for [`Findings::add_problem`], so that there is always a problem.
    pub(super) fn after_a_problem() -> Self {
        Self(())
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: String,
    /// The order of the key or value that the operator is shown.
    place: usize,
    findings: &'a Findings,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self { node, path: String::new(), place: node.first_leaf().unwrap_or(node.order), findings }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Whether the operator wrote flags instead of YAML.
    pub(super) fn is_of_flags(&self) -> bool {
        self.findings.language == Language::Flags
    }

    /// How the operator writes `key`.
    pub(super) fn name_of<T>(&self, key: &Key<T>) -> String {
        match key.about.flag {
            Some(flag) if self.is_of_flags() => flag.to_string(),
            _ => key.about.name().to_owned(),
        }
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

    /// Notes that this value is not `what`.
    pub(super) fn expected(&self, what: impl Display) -> Invalid {
        let found = match self.value() {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => quoted(&value.to_string()),
            Value::Text(text) if text.trim().is_empty() => "empty text".to_owned(),
            Value::Number(text) | Value::Text(text) => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Tagged => "a value with a tag".to_owned(),
        };
        self.problem(format!("expected {what}, found {found}"))
    }

    /// The value of `key`, parsed and within its range. Text will do for numbers, too, so that a template may quote as
    /// it likes.
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
        value.filter(|value| range.is_none_or(|range| range.contains(&value))).ok_or_else(|| {
            self.expected(format_args!("{}{such_as}{}{}", T::NOUN, T::SUCH_AS, self.or_mapping(&key.about)))
        })
    }

    /// One of the values of `key`, which takes a closed set of them.
    pub(super) fn choice<T: Copy>(&self, key: &Key<T>) -> Result<T, Invalid> {
        let choices: &[Choice<T>] = if let Values::Choices(choices) = &key.values { choices } else { &[] };
        let names = || choices.iter().map(|choice| choice.name);
        let Value::Text(text) = self.value() else { return Err(self.expected(one_of(names()))) };
        match (choices.iter().find(|choice| choice.name == text), closest(text, names())) {
            (Some(choice), _) => Ok(choice.value),
            (None, Some(meant)) => {
                Err(self.problem(format!("unknown value {}; did you mean \"{meant}\"?", quoted(text))))
            }
            (None, None) if is_word(text) => Err(self.expected(one_of(names()))),
            // A secret in the wrong place, perhaps.
            (None, None) => Err(self.problem(format!("expected {}, found other text", one_of(names())))),
        }
    }

    /// The other form of a key that also takes a mapping. There is no mapping among flags.
    fn or_mapping(&self, about: &About) -> String {
        if about.keys.is_empty() || self.is_of_flags() {
            return String::new();
        }
        format!(", or a mapping such as {}", about.example)
    }

    /// The text of `key`. A number is refused: YAML has already forgotten how it was written.
    pub(super) fn text(&self, key: &Key<&str>) -> Result<&'a str, Invalid> {
        let what = key.words();
        match self.value() {
            Value::Text(text) if text.trim().is_empty() => Err(self.expected(what)),
            Value::Text(text) if text.chars().any(char::is_control) => {
                Err(self.problem(format!("expected {what}, found text with control characters")))
            }
            Value::Text(text) => Ok(text),
            Value::Number(number) => Err(self.problem(format!(
                "expected {what}, found the number {}; put it in quotes",
                shortened(number)
            ))),
            _ => Err(self.expected(what)),
        }
    }

    /// The text of `key`, without a space in it.
    pub(super) fn word(&self, key: &Key<&str>) -> Result<&'a str, Invalid> {
        let text = self.text(key)?;
        if text.contains(char::is_whitespace) { Err(self.expected(key.words())) } else { Ok(text) }
    }

    /// The items of a list.
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

    /// The keys of the mapping that `about` describes.
    pub(super) fn fields(&self, about: &About) -> Result<Fields<'a>, Invalid> {
        self.fields_of(about.keys, &format!("a mapping such as {}", about.example))
    }

    /// The keys of a mapping. Those that are not in `known` are noted as unknown, and those that come twice.
    pub(super) fn fields_of(&self, known: &[&dyn Descriptor], what: &str) -> Result<Fields<'a>, Invalid> {
        let fields = self.any_fields(what)?;
        let known = || known.iter().map(|key| key.about().name());
        let mut seen = Vec::with_capacity(known().len());
        for (key, node) in fields.entries {
            if self.path.is_empty() && key.starts_with(EXTENSION) {
                continue;
            }
            let problem = if key == MERGE {
                format!("expected a mapping or a list of mappings under \"{MERGE}\"")
            } else if !known().any(|name| name == key) {
                match closest(key, known()) {
                    Some(meant) => format!("unknown key {}; did you mean \"{meant}\"?", quoted(key)),
                    None => format!("unknown key {}; expected {}", quoted(key), one_of(known())),
                }
            } else if seen.contains(&key) {
                format!("duplicate key {}", quoted(key))
            } else {
                seen.push(key);
                continue;
            };
            // The problem is with the key, which comes right before its value.
            let order = node.order.saturating_sub(1);
            self.findings.add_problem(Noted { order, path: self.path.clone(), message: problem });
        }
        Ok(fields)
    }

    /// The keys of a mapping, whatever they are.
    pub(super) fn any_fields(&self, what: &str) -> Result<Fields<'a>, Invalid> {
        let Value::Map(entries) = self.value() else { return Err(self.expected(what)) };
        Ok(Fields { whole: self.clone(), entries })
    }

    /// A mapping without keys in this value's place.
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

    /// The value of `key`, if it is given.
    pub(super) fn get<T>(&self, key: &Key<T>) -> Option<Field<'a>> {
        self.named(key.about.name())
    }

    /// The value of the key called `name`, if it is given.
    pub(super) fn named(&self, name: &str) -> Option<Field<'a>> {
        self.entries.iter().find(|(given, _)| given == name).map(|(name, node)| self.at(name, node))
    }

    /// The value of `key`; a problem, with advice, if it is not given.
    pub(super) fn required<T>(&self, key: &Key<T>, advice: &str) -> Result<Field<'a>, Invalid> {
        self.get(key).ok_or_else(|| {
            let missing = Field { place: self.whole.place, ..self.at(key.about.name(), self.whole.node) };
            missing.problem(format!("missing; {advice}"))
        })
    }

    /// The value of `key`, parsed, if it is given.
    pub(super) fn read<T: Parse>(&self, key: &Key<T>) -> Option<Result<T, Invalid>> {
        self.get(key).map(|field| field.read(key))
    }

    /// The value of `key`, which takes a closed set, if it is given.
    pub(super) fn choice<T: Copy>(&self, key: &Key<T>) -> Option<Result<T, Invalid>> {
        self.get(key).map(|field| field.choice(key))
    }
}

/// Whether `text` looks like the name of something.
fn is_word(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte))
}

/// `text` in quotes, fit for a line of a message.
fn quoted(text: &str) -> String {
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

/// `a, b or c`.
pub(super) fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The known key that `key` was probably meant to be: one typing error away, or two in a long one.
pub(super) fn closest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near = (key.len() / 3).clamp(1, 2);
    known
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}
