//! What happens to a link while nothing is under way.

use super::notices::request;
use crate::connection::dialer::Dial;
use crate::connection::session::Incident;
use crate::probe::Failure;
use crate::prober::directions::Direction;
use crate::prober::early::{Early, EarlyConnection};
use crate::prober::handover::Handover;
use crate::prober::maintenance::LinkMaintenance;
use crate::prober::opening::{Connection, Opened, Opener};
use crate::prober::schedule::until;
use crate::prober::signals::{Question, Signals};
use crate::prober::whole::LinkId;

/// What happens while nothing is under way.
pub(super) enum Event<S> {
    /// The connection is gone, or cannot be trusted any more.
    Lost(Failure),
    /// There are credentials to present, or, without a connection, another attempt to open one may do better.
    Renewed,
    /// A new connection takes over from the open one.
    Replaced(Box<Opened<S>>),
    /// A connection was opened early, because the server of the open one moves or is elsewhere, or because that is old.
    Early(Box<Early<S>>),
    /// The connection has reached its greatest age, or is to be replaced by one that leads elsewhere.
    Aged,
    /// The server has sent something out of band.
    Pushed,
    /// Maintenance notices are to be asked for, or what is known of maintenance changes by itself.
    Maintenance,
    /// The server is to be asked for the topology.
    Asked(Question),
    /// The shard is elsewhere, or has other slots.
    Directed(Direction),
}

/// Waits until something happens to the open connection, there are credentials to present, or something about maintenance
/// is due. May be dropped at any time.
pub(super) async fn next_event<D: Dial>(
    connection: Option<&mut Connection<D::Stream>>,
    handover: &Handover<D::Stream>,
    opener: &mut Opener<D>,
    maintenance: Option<&LinkMaintenance>,
    early: &mut EarlyConnection<D>,
    (signals, id): (&Signals, LinkId),
) -> Event<D::Stream> {
    let Opener { sign_in, dialer, target, .. } = opener;
    let change = maintenance.and_then(|maintenance| maintenance.next_change());
    let Some(connection) = connection else {
        return tokio::select! {
            () = sign_in.renewed() => Event::Renewed,
            () = dialer.renewed() => Event::Renewed,
            () = until(change), if change.is_some() => Event::Maintenance,
        };
    };
    let request = maintenance.and_then(|maintenance| request(connection, maintenance));
    let again = connection.reauthenticate;
    let aged = early.renewal(connection.opened, target.max_connection_age);
    let maintenance_due = [change, request.map(|(_, due)| due)].into_iter().flatten().min();
    // One timer for all of them: every target has a place for each that is waited for.
    let alarm = [again, aged, maintenance_due].into_iter().flatten().min();
    tokio::select! {
        biased;
        incident = connection.session.incident() => match incident {
            Incident::Lost(failure) => Event::Lost(failure),
            Incident::Pushed => Event::Pushed,
        },
        // It answers, but nobody should use it any more.
        failure = dialer.moved_from(&connection.peer) => Event::Lost(failure),
        replacement = handover.replacement() => Event::Replaced(replacement),
        question = signals.question(id) => Event::Asked(question),
        () = sign_in.renewed() => Event::Renewed,
        done = early.opened() => Event::Early(done),
        () = until(alarm), if alarm.is_some() => {
            if alarm == again {
                Event::Renewed
            } else if alarm == aged {
                Event::Aged
            } else {
                Event::Maintenance
            }
        }
    }
}
