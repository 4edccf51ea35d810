//! The hosts file: its names need no lookup and no thread of their own. C libraries disagree on the case of its names;
//! here it never matters.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::files::{Files, ReadError};

/// How long the text is used before the file is read again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a read may take. After that the previous text is used.
const PATIENCE: Duration = Duration::from_millis(100);

/// A hosts file, read at most once per second however many names are looked up.
#[derive(Debug)]
pub(super) struct Hosts {
    files: Files,
    path: PathBuf,
    newest: Mutex<Newest>,
}

#[derive(Debug, Default)]
struct Newest {
    text: String,
    asked: Option<Instant>,
}

impl Hosts {
    pub(super) fn new(files: Files, path: impl Into<PathBuf>) -> Self {
        Self { files, path: path.into(), newest: Mutex::default() }
    }

    /// Returns the addresses of `host`, in the order of the file; none if it is not in the file.
    pub(super) async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let mut newest = self.newest.lock().await;
        if newest.asked.is_none_or(|asked| asked.elapsed() >= FRESH) {
            let read = timeout(PATIENCE, self.files.read(&self.path)).await;
            match read.map(|snapshot| snapshot.content) {
                Ok(Ok(content)) => newest.text = String::from_utf8_lossy(&content).into_owned(),
                Ok(Err(ReadError::System(error))) if error.kind() == io::ErrorKind::NotFound => {
                    newest.text.clear();
                }
                // The previous text is better than none.
                Ok(Err(_)) | Err(_) => {}
            }
            newest.asked = Some(Instant::now());
        }
        addresses(&newest.text, host)
    }
}

fn addresses(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let entry = line.split_once('#').map_or(line, |(entry, _)| entry);
        let mut words = entry.split_ascii_whitespace();
        let Some(address) = words.next() else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) {
            // A zone, as in `fe80::1%eth0`, has no place in an `IpAddr`: the system's resolver knows it.
            found.extend(address.parse::<IpAddr>());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        127.0.0.1\tlocalhost\n\
        # 10.0.0.9 commented\n\
        10.0.0.1  Orders.Example orders # 10.0.0.8 remark\n\
        \n\
        fd00::1 orders.example\n\
        not-an-address orders\n\
        fe80::1%eth0 zoned\n";

    #[test]
    fn a_name_has_the_addresses_of_its_lines_whatever_its_case() {
        let of = |host| addresses(TEXT, host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("ORDERS.example"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(of("orders"), ["10.0.0.1"]);
        for other in ["commented", "remark", "orders.exampl", "10.0.0.1", "zoned", "#"] {
            assert!(of(other).is_empty(), "{other}");
        }
    }

    #[tokio::test]
    async fn the_file_is_read_again_after_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let hosts = Hosts::new(Files::system(), &path);
        assert!(hosts.addresses("orders").await.is_empty(), "there is no file");
        std::fs::write(&path, "10.0.0.1 orders\n").unwrap();
        assert!(hosts.addresses("orders").await.is_empty(), "the text is fresh");
        for text in ["10.0.0.2 orders\n", ""] {
            std::fs::write(&path, text).unwrap();
            hosts.newest.lock().await.asked = None;
            assert_eq!(hosts.addresses("orders").await, addresses(text, "orders"));
        }
    }
}
