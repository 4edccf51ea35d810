//! The proxies that the environment names for HTTPS, and what is wrong with them.

use std::ffi::OsString;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tracing::warn;

/// The variables that name a proxy for HTTPS, best first. Of the two spellings of each, the first one counts that is set.
const VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

const EXAMPLE: &str = "write http://proxy.example.com:3128, for example";

/// Returns the proxies of the environment. Warns about each variable that is ignored because it cannot be parsed: requests
/// then go straight to their hosts, which a firewall may keep from answering.
pub(super) fn of_environment() -> Matcher {
    for (variable, reason) in ignored(|name| std::env::var_os(name)) {
        warn!(variable, reason, "proxy ignored");
    }
    Matcher::from_env()
}

/// Returns the variables that are ignored, and why. Reasons do not repeat the values, which may contain passwords.
fn ignored(variable: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, String)> {
    let mut ignored = Vec::new();
    for names in VARIABLES {
        for name in names {
            let Some(value) = variable(name) else { continue };
            let Some(value) = value.to_str() else {
                // The other spelling counts.
                ignored.push((name, "it is not UTF-8 text".to_owned()));
                continue;
            };
            ignored.extend(fault(value).map(|reason| (name, reason)));
            break;
        }
    }
    ignored
}

/// Returns why `value` names no proxy. An empty one means that there is none.
fn fault(value: &str) -> Option<String> {
    let is_usable = || {
        let proxies = Matcher::builder().https(value.to_owned()).build();
        proxies.intercept(&Uri::from_static("https://login.microsoftonline.com")).is_some()
    };
    if value.is_empty() || is_usable() {
        return None;
    }
    Some(match value.parse::<Uri>() {
        Err(error) => format!("it is no URL ({error}); {EXAMPLE}"),
        Ok(uri) if uri.authority().is_none() => format!("it names no host; {EXAMPLE}"),
        Ok(_) => "its scheme is not supported; only http:// proxies are".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn of(values: &[(&str, &[u8])]) -> Vec<(&'static str, String)> {
        ignored(|name| {
            let value = values.iter().find(|(set, _)| *set == name);
            value.map(|(_, value)| OsString::from_vec(value.to_vec()))
        })
    }

    #[test]
    fn a_proxy_that_is_obeyed_or_left_out_is_no_fault() {
        for value in [
            "",
            "http://proxy.example.com:3128",
            "http://user:hunter2@proxy.example.com:3128/",
            "proxy.example.com:3128",
            "10.0.0.1",
            // Refused with a message of its own when it is used.
            "https://proxy.example.com",
            "socks5://proxy.example.com",
            "http://proxy.example.com:port",
        ] {
            assert_eq!(of(&[("HTTPS_PROXY", value.as_bytes())]), [], "{value}");
        }
        assert_eq!(of(&[]), []);
        // The first spelling counts.
        assert_eq!(of(&[("HTTPS_PROXY", b""), ("https_proxy", b"::")]), []);
    }

    #[test]
    fn a_proxy_that_cannot_be_parsed_is_a_fault_whose_reason_does_not_repeat_it() {
        for (value, expected) in [
            ("http://user:hunter 2@proxy:3128", "it is no URL (invalid uri character); write http://"),
            ("http://", "it is no URL ("),
            ("/hunter2", "it names no host; write http://"),
            ("ftp://user:hunter2@proxy", "its scheme is not supported; only http:// proxies are"),
        ] {
            let [(name, reason)] = of(&[("ALL_PROXY", value.as_bytes())]).try_into().unwrap();
            assert_eq!(name, "ALL_PROXY");
            assert!(reason.starts_with(expected) && !reason.contains("hunter"), "{value}: {reason}");
        }
        let both = of(&[("HTTPS_PROXY", b"\xff"), ("https_proxy", b"http://"), ("all_proxy", b"/")]);
        assert_eq!(
            both.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["HTTPS_PROXY", "https_proxy", "all_proxy"]
        );
    }
}
