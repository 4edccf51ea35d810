//! The proxy of AKS identity bindings: a service account token is exchanged inside of the cluster, not with Entra ID.
//!
//! The webhook of Azure Workload Identity names the proxy in variables of the pod. The exchange has the path, form and
//! response of Entra's token service. Only the host and the trust differ.
//!
//! Source: Azure/azure-workload-identity `pkg/webhook`, Azure/azure-sdk-for-go `azidentity`.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use super::FetchError;
use super::platform::Platform;
use super::refusal::fetch_error;
use super::transport::{Route, TransportError, has_valid_port};
use super::variables::Variables;
use crate::connection::tls::roots::Roots;
use crate::connection::tls::{Remedy, TlsClient};

/// The audience of the service account tokens that the proxy exchanges. Entra ID refuses them.
pub(super) const AUDIENCE: &str = "api://AKSIdentityBinding";

/// What to do if such a token was sent to Entra ID.
pub(super) const NOT_FOR_ENTRA: &str = "The service account token is meant for the proxy of AKS identity bindings, not for Entra ID. Let the agent use that \
     proxy: leave out `identity.token_file` and `identity.token_proxy`, and check that the webhook has set \
     AZURE_KUBERNETES_TOKEN_PROXY in this pod.";

/// What to do if the proxy, or the API server in front of it, refuses the service account.
pub(super) const NOT_BOUND: &str = "The proxy of AKS identity bindings refused the service account of this pod. Bind it to a ClusterRole with the verb \
     `use-managed-identity` on the client id, in the API group `cid.wi.aks.azure.com`, and check that the cluster has an \
     identity binding for that identity.";

const TOKEN_PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

/// What to do about a certificate or a name of the proxy.
const REPLACE_FILE: &str = "; the file in AZURE_KUBERNETES_CA_FILE must hold the authority of the proxy";
const REPLACE_DATA: &str = "; AZURE_KUBERNETES_CA_DATA must hold the authority of the proxy";
const UNKNOWN_NAME: &str = "; AZURE_KUBERNETES_SNI_NAME sets another";

/// The proxy that the variables of a pod name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenProxy {
    url: Uri,
    server_name: Option<String>,
    trusted: Trusted,
}

/// Which authorities the proxy's certificate may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trusted {
    Platform,
    File(PathBuf),
    Pem(String),
}

impl TokenProxy {
    /// Returns the proxy that `variables` name, or `None` without one.
    pub(super) fn named_by(variables: &Variables) -> Result<Option<Self>, InvalidProxy> {
        let Some(url) = variables.get(TOKEN_PROXY) else {
            let others = [SNI_NAME, CA_FILE, CA_DATA];
            return match others.into_iter().find(|name| variables.has(name)) {
                Some(name) => Err(InvalidProxy(format!("{name} is set, but {TOKEN_PROXY} is not"))),
                None => Ok(None),
            };
        };
        let trusted = match (variables.get(CA_FILE), variables.get(CA_DATA)) {
            (Some(_), Some(_)) => {
                return Err(InvalidProxy(format!("{CA_FILE} and {CA_DATA} are both set; keep one of them")));
            }
            (Some(path), None) => Trusted::File(path.into()),
            (None, Some(pem)) => Trusted::Pem(pem),
            (None, None) => Trusted::Platform,
        };
        Ok(Some(Self { url: parse(&url)?, server_name: variables.get(SNI_NAME), trusted }))
    }

    /// Returns the name that the proxy's certificate must have.
    pub(super) fn server_name(&self) -> &str {
        self.server_name.as_deref().or(self.url.host()).unwrap_or_default()
    }

    /// Returns the URI at the proxy that stands for `entra`, a URI of Entra's token service.
    pub(super) fn uri(&self, entra: &Uri) -> Result<Uri, TransportError> {
        let path = format!("{}{}", self.url.path().trim_end_matches('/'), entra.path());
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| TransportError::Unsendable)?);
        Uri::from_parts(parts).map_err(|_| TransportError::Unsendable)
    }

    /// Returns the way to the proxy. Reads the authorities anew, because AKS rotates them.
    pub(super) async fn route(&self, platform: &Platform) -> Result<Route, FetchError> {
        let tls = match &self.trusted {
            Trusted::Platform => None,
            Trusted::Pem(pem) => Some(tls(CA_DATA, pem.as_bytes(), REPLACE_DATA)?),
            Trusted::File(path) => {
                let of_file = format!("{CA_FILE}: {}", path.display());
                let pem = platform.files.read(path).await.content.map_err(|error| FetchError {
                    is_local: error.is_local(),
                    ..fetch_error(&format!("{of_file} cannot be read: {error}"), &[])
                })?;
                Some(tls(&of_file, &pem, REPLACE_FILE)?)
            }
        };
        Ok(Route::Direct { tls, server_name: self.server_name.clone() })
    }
}

impl fmt::Display for TokenProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// Returns TLS that trusts the authorities in `pem`, which comes from `place`, and no others. `untrusted` ends the message about
/// a certificate that none of them has issued.
fn tls(place: &str, pem: &[u8], untrusted: &'static str) -> Result<TlsClient, FetchError> {
    let roots = Roots::none().with_pem(pem).map_err(|error| fetch_error(&format!("{place} {error}"), &[]))?;
    let remedy = Remedy { untrusted, unusual: "", unknown_name: UNKNOWN_NAME };
    Ok(TlsClient::new(&roots, None).with_remedy(remedy))
}

/// Parses the proxy's URL. Messages do not repeat it, because it may contain a password.
fn parse(url: &str) -> Result<Uri, InvalidProxy> {
    let invalid = |what| InvalidProxy(format!("{TOKEN_PROXY}: expected https:// and a host, {what}"));
    // `Uri` drops a fragment silently.
    if url.contains(['@', '?', '#']) {
        return Err(invalid("without user information, query and fragment"));
    }
    let uri: Uri = url.parse().map_err(|_| invalid("found something else"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("https"), Some(authority)) if !authority.host().is_empty() => {
            if has_valid_port(authority) {
                Ok(uri)
            } else {
                Err(invalid("with a port from 1 to 65535"))
            }
        }
        (Some(scheme), _) if scheme != "https" => Err(invalid("found another scheme")),
        _ => Err(invalid("found something else")),
    }
}

/// The variables do not describe a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidProxy(String);

impl From<InvalidProxy> for FetchError {
    fn from(error: InvalidProxy) -> Self {
        fetch_error(&error.0, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<const N: usize>(values: [(&'static str, &str); N]) -> String {
        TokenProxy::named_by(&Variables::of(values)).unwrap_err().0
    }

    fn proxy(url: &str) -> TokenProxy {
        TokenProxy::named_by(&Variables::of([(TOKEN_PROXY, url)])).unwrap().unwrap()
    }

    #[test]
    fn without_variables_there_is_no_proxy() {
        assert_eq!(TokenProxy::named_by(&Variables::of([])), Ok(None));
        assert_eq!(TokenProxy::named_by(&Variables::of([(TOKEN_PROXY, ""), (CA_FILE, "")])), Ok(None));
    }

    #[test]
    fn the_path_of_entra_follows_that_of_the_proxy() {
        let entra = Uri::from_static("https://login.microsoftonline.com/tenant/oauth2/v2.0/token");
        for (url, expected) in [
            ("https://kubernetes.default.svc", "https://kubernetes.default.svc/tenant/oauth2/v2.0/token"),
            ("https://10.0.0.1:6443/", "https://10.0.0.1:6443/tenant/oauth2/v2.0/token"),
            ("https://[fd00::1]/a/b/", "https://[fd00::1]/a/b/tenant/oauth2/v2.0/token"),
        ] {
            assert_eq!(proxy(url).uri(&entra).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_url_that_is_not_that_of_a_proxy_is_refused_and_not_repeated() {
        for url in [
            "http://kubernetes.default.svc",
            "kubernetes.default.svc",
            "https://",
            "https://user:hunter2@kubernetes.default.svc",
            "https://kubernetes.default.svc/?hunter2",
            "https://kubernetes.default.svc/#hunter2",
            "https://hunter2 .svc",
            "https://kubernetes.default.svc:99999",
            "https://127.0.0.1:0/",
        ] {
            let error = error([(TOKEN_PROXY, url)]);
            assert!(
                error.starts_with("AZURE_KUBERNETES_TOKEN_PROXY: expected https:// and a host, "),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_not_the_default_one() {
        for url in ["https://127.0.0.1:99999/", "https://[::1]:0"] {
            assert_eq!(
                error([(TOKEN_PROXY, url)]),
                "AZURE_KUBERNETES_TOKEN_PROXY: expected https:// and a host, with a port from 1 to 65535"
            );
        }
    }

    #[test]
    fn variables_that_contradict_each_other_are_refused() {
        let url = "https://kubernetes.default.svc";
        assert_eq!(
            error([(TOKEN_PROXY, url), (CA_FILE, "/ca.crt"), (CA_DATA, "x")]),
            "AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA are both set; keep one of them"
        );
        for name in [SNI_NAME, CA_FILE, CA_DATA] {
            let expected = format!("{name} is set, but AZURE_KUBERNETES_TOKEN_PROXY is not");
            assert_eq!(error([(name, "x")]), expected);
        }
    }

    #[test]
    fn the_name_to_verify_is_the_given_one_or_the_proxys_host() {
        assert_eq!(proxy("https://kubernetes.default.svc").server_name(), "kubernetes.default.svc");
        let variables = Variables::of([(TOKEN_PROXY, "https://10.0.0.1"), (SNI_NAME, "proxy.test")]);
        let named = TokenProxy::named_by(&variables).unwrap().unwrap();
        assert_eq!(named.server_name(), "proxy.test");
    }
}
