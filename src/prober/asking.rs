//! Following `ASK`: the slot of a key is on its way to another node, which serves it to those who say `ASKING`.

use super::link::hosts;
use super::opening::{Opened, Opener};
use crate::connection::dial::DialFailure;
use crate::connection::dialer::Dial;
use crate::connection::session::Session;
use crate::excerpt::excerpt;
use crate::probe::{Failure, FailureReason};
use crate::target::{Endpoint, Server};
use crate::topology::{Redirect, RedirectKind};

/// How much is kept of both texts, in characters.
const MAX_DETAIL: usize = 400;
/// What to do if the node that is named cannot be asked.
const ADVICE: &str = "The slot of this key is being migrated. Let `key` contain `{instance}` outside of braces, so that the \
                      agent can take a key in another slot, and allow connections to all nodes.";

/// Whether `failure` says that the slot of the key is on its way to another node.
pub(super) fn is_ask(failure: &Failure) -> bool {
    failure.reason == FailureReason::WrongNode && failure.detail.starts_with("ASK ")
}

/// Opens a connection to the node that `ask` names. Each of its commands with a key says `ASKING` first.
/// It is meant for one round: a slot is on its way for seconds.
pub(super) async fn follow<D: Dial>(
    opener: &Opener<D>,
    ask: &Failure,
) -> Result<Box<Session<D::Stream>>, Failure> {
    let Server::Host(Endpoint { host, .. }) = &opener.target.server else {
        // Sentinels watch no cluster.
        return Err(ask.clone());
    };
    let hosts = hosts(&opener.target, host);
    let redirect = Redirect::parse(&ask.detail).filter(|redirect| redirect.kind == RedirectKind::Ask);
    let Some(endpoint) = redirect.and_then(|redirect| redirect.address(hosts)) else {
        return Err(ask.clone());
    };
    let mut opener = opener.clone();
    opener.dialer = opener.dialer.to(endpoint);
    match opener.open().await {
        Ok(Opened { connection, refused: None, .. }) => {
            // Boxed, as the opening is: what is needed only for moments takes no place in every prober.
            let mut session = Box::new(connection.session);
            session.ask_always();
            Ok(session)
        }
        Ok(Opened { refused: Some(failure), .. }) | Err(DialFailure { failure, .. }) => {
            Err(not_served(ask, &failure))
        }
    }
}

/// Returns the failure of a command that neither node serves.
pub(super) fn not_served(ask: &Failure, failure: &Failure) -> Failure {
    if failure.reason.is_local() {
        return failure.clone();
    }
    let detail = excerpt(&format!("{}; that node: {failure}", ask.detail), MAX_DETAIL);
    Failure { advice: Some(ADVICE), ..Failure::new(FailureReason::WrongNode, ask.stage, detail) }
}
