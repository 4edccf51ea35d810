//! What was logged about an identity, so that each state is logged once, and again only when it changes.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::certificate::ClientCertificate;
use super::detect::Resolution;
use super::managed::Host;
use super::{EntraIdentity, EntraSource};
use crate::clock::Rfc3339;
use crate::lock::lock;

/// What was logged last about one identity.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    source: Option<EntraSource>,
    token_proxy: Option<String>,
    ignored_client_id: bool,
    slow_command: bool,
    certificate: Option<String>,
}

impl Announced {
    /// Logs which source was chosen for `identity`, whose type is `auto`, and which others the environment offers.
    pub(super) fn source(&self, identity: &EntraIdentity, resolution: &Resolution) {
        let Resolution { source, because, others } = resolution;
        let mut said = self.said();
        if said.source.as_ref() != Some(source) {
            let chosen = EntraIdentity { source: source.clone(), ..identity.clone() };
            let others: Vec<_> = others.iter().filter(|it| it.is_offered).map(|it| it.name).collect();
            let also_found = (!others.is_empty()).then(|| others.join(", "));
            tracing::info!(%identity, %chosen, because, also_found, "identity source chosen");
            said.source = Some(source.clone());
        }
    }

    /// Logs that tokens of `identity` are requested through the proxy of AKS identity bindings.
    pub(super) fn token_proxy(&self, identity: &EntraIdentity, proxy: &str, server_name: &str) {
        let mut said = self.said();
        if said.token_proxy.as_deref() != Some(proxy) {
            tracing::info!(%identity, proxy, server_name, "identity binding proxy in use");
            said.token_proxy = Some(proxy.to_owned());
        }
    }

    /// Logs that tokens of `identity` are requested with `certificate`.
    pub(super) fn certificate(&self, identity: &EntraIdentity, certificate: &ClientCertificate) {
        let (mut said, thumbprint) = (self.said(), certificate.thumbprint());
        if said.certificate.as_ref() != Some(&thumbprint) {
            let expires_at = certificate.expiry().map(|end| tracing::field::display(Rfc3339(end)));
            tracing::info!(%identity, thumbprint, expires_at, "client certificate in use");
            said.certificate = Some(thumbprint);
        }
    }

    /// Logs that `host` has no use for `AZURE_CLIENT_ID`.
    pub(super) fn ignored_client_id(&self, identity: &EntraIdentity, host: Host) {
        let mut said = self.said();
        if !said.ignored_client_id {
            tracing::warn!(%identity, %host, "AZURE_CLIENT_ID ignored; the host's own identity is used");
            said.ignored_client_id = true;
        }
    }

    /// Logs that the result of `command` is waited for, at most for `limit`.
    pub(super) fn slow_command(&self, identity: &EntraIdentity, command: &str, limit: Duration) {
        let mut said = self.said();
        if !said.slow_command {
            let limit_seconds = limit.as_secs();
            tracing::warn!(%identity, command, limit_seconds, "waiting for the command to return a token");
            said.slow_command = true;
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        lock(&self.0)
    }
}
