//! A resolver that answers as it is told, for the faults that a machine's own resolver cannot be made to show without
//! the rights of its administrator.

use std::io;
use std::net::{IpAddr, SocketAddr};

use cachepulse::connection::resolver::Resolver;
use tokio::sync::watch;

/// What becomes of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// It is answered when another answer is chosen.
    Silence,
}

impl Answer {
    pub(crate) fn addresses<const N: usize>(addresses: [&str; N]) -> Self {
        Self::Addresses(addresses.map(|address| address.parse().unwrap()).into())
    }
}

/// The answer to every lookup from now on.
pub(crate) struct Names(watch::Sender<Answer>);

impl Names {
    pub(crate) fn new(answer: Answer) -> Self {
        Self(watch::Sender::new(answer))
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.0.send_replace(answer);
    }

    pub(crate) fn resolver(&self) -> Resolver {
        let answers = self.0.subscribe();
        Resolver::new(move |_| {
            let mut answers = answers.clone();
            Box::pin(async move {
                let told = answers.wait_for(|answer| *answer != Answer::Silence).await;
                match told.map(|answer| answer.clone()) {
                    Ok(Answer::Addresses(addresses)) => {
                        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
                    }
                    _ => Err(io::Error::other("no such host is known")),
                }
            })
        })
    }
}
