//! `auto`: detects the source of Entra tokens from the environment, without network requests.

use std::path::Path;

use super::managed::Host;
use super::platform::Platform;
use super::variables::Variables;
use super::{AzureAccount, EntraSource, ManagedIdentityId, TokenProxyMode};
use crate::files::ReadError;

/// The chassis asset tag of every Azure virtual machine.
/// Source: Microsoft Learn, "Azure Instance Metadata Service", and cloud-init's Azure data source.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The signs of a token source in the environment.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    /// The environment variables.
    pub(super) variables: Variables,
    /// The commands on `PATH`.
    pub(super) commands: Vec<&'static str>,
    /// Whether this is an Azure virtual machine, or a container on one.
    pub(super) azure_machine: bool,
    /// The host of managed identities.
    pub(super) host: Host,
}

impl Environment {
    /// Reads the environment of `platform`: its commands, and the kernel's description of the machine.
    ///
    /// # Errors
    /// [`ReadError`] if the agent's own limits prevent it. What hangs does not exist.
    pub(super) async fn read(platform: &Platform) -> Result<Self, ReadError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let asset_tag = platform.files.read(Path::new("/sys/class/dmi/id/chassis_asset_tag"));
        let commands = platform.files.search(path, &["az", "azd"]);
        let (asset_tag, commands, host) = tokio::join!(asset_tag, commands, Host::of(platform));
        let (asset_tag, commands) = (unless_local(asset_tag.content)?, unless_local(commands)?);
        Ok(Self {
            variables: platform.variables.clone(),
            commands: commands.unwrap_or_default(),
            host: host?,
            azure_machine: asset_tag.is_some_and(|tag| tag.trim_ascii() == AZURE_ASSET_TAG.as_bytes()),
        })
    }
}

/// Returns what was found. Only a limit of the agent is an error.
fn unless_local<T>(found: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match found {
        Err(error) if error.is_local() => Err(error),
        found => Ok(found.ok()),
    }
}

/// Returns the source that `environment` offers, never [`EntraSource::Auto`]. A configured `client_id` takes
/// precedence over the environment's.
///
/// Variables of this process and the host that they name take precedence over the machine's identity, and that over
/// installed tools. The fallback is a managed identity, because its error explains what to set up.
pub(super) fn detect(
    client_id: Option<&str>,
    token_proxy: TokenProxyMode,
    environment: &Environment,
) -> EntraSource {
    let has = |name| environment.variables.has(name);
    let client_id = client_id.map(str::to_owned).or_else(|| environment.variables.get("AZURE_CLIENT_ID"));
    let registered = client_id.is_some() && has("AZURE_TENANT_ID");
    if registered && has("AZURE_FEDERATED_TOKEN_FILE") {
        EntraSource::WorkloadIdentity { client_id, tenant_id: None, token_file: None, token_proxy }
    } else if environment.host != Host::Imds {
        managed_identity(client_id)
    } else if registered && has("AZURE_CLIENT_SECRET") {
        EntraSource::ClientSecret { client_id, tenant_id: None, secret: None }
    } else if registered && has("AZURE_CLIENT_CERTIFICATE_PATH") {
        EntraSource::ClientCertificate { client_id, tenant_id: None, files: None, send_chain: None }
    } else if environment.azure_machine {
        managed_identity(client_id)
    } else if environment.commands.contains(&"az") {
        EntraSource::AzureCli(AzureAccount::Default)
    } else if environment.commands.contains(&"azd") {
        EntraSource::AzureDeveloperCli { tenant_id: None }
    } else {
        managed_identity(client_id)
    }
}

fn managed_identity(client_id: Option<String>) -> EntraSource {
    EntraSource::ManagedIdentity(client_id.map_or(ManagedIdentityId::System, ManagedIdentityId::ClientId))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn detected(environment: &Environment) -> EntraSource {
        detect(None, TokenProxyMode::Auto, environment)
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
        let all = with(&[CLIENT_ID, TENANT_ID, TOKEN_FILE, ENDPOINT, HEADER, SECRET]);
        assert_eq!(detected(&all), workload);
        let app_service = with(&[CLIENT_ID, TENANT_ID, ENDPOINT, HEADER, SECRET]);
        assert_eq!(detected(&app_service), user_assigned("azure_client_id"));
        let arc = Environment { host: Host::Arc, ..with(&[CLIENT_ID, TENANT_ID, SECRET]) };
        assert_eq!(detected(&arc), user_assigned("azure_client_id"));
        let secret =
            EntraSource::ClientSecret { client_id: client_id.clone(), tenant_id: None, secret: None };
        assert_eq!(detected(&with(&[CLIENT_ID, TENANT_ID, ENDPOINT, SECRET, CERTIFICATE])), secret);
        let certificate =
            EntraSource::ClientCertificate { client_id, tenant_id: None, files: None, send_chain: None };
        assert_eq!(detected(&with(&[CLIENT_ID, TENANT_ID, ENDPOINT, CERTIFICATE])), certificate);
        assert_eq!(detected(&with(&[CLIENT_ID, CERTIFICATE])), user_assigned("azure_client_id"));
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
        let found = detect(Some("configured"), TokenProxyMode::Auto, &environment);
        assert_eq!(found, user_assigned("configured"));
    }

    #[test]
    fn a_federated_token_without_a_client_or_tenant_is_no_workload_identity() {
        let system = EntraSource::ManagedIdentity(ManagedIdentityId::System);
        assert_eq!(detected(&with(&[TOKEN_FILE, TENANT_ID])), system);
        assert_eq!(detected(&with(&[TOKEN_FILE, CLIENT_ID])), user_assigned("azure_client_id"));
    }
}
