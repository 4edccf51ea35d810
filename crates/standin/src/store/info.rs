//! `INFO`: the sections and fields that clients and dashboards look at first.

use tokio::time::Instant;

use super::{Contents, Keys, VERSION, keys};

/// Returns the report; all of it if no section is named.
pub(super) fn report(contents: &Contents, stored: &Keys, sections: &[Vec<u8>], now: Instant) -> String {
    let [mode, role] = contents.place.mode_and_role();
    let role = if role == "replica" { "slave" } else { role };
    let uptime = now.duration_since(contents.started).as_secs();
    let (keys, expires) = (stored.len(now), stored.with_expiry(now));
    let keyspace =
        if keys == 0 { String::new() } else { format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n") };
    let all = [
        (
            "Server",
            format!(
                "redis_version:{VERSION}\r\nredis_mode:{mode}\r\nos:cachepulse stand-in\r\n\
                 uptime_in_seconds:{uptime}\r\n"
            ),
        ),
        ("Clients", format!("connected_clients:{}\r\nblocked_clients:0\r\n", contents.clients.len())),
        (
            "Memory",
            format!(
                "used_memory:{}\r\nmaxmemory:{}\r\nmaxmemory_policy:noeviction\r\n",
                stored.used_memory(),
                keys::MAX_MEMORY
            ),
        ),
        ("Stats", format!("total_commands_processed:{}\r\n", contents.processed)),
        ("Replication", format!("role:{role}\r\nconnected_slaves:0\r\n")),
        ("Keyspace", keyspace),
    ];
    let is_named = |name: &str| {
        sections.is_empty()
            || sections.iter().any(|section| {
                [name, "all", "default", "everything"]
                    .iter()
                    .any(|known| section.eq_ignore_ascii_case(known.as_bytes()))
            })
    };
    let shown: Vec<String> = all
        .iter()
        .filter(|(name, _)| is_named(name))
        .map(|(name, fields)| format!("# {name}\r\n{fields}"))
        .collect();
    shown.join("\r\n")
}
