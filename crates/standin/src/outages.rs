//! The outages of the demo: at random times, of random lengths, each of another kind than the previous one.

use std::time::Duration;

use tokio::time::sleep;

use super::event::{Event, Outage};
use super::front::{Admission, CacheHandle, Ending};
use super::maintenance::Timeline;

fn begin(outage: Outage, cache: &CacheHandle) {
    match outage {
        Outage::Refused => cache.faults(|faults| faults.admission = Admission::Refuse),
        Outage::BlackHole => cache.faults(|faults| faults.black_hole = true),
        Outage::Closed => {
            cache.faults(|faults| faults.admission = Admission::HangUp(Ending::Close));
        }
    }
    if outage != Outage::BlackHole {
        cache.close_all(Ending::Close);
    }
}

/// Causes outages and never returns: the first after 25 s, then one every 40 to 70 s, each 3 to 8 s long. After one of each
/// kind comes one that is announced.
pub async fn play(cache: CacheHandle, mut random: fastrand::Rng) {
    let mut between = |from: u64, to: u64| Duration::from_millis(random.u64(from..=to));
    sleep(Duration::from_secs(25)).await;
    for outage in Outage::ALL.into_iter().cycle() {
        let length = between(3_000, 8_000);
        cache.emit(Event::OutageBegan { outage, length });
        begin(outage, &cache);
        sleep(length).await;
        cache.heal();
        cache.emit(Event::OutageEnded);
        if Some(&outage) == Outage::ALL.last() {
            sleep(between(20_000, 30_000)).await;
            cache.emit(Event::MaintenanceBegan { length: Timeline::SHORT.away });
            Timeline::SHORT.play(&cache).await;
            cache.emit(Event::MaintenanceEnded);
        }
        sleep(between(40_000, 70_000).saturating_sub(length)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{cache_without_sockets, recorder};

    #[tokio::test(start_paused = true)]
    async fn each_outage_is_announced_begins_and_ends_and_is_of_another_kind_than_the_previous_one() {
        let (events, recorded) = recorder();
        let cache = cache_without_sockets(events);
        let playing = tokio::spawn(play(cache.clone(), fastrand::Rng::with_seed(7)));
        let next = || recorded.lock().unwrap().pop();
        sleep(Duration::from_millis(24_900)).await;
        assert_eq!(next(), None);
        sleep(Duration::from_millis(200)).await;
        for outage in Outage::ALL {
            let Some(Event::OutageBegan { outage: announced, length }) = next() else { panic!("no outage") };
            assert_eq!(announced, outage);
            assert!((3..=8).contains(&length.as_secs()), "{length:?}");
            let faults = cache.current_faults();
            assert_eq!(faults.black_hole, outage == Outage::BlackHole);
            assert_eq!(faults.admission != Admission::Serve, outage != Outage::BlackHole);
            sleep(length).await;
            assert_eq!(next(), Some(Event::OutageEnded));
            assert_eq!(cache.current_faults().admission, Admission::Serve);
            assert!(!cache.current_faults().black_hole);
            while recorded.lock().unwrap().is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
        }
        playing.abort();
    }
}
