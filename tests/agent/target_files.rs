//! Targets from further files: they come and go with the files, and a broken file affects only itself.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::lab::Lab;
use crate::program::Running;
use crate::scrape::Scrape;

/// A folder with files of targets, and an agent that watches it.
struct Watched {
    lab: Lab,
    folder: PathBuf,
    config: String,
    agent: Running,
}

impl Watched {
    /// Starts an agent whose folder has these files.
    async fn start(files: &[(&str, &str)]) -> Self {
        let lab = Lab::start().await;
        let folder = lab.path("targets");
        fs::create_dir(&folder).unwrap();
        let config = format!(
            "http: {{listen: '127.0.0.1:0'}}\n\
             target_files: ['{folder}/*.yaml', '{folder}/*.json']\n\
             identities:\n\
             \x20 shop: {{type: managed_identity, hosts: [localhost]}}\n\
             \x20 key: {{type: access_key, key: {{file: '{key}'}}, hosts: [localhost]}}\n\
             \x20 closed: {{type: access_key, key: {{file: '{ca}'}}}}\n\
             authorities: {{lab: '{ca}'}}\n\
             defaults: {{interval: 500ms, port: {port}, tls: {{ca_file: '{ca}'}}, identity: managed_identity}}\n\
             targets: [{{name: own, host: localhost}}]\n",
            folder = folder.display(),
            key = lab.access_key_file().display(),
            ca = lab.ca_file().display(),
            port = lab.azure.cache_port(),
        );
        let file = lab.file("config.yaml", &config);
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let agent = lab.run_file(&file).serve().await;
        Self { lab, folder, config, agent }
    }

    /// Replaces a file in one step.
    fn write(&self, name: &str, text: &str) {
        let new = self.lab.file("new", text);
        fs::rename(new, self.folder.join(name)).unwrap();
    }

    async fn is_up(&self, name: &str) {
        self.agent.until(&format!("{name} is up"), |scrape| scrape.is_up(name)).await;
    }

    async fn is_valid(&self, name: &str, valid: Option<f64>) {
        let series = format!("target_file_valid{{file=\"{}\"}}", self.folder.join(name).display());
        self.agent.until(&format!("{name} has {valid:?}"), |scrape| scrape.get(&series) == valid).await;
    }
}

#[tokio::test]
async fn targets_come_and_go_with_their_files_and_a_broken_file_keeps_its_own() {
    let it = Watched::start(&[
        ("a.yaml", "targets:\n- {name: first, host: localhost, identity: key, tls: {ca_file: lab}}\n"),
        ("hidden.txt", "targets: 1"),
    ])
    .await;
    it.is_up("own").await;
    it.is_up("first").await;
    it.is_valid("a.yaml", Some(1.0)).await;

    // As Prometheus' file_sd_configs has it.
    it.write("b.json", r#"[{"targets": ["localhost"], "labels": {"team": "shop", "__meta_x": "y"}}]"#);
    it.is_up("localhost").await;
    let scrape = it.agent.scrape().await;
    assert_eq!(scrape.get("target_labels{team=\"shop\",target=\"localhost\"}"), Some(1.0));
    let connects = scrape.connects("success", "first");

    it.write("b.json", "[{");
    it.is_valid("b.json", Some(0.0)).await;
    it.agent.logs("kept_targets=1").await;
    it.is_up("localhost").await;
    let errors = it.agent.status().await["target_file_errors"].clone();
    let file = it.folder.join("b.json").display().to_string();
    assert_eq!((errors.as_array().unwrap().len(), errors[0]["file"].as_str()), (1, Some(&*file)), "{errors}");
    assert!(errors[0]["detail"].as_str().unwrap().contains("not valid YAML"), "{errors}");

    // A file that is valid by itself, but has a name of the configuration.
    it.write("a.yaml", "[{name: OWN, host: localhost}, {name: second, host: localhost}]");
    it.is_valid("a.yaml", Some(0.0)).await;
    let scrape = it.agent.scrape().await;
    assert!(scrape.is_up("first") && !scrape.text.contains("\"second\""), "{}", scrape.text);
    assert_eq!(scrape.connects("success", "first"), connects, "it keeps its connection");

    it.write("a.yaml", "[{name: second, host: localhost, identity: shop}]");
    it.is_valid("a.yaml", Some(1.0)).await;
    it.is_up("second").await;
    assert!(!it.agent.scrape().await.text.contains("\"first\""));

    let many = |scrape: &Scrape| scrape.count("probes_total", "localhost") > 5;
    let probes = it.agent.until("it is probed", many).await.count("probes_total", "localhost");
    let labelled = r#"[{"targets": ["localhost"], "labels": {"team": "stock"}}]"#;
    it.write("b.json", labelled);
    it.is_valid("b.json", Some(1.0)).await;
    let scrape = it.agent.scrape().await;
    assert_eq!(scrape.get("target_labels{team=\"stock\",target=\"localhost\"}"), Some(1.0));
    assert!(!scrape.text.contains("team=\"shop\""), "{}", scrape.text);
    assert!(scrape.count("probes_total", "localhost") >= probes, "it is not restarted: {}", scrape.text);
    assert_eq!(scrape.connects("success", "localhost"), 1, "it keeps its connection");
    assert_eq!(it.agent.status().await.get("target_file_errors"), None);

    fs::remove_file(it.folder.join("b.json")).unwrap();
    it.is_valid("b.json", None).await;
    assert!(!it.agent.scrape().await.text.contains("target=\"localhost\""));
}

#[tokio::test]
async fn the_log_counts_the_targets_of_the_files() {
    let two = "[{name: first, host: localhost}, {name: second, host: localhost}]";
    let it = Watched::start(&[("a.yaml", two)]).await;
    let log = it.agent.log();
    let started = log.lines().find(|line| line.contains("agent started")).unwrap();
    assert!(started.contains("targets=3"), "{log}");
    it.agent.signal(Signal::HUP);
    it.agent.logs("msg=\"configuration reloaded\" targets=3").await;
    fs::remove_file(it.folder.join("a.yaml")).unwrap();
    it.agent.logs("msg=\"target files reloaded\" targets=1").await;
    assert!(it.agent.log().contains("msg=\"targets removed\" removed=2 running=1"), "{}", it.agent.log());
}

#[tokio::test]
async fn a_broken_file_keeps_nothing_that_the_configuration_has_withdrawn() {
    let it = Watched::start(&[("a.yaml", "[{name: first, host: localhost, identity: key}]")]).await;
    it.is_up("first").await;
    // The name is unknown from now on.
    it.lab.file("config.yaml", &it.config.replace("\n  key:", "\n  other:"));
    it.is_valid("a.yaml", Some(0.0)).await;
    it.is_up("own").await;
    let scrape = it.agent.scrape().await;
    assert!(!scrape.text.contains("\"first\""), "{}", scrape.text);
}

#[tokio::test]
async fn a_file_gains_no_secret_by_what_it_says() {
    let it = Watched::start(&[
        ("a.yaml", "[{name: a, host: localhost, identity: {type: password, password: {file: /etc/passwd}}}]"),
        (
            "b.yaml",
            "[{name: b, host: localhost, identity: {type: token, token: {command: [touch, gotcha]}}}]",
        ),
        ("c.yaml", "[{name: c, host: localhost, tls: {ca_file: /etc/ssl/cert.pem}}]"),
        ("d.yaml", "[{name: d, host: localhost, identity: closed}]"),
        ("e.yaml", "[{name: e, host: localhost, identity: key, tls: false}]"),
    ])
    .await;
    for file in ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml"] {
        it.is_valid(file, Some(0.0)).await;
    }
    it.is_up("own").await;
    let log = it.agent.log();
    assert!(log.contains("a file with targets holds no identities"), "{log}");
    assert!(log.contains("unknown name"), "{log}");
    assert!(log.contains("this identity may not be used for localhost"), "{log}");
    assert!(log.contains("a file with targets uses an identity over TLS only"), "{log}");
}
