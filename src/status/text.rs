//! The JSON of `/status`, written while it is read: that of a thousand targets is 9 MB, and only the part that is being sent
//! is in memory.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::vec;

use serde::Serialize;

use super::{Filter, IdentityDocument, IdentityEntry, Status, TargetEntry};

/// How many bytes are written ahead of the reader, or slightly more.
const AHEAD: usize = 16 * 1024;

/// The end of a document without targets and identities, from the first of these lists.
const EMPTY_LISTS: &str = "[],\n  \"identities\": []\n}";

/// What separates the lists, and what ends the document.
const IDENTITIES: &[u8] = b",\n  \"identities\": ";
const END: &[u8] = b"\n}";

/// A [`StatusDocument`](super::StatusDocument) as text.
///
/// The targets and identities are fixed at the start; each one is read when it is written.
#[derive(Debug)]
pub struct StatusText {
    filter: Filter,
    targets: vec::IntoIter<Arc<TargetEntry>>,
    identities: vec::IntoIter<Arc<IdentityEntry>>,
    /// The list that is written.
    list: List,
    /// Whether something is in that list already.
    has_items: bool,
    bytes: Vec<u8>,
    /// How many of the bytes have been read.
    read: usize,
}

#[derive(Debug)]
enum List {
    Targets,
    Identities,
    /// Both are written.
    Done,
}

impl Status {
    /// Returns the current status with the targets that `filter` selects.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn text(&self, filter: Filter) -> io::Result<StatusText> {
        let (targets, identities, rejections) = self.entries();
        let head = serde_json::to_string_pretty(&self.without_entries(rejections))?;
        let head = head.strip_suffix(EMPTY_LISTS).expect("the lists come last, and are empty");
        let mut text = StatusText {
            filter,
            targets: targets.into_iter(),
            identities: identities.into_iter(),
            list: List::Targets,
            has_items: false,
            bytes: head.as_bytes().to_vec(),
            read: 0,
        };
        text.write_ahead()?;
        Ok(text)
    }
}

impl StatusText {
    /// Appends the next item of a list, or the end of the list.
    fn write(&mut self) -> io::Result<()> {
        match self.list {
            List::Targets => match self.targets.next() {
                Some(entry) => {
                    if let Some(target) = entry.selected(&self.filter) {
                        self.item(&target)?;
                    }
                }
                None => self.end_list(IDENTITIES, List::Identities),
            },
            List::Identities => match self.identities.next() {
                Some(entry) => self.item(&IdentityDocument::new(&entry))?,
                None => self.end_list(END, List::Done),
            },
            List::Done => {}
        }
        Ok(())
    }

    fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        // JSON has line breaks between its tokens only.
        let item = serde_json::to_string_pretty(item)?.replace('\n', "\n    ");
        self.bytes.extend_from_slice(if self.has_items { b",\n    " } else { b"[\n    " });
        self.bytes.extend_from_slice(item.as_bytes());
        self.has_items = true;
        Ok(())
    }

    fn end_list(&mut self, then: &[u8], next: List) {
        self.bytes.extend_from_slice(if self.has_items { b"\n  ]" } else { b"[]" });
        self.bytes.extend_from_slice(then);
        self.list = next;
        self.has_items = false;
    }

    fn write_ahead(&mut self) -> io::Result<()> {
        while self.bytes.len() < AHEAD && !matches!(self.list, List::Done) {
            self.write()?;
        }
        Ok(())
    }
}

impl BufRead for StatusText {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
            self.write_ahead()?;
        }
        Ok(&self.bytes[self.read..])
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl Read for StatusText {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(bytes)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::tests::outcome;
    use super::*;
    use crate::clock::Clock;
    use crate::target::Target;

    fn status() -> Status {
        Status::new(Clock::from_tokio(SystemTime::UNIX_EPOCH))
    }

    fn text(status: &Status) -> String {
        let mut text = String::new();
        status.text(Filter::default()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn the_text_is_that_of_the_document() {
        let status = status();
        let same = || {
            assert_eq!(text(&status), serde_json::to_string_pretty(&status.document()).unwrap());
        };
        same();
        status.config_rejected(Some("two\nlines: \"targets\": [],\n  \"identities\": []\n}"));
        same();
        status.target_file("a.yaml", Some("not YAML"));
        same();
        let _identity = status.identity("managed_identity");
        same();
        let _targets = ["a \"b\"", "orders"].map(|name| status.target(&Target::plain(name)));
        same();
        let _second = status.identity("other");
        same();
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_text_is_never_in_memory_as_a_whole() {
        let status = status();
        let targets = (0..200).map(|number| status.target(&Target::plain(&format!("orders-{number}"))));
        let targets: Vec<_> = targets.collect();
        for target in &targets {
            for _ in 0..20 {
                target.record(&outcome(Ok(())), 1, Duration::ZERO, true, SystemTime::UNIX_EPOCH);
            }
        }
        let mut content = status.text(Filter::default()).unwrap();
        let (mut whole, mut most) = (0, 0);
        loop {
            let count = content.fill_buf().unwrap().len();
            if count == 0 {
                break;
            }
            most = most.max(content.bytes.capacity());
            // Slightly less than what is there, as a reader with a buffer of its own does.
            let count = count.min(1000);
            content.consume(count);
            whole += count;
        }
        assert_eq!(whole, text(&status).len());
        assert!(whole > 20 * AHEAD && most <= 4 * AHEAD, "{most} of {whole}");
    }
}
