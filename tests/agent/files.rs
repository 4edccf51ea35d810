//! The files that the agent reads: secrets and configurations that hang, change, appear late or come from a pipe.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::load::Load;
use crate::program::{BINARY, Program, Running, cachepulse, program};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};

/// The time within which the agent must notice a change.
const NOTICED: Duration = Duration::from_secs(5);

/// A redis-server with the user `probe`, and a folder for the agent's files.
struct Lab {
    redis: RedisServer,
    folder: TempDir,
}

impl Lab {
    async fn start() -> Self {
        let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
        Self { redis, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and lets it take its place at once.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let (new, path) = (self.path("new"), self.path(name));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    /// Puts a pipe without a writer in the place of a file.
    fn hang(&self, name: &str) {
        let new = self.path("new");
        mkfifoat(CWD, &new, Mode::RUSR | Mode::WUSR).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// Returns a target that signs in with a password file.
    fn target(&self, name: &str, file: &str) -> String {
        let (port, file) = (self.redis.port(), self.path(file));
        let password = format!("{{type: password, password: {{file: '{}'}}}}", file.display());
        format!(
            "- {{name: {name}, host: 127.0.0.1, port: {port}, tls: false, username: probe, interval: 500ms, \
             identity: {password}}}\n"
        )
    }

    /// Writes a configuration with these targets.
    fn configure(&self, targets: &[String]) -> PathBuf {
        let config = format!("http: {{listen: '127.0.0.1:0'}}\ntargets:\n{}", targets.concat());
        self.write("config.yaml", &config)
    }

    /// Starts an agent with these targets.
    async fn run(&self, targets: &[String]) -> Running {
        cachepulse(["run", "--config"]).args([self.configure(targets)]).serve().await
    }

    /// Returns the arguments for the server without a password.
    fn arguments(&self) -> Vec<String> {
        let port = self.redis.port().to_string();
        let arguments = ["--host", "127.0.0.1", "--port", &port, "--tls", "false", "--interval", "300ms"];
        let identity = ["--identity", "password", "--username", "probe"];
        arguments.iter().chain(&identity).map(ToString::to_string).collect()
    }

    fn check(&self, file: &Path) -> Program {
        cachepulse(["check"]).args(self.arguments()).args([Path::new("--password-file"), file])
    }

    /// Closes the agent's connections.
    fn kill_connections(&self) {
        for client in self.redis.clients() {
            self.redis.ask::<()>(&["CLIENT", "KILL", "ID", &client.id.to_string()]);
        }
    }
}

/// Requests `/livez` often for `duration`, and asserts that it is answered.
async fn stays_alive(agent: &Running, duration: Duration) {
    let alive = async {
        loop {
            assert_eq!(agent.get("/livez").await.code, 200);
            sleep(Duration::from_millis(200)).await;
        }
    };
    assert!(timeout(duration, alive).await.is_err());
}

async fn ends_in_time(agent: Running) {
    let signalled = Instant::now();
    agent.signal(Signal::TERM);
    let ended = agent.ended().await;
    assert!(ended.is_graceful(), "{ended:?}");
    assert!(signalled.elapsed() < Duration::from_secs(2), "{:?}", signalled.elapsed());
}

#[tokio::test]
async fn a_password_file_that_hangs_fails_its_target_only() {
    let lab = Lab::start().await;
    lab.write("one", PASSWORD);
    lab.write("other", PASSWORD);
    let agent = lab.run(&[lab.target("hangs", "one"), lab.target("other", "other")]).await;
    agent.until("both are up", |it| it.is_up("hangs") && it.is_up("other")).await;
    lab.hang("one");
    lab.kill_connections();
    let killed = Instant::now();
    let scrape = agent.until("it has no secret", |it| it.failures("no_token", "hangs") > 0).await;
    assert!(killed.elapsed() < Duration::from_secs(4), "{:?}", killed.elapsed());
    stays_alive(&agent, NOTICED).await;
    let after = agent.scrape().await;
    assert!(
        after.count("probes_total", "other") > scrape.count("probes_total", "other") + 5,
        "{}",
        after.text
    );
    assert!(after.is_down("hangs") && after.is_up("other"));
    assert_eq!(after.sum("probe_failures_total", "other"), 0);
    assert!(agent.get("/status").await.body.contains("cannot be read: no answer within 2 s"));

    lab.write("one", PASSWORD);
    agent.until("a file took the pipe's place", |it| it.is_up("hangs")).await;
    lab.hang("one");
    // The change is noticed within 3 s, and reading hangs for 2 s then.
    sleep(Duration::from_millis(3_100)).await;
    lab.kill_connections();
    let killed = Instant::now();
    agent.until("the loss is noticed meanwhile", |it| it.disconnects("closed", "hangs") == 2).await;
    assert!(killed.elapsed() < Duration::from_millis(1_500), "{:?}", killed.elapsed());
    agent.until("it hangs again", |it| it.is_down("hangs")).await;
    ends_in_time(agent).await;
}

#[tokio::test]
async fn a_configuration_that_hangs_is_rejected_and_everything_goes_on() {
    let lab = Lab::start().await;
    lab.write("password", PASSWORD);
    let agent = lab.run(&[lab.target("orders", "password")]).await;
    agent.until("it is up", |it| it.is_up("orders")).await;
    lab.hang("config.yaml");
    agent.signal(Signal::HUP);
    stays_alive(&agent, NOTICED).await;
    agent.logs("configuration rejected; keeping the previous one").await;
    agent.logs("cannot be read: no answer within 2 s").await;
    let before = agent.scrape().await;
    let probed = before.count("probes_total", "orders");
    let after = agent.until("it is probed", |it| it.count("probes_total", "orders") > probed + 2).await;
    assert_eq!(after.sum("probe_failures_total", "orders"), 0);
    lab.configure(&[lab.target("orders", "password"), lab.target("stock", "password")]);
    agent.until("a file took the pipe's place", |it| it.is_up("stock")).await;
    ends_in_time(agent).await;
}

#[tokio::test]
async fn a_file_that_hangs_at_the_start_is_an_error_within_seconds() {
    let lab = Lab::start().await;
    lab.hang("password");
    let began = Instant::now();
    let ended = lab.check(&lab.path("password")).run().await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("cannot be read: no answer within 2 s"), "{ended:?}");
    lab.hang("config.yaml");
    let ended = cachepulse(["run", "--config"]).args([lab.path("config.yaml")]).run().await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("cannot be read: no answer within 2 s"), "{ended:?}");
    assert!(began.elapsed() < 2 * NOTICED);
}

#[tokio::test]
async fn root_certificates_that_hang_do_not_prevent_the_start() {
    let lab = Lab::start().await;
    let password = lab.write("password", PASSWORD);
    lab.hang("roots.pem");
    let began = Instant::now();
    let ended = lab.check(&password).env("SSL_CERT_FILE", lab.path("roots.pem")).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("root certificates not read in time"), "{ended:?}");
    assert!(ended.stderr.contains("trusting none"), "{ended:?}");
    assert!(began.elapsed() < 2 * NOTICED);
}

#[tokio::test]
async fn a_password_that_changed_in_its_file_is_presented_on_the_live_connection() {
    let lab = Lab::start().await;
    lab.write("password", PASSWORD);
    let agent = lab.run(&[lab.target("orders", "password")]).await;
    agent.until("it is up", |it| it.is_up("orders")).await;
    let connection = lab.redis.agent("probe").id;
    let reauthentications =
        |result| format!("reauthentications_total{{result=\"{result}\",target=\"orders\"}}");

    lab.redis.ask::<()>(&["ACL", "SETUSER", "probe", ">rotated"]);
    lab.write("password", "rotated\n");
    let presented = agent.until("it is presented", |it| it.get(&reauthentications("success")) > Some(0.0));
    Load::on(&agent).within(NOTICED, presented).await.expect("within 5 s");

    lab.write("password", "not yet known");
    let refused = agent.until("it is refused", |it| it.get(&reauthentications("failure")) > Some(0.0)).await;
    assert!(refused.is_up("orders"));
    lab.redis.ask::<()>(&["ACL", "SETUSER", "probe", ">not yet known"]);
    let scrape = agent.until("it is accepted", |it| it.value(&reauthentications("success")) > 1.0).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), 0);
    assert_eq!(lab.redis.agent("probe").id, connection);
}

#[tokio::test]
async fn a_password_from_a_pipe_is_read_once_and_kept() {
    let lab = Lab::start().await;
    let run = ["run", "--listen", "127.0.0.1:0", "--name", "orders"];
    let (stdin, mut writer) = std::io::pipe().unwrap();
    writer.write_all(PASSWORD.as_bytes()).unwrap();
    drop(writer);
    let piped = cachepulse(run).args(lab.arguments()).args(["--password-file", "/dev/stdin"]).stdin(stdin);
    let script = format!("exec \"$0\" \"$@\" --password-file <(printf %s {PASSWORD})");
    let substituted = program("/bin/bash", ["-c", &script, BINARY]).args(run).args(lab.arguments());
    for program in [piped, substituted] {
        let agent = program.serve().await;
        agent.until("it is up", |it| it.is_up("orders")).await;
        lab.kill_connections();
        agent.until("it is connected again", |it| it.connects("success", "orders") > 1).await;
        let scrape = agent.until("it is up again", |it| it.is_up("orders")).await;
        assert_eq!(scrape.sum("probe_failures_total", "orders"), 0);
    }
}

#[tokio::test]
async fn a_surplus_of_a_secret_is_part_of_it_and_is_named() {
    let lab = Lab::start().await;
    let surplus = format!("{PASSWORD} ");
    let file = lab.write("password", &surplus);
    let refused = lab.check(&file).run().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("ends in a blank; it is used as it is"), "{refused:?}");
    assert!(refused.stdout.contains("The secret ends in a blank, which is sent as well"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(PASSWORD), "{refused:?}");

    lab.redis.ask::<()>(&["ACL", "SETUSER", "probe", &format!(">{surplus}")]);
    assert_eq!(lab.check(&file).run().await.code, Some(0));

    let valid =
        cachepulse(["validate"]).args([lab.configure(&[lab.target("orders", "password")])]).run().await;
    assert_eq!(valid.code, Some(0), "{valid:?}");
    assert!(valid.stderr.contains("warning: ") && valid.stderr.contains("ends in a blank"), "{valid:?}");
}

#[tokio::test]
async fn a_surplus_that_comes_with_a_changed_secret_is_named_once() {
    let lab = Lab::start().await;
    lab.write("password", PASSWORD);
    let agent = lab.run(&["orders", "stock"].map(|name| lab.target(name, "password"))).await;
    agent.until("they are up", |it| it.is_up("orders") && it.is_up("stock")).await;
    lab.redis.ask::<()>(&["ACL", "SETUSER", "probe", ">rotated "]);
    lab.write("password", "rotated \n");
    for name in ["orders", "stock"] {
        let presented = format!("reauthentications_total{{result=\"success\",target=\"{name}\"}}");
        agent.until("it is presented", |it| it.get(&presented) > Some(0.0)).await;
    }
    let log = agent.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("changed secret")).collect();
    assert!(lines.len() == 1 && lines[0].contains("ends in a blank"), "{log}");
    assert!(!log.contains("rotated"), "{log}");
}

#[tokio::test]
async fn a_rejected_configuration_is_loaded_when_the_secret_that_it_names_appears() {
    let lab = Lab::start().await;
    lab.write("password", PASSWORD);
    let agent = lab.run(&[lab.target("orders", "password")]).await;
    agent.until("it is up", |it| it.is_up("orders")).await;
    // Each request to `/livez` wakes the loop that waits for changes.
    lab.configure(&[lab.target("orders", "password"), lab.target("stock", "appears later")]);
    let noticed = async {
        tokio::select! {
            () = agent.logs("configuration rejected; keeping the previous one") => {}
            () = stays_alive(&agent, 2 * NOTICED) => {}
        }
    };
    Load::on(&agent).within(NOTICED, noticed).await.expect("the change is noticed within 5 s");
    assert!(agent.log().contains("configuration rejected"), "{}", agent.log());
    lab.write("appears later", PASSWORD);
    Load::on(&agent)
        .within(NOTICED, agent.logs("configuration reloaded"))
        .await
        .expect("it is loaded within 5 s");
    agent.until("the new target is up", |it| it.is_up("stock")).await;
    assert_eq!(agent.log().matches("configuration rejected").count(), 1, "{}", agent.log());
}

#[tokio::test]
async fn an_edit_right_after_the_start_is_not_lost() {
    let lab = Lab::start().await;
    lab.write("password", PASSWORD);
    let targets = |last: &str| -> Vec<String> {
        let names = (0..999).map(|number| format!("cache-{number}")).chain([last.to_owned()]);
        names.map(|name| lab.target(&name, "password").replace("500ms", "1m")).collect()
    };
    let edited = targets("edited");
    for delay in [8, 60, 200].map(Duration::from_millis) {
        let file = lab.configure(&targets("original"));
        let edit = async {
            sleep(delay).await;
            lab.configure(&edited);
        };
        let (agent, ()) = tokio::join!(cachepulse(["run", "--config"]).args([file]).serve(), edit);
        let seen = agent.until("the edit is seen", |it| it.text.contains("target=\"edited\""));
        Load::on(&agent).within(NOTICED, seen).await.expect("within 5 s of the start");
    }
}
