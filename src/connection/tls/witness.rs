//! What the server shows in a handshake, so that a failure can be explained.
//!
//! rustls calls those who check certificates without saying which handshake that is for. All connections have the same ones, so
//! that each needs no configuration of its own: what they note is for the handshake that goes on in this thread at the moment.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::client_certificate::ClientCertificate;

/// How many of the first bytes are kept: a line of text.
const FIRST_BYTES: usize = 160;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// What the server has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first bytes that came, whatever they mean.
    pub(super) first_bytes: Vec<u8>,
    /// The server's own certificate.
    pub(super) certificate: Option<CertificateDer<'static>>,
    /// The answer to the request for a client certificate; `None` if there was no request.
    pub(super) answer: Option<Answer>,
}

impl Seen {
    /// These bytes came.
    pub(super) fn received(&mut self, new: &[u8]) {
        let room = FIRST_BYTES - self.first_bytes.len();
        self.first_bytes.extend(&new[..new.len().min(room)]);
    }
}

/// How a request for a client certificate was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// With nothing, because none is configured.
    Nothing,
    /// With nothing, because the server accepts no signature of the key.
    UnfitKey,
    /// With the configured certificate.
    Certificate,
}

/// Does `work`, a part of one handshake, and notes in `seen` what the server shows in it.
pub(super) fn watch<T>(seen: &mut Seen, work: impl FnOnce() -> T) -> T {
    SEEN.with_borrow_mut(|current| std::mem::swap(current, seen));
    let done = work();
    SEEN.with_borrow_mut(|current| std::mem::swap(current, seen));
    done
}

/// The server has shown its own certificate.
pub(super) fn shown(certificate: &CertificateDer<'_>) {
    SEEN.with_borrow_mut(|seen| seen.certificate = Some(certificate.clone().into_owned()));
}

/// Answers requests for a client certificate.
#[derive(Debug)]
pub(super) struct Answers(pub(super) Option<ClientCertificate>);

impl ResolvesClientCert for Answers {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fitting = self.0.as_ref().filter(|it| it.0.key.choose_scheme(schemes).is_some());
        let answer = match (&self.0, fitting) {
            (None, _) => Answer::Nothing,
            (Some(_), None) => Answer::UnfitKey,
            (Some(_), Some(_)) => Answer::Certificate,
        };
        SEEN.with_borrow_mut(|seen| seen.answer = Some(answer));
        fitting.map(|it| Arc::clone(&it.0))
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
