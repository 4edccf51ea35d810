//! The key `client_certificate`: the files of a service principal's certificate, which must be usable.

use super::document::Value;
use super::field::{Field, Invalid};
use super::keys::identity::CLIENT_CERTIFICATE;
use super::tls::read_pem;
use crate::clock::Clock;
use crate::identity::certificate::{CertificateFiles, ClientCertificate};

/// Reads the paths of the certificate and its key, and what is in the files.
pub(super) fn read(field: &Field<'_>) -> Result<CertificateFiles, Invalid> {
    if !matches!(field.value(), Value::Map(_)) {
        // It may be the certificate with its key, so it is not repeated.
        return Err(field.problem("a certificate and its private key are kept in files: give {file: …}"));
    }
    let fields = field.fields(&CLIENT_CERTIFICATE.whole.about)?;
    let file_field = fields.required(&CLIENT_CERTIFICATE.file, "give the file with the certificate")?;
    let key_field = fields.get(&CLIENT_CERTIFICATE.key_file);
    let certificate = read_pem(&file_field, &CLIENT_CERTIFICATE.file);
    let key = key_field.as_ref().map(|field| read_pem(field, &CLIENT_CERTIFICATE.key_file)).transpose();
    let ((file, pem), key) = (certificate?, key?);
    let (key_file, key) = key.unzip();
    let certificate = ClientCertificate::new(&pem, key.as_ref().unwrap_or(&pem)).map_err(|error| {
        let (field, path) = match (&key_field, &key_file) {
            (Some(field), Some(path)) if error.is_of_key() => (field, path),
            _ => (&file_field, &file),
        };
        field.problem(format!("{} {error}", path.display()))
    })?;
    if let Some(lapse) = certificate.lapse(Clock::system().now()) {
        // It may be renewed before it is needed, and the machine's clock may be wrong.
        file_field.warning(format!("{} {lapse}", file.display()));
    }
    Ok(CertificateFiles { file, key_file })
}
