//! The key `tls`: whether and how the connection is encrypted.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::document::Value;
use super::field::{Field, Invalid};
use super::keys::connection::{CA_FILE, SERVER_NAME, TLS};
use crate::connection::tls::roots::Roots;
use crate::target::Tls;

/// Reads `true`, `false`, or a mapping that enables TLS and sets its details.
pub(super) fn read(field: &Field<'_>) -> Result<Tls, Invalid> {
    let Value::Map(_) = field.value() else {
        let is_on = field.read(&TLS)?;
        return Ok(if is_on { Tls::On { ca_file: None, server_name: None } } else { Tls::Off });
    };
    let fields = field.fields(&TLS.about)?;
    let ca_file = fields.get(&CA_FILE).map(|field| read_ca_file(&field)).transpose();
    let server_name = fields.get(&SERVER_NAME).map(|field| read_server_name(&field)).transpose();
    Ok(Tls::On { ca_file: ca_file?, server_name: server_name? })
}

/// Reads the path of a file with root certificates. A relative path starts at the working directory.
fn read_ca_file(field: &Field<'_>) -> Result<PathBuf, Invalid> {
    let path = PathBuf::from(field.text(&CA_FILE)?);
    let pem = field
        .read_file(&path)
        .map_err(|error| field.problem(format!("{} cannot be read: {error}", path.display())))?;
    match Roots::none().with_pem(&pem) {
        Ok(_) => Ok(path),
        Err(error) => Err(field.problem(format!("{} {error}", path.display()))),
    }
}

fn read_server_name(field: &Field<'_>) -> Result<String, Invalid> {
    let name = field.word(&SERVER_NAME)?;
    if ServerName::try_from(name).is_err() {
        return Err(field.expected(SERVER_NAME.words()));
    }
    Ok(name.to_owned())
}
