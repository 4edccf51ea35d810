//! `auto`: detects the source of Entra tokens from the environment, without network requests.

mod candidate;
mod restriction;

use std::path::Path;

use self::candidate::{Candidate, candidates};
pub(crate) use self::restriction::{Restriction, UnknownCredential, VARIABLE};
use super::managed::Host;
use super::variables::Variables;
use super::{EntraIdentity, EntraSource, FetchError, TokenProxyMode};
use crate::files::{Files, ReadError};

/// The chassis asset tag of every Azure virtual machine.
/// Source: Microsoft Learn, "Azure Instance Metadata Service", and cloud-init's Azure data source.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The signs of a token source in the environment.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    /// The environment variables.
    pub(super) variables: Variables,
    /// The commands on `PATH`.
    pub(super) commands: Vec<&'static str>,
    /// Whether this is an Azure virtual machine, or a container on one.
    pub(super) azure_machine: bool,
    /// The host of managed identities.
    pub(super) host: Host,
}

/// The source that `auto` chooses, and what was found of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The source, never [`EntraSource::Auto`].
    pub source: EntraSource,
    /// Why it was chosen.
    pub because: String,
    /// The other sources, in the order of precedence.
    pub others: Vec<Other>,
}

/// A source that `auto` did not choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its type.
    pub name: &'static str,
    /// Whether the environment offers it.
    pub is_offered: bool,
    /// Why it was not chosen.
    pub because: String,
}

impl Resolution {
    /// Finds out what `identity` would use on this machine; `None` unless its type is `auto`.
    ///
    /// # Errors
    /// [`FetchError`] if the environment cannot be read or `AZURE_TOKEN_CREDENTIALS` has an unknown value.
    pub async fn of(identity: &EntraIdentity, files: &Files) -> Result<Option<Self>, FetchError> {
        match &identity.source {
            EntraSource::Auto { client_id, token_proxy } => {
                resolve(client_id.as_deref(), *token_proxy, &Variables::of_process(), files).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Reads the environment and chooses a source; see [`detect`].
pub(super) async fn resolve(
    client_id: Option<&str>,
    token_proxy: TokenProxyMode,
    variables: &Variables,
    files: &Files,
) -> Result<Resolution, FetchError> {
    let environment = Environment::read(variables, files).await.map_err(|error| FetchError {
        is_local: error.is_local(),
        ..FetchError::new(format!("the environment cannot be read: {error}"))
    })?;
    detect(client_id, token_proxy, &environment)
        .map_err(|error| FetchError::new(format!("{VARIABLE}: {error}")))
}

impl Environment {
    /// Reads the environment: the commands, and the kernel's description of the machine.
    ///
    /// # Errors
    /// [`ReadError`] if the agent's own limits prevent it. What hangs does not exist.
    async fn read(variables: &Variables, files: &Files) -> Result<Self, ReadError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let asset_tag = files.read(Path::new("/sys/class/dmi/id/chassis_asset_tag"));
        let commands = files.search(path, &["az", "azd"]);
        let (asset_tag, commands, host) = tokio::join!(asset_tag, commands, Host::of(variables, files));
        let (asset_tag, commands) = (unless_local(asset_tag.content)?, unless_local(commands)?);
        Ok(Self {
            variables: variables.clone(),
            commands: commands.unwrap_or_default(),
            host: host?,
            azure_machine: asset_tag.is_some_and(|tag| tag.trim_ascii() == AZURE_ASSET_TAG.as_bytes()),
        })
    }
}

/// Returns what was found. Only a limit of the agent is an error.
fn unless_local<T>(found: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match found {
        Err(error) if error.is_local() => Err(error),
        found => Ok(found.ok()),
    }
}

/// Chooses the first source that `environment` offers and `AZURE_TOKEN_CREDENTIALS` allows. A configured `client_id` takes
/// precedence over the environment's.
///
/// Nothing that fails later is replaced by the next source: a request that fails for a moment must not change the identity.
fn detect(
    client_id: Option<&str>,
    token_proxy: TokenProxyMode,
    environment: &Environment,
) -> Result<Resolution, UnknownCredential> {
    let restriction = Restriction::named_by(&environment.variables)?;
    let mut candidates = candidates(client_id, token_proxy, environment);
    let allows = |candidate: &Candidate| restriction.allows(candidate.credential);
    let offered = candidates.iter().position(|it| allows(it) && it.sign.is_ok());
    let is_fallback = |it: &Candidate| it.credential == restriction.fallback();
    // There is one candidate of each credential at least.
    let place = offered.or_else(|| candidates.iter().position(is_fallback)).unwrap_or_default();
    let chosen = candidates.remove(place);
    let others = candidates.into_iter().enumerate().map(|(at, candidate)| {
        let is_offered = candidate.sign.is_ok();
        let because = match candidate.sign {
            _ if !restriction.allows(candidate.credential) => format!("{restriction} excludes it"),
            Ok(sign) if at >= place => format!("{} takes precedence, although {sign}", chosen.name),
            Ok(sign) | Err(sign) => sign,
        };
        Other { name: candidate.name, is_offered, because }
    });
    Ok(Resolution {
        others: others.collect(),
        because: chosen.sign.unwrap_or_else(|_| restriction.without_sign()),
        source: chosen.source,
    })
}

#[cfg(test)]
mod tests;
