//! `cachepulse healthcheck`: asks the running agent's `/livez`, for images that have no shell and no curl.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

/// As much of the answer as is read: its first line and some more.
const ANSWER_LIMIT: usize = 1024;

/// Succeeds if the agent that listens at `addr` answers within `timeout` that it is alive. An agent that listens
/// on every address is asked on loopback. Blocks.
///
/// # Errors
/// See [`HealthcheckError`].
pub fn healthcheck(addr: SocketAddr, timeout: Duration) -> Result<(), HealthcheckError> {
    let addr = reachable(addr);
    let answer = ask(addr, timeout).map_err(|error| HealthcheckError::NoAnswer(addr, error))?;
    let first_line = answer.lines().next().unwrap_or_default();
    match first_line.split(' ').nth(1) {
        Some("200") if first_line.starts_with("HTTP/1.") => Ok(()),
        _ => Err(HealthcheckError::NotAlive(addr, first_line.escape_default().to_string())),
    }
}

/// The wildcard addresses are for listening; loopback is where to find who listens there.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}

fn ask(addr: SocketAddr, timeout: Duration) -> io::Result<String> {
    let deadline = Instant::now() + timeout;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(Some(left)),
    };
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_write_timeout(left()?)?;
    stream
        .write_all(format!("GET /livez HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut bytes = [0; ANSWER_LIMIT];
    while answer.len() < ANSWER_LIMIT && !answer.contains(&b'\n') {
        stream.set_read_timeout(left()?)?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What a timeout is called differs between systems.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The agent is not known to be alive.
#[derive(Debug)]
pub enum HealthcheckError {
    /// It did not answer.
    NoAnswer(SocketAddr, io::Error),
    /// It answered something else than 200; the first line of that.
    NotAlive(SocketAddr, String),
}

impl fmt::Display for HealthcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(addr, _) => {
                write!(f, "no answer from http://{addr}/livez: check that the agent runs and listens there")
            }
            Self::NotAlive(addr, line) if line.is_empty() => {
                write!(f, "http://{addr}/livez closed the connection without an answer")
            }
            Self::NotAlive(addr, line) => write!(f, "http://{addr}/livez answered: {line}"),
        }
    }
}

impl std::error::Error for HealthcheckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoAnswer(_, error) => Some(error),
            Self::NotAlive(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const LONG: Duration = Duration::from_secs(10);

    /// Answers one request with `answer`, and gives what was asked. Keeps the connection until then.
    fn server(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The other side may have seen enough before the end.
            let _ = stream.write_all(answer.as_bytes());
            let mut asked = String::new();
            // Until the other side closes.
            let _ = stream.read_to_string(&mut asked);
            asked
        });
        (addr, asked)
    }

    #[test]
    fn an_agent_that_answers_200_is_alive_and_wildcards_mean_loopback() {
        let (addr, asked) = server("HTTP/1.1 200 OK\r\n\r\n");
        healthcheck((Ipv4Addr::UNSPECIFIED, addr.port()).into(), LONG).unwrap();
        assert!(asked.join().unwrap().starts_with("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:"));
        assert_eq!(reachable("[::]:9860".parse().unwrap()), "[::1]:9860".parse().unwrap());
        assert_eq!(reachable("10.0.0.1:9860".parse().unwrap()), "10.0.0.1:9860".parse().unwrap());
    }

    #[test]
    fn any_other_answer_is_an_error_that_shows_it() {
        for (answer, shown) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered: HTTP/1.1 503 Service Unavailable"),
            ("SSH-2.0-200 200 \u{1b}[31m\n", "answered: SSH-2.0-200 200 \\u{1b}[31m"),
        ] {
            let error = healthcheck(server(answer).0, LONG).unwrap_err();
            assert!(error.to_string().ends_with(shown), "{error}");
        }
    }

    #[test]
    fn an_endless_answer_is_not_read_to_its_end() {
        let error = healthcheck(server("x".repeat(1 << 20).leak()).0, LONG).unwrap_err();
        assert!(error.to_string().len() < 3000, "{}", error.to_string().len());
    }

    #[test]
    fn silence_ends_with_the_timeout() {
        let error = healthcheck(server("").0, Duration::from_millis(50)).unwrap_err();
        assert!(
            matches!(&error, HealthcheckError::NoAnswer(_, error) if error.kind() == io::ErrorKind::TimedOut)
        );
    }

    #[test]
    fn nobody_there_says_what_to_check() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let error = healthcheck(addr, LONG).unwrap_err();
        let expected =
            format!("no answer from http://{addr}/livez: check that the agent runs and listens there");
        assert_eq!(error.to_string(), expected);
    }
}
