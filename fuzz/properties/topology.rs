//! Replies to `CLUSTER SLOTS`, and the texts of redirections. Each byte of the first line of an input, counted from `0`,
//! is the size of a piece; the rest is the reply, and without its first byte the text of a redirection.

use std::sync::Arc;
use std::time::Duration;

use cachepulse::connection::session::Session;
use cachepulse::probe::{Failure, FailureReason};
use cachepulse::target::Endpoint;
use cachepulse::topology::{Hosts, Redirect, Shard, Slot, SlotSet, Topology, continued, key_in};
use tokio::time::Instant;

use crate::runtime::run;
use crate::scripted_cache::ScriptedCache;

/// The smallest `reply_limit` of a configuration.
const LIMIT: usize = 64 * 1024;
/// How far a reply may exceed the limit by its lines, how much is read at once, and how far a vector that grows by
/// doubling exceeds what it must hold.
const ROOM: usize = 2 * (LIMIT + 64 * 1024 + 4096);

pub(crate) fn holds(input: &[u8]) {
    let (sizes, said) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let sizes: Vec<u8> = sizes.iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    let said = said.strip_prefix(b"\n").unwrap_or(said);
    let asked = "cache.test".into();
    let hosts = Hosts::Announced { asked: &asked };

    let (result, usable) = ask(&mut ScriptedCache::new(said, &sizes), hosts);
    match &result {
        Ok(topology) => {
            assert!(usable, "a topology does not end the session");
            is_consistent(topology);
            leads_to_one_host(&mut ScriptedCache::new(said, &sizes), topology);
        }
        Err(failure) => is_one_short_line(&failure.detail),
    }
    // Bytes after the reply are unexpected only if they are read together with it.
    let mut careful = ScriptedCache::new(said, &[1]);
    let (alone, _) = ask(&mut careful, hosts);
    let out_of_step = matches!(&result, Err(failure) if failure.reason == FailureReason::ProtocolError);
    assert!(alone == result || out_of_step && !usable, "{result:?}, and {alone:?} in pieces");

    let mut endless = ScriptedCache::new(said, &[]);
    endless.endless = true;
    let _ = ask(&mut endless, hosts);
    assert!(endless.room <= ROOM, "{} bytes of memory", endless.room);

    if let Some(text) = said.get(1..).and_then(|text| std::str::from_utf8(text).ok()) {
        is_a_redirection_or_none(text, hosts);
    }
}

fn ask(cache: &mut ScriptedCache<'_>, hosts: Hosts<'_>) -> (Result<Topology, Failure>, bool) {
    run(async {
        let mut session = Session::new(&mut *cache, LIMIT, None);
        let result = session.cluster_slots(hosts, Instant::now() + Duration::from_secs(1)).await;
        (result, session.is_usable())
    })
}

/// Every slot has one shard at most, shards are in order, and each continues itself.
fn is_consistent(topology: &Topology) {
    let lowest: Vec<Slot> = topology.shards.iter().map(Shard::lowest).collect();
    assert!(lowest.is_sorted_by(|one, next| one < next), "{lowest:?}");
    let mut covered = SlotSet::default();
    for shard in &topology.shards {
        assert_eq!(covered.overlap(&shard.slots), 0, "{shard:?} has slots of another");
        covered = covered.union(&shard.slots);
        for node in [&shard.primary].into_iter().chain(&shard.replicas) {
            assert!(!node.id.is_empty() && node.id.len() <= 300, "{node:?}");
            node.address.iter().for_each(is_an_address);
        }
    }
    assert_eq!(topology.covered(), covered);
    let itself: Vec<_> = (0..topology.shards.len()).map(Some).collect();
    assert_eq!(continued(&topology.shards, &topology.shards), itself);
    if let Some(shard) = topology.shards.iter().find(|shard| shard.slots.len() > 100) {
        let key = key_in("cachepulse:a", &shard.slots).expect("there are slots");
        assert_eq!(topology.shard_of(Slot::of_key(key.as_bytes())), Some(shard), "{key}");
    }
}

/// With one host for all, the shards have the same slots, unless nodes differ by nothing but their hosts.
fn leads_to_one_host(cache: &mut ScriptedCache<'_>, announced: &Topology) {
    let host: Arc<str> = "proxy.test".into();
    let one = ask(cache, Hosts::One(&host)).0.expect("only the hosts differ");
    assert_eq!(one.covered(), announced.covered());
    for node in one.shards.iter().flat_map(|shard| [&shard.primary].into_iter().chain(&shard.replicas)) {
        assert!(node.address.as_ref().is_none_or(|address| address.host == host), "{node:?}");
    }
}

fn is_a_redirection_or_none(text: &str, hosts: Hosts<'_>) {
    let Some(redirect) = Redirect::parse(text) else { return };
    assert!(
        text.starts_with("MOVED ")
            || text.starts_with("ASK ")
            || text.starts_with(|c: char| !c.is_alphabetic())
    );
    assert!(text.contains(&redirect.slot.to_string()), "{redirect:?}");
    if let Some(address) = redirect.address(hosts) {
        is_an_address(&address);
        assert!(text.contains(&address.port.to_string()), "{address}");
        assert!(text.contains(&*address.host) || &*address.host == "cache.test", "{address}");
    }
}

fn is_an_address(address: &Endpoint) {
    assert!(address.port > 0 && (1..=253).contains(&address.host.len()), "{address:?}");
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    assert!(address.host.bytes().all(is_part), "{address:?}");
}

fn is_one_short_line(detail: &str) {
    assert!(detail.chars().count() <= 400, "{detail}");
    assert!(!detail.contains(char::is_control), "{detail:?}");
}
