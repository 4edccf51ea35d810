//! The key `tls`: whether and how the connection is encrypted.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::document::Value;
use super::field::{Field, Invalid};
use super::file;
use crate::target::Tls;

/// `true`, `false`, or a mapping for what goes beyond `true`.
pub(super) fn read(field: &Field<'_>) -> Result<Tls, Invalid> {
    match (field.as_bool(), field.value()) {
        (Some(true), _) => Ok(Tls::On { ca_file: None, server_name: None }),
        (Some(false), _) => Ok(Tls::Off),
        (None, Value::Map(_)) => {
            let fields = field.fields("a mapping", &["ca_file", "server_name"])?;
            let ca_file = fields.get("ca_file").map(|field| read_ca_file(&field)).transpose();
            let server_name = fields.get("server_name").map(|field| read_server_name(&field)).transpose();
            Ok(Tls::On { ca_file: ca_file?, server_name: server_name? })
        }
        (None, _) => Err(field.expected("true, false or a mapping such as {ca_file: ca.pem}")),
    }
}

/// A file of certificates that will do as roots. Where it is relative, it is so to the working directory.
fn read_ca_file(field: &Field<'_>) -> Result<PathBuf, Invalid> {
    let path = PathBuf::from(field.text("the path of a PEM file")?);
    let pem = file::read(&path)
        .map_err(|error| field.problem(format!("{} cannot be read: {error}", path.display())))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| {
            let number = roots.len() + 1;
            field.problem(format!("certificate {number} in {} cannot be used: {error}", path.display()))
        })?;
    }
    if roots.is_empty() {
        return Err(field.problem(format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(path)
}

fn read_server_name(field: &Field<'_>) -> Result<String, Invalid> {
    const WHAT: &str = "a host name or an IP address";
    let name = field.word(WHAT)?;
    if ServerName::try_from(name).is_err() {
        return Err(field.expected(WHAT));
    }
    Ok(name.to_owned())
}
