//! A file with targets, as one document with what the configuration defines.
//!
//! Who can write such a file must not gain secrets or code. So identities and certificates are named in it, and replaced by what
//! the configuration says under these names; paths, commands and variables are refused. The readers of the configuration then
//! read the document like any other. `named_identities.rs` says for which hosts an identity may be used.

use std::sync::Arc;

use super::document::{Node, Value};
use super::field::{Field, closest, quoted};
use super::identity::NONE;
use super::keys::connection::{HOST, NAME, TLS};
use super::keys::fleet::{AUTHORITIES, HOSTS, IDENTITIES};
use super::keys::identity::IDENTITY;
use super::keys::labels::LABELS;
use super::keys::sentinel::SENTINEL;
use super::keys::{Key, agent};
use super::named_identities::NamedIdentities;
use super::problem::{Collector, Language, Noted, Problems};
use super::sources::Sources;
use super::{document_of, place, target};
use crate::target::Target;

/// The order of values that are not in the file, so that they have no position there.
const ELSEWHERE: usize = usize::MAX;

/// The key of a group of Prometheus' file-based service discovery.
const GROUP_TARGETS: &str = "targets";

/// What the configuration defines for files with targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Definitions {
    defaults: Option<Node>,
    identities: Vec<(String, Node)>,
    authorities: Vec<(String, Node)>,
    allowed: NamedIdentities,
}

impl Definitions {
    /// Takes them from a valid configuration.
    pub(super) fn of(
        defaults: Option<&Field<'_>>,
        identities: Option<&Field<'_>>,
        authorities: Option<&Field<'_>>,
        allowed: NamedIdentities,
    ) -> Self {
        let named = |field: Option<&Field<'_>>| match field.map(Field::value) {
            Some(Value::Map(entries)) => {
                entries.iter().map(|(name, node)| (name.clone(), elsewhere(node.clone()))).collect()
            }
            _ => Vec::new(),
        };
        let defaults =
            defaults.map(|field| elsewhere(Node { order: ELSEWHERE, value: field.value().clone() }));
        let identities = named(identities).into_iter().map(|(name, node)| (name, without_hosts(node)));
        Self { defaults, identities: identities.collect(), authorities: named(authorities), allowed }
    }

    /// Reads the targets in `text`, which messages call `name`.
    ///
    /// # Errors
    /// Every problem; only one if the text is not YAML.
    pub(super) fn read(
        &self,
        name: &str,
        text: &str,
        sources: &Sources,
    ) -> Result<Vec<Arc<Target>>, Problems> {
        let file = document_of(name, text)?;
        let findings = Collector::new(Language::TargetFile, sources.clone());
        let document = Grafting { definitions: self, findings: &findings }.document(&file);
        let read = Field::root(&document, &findings)
            .any_fields("a mapping")
            .and_then(|fields| target::read_of_file(&fields, |target| self.allowed.check(target)));
        let (targets, _) = findings.conclude(read, |noted| place::locate(name, text, None, noted))?;
        Ok(targets)
    }

    fn has_default_identity(&self) -> bool {
        self.defaults.as_ref().is_some_and(|defaults| defaults.get(IDENTITY.about.name()).is_some())
    }
}

/// Returns `node` without its places.
fn elsewhere(node: Node) -> Node {
    let value = match node.value {
        Value::List(items) => Value::List(items.into_iter().map(elsewhere).collect()),
        Value::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, node)| (key, elsewhere(node))).collect())
        }
        value => value,
    };
    Node { order: ELSEWHERE, value }
}

/// Returns an identity as a target has it.
fn without_hosts(mut identity: Node) -> Node {
    if let Value::Map(entries) = &mut identity.value {
        entries.retain(|(key, _)| key != HOSTS.about.name());
    }
    identity
}

/// Puts the definitions in the place of their names.
struct Grafting<'a> {
    definitions: &'a Definitions,
    findings: &'a Collector,
}

impl Grafting<'_> {
    fn document(&self, file: &Node) -> Node {
        let mut targets = Vec::new();
        match &file.value {
            Value::List(items) => self.items(items, &mut targets),
            Value::Map(entries) => self.mapping(file, entries, &mut targets),
            _ => self.problem(
                file,
                "",
                "expected a list of targets, or a mapping with the key targets; [] for none",
            ),
        }
        let targets = Node { order: file.order, value: Value::List(targets) };
        let defaults =
            self.definitions.defaults.clone().map(|node| (agent::DEFAULTS.about.name().to_owned(), node));
        let targets = (agent::TARGETS.about.name().to_owned(), targets);
        Node { order: file.order, value: Value::Map(defaults.into_iter().chain([targets]).collect()) }
    }

    fn mapping(&self, file: &Node, entries: &[(String, Node)], targets: &mut Vec<Node>) {
        let name = agent::TARGETS.about.name();
        for (key, node) in entries.iter().filter(|(key, _)| !key.starts_with("x-")) {
            match &node.value {
                Value::List(items) if key == name => self.items(items, targets),
                _ if key == name => self.problem(node, name, "expected a list of targets; [] for none"),
                _ => self.problem(node, "", &format!("unknown key; a file with targets has only {name}")),
            }
        }
        if !entries.iter().any(|(key, _)| key == name) {
            self.problem(file, name, "missing; give a list of targets, [] for none");
        }
    }

    fn items(&self, items: &[Node], targets: &mut Vec<Node>) {
        for item in items {
            match &item.value {
                Value::Map(entries) if item.get(GROUP_TARGETS).is_some() => {
                    self.group(item, entries, targets);
                }
                Value::Map(entries) => {
                    let path = format!("targets[{}]", targets.len());
                    targets.push(self.target(item, entries, &path));
                }
                // The reader of targets says what is wrong.
                _ => targets.push(item.clone()),
            }
        }
    }

    /// Adds the targets of a group of Prometheus' file-based service discovery: addresses that share labels.
    fn group(&self, group: &Node, entries: &[(String, Node)], targets: &mut Vec<Node>) {
        let mut labels = None;
        for (key, node) in entries {
            let path = format!("targets[{}]", targets.len());
            match (key.as_str(), &node.value) {
                ("labels", Value::Map(all)) => {
                    // Prometheus does not store these either.
                    let stored = all.iter().filter(|(name, _)| !name.starts_with("__")).cloned().collect();
                    labels = Some(Node { order: node.order, value: Value::Map(stored) });
                }
                ("labels", Value::Null) | (GROUP_TARGETS, Value::List(_)) => {}
                ("labels", _) => {
                    self.problem(node, &format!("{path}.labels"), "expected a mapping of labels");
                }
                (GROUP_TARGETS, _) => {
                    self.problem(
                        node,
                        &format!("{path}.targets"),
                        "expected a list of addresses, such as [orders:6380]",
                    );
                }
                _ => self.problem(node, &path, "unknown key; a group has targets and labels"),
            }
        }
        let Some(Value::List(addresses)) = group.get(GROUP_TARGETS).map(|node| &node.value) else { return };
        for address in addresses {
            let key = |key: &Key<&str>, node: &Node| (key.about.name().to_owned(), node.clone());
            let entries = [key(&NAME, address), key(&HOST, address)];
            let labels = labels.as_ref().map(|labels| key(&LABELS, labels));
            let entries: Vec<_> = entries.into_iter().chain(labels).collect();
            let path = format!("targets[{}]", targets.len());
            targets.push(self.target(address, &entries, &path));
        }
    }

    fn target(&self, item: &Node, entries: &[(String, Node)], path: &str) -> Node {
        if !self.definitions.has_default_identity() && item_lacks(entries, IDENTITY.about.name()) {
            self.problem(
                item,
                &format!("{path}.{}", IDENTITY.about.name()),
                &format!(
                    "missing; give {NONE}, or a name under {} in the configuration, or set defaults.identity there",
                    IDENTITIES.about.path
                ),
            );
        }
        self.with_definitions(item, entries, path)
    }

    /// Returns a target, or its sentinels, with the definitions that it names.
    fn with_definitions(&self, item: &Node, entries: &[(String, Node)], path: &str) -> Node {
        let entries = entries.iter().map(|(key, node)| {
            let path = format!("{path}.{key}");
            let node = match &node.value {
                _ if key == IDENTITY.about.name() => self.identity(node, &path),
                Value::Map(entries) if key == TLS.whole.about.name() => self.tls(node, entries, &path),
                Value::Map(entries) if key == SENTINEL.about.name() => {
                    self.with_definitions(node, entries, &path)
                }
                _ => node.clone(),
            };
            (key.clone(), node)
        });
        Node { order: item.order, value: Value::Map(entries.collect()) }
    }

    fn identity(&self, node: &Node, path: &str) -> Node {
        match &node.value {
            Value::Text(name) if name == NONE => node.clone(),
            Value::Text(name) => {
                let known = &self.definitions.identities;
                defined(known, name).unwrap_or_else(|| {
                    self.unknown(node, path, name, known, IDENTITIES.about.path);
                    none(node)
                })
            }
            _ => {
                let message = format!(
                    "a file with targets holds no identities: give {NONE}, or a name under {} in the configuration",
                    IDENTITIES.about.path
                );
                self.problem(node, path, &message);
                none(node)
            }
        }
    }

    fn tls(&self, tls: &Node, entries: &[(String, Node)], path: &str) -> Node {
        let [ca_file, cert_file, key_file] =
            [&TLS.ca_file, &TLS.cert_file, &TLS.key_file].map(|key| key.about.name());
        let known = &self.definitions.authorities;
        let mut kept = Vec::new();
        for (key, node) in entries {
            let path = format!("{path}.{key}");
            match &node.value {
                Value::Text(name) if key == ca_file => match defined(known, name) {
                    Some(file) => kept.push((key.clone(), file)),
                    None => self.unknown(node, &path, name, known, AUTHORITIES.about.path),
                },
                _ if key == ca_file => {
                    self.problem(
                        node,
                        &path,
                        &format!("expected a name under {} in the configuration", AUTHORITIES.about.path),
                    );
                }
                _ if key == cert_file || key == key_file => {
                    self.problem(
                        node,
                        &path,
                        "not allowed in a file with targets; set it in the configuration",
                    );
                }
                _ => kept.push((key.clone(), node.clone())),
            }
        }
        Node { order: tls.order, value: Value::Map(kept) }
    }

    fn unknown(&self, node: &Node, path: &str, name: &str, known: &[(String, Node)], key: &str) {
        let advice = match closest(name, known.iter().map(|(known, _)| known.as_str())) {
            Some(meant) => format!("did you mean {}?", quoted(meant)),
            None => format!("define it under {key} in the configuration"),
        };
        self.problem(node, path, &format!("unknown name; {advice}"));
    }

    fn problem(&self, node: &Node, path: &str, message: &str) {
        let order = if node.is_leaf() { node.order } else { node.order.saturating_sub(1) };
        self.findings.add_problem(Noted { order, path: path.to_owned(), message: message.to_owned() });
    }
}

fn defined(known: &[(String, Node)], name: &str) -> Option<Node> {
    known.iter().find(|(known, _)| known == name).map(|(_, node)| node.clone())
}

fn item_lacks(entries: &[(String, Node)], key: &str) -> bool {
    !entries.iter().any(|(name, _)| name == key)
}

/// A valid identity in the place of a wrong one, which was noted.
fn none(node: &Node) -> Node {
    Node { order: node.order, value: Value::Text(NONE.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::keys::{self, Descriptor, Kind};
    use crate::config::named_identities;
    use crate::files::Files;
    use crate::identity::Identity;
    use crate::target::{Server, Tls};

    const CONFIG: &str = "
identities:
  shop: {type: managed_identity, hosts: ['*.example.com', stock]}
  azure: {type: managed_identity, client_id: a}
  secret: {type: password, password: {env: PATH}, hosts: cache.example.com}
  closed: {type: access_key, key: {env: PATH}}
authorities: {lab: examples/ca.pem}
defaults: {interval: 30s, identity: none}
targets: [{name: own, host: a}]
";

    fn definitions(config: &str) -> Definitions {
        Config::from_yaml("config.yaml", config).unwrap();
        let document = document_of("config.yaml", config).unwrap();
        let findings = Collector::new(Language::Yaml, Sources::new(&Files::system()));
        let root = Field::root(&document, &findings).any_fields("a mapping").unwrap();
        let [defaults, identities, authorities] =
            ["defaults", "identities", "authorities"].map(|name| root.named(name));
        let allowed = named_identities::read_of(&root, &mut target::Earlier::default()).unwrap();
        Definitions::of(defaults.as_ref(), identities.as_ref(), authorities.as_ref(), allowed)
    }

    fn read(file: &str) -> Result<Vec<Arc<Target>>, String> {
        let read = definitions(CONFIG).read("t.yaml", file, &Sources::new(&Files::system()));
        read.map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_list_a_mapping_and_groups_of_prometheus_have_targets_with_the_defaults() {
        let names = |file| {
            let targets = read(file).unwrap();
            assert!(targets.iter().all(|target| target.interval.as_secs() == 30));
            targets.iter().map(|target| target.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("[{name: a, host: a}]"), ["a"]);
        assert_eq!(names("x-more: 1\ntargets: [{name: a, host: a}, {name: b, host: b}]"), ["a", "b"]);
        assert_eq!(
            names(r#"[{"targets": ["a:1", "b"], "labels": {"team": "shop", "__x": "y"}}, {"targets": []}]"#),
            ["a:1", "b"]
        );
        assert_eq!(names("[]"), Vec::<String>::new());
        let [target] =
            read("[{targets: ['a:7000'], labels: {team: shop, __x: y}}]").unwrap().try_into().unwrap();
        assert_eq!(target.labels.to_string(), "team=shop");
        let Server::Host(endpoint) = &target.server else { panic!("{:?}", target.server) };
        assert_eq!((&*endpoint.host, endpoint.port), ("a", 7000));
    }

    #[test]
    fn identities_and_certificates_are_those_that_the_configuration_defines() {
        let file = "
            - {name: a, host: a, identity: secret, tls: {ca_file: lab, server_name: cache.example.com}}
            - {name: s, identity: shop, sentinel: {service: m, addresses: [cache.example.com], identity: secret}}";
        let [a, s] = read(file).unwrap().try_into().unwrap();
        assert!(matches!(&*a.identity, Identity::Password(_)));
        let Tls::On { files, server_name } = &a.tls else { panic!("{:?}", a.tls) };
        assert_eq!(files.ca_file.as_deref(), Some(std::path::Path::new("examples/ca.pem")));
        assert_eq!(server_name.as_deref(), Some("cache.example.com"));
        assert!(matches!(&*s.identity, Identity::Entra(_)));
        assert!(s.server.sentinels().unwrap().password.is_some());
    }

    #[test]
    fn an_identity_is_used_for_the_hosts_that_the_configuration_allows() {
        for target in [
            "host: a.example.com, identity: shop",
            "host: STOCK, identity: shop",
            "host: cache.example.com, identity: secret",
            "host: orders.redis.cache.windows.net, identity: azure",
            "host: orders.eastus.redis.azure.net, identity: azure",
            // The certificate shows who it is.
            "host: 10.0.0.4, tls: {server_name: orders.redis.cache.windows.net}, identity: azure",
            "host: anything, tls: false",
        ] {
            assert_eq!(read(&format!("[{{name: a, {target}}}]")).map(|read| read.len()), Ok(1), "{target}");
        }
        for (target, message) in [
            (
                "host: orders.redis.cache.windows.net, identity: shop",
                "this identity may not be used for orders.redis.cache.windows.net; add the host to identities.shop.hosts in \
                 the configuration",
            ),
            (
                "host: evil.example.net, identity: azure",
                "evil.example.net; add the host to identities.azure.hosts",
            ),
            (
                "host: a.example.com, identity: secret",
                "a.example.com; add the host to identities.secret.hosts",
            ),
            ("host: orders.redis.azure.net, identity: closed", "add the host to identities.closed.hosts"),
            (
                "host: orders.redis.azure.net, tls: {server_name: evil.net}, identity: azure",
                "may not be used for evil.net",
            ),
            (
                "host: cache.example.com, tls: false, identity: secret",
                "uses an identity over TLS only; turn TLS on",
            ),
            ("host: 'redis://cache.example.com', identity: secret", "uses an identity over TLS only"),
            (
                "sentinel: {service: m, addresses: [a.example.com, evil.net]}, identity: shop",
                "may not be used for evil.net",
            ),
            (
                "sentinel: {service: m, addresses: [a.example.com], tls: false}, identity: shop",
                "uses an identity over TLS only",
            ),
            (
                "sentinel: {service: m, addresses: [a.example.com], identity: secret}",
                "may not be used for a.example.com; add the host to identities.secret.hosts",
            ),
            (
                "sentinel: {service: m, addresses: [a.example.com]}, tls: {server_name: evil.net}, identity: shop",
                "may not be used for evil.net",
            ),
        ] {
            let problems = read(&format!("[{{name: a, {target}}}]")).unwrap_err();
            assert!(problems.contains("targets[0]") && problems.contains(message), "{target}: {problems}");
        }
    }

    #[test]
    fn the_default_identity_may_be_used_for_the_hosts_of_an_equal_one_with_a_name() {
        let read = |identities: &str, default: &str, host: &str| {
            let config = format!(
                "{{identities: {identities}, defaults: {{identity: {default}}}, targets: [{{name: o, host: o}}]}}"
            );
            let file = format!("[{{targets: [{host}]}}]");
            let read = definitions(&config).read("t.yaml", &file, &Sources::new(&Files::system()));
            read.map(|targets| targets.len()).map_err(|problems| problems.to_string())
        };
        let key = "{type: access_key, key: {env: PATH}}";
        assert_eq!(read("{}", "auto", "orders.redis.cache.windows.net:6380"), Ok(1));
        for (default, host) in [("auto", "evil.net"), (key, "orders.redis.cache.windows.net")] {
            let problems = read("{}", default, host).unwrap_err();
            let message = format!(
                "the default identity may not be used for {host}; name an identity whose identities.*.hosts"
            );
            assert!(problems.contains(&message), "{problems}");
        }
        let named = "{a: {type: access_key, key: {env: PATH}, hosts: [cache.example.com]}, b: {type: access_key, key: {env: PATH}, hosts: [b]}}";
        assert_eq!(read(named, key, "cache.example.com"), Ok(1));
        assert_eq!(read(named, key, "b"), Ok(1));
        assert!(read(named, key, "c").unwrap_err().contains("add the host to identities.a.hosts"));
    }

    /// Most writers of JSON escape what is not ASCII.
    #[test]
    fn json_may_have_escaped_characters() {
        let file = r#"[{"targets": ["a"], "labels": {"team": "\ud83d\ude00 \u00e9"}}]"#;
        let definitions =
            definitions("targets: [{name: own, host: a, identity: none}]\ndefaults: {identity: none}");
        let targets = definitions.read("t.json", file, &Sources::new(&Files::system())).unwrap();
        assert!(format!("{:?}", targets[0].labels).contains("😀 é"), "{:?}", targets[0].labels);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (file, message) in [
            ("", "t.yaml:1:1: expected a list of targets, or a mapping with the key targets; [] for none"),
            ("targets: 1", "t.yaml:1:10: targets: expected a list of targets; [] for none"),
            ("[{name: a, host: a, interval: 1}]", "t.yaml:1:31: targets[0].interval: expected a duration"),
            (
                "[{name: a, host: a, identity: shopp}]",
                "targets[0].identity: unknown name; did you mean \"shop\"?",
            ),
            (
                "[{name: a, host: a, identity: auto}]",
                "unknown name; define it under identities in the configuration",
            ),
            (
                "[{name: a, host: a, tls: {ca_file: /etc/passwd}}]",
                "targets[0].tls.ca_file: unknown name; define it under authorities",
            ),
            (
                "[{name: a, host: a, tls: {ca_file: 1}}]",
                "expected a name under authorities in the configuration",
            ),
            ("[{name: a, host: a, colour: red}]", "unknown key <redacted>; expected name, "),
            ("[{targets: a}]", "expected a list of addresses"),
            ("[{targets: [a], colour: red}]", "unknown key; a group has targets and labels"),
            ("http: {listen: 1}\ntargets: []", "unknown key; a file with targets has only targets"),
        ] {
            let problems = read(file).unwrap_err();
            assert!(problems.contains(message), "{file}: {problems}");
        }
    }

    /// Who can write such a file may make it a link to a file that only the agent can read.
    #[test]
    fn no_message_repeats_what_the_file_says() {
        for file in [
            "root:*:hunter2:0: x",
            "hunter2: 1",
            "{hunter2}",
            "hunter2",
            "targets: hunter2",
            "[hunter2]",
            "[{hunter2: 1}]",
            "[{name: hunter2}]",
            "[{name: hunter2, host: hunter2}, {name: hunter2, host: a}, {name: HUNTER2, host: a}]",
            "[{name: a, host: 'hunter2 '}]",
            "[{name: a, host: a, interval: hunter2}]",
            "[{name: a, host: a, port: 1.5, keys: hunter2}]",
            "[{name: a, host: a, protocol: hunter2}]",
            "[{name: a, host: a, identity: hunter2}]",
            "[{name: a, host: a, tls: {ca_file: hunter2}}]",
            "[{name: a, host: a, tls: {hunter2: 1}}]",
            "[{name: a, host: a, labels: hunter2}]",
            "[{name: a, host: a, labels: {hunter2!: x}}]",
            "[{name: a, host: a, labels: {hunter2: 1}}]",
            "[{name: a, host: a, labels: {hunter2: x, hunter2: y}}]",
            "[{targets: [a], labels: {hunter2: 1}}]",
            "[{name: a, sentinel: {service: m, addresses: [hunter2/]}}]",
            "[{targets: hunter2}]",
            "[{targets: [a], hunter2: 1}]",
            "[{targets: ['hunter2 ', 'hunter2 ']}]",
            "hunter2: [",
            "*hunter2",
            "!!int hunter2",
            "hunter2: hunter2: hunter2",
        ] {
            let problems = read(file).unwrap_err();
            assert!(!problems.to_lowercase().contains("hunter2"), "{file}: {problems}");
        }
    }

    #[test]
    fn without_a_default_identity_each_target_must_name_one() {
        let definitions = definitions("targets: [{name: own, host: a}]");
        let read = |file| definitions.read("t.yaml", file, &Sources::new(&Files::system()));
        let problems = read("[{name: a, host: a}]").unwrap_err().to_string();
        assert!(
            problems.contains("targets[0].identity: missing; give none, or a name under identities"),
            "{problems}"
        );
        assert!(read("[{name: a, host: a, identity: none}]").is_ok());
        assert!(read("[{targets: [a]}]").is_err());
    }

    /// Paths, commands and variables must never come from such a file, in whatever key is added to targets.
    #[test]
    fn every_key_of_a_target_with_a_path_a_command_or_a_variable_is_refused() {
        let is_file = |key: &&dyn Descriptor| {
            let about = key.about();
            about.is_of_target()
                && (matches!(key.kind(), Kind::Path | Kind::Words) || matches!(about.name(), "env" | "file"))
        };
        let mut refused = 0;
        for key in keys::all().filter(is_file) {
            let path = key.about().path.strip_prefix("targets[].").unwrap();
            let value = path
                .rsplit('.')
                .fold("/etc/hostname".to_owned(), |value, name| format!("{{{name}: {value}}}"));
            let target = value.replacen('{', "{name: a, host: a, ", 1);
            let problems = read(&format!("[{target}]")).unwrap_err();
            assert!(
                ["unknown name", "holds no identities", "not allowed in a file"]
                    .iter()
                    .any(|it| problems.contains(it)),
                "{path}: {problems}"
            );
            refused += 1;
        }
        assert!(refused >= 8, "{refused}");
    }
}
