//! `cachepulse healthcheck`: requests the running agent's `/livez`, for images without a shell and curl. Which endpoint is
//! asked is decided in `cli/healthcheck.rs`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::connection::tls::{ClientCertificateRefused, TlsClient};
use crate::connection::trace::Trace;
use crate::probe::FailureReason;
use crate::secret::Secret;
use crate::status::WAITING;

/// How many bytes of the response are read at most; the first line suffices.
const RESPONSE_LIMIT: usize = 1024;

/// What helps whatever the guarded endpoint demands.
const OTHERWISE: &str = "ask the health endpoint with --health-listen";

/// The endpoint of the agent to ask, and how.
#[derive(Debug)]
pub struct Healthcheck {
    /// The address that the agent listens at; a wildcard address means loopback.
    pub addr: SocketAddr,
    /// TLS, and the name that the certificate must be valid for; by default, the address that responds.
    pub tls: Option<(TlsClient, Option<String>)>,
    /// A user of the endpoint, and its password.
    pub user: Option<(String, Secret)>,
}

impl Healthcheck {
    /// Returns a check of the endpoint at `addr`, without TLS and user.
    #[must_use]
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: None, user: None }
    }

    /// Requests `/livez`. Takes `limit` at most.
    ///
    /// # Errors
    /// [`HealthcheckError`] unless the agent responds with 200.
    pub async fn run(&self, limit: Duration) -> Result<(), HealthcheckError> {
        let (addr, response) = self.ask("/livez", "\n", limit).await?;
        let line = first_line(&response);
        if is_ok(line) {
            return Ok(());
        }
        let fault =
            Fault::NotAlive { line: line.escape_default().to_string(), has_user: self.user.is_some() };
        Err(HealthcheckError { url: self.url(addr), fault })
    }

    /// Requests `/readyz`. Returns whether an agent says there that it waits for a valid configuration. Takes `limit` at most.
    pub async fn finds_waiting(&self, limit: Duration) -> bool {
        let asked = self.ask("/readyz", WAITING, limit).await;
        asked.is_ok_and(|(_, response)| is_ok(first_line(&response)) && response.contains(WAITING))
    }

    /// Requests `path`. Returns the address that responds, and the response up to `end`.
    async fn ask(
        &self,
        path: &str,
        end: &str,
        limit: Duration,
    ) -> Result<(SocketAddr, String), HealthcheckError> {
        let deadline = Instant::now() + limit;
        let (addr, stream) = self.connect(deadline).await?;
        let error = |fault| HealthcheckError { url: self.url(addr), fault };
        let responded = match &self.tls {
            None => self.request(addr, stream, path, end, deadline).await,
            Some((client, name)) => {
                let name = name.clone().unwrap_or_else(|| addr.ip().to_string());
                match client.handshake(&name, stream, None, &mut { deadline }, &Trace::default()).await {
                    Ok((stream, _)) => self.request(addr, stream, path, end, deadline).await,
                    Err(failure) if failure.reason == FailureReason::TlsClientCertificate => {
                        return Err(error(Fault::ClientCertificate(failure.detail)));
                    }
                    Err(failure) => return Err(error(Fault::Tls(failure.detail))),
                }
            }
        };
        responded.map(|response| (addr, response)).map_err(|cause| {
            // In TLS 1.3, it comes after the handshake.
            let is_about_certificate = ClientCertificateRefused::is_in(&cause);
            let text = || cause.to_string().into();
            error(if is_about_certificate {
                Fault::ClientCertificate(text())
            } else {
                Fault::NoResponse(cause)
            })
        })
    }

    /// Connects to the agent. Returns the address that it responds at.
    async fn connect(&self, deadline: Instant) -> Result<(SocketAddr, TcpStream), HealthcheckError> {
        let connect =
            async |addr| io::Result::Ok((addr, timeout_at(deadline, TcpStream::connect(addr)).await??));
        let (addr, other) = reachable(self.addr);
        let error = match (connect(addr).await, other) {
            (Ok(connected), _) => return Ok(connected),
            (Err(error), None) => error,
            (Err(error), Some(other)) => match connect(other).await {
                Ok(connected) => return Ok(connected),
                Err(_) => error,
            },
        };
        Err(HealthcheckError { url: self.url(addr), fault: Fault::NoResponse(error) })
    }

    /// Sends the request for `path`, and returns the response up to `end`.
    async fn request(
        &self,
        addr: SocketAddr,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        path: &str,
        end: &str,
        deadline: Instant,
    ) -> io::Result<String> {
        let mut request =
            Zeroizing::new(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n"));
        if let Some((name, password)) = &self.user {
            let user = Zeroizing::new(format!("{name}:{}", password.expose()));
            request.push_str("Authorization: Basic ");
            STANDARD.encode_string(user.as_bytes(), &mut request);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let exchange = async {
            let written = async {
                stream.write_all(request.as_bytes()).await?;
                stream.flush().await
            };
            // A server that refuses the client may close before it reads, and has said why.
            let written = written.await;
            let mut response = Vec::new();
            let mut stream = stream.take(RESPONSE_LIMIT as u64);
            let is_complete = |response: &[u8]| memchr::memmem::find(response, end.as_bytes()).is_some();
            while !is_complete(&response) && stream.read_buf(&mut response).await? > 0 {}
            if response.is_empty() {
                written?;
            }
            Ok(String::from_utf8_lossy(&response).into_owned())
        };
        timeout_at(deadline, exchange).await?
    }

    fn url(&self, addr: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{addr}/livez")
    }
}

fn first_line(response: &str) -> &str {
    response.lines().next().unwrap_or_default()
}

/// Whether `line` starts a successful response.
fn is_ok(line: &str) -> bool {
    line.starts_with("HTTP/1.") && line.split(' ').nth(1) == Some("200")
}

/// Returns the addresses to connect to: loopback if the agent listens on a wildcard address. `[::]` and 127.0.0.1 mean the
/// other version of IP where the machine has only that.
fn reachable(addr: SocketAddr) -> (SocketAddr, Option<SocketAddr>) {
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port()));
    match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => (four, None),
        IpAddr::V4(Ipv4Addr::LOCALHOST) => (four, Some(six)),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (six, Some(four)),
        _ => (addr, None),
    }
}

/// The agent is not known to be alive.
#[derive(Debug)]
pub struct HealthcheckError {
    url: String,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    /// The agent did not respond.
    NoResponse(io::Error),
    /// The TLS handshake failed; contains the reason.
    Tls(Box<str>),
    /// The agent demands another client certificate, or any; contains the reason.
    ClientCertificate(Box<str>),
    /// The agent responded with something else than 200: the first line, and whether the request had a password.
    NotAlive { line: String, has_user: bool },
}

impl fmt::Display for HealthcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, fault } = self;
        match fault {
            Fault::NoResponse(_) => {
                write!(f, "no response from {url}; check that the agent runs and listens there")
            }
            Fault::Tls(reason) => write!(f, "no TLS connection to {url}: {reason}"),
            Fault::ClientCertificate(reason) => write!(
                f,
                "no TLS connection to {url}: {reason}; set --cert-file and --key-file to a certificate that the endpoint \
                 accepts, or {OTHERWISE}"
            ),
            Fault::NotAlive { line, .. } if line.is_empty() => {
                write!(f, "{url} closed the connection without a response")
            }
            Fault::NotAlive { line, has_user } => {
                write!(f, "{url} returned: {line}")?;
                let advice = match line.split(' ').nth(1) {
                    Some("400") => "if the endpoint has TLS, set --tls",
                    Some("401") if *has_user => "check the user and the password in --password-file",
                    Some("401") => "set --username and --password-file",
                    Some("429") => "the endpoint limits the rate of requests",
                    _ => return Ok(()),
                };
                write!(f, "; {advice}, or {OTHERWISE}")
            }
        }
    }
}

impl std::error::Error for HealthcheckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::NoResponse(error) => Some(error),
            Fault::Tls(_) | Fault::ClientCertificate(_) | Fault::NotAlive { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
