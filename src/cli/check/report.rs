//! What `cachepulse check` tells of one target.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::clock::unix_seconds;
use crate::connection::dialer::Peer;
use crate::identity::Credentials;
use crate::probe::{Outcome, Phase, Step, StepResult};
use crate::prober::Probed;
use crate::target::Target;

/// The result for one target. Its fields are the JSON output.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    target: String,
    endpoint: String,
    success: bool,
    /// Seconds, all attempts included.
    duration: f64,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Connection>,
    phases: Vec<PhaseLine>,
    steps: Vec<StepLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Clients>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureLines>,
}

#[derive(Debug, Serialize)]
struct Connection {
    address: Option<String>,
    tls_version: Option<&'static str>,
    certificate_expiry: Option<f64>,
    username: Option<String>,
    token_expiry: Option<f64>,
    #[serde(skip)]
    asked: SystemTime,
}

#[derive(Debug, Serialize)]
struct PhaseLine {
    phase: &'static str,
    duration: f64,
}

#[derive(Debug, Serialize)]
struct StepLine {
    step: &'static str,
    result: &'static str,
    duration: f64,
    #[serde(skip)]
    command: &'static str,
    #[serde(skip)]
    answer: String,
}

#[derive(Debug, Serialize)]
struct Clients {
    count: u64,
    own_seen: bool,
    list: Vec<ClientLine>,
}

#[derive(Debug, Serialize)]
struct ClientLine {
    id: u64,
    addr: String,
}

#[derive(Debug, Serialize)]
struct FailureLines {
    reason: &'static str,
    stage: &'static str,
    detail: String,
    advice: &'static str,
}

impl Report {
    pub(super) fn new(
        target: &Target,
        probed: &Probed,
        peer: Option<(&Peer, &Credentials)>,
        now: SystemTime,
    ) -> Self {
        let Outcome { result, attempts, duration, phases, steps, clients } = &probed.outcome;
        Self {
            target: target.name.to_string(),
            endpoint: target.endpoint.to_string(),
            success: result.is_ok(),
            duration: duration.as_secs_f64(),
            attempts: *attempts,
            connection: peer.map(|(peer, credentials)| Connection::new(peer, credentials, now)),
            phases: phases
                .iter()
                .map(|(phase, time)| PhaseLine { phase: phase.as_str(), duration: time.as_secs_f64() })
                .collect(),
            steps: steps
                .iter()
                .map(|(step, result, time)| StepLine {
                    step: step.as_str(),
                    result: result.as_str(),
                    duration: time.as_secs_f64(),
                    command: step.command(),
                    answer: match (result, step) {
                        (StepResult::Success, Step::Ping) => "PONG".into(),
                        (StepResult::Success, Step::Set) => "OK".into(),
                        (StepResult::Success, Step::Get) => "the value that was set".into(),
                        (StepResult::Success, Step::ClientList) => {
                            clients.map_or_else(String::new, |count| format!("{} client(s)", count.clients))
                        }
                        (StepResult::Denied, Step::ClientList) => {
                            "denied: this user may not see it (NOPERM)".into()
                        }
                        (StepResult::Denied, _) => "denied".into(),
                        (StepResult::Failure, _) => "failed".into(),
                    },
                })
                .collect(),
            clients: probed.clients.as_ref().zip(*clients).map(|(list, count)| Clients {
                count: count.clients,
                own_seen: count.own_seen,
                list: list
                    .clients()
                    .map(|client| ClientLine { id: client.id, addr: client.addr.to_owned() })
                    .collect(),
            }),
            failure: result.as_ref().err().map(|failure| FailureLines {
                reason: failure.reason.as_str(),
                stage: failure.stage.as_str(),
                detail: failure.detail.to_string(),
                advice: failure.reason.advice(),
            }),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists of them always serialise")
    }
}

impl Connection {
    fn new(peer: &Peer, credentials: &Credentials, asked: SystemTime) -> Self {
        let (username, token_expiry) = match credentials {
            Credentials::None => (None, None),
            Credentials::Password { username, .. } => (username.as_deref(), None),
            Credentials::Token { username, token } => (Some(&**username), Some(token.expires_at)),
        };
        Self {
            address: peer.address.map(|address| address.to_string()),
            tls_version: peer.tls.map(|tls| tls.version),
            certificate_expiry: peer.tls.and_then(|tls| tls.certificate_expiry).map(unix_seconds),
            username: username.map(Into::into),
            token_expiry: token_expiry.map(unix_seconds),
            asked,
        }
    }

    /// What there is to say of a phase beside its time.
    fn of(&self, phase: &str) -> String {
        let lasts = |what: &str, expiry: Option<f64>| {
            expiry.map(|expiry| format!(", {what} valid for {}", span(expiry - unix_seconds(self.asked))))
        };
        let said = |text: Option<String>| text.unwrap_or_default();
        if phase == Phase::Connect.as_str() {
            said(self.address.clone())
        } else if phase == Phase::Tls.as_str() {
            let version = said(self.tls_version.map(|version| format!("TLS {version}")));
            version + &said(lasts("certificate", self.certificate_expiry))
        } else if phase == Phase::Auth.as_str() {
            let user = self.username.as_deref().unwrap_or("default");
            format!("as {user}{}", said(lasts("token", self.token_expiry)))
        } else {
            String::new()
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {}", self.target, self.endpoint)?;
        for line in &self.phases {
            let said = self.connection.as_ref().map_or_else(String::new, |open| open.of(line.phase));
            row(f, line.phase, line.duration, &said)?;
        }
        for line in &self.steps {
            row(f, line.command, line.duration, &line.answer)?;
        }
        if let Some(clients) = &self.clients {
            for client in &clients.list {
                writeln!(f, "      id : {}, addr : {}", client.id, client.addr)?;
            }
            if !clients.own_seen {
                writeln!(
                    f,
                    "      (this connection is not among them: behind a proxy the list is per node)"
                )?;
            }
        }
        let attempts =
            if self.attempts > 1 { format!(", {} attempts", self.attempts) } else { String::new() };
        let took = millis(self.duration);
        match &self.failure {
            None => write!(f, "  success in {took}{attempts}"),
            Some(FailureLines { reason, stage, detail, advice }) => {
                writeln!(f, "  FAILED after {took}{attempts}: {reason} at {stage}")?;
                if !detail.is_empty() {
                    writeln!(f, "    {detail}")?;
                }
                write!(f, "    {advice}")
            }
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, seconds: f64, said: &str) -> fmt::Result {
    let line = format!("  {name:<12}{:>12}   {said}", millis(seconds));
    writeln!(f, "{}", line.trim_end())
}

fn millis(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

/// A time to come, in the unit that tells it best.
fn span(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0 => "no time".into(),
        1..120 => format!("{whole} s"),
        120..7_200 => format!("{} min", whole / 60),
        7_200..172_800 => format!("{} h", whole / 3600),
        _ => format!("{} days", whole / 86_400),
    }
}
