//! The agent's own surroundings: its limits, its configuration, its signals.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use cachepulse_standin::{Admission, CommandFault, Ending, FaultReply, TokenFault};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Group;
use crate::bench::{Agent, TARGET};
use crate::lab::Lab;
use crate::program::{BINARY, Running, eventually, program};
use crate::row::{LOAD, Row, little_more};
use crate::secrets::no_secret;

const SHUTDOWN: &str = "tests/agent/shutdown.rs";
const SUCCESSFUL: &str = "config_last_reload_successful";

/// A configuration for a lab.
fn configuration(lab: &Lab) -> PathBuf {
    let target = lab.target(TARGET, "identity: managed_identity, interval: 500ms");
    lab.file("config.yaml", &format!("log: {{level: debug}}\n{}", Lab::config([target])))
}

/// An agent with a configuration file, up.
async fn configured() -> (Lab, PathBuf, Running) {
    let lab = Lab::start().await;
    let file = configuration(&lab);
    let agent = lab.run_file(&file).serve().await;
    agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    (lab, file, agent)
}

/// A file that is refused leaves everything as it is, and shows until it is mended.
async fn refused(change: impl FnOnce(&PathBuf), words: &str) -> Result<String, String> {
    let (lab, file, agent) = configured().await;
    let good = std::fs::read_to_string(&file).unwrap();
    let memory = agent.memory();
    change(&file);
    agent.signal(Signal::HUP);
    let refused = agent.until("it is refused", |scrape| scrape.value(SUCCESSFUL) < 0.5).await;
    agent.logs(words).await;
    goes_on(&agent, refused.count("probes_total", TARGET)).await?;
    if file.is_dir() {
        std::fs::remove_dir(&file).unwrap();
    }
    lab.file("config.yaml", &good);
    agent.signal(Signal::HUP);
    agent.until("it is taken", |scrape| scrape.value(SUCCESSFUL) > 0.5).await;
    let more = little_more(memory, agent.memory())?;
    in_peace(&lab, agent).await?;
    Ok(format!("refused, probes went on, mended; {more}"))
}

/// A `ConfigMap`'s volume: the file is a link through a link to a folder, and an update moves the latter.
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
    goes_on(&agent, scrape.count("probes_total", TARGET)).await?;
    in_peace(&lab, agent).await?;
    if scrape.text.contains("baskets") {
        return Err(format!("the first version is in use as well:\n{}", scrape.text));
    }
    Ok("in use without a signal".to_owned())
}

/// Probes go on, with success and on the same connection.
async fn goes_on(agent: &Running, probes: u64) -> Result<(), String> {
    let scrape = agent.until("probes go on", |it| it.count("probes_total", TARGET) > probes + 2).await;
    let untouched = scrape.is_up(TARGET) && scrape.connects("success", TARGET) == 1;
    if untouched { Ok(()) } else { Err(format!("probes did not go on:\n{}", scrape.text)) }
}

async fn no_descriptors() -> Result<String, String> {
    const LIMIT: usize = 40;
    let lab = Lab::start().await;
    let file = configuration(&lab);
    let shell = format!("ulimit -n {LIMIT}; exec {BINARY} run --config '{}'", file.display());
    let agent = lab.app_service(program("/bin/sh", ["-c", &shell])).serve().await;
    let up = agent.until("it is up", |scrape| scrape.is_up(TARGET)).await;
    let mut idle = Vec::new();
    for _ in 0..LIMIT {
        idle.push(TcpStream::connect(agent.addr()).await.map_err(|error| error.to_string())?);
    }
    sleep(Duration::from_millis(500)).await;
    lab.azure.cache().close_all(Ending::Close);
    sleep(Duration::from_secs(2)).await;
    drop(idle);
    let failures = up.sum("probe_failures_total", TARGET);
    let scrape =
        agent.until("it is up again", |it| it.is_up(TARGET) && it.sum("disconnects_total", TARGET) > 0).await;
    let told = scrape.sum("probe_failures_total", TARGET) - failures;
    goes_on_anew(&agent, scrape.count("probes_total", TARGET)).await?;
    in_peace(&lab, agent).await?;
    if told == 0 {
        return Err("no probe failed while there were none".to_owned());
    }
    Ok(format!("{told} failed probes while there were none"))
}

/// Ends the agent, and looks for secrets in all that it has shown.
async fn in_peace(lab: &Lab, agent: Running) -> Result<(), String> {
    no_secret(lab, &Agent::Program(Box::new(agent)).end().await?)
}

async fn goes_on_anew(agent: &Running, probes: u64) -> Result<(), String> {
    let scrape = agent.until("probes go on", |it| it.count("probes_total", TARGET) > probes + 2).await;
    if scrape.is_up(TARGET) { Ok(()) } else { Err("it is down again".to_owned()) }
}

async fn hup_storm() -> Result<String, String> {
    let (lab, _, agent) = configured().await;
    let before = agent.scrape().await.count("probes_total", TARGET);
    for _ in 0..1000 {
        agent.signal(Signal::HUP);
        tokio::task::yield_now().await;
    }
    goes_on(&agent, before).await?;
    let reloads = agent.log().matches("configuration reloaded").count();
    in_peace(&lab, agent).await?;
    if reloads == 0 {
        Err("none was heard".to_owned())
    } else {
        Ok(format!("{reloads} reloads, one connection"))
    }
}

/// A signal ends an agent that has all the time in the world, once it is at what the lab keeps it at.
async fn ended(prepare: impl FnOnce(&Lab), at_it: impl Fn(&Lab, &Running) -> bool) -> Result<String, String> {
    let lab = Lab::start().await;
    prepare(&lab);
    let limits = ["--interval", "1h", "--connect-timeout", "5m", "--command-timeout", "5m"];
    let agent =
        lab.run(["--identity", "managed_identity", "--log-level", "debug"]).args(limits).serve().await;
    eventually("it is at it", || at_it(&lab, &agent)).await;
    agent.signal(Signal::TERM);
    let ended = timeout(Duration::from_secs(2) + LOAD, agent.ended()).await;
    let ended = ended.map_err(|_| "it did not end".to_owned())?;
    no_secret(&lab, &format!("{}{}", ended.stdout, ended.stderr))?;
    if ended.is_in_peace() {
        Ok("exit code 0".to_owned())
    } else {
        Err(format!("{:?}: {}", ended.code, ended.stderr))
    }
}

/// `command` is not answered.
fn silent(lab: &Lab, command: &str) {
    let silence = CommandFault::replied(command, FaultReply::Silence);
    lab.azure.cache().faults(|faults| faults.commands.push(silence));
}

fn is_connected(lab: &Lab) -> bool {
    lab.azure.cache().counters().connections > 0
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Agent");
    rows.scenario("file descriptors exhausted", "failures during the fault, none afterwards", || {
        Box::pin(no_descriptors())
    });
    let taken = "an_address_that_is_taken_ends_it_before_anything_is_probed";
    rows.test("listen address taken", "exit code 1 before the first probe", "tests/agent/endpoint.rs", taken);
    let unchanged = "`cachepulse_config_last_reload_successful` is 0, probes continue";
    rows.scenario("configuration file broken", unchanged, || {
        let spoil = |file: &PathBuf| {
            let good = std::fs::read_to_string(file).unwrap();
            std::fs::write(file, good.replace("interval: 500ms", "interval: often")).unwrap();
        };
        Box::pin(refused(spoil, "(orders).interval: expected a duration"))
    });
    rows.scenario("configuration file removed", unchanged, || {
        Box::pin(refused(|file| std::fs::remove_file(file).unwrap(), "cannot be read: No such file"))
    });
    rows.scenario("configuration file empty", unchanged, || {
        Box::pin(refused(|file| std::fs::write(file, "").unwrap(), "configuration rejected"))
    });
    rows.scenario("configuration file of 100 MiB", unchanged, || {
        let grow = |file: &PathBuf| {
            let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(100 * 1024 * 1024).unwrap();
        };
        Box::pin(refused(grow, "it is larger than 1 MiB"))
    });
    rows.scenario("configuration file unreadable: a directory", unchanged, || {
        let replace = |file: &PathBuf| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        };
        Box::pin(refused(replace, "cannot be read: Is a directory"))
    });
    rows.scenario("configuration file unreadable: a dangling link", unchanged, || {
        let replace = |file: &PathBuf| {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("nothing", file).unwrap();
        };
        Box::pin(refused(replace, "cannot be read: No such file"))
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
        // It has written, and reads.
        Box::pin(ended(|lab| silent(lab, "GET"), |lab, _| lab.redis.ask::<u64>(&["DBSIZE"]) == 1))
    });
    rows.scenario("SIGTERM while signing in", peace, || {
        // What comes after the connection is AUTH; where it is a moment early, it is the handshake that is ended.
        Box::pin(ended(|lab| silent(lab, "AUTH"), |lab, _| is_connected(lab)))
    });
    let second = "a_second_signal_ends_it_at_once";
    rows.test("second SIGTERM", "exit code 1 immediately", SHUTDOWN, second);
    let crash = "an_agent_that_crashes_leaves_no_image_of_its_memory_behind";
    rows.test(
        "SIGABRT, SIGQUIT",
        "no core dump, and no secret in the output",
        "tests/agent/secrecy.rs",
        crash,
    );
    rows.rows
}
