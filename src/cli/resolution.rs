//! What an identity of the type `auto` uses on this machine, for the output of commands.

use serde::Serialize;

use crate::files::Files;
use crate::identity::detect::{Other, Resolution};
use crate::identity::{EntraIdentity, FetchError};

/// The source that was chosen, and why the others were not.
#[derive(Debug, Serialize)]
pub(super) struct ResolutionDocument {
    /// The identity as it would be configured.
    chosen: String,
    because: String,
    /// The other sources, in the order of precedence.
    others: Vec<OtherDocument>,
}

#[derive(Debug, Serialize)]
struct OtherDocument {
    r#type: &'static str,
    because: String,
}

impl ResolutionDocument {
    /// Describes what `identity` uses; `None` unless its type is `auto`.
    pub(super) async fn of(identity: &EntraIdentity, files: &Files) -> Result<Option<Self>, FetchError> {
        let Some(Resolution { source, because, others }) = Resolution::of(identity, files).await? else {
            return Ok(None);
        };
        let chosen = EntraIdentity { source, ..identity.clone() }.to_string();
        let other = |Other { name, because, .. }| OtherDocument { r#type: name, because };
        Ok(Some(Self { chosen, because, others: others.into_iter().map(other).collect() }))
    }

    /// Returns the lines of the text.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let chosen = format!("auto chose {}: {}", self.chosen, self.because);
        let others =
            self.others.iter().map(|OtherDocument { r#type, because }| format!("not {type}: {because}"));
        std::iter::once(chosen).chain(others)
    }
}
