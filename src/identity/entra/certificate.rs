//! Requests for tokens with a certificate: finds its files, and signs the assertion that is exchanged.

use std::path::Path;

use super::{EntraTokens, Grant, Proof};
use crate::files::Content;
use crate::identity::FetchError;
use crate::identity::authority::authority;
use crate::identity::certificate::{CertificateFiles, ClientCertificate};

const FILE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";

/// The authority of the public cloud.
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";

impl EntraTokens {
    pub(super) async fn client_certificate(
        &self,
        client_id: Option<String>,
        tenant_id: Option<String>,
        files: Option<CertificateFiles>,
        send_chain: Option<bool>,
    ) -> Result<Grant, FetchError> {
        let tenant_id = self.required_tenant(tenant_id)?;
        let client_id = self.given_or_set(client_id, "client_id", "AZURE_CLIENT_ID")?;
        let files = if let Some(files) = files {
            files
        } else {
            let file = self.given_or_set(None, "client_certificate", FILE)?.into();
            CertificateFiles { file, key_file: None }
        };
        let variables = &self.platform.variables;
        let is_set =
            || variables.get(CHAIN).is_some_and(|value| matches!(&*value, "1" | "true" | "True" | "TRUE"));
        let certificate = self.read_certificate(&files).await?;
        let authority = authority(&self.identity, variables)?;
        let authority = authority.as_deref().unwrap_or(PUBLIC_CLOUD);
        let audience = format!("{authority}/{tenant_id}/oauth2/v2.0/token");
        let (send_chain, now) = (send_chain.unwrap_or_else(is_set), self.platform.clock.now());
        let assertion = certificate.assertion(&client_id, &audience, send_chain, now).ok_or_else(|| {
            FetchError { is_local: true, ..FetchError::new("the system returned no random numbers") }
        })?;
        let proof = Proof::Assertion { assertion, proxy: None };
        Ok(Grant { tenant_id, client_id, proof })
    }

    async fn read_certificate(&self, files: &CertificateFiles) -> Result<ClientCertificate, FetchError> {
        let pem = self.read_pem(&files.file).await?;
        let (key_file, key) = match &files.key_file {
            Some(path) => (path, self.read_pem(path).await?),
            None => (&files.file, pem.clone()),
        };
        let certificate = ClientCertificate::new(&pem, &key).map_err(|error| {
            let path = if error.is_of_key() { key_file } else { &files.file };
            FetchError::new(format!("{} {error}", path.display()))
        })?;
        if let Some(lapse) = certificate.lapse(self.platform.clock.now()) {
            return Err(FetchError {
                advice: Some(lapse.advice()),
                ..FetchError::new(format!("{} {lapse}", files.file.display()))
            });
        }
        self.announced.certificate(&self.identity, &certificate);
        Ok(certificate)
    }

    async fn read_pem(&self, path: &Path) -> Result<Content, FetchError> {
        let content = self.platform.files.read(path).await.content;
        content.map_err(|error| FetchError::unreadable(path, &error))
    }
}
