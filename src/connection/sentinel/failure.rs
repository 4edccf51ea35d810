//! Why no sentinel names the primary, or one names another server, and what to do about it.

use super::{STAGE, Service};
use crate::connection::handshake::Greeting;
use crate::connection::tls::PEER_SPEAKS_TLS;
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason, Mode, Role, ServerInfo};
use crate::target::Endpoint;

/// The longest text about all sentinels that failed, in characters.
const MAX_DETAIL: usize = 600;

const NO_ANSWER: &str = "No sentinel names the primary: check `sentinel.addresses`, that the sentinels are running, and \
                         the network between.";
const UNKNOWN_SERVICE: &str =
    "Set `sentinel.service` to a name that the sentinels monitor; `SENTINEL MASTERS` lists them.";
const REFUSED: &str = "Set `sentinel.identity` and `sentinel.username` to what the sentinels accept. They are separate \
                       from the sign-in to the cache.";
const NO_RIGHT: &str = "Give the user of the sentinels these rights: `+ping +sentinel|get-master-addr-by-name +subscribe \
                        &+switch-master`";
const NOT_TRUSTED: &str = "Set `sentinel.tls` to what the sentinels speak, with their authority in `sentinel.tls.ca_file`. It \
                           is separate from `tls`, which concerns the cache.";
const OTHER_NAME: &str = "Check that each sentinel's certificate contains its host in `sentinel.addresses`, or set \
                          `sentinel.tls.server_name` to a name in it, and that it has not expired. For a private \
                          certificate authority, set `sentinel.tls.ca_file` to its root certificate.";
const SPEAKS_TLS: &str =
    "The sentinels speak TLS: set `sentinel.tls: true`. It is separate from `tls`, which concerns the cache.";
const NO_SENTINEL: &str = "These servers are not sentinels: set `sentinel.addresses` to the hosts and ports of the \
                           sentinels, whose default port is 26379.";
const REPLICA: &str =
    "A failover is in progress, or the sentinels do not agree: compare `SENTINEL MASTER` on each of them.";
const SENTINEL: &str =
    "Give the address of the primary, not of a sentinel, in `sentinel monitor` on each sentinel.";
pub(super) const NO_PASSWORD: &str = "Check that the file or the environment variable of the sentinels' password exists, and that this \
                           process may read it.";

/// What a sentinel has answered when it was asked for the primary.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// This address, which may not be believed.
    Named(Endpoint),
    /// That it does not know the service.
    Unknown,
    /// Nothing: this failed.
    Failed(Failure),
}

impl From<Result<Option<Endpoint>, Failure>> for Answer {
    fn from(answer: Result<Option<Endpoint>, Failure>) -> Self {
        match answer {
            Ok(Some(address)) => Self::Named(address),
            Ok(None) => Self::Unknown,
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl Service {
    pub(super) fn unknown(&self) -> String {
        format!("the service {} is unknown", self.sentinels.service)
    }

    /// Returns the failure behind the last answers of all sentinels.
    pub(super) fn nobody_knows(&self) -> Failure {
        let answers = self.turns.answers();
        if answers.iter().all(Option::is_none) {
            let failure = Failure::new(FailureReason::Resolve, STAGE, "no sentinel answered in time");
            return Failure { advice: Some(NO_ANSWER), ..failure };
        }
        let told = |(sentinel, answer): (&Endpoint, &Option<Answer>)| match answer {
            Some(Answer::Named(address)) => format!("sentinel {sentinel}: names {address}"),
            Some(Answer::Unknown) => format!("sentinel {sentinel}: {}", self.unknown()),
            Some(Answer::Failed(failure)) => format!("sentinel {sentinel}: {failure}"),
            None => format!("sentinel {sentinel}: no answer in time"),
        };
        let details: Vec<String> = self.sentinels.addresses.iter().zip(&answers).map(told).collect();
        let (reason, advice) = verdict(&answers);
        let detail = excerpt(&details.join("; "), MAX_DETAIL);
        Failure { advice, ..Failure::new(reason, STAGE, detail) }
    }
}

/// Returns the reason behind the answers of all sentinels, and what to do. One that concerns how this agent asks is
/// kept if all agree on it: it determines how often to try.
fn verdict(answers: &[Option<Answer>]) -> (FailureReason, Option<&'static str>) {
    let has = |is_such: fn(&Answer) -> bool| answers.iter().flatten().any(is_such);
    if has(|answer| matches!(answer, Answer::Named(_))) {
        return (FailureReason::Resolve, Some(REPLICA));
    }
    if has(|answer| matches!(answer, Answer::Unknown)) {
        return (FailureReason::Resolve, Some(UNKNOWN_SERVICE));
    }
    let reason = |answer: &Option<Answer>| match answer {
        Some(Answer::Failed(failure)) => Some(failure.reason),
        _ => None,
    };
    let first = answers.first().and_then(reason);
    let agreed = first.filter(|_| answers.iter().all(|answer| reason(answer) == first));
    // The texts are those of this agent, and of Redis for `SENTINEL`.
    let every = |text: &str| {
        let says =
            |answer: &Answer| matches!(answer, Answer::Failed(failure) if failure.detail.contains(text));
        answers.iter().flatten().all(says)
    };
    let Some(first) = agreed else { return (FailureReason::Resolve, Some(NO_ANSWER)) };
    match first {
        FailureReason::AuthRejected => (first, Some(REFUSED)),
        FailureReason::PermissionDenied => (first, Some(NO_RIGHT)),
        FailureReason::TlsCertificate => (first, Some(OTHER_NAME)),
        FailureReason::TlsClientCertificate | FailureReason::TlsHandshake => (first, Some(NOT_TRUSTED)),
        FailureReason::ProtocolError if every(PEER_SPEAKS_TLS) => (FailureReason::Resolve, Some(SPEAKS_TLS)),
        FailureReason::ServerError if every("unknown command") => (FailureReason::Resolve, Some(NO_SENTINEL)),
        FailureReason::LocalResource => (first, None),
        _ => (FailureReason::Resolve, Some(NO_ANSWER)),
    }
}

/// Returns what the server is instead of a primary, with the reason and what to do.
pub(super) fn not_a_primary(greeting: &Greeting) -> Option<(FailureReason, &'static str, &'static str)> {
    let ServerInfo { mode, role, .. } = &greeting.server;
    match (mode, role) {
        (Some(Mode::Sentinel), _) => {
            Some((FailureReason::WrongNode, "that server says that it is a sentinel", SENTINEL))
        }
        (_, Some(Role::Replica)) => {
            Some((FailureReason::ReadOnly, "that server says that it is a replica", REPLICA))
        }
        (_, Some(Role::Primary) | None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::Locator;
    use super::*;
    use crate::connection::testing::resolver;
    use crate::identity::sign_in::SignIn;
    use crate::probe::{Phase, Stage, Step};
    use crate::target::{Sentinels, TargetName, Tls};

    fn locator(ports: &[u16]) -> Locator {
        let address = |port: &u16| Endpoint { host: "127.0.0.1".into(), port: *port };
        let sentinels = Sentinels {
            service: "mymaster".into(),
            addresses: ports.iter().map(address).collect(),
            tls: Tls::Off,
            password: None,
            username: None,
        };
        Locator::new(TargetName::new("t").unwrap(), sentinels, SignIn::None, None, resolver())
    }

    #[test]
    fn what_some_sentinels_have_said_is_told_when_the_time_runs_out() {
        let refused = || {
            Answer::Failed(Failure::new(
                FailureReason::ConnectRefused,
                Stage::Phase(Phase::Connect),
                "refused",
            ))
        };
        let late = || {
            Answer::Failed(Failure::new(FailureReason::CommandTimeout, Stage::Step(Step::Ping), "no reply"))
        };
        let (unknown, silent) =
            ("127.0.0.1:1: the service mymaster is unknown", "127.0.0.1:2: no answer in time");
        let named = Endpoint { host: "10.0.0.1".into(), port: 6379 };
        for (answers, parts, advice) in [
            (vec![], vec!["no sentinel answered in time"], NO_ANSWER),
            (vec![Answer::Unknown], vec![unknown, silent], UNKNOWN_SERVICE),
            (vec![Answer::Unknown, late()], vec![unknown, "command_timeout at ping"], UNKNOWN_SERVICE),
            (vec![refused()], vec!["connect_refused at connect", silent], NO_ANSWER),
            (vec![Answer::Named(named)], vec!["127.0.0.1:1: names 10.0.0.1:6379", silent], REPLICA),
        ] {
            let locator = locator(&[1, 2]);
            for (sentinel, answer) in answers.into_iter().enumerate() {
                locator.service.turns.answered(sentinel, answer);
            }
            let failure = locator.service.nobody_knows();
            assert_eq!((failure.reason, failure.advice), (FailureReason::Resolve, Some(advice)));
            assert!(parts.iter().all(|part| failure.detail.contains(part)), "{}", failure.detail);
        }
    }

    #[test]
    fn what_all_sentinels_failed_for_alike_has_its_own_advice() {
        let (tls, step) = (Stage::Phase(Phase::Tls), Stage::Step(Step::Ping));
        for (reason, stage, detail, advice) in [
            (FailureReason::TlsCertificate, tls, "the certificate is not valid for a", OTHER_NAME),
            (FailureReason::TlsHandshake, tls, "", NOT_TRUSTED),
            (FailureReason::ProtocolError, step, "the peer speaks TLS", SPEAKS_TLS),
            (FailureReason::ProtocolError, step, "garbage", NO_ANSWER),
            (FailureReason::ServerError, step, "ERR unknown command 'SENTINEL'", NO_SENTINEL),
            (FailureReason::ServerError, step, "ERR internal error", NO_ANSWER),
        ] {
            let answer = || Some(Answer::Failed(Failure::new(reason, stage, detail)));
            assert_eq!(verdict(&[answer(), answer()]).1, Some(advice), "{detail}");
            assert_eq!(verdict(&[answer(), None]).1, Some(NO_ANSWER), "{detail}");
        }
    }

    #[tokio::test]
    async fn what_sentinels_said_a_moment_ago_is_told_while_they_may_not_be_asked_again() {
        // Nothing can listen there.
        let mut locator = locator(&[0, 0]);
        for time in [Duration::from_secs(20), Duration::from_millis(400)] {
            let failure = locator.locate(Instant::now() + time).await.unwrap_err();
            assert_eq!(failure.detail.matches("at connect").count(), 2, "{}", failure.detail);
        }
    }
}
