//! A host name, or `*.` and a domain for all hosts in it.

use super::host;

/// A pattern of host names. Case does not matter, nor does a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// One host.
    Host(Box<str>),
    /// Every host in a domain, which begins with a dot here.
    Domain(Box<str>),
}

impl HostPattern {
    /// Parses a pattern; `None` if it is neither a host nor `*.` and a domain.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(domain) => {
                let is_name = host::parse(domain).is_ok() && domain.contains(char::is_alphabetic);
                (is_name && !domain.contains(':'))
                    .then(|| Self::Domain(format!(".{}", folded(domain)).into()))
            }
            None => host::parse(text).ok().map(|host| Self::Host(folded(host).into())),
        }
    }

    /// Whether it matches `host`.
    pub(super) fn has(&self, host: &str) -> bool {
        let host = folded(host);
        match self {
            Self::Host(own) => **own == *host,
            Self::Domain(domain) => host.len() > domain.len() && host.ends_with(&**domain),
        }
    }
}

fn folded(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_host_or_all_hosts_in_a_domain() {
        let pattern = |text| HostPattern::parse(text).unwrap();
        for (text, host) in [
            ("cache.example.com", "Cache.example.com."),
            ("Cache.Example.com.", "cache.example.com"),
            ("*.example.com", "cache.example.com"),
            ("*.Example.com", "a.b.EXAMPLE.com"),
            ("10.0.0.4", "10.0.0.4"),
            ("[::1]", "::1"),
        ] {
            assert!(pattern(text).has(host), "{text} {host}");
        }
        for (text, host) in [
            ("cache.example.com", "a.cache.example.com"),
            ("*.example.com", "example.com"),
            ("*.example.com", ".example.com"),
            ("*.example.com", "notexample.com"),
            ("*.example.com", "cache.example.com.evil.net"),
        ] {
            assert!(!pattern(text).has(host), "{text} {host}");
        }
    }

    #[test]
    fn other_text_is_no_pattern() {
        for text in ["*", "*.", "*example.com", "a.*.com", "*.*.com", "*.0.0.4", "*.::1", "*.10", "a b", ""] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }
}
