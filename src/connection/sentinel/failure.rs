//! Why no sentinel names the primary, or one names another server, and what to do about it.

use super::{STAGE, Service};
use crate::connection::handshake::Greeting;
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason, Mode, Role, ServerInfo};

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
const REPLICA: &str =
    "A failover is in progress, or the sentinels do not agree: compare `SENTINEL MASTER` on each of them.";
const SENTINEL: &str =
    "Give the address of the primary, not of a sentinel, in `sentinel monitor` on each sentinel.";
pub(super) const NO_PASSWORD: &str = "Check that the file or the environment variable of the sentinels' password exists, and that this \
                           process may read it.";

impl Service {
    pub(super) fn unknown(&self) -> String {
        format!("the service {} is unknown", self.sentinels.service)
    }

    /// Returns the failure behind those of all sentinels. `None` is a sentinel that does not know the service.
    pub(super) fn nobody_knows(&self, failed: &[(usize, Option<Failure>)]) -> Failure {
        let details: Vec<String> = failed
            .iter()
            .map(|(sentinel, failure)| {
                let address = &self.sentinels.addresses[*sentinel];
                match failure {
                    Some(failure) => format!("sentinel {address}: {failure}"),
                    None => format!("sentinel {address}: {}", self.unknown()),
                }
            })
            .collect();
        let (reason, advice) = verdict(failed);
        let detail = excerpt(&details.join("; "), MAX_DETAIL);
        Failure { advice, ..Failure::new(reason, STAGE, detail) }
    }
}

/// Returns the reason behind the failures of all sentinels, and what to do. One that concerns how this agent asks is
/// kept if all agree on it: it determines how often to try.
fn verdict(failed: &[(usize, Option<Failure>)]) -> (FailureReason, Option<&'static str>) {
    if failed.iter().any(|(_, failure)| failure.is_none()) {
        return (FailureReason::Resolve, Some(UNKNOWN_SERVICE));
    }
    let mut reasons = failed.iter().filter_map(|(_, failure)| failure.as_ref()).map(|failure| failure.reason);
    let first = reasons.next().unwrap_or(FailureReason::Resolve);
    if !reasons.all(|reason| reason == first) {
        return (FailureReason::Resolve, Some(NO_ANSWER));
    }
    match first {
        FailureReason::AuthRejected => (first, Some(REFUSED)),
        FailureReason::PermissionDenied => (first, Some(NO_RIGHT)),
        FailureReason::TlsCertificate | FailureReason::TlsClientCertificate | FailureReason::TlsHandshake => {
            (first, Some(NOT_TRUSTED))
        }
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

pub(super) fn no_answer_in_time() -> Failure {
    let failure = Failure::new(FailureReason::Resolve, STAGE, "no sentinel answered in time");
    Failure { advice: Some(NO_ANSWER), ..failure }
}
