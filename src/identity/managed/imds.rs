//! The metadata service of virtual machines (IMDS).
//!
//! Source: Microsoft Learn, "How to use managed identities for Azure resources on a virtual machine to acquire an access
//! token".

use hyper::Request;

use super::super::FetchError;
use super::super::variables::Variables;
use super::endpoint::{Call, url, with_query};
use super::{Names, Wanted};

/// The address of the metadata service, which leads to the machine's own host.
const BASE: &str = "http://169.254.169.254";

/// Names another base, for stand-ins and for pods with an identity of their own. Azure's SDKs obey it, too.
const BASE_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

pub(super) const NAMES: Names = Names { client: "client_id", object: "object_id", resource: "msi_res_id" };

pub(super) fn call(wanted: &Wanted<'_>, variables: &Variables) -> Result<Call, FetchError> {
    let base = variables.get(BASE_VARIABLE).map(|base| url(BASE_VARIABLE, base)).transpose()?;
    let base = base.as_deref().unwrap_or(BASE).trim_end_matches('/');
    let fixed = [("api-version", "2018-02-01"), ("resource", wanted.resource())];
    let endpoint = format!("{base}/metadata/identity/oauth2/token");
    let uri = with_query(&endpoint, fixed.into_iter().chain(wanted.parameter(&NAMES)));
    Ok(Call::new(Request::get(uri).header("metadata", "true"), "", Vec::new())?)
}
