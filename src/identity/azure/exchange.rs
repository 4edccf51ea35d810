//! The HTTP client of `azure_identity`: sends its requests and keeps the endpoint's last response.
//!
//! `azure_identity` drops the status of an error response that is not JSON, and the text of one whose JSON has escaped
//! characters. An operator needs both. Of a response with a token, it takes only the exact form of Entra ID: other SDKs take
//! an `expires_in` in text, a missing `token_type`, and the token's own expiry. So it gets every token in that form.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;
use serde_json::json;

use crate::clock::Clock;
use crate::error::Chain;
use crate::identity::managed::Reply;
use crate::identity::platform::Platform;
use crate::identity::refusal::explanation;
use crate::identity::token_proxy::TokenProxy;
use crate::identity::transport::{Carry, Route, TransportError};
use crate::lock::lock;

/// A response of an identity endpoint.
#[derive(Clone, Debug)]
pub(super) struct EndpointResponse {
    pub(super) status: u16,
    /// The endpoint's explanation of a failure; `None` on success.
    pub(super) explanation: Option<String>,
}

#[derive(Debug)]
pub(super) struct Exchange {
    transport: Arc<dyn Carry>,
    /// The proxy that takes the place of Entra's token service, and the way to it.
    proxy: Option<(TokenProxy, Route)>,
    clock: Clock,
    last_response: Mutex<Option<EndpointResponse>>,
    failure: Mutex<Option<String>>,
    met_local_limit: AtomicBool,
}

impl Exchange {
    pub(super) fn new(platform: &Platform, proxy: Option<(TokenProxy, Route)>) -> Self {
        Self {
            transport: Arc::clone(&platform.transport),
            proxy,
            clock: platform.clock.clone(),
            last_response: Mutex::default(),
            failure: Mutex::default(),
            met_local_limit: AtomicBool::default(),
        }
    }

    /// Returns the endpoint's last response, if there was one.
    pub(super) fn last_response(&self) -> Option<EndpointResponse> {
        lock(&self.last_response).clone()
    }

    /// Whether a request failed because of the agent's own limits.
    pub(super) fn met_local_limit(&self) -> bool {
        self.met_local_limit.load(Ordering::Relaxed)
    }

    /// Returns why the last request had no response, if it had none.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    async fn send(&self, request: &Request) -> azure_core::Result<hyper::Response<bytes::Bytes>> {
        let sent = match self.translate(request) {
            Ok((request, route)) => {
                self.transport.send(request, route).await.map_err(|error| (ErrorKind::Io, error))
            }
            Err(error) => Err((ErrorKind::Other, error)),
        };
        sent.map_err(|(kind, error)| {
            if let TransportError::LocalLimit(_) = error {
                self.met_local_limit.store(true, Ordering::Relaxed);
            }
            let failure = Some(Chain(&error).to_string());
            *lock(&self.failure) = failure;
            Error::new(kind, error)
        })
    }

    fn translate(&self, request: &Request) -> Result<(hyper::Request<bytes::Bytes>, &Route), TransportError> {
        let Body::Bytes(body) = request.body() else { return Err(TransportError::Unsendable) };
        let mut message =
            hyper::Request::builder().method(request.method().as_ref()).uri(request.url().as_str());
        for (name, value) in request.headers().iter() {
            message = message.header(name.as_str(), value.as_str());
        }
        let mut message = message.body(body.clone())?;
        let Some((proxy, route)) = &self.proxy else { return Ok((message, &Route::Usual)) };
        *message.uri_mut() = proxy.uri(message.uri())?;
        Ok((message, route))
    }
}

#[async_trait::async_trait]
impl HttpClient for Exchange {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.send(request).await?;
        let status = response.status();
        let explanation = (!status.is_success()).then(|| explanation(&response));
        let last = EndpointResponse { status: status.as_u16(), explanation };
        *lock(&self.last_response) = Some(last);
        let mut headers = Headers::new();
        for (name, value) in response.headers() {
            if let Ok(value) = value.to_str() {
                let name = HeaderName::from(name.as_str().to_owned());
                headers.insert(name, HeaderValue::from(value.to_owned()));
            }
        }
        let body = if status.is_success() {
            bearer(response.body(), &self.clock)
                .map_err(|problem| Error::with_message(ErrorKind::DataConversion, problem))?
        } else {
            response.into_body()
        };
        Ok(AsyncRawResponse::from_bytes(status.as_u16().into(), headers, body))
    }
}

/// Returns the response with a token in `body` in the form that `azure_identity` parses. It adds `expires_in` to the current
/// time, and panics if the sum is no valid date, so the lifetime is one that a token may have.
fn bearer(body: &[u8], clock: &Clock) -> Result<Bytes, &'static str> {
    let token = Reply::parse(body)?.token(clock.now())?;
    let response = json!({
        "token_type": "Bearer",
        "expires_in": clock.until(token.expires_at).as_secs(),
        "access_token": token.secret.expose(),
    });
    Ok(response.to_string().into())
}
