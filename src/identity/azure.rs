//! Entra tokens by way of `azure_identity`. This file and its folder are the only ones that know `azure_*`.
//!
//! When to ask, and what to do when there is no answer, is left to the refresh loop: here is one request at a time.

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
use crate::secret::{Secret, SecretSource};

/// The longest text of a [`FetchError`], in characters.
const ERROR_LENGTH: usize = 300;

/// Fetches the tokens of one Entra identity.
///
/// Each fetch builds a fresh credential without retries. One that is kept would bring the same token until five
/// minutes before its end, and would fail in those five minutes although the token is still good; its retries take
/// up to 100 s and wait as long as a `Retry-After` says. A fresh one also reads every file and variable anew.
#[derive(Debug)]
pub struct AzureTokens {
    identity: EntraIdentity,
    transport: Arc<dyn Carry>,
    /// What `auto` came to last.
    detected: Mutex<Option<EntraSource>>,
}

impl AzureTokens {
    /// Tokens of `identity`, asked for over `transport`.
    #[must_use]
    pub fn new(identity: EntraIdentity, transport: Arc<dyn Carry>) -> Self {
        Self { identity, transport, detected: Mutex::default() }
    }

    async fn fetch_once(&self) -> Result<Token, FetchError> {
        let exchange = Arc::new(Exchange::new(Arc::clone(&self.transport)));
        let Credential { azure, secrets } = self.credential(&self.source(), &exchange)?;
        let scopes = [&*self.identity.scope];
        let token = tokio::select! {
            biased;
            token = azure.get_token(&scopes, None) => {
                token.map_err(|error| refused(&error, &exchange, &secrets))?
            }
            // IMDS it would ask again by itself, up to six times in 72 s, whatever it is told of retries. When to ask
            // again is the refresh loop's to decide, and what went wrong is to be known now.
            failure = exchange.failed() => return Err(fetch_error(&failure, &secrets)),
        };
        match token.token.secret() {
            "" => Err(FetchError("the answer holds no token".into())),
            secret => Ok(Token::new(Secret::new(secret.to_owned()), token.expires_on.into())),
        }
    }

    /// The identity's source, with `auto` settled.
    fn source(&self) -> EntraSource {
        let EntraSource::Auto { client_id } = &self.identity.source else {
            return self.identity.source.clone();
        };
        let found = detect(client_id.as_deref(), &Environment::read());
        let mut detected = self.detected.lock().unwrap_or_else(PoisonError::into_inner);
        if detected.as_ref() != Some(&found) {
            let chosen = EntraIdentity { source: found.clone(), ..self.identity.clone() };
            tracing::info!(identity = %self.identity, %chosen, "identity source chosen");
            *detected = Some(found.clone());
        }
        found
    }

    fn credential(&self, source: &EntraSource, exchange: &Arc<Exchange>) -> Result<Credential, FetchError> {
        match source {
            // `detect` never answers `Auto`; a machine without any sign of an identity has IMDS at best.
            EntraSource::Auto { .. } => self.managed(&ManagedIdentityId::System, exchange),
            EntraSource::ManagedIdentity(id) => self.managed(id, exchange),
            EntraSource::WorkloadIdentity { client_id, tenant_id, token_file } => {
                let tenant_id = given_or_set(tenant_id.as_ref(), "tenant_id", "AZURE_TENANT_ID")?;
                let client_id = given_or_set(client_id.as_ref(), "client_id", "AZURE_CLIENT_ID")?;
                let token_file = match token_file {
                    Some(path) => path.clone(),
                    None => given_or_set(None, "token_file", "AZURE_FEDERATED_TOKEN_FILE")?.into(),
                };
                // Not azure_identity's own WorkloadIdentityCredential: that sends a trailing line break along, and
                // keeps the text from us, who must keep it out of errors.
                let assertion = read(&SecretSource::File(token_file))?;
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
                let secret = read(secret.as_ref().unwrap_or(&from_environment))?;
                let options = ClientSecretCredentialOptions { client_options: self.client_options(exchange) };
                let azure_secret = AzureSecret::new(secret.expose().to_owned());
                let azure = ClientSecretCredential::new(&tenant_id, client_id, azure_secret, Some(options));
                Credential::new(azure, vec![secret])
            }
            EntraSource::AzureCli => {
                let options = AzureCliCredentialOptions {
                    executor: Some(Arc::new(GroupExecutor)),
                    ..AzureCliCredentialOptions::default()
                };
                Credential::new(AzureCliCredential::new(Some(options)), Vec::new())
            }
            EntraSource::AzureDeveloperCli => {
                let options = AzureDeveloperCliCredentialOptions {
                    executor: Some(Arc::new(GroupExecutor)),
                    ..AzureDeveloperCliCredentialOptions::default()
                };
                Credential::new(AzureDeveloperCliCredential::new(Some(options)), Vec::new())
            }
        }
    }

    fn managed(&self, id: &ManagedIdentityId, exchange: &Arc<Exchange>) -> Result<Credential, FetchError> {
        let user_assigned_id = match id {
            ManagedIdentityId::System => None,
            ManagedIdentityId::ClientId(id) => Some(UserAssignedId::ClientId(id.clone())),
            ManagedIdentityId::ObjectId(id) => Some(UserAssignedId::ObjectId(id.clone())),
            ManagedIdentityId::ResourceId(id) => Some(UserAssignedId::ResourceId(id.clone())),
        };
        let client_options = self.client_options(exchange);
        let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
        // What App Service's endpoint is told, so that it answers nobody else.
        let header = SecretSource::Env("IDENTITY_HEADER".into()).read().ok();
        Credential::new(ManagedIdentityCredential::new(Some(options)), header.into_iter().collect())
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

/// A credential for one fetch, and the secrets that it sends.
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
        .ok_or_else(|| FetchError(format!("neither {key} nor {variable} is set").into()))
}

fn read(source: &SecretSource) -> Result<Secret, FetchError> {
    source.read().map_err(|error| fetch_error(&Chain(&error).to_string(), &[]))
}

/// Why there is no token: in the endpoint's words where it spoke, otherwise in those of `azure_identity`.
fn refused(error: &azure_core::Error, exchange: &Exchange, secrets: &[Secret]) -> FetchError {
    let text = match exchange.last_response() {
        Some(answer) => answer
            .refusal()
            .unwrap_or_else(|| format!("HTTP {}, but not a token: {}", answer.status, Chain(error))),
        None => Chain(error).to_string(),
    };
    fetch_error(&text, secrets)
}

fn fetch_error(text: &str, secrets: &[Secret]) -> FetchError {
    // Short before secrets are looked for in it, which takes its time in a long text; and short again after that.
    let text = without_tokens(&excerpt(text, ERROR_LENGTH));
    let text = secrets.iter().fold(text, |text, secret| secret.redact(&text));
    FetchError(excerpt(&text, ERROR_LENGTH).into())
}

/// `text` without anything that looks like a JWT: they all begin with `{"` in base64.
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
    use crate::connection::testing::Authority;
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

    /// Entra's token endpoint for the tenant `t`, in TLS, and tokens of a service principal whose secret is in
    /// `secret`.
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
        let transport = Transport::with_proxies(&authority.roots(), Matcher::builder().build());
        (server, AzureTokens::new(identity, Arc::new(transport)))
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
    async fn every_fetch_asks_anew_with_the_secret_as_it_is_then() {
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
    async fn entras_refusal_is_told_in_its_words_without_secrets() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret 's3cr3t-value' or \"eyJhbGciOi.J9.x\" provided.\r\nTrace ID: 1","error_codes":[7000215]}"#;
        assert_eq!(
            error_for(json(401, body)).await,
            "HTTP 401: AADSTS7000215: Invalid client secret '<redacted>' or \"<redacted>\" provided. Trace ID: 1"
        );
    }

    #[tokio::test]
    async fn an_error_that_is_no_json_still_tells_its_status() {
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
    async fn a_success_that_is_no_token_is_an_error() {
        let truncated = error_for(json(200, &TOKEN[..40])).await;
        assert!(truncated.starts_with("HTTP 200, but not a token: "), "{truncated}");
        assert_eq!(error_for(json(200, "{}")).await, "the answer holds no token");
    }

    #[tokio::test]
    async fn a_token_that_would_end_on_no_date_is_an_error() {
        for body in [
            r#"{"token_type":"Bearer","expires_in":9223372036854775807,"access_token":"opaque"}"#,
            r#"{"token_type":"Bearer","expires_in":-9223372036854775808,"access_token":"opaque"}"#,
            r#" ["Bearer",9223372036854775807,0,"opaque"]"#,
        ] {
            let error = error_for(json(200, body)).await;
            assert!(error.starts_with("HTTP 200, but not a token: "), "{error}");
        }
    }

    /// An IMDS that lives in this process: counts the requests, and never has a token.
    #[derive(Debug, Default)]
    struct Imds {
        status: Option<u16>,
        asked: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl Carry for Imds {
        async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let status = self.status.ok_or(TransportError::Unsendable)?;
            Ok(Response::builder().status(status).header("retry-after", "0").body("busy".into())?)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn imds_is_asked_once_and_its_refusal_is_told_at_once() {
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
            let error = AzureTokens::new(identity, Arc::clone(&imds) as _).fetch().await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(imds.asked.load(Ordering::Relaxed), 1, "{expected}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn retry_after_is_not_waited_for_and_nothing_is_retried() {
        let secret = file("s3cr3t-value");
        let (server, tokens) =
            entra(response(429, &[("retry-after", "3600")], "slow down"), secret.path()).await;
        assert_eq!(tokens.fetch().await.unwrap_err().to_string(), "HTTP 429: slow down");
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn an_endpoint_that_cannot_be_reached_is_named() {
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
    async fn what_is_missing_is_named() {
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
    fn what_looks_like_a_token_is_taken_out_of_any_text() {
        assert_eq!(without_tokens("a=eyJx.y-_z, b 'eyJ'"), "a=<redacted>, b '<redacted>'");
        assert_eq!(without_tokens("client_id=abc"), "client_id=abc");
    }
}
