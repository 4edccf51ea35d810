//! The phase `connect`: overlapping attempts at a host's addresses, as RFC 8305 (Happy Eyeballs) has it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};

use super::deadline::within;
use super::resolver::{Addresses, interleaved};
use super::trace::Trace;
use crate::descriptors::{self, Purpose};
use crate::error::is_local;
use crate::excerpt::excerpt;
use crate::os;
use crate::probe::{Failure, FailureReason, Phase, Stage};

/// The time between the starts of two attempts (RFC 8305, section 5). An attempt that fails is followed at once.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long addresses that may still come are waited for once all others have failed.
const LATE: Duration = Duration::from_secs(1);

/// Connects to one of `addresses` before `deadline`, which is moved as [`within`] does, with descriptors for `purpose`.
/// Notes in `trace` which attempts failed.
pub(super) async fn connect(
    addresses: Addresses,
    deadline: &mut Instant,
    purpose: Purpose,
    trace: &Trace,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let (connected, failed) = race(addresses, deadline, |address| open(address, purpose)).await;
    trace.note(|findings| {
        findings.refused = failed.iter().map(|(address, error)| (*address, error.to_string())).collect();
    });
    connected.ok_or_else(|| failure(&failed))
}

async fn open(address: SocketAddr, purpose: Purpose) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    descriptors::check(&socket, purpose)?;
    let stream = socket.connect(address).await?;
    tune(&stream);
    Ok(stream)
}

/// The attempts that failed, in the order of their ends.
type Failed = Vec<(SocketAddr, io::Error)>;

/// Runs `attempt` for each address, with overlaps, until one succeeds. The others are dropped then.
async fn race<S, F: Future<Output = io::Result<S>>>(
    Addresses { known, mut late, .. }: Addresses,
    deadline: &mut Instant,
    attempt: impl Fn(SocketAddr) -> F,
) -> (Option<(S, SocketAddr)>, Failed) {
    let mut waiting = VecDeque::from(known);
    let mut running = Vec::new();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Failed::new();
    let mut next = Instant::now();
    let late_until = next + LATE;
    if *deadline <= next {
        return (None, failed);
    }
    let first = async {
        while !(waiting.is_empty() && running.is_empty() && late.is_none()) {
            tokio::select! {
                biased;
                Some((address, result)) = attempts.next() => match result {
                    Ok(stream) => return Some((stream, address)),
                    Err(error) => {
                        running.retain(|other| *other != address);
                        failed.push((address, error));
                        next = Instant::now();
                    }
                },
                () = sleep_until(next), if !waiting.is_empty() => {
                    let Some(address) = waiting.pop_front() else { continue };
                    running.push(address);
                    let attempt = attempt(address);
                    attempts.push(async move { (address, attempt.await) });
                    next = Instant::now() + ATTEMPT_DELAY;
                }
                found = async { late.as_mut().expect("guarded").addresses().await }, if late.is_some() => {
                    late = None;
                    waiting = interleaved(found, waiting.into()).into();
                }
                () = sleep_until(late_until), if waiting.is_empty() && running.is_empty() => break,
            }
        }
        None
    };
    let first = within(deadline, pin!(first)).await;
    if let Ok(Some(first)) = first {
        return (Some(first), failed);
    }
    let timeout = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    failed.extend(running.into_iter().map(|address| (address, timeout())));
    (None, failed)
}

/// Returns the failure behind those of all attempts.
fn failure(attempts: &Failed) -> Failure {
    let stage = Stage::Phase(Phase::Connect);
    if attempts.is_empty() {
        return Failure::new(
            FailureReason::ConnectTimeout,
            stage,
            "resolving the name left no time to connect",
        );
    }
    let mut details = String::new();
    for (address, error) in attempts {
        let separator = if details.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(details, "{separator}{address}: {error}");
    }
    let reasons: Vec<_> = attempts.iter().map(|(address, error)| reason(*address, error)).collect();
    // The most telling one: a refusal shows that a machine is there, silence that packets vanish on the way. A
    // family without a route is common and says nothing where the other got further. The agent's own limits are the
    // reason only if every attempt ended with them.
    let reason =
        [FailureReason::ConnectRefused, FailureReason::ConnectTimeout, FailureReason::ConnectUnreachable]
            .into_iter()
            .find(|reason| reasons.contains(reason))
            .unwrap_or(FailureReason::LocalResource);
    Failure::new(reason, stage, excerpt(&details, 300))
}

fn reason(address: SocketAddr, error: &io::Error) -> FailureReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => FailureReason::ConnectRefused,
        io::ErrorKind::TimedOut => FailureReason::ConnectTimeout,
        // No local port is left; or the machine has no address from which this one could be reached.
        io::ErrorKind::AddrNotAvailable if has_route(address) => FailureReason::LocalResource,
        _ if is_local(error) => FailureReason::LocalResource,
        // No route, no address of that family, a local firewall: the packets never left.
        _ => FailureReason::ConnectUnreachable,
    }
}

/// Whether this machine has an address from which `address` can be reached. Sends nothing.
fn has_route(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}
/// Makes a connection that went dead without a word end soon. The kernel alone resends into the void for some 15
/// minutes before it gives up. Our own time limits come first where a reply is awaited; these are for the rest.
fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let socket = SockRef::from(stream);
    let set = |option: &str, result: io::Result<()>| {
        // Some sandboxes lack one or the other; that is no reason not to probe.
        if let Err(error) = result {
            tracing::debug!(option, %error, "socket option not set");
        }
    };
    set("TCP_NODELAY", stream.set_nodelay(true));
    set("SO_KEEPALIVE", socket.set_tcp_keepalive(&keepalive));
    set("TCP_USER_TIMEOUT", os::limit_unacknowledged(&socket, Duration::from_secs(20)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::resolver::Resolver;
    use crate::target::Endpoint;
    use tokio::net::TcpListener;
    use tokio::time::sleep;

    const MS: Duration = Duration::from_millis(1);
    const TIMEOUT: Duration = Duration::from_secs(5);
    const REFUSED: Option<i32> = Some(111);
    const NO_DESCRIPTOR: Option<i32> = Some(24);

    fn addresses<const N: usize>(known: [&str; N]) -> Addresses {
        let known = known.map(|address| address.parse().unwrap()).into();
        Addresses { known, unknown: None, late: None, deadline: Instant::now() + TIMEOUT }
    }

    /// Runs attempts whose addresses tell their results: the port is the delay in milliseconds, those on `10.0.0.x` and
    /// `fd00::x` end with the error of a system call. Returns the winner, the failures and the time.
    async fn raced(addresses: Addresses, error: Option<i32>) -> (Option<SocketAddr>, Failed, Duration) {
        let begun = Instant::now();
        let mut deadline = addresses.deadline;
        let attempt = |address: SocketAddr| async move {
            sleep(MS * u32::from(address.port())).await;
            let fails = ["10.", "fd00"].iter().any(|net| address.ip().to_string().starts_with(net));
            if fails { Err(io::Error::from_raw_os_error(error.unwrap())) } else { Ok(()) }
        };
        let (connected, failed) = race(addresses, &mut deadline, attempt).await;
        (connected.map(|((), address)| address), failed, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_is_overtaken_after_a_quarter_of_a_second() {
        let (winner, failed, took) = raced(addresses(["192.0.2.1:60000", "192.0.2.2:10"]), None).await;
        assert_eq!(winner, Some("192.0.2.2:10".parse().unwrap()));
        assert!(failed.is_empty(), "the attempt that lost is no failure");
        assert_eq!(took, ATTEMPT_DELAY + 10 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_still_wins_if_it_is_the_first_to_connect() {
        let (winner, _, took) = raced(addresses(["192.0.2.1:300", "192.0.2.2:100"]), None).await;
        assert_eq!(winner, Some("192.0.2.1:300".parse().unwrap()));
        assert_eq!(took, 300 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_attempt_is_followed_at_once() {
        let (winner, failed, took) =
            raced(addresses(["10.0.0.1:5", "10.0.0.2:5", "192.0.2.1:5"]), REFUSED).await;
        assert_eq!(winner, Some("192.0.2.1:5".parse().unwrap()));
        assert_eq!((failed.len(), took), (2, 15 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn all_attempts_end_at_the_deadline() {
        let (winner, failed, took) = raced(addresses(["192.0.2.1:60000", "10.0.0.1:5"]), REFUSED).await;
        assert_eq!((winner, took), (None, TIMEOUT));
        let tried: Vec<_> = failed.iter().map(|(address, _)| address.to_string()).collect();
        assert_eq!(tried, ["10.0.0.1:5", "192.0.2.1:60000"]);
        let failure = failure(&failed);
        assert_eq!(failure.reason, FailureReason::ConnectRefused);
        assert!(failure.detail.ends_with("; 192.0.2.1:60000: no answer in time"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_come_late_take_part() {
        let resolver = Resolver::new(|_, family| {
            let late = family == crate::connection::resolver::Family::V6;
            Box::pin(async move {
                sleep(MS * if late { 400 } else { 0 }).await;
                let address = if late { "[2001:db8::1]:0" } else { "10.0.0.1:0" };
                Ok(vec![address.parse().unwrap()])
            })
        });
        let endpoint = Endpoint { host: "cache".into(), port: 7 };
        let found = resolver.resolve(&endpoint, Instant::now() + TIMEOUT).await.unwrap();
        assert_eq!(found.known, ["10.0.0.1:7".parse().unwrap()]);
        let (winner, failed, took) = raced(found, REFUSED).await;
        assert_eq!(winner, Some("[2001:db8::1]:7".parse().unwrap()));
        assert_eq!(failed.len(), 1);
        // Without the resolution delay, which has passed.
        assert_eq!(took, (400 - 50 + 7) * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_never_answers_delays_a_refusal_by_a_second_at_most() {
        let resolver = Resolver::new(|_, family| {
            let silent = family == crate::connection::resolver::Family::V6;
            Box::pin(async move {
                if silent {
                    std::future::pending::<()>().await;
                }
                Ok(vec!["10.0.0.1:0".parse().unwrap()])
            })
        });
        let endpoint = Endpoint { host: "cache".into(), port: 7 };
        let found = resolver.resolve(&endpoint, Instant::now() + TIMEOUT).await.unwrap();
        let (winner, failed, took) = raced(found, REFUSED).await;
        assert_eq!((winner, took), (None, LATE));
        assert_eq!(failure(&failed).reason, FailureReason::ConnectRefused);
    }

    #[tokio::test(start_paused = true)]
    async fn the_agents_limits_are_the_reason_only_if_nothing_came_of_the_network() {
        let (_, failed, _) = raced(addresses(["10.0.0.1:0", "[fd00::1]:0"]), NO_DESCRIPTOR).await;
        assert_eq!(failure(&failed).reason, FailureReason::LocalResource);
        let (_, failed, _) = raced(addresses(["10.0.0.1:0", "192.0.2.1:60000"]), NO_DESCRIPTOR).await;
        assert_eq!(failure(&failed).reason, FailureReason::ConnectTimeout);
    }

    #[tokio::test]
    async fn a_real_connection_is_made_and_a_real_refusal_noted() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive_address = alive.local_addr().unwrap();
        let trace = Trace::on();
        let found = addresses([&dead.to_string(), &alive_address.to_string()]);
        let (stream, peer) =
            connect(found, &mut (Instant::now() + TIMEOUT), Purpose::Target, &trace).await.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), peer), (alive_address, alive_address));
        let refused = trace.findings().refused;
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].0, dead);
    }

    #[test]
    fn every_way_a_connect_can_fail_has_its_reason() {
        let address = "127.0.0.1:6380".parse().unwrap();
        let of = |kind| reason(address, &io::Error::from(kind));
        assert_eq!(of(io::ErrorKind::ConnectionRefused), FailureReason::ConnectRefused);
        assert_eq!(of(io::ErrorKind::TimedOut), FailureReason::ConnectTimeout);
        for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable] {
            assert_eq!(of(kind), FailureReason::ConnectUnreachable);
        }
        let no_descriptor = io::Error::from_raw_os_error(NO_DESCRIPTOR.unwrap());
        assert_eq!(reason(address, &no_descriptor), FailureReason::LocalResource);
        assert_eq!(of(io::ErrorKind::AddrNotAvailable), FailureReason::LocalResource, "no port is left");
        // Documentation addresses (RFC 3849) have no route where there is no IPv6 but the loopback.
        let far: SocketAddr = "[2001:db8::1]:6380".parse().unwrap();
        if !has_route(far) {
            let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
            assert_eq!(reason(far, &error), FailureReason::ConnectUnreachable);
        }
    }
}
