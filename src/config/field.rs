//! A value of the document together with its path: what it says if it is right, a problem noted if it is not.
//!
//! Knows kinds of values (text, numbers, choices, lists, mappings) but no key of the configuration.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::document::{Node, Value};
use super::problem::Findings;

/// How much of a bad value a message repeats, in characters.
const SHOWN: usize = 60;

/// The value is wrong, and a problem was noted. Only [`Field::problem`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invalid(());

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    node: &'a Node,
    path: String,
    findings: &'a Findings,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub(super) fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self { node, path: String::new(), findings }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Notes a problem with this value.
    pub(super) fn problem(&self, message: impl Into<String>) -> Invalid {
        self.findings.add(self.node.order, self.path.clone(), message.into());
        Invalid(())
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

    /// Text. A number is refused: YAML has already forgotten how it was written.
    pub(super) fn text(&self, what: &str) -> Result<&'a str, Invalid> {
        match self.value() {
            Value::Text(text) if text.trim().is_empty() => Err(self.expected(what)),
            Value::Text(text) if text.chars().any(char::is_control) => {
                Err(self.problem(format!("expected {what}, found text with control characters")))
            }
            Value::Text(text) => Ok(text),
            Value::Number(number) => Err(self.problem(format!(
                "expected {what}, found the number {}: put it in quotes",
                shortened(number)
            ))),
            _ => Err(self.expected(what)),
        }
    }

    /// Text without a space.
    pub(super) fn word(&self, what: &str) -> Result<&'a str, Invalid> {
        let text = self.text(what)?;
        if text.contains(char::is_whitespace) { Err(self.expected(what)) } else { Ok(text) }
    }

    /// What is written, be it text or a number. Text will do for both, so that a template may quote as it likes.
    pub(super) fn scalar(&self, what: impl Display) -> Result<&'a str, Invalid> {
        match self.value() {
            Value::Text(text) | Value::Number(text) => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    /// A whole number in `range`.
    pub(super) fn integer<T>(&self, range: RangeInclusive<T>) -> Result<T, Invalid>
    where
        T: FromStr + PartialOrd + Display,
    {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let number = self.scalar(&what)?.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| self.expected(what))
    }

    /// `true` or `false`, if it is either.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.value() {
            Value::Bool(value) => Some(*value),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// One of the names in `choices`.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Invalid> {
        if let Value::Text(text) = self.value()
            && let Some((_, choice)) = choices.iter().find(|(name, _)| name == text)
        {
            return Ok(*choice);
        }
        Err(self.expected(one_of(choices.iter().map(|(name, _)| *name))))
    }

    /// The items of a list.
    pub(super) fn items(&self, what: &str) -> Result<Vec<Field<'a>>, Invalid> {
        let Value::List(items) = self.value() else { return Err(self.expected(what)) };
        let item = |(index, node)| Field { node, path: format!("{}[{index}]", self.path), ..*self };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The keys of a mapping. Those that are not in `known` are noted as unknown, and those that come again.
    pub(super) fn fields(&self, what: &str, known: &[&str]) -> Result<Fields<'a>, Invalid> {
        let fields = self.any_fields(what)?;
        let mut seen = Vec::with_capacity(known.len());
        for (key, node) in fields.entries {
            let field = fields.at(key, node);
            if !known.contains(&key.as_str()) {
                field.problem(match closest(key, known) {
                    Some(meant) => format!("unknown key; did you mean `{meant}`?"),
                    None => format!("unknown key; expected {}", one_of(known.iter().copied())),
                });
            } else if seen.contains(&key) {
                field.problem("stands here a second time");
            } else {
                seen.push(key);
            }
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
        let quote = if key.trim().is_empty() { "\"" } else { "" };
        let path = format!("{}{dot}{quote}{}{quote}", self.whole.path, shortened(key));
        Field { node, path, ..self.whole }
    }

    /// The value of `key`, if it is given.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        self.entries.iter().find(|(name, _)| name == key).map(|(name, node)| self.at(name, node))
    }

    /// The value of `key`; a problem, with advice, if it is not given.
    pub(super) fn required(&self, key: &str, advice: &str) -> Result<Field<'a>, Invalid> {
        self.get(key).ok_or_else(|| self.at(key, self.whole.node).problem(format!("is missing; {advice}")))
    }
}

/// `text` in backquotes, fit for a line of a message.
fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

fn shortened(text: &str) -> String {
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
fn closest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = (key.len() / 3).clamp(1, 2);
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(key, candidate), *candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}
