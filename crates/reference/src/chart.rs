//! The schema of the value `config` in the chart's `values.schema.json`.
//!
//! It is the schema of the configuration file, except for what the chart adds or narrows.

use cachepulse::config::keys::agent::{HEALTH_LISTEN, HTTP, LISTEN, TARGETS};
use cachepulse::config::keys::connection::{HOST, TLS};
use cachepulse::config::keys::fleet::{AUTHORITIES, IDENTITIES};
use cachepulse::config::keys::identity::{
    ACCESS_KEY, CLIENT_CERTIFICATE, CLIENT_SECRET, IDENTITY, PASSWORD, TOKEN,
};
use cachepulse::config::keys::sentinel::{self, SENTINEL};
use cachepulse::config::schema::schema;
use serde_json::{Value, json};

/// The lines around the generated part.
const START: &str = "    \"config\": ";
const END: &str = "\n    },\n";

/// Returns `values`, the text of `values.schema.json`, with the schema of `config` replaced.
pub(crate) fn values_schema(values: &str) -> String {
    let expected = "values.schema.json has the property config";
    let (before, rest) = values.split_once(START).expect(expected);
    let (_, after) = rest.split_once(END).expect(expected);
    let config = format!("{:#}", config()).replace('\n', "\n    ");
    format!("{before}{START}{config},\n{after}")
}

fn config() -> Value {
    let mut config = schema();
    without_merge_keys(&mut config);
    let root = config.as_object_mut().expect("a schema is an object");
    root.remove("$schema");
    root.remove("anyOf");
    // The chart reads the port from the address, and a target may come from an existing ConfigMap instead.
    root.insert("required".into(), json!([HTTP.about.name()]));
    let properties = &mut config["properties"];
    let http = &mut properties[HTTP.about.name()];
    http["required"] = json!([LISTEN.about.name()]);
    let listen = &mut http["properties"][LISTEN.about.name()];
    *listen = json!({"type": "string", "pattern": listen_pattern()});
    let health_listen = &mut http["properties"][HEALTH_LISTEN.about.name()];
    *health_listen = json!({"type": "string", "pattern": listen_pattern()});
    let targets = &mut properties[TARGETS.about.name()];
    target(&mut targets["items"]["properties"]);
    target(&mut properties["defaults"]["properties"]);
    identity(&mut properties[IDENTITIES.about.name()]["additionalProperties"]);
    refer(&mut properties[AUTHORITIES.about.name()]["additionalProperties"], &public());
    config
}

/// An address of IPv4, one of IPv6 in brackets, or none, with a port.
fn listen_pattern() -> String {
    const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    const PORT: &str =
        "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    format!("^({BYTE}(\\.{BYTE}){{3}}|\\[[0-9a-fA-F:]*:[0-9a-fA-F:.]*\\])?:{PORT}$")
}

/// Extends the keys of a target by what the chart mounts, and by what Helm makes of YAML.
fn target(keys: &mut Value) {
    identity(&mut keys[IDENTITY.about.name()]);
    certificates(&mut keys[TLS.whole.about.name()]);
    if let Some(sentinel) = keys.get_mut(SENTINEL.about.name()).map(|sentinel| &mut sentinel["properties"]) {
        let identity = &mut sentinel[sentinel::IDENTITY.about.name()]["then"]["properties"];
        identity[sentinel::PASSWORD.whole.about.name()]["properties"]["secretRef"] = secret();
        certificates(&mut sentinel[sentinel::TLS.whole.about.name()]);
    }
    // The network policy reads the port and TLS from their own keys, so the host is neither a URL nor has a port. Only
    // an IPv6 address has more than one colon.
    if let Some(host) = keys.get_mut(HOST.about.name()) {
        host["pattern"] = "^([^\\s/@:,]+|[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$".into();
        host["description"] =
            "Without a port. In the chart, `port` and `tls` are set by their own keys.".into();
    }
}

/// Extends an identity by references to the Secrets that the chart mounts.
fn identity(identity: &mut Value) {
    let keys = &mut identity["then"]["properties"];
    for key in [&ACCESS_KEY, &CLIENT_SECRET, &PASSWORD] {
        keys[key.whole.about.name()]["properties"]["secretRef"] = secret();
    }
    let token = &mut keys[TOKEN.whole.about.name()];
    token["properties"]["secretRef"] = secret();
    token["oneOf"] = one_of([TOKEN.file.about.name(), TOKEN.command.about.name(), "secretRef"]);
    let certificate = &mut keys[CLIENT_CERTIFICATE.whole.about.name()];
    certificate["properties"]["secretRef"] = secret();
    certificate.as_object_mut().expect("a schema is an object").remove("required");
    certificate["oneOf"] = one_of([CLIENT_CERTIFICATE.file.about.name(), "secretRef"]);
    refer(&mut certificate["properties"][CLIENT_CERTIFICATE.key_file.about.name()], &private());
}

/// A key of a Secret.
fn secret() -> Value {
    json!({"$ref": "#/definitions/keyReference"})
}

/// Where a certificate may be.
fn public() -> Value {
    json!({"secretRef": secret(), "configMapRef": secret()})
}

/// Where a private key may be.
fn private() -> Value {
    json!({"secretRef": secret()})
}

/// Exactly one of the properties `names` must be given.
fn one_of<const N: usize>(names: [&str; N]) -> Value {
    names.map(|name| json!({"required": [name]})).into_iter().collect()
}

/// Extends the files of `tls` by references to what the chart mounts.
fn certificates(tls: &mut Value) {
    let tls = &mut tls["then"]["properties"];
    for (key, references) in
        [(&TLS.ca_file, public()), (&TLS.cert_file, public()), (&TLS.key_file, private())]
    {
        refer(&mut tls[key.about.name()], &references);
    }
}

/// Extends the path `file` by one of `references`.
fn refer(file: &mut Value, references: &Value) {
    *file = json!({
        "if": {"type": "object"},
        "then": {
            "type": "object",
            "additionalProperties": false,
            "properties": references,
            "minProperties": 1,
            "maxProperties": 1,
        },
        "else": file,
    });
}

/// Removes the properties for YAML merge keys, which Helm resolves before it validates.
fn without_merge_keys(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("<<");
            object.values_mut().for_each(without_merge_keys);
        }
        Value::Array(items) => {
            items.retain(|item| item != "<<");
            items.iter_mut().for_each(without_merge_keys);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_and_a_certificate_can_come_from_kubernetes() {
        let config = config();
        let target = &config["properties"]["targets"]["items"]["properties"];
        let identity = &target["identity"]["then"]["properties"];
        for secret in ["key", "client_secret", "password", "token"] {
            assert!(identity[secret]["properties"]["secretRef"].is_object(), "{secret}");
        }
        let certificate = &identity["client_certificate"]["properties"];
        assert!(certificate["secretRef"].is_object());
        assert!(certificate["key_file"]["then"]["properties"]["secretRef"].is_object());
        let tls = &target["tls"]["then"]["properties"];
        for file in ["ca_file", "cert_file"] {
            assert!(tls[file]["then"]["properties"]["configMapRef"].is_object(), "{file}");
        }
        assert!(tls["key_file"]["then"]["properties"]["secretRef"].is_object());
        assert!(tls["key_file"]["then"]["properties"]["configMapRef"].is_null(), "a key is a secret");
        assert_eq!(config["required"], json!(["http"]));
        let named = &config["properties"]["identities"]["additionalProperties"]["then"]["properties"];
        assert!(named["key"]["properties"]["secretRef"].is_object() && named["hosts"].is_object());
        let authority = &config["properties"]["authorities"]["additionalProperties"];
        assert!(authority["then"]["properties"]["configMapRef"].is_object());
    }

    #[test]
    fn only_the_schema_of_config_is_replaced() {
        let values = "{\n    \"config\": {\n      \"type\": \"string\"\n    },\n    \"next\": 1\n}\n";
        let replaced = values_schema(values);
        assert!(
            replaced.starts_with("{\n    \"config\": {\n")
                && replaced.ends_with("\n    },\n    \"next\": 1\n}\n")
        );
        assert!(replaced.contains("\"shutdown_grace_period\""), "{replaced}");
        assert_eq!(values_schema(&replaced), replaced);
    }
}
