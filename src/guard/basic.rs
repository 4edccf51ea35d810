//! The credentials of a request (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A user name and a password.
pub(super) struct Credentials {
    /// Both, with a colon between them.
    text: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl Credentials {
    /// Parses the value of an `Authorization` header. `None` if it contains none of the scheme `Basic`.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let (scheme, encoded) = header.split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let text = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let colon = text.iter().position(|byte| *byte == b':')?;
        Some(Self { text, colon })
    }

    pub(super) fn user(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    pub(super) fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &str) -> Option<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let credentials = Credentials::parse(header.as_bytes())?;
        Some((text(credentials.user()), text(credentials.password())))
    }

    #[test]
    fn the_first_colon_separates_user_and_password() {
        for (text, user, password) in
            [("a:b", "a", "b"), ("a:b:c", "a", "b:c"), (":", "", ""), (":b", "", "b"), ("ä:ö", "ä", "ö")]
        {
            for scheme in ["Basic", "basic", "BASIC"] {
                let header = format!("{scheme} {}", STANDARD.encode(text));
                assert_eq!(parsed(&header), Some((user.into(), password.into())), "{text}");
            }
        }
    }

    #[test]
    fn anything_else_is_no_credentials() {
        for header in ["", "Basic", "Basic ", "Basic YQ==", "Basic a", "Basic  YTpi", "Bearer YTpi", "YTpi"] {
            assert_eq!(parsed(header), None, "{header}");
        }
    }
}
