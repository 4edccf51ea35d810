//! A selection of targets by name, address and state: the parameters `q` and `state` of the pages.

use std::fmt;

use super::Verdict;
use crate::closed_set::closed_set;

closed_set! {
    /// A state that pages select by.
    pub enum StateFilter {
        /// The last probe succeeded.
        Up = "up",
        /// The last probe failed.
        Down = "down",
        /// The same as `down`.
        Failing = "failing",
        /// No probe has completed yet.
        Unknown = "unknown",
    }
}

impl StateFilter {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Up => Verdict::Up,
            Self::Down | Self::Failing => Verdict::Down,
            Self::Unknown => Verdict::Unknown,
        }
    }
}

/// A selection of targets. The default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In lower case.
    text: String,
    state: Option<StateFilter>,
}

impl Filter {
    /// Creates the selection of the targets in `state` whose name or address contains `text`, in upper or lower case. An
    /// empty one selects nothing away.
    ///
    /// # Errors
    /// [`UnknownState`] if no target can be in `state`.
    pub fn new(text: &str, state: &str) -> Result<Self, UnknownState> {
        let known = StateFilter::ALL.into_iter().find(|known| known.as_str() == state);
        if known.is_none() && !state.is_empty() {
            return Err(UnknownState);
        }
        Ok(Self { text: text.trim().to_lowercase(), state: known })
    }

    /// Whether a target with this name and address is selected.
    #[must_use]
    pub fn selects_text(&self, name: &str, address: &str) -> bool {
        let has_text = |text: &str| text.to_lowercase().contains(&self.text);
        self.text.is_empty() || has_text(name) || has_text(address)
    }

    /// Whether a target in this state is selected.
    #[must_use]
    pub fn selects_state(&self, verdict: Verdict) -> bool {
        self.state.is_none_or(|state| state.verdict() == verdict)
    }
}

/// A state that no target can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownState;

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state: expected one of {}", StateFilter::ALL.map(StateFilter::as_str).join(", "))
    }
}

impl std::error::Error for UnknownState {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::clock::Clock;
    use crate::probe::{Failure, FailureReason, Stage};
    use crate::status::Status;
    use crate::status::tests::outcome;
    use crate::target::Target;

    #[tokio::test(start_paused = true)]
    async fn targets_are_selected_by_name_address_and_state() {
        let status = Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH));
        let [up, down, _unknown] =
            ["Orders", "orders-eu", "baskets"].map(|name| status.target(&Target::plain(name)));
        let failure = Failure::new(FailureReason::Closed, Stage::Idle, "");
        up.record(&outcome(Ok(())), 1, Duration::ZERO, true, SystemTime::UNIX_EPOCH);
        down.record(&outcome(Err(failure)), 1, Duration::ZERO, false, SystemTime::UNIX_EPOCH);
        for (text, state, expected) in [
            ("", "", "Orders baskets orders-eu"),
            (" oRDERS ", "", "Orders orders-eu"),
            ("LOCALHOST:6380", "", "Orders baskets orders-eu"),
            ("", "up", "Orders"),
            ("", "down", "orders-eu"),
            ("", "failing", "orders-eu"),
            ("", "unknown", "baskets"),
            ("baskets", "up", ""),
            ("eu", "down", "orders-eu"),
        ] {
            let filter = Filter::new(text, state).unwrap();
            let document: serde_json::Value = serde_json::from_reader(status.text(filter).unwrap()).unwrap();
            let targets = document["targets"].as_array().unwrap();
            let names: Vec<_> = targets.iter().map(|target| target["target"].as_str().unwrap()).collect();
            assert_eq!(names.join(" "), expected, "{text:?} {state:?}");
        }
    }

    #[test]
    fn a_state_that_does_not_exist_is_an_error_with_those_that_do() {
        for state in ["UP", "connected", " up"] {
            let error = Filter::new("", state).unwrap_err();
            assert_eq!(error.to_string(), "state: expected one of up, down, failing, unknown", "{state}");
        }
    }
}
