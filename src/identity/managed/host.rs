//! The kind of host, by what it leaves in the environment.

use std::fmt;

use super::super::FetchError;
use super::super::variables::Variables;
use crate::files::{Files, ReadError};

/// The folder and the name of Azure Arc's agent.
const ARC_AGENT: (&str, &str) = ("/opt/azcmagent/bin", "himds");

/// A kind of host with an endpoint for managed identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Host {
    /// Service Fabric, which is not supported.
    ServiceFabric,
    /// App Service, Container Apps and Functions.
    AppService,
    /// Azure Machine Learning, and App Service of 2017.
    MachineLearning,
    /// Cloud Shell.
    CloudShell,
    /// A machine outside of Azure, connected by Azure Arc.
    Arc,
    /// A virtual machine with its metadata service.
    Imds,
}

impl Host {
    /// Finds out on which host this is.
    ///
    /// # Errors
    /// [`ReadError`] if the agent's own limits prevent it. What hangs does not exist.
    pub(in crate::identity) async fn of(variables: &Variables, files: &Files) -> Result<Self, ReadError> {
        if let Some(host) = Self::named_by(variables) {
            return Ok(host);
        }
        match files.search(ARC_AGENT.0.into(), &[ARC_AGENT.1]).await {
            Ok(found) if !found.is_empty() => Ok(Self::Arc),
            Err(error) if error.is_local() => Err(error),
            Ok(_) | Err(_) => Ok(Self::Imds),
        }
    }

    /// Returns the host that `variables` name; `None` if they name none. The order is that of Azure's SDKs.
    pub(in crate::identity) fn named_by(variables: &Variables) -> Option<Self> {
        let has = |name| variables.has(name);
        if has("IDENTITY_ENDPOINT") && has("IDENTITY_HEADER") {
            let is_fabric = has("IDENTITY_SERVER_THUMBPRINT");
            Some(if is_fabric { Self::ServiceFabric } else { Self::AppService })
        } else if has("MSI_ENDPOINT") {
            Some(if has("MSI_SECRET") { Self::MachineLearning } else { Self::CloudShell })
        } else if has("IDENTITY_ENDPOINT") && has("IMDS_ENDPOINT") {
            Some(Self::Arc)
        } else {
            None
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceFabric => "Service Fabric",
            Self::AppService => "App Service",
            Self::MachineLearning => "Azure Machine Learning",
            Self::CloudShell => "Cloud Shell",
            Self::Arc => "Azure Arc",
            Self::Imds => "the metadata service",
        })
    }
}

/// Returns the error for Service Fabric. Its endpoint has a certificate of its own that is pinned by a SHA-1 hash, which
/// is not worth a second way of trusting certificates.
pub(super) fn service_fabric() -> FetchError {
    FetchError {
        advice: Some(
            "Use the identity type `client_secret` or `workload_identity` there. If this is not Service Fabric, remove the \
             variable IDENTITY_SERVER_THUMBPRINT.",
        ),
        ..FetchError::new(
            "managed identities of Service Fabric are not supported (IDENTITY_SERVER_THUMBPRINT is set)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the host that these variables name.
    fn named(variables: &'static [&'static str]) -> Option<Host> {
        Host::named_by(&Variables::new(|name| variables.contains(&name).then(|| "x".to_owned())))
    }

    #[test]
    fn the_first_host_in_the_order_of_the_sdks_is_chosen() {
        let everything = &[
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "IDENTITY_SERVER_THUMBPRINT",
            "IMDS_ENDPOINT",
            "MSI_ENDPOINT",
            "MSI_SECRET",
        ];
        assert_eq!(named(everything), Some(Host::ServiceFabric));
        let app_service =
            &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"];
        assert_eq!(named(app_service), Some(Host::AppService));
        let learning = &["IDENTITY_ENDPOINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET"];
        assert_eq!(named(learning), Some(Host::MachineLearning));
        assert_eq!(named(&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT", "MSI_ENDPOINT"]), Some(Host::CloudShell));
        assert_eq!(named(&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"]), Some(Host::Arc));
    }

    #[test]
    fn a_part_of_the_variables_names_no_host() {
        for variables in [
            &[][..],
            &["IDENTITY_ENDPOINT"],
            &["IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"],
            &["IMDS_ENDPOINT"],
            &["MSI_SECRET"],
        ] {
            assert_eq!(named(variables), None, "{variables:?}");
        }
    }
}
