//! The certificate that this agent shows to servers that ask for one, and its private key.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::pem::{self, PemError};

/// A client certificate, those of the authorities between it and a root, and its private key.
#[derive(Clone)]
pub struct ClientCertificate(pub(super) Arc<CertifiedKey>);

impl ClientCertificate {
    /// Creates one of `chain`, which starts with the client's own certificate, and its private key in PEM.
    ///
    /// # Errors
    /// [`PemError`] if `key` holds no key that can be used, or another than that of the certificate.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<Self, PemError> {
        Ok(Self(Arc::new(pem::certified_key(chain, key)?)))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;

    fn chain(key: &KeyPair) -> Vec<CertificateDer<'static>> {
        let params = rcgen::CertificateParams::new(["agent.test".to_owned()]).unwrap();
        vec![params.self_signed(key).unwrap().der().clone()]
    }

    #[test]
    fn a_key_goes_with_its_own_certificate_only() {
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let key = KeyPair::generate_for(algorithm).unwrap();
            ClientCertificate::new(chain(&key), key.serialize_pem().as_bytes()).unwrap();
            let other = KeyPair::generate_for(algorithm).unwrap();
            let error = ClientCertificate::new(chain(&key), other.serialize_pem().as_bytes()).unwrap_err();
            assert_eq!(error, PemError::OtherKey);
        }
    }

    #[test]
    fn a_key_of_an_unsupported_type_is_an_error() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        let chain = chain(&KeyPair::generate().unwrap());
        assert_eq!(ClientCertificate::new(chain, key.as_bytes()).unwrap_err(), PemError::UnsupportedKey);
    }
}
