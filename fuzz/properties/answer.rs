//! Responses of an identity endpoint, through all code that reads them. The first line of an input is the HTTP status, the
//! rest is the body.

use std::sync::Arc;

use bytes::Bytes;
use cachepulse::clock::unix_seconds;
use cachepulse::files::Files;
use cachepulse::identity::entra::EntraTokens;
use cachepulse::identity::platform::Platform;
use cachepulse::identity::transport::{Carry, Route, TransportError};
use cachepulse::identity::variables::Variables;
use cachepulse::identity::{DEFAULT_SCOPE, EntraIdentity, EntraSource, ManagedIdentityId, TokenSource as _};
use cachepulse::secret::SecretSource;
use hyper::{Request, Response};

use crate::echo::{is_without, with_secret};
use crate::runtime::run_in_real_time;

/// A secret of the examples, which is reread at each request.
const SECRET_FILE: &str = "examples/secrets/client-secret";

/// Responds to every request with the same response, without a network.
#[derive(Debug)]
struct Endpoint {
    status: u16,
    body: Bytes,
}

#[async_trait::async_trait]
impl Carry for Endpoint {
    async fn send(&self, _: Request<Bytes>, _: &Route) -> Result<Response<Bytes>, TransportError> {
        Ok(Response::builder().status(self.status).body(self.body.clone())?)
    }
}

pub(crate) fn holds(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let (status, body) = input.split_once('\n').unwrap_or(("", &input));
    let status = status.parse().ok().filter(|status| (100..1000).contains(status)).unwrap_or(200);
    let secret = SecretSource::File(SECRET_FILE.into());
    let files = Files::system();
    let known = secret.read_with(|path| files.read_blocking(path).content).expect("the example exists");
    let endpoint = Arc::new(Endpoint { status, body: with_secret(body, known.expose()).into() });
    let id = |id: &str| Some(id.to_owned());
    for source in [
        EntraSource::ClientSecret { client_id: id("c"), tenant_id: id("t"), secret: Some(secret) },
        EntraSource::ManagedIdentity(ManagedIdentityId::System),
    ] {
        is_a_token_or_an_error(source, endpoint.clone(), known.expose());
    }
}

fn is_a_token_or_an_error(source: EntraSource, endpoint: Arc<Endpoint>, secret: &str) {
    let sends_it = matches!(source, EntraSource::ClientSecret { .. });
    let identity = EntraIdentity { source, scope: DEFAULT_SCOPE.to_owned(), authority: None };
    let succeeds = (200..300).contains(&endpoint.status);
    // On App Service, so that no file of this machine decides.
    let variables = Variables::new(|name| match name {
        "IDENTITY_ENDPOINT" => Some("http://localhost/".to_owned()),
        "IDENTITY_HEADER" => Some("header".to_owned()),
        _ => None,
    });
    let platform = Platform { variables, ..Platform::system(endpoint, Files::system()) };
    match run_in_real_time(EntraTokens::new(identity, platform).fetch()) {
        Ok(token) => {
            assert!(succeeds, "a token from an error response");
            assert!(!token.secret.expose().is_empty());
            assert!(unix_seconds(token.expires_at).is_finite());
        }
        Err(error) => {
            let shown = error.to_string();
            assert!((1..=300).contains(&shown.chars().count()), "{shown}");
            assert!(!shown.contains(char::is_control), "{shown:?}");
            assert!(!shown.contains("eyJ"), "a token in: {shown}");
            if sends_it {
                is_without(&shown, secret);
            }
        }
    }
}
