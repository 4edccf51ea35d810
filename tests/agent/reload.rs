//! Changes of the configuration while the agent runs.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::lab::Lab;
use crate::program::{Running, eventually};
use crate::scrape::Scrape;

const SUCCESSFUL: &str = "config_last_reload_successful";
const LOADED: &str = "config_last_reload_success_timestamp_seconds";

/// An agent with the target `orders`, which uses Entra, and others, which use the access key.
struct Reloaded {
    lab: Lab,
    file: PathBuf,
    agent: Running,
    /// The server's id of the connection of `orders` at the start.
    orders: u64,
    /// How many connections `orders` had opened by then.
    connects: u64,
}

impl Reloaded {
    async fn start(others: &[(&str, &str)]) -> Self {
        let lab = Lab::start().await;
        let file = lab.file("config.yaml", &config(&lab, others));
        let agent = lab.run_file(&file).serve().await;
        let names: Vec<&str> = others.iter().map(|other| other.0).chain(["orders"]).collect();
        let up = |scrape: &Scrape| names.iter().all(|name| scrape.is_up(name));
        let connects = agent.until("every target is up", up).await.connects("success", "orders");
        let orders = lab.redis.agent(lab.azure.object_id()).id;
        Self { lab, file, agent, orders, connects }
    }

    fn write(&self, text: &str) {
        self.lab.file("config.yaml", text);
    }

    /// Asserts that probes of `orders` continue on the connection of the start.
    async fn orders_continue(&self) {
        let before = self.agent.scrape().await.count("probes_total", "orders");
        let after =
            self.agent.until("probes continue", |it| it.count("probes_total", "orders") > before + 1).await;
        assert!(after.is_up("orders"));
        assert_eq!(after.connects("success", "orders"), self.connects);
        assert_eq!(self.lab.redis.agent(self.lab.azure.object_id()).id, self.orders);
    }
}

/// Returns a configuration with the target `orders` and others with these intervals.
fn config(lab: &Lab, others: &[(&str, &str)]) -> String {
    let key_file = lab.access_key_file();
    let by_key = |(name, interval): &(&str, &str)| {
        let key = format!("identity: {{type: access_key, key: {{file: '{}'}}}}", key_file.display());
        lab.target(name, &format!("interval: {interval}, {key}"))
    };
    let orders = lab.target("orders", "interval: 700ms, identity: managed_identity");
    Lab::config(others.iter().map(by_key).chain([orders]))
}

#[tokio::test]
async fn sighup_restarts_changed_targets_keeps_unchanged_ones_and_stops_removed_ones() {
    let it = Reloaded::start(&[("baskets", "600ms"), ("sessions", "600ms")]).await;
    let before = it.agent.scrape().await;
    let key_clients = |it: &Reloaded| -> Vec<u64> {
        let clients = it.lab.redis.clients().into_iter();
        clients.filter(|client| client.user == "default").map(|client| client.id).collect()
    };
    let by_key = key_clients(&it);
    assert_eq!(by_key.len(), 2);

    it.write(&config(&it.lab, &[("baskets", "700ms"), ("stock", "600ms")]));
    it.agent.signal(Signal::HUP);
    let scrape = it.agent.until("the new target is up", |scrape| scrape.is_up("stock")).await;
    assert!(scrape.count("probes_total", "orders") >= before.count("probes_total", "orders"));
    it.orders_continue().await;
    let scrape = it.agent.until("the changed target is up", |scrape| scrape.is_up("baskets")).await;
    assert!(key_clients(&it).iter().all(|id| !by_key.contains(id)), "both old connections are gone");
    assert!(!scrape.text.contains("sessions"), "{}", scrape.text);
    assert!(scrape.value(SUCCESSFUL) > 0.5);
    assert!(scrape.value(LOADED) > before.value(LOADED));
    let status = it.agent.status().await;
    let names: Vec<_> =
        status["targets"].as_array().unwrap().iter().map(|target| &target["target"]).collect();
    assert_eq!(names, ["baskets", "orders", "stock"]);
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_shows_in_the_metrics_until_it_is_corrected() {
    let it = Reloaded::start(&[]).await;
    let good = std::fs::read_to_string(&it.file).unwrap();
    let before = it.agent.scrape().await.value(LOADED);

    it.write(&good.replace("name: orders", "name: orders, attempts: 0, colour: blue"));
    it.agent.signal(Signal::HUP);
    let scrape = it.agent.until("it is rejected", |scrape| scrape.value(SUCCESSFUL) < 0.5).await;
    assert!((scrape.value(LOADED) - before).abs() < f64::EPSILON);
    it.agent.logs("configuration rejected; keeping the previous one").await;
    it.agent.logs("targets[0] (orders).attempts: expected a whole number").await;
    it.agent.logs("targets[0] (orders): unknown key \\\"colour\\\"").await;
    it.orders_continue().await;

    std::fs::remove_file(&it.file).unwrap();
    it.agent.signal(Signal::HUP);
    it.agent.logs("cannot be read: No such file or directory").await;
    it.orders_continue().await;

    it.write(&good);
    it.agent.signal(Signal::HUP);
    it.agent.until("it is applied", |scrape| scrape.value(SUCCESSFUL) > 0.5).await;
    it.orders_continue().await;
}

#[tokio::test]
async fn an_invalid_ca_file_changes_nothing() {
    let it = Reloaded::start(&[]).await;
    let good = std::fs::read_to_string(&it.file).unwrap();
    let broken = it.lab.file("broken.pem", "no certificate\n");
    it.write(&good.replace(it.lab.ca_file().to_str().unwrap(), broken.to_str().unwrap()));
    it.agent.signal(Signal::HUP);
    it.agent.until("it is rejected", |scrape| scrape.value(SUCCESSFUL) < 0.5).await;
    it.orders_continue().await;
}

#[tokio::test]
async fn sighup_without_a_file_is_ignored() {
    let lab = Lab::start().await;
    let agent = lab.run(["--interval", "500ms"]).serve().await;
    agent.signal(Signal::HUP);
    agent.logs("SIGHUP ignored; there is no configuration file").await;
    agent.until("it probes", |scrape| scrape.count("probes_total", "orders") > 2).await;
}

#[tokio::test]
async fn the_log_level_changes_with_a_reload() {
    let it = Reloaded::start(&[]).await;
    let good = std::fs::read_to_string(&it.file).unwrap();
    let before = it.agent.scrape().await.value(LOADED);
    it.write(&format!("log: {{level: error}}\n{good}"));
    it.agent.signal(Signal::HUP);
    it.agent.until("it is applied", |scrape| scrape.value(LOADED) > before).await;
    it.write(&format!("log: {{level: info, format: json}}\n{good}"));
    it.agent.signal(Signal::HUP);
    let warning = "http or log.format changed; restart to apply";
    it.agent.logs(warning).await;
    let log = it.agent.log();
    let (at_level_error, _) = log.split_once(warning).unwrap();
    assert!(!at_level_error.contains("configuration reloaded"), "{log}");
}

#[tokio::test]
async fn a_restart_is_asked_for_only_while_it_would_change_something() {
    let lab = Lab::start().await;
    let config = |http: &str| format!("http: {{listen: '127.0.0.1:0', lifecycle: true{http}}}\n");
    let write = |http: &str| {
        lab.file(
            "config.yaml",
            &format!("{}targets:\n- {}\n", config(http), lab.target("a", "identity: none")),
        )
    };
    let agent = lab.run_file(&write("")).serve().await;
    let warnings = || agent.log().matches("http or log.format changed; restart to apply").count();
    let changes = [(", health_listen: '127.0.0.1:0'", 1), ("", 1), (", health_listen: '127.0.0.1:1'", 2)];
    for (reloads, (http, expected)) in (1..).zip(changes) {
        write(http);
        assert_eq!(agent.post_reload().await.code, 200);
        // The log of a reload ends with this line, and is read later than the response.
        eventually("the reload is logged", || {
            agent.log().matches("configuration reloaded").count() == reloads
        })
        .await;
        assert_eq!(warnings(), expected, "{http}: {}", agent.log());
    }
}

#[tokio::test]
async fn a_reload_that_is_requested_has_the_result_of_the_file_as_it_is() {
    let lab = Lab::start().await;
    let good = format!(
        "http: {{listen: '127.0.0.1:0', lifecycle: true}}\ntargets:\n- {}\n",
        lab.target("orders", "identity: none")
    );
    let file = lab.file("config.yaml", &good);
    let agent = lab.run_file(&file).serve().await;
    let names = async || {
        let status = agent.status().await;
        let targets = status["targets"].as_array().unwrap().iter();
        targets.map(|it| it["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (change, code, text, shown) in [
        ("name: orders", 200, "configuration reloaded\n", "orders"),
        ("name: baskets", 200, "configuration reloaded\n", "baskets"),
        ("name: stock, attempts: 0", 500, "attempts: expected a whole number", "baskets"),
        ("name: stock, attempts: 0", 500, "attempts: expected a whole number", "baskets"),
        ("name: stock", 200, "configuration reloaded\n", "stock"),
    ] {
        lab.file("config.yaml", &good.replace("name: orders", change));
        let page = agent.post_reload().await;
        assert_eq!(page.code, code, "{change}: {}", page.body);
        assert!(page.body.contains(text), "{change}: {}", page.body);
        assert_eq!(names().await, shown, "{change}");
    }
    let several = tokio::join!(agent.post_reload(), agent.post_reload(), agent.post_reload());
    assert_eq!((several.0.code, several.1.code, several.2.code), (200, 200, 200));
}

#[tokio::test]
async fn a_reload_is_refused_unless_it_is_enabled_and_has_a_file() {
    let lab = Lab::start().await;
    let forbidden = lab.run(["--identity", "none"]).serve().await.post_reload().await;
    assert_eq!(forbidden.code, 403, "{}", forbidden.body);
    let flags = lab.run(["--identity", "none", "--http-lifecycle", "true"]).serve().await;
    let nothing = flags.post_reload().await;
    assert_eq!((nothing.code, &*nothing.body), (500, "there is no configuration file to load\n"));
}

#[tokio::test]
async fn an_agent_that_waits_begins_by_a_reload_if_a_variable_allows_it() {
    let lab = Lab::start().await;
    let file = lab.file("config.yaml", "targets: []\n");
    let waiting = lab.run_file(&file).args(["--listen", "127.0.0.1:0", "--on-invalid-config", "wait"]);
    let agent = waiting.env("CACHEPULSE_HTTP_LIFECYCLE", "true").wait().await;
    let rejected = agent.post_reload().await;
    assert!(rejected.code == 500 && rejected.body.contains("targets: expected"), "{}", rejected.body);
    lab.file("config.yaml", &Lab::config([lab.target("orders", "identity: none")]));
    let page = agent.post_reload().await;
    assert_eq!(page.code, 200, "{}", page.body);
}
