//! Service principals with a certificate, against the stand-in.

use cachepulse_standin::{HOST, Options, Standin};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::connection::tls::roots::Roots;
use crate::identity::certificate::CertificateFiles;
use crate::identity::testing::rsa_key;

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct Lab {
    azure: Standin,
    pem: tempfile::NamedTempFile,
}

impl Lab {
    /// Starts a stand-in with an application, and writes `certificates` and the key to the agent's file.
    async fn start(certificates: &str) -> Self {
        Self { azure: Standin::start(Options::default()).await.unwrap(), pem: file(&with_key(certificates)) }
    }

    fn register(&self, certificate: &[u8]) {
        self.azure.endpoint().set(|settings| settings.certificates = vec![certificate.to_owned()]);
    }

    fn tokens(&self, source: EntraSource, changes: &[(&'static str, &str)]) -> EntraTokens {
        let roots = Roots::none().with_pem(self.azure.ca_pem().as_bytes()).unwrap();
        let transport = Transport::with_proxies(&roots, Matcher::builder().build(), resolver());
        let identity = EntraIdentity {
            source,
            scope: DEFAULT_SCOPE.into(),
            authority: Some(self.azure.authority_url()),
        };
        let set = [
            ("AZURE_CLIENT_ID", self.azure.client_id().to_owned()),
            ("AZURE_TENANT_ID", self.azure.tenant_id().to_owned()),
            ("AZURE_CLIENT_CERTIFICATE_PATH", self.pem.path().to_str().unwrap().to_owned()),
        ];
        let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let variables = Variables::new(move |name| {
            let mut values = changes.iter().chain(&set);
            values.find(|(key, _)| *key == name).map(|(_, value)| value.clone())
        });
        tokens(identity, Arc::new(transport), variables)
    }
}

fn with_key(certificates: &str) -> String {
    format!("{certificates}{}", rsa_key().serialize_pem())
}

fn certificate(files: Option<CertificateFiles>, send_chain: Option<bool>) -> EntraSource {
    EntraSource::ClientCertificate { client_id: None, tenant_id: None, files, send_chain }
}

#[tokio::test]
async fn a_certificate_gets_a_token_wherever_its_files_are_named() {
    let own = CertificateParams::new([]).unwrap().self_signed(&rsa_key()).unwrap();
    let lab = Lab::start(&own.pem()).await;
    lab.register(own.der());
    let (pem, alone, key) = (lab.pem.path(), file(&own.pem()), file(&rsa_key().serialize_pem()));
    let one = CertificateFiles { file: pem.into(), key_file: None };
    let two = CertificateFiles { file: alone.path().into(), key_file: Some(key.path().into()) };
    let auto = EntraSource::Auto { client_id: None, token_proxy: TokenProxyMode::Auto };
    for source in [certificate(None, None), certificate(Some(one), None), certificate(Some(two), None), auto]
    {
        let token = lab.tokens(source, &[]).fetch().await.unwrap();
        assert_eq!(token.object_id.as_deref(), Some(lab.azure.object_id()));
    }
    assert!(lab.azure.authority_url().contains(HOST));
}

#[tokio::test]
async fn a_renewed_certificate_is_read_at_the_next_request() {
    let [old, new] = ["old", "new"]
        .map(|name| CertificateParams::new([name.to_owned()]).unwrap().self_signed(&rsa_key()).unwrap());
    let lab = Lab::start(&old.pem()).await;
    let tokens = lab.tokens(certificate(None, None), &[]);
    lab.register(old.der());
    tokens.fetch().await.unwrap();
    lab.register(new.der());
    let error = tokens.fetch().await.unwrap_err();
    assert!(error.text.starts_with("HTTP 401: AADSTS700027: "), "{error}");
    assert!(error.advice.unwrap().starts_with("Add the certificate to the application"), "{error:?}");
    std::fs::write(lab.pem.path(), with_key(&new.pem())).unwrap();
    tokens.fetch().await.unwrap();
}

#[tokio::test]
async fn the_chain_is_sent_if_that_is_configured_or_set() {
    let issuer = issuer();
    let own = CertificateParams::new([]).unwrap().signed_by(&rsa_key(), &issuer).unwrap();
    let lab = Lab::start(&(own.pem() + &issuer.pem())).await;
    lab.azure.endpoint().set(|settings| settings.certificate_issuer = Some(issuer.der().to_vec()));
    let set = ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true");
    for (send_chain, changes, is_sent) in [
        (None, &[][..], false),
        (Some(true), &[], true),
        (None, &[set], true),
        (None, &[(set.0, "1")], true),
        (None, &[(set.0, "false")], false),
        (Some(false), &[set], false),
    ] {
        let fetched = lab.tokens(certificate(None, send_chain), changes).fetch().await;
        assert_eq!(fetched.is_ok(), is_sent, "{send_chain:?} {changes:?} {fetched:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_missing_unusable_or_not_valid_now_is_not_sent() {
    let dated = |start, end| {
        let mut params = CertificateParams::new([]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(start, 1, 1), rcgen::date_time_ymd(end, 1, 1));
        params.self_signed(&rsa_key()).unwrap().pem()
    };
    let lab = Lab::start("").await;
    let tokens = lab.tokens(certificate(None, None), &[]);
    let path = lab.pem.path().display();
    for (content, text, advice) in [
        (
            with_key(&dated(2000, 2001)),
            format!("{path} holds a certificate that expired at 2001-01-01T00:00:00.000Z"),
            Some("Renew the certificate"),
        ),
        (
            with_key(&dated(2200, 2201)),
            format!("{path} holds a certificate that is not valid before 2200-01-01T00:00:00.000Z"),
            Some("Check this machine's clock"),
        ),
        (with_key(""), format!("{path} holds no certificate in PEM (BEGIN CERTIFICATE)"), None),
    ] {
        std::fs::write(lab.pem.path(), content).unwrap();
        let error = tokens.fetch().await.unwrap_err();
        assert_eq!(&*error.text, text);
        let starts = |advice: &str| error.advice.is_some_and(|given| given.starts_with(advice));
        assert!(advice.map_or(error.advice.is_none(), starts), "{error:?}");
    }
    let unset = lab.tokens(certificate(None, None), &[("AZURE_CLIENT_CERTIFICATE_PATH", "")]);
    let error = unset.fetch().await.unwrap_err();
    assert_eq!(&*error.text, "neither client_certificate nor AZURE_CLIENT_CERTIFICATE_PATH is set");
    assert_eq!(lab.azure.endpoint().requests(), []);
}
