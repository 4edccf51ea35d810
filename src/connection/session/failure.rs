//! What failures of a session mean: of the stream below, of the frames that come, and error replies.

use redis::ServerError;

use super::Session;
use crate::connection::reply::{self, Malformed};
use crate::connection::tls::{self, ClientCertificateRefused};
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason, Stage};

/// What to do if the reply to `CLUSTER SLOTS` has more values than are read.
const SLOTS_IN_PIECES: &str = "The slots of this cluster lie in too many separate ranges: move them so that each shard has \
     few, or set `cluster.mode: off`.";

impl<S> Session<S> {
    pub(super) fn malformed(&self, stage: Stage, malformed: Malformed) -> Failure {
        match malformed {
            Malformed::NotRedis if tls::is_greeting(&self.incoming) => Failure {
                advice: Some("This port serves TLS: remove `tls: false`."),
                ..Failure::new(FailureReason::ProtocolError, stage, tls::PEER_SPEAKS_TLS)
            },
            Malformed::NotRedis => {
                Failure::new(FailureReason::ProtocolError, stage, "what came is not a Redis reply")
            }
            Malformed::TooMany => {
                let detail = format!("the reply has more than {} values", self.limits.values);
                Failure {
                    advice: (stage == Stage::Topology).then_some(SLOTS_IN_PIECES),
                    ..Failure::new(FailureReason::ProtocolError, stage, detail)
                }
            }
            Malformed::TooLarge => {
                let detail = format!("the reply is longer than reply_limit, {} bytes", self.limits.bytes);
                Failure::new(FailureReason::ReplyTooLarge, stage, detail)
            }
        }
    }
}

pub(in crate::connection) fn no_reply(stage: Stage) -> Failure {
    Failure::new(FailureReason::CommandTimeout, stage, "no whole reply in time")
}

pub(super) fn unexpected() -> Failure {
    Failure::new(FailureReason::ProtocolError, Stage::Idle, "unexpected data on an idle connection")
}

pub(super) fn closed(stage: Stage) -> Failure {
    Failure::new(FailureReason::Closed, stage, "the server closed the connection")
}

/// Returns the failure that an error reply means.
pub(super) fn error_reply(stage: Stage, error: &ServerError) -> Failure {
    let (reason, detail) = reply::classify(error);
    Failure::new(reason, stage, detail)
}

pub(super) fn io_failure(stage: Stage, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let reason = match error.kind() {
        // A TLS peer that hangs up without its closing message, as Redis does.
        ErrorKind::UnexpectedEof => return closed(stage),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            FailureReason::Reset
        }
        // Keepalive or TCP_USER_TIMEOUT gave up on the peer.
        ErrorKind::TimedOut => FailureReason::CommandTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            FailureReason::ConnectUnreachable
        }
        ErrorKind::InvalidData if ClientCertificateRefused::is_in(error) => {
            FailureReason::TlsClientCertificate
        }
        ErrorKind::InvalidData => FailureReason::ProtocolError,
        _ => FailureReason::Reset,
    };
    Failure::new(reason, stage, excerpt(&error.to_string(), reply::MAX_DETAIL))
}
