//! Tokens that a file or a command supplies, with a real server whose passwords they are.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::program::{Running, cachepulse};
use crate::redis_server::{ALL, Listen, RedisServer};
use crate::scrape::Scrape;

/// A redis-server whose user `probe` has the passwords `token-1` to `token-9`, and a folder for the agent's files.
struct Lab {
    redis: RedisServer,
    folder: TempDir,
}

impl Lab {
    async fn start() -> Self {
        let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
        let passwords: Vec<String> = (1..10).map(|number| format!(">token-{number}")).collect();
        let mut words = vec!["ACL", "SETUSER", "probe", "resetpass"];
        words.extend(passwords.iter().map(String::as_str));
        redis.ask::<()>(&words);
        Self { redis, folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        // As a sidecar replaces it.
        std::fs::write(path.with_extension("new"), content).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        path
    }

    /// Starts the agent with a target `orders` whose token comes from `token`.
    async fn run(&self, token: &str, more: &str) -> Running {
        let port = self.redis.port();
        let config = format!(
            "http: {{listen: '127.0.0.1:0'}}\ntargets:\n- name: orders\n  host: 127.0.0.1\n  port: {port}\n  tls: false\n  \
             interval: 100ms\n  identity: {{type: token, token: {token}}}\n{more}"
        );
        cachepulse(["run", "--config"]).args([self.write("config.yaml", &config)]).serve().await
    }
}

/// Returns how many tokens were presented on the live connection.
fn presented(scrape: &Scrape) -> u64 {
    scrape.count_of("reauthentications_total", "result", "success", "orders")
}

#[tokio::test]
async fn each_token_of_a_command_is_presented_on_the_live_connection() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::start().await;
    let script = format!(
        "#!/bin/sh\ncd {}\nread n < count\nn=$((n % 9 + 1))\necho $n > count\n\
         echo '{{\"token\":\"token-'$n'\",\"expires_in\":4,\"username\":\"'$1'\"}}'\n",
        lab.folder.path().display()
    );
    lab.write("count", "0\n");
    let command = lab.write("supply", &script);
    std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = lab.run(&format!("{{command: [{}, probe, canary]}}", command.display()), "").await;
    agent.until("it is up", |it| it.is_up("orders")).await;
    let connection = lab.redis.agent("probe").id;
    let scrape = agent.until("two more tokens are presented", |it| presented(it) > 1).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0);
    assert_eq!(lab.redis.agent("probe").id, connection);
    assert!(scrape.text.contains("identity=\"token:supply\""), "{}", scrape.text);
    assert!(!scrape.text.contains("canary"), "an argument in the metrics: {}", scrape.text);
}

#[tokio::test]
async fn a_token_that_changed_in_its_file_is_presented_on_the_live_connection() {
    let lab = Lab::start().await;
    let file = lab.write("token", "token-1\n");
    let agent = lab.run(&format!("{{file: {}}}", file.display()), "  username: probe\n").await;
    agent.until("it is up", |it| it.is_up("orders")).await;
    let connection = lab.redis.agent("probe").id;
    lab.write("token", "{\"access_token\": \"token-2\", \"expires_in\": 3600}");
    let scrape = agent.until("the new token is presented", |it| presented(it) > 0).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0);
    assert_eq!(lab.redis.agent("probe").id, connection);
    // A file that is missing for a while costs nothing: the last token stays in use.
    std::fs::remove_file(&file).unwrap();
    let failures = "token_refreshes_total{identity=\"token:token\",result=\"failure\"}";
    let scrape = agent.until("the file is missed", |it| it.value(failures) > 0.0).await;
    assert!(scrape.is_up("orders"));
}

#[tokio::test]
async fn check_explains_a_command_that_supplies_no_token_and_a_token_that_is_refused() {
    let lab = Lab::start().await;
    let port = lab.redis.port().to_string();
    let check = |token: &str| {
        cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "token", "--port", &port])
            .args(["--username", "probe", "--token-from-command", token])
    };
    let missing = check("/nonexistent/supply").run().await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stdout.contains("supply cannot be run: No such file"), "{missing:?}");
    // It prints a line, which is no password of the user.
    let refused = check("/usr/bin/whoami").run().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("Check that the token is meant for this server"), "{refused:?}");
}
