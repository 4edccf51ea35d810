//! Tests of the identity endpoint with raw HTTP.

mod certificate;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// A response, possibly incomplete.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<Response> {
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok(Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

async fn get(lab: &Standin, target: &str, headers: &str) -> io::Result<Response> {
    let stream = TcpStream::connect(("127.0.0.1", lab.endpoint.http_port())).await?;
    let request = format!("GET {target} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n{headers}\r\n");
    exchange(stream, &request).await
}

async fn app_service(lab: &Standin, query: &str) -> io::Result<Response> {
    let target = format!("/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fredis.azure.com{query}");
    get(lab, &target, &format!("x-identity-header: {}\r\n", lab.identity_header().expose())).await
}

async fn metadata(lab: &Standin, query: &str, headers: &str) -> io::Result<Response> {
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01";
    get(lab, &format!("{path}&resource=https%3A%2F%2Fredis.azure.com{query}"), headers).await
}

async fn exchange_for(lab: &Standin, proof: &str) -> io::Result<Response> {
    exchange_at(lab, (&lab.ca_pem(), HOST), "", proof).await
}

/// Exchanges `proof` with the service behind a name, whose certificate comes from `pem`, below the path `prefix`.
async fn exchange_at(
    lab: &Standin,
    (pem, name): (&str, &'static str),
    prefix: &str,
    proof: &str,
) -> io::Result<Response> {
    let tcp = TcpStream::connect(("127.0.0.1", lab.endpoint.https_port())).await?;
    let stream = handshake(pem, name, tcp).await?;
    let form = format!(
        "client_id={}&grant_type=client_credentials&scope=https%3A%2F%2Fredis.azure.com%2F.default&{proof}",
        lab.client_id()
    );
    let request = format!(
        "POST {prefix}/{}/oauth2/v2.0/token HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        lab.tenant_id(),
        form.len()
    );
    exchange(stream, &request).await
}

async fn assert_federated(lab: &Standin, token: &str) -> Response {
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    exchange_for(lab, &format!("{kind}&client_assertion={token}")).await.unwrap()
}

fn object_id_of(lab: &Standin, body: &Value) -> Option<String> {
    lab.authority().verify(body["access_token"].as_str().unwrap(), &CACHE_AUDIENCES).unwrap().oid
}

#[tokio::test]
async fn app_service_returns_strings() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let response = app_service(&lab, "").await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.head.contains("content-type: application/json; charset=utf-8"), "{}", response.head);
    let body = response.json();
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["access_token", "client_id", "expires_on", "resource", "token_type"]);
    assert!(body.as_object().unwrap().values().all(Value::is_string), "{fields:?}");
    assert_eq!(object_id_of(&lab, &body).as_deref(), Some(lab.object_id()));
}

#[tokio::test]
async fn app_service_finds_its_identity_by_every_id_and_no_other_identity() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let resource_id = RESOURCE_ID.replace('/', "%2F");
    for query in [
        format!("&client_id={CLIENT_ID}"),
        format!("&object_id={OBJECT_ID}"),
        format!("&principal_id={OBJECT_ID}"),
        format!("&mi_res_id={resource_id}"),
    ] {
        assert_eq!(app_service(&lab, &query).await.unwrap().status, 200, "{query}");
    }
    for query in [format!("&client_id={OBJECT_ID}"), "&mi_res_id=x".to_owned()] {
        assert_eq!(app_service(&lab, &query).await.unwrap().status, 400, "{query}");
    }
    assert_eq!(lab.endpoint().requests()[0].identity.as_deref(), Some(CLIENT_ID));
}

#[tokio::test]
async fn app_service_refuses_a_wrong_header_version_or_resource() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let header = format!("x-identity-header: {}\r\n", lab.identity_header().expose());
    let good = "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fredis.azure.com";
    for (target, header, status) in [
        (good, "", 401),
        (good, "x-identity-header: guess\r\n", 401),
        ("/msi/token?resource=https%3A%2F%2Fredis.azure.com", &header, 400),
        ("/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net", &header, 400),
        ("/elsewhere", &header, 404),
        (good, &header, 200),
    ] {
        assert_eq!(get(&lab, target, header).await.unwrap().status, status, "{target}");
    }
}

#[tokio::test]
async fn the_metadata_service_returns_strings_and_requires_its_header() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let body = metadata(&lab, "", "Metadata: true\r\n").await.unwrap().json();
    assert!(body.as_object().unwrap().values().all(Value::is_string));
    for field in ["expires_in", "expires_on", "ext_expires_in", "not_before", "refresh_token", "resource"] {
        assert!(body[field].is_string(), "{field}");
    }
    assert_eq!(object_id_of(&lab, &body).as_deref(), Some(lab.object_id()));
    for (query, headers, description) in [
        ("", "", "Required metadata header not specified"),
        ("", "Metadata: true\r\nX-Forwarded-For: 10.0.0.1\r\n", "The header X-Forwarded-For is not allowed"),
        ("&client_id=nobody", "Metadata: true\r\n", "Identity not found"),
    ] {
        let response = metadata(&lab, query, headers).await.unwrap();
        assert_eq!(
            (response.status, response.json()["error_description"].as_str()),
            (400, Some(description))
        );
    }
}

#[tokio::test]
async fn a_managed_identity_gets_the_same_token_until_shortly_before_its_expiry() {
    let options = Options { token_lifetime: Duration::from_secs(3600), ..Options::default() };
    let lab = Standin::start(options).await.unwrap();
    let token = async || app_service(&lab, "").await.unwrap().json()["access_token"].clone();
    let first = token().await;
    assert_eq!(token().await, first);
    lab.endpoint().set(|settings| settings.rotate_before = Duration::from_secs(3601));
    assert_ne!(token().await, first);
}

#[tokio::test]
async fn the_token_service_exchanges_a_federated_token_and_returns_numbers() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let federated = lab.federated_token(Duration::from_secs(600)).unwrap();
    let response = assert_federated(&lab, federated.expose()).await;
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.json();
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["access_token", "expires_in", "ext_expires_in", "token_type"]);
    assert!((1..=60).contains(&body["expires_in"].as_u64().unwrap()));
    assert_eq!(object_id_of(&lab, &body).as_deref(), Some(lab.object_id()));
}

#[tokio::test]
async fn the_token_service_refuses_with_entras_codes() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let expired = lab.federated_token(Duration::ZERO).unwrap();
    let for_the_cache = lab.token(Duration::from_secs(600)).unwrap().secret;
    let for_the_proxy = lab.binding_token(Duration::from_secs(600)).unwrap();
    let foreign = Standin::start(Options::default()).await.unwrap();
    let foreign = foreign.federated_token(Duration::from_secs(600)).unwrap();
    for (token, status, code) in [
        (expired, 401, 700_024),
        (for_the_cache, 400, 700_212),
        (for_the_proxy, 400, 700_212),
        (foreign, 400, 700_211),
        (Secret::new("no-token".into()), 400, 70_021),
    ] {
        let response = assert_federated(&lab, token.expose()).await;
        let body = response.json();
        assert_eq!((response.status, body["error_codes"][0].as_u64()), (status, Some(code)));
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
    }
    let secret = format!("client_secret={}", lab.client_secret().expose());
    assert_eq!(exchange_for(&lab, &secret).await.unwrap().status, 200);
    let wrong = exchange_for(&lab, "client_secret=guess").await.unwrap();
    assert_eq!((wrong.status, wrong.json()["error_codes"][0].as_u64()), (401, Some(7_000_215)));
}

#[tokio::test]
async fn the_token_proxy_is_behind_its_name_and_exchanges_its_own_tokens() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let ca = lab.token_proxy_ca_pem();
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let assert_at = async |prefix: &str, token: Secret| {
        let proof = format!("{kind}&client_assertion={}", token.expose());
        exchange_at(&lab, (&ca, TOKEN_PROXY_NAME), prefix, &proof).await.unwrap()
    };
    let hour = Duration::from_secs(3600);
    let granted = assert_at("/token-proxy", lab.binding_token(hour).unwrap()).await;
    assert_eq!(object_id_of(&lab, &granted.json()).as_deref(), Some(lab.object_id()));
    assert_eq!(assert_at("", lab.binding_token(hour).unwrap()).await.status, 404);
    let refused = assert_at("/token-proxy", lab.federated_token(hour).unwrap()).await;
    assert_eq!((refused.status, refused.json()["kind"].as_str()), (401, Some("Status")));
    let tcp = TcpStream::connect(("127.0.0.1", lab.endpoint.https_port())).await.unwrap();
    handshake(&lab.ca_pem(), TOKEN_PROXY_NAME, tcp).await.unwrap_err();
    assert_eq!(lab.endpoint().requests()[0].server_name.as_deref(), Some(TOKEN_PROXY_NAME));
}

#[tokio::test]
async fn each_status_has_its_body_and_the_script_precedes_the_lasting_fault() {
    let lab = Standin::start(Options::default()).await.unwrap();
    lab.endpoint().set(|settings| {
        settings.script.extend([
            TokenFault::throttled(7),
            TokenFault::Status { code: 503, retry_after: None, body: ErrorBody::Html },
            TokenFault::Status { code: 410, retry_after: None, body: ErrorBody::Empty },
        ]);
        settings.fault = Some(TokenFault::status(500));
    });
    let throttled = app_service(&lab, "").await.unwrap();
    assert_eq!(throttled.status, 429);
    assert!(throttled.head.contains("retry-after: 7"), "{}", throttled.head);
    let page = app_service(&lab, "").await.unwrap();
    assert!(page.status == 503 && page.body.starts_with("<html>"), "{page:?}");
    let empty = app_service(&lab, "").await.unwrap();
    assert!(empty.status == 410 && empty.body.is_empty(), "{empty:?}");
    for _ in 0..2 {
        assert_eq!(app_service(&lab, "").await.unwrap().status, 500);
    }
    lab.endpoint().set(|settings| settings.fault = None);
    assert_eq!(app_service(&lab, "").await.unwrap().status, 200);
    assert_eq!(lab.endpoint().requests().len(), 6);
}

#[tokio::test]
async fn a_response_can_have_each_fault() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let spoilt = async |fault: TokenFault| {
        lab.endpoint().set(|settings| settings.script.push_back(fault));
        app_service(&lab, "").await.unwrap()
    };
    let good = app_service(&lab, "").await.unwrap().json();
    assert!(serde_json::from_str::<Value>(&spoilt(TokenFault::Truncated).await.body).is_err());
    assert!(spoilt(TokenFault::without("resource")).await.json().get("resource").is_none());
    assert_eq!(spoilt(TokenFault::with("client_id", "x")).await.json()["client_id"], "x");
    let last = spoilt(TokenFault::Lifetime(Duration::from_secs(5))).await.json();
    assert!(last["expires_on"].as_str() < good["expires_on"].as_str());
    assert_eq!(spoilt(TokenFault::SameToken).await.json()["access_token"], last["access_token"]);
    assert_eq!(object_id_of(&lab, &spoilt(TokenFault::WithoutObjectId).await.json()), None);
    let foreign = spoilt(TokenFault::ObjectId("another".to_owned())).await.json();
    assert_eq!(object_id_of(&lab, &foreign).as_deref(), Some("another"));
    let expired = spoilt(TokenFault::Expired).await.json();
    let verdict = lab.authority().verify(expired["access_token"].as_str().unwrap(), &CACHE_AUDIENCES);
    assert_eq!(verdict, Err(Rejection::Expired));
    lab.endpoint().set(|settings| settings.skew = 3600);
    let early = app_service(&lab, "").await.unwrap().json();
    let verdict = lab.authority().verify(early["access_token"].as_str().unwrap(), &CACHE_AUDIENCES);
    assert_eq!(verdict, Err(Rejection::NotYetValid));
}

#[tokio::test]
async fn a_request_can_hang_be_delayed_or_be_reset() {
    let lab = Standin::start(Options::default()).await.unwrap();
    lab.endpoint().set(|settings| settings.script.extend([TokenFault::Reset, TokenFault::Hang]));
    let reset = app_service(&lab, "").await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    let hanging = tokio::time::timeout(Duration::from_millis(200), app_service(&lab, "")).await;
    assert!(hanging.is_err(), "{hanging:?}");
    lab.endpoint().set(|settings| settings.delay = Duration::from_millis(200));
    let before = tokio::time::Instant::now();
    assert_eq!(app_service(&lab, "").await.unwrap().status, 200);
    assert!(before.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_response_says_in_each_form_when_the_token_expires() {
    let lab = Standin::start(Options { token_lifetime: Duration::from_secs(3600), ..Options::default() });
    let lab = lab.await.unwrap();
    for form in ExpiryForm::ALL {
        lab.endpoint().set(|settings| settings.script.push_back(TokenFault::Expiry(form)));
        let body = app_service(&lab, "").await.unwrap().json();
        let (on, within) = (&body["expires_on"], &body["expires_in"]);
        let is_right = match form {
            ExpiryForm::Text | ExpiryForm::FromNow => on.as_str().unwrap().parse::<u64>().is_ok(),
            ExpiryForm::Integer => on.is_u64(),
            ExpiryForm::Float => on.is_f64(),
            ExpiryForm::FloatText => on.as_str().unwrap().ends_with(".5"),
            ExpiryForm::Rfc3339 => on.as_str().unwrap().ends_with('Z'),
            ExpiryForm::Spaced => on.as_str().unwrap().len() == 19,
            ExpiryForm::TwelveHours => on.as_str().unwrap().ends_with("M +00:00"),
            ExpiryForm::TwentyFourHours => on.as_str().unwrap().len() == 26,
            ExpiryForm::ExpiresInText => on.is_null() && within.is_string(),
            ExpiryForm::ExpiresIn => on.is_null() && within.is_u64(),
            ExpiryForm::Unreadable => on == "soon",
            ExpiryForm::Missing => on.is_null() && within.is_null(),
        };
        assert!(is_right, "{form:?}: {on} {within}");
    }
}

#[tokio::test]
async fn azure_arc_gives_a_token_for_the_key_in_its_file_once() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let keys = tempfile::tempdir().unwrap();
    lab.endpoint().set(|settings| settings.arc_keys = Some(keys.path().to_owned()));
    let target =
        "/arc/metadata/identity/oauth2/token?api-version=2020-06-01&resource=https%3A%2F%2Fredis.azure.com";
    let target = format!("{target}&msi_res_id={}", RESOURCE_ID.replace('/', "%2F"));
    let challenge = get(&lab, &target, "Metadata: true\r\n").await.unwrap();
    assert_eq!(challenge.status, 401);
    // The head is in lower case.
    assert!(challenge.head.contains("www-authenticate: basic realm=/"), "{}", challenge.head);
    let file = std::fs::read_dir(keys.path()).unwrap().next().unwrap().unwrap().path();
    let headers =
        format!("Metadata: true\r\nAuthorization: Basic {}\r\n", std::fs::read_to_string(file).unwrap());
    let body = get(&lab, &target, &headers).await.unwrap().json();
    assert_eq!(object_id_of(&lab, &body).as_deref(), Some(lab.object_id()));
    assert_eq!(body["msi_res_id"], RESOURCE_ID);
    assert_eq!(get(&lab, &target, &headers).await.unwrap().status, 401);
}

#[tokio::test]
async fn azure_machine_learning_and_cloud_shell_have_requests_of_their_own() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let learning = |query: &str| {
        format!(
            "/machine-learning/token?api-version=2017-09-01&resource=https%3A%2F%2Fredis.azure.com{query}"
        )
    };
    let secret = format!("secret: {}\r\n", lab.identity_header().expose());
    for (query, headers, status) in [
        ("", &*secret, 200),
        (&format!("&clientid={CLIENT_ID}"), &secret, 200),
        ("&clientid=x", &secret, 400),
        ("", "", 401),
    ] {
        assert_eq!(get(&lab, &learning(query), headers).await.unwrap().status, status, "{query}");
    }
    let post = async |headers: &str| {
        let stream = TcpStream::connect(("127.0.0.1", lab.endpoint.http_port())).await.unwrap();
        let form = "resource=https%3A%2F%2Fredis.azure.com";
        let head = format!("host: lab\r\nconnection: close\r\ncontent-length: {}\r\n{headers}", form.len());
        let request = format!("POST /cloud-shell/oauth2/token HTTP/1.1\r\n{head}\r\n{form}");
        exchange(stream, &request).await.unwrap().status
    };
    assert_eq!((post("Metadata: true\r\n").await, post("").await), (200, 400));
}
