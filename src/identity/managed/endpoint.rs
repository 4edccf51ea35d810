//! Requests to the endpoints of hosts.

use bytes::Bytes;
use hyper::Request;
use hyper::http::request::Builder;

use super::super::FetchError;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_those_of_the_endpoint() {
        let parameters = [("resource", "https://redis.azure.com"), ("a", "b c")];
        let encoded = "resource=https%3A%2F%2Fredis.azure.com&a=b+c";
        assert_eq!(with_query("http://h/p", parameters), format!("http://h/p?{encoded}"));
        assert_eq!(with_query("http://h/p?x=1", parameters), format!("http://h/p?x=1&{encoded}"));
    }
}
