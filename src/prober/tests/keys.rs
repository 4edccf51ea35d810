//! Several keys, spread over the hash slots, that take turns.

use super::*;
use crate::target::KeyTemplate;

fn slots(first: u16, last: u16) -> SlotSet {
    [Slot::new(first).unwrap()..=Slot::new(last).unwrap()].into_iter().collect()
}

fn with_keys(keys: u32) -> Target {
    Target { keys: NonZeroU32::new(keys).unwrap(), attempts: NonZeroU32::MIN, ..target() }
}

/// The slots of the keys that were written so far, in order.
fn written(cache: &Cache) -> Vec<u16> {
    let slot = |command: &String| {
        Some(Slot::of_key(command.strip_prefix("SET ")?.split(' ').next()?.as_bytes()).number())
    };
    cache.with(|state| state.commands.iter().filter_map(slot).collect())
}

#[tokio::test(start_paused = true)]
async fn every_part_of_the_slots_is_written_within_as_many_ticks_as_there_are_keys() {
    let cache = Cache::default();
    let running = start(&cache, with_keys(4));
    sleep(75 * SECOND).await;
    let parts: Vec<_> = written(&cache).iter().map(|slot| slot / 4096).collect();
    assert_eq!(parts, [0, 1, 2, 3, 0, 1, 2, 3]);
    assert_eq!((running.probes(), running.all_failures()), (8.0, 0.0));
    assert_eq!(cache.with(|state| state.keys.len()), 4, "the same keys again");
}

#[tokio::test(start_paused = true)]
async fn the_key_that_failed_is_asked_by_ticks_and_follow_ups_until_it_succeeds_and_named() {
    let cache = Cache::default();
    // A shard with less than a quarter of the slots.
    cache.with(|state| state.full = slots(8192, 12_287));
    let (lines, guard) = logged();
    let running = start(&cache, with_keys(4));
    sleep(65 * SECOND).await;
    drop(guard);
    let parts: Vec<_> = written(&cache).iter().map(|slot| slot / 4096).collect();
    assert_eq!(parts[..2], [0, 1]);
    assert!(parts.len() > 10 && parts[2..].iter().all(|part| *part == 2), "{parts:?}");
    assert_eq!((running.probes(), running.failures("out_of_memory")), (7.0, 5.0));
    let document = running.status.document();
    let failure = document.targets[0].recent[0].failure.as_ref().unwrap();
    let key = "key cachepulse:pod-";
    assert!(
        failure.detail.starts_with("OOM command not") && failure.detail.contains(key),
        "{}",
        failure.detail
    );
    assert!(lines.text().contains(key), "{}", lines.text());
    cache.with(|state| state.full = SlotSet::default());
    sleep(5 * SECOND).await;
    assert!(running.is_up());
    sleep(20 * SECOND).await;
    let parts: Vec<_> = written(&cache).iter().map(|slot| slot / 4096).collect();
    assert_eq!(parts[parts.len() - 3..], [2, 3, 0], "and then the next");
}

/// A node of a cluster that lists no slots, and has a third of them.
fn one_of_three(own: SlotSet) -> Cache {
    let cache = Cache::default();
    cache.with(|state| state.own_slots = Some(own));
    cache
}

#[tokio::test(start_paused = true)]
async fn keys_of_other_nodes_move_to_slots_of_this_one_without_a_failure() {
    for template in ["cachepulse:{instance}", "health"] {
        for own in [slots(0, 5460), slots(5461, 10_922), slots(10_923, 16_383)] {
            let cache = one_of_three(own.clone());
            let key = KeyTemplate::new(template).unwrap();
            let running = start(&cache, Target { key, ..with_keys(8) });
            sleep(165 * SECOND).await;
            assert_eq!(
                (running.probes(), running.all_failures(), running.unavailable()),
                (17.0, 0.0, 0.0),
                "{own}"
            );
            let sets = cache.count("SET");
            sleep(80 * SECOND).await;
            assert_eq!(cache.count("SET"), sets + 8, "they stay there");
            assert!(written(&cache)[sets..].iter().all(|slot| own.contains(Slot::new(*slot).unwrap())));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_whose_slots_move_to_another_node_follow_what_redirections_show() {
    let cache = one_of_three(slots(0, 5460));
    let running = start(&cache, with_keys(8));
    sleep(165 * SECOND).await;
    cache.with(|state| state.own_slots = Some(slots(10_923, 16_383)));
    sleep(300 * SECOND).await;
    assert!(running.is_up() && running.failures("wrong_node") <= 6.0, "{}", running.failures("wrong_node"));
    let failed = running.all_failures();
    sleep(165 * SECOND).await;
    assert_eq!(running.all_failures(), failed);
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_a_key_is_asked_for_names_none() {
    let cache = Cache::default();
    cache.can("PING", "-BUSY Redis is busy running a script.\r\n");
    let running = start(&cache, with_keys(4));
    sleep(SECOND).await;
    let document = running.status.document();
    let failure = document.targets[0].failures[0].failure.as_ref().unwrap();
    assert_eq!(&*failure.detail, "BUSY Redis is busy running a script.");
}

#[tokio::test(start_paused = true)]
async fn one_probe_for_somebody_who_waits_asks_for_every_key_once_and_lists_the_clients_once() {
    for (full, failed, asked) in [(SlotSet::default(), None, 4), (slots(8192, 12_287), Some("OOM"), 3)] {
        let cache = Cache::default();
        cache.with(|state| state.full = full);
        let (mut prober, ..) = made(7, Duration::ZERO, cache.clone(), with_keys(4), SignIn::None, clock());
        let Probed { outcome, clients } = prober.probe().await;
        let failure = outcome.result.err();
        assert_eq!(failure.as_ref().and_then(|it| it.detail.split(' ').next()), failed);
        assert!(failure.is_none_or(|failure| failure.detail.contains("key cachepulse:pod-")));
        let parts: Vec<_> = written(&cache).iter().map(|slot| slot / 4096).collect();
        assert_eq!(parts, (0..asked).collect::<Vec<_>>());
        assert_eq!((cache.count("CLIENT LIST"), clients.unwrap().clients.len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn one_probe_of_a_node_that_has_a_third_of_the_slots_succeeds() {
    let cache = one_of_three(slots(0, 5460));
    let (mut prober, ..) = made(7, Duration::ZERO, cache.clone(), with_keys(8), SignIn::None, clock());
    prober.probe().await.outcome.result.unwrap();
    assert!(cache.count("SET") < 64 + 2 * 8);
}
