//! App Service, Container Apps and Functions.
//!
//! Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", "REST endpoint
//! reference". Container Apps and Functions have the same endpoint.

use hyper::Request;

use super::super::FetchError;
use super::super::variables::Variables;
use super::endpoint::{Call, required, required_url, with_query};
use super::{Names, Wanted, secrets};
use crate::secret::Secret;

const NAMES: Names = Names { client: "client_id", object: "object_id", resource: "mi_res_id" };

pub(super) fn call(wanted: &Wanted<'_>, variables: &Variables) -> Result<Call, FetchError> {
    let endpoint = required_url(variables, "IDENTITY_ENDPOINT")?;
    // The platform rotates it.
    let header = Secret::new(required(variables, "IDENTITY_HEADER")?);
    let fixed = [("api-version", "2019-08-01"), ("resource", wanted.resource())];
    let uri = with_query(&endpoint, fixed.into_iter().chain(wanted.parameter(&NAMES)));
    let request = Request::get(uri).header("x-identity-header", header.expose());
    Ok(Call::new(request, "", secrets(&header))?)
}
