//! A second opinion on the stand-in and the agent: Azure's SDK for Python. What it accepts, the agent accepts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/program.rs"]
mod program;
#[allow(dead_code, reason = "shared with the tests of the agent")]
#[path = "../agent/scrape.rs"]
mod scrape;

use std::path::PathBuf;
use std::time::Duration;

use cachepulse_standin::{ExpiryForm, HOST, ManagedHost, Options, Standin, TOKEN_PROXY_NAME, TokenFault};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_RSA_SHA256};
use serde_json::json;

use crate::program::{Ended, Program, cachepulse, program};

const HOUR: Duration = Duration::from_secs(3600);

/// A local Azure, with files for the agent and the SDK.
struct Lab {
    azure: Standin,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn start() -> Self {
        let azure = Standin::start(Options { token_lifetime: HOUR, ..Options::default() }).await.unwrap();
        let lab = Self { azure, folder: tempfile::tempdir().unwrap() };
        lab.file("ca.pem", &lab.azure.ca_pem());
        lab
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Returns `cachepulse check` of the cache with the identity type `kind`.
    fn check(&self, kind: &str) -> Program {
        let port = self.azure.cache_port().to_string();
        cachepulse(["check", "--host", HOST, "--port", &port, "--identity", kind])
            .args(["--ca-file".as_ref(), self.folder.path().join("ca.pem").as_os_str()])
    }

    /// Lets each of the next requests have one of `faults`.
    fn script(&self, faults: &[TokenFault]) {
        self.azure.endpoint().set(|settings| settings.script = faults.iter().cloned().collect());
    }
}

/// Returns a script of this folder, run by the Python that has the SDK.
fn python<const N: usize>(script: &str, arguments: [&str; N]) -> Program {
    let python = std::env::var("SDK_PYTHON")
        .expect("SDK_PYTHON names no Python with azure-identity; run `make sdk-test`, which installs one");
    let script = format!("{}/tests/sdk/{script}.py", env!("CARGO_MANIFEST_DIR"));
    program(&python, [&*script]).args(arguments)
}

fn with(program: Program, variables: &[(&'static str, String)]) -> Program {
    variables.iter().fold(program, |program, (name, value)| program.env(name, value))
}

/// Returns the lines that a script printed.
async fn printed(program: Program) -> Vec<String> {
    let ended: Ended = program.run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout.lines().map(str::to_owned).collect()
}

/// The responses to compare: every form of the expiry, and responses with fewer or other fields.
fn responses() -> Vec<TokenFault> {
    let mut faults: Vec<TokenFault> = ExpiryForm::ALL.into_iter().map(TokenFault::Expiry).collect();
    for name in ["resource", "token_type", "client_id", "not_before", "ext_expires_in", "refresh_token"] {
        faults.push(TokenFault::without(name));
    }
    faults.push(TokenFault::with("token_type", "bearer"));
    faults.push(TokenFault::with("surprise", json!({"a": [1, null]})));
    faults
}

#[tokio::test]
async fn the_agent_accepts_each_response_of_a_host_that_the_sdk_accepts() {
    let lab = Lab::start().await;
    for host in ManagedHost::ALL {
        // Its keys are in a folder that belongs to root.
        if host == ManagedHost::Arc {
            continue;
        }
        let variables = lab.azure.host_variables(host);
        let faults = responses();
        lab.script(&faults);
        let script = python("managed_identity", [&*faults.len().to_string()]);
        let opinions = printed(with(script, &variables)).await;
        assert_eq!(opinions.len(), faults.len(), "{opinions:?}");
        // The SDK reads fewer forms of the expiry than the hosts send; of IMDS only `expires_in`.
        let accepted = opinions.iter().filter(|opinion| opinion.starts_with("accepted")).count();
        assert!(accepted >= faults.len() / 3, "{host:?}: {opinions:?}");
        for (fault, opinion) in faults.iter().zip(&opinions) {
            lab.script(std::slice::from_ref(fault));
            let ended = with(lab.check("managed_identity"), &variables).run().await;
            assert!(
                ended.code == Some(0) || !opinion.starts_with("accepted"),
                "{host:?} {fault:?}: the SDK says {opinion}, the agent {ended:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_user_assigned_identity_is_asked_for_as_the_sdk_does() {
    let lab = Lab::start().await;
    let client_id = lab.azure.client_id();
    for host in [ManagedHost::AppService, ManagedHost::Imds, ManagedHost::MachineLearning] {
        let variables = lab.azure.host_variables(host);
        let opinions = printed(with(python("managed_identity", ["1", client_id]), &variables)).await;
        assert!(opinions[0].starts_with("accepted"), "{host:?}: {opinions:?}");
        let check = lab.check("managed_identity").args(["--client-id", client_id]);
        assert_eq!(with(check, &variables).run().await.code, Some(0), "{host:?}");
        let requests = lab.azure.endpoint().requests();
        let [.., theirs, ours] = &*requests else { panic!("{requests:?}") };
        let shape = |it: &cachepulse_standin::RequestRecord| {
            (it.method.clone(), it.path.clone(), it.identity.clone())
        };
        assert_eq!(shape(ours), shape(theirs));
    }
}

#[tokio::test]
async fn a_pod_exchanges_its_token_as_the_sdk_does_with_and_without_an_identity_binding() {
    let lab = Lab::start().await;
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let ca_file = path(lab.folder.path().join("ca.pem"));
    let plain = vec![
        ("AZURE_CLIENT_ID", lab.azure.client_id().to_owned()),
        ("AZURE_TENANT_ID", lab.azure.tenant_id().to_owned()),
        ("AZURE_AUTHORITY_HOST", lab.azure.authority_url()),
        ("SSL_CERT_FILE", ca_file.clone()),
        ("REQUESTS_CA_BUNDLE", ca_file),
    ];
    let federated = lab.azure.federated_token(HOUR).unwrap();
    let bound = lab.azure.binding_token(HOUR).unwrap();
    let direct = vec![("AZURE_FEDERATED_TOKEN_FILE", path(lab.file("federated", federated.expose())))];
    let proxied = vec![
        ("AZURE_FEDERATED_TOKEN_FILE", path(lab.file("bound", bound.expose()))),
        ("AZURE_KUBERNETES_TOKEN_PROXY", lab.azure.token_proxy_url()),
        ("AZURE_KUBERNETES_SNI_NAME", TOKEN_PROXY_NAME.to_owned()),
        ("AZURE_KUBERNETES_CA_FILE", path(lab.file("proxy.pem", &lab.azure.token_proxy_ca_pem()))),
    ];
    for (more, script) in
        [(direct, python("workload_identity", [])), (proxied, python("workload_identity", ["proxy"]))]
    {
        let variables = [&*plain, &more].concat();
        assert_eq!(printed(with(script, &variables)).await, ["accepted"]);
        let check = with(lab.check("workload_identity"), &variables).run().await;
        assert_eq!(check.code, Some(0), "{check:?}");
        let requests = lab.azure.endpoint().requests();
        let [.., theirs, ours] = &*requests else { panic!("{requests:?}") };
        let shape = |it: &cachepulse_standin::RequestRecord| {
            (it.method.clone(), it.path.clone(), it.host.clone(), it.server_name.clone())
        };
        assert_eq!(shape(ours), shape(theirs));
    }
}

/// A certificate and its RSA key. Keys of this kind cannot be made here.
const EXAMPLE: &str = include_str!("../../examples/secrets/client-certificate.pem");

#[tokio::test]
async fn a_certificate_is_accepted_from_the_agent_and_the_sdk_alone_and_with_its_chain() {
    let lab = Lab::start().await;
    let start = EXAMPLE.find("-----BEGIN PRIVATE KEY").unwrap();
    let key = KeyPair::from_pem_and_sign_algo(&EXAMPLE[start..], &PKCS_RSA_SHA256).unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let own = CertificateParams::new([]).unwrap().signed_by(&key, &issuer).unwrap();
    let pem = lab.file("certificate.pem", &(own.pem() + &issuer.pem() + &EXAMPLE[start..]));
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let ca_file = path(lab.folder.path().join("ca.pem"));
    let variables = [
        ("AZURE_CLIENT_ID", lab.azure.client_id().to_owned()),
        ("AZURE_TENANT_ID", lab.azure.tenant_id().to_owned()),
        ("AZURE_AUTHORITY_HOST", lab.azure.authority_url()),
        ("AZURE_CLIENT_CERTIFICATE_PATH", path(pem)),
        ("SSL_CERT_FILE", ca_file.clone()),
        ("REQUESTS_CA_BUNDLE", ca_file),
    ];
    let opinions = async || {
        let theirs = [python("certificate", []), python("certificate", ["chain"])];
        let ours = [("client_certificate", "false"), ("client_certificate", "true"), ("auto", "true")];
        let mut opinions = Vec::new();
        for script in theirs {
            let opinion = printed(with(script, &variables)).await;
            println!("{opinion:?}");
            opinions.push(opinion == ["accepted"]);
        }
        for (kind, chain) in ours {
            let check = lab.check(kind).env("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", chain);
            opinions.push(with(check, &variables).run().await.code == Some(0));
        }
        opinions
    };
    assert_eq!(opinions().await, [false; 5], "neither the certificate nor its issuer is known");
    lab.azure.endpoint().set(|settings| settings.certificates = vec![own.der().to_vec()]);
    assert_eq!(opinions().await, [true; 5]);
    lab.azure.endpoint().set(|settings| {
        settings.certificates = Vec::new();
        settings.certificate_issuer = Some(issuer.der().to_vec());
    });
    assert_eq!(opinions().await, [false, true, false, true, true]);
}

#[tokio::test]
async fn the_token_of_aws_is_a_signed_request_without_its_scheme() {
    let python = std::env::var("SDK_PYTHON").expect("as for the other scripts");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/aws/cache-token");
    let token = async |service: &str, more: &[&str]| {
        let run = program(&python, [script, service, "Orders", "probe"]).args(more);
        let credentials =
            [("AWS_ACCESS_KEY_ID", "AKIA".to_owned()), ("AWS_SECRET_ACCESS_KEY", "x".to_owned())];
        let lines = printed(with(run.env("AWS_REGION", "eu-west-1"), &credentials)).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    };
    let cache = token("elasticache", &[]).await;
    assert!(cache.starts_with("orders/?Action=connect&User=probe&X-Amz-Algorithm="), "{cache}");
    for part in ["%2Feu-west-1%2Felasticache%2Faws4_request", "&X-Amz-Expires=900&", "&X-Amz-Signature="] {
        assert!(cache.contains(part), "{part} in {cache}");
    }
    assert!(token("memorydb", &[]).await.contains("%2Feu-west-1%2Fmemorydb%2Faws4_request"));
    assert!(token("elasticache", &["--serverless"]).await.contains("&ResourceType=ServerlessCache&"));
}
