//! Azure Machine Learning, and the endpoint of App Service of 2017, which is the same.
//!
//! Source: Azure SDKs, `AzureMLMsiProvider` and its likes; Microsoft documents only their use.

use hyper::Request;

use super::super::variables::Variables;
use super::super::{FetchError, ManagedIdentityId};
use super::endpoint::{Call, required, required_url, with_query};
use super::{Host, Wanted, secrets, unsupported_id};
use crate::secret::Secret;

/// Returns the identity that a compute with a user-assigned one has by default.
pub(super) fn default_identity(variables: &Variables) -> Option<ManagedIdentityId> {
    variables.get("DEFAULT_IDENTITY_CLIENT_ID").map(ManagedIdentityId::ClientId)
}

pub(super) fn call(wanted: &Wanted<'_>, variables: &Variables) -> Result<Call, FetchError> {
    let endpoint = required_url(variables, "MSI_ENDPOINT")?;
    let secret = Secret::new(required(variables, "MSI_SECRET")?);
    let client_id = match wanted.id {
        ManagedIdentityId::System => None,
        ManagedIdentityId::ClientId(id) => Some(("clientid", &**id)),
        ManagedIdentityId::ObjectId(_) | ManagedIdentityId::ResourceId(_) => {
            return Err(unsupported_id(Host::MachineLearning, "takes only the client id of an identity"));
        }
    };
    let fixed = [("api-version", "2017-09-01"), ("resource", wanted.resource())];
    let uri = with_query(&endpoint, fixed.into_iter().chain(client_id));
    let request = Request::get(uri).header("secret", secret.expose()).header("metadata", "true");
    Ok(Call::new(request, "", secrets(&secret))?)
}
