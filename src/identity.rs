//! Identities: where a target's credentials come from, and their tokens.
//!
//! The configuration selects an [`Identity`]. A [`TokenSource`] fetches its tokens; `entra.rs` has the one for Entra,
//! [`refresh`] calls it, and [`sign_in`] hands the tokens to probers. Only `azure.rs` and its folder use `azure_*`.

mod announced;
pub(crate) mod authority;
mod azure;
pub mod certificate;
mod claims;
mod command;
pub mod detect;
mod developer;
pub mod entra;
mod expiry;
mod managed;
pub mod platform;
mod proxies;
pub(crate) mod redaction;
pub mod refresh;
mod refusal;
pub mod sign_in;
pub mod supplied;
#[cfg(test)]
mod testing;
mod token_proxy;
pub mod transport;
pub mod variables;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use self::certificate::CertificateFiles;
use self::claims::Claims;
use self::supplied::SuppliedToken;
use crate::files::ReadError;
use crate::secret::{Secret, SecretSource};

/// The scope of both Azure products, in every cloud.
/// Source: Microsoft Learn, "Use Microsoft Entra ID for cache authentication".
pub const DEFAULT_SCOPE: &str = "https://redis.azure.com/.default";

/// How a target signs in. Two targets with equal identities share one token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A Microsoft Entra token.
    Entra(EntraIdentity),
    /// A token that a file or a command supplies.
    Token(SuppliedToken),
    /// The cache's access key, as the password of the default user.
    AccessKey(SecretSource),
    /// An ACL user's password.
    Password(SecretSource),
    /// No sign-in.
    None,
}

impl Identity {
    /// Returns the identity whose tokens are refreshed, if it has any.
    #[must_use]
    pub fn of_tokens(&self) -> Option<TokenIdentity> {
        match self {
            Self::Entra(identity) => Some(TokenIdentity::Entra(identity.clone())),
            Self::Token(supplied) => Some(TokenIdentity::Supplied(supplied.clone())),
            Self::AccessKey(_) | Self::Password(_) | Self::None => None,
        }
    }
}

/// An identity that has tokens, which a refresh loop renews.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenIdentity {
    /// Tokens of Entra ID.
    Entra(EntraIdentity),
    /// Those of a file or a command.
    Supplied(SuppliedToken),
}

impl fmt::Display for TokenIdentity {
    /// Writes the value of the label `identity`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entra(identity) => identity.fmt(f),
            Self::Supplied(identity) => identity.fmt(f),
        }
    }
}

/// An Entra identity and the tokens to request for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntraIdentity {
    /// Where its tokens come from.
    pub source: EntraSource,
    /// The scope of the tokens; see [`DEFAULT_SCOPE`].
    pub scope: String,
    /// The authority's host with `https://`. The default is `AZURE_AUTHORITY_HOST`, then the public cloud. Managed
    /// identities and the command-line tools do not use it.
    pub authority: Option<String>,
}

/// Where Entra tokens come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntraSource {
    /// The first of the other sources that the environment offers; see `detect.rs`.
    Auto {
        /// The client id of a user-assigned identity.
        client_id: Option<String>,
        /// Whether a workload identity uses the proxy of AKS identity bindings.
        token_proxy: TokenProxyMode,
    },
    /// A managed identity of the host: App Service, a virtual machine and others.
    ManagedIdentity(ManagedIdentityId),
    /// A Kubernetes service account's token, exchanged for an Entra token. The fields default to `AZURE_CLIENT_ID`,
    /// `AZURE_TENANT_ID` and `AZURE_FEDERATED_TOKEN_FILE`.
    WorkloadIdentity {
        /// The application's or managed identity's client id.
        client_id: Option<String>,
        /// The tenant.
        tenant_id: Option<String>,
        /// The projected service account token.
        token_file: Option<PathBuf>,
        /// Whether it uses the proxy of AKS identity bindings.
        token_proxy: TokenProxyMode,
    },
    /// A service principal's secret. The fields default to `AZURE_CLIENT_ID`, `AZURE_TENANT_ID` and
    /// `AZURE_CLIENT_SECRET`.
    ClientSecret {
        /// The application's client id.
        client_id: Option<String>,
        /// The tenant.
        tenant_id: Option<String>,
        /// The source of the secret.
        secret: Option<SecretSource>,
    },
    /// A service principal's certificate. The fields default to `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
    /// `AZURE_CLIENT_CERTIFICATE_PATH` and `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN`.
    ClientCertificate {
        /// The application's client id.
        client_id: Option<String>,
        /// The tenant.
        tenant_id: Option<String>,
        /// The files of the certificate and its key.
        files: Option<CertificateFiles>,
        /// Whether the certificates are sent with each request.
        send_chain: Option<bool>,
    },
    /// `az account get-access-token`.
    AzureCli(AzureAccount),
    /// `azd auth token`.
    AzureDeveloperCli {
        /// The tenant. The default is `AZURE_TENANT_ID`, then that of the sign-in.
        tenant_id: Option<String>,
    },
}

/// An account of the Azure CLI, which takes a tenant or a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AzureAccount {
    /// That of the tenant `AZURE_TENANT_ID`, otherwise the current one.
    Default,
    /// That of a tenant.
    Tenant(String),
    /// That of a subscription: its name or id.
    Subscription(String),
}

/// Whether a workload identity exchanges its service account token through the proxy of AKS identity bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenProxyMode {
    /// Where the variables of the pod name a proxy and the token file.
    Auto,
    /// Never.
    Off,
}

/// A managed identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ManagedIdentityId {
    /// The system-assigned one.
    System,
    /// User-assigned, by its client id.
    ClientId(String),
    /// User-assigned, by its object (principal) id.
    ObjectId(String),
    /// User-assigned, by its Azure resource id.
    ResourceId(String),
}

impl fmt::Display for EntraIdentity {
    /// Writes the value of the label `identity`: the type, the ids, and the scope and authority if they are not the
    /// default ones. Secrets and their sources are left out: identities in one configuration never differ only in those.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_id = |f: &mut fmt::Formatter<'_>, name: &str, id: Option<&str>| match id {
            Some(id) => write!(f, "{name}:{id}"),
            None => f.write_str(name),
        };
        match &self.source {
            EntraSource::Auto { client_id, .. } => with_id(f, "auto", client_id.as_deref()),
            EntraSource::ManagedIdentity(id) => match id {
                ManagedIdentityId::System => f.write_str("managed_identity"),
                ManagedIdentityId::ClientId(id)
                | ManagedIdentityId::ObjectId(id)
                | ManagedIdentityId::ResourceId(id) => write!(f, "managed_identity:{id}"),
            },
            EntraSource::WorkloadIdentity { client_id, tenant_id, .. } => {
                with_id(f, "workload_identity", client_id.as_deref())?;
                tenant_id.as_ref().map_or(Ok(()), |tenant| write!(f, "@{tenant}"))
            }
            EntraSource::ClientSecret { client_id, tenant_id, .. } => {
                with_id(f, "client_secret", client_id.as_deref())?;
                tenant_id.as_ref().map_or(Ok(()), |tenant| write!(f, "@{tenant}"))
            }
            EntraSource::ClientCertificate { client_id, tenant_id, .. } => {
                with_id(f, "client_certificate", client_id.as_deref())?;
                tenant_id.as_ref().map_or(Ok(()), |tenant| write!(f, "@{tenant}"))
            }
            EntraSource::AzureCli(account) => match account {
                AzureAccount::Default => f.write_str("azure_cli"),
                AzureAccount::Tenant(tenant) => write!(f, "azure_cli@{tenant}"),
                AzureAccount::Subscription(subscription) => write!(f, "azure_cli:{subscription}"),
            },
            EntraSource::AzureDeveloperCli { tenant_id } => {
                f.write_str("azure_developer_cli")?;
                tenant_id.as_ref().map_or(Ok(()), |tenant| write!(f, "@{tenant}"))
            }
        }?;
        if self.scope != DEFAULT_SCOPE {
            write!(f, " {}", self.scope)?;
        }
        self.authority.as_ref().map_or(Ok(()), |authority| write!(f, " {authority}"))
    }
}

/// An Entra access token, or one that was supplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The password for the cache.
    pub secret: Secret,
    /// When it expires, by the wall clock.
    pub expires_at: SystemTime,
    /// The claim `oid`: the identity's object id, which is the Redis user name. One printable word of at most
    /// [`Self::OBJECT_ID_LENGTH`] bytes, safe in a log line.
    pub object_id: Option<Arc<str>>,
    /// The Redis user of a supplied token; `None` for one of Entra. One printable word.
    pub username: Option<Arc<str>>,
    /// Whether nothing says when it expires. The same token is then as good as a new one.
    pub is_expiry_assumed: bool,
}

impl Token {
    /// The longest object id, in bytes. Entra's are GUIDs of 36 bytes.
    pub const OBJECT_ID_LENGTH: usize = 128;

    /// Creates a token and reads the claim `oid` from `secret`. The cache verifies the signature.
    #[must_use]
    pub fn new(secret: Secret, expires_at: SystemTime) -> Self {
        let object_id = Claims::of(secret.expose()).object_id();
        Self { secret, expires_at, object_id, username: None, is_expiry_assumed: false }
    }

    /// Returns the claims `appid` and `xms_mirid`: the client id and the Azure resource id of the identity that answered,
    /// as far as the token names them. Each is one printable word of bounded length.
    #[must_use]
    pub fn identity(&self) -> (Option<Arc<str>>, Option<Arc<str>>) {
        let claims = Claims::of(self.secret.expose());
        (claims.client_id(), claims.resource_id())
    }
}

/// The credentials for signing in to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// No sign-in.
    None,
    /// An access key, or an ACL user's password.
    Password {
        /// The user; `None` is the default user.
        username: Option<Arc<str>>,
        /// The key or password.
        secret: Secret,
    },
    /// A token.
    Token {
        /// The user: with Entra, the identity's object id.
        username: Arc<str>,
        /// The token.
        token: Arc<Token>,
    },
}

/// Fetches tokens of one identity.
pub trait TokenSource: Send + Sync {
    /// Requests a token once. It may be the same token as last time. To apply a timeout, the caller drops the future.
    fn fetch(&self) -> FetchFuture<'_>;

    /// Whether the last request runs a command, such as `az`. It then has a timeout of its own, and another request
    /// beside it would only wait for it.
    fn runs_command(&self) -> bool {
        false
    }

    /// Whether a fetched token is always the latest, even if it ends sooner than the previous one: nothing caches it.
    fn is_latest(&self) -> bool {
        false
    }

    /// Waits until the next token may differ from the last one, where that can be watched. Cancel safe.
    fn changed(&self) -> ChangeFuture<'_> {
        Box::pin(std::future::pending())
    }
}

/// The future of [`TokenSource::changed`].
pub type ChangeFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The future of [`TokenSource::fetch`].
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, FetchError>> + Send + 'a>>;

/// The request for a token failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError {
    /// One line, bounded and without secrets.
    pub text: Box<str>,
    /// Whether the agent's own limits are the cause.
    pub is_local: bool,
    /// What to do about it, where more is known than that there is no token.
    pub advice: Option<&'static str>,
}

impl FetchError {
    /// An error for which the agent's limits are not to blame.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), is_local: false, advice: None }
    }

    /// The file at `path` cannot be read.
    fn unreadable(path: &Path, error: &ReadError) -> Self {
        let text = format!("{} cannot be read: {error}", path.display());
        Self { is_local: error.is_local(), ..Self::new(text) }
    }

    /// Blames the agent's limits if these are the cause, and otherwise says what to do.
    fn blaming(self, is_local: bool, advice: &'static str) -> Self {
        Self { is_local, advice: (!is_local).then_some(advice), ..self }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for FetchError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_has_the_type_and_ids_and_no_defaults() {
        let identity = |source| EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
        for (account, expected) in [
            (AzureAccount::Default, "azure_cli"),
            (AzureAccount::Tenant("t".into()), "azure_cli@t"),
            (AzureAccount::Subscription("s".into()), "azure_cli:s"),
        ] {
            assert_eq!(identity(EntraSource::AzureCli(account)).to_string(), expected);
        }
        let by_client = EntraSource::ManagedIdentity(ManagedIdentityId::ClientId("c1".into()));
        assert_eq!(identity(by_client.clone()).to_string(), "managed_identity:c1");
        let elsewhere = EntraIdentity {
            source: by_client,
            scope: "s/.default".into(),
            authority: Some("https://login.microsoftonline.us".into()),
        };
        assert_eq!(elsewhere.to_string(), "managed_identity:c1 s/.default https://login.microsoftonline.us");
    }
}
