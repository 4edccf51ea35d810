//! A probe makes no system calls but those of its commands and its waiting. One more would be a write: the runtime wakes its
//! own thread up for each timer that is earlier than all others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, unused_imports, reason = "shared with the benchmarks")]
#[path = "../bench/driver/src/lab.rs"]
mod lab;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use cachepulse::connection::dial::DialFailure;
use cachepulse::connection::dialer::{Dial, Dialed, Peer};
use cachepulse::identity::sign_in::SignIn;
use cachepulse::probe::PhaseTimes;
use cachepulse::target::Endpoint;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use lab::{Cache, LAST_COMMAND, Lab};

/// Longer than the session's timer runs, which is an eighth of `command_timeout`. Were it not moved between probes, each one
/// would have to set it anew.
const INTERVAL: Duration = Duration::from_millis(600);
/// So many probes must have written nothing but their commands.
const QUIET: usize = 5;
/// The most probes until then: on a machine that is busy, a timer may have to be set anew for a command that came late.
const PROBES: usize = 30;

/// Where the cache in memory listens.
#[derive(Clone)]
struct Socket(SocketAddr);

impl Socket {
    /// Serves the cache on a thread of its own, which sends a message for each probe.
    fn serve(cache: Cache) -> (Self, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (send, probes) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut value, mut reply) = (vec![0; 1024], String::new(), Vec::new());
            while let Ok(length @ 1..) = stream.read(&mut request) {
                let request = str::from_utf8(&request[..length]).unwrap();
                cache.reply(request, &mut value, &mut reply);
                // Not after the reply: the prober may be done by then.
                if request.contains(LAST_COMMAND) {
                    let _ = send.send(());
                }
                let _ = stream.write_all(&reply);
                reply.clear();
            }
        });
        (Self(address), probes)
    }
}

impl Dial for Socket {
    type Stream = TcpStream;

    fn to(&self, _endpoint: Endpoint) -> Self {
        self.clone()
    }

    async fn dial(&mut self, deadline: Instant) -> Result<Dialed<Self::Stream>, DialFailure> {
        let stream = TcpStream::connect(self.0).await.unwrap();
        Ok(Dialed { stream, phases: PhaseTimes::default(), peer: Peer::default(), deadline })
    }

    async fn leads_to(&self, _address: SocketAddr, _deadline: Instant) -> Option<bool> {
        None
    }
}

/// Returns how often this thread has written to anything but a socket without TLS, which is not written to but sent to.
fn writes() -> u64 {
    let account = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    account.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_probe_does_not_wake_up_its_own_thread() {
    let lab = Lab::new();
    let (socket, mut seen) = Socket::serve(Cache::until(LAST_COMMAND, u64::MAX));
    let prober = lab.prober("t", &socket, INTERVAL, SignIn::None);
    let count = async {
        seen.recv().await.unwrap();
        let (mut before, mut quiet) = (writes(), 0);
        for _ in 0..PROBES {
            seen.recv().await.unwrap();
            let after = writes();
            quiet += usize::from(after == before);
            before = after;
            if quiet == QUIET {
                break;
            }
        }
        quiet
    };
    let quiet = tokio::select! {
        never = prober.run(Instant::now()) => match never {},
        quiet = count => quiet,
    };
    assert_eq!(quiet, QUIET, "of {PROBES} probes");
}
