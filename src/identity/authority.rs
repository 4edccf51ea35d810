//! The authority: Entra's address in the cloud of an identity. A tenant is a part of its URLs.

use hyper::http::uri::Authority;

use super::transport::has_valid_port;
use super::variables::Variables;
use super::{EntraIdentity, FetchError};

const VARIABLE: &str = "AZURE_AUTHORITY_HOST";
pub(super) const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";

/// Returns the authority of `identity`: the configured one, otherwise that of the variable; `None` for the public cloud.
///
/// # Errors
/// [`FetchError`] if the variable is neither a host nor a URL of one.
pub(super) fn authority(
    identity: &EntraIdentity,
    variables: &Variables,
) -> Result<Option<String>, FetchError> {
    if let Some(configured) = &identity.authority {
        return Ok(Some(configured.clone()));
    }
    let Some(value) = variables.get(VARIABLE) else { return Ok(None) };
    let value = value.trim();
    // As Azure's SDKs do.
    let url = if value.contains("://") { value.to_owned() } else { format!("https://{value}") };
    url_of_host(&url).map(Some).ok_or_else(|| {
        FetchError::new(format!(
            "{VARIABLE}: expected https:// and a host, such as https://login.microsoftonline.us"
        ))
    })
}

/// Returns `url` without a trailing slash, if it is `https://` and a host with an optional port. Entra's libraries reject
/// other schemes.
pub(crate) fn url_of_host(url: &str) -> Option<String> {
    let url = url.strip_suffix('/').unwrap_or(url);
    let host: Authority = url.strip_prefix("https://")?.parse().ok()?;
    (!host.host().is_empty() && !host.as_str().contains('@') && has_valid_port(&host)).then(|| url.to_owned())
}

/// Whether `text` may be the id or a domain of a tenant, which becomes a part of a URL or of a command line. The
/// characters are those that Azure's SDKs allow.
pub(crate) fn is_tenant(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

/// Returns the tenant that the environment names.
///
/// # Errors
/// [`FetchError`] if it can be none.
pub(super) fn tenant(variables: &Variables) -> Result<Option<String>, FetchError> {
    match variables.get(TENANT_VARIABLE) {
        Some(value) if !is_tenant(&value) => Err(FetchError::new(format!(
            "{TENANT_VARIABLE}: expected the id or a domain of a tenant: letters, digits, `.` and `-`"
        ))),
        tenant => Ok(tenant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{DEFAULT_SCOPE, EntraSource, ManagedIdentityId};

    #[test]
    fn a_tenant_in_the_environment_is_an_id_or_a_domain() {
        let of = |value: &str| tenant(&Variables::of([(TENANT_VARIABLE, value)]));
        for value in ["5f1d2c3b-4a59-4687-9b7c-8d9e0f1a2b3c", "contoso.onmicrosoft.com", "common"] {
            assert_eq!(of(value).unwrap().as_deref(), Some(value));
        }
        assert_eq!(of("").unwrap(), None);
        for value in ["--debug", "a/b", "a b", "a?b", "é", " "] {
            let error = of(value).unwrap_err();
            assert!(
                error.text.starts_with("AZURE_TENANT_ID: expected the id or a domain"),
                "{value}: {error}"
            );
        }
    }

    #[test]
    fn the_variable_may_be_a_host_or_its_url_and_is_named_if_it_is_neither() {
        let source = EntraSource::ManagedIdentity(ManagedIdentityId::System);
        let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.into(), authority: None };
        let of = |value: &str| authority(&identity, &Variables::of([(VARIABLE, value)]));
        let expected = Some("https://login.microsoftonline.us".to_owned());
        for value in [
            "login.microsoftonline.us",
            "https://login.microsoftonline.us/",
            " https://login.microsoftonline.us ",
        ] {
            assert_eq!(of(value).unwrap(), expected, "{value}");
        }
        assert_eq!(of("").unwrap(), None);
        for value in [
            "http://login.microsoftonline.us",
            "https://",
            "a b",
            "u:hunter2@host",
            "https://a/b",
            "a:99999",
            "https://a:0",
            "https://bücher.example",
        ] {
            let error = of(value).unwrap_err();
            assert!(error.text.starts_with("AZURE_AUTHORITY_HOST: expected https:// and a host"), "{error}");
        }
        let configured = EntraIdentity { authority: Some("https://own".into()), ..identity.clone() };
        let set = Variables::of([(VARIABLE, "a b")]);
        assert_eq!(authority(&configured, &set).unwrap().as_deref(), Some("https://own"));
    }
}
