//! No secret appears in any output, whatever the faults and the log level.

use cachepulse_standin::{CommandFault, Ending, FaultReply, Secret, TokenFault};
use rustix::process::Signal;

use crate::lab::Lab;
use crate::program::{BINARY, Program, cachepulse, program};
use crate::redis_server::{Listen, PASSWORD, RedisServer};

/// Asserts that `text` contains no token and none of `secrets`.
fn assert_clean(text: &str, secrets: &[&str]) {
    for secret in secrets.iter().chain(&["eyJ"]) {
        assert!(secret.len() >= 3, "any text contains an empty secret");
        let around = text.lines().find(|line| line.contains(secret));
        assert_eq!(around, None, "{secret} is shown");
    }
}

#[tokio::test]
async fn no_secret_appears_with_every_identity_and_many_faults_at_the_level_trace() {
    let lab = Lab::start().await;
    let redis = RedisServer::start(Listen::Tls, &[("probe", "~* +ping +set +get +client|list")]).await;
    let az =
        lab.command("az", "echo '{\"accessToken\": \"eyJhbGciOiJub25lIn0.eyJ4IjoxfQ.c2ln\"}' >&2; exit 1");
    let federated = std::fs::read_to_string(lab.federated_token_file()).unwrap();
    let password_file = lab.file("password", PASSWORD);
    let key_file = lab.access_key_file();
    let by_key = format!("identity: {{type: access_key, key: {{file: '{}'}}}}", key_file.display());
    let by_password = format!(
        "{{name: straight, host: localhost, port: {}, tls: {{ca_file: '{}'}}, username: probe, interval: 500ms, \
         identity: {{type: password, password: {{file: '{}'}}}}}}",
        redis.port(),
        redis.ca_file().display(),
        password_file.display()
    );
    let entra = |kind: &str| lab.target(kind, &format!("interval: 500ms, identity: {kind}"));
    let targets = [
        entra("managed_identity"),
        entra("workload_identity"),
        entra("client_secret"),
        entra("azure_cli"),
        lab.target("key", &format!("interval: 500ms, {by_key}")),
        by_password,
    ];
    let config = format!("log: {{level: trace}}\n{}", Lab::config(targets));
    let client_secret = lab.azure.client_secret().expose();
    let file = lab.file("config.yaml", &config);
    let program: Program = lab.pod(lab.run_file(&file)).env("AZURE_CLIENT_SECRET", client_secret);
    let agent = program.env("PATH", format!("{}:/usr/bin:/bin", az.display())).serve().await;
    let up = ["managed_identity", "workload_identity", "client_secret", "key", "straight"];
    agent
        .until("all targets with working identities are up", |it| up.iter().all(|name| it.is_up(name)))
        .await;
    agent.until("one has no token", |it| it.failures("no_token", "azure_cli") > 0).await;

    let access_key = lab.azure.access_key().expose();
    lab.azure.cache().set_access_keys(vec![Secret::new("rotated-key".into())]);
    lab.azure.cache().revoke(lab.azure.object_id());
    lab.azure.cache().close_all(Ending::Close);
    agent.until("the key is refused", |it| it.failures("auth_rejected", "key") > 0).await;
    agent.until("tokens are refused", |it| it.failures("auth_rejected", "client_secret") > 0).await;
    redis.ask::<u64>(&["ACL", "DELUSER", "probe"]);
    agent.until("the password is refused", |it| it.failures("auth_rejected", "straight") > 0).await;
    let pages = agent.every_page().await;
    agent.signal(Signal::TERM);
    let ended = agent.ended().await;
    assert_eq!(ended.code, Some(0));

    let header = lab.azure.identity_header().expose();
    let secrets = [header, client_secret, access_key, federated.trim(), PASSWORD, " addr="];
    assert_clean(&ended.stdout, &secrets);
    assert_clean(&ended.stderr, &secrets);
    assert_clean(&pages, &secrets);
    assert!(
        ended.stderr.contains(" level=debug ") && ended.stderr.contains("auth_rejected"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn errors_of_the_identity_endpoint_do_not_contain_the_identity_header() {
    let lab = Lab::start().await;
    let program = lab.run(["--identity", "managed_identity", "--interval", "200ms", "--log-level", "trace"]);
    let agent = program.env("IDENTITY_HEADER", "a-wrong-header").serve().await;
    agent.until("it is refused", |scrape| scrape.failures("no_token", "orders") > 0).await;
    for fault in
        [TokenFault::status(500), TokenFault::Truncated, TokenFault::Reset, TokenFault::WithoutObjectId]
    {
        let before = agent.scrape().await;
        let failed = r#"token_refreshes_total{identity="managed_identity",result="failure"}"#;
        lab.azure.endpoint().set(|settings| settings.fault = Some(fault));
        agent.until("it fails again", |it| it.value(failed) > before.value(failed)).await;
    }
    let text = format!("{}{}{}", agent.log(), agent.printed(), agent.every_page().await);
    assert_clean(&text, &["a-wrong-header", lab.azure.identity_header().expose()]);
}

/// Redis echoes the arguments of an unknown command.
#[tokio::test]
async fn a_secret_that_the_server_echoes_is_redacted() {
    let lab = Lab::start().await;
    let (token, key) = (lab.token(), lab.azure.access_key());
    let az = lab.az(&token);
    let key_file = lab.access_key_file();
    let by_key = format!("identity: {{type: access_key, key: {{file: '{}'}}}}", key_file.display());
    for (secret, identity) in [(&token.secret, "identity: azure_cli"), (key, &by_key)] {
        let echo = |command: &str| {
            let echoed = format!("with args beginning with: '{}'", secret.expose());
            let words = format!("ERR unknown command '{command}', {echoed}");
            CommandFault::replied(command, FaultReply::error(&words))
        };
        let echoes = vec![echo("HELLO"), echo("AUTH")];
        lab.azure.cache().faults(|faults| faults.commands = echoes);
        let target = lab.target("orders", &format!("interval: 500ms, {identity}"));
        let file = lab.file("config.yaml", &format!("log: {{level: trace}}\n{}", Lab::config([target])));
        let agent = lab.run_file(&file).env("PATH", &az).serve().await;
        agent.until("sign-in fails", |it| it.failures("auth_rejected", "orders") > 0).await;
        let text = format!("{}{}", agent.log(), agent.every_page().await);
        assert!(text.contains("ERR unknown command 'AUTH'"), "{text}");
        assert_clean(&text, &[secret.expose()]);
    }
}

#[tokio::test]
async fn check_shows_no_secrets() {
    let lab = Lab::start().await;
    lab.azure.cache().revoke(lab.azure.object_id());
    for output in ["text", "json"] {
        let ended = lab.check(["--output", output, "--log-level", "trace"]).run().await;
        assert_eq!(ended.code, Some(1));
        assert_clean(&format!("{ended:?}"), &[lab.azure.identity_header().expose()]);
    }
    let key = lab.file("wrong-key", "hunter2");
    let by_key = ["--identity", "access_key", "--log-level", "trace"];
    let program = cachepulse(["check"]).args(lab.flags()).args(by_key);
    let ended = program.args(["--access-key-file".as_ref(), key.as_os_str()]).run().await;
    assert_eq!(ended.code, Some(1));
    assert_clean(&format!("{ended:?}"), &["hunter2"]);
}

#[tokio::test]
async fn a_crash_leaves_no_core_dump() {
    for (name, signal) in [("ABRT", Signal::ABORT), ("QUIT", Signal::QUIT)] {
        let lab = Lab::start().await;
        let folder = lab.path("crash");
        std::fs::create_dir(&folder).unwrap();
        // Runs in a separate folder with unlimited core dumps.
        let freely = |command: &str| {
            let shell = format!("cd '{}'; ulimit -c unlimited; {command}", folder.display());
            program("/bin/sh", ["-c", &shell])
        };
        let flags = lab.flags().join(" ");
        let run = format!("exec {BINARY} run --listen 127.0.0.1:0 --name orders --log-level trace {flags}");
        let agent = lab.app_service(freely(&run)).serve().await;
        agent.until("it is up", |scrape| scrape.is_up("orders")).await;
        agent.signal(signal);
        let ended = agent.ended().await;
        assert_eq!((ended.code, ended.core_dumped), (None, false), "{ended:?}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert_clean(&format!("{}{}", ended.stdout, ended.stderr), &[lab.azure.identity_header().expose()]);

        // Another process must leave a core dump, unless the system passes core dumps to a program.
        let ended = freely(&format!("kill -{name} $$")).run().await;
        let to_a_file = !std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with('|');
        assert!(
            ended.core_dumped || !to_a_file,
            "this shell leaves none either; allow core dumps with `ulimit -Hc unlimited`"
        );
    }
}
