//! A lookup of one family of addresses by the machine's own resolver, `getaddrinfo`, as every other program does it:
//! with its search domains and settings. It blocks a thread and cannot be cancelled.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, getaddrinfo};
use socket2::{Domain, Type};
use tokio::sync::oneshot;

use super::Family;
use crate::error::is_local;

/// Looks up the addresses of `host` in `family`.
pub(super) async fn look_up(host: &str, family: Family) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    let (answer, answered) = oneshot::channel();
    // Not in tokio's pool, which panics where no thread can be started.
    let thread = std::thread::Builder::new().name("lookup".into());
    thread.spawn(move || drop(answer.send(ask(&host, family)))).map_err(|error| {
        // The system's own error, EAGAIN, does not say what is missing.
        io::Error::new(io::ErrorKind::OutOfMemory, format!("no thread can be started: {error}"))
    })?;
    answered.await.unwrap_or_else(|_| Err(io::Error::other("the lookup panicked; please report this")))
}

fn ask(host: &str, family: Family) -> io::Result<Vec<SocketAddr>> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    // One socket type, so that each address comes once.
    let hints =
        AddrInfoHints { address: domain.into(), socktype: Type::STREAM.into(), ..AddrInfoHints::default() };
    match getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => found.map(|entry| Ok(entry?.sockaddr)).collect(),
        Err(error) => Err(cause(error)),
    }
}

fn cause(error: LookupError) -> io::Error {
    // Some resolvers report a lack of file descriptors as a name that does not exist.
    if let Err(shortage) = UdpSocket::bind("127.0.0.1:0")
        && is_local(&shortage)
    {
        return shortage;
    }
    match error.kind() {
        LookupErrorKind::Memory => io::ErrorKind::OutOfMemory.into(),
        // An answer, and not a failure: the name has no address of this family.
        LookupErrorKind::NoName | LookupErrorKind::NoData => {
            io::Error::new(io::ErrorKind::NotFound, io::Error::from(error))
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_found_in_its_own_family_only() {
        let found = look_up("127.0.0.1", Family::V4).await.unwrap();
        assert_eq!(found, ["127.0.0.1:0".parse::<SocketAddr>().unwrap()]);
        look_up("127.0.0.1", Family::V6).await.unwrap_err();
        assert_eq!(look_up("::1", Family::V6).await.unwrap(), ["[::1]:0".parse::<SocketAddr>().unwrap()]);
    }
}
