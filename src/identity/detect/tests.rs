//! What `auto` chooses, and what it says about it.

use super::*;
use crate::identity::{AzureAccount, ManagedIdentityId};

const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const HEADER: &str = "IDENTITY_HEADER";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

/// Returns an environment with these variables, which are set to their names in lower case.
fn with(variables: &'static [&'static str]) -> Environment {
    let look_up = |name: &str| variables.contains(&name).then(|| name.to_ascii_lowercase());
    let variables = Variables::new(look_up);
    let host = Host::named_by(&variables).unwrap_or(Host::Imds);
    Environment { variables, commands: Vec::new(), azure_machine: false, host }
}

fn resolved(environment: &Environment) -> Resolution {
    detect(None, TokenProxyMode::Auto, environment).unwrap()
}

fn detected(environment: &Environment) -> EntraSource {
    resolved(environment).source
}

fn user_assigned(id: &str) -> EntraSource {
    EntraSource::ManagedIdentity(ManagedIdentityId::ClientId(id.into()))
}

#[test]
fn the_first_source_in_the_order_of_precedence_is_chosen() {
    let client_id = Some("azure_client_id".to_owned());
    let workload = EntraSource::WorkloadIdentity {
        client_id: client_id.clone(),
        tenant_id: None,
        token_file: None,
        token_proxy: TokenProxyMode::Auto,
    };
    let all = with(&[CLIENT_ID, TENANT_ID, TOKEN_FILE, ENDPOINT, HEADER, SECRET, CERTIFICATE]);
    let secret = EntraSource::ClientSecret { client_id: client_id.clone(), tenant_id: None, secret: None };
    assert_eq!(detected(&all), secret);
    let certificate =
        EntraSource::ClientCertificate { client_id, tenant_id: None, files: None, send_chain: None };
    let with_certificate = with(&[CLIENT_ID, TENANT_ID, TOKEN_FILE, ENDPOINT, HEADER, CERTIFICATE]);
    assert_eq!(detected(&with_certificate), certificate);
    assert_eq!(detected(&with(&[CLIENT_ID, CERTIFICATE])), user_assigned("azure_client_id"));
    assert_eq!(detected(&with(&[CLIENT_ID, TENANT_ID, TOKEN_FILE, ENDPOINT, HEADER])), workload);
    let app_service = with(&[CLIENT_ID, TENANT_ID, ENDPOINT, HEADER]);
    assert_eq!(detected(&app_service), user_assigned("azure_client_id"));
    let arc = Environment { host: Host::Arc, ..with(&[CLIENT_ID, TENANT_ID]) };
    assert_eq!(detected(&arc), user_assigned("azure_client_id"));
    let tools = Environment { commands: vec!["az", "azd"], ..with(&[CLIENT_ID, TENANT_ID]) };
    let machine = Environment { azure_machine: true, ..tools.clone() };
    assert_eq!(detected(&machine), user_assigned("azure_client_id"));
    assert_eq!(detected(&tools), EntraSource::AzureCli(AzureAccount::Default));
    let azd = Environment { commands: vec!["azd"], ..tools };
    assert_eq!(detected(&azd), EntraSource::AzureDeveloperCli { tenant_id: None });
    assert_eq!(detected(&with(&[CLIENT_ID])), user_assigned("azure_client_id"));
}

#[test]
fn a_configured_client_id_takes_precedence_over_the_environments() {
    let environment = with(&[CLIENT_ID, ENDPOINT, HEADER]);
    let found = detect(Some("configured"), TokenProxyMode::Auto, &environment).unwrap().source;
    assert_eq!(found, user_assigned("configured"));
}

#[test]
fn a_federated_token_without_a_client_or_tenant_is_no_workload_identity() {
    let system = EntraSource::ManagedIdentity(ManagedIdentityId::System);
    assert_eq!(detected(&with(&[TOKEN_FILE, TENANT_ID])), system);
    assert_eq!(detected(&with(&[TOKEN_FILE, CLIENT_ID])), user_assigned("azure_client_id"));
}

/// Returns an environment with every sign, and `AZURE_TOKEN_CREDENTIALS` with this value.
fn everything(restriction: &'static str) -> Environment {
    let variables = Variables::new(move |name| {
        Some(if name == restriction::VARIABLE { restriction.to_owned() } else { name.to_ascii_lowercase() })
    });
    Environment { variables, commands: vec!["az", "azd"], azure_machine: true, host: Host::AppService }
}

/// Returns the type of a source.
fn kind(source: &EntraSource) -> &'static str {
    match source {
        EntraSource::ClientSecret { .. } => "client_secret",
        EntraSource::ClientCertificate { .. } => "client_certificate",
        EntraSource::WorkloadIdentity { .. } => "workload_identity",
        EntraSource::ManagedIdentity(_) => "managed_identity",
        EntraSource::AzureCli(_) => "azure_cli",
        EntraSource::AzureDeveloperCli { .. } => "azure_developer_cli",
        EntraSource::Auto { .. } => "auto",
    }
}

#[test]
fn azure_token_credentials_restricts_the_sources() {
    for (value, of_everything, of_nothing) in [
        ("", "client_secret", "managed_identity"),
        ("prod", "client_secret", "managed_identity"),
        ("DEV", "azure_cli", "azure_cli"),
        ("EnvironmentCredential", "client_secret", "client_secret"),
        ("workloadidentitycredential", "workload_identity", "workload_identity"),
        (" ManagedIdentityCredential ", "managed_identity", "managed_identity"),
        ("AzureCliCredential", "azure_cli", "azure_cli"),
        ("AzureDeveloperCliCredential", "azure_developer_cli", "azure_developer_cli"),
    ] {
        assert_eq!(kind(&detected(&everything(value))), of_everything, "{value}");
        let variables = Variables::of([(restriction::VARIABLE, value)]);
        let nothing = Environment { variables, ..with(&[]) };
        assert_eq!(kind(&detected(&nothing)), of_nothing, "{value}");
    }
}

#[test]
fn an_unknown_value_of_azure_token_credentials_is_refused_with_those_that_are_known() {
    for value in ["production", "AzurePowerShellCredential"] {
        let error = detect(None, TokenProxyMode::Auto, &everything(value)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "expected dev, prod, EnvironmentCredential, WorkloadIdentityCredential, \
                 ManagedIdentityCredential, AzureCliCredential or AzureDeveloperCliCredential, found {value:?}"
            )
        );
    }
}

#[test]
fn a_resolution_says_why_each_source_was_chosen_or_not() {
    let others = |resolution: &Resolution| -> Vec<String> {
        let line = |it: &Other| format!("{}: {}", it.name, it.because);
        resolution.others.iter().map(line).collect()
    };
    let pod = Environment { commands: vec!["az"], ..with(&[CLIENT_ID, TENANT_ID, TOKEN_FILE]) };
    let of_pod = resolved(&pod);
    assert_eq!(of_pod.because, "AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID are set");
    assert_eq!(
        others(&of_pod),
        [
            "client_secret: AZURE_CLIENT_SECRET is not set",
            "client_certificate: AZURE_CLIENT_CERTIFICATE_PATH is not set",
            "managed_identity: this is neither a host such as App Service nor an Azure virtual machine",
            "azure_cli: workload_identity takes precedence, although az is on PATH",
            "azure_developer_cli: azd is not on PATH",
        ]
    );
    let offered: Vec<_> = of_pod.others.iter().filter(|it| it.is_offered).map(|it| it.name).collect();
    assert_eq!(offered, ["azure_cli"]);

    let nothing = resolved(&with(&[]));
    assert_eq!(nothing.because, "nothing else was found");
    assert_eq!(
        others(&nothing)[..3],
        [
            "client_secret: AZURE_CLIENT_SECRET, AZURE_TENANT_ID and AZURE_CLIENT_ID are not set",
            "client_certificate: AZURE_CLIENT_CERTIFICATE_PATH, AZURE_TENANT_ID and AZURE_CLIENT_ID are not set",
            "workload_identity: AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID are not set",
        ]
    );
    let named = detect(Some("configured"), TokenProxyMode::Auto, &everything("dev")).unwrap();
    assert_eq!(named.because, "az is on PATH");
    assert_eq!(others(&named)[0], "client_secret: AZURE_TOKEN_CREDENTIALS=dev excludes it");
    assert_eq!(others(&named)[4], "azure_developer_cli: azure_cli takes precedence, although azd is on PATH");
    let only = Environment {
        variables: Variables::of([(restriction::VARIABLE, "AzureCliCredential")]),
        ..with(&[])
    };
    assert_eq!(resolved(&only).because, "AZURE_TOKEN_CREDENTIALS=AzureCliCredential");
}

#[test]
fn cloud_shell_has_no_use_for_the_environments_client_id() {
    let shell = Environment { host: Host::CloudShell, ..with(&[CLIENT_ID]) };
    assert_eq!(detected(&shell), EntraSource::ManagedIdentity(ManagedIdentityId::System));
    let configured = detect(Some("configured"), TokenProxyMode::Auto, &shell).unwrap().source;
    assert_eq!(configured, user_assigned("configured"));
}
