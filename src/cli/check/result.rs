//! The result of `cachepulse check` for one target. Its fields are the JSON output; `text.rs` writes the text.

use serde::Serialize;

use crate::cli::resolution::ResolutionDocument;
use crate::clock::Rfc3339;
use crate::config::flags::with_flags;
use crate::connection::client_list::Client;
use crate::connection::tls::certificate::Certificate;
use crate::connection::trace::{AskedSentinel, Findings};
use crate::identity::Identity;
use crate::probe::{Phase, Stage};
use crate::prober::Probed;
use crate::status::{
    ClientDocument, ClusterDocument, IdentityDocument, MaintenanceDocument, OutcomeDocument,
    SentinelDocument, ServerDocument, StatusDocument,
};
use crate::target::Target;

/// The result for one target: the outcome as in `/status`, and details of the connection.
#[derive(Debug, Serialize)]
pub(super) struct CheckResult {
    pub(super) target: String,
    pub(super) endpoint: String,
    #[serde(flatten)]
    pub(super) outcome: OutcomeDocument,
    /// What the server says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<ServerDocument>,
    /// The cluster that the target is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<ClusterDocument>,
    /// What its sentinels say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sentinel: Option<SentinelDocument>,
    /// What the cache has announced of maintenance. `None` where nobody asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maintenance: Option<MaintenanceDocument>,
    pub(super) connection: ConnectionDocument,
    /// The phase that failed.
    #[serde(skip)]
    pub(super) failed: Option<Phase>,
}

/// Details of the connection, even if it failed.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionDocument {
    /// The identity and its token. `None` without an Entra identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<IdentityDocument>,
    /// What an identity of the type `auto` uses here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resolution: Option<ResolutionDocument>,
    /// The user that the connection signs in as. `None` without sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    /// The sentinels that were asked for the primary, in the order of their answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sentinels: Vec<AskedDocument>,
    /// The resolved addresses, without ports.
    pub(super) addresses: Vec<String>,
    /// The addresses to which a connection was attempted, in order.
    pub(super) tried: Vec<TriedDocument>,
    /// The address that accepted the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_version: Option<&'static str>,
    /// The server's certificate, trusted or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<CertificateDocument>,
}

/// A sentinel that was asked for the primary.
#[derive(Debug, Serialize)]
pub(super) struct AskedDocument {
    pub(super) sentinel: String,
    /// The address that it named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) primary: Option<String>,
    /// Why it named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// An attempt to connect to an address.
#[derive(Debug, Serialize)]
pub(super) struct TriedDocument {
    pub(super) address: String,
    /// The system's error; `None` if the connection was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct CertificateDocument {
    pub(super) subject: String,
    pub(super) names: Vec<String>,
    pub(super) issuer: String,
    pub(super) valid_from: Option<Rfc3339>,
    pub(super) expiry: Option<Rfc3339>,
}

impl CheckResult {
    /// Describes `probed` with at most `clients` clients. `status` is the agent's current status. The
    /// advice names flags if the target `is_of_flags`.
    pub(super) fn new(
        target: &Target,
        probed: &Probed,
        findings: Findings,
        resolution: Option<ResolutionDocument>,
        status: &StatusDocument,
        clients: usize,
        is_of_flags: bool,
    ) -> Self {
        let mut outcome = OutcomeDocument::new(&probed.outcome, status.time.0, None);
        if let Some(failure) = outcome.failure.as_mut().filter(|_| is_of_flags) {
            failure.advice = with_flags(&failure.advice).into();
        }
        let known = status.targets.iter().find(|known| known.target == target.name.as_str());
        let mut cluster = known.and_then(|known| known.cluster.clone());
        if let Some(cluster) = cluster.as_mut().filter(|_| is_of_flags) {
            for failure in cluster.failures_mut() {
                failure.advice = with_flags(&failure.advice).into();
            }
        }
        let mut maintenance = known.and_then(|known| known.maintenance.clone());
        if let Some(advice) = maintenance.as_mut().and_then(|it| it.advice.as_mut()).filter(|_| is_of_flags) {
            *advice = with_flags(advice).into();
        }
        if let (Some(document), Some(list)) = (&mut outcome.clients, &probed.clients) {
            let listed: Vec<_> = list.clients.iter().take(clients).map(ClientDocument::from).collect();
            document.truncated = Some((listed.len() as u64) < document.count);
            document.list = Some(listed);
        }
        Self {
            target: target.name.to_string(),
            endpoint: target.server.to_string(),
            outcome,
            server: known.and_then(|known| known.server.clone()),
            cluster,
            sentinel: known.and_then(|known| known.sentinel.clone()),
            maintenance,
            connection: ConnectionDocument::new(target, findings, resolution, status),
            // The phases are those of the connection to the configured host.
            failed: probed.outcome.result.as_ref().err().and_then(|failure| match failure.stage {
                Stage::Phase(phase) if failure.slots.is_none() => Some(phase),
                _ => None,
            }),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists of them always serialise")
    }
}

impl ConnectionDocument {
    fn new(
        target: &Target,
        findings: Findings,
        resolution: Option<ResolutionDocument>,
        status: &StatusDocument,
    ) -> Self {
        let token = match &*target.identity {
            identity @ (Identity::Entra(_) | Identity::Token(_)) => {
                let label = identity.of_tokens().map(|tokens| tokens.to_string()).unwrap_or_default();
                status.identities.iter().find(|identity| *identity.identity == *label).cloned()
            }
            _ => None,
        };
        let configured = target.username.as_deref().map(ToOwned::to_owned);
        let username = match &*target.identity {
            Identity::None => None,
            Identity::AccessKey(_) | Identity::Password(_) => {
                configured.or_else(|| Some("default".to_owned()))
            }
            Identity::Entra(_) | Identity::Token(_) => configured.or_else(|| {
                token.as_ref().and_then(|token| token.object_id.as_deref()).map(ToOwned::to_owned)
            }),
        };
        let refused = findings.refused.into_iter().map(|(address, error)| (address, Some(error)));
        let tried = refused.chain(findings.connected.map(|address| (address, None)));
        Self {
            token,
            resolution,
            username,
            sentinels: findings.sentinels.iter().map(Into::into).collect(),
            addresses: findings.addresses.iter().map(|address| address.ip().to_string()).collect(),
            tried: tried
                .map(|(address, error)| TriedDocument { address: address.to_string(), error })
                .collect(),
            address: findings.connected.map(|address| address.to_string()),
            tls_version: findings.tls_version,
            certificate: findings.certificate.as_ref().and_then(Certificate::parse).map(Into::into),
        }
    }
}

impl From<&AskedSentinel> for AskedDocument {
    fn from(AskedSentinel { sentinel, answer }: &AskedSentinel) -> Self {
        let (primary, error) = match answer {
            Ok(address) => (Some(address.to_string()), None),
            Err(error) => (None, Some(error.clone())),
        };
        Self { sentinel: sentinel.to_string(), primary, error }
    }
}

impl From<Certificate> for CertificateDocument {
    fn from(Certificate { subject, names, issuer, valid_from, expiry }: Certificate) -> Self {
        Self { subject, names, issuer, valid_from: valid_from.map(Rfc3339), expiry: expiry.map(Rfc3339) }
    }
}

impl From<&Client> for ClientDocument {
    fn from(Client { id, addr }: &Client) -> Self {
        Self { id: *id, addr: addr.to_string() }
    }
}
