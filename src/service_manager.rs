//! The service manager that started the process, such as systemd: learns when the agent is ready, reloads and stops, and as
//! its watchdog that the agent's main loop responds.
//!
//! Speaks the protocol of `sd_notify(3)`: datagrams to the socket that `NOTIFY_SOCKET` names. A process that was started
//! otherwise has no such variable, and then nothing is sent.

use std::convert::Infallible;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::http::Liveness;
use crate::lock::lock;
use crate::log_budget::LogBudget;
use crate::os::{NotifySocket, monotonic_microseconds};

/// How long a message may take. It takes microseconds unless the manager has stopped reading.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the agent does, as the manager shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The endpoint is served, and the last reload has ended.
    Ready,
    /// The configuration is being loaded again.
    Reloading,
    /// The shutdown has started.
    Stopping,
}

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Socket,
    /// What it knows.
    state: Option<State>,
}

/// The manager's watchdog, if it has one: it restarts an agent that has not shown that it is alive for a period.
#[derive(Debug)]
pub struct Watchdog {
    socket: Socket,
    period: Option<Duration>,
}

/// A socket on which the manager listens, or none.
#[derive(Clone, Debug)]
struct Socket(Option<Arc<Connected>>);

#[derive(Debug)]
struct Connected {
    socket: NotifySocket,
    /// For messages that cannot be sent: a watchdog may want many.
    log: Mutex<LogBudget>,
}

impl ServiceManager {
    /// Returns the manager that the variables of the environment describe, and its watchdog. `variable` looks them up. Logs
    /// if the manager cannot be reached.
    ///
    /// Must be called within a runtime.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> (Self, Watchdog) {
        let address = variable("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = Socket(address.and_then(|address| match NotifySocket::connect(&address) {
            Ok(socket) => Some(Arc::new(Connected { socket, log: Mutex::default() })),
            Err(error) => {
                warn!(%error, ?address, "the service manager cannot be reached");
                None
            }
        }));
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // Children inherit the variables, which are not meant for them.
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let period = number("WATCHDOG_USEC").filter(|period| *period > 0 && is_meant);
        let watchdog = Watchdog { socket: socket.clone(), period: period.map(Duration::from_micros) };
        (Self { socket, state: None }, watchdog)
    }

    /// Reports that the agent is in `state`, unless the manager knows it. Takes a second at most.
    pub async fn notify(&mut self, state: State) {
        if self.state.replace(state) == Some(state) {
            return;
        }
        let message = match state {
            State::Ready => "READY=1".to_owned(),
            State::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()),
            State::Stopping => "STOPPING=1".to_owned(),
        };
        self.socket.send(&message).await;
    }
}

impl Watchdog {
    /// Feeds the watchdog twice per period while the agent is alive, as `/livez` tests it: a stuck loop is restarted.
    pub async fn feed(self, liveness: Liveness) -> Infallible {
        let Some(period) = self.period else {
            return pending().await;
        };
        loop {
            if liveness.is_alive().await {
                self.socket.send("WATCHDOG=1").await;
            }
            sleep(period / 2).await;
        }
    }
}

impl Socket {
    async fn send(&self, message: &str) {
        let Some(connected) = &self.0 else {
            return;
        };
        let sent = timeout(TIMEOUT, connected.socket.send(message)).await;
        if let Err(error) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            && lock(&connected.log).take(Instant::now())
        {
            warn!(%error, notification = message, "the service manager is not notified");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;
    use crate::telemetry::testing::logged;

    /// Binds a manager's socket.
    fn listen(address: &SocketAddr) -> UnixDatagram {
        let listener = UnixDatagram::bind_addr(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    /// Returns the messages that have arrived.
    fn received(listener: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 256];
        let mut next = || listener.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec());
        std::iter::from_fn(|| next().map(|message| String::from_utf8(message).unwrap())).collect()
    }

    /// Returns the manager that these variables describe.
    fn manager(variables: &[(&str, &str)]) -> (ServiceManager, Watchdog) {
        ServiceManager::new(|name| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(value.into())
        })
    }

    #[tokio::test]
    async fn states_reach_a_socket_with_a_path_and_one_with_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("cachepulse-test-{}", std::process::id());
        for (address, variable) in [
            (SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (SocketAddr::from_abstract_name(&name).unwrap(), format!("@{name}")),
        ] {
            let listener = listen(&address);
            let (mut manager, _) = manager(&[("NOTIFY_SOCKET", &variable)]);
            let before = monotonic_microseconds();
            for state in [State::Ready, State::Ready, State::Reloading, State::Stopping] {
                manager.notify(state).await;
            }
            let messages = received(&listener);
            let [ready, reloading, stopping] = &messages[..] else { panic!("{messages:?}") };
            assert_eq!((&**ready, &**stopping), ("READY=1", "STOPPING=1"));
            let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
            assert!((before..=monotonic_microseconds()).contains(&since), "{messages:?}");
        }
    }

    #[tokio::test]
    async fn without_a_manager_that_can_be_reached_nothing_is_sent() {
        let gone = tempfile::tempdir().unwrap().path().join("notify");
        for address in ["", "vsock:2:1", gone.to_str().unwrap()] {
            let (mut manager, _) = manager(&[("NOTIFY_SOCKET", address)]);
            assert!(manager.socket.0.is_none(), "{address}");
            manager.notify(State::Ready).await;
        }
        assert!(manager(&[]).0.socket.0.is_none());
    }

    #[tokio::test]
    async fn the_agent_goes_on_when_the_manager_reads_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = listen(&SocketAddr::from_pathname(&path).unwrap());
        let (mut manager, watchdog) = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        let socket = &watchdog.socket.0.unwrap().socket;
        while timeout(Duration::from_millis(50), socket.send("")).await.is_ok() {}
        manager.notify(State::Ready).await;
        assert!(received(&listener).iter().all(String::is_empty));
        manager.notify(State::Stopping).await;
        assert_eq!(received(&listener), ["STOPPING=1"]);
    }

    #[tokio::test]
    async fn a_manager_that_has_gone_is_logged_a_few_times_with_what_it_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = listen(&SocketAddr::from_pathname(&path).unwrap());
        let (_, watchdog) = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        drop(listener);
        let (lines, _guard) = logged();
        for _ in 0..100 {
            watchdog.socket.send("WATCHDOG=1").await;
        }
        let text = lines.text();
        assert_eq!(text.matches("notification=\"WATCHDOG=1\"").count(), 5, "{text}");
    }

    #[tokio::test]
    async fn the_watchdog_belongs_to_the_process_that_its_variable_names() {
        let own = std::process::id().to_string();
        for (variables, expected) in [
            (&[("WATCHDOG_USEC", "30000000")][..], Some(30)),
            (&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", &own)], Some(30)),
            (&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "often")], None),
            (&[], None),
        ] {
            assert_eq!(manager(variables).1.period, expected.map(Duration::from_secs), "{variables:?}");
        }
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_only_while_the_loop_responds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let listener = listen(&SocketAddr::from_pathname(&path).unwrap());
        let (_, watchdog) = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000")]);
        let (liveness, mut heartbeats) = Liveness::new();
        let main_loop = async {
            for _ in 0..3 {
                heartbeats.respond().await;
            }
            // It asks again when it has given up the previous request, or got its response and fed the watchdog.
            let unanswered = heartbeats.request().await;
            assert_eq!(received(&listener), ["WATCHDOG=1"; 3]);
            let request = heartbeats.request().await;
            assert_eq!(received(&listener), [""; 0], "the loop is stuck");
            drop(unanswered);
            request.send(()).unwrap();
            let _unanswered = heartbeats.request().await;
            assert_eq!(received(&listener), ["WATCHDOG=1"], "the loop responds again");
        };
        tokio::select! {
            never = watchdog.feed(liveness) => match never {},
            () = main_loop => {}
        }
    }
}
