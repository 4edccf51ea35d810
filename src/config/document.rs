//! A document as a tree of plain values, and its parser for YAML. The only file that uses `serde_yaml`. Does not
//! interpret the values.
//!
//! `serde_yaml` reports positions in errors only. So the positions of values are found by parsing a second time, once
//! there is something to say about them: the value raises an error, the collection around it reads the position from
//! the error and goes on.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};

use serde::de::{
    Deserialize as _, DeserializeSeed, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{merge, surrogates};
use crate::files::text_without_mark;

/// The largest size of a document with expanded aliases: one per value and one per byte of text. Only a file with aliases
/// can exceed it, because of [`crate::files::MAX_SIZE`].
const MAX_SIZE: usize = 4 * 1024 * 1024;

/// A value and its place in the document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// The number of the key or value in the order of the document: a key directly precedes its value. Each expansion
    /// of an alias has new numbers.
    pub(super) order: usize,
    pub(super) value: Value,
}

impl Node {
    /// Returns the value of `key` in a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Whether it is neither a list nor a mapping.
    pub(super) fn is_leaf(&self) -> bool {
        !matches!(self.value, Value::List(_) | Value::Map(_))
    }

    /// Returns the order of the first key or value in it that is neither a list nor a mapping, because only those have
    /// positions.
    pub(super) fn first_leaf(&self) -> Option<usize> {
        match &self.value {
            Value::List(items) => items.first()?.first_leaf(),
            Value::Map(entries) => (!entries.is_empty()).then_some(self.order + 1),
            _ => Some(self.order),
        }
    }
}

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A value of YAML.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As text: each reader parses it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the document, duplicate keys included.
    Map(Vec<(String, Node)>),
    /// A value with a tag such as `!secret`.
    Tagged,
}

/// The deepest nesting of brackets. `serde_yaml` refuses more than 128, but only after a time that grows with the square
/// of the nesting.
const MAX_DEPTH: usize = 500;

const TOO_DEEP: &str = "nested too deeply";
const TOO_LARGE: &str = "too large with its aliases expanded";
/// The errors of `serde_yaml` for a second document and for control characters.
const MANY: &str = "more than one document";
const CONTROL: &str = "control characters are not allowed";
const NO_KEY: &str = "a key must be plain text";
/// The error that is raised for its position.
const HERE: &str = "here";

/// Parses one YAML document. The error is one line, with a position where YAML has one.
pub(super) fn parse(yaml: &str) -> Result<Node, (String, Option<Position>)> {
    if let Some(at) = deepest(yaml) {
        return Err((format!("not valid YAML: {TOO_DEEP}"), Some(position_of(yaml, at))));
    }
    let yaml = &surrogates::joined(yaml);
    let reading = Reading::default();
    NodeSeed(&reading).deserialize(deserializer(yaml)).map_err(|error| {
        // `serde_yaml` treats the text after a syntax error as a second document.
        let error = if error.to_string().contains(MANY) { later_error(yaml).unwrap_or(error) } else { error };
        let position = error.location().map(|place| Position { line: place.line(), column: place.column() });
        let position = byte_in(&error.to_string()).map_or(position, |at| Some(position_of(yaml, at)));
        (format!("not valid YAML: {}", explain(&error, position)), position)
    })
}

/// Returns the byte at which brackets are nested too deeply. Counts those in text and comments, too, which rarely stay open.
fn deepest(yaml: &str) -> Option<usize> {
    let mut depth = 0_usize;
    yaml.bytes().position(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

/// Returns the syntax error after the first document of `yaml`, if there is one.
fn later_error(yaml: &str) -> Option<serde_yaml::Error> {
    deserializer(yaml).skip(1).find_map(|document| IgnoredAny::deserialize(document).err())
}

/// Parses the byte position that an error contains instead of a line.
fn byte_in(error: &str) -> Option<usize> {
    let (_, at) = error.split_once(" at position ")?;
    at.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the line and column of the byte `at`.
fn position_of(yaml: &str, at: usize) -> Position {
    let before = String::from_utf8_lossy(&yaml.as_bytes()[..at.min(yaml.len())]);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Position { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

/// Returns a deserializer without the byte-order mark, after which `serde_yaml` would expect a second document.
fn deserializer(yaml: &str) -> serde_yaml::Deserializer<'_> {
    serde_yaml::Deserializer::from_str(text_without_mark(yaml))
}

/// Returns the positions of the keys and values at `orders` in the document that [`parse`] returns for `yaml`. Lists and
/// mappings have none.
pub(super) fn positions(yaml: &str, orders: HashSet<usize>) -> HashMap<usize, Position> {
    let reading = Reading { wanted: orders, ..Reading::default() };
    if let Err(error) = NodeSeed(&reading).deserialize(deserializer(&surrogates::joined(yaml))) {
        // A document without a collection around its value; anything else was an error when it was parsed.
        let _ = reading.catch(error);
    }
    reading.found.into_inner()
}

/// Converts `yaml` to JSON, for the examples of keys, which a test validates.
pub(super) fn json(yaml: &str) -> serde_json::Value {
    serde_yaml::from_str(yaml).unwrap_or_default()
}

/// What is wrong, without the position and without what the document says: where a value is at fault, `serde_yaml`
/// repeats the keys that lead there, however long, and such as `!!int hunter2` whole.
fn explain(error: &serde_yaml::Error, position: Option<Position>) -> String {
    let text = error.to_string();
    let faults = [
        (TOO_LARGE, TOO_LARGE),
        (NO_KEY, NO_KEY),
        ("invalid value", "a value does not fit its tag"),
        (MANY, "more than one document in the file"),
        (CONTROL, CONTROL),
        ("recursion limit", TOO_DEEP),
        ("repetition limit", "too many aliases"),
    ];
    if let Some((_, fault)) = faults.iter().find(|(found, _)| text.contains(found)) {
        return (*fault).to_owned();
    }
    match position {
        Some(Position { line, column }) => text.replacen(&format!(" at line {line} column {column}"), "", 1),
        None => text,
    }
}

/// One pass over a document.
struct Reading {
    /// The order of the next key or value.
    next: Cell<usize>,
    /// The remaining size of the document.
    left: Cell<usize>,
    /// The orders of the keys and values whose positions are wanted, and the positions that were found.
    wanted: HashSet<usize>,
    found: RefCell<HashMap<usize, Position>>,
    /// The key or value that raised an error for its position.
    raised: Cell<Option<usize>>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            next: Cell::new(0),
            left: Cell::new(MAX_SIZE),
            wanted: HashSet::new(),
            found: RefCell::default(),
            raised: Cell::new(None),
        }
    }
}

impl Reading {
    fn spend<E: Error>(&self, size: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(size);
        self.left.set(left.ok_or_else(|| E::custom(TOO_LARGE))?);
        Ok(())
    }

    /// Keeps the position in `error`, if it was raised for that.
    fn catch<E: Display>(&self, error: E) -> Result<(), E> {
        let Some(order) = self.raised.take() else { return Err(error) };
        self.found.borrow_mut().insert(order, position_in(&error.to_string()));
        Ok(())
    }
}

/// Parses the position at the end of an error's text, which omits line 1, column 1.
fn position_in(error: &str) -> Position {
    let position = error.rsplit_once(" at line ").and_then(|(_, place)| {
        let (line, column) = place.split_once(" column ")?;
        Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    position.unwrap_or(Position { line: 1, column: 1 })
}

#[derive(Clone, Copy)]
struct NodeSeed<'a>(&'a Reading);

/// Reads the value at `order`.
#[derive(Clone, Copy)]
struct NodeVisitor<'a> {
    reading: &'a Reading,
    order: usize,
}

impl NodeVisitor<'_> {
    fn leaf<E: Error>(self, value: Value) -> Result<Value, E> {
        if let Value::Text(text) | Value::Number(text) = &value {
            self.reading.spend(text.len())?;
        }
        if self.reading.wanted.contains(&self.order) {
            self.reading.raised.set(Some(self.order));
            return Err(E::custom(HERE));
        }
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let Self(reading) = self;
        reading.spend(1)?;
        let order = reading.next.replace(reading.next.get() + 1);
        Ok(Node { order, value: deserializer.deserialize_any(NodeVisitor { reading, order })? })
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.leaf(Value::Null)
    }

    /// A document without any value.
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.leaf(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.leaf(Value::Number(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.leaf(Value::Number(number.to_string()))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        self.leaf(Value::Number(number.to_string()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        self.leaf(Value::Number(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        self.leaf(Value::Number(format!("{number:?}")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.leaf(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            match sequence.next_element_seed(NodeSeed(self.reading)) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::List(items)),
                Err(error) => self.reading.catch(error)?,
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        loop {
            let key = match map.next_key_seed(NodeSeed(self.reading)) {
                Ok(Some(Node { value, .. })) => text_of_key(value).ok_or_else(|| A::Error::custom(NO_KEY))?,
                Ok(None) => return Ok(Value::Map(merge::with_merged(entries))),
                Err(error) => {
                    self.reading.catch(error)?;
                    String::new()
                }
            };
            match map.next_value_seed(NodeSeed(self.reading)) {
                Ok(value) => entries.push((key, value)),
                Err(error) => self.reading.catch(error)?,
            }
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (IgnoredAny, content) = tagged.variant()?;
        let IgnoredAny = content.newtype_variant()?;
        self.leaf(Value::Tagged)
    }
}

fn text_of_key(key: Value) -> Option<String> {
    match key {
        Value::Text(key) | Value::Number(key) => Some(key),
        Value::Bool(key) => Some(key.to_string()),
        Value::Null => Some("null".to_owned()),
        Value::List(_) | Value::Map(_) | Value::Tagged => None,
    }
}
