//! Requests to the endpoints of hosts.

use bytes::Bytes;
use hyper::http::request::Builder;
use hyper::{Request, Uri};

use super::super::FetchError;
use super::super::transport::has_valid_port;
use super::super::variables::Variables;
use crate::secret::Secret;

/// A request, and the secrets in it, for redaction.
pub(super) struct Call {
    pub(super) request: Request<Bytes>,
    pub(super) secrets: Vec<Secret>,
}

/// A request has a value that cannot be sent.
#[derive(Debug)]
pub(super) struct Unsendable;

impl From<Unsendable> for FetchError {
    fn from(_: Unsendable) -> Self {
        Self::new("the request for a token cannot be sent: the endpoint's URL or its secret is invalid")
    }
}

impl Call {
    /// Completes `request`, which contains `secrets`.
    pub(super) fn new(
        request: Builder,
        body: impl Into<Bytes>,
        secrets: Vec<Secret>,
    ) -> Result<Self, Unsendable> {
        let request = request.body(body.into()).map_err(|_| Unsendable)?;
        Ok(Self { request, secrets })
    }
}

/// Returns `endpoint` with `parameters` added to its query.
pub(super) fn with_query<'a>(
    endpoint: &str,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", form(parameters))
}

/// Returns `parameters` as a form.
pub(super) fn form<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// Returns the value of a variable that the host's detection has found.
pub(super) fn required(variables: &Variables, name: &str) -> Result<String, FetchError> {
    variables.get(name).ok_or_else(|| FetchError::new(format!("{name} is not set")))
}

/// Returns the URL in a variable that the host's detection has found.
pub(super) fn required_url(variables: &Variables, name: &str) -> Result<String, FetchError> {
    url(name, required(variables, name)?)
}

/// Checks that `value`, which the variable `name` has, is a URL. It may hold a secret, so it is not repeated.
pub(super) fn url(name: &str, value: String) -> Result<String, FetchError> {
    let expected = |what| Err(FetchError::new(format!("{name}: expected {what}")));
    match value.parse::<Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) => match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => expected("a URL without user information"),
            Some(authority) if has_valid_port(authority) => Ok(value),
            _ => expected("a port from 1 to 65535 in the URL"),
        },
        _ => expected("a URL that starts with http:// or https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_no_url_is_named() {
        for value in ["localhost", "localhost:42356/msi", "ftp://a", "http://a b", "http://", "/token"] {
            let variables = Variables::new(move |_| Some(value.to_owned()));
            let error = required_url(&variables, "IDENTITY_ENDPOINT").unwrap_err();
            assert_eq!(
                &*error.text, "IDENTITY_ENDPOINT: expected a URL that starts with http:// or https://",
                "{value}"
            );
        }
        for (value, expected) in [
            ("http://u:hunter2@h/msi", "a URL without user information"),
            ("http://u@h:99999/msi", "a URL without user information"),
            ("http://127.0.0.1:99999/msi", "a port from 1 to 65535 in the URL"),
            ("https://h:0", "a port from 1 to 65535 in the URL"),
            ("http://[::1]:x/", "a port from 1 to 65535 in the URL"),
        ] {
            let error = url("MSI_ENDPOINT", value.to_owned()).unwrap_err();
            assert_eq!(*error.text, format!("MSI_ENDPOINT: expected {expected}"), "{value}");
        }
        for value in ["http://h/u@h", "http://h:80/?a=b@c", "http://[::1]:80/", "http://h:/a"] {
            assert!(url("A", value.to_owned()).is_ok(), "{value}");
        }
        let url = "http://localhost:42356/msi/token?a=b";
        assert_eq!(required_url(&Variables::of([("A", url)]), "A").unwrap(), url);
    }

    #[test]
    fn parameters_follow_those_of_the_endpoint() {
        let parameters = [("resource", "https://redis.azure.com"), ("a", "b c")];
        let encoded = "resource=https%3A%2F%2Fredis.azure.com&a=b+c";
        assert_eq!(with_query("http://h/p", parameters), format!("http://h/p?{encoded}"));
        assert_eq!(with_query("http://h/p?x=1", parameters), format!("http://h/p?x=1&{encoded}"));
    }
}
