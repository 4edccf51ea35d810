//! Requests for tokens over real sockets and with fakes.

mod certificate;
mod identity_binding;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::{Request, Response};
use hyper_util::client::proxy::matcher::Matcher;

use super::*;
use crate::clock::Clock;
use crate::connection::testing::{Authority, resolver};
use crate::files::Files;
use crate::identity::refusal::ERROR_LENGTH;
use crate::identity::testing::{Server, json, response};
use crate::identity::transport::{Carry, Route, Transport, TransportError};
use crate::identity::variables::Variables;
use crate::identity::{DEFAULT_SCOPE, ManagedIdentityId};

const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"opaque"}"#;

fn tokens(identity: EntraIdentity, transport: Arc<dyn Carry>, variables: Variables) -> EntraTokens {
    let platform = Platform { transport, files: Files::system(), variables, clock: Clock::system() };
    EntraTokens::new(identity, platform)
}

/// Starts Entra's token endpoint for the tenant `t`, with TLS, and a source of tokens of a service principal. The file
/// `secret` contains the principal's secret.
async fn entra(reply: Vec<u8>, secret: &Path) -> (Server, EntraTokens) {
    let source = EntraSource::ClientSecret {
        client_id: Some("c".into()),
        tenant_id: Some("t".into()),
        secret: Some(SecretSource::File(secret.into())),
    };
    entra_with(reply, source).await
}

async fn entra_with(reply: Vec<u8>, source: EntraSource) -> (Server, EntraTokens) {
    let authority = Authority::new();
    let server = Server::start(Some(authority.server("localhost")), reply).await;
    let identity = EntraIdentity {
        source,
        scope: DEFAULT_SCOPE.into(),
        authority: Some(format!("https://localhost:{}", server.port())),
    };
    let transport = Transport::with_proxies(&authority.roots(), Matcher::builder().build(), resolver());
    (server, tokens(identity, Arc::new(transport), Variables::of([])))
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
    async fn send(&self, _: Request<Bytes>, _: &Route) -> Result<Response<Bytes>, TransportError> {
        Err(TransportError::LocalLimit("too many open files".into()))
    }
}

/// A transport that reaches nothing, and says where a request would go.
#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl Carry for Nowhere {
    async fn send(&self, request: Request<Bytes>, _: &Route) -> Result<Response<Bytes>, TransportError> {
        Err(TransportError::Unreachable(request.uri().to_string()))
    }
}

#[tokio::test]
async fn an_authority_may_have_the_ascii_form_of_an_international_name() {
    let secret = file("s3cr3t-value");
    let source = EntraSource::ClientSecret {
        client_id: Some("c".into()),
        tenant_id: Some("t".into()),
        secret: Some(SecretSource::File(secret.path().into())),
    };
    let authority = Some("https://login.xn--bcher-kva.example".into());
    let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority };
    let error = tokens(identity, Arc::new(Nowhere), Variables::of([])).fetch().await.unwrap_err();
    assert_eq!(&*error.text, "https://login.xn--bcher-kva.example/t/oauth2/v2.0/token");
}

#[tokio::test]
async fn a_request_that_the_agents_own_limits_prevent_says_so() {
    let source = EntraSource::ManagedIdentity(ManagedIdentityId::System);
    let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
    let tokens = tokens(identity, Arc::new(Starved), Variables::of([]));
    let error = tokens.fetch().await.unwrap_err();
    assert!(error.is_local && error.text.contains("too many open files"), "{error:?}");
}

#[tokio::test]
async fn a_federated_token_is_exchanged_without_its_line_break_and_byte_order_mark() {
    let token_file = file("\u{feff}eyJhbGciOiJSUzI1NiJ9.assertion.signature\n");
    let source = EntraSource::WorkloadIdentity {
        client_id: Some("c".into()),
        tenant_id: Some("t".into()),
        token_file: Some(token_file.path().into()),
        token_proxy: TokenProxyMode::Auto,
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
    for body in ["{}", r#"{"access_token":"","expires_in":60}"#] {
        let error = error_for(json(200, body)).await;
        assert!(error.contains("the response contains no token"), "{error}");
    }
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

/// Returns the seconds for which the token in this response of Entra's endpoint is valid.
async fn lifetime_in(body: &str) -> u64 {
    let secret = file("s3cr3t-value");
    let (_server, tokens) = entra(json(200, body), secret.path()).await;
    let token = tokens.fetch().await.unwrap_or_else(|error| panic!("{body}: {error}"));
    Clock::system().until(token.expires_at).as_secs()
}

#[tokio::test]
async fn a_response_that_other_sdks_accept_is_a_token() {
    for fields in [
        r#""token_type":"Bearer","expires_in":3600"#,
        r#""token_type":"Bearer","expires_in":"3600""#,
        r#""token_type":"Bearer","expires_in":3600.0"#,
        r#""token_type":null,"expires_in":3600"#,
        r#""expires_in":3600"#,
    ] {
        let lifetime = lifetime_in(&format!(r#"{{"access_token":"opaque",{fields}}}"#)).await;
        assert!((3500..=3600).contains(&lifetime), "{fields}: {lifetime}");
    }
    let exp = Clock::system().now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3600;
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#));
    for fields in ["", r#","expires_in":null"#, r#","expires_in":9223372036854775807"#] {
        let lifetime = lifetime_in(&format!(r#"{{"access_token":"e30.{claims}.s"{fields}}}"#)).await;
        assert!((3500..=3600).contains(&lifetime), "{fields}: {lifetime}");
    }
}

#[tokio::test]
async fn a_token_of_which_nothing_says_when_it_expires_is_an_error() {
    let error = error_for(json(200, r#"{"token_type":"Bearer","access_token":"opaque"}"#)).await;
    let expected = "neither the response nor the token says when it expires";
    assert!(error.starts_with("HTTP 200, but not a token: ") && error.contains(expected), "{error}");
}

/// An endpoint that counts the requests and never returns a token.
#[derive(Debug, Default)]
struct Counting {
    status: Option<u16>,
    requests: AtomicUsize,
}

#[async_trait::async_trait]
impl Carry for Counting {
    async fn send(&self, _: Request<Bytes>, _: &Route) -> Result<Response<Bytes>, TransportError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let status = self.status.ok_or(TransportError::Unsendable)?;
        Ok(Response::builder().status(status).header("retry-after", "0").body("busy".into())?)
    }
}

#[tokio::test]
async fn a_request_for_a_managed_identity_is_not_retried_and_its_error_is_returned_at_once() {
    for (status, expected) in [
        (Some(404), "HTTP 404: busy".to_owned()),
        (Some(429), "HTTP 429: busy".to_owned()),
        (Some(503), "HTTP 503: busy".to_owned()),
        (None, TransportError::Unsendable.to_string()),
    ] {
        let endpoint = Arc::new(Counting { status, ..Counting::default() });
        let source = EntraSource::ManagedIdentity(ManagedIdentityId::System);
        let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
        let app_service = Variables::of([("IDENTITY_ENDPOINT", "http://x/"), ("IDENTITY_HEADER", "x")]);
        let error = tokens(identity, Arc::clone(&endpoint) as _, app_service).fetch().await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(endpoint.requests.load(Ordering::Relaxed), 1, "{expected}");
    }
}

#[tokio::test]
async fn requests_are_not_retried_and_retry_after_is_ignored() {
    let secret = file("s3cr3t-value");
    let (server, tokens) = entra(response(429, &[("retry-after", "3600")], "slow down"), secret.path()).await;
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
        token_proxy: TokenProxyMode::Auto,
    };
    let (_server, tokens) = entra_with(Vec::new(), source).await;
    assert_eq!(
        tokens.fetch().await.unwrap_err().to_string(),
        "the secret in file /nonexistent/token cannot be read: No such file or directory (os error 2)"
    );
    let source = EntraSource::ClientSecret { client_id: None, tenant_id: None, secret: None };
    let (_server, tokens) = entra_with(Vec::new(), source).await;
    let error = tokens.fetch().await.unwrap_err();
    assert_eq!((&*error.text, error.advice), ("neither tenant_id nor AZURE_TENANT_ID is set", None));
}

#[tokio::test]
async fn a_tenant_of_the_environment_that_can_be_none_reaches_neither_entra_nor_a_command() {
    let service_account = EntraSource::WorkloadIdentity {
        client_id: Some("c".into()),
        tenant_id: None,
        token_file: None,
        token_proxy: TokenProxyMode::Off,
    };
    for source in [
        EntraSource::ClientSecret { client_id: None, tenant_id: None, secret: None },
        EntraSource::ClientCertificate { client_id: None, tenant_id: None, files: None, send_chain: None },
        service_account,
        EntraSource::AzureCli(AzureAccount::Default),
        EntraSource::AzureDeveloperCli { tenant_id: None },
    ] {
        let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
        let wrong = Variables::of([("AZURE_TENANT_ID", "--debug")]);
        let tokens = tokens(identity, Arc::new(Starved), wrong);
        let error = tokens.fetch().await.unwrap_err();
        assert!(error.text.starts_with("AZURE_TENANT_ID: expected the id or a domain"), "{error}");
        assert_eq!(error.advice, None);
    }
}

#[tokio::test]
async fn a_pod_without_the_variables_of_the_webhook_learns_which_label_it_lacks() {
    for (client_id, tenant_id, missing) in [
        (None, None, "neither tenant_id nor AZURE_TENANT_ID is set"),
        (None, Some("t"), "neither client_id nor AZURE_CLIENT_ID is set"),
        (Some("c"), Some("t"), "neither token_file nor AZURE_FEDERATED_TOKEN_FILE is set"),
    ] {
        let source = EntraSource::WorkloadIdentity {
            client_id: client_id.map(Into::into),
            tenant_id: tenant_id.map(Into::into),
            token_file: None,
            token_proxy: TokenProxyMode::Auto,
        };
        let (_server, tokens) = entra_with(Vec::new(), source).await;
        let error = tokens.fetch().await.unwrap_err();
        assert_eq!(&*error.text, missing);
        let advice = error.advice.unwrap();
        assert!(advice.contains(r#"`azure.workload.identity/use: "true"`"#), "{advice}");
    }
}
