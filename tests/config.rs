//! The configuration from outside: every mistake with its whole message, the examples, and what the keys mean.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cachepulse::config::flags::Flags;
use cachepulse::config::{Config, Format, Http, Level, LoadFault, Log};
use cachepulse::identity::{DEFAULT_SCOPE, EntraIdentity, EntraSource, Identity, ManagedIdentityId};
use cachepulse::secret::SecretSource;
use cachepulse::target::{ClientList, ClientListMode, Endpoint, KeyTemplate, Target, TargetName, Tls};

/// The documents in `folder`, sorted.
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

/// The fullest example with a variable that is set wherever tests run.
fn fullest() -> String {
    text("examples/fullest.yaml").replace("{env: CACHE_PASSWORD}", "{env: PATH}")
}

fn valid(yaml: &str) -> Config {
    Config::from_yaml(yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}

fn entra(source: EntraSource) -> Arc<Identity> {
    Arc::new(Identity::Entra(EntraIdentity { source, scope: DEFAULT_SCOPE.to_owned(), authority: None }))
}

fn target(name: &str, host: &str, port: u16) -> Target {
    Target {
        name: TargetName::new(name).unwrap(),
        endpoint: Endpoint { host: host.into(), port },
        tls: Tls::On { ca_file: None, server_name: None },
        identity: entra(EntraSource::Auto { client_id: None }),
        username: None,
        interval: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        command_timeout: Duration::from_secs(2),
        attempts: NonZeroU32::new(3).unwrap(),
        key: KeyTemplate::new("cachepulse:{instance}").unwrap(),
        client_list: ClientList { mode: ClientListMode::Optional, every: NonZeroU32::MIN },
        reply_limit: 8_388_608,
    }
}

fn config(targets: Vec<Target>) -> Config {
    Config {
        http: Http { listen: "0.0.0.0:9860".parse().unwrap() },
        log: Log { level: Level::Info, format: Format::Text },
        shutdown_grace_period: Duration::from_secs(10),
        targets,
    }
}

#[test]
fn every_mistake_is_told_in_full() {
    let mistakes = documents("tests/config/invalid");
    assert!(mistakes.len() >= 40, "only {} documents", mistakes.len());
    for path in mistakes {
        let told = match Config::from_yaml(&text(&path)) {
            Ok(_) => panic!("{} is taken for valid", path.display()),
            Err(problems) => format!("{problems}\n"),
        };
        assert_eq!(told, text(path.with_extension("txt")), "{}", path.display());
        assert!(!told.contains("hunter2"), "{} betrays a secret", path.display());
    }
}

#[test]
fn every_message_has_its_document() {
    for entry in fs::read_dir("tests/config/invalid").unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} stands alone", path.display());
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
    assert_eq!(valid(&example).targets.len(), 11);
    for key in "http listen log level format shutdown_grace_period defaults targets name host port tls ca_file \
                server_name identity type client_id object_id resource_id tenant_id token_file client_secret key \
                password file env scope authority username interval connect_timeout command_timeout attempts \
                client_list mode every reply_limit"
        .split_whitespace()
    {
        let named = ["\n", " ", "{"].iter().any(|before| example.contains(&format!("{before}{key}:")));
        assert!(named, "{key} is missing");
    }
}

#[test]
fn every_other_example_is_valid() {
    for path in documents("examples").iter().filter(|path| !path.ends_with("fullest.yaml")) {
        valid(&text(path));
    }
}

#[test]
fn every_key_has_its_effect() {
    let yaml = r#"
http: {listen: "[::1]:9000"}
log: {level: trace, format: json}
shutdown_grace_period: 0s
targets:
  - name: inventory
    host: "[2001:db8::6]"
    port: 7000
    tls: {ca_file: examples/ca.pem, server_name: inventory.example.com}
    identity: {type: password, password: {file: examples/secrets/access-key}}
    username: probe
    interval: 100ms
    connect_timeout: 5m
    command_timeout: 10ms
    attempts: 10
    key: "health"
    client_list: {mode: required, every: 1000000}
    reply_limit: 64KiB
"#;
    let expected = Config {
        http: Http { listen: "[::1]:9000".parse().unwrap() },
        log: Log { level: Level::Trace, format: Format::Json },
        shutdown_grace_period: Duration::ZERO,
        targets: vec![Target {
            tls: Tls::On {
                ca_file: Some("examples/ca.pem".into()),
                server_name: Some("inventory.example.com".into()),
            },
            identity: Arc::new(Identity::Password(SecretSource::File("examples/secrets/access-key".into()))),
            username: Some("probe".into()),
            interval: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(300),
            command_timeout: Duration::from_millis(10),
            attempts: NonZeroU32::new(10).unwrap(),
            key: KeyTemplate::new("health").unwrap(),
            client_list: ClientList {
                mode: ClientListMode::Required,
                every: NonZeroU32::new(1_000_000).unwrap(),
            },
            reply_limit: 65_536,
            ..target("inventory", "2001:db8::6", 7000)
        }],
    };
    assert_eq!(valid(yaml), expected);
}

#[test]
fn every_type_of_identity_is_read() {
    let id = || Some("c".to_owned());
    let by = |id: fn(String) -> ManagedIdentityId| entra(EntraSource::ManagedIdentity(id("c".into())));
    let cases = [
        ("auto", entra(EntraSource::Auto { client_id: None })),
        ("{client_id: c}", entra(EntraSource::Auto { client_id: id() })),
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
        ("azure_cli", entra(EntraSource::AzureCli)),
        ("azure_developer_cli", entra(EntraSource::AzureDeveloperCli)),
        (
            "{type: access_key, key: {env: PATH}}",
            Arc::new(Identity::AccessKey(SecretSource::Env("PATH".into()))),
        ),
        ("none", Arc::new(Identity::None)),
        (
            "{type: azure_cli, scope: s/.default}",
            Arc::new(Identity::Entra(EntraIdentity {
                source: EntraSource::AzureCli,
                scope: "s/.default".into(),
                authority: None,
            })),
        ),
        (
            "{authority: \"https://localhost:8443/\"}",
            Arc::new(Identity::Entra(EntraIdentity {
                source: EntraSource::Auto { client_id: None },
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
fn a_targets_own_key_replaces_the_default_as_a_whole() {
    let config = valid(
        "defaults: {interval: 1m, client_list: {mode: off, every: 5}, identity: none, tls: false, port: 7000}\n\
         targets:\n\
         - {name: a, host: a}\n\
         - {name: b, host: b, interval: 2s, client_list: {mode: required}, identity: azure_cli, tls: true}\n",
    );
    let [a, b] = config.targets.as_slice() else { panic!("two targets") };
    assert_eq!((a.interval, a.endpoint.port, &a.tls), (Duration::from_secs(60), 7000, &Tls::Off));
    assert_eq!(a.client_list, ClientList { mode: ClientListMode::Off, every: NonZeroU32::new(5).unwrap() });
    assert_eq!(b.interval, Duration::from_secs(2));
    assert_eq!(b.client_list, ClientList { mode: ClientListMode::Required, every: NonZeroU32::MIN });
    assert_eq!(b.identity, entra(EntraSource::AzureCli));
}

#[test]
fn a_default_user_name_is_left_out_where_there_is_no_user() {
    let config = valid(
        "defaults: {username: probe}\n\
         targets: [{name: a, host: a}, {name: b, host: b, identity: none}]",
    );
    let usernames = config.targets.iter().map(|target| target.username.as_deref());
    assert_eq!(usernames.collect::<Vec<_>>(), [Some("probe"), None]);
}

#[test]
fn a_template_may_quote_as_it_likes() {
    let quoted =
        "targets: [{name: a, host: a, port: '7000', tls: 'false', identity: 'none', attempts: \"2\"}]";
    assert_eq!(valid(quoted), valid(&quoted.replace(['\'', '"'], "")));
}

#[test]
fn anchors_and_aliases_may_say_what_targets_have_in_common() {
    let config = valid(
        "targets: [{name: a, host: a, identity: &id {type: managed_identity, client_id: c}}, \
         {name: b, host: b, identity: *id}]",
    );
    assert_eq!(config.targets[0].identity, config.targets[1].identity);
}

#[test]
fn json_a_byte_order_mark_and_windows_line_breaks_are_all_yaml() {
    let smallest = text("examples/smallest.yaml");
    let config = valid(&smallest);
    assert_eq!(valid(&format!("\u{feff}{}", smallest.replace('\n', "\r\n"))), config);
    assert_eq!(
        valid(r#"{"targets": [{"name": "orders", "host": "orders.redis.cache.windows.net"}]}"#),
        config
    );
}

#[test]
fn a_file_that_is_no_configuration_is_named() {
    let told = |path: &Path| {
        let error = Config::load(path).unwrap_err();
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
    assert_eq!(told(file.path()).0, "the configuration file FILE is not valid");
    let LoadFault::Invalid(problems) = Config::load(file.path()).unwrap_err().fault else {
        panic!("no problems")
    };
    assert_eq!(problems.iter().next().unwrap().path, "targets");
    fs::write(file.path(), "targets: [{name: a, host: a}]").unwrap();
    assert_eq!(Config::load(file.path()).unwrap(), config(vec![target("a", "a", 6380)]));
}

#[test]
fn a_host_alone_is_enough_of_a_command_line() {
    let flags = Flags {
        host: Some("orders.eastus.redis.azure.net".into()),
        port: Some(String::new()),
        ..Flags::default()
    };
    let expected = config(vec![target("orders", "orders.eastus.redis.azure.net", 10000)]);
    assert_eq!(Config::from_flags(&flags), Ok(expected));
}

#[test]
fn flags_say_what_yaml_says() {
    let some = |text: &str| Some(text.to_owned());
    let flags = Flags {
        host: some("10.0.0.7"),
        port: some("7000"),
        name: some("inventory"),
        tls: some("true"),
        ca_file: some("examples/ca.pem"),
        server_name: some("inventory.example.com"),
        identity: some("password"),
        password_env: some("PATH"),
        username: some("12345"),
        interval: some("30s"),
        connect_timeout: some("1s"),
        command_timeout: some("500ms"),
        attempts: some("2"),
        key: some("health"),
        client_list: some("required"),
        client_list_every: some("10"),
        reply_limit: some("1MiB"),
        listen: some("127.0.0.1:0"),
        log_level: some("debug"),
        log_format: some("json"),
        shutdown_grace_period: some("1m"),
        ..Flags::default()
    };
    let yaml = r#"
http: {listen: "127.0.0.1:0"}
log: {level: debug, format: json}
shutdown_grace_period: 1m
targets:
  - name: inventory
    host: 10.0.0.7
    port: 7000
    tls: {ca_file: examples/ca.pem, server_name: inventory.example.com}
    identity: {type: password, password: {env: PATH}}
    username: "12345"
    interval: 30s
    connect_timeout: 1s
    command_timeout: 500ms
    attempts: 2
    key: health
    client_list: {mode: required, every: 10}
    reply_limit: 1MiB
"#;
    assert_eq!(Config::from_flags(&flags), Ok(valid(yaml)));
}

#[test]
fn flags_name_an_identity() {
    let some = |text: &str| Some(text.to_owned());
    let base = Flags { host: some("a"), identity: some("managed_identity"), ..Flags::default() };
    let identity = |flags: Flags| {
        let config = Config::from_flags(&flags).unwrap_or_else(|problems| panic!("{problems}"));
        config.targets[0].identity.clone()
    };
    let by = |id| entra(EntraSource::ManagedIdentity(id));
    let c = || some("c");
    assert_eq!(
        identity(Flags { client_id: c(), ..base.clone() }),
        by(ManagedIdentityId::ClientId("c".into()))
    );
    assert_eq!(
        identity(Flags { object_id: c(), ..base.clone() }),
        by(ManagedIdentityId::ObjectId("c".into()))
    );
    assert_eq!(
        identity(Flags { resource_id: c(), ..base.clone() }),
        by(ManagedIdentityId::ResourceId("c".into()))
    );
    let file = "examples/secrets/client-secret";
    let secret = Flags {
        identity: some("client_secret"),
        tenant_id: c(),
        client_secret_file: some(file),
        ..base.clone()
    };
    assert_eq!(
        identity(secret),
        entra(EntraSource::ClientSecret {
            client_id: None,
            tenant_id: c(),
            secret: Some(SecretSource::File(file.into())),
        })
    );
    let key = Flags { identity: some("access_key"), access_key_file: some(file), ..base };
    assert_eq!(identity(key), Arc::new(Identity::AccessKey(SecretSource::File(file.into()))));
}

/// What is told of `flags`.
fn problems(flags: &Flags) -> Vec<String> {
    match Config::from_flags(flags) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn problems_with_flags_name_the_flag() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(problems(&Flags::default()), ["--host: is missing; name the cache's host"]);

    let many = Flags {
        host: some("redis://:hunter2@orders"),
        port: some("0"),
        tls: some("maybe"),
        ca_file: some("ca.pem"),
        identity: some("access_key"),
        client_id: some("c"),
        interval: some("10"),
        client_list_every: some("0"),
        listen: some("9860"),
        log_level: some("loud"),
        ..Flags::default()
    };
    assert_eq!(
        problems(&many),
        [
            "--host: expected a host name such as orders.redis.cache.windows.net, found a URL; give the name alone",
            "--port: expected a whole number from 1 to 65535, found `0`",
            "--tls: expected true, false or a mapping such as {ca_file: ca.pem}, found `maybe`",
            "--access-key-file: is missing; give {file: …} or {env: …}",
            "--client-id: has no meaning with the identity type access_key, only with auto, managed_identity, \
             workload_identity or client_secret",
            "--interval: expected a duration with its unit, such as 10s (units: ms, s, m, h), found `10`",
            "--client-list-every: expected a whole number from 1 to 1000000, found `0`",
            "--listen: expected an IP address and a port such as 0.0.0.0:9860, found `9860`",
            "--log-level: expected error, warn, info, debug or trace, found `loud`",
        ]
    );
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let some = |text: &str| Some(text.to_owned());
    let base = Flags { host: some("a"), identity: some("none"), ..Flags::default() };
    let plain = Flags { tls: some("false"), server_name: some("b"), ..base.clone() };
    assert_eq!(problems(&plain), ["--server-name: has no meaning with --tls false"]);
    let twice = Flags {
        identity: some("password"),
        password_file: some("/dev/null"),
        password_env: some("PATH"),
        ..base.clone()
    };
    assert_eq!(problems(&twice), ["--password-file: give {file: …} or {env: …}, and nothing else"]);
    let unset =
        Flags { identity: some("password"), password_env: some("CACHEPULSE_TEST_UNSET"), ..base.clone() };
    assert_eq!(
        problems(&unset),
        ["--password-env: the secret's environment variable CACHEPULSE_TEST_UNSET is not set"]
    );
    let foreign = Flags { access_key_file: some("/dev/null"), username: some("u"), ..base };
    assert_eq!(
        problems(&foreign),
        [
            "--access-key-file: has no meaning with the identity type none, only with access_key",
            "--username: has no meaning with the identity none, which signs in without a user name",
        ]
    );
}
