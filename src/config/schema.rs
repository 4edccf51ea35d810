//! The JSON Schema of the configuration, from the descriptors of its keys.
//!
//! Its dialect is draft 2020-12, with no keyword that draft-07 lacks or understands differently, so that the schema can
//! be a part of a draft-07 schema. It accepts everything that is valid. Only `cachepulse validate` checks what depends on
//! other values, files or the environment.

use serde_json::{Map, Value, json};

use super::document;
use super::keys::agent::TARGETS;
use super::keys::connection::{HOST, TLS};
use super::keys::fleet::{NAMED_IDENTITY, TARGET_FILES};
use super::keys::identity::{IDENTITY, MANAGED_IDENTITY_IDS, SUBSCRIPTION, TENANT_ID, TOKEN, TYPE, USERNAME};
use super::keys::sentinel::{self, SENTINEL};
use super::keys::{self, About, Absent, Choice, Descriptor, IdentityType, Key, Kind};

/// The identities, each with the key of its type.
static IDENTITIES: [(&Key<IdentityType>, &Key<IdentityType>); 3] =
    [(&IDENTITY, &TYPE), (&NAMED_IDENTITY, &TYPE), (&sentinel::IDENTITY, &sentinel::TYPE)];

/// Numbers with units.
const DURATION: &str = "^([0-9]+(\\.[0-9]+)?(h|m|s|ms))+$";
/// Bytes, or a number and a unit.
const SIZE: &str = "^[0-9]+(KiB|MiB)?$";
/// A number, or a name that ends with one.
const ORDINAL: &str = "^(.*[0-9A-Za-z]-)?[0-9]+$";
/// Text that is not blank and has no control characters.
const LINE: &str = "^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$";

/// Returns the schema of a configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = mapping(keys::ROOT, &[]);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Configuration of cachepulse".into());
    // Beside files with targets, the list may be empty.
    let (targets, files) = (TARGETS.about.name(), TARGET_FILES.about.name());
    let least = schema["properties"][targets].as_object_mut().and_then(|targets| targets.remove("minItems"));
    schema.insert(
        "anyOf".into(),
        json!([
            {"required": [targets], "properties": {targets: {"minItems": least}}},
            {"required": [files]},
        ]),
    );
    // For anchors.
    schema.insert("patternProperties".into(), json!({"^x-": {}}));
    Value::Object(schema)
}

/// Returns the schema of a mapping of `keys` that only these `identities` use; none means all.
fn mapping(keys: &[&dyn Descriptor], identities: &[IdentityType]) -> Map<String, Value> {
    let mut properties: Map<String, Value> =
        keys.iter().map(|key| (key.about().name().to_owned(), value(*key))).collect();
    properties.insert("<<".into(), merged());
    let mut schema = object(json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    }));
    let is_required = |key: &&&dyn Descriptor| {
        key.about().identities == identities && matches!(key.default_text(), Absent::Required)
    };
    let alternatives = [HOST.about.name(), SENTINEL.about.name()];
    let has_alternatives = keys.iter().any(|key| key.about().path == SENTINEL.about.path);
    let required = keys.iter().filter(is_required).map(|key| key.about().name());
    let required: Vec<&str> =
        required.filter(|name| !(has_alternatives && alternatives.contains(name))).collect();
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if has_alternatives {
        schema.insert("oneOf".into(), json!(alternatives.map(|name| json!({"required": [name]}))));
    }
    if keys.iter().any(|key| key.about().path == USERNAME.about.path) {
        schema.insert("not".into(), username_of_no_user());
    }
    schema
}

/// Returns the schema of the value of a merge key, for YAML parsers that do not resolve it.
fn merged() -> Value {
    json!({"type": ["object", "array"]})
}

/// Returns the schema of a target with a user name and an identity that uses none.
fn username_of_no_user() -> Value {
    let choices = TYPE.choices().iter().filter(|choice| !USERNAME.about.is_used_by(choice.value));
    let types: Vec<&str> = choices.map(|choice| choice.name).collect();
    let (username, identity, kind) = (USERNAME.about.name(), IDENTITY.about.name(), TYPE.about.name());
    json!({
        "required": [username, identity],
        "properties": {identity: {
            "if": {"type": "object"},
            "then": {"required": [kind], "properties": {kind: {"enum": types}}},
            "else": {"enum": types},
        }},
    })
}

/// Returns the schema of the value of `key`.
fn value(key: &dyn Descriptor) -> Value {
    let about = key.about();
    let mut schema = match key.kind() {
        Kind::Mapping => below(about),
        Kind::List => list(key, &below(about)),
        Kind::Hosts => list(key, &text(about)),
        Kind::Words => {
            // Only the first word may not be blank.
            let words = list(key, &object(json!({"type": "string"})));
            object(json!({"if": {"type": "array"}, "then": words, "else": text(about)}))
        }
        Kind::Named => named(key),
        _ if about.keys.is_empty() => scalar(key),
        // A mapping, or a shorter form.
        _ => object(json!({"if": {"type": "object"}, "then": below(about), "else": scalar(key)})),
    };
    schema.insert("title".into(), about.help.into());
    let default = match key.default_text() {
        Absent::Described(words) => format!("Default: {words}."),
        _ => String::new(),
    };
    let description = [about.doc, &default].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    if !description.is_empty() {
        schema.insert("description".into(), description.join("\n\n").into());
    }
    if let Absent::Default(default) = key.default_text() {
        schema.insert("default".into(), typed(key.kind(), &default));
    }
    if !about.example.is_empty() {
        schema.insert("examples".into(), json!([document::json(about.example)]));
    }
    Value::Object(schema)
}

/// Returns the schema of the mapping of the key that `about` describes.
fn below(about: &About) -> Map<String, Value> {
    let mut schema = mapping(about.keys, about.identities);
    if let Some((identity, kind)) = IDENTITIES.iter().find(|(identity, _)| about.path == identity.about.path)
    {
        let conditions = kind.choices().iter().map(|choice| only_keys_of(identity, kind, choice));
        schema.insert("allOf".into(), conditions.collect());
        if about.path != sentinel::IDENTITY.about.path {
            schema.insert("not".into(), two_ids_or_accounts());
        }
    } else if about.path == TOKEN.whole.about.path {
        let [file, command, timeout] = [&TOKEN.file.about, &TOKEN.command.about, &TOKEN.timeout.about]
            .map(|about| json!({"required": [about.name()]}));
        schema.insert("oneOf".into(), json!([file, command]));
        schema.insert("if".into(), timeout);
        schema.insert("then".into(), command);
    } else if [&TLS, &sentinel::TLS].iter().any(|tls| about.path == tls.whole.about.path) {
        let pair = [TLS.cert_file.about.name(), TLS.key_file.about.name()];
        schema.insert("if".into(), json!({"anyOf": pair.map(|name| json!({"required": [name]}))}));
        schema.insert("then".into(), json!({"required": pair}));
    } else if about.is_one_of {
        schema.insert("minProperties".into(), 1.into());
        schema.insert("maxProperties".into(), 1.into());
    }
    schema
}

/// Returns the schema of an identity with two of the ids, or two selections of an account, that exclude each other.
fn two_ids_or_accounts() -> Value {
    let names = MANAGED_IDENTITY_IDS.map(|key| key.about.name());
    let later = |first: usize| names[first + 1..].iter().copied();
    let ids = names.iter().enumerate().flat_map(|(index, first)| later(index).map(|second| [*first, second]));
    let account = [TENANT_ID.about.name(), SUBSCRIPTION.about.name()];
    let pairs = ids.chain([account]).map(|pair| json!({"required": pair}));
    json!({"anyOf": pairs.collect::<Vec<_>>()})
}

/// Returns the keys of `identity` that it uses if it is of this type.
fn keys_of(
    identity: &Key<IdentityType>,
    kind: IdentityType,
) -> impl Iterator<Item = &'static dyn Descriptor> {
    identity.about.keys.iter().copied().filter(move |key| key.about().is_used_by(kind))
}

/// Returns the names of the keys that `identity` must have if it is of this type.
fn required_keys(identity: &Key<IdentityType>, kind: IdentityType) -> Vec<&'static str> {
    let is_required = |key: &&dyn Descriptor| matches!(key.default_text(), Absent::Required);
    keys_of(identity, kind).filter(is_required).map(|key| key.about().name()).collect()
}

/// Returns the values of `key`, which takes a closed set. An identity that must have details needs a mapping.
fn names(key: &dyn Descriptor) -> Vec<&'static str> {
    match IDENTITIES.iter().find(|(identity, _)| key.about().path == identity.about.path) {
        Some((identity, kind)) => {
            let plain =
                kind.choices().iter().filter(|choice| required_keys(identity, choice.value).is_empty());
            plain.map(|choice| choice.name).collect()
        }
        None => key.choices().iter().map(|(name, _)| *name).collect(),
    }
}

/// Returns the values of `key`, which takes a closed set. Tools that know YAML 1.1, such as Helm, take `on` and `off` for
/// booleans.
fn choices(key: &dyn Descriptor) -> Vec<Value> {
    let names = names(key);
    let booleans = [("on", true), ("off", false)].into_iter().filter(|(name, _)| names.contains(name));
    let booleans: Vec<Value> = booleans.map(|(_, value)| value.into()).collect();
    names.into_iter().map(Value::from).chain(booleans).collect()
}

/// Returns the values of `key`, which takes a closed set, if they are numbers.
fn numbers(key: &dyn Descriptor) -> Option<Vec<u64>> {
    names(key).into_iter().map(|name| name.parse().ok()).collect()
}

/// Returns the condition that `identity`, whose type is the key `kind`, has only the keys of one type.
fn only_keys_of(
    identity: &Key<IdentityType>,
    kind: &Key<IdentityType>,
    choice: &Choice<IdentityType>,
) -> Value {
    let Choice { name, value, .. } = *choice;
    let names: Vec<&str> = keys_of(identity, value).map(|key| key.about().name()).chain(["<<"]).collect();
    let required = required_keys(identity, value);
    let type_name = kind.about.name();
    let mut condition = json!({"properties": {type_name: {"const": name}}});
    if value != kind.default() {
        // Without a type it is not this one.
        condition["required"] = json!([type_name]);
    }
    let mut then = json!({"propertyNames": {"enum": names}});
    if !required.is_empty() {
        then["required"] = json!(required);
    }
    json!({"if": condition, "then": then})
}

/// Returns the schema of a list whose items have the schema `items`.
fn list(key: &dyn Descriptor, items: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = object(json!({"type": "array", "items": items}));
    if let Some((least, most)) = key.range() {
        schema.insert("minItems".into(), typed(Kind::Integer, &least));
        schema.insert("maxItems".into(), typed(Kind::Integer, &most));
    }
    schema
}

/// Returns the schema of a mapping whose keys the operator names.
fn named(key: &dyn Descriptor) -> Map<String, Value> {
    let mut schema = object(json!({
        "type": "object",
        "properties": {"<<": merged()},
        "propertyNames": {"anyOf": [{"pattern": key.about().pattern}, {"const": "<<"}]},
        "additionalProperties": key.named().map(value),
    }));
    if let Some((_, most)) = key.range() {
        schema.insert("maxProperties".into(), typed(Kind::Integer, &most));
    }
    schema
}

fn scalar(key: &dyn Descriptor) -> Map<String, Value> {
    let schema = match key.kind() {
        Kind::Boolean => json!({"enum": [true, false, "true", "false"]}),
        Kind::Choice => match numbers(key) {
            // Not in one list: Helm takes a number and its text for equal items.
            Some(numbers) => json!({"anyOf": [{"enum": numbers}, {"enum": choices(key)}]}),
            None => json!({"enum": choices(key)}),
        },
        Kind::Duration | Kind::DurationOrOff => json!({"type": "string", "pattern": DURATION}),
        // A number may be quoted, as templates often write it.
        kind @ (Kind::Integer | Kind::Ordinal | Kind::IntegerOrAuto | Kind::Size) => {
            let pattern = match kind {
                Kind::Size => SIZE,
                Kind::Ordinal => ORDINAL,
                Kind::IntegerOrAuto => "^(auto|[0-9]+)$",
                _ => "^[0-9]+$",
            };
            let mut schema = json!({"type": ["integer", "string"], "pattern": pattern});
            if let Some((least, most)) = key.range() {
                schema["minimum"] = typed(kind, &least);
                schema["maximum"] = typed(kind, &most);
            }
            schema
        }
        _ => return text(key.about()),
    };
    object(schema)
}

fn text(about: &About) -> Map<String, Value> {
    let pattern = if about.pattern.is_empty() { LINE } else { about.pattern };
    object(json!({"type": "string", "pattern": pattern}))
}

/// Converts `written` to a JSON value of `kind`.
fn typed(kind: Kind, written: &str) -> Value {
    match kind {
        Kind::Boolean => (written == "true").into(),
        Kind::Integer | Kind::Ordinal | Kind::IntegerOrAuto | Kind::Choice => {
            written.parse::<u64>().map_or_else(|_| written.into(), Value::from)
        }
        Kind::Size => super::size::parse(written).map_or(Value::Null, Value::from),
        _ => written.into(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("only called with objects"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_help_its_range_its_default_and_its_example() {
        let schema = schema();
        assert_eq!(
            schema["anyOf"],
            json!([
                {"required": ["targets"], "properties": {"targets": {"minItems": 1}}},
                {"required": ["target_files"]},
            ])
        );
        assert!(schema["properties"]["targets"]["minItems"].is_null());
        let target = &schema["properties"]["targets"]["items"];
        assert_eq!(target["required"], json!(["name"]));
        assert_eq!(target["oneOf"], json!([{"required": ["host"]}, {"required": ["sentinel"]}]));
        assert_eq!(target["additionalProperties"], false);
        let attempts = &target["properties"]["attempts"];
        assert_eq!((&attempts["minimum"], &attempts["maximum"]), (&json!(1), &json!(10)));
        assert_eq!(
            (&attempts["default"], &attempts["title"]),
            (&json!(3), &keys::probe::ATTEMPTS.about.help.into())
        );
        let limit = &target["properties"]["reply_limit"];
        assert_eq!((&limit["minimum"], &limit["default"]), (&json!(65_536), &json!(8_388_608)));
        let tls = &target["properties"]["tls"];
        assert_eq!((&tls["examples"], &tls["default"]), (&json!([{"ca_file": "ca.pem"}]), &json!(true)));
        assert_eq!(schema["properties"]["defaults"]["properties"].get("name"), None);
    }

    #[test]
    fn an_identity_has_the_keys_of_its_type_only() {
        let schema = schema();
        let identity = &schema["properties"]["targets"]["items"]["properties"]["identity"]["then"];
        let of = |name: &str| {
            let rules = identity["allOf"].as_array().unwrap();
            let rule = rules.iter().find(|rule| rule["if"]["properties"]["type"]["const"] == name).unwrap();
            (rule["then"]["propertyNames"]["enum"].clone(), rule["then"]["required"].clone())
        };
        assert_eq!(of("access_key"), (json!(["type", "key", "<<"]), json!(["key"])));
        let plain = &schema["properties"]["targets"]["items"]["properties"]["identity"]["else"]["enum"];
        assert_eq!(
            plain,
            &json!([
                "auto",
                "managed_identity",
                "workload_identity",
                "client_secret",
                "client_certificate",
                "azure_cli",
                "azure_developer_cli",
                "none"
            ])
        );
        let keys = json!(["type", "tenant_id", "subscription", "scope", "<<"]);
        assert_eq!(of("azure_cli"), (keys, Value::Null));
        assert_eq!(of("token"), (json!(["type", "token", "<<"]), json!(["token"])));
    }

    #[test]
    fn sentinels_have_hosts_and_a_password_or_none() {
        let schema = schema();
        let sentinel = &schema["properties"]["targets"]["items"]["properties"]["sentinel"];
        assert_eq!(sentinel["required"], json!(["service", "addresses"]));
        let addresses = &sentinel["properties"]["addresses"];
        assert_eq!(
            addresses["items"],
            json!({"type": "string", "pattern": keys::sentinel::ADDRESSES.about.pattern})
        );
        assert_eq!((&addresses["minItems"], &addresses["maxItems"]), (&json!(1), &json!(32)));
        let identity = &sentinel["properties"]["identity"];
        assert_eq!(identity["else"], json!({"enum": ["none"]}));
        assert_eq!(identity["then"]["allOf"][1]["then"]["required"], json!(["password"]));
    }
}
