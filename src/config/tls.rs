//! The key `tls`: whether and how the connection is encrypted.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::document::Value;
use super::field::{Field, Fields, Invalid};
use super::keys::Key;
use super::keys::connection::{CA_FILE, CERT_FILE, KEY_FILE, SERVER_NAME, TLS};
use crate::connection::tls::client_certificate::ClientCertificate;
use crate::connection::tls::pem::{self, PemError};
use crate::connection::tls::roots::Roots;
use crate::files::Content;
use crate::target::{ClientFiles, Tls, TlsFiles};

/// Reads `true`, `false`, or a mapping that enables TLS and sets its details.
pub(super) fn read(field: &Field<'_>) -> Result<Tls, Invalid> {
    let Value::Map(_) = field.value() else {
        let is_on = field.read(&TLS)?;
        return Ok(if is_on { Tls::DEFAULT } else { Tls::Off });
    };
    let fields = field.fields(&TLS.about)?;
    let ca_file = fields.get(&CA_FILE).map(|field| read_ca_file(&field)).transpose();
    let server_name = fields.get(&SERVER_NAME).map(|field| read_server_name(&field)).transpose();
    let client = read_client_files(&fields);
    Ok(Tls::On { files: TlsFiles { ca_file: ca_file?, client: client? }, server_name: server_name? })
}

/// Reads the path of a file with root certificates.
fn read_ca_file(field: &Field<'_>) -> Result<PathBuf, Invalid> {
    let (path, pem) = read_pem(field, &CA_FILE)?;
    Roots::none().with_pem(&pem).map_err(|error| unusable(field, &path, error))?;
    Ok(path)
}

/// Reads the paths of a client certificate and its key: both or neither.
fn read_client_files(fields: &Fields<'_>) -> Result<Option<ClientFiles>, Invalid> {
    let (cert_field, key_field) = match (fields.get(&CERT_FILE), fields.get(&KEY_FILE)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        (Some(field), None) => return Err(needs(&field, &KEY_FILE)),
        (None, Some(field)) => return Err(needs(&field, &CERT_FILE)),
    };
    let certificate = read_pem(&cert_field, &CERT_FILE).and_then(|(path, pem)| {
        let chain = pem::certificates(&pem).map_err(|error| unusable(&cert_field, &path, error))?;
        Ok((path, chain))
    });
    let key = read_pem(&key_field, &KEY_FILE);
    let ((cert_file, chain), (key_file, key)) = (certificate?, key?);
    ClientCertificate::new(chain, &key).map_err(|error| unusable(&key_field, &key_file, error))?;
    Ok(Some(ClientFiles { cert_file, key_file }))
}

fn needs(field: &Field<'_>, other: &Key<&str>) -> Invalid {
    field.problem(format!("{} is missing; give both, or neither", field.name_of(other)))
}

/// Reads the file whose path is in `field`. A relative path starts at the working directory.
fn read_pem(field: &Field<'_>, key: &Key<&str>) -> Result<(PathBuf, Content), Invalid> {
    let path = PathBuf::from(field.text(key)?);
    match field.read_file(&path) {
        Ok(pem) => Ok((path, pem)),
        Err(error) => Err(field.problem(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn unusable(field: &Field<'_>, path: &Path, error: PemError) -> Invalid {
    field.problem(format!("{} {error}", path.display()))
}

fn read_server_name(field: &Field<'_>) -> Result<String, Invalid> {
    let name = field.word(&SERVER_NAME)?;
    if ServerName::try_from(name).is_err() {
        return Err(field.expected(SERVER_NAME.words()));
    }
    Ok(name.to_owned())
}
