//! The part of a web configuration about TLS.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::super::document::Value;
use super::super::field::{Field, Fields, Invalid, one_of};
use super::super::keys::Key;
use super::super::keys::web::{
    CERT, CERT_FILE, CIPHER_SUITES, CLIENT_ALLOWED_SANS, CLIENT_AUTH_TYPE, CLIENT_CA, CLIENT_CA_FILE,
    CURVE_PREFERENCES, KEY, KEY_FILE, MAX_VERSION, MIN_VERSION, PREFER_SERVER_CIPHER_SUITES, TLS,
};
use super::{boolean, given};
use crate::connection::tls::pem::{self, PemError};
use crate::files::Content;
use crate::guard::{CipherSuite, ClientAuth, Curve, Tls, TlsOptions, TlsVersion};

/// The suites of which HTTP/2 demands one where TLS 1.2 is enabled.
const OF_HTTP2: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// Reads the options of TLS. `None` if there are none.
pub(super) fn read(field: &Field<'_>, folder: &Path, is_http2: bool) -> Result<Option<Tls>, Invalid> {
    let fields = field.fields(&TLS.about)?;
    if fields.each().next().is_none() {
        return Ok(None);
    }
    // Everything is read before the first `?`, so that all problems are reported together.
    let certificate = read_certificate(&fields, folder);
    let client_auth = given(&fields, &CLIENT_AUTH_TYPE)
        .map_or(Ok(CLIENT_AUTH_TYPE.default()), |field| field.choice(&CLIENT_AUTH_TYPE));
    let client_authorities = read_authorities(&fields, client_auth, folder);
    let allowed_sans = read_sans(&fields, client_auth);
    let min_version = read_version(&fields, &MIN_VERSION);
    let max_version = read_version(&fields, &MAX_VERSION);
    let max_version = match (min_version, max_version) {
        (Ok(min), Ok(max)) if min > max => Err(field.problem("max_version is lower than min_version")),
        (_, max_version) => max_version,
    };
    let cipher_suites =
        read_suites(&fields, is_http2 && min_version.is_ok_and(|min| min == TlsVersion::Tls12));
    let is_server_order = given(&fields, &PREFER_SERVER_CIPHER_SUITES)
        .map_or(Ok(PREFER_SERVER_CIPHER_SUITES.default()), |field| boolean(&field));
    let curves = read_curves(&fields);
    let options = TlsOptions {
        certificate: certificate?,
        client_auth: client_auth?,
        client_authorities: client_authorities?,
        allowed_sans: allowed_sans?,
        min_version: min_version?,
        max_version: max_version?,
        cipher_suites: cipher_suites?,
        is_server_order: is_server_order?,
        curves: curves?,
    };
    match Tls::new(options) {
        Some(tls) => Ok(Some(tls)),
        None => {
            Err(field.problem("cipher_suites has none for TLS 1.2, and max_version allows no other version"))
        }
    }
}

/// Reads the server's certificate and its key.
fn read_certificate(fields: &Fields<'_>, folder: &Path) -> Result<CertifiedKey, Invalid> {
    let chain = read_pem(fields, &CERT_FILE, &CERT, folder).and_then(|pem| {
        let pem = pem.ok_or_else(|| missing(fields, &CERT_FILE, "give cert_file or cert"))?;
        pem::certificates(pem.as_ref()).map_err(|error| pem.unusable(error))
    });
    let key = read_pem(fields, &KEY_FILE, &KEY, folder)
        .and_then(|pem| pem.ok_or_else(|| missing(fields, &KEY_FILE, "give key_file or key")));
    let (chain, key) = (chain?, key?);
    pem::certified_key(chain, key.as_ref()).map_err(|error| key.unusable(error))
}

fn read_authorities(
    fields: &Fields<'_>,
    client_auth: Result<ClientAuth, Invalid>,
    folder: &Path,
) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    match (read_pem(fields, &CLIENT_CA_FILE, &CLIENT_CA, folder)?, client_auth) {
        (Some(pem), Ok(ClientAuth::None)) => Err(pem.field.problem(
            "not used without client_auth_type; RequireAndVerifyClientCert demands certificates of these authorities",
        )),
        (Some(pem), _) => pem::certificates(pem.as_ref()).map_err(|error| pem.unusable(error)),
        (None, Ok(ClientAuth::RequireAndVerify)) => Err(missing(
            fields,
            &CLIENT_CA_FILE,
            "give client_ca_file or client_ca: without authorities, no client is trusted",
        )),
        (None, _) => Ok(Vec::new()),
    }
}

fn read_sans(
    fields: &Fields<'_>,
    client_auth: Result<ClientAuth, Invalid>,
) -> Result<Option<Vec<String>>, Invalid> {
    let Some(field) = given(fields, &CLIENT_ALLOWED_SANS) else { return Ok(None) };
    if client_auth.is_ok_and(|auth| !auth.is_required()) {
        return Err(field.problem(
            "needs client_auth_type: RequireAndVerifyClientCert or RequireAnyClientCert; otherwise clients may come \
             without a certificate",
        ));
    }
    let name = |item: Field<'_>| item.text(&CLIENT_ALLOWED_SANS).map(str::to_owned);
    read_list(&field, name).map(Some)
}

fn read_version(fields: &Fields<'_>, key: &Key<TlsVersion>) -> Result<TlsVersion, Invalid> {
    let Some(field) = given(fields, key) else { return Ok(key.default()) };
    match field.value() {
        Value::Text(old) if old == "TLS10" || old == "TLS11" => {
            Err(field.problem(format!("{old} is not supported; the lowest version is TLS12")))
        }
        _ => field.choice(key),
    }
}

fn read_suites(fields: &Fields<'_>, is_http2: bool) -> Result<Vec<CipherSuite>, Invalid> {
    let Some(field) = given(fields, &CIPHER_SUITES) else { return Ok(Vec::new()) };
    let suites = read_list(&field, |item| {
        let name = item.text(&CIPHER_SUITES)?;
        CipherSuite::named(name).ok_or_else(|| {
            let all: Vec<String> = CipherSuite::all().map(CipherSuite::name).collect();
            let all = one_of(all.iter().map(String::as_str));
            item.problem(format!("unsupported cipher suite; expected {all}"))
        })
    })?;
    let is_of_http2 = |suite: &CipherSuite| OF_HTTP2.contains(&suite.name().as_str());
    if is_http2 && !suites.is_empty() && !suites.iter().any(is_of_http2) {
        return Err(field.problem(format!(
            "HTTP/2 needs {}; add it, or set http_server_config.http2 to false",
            one_of(OF_HTTP2.into_iter())
        )));
    }
    Ok(suites)
}

fn read_curves(fields: &Fields<'_>) -> Result<Vec<Curve>, Invalid> {
    let Some(field) = given(fields, &CURVE_PREFERENCES) else { return Ok(Vec::new()) };
    read_list(&field, |item| {
        let name = item.text(&CURVE_PREFERENCES)?;
        Curve::named(name)
            .ok_or_else(|| item.problem("unsupported curve; expected X25519, CurveP256 or CurveP384"))
    })
}

/// Reads every item of a list, so that all problems are reported together.
fn read_list<T>(
    field: &Field<'_>,
    read: impl Fn(Field<'_>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let items: Vec<_> = field.items("a list")?.into_iter().map(read).collect();
    items.into_iter().collect()
}

/// Notes that `key` is missing or empty.
fn missing(fields: &Fields<'_>, key: &Key<&str>, advice: &str) -> Invalid {
    match fields.required(key, advice) {
        Ok(empty) => empty.problem(format!("empty; {advice}")),
        Err(invalid) => invalid,
    }
}

/// PEM from a file, or from the configuration itself.
struct Pem<'a> {
    field: Field<'a>,
    name: String,
    text: Text<'a>,
}

enum Text<'a> {
    OfFile(Content),
    Inline(&'a str),
}

impl AsRef<[u8]> for Pem<'_> {
    fn as_ref(&self) -> &[u8] {
        match &self.text {
            Text::OfFile(content) => content,
            Text::Inline(text) => text.as_bytes(),
        }
    }
}

impl Pem<'_> {
    fn unusable(&self, error: PemError) -> Invalid {
        self.field.problem(format!("{} {error}", self.name))
    }
}

/// Reads the file at the path in `file`, or the text in `inline`. The file takes precedence.
fn read_pem<'a>(
    fields: &Fields<'a>,
    file: &Key<&str>,
    inline: &Key<&str>,
    folder: &Path,
) -> Result<Option<Pem<'a>>, Invalid> {
    // As in Go, empty text counts as absent. What needs it is refused.
    let is_given = |field: &Field<'_>| !matches!(field.value(), Value::Text(text) if text.is_empty());
    match (given(fields, file).filter(is_given), given(fields, inline).filter(is_given)) {
        (Some(field), unused) => {
            if let Some(unused) = unused {
                unused.warning(format!("not used, because {} is given", file.about.name()));
            }
            let path = folder.join(field.text(file)?);
            let name = path.display().to_string();
            match field.read_file(&path) {
                Ok(content) => Ok(Some(Pem { field, name, text: Text::OfFile(content) })),
                Err(error) => Err(field.problem(format!("{name} cannot be read: {error}"))),
            }
        }
        (None, Some(field)) => match field.value() {
            Value::Text(text) => {
                Ok(Some(Pem { field, name: "the text".to_owned(), text: Text::Inline(text) }))
            }
            // The value is not repeated: it may be a key.
            _ => Err(field.problem(format!("expected {}", inline.words()))),
        },
        (None, None) => Ok(None),
    }
}
