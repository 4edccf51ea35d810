//! States of a redis-server, caused on a real one behind the front that checks tokens.

use std::time::Duration;

use cachepulse_standin::{Admission, CommandFault, Ending};

use super::Group;
use crate::bench::Bench;
use crate::cluster;
use crate::lab::Lab;
use crate::program::eventually;
use crate::redis_server::ALL;
use crate::row::{Case, at_once};

/// Sends a command to the lab's redis-server, and another one to end the fault. Spaces separate the arguments.
fn told<const N: usize>(
    reasons: [&'static str; N],
    wrong: &'static [&'static str],
    right: &'static [&'static str],
) -> Case {
    let tell = |commands: &'static [&'static str]| {
        at_once(move |bench| {
            for command in commands {
                bench.lab.redis.ask::<()>(&command.split(' ').collect::<Vec<_>>());
            }
        })
    };
    Case::new(reasons, tell(wrong), tell(right))
}

/// Restricts the agent's user to these permissions during the fault.
fn rights<const N: usize>(reasons: [&'static str; N], rules: &'static str) -> Case {
    Case::new(
        reasons,
        at_once(|bench| bench.lab.redis.set_user(bench.lab.azure.object_id(), rules)),
        at_once(|bench| bench.lab.redis.set_user(bench.lab.azure.object_id(), ALL)),
    )
}

/// Repeats an action of another client between SET and GET.
fn meddled(prepare: impl Fn(&mut Bench) + Send + 'static, deed: fn(&mut redis::Connection)) -> Case {
    /// The time for the other client.
    const GAP: Duration = Duration::from_millis(50);
    Case::new(
        ["value_mismatch"],
        at_once(move |bench| {
            prepare(bench);
            let gap = CommandFault::delayed("GET", GAP);
            bench.lab.azure.cache().faults(|faults| faults.commands.push(gap));
            bench.meddle(deed);
        }),
        at_once(|bench| {
            bench.clients.abort_all();
            bench.lab.azure.cache().heal();
        }),
    )
}

pub(super) fn add(rows: &mut Group) {
    data(rows);
    refused_writes(rows);
    roles(rows);
    in_a_cluster(rows);
    commands(rows);
    too_many_clients(rows);
}

fn data(rows: &mut Group) {
    rows.case(
        "value changed by another writer",
        meddled(
            |_| {},
            |other| {
                let keys: Vec<String> = redis::cmd("KEYS").arg("cachepulse:*").query(other).unwrap();
                for key in keys {
                    redis::cmd("SET").arg(key).arg("other").arg("XX").arg("KEEPTTL").exec(other).unwrap();
                }
            },
        ),
    );
    rows.case(
        "key evicted",
        meddled(
            |bench| {
                // Azure's default: keys with an expiry, such as the agent's, are evicted when memory runs out.
                bench.lab.redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
                bench.lab.redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "8mb"]);
            },
            |other| {
                // In one step, so that memory has not run out when the agent writes.
                redis::pipe()
                    .cmd("SETRANGE")
                    .arg("filler")
                    .arg(16 << 20)
                    .arg("x")
                    .cmd("DEL")
                    .arg("filler")
                    .exec(other)
                    .unwrap();
            },
        ),
    );
    rows.case("OOM", told(["out_of_memory"], &["CONFIG SET maxmemory 1"], &["CONFIG SET maxmemory 0"]));
    rows.case(
        "LOADING",
        Case::new(
            ["loading"],
            Box::new(|bench| {
                Box::pin(async {
                    let keys = "for i = 1, 3000 do redis.call('SET', i, string.rep('x', 1024)) end";
                    bench.lab.redis.ask::<()>(&["CONFIG", "SET", "rdbcompression", "no"]);
                    bench.lab.redis.ask::<()>(&["EVAL", keys, "0"]);
                    bench.lab.redis.ask::<()>(&["SAVE"]);
                    // Loading takes 2 ms per key, and serves clients after each key.
                    let slowly =
                        ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
                    bench.restart_redis(slowly).await;
                })
            }),
            at_once(|bench| bench.lab.redis.ask::<()>(&["CONFIG", "SET", "key-load-delay", "0"])),
        )
        .wake(["closed"]),
    );
}

/// Makes the server refuse writes, and PING where it cannot save.
fn refused_writes(rows: &mut Group) {
    rows.case(
        "NOREPLICAS",
        told(
            ["write_refused"],
            &["CONFIG SET min-replicas-to-write 1"],
            &["CONFIG SET min-replicas-to-write 0"],
        ),
    );
    rows.case(
        "MISCONF",
        Case::new(
            ["write_refused"],
            Box::new(|bench| {
                Box::pin(async {
                    // The file of a snapshot cannot replace a folder that is not empty.
                    std::fs::create_dir_all(bench.lab.redis.folder().join("dump.rdb/taken")).unwrap();
                    bench.lab.redis.ask::<()>(&["CONFIG", "SET", "save", "3600 1"]);
                    bench.lab.redis.ask::<()>(&["BGSAVE"]);
                    eventually("saving fails", || {
                        let info: String = bench.lab.redis.ask(&["INFO", "persistence"]);
                        info.contains("rdb_last_bgsave_status:err")
                    })
                    .await;
                })
            }),
            at_once(|bench| bench.lab.redis.ask::<()>(&["CONFIG", "SET", "save", ""])),
        ),
    );
}

/// Makes the redis-server a replica of a primary that is down: nothing listens on its port.
fn roles(rows: &mut Group) {
    rows.case("READONLY", told(["read_only"], &["REPLICAOF 127.0.0.1 1"], &["REPLICAOF NO ONE"]));
    rows.case(
        "MASTERDOWN",
        told(
            ["cluster_down"],
            // Writable, because some versions would otherwise reply READONLY first.
            &[
                "CONFIG SET replica-serve-stale-data no",
                "CONFIG SET replica-read-only no",
                "REPLICAOF 127.0.0.1 1",
            ],
            &["REPLICAOF NO ONE"],
        ),
    );
}

fn in_a_cluster(rows: &mut Group) {
    rows.case(
        "CLUSTERDOWN",
        Case::new(
            ["cluster_down"],
            at_once(|bench| cluster::lose_slots(bench)),
            Box::new(|bench| Box::pin(cluster::regain_slots(bench))),
        )
        .on(cluster::bench),
    );
    rows.case(
        "MOVED for every slot",
        Case::new(
            ["wrong_node"],
            at_once(|bench| cluster::move_away(bench, cluster::SLOTS)),
            at_once(|bench| cluster::move_back(bench)),
        )
        .on(cluster::bench),
    );
    rows.case(
        "MOVED for seven slots of eight",
        Case::new(
            [],
            at_once(|bench| cluster::move_away(bench, cluster::SLOTS.start..cluster::SLOTS.end / 8 * 7)),
            at_once(|bench| cluster::move_back(bench)),
        )
        .first()
        .on(cluster::bench),
    );
}

fn commands(rows: &mut Group) {
    rows.case(
        "unknown command",
        Case::new(
            ["server_error"],
            Box::new(|bench| Box::pin(bench.restart_redis(["--rename-command", "SET", ""]))),
            Box::new(|bench| Box::pin(bench.restart_redis([]))),
        )
        .wake(["closed"]),
    );
    for (command, others) in
        [("PING", "~* +set +get +client"), ("SET", "~* +ping +get +client"), ("GET", "~* +ping +set +client")]
    {
        rows.case(format!("NOPERM for {command}"), rights(["permission_denied"], others));
    }
    let no_list = "~* +ping +set +get +client|setname +client|id";
    rows.case("NOPERM for CLIENT LIST, optional", rights([], no_list));
    rows.case(
        "NOPERM for CLIENT LIST, required",
        rights(["permission_denied"], no_list)
            .on(async || Bench::of(Lab::start().await).with(["--client-list", "required"])),
    );
}

/// Takes the only connection that a redis-server allows, and closes it at the end.
fn full(reason: &'static str) -> Case {
    Case::new(
        [reason],
        at_once(|bench| {
            let mut other = bench.other().admin().unwrap();
            redis::cmd("CONFIG").arg("SET").arg("maxclients").arg(1).exec(&mut other).unwrap();
            redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut other).unwrap();
            bench.clients.spawn(async move {
                let _place = other;
                std::future::pending::<()>().await;
            });
        }),
        at_once(|bench| bench.clients.abort_all()),
    )
    .wake(["closed", "reset"])
}

fn too_many_clients(rows: &mut Group) {
    rows.case("too many clients", full("too_many_clients").on(|| Bench::plaintext(false)));
    rows.case("too many clients, without sign-in", full("too_many_clients").on(Bench::anonymous));
    // redis-server closes before the handshake, without an error …
    rows.case("too many clients, with TLS", full("tls_handshake").on(Bench::tls));
    // … while a front that terminates TLS, as in Azure, can send an error after it. The stand-in simulates that.
    rows.case(
        "too many clients, reported after the TLS handshake",
        Case::new(
            ["too_many_clients"],
            at_once(|bench| {
                bench.lab.azure.cache().faults(|faults| faults.admission = Admission::TooManyClients);
                bench.lab.azure.cache().close_all(Ending::Close);
            }),
            at_once(|bench| bench.lab.azure.cache().heal()),
        )
        .wake(["closed", "reset"]),
    );
}
