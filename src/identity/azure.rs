//! Tokens from `azure_identity`. Only this file and its folder use `azure_*`.
//!
//! `azure_identity` does the exchange of a secret or an assertion with Entra's token service. Managed identities are left
//! to `managed.rs`, and the tools of developers to `developer.rs`.

mod exchange;

use std::sync::Arc;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{Secret as AzureSecret, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport as AzureTransport};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions,
};

use self::exchange::{EndpointResponse, Exchange};
use super::authority::authority;
use super::claims::Claims;
use super::platform::Platform;
use super::refusal::{entra_advice, entra_code, fetch_error};
use super::token_proxy::{self, TokenProxy};
use super::{EntraIdentity, FetchError, Token};
use crate::error::Chain;
use crate::secret::Secret;

/// What a token is requested with: a service principal or workload identity, and a proof of it.
pub(super) struct Grant {
    pub(super) tenant_id: String,
    pub(super) client_id: String,
    pub(super) proof: Proof,
}

/// What proves that the agent may act as a service principal.
pub(super) enum Proof {
    /// A client secret.
    Secret(Secret),
    /// A signed statement, and the proxy that exchanges it instead of Entra ID.
    Assertion { assertion: Secret, proxy: Option<Box<TokenProxy>> },
}

impl Grant {
    fn proxy(&self) -> Option<&TokenProxy> {
        match &self.proof {
            Proof::Assertion { proxy, .. } => proxy.as_deref(),
            Proof::Secret(_) => None,
        }
    }

    /// Whether this is a service account token that only the proxy of AKS identity bindings exchanges.
    fn is_for_proxy(&self) -> bool {
        match &self.proof {
            Proof::Assertion { assertion, .. } => {
                Claims::of(assertion.expose()).has_audience(token_proxy::AUDIENCE)
            }
            Proof::Secret(_) => false,
        }
    }
}

/// Requests one token of `identity` with `grant`.
///
/// Creates a new credential without retries. A reused credential would return the same token until five minutes before
/// its expiry, and in those five minutes its errors would hide that the token is still valid. Its retries take up to
/// 100 s and obey any `Retry-After`.
pub(super) async fn fetch(
    grant: Grant,
    identity: &EntraIdentity,
    platform: &Platform,
) -> Result<Token, FetchError> {
    let is_for_proxy = grant.is_for_proxy();
    let proxy = match grant.proxy() {
        Some(proxy) => Some((proxy.clone(), proxy.route(platform).await?)),
        None => None,
    };
    let is_proxied = proxy.is_some();
    let identity =
        &EntraIdentity { authority: authority(identity, &platform.variables)?, ..identity.clone() };
    let exchange = Arc::new(Exchange::new(platform, proxy));
    let token = request(grant, identity, &exchange).await;
    token.map_err(|error| FetchError {
        is_local: error.is_local || exchange.met_local_limit(),
        advice: exchange.last_response().and_then(|response| advice(&response, is_proxied, is_for_proxy)),
        ..error
    })
}

async fn request(
    grant: Grant,
    identity: &EntraIdentity,
    exchange: &Arc<Exchange>,
) -> Result<Token, FetchError> {
    let Credential { azure, secrets } = credential(grant, identity, exchange)?;
    let scopes = [&*identity.scope];
    let token = azure.get_token(&scopes, None).await;
    let token = token.map_err(|error| request_error(&error, exchange, &secrets))?;
    match token.token.secret() {
        "" => Err(FetchError::new("the response contains no token")),
        secret => Ok(Token::new(Secret::new(secret.to_owned()), token.expires_on.into())),
    }
}

fn credential(
    grant: Grant,
    identity: &EntraIdentity,
    exchange: &Arc<Exchange>,
) -> Result<Credential, FetchError> {
    let client_options = client_options(identity, exchange);
    let Grant { tenant_id, client_id, proof } = grant;
    match proof {
        Proof::Secret(secret) => {
            let options = ClientSecretCredentialOptions { client_options };
            let azure_secret = AzureSecret::new(secret.expose().to_owned());
            let azure = ClientSecretCredential::new(&tenant_id, client_id, azure_secret, Some(options));
            Credential::new(azure, vec![secret])
        }
        // Not azure_identity's WorkloadIdentityCredential: it sends a trailing line break, does not expose the token,
        // which must be redacted from errors, and knows no proxy.
        Proof::Assertion { assertion, .. } => {
            let options = ClientAssertionCredentialOptions { client_options };
            let statement = Assertion(assertion.clone());
            let azure = ClientAssertionCredential::new(tenant_id, client_id, statement, Some(options));
            Credential::new(azure, vec![assertion])
        }
    }
}

fn client_options(identity: &EntraIdentity, exchange: &Arc<Exchange>) -> ClientOptions {
    let cloud = identity.authority.as_ref().map(|authority| {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host.clone_from(authority);
        Arc::new(cloud.into())
    });
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(AzureTransport::new(Arc::clone(exchange) as _)),
        cloud,
        ..ClientOptions::default()
    }
}

/// A credential for one fetch, and the secrets that it sends, for redaction.
struct Credential {
    azure: Arc<dyn TokenCredential>,
    secrets: Vec<Secret>,
}

impl Credential {
    fn new<C>(azure: azure_core::Result<Arc<C>>, secrets: Vec<Secret>) -> Result<Self, FetchError>
    where
        C: TokenCredential + 'static,
    {
        match azure {
            Ok(azure) => Ok(Self { azure, secrets }),
            Err(error) => Err(fetch_error(&Chain(&error).to_string(), &secrets)),
        }
    }
}

/// A signed statement, such as a service account token.
#[derive(Debug)]
struct Assertion(Secret);

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose().to_owned())
    }
}

/// Returns what to do about a response that is no token, where more is known than that there is none.
fn advice(response: &EndpointResponse, is_proxied: bool, is_for_proxy: bool) -> Option<&'static str> {
    let explanation = response.explanation.as_deref()?;
    match (entra_code(explanation), response.status) {
        (Some(700_212), _) if is_for_proxy && !is_proxied => Some(token_proxy::NOT_FOR_ENTRA),
        (None, 401 | 403) if is_proxied => Some(token_proxy::NOT_BOUND),
        _ => entra_advice(explanation),
    }
}

/// Returns why there is no token: the endpoint's explanation if it responded, otherwise the error of `azure_identity`.
fn request_error(error: &azure_core::Error, exchange: &Exchange, secrets: &[Secret]) -> FetchError {
    let text = match exchange.last_response() {
        Some(EndpointResponse { status, explanation: Some(explanation) }) => {
            format!("HTTP {status}: {explanation}")
        }
        Some(EndpointResponse { status, explanation: None }) => {
            format!("HTTP {status}, but not a token: {}", Chain(error))
        }
        None => exchange.failure().unwrap_or_else(|| Chain(error).to_string()),
    };
    fetch_error(&text, secrets)
}
