//! Addresses to listen at, as the operator writes them.

use std::net::SocketAddr;

use super::field::Parse;

impl Parse for SocketAddr {
    const NOUN: &'static str = "an IP address and a port such as 0.0.0.0:9860";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}
