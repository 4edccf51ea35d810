//! The key `sentinel`: the sentinels that name the primary of a target.

use super::field::{Field, Fields, Invalid};
use super::keys::sentinel::{ADDRESSES, DEFAULT_PORT, IDENTITY, SENTINEL, SERVICE, TLS, USERNAME};
use super::{identity, location, tls};
use crate::target::{Endpoint, Sentinels, Tls};

/// Reads the mapping. `cache_tls` is the encryption of the connections to the cache, which is the default of those to the
/// sentinels.
pub(super) fn read(field: &Field<'_>, cache_tls: Result<&Tls, Invalid>) -> Result<Sentinels, Invalid> {
    let fields = field.fields(&SENTINEL.about)?;
    let service = fields
        .required(&SERVICE, "give the name in `sentinel monitor`")
        .and_then(|field| Ok(field.word(&SERVICE)?.into()));
    let addresses =
        fields.required(&ADDRESSES, "name the sentinels").and_then(|field| read_addresses(&field));
    let password = fields.get(&IDENTITY).map(|field| identity::read_of_sentinels(&field)).transpose();
    let username = read_username(&fields, password.as_ref().is_ok_and(|it| !matches!(it, Some(Some(_)))));
    let tls = match fields.get(&TLS.whole) {
        Some(field) => tls::read(&field, &TLS),
        None => cache_tls.map(without_server_name),
    };
    Ok(Sentinels {
        service: service?,
        addresses: addresses?,
        tls: tls?,
        password: password?.flatten(),
        username: username?,
    })
}

fn read_addresses(field: &Field<'_>) -> Result<Vec<Endpoint>, Invalid> {
    let what = "a list of hosts, such as [sentinel-0.example.com, sentinel-1.example.com]";
    let items = field.items_of(&ADDRESSES, what, "hosts")?;
    let mut addresses: Vec<Endpoint> = Vec::with_capacity(items.len());
    let mut invalid = None;
    // Every item is read, so that all problems are reported together.
    for item in &items {
        match read_address(item) {
            Ok(address) if addresses.contains(&address) => {
                invalid = Some(item.problem("the same sentinel again; name each once"));
            }
            Ok(address) => addresses.push(address),
            Err(error) => invalid = Some(error),
        }
    }
    invalid.map_or(Ok(addresses), Err)
}

/// Reads a host and an optional port. A message does not repeat the text, which may contain a password.
fn read_address(field: &Field<'_>) -> Result<Endpoint, Invalid> {
    let (host, port) = location::parse_address(field.text(&ADDRESSES)?)
        .ok_or_else(|| field.problem(format!("expected {}", ADDRESSES.words())))?;
    Ok(Endpoint { host: host.into(), port: port.unwrap_or(DEFAULT_PORT) })
}

fn read_username(fields: &Fields<'_>, is_without_password: bool) -> Result<Option<String>, Invalid> {
    let Some(field) = fields.get(&USERNAME) else { return Ok(None) };
    if is_without_password {
        return Err(field.problem(format!("a user needs a password; set {}", fields.name_of(&IDENTITY))));
    }
    Ok(Some(field.word(&USERNAME)?.to_owned()))
}

fn without_server_name(tls: &Tls) -> Tls {
    match tls {
        Tls::Off => Tls::Off,
        Tls::On { files, .. } => Tls::On { files: files.clone(), server_name: None },
    }
}
