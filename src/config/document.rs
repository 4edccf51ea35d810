//! A document as a tree of plain values, and how YAML becomes one. The only file that knows `serde_yaml`; what the
//! values mean is left to those who read them.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// The size to which aliases may blow a document up: one for each value, one for each byte of text. More than a
/// file of [`super::file::MAX_SIZE`] can hold without aliases.
const MAX_SIZE: usize = 4 * 1024 * 1024;

/// A value at its place in the document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Grows from the document's first value to its last, whatever their depth.
    pub(super) order: usize,
    pub(super) value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As text: each reader has its own idea of which numbers are right.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the document, keys that come twice included.
    Map(Vec<(String, Node)>),
    /// A value with a tag such as `!secret`.
    Tagged,
}

const TOO_LARGE: &str = "too large with its aliases written out";
const NO_KEY: &str = "a key must be plain text";

/// Parses one YAML document. The error is one line, with line and column where YAML tells them.
pub(super) fn parse(yaml: &str) -> Result<Node, String> {
    let budget = Budget { order: Cell::new(0), left: Cell::new(MAX_SIZE) };
    let deserializer = serde_yaml::Deserializer::from_str(yaml);
    NodeSeed(&budget)
        .deserialize(deserializer)
        .map_err(|error| format!("not valid YAML: {}", explain(&error)))
}

/// What is wrong, without what the document says: where a value is at fault, `serde_yaml` would repeat the keys that
/// lead there, however long, and such as `!!int hunter2` whole.
fn explain(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let faults =
        [(TOO_LARGE, TOO_LARGE), (NO_KEY, NO_KEY), ("invalid value", "a value does not fit its tag")];
    let fault = faults.iter().find(|(said, _)| text.contains(said));
    match (fault, error.location()) {
        (Some((_, fault)), Some(place)) => {
            format!("{fault} at line {} column {}", place.line(), place.column())
        }
        (Some((_, fault)), None) => (*fault).to_owned(),
        (None, _) => text,
    }
}

struct Budget {
    order: Cell<usize>,
    left: Cell<usize>,
}

impl Budget {
    fn spend<E: Error>(&self, size: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(size);
        self.left.set(left.ok_or_else(|| E::custom(TOO_LARGE))?);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct NodeSeed<'a>(&'a Budget);

impl NodeSeed<'_> {
    fn scalar<E: Error>(self, value: Value) -> Result<Value, E> {
        let (Value::Text(text) | Value::Number(text)) = &value else { return Ok(value) };
        self.0.spend(text.len())?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.spend(1)?;
        let order = self.0.order.get();
        self.0.order.set(order + 1);
        Ok(Node { order, value: deserializer.deserialize_any(self)? })
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    /// A document without any value.
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.scalar(Value::Number(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.scalar(Value::Number(number.to_string()))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        self.scalar(Value::Number(number.to_string()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        self.scalar(Value::Number(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        self.scalar(Value::Number(format!("{number:?}")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.scalar(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry_seed(self, self)? {
            let key = match key.value {
                Value::Text(key) | Value::Number(key) => key,
                Value::Bool(key) => key.to_string(),
                Value::Null => "null".to_owned(),
                Value::List(_) | Value::Map(_) | Value::Tagged => {
                    return Err(A::Error::custom(NO_KEY));
                }
            };
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (IgnoredAny, content) = tagged.variant()?;
        let IgnoredAny = content.newtype_variant()?;
        Ok(Value::Tagged)
    }
}
