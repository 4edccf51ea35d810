//! Content negotiation: whether the client accepts gzip (RFC 9110, section 12.5.3).

use hyper::header::{ACCEPT_ENCODING, HeaderMap};

use super::weighted::alternatives;

/// Whether a response may be gzipped: `gzip` or `*` is named with a weight over 0, and `identity` with no higher one.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut by_name = None;
    let mut by_star = 0.0;
    let mut identity = 0.0;
    for coding in alternatives(headers, ACCEPT_ENCODING) {
        if coding.name.eq_ignore_ascii_case("gzip") || coding.name.eq_ignore_ascii_case("x-gzip") {
            by_name = Some(coding.weight);
        } else if coding.name == "*" {
            by_star = coding.weight;
        } else if coding.name.eq_ignore_ascii_case("identity") {
            identity = coding.weight;
        }
    }
    let gzip = by_name.unwrap_or(by_star);
    gzip > 0.0 && gzip >= identity
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, value.parse().unwrap());
        }
        accepts_gzip(&headers)
    }

    #[test]
    fn gzip_is_used_if_the_client_accepts_it_and_does_not_prefer_identity() {
        for yes in [
            "gzip",
            "GZip",
            "x-gzip",
            "deflate, gzip;q=1.0, *;q=0.5",
            "br;q=1,gzip ; q=0.001",
            "*",
            "gzip;",
            "identity, gzip",
            "identity;q=0.5, *",
        ] {
            assert!(accepts(&[yes]), "{yes}");
        }
        for no in [
            "",
            "identity",
            "gzip;q=0",
            "gzip; Q=0.000",
            "*;q=0",
            "gzip;q=0, *",
            "gzip;q=high",
            "gzipped",
            "identity;q=1, gzip;q=0.5",
            "*;q=0.5, Identity",
        ] {
            assert!(!accepts(&[no]), "{no}");
        }
        assert!(!accepts(&[]));
        assert!(accepts(&["br", "gzip"]));
    }
}
