//! `auto`: detects the source of Entra tokens from the environment, without network requests.

use std::path::Path;

use super::{EntraSource, ManagedIdentityId};
use crate::files::{Files, ReadError};

/// The chassis asset tag of every Azure virtual machine.
/// Source: Microsoft Learn, "Azure Instance Metadata Service", and cloud-init's Azure data source.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// The signs of a token source in the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The value of `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// The names of the other variables that are set and not empty. Their values are not kept: they may be secrets.
    pub variables: Vec<&'static str>,
    /// The commands on `PATH`.
    pub commands: Vec<&'static str>,
    /// Whether this is an Azure virtual machine, or a container on one.
    pub azure_machine: bool,
}

impl Environment {
    /// Reads this process's environment. Its commands, and the kernel's description of the machine, come from `files`.
    ///
    /// # Errors
    /// [`ReadError`] if the agent's own limits prevent it. What hangs does not exist.
    pub async fn read(files: &Files) -> Result<Self, ReadError> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let asset_tag = files.read(Path::new("/sys/class/dmi/id/chassis_asset_tag"));
        let (asset_tag, commands) = tokio::join!(asset_tag, files.search(path, &["az", "azd"]));
        let (asset_tag, commands) = (unless_local(asset_tag.content)?, unless_local(commands)?);
        Ok(Self {
            client_id: value(CLIENT_ID),
            variables: VARIABLES.into_iter().filter(|name| value(name).is_some()).collect(),
            commands: commands.unwrap_or_default(),
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

const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const VARIABLES: [&str; 5] =
    [CLIENT_SECRET, FEDERATED_TOKEN_FILE, IDENTITY_ENDPOINT, IDENTITY_HEADER, TENANT_ID];

/// Returns the source that `environment` offers, never [`EntraSource::Auto`]. A configured `client_id` takes
/// precedence over the environment's.
///
/// Variables of this process take precedence over the machine's identity, and that over installed tools. The fallback
/// is a managed identity, because its error explains what to set up.
#[must_use]
pub fn detect(client_id: Option<&str>, environment: &Environment) -> EntraSource {
    let has = |name| environment.variables.contains(&name);
    let client_id = client_id.or(environment.client_id.as_deref()).map(str::to_owned);
    let registered = client_id.is_some() && has(TENANT_ID);
    if registered && has(FEDERATED_TOKEN_FILE) {
        EntraSource::WorkloadIdentity { client_id, tenant_id: None, token_file: None }
    } else if has(IDENTITY_ENDPOINT) && has(IDENTITY_HEADER) {
        managed_identity(client_id)
    } else if registered && has(CLIENT_SECRET) {
        EntraSource::ClientSecret { client_id, tenant_id: None, secret: None }
    } else if environment.azure_machine {
        managed_identity(client_id)
    } else if environment.commands.contains(&"az") {
        EntraSource::AzureCli
    } else if environment.commands.contains(&"azd") {
        EntraSource::AzureDeveloperCli
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

    fn with_all() -> Environment {
        Environment {
            client_id: Some("from-environment".into()),
            variables: VARIABLES.to_vec(),
            commands: vec!["az", "azd"],
            azure_machine: true,
        }
    }

    fn user_assigned(id: &str) -> EntraSource {
        EntraSource::ManagedIdentity(ManagedIdentityId::ClientId(id.into()))
    }

    #[test]
    fn the_first_source_in_the_order_of_precedence_is_chosen() {
        let client_id = Some("from-environment".to_owned());
        let mut environment = with_all();
        let workload =
            EntraSource::WorkloadIdentity { client_id: client_id.clone(), tenant_id: None, token_file: None };
        assert_eq!(detect(None, &environment), workload);
        environment.variables.retain(|name| *name != FEDERATED_TOKEN_FILE);
        assert_eq!(detect(None, &environment), user_assigned("from-environment"));
        environment.variables.retain(|name| *name != IDENTITY_HEADER);
        let secret = EntraSource::ClientSecret { client_id, tenant_id: None, secret: None };
        assert_eq!(detect(None, &environment), secret);
        environment.variables.retain(|name| *name != CLIENT_SECRET);
        assert_eq!(detect(None, &environment), user_assigned("from-environment"));
        environment.azure_machine = false;
        assert_eq!(detect(None, &environment), EntraSource::AzureCli);
        environment.commands.remove(0);
        assert_eq!(detect(None, &environment), EntraSource::AzureDeveloperCli);
        environment.commands.clear();
        assert_eq!(detect(None, &environment), user_assigned("from-environment"));
    }

    #[test]
    fn a_configured_client_id_takes_precedence_over_the_environments() {
        let mut environment = with_all();
        environment.variables = vec![IDENTITY_ENDPOINT, IDENTITY_HEADER];
        assert_eq!(detect(Some("configured"), &environment), user_assigned("configured"));
    }

    #[test]
    fn a_federated_token_without_a_client_or_tenant_is_no_workload_identity() {
        let no_client =
            Environment { variables: vec![FEDERATED_TOKEN_FILE, TENANT_ID], ..Environment::default() };
        assert_eq!(detect(None, &no_client), EntraSource::ManagedIdentity(ManagedIdentityId::System));
        let no_tenant = Environment { variables: vec![FEDERATED_TOKEN_FILE], ..with_all() };
        assert_eq!(detect(None, &no_tenant), user_assigned("from-environment"));
    }
}
