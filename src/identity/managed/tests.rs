//! Every host and its faults, against the stand-in.

use std::sync::Arc;
use std::time::Duration;

use cachepulse_standin::{Challenge, ErrorBody, ExpiryForm, ManagedHost, Options, Standin, TokenFault};
use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::connection::testing::resolver;
use crate::connection::tls::roots::Roots;
use crate::files::Files;
use crate::identity::DEFAULT_SCOPE;
use crate::identity::testing::{Server, response};
use crate::identity::transport::Transport;
use crate::identity::variables::Variables;

const LIFETIME: Duration = Duration::from_secs(3600);
const SYSTEM: ManagedIdentityId = ManagedIdentityId::System;

/// A stand-in, and the folder of its keys as Azure Arc's agent.
struct Lab {
    azure: Standin,
    keys: tempfile::TempDir,
}

impl Lab {
    async fn start() -> Self {
        let azure = Standin::start(Options { token_lifetime: LIFETIME, ..Options::default() }).await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        azure.endpoint().set(|settings| settings.arc_keys = Some(keys.path().to_owned()));
        Self { azure, keys }
    }

    /// Returns a platform on `host`, with more variables.
    fn platform(&self, host: ManagedHost, more: &[(&'static str, &str)]) -> Platform {
        let mut values = self.azure.host_variables(host);
        values.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let variables = Variables::new(move |name| {
            values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
        });
        let transport = Arc::new(Transport::new(&Roots::none(), resolver()));
        Platform { transport, files: Files::system(), variables, clock: Clock::system() }
    }

    async fn request(
        &self,
        platform: &Platform,
        id: &ManagedIdentityId,
        is_hint: bool,
    ) -> Result<Answer, FetchError> {
        // Not `fetch`: this machine could be connected by Azure Arc.
        let host = Host::named_by(&platform.variables).unwrap_or(Host::Imds);
        let wanted = Wanted { id, is_hint, scope: DEFAULT_SCOPE };
        fetch_from(host, wanted, platform, self.keys.path()).await
    }

    async fn fetch(&self, host: ManagedHost, id: &ManagedIdentityId) -> Result<Token, FetchError> {
        self.request(&self.platform(host, &[]), id, false).await.map(|answer| answer.token)
    }

    async fn error(&self, host: ManagedHost, id: &ManagedIdentityId) -> FetchError {
        self.fetch(host, id).await.unwrap_err()
    }

    /// Lets the next request fail with `fault`.
    fn fail(&self, fault: TokenFault) {
        self.azure.endpoint().set(|settings| settings.script.push_back(fault));
    }

    /// Returns the identity by each kind of id.
    fn by_each_id(&self) -> [ManagedIdentityId; 3] {
        [
            ManagedIdentityId::ClientId(self.azure.client_id().into()),
            ManagedIdentityId::ObjectId(self.azure.object_id().into()),
            ManagedIdentityId::ResourceId(self.azure.resource_id().into()),
        ]
    }
}

#[tokio::test]
async fn every_host_gives_a_token_of_its_own_identity() {
    let lab = Lab::start().await;
    for host in ManagedHost::ALL {
        let token = lab.fetch(host, &SYSTEM).await.unwrap();
        assert_eq!(token.object_id.as_deref(), Some(lab.azure.object_id()), "{host:?}");
        let request = lab.azure.endpoint().requests().pop().unwrap();
        assert_eq!((&*request.path, request.identity), (host.path(), None));
    }
}

#[tokio::test]
async fn a_user_assigned_identity_is_named_by_each_id_that_the_host_takes() {
    let lab = Lab::start().await;
    for host in ManagedHost::ALL {
        for id in lab.by_each_id() {
            let takes_it = match host {
                ManagedHost::AppService | ManagedHost::Imds | ManagedHost::Arc => true,
                ManagedHost::MachineLearning => matches!(id, ManagedIdentityId::ClientId(_)),
                ManagedHost::CloudShell => false,
            };
            let before = lab.azure.endpoint().requests().len();
            match lab.fetch(host, &id).await {
                Ok(_) if takes_it => {
                    let request = lab.azure.endpoint().requests().pop().unwrap();
                    assert!(request.identity.is_some(), "{host:?} {id:?}");
                }
                Err(error) if !takes_it => {
                    assert!(error.text.contains("takes"), "{error}");
                    assert_eq!(lab.azure.endpoint().requests().len(), before);
                }
                other => panic!("{host:?} {id:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn every_form_of_the_expiry_is_read_on_every_host() {
    let lab = Lab::start().await;
    for host in ManagedHost::ALL {
        for form in ExpiryForm::ALL {
            lab.fail(TokenFault::Expiry(form));
            let token =
                lab.fetch(host, &SYSTEM).await.unwrap_or_else(|error| panic!("{host:?} {form:?}: {error}"));
            let lifetime = Clock::system().until(token.expires_at);
            // Tokens are issued at whole seconds, and the machine may be busy.
            let (least, most) =
                (LIFETIME.saturating_sub(Duration::from_secs(60)), LIFETIME + Duration::from_secs(2));
            assert!((least..most).contains(&lifetime), "{host:?} {form:?}: {lifetime:?}");
        }
    }
}

#[tokio::test]
async fn a_token_of_which_nothing_says_when_it_expires_is_refused() {
    let lab = Lab::start().await;
    lab.fail(TokenFault::Fields(vec![
        ("access_token", Some(json!("opaque"))),
        ("expires_on", None),
        ("expires_in", None),
    ]));
    assert_eq!(
        &*lab.error(ManagedHost::AppService, &SYSTEM).await.text,
        "HTTP 200, but not a token: neither the response nor the token says when it expires"
    );
}

#[tokio::test]
async fn fields_that_say_nothing_new_may_be_missing() {
    let lab = Lab::start().await;
    for host in ManagedHost::ALL {
        lab.fail(TokenFault::Fields(vec![("token_type", None), ("resource", None), ("client_id", None)]));
        lab.fetch(host, &SYSTEM).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_of_another_identity_is_refused_on_every_host() {
    let lab = Lab::start().await;
    let client_id = lab.azure.client_id();
    let by_client_id = ManagedIdentityId::ClientId(client_id.into());
    for (host, words) in [
        (ManagedHost::AppService, "App Service"),
        (ManagedHost::Imds, "the metadata service"),
        (ManagedHost::Arc, "Azure Arc"),
        (ManagedHost::MachineLearning, "Azure Machine Learning"),
    ] {
        lab.fail(TokenFault::with("client_id", "another"));
        assert_eq!(
            *lab.error(host, &by_client_id).await.text,
            format!("{words} returned a token of another identity: asked for {client_id}, got another")
        );
        // Upper or lower case is no difference, and a system-assigned identity is not compared.
        lab.fail(TokenFault::with("client_id", client_id.to_ascii_uppercase()));
        lab.fetch(host, &by_client_id).await.unwrap();
        lab.fail(TokenFault::with("client_id", "another"));
        lab.fetch(host, &SYSTEM).await.unwrap();
    }
}

#[tokio::test]
async fn only_azure_arc_must_say_of_which_identity_its_token_is() {
    let lab = Lab::start().await;
    for id in lab.by_each_id() {
        let silent = ["client_id", "object_id", "msi_res_id"].map(|name| (name, None));
        for host in [ManagedHost::AppService, ManagedHost::Imds] {
            lab.fail(TokenFault::Fields(silent.to_vec()));
            lab.fetch(host, &id).await.unwrap();
        }
        lab.fail(TokenFault::Fields(silent.to_vec()));
        let error = lab.error(ManagedHost::Arc, &id).await;
        assert!(error.text.starts_with("Azure Arc does not say that its token is one of "), "{error}");
        assert!(error.text.contains("its agent is too old for user-assigned identities"), "{error}");
    }
}

#[tokio::test]
async fn the_client_id_of_the_environment_is_ignored_where_the_host_has_no_use_for_it() {
    let lab = Lab::start().await;
    let hint = ManagedIdentityId::ClientId("from-azure-client-id".into());
    let answer = lab.request(&lab.platform(ManagedHost::CloudShell, &[]), &hint, true).await.unwrap();
    assert_eq!(answer.without_hint, Some(Host::CloudShell));
    // An old agent of Azure Arc answers as the system-assigned identity.
    let hint = ManagedIdentityId::ClientId(lab.azure.client_id().into());
    let arc = lab.platform(ManagedHost::Arc, &[]);
    for fault in [TokenFault::without("client_id"), TokenFault::with("client_id", "another")] {
        lab.fail(fault);
        let answer = lab.request(&arc, &hint, true).await.unwrap();
        assert_eq!(answer.without_hint, Some(Host::Arc));
    }
    // A new one obeys it.
    assert_eq!(lab.request(&arc, &hint, true).await.unwrap().without_hint, None);
    // Elsewhere another identity is refused.
    lab.fail(TokenFault::with("client_id", "another"));
    lab.request(&lab.platform(ManagedHost::Imds, &[]), &hint, true).await.unwrap_err();
}

#[tokio::test]
async fn the_advice_names_azure_client_id() {
    let lab = Lab::start().await;
    let unknown = ManagedIdentityId::ClientId("nobody".into());
    let variable = [("AZURE_CLIENT_ID", "nobody")];
    for host in [ManagedHost::AppService, ManagedHost::Imds, ManagedHost::Arc, ManagedHost::MachineLearning] {
        let platform = lab.platform(host, &variable);
        let hinted = lab.request(&platform, &unknown, true).await.unwrap_err();
        assert!(hinted.advice.unwrap().contains("that AZURE_CLIENT_ID names is not assigned"), "{hinted:?}");
        let configured = lab.request(&platform, &unknown, false).await.unwrap_err();
        assert_eq!((configured.text, configured.advice), (hinted.text, None));
        lab.fail(TokenFault::status(500));
        let failed = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
        assert!(failed.advice.unwrap().contains("AZURE_CLIENT_ID is set, but"), "{failed:?}");
    }
}

#[tokio::test]
async fn azure_arcs_rules_for_keys_hold() {
    let lab = Lab::start().await;
    let folder = lab.keys.path().display();
    for (challenge, expected) in [
        (Challenge::None, "HTTP 200 instead of the 401 with a key file of Azure Arc: ".to_owned()),
        (Challenge::WithoutHeader, "the answer of Azure Arc names no key file ".to_owned()),
        (Challenge::OtherFolder, format!("Azure Arc names the key file {folder}/other/")),
        (Challenge::LongKey, format!("the key file {folder}/")),
        (Challenge::NoFile, format!("the key file {folder}/")),
    ] {
        lab.fail(TokenFault::Challenge(challenge));
        let error = lab.error(ManagedHost::Arc, &SYSTEM).await;
        assert!(error.text.starts_with(&expected), "{challenge:?}: {error}");
        let ending = match challenge {
            Challenge::LongKey => "is longer than 4096 bytes",
            Challenge::NoFile => "No such file or directory (os error 2)",
            _ => "",
        };
        assert!(error.text.ends_with(ending), "{challenge:?}: {error}");
    }
    lab.fail(TokenFault::Challenge(Challenge::LineBreak));
    lab.fetch(ManagedHost::Arc, &SYSTEM).await.unwrap();
    // Each token has a challenge of its own.
    let before = lab.azure.endpoint().requests().len();
    lab.fetch(ManagedHost::Arc, &SYSTEM).await.unwrap();
    assert_eq!(lab.azure.endpoint().requests().len(), before + 2);
}

#[tokio::test]
async fn azure_machine_learning_sends_the_default_client_id_of_the_compute() {
    let lab = Lab::start().await;
    let client_id = lab.azure.client_id();
    for (value, expected) in [(client_id, Some(client_id.to_owned())), ("", None)] {
        let platform = lab.platform(ManagedHost::MachineLearning, &[("DEFAULT_IDENTITY_CLIENT_ID", value)]);
        lab.request(&platform, &SYSTEM, false).await.unwrap();
        assert_eq!(lab.azure.endpoint().requests().pop().unwrap().identity, expected);
    }
    // A token of another identity is refused, as with a configured client id.
    let platform = lab.platform(ManagedHost::MachineLearning, &[("DEFAULT_IDENTITY_CLIENT_ID", client_id)]);
    lab.fail(TokenFault::with("client_id", "another"));
    let error = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
    assert_eq!(
        *error.text,
        format!(
            "Azure Machine Learning returned a token of another identity: asked for {client_id}, got another"
        )
    );
    assert!(error.advice.unwrap().starts_with("DEFAULT_IDENTITY_CLIENT_ID"), "{error:?}");
}

#[tokio::test]
async fn service_fabric_is_a_clear_error_without_a_request() {
    let lab = Lab::start().await;
    let platform = lab.platform(ManagedHost::AppService, &[("IDENTITY_SERVER_THUMBPRINT", "00")]);
    let error = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
    assert!(error.text.starts_with("managed identities of Service Fabric are not supported"), "{error}");
    assert!(error.advice.is_some() && lab.azure.endpoint().requests().is_empty());
}

#[tokio::test]
async fn a_refusal_has_the_hosts_words_and_no_secret() {
    let lab = Lab::start().await;
    let page = TokenFault::Status { code: 502, retry_after: None, body: ErrorBody::Html };
    lab.fail(page);
    assert_eq!(
        &*lab.error(ManagedHost::Imds, &SYSTEM).await.text,
        "HTTP 502: a web page instead of the endpoint's response; is there a proxy in between?"
    );
    lab.fail(TokenFault::throttled(3600));
    assert_eq!(
        &*lab.error(ManagedHost::Imds, &SYSTEM).await.text,
        "HTTP 429: The request could not be served."
    );
    lab.fail(TokenFault::Truncated);
    assert_eq!(
        &*lab.error(ManagedHost::Imds, &SYSTEM).await.text,
        "HTTP 200, but not a token: the response is not a JSON object"
    );
    lab.fail(TokenFault::Reset);
    assert!(lab.error(ManagedHost::Imds, &SYSTEM).await.text.contains("the connection was interrupted"));
    let wrong = [("IDENTITY_HEADER", "hunter2")];
    let mut platform = lab.platform(ManagedHost::AppService, &[]);
    let endpoint = platform.variables.get("IDENTITY_ENDPOINT").unwrap();
    platform.variables = Variables::of([("IDENTITY_ENDPOINT", &endpoint), wrong[0]]);
    let error = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
    assert!(error.text.starts_with("HTTP 401: ") && !error.text.contains("hunter2"), "{error}");
    // One that echoes what it was sent, in words that look like no secret.
    let echo = r#"{"statusCode":401,"message":"The header correct horse is wrong"}"#;
    let echo = Server::start(None, response(401, &[], echo)).await;
    let endpoint = format!("http://127.0.0.1:{}/msi/token", echo.port());
    platform.variables =
        Variables::of([("IDENTITY_ENDPOINT", &endpoint), ("IDENTITY_HEADER", "correct horse")]);
    let error = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
    assert_eq!(&*error.text, "HTTP 401: The header <redacted> is wrong");
    platform.variables = Variables::of([("IDENTITY_ENDPOINT", "not a url"), wrong[0]]);
    let error = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
    assert!(error.text.starts_with("IDENTITY_ENDPOINT: expected a URL"), "{error}");
    platform.variables = Variables::of([("IDENTITY_ENDPOINT", "not a url"), ("IMDS_ENDPOINT", "http://a")]);
    let error = lab.request(&platform, &SYSTEM, false).await.unwrap_err();
    assert!(error.text.starts_with("IDENTITY_ENDPOINT: expected a URL"), "Azure Arc: {error}");
}
