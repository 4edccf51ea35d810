//! Certificates of rcgen with the RSA key of the example.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::*;
use crate::identity::testing::{CERTIFICATE, rsa_key};

/// Returns a certificate of `key` in PEM that is valid from 2020 to 2030.
fn certificate(key: &KeyPair) -> String {
    let mut params = CertificateParams::new([]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.self_signed(key).unwrap().pem()
}

fn new(pem: &str) -> Result<ClientCertificate, CertificateError> {
    ClientCertificate::new(pem.as_bytes(), pem.as_bytes())
}

fn part(text: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(text).unwrap()).unwrap()
}

#[test]
fn an_assertion_is_signed_with_the_key_and_names_the_certificate() {
    let certificate = new(CERTIFICATE).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let sign =
        |send_chain| certificate.assertion("app", "https://login/t/oauth2/v2.0/token", send_chain, now);
    let (assertion, other) = (sign(false).unwrap(), sign(true).unwrap());
    let [header, claims, signature] = *assertion.expose().split('.').collect::<Vec<_>>() else { panic!() };
    let signed = format!("{header}.{claims}");
    let public = certificate.key.public_key().as_ref();
    let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public);
    key.verify(signed.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();
    let (header, claims) = (part(header), part(claims));
    let thumbprint = BASE64.encode(digest::digest(&digest::SHA256, &certificate.chain[0]));
    assert_eq!(header, json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("app"), &json!("app")));
    assert_eq!(claims["aud"], "https://login/t/oauth2/v2.0/token");
    assert_eq!((&claims["nbf"], &claims["iat"]), (&json!(1_800_000_000), &json!(1_800_000_000)));
    assert_eq!(claims["exp"], 1_800_000_600);
    let id = claims["jti"].as_str().unwrap();
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    let other: Vec<&str> = other.expose().split('.').collect();
    assert_ne!(part(other[1])["jti"], id);
    assert_eq!(part(other[0])["x5c"], json!([STANDARD.encode(&certificate.chain[0])]));
}

#[test]
fn the_certificate_of_the_key_is_found_whatever_the_order_of_the_file() {
    let (rsa, issuer) = (rsa_key(), certificate(&KeyPair::generate().unwrap()));
    let own = certificate(&rsa);
    let key = rsa.serialize_pem();
    let certificates = |pem: String| new(&pem).unwrap().chain;
    let expected = certificates(format!("{own}{issuer}{key}"));
    assert_eq!(expected.len(), 2);
    assert!(has_key(&expected[0], &new(CERTIFICATE).unwrap().key), "its own comes first");
    for pem in [format!("{key}{issuer}{own}"), format!("Bag Attributes\n{issuer}{key}\ntext\n{own}")] {
        assert_eq!(certificates(pem), expected);
    }
    let apart = ClientCertificate::new((own + &issuer).as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(apart.chain, expected);
}

#[test]
fn what_entra_does_not_take_is_an_error_with_advice() {
    let ec = KeyPair::generate().unwrap();
    let (own, key) = (certificate(&rsa_key()), rsa_key().serialize_pem());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (pem, expected, is_of_key) in [
        (own.clone(), CertificateError::Pem(PemError::NoKey), true),
        (key.clone(), CertificateError::Pem(PemError::NoCertificate), false),
        (own.clone() + encrypted, CertificateError::Pem(PemError::EncryptedKey), true),
        (certificate(&ec) + &ec.serialize_pem(), CertificateError::NotRsa, true),
        (certificate(&ec) + &key, CertificateError::Pem(PemError::OtherKey), true),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n".to_owned(), CertificateError::Pem(PemError::Damaged), false),
    ] {
        let error = new(&pem).unwrap_err();
        assert_eq!((error, error.is_of_key()), (expected, is_of_key), "{pem}");
    }
    for (file, expected, command) in [
        (&b"\x30\x82\x0a\x37\x02\x01\x03\x30\x82"[..], Binary::Pkcs12, "openssl pkcs12 -in FILE"),
        (b"\x30\x80\x02\x01\x03\x30\x80", Binary::Pkcs12, "openssl pkcs12 -in FILE"),
        (&pem::certificates(own.as_bytes()).unwrap()[0], Binary::Certificate, "openssl x509 -inform DER"),
        (&rsa_key().serialize_der(), Binary::Key, "openssl pkey -inform DER"),
    ] {
        let error = ClientCertificate::new(file, file).unwrap_err();
        assert_eq!((error, error.is_of_key()), (CertificateError::Binary(expected), false));
        let of_key = ClientCertificate::new(own.as_bytes(), file).unwrap_err();
        assert_eq!((of_key, of_key.is_of_key()), (CertificateError::BinaryKey(expected), true));
        assert!(error.to_string().contains(command), "{error}");
    }
    let encrypted = CertificateError::Pem(PemError::EncryptedKey).to_string();
    assert!(encrypted.contains("openssl pkey -in FILE"), "{encrypted}");
}

#[test]
fn a_certificate_is_valid_between_two_times() {
    let certificate = new(&(certificate(&rsa_key()) + &rsa_key().serialize_pem())).unwrap();
    let (start, end) = (date_time_ymd(2020, 1, 1).into(), date_time_ymd(2030, 1, 1).into());
    let second = Duration::from_secs(1);
    assert_eq!(certificate.lapse(start - second), Some(Lapse::NotYetValid(start)));
    assert_eq!((certificate.lapse(start), certificate.lapse(end - second)), (None, None));
    assert_eq!(certificate.lapse(end), Some(Lapse::Expired(end)));
    let text = Lapse::Expired(end).to_string();
    assert_eq!(text, "holds a certificate that expired at 2030-01-01T00:00:00.000Z");
}

#[test]
fn the_thumbprint_is_that_of_openssl() {
    // openssl x509 -fingerprint -sha1 -in examples/secrets/client-certificate.pem
    assert_eq!(new(CERTIFICATE).unwrap().thumbprint(), "9577086CC35AA5EF4A29A5F01B56A7FBB388F8D8");
}

#[test]
fn neither_the_key_nor_the_assertion_is_shown() {
    let certificate = new(CERTIFICATE).unwrap();
    assert_eq!(format!("{certificate:?}"), "ClientCertificate");
}
