//! Pods with an AKS identity binding, against the stand-in.

use cachepulse_standin::{ErrorBody, HOST, Options, Standin, TOKEN_PROXY_NAME, TokenFault};

use super::*;
use crate::connection::tls::roots::Roots;
use crate::identity::token_proxy::{NOT_BOUND, NOT_FOR_ENTRA};

const HOUR: Duration = Duration::from_secs(3600);

/// A pod beside a stand-in. It trusts the stand-in's usual certificates, and its HTTP proxy does not work.
struct Pod {
    azure: Standin,
    token_file: tempfile::NamedTempFile,
    ca_file: tempfile::NamedTempFile,
}

impl Pod {
    async fn start() -> Self {
        let azure = Standin::start(Options { token_lifetime: HOUR, ..Options::default() }).await.unwrap();
        let token = azure.binding_token(HOUR).unwrap();
        let ca_file = file(&azure.token_proxy_ca_pem());
        Self { azure, token_file: file(&format!("{}\n", token.expose())), ca_file }
    }

    /// Returns the variables that the webhook injects, and then `changes`.
    fn variables(&self, changes: &[(&'static str, &str)]) -> Variables {
        let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
        let injected = [
            ("AZURE_CLIENT_ID", self.azure.client_id().to_owned()),
            ("AZURE_TENANT_ID", self.azure.tenant_id().to_owned()),
            ("AZURE_FEDERATED_TOKEN_FILE", path(&self.token_file)),
            ("AZURE_KUBERNETES_TOKEN_PROXY", self.azure.token_proxy_url()),
            ("AZURE_KUBERNETES_SNI_NAME", TOKEN_PROXY_NAME.to_owned()),
            ("AZURE_KUBERNETES_CA_FILE", path(&self.ca_file)),
        ];
        let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Variables::new(move |name| {
            let mut values = changes.iter().chain(&injected);
            values.find(|(key, _)| *key == name).map(|(_, value)| value.clone())
        })
    }

    fn tokens(&self, source: EntraSource, changes: &[(&'static str, &str)]) -> EntraTokens {
        let roots = Roots::none().with_pem(self.azure.ca_pem().as_bytes()).unwrap();
        let no_proxy = Matcher::builder().all("http://127.0.0.1:1").no(HOST).build();
        let transport = Transport::with_proxies(&roots, no_proxy, resolver());
        let authority = Some(self.azure.authority_url());
        let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority };
        tokens(identity, Arc::new(transport), self.variables(changes))
    }

    async fn error(&self, source: EntraSource, changes: &[(&'static str, &str)]) -> FetchError {
        self.tokens(source, changes).fetch().await.unwrap_err()
    }
}

fn workload(token_file: Option<PathBuf>, token_proxy: TokenProxyMode) -> EntraSource {
    EntraSource::WorkloadIdentity { client_id: None, tenant_id: None, token_file, token_proxy }
}

fn auto() -> EntraSource {
    workload(None, TokenProxyMode::Auto)
}

#[tokio::test]
async fn a_token_of_the_webhook_is_exchanged_by_the_proxy_that_its_variables_name() {
    let pod = Pod::start().await;
    for source in [auto(), EntraSource::Auto { client_id: None, token_proxy: TokenProxyMode::Auto }] {
        let token = pod.tokens(source, &[]).fetch().await.unwrap();
        assert_eq!(token.object_id.as_deref(), Some(pod.azure.object_id()));
        let request = pod.azure.endpoint().requests().pop().unwrap();
        assert_eq!(request.path, format!("/token-proxy/{}/oauth2/v2.0/token", pod.azure.tenant_id()));
        assert_eq!(request.server_name.as_deref(), Some(TOKEN_PROXY_NAME));
        let host = pod.azure.authority_url().replace("https://", "");
        assert_eq!(request.host, Some(host), "the header names the proxy's host");
    }
}

#[tokio::test]
async fn only_the_named_authority_is_trusted_as_a_file_or_as_text() {
    let pod = Pod::start().await;
    let (right, other) = (pod.azure.token_proxy_ca_pem(), pod.azure.ca_pem());
    let no_file = ("AZURE_KUBERNETES_CA_FILE", "");
    // Several certificates, as during a rotation.
    for pem in [right.clone(), format!("{other}{right}")] {
        pod.tokens(auto(), &[no_file, ("AZURE_KUBERNETES_CA_DATA", &pem)]).fetch().await.unwrap();
    }
    // The platform trusts this one, which signed the certificate for the other name.
    let error = pod.error(auto(), &[no_file, ("AZURE_KUBERNETES_CA_DATA", &other)]).await;
    assert!(error.text.contains("tls_certificate at tls"), "{error}");
    let error = pod.error(auto(), &[("AZURE_KUBERNETES_SNI_NAME", "")]).await;
    assert!(error.text.contains("tls_certificate at tls"), "{error}");
}

#[tokio::test]
async fn a_proxy_without_a_named_authority_or_name_is_verified_as_any_host() {
    let pod = Pod::start().await;
    let changes = [("AZURE_KUBERNETES_CA_FILE", ""), ("AZURE_KUBERNETES_SNI_NAME", "")];
    // At this name is Entra's token service, which the platform trusts and which does not know the path.
    let error = pod.error(auto(), &changes).await;
    assert_eq!(&*error.text, "HTTP 400: AADSTS90002: Tenant not found.");
    assert_eq!(pod.azure.endpoint().requests()[0].server_name.as_deref(), Some(HOST));
}

#[tokio::test]
async fn the_proxy_may_be_an_address() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.server("127.0.0.1")), json(200, TOKEN)).await;
    let url = format!("https://127.0.0.1:{}/", server.port());
    let pod = Pod::start().await;
    let pem = authority.pem();
    let changes = [
        ("AZURE_KUBERNETES_TOKEN_PROXY", &*url),
        ("AZURE_KUBERNETES_SNI_NAME", ""),
        ("AZURE_KUBERNETES_CA_FILE", ""),
        ("AZURE_KUBERNETES_CA_DATA", &pem),
    ];
    pod.tokens(auto(), &changes).fetch().await.unwrap();
    let expected = format!("POST /{}/oauth2/v2.0/token HTTP/1.1\r\n", pod.azure.tenant_id());
    assert!(server.requests()[0].starts_with(&expected), "{}", server.requests()[0]);
}

#[tokio::test]
async fn the_authorities_are_reread_for_each_request() {
    let pod = Pod::start().await;
    let tokens = pod.tokens(auto(), &[]);
    std::fs::write(pod.ca_file.path(), Authority::new().pem()).unwrap();
    tokens.fetch().await.unwrap_err();
    std::fs::write(pod.ca_file.path(), pod.azure.token_proxy_ca_pem()).unwrap();
    tokens.fetch().await.unwrap();
}

#[tokio::test]
async fn an_authority_that_cannot_be_used_is_named() {
    let pod = Pod::start().await;
    let path = pod.ca_file.path().display().to_string();
    std::fs::write(pod.ca_file.path(), "").unwrap();
    let error = pod.error(auto(), &[]).await;
    let expected = "holds no certificate in PEM (BEGIN CERTIFICATE)";
    assert_eq!(*error.text, format!("AZURE_KUBERNETES_CA_FILE: {path} {expected}"));
    let error = pod.error(auto(), &[("AZURE_KUBERNETES_CA_FILE", "/nonexistent/ca.crt")]).await;
    let expected = "AZURE_KUBERNETES_CA_FILE: /nonexistent/ca.crt cannot be read: No such file";
    assert!(error.text.starts_with(expected), "{error}");
    let error = pod.error(auto(), &[("AZURE_KUBERNETES_CA_DATA", "x")]).await;
    assert!(error.text.ends_with("are both set; keep one of them"), "{error}");
    let error = pod.error(auto(), &[("AZURE_KUBERNETES_TOKEN_PROXY", "")]).await;
    assert!(error.text.ends_with("is set, but AZURE_KUBERNETES_TOKEN_PROXY is not"), "{error}");
}

#[tokio::test]
async fn a_configured_token_file_is_exchanged_with_entra() {
    let pod = Pod::start().await;
    let own = file(pod.azure.federated_token(HOUR).unwrap().expose());
    // Not even invalid variables matter.
    let changes = [("AZURE_KUBERNETES_TOKEN_PROXY", "http://x")];
    let source = workload(Some(own.path().into()), TokenProxyMode::Auto);
    pod.tokens(source, &changes).fetch().await.unwrap();
    let request = pod.azure.endpoint().requests().pop().unwrap();
    assert_eq!(request.path, format!("/{}/oauth2/v2.0/token", pod.azure.tenant_id()));
    assert_eq!(request.server_name.as_deref(), Some(HOST));
}

#[tokio::test]
async fn a_token_for_the_proxy_that_is_sent_to_entra_is_explained() {
    let pod = Pod::start().await;
    let named = workload(Some(pod.token_file.path().into()), TokenProxyMode::Auto);
    for source in [workload(None, TokenProxyMode::Off), named] {
        let error = pod.error(source, &[]).await;
        assert!(error.text.starts_with("HTTP 400: AADSTS700212: "), "{error}");
        assert_eq!(error.advice, Some(NOT_FOR_ENTRA));
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_explained_differently() {
    let pod = Pod::start().await;
    let china = pod.azure.service_account_token("api://AzureADTokenExchangeChina", HOUR).unwrap();
    let own = file(china.expose());
    let error = pod.error(workload(Some(own.path().into()), TokenProxyMode::Auto), &[]).await;
    assert!(error.text.starts_with("HTTP 400: AADSTS700212: "), "{error}");
    assert!(error.advice.unwrap().contains("`api://AzureADTokenExchangeChina`"), "{error:?}");
}

#[tokio::test]
async fn a_refusal_of_the_api_server_points_at_the_cluster_role() {
    let pod = Pod::start().await;
    let fault = TokenFault::Status { code: 403, retry_after: None, body: ErrorBody::Kubernetes };
    pod.azure.endpoint().set(|settings| settings.script.push_back(fault));
    let error = pod.error(auto(), &[]).await;
    assert_eq!(&*error.text, "HTTP 403: use-managed-identity is forbidden");
    assert_eq!(error.advice, Some(NOT_BOUND));
    // A token of Entra's audience.
    std::fs::write(pod.token_file.path(), pod.azure.federated_token(HOUR).unwrap().expose()).unwrap();
    assert_eq!(pod.error(auto(), &[]).await.advice, Some(NOT_BOUND));
    let throttled = TokenFault::throttled(7);
    pod.azure.endpoint().set(|settings| settings.script.push_back(throttled));
    assert_eq!(pod.error(auto(), &[]).await.advice, None);
}
