//! Managed identities: tokens from the endpoint of the host that the agent runs on.
//!
//! Azure has one protocol per kind of host, each in a file of its own: which variables or files name the endpoint, how a
//! request and its secret look, and by which parameter it names a user-assigned identity. `host.rs` finds out which host
//! it is, `reply.rs` reads the token, `advice.rs` says what to do without one.
//!
//! This is not the client of `azure_identity`: that one knows App Service and IMDS only, refuses expiry times that are not
//! text, does not compare the identity that answers with the one that was asked for, and retries on its own.

mod advice;
mod app_service;
mod arc;
mod cloud_shell;
mod endpoint;
mod host;
mod imds;
mod machine_learning;
mod reply;
#[cfg(test)]
mod tests;

use std::path::Path;

use bytes::Bytes;
use hyper::{Request, Response};

use self::advice::advice;
use self::endpoint::Call;
pub(super) use self::host::Host;
use self::reply::Echo;
pub(super) use self::reply::Reply;
use super::platform::Platform;
use super::refusal::{explanation, fetch_error};
use super::transport::{Route, TransportError};
use super::{FetchError, ManagedIdentityId, Token};
use crate::error::Chain;
use crate::secret::Secret;

/// The identity that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Its id.
    pub(super) id: &'a ManagedIdentityId,
    /// Whether the id is only `AZURE_CLIENT_ID`, found by `auto`: a host that has no use for it answers without it.
    pub(super) is_hint: bool,
    /// The scope of the token.
    pub(super) scope: &'a str,
}

impl Wanted<'_> {
    /// Returns the resource that the scope names, as managed identities call it.
    fn resource(&self) -> &str {
        self.scope.strip_suffix("/.default").unwrap_or(self.scope)
    }

    /// Returns the name and value of the parameter for the id; `None` for the system-assigned identity.
    fn parameter<'p>(&'p self, names: &Names) -> Option<(&'static str, &'p str)> {
        match self.id {
            ManagedIdentityId::System => None,
            ManagedIdentityId::ClientId(id) => Some((names.client, id)),
            ManagedIdentityId::ObjectId(id) => Some((names.object, id)),
            ManagedIdentityId::ResourceId(id) => Some((names.resource, id)),
        }
    }

    /// The same without an id.
    fn system(self) -> Self {
        Self { id: &ManagedIdentityId::System, ..self }
    }
}

/// What a host calls the ids of an identity.
struct Names {
    client: &'static str,
    object: &'static str,
    resource: &'static str,
}

/// A token, and what is remarkable about it.
#[derive(Debug)]
pub(super) struct Answer {
    /// The token.
    pub(super) token: Token,
    /// The host that has no use for `AZURE_CLIENT_ID`, and answered without it.
    pub(super) without_hint: Option<Host>,
}

/// Requests a token of the `wanted` identity from the host of `platform`.
pub(super) async fn fetch(wanted: Wanted<'_>, platform: &Platform) -> Result<Answer, FetchError> {
    let host = Host::of(&platform.variables, &platform.files).await.map_err(|error| FetchError {
        is_local: error.is_local(),
        ..FetchError::new(format!("the host cannot be detected: {error}"))
    })?;
    fetch_from(host, wanted, platform, Path::new(arc::KEYS)).await
}

/// Requests a token from `host`, which as Azure Arc has its keys in the folder `arc_keys`.
async fn fetch_from(
    host: Host,
    wanted: Wanted<'_>,
    platform: &Platform,
    arc_keys: &Path,
) -> Result<Answer, FetchError> {
    let has_no_ids = matches!(host, Host::CloudShell);
    let asked = if has_no_ids && wanted.is_hint { wanted.system() } else { wanted };
    let variables = &platform.variables;
    let default = match (host, asked.id) {
        (Host::MachineLearning, ManagedIdentityId::System) => machine_learning::default_identity(variables),
        _ => None,
    };
    let asked = Wanted { id: default.as_ref().unwrap_or(asked.id), ..asked };
    let call = match host {
        Host::ServiceFabric => return Err(host::service_fabric()),
        Host::AppService => app_service::call(&asked, variables)?,
        Host::MachineLearning => machine_learning::call(&asked, variables)?,
        Host::CloudShell => cloud_shell::call(&asked, variables)?,
        Host::Arc => arc::call(&asked, platform, arc_keys).await?,
        Host::Imds => imds::call(&asked, variables)?,
    };
    let refused = |text: String, advice| FetchError { advice, ..fetch_error(&text, &call.secrets) };
    let response = send(&call, platform).await?;
    let status = response.status().as_u16();
    if status != 200 {
        let explanation = explanation(&response);
        let advice = advice(&wanted, variables, status, &explanation);
        return Err(refused(format!("HTTP {status}: {explanation}"), advice));
    }
    let not_a_token = |text: &str| refused(format!("HTTP 200, but not a token: {text}"), None);
    let reply = Reply::parse(response.body()).map_err(not_a_token)?;
    let is_other = match reply.echo(asked.id) {
        Echo::Same => false,
        // Only Azure Arc is known to ignore an id and to answer as the system-assigned identity.
        Echo::Missing => host == Host::Arc,
        Echo::Other => true,
    };
    if is_other && !(wanted.is_hint && host == Host::Arc) {
        let advice = match default {
            Some(_) => Some(advice::OTHER_THAN_DEFAULT),
            None => wanted.is_hint.then_some(advice::OTHER_THAN_HINT),
        };
        return Err(refused(reply.other_identity(asked.id, host), advice));
    }
    let without_hint = (wanted.is_hint && (has_no_ids || is_other)).then_some(host);
    let token = reply.token(platform.clock.now()).map_err(not_a_token)?;
    Ok(Answer { token, without_hint })
}

/// Sends a request straight to its endpoint: a proxy would get its own identity, or not reach it.
async fn send(call: &Call, platform: &Platform) -> Result<Response<Bytes>, FetchError> {
    let route = Route::Direct { tls: None, server_name: None };
    let request: Request<Bytes> = call.request.clone();
    platform.transport.send(request, &route).await.map_err(|error| FetchError {
        is_local: matches!(error, TransportError::LocalLimit(_)),
        ..fetch_error(&Chain(&error).to_string(), &call.secrets)
    })
}

/// Returns an error for an id of a kind that the host does not take.
fn unsupported_id(host: Host, takes: &str) -> FetchError {
    FetchError::new(format!("{host} {takes}"))
}

/// A secret that a request carries, for redaction.
fn secrets(secret: &Secret) -> Vec<Secret> {
    vec![secret.clone()]
}
