//! Name resolution: the hosts file, then the system's resolver, which is asked for IPv6 and IPv4 addresses apart, so
//! that a family that fails or is slow does not affect the other. The C libraries ask for both in one call, and musl's
//! fails as a whole if one family does.

mod hosts;
mod lanes;
mod lookups;
mod system;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::hosts::Hosts;
pub use self::lookups::Lookup;
use self::lookups::{Lookups, Pending, Resolution, Unresolved};
use super::deadline::within;
use crate::files::Files;
use crate::probe::{Failure, FailureReason, Phase, Stage};
use crate::target::Endpoint;

/// How long addresses of IPv4 wait for those of IPv6 (RFC 8305, section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv6.
    V6,
    /// IPv4.
    V4,
}

/// The addresses of a host.
#[derive(Debug)]
pub struct Addresses {
    /// Those that are known, in the order in which to try them: at least one.
    pub known: Vec<SocketAddr>,
    /// The family whose lookup failed, so that it is not known whether it has addresses.
    pub unknown: Option<Family>,
    /// Those of a family whose lookup has not ended.
    pub late: Option<Late>,
    /// The deadline, moved by the time for which the lookup waited for its turn or the agent did not run.
    pub deadline: Instant,
}

/// Addresses that may still come.
#[derive(Debug)]
pub struct Late {
    family: Family,
    pending: Pending,
    port: u16,
}

/// Resolves host names; clones share their lookups.
#[derive(Clone)]
pub struct Resolver {
    hosts: Option<Arc<Hosts>>,
    lookups: Lookups,
}

impl Resolver {
    /// The machine's resolver. Reads its hosts file with `files`.
    #[must_use]
    pub fn system(files: Files) -> Self {
        Self {
            hosts: Some(Arc::new(Hosts::new(files, "/etc/hosts"))),
            ..Self::new(|host, family| Box::pin(async move { system::look_up(&host, family).await }))
        }
    }

    /// A resolver that asks `lookup`.
    #[must_use]
    pub fn new(lookup: impl Fn(Arc<str>, Family) -> Lookup + Send + Sync + 'static) -> Self {
        Self { hosts: None, lookups: Lookups::new(lookup) }
    }

    /// Returns the addresses of `endpoint`, each once.
    ///
    /// # Errors
    /// [`FailureReason::Resolve`], also when `deadline` passes first; [`FailureReason::LocalResource`] if the agent's
    /// own limits prevented the lookup.
    pub async fn resolve(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Addresses, Failure> {
        let Endpoint { host, port } = endpoint;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Addresses {
                known: vec![(address, *port).into()],
                unknown: None,
                late: None,
                deadline,
            });
        }
        if let Some(hosts) = &self.hosts {
            let found = hosts.addresses(host).await.into_iter().map(|address| (address, 0).into());
            let (sixes, fours): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv6);
            let known = interleaved(with_port(&sixes, *port), with_port(&fours, *port));
            if !known.is_empty() {
                return Ok(Addresses { known, unknown: None, late: None, deadline });
            }
        }
        let failed = |(reason, detail): (FailureReason, Arc<str>)| {
            Failure::new(reason, Stage::Phase(Phase::Resolve), format!("{host}: {detail}"))
        };
        let sixes = self.lookups.join_or_start(host, Family::V6);
        let fours = self.lookups.join_or_start(host, Family::V4);
        let Answers { six, four, late, deadline } =
            answers(&self.lookups, sixes, fours, deadline).await.map_err(failed)?;
        let is_unknown = |answer: &Option<Resolution>| matches!(answer, Some(Err(error)) if !error.is_answer);
        let unknown = [(Family::V6, &six), (Family::V4, &four)];
        let unknown = unknown.into_iter().find(|(_, answer)| is_unknown(answer)).map(|(family, _)| family);
        let of = |answer: &Option<Resolution>| match answer {
            Some(Ok(found)) => with_port(found, *port),
            Some(Err(_)) | None => Vec::new(),
        };
        let known = interleaved(of(&six), of(&four));
        if known.is_empty() {
            let errors: Vec<_> = [six, four].into_iter().flatten().filter_map(Result::err).collect();
            return Err(failed(cause(&errors)));
        }
        let late = late.map(|(family, pending)| Late { family, pending, port: *port });
        Ok(Addresses { known, unknown, late, deadline })
    }

    /// Returns whether the host of `endpoint` has the address `address` now. `None` if that is not known by `deadline`.
    pub async fn leads_to(
        &self,
        address: SocketAddr,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Option<bool> {
        let Addresses { known, unknown, late, mut deadline } = self.resolve(endpoint, deadline).await.ok()?;
        let family = if address.is_ipv6() { Family::V6 } else { Family::V4 };
        match late {
            _ if known.contains(&address) => Some(true),
            _ if unknown == Some(family) => None,
            Some(mut late) if late.family == family => {
                match within(&mut deadline, pin!(late.pending.answer())).await {
                    Ok(Ok(found)) => Some(found.iter().any(|found| found.ip() == address.ip())),
                    Ok(Err(error)) if error.is_answer => Some(false),
                    Ok(Err(_)) | Err(_) => None,
                }
            }
            _ => Some(false),
        }
    }
}

/// What both families answered: `None` is a family that has not.
struct Answers {
    six: Option<Resolution>,
    four: Option<Resolution>,
    late: Option<(Family, Pending)>,
    deadline: Instant,
}

/// Waits for the addresses of both families as RFC 8305 has it: those of IPv6 are used at once, those of IPv4 after a
/// short wait for IPv6. Without addresses in one family, the other is waited for.
async fn answers(
    lookups: &Lookups,
    mut sixes: Pending,
    mut fours: Pending,
    mut deadline: Instant,
) -> Result<Answers, (FailureReason, Arc<str>)> {
    let asked = Instant::now();
    let no_place = |_| {
        if lookups.any_answered_since(asked) {
            let detail = "all lookup threads are taken by names whose servers do not answer";
            (FailureReason::LocalResource, detail.into())
        } else {
            (FailureReason::Resolve, "no name at all was resolved in time".into())
        }
    };
    let no_answer = |_| (FailureReason::Resolve, "the resolver did not answer in time".into());
    let begun = tokio::select! { begun = sixes.begun() => begun, begun = fours.begun() => begun };
    begun.map_err(no_place)?;
    deadline += asked.elapsed();
    let first = async {
        tokio::select! {
            biased;
            six = sixes.answer() => (Family::V6, six),
            four = fours.answer() => (Family::V4, four),
        }
    };
    let (family, first) = within(&mut deadline, pin!(first)).await.map_err(no_answer)?;
    let mut other = if family == Family::V6 { fours } else { sixes };
    let second = if first.as_ref().is_ok_and(|found| !found.is_empty()) {
        let delay = if family == Family::V6 { Duration::ZERO } else { RESOLUTION_DELAY };
        timeout(delay, other.answer()).await.ok()
    } else {
        let asked = Instant::now();
        other.begun().await.map_err(no_place)?;
        deadline += asked.elapsed();
        Some(within(&mut deadline, pin!(other.answer())).await.map_err(no_answer)?)
    };
    let second_family = if family == Family::V6 { Family::V4 } else { Family::V6 };
    let late = second.is_none().then_some((second_family, other));
    let (six, four) = if family == Family::V6 { (Some(first), second) } else { (second, Some(first)) };
    Ok(Answers { six, four, late, deadline })
}

/// Returns why there are no addresses.
fn cause(errors: &[Unresolved]) -> (FailureReason, Arc<str>) {
    // A family that could not be looked up may have had the addresses.
    if let Some(local) = errors.iter().find(|error| error.is_local) {
        return (FailureReason::LocalResource, Arc::clone(&local.detail));
    }
    let detail = match errors {
        [] => "the name has no address".into(),
        [six, four, ..] if six.detail != four.detail => {
            format!("IPv6: {}; IPv4: {}", six.detail, four.detail).into()
        }
        [one, ..] => Arc::clone(&one.detail),
    };
    (FailureReason::Resolve, detail)
}

impl Late {
    /// Waits for the addresses; none if the lookup failed.
    pub async fn addresses(&mut self) -> Vec<SocketAddr> {
        self.pending.answer().await.map(|found| with_port(&found, self.port)).unwrap_or_default()
    }
}

fn with_port(found: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::with_capacity(found.len());
    for mut address in found.iter().copied() {
        address.set_port(port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Returns the addresses of two families in turn, the first family first.
pub(super) fn interleaved(first: Vec<SocketAddr>, second: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (mut first, mut second) = (first.into_iter().fuse(), second.into_iter().fuse());
    let mut all = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests {
    use super::lanes::SLOW;
    use super::lookups::PATIENCE;
    use super::*;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::JoinSet;
    use tokio::time::sleep;

    const MS: Duration = Duration::from_millis(1);
    const SIX: &str = "[2001:db8::1]:0";
    const FOUR: &str = "10.0.0.1:0";

    fn endpoint(host: &str) -> Endpoint {
        Endpoint { host: host.into(), port: 6380 }
    }

    fn in_time(time: Duration) -> Instant {
        Instant::now() + time
    }

    fn soon() -> Instant {
        in_time(Duration::from_secs(1))
    }

    /// The answer of one family: after a time, addresses or an error.
    type Answer = (Duration, Result<&'static [&'static str], &'static str>);

    const SILENCE: Answer = (Duration::MAX, Ok(&[]));

    /// A resolver with one answer for each family, and the number of its lookups.
    fn answering(six: Answer, four: Answer) -> (Resolver, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolver = Resolver::new(move |_, family| {
            count.fetch_add(1, Ordering::Relaxed);
            let (delay, answer) = if family == Family::V6 { six } else { four };
            Box::pin(async move {
                sleep(delay).await;
                let addresses = answer.map_err(io::Error::other)?;
                Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
            })
        });
        (resolver, asked)
    }

    /// Returns the known addresses, whether others may come, and the time.
    async fn resolved(six: Answer, four: Answer) -> (Vec<String>, bool, Duration) {
        let (resolver, _) = answering(six, four);
        let begun = Instant::now();
        let found = resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        let known = found.known.iter().map(|address| address.ip().to_string()).collect();
        (known, found.late.is_some(), begun.elapsed())
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup() {
        let resolver = Resolver::new(|_, _| panic!("asked for an address"));
        let found = resolver.resolve(&endpoint("::1"), soon()).await.unwrap();
        assert_eq!(found.known, ["[::1]:6380".parse().unwrap()]);
    }

    #[tokio::test(start_paused = true)]
    async fn families_alternate_and_each_address_comes_once_with_the_port() {
        let six: Answer = (Duration::ZERO, Ok(&["[2001:db8::2]:0", "[2001:db8::1]:0"]));
        let four: Answer = (Duration::ZERO, Ok(&["10.0.0.2:0", "10.0.0.1:0", "10.0.0.2:0"]));
        let (known, late, _) = resolved(six, four).await;
        assert_eq!(known, ["2001:db8::2", "10.0.0.2", "2001:db8::1", "10.0.0.1"]);
        assert!(!late);
        let (resolver, _) = answering(six, (MS, four.1));
        let found = resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        assert_eq!(found.known, ["[2001:db8::2]:6380", "[2001:db8::1]:6380"].map(|it| it.parse().unwrap()));
        let late = found.late.unwrap().addresses().await;
        assert_eq!(late, ["10.0.0.2:6380", "10.0.0.1:6380"].map(|it| it.parse().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_fails_or_is_silent_does_not_affect_the_other() {
        let good: Answer = (Duration::ZERO, Ok(&[FOUR]));
        for failed in [Err("no such host"), Ok(&[] as &[&str])] {
            let (known, late, took) = resolved((Duration::ZERO, failed), good).await;
            assert_eq!((known, late, took), (vec!["10.0.0.1".into()], false, Duration::ZERO));
        }
        let (known, late, took) = resolved(SILENCE, good).await;
        assert_eq!((known, late, took), (vec!["10.0.0.1".into()], true, RESOLUTION_DELAY));
        let good: Answer = (Duration::ZERO, Ok(&[SIX]));
        let (known, late, took) = resolved(good, SILENCE).await;
        assert_eq!((known, late, took), (vec!["2001:db8::1".into()], true, Duration::ZERO));
        let (known, late, took) = resolved((200 * MS, Ok(&[SIX])), (Duration::ZERO, Err("SERVFAIL"))).await;
        assert_eq!((known, late, took), (vec!["2001:db8::1".into()], false, 200 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_leads_elsewhere_only_if_the_family_of_the_address_was_answered() {
        let (good, moved): (Answer, Answer) =
            ((Duration::ZERO, Ok(&[SIX])), (Duration::ZERO, Ok(&["10.0.0.2:0"])));
        let gone: Answer = (Duration::ZERO, Ok(&[]));
        let failed: Answer = (Duration::ZERO, Err("SERVFAIL"));
        let late: Answer = (200 * MS, Ok(&[FOUR]));
        let late_moved: Answer = (200 * MS, Ok(&["10.0.0.2:0"]));
        for (six, four, expected) in [
            (good, (Duration::ZERO, Ok(&[FOUR] as &[&str])), Some(true)),
            (good, moved, Some(false)),
            (good, gone, Some(false)),
            (good, failed, None),
            (failed, moved, Some(false)),
            (failed, failed, None),
            (good, late, Some(true)),
            (good, late_moved, Some(false)),
            (good, SILENCE, None),
        ] {
            let (resolver, _) = answering(six, four);
            let leads = resolver.leads_to("10.0.0.1:6380".parse().unwrap(), &endpoint("cache"), soon()).await;
            assert_eq!(leads, expected, "{six:?} {four:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ipv4_waits_a_little_for_ipv6() {
        let four: Answer = (Duration::ZERO, Ok(&[FOUR]));
        let (known, late, took) = resolved((30 * MS, Ok(&[SIX])), four).await;
        assert_eq!((known, late, took), (vec!["2001:db8::1".into(), "10.0.0.1".into()], false, 30 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_outlived_its_deadline_is_joined_not_repeated() {
        let answer: Answer = (Duration::from_secs(10), Ok(&[FOUR]));
        let (resolver, asked) = answering((Duration::ZERO, Ok(&[])), answer);
        for _ in 0..5 {
            let failure = resolver.resolve(&endpoint("cache"), soon()).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::Resolve);
            assert_eq!(&*failure.detail, "cache: the resolver did not answer in time");
        }
        resolver.clone().resolve(&endpoint("cache"), in_time(10 * SLOW)).await.unwrap();
        // IPv6 answers each time.
        assert_eq!(asked.load(Ordering::Relaxed), 6 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_kept_for_the_next_lookup() {
        let answer: Answer = (Duration::ZERO, Ok(&[FOUR]));
        let (resolver, asked) = answering((Duration::ZERO, Ok(&[])), answer);
        resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        resolver.resolve(&endpoint("cache"), soon()).await.unwrap();
        resolver.resolve(&endpoint("other"), soon()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2 * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_and_a_failed_lookup_are_failures() {
        let none: Answer = (Duration::ZERO, Ok(&[]));
        let fails = |words| -> Answer { (Duration::ZERO, Err(words)) };
        for (six, four, expected) in [
            (none, none, "the name has no address"),
            (none, fails("no such host"), "no such host"),
            (fails("no such host"), fails("no such host"), "no such host"),
            (fails("no data"), fails("try again"), "IPv6: no data; IPv4: try again"),
        ] {
            let (resolver, _) = answering(six, four);
            let failure = resolver.resolve(&endpoint("cache"), soon()).await.unwrap_err();
            assert_eq!(failure.to_string(), format!("resolve at resolve: cache: {expected}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_the_agents_limits_hid_is_local_unless_the_other_has_addresses() {
        let starved = |other: &'static [&'static str], errno| {
            Resolver::new(move |_, family| {
                Box::pin(async move {
                    match family {
                        Family::V6 => Ok(other.iter().map(|address| address.parse().unwrap()).collect()),
                        Family::V4 => Err(io::Error::from_raw_os_error(errno)),
                    }
                })
            })
        };
        for (errno, name) in [(24, "EMFILE"), (23, "ENFILE"), (12, "ENOMEM")] {
            let failure = starved(&[], errno).resolve(&endpoint("cache"), soon()).await.unwrap_err();
            assert_eq!(failure.reason, FailureReason::LocalResource, "{name}");
            starved(&[SIX], errno).resolve(&endpoint("cache"), soon()).await.unwrap();
        }
    }

    /// A resolver whose dead names never answer and whose good ones answer at once, and the numbers of lookups that run
    /// and have ever run at a time.
    fn half_dead() -> (Resolver, Arc<(AtomicUsize, AtomicUsize)>) {
        let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let shared = Arc::clone(&counts);
        let resolver = Resolver::new(move |host, _| {
            let counts = Arc::clone(&shared);
            Box::pin(async move {
                let running = counts.0.fetch_add(1, Ordering::Relaxed) + 1;
                counts.1.fetch_max(running, Ordering::Relaxed);
                // As long as glibc takes with two name servers.
                sleep(if host.starts_with("dead") { 20 * SLOW } else { MS }).await;
                counts.0.fetch_sub(1, Ordering::Relaxed);
                Ok(vec![FOUR.parse().unwrap()])
            })
        });
        (resolver, counts)
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_dead_names_take_32_lookups_and_do_not_delay_a_good_one() {
        let (resolver, counts) = half_dead();
        let good = endpoint("good");
        resolver.resolve(&good, soon()).await.unwrap();
        let mut dead = JoinSet::new();
        for number in 0..600 {
            let resolver = resolver.clone();
            dead.spawn(async move {
                loop {
                    let _ = resolver.resolve(&endpoint(&format!("dead-{number}")), soon()).await;
                    sleep(MS).await;
                }
            });
        }
        // Until every dead name has been looked up.
        for _ in 0..1_000 {
            sleep(SLOW).await;
            let begun = Instant::now();
            resolver.resolve(&good, soon()).await.unwrap();
            assert!(begun.elapsed() < 10 * MS, "{:?}", begun.elapsed());
        }
        assert!(counts.1.load(Ordering::Relaxed) <= 32, "{counts:?}");
        // A name that was never looked up waits for one place, not behind every dead name's retry.
        let begun = Instant::now();
        resolver.resolve(&endpoint("new"), soon()).await.unwrap();
        assert!(begun.elapsed() < 3 * SLOW, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_name_does_not_wait_behind_hundreds_of_dead_ones_that_are_new_as_well() {
        let (resolver, counts) = half_dead();
        let mut dead = JoinSet::new();
        for number in 0..600 {
            let resolver = resolver.clone();
            dead.spawn(async move { resolver.resolve(&endpoint(&format!("dead-{number}")), soon()).await });
        }
        // The slow lane fills, and each further dead name keeps its place in the fast one.
        sleep(10 * SLOW).await;
        // It waits for the end of a lookup, and not for its turn among hundreds.
        let mut took = Vec::new();
        for number in 0..50 {
            let begun = Instant::now();
            resolver.resolve(&endpoint(&format!("new-{number}")), soon()).await.unwrap();
            took.push(begun.elapsed());
            sleep(SLOW).await;
        }
        took.sort_unstable();
        assert!(took[took.len() / 2] < 2 * SLOW && took[took.len() - 1] < 20 * SLOW, "{took:?}");
        assert!(counts.1.load(Ordering::Relaxed) <= 32, "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_not_used_any_more_is_forgotten() {
        let (resolver, _) = half_dead();
        for number in 0..100 {
            resolver.resolve(&endpoint(&format!("old-{number}")), soon()).await.unwrap();
        }
        sleep(Duration::from_secs(3 * 60 * 60)).await;
        resolver.resolve(&endpoint("new"), soon()).await.unwrap();
        assert_eq!(resolver.lookups.names(), 2, "one name, in both families");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_place_moves_the_deadline() {
        let (resolver, _) = half_dead();
        let mut dead = JoinSet::new();
        for number in 0..3 {
            let resolver = resolver.clone();
            dead.spawn(async move { resolver.resolve(&endpoint(&format!("dead-{number}")), soon()).await });
        }
        sleep(MS).await;
        let begun = Instant::now();
        let found = resolver.resolve(&endpoint("good"), begun + 100 * MS).await.unwrap();
        assert_eq!(found.deadline + MS, begun + 100 * MS + SLOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_a_place_for_half_a_minute_fails_for_want_of_threads_only_if_others_are_answered()
    {
        for (others, reason) in [(true, FailureReason::LocalResource), (false, FailureReason::Resolve)] {
            let (resolver, _) = half_dead();
            let alive = endpoint("alive");
            resolver.resolve(&alive, soon()).await.unwrap();
            let mut dead = JoinSet::new();
            let mut die = |numbers: std::ops::Range<u32>| {
                for number in numbers {
                    let resolver = resolver.clone();
                    let host = format!("dead-{number}");
                    dead.spawn(async move { resolver.resolve(&endpoint(&host), soon()).await });
                }
            };
            die(0..150);
            sleep(MS).await;
            let begun = Instant::now();
            let new = resolver.clone();
            let new = tokio::spawn(async move { new.resolve(&endpoint("new"), soon()).await });
            sleep(MS).await;
            // The newest go first in turn with the oldest.
            die(150..300);
            if others {
                sleep(SLOW).await;
                resolver.resolve(&alive, soon()).await.unwrap();
            }
            let failure = new.await.unwrap().unwrap_err();
            assert_eq!((failure.reason, begun.elapsed()), (reason, PATIENCE));
        }
    }
}
