//! Assertions that an application signs with the key of its certificate.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_RSA_SHA256};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use serde_json::json;

use super::*;

/// A certificate and its RSA key. Keys of this kind cannot be made here.
const EXAMPLE: &str = include_str!("../../../../../examples/secrets/client-certificate.pem");

fn key() -> KeyPair {
    let start = EXAMPLE.find("-----BEGIN PRIVATE KEY").unwrap();
    KeyPair::from_pem_and_sign_algo(&EXAMPLE[start..], &PKCS_RSA_SHA256).unwrap()
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn thumbprint(certificate: &[u8]) -> String {
    BASE64.encode(digest::digest(&digest::SHA256, certificate))
}

fn sign(header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = RsaKeyPair::from_pkcs8(&key().serialize_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    let scheme: &dyn ring::signature::RsaEncoding =
        if header["alg"] == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
    key.sign(scheme, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", BASE64.encode(signature))
}

/// Returns the claims that the token service accepts.
fn claims(lab: &Standin) -> Value {
    let now = lab.authority().now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "aud": format!("https://{HOST}/{}/oauth2/v2.0/token", lab.tenant_id()),
        "iss": lab.client_id(),
        "sub": lab.client_id(),
        "jti": "1",
        "nbf": now,
        "iat": now,
        "exp": now + 600,
    })
}

/// Returns the number of Entra's error, or 0.
async fn code(lab: &Standin, assertion: &str) -> u64 {
    let response = assert_federated(lab, assertion).await;
    let code = response.json()["error_codes"][0].as_u64().unwrap_or_default();
    assert_eq!(response.status, if code == 0 { 200 } else { 401 }, "{response:?}");
    code
}

#[tokio::test]
async fn a_registered_certificate_is_accepted_with_either_thumbprint_and_algorithm() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let own = CertificateParams::new([]).unwrap().self_signed(&key()).unwrap().der().to_vec();
    let sha256 = json!({"alg": "PS256", "x5t#S256": thumbprint(&own)});
    assert_eq!(code(&lab, &sign(&sha256, &claims(&lab))).await, 700_027, "not registered");
    lab.endpoint().set(|settings| settings.certificates = vec![own.clone()]);
    let sha1 = BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &own));
    for header in [sha256, json!({"alg": "RS256", "x5t": sha1}), json!({"alg": "RS256", "x5t": sha1 + "="})] {
        assert_eq!(code(&lab, &sign(&header, &claims(&lab))).await, 0, "{header}");
    }
}

#[tokio::test]
async fn an_assertion_is_refused_with_entras_codes() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let own = CertificateParams::new([]).unwrap().self_signed(&key()).unwrap().der().to_vec();
    let other = issuer().der().to_vec();
    lab.endpoint().set(|settings| settings.certificates = vec![own.clone(), other.clone()]);
    let good = json!({"alg": "PS256", "x5t#S256": thumbprint(&own)});
    let with = |field: &str, value: Value| {
        let mut claims = claims(&lab);
        claims[field] = value;
        sign(&good, &claims)
    };
    let now = claims(&lab)["nbf"].as_u64().unwrap();
    for (assertion, expected) in [
        (with("aud", json!("https://elsewhere")), 700_023),
        (with("iss", json!("x")), 700_021),
        (with("sub", json!("x")), 700_021),
        (with("exp", json!(now)), 700_024),
        (with("exp", json!(now + 3600)), 700_024),
        (with("nbf", json!(now + 60)), 700_024),
        (with("jti", json!("")), 50027),
        (sign(&json!({"alg": "HS256", "x5t#S256": thumbprint(&own)}), &claims(&lab)), 50027),
        // The thumbprint is that of another registered certificate, and once in another alphabet.
        (sign(&json!({"alg": "PS256", "x5t#S256": thumbprint(&other)}), &claims(&lab)), 700_027),
        (sign(&json!({"alg": "PS256", "x5t#S256": thumbprint(&own) + "="}), &claims(&lab)), 700_027),
    ] {
        assert_eq!(code(&lab, &assertion).await, expected, "{assertion}");
    }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_issuer_is_accepted_if_it_is_sent() {
    let lab = Standin::start(Options::default()).await.unwrap();
    let issuer = issuer();
    let own = CertificateParams::new([]).unwrap().signed_by(&key(), &issuer).unwrap().der().to_vec();
    let header = |chain: &[&[u8]]| {
        let chain: Vec<String> = chain.iter().map(|certificate| STANDARD.encode(certificate)).collect();
        json!({"alg": "PS256", "x5t#S256": thumbprint(&own), "x5c": chain})
    };
    let sent = sign(&header(&[&own, issuer.der()]), &claims(&lab));
    assert_eq!(code(&lab, &sent).await, 700_027, "the issuer is not trusted");
    lab.endpoint().set(|settings| settings.certificate_issuer = Some(issuer.der().to_vec()));
    assert_eq!(code(&lab, &sent).await, 0);
    let text = STANDARD.encode("-----BEGIN CERTIFICATE-----");
    for (header, expected) in [
        (json!({"alg": "PS256", "x5t#S256": thumbprint(&own)}), 700_027),
        (header(&[issuer.der(), &own]), 50027),
        (json!({"alg": "PS256", "x5t#S256": thumbprint(&own), "x5c": [text]}), 50027),
    ] {
        assert_eq!(code(&lab, &sign(&header, &claims(&lab))).await, expected, "{header}");
    }
}
