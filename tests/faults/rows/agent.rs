//! Faults of the agent's environment: limits, configuration, signals.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use cachepulse_standin::{Admission, CommandFault, FaultReply, TokenFault};
use rustix::process::Signal;
use tokio::time::timeout;

use super::Group;
use crate::bench::{Agent, TARGET};
use crate::lab::Lab;
use crate::program::{BINARY, Running, eventually, program};
use crate::row::{LOAD, Row, little_more};
use crate::scrape::Scrape;
use crate::secrets::no_secret;

const SHUTDOWN: &str = "tests/agent/shutdown.rs";
const SUCCESSFUL: &str = "config_last_reload_successful";

/// Returns a configuration for a lab.
fn configuration(lab: &Lab) -> PathBuf {
    let target = lab.target(TARGET, "identity: managed_identity, interval: 500ms");
    lab.file("config.yaml", &format!("log: {{level: debug}}\n{}", Lab::config([target])))
}

/// Starts an agent with a configuration file and waits until its target is up.
async fn configured() -> (Lab, PathBuf, Running) {
    let lab = Lab::start().await;
    let file = configuration(&lab);
    let agent = lab.run_file(&file).serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    (lab, file, agent)
}

/// Asserts that a rejected file changes nothing, and shows until it is corrected.
async fn rejected(change: impl FnOnce(&PathBuf), message: &str) -> Result<String, String> {
    let (lab, file, agent) = configured().await;
    let good = std::fs::read_to_string(&file).unwrap();
    let memory = agent.memory();
    change(&file);
    agent.signal(Signal::HUP);
    let rejected = agent.until("it is rejected", |scrape| scrape.value(SUCCESSFUL) < 0.5).await;
    agent.logs(message).await;
    continues(&agent, rejected.count("probes_total", TARGET)).await?;
    if file.is_dir() {
        std::fs::remove_dir(&file).unwrap();
    }
    lab.file("config.yaml", &good);
    agent.signal(Signal::HUP);
    agent.until("it is applied", |scrape| scrape.value(SUCCESSFUL) > 0.5).await;
    let more = little_more(memory, agent.memory())?;
    stop(&lab, agent).await?;
    Ok(format!("rejected, probes continued, corrected; {more}"))
}

/// Replaces a file as in a `ConfigMap`'s volume: the file is a link through a link to a folder, and an update moves that.
async fn swapped() -> Result<String, String> {
    let lab = Lab::start().await;
    let volume = lab.path("volume");
    let target = |name| lab.target(name, "identity: managed_identity, interval: 500ms");
    for (version, other) in [("..1", "baskets"), ("..2", "stock")] {
        std::fs::create_dir_all(volume.join(version)).unwrap();
        let config = format!("log: {{level: debug}}\n{}", Lab::config([target(TARGET), target(other)]));
        std::fs::write(volume.join(version).join("config.yaml"), config).unwrap();
    }
    symlink("..1", volume.join("..data")).unwrap();
    symlink("..data/config.yaml", volume.join("config.yaml")).unwrap();
    let agent = lab.run_file(&volume.join("config.yaml")).serve().await;
    agent.until("the first version is in use", |it| it.is_up(TARGET) && it.is_up("baskets")).await;
    symlink("..2", volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    let scrape = agent.until("the second version is in use", |scrape| scrape.is_up("stock")).await;
    continues(&agent, scrape.count("probes_total", TARGET)).await?;
    stop(&lab, agent).await?;
    if scrape.text.contains("baskets") {
        return Err(format!("the first version is still in use:\n{}", scrape.text));
    }
    Ok("in use without a signal".to_owned())
}

/// Asserts that probes continue with success on the same connection.
async fn continues(agent: &Running, probes: u64) -> Result<(), String> {
    let scrape = agent.until("probes go on", |it| it.count("probes_total", TARGET) > probes + 2).await;
    let untouched = scrape.is_up(TARGET) && scrape.connects("success", TARGET) == 1;
    if untouched { Ok(()) } else { Err(format!("probes did not continue:\n{}", scrape.text)) }
}

/// Runs an agent with 40 file descriptors: with 15 targets, then 60, then 10.
async fn no_descriptors() -> Result<String, String> {
    const FAILURES: &str = "probe_failures_total";
    let lab = Lab::start().await;
    let name = |number| format!("{TARGET}-{number}");
    let configure = |targets: usize| {
        let target = |number| lab.target(&name(number), "identity: managed_identity, interval: 1s");
        lab.file("config.yaml", &Lab::config((0..targets).map(target)))
    };
    let file = configure(15);
    let shell = format!("ulimit -n 40; exec {BINARY} run --config '{}'", file.display());
    let agent = lab.app_service(program("/bin/sh", ["-c", &shell])).serve().await;
    let has_outcome = |scrape: &Scrape, number| scrape.get(&series("probe_success", &name(number))).is_some();
    agent.until("each has an outcome", |it| (0..15).all(|number| has_outcome(it, number))).await;
    agent.logs("the limit of file descriptors is too low").await;
    configure(60);
    agent.signal(Signal::HUP);
    let scrape = agent.until("each has one", |it| (0..60).all(|number| has_outcome(it, number))).await;
    let mut failed = 0;
    for number in 0..60 {
        let (all, local) =
            (scrape.sum(FAILURES, &name(number)), scrape.failures("local_resource", &name(number)));
        let unavailable = scrape.value(&series("unavailable_seconds_total", &name(number)));
        if all != local || unavailable > 0.0 {
            return Err(format!("{} is blamed:\n{}", name(number), scrape.text));
        }
        failed += local;
    }
    for path in ["/livez", "/readyz", "/status"] {
        let code = agent.get(path).await.code;
        if code != 200 {
            return Err(format!("{path}: {code}"));
        }
    }
    configure(10);
    agent.signal(Signal::HUP);
    let only_ten =
        |scrape: &Scrape| !has_outcome(scrape, 10) && (0..10).all(|number| scrape.is_up(&name(number)));
    let scrape = agent.until("10 are left, and up", only_ten).await;
    recovers(&agent, &name(0), scrape.count("probes_total", &name(0))).await?;
    stop(&lab, agent).await?;
    if failed == 0 {
        return Err("no probe failed with local_resource".to_owned());
    }
    Ok(format!("{failed} probes failed with local_resource, none was counted as unavailable"))
}

fn series(name: &str, target: &str) -> String {
    format!("{name}{{target=\"{target}\"}}")
}

/// Stops the agent and searches its output for secrets.
async fn stop(lab: &Lab, agent: Running) -> Result<(), String> {
    no_secret(lab, &Agent::Program(Box::new(agent)).end().await?)
}

/// Asserts that probes continue with success, possibly on a new connection.
async fn recovers(agent: &Running, target: &str, probes: u64) -> Result<(), String> {
    let scrape = agent.until("probes go on", |it| it.count("probes_total", target) > probes + 2).await;
    if scrape.is_up(target) { Ok(()) } else { Err("it is down again".to_owned()) }
}

async fn hup_storm() -> Result<String, String> {
    let (lab, _, agent) = configured().await;
    let before = agent.scrape().await.count("probes_total", TARGET);
    for _ in 0..1000 {
        agent.signal(Signal::HUP);
        tokio::task::yield_now().await;
    }
    continues(&agent, before).await?;
    let reloads = agent.log().matches("configuration reloaded").count();
    stop(&lab, agent).await?;
    if reloads == 0 {
        Err("no SIGHUP was handled".to_owned())
    } else {
        Ok(format!("{reloads} reloads, one connection"))
    }
}

/// Sends a signal to an agent with long timeouts once `is_busy` holds, and asserts that it shuts down.
async fn ended(
    prepare: impl FnOnce(&Lab),
    is_busy: impl Fn(&Lab, &Running) -> bool,
) -> Result<String, String> {
    let lab = Lab::start().await;
    prepare(&lab);
    let limits = ["--interval", "1h", "--connect-timeout", "5m", "--command-timeout", "5m"];
    let agent =
        lab.run(["--identity", "managed_identity", "--log-level", "debug"]).args(limits).serve().await;
    eventually("it is busy", || is_busy(&lab, &agent)).await;
    agent.signal(Signal::TERM);
    let ended = timeout(Duration::from_secs(2) + LOAD, agent.ended()).await;
    let ended = ended.map_err(|_| "it did not end".to_owned())?;
    no_secret(&lab, &format!("{}{}", ended.stdout, ended.stderr))?;
    if ended.is_graceful() {
        Ok("exit code 0".to_owned())
    } else {
        Err(format!("{:?}: {}", ended.code, ended.stderr))
    }
}

/// Leaves `command` without a reply.
fn silent(lab: &Lab, command: &str) {
    let silence = CommandFault::replied(command, FaultReply::Silence);
    lab.azure.cache().faults(|faults| faults.commands.push(silence));
}

fn is_connected(lab: &Lab) -> bool {
    lab.azure.cache().counters().connections > 0
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Agent");
    rows.scenario(
        "file descriptors exhausted",
        "`local_resource`, and nothing counted as unavailable",
        || Box::pin(no_descriptors()),
    );
    rows.test(
        "no thread can be started",
        "`local_resource`, and nothing counted as unavailable",
        "tests/agent/limits.rs",
        "a_thread_that_cannot_be_started_is_not_blamed_on_the_cache_and_passes",
    );
    rows.test(
        "`az` cannot be started for lack of processes",
        "`local_resource`",
        "tests/agent/limits.rs",
        "an_az_that_cannot_be_started_for_lack_of_processes_is_a_limit_of_the_agent",
    );
    let in_use = "an_address_in_use_ends_the_agent_before_the_first_probe";
    rows.test(
        "listen address taken",
        "exit code 1 before the first probe",
        "tests/agent/endpoint.rs",
        in_use,
    );
    let unchanged = "`cachepulse_config_last_reload_successful` is 0, probes continue";
    rows.scenario("configuration file broken", unchanged, || {
        let spoil = |file: &PathBuf| {
            let good = std::fs::read_to_string(file).unwrap();
            std::fs::write(file, good.replace("interval: 500ms", "interval: often")).unwrap();
        };
        Box::pin(rejected(spoil, "(orders).interval: expected a duration"))
    });
    rows.scenario("configuration file removed", unchanged, || {
        Box::pin(rejected(|file| std::fs::remove_file(file).unwrap(), "cannot be read: No such file"))
    });
    rows.scenario("configuration file empty", unchanged, || {
        Box::pin(rejected(|file| std::fs::write(file, "").unwrap(), "configuration rejected"))
    });
    rows.scenario("configuration file of 100 MiB", unchanged, || {
        let grow = |file: &PathBuf| {
            let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(100 * 1024 * 1024).unwrap();
        };
        Box::pin(rejected(grow, "it is larger than 1 MiB"))
    });
    rows.test(
        "configuration file replaced by a pipe without a writer",
        unchanged,
        "tests/agent/files.rs",
        "a_configuration_that_hangs_is_rejected_and_everything_goes_on",
    );
    rows.scenario("configuration file unreadable: a directory", unchanged, || {
        let replace = |file: &PathBuf| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        };
        Box::pin(rejected(replace, "cannot be read: Is a directory"))
    });
    rows.scenario("configuration file unreadable: a dangling link", unchanged, || {
        let replace = |file: &PathBuf| {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("nothing", file).unwrap();
        };
        Box::pin(rejected(replace, "cannot be read: No such file"))
    });
    rows.scenario(
        "configuration replaced through a symbolic link, as in a ConfigMap",
        "the new configuration is in use, the connection is kept",
        || Box::pin(swapped()),
    );
    rows.scenario("1,000 SIGHUP", "the connection is kept, probes continue", || Box::pin(hup_storm()));
    let peace = "exit code 0";
    rows.scenario("SIGTERM between probes", peace, || {
        Box::pin(ended(|_| {}, |_, agent| agent.log().contains("cache available")))
    });
    rows.scenario("SIGTERM while connecting", peace, || {
        let hang = |lab: &Lab| lab.azure.cache().faults(|faults| faults.admission = Admission::Hang);
        Box::pin(ended(hang, |lab, _| is_connected(lab)))
    });
    rows.scenario("SIGTERM while waiting for a token", peace, || {
        let hang = |lab: &Lab| lab.azure.endpoint().set(|settings| settings.fault = Some(TokenFault::Hang));
        Box::pin(ended(hang, |lab, _| !lab.azure.endpoint().requests().is_empty()))
    });
    rows.scenario("SIGTERM during a reply", peace, || {
        // The key exists, so the prober waits for the reply to GET.
        Box::pin(ended(|lab| silent(lab, "GET"), |lab, _| lab.redis.ask::<u64>(&["DBSIZE"]) == 1))
    });
    rows.scenario("SIGTERM while signing in", peace, || {
        // HELLO follows the connection. If the signal is early, it interrupts the handshake.
        Box::pin(ended(|lab| silent(lab, "HELLO"), |lab, _| is_connected(lab)))
    });
    let second = "a_second_signal_ends_it_at_once";
    rows.test("second SIGTERM", "exit code 1 immediately", SHUTDOWN, second);
    let crash = "a_crash_leaves_no_core_dump";
    rows.test(
        "SIGABRT, SIGQUIT",
        "no core dump, and no secret in the output",
        "tests/agent/secrecy.rs",
        crash,
    );
    rows.rows
}
