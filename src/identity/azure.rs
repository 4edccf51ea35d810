//! Entra tokens from `azure_identity`. Only this file and its folder use `azure_*`.
//!
//! Makes one request at a time. The refresh loop schedules and retries requests.

mod command;
mod exchange;

use std::sync::{Arc, Mutex, PoisonError};

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::{Secret as AzureSecret, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport as AzureTransport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};

use self::command::GroupExecutor;
use self::exchange::Exchange;
use super::detect::{Environment, detect};
use super::transport::Carry;
use super::{EntraIdentity, EntraSource, FetchError, FetchFuture, ManagedIdentityId, Token, TokenSource};
use crate::error::Chain;
use crate::excerpt::excerpt;
use crate::files::Files;
use crate::secret::{Secret, SecretSource};

/// The longest text of a [`FetchError`], in characters.
const ERROR_LENGTH: usize = 300;

/// Fetches the tokens of one Entra identity.
///
/// Each fetch creates a new credential without retries. A reused credential would return the same token until five
/// minutes before its expiry, and in those five minutes its errors would hide that the token is still valid. Its retries
/// take up to 100 s and obey any `Retry-After`. A new credential also rereads every file and variable.
#[derive(Debug)]
pub struct AzureTokens {
    identity: EntraIdentity,
    transport: Arc<dyn Carry>,
    files: Files,
    /// The last source that `auto` detected.
    detected: Mutex<Option<EntraSource>>,
}

impl AzureTokens {
    /// Creates a source of tokens of `identity`, requested over `transport`. Its secrets are read from `files`.
    #[must_use]
    pub fn new(identity: EntraIdentity, transport: Arc<dyn Carry>, files: Files) -> Self {
        Self { identity, transport, files, detected: Mutex::default() }
    }

    async fn fetch_once(&self) -> Result<Token, FetchError> {
        let exchange = Arc::new(Exchange::new(Arc::clone(&self.transport)));
        let token = self.exchange(&exchange).await;
        token.map_err(|error| FetchError { is_local: error.is_local || exchange.met_local_limit(), ..error })
    }

    async fn exchange(&self, exchange: &Arc<Exchange>) -> Result<Token, FetchError> {
        let Credential { azure, secrets } = self.credential(&self.source().await?, exchange).await?;
        let scopes = [&*self.identity.scope];
        let token = tokio::select! {
            biased;
            token = azure.get_token(&scopes, None) => {
                token.map_err(|error| request_error(&error, exchange, &secrets))?
            }
            // azure_identity retries IMDS up to six times in 72 s, even with retries disabled. The refresh loop retries,
            // and the first error is reported at once.
            failure = exchange.failed() => return Err(fetch_error(&failure, &secrets)),
        };
        match token.token.secret() {
            "" => Err(FetchError::new("the response contains no token")),
            secret => Ok(Token::new(Secret::new(secret.to_owned()), token.expires_on.into())),
        }
    }

    /// Returns the identity's source, with `auto` resolved.
    async fn source(&self) -> Result<EntraSource, FetchError> {
        let EntraSource::Auto { client_id } = &self.identity.source else {
            return Ok(self.identity.source.clone());
        };
        let environment = Environment::read(&self.files).await.map_err(|error| FetchError {
            is_local: error.is_local(),
            ..FetchError::new(format!("the environment cannot be read: {error}"))
        })?;
        let found = detect(client_id.as_deref(), &environment);
        let mut detected = self.detected.lock().unwrap_or_else(PoisonError::into_inner);
        if detected.as_ref() != Some(&found) {
            let chosen = EntraIdentity { source: found.clone(), ..self.identity.clone() };
            tracing::info!(identity = %self.identity, %chosen, "identity source chosen");
            *detected = Some(found.clone());
        }
        Ok(found)
    }

    async fn credential(
        &self,
        source: &EntraSource,
        exchange: &Arc<Exchange>,
    ) -> Result<Credential, FetchError> {
        match source {
            // Unreachable: `detect` never returns `Auto`.
            EntraSource::Auto { .. } => self.managed(&ManagedIdentityId::System, exchange).await,
            EntraSource::ManagedIdentity(id) => self.managed(id, exchange).await,
            EntraSource::WorkloadIdentity { client_id, tenant_id, token_file } => {
                let tenant_id = given_or_set(tenant_id.as_ref(), "tenant_id", "AZURE_TENANT_ID")?;
                let client_id = given_or_set(client_id.as_ref(), "client_id", "AZURE_CLIENT_ID")?;
                let token_file = match token_file {
                    Some(path) => path.clone(),
                    None => given_or_set(None, "token_file", "AZURE_FEDERATED_TOKEN_FILE")?.into(),
                };
                // Not azure_identity's WorkloadIdentityCredential: it sends a trailing line break, and does not expose
                // the token, which must be redacted from errors.
                let assertion = self.read(&SecretSource::File(token_file)).await?;
                let options =
                    ClientAssertionCredentialOptions { client_options: self.client_options(exchange) };
                let azure = ClientAssertionCredential::new(
                    tenant_id,
                    client_id,
                    Assertion(assertion.clone()),
                    Some(options),
                );
                Credential::new(azure, vec![assertion])
            }
            EntraSource::ClientSecret { client_id, tenant_id, secret } => {
                let tenant_id = given_or_set(tenant_id.as_ref(), "tenant_id", "AZURE_TENANT_ID")?;
                let client_id = given_or_set(client_id.as_ref(), "client_id", "AZURE_CLIENT_ID")?;
                let from_environment = SecretSource::Env("AZURE_CLIENT_SECRET".into());
                let secret = self.read(secret.as_ref().unwrap_or(&from_environment)).await?;
                let options = ClientSecretCredentialOptions { client_options: self.client_options(exchange) };
                let azure_secret = AzureSecret::new(secret.expose().to_owned());
                let azure = ClientSecretCredential::new(&tenant_id, client_id, azure_secret, Some(options));
                Credential::new(azure, vec![secret])
            }
            EntraSource::AzureCli => {
                let options = AzureCliCredentialOptions {
                    executor: Some(Arc::new(GroupExecutor::new(Arc::clone(exchange)))),
                    ..AzureCliCredentialOptions::default()
                };
                Credential::new(AzureCliCredential::new(Some(options)), Vec::new())
            }
            EntraSource::AzureDeveloperCli => {
                let options = AzureDeveloperCliCredentialOptions {
                    executor: Some(Arc::new(GroupExecutor::new(Arc::clone(exchange)))),
                    ..AzureDeveloperCliCredentialOptions::default()
                };
                Credential::new(AzureDeveloperCliCredential::new(Some(options)), Vec::new())
            }
        }
    }

    async fn managed(
        &self,
        id: &ManagedIdentityId,
        exchange: &Arc<Exchange>,
    ) -> Result<Credential, FetchError> {
        let user_assigned_id = match id {
            ManagedIdentityId::System => None,
            ManagedIdentityId::ClientId(id) => Some(UserAssignedId::ClientId(id.clone())),
            ManagedIdentityId::ObjectId(id) => Some(UserAssignedId::ObjectId(id.clone())),
            ManagedIdentityId::ResourceId(id) => Some(UserAssignedId::ResourceId(id.clone())),
        };
        let client_options = self.client_options(exchange);
        let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
        // The secret that App Service's endpoint requires.
        let header = self.read(&SecretSource::Env("IDENTITY_HEADER".into())).await.ok();
        Credential::new(ManagedIdentityCredential::new(Some(options)), header.into_iter().collect())
    }

    async fn read(&self, source: &SecretSource) -> Result<Secret, FetchError> {
        source.read(&self.files).await.map_err(|error| FetchError {
            is_local: error.is_local(),
            ..fetch_error(&Chain(&error).to_string(), &[])
        })
    }

    fn client_options(&self, exchange: &Arc<Exchange>) -> ClientOptions {
        let cloud = self.identity.authority.as_ref().map(|authority| {
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
}

impl TokenSource for AzureTokens {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(self.fetch_once())
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

/// A federated token.
#[derive(Debug)]
struct Assertion(Secret);

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose().to_owned())
    }
}

fn given_or_set(given: Option<&String>, key: &str, variable: &str) -> Result<String, FetchError> {
    given
        .cloned()
        .or_else(|| std::env::var(variable).ok())
        .filter(|value| !value.is_empty())
        .ok_or_else(|| FetchError::new(format!("neither {key} nor {variable} is set")))
}

/// Returns why there is no token: the endpoint's explanation if it responded, otherwise the error of `azure_identity`.
fn request_error(error: &azure_core::Error, exchange: &Exchange, secrets: &[Secret]) -> FetchError {
    let text = match exchange.last_response() {
        Some(response) => response
            .refusal()
            .unwrap_or_else(|| format!("HTTP {}, but not a token: {}", response.status, Chain(error))),
        None => Chain(error).to_string(),
    };
    fetch_error(&text, secrets)
}

fn fetch_error(text: &str, secrets: &[Secret]) -> FetchError {
    // Cut before redaction, which is slow for long texts, and again after it.
    let text = without_tokens(&excerpt(text, ERROR_LENGTH));
    let text = secrets.iter().fold(text, |text, secret| secret.redact(&text));
    FetchError::new(excerpt(&text, ERROR_LENGTH))
}

/// Returns `text` without anything that looks like a JWT: they all begin with `{"` in base64.
fn without_tokens(text: &str) -> String {
    let separates = |c: char| !(c.is_ascii_alphanumeric() || "-_.=".contains(c));
    text.split_inclusive(separates)
        .map(|part| match part.find("eyJ") {
            Some(start) => {
                let end = part.trim_end_matches(separates).len();
                format!("{}<redacted>{}", &part[..start], &part[end..])
            }
            None => part.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::{Authority, resolver};
    use crate::identity::DEFAULT_SCOPE;
    use crate::identity::testing::{Server, json, response};
    use crate::identity::transport::{Transport, TransportError};
    use bytes::Bytes;
    use hyper::{Request, Response};
    use hyper_util::client::proxy::matcher::Matcher;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, SystemTime};

    const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"opaque"}"#;

    /// Starts Entra's token endpoint for the tenant `t`, with TLS, and a source of tokens of a service principal. The file
    /// `secret` contains the principal's secret.
    async fn entra(reply: Vec<u8>, secret: &Path) -> (Server, AzureTokens) {
        let source = EntraSource::ClientSecret {
            client_id: Some("c".into()),
            tenant_id: Some("t".into()),
            secret: Some(SecretSource::File(secret.into())),
        };
        entra_with(reply, source).await
    }

    async fn entra_with(reply: Vec<u8>, source: EntraSource) -> (Server, AzureTokens) {
        let authority = Authority::new();
        let server = Server::start(Some(authority.server("localhost")), reply).await;
        let identity = EntraIdentity {
            source,
            scope: DEFAULT_SCOPE.into(),
            authority: Some(format!("https://localhost:{}", server.port())),
        };
        let transport = Transport::with_proxies(&authority.roots(), Matcher::builder().build(), resolver());
        (server, AzureTokens::new(identity, Arc::new(transport), Files::system()))
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    async fn error_for(reply: Vec<u8>) -> String {
        let secret = file("s3cr3t-value");
        let (_server, tokens) = entra(reply, secret.path()).await;
        tokens.fetch().await.unwrap_err().to_string()
    }

    /// A transport for which no descriptor is left.
    #[derive(Debug)]
    struct Starved;

    #[async_trait::async_trait]
    impl Carry for Starved {
        async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
            Err(TransportError::LocalLimit("too many open files".into()))
        }
    }

    #[tokio::test]
    async fn a_request_that_the_agents_own_limits_prevent_says_so() {
        let source = EntraSource::ManagedIdentity(ManagedIdentityId::System);
        let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
        let tokens = AzureTokens::new(identity, Arc::new(Starved), Files::system());
        let error = tokens.fetch().await.unwrap_err();
        assert!(error.is_local && error.text.contains("too many open files"), "{error:?}");
    }

    #[tokio::test]
    async fn a_federated_token_is_exchanged_without_its_line_break() {
        let token_file = file("eyJhbGciOiJSUzI1NiJ9.assertion.signature\n");
        let source = EntraSource::WorkloadIdentity {
            client_id: Some("c".into()),
            tenant_id: Some("t".into()),
            token_file: Some(token_file.path().into()),
        };
        let (server, tokens) = entra_with(json(200, TOKEN), source).await;
        let token = tokens.fetch().await.unwrap();
        assert_eq!(token.secret.expose(), "opaque");
        let clock = crate::clock::Clock::system();
        let lifetime = clock.until(token.expires_at);
        assert!(lifetime > Duration::from_secs(3000) && lifetime < Duration::from_secs(3600), "{lifetime:?}");
        assert!(token.expires_at > SystemTime::UNIX_EPOCH);
        let request = server.requests().remove(0);
        assert!(request.starts_with("POST /t/oauth2/v2.0/token HTTP/1.1\r\n"), "{request}");
        for field in [
            "client_assertion=eyJhbGciOiJSUzI1NiJ9.assertion.signature&",
            "client_id=c&",
            "grant_type=client_credentials",
            "scope=https%3A%2F%2Fredis.azure.com%2F.default",
        ] {
            assert!(request.contains(field), "{field} in {request}");
        }
    }

    #[tokio::test]
    async fn each_fetch_rereads_the_secret() {
        let secret = file("first-secret");
        let (server, tokens) = entra(json(200, TOKEN), secret.path()).await;
        tokens.fetch().await.unwrap();
        std::fs::write(secret.path(), "second-secret").unwrap();
        tokens.fetch().await.unwrap();
        let requests = server.requests();
        assert!(requests[0].contains("client_secret=first-secret"), "{}", requests[0]);
        assert!(requests[1].contains("client_secret=second-secret"), "{}", requests[1]);
    }

    #[tokio::test]
    async fn an_error_has_entras_explanation_without_secrets() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret 's3cr3t-value' or \"eyJhbGciOi.J9.x\" provided.\r\nTrace ID: 1","error_codes":[7000215]}"#;
        assert_eq!(
            error_for(json(401, body)).await,
            "HTTP 401: AADSTS7000215: Invalid client secret '<redacted>' or \"<redacted>\" provided. Trace ID: 1"
        );
    }

    #[tokio::test]
    async fn an_error_that_is_not_json_has_its_status() {
        let html = response(500, &[("content-type", "text/html")], "<html>Oops</html>");
        assert_eq!(
            error_for(html).await,
            "HTTP 500: a web page instead of the endpoint's response; is there a proxy in between?"
        );
        assert_eq!(error_for(response(503, &[], "")).await, "HTTP 503: no explanation");
    }

    #[tokio::test]
    async fn a_long_error_is_cut() {
        let error = error_for(response(400, &[], &"long ".repeat(1000))).await;
        assert_eq!(error.chars().count(), ERROR_LENGTH);
    }

    #[tokio::test]
    async fn a_response_without_a_token_is_an_error() {
        let truncated = error_for(json(200, &TOKEN[..40])).await;
        assert!(truncated.starts_with("HTTP 200, but not a token: "), "{truncated}");
        assert_eq!(error_for(json(200, "{}")).await, "the response contains no token");
    }

    #[tokio::test]
    async fn an_expiry_that_is_no_valid_date_is_an_error() {
        for body in [
            r#"{"token_type":"Bearer","expires_in":9223372036854775807,"access_token":"opaque"}"#,
            r#"{"token_type":"Bearer","expires_in":-9223372036854775808,"access_token":"opaque"}"#,
            r#" ["Bearer",9223372036854775807,0,"opaque"]"#,
        ] {
            let error = error_for(json(200, body)).await;
            assert!(error.starts_with("HTTP 200, but not a token: "), "{error}");
        }
    }

    /// An IMDS that counts the requests and never returns a token.
    #[derive(Debug, Default)]
    struct Imds {
        status: Option<u16>,
        requests: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl Carry for Imds {
        async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let status = self.status.ok_or(TransportError::Unsendable)?;
            Ok(Response::builder().status(status).header("retry-after", "0").body("busy".into())?)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_to_imds_is_not_retried_and_its_error_is_returned_at_once() {
        let began = tokio::time::Instant::now();
        for (status, expected) in [
            (Some(404), "HTTP 404: busy".to_owned()),
            (Some(429), "HTTP 429: busy".to_owned()),
            (Some(503), "HTTP 503: busy".to_owned()),
            (None, TransportError::Unsendable.to_string()),
        ] {
            let imds = Arc::new(Imds { status, ..Imds::default() });
            let source = EntraSource::ManagedIdentity(ManagedIdentityId::System);
            let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
            let error = AzureTokens::new(identity, Arc::clone(&imds) as _, Files::system())
                .fetch()
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(imds.requests.load(Ordering::Relaxed), 1, "{expected}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn requests_are_not_retried_and_retry_after_is_ignored() {
        let secret = file("s3cr3t-value");
        let (server, tokens) =
            entra(response(429, &[("retry-after", "3600")], "slow down"), secret.path()).await;
        assert_eq!(tokens.fetch().await.unwrap_err().to_string(), "HTTP 429: slow down");
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn the_error_names_an_unreachable_endpoint() {
        let secret = file("s3cr3t-value");
        let (server, tokens) = entra(Vec::new(), secret.path()).await;
        let port = server.port();
        drop(server);
        let error = tokens.fetch().await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot reach localhost:{port}: connect_refused at connect: ")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_error_names_a_missing_file_or_variable() {
        let source = EntraSource::WorkloadIdentity {
            client_id: Some("c".into()),
            tenant_id: Some("t".into()),
            token_file: Some("/nonexistent/token".into()),
        };
        let (_server, tokens) = entra_with(Vec::new(), source).await;
        assert_eq!(
            tokens.fetch().await.unwrap_err().to_string(),
            "the secret in file /nonexistent/token cannot be read: No such file or directory (os error 2)"
        );
        let error = given_or_set(None, "tenant_id", "CACHEPULSE_TEST_UNSET").unwrap_err();
        assert_eq!(error.to_string(), "neither tenant_id nor CACHEPULSE_TEST_UNSET is set");
    }

    #[test]
    fn anything_that_looks_like_a_token_is_redacted() {
        assert_eq!(without_tokens("a=eyJx.y-_z, b 'eyJ'"), "a=<redacted>, b '<redacted>'");
        assert_eq!(without_tokens("client_id=abc"), "client_id=abc");
    }
}
