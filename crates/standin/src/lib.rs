//! A local Azure, for `cachepulse demo` and for tests: an identity endpoint that issues short-lived tokens, and a cache
//! that accepts a token until it expires. Everything listens on 127.0.0.1, with keys and certificates that are new at
//! each start.
//!
//! It behaves like Azure as far as a health agent can observe. Tests and the demo set faults at run time. This crate does
//! not depend on the agent.

mod authority;
mod ca;
mod clock;
pub mod cluster;
mod endpoint;
mod event;
mod frame;
mod front;
mod hello;
pub mod maintenance;
pub mod outages;
mod ports;
mod reply;
mod secret;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use authority::{
    Authority, BINDING_AUDIENCE, CACHE_AUDIENCES, Claims, EXCHANGE_AUDIENCE, Grant, Rejection, Token,
};
pub use ca::{CertificateAuthority, ServerCertificate};
pub use clock::Clock;
use cluster::Cluster;
pub use cluster::{ClusterHandle, ClusterOptions, Product};
pub use endpoint::{
    Challenge, EndpointHandle, EndpointOptions, ErrorBody, ExpiryForm, IdentityEndpoint, ManagedHost,
    Principal, RequestRecord, Settings, TokenFault,
};
pub use event::{Event, EventSink};
pub use front::{
    Admission, Announcing, Backend, CacheFront, CacheHandle, CacheOptions, CommandFault, Counters, Dialect,
    Ending, FaultReply, Faults, Pieces, Profile,
};
pub use ports::{BindError, Ports, Service, StartError};
pub use secret::Secret;

/// The name in the certificates, and the host to connect to.
pub const HOST: &str = "localhost";

/// The name in the certificate of the proxy of AKS identity bindings, and the value of `AZURE_KUBERNETES_SNI_NAME`.
pub const TOKEN_PROXY_NAME: &str = "token-proxy.standin.test";

const TENANT_ID: &str = "5f0c2d1e-7a34-4c8b-9d61-2b8e4f10a7c3";
const CLIENT_ID: &str = "c91b7e52-06d4-4f3a-8e2f-7d5a30b4e916";
const OBJECT_ID: &str = "7c3ad8f0-41b9-4e65-b0a2-95e1c86d2f47";
const RESOURCE_ID: &str = "/subscriptions/3e8a6b1c-9f02-4d57-8c43-1a7be05d94f2/resourceGroups/lab/providers/\
                           Microsoft.ManagedIdentity/userAssignedIdentities/cachepulse";

/// How a local Azure is set up.
pub struct Options {
    /// The wall clock, for tokens and certificates.
    pub clock: Clock,
    /// The ports to listen on.
    pub ports: Ports,
    /// How long tokens are valid, in whole seconds.
    pub token_lifetime: Duration,
    /// The backend that executes the cache's commands, unless it is a cluster.
    pub backend: Backend,
    /// The shards; `None` for a cache that is one server.
    pub cluster: Option<ClusterOptions>,
    /// Whether the cache speaks TLS. Without TLS it accepts the access key only.
    pub tls: bool,
    /// Receives events.
    pub events: EventSink,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            ports: Ports::default(),
            token_lifetime: Duration::from_secs(60),
            backend: Backend::Memory,
            cluster: None,
            tls: true,
            events: Arc::new(|_| {}),
        }
    }
}

/// The cache of a local Azure.
enum Cache {
    One(CacheFront),
    Cluster(Cluster),
}

impl Cache {
    fn front(&self) -> &CacheFront {
        match self {
            Self::One(front) => front,
            Self::Cluster(cluster) => &cluster.door,
        }
    }
}

/// A local Azure with one identity and one cache. The identity is both system-assigned and user-assigned, and has an
/// access policy on the cache. Everything stops when this is dropped.
pub struct Standin {
    ca: CertificateAuthority,
    token_proxy_ca: CertificateAuthority,
    authority: Arc<Authority>,
    endpoint: IdentityEndpoint,
    cache: Cache,
    header: Secret,
    client_secret: Secret,
    access_key: Secret,
}

impl Standin {
    /// Starts everything.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let ca = CertificateAuthority::new(options.clock.clone())?;
        let token_proxy_ca = CertificateAuthority::new(options.clock.clone())?;
        let authority = Arc::new(Authority::new(TENANT_ID, options.clock)?);
        let (header, client_secret, access_key) =
            (authority.new_secret()?, authority.new_secret()?, authority.new_secret()?);
        let endpoint = IdentityEndpoint::start(
            EndpointOptions {
                http_port: options.ports.identity,
                https_port: options.ports.authority,
                certificate: ca.issue(&[HOST])?,
                token_proxy: (TOKEN_PROXY_NAME, token_proxy_ca.issue(&[TOKEN_PROXY_NAME])?),
                principals: vec![Principal {
                    object_id: OBJECT_ID.to_owned(),
                    client_id: CLIENT_ID.to_owned(),
                    resource_id: Some(RESOURCE_ID.to_owned()),
                    system_assigned: true,
                }],
                header: header.clone(),
                client_secret: client_secret.clone(),
                lifetime: options.token_lifetime,
                events: Arc::clone(&options.events),
            },
            Arc::clone(&authority),
        )
        .await?;
        let cache = CacheOptions {
            port: options.ports.cache,
            service: Service::Cache,
            certificate: if options.tls { Some(ca.issue(&[HOST])?) } else { None },
            policies: vec![OBJECT_ID.to_owned()],
            access_keys: vec![access_key.clone()],
            events: options.events,
        };
        let cache = match options.cluster {
            None => Cache::One(CacheFront::start(options.backend, cache, Arc::clone(&authority))?),
            Some(cluster) => Cache::Cluster(Cluster::start(cluster, cache, &authority)?),
        };
        Ok(Self { ca, token_proxy_ca, authority, endpoint, cache, header, client_secret, access_key })
    }

    /// Returns the value of `IDENTITY_ENDPOINT` on App Service.
    #[must_use]
    pub fn identity_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/msi/token", self.endpoint.http_port())
    }

    /// Returns the value of `IDENTITY_HEADER` on App Service.
    #[must_use]
    pub fn identity_header(&self) -> &Secret {
        &self.header
    }

    /// Returns the variables of a process on `host`.
    #[must_use]
    pub fn host_variables(&self, host: ManagedHost) -> Vec<(&'static str, String)> {
        let base = format!("http://127.0.0.1:{}", self.endpoint.http_port());
        let endpoint = format!("{base}{}", host.path());
        let secret = self.header.expose().to_owned();
        match host {
            ManagedHost::AppService => vec![("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", secret)],
            // For virtual machines it is `http://169.254.169.254`, and there is no variable.
            ManagedHost::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", base)],
            ManagedHost::Arc => vec![("IDENTITY_ENDPOINT", endpoint), ("IMDS_ENDPOINT", base)],
            ManagedHost::MachineLearning => vec![("MSI_ENDPOINT", endpoint), ("MSI_SECRET", secret)],
            ManagedHost::CloudShell => vec![("MSI_ENDPOINT", endpoint)],
        }
    }

    /// Returns the value of `AZURE_AUTHORITY_HOST` or `identity.authority`.
    #[must_use]
    pub fn authority_url(&self) -> String {
        format!("https://{HOST}:{}", self.endpoint.https_port())
    }

    /// Returns the value of `AZURE_KUBERNETES_TOKEN_PROXY` in a pod with an AKS identity binding. As on an API server, the
    /// proxy is behind its name in SNI, [`TOKEN_PROXY_NAME`]; behind any other is Entra's token service.
    #[must_use]
    pub fn token_proxy_url(&self) -> String {
        format!("{}/token-proxy", self.authority_url())
    }

    /// Returns the only root that is right for the proxy, for `AZURE_KUBERNETES_CA_FILE` or `AZURE_KUBERNETES_CA_DATA`.
    #[must_use]
    pub fn token_proxy_ca_pem(&self) -> String {
        self.token_proxy_ca.pem()
    }

    /// Returns the root of all certificates here but the proxy's, for `tls.ca_file` or `SSL_CERT_FILE`.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// Returns the authority that issues more certificates, valid or invalid ones.
    #[must_use]
    pub fn certificate_authority(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// Returns the authority that signs more tokens, valid or invalid ones.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns a service account's token, for the file of `AZURE_FEDERATED_TOKEN_FILE`. It can be exchanged for the
    /// identity's tokens during `lifetime`.
    pub fn federated_token(&self, lifetime: Duration) -> io::Result<Secret> {
        self.service_account_token(EXCHANGE_AUDIENCE, lifetime)
    }

    /// Returns the token of a service account with an AKS identity binding. Only the proxy exchanges it.
    pub fn binding_token(&self, lifetime: Duration) -> io::Result<Secret> {
        self.service_account_token(BINDING_AUDIENCE, lifetime)
    }

    /// Returns a service account's token for any audience.
    pub fn service_account_token(&self, audience: &str, lifetime: Duration) -> io::Result<Secret> {
        let grant = Grant {
            object_id: None,
            client_id: CLIENT_ID,
            audience,
            issued_at: self.authority.now(),
            lifetime,
        };
        Ok(self.authority.mint(&grant)?.secret)
    }

    /// Returns a token for the cache that the endpoint did not issue.
    pub fn token(&self, lifetime: Duration) -> io::Result<Token> {
        self.authority.mint(&Grant {
            object_id: Some(OBJECT_ID),
            client_id: CLIENT_ID,
            audience: CACHE_AUDIENCES[0],
            issued_at: self.authority.now(),
            lifetime,
        })
    }

    /// Returns the value of `AZURE_TENANT_ID`.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        self.authority.tenant_id()
    }

    /// Returns the value of `AZURE_CLIENT_ID`.
    #[must_use]
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// Returns the identity's Azure resource id.
    #[must_use]
    pub fn resource_id(&self) -> &'static str {
        RESOURCE_ID
    }

    /// Returns the identity's object id, which is the Redis user name.
    #[must_use]
    pub fn object_id(&self) -> &'static str {
        OBJECT_ID
    }

    /// Returns the value of `AZURE_CLIENT_SECRET`.
    #[must_use]
    pub fn client_secret(&self) -> &Secret {
        &self.client_secret
    }

    /// Returns the cache's access key.
    #[must_use]
    pub fn access_key(&self) -> &Secret {
        &self.access_key
    }

    /// Returns the cache's port, on [`HOST`].
    #[must_use]
    pub fn cache_port(&self) -> u16 {
        self.cache.front().port()
    }

    /// Returns the handle that changes the cache while it runs; of a cluster, its front door.
    #[must_use]
    pub fn cache(&self) -> &CacheHandle {
        self.cache.front().handle()
    }

    /// Returns the handle that changes the cluster while it runs, if the cache is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterHandle> {
        match &self.cache {
            Cache::One(_) => None,
            Cache::Cluster(cluster) => Some(&cluster.handle),
        }
    }

    /// Returns the handle that changes the identity endpoint while it runs.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointHandle {
        self.endpoint.handle()
    }
}
