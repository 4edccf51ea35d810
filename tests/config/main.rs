//! Tests of the configuration: the effect of each key, and the examples.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod flags;
mod mistakes;
mod warnings;
mod web;
mod yaml;

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cachepulse::config::keys;
use cachepulse::config::{
    Config, Format, Http, Level, LoadFault, Log, PartitionSettings, Sources, WebConfig,
};
use cachepulse::files::Files;
use cachepulse::identity::{
    AzureAccount, DEFAULT_SCOPE, EntraIdentity, EntraSource, Identity, ManagedIdentityId, TokenProxyMode,
};
use cachepulse::metrics::{ClassicFactor, Histograms, Settings};
use cachepulse::secret::SecretSource;
use cachepulse::target::{
    AddressMode, ClientFiles, ClientList, ClientListMode, Cluster, ClusterMode, Endpoint, ExpectRole,
    KeyTemplate, Maintenance, Protocol, Sentinels, Server, Target, TargetName, Tls, TlsFiles,
};

/// Returns the documents in `folder`, sorted.
fn documents(folder: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    paths
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the fullest example with a variable that is always set.
fn fullest() -> String {
    text("examples/fullest.yaml").replace("{env: CACHE_PASSWORD}", "{env: PATH}")
}

fn sources() -> Sources {
    Sources::new(&Files::system())
}

fn valid(yaml: &str) -> Config {
    Config::from_yaml("config.yaml", yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}

fn entra(source: EntraSource) -> Arc<Identity> {
    Arc::new(Identity::Entra(EntraIdentity { source, scope: DEFAULT_SCOPE.to_owned(), authority: None }))
}

/// A target with every default.
fn target(name: &str, host: &str, port: u16) -> Target {
    Target::with_defaults(TargetName::new(name).unwrap(), Endpoint { host: host.into(), port })
}

/// Returns the port of a target that has a host.
fn port(target: &Target) -> u16 {
    let Server::Host(endpoint) = &target.server else { panic!("{:?}", target.server) };
    endpoint.port
}

/// Returns the example of a web configuration.
fn web_config() -> WebConfig {
    WebConfig::load(Path::new("examples/web.yml"), &sources()).unwrap()
}

fn config(targets: Vec<Target>) -> Config {
    Config {
        http: Http {
            listen: "[::]:9860".parse().unwrap(),
            health_listen: None,
            web_config_file: None,
            lifecycle: false,
        },
        web_config: None,
        metrics: Settings::default(),
        log: Log { level: Level::Info, format: Format::Text },
        shutdown_grace_period: Duration::from_secs(10),
        partition: PartitionSettings::default(),
        target_files: None,
        targets: targets.into_iter().map(Arc::new).collect(),
        warnings: Vec::new(),
    }
}

#[test]
fn the_smallest_example_has_every_default() {
    let host = "orders.redis.cache.windows.net";
    assert_eq!(valid(&text("examples/smallest.yaml")), config(vec![target("orders", host, 6380)]));
}

#[test]
fn the_fullest_example_names_every_key_and_is_valid() {
    let example = fullest();
    assert_eq!(valid(&example).targets.len(), 15);
    for key in keys::all() {
        let name = key.about().name();
        let named = ["\n", " ", "{"].iter().any(|before| example.contains(&format!("{before}{name}:")));
        assert!(named, "{name} is missing");
    }
}

#[test]
fn every_other_example_is_valid() {
    for path in documents("examples").iter().filter(|path| !path.ends_with("fullest.yaml")) {
        valid(&text(path));
    }
}

#[test]
fn the_list_of_targets_may_be_empty_beside_files_with_targets() {
    for targets in ["", "targets: []\n"] {
        let config = valid(&format!("{targets}target_files: ['/nonexistent/*.yaml']\n"));
        assert!(config.targets.is_empty() && config.target_files.is_some());
    }
    assert!(Config::from_yaml("config.yaml", "targets: []").is_err());
}

#[test]
fn every_key_has_its_effect() {
    let yaml = r#"
http: {listen: "[::1]:9000", health_listen: "[::1]:9001", web_config_file: examples/web.yml, lifecycle: true}
metrics: {histograms: native, classic_factor: 4}
log: {level: trace, format: json}
shutdown_grace_period: 0s
partition: {index: cachepulse-2, of: 3, copies: 2}
targets:
  - name: inventory
    host: "[2001:db8::6]"
    port: 7000
    tls:
      ca_file: examples/ca.pem
      server_name: inventory.example.com
      cert_file: examples/client.pem
      key_file: examples/secrets/client.key
    identity: {type: password, password: {file: examples/secrets/access-key}}
    username: probe
    protocol: resp3
    interval: 100ms
    connect_timeout: 5m
    command_timeout: 10ms
    attempts: 10
    startup_grace: 5m
    key: "health"
    keys: 64
    client_list: {mode: required, every: 1000000}
    new_connection: {every: 10s}
    dns_refresh: 0s
    max_connection_age: 12h
    reply_limit: 64KiB
    cluster: {mode: all, max_nodes: 1000, refresh: 1s, address: host}
    expect_role: any
    maintenance: on
    labels: {team: shop, _env1: "prod \"1\""}
"#;
    let expected = Config {
        http: Http {
            listen: "[::1]:9000".parse().unwrap(),
            health_listen: Some("[::1]:9001".parse().unwrap()),
            web_config_file: Some("examples/web.yml".into()),
            lifecycle: true,
        },
        web_config: Some(web_config()),
        metrics: Settings { histograms: Histograms::Native, classic_factor: ClassicFactor::Four },
        log: Log { level: Level::Trace, format: Format::Json },
        shutdown_grace_period: Duration::ZERO,
        partition: PartitionSettings { index: Some(2), of: NonZeroU32::new(3), copies: NonZeroU32::new(2) },
        target_files: None,
        targets: vec![Arc::new(Target {
            tls: Tls::On {
                files: TlsFiles {
                    ca_file: Some("examples/ca.pem".into()),
                    client: Some(ClientFiles {
                        cert_file: "examples/client.pem".into(),
                        key_file: "examples/secrets/client.key".into(),
                    }),
                },
                server_name: Some("inventory.example.com".into()),
            },
            identity: Arc::new(Identity::Password(SecretSource::File("examples/secrets/access-key".into()))),
            username: Some("probe".into()),
            protocol: Some(Protocol::Resp3),
            interval: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(300),
            command_timeout: Duration::from_millis(10),
            attempts: NonZeroU32::new(10).unwrap(),
            startup_grace: Duration::from_secs(300),
            key: KeyTemplate::new("health").unwrap(),
            keys: NonZeroU32::new(64).unwrap(),
            client_list: ClientList { mode: ClientListMode::Required, every: NonZeroU32::new(1_000_000) },
            new_connection_every: Some(Duration::from_secs(10)),
            dns_refresh: None,
            max_connection_age: Some(Duration::from_secs(12 * 3600)),
            reply_limit: 65_536,
            cluster: Cluster {
                mode: ClusterMode::All,
                max_nodes: NonZeroU32::new(1000).unwrap(),
                refresh: Duration::from_secs(1),
                address: AddressMode::Host,
            },
            expect_role: ExpectRole::Any,
            maintenance: Maintenance::On,
            labels: [("team", "shop"), ("_env1", "prod \"1\"")]
                .map(|(name, value)| (name.into(), value.into()))
                .into_iter()
                .collect(),
            ..target("inventory", "2001:db8::6", 7000)
        })],
        warnings: Vec::new(),
    };
    let config = valid(yaml);
    assert_eq!(Config { warnings: Vec::new(), ..config }, expected);
}

#[test]
fn every_type_of_identity_is_read() {
    let id = || Some("c".to_owned());
    let by = |id: fn(String) -> ManagedIdentityId| entra(EntraSource::ManagedIdentity(id("c".into())));
    let auto = |client_id, token_proxy| entra(EntraSource::Auto { client_id, token_proxy });
    let cases = [
        ("auto", auto(None, TokenProxyMode::Auto)),
        ("{client_id: c}", auto(id(), TokenProxyMode::Auto)),
        ("{token_proxy: off}", auto(None, TokenProxyMode::Off)),
        ("{token_proxy: false}", auto(None, TokenProxyMode::Off)),
        ("managed_identity", entra(EntraSource::ManagedIdentity(ManagedIdentityId::System))),
        ("{type: managed_identity, client_id: c}", by(ManagedIdentityId::ClientId)),
        ("{type: managed_identity, object_id: c}", by(ManagedIdentityId::ObjectId)),
        ("{type: managed_identity, resource_id: c}", by(ManagedIdentityId::ResourceId)),
        (
            "{type: workload_identity, client_id: c, tenant_id: c, token_file: /not/yet/there}",
            entra(EntraSource::WorkloadIdentity {
                client_id: id(),
                tenant_id: id(),
                token_file: Some("/not/yet/there".into()),
                token_proxy: TokenProxyMode::Auto,
            }),
        ),
        (
            "{type: workload_identity, token_proxy: off}",
            entra(EntraSource::WorkloadIdentity {
                client_id: None,
                tenant_id: None,
                token_file: None,
                token_proxy: TokenProxyMode::Off,
            }),
        ),
        (
            "{type: client_secret, client_id: c, tenant_id: c, client_secret: {env: PATH}}",
            entra(EntraSource::ClientSecret {
                client_id: id(),
                tenant_id: id(),
                secret: Some(SecretSource::Env("PATH".into())),
            }),
        ),
        (
            "client_secret",
            entra(EntraSource::ClientSecret { client_id: None, tenant_id: None, secret: None }),
        ),
        ("azure_cli", entra(EntraSource::AzureCli(AzureAccount::Default))),
        ("{type: azure_cli, tenant_id: id}", entra(EntraSource::AzureCli(AzureAccount::Tenant("id".into())))),
        (
            "{type: azure_cli, subscription: Shop (test)}",
            entra(EntraSource::AzureCli(AzureAccount::Subscription("Shop (test)".into()))),
        ),
        ("azure_developer_cli", entra(EntraSource::AzureDeveloperCli { tenant_id: None })),
        (
            "{type: azure_developer_cli, tenant_id: id}",
            entra(EntraSource::AzureDeveloperCli { tenant_id: Some("id".into()) }),
        ),
        (
            "{type: access_key, key: {env: PATH}}",
            Arc::new(Identity::AccessKey(SecretSource::Env("PATH".into()))),
        ),
        ("none", Arc::new(Identity::None)),
        (
            "{type: azure_cli, scope: s/.default}",
            Arc::new(Identity::Entra(EntraIdentity {
                source: EntraSource::AzureCli(AzureAccount::Default),
                scope: "s/.default".into(),
                authority: None,
            })),
        ),
        (
            "{authority: \"https://localhost:8443/\"}",
            Arc::new(Identity::Entra(EntraIdentity {
                source: EntraSource::Auto { client_id: None, token_proxy: TokenProxyMode::Auto },
                scope: DEFAULT_SCOPE.into(),
                authority: Some("https://localhost:8443".into()),
            })),
        ),
    ];
    for (yaml, identity) in cases {
        let config = valid(&format!("targets: [{{name: a, host: a, identity: {yaml}}}]"));
        assert_eq!(config.targets[0].identity, identity, "{yaml}");
    }
}

#[test]
fn sentinels_are_read_with_a_sign_in_and_tls_of_their_own() {
    let read = |more: &str, of_target: &str| {
        let config = valid(&format!(
            "targets: [{{name: a, {of_target}, identity: none, sentinel: \
             {{service: mymaster, addresses: [s0, '[::1]', 's1:1'], {more}}}}}]"
        ));
        let Server::Sentinels(sentinels) = &config.targets[0].server else { panic!("no sentinels") };
        Sentinels::clone(sentinels)
    };
    let at = |host: &str, port| Endpoint { host: host.into(), port };
    let expected = Sentinels {
        service: "mymaster".into(),
        addresses: vec![at("s0", 26379), at("::1", 26379), at("s1", 1)],
        tls: Tls::Off,
        password: None,
        username: None,
    };
    assert_eq!(read("identity: none", "tls: false"), expected);
    let password = SecretSource::File("examples/secrets/access-key".into());
    let given = "identity: {type: password, password: {file: examples/secrets/access-key}}, username: u";
    let signed_in = Sentinels { password: Some(password), username: Some("u".into()), ..expected.clone() };
    assert_eq!(read(given, "tls: false"), signed_in);
    let files = TlsFiles { ca_file: Some("examples/ca.pem".into()), client: None };
    let own = Tls::On { files: files.clone(), server_name: Some("b".into()) };
    let of_sentinels = read("tls: {ca_file: examples/ca.pem, server_name: b}", "tls: false");
    assert_eq!(of_sentinels.tls, own);
    let inherited = read("", "tls: {ca_file: examples/ca.pem, server_name: b}");
    assert_eq!(inherited.tls, Tls::On { files, server_name: None });
    assert_eq!(read("tls: false", "tls: true").tls, Tls::Off);
}

#[test]
fn a_targets_own_key_replaces_the_default_as_a_whole() {
    let config = valid(
        "defaults: {interval: 1m, client_list: {mode: off, every: 5}, identity: none, tls: false, port: 7000}\n\
         targets:\n\
         - {name: a, host: a}\n\
         - {name: b, host: b, interval: 2s, client_list: {mode: required}, identity: azure_cli, tls: true}\n",
    );
    let [a, b] = config.targets.as_slice() else { panic!("two targets") };
    assert_eq!((a.interval, port(a), &a.tls), (Duration::from_secs(60), 7000, &Tls::Off));
    assert_eq!(a.client_list, ClientList { mode: ClientListMode::Off, every: NonZeroU32::new(5) });
    assert_eq!(b.interval, Duration::from_secs(2));
    assert_eq!(b.client_list, ClientList { mode: ClientListMode::Required, every: None });
    assert_eq!(b.identity, entra(EntraSource::AzureCli(AzureAccount::Default)));
}

#[test]
fn a_default_user_name_is_ignored_for_an_identity_without_a_user() {
    let config = valid(
        "defaults: {username: probe}\n\
         targets: [{name: a, host: a}, {name: b, host: b, identity: none}]",
    );
    let usernames = config.targets.iter().map(|target| target.username.as_deref());
    assert_eq!(usernames.collect::<Vec<_>>(), [Some("probe"), None]);
}

#[test]
fn values_in_quotes_are_accepted() {
    let quoted =
        "targets: [{name: a, host: a, port: '7000', tls: 'false', identity: 'none', attempts: \"2\"}]";
    assert_eq!(valid(quoted), valid(&quoted.replace(['\'', '"'], "")));
}

#[test]
fn on_and_off_are_accepted_as_booleans() {
    let config = valid(
        "defaults: {maintenance: true}\n\
         targets: [{name: a, host: a, cluster: {mode: false}, client_list: {mode: false}}]",
    );
    let target = &config.targets[0];
    assert_eq!((target.cluster.mode, target.client_list.mode), (ClusterMode::Off, ClientListMode::Off));
    assert_eq!(target.maintenance, Maintenance::On);
}

#[test]
fn a_key_may_have_a_hash_tag_if_it_is_the_only_one() {
    let config = valid("targets: [{name: a, host: a, key: '{orders}:health', cluster: {mode: off}}]");
    assert_eq!(config.targets[0].key, KeyTemplate::new("{orders}:health").unwrap());
}

#[test]
fn targets_can_share_settings_by_anchors_and_aliases() {
    let config = valid(
        "targets: [{name: a, host: a, identity: &id {type: managed_identity, client_id: c}}, \
         {name: b, host: b, identity: *id}]",
    );
    assert_eq!(config.targets[0].identity, config.targets[1].identity);
}

#[test]
fn json_a_byte_order_mark_and_windows_line_breaks_are_accepted() {
    let smallest = text("examples/smallest.yaml");
    let config = valid(&smallest);
    assert_eq!(valid(&format!("\u{feff}{}", smallest.replace('\n', "\r\n"))), config);
    assert_eq!(
        valid(r#"{"targets": [{"name": "orders", "host": "orders.redis.cache.windows.net"}]}"#),
        config
    );
}

#[test]
fn the_error_names_a_file_that_is_not_a_configuration() {
    let told = |path: &Path| {
        let error = Config::load(path, &sources()).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        (error.to_string().replace(path.to_str().unwrap(), "FILE"), cause.unwrap_or_default())
    };
    let unreadable =
        |cause: &str| ("the configuration file FILE cannot be read".to_owned(), cause.to_owned());
    assert_eq!(
        told(Path::new("/nonexistent/config.yaml")),
        unreadable("No such file or directory (os error 2)")
    );
    assert_eq!(told(Path::new("src")), unreadable("Is a directory (os error 21)"));
    assert_eq!(told(Path::new("/dev/zero")), unreadable("it is larger than 1 MiB"));

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"targets: \xff").unwrap();
    assert_eq!(told(file.path()).0, "the configuration file FILE is not UTF-8 text");
    fs::write(file.path(), "targets: []").unwrap();
    let (invalid, cause) = told(file.path());
    assert!(invalid.starts_with("FILE:1:1: targets: ") && cause.is_empty(), "{invalid}: {cause}");
    let LoadFault::Invalid(problems) = Config::load(file.path(), &sources()).unwrap_err().fault else {
        panic!("no problems")
    };
    assert_eq!(problems.iter().next().unwrap().path, "targets");
    fs::write(file.path(), "targets: [{name: a, host: a}]").unwrap();
    assert_eq!(Config::load(file.path(), &sources()).unwrap(), config(vec![target("a", "a", 6380)]));
}

#[test]
fn a_host_may_be_a_url_or_a_connection_string() {
    let read = |host: &str, more: &str| {
        let config = valid(&format!("targets: [{{name: a, host: '{host}'{more}}}]"));
        Target::clone(&config.targets[0])
    };
    let expected = |port, tls, username: Option<&str>| Target {
        tls,
        username: username.map(str::to_owned),
        ..target("a", "orders", port)
    };
    assert_eq!(read("rediss://u@orders:7000/0", ""), expected(7000, Tls::DEFAULT, Some("u")));
    assert_eq!(read("rediss://orders", ", port: 7000, tls: true"), expected(7000, Tls::DEFAULT, None));
    assert_eq!(read("orders:7000,ssl=True,abortConnect=False", ""), expected(7000, Tls::DEFAULT, None));
    let plain = Target { identity: Arc::new(Identity::None), ..expected(6379, Tls::Off, None) };
    assert_eq!(read("redis://orders", ", identity: none"), plain);
    let details = Tls::On { files: TlsFiles::default(), server_name: Some("b".into()) };
    assert_eq!(read("rediss://orders", ", tls: {server_name: b}"), expected(6380, details, None));
}

#[test]
fn a_url_takes_precedence_over_defaults_and_keeps_the_details_of_their_tls() {
    let config = valid(
        "defaults: {tls: {server_name: b}, port: 1, identity: none}\n\
         targets: [{name: a, host: 'redis://orders:2'}, {name: b, host: 'rediss://orders'}]",
    );
    let [a, b] = config.targets.as_slice() else { panic!("two targets") };
    assert_eq!((&a.tls, port(a)), (&Tls::Off, 2));
    assert_eq!(
        (&b.tls, port(b)),
        (&Tls::On { files: TlsFiles::default(), server_name: Some("b".into()) }, 1)
    );
}

#[test]
fn the_endpoint_can_listen_on_a_port_alone_or_on_localhost() {
    let listen = |text: &str| {
        valid(&format!("http: {{listen: '{text}'}}\ntargets: [{{name: a, host: a}}]")).http.listen
    };
    assert_eq!(listen(":7000").to_string(), "[::]:7000");
    assert_eq!(listen("localhost:7000").to_string(), "127.0.0.1:7000");
}
