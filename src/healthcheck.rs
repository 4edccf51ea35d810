//! `cachepulse healthcheck`: requests the running agent's `/livez`, for images without a shell and curl.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

/// How many bytes of the response are read at most; the first line suffices.
const RESPONSE_LIMIT: usize = 1024;

/// Requests `/livez` of the agent at `addr`; a wildcard address means loopback. Blocks for `timeout` at most.
///
/// # Errors
/// [`HealthcheckError`] unless the agent responds with 200.
pub fn healthcheck(addr: SocketAddr, timeout: Duration) -> Result<(), HealthcheckError> {
    let (addr, stream) = connect(addr, timeout)?;
    let response =
        request(stream, addr, timeout).map_err(|error| HealthcheckError::NoResponse(addr, error))?;
    let first_line = response.lines().next().unwrap_or_default();
    match first_line.split(' ').nth(1) {
        Some("200") if first_line.starts_with("HTTP/1.") => Ok(()),
        _ => Err(HealthcheckError::NotAlive(addr, first_line.escape_default().to_string())),
    }
}

/// Connects to the agent. Returns the address that it responds at.
fn connect(addr: SocketAddr, timeout: Duration) -> Result<(SocketAddr, TcpStream), HealthcheckError> {
    let (addr, other) = reachable(addr);
    let connect = |addr| TcpStream::connect_timeout(&addr, timeout).map(|stream| (addr, stream));
    let error = match connect(addr) {
        Ok(connected) => return Ok(connected),
        Err(error) => error,
    };
    other.and_then(|other| connect(other).ok()).ok_or(HealthcheckError::NoResponse(addr, error))
}

/// Returns the addresses to connect to: loopback if the agent listens on a wildcard address, which is both for `[::]`
/// because that means IPv4 where there is no IPv6.
fn reachable(addr: SocketAddr) -> (SocketAddr, Option<SocketAddr>) {
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
    match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => (four, None),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => ((Ipv6Addr::LOCALHOST, addr.port()).into(), Some(four)),
        _ => (addr, None),
    }
}

fn request(mut stream: TcpStream, addr: SocketAddr, timeout: Duration) -> io::Result<String> {
    let deadline = Instant::now() + timeout;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(Some(left)),
    };
    stream.set_write_timeout(left()?)?;
    stream
        .write_all(format!("GET /livez HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut response = Vec::new();
    let mut bytes = [0; RESPONSE_LIMIT];
    while response.len() < RESPONSE_LIMIT && !response.contains(&b'\n') {
        stream.set_read_timeout(left()?)?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => response.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Linux reports a read timeout as WouldBlock.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&response).into_owned())
}

/// The agent is not known to be alive.
#[derive(Debug)]
pub enum HealthcheckError {
    /// It did not respond.
    NoResponse(SocketAddr, io::Error),
    /// It responded with something else than 200; contains the first line.
    NotAlive(SocketAddr, String),
}

impl fmt::Display for HealthcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResponse(addr, _) => {
                write!(f, "no response from http://{addr}/livez; check that the agent runs and listens there")
            }
            Self::NotAlive(addr, line) if line.is_empty() => {
                write!(f, "http://{addr}/livez closed the connection without a response")
            }
            Self::NotAlive(addr, line) => write!(f, "http://{addr}/livez returned: {line}"),
        }
    }
}

impl std::error::Error for HealthcheckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoResponse(_, error) => Some(error),
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

    /// Starts a server that sends `response` to one client. The handle returns the request once the client has closed.
    fn server(response: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let request = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may close before it has read everything.
            let _ = stream.write_all(response.as_bytes());
            let mut request = String::new();
            let _ = stream.read_to_string(&mut request);
            request
        });
        (addr, request)
    }

    #[test]
    fn an_agent_that_returns_200_is_alive_and_wildcards_mean_loopback() {
        let (addr, request) = server("HTTP/1.1 200 OK\r\n\r\n");
        healthcheck((Ipv4Addr::UNSPECIFIED, addr.port()).into(), LONG).unwrap();
        assert!(request.join().unwrap().starts_with("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:"));
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let both = (address("[::1]:9860"), Some(address("127.0.0.1:9860")));
        assert_eq!(reachable(address("[::]:9860")), both);
        assert_eq!(reachable(address("10.0.0.1:9860")), (address("10.0.0.1:9860"), None));
        // An agent that listens on IPv4 only.
        let (addr, request) = server("HTTP/1.1 200 OK\r\n\r\n");
        healthcheck((Ipv6Addr::UNSPECIFIED, addr.port()).into(), LONG).unwrap();
        request.join().unwrap();
    }

    #[test]
    fn any_other_response_is_an_error_that_shows_it() {
        for (response, shown) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "returned: HTTP/1.1 503 Service Unavailable"),
            ("SSH-2.0-200 200 \u{1b}[31m\n", "returned: SSH-2.0-200 200 \\u{1b}[31m"),
        ] {
            let error = healthcheck(server(response).0, LONG).unwrap_err();
            assert!(error.to_string().ends_with(shown), "{error}");
        }
    }

    #[test]
    fn an_endless_response_is_not_read_to_its_end() {
        let error = healthcheck(server("x".repeat(1 << 20).leak()).0, LONG).unwrap_err();
        assert!(error.to_string().len() < 3000, "{}", error.to_string().len());
    }

    #[test]
    fn a_server_that_does_not_respond_is_a_timeout() {
        let error = healthcheck(server("").0, Duration::from_millis(50)).unwrap_err();
        assert!(
            matches!(&error, HealthcheckError::NoResponse(_, error) if error.kind() == io::ErrorKind::TimedOut)
        );
    }

    #[test]
    fn a_refused_connection_is_an_error_with_advice() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let error = healthcheck(addr, LONG).unwrap_err();
        let expected =
            format!("no response from http://{addr}/livez; check that the agent runs and listens there");
        assert_eq!(error.to_string(), expected);
    }
}
