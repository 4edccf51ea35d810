//! What helps against a failed handshake. It depends on where the operator says whom a client trusts.

/// Ends of the messages about a server's certificate and name; empty where the reason's advice says enough.
#[derive(Clone, Copy, Debug)]
pub struct Remedy {
    /// About a certificate of an authority that is not trusted.
    pub untrusted: &'static str,
    /// About a certificate that can only be trusted for itself.
    pub unusual: &'static str,
    /// About a name that the server does not know.
    pub unknown_name: &'static str,
}

impl Remedy {
    /// The keys of a target.
    pub(super) const OF_TARGET: Self = Self {
        untrusted: "",
        unusual: "; to trust exactly this certificate, add it to tls.ca_file",
        unknown_name: "; tls.server_name sets another",
    };

    /// No keys: only what the platform trusts counts.
    pub const OF_PLATFORM: Self = Self {
        untrusted: "; set SSL_CERT_FILE to a file with every authority to trust",
        unusual: "",
        unknown_name: "",
    };
}
