//! The keys `tls`: whether and how a connection is encrypted.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::document::Value;
use super::field::{Field, Fields, Invalid};
use super::keys::Key;
use super::keys::connection::TlsKeys;
use crate::connection::tls::client_certificate::ClientCertificate;
use crate::connection::tls::pem::{self, PemError};
use crate::connection::tls::roots::Roots;
use crate::files::Content;
use crate::target::{ClientFiles, Tls, TlsFiles};

/// Reads `true`, `false`, or a mapping that enables TLS and sets its details, under the key of `keys`.
pub(super) fn read(field: &Field<'_>, keys: &TlsKeys) -> Result<Tls, Invalid> {
    let Value::Map(_) = field.value() else {
        let is_on = field.read(&keys.whole)?;
        return Ok(if is_on { Tls::DEFAULT } else { Tls::Off });
    };
    let fields = field.fields(&keys.whole.about)?;
    let ca_file = fields.get(&keys.ca_file).map(|field| read_ca_file(&field, &keys.ca_file)).transpose();
    let server_name =
        fields.get(&keys.server_name).map(|field| read_server_name(&field, &keys.server_name)).transpose();
    let client = read_client_files(&fields, keys);
    Ok(Tls::On { files: TlsFiles { ca_file: ca_file?, client: client? }, server_name: server_name? })
}

/// Reads the path of a file with root certificates.
pub(super) fn read_ca_file(field: &Field<'_>, key: &Key<&str>) -> Result<PathBuf, Invalid> {
    let (path, pem) = read_pem(field, key)?;
    Roots::none().with_pem(&pem).map_err(|error| unusable(field, &path, error))?;
    Ok(path)
}

/// Reads the paths of a client certificate and its key: both or neither.
fn read_client_files(fields: &Fields<'_>, keys: &TlsKeys) -> Result<Option<ClientFiles>, Invalid> {
    let (cert_field, key_field) = match (fields.get(&keys.cert_file), fields.get(&keys.key_file)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        (Some(field), None) => return Err(needs(&field, &keys.key_file)),
        (None, Some(field)) => return Err(needs(&field, &keys.cert_file)),
    };
    let certificate = read_pem(&cert_field, &keys.cert_file).and_then(|(path, pem)| {
        let chain = pem::certificates(&pem).map_err(|error| unusable(&cert_field, &path, error))?;
        Ok((path, chain))
    });
    let key = read_pem(&key_field, &keys.key_file);
    let ((cert_file, chain), (key_file, key)) = (certificate?, key?);
    ClientCertificate::new(chain, &key).map_err(|error| unusable(&key_field, &key_file, error))?;
    Ok(Some(ClientFiles { cert_file, key_file }))
}

fn needs(field: &Field<'_>, other: &Key<&str>) -> Invalid {
    field.problem(format!("{} is missing; give both, or neither", field.name_of(other)))
}

/// Reads the file whose path is in `field`. A relative path starts at the working directory.
pub(super) fn read_pem(field: &Field<'_>, key: &Key<&str>) -> Result<(PathBuf, Content), Invalid> {
    let path = PathBuf::from(field.text(key)?);
    match field.read_file(&path) {
        Ok(pem) => Ok((path, pem)),
        Err(error) => Err(field.problem(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn unusable(field: &Field<'_>, path: &Path, error: PemError) -> Invalid {
    field.problem(format!("{} {error}", path.display()))
}

fn read_server_name(field: &Field<'_>, key: &Key<&str>) -> Result<String, Invalid> {
    let name = field.word(key)?;
    if ServerName::try_from(name).is_err() {
        return Err(field.expected(key.words()));
    }
    Ok(name.to_owned())
}
