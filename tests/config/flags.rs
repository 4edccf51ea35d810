//! Configuration by flags and variables.

use cachepulse::config::Config;
use cachepulse::config::flags::{Flags, Origin};
use cachepulse::config::keys;
use cachepulse::identity::{EntraSource, Identity, ManagedIdentityId};
use cachepulse::secret::SecretSource;
use cachepulse::target::{Tls, TlsFiles};
use std::sync::Arc;

use crate::{config, entra, sources, target, valid};

/// Returns the flags with these names and values.
fn flags(values: &[(&str, &str)]) -> Flags {
    values.iter().fold(Flags::default(), |flags, value| with(flags, Origin::CommandLine, value))
}

fn with(flags: Flags, origin: Origin, (name, value): &(&str, &str)) -> Flags {
    let key = keys::all().find(|key| key.about().flag.is_some_and(|flag| flag.name == *name));
    flags.with(key.unwrap_or_else(|| panic!("no flag --{name}")), origin, value)
}

/// Returns the problems of `flags`.
fn problems(flags: &Flags) -> Vec<String> {
    match Config::from_flags(flags, &sources()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn only_the_host_is_required() {
    let flags = flags(&[("host", "orders.eastus.redis.azure.net"), ("port", "")]);
    let expected = config(vec![target("orders", "orders.eastus.redis.azure.net", 10000)]);
    assert_eq!(Config::from_flags(&flags, &sources()), Ok(expected));
}

#[test]
fn flags_have_the_effect_of_their_keys_in_yaml() {
    let flags = flags(&[
        ("host", "10.0.0.7"),
        ("port", "7000"),
        ("name", "inventory"),
        ("tls", "true"),
        ("ca-file", "examples/ca.pem"),
        ("server-name", "inventory.example.com"),
        ("identity", "password"),
        ("password-env", "PATH"),
        ("username", "12345"),
        ("protocol", "resp2"),
        ("interval", "30s"),
        ("connect-timeout", "1s"),
        ("command-timeout", "500ms"),
        ("attempts", "2"),
        ("startup-grace", "20s"),
        ("key", "health"),
        ("keys", "16"),
        ("client-list", "required"),
        ("client-list-every", "10"),
        ("new-connection-every", "0s"),
        ("dns-refresh", "5s"),
        ("max-connection-age", "90m"),
        ("reply-limit", "1MiB"),
        ("cluster-mode", "off"),
        ("cluster-max-nodes", "6"),
        ("cluster-refresh", "30s"),
        ("cluster-address", "host"),
        ("expect-role", "any"),
        ("maintenance", "off"),
        ("listen", "127.0.0.1:0"),
        ("health-listen", "127.0.0.1:9861"),
        ("web-config-file", "examples/web.yml"),
        ("http-lifecycle", "true"),
        ("metrics-histograms", "classic"),
        ("metrics-classic-factor", "4"),
        ("log-level", "debug"),
        ("log-format", "json"),
        ("shutdown-grace-period", "1m"),
    ]);
    let yaml = r#"
http: {listen: "127.0.0.1:0", health_listen: "127.0.0.1:9861", web_config_file: examples/web.yml, lifecycle: true}
metrics: {histograms: classic, classic_factor: 4}
log: {level: debug, format: json}
shutdown_grace_period: 1m
targets:
  - name: inventory
    host: 10.0.0.7
    port: 7000
    tls: {ca_file: examples/ca.pem, server_name: inventory.example.com}
    identity: {type: password, password: {env: PATH}}
    username: "12345"
    protocol: resp2
    interval: 30s
    connect_timeout: 1s
    command_timeout: 500ms
    attempts: 2
    startup_grace: 20s
    key: health
    keys: 16
    client_list: {mode: required, every: 10}
    new_connection: {every: 0s}
    dns_refresh: 5s
    max_connection_age: 90m
    reply_limit: 1MiB
    cluster: {mode: off, max_nodes: 6, refresh: 30s, address: host}
    expect_role: any
    maintenance: off
"#;
    let without_warnings = |config: Config| Config { warnings: Vec::new(), ..config };
    let read = Config::from_flags(&flags, &sources()).unwrap();
    assert_eq!(without_warnings(read), without_warnings(valid(yaml)));
}

#[test]
fn flags_configure_an_identity() {
    let identity = |values: &[(&str, &str)]| {
        let flags = flags(&[&[("host", "a")], values].concat());
        let config = Config::from_flags(&flags, &sources()).unwrap_or_else(|problems| panic!("{problems}"));
        config.targets[0].identity.clone()
    };
    let managed = |flag, id: ManagedIdentityId| {
        let identity = identity(&[("identity", "managed_identity"), (flag, "c")]);
        assert_eq!(identity, entra(EntraSource::ManagedIdentity(id)));
    };
    managed("client-id", ManagedIdentityId::ClientId("c".into()));
    managed("object-id", ManagedIdentityId::ObjectId("c".into()));
    managed("resource-id", ManagedIdentityId::ResourceId("c".into()));
    let file = "examples/secrets/client-secret";
    assert_eq!(
        identity(&[("identity", "client_secret"), ("tenant-id", "c"), ("client-secret-file", file)]),
        entra(EntraSource::ClientSecret {
            client_id: None,
            tenant_id: Some("c".to_owned()),
            secret: Some(SecretSource::File(file.into())),
        })
    );
    assert_eq!(
        identity(&[("identity", "access_key"), ("access-key-file", file)]),
        Arc::new(Identity::AccessKey(SecretSource::File(file.into())))
    );
}

#[test]
fn advice_about_other_settings_names_their_flags() {
    let one_slot = flags(&[("host", "a"), ("key", "{orders}"), ("keys", "2"), ("expect-role", "replica")]);
    assert_eq!(
        problems(&one_slot),
        [
            "--key: the hash tag in braces fixes the slot, so that no other slot can be probed; remove the braces, or set \
             --keys 1 and --cluster-mode off"
        ]
    );
    let resp2 =
        with(flags(&[("host", "a"), ("protocol", "resp2")]), Origin::Variable, &("maintenance", "on"));
    assert_eq!(
        problems(&resp2),
        [
            "CACHEPULSE_MAINTENANCE: notices need RESP3, and the target has --protocol resp2; set --protocol auto"
        ]
    );
}

#[test]
fn problems_with_flags_name_the_flag() {
    assert_eq!(problems(&Flags::default()), ["--host: missing; name the cache's host, or its sentinels"]);
    let many = flags(&[
        ("host", "redis://:hunter2@orders"),
        ("port", "0"),
        ("tls", "maybe"),
        ("ca-file", "ca.pem"),
        ("identity", "access_key"),
        ("client-id", "c"),
        ("interval", "10"),
        ("client-list-every", "0"),
        ("listen", "9860"),
        ("log-level", "loud"),
    ]);
    assert_eq!(
        problems(&many),
        [
            "--host: the URL contains a password; write redis://orders and give the password with --identity password \
             --password-file FILE",
            "--port: expected a whole number from 1 to 65535, found \"0\"",
            "--tls: expected true or false, found \"maybe\"",
            "--access-key-file: missing; give --access-key-file or --access-key-env",
            "--client-id: not used by the identity type access_key, only by auto, managed_identity, \
             workload_identity, client_secret or client_certificate",
            "--interval: expected a duration from 100ms to 1h, such as 10s or 1m30s (units: h, m, s, ms), found \"10\"",
            "--client-list-every: expected auto or a whole number from 1 to 1000000, found \"0\"",
            "--listen: expected an address and a port such as 10.0.0.4:9860, localhost:9860 or :9860, found \"9860\"",
            "--log-level: expected error, warn, info, debug or trace, found \"loud\"",
        ]
    );
}

#[test]
fn problems_with_variables_name_the_variable() {
    let flags = with(flags(&[("host", "a")]), Origin::Variable, &("interval", "0s"));
    assert!(problems(&flags)[0].starts_with("CACHEPULSE_INTERVAL: expected a duration from"));
}

#[test]
fn advice_about_variables_names_variables() {
    let problems_with = |values: &[(&str, &str)]| {
        problems(&values.iter().fold(Flags::default(), |flags, value| with(flags, Origin::Variable, value)))
    };
    assert_eq!(
        problems_with(&[("host", "rediss://u:hunter2@orders")]),
        ["CACHEPULSE_HOST: the URL contains a password; write rediss://u@orders and give the password with \
             CACHEPULSE_IDENTITY=password CACHEPULSE_PASSWORD_FILE=FILE"]
    );
    assert_eq!(
        problems_with(&[("host", "a"), ("identity", "access_key")]),
        ["CACHEPULSE_ACCESS_KEY_FILE: missing; give CACHEPULSE_ACCESS_KEY_FILE or CACHEPULSE_ACCESS_KEY_ENV"]
    );
    assert_eq!(
        problems_with(&[("host", "a"), ("password-env", "PATH")]),
        ["CACHEPULSE_PASSWORD_ENV: not used by the identity type auto, only by password; add \
             CACHEPULSE_IDENTITY=password"]
    );
    let mixed = with(flags(&[("host", "a:1")]), Origin::Variable, &("port", "2"));
    assert_eq!(problems(&mixed), ["--host: contradicts CACHEPULSE_PORT; give it once"]);
}

#[test]
fn the_advice_for_a_refused_password_leads_to_a_valid_configuration() {
    let file = "examples/secrets/access-key";
    for values in [
        [("host", "rediss://u@orders"), ("identity", "password"), ("password-file", file)],
        [("host", "orders:6380,ssl=True"), ("identity", "access_key"), ("access-key-file", file)],
    ] {
        assert_eq!(problems(&flags(&values)), Vec::<String>::new());
    }
}

#[test]
fn contradicting_flags_are_rejected() {
    let with_host = |values: &[(&str, &str)]| problems(&flags(&[&[("host", "a")], values].concat()));
    assert_eq!(
        with_host(&[("identity", "none"), ("tls", "false"), ("server-name", "b")]),
        ["--server-name: not used without TLS"]
    );
    let certificate = [("cert-file", "examples/client.pem"), ("key-file", "examples/secrets/client.key")];
    assert_eq!(
        with_host(&[&[("identity", "none"), ("tls", "false")], &certificate[..]].concat()),
        ["--cert-file: not used without TLS", "--key-file: not used without TLS"]
    );
    assert_eq!(
        with_host(&[("identity", "password"), ("password-file", "/dev/null"), ("password-env", "PATH")]),
        ["--password-file: give --password-file or --password-env, and nothing else"]
    );
    assert_eq!(
        with_host(&[("identity", "password"), ("password-env", "CACHEPULSE_TEST_UNSET")]),
        ["--password-env: the secret's environment variable CACHEPULSE_TEST_UNSET is not set"]
    );
    assert_eq!(
        with_host(&[("identity", "none"), ("access-key-file", "/dev/null"), ("username", "u")]),
        [
            "--access-key-file: not used by the identity type none, only by access_key",
            "--username: the identity type none uses no user name",
        ]
    );
}

#[test]
fn tls_that_is_on_by_flag_keeps_its_details() {
    let certificate = [("cert-file", "examples/client.pem"), ("key-file", "examples/secrets/client.key")];
    let files = |more: &[(&str, &str)]| {
        let values = [&[("host", "orders"), ("identity", "none")], &certificate[..], more].concat();
        Config::from_flags(&flags(&values), &sources()).unwrap().targets[0].tls.clone()
    };
    assert_eq!(files(&[("tls", "true")]), files(&[]));
    assert!(matches!(files(&[]), Tls::On { files: TlsFiles { client: Some(_), .. }, .. }));
}

#[test]
fn a_url_as_host_names_the_target_and_may_contradict_flags() {
    let named = flags(&[("host", "rediss://orders.example.com:7000")]);
    let config = Config::from_flags(&named, &sources()).unwrap();
    assert_eq!(*config.targets[0], target("orders", "orders.example.com", 7000));
    assert_eq!(
        problems(&flags(&[
            ("host", "rediss://orders:7000"),
            ("port", "7001"),
            ("tls", "false"),
            ("identity", "none")
        ])),
        ["--host: contradicts --port; give it once", "--host: contradicts --tls; give it once"]
    );
}

#[test]
fn sentinels_are_given_by_flags_with_commas_between_them() {
    let plain = [("tls", "false"), ("identity", "none"), ("sentinel-service", "mymaster")];
    let more = [
        ("sentinel-addresses", "s0, s1:1"),
        ("sentinel-identity", "password"),
        ("sentinel-password-env", "PATH"),
        ("sentinel-username", "u"),
        ("sentinel-ca-file", "examples/ca.pem"),
        ("sentinel-server-name", "b"),
    ];
    let yaml = r#"
targets:
  - name: mymaster
    tls: false
    identity: none
    sentinel:
      service: mymaster
      addresses: [s0, "s1:1"]
      identity: {type: password, password: {env: PATH}}
      username: u
      tls: {ca_file: examples/ca.pem, server_name: b}
"#;
    let given = flags(&[&plain[..], &more].concat());
    assert_eq!(Config::from_flags(&given, &sources()), Ok(valid(yaml)));
    let given = flags(&[&plain[..], &[("sentinel-addresses", "s0,s1:x")]].concat());
    let expected =
        "--sentinel-addresses: expected a host with an optional port, such as sentinel-0.example.com:26379";
    assert_eq!(problems(&given), [expected]);
    let given = flags(&[&plain[..], &[("sentinel-addresses", "s0"), ("host", "a")]].concat());
    assert_eq!(
        problems(&given),
        ["--sentinel-service: the sentinels name the host; leave out --host, or the sentinels"]
    );
    let given =
        flags(&[&plain[..], &[("sentinel-tls", "false"), ("sentinel-ca-file", "examples/ca.pem")]].concat());
    assert!(problems(&given).contains(&"--sentinel-ca-file: not used without TLS".to_owned()));
}
