//! The sources that `auto` may choose, in their order, and the sign of each in the environment.

use super::super::{AzureAccount, EntraSource, ManagedIdentityId, TokenProxyMode};
use super::restriction::Credential;
use super::{Environment, Host};

/// A source, and whether the environment offers it.
pub(super) struct Candidate {
    pub(super) credential: Credential,
    /// The type in the configuration.
    pub(super) name: &'static str,
    pub(super) source: EntraSource,
    /// What was found, or what is missing.
    pub(super) sign: Result<String, String>,
}

/// Returns every source in the order of precedence.
///
/// It is that of Azure's SDKs: the variables of a service principal, a workload identity, a managed identity, the tools of
/// developers. A host that names itself takes precedence over those tools, too.
pub(super) fn candidates(
    client_id: Option<&str>,
    token_proxy: TokenProxyMode,
    environment: &Environment,
) -> Vec<Candidate> {
    let variables = &environment.variables;
    let id = client_id.map(str::to_owned).or_else(|| variables.get("AZURE_CLIENT_ID"));
    // The name of the setting that is used, or that is missing.
    let id_name = if client_id.is_some() { "client_id" } else { "AZURE_CLIENT_ID" };
    let registered = |variable| {
        let has_id = id.is_some();
        let signs = [variable, "AZURE_TENANT_ID"].map(|name| (name, variables.has(name)));
        sign(&[signs[0], signs[1], (id_name, has_id)])
    };
    // Cloud Shell has no use for the variable.
    let managed_id = id.clone().filter(|_| client_id.is_some() || environment.host != Host::CloudShell);
    let managed = managed_id.map_or(ManagedIdentityId::System, ManagedIdentityId::ClientId);
    let of_host = match environment.host {
        Host::Imds if environment.azure_machine => Ok("this is an Azure virtual machine".to_owned()),
        Host::Imds => {
            Err("this is neither a host such as App Service nor an Azure virtual machine".to_owned())
        }
        host => Ok(format!("this host is {host}")),
    };
    let on_path = |command| {
        if environment.commands.contains(&command) {
            Ok(format!("{command} is on PATH"))
        } else {
            Err(format!("{command} is not on PATH"))
        }
    };
    vec![
        Candidate {
            credential: Credential::Environment,
            name: "client_secret",
            source: EntraSource::ClientSecret { client_id: id.clone(), tenant_id: None, secret: None },
            sign: registered("AZURE_CLIENT_SECRET"),
        },
        Candidate {
            credential: Credential::Environment,
            name: "client_certificate",
            source: EntraSource::ClientCertificate {
                client_id: id.clone(),
                tenant_id: None,
                files: None,
                send_chain: None,
            },
            sign: registered("AZURE_CLIENT_CERTIFICATE_PATH"),
        },
        Candidate {
            credential: Credential::WorkloadIdentity,
            name: "workload_identity",
            source: EntraSource::WorkloadIdentity {
                client_id: id.clone(),
                tenant_id: None,
                token_file: None,
                token_proxy,
            },
            sign: registered("AZURE_FEDERATED_TOKEN_FILE"),
        },
        Candidate {
            credential: Credential::ManagedIdentity,
            name: "managed_identity",
            source: EntraSource::ManagedIdentity(managed),
            sign: of_host,
        },
        Candidate {
            credential: Credential::AzureCli,
            name: "azure_cli",
            source: EntraSource::AzureCli(AzureAccount::Default),
            sign: on_path("az"),
        },
        Candidate {
            credential: Credential::AzureDeveloperCli,
            name: "azure_developer_cli",
            source: EntraSource::AzureDeveloperCli { tenant_id: None },
            sign: on_path("azd"),
        },
    ]
}

/// Returns which of these settings are set, or which are missing.
fn sign(settings: &[(&str, bool)]) -> Result<String, String> {
    let named = |is_set: bool| settings.iter().filter(|it| it.1 == is_set).map(|it| it.0).collect::<Vec<_>>();
    match named(false).as_slice() {
        [] => Ok(format!("{} are set", list(&named(true)))),
        [missing] => Err(format!("{missing} is not set")),
        missing => Err(format!("{} are not set", list(missing))),
    }
}

/// Returns the names of at least two settings.
fn list(names: &[&str]) -> String {
    match names {
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
        [] => String::new(),
    }
}
