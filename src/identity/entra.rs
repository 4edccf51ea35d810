//! Entra tokens: finds out where a token comes from, and requests it there.
//!
//! Makes one request at a time. The refresh loop schedules and retries requests. Three clients request tokens: `azure.rs`
//! those of service principals and workload identities, `managed.rs` those of managed identities, and `developer.rs`
//! those of developers.

mod certificate;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::announced::Announced;
use super::authority::{TENANT_VARIABLE, tenant};
use super::azure::{self, Grant, Proof};
use super::detect::resolve;
use super::developer::{self, Tool};
use super::managed::{self, Wanted};
use super::platform::Platform;
use super::refusal::fetch_error;
use super::token_proxy::TokenProxy;
use super::{
    AzureAccount, EntraIdentity, EntraSource, FetchError, FetchFuture, ManagedIdentityId, Token,
    TokenProxyMode, TokenSource,
};
use crate::error::Chain;
use crate::files::text_without_mark;
use crate::secret::{Secret, SecretSource};

const NO_WEBHOOK: &str = "In AKS, the workload identity webhook sets the variable when a pod starts that has the label \
                          `azure.workload.identity/use: \"true\"`. Elsewhere, configure the setting.";

/// Fetches the tokens of one Entra identity. Each fetch rereads every file and variable, so that nothing that is rotated
/// needs a restart.
#[derive(Debug)]
pub struct EntraTokens {
    identity: EntraIdentity,
    platform: Platform,
    announced: Announced,
    runs_command: AtomicBool,
}

impl EntraTokens {
    /// Creates a source of tokens of `identity` on `platform`.
    #[must_use]
    pub fn new(identity: EntraIdentity, platform: Platform) -> Self {
        Self { identity, platform, announced: Announced::default(), runs_command: AtomicBool::default() }
    }

    async fn fetch_once(&self) -> Result<Token, FetchError> {
        let source = self.source().await?;
        let runs_command = matches!(source, EntraSource::AzureCli(_) | EntraSource::AzureDeveloperCli { .. });
        self.runs_command.store(runs_command, Ordering::Relaxed);
        let grant = match source {
            // Unreachable: `detect` never returns `Auto`.
            EntraSource::Auto { .. } => return Err(FetchError::new("no source of tokens was detected")),
            EntraSource::ManagedIdentity(id) => return self.managed_identity(&id).await,
            EntraSource::WorkloadIdentity { client_id, tenant_id, token_file, token_proxy } => {
                self.workload_identity(client_id, tenant_id, token_file, token_proxy).await?
            }
            EntraSource::ClientSecret { client_id, tenant_id, secret } => {
                let from_environment = SecretSource::Env("AZURE_CLIENT_SECRET".into());
                Grant {
                    tenant_id: self.required_tenant(tenant_id)?,
                    client_id: self.given_or_set(client_id, "client_id", "AZURE_CLIENT_ID")?,
                    proof: Proof::Secret(self.read(&secret.unwrap_or(from_environment)).await?),
                }
            }
            EntraSource::ClientCertificate { client_id, tenant_id, files, send_chain } => {
                self.client_certificate(client_id, tenant_id, files, send_chain).await?
            }
            EntraSource::AzureCli(account) => {
                let account = match account {
                    AzureAccount::Default => self.tenant(None)?.map_or(account, AzureAccount::Tenant),
                    AzureAccount::Tenant(_) | AzureAccount::Subscription(_) => account,
                };
                return self.developer(&Tool::Az(account)).await;
            }
            EntraSource::AzureDeveloperCli { tenant_id } => {
                return self.developer(&Tool::Azd(self.tenant(tenant_id)?)).await;
            }
        };
        azure::fetch(grant, &self.identity, &self.platform).await
    }

    async fn developer(&self, tool: &Tool) -> Result<Token, FetchError> {
        let waiting = || self.announced.slow_command(&self.identity, tool.name(), developer::LIMIT);
        developer::fetch(tool, &self.identity.scope, &self.platform, waiting).await
    }

    /// Returns the tenant: the `given` one, otherwise that of the environment.
    fn tenant(&self, given: Option<String>) -> Result<Option<String>, FetchError> {
        given.map_or_else(|| tenant(&self.platform.variables), |given| Ok(Some(given)))
    }

    fn required_tenant(&self, given: Option<String>) -> Result<String, FetchError> {
        self.tenant(given)?.ok_or_else(missing_tenant)
    }

    async fn managed_identity(&self, id: &ManagedIdentityId) -> Result<Token, FetchError> {
        let is_hint = matches!(self.identity.source, EntraSource::Auto { client_id: None, .. })
            && self.platform.variables.has("AZURE_CLIENT_ID");
        let wanted = Wanted { id, is_hint, scope: &self.identity.scope };
        let answer = managed::fetch(wanted, &self.platform).await?;
        if let Some(host) = answer.without_hint {
            self.announced.ignored_client_id(&self.identity, host);
        }
        Ok(answer.token)
    }

    /// Returns the identity's source, with `auto` resolved.
    async fn source(&self) -> Result<EntraSource, FetchError> {
        let EntraSource::Auto { client_id, token_proxy } = &self.identity.source else {
            return Ok(self.identity.source.clone());
        };
        let Platform { variables, files, .. } = &self.platform;
        let resolution = resolve(client_id.as_deref(), *token_proxy, variables, files).await?;
        self.announced.source(&self.identity, &resolution);
        Ok(resolution.source)
    }

    /// Reads the service account token and finds out who exchanges it: the proxy that the pod's variables name, if the
    /// token is theirs, too, otherwise Entra ID.
    async fn workload_identity(
        &self,
        client_id: Option<String>,
        tenant_id: Option<String>,
        token_file: Option<PathBuf>,
        token_proxy: TokenProxyMode,
    ) -> Result<Grant, FetchError> {
        let by_webhook = |error| FetchError { advice: Some(NO_WEBHOOK), ..error };
        let injected = |given, key, variable| self.given_or_set(given, key, variable).map_err(by_webhook);
        let tenant_id = self.tenant(tenant_id)?.ok_or_else(|| by_webhook(missing_tenant()))?;
        let client_id = injected(client_id, "client_id", "AZURE_CLIENT_ID")?;
        let proxy = match token_proxy {
            TokenProxyMode::Auto if token_file.is_none() => TokenProxy::named_by(&self.platform.variables)?,
            TokenProxyMode::Auto | TokenProxyMode::Off => None,
        };
        let token_file = match token_file {
            Some(path) => path,
            None => injected(None, "token_file", "AZURE_FEDERATED_TOKEN_FILE")?.into(),
        };
        let assertion = self.read(&SecretSource::File(token_file)).await?;
        let assertion = Secret::new(text_without_mark(assertion.expose()).to_owned());
        if let Some(proxy) = &proxy {
            self.announced.token_proxy(&self.identity, &proxy.to_string(), proxy.server_name());
        }
        Ok(Grant { tenant_id, client_id, proof: Proof::Assertion { assertion, proxy: proxy.map(Box::new) } })
    }

    async fn read(&self, source: &SecretSource) -> Result<Secret, FetchError> {
        source.read(&self.platform.files).await.map_err(|error| FetchError {
            is_local: error.is_local(),
            ..fetch_error(&Chain(&error).to_string(), &[])
        })
    }

    fn given_or_set(&self, given: Option<String>, key: &str, variable: &str) -> Result<String, FetchError> {
        given.or_else(|| self.platform.variables.get(variable)).ok_or_else(|| missing(key, variable))
    }
}

fn missing_tenant() -> FetchError {
    missing("tenant_id", TENANT_VARIABLE)
}

fn missing(key: &str, variable: &str) -> FetchError {
    FetchError::new(format!("neither {key} nor {variable} is set"))
}

impl TokenSource for EntraTokens {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(self.fetch_once())
    }

    fn runs_command(&self) -> bool {
        self.runs_command.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
