//! Every type of identity, from the variables and files of its environment to the cache.

use std::path::Path;
use std::time::Duration;

use cachepulse_standin::{ErrorBody, ManagedHost, TOKEN_PROXY_NAME, TokenFault};

use crate::lab::Lab;
use crate::program::{Ended, Program, cachepulse};
use crate::redis_server::{ALL, Listen, PASSWORD, RedisServer};

/// Asserts that `check` succeeded as the lab's identity.
pub(crate) fn signed_in(lab: &Lab, ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains(&format!(" as {}", lab.azure.object_id())), "{ended:?}");
}

/// Returns `check` of the lab's cache, in an environment without an identity.
pub(crate) fn check<const N: usize>(lab: &Lab, more: [&str; N]) -> Program {
    cachepulse(["check"]).args(lab.flags()).args(more)
}

pub(crate) fn with_command(program: Program, folder: &Path) -> Program {
    program.env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
}

#[tokio::test]
async fn a_managed_identity_signs_in_on_app_service() {
    let lab = Lab::start().await;
    signed_in(&lab, &lab.check(["--identity", "managed_identity"]).run().await);
    let client_id = lab.azure.client_id();
    signed_in(&lab, &lab.check(["--identity", "managed_identity", "--client-id", client_id]).run().await);
    let object_id = lab.azure.object_id();
    signed_in(&lab, &lab.check(["--identity", "managed_identity", "--object-id", object_id]).run().await);
    let asked: Vec<_> = lab.azure.endpoint().requests().into_iter().map(|it| it.identity).collect();
    assert_eq!(asked, [None, Some(client_id.to_owned()), Some(object_id.to_owned())]);
}

#[tokio::test]
async fn a_managed_identity_signs_in_on_every_host_and_auto_recognises_it() {
    let lab = Lab::start().await;
    // The folder of Azure Arc's keys is fixed and belongs to root; the unit tests have another one.
    for host in ManagedHost::ALL.into_iter().filter(|host| *host != ManagedHost::Arc) {
        for identity in ["managed_identity", "auto"] {
            if (identity, host) == ("auto", ManagedHost::Imds) {
                continue;
            }
            let variables = lab.azure.host_variables(host);
            let program =
                variables.iter().fold(check(&lab, ["--identity", identity]), |program, (name, value)| {
                    program.env(name, value)
                });
            signed_in(&lab, &program.run().await);
            assert_eq!(lab.azure.endpoint().requests().pop().unwrap().path, host.path());
        }
    }
}

#[tokio::test]
async fn azure_client_id_is_used_by_auto_and_named_where_it_is_not_used() {
    let lab = Lab::start().await;
    let client_id = lab.azure.client_id();
    let auto = lab.check(["--identity", "auto"]).env("AZURE_CLIENT_ID", client_id);
    signed_in(&lab, &auto.run().await);
    let explicit = lab.check(["--identity", "managed_identity"]).env("AZURE_CLIENT_ID", client_id);
    signed_in(&lab, &explicit.run().await);
    let asked: Vec<_> = lab.azure.endpoint().requests().into_iter().map(|it| it.identity).collect();
    assert_eq!(asked, [Some(client_id.to_owned()), None]);

    let not_found = TokenFault::Status { code: 400, retry_after: None, body: ErrorBody::NoIdentity };
    lab.azure.endpoint().set(|settings| settings.fault = Some(not_found));
    for (identity, expected) in [
        ("auto", "The identity that AZURE_CLIENT_ID names is not assigned to this host."),
        (
            "managed_identity",
            "AZURE_CLIENT_ID is set, but the type `managed_identity` does not use it: set `--client-id`",
        ),
    ] {
        let program = lab.check(["--identity", identity]).env("AZURE_CLIENT_ID", client_id);
        let ended = program.run().await;
        assert!(ended.stdout.contains(expected), "{ended:?}");
    }
    let ended = lab.check(["--identity", "managed_identity"]).run().await;
    assert!(ended.stdout.contains("set `--client-id`, or AZURE_CLIENT_ID with the type `auto`"), "{ended:?}");
}

#[tokio::test]
async fn in_cloud_shell_auto_ignores_azure_client_id_with_a_warning() {
    let lab = Lab::start().await;
    let variables = lab.azure.host_variables(ManagedHost::CloudShell);
    let program = variables.iter().fold(check(&lab, []), |program, (name, value)| program.env(name, value));
    let ended = program.env("AZURE_CLIENT_ID", lab.azure.client_id()).run().await;
    signed_in(&lab, &ended);
    let message =
        "msg=\"AZURE_CLIENT_ID ignored; the host's own identity is used\" identity=auto host=\"Cloud Shell\"";
    assert!(ended.stderr.contains(message), "{ended:?}");
}

#[tokio::test]
async fn an_unknown_identity_is_shown_with_the_endpoints_error() {
    let lab = Lab::start().await;
    let ended = lab.check(["--identity", "managed_identity", "--client-id", "nobody"]).run().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains(": no_token at token\n"), "{ended:?}");
    assert!(ended.stdout.contains("No managed identity was found for the specified id."), "{ended:?}");
    assert!(ended.stdout.contains("Check the identity: its type and ids"), "{ended:?}");
}

#[tokio::test]
async fn a_workload_identity_signs_in_with_the_variables_of_a_pod() {
    let lab = Lab::start().await;
    signed_in(&lab, &lab.pod(check(&lab, ["--identity", "workload_identity"])).run().await);
}

#[tokio::test]
async fn a_pod_with_an_identity_binding_signs_in_through_its_proxy_and_logs_that_once() {
    let lab = Lab::start().await;
    let run = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders", "--interval", "200ms"]);
    // Renewals follow each other.
    lab.azure.endpoint().set(|settings| settings.lifetime = Duration::from_secs(4));
    let run = run.args(lab.flags()).args(["--identity", "workload_identity"]);
    let agent = lab.bound_pod(run).env("HTTPS_PROXY", "http://127.0.0.1:1").serve().await;
    let renewals = r#"token_refreshes_total{identity="workload_identity",result="success"}"#;
    agent.until("three tokens", |scrape| scrape.is_up("orders") && scrape.value(renewals) > 2.5).await;
    let message = format!(
        "msg=\"identity binding proxy in use\" identity=workload_identity proxy={} server_name={TOKEN_PROXY_NAME}",
        lab.azure.token_proxy_url(),
    );
    assert_eq!(agent.log().matches(&message).count(), 1, "{}", agent.log());
    assert!(lab.azure.endpoint().requests().iter().all(|it| it.path.starts_with("/token-proxy/")));
}

#[tokio::test]
async fn a_pod_with_an_identity_binding_that_does_not_use_the_proxy_is_told_so() {
    let lab = Lab::start().await;
    let off = check(&lab, ["--identity", "workload_identity", "--token-proxy", "off"]);
    let ended = lab.bound_pod(off).run().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("HTTP 400: AADSTS700212: "), "{ended:?}");
    assert!(ended.stdout.contains("leave out `--token-file` and `--token-proxy`"), "{ended:?}");
    assert!(ended.stderr.contains("advice=\"The service account token is meant for the proxy"), "{ended:?}");
}

#[tokio::test]
async fn a_client_secret_signs_in_from_its_variable_and_from_a_file() {
    let lab = Lab::start().await;
    let secret = lab.azure.client_secret().expose();
    let by_variable = check(&lab, ["--identity", "client_secret"]).env("AZURE_CLIENT_SECRET", secret);
    signed_in(&lab, &lab.application(by_variable).run().await);
    let file = lab.file("client-secret", secret);
    let file = file.to_str().unwrap();
    let by_file = check(&lab, ["--identity", "client_secret", "--client-secret-file", file]);
    signed_in(&lab, &lab.application(by_file).run().await);
}

#[tokio::test]
async fn a_wrong_client_secret_is_shown_with_entras_error_and_without_the_secret() {
    let lab = Lab::start().await;
    let wrong = check(&lab, ["--identity", "client_secret"]).env("AZURE_CLIENT_SECRET", "hunter2");
    let ended = lab.application(wrong).run().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("AADSTS7000215: Invalid client secret provided."), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
}

#[tokio::test]
async fn auto_picks_the_identity_that_the_environment_offers_and_logs_it() {
    let lab = Lab::start().await;
    let picked = async |program: Program, chosen: &str| {
        let ended = program.args(["--log-level", "debug"]).run().await;
        signed_in(&lab, &ended);
        let message = format!("msg=\"identity source chosen\" identity=auto chosen={chosen} because=\"");
        assert!(ended.stderr.contains(&message), "{message}: {ended:?}");
    };
    let client_id = lab.azure.client_id();
    let with_secret = |program: Program| {
        lab.application(program).env("AZURE_CLIENT_SECRET", lab.azure.client_secret().expose())
    };
    picked(lab.app_service(check(&lab, [])), "managed_identity").await;
    picked(lab.pod(check(&lab, [])), &format!("workload_identity:{client_id}")).await;
    picked(with_secret(check(&lab, [])), &format!("client_secret:{client_id}")).await;
    // The variables of a service principal take precedence over everything else, as in Azure's SDKs.
    let all = || with_secret(lab.app_service(lab.pod(check(&lab, []))));
    let az = lab.az(&lab.token());
    picked(with_command(all(), &az), &format!("client_secret:{client_id}")).await;
    for (credentials, chosen) in [
        ("prod", format!("client_secret:{client_id}")),
        ("dev", "azure_cli".to_owned()),
        ("workloadidentitycredential", format!("workload_identity:{client_id}")),
        ("ManagedIdentityCredential", format!("managed_identity:{client_id}")),
    ] {
        let program = with_command(all(), &az).env("AZURE_TOKEN_CREDENTIALS", credentials);
        picked(program, &chosen).await;
    }
    if is_azure_machine() {
        eprintln!(
            "skipped: on an Azure machine its managed identity takes precedence over a developer's tools"
        );
        return;
    }
    let azd = lab.azd();
    picked(check(&lab, []).env("PATH", az), "azure_cli").await;
    picked(check(&lab, []).env("PATH", azd), "azure_developer_cli").await;
}

/// Whether `auto` would detect an Azure machine and send requests to its metadata service, which no test may do.
fn is_azure_machine() -> bool {
    let asset_tag = std::fs::read_to_string("/sys/class/dmi/id/chassis_asset_tag");
    asset_tag.is_ok_and(|tag| tag.trim() == "7783-7084-3265-9085-8269-3286-77")
}

#[tokio::test]
async fn a_user_with_a_password_signs_in_to_redis_over_tls() {
    let redis =
        RedisServer::start(Listen::Tls, &[("probe", "~cachepulse:* +ping +set +get +client|list")]).await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), PASSWORD).unwrap();
    let ended = cachepulse(["check", "--host", "localhost", "--username", "probe", "--identity", "password"])
        .args(["--port", &redis.port().to_string()])
        .args(["--ca-file".as_ref(), redis.ca_file().as_os_str()])
        .args(["--password-file".as_ref(), password.path().as_os_str()])
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("  as probe\n"), "{ended:?}");
    assert!(ended.stdout.contains(", addr : 127.0.0.1:"), "{ended:?}");
}

#[tokio::test]
async fn a_plaintext_redis_needs_no_identity() {
    let redis = RedisServer::start(Listen::Plaintext, &[("default", &format!("nopass {ALL}"))]).await;
    let port = redis.port().to_string();
    let ended = cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"])
        .args(["--port", &port])
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains(" tls ") && !ended.stdout.contains(" as "), "{ended:?}");
    assert!(ended.stdout.contains("CLIENT LIST") && ended.stdout.contains("1 client"), "{ended:?}");
}

#[tokio::test]
async fn a_configured_user_that_differs_from_the_tokens_is_a_warning() {
    let lab = Lab::start().await;
    let ended = lab.check(["--username", "somebody-else"]).run().await;
    assert_eq!(ended.code, Some(1));
    let message = format!(
        "msg=\"username differs from the token's object id\" username=somebody-else object_id={}",
        lab.azure.object_id()
    );
    assert!(ended.stderr.contains(&message), "{ended:?}");
    assert!(ended.stdout.contains(": auth_rejected at auth\n"), "{ended:?}");
}

#[tokio::test]
async fn targets_that_share_an_identity_share_its_tokens() {
    let lab = Lab::start().await;
    let target = |name| lab.target(name, "identity: managed_identity, interval: 200ms");
    let file = lab.file("config.yaml", &Lab::config([target("orders"), target("baskets")]));
    let agent = lab.run_file(&file).serve().await;
    let both = "both targets are up";
    let scrape = agent.until(both, |scrape| scrape.is_up("orders") && scrape.is_up("baskets")).await;
    let refreshes = r#"token_refreshes_total{identity="managed_identity",result="success"}"#;
    assert!((scrape.value(refreshes) - 1.0).abs() < 0.5, "{}", scrape.text);
    assert_eq!(lab.azure.endpoint().requests().len(), 1);
}

#[tokio::test]
async fn check_says_which_source_auto_chose_and_why_not_the_others() {
    let lab = Lab::start().await;
    let program = lab.pod(check(&lab, [])).env("AZURE_TOKEN_CREDENTIALS", "prod");
    let ended = program.run().await;
    signed_in(&lab, &ended);
    let client_id = lab.azure.client_id();
    for line in [
        &format!(
            "      auto chose workload_identity:{client_id}: AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID \
             are set\n"
        ),
        "      not client_secret: AZURE_CLIENT_SECRET is not set\n",
        "      not azure_cli: AZURE_TOKEN_CREDENTIALS=prod excludes it\n",
    ] {
        assert!(ended.stdout.contains(line), "{line}: {ended:?}");
    }
    let json = lab.pod(check(&lab, ["--output", "json"])).run().await;
    let result: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let resolution = &result["connection"]["resolution"];
    assert_eq!(resolution["chosen"], format!("workload_identity:{client_id}"));
    assert_eq!(resolution["others"][0]["type"], "client_secret");
    assert_eq!(resolution["others"][0]["because"], "AZURE_CLIENT_SECRET is not set");
    let explicit = lab.check(["--identity", "managed_identity", "--output", "json"]).run().await;
    assert!(!explicit.stdout.contains("resolution"), "{explicit:?}");
}

#[tokio::test]
async fn an_unknown_value_of_azure_token_credentials_is_an_invalid_configuration() {
    let lab = Lab::start().await;
    let wrong = lab.pod(check(&lab, [])).env("AZURE_TOKEN_CREDENTIALS", "AzurePowerShellCredential");
    let ended = wrong.run().await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(
        ended.stderr.contains("AZURE_TOKEN_CREDENTIALS: expected dev, prod, EnvironmentCredential, "),
        "{ended:?}"
    );
    let unused = lab.check(["--identity", "managed_identity"]).env("AZURE_TOKEN_CREDENTIALS", "x");
    signed_in(&lab, &unused.run().await);
}
