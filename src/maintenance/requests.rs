//! What is asked of a link's connections, so that they receive notices, and what was refused.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::doubled;
use crate::closed_set::closed_set;
use crate::target::Product;

/// How long a refusal is remembered.
const MEMORY: Duration = Duration::from_secs(60 * 60);
/// The pause after a request that failed otherwise, as when the connection was lost over it: it may have another cause. The
/// pause doubles each time up to [`MEMORY`], as a server may do it always.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// So many failures in a row show that notices are not available for now.
const FAILURES: u32 = 2;

closed_set! {
    /// A command that asks for notices.
    pub enum Request {
        /// `SUBSCRIBE AzureRedisEvents`, which Azure Cache for Redis publishes to.
        Subscribe = "SUBSCRIBE AzureRedisEvents",
        /// `CLIENT MAINT_NOTIFICATIONS ON`, which Redis Enterprise knows.
        Notifications = "CLIENT MAINT_NOTIFICATIONS ON",
    }
}

/// The requests that the server has agreed to on one connection, by [`Request`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made([bool; Request::ALL.len()]);

impl Made {
    /// Whether the server has agreed to `request`.
    #[must_use]
    pub const fn contains(self, request: Request) -> bool {
        self.0[request as usize]
    }
}

/// The requests of one link, and what became of them.
#[derive(Clone, Debug)]
pub struct Requests {
    /// By [`Request`]; `None` if it is never made.
    states: [Option<State>; Request::ALL.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_granted: bool,
    refused_until: Option<Instant>,
    /// How often in a row it failed and was not refused.
    failures: u32,
}

impl Requests {
    /// Returns the requests where notices exist: of a cache whose host is one of `product`.
    #[must_use]
    pub fn of_product(product: Option<Product>) -> Self {
        let states = Request::ALL.map(|request| {
            let exists = match request {
                Request::Subscribe => product == Some(Product::CacheForRedis),
                Request::Notifications => product == Some(Product::ManagedRedis),
            };
            exists.then(State::default)
        });
        Self { states }
    }

    /// Returns all requests, for any server.
    #[must_use]
    pub fn all() -> Self {
        Self { states: [Some(State::default()); Request::ALL.len()] }
    }

    /// Returns no requests.
    #[must_use]
    pub const fn none() -> Self {
        Self { states: [None; Request::ALL.len()] }
    }

    /// Whether no request is ever made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.iter().all(Option::is_none)
    }

    /// Returns the next request on a connection on which those of `made` were made, and when it is due.
    #[must_use]
    pub fn next(&self, made: Made, now: Instant) -> Option<(Request, Instant)> {
        let open = Request::ALL.into_iter().filter(|request| !made.contains(*request));
        let due = open.filter_map(|request| {
            let state = self.states[request as usize]?;
            Some((request, state.refused_until.map_or(now, |until| until.max(now))))
        });
        due.min_by_key(|(_, at)| *at)
    }

    /// The server has agreed to `request`.
    pub fn granted(&mut self, request: Request, made: &mut Made) {
        made.0[request as usize] = true;
        if let Some(state) = &mut self.states[request as usize] {
            *state = State { is_granted: true, ..State::default() };
        }
    }

    /// The server has refused `request`.
    pub fn refused(&mut self, request: Request, now: Instant) {
        if let Some(state) = &mut self.states[request as usize] {
            *state = State { is_granted: false, refused_until: Some(now + MEMORY), failures: 0 };
        }
    }

    /// `request` failed in a way that may pass, as when the connection was lost over it. Returns whether it has failed before.
    pub fn failed(&mut self, request: Request, now: Instant) -> bool {
        let Some(state) = &mut self.states[request as usize] else { return false };
        let pause = doubled(FIRST_PAUSE, state.failures, MEMORY);
        let failures = state.failures.saturating_add(1);
        *state = State { is_granted: false, refused_until: Some(now + pause), failures };
        failures >= FAILURES
    }

    /// Whether the server has agreed to send notices.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.states.iter().flatten().any(|state| state.is_granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(requests: &Requests, made: Made, now: Instant) -> Option<Request> {
        requests.next(made, now).filter(|(_, at)| *at <= now).map(|(request, _)| request)
    }

    #[test]
    fn notices_are_asked_for_only_where_they_exist_unless_the_operator_says_so() {
        let now = Instant::now();
        let first = |requests: &Requests| due(requests, Made::default(), now);
        assert_eq!(first(&Requests::of_product(Some(Product::CacheForRedis))), Some(Request::Subscribe));
        assert_eq!(first(&Requests::of_product(Some(Product::ManagedRedis))), Some(Request::Notifications));
        for none in [Requests::of_product(None), Requests::none()] {
            assert!(none.is_empty() && first(&none).is_none());
        }
        let (mut all, mut made) = (Requests::all(), Made::default());
        for request in Request::ALL {
            assert_eq!(due(&all, made, now), Some(request));
            all.granted(request, &mut made);
        }
        assert!(all.is_granted() && due(&all, made, now).is_none(), "each is made once on a connection");
        assert!(due(&all, Made::default(), now).is_some(), "and again on the next");
    }

    #[test]
    fn a_refusal_is_remembered_for_an_hour_and_hinders_no_other_request() {
        let now = Instant::now();
        let (mut requests, mut made) = (Requests::all(), Made::default());
        requests.refused(Request::Subscribe, now);
        assert_eq!(due(&requests, made, now), Some(Request::Notifications));
        assert!(!requests.is_granted());
        requests.granted(Request::Notifications, &mut made);
        assert!(requests.is_granted());
        assert_eq!(requests.next(made, now), Some((Request::Subscribe, now + MEMORY)));
        assert_eq!(due(&requests, made, now + MEMORY), Some(Request::Subscribe));
    }

    #[test]
    fn a_request_that_fails_otherwise_is_repeated_after_pauses_that_double_up_to_an_hour() {
        let mut now = Instant::now();
        let mut requests = Requests::of_product(Some(Product::CacheForRedis));
        assert!(!requests.failed(Request::Subscribe, now));
        assert_eq!(due(&requests, Made::default(), now), None);
        assert_eq!(due(&requests, Made::default(), now + FIRST_PAUSE), Some(Request::Subscribe));
        requests.granted(Request::Subscribe, &mut Made::default());
        assert!(!requests.failed(Request::Subscribe, now), "not in a row");
        now += FIRST_PAUSE;
        for pause in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600] {
            assert!(requests.failed(Request::Subscribe, now) && !requests.is_granted());
            let next = requests.next(Made::default(), now);
            assert_eq!(next, Some((Request::Subscribe, now + Duration::from_secs(pause))));
            now += Duration::from_secs(pause);
        }
    }
}
