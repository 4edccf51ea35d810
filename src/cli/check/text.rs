//! The text output of `cachepulse check`.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::cluster::{ClusterText, write_unwatched};
use super::result::{AskedDocument, CertificateDocument, CheckResult, ConnectionDocument};
use crate::cli::output::{Style, enumerated};
use crate::cli::resolution::ResolutionDocument;
use crate::clock::Rfc3339;
use crate::counted::counted;
use crate::excerpt::excerpt;
use crate::probe::{Phase, Step, StepResult};
use crate::status::{ClientsDocument, FailureDocument, IdentityDocument, NOT_REQUESTED, StepDocument};

/// The longest address of a client, in characters. The server chose it, so it is bounded.
const ADDRESS_LENGTH: usize = 200;

/// The text of one result.
pub(super) struct Text<'a> {
    pub(super) result: &'a CheckResult,
    pub(super) style: Style,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckResult {
            target,
            endpoint,
            outcome,
            server,
            cluster,
            sentinel,
            maintenance,
            connection,
            failed,
        } = self.result;
        let now = outcome.time.0;
        writeln!(f, "{target}  {endpoint}")?;
        let phases = outcome.phases.iter().map(|it| (it.phase, Some(it.duration_seconds)));
        for (phase, duration) in phases.chain(failed.map(|phase| (phase, None))) {
            write_phase(f, connection, phase, duration, now)?;
        }
        for step in &outcome.steps {
            let reply = reply(step, &outcome.steps, outcome.clients.as_ref());
            row(f, step.step.command(), Some(step.duration_seconds), &reply)?;
        }
        if let Some(clients) = &outcome.clients {
            write_clients(f, clients)?;
        }
        if let Some(server) = server {
            fact(f, "server", server, None)?;
        }
        if let Some(cluster) = cluster {
            write!(f, "{}", ClusterText(cluster))?;
        }
        if let Some(sentinel) = sentinel {
            fact(f, "sentinel", sentinel, sentinel.advice)?;
        }
        match maintenance {
            Some(maintenance) => fact(f, "maintenance", maintenance, maintenance.advice.as_deref())?,
            None => fact(f, "maintenance", &NOT_REQUESTED, None)?,
        }
        let attempts = match outcome.attempts {
            1 => String::new(),
            attempts => format!(", {attempts} attempts"),
        };
        let took = milliseconds(outcome.duration_seconds);
        let Some(FailureDocument { reason, stage, slots, detail, advice }) = &outcome.failure else {
            write!(f, "  {} in {took}{attempts}", self.style.good("success"))?;
            return cluster.iter().try_for_each(|cluster| write_unwatched(f, cluster, self.style));
        };
        writeln!(f, "  {} after {took}{attempts}: {reason} at {stage}", self.style.bad("FAILED"))?;
        if let Some(slots) = slots {
            writeln!(f, "    slots {slots}")?;
        }
        if !detail.is_empty() {
            writeln!(f, "    {detail}")?;
        }
        write!(f, "    {advice}")
    }
}

/// Writes one row for `phase` and lines of details below it. A phase without a duration failed.
fn write_phase(
    f: &mut fmt::Formatter<'_>,
    connection: &ConnectionDocument,
    phase: Phase,
    duration: Option<f64>,
    now: SystemTime,
) -> fmt::Result {
    let known = match phase {
        Phase::Token => connection.token.as_ref().map_or_else(String::new, |token| token_text(token, now)),
        Phase::Resolve => connection.addresses.join(", "),
        Phase::Connect => connection.address.clone().unwrap_or_default(),
        Phase::Tls => {
            let version = connection.tls_version.map(|version| format!("TLS {version}"));
            let validity = connection.certificate.as_ref().and_then(|it| validity(it, now));
            version.into_iter().chain(validity).collect::<Vec<_>>().join(", ")
        }
        // Without an identity nobody signs in.
        Phase::Auth => {
            connection.username.as_deref().map_or_else(String::new, |username| format!("as {username}"))
        }
    };
    row(f, phase.as_str(), duration, &known)?;
    match phase {
        Phase::Connect => connection.tried.iter().try_for_each(|tried| match &tried.error {
            Some(error) => writeln!(f, "      {}: {error}", tried.address),
            None => Ok(()),
        }),
        Phase::Tls => connection.certificate.iter().try_for_each(|it| write_certificate(f, it)),
        Phase::Resolve => connection.sentinels.iter().try_for_each(|asked| {
            let AskedDocument { sentinel, primary, error } = asked;
            let answer = primary.iter().map(|primary| format!("the primary is {primary}"));
            let answer: String = answer.chain(error.clone()).collect();
            writeln!(f, "      sentinel {sentinel}: {answer}")
        }),
        Phase::Token => {
            let lines = connection.resolution.iter().flat_map(ResolutionDocument::lines);
            lines.into_iter().try_for_each(|line| writeln!(f, "      {line}"))
        }
        Phase::Auth => Ok(()),
    }
}

fn token_text(token: &IdentityDocument, now: SystemTime) -> String {
    let validity = token.token_expiry.map_or_else(|| "no token".to_owned(), |expiry| valid(expiry, now));
    format!("{}, {validity}", token.identity)
}

fn write_certificate(f: &mut fmt::Formatter<'_>, certificate: &CertificateDocument) -> fmt::Result {
    let CertificateDocument { subject, names, issuer, expiry, .. } = certificate;
    // Large services have hundreds of names.
    let listed = enumerated(names.iter().map(String::as_str));
    let expiry = expiry.map(|expiry| expiry.to_string()).unwrap_or_default();
    for (name, value) in [("subject", subject), ("names", &listed), ("issuer", issuer), ("expires", &expiry)]
    {
        if !value.is_empty() {
            writeln!(f, "      {name:<7} : {value}")?;
        }
    }
    Ok(())
}

/// Returns a summary of the server's reply to `step`, one of `steps`.
fn reply(step: &StepDocument, steps: &[StepDocument], clients: Option<&ClientsDocument>) -> String {
    // Where only reads are probed, nothing was set.
    let has_set = steps.iter().any(|it| it.step == Step::Set);
    match (step.result, step.step) {
        (StepResult::Success, Step::Ping) => "PONG".into(),
        (StepResult::Success, Step::Set) => "OK".into(),
        (StepResult::Success, Step::Get) if has_set => "the value that was set".into(),
        (StepResult::Success, Step::Get) => "an answer (nothing was set)".into(),
        (StepResult::Success, Step::ClientList) => {
            clients.map_or_else(String::new, |clients| counted(clients.count, "client"))
        }
        (StepResult::Denied, Step::ClientList) => "denied: this user may not see it (NOPERM)".into(),
        (StepResult::Denied, _) => "denied".into(),
        (StepResult::Unsupported, _) => "unsupported: the server does not know it".into(),
        (StepResult::Failure, _) => "failed".into(),
    }
}

fn write_clients(f: &mut fmt::Formatter<'_>, clients: &ClientsDocument) -> fmt::Result {
    let list = clients.list.as_deref().unwrap_or_default();
    for client in list {
        writeln!(f, "      id : {}, addr : {}", client.id, excerpt(&client.addr, ADDRESS_LENGTH))?;
    }
    let listed = list.len() as u64;
    if listed < clients.count {
        writeln!(f, "      … and {} more; --all lists every client", clients.count - listed)?;
    }
    if !clients.own_seen {
        writeln!(f, "      (this connection is not among them: behind a proxy the list is per node)")?;
    }
    Ok(())
}

/// Writes a row without a duration, and what to do about it below.
fn fact(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    text: &dyn fmt::Display,
    advice: Option<&str>,
) -> fmt::Result {
    writeln!(f, "  {name:<24}   {text}")?;
    advice.iter().try_for_each(|advice| writeln!(f, "        {advice}"))
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, seconds: Option<f64>, text: &str) -> fmt::Result {
    let time = seconds.map_or_else(|| "failed".to_owned(), milliseconds);
    let line = format!("  {name:<12}{time:>12}   {text}");
    writeln!(f, "{}", line.trim_end())
}

pub(super) fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

/// Returns whether a certificate is valid now, and for how long.
fn validity(certificate: &CertificateDocument, now: SystemTime) -> Option<String> {
    match certificate.valid_from {
        Some(start) if start.0 > now => Some(format!("certificate not valid before {start}")),
        _ => certificate.expiry.map(|expiry| format!("certificate {}", valid(expiry, now))),
    }
}

/// Returns the remaining validity.
fn valid(expiry: Rfc3339, now: SystemTime) -> String {
    match expiry.0.duration_since(now) {
        Ok(left) => format!("valid for {}", span(left)),
        Err(past) => format!("expired {} ago", span(past.duration())),
    }
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
