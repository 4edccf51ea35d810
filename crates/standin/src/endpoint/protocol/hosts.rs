//! The endpoints of hosts with managed identities.
//!
//! Source: Microsoft Learn, "How to use managed identities for App Service", "How to use managed identities on a virtual
//! machine to acquire an access token", "Authenticate against Azure resources with Azure Arc-enabled servers"; the
//! requests of Azure's SDKs for Azure Machine Learning and Cloud Shell.

use hyper::Method;
use serde_json::json;

use super::{Approval, Protocol, TokenRequest, TokenResponse};
use crate::authority::CACHE_AUDIENCES;
use crate::endpoint::{Principal, Shared, lock};

/// A host with managed identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagedHost {
    /// App Service, Container Apps and Functions.
    AppService,
    /// The metadata service of virtual machines.
    Imds,
    /// A machine that is connected by Azure Arc.
    Arc,
    /// Azure Machine Learning.
    MachineLearning,
    /// Cloud Shell.
    CloudShell,
}

impl ManagedHost {
    /// Every host.
    pub const ALL: [Self; 5] =
        [Self::AppService, Self::Imds, Self::Arc, Self::MachineLearning, Self::CloudShell];

    /// Returns the path of its endpoint here.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::AppService => "/msi/token",
            Self::Imds => "/metadata/identity/oauth2/token",
            Self::Arc => "/arc/metadata/identity/oauth2/token",
            Self::MachineLearning => "/machine-learning/token",
            Self::CloudShell => "/cloud-shell/oauth2/token",
        }
    }
}

impl TokenRequest<'_> {
    pub(super) fn check_host<'s>(
        &self,
        host: ManagedHost,
        shared: &'s Shared,
    ) -> Result<Approval<'s>, TokenResponse> {
        match host {
            ManagedHost::AppService => self.check_app_service(shared),
            ManagedHost::Imds => self.check_imds(host, shared),
            ManagedHost::Arc => self.check_arc(shared),
            ManagedHost::MachineLearning => self.check_machine_learning(shared),
            ManagedHost::CloudShell => self.check_cloud_shell(shared),
        }
    }

    fn approve<'s>(&self, host: ManagedHost, principal: &'s Principal, audience: &str) -> Approval<'s> {
        let asked = self.identity_field().map(|(name, id)| (name, id.to_owned()));
        Approval {
            principal,
            audience: audience.to_owned(),
            asked,
            protocol: Protocol::ManagedIdentity(host),
        }
    }

    /// Checks the second request of Azure Arc. A key serves once.
    fn check_arc<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let key = lock(&shared.arc_key).take();
        let given = self.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        if key.is_none() || given != key.as_deref() {
            return Err(TokenResponse::challenge(None));
        }
        self.check_imds(ManagedHost::Arc, shared)
    }

    fn check_machine_learning<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let refuse = |status: u16, message: &str| {
            Err(TokenResponse::new(status, json!({"error": {"message": message}})))
        };
        if self.header("secret") != Some(shared.header.expose()) {
            return refuse(401, "The header secret is missing or wrong.");
        }
        if self.head.method != Method::GET || self.field("api-version") != Some("2017-09-01") {
            return refuse(400, "The method or the api-version is not supported.");
        }
        let Some(audience) = self.field("resource").filter(|resource| CACHE_AUDIENCES.contains(resource))
        else {
            return refuse(400, "The resource is missing or unknown.");
        };
        let Some(principal) = self.managed_identity(shared, &["clientid"]) else {
            return refuse(400, "The managed identity is not assigned to this compute.");
        };
        Ok(self.approve(ManagedHost::MachineLearning, principal, audience))
    }

    fn check_cloud_shell<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let refuse = |status: u16, message: &str| {
            Err(TokenResponse::new(status, json!({"error": {"message": message}})))
        };
        if self.head.method != Method::POST || self.header("metadata") != Some("true") {
            return refuse(400, "The method is not allowed, or the header Metadata is missing.");
        }
        let Some(audience) = self.field("resource").filter(|resource| CACHE_AUDIENCES.contains(resource))
        else {
            return refuse(400, "The audience is not supported.");
        };
        let Some(principal) = self.managed_identity(shared, &[]) else {
            return refuse(400, "There is no user.");
        };
        Ok(self.approve(ManagedHost::CloudShell, principal, audience))
    }

    fn check_app_service<'s>(&self, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let refuse = |status: u16, message: &str| {
            Err(TokenResponse::new(status, json!({"statusCode": status, "message": message})))
        };
        if self.head.method != Method::GET {
            return refuse(405, "The method is not allowed.");
        }
        if self.header("x-identity-header") != Some(shared.header.expose()) {
            return refuse(401, "The header X-IDENTITY-HEADER is missing or wrong.");
        }
        if self.field("api-version") != Some("2019-08-01") {
            return refuse(400, "The api-version is missing or not supported.");
        }
        let Some(audience) = self.field("resource").filter(|resource| CACHE_AUDIENCES.contains(resource))
        else {
            return refuse(400, "The resource is missing or unknown.");
        };
        let ids = ["client_id", "object_id", "principal_id", "mi_res_id"];
        let Some(principal) = self.managed_identity(shared, &ids) else {
            return refuse(400, "No managed identity was found for the specified id.");
        };
        Ok(self.approve(ManagedHost::AppService, principal, audience))
    }

    /// Checks a request as IMDS does, and Azure Arc's agent after it.
    fn check_imds<'s>(&self, host: ManagedHost, shared: &'s Shared) -> Result<Approval<'s>, TokenResponse> {
        let refuse = |error: &str, description: &str| {
            Err(TokenResponse::new(400, json!({"error": error, "error_description": description})))
        };
        if self.head.method != Method::GET {
            return refuse("bad_request_102", "The method is not allowed");
        }
        if !self.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return refuse("invalid_request", "Required metadata header not specified");
        }
        if self.head.headers.contains_key("x-forwarded-for") {
            return refuse("invalid_request", "The header X-Forwarded-For is not allowed");
        }
        if self.field("api-version").is_none() {
            return refuse("invalid_request", "Required query variable 'api-version' is missing");
        }
        let Some(resource) = self.field("resource") else {
            return refuse("invalid_request", "Required query variable 'resource' is missing");
        };
        if !CACHE_AUDIENCES.contains(&resource) {
            return refuse(
                "invalid_resource",
                "AADSTS500011: The resource principal was not found in the tenant.",
            );
        }
        let Some(principal) = self.managed_identity(shared, &["client_id", "object_id", "msi_res_id"]) else {
            return refuse("invalid_request", "Identity not found");
        };
        Ok(self.approve(host, principal, resource))
    }

    /// Returns the identity that is asked for by a field out of `names`; other fields are ignored, as Azure does.
    fn managed_identity<'s>(&self, shared: &'s Shared, names: &[&str]) -> Option<&'s Principal> {
        let requested = self.identity_field().filter(|(name, _)| names.contains(name));
        shared.principals.iter().find(|principal| match requested {
            None => principal.system_assigned,
            Some(("client_id" | "clientid", id)) => principal.client_id == id,
            Some(("object_id" | "principal_id", id)) => principal.object_id == id,
            Some((_, id)) => principal.resource_id.as_deref() == Some(id),
        })
    }
}
