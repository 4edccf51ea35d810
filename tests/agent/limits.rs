//! The limits of the machine and the process: an agent without threads or processes, and how much memory it takes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use cachepulse_standin::{CommandFault, Ending, FaultReply};
use rustix::process::{Resource, geteuid, getrlimit};
use tempfile::TempDir;

use crate::lab::Lab;
use crate::program::{BINARY, Program, Running, program};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};
use crate::scrape::Scrape;

/// A user with no other processes. The number of root's is not limited.
const SOMEBODY: &str = "64321";

/// A redis-server, and a folder that the agent can read whoever it runs as.
struct Ground {
    redis: RedisServer,
    folder: TempDir,
}

impl Ground {
    async fn new() -> Self {
        let redis = RedisServer::start(Listen::Plaintext, &[("probe", ALL)]).await;
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        open(folder.path());
        // The folders above the binary may be closed to others. It is not copied by this process, whose children would
        // inherit the file that is written until they run their own program, and a file that is written cannot be run.
        let copied = Command::new("cp").arg(BINARY).arg(folder.path().join("cachepulse")).status().unwrap();
        assert!(copied.success());
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        std::fs::write(folder.path().join("az"), "#!/bin/sh\necho '{}'\n").unwrap();
        for name in ["cachepulse", "password", "az"] {
            open(&folder.path().join(name));
        }
        Self { redis, folder }
    }

    /// Returns the agent for the server, started by `around` as somebody.
    fn agent(&self, around: &[&'static str], command: &'static str) -> Program {
        let mut words = as_somebody();
        words.extend(around);
        let binary = self.folder.path().join("cachepulse");
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        let port = self.redis.port().to_string();
        let around = program(words[0], &words[1..]).args([binary]);
        around.args([command, "--host", "127.0.0.1", "--port", &port]).env("PATH", path)
    }
}

/// Limits the processes and threads that the agent may start. Those that run go on.
async fn limit_processes(agent: &Running, limit: &str) {
    let (limit, process) = (format!("--nproc={limit}:"), agent.id().to_string());
    let words = [&as_somebody()[..], &["prlimit", &limit, "--pid", &process]].concat();
    let ended = program(words[0], &words[1..]).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Returns the start of a command line that runs the rest as a user whose processes are limited.
fn as_somebody() -> Vec<&'static str> {
    let is_root = geteuid().is_root();
    if is_root {
        vec!["setpriv", "--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups"]
    } else {
        vec!["env"]
    }
}

#[tokio::test]
async fn a_thread_that_cannot_be_started_is_not_blamed_on_the_cache_and_passes() {
    let ground = Ground::new().await;
    let password = ground.folder.path().join("password");
    let agent = ground
        .agent(&[], "run")
        .args(["--listen", "127.0.0.1:0", "--name", "orders", "--interval", "300ms", "--tls", "false"])
        .args([
            "--username",
            "probe",
            "--identity",
            "password",
            "--password-file",
            password.to_str().unwrap(),
        ])
        .serve()
        .await;
    agent.until("it is up", |it| it.is_up("orders")).await;
    limit_processes(&agent, "0").await;
    ground.redis.ask::<u64>(&["CLIENT", "KILL", "USER", "probe"]);
    // The file with the password is read on another thread.
    agent.until("it fails", |it| it.failures("local_resource", "orders") > 1).await;
    // Of this process, from which the agent has its own.
    let usual = getrlimit(Resource::Nproc).current;
    limit_processes(&agent, &usual.map_or("unlimited".to_owned(), |limit| limit.to_string())).await;
    let scrape = agent.until("it is up again", |it| it.is_up("orders")).await;
    assert_eq!(scrape.sum("probe_failures_total", "orders"), scrape.failures("local_resource", "orders"));
    assert!(scrape.value(r#"unavailable_seconds_total{target="orders"}"#) == 0.0, "{}", scrape.text);
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}

#[tokio::test]
async fn an_az_that_cannot_be_started_for_lack_of_processes_is_a_limit_of_the_agent() {
    let ground = Ground::new().await;
    let check =
        ground.agent(&["prlimit", "--nproc=0"], "check").args(["--identity", "azure_cli"]).run().await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains("local_resource at token"), "{check:?}");
}

#[tokio::test]
async fn long_lists_of_clients_take_no_memory() {
    const TARGETS: usize = 5;
    const ROUNDS: u64 = 3;
    const LIST: usize = 7_900 * 1024;
    /// In KiB: an agent takes 6 MiB, and may take 12.
    const GROWTH: u64 = 6 * 1024;
    let lab = Lab::start().await;
    let name = |number: usize| format!("cache-{number}");
    let keys = "identity: managed_identity, interval: 1s, command_timeout: 20s, client_list: {every: 1}";
    let targets = (0..TARGETS).map(|number| lab.target(&name(number), keys));
    let agent = lab.run_file(&lab.file("config.yaml", &Lab::config(targets))).serve().await;
    let all = |it: &Scrape, rounds| {
        (0..TARGETS).all(|number| it.is_up(&name(number)) && it.count("probes_total", &name(number)) > rounds)
    };
    let scrape = agent.until("all are up", |it| all(it, ROUNDS)).await;
    let probes = (0..TARGETS).map(|number| scrape.count("probes_total", &name(number))).max().unwrap();
    let before = agent.memory();
    let line =
        b"id=7 addr=10.0.0.1:50000 laddr=10.0.0.2:6380 fd=8 name= age=1 idle=0 db=0 cmd=get user=app\n";
    let mut list = format!("${}\r\n", LIST / line.len() * line.len()).into_bytes();
    list.extend(line.repeat(LIST / line.len()));
    list.extend(b"\r\n");
    let long = CommandFault::replied("CLIENT LIST", FaultReply::Raw(list));
    lab.azure.cache().faults(|faults| faults.commands = vec![long.clone()]);
    let scrape = agent.until("the lists are read", |it| all(it, probes + ROUNDS)).await;
    for number in 0..TARGETS {
        assert_eq!(scrape.sum("probe_failures_total", &name(number)), 0, "{}", scrape.text);
        let clients = scrape.value(&format!("cache_clients{{target=\"{}\"}}", name(number)));
        assert!(clients > 1_000.0, "{clients}");
    }
    let growth = agent.memory().peak - before.now;
    assert!(growth <= GROWTH, "{growth} KiB more");
}

/// Returns the memory limit of the chart's container, in KiB.
fn chart_limit() -> u64 {
    let values = std::fs::read_to_string("charts/cachepulse/values.yaml").unwrap();
    let limit = values.lines().find_map(|line| line.trim().strip_prefix("limits: {memory: "));
    let mebibytes: u64 = limit.unwrap().strip_suffix("Mi}").unwrap().parse().unwrap();
    mebibytes * 1024
}

#[tokio::test]
async fn a_hundred_targets_with_2000_clients_each_stay_below_the_limit_of_the_chart() {
    const TARGETS: u64 = 100;
    const CLIENTS: usize = 2_000;
    // A line of Redis 8.
    let line = "id=4711 addr=10.244.1.17:50000 laddr=10.0.0.4:6380 fd=4719 name=orders-5d8f7c9b4-x2x7k age=86400 idle=3 \
                flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=20474 argv-mem=0 multi-mem=0 \
                rbs=1024 rbp=0 obl=0 oll=0 omem=0 tot-mem=22426 events=r cmd=get user=app redir=-1 resp=3 \
                lib-name=StackExchange.Redis lib-ver=2.8.16 io-thread=0 tot-net-in=1234567 tot-net-out=7654321 \
                tot-cmds=99999\n";
    let list = line.repeat(CLIENTS);
    let list = format!("${}\r\n{list}\r\n", list.len()).into_bytes();
    let lab = Lab::start().await;
    let long = CommandFault::replied("CLIENT LIST", FaultReply::Raw(list));
    lab.azure.cache().faults(|faults| faults.commands = vec![long.clone()]);
    let name = |number: u64| format!("cache-{number}");
    let keys = "identity: managed_identity, interval: 3s, command_timeout: 20s, client_list: {every: 1}";
    let targets = (0..TARGETS).map(|number| lab.target(&name(number), keys));
    let agent = lab.run_file(&lab.file("config.yaml", &Lab::config(targets))).serve().await;
    let counted = |it: &Scrape| {
        let clients = |number| it.get(&format!("cache_clients{{target=\"{}\"}}", name(number)));
        (0..TARGETS).all(|number| clients(number) == Some(CLIENTS as f64))
    };
    let scrape = agent.until("every list is counted", counted).await;
    // All targets connect at once, where their first connections are spread over the interval.
    lab.azure.cache().close_all(Ending::Close);
    let probes =
        |it: &Scrape| -> u64 { (0..TARGETS).map(|number| it.count("probes_total", &name(number))).sum() };
    let before = probes(&scrape);
    agent.until("every list is counted again", |it| probes(it) >= before + TARGETS).await;
    agent.get("/status").await;
    let (peak, limit) = (agent.memory().peak, chart_limit());
    assert!(peak < limit, "{peak} of {limit} KiB");
}
