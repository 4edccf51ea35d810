//! Cloud Shell, where a token is that of the user who is signed in to the portal.
//!
//! Source: Azure SDKs, `CloudShellMsiProvider` and its likes.

use hyper::Request;
use hyper::header::CONTENT_TYPE;

use super::super::variables::Variables;
use super::super::{FetchError, ManagedIdentityId};
use super::endpoint::{Call, form, required_url};
use super::{Host, Wanted, unsupported_id};

pub(super) fn call(wanted: &Wanted<'_>, variables: &Variables) -> Result<Call, FetchError> {
    if *wanted.id != ManagedIdentityId::System {
        return Err(unsupported_id(Host::CloudShell, "has no user-assigned identities, so it takes no id"));
    }
    let endpoint = required_url(variables, "MSI_ENDPOINT")?;
    let request = Request::post(endpoint)
        .header("metadata", "true")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    Ok(Call::new(request, form([("resource", wanted.resource())]), Vec::new())?)
}
