//! The JSON of `/status`: that of a thousand targets is 9 MB.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::vec;

use serde::Serialize;

use super::{Filter, IdentityDocument, IdentityEntry, Status, TargetEntry};
use crate::buffer::Buffer;
use crate::piecewise::{Pieces, Piecewise};

/// The end of a document without targets and identities, from the first of these lists.
const EMPTY_LISTS: &str = "[],\n  \"identities\": []\n}";

/// What separates the lists, and what ends the document.
const IDENTITIES: &[u8] = b",\n  \"identities\": ";
const END: &[u8] = b"\n}";

/// A [`StatusDocument`](super::StatusDocument) as text.
///
/// The targets and identities are fixed at the start; each one is read when it is written.
#[derive(Debug)]
struct StatusText {
    filter: Filter,
    targets: vec::IntoIter<Arc<TargetEntry>>,
    identities: vec::IntoIter<Arc<IdentityEntry>>,
    /// The list that is written.
    list: List,
    /// Whether something is in that list already.
    has_items: bool,
}

#[derive(Debug)]
enum List {
    /// What precedes both.
    Head(Box<str>),
    Targets,
    Identities,
}

impl Status {
    /// Returns the current status with the targets that `filter` selects.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn text(&self, filter: Filter) -> io::Result<impl BufRead + Send + use<>> {
        let (targets, identities, rejections) = self.entries();
        let head = serde_json::to_string_pretty(&self.without_entries(rejections))?;
        let head = head.strip_suffix(EMPTY_LISTS).expect("the lists come last, and are empty");
        Ok(Piecewise::new(StatusText {
            filter,
            targets: targets.into_iter(),
            identities: identities.into_iter(),
            list: List::Head(head.into()),
            has_items: false,
        }))
    }
}

impl Pieces for StatusText {
    /// Writes the head, the next item of a list, or the end of the list.
    fn write(&mut self, out: &mut Buffer) -> io::Result<bool> {
        match &self.list {
            List::Head(head) => {
                out.put(head.as_bytes());
                self.list = List::Targets;
            }
            List::Targets => {
                if let Some(entry) = self.targets.next() {
                    if let Some(target) = entry.selected(&self.filter) {
                        self.item(&target, out)?;
                    }
                } else {
                    self.end_list(IDENTITIES, out);
                    self.list = List::Identities;
                }
            }
            List::Identities => {
                if let Some(entry) = self.identities.next() {
                    self.item(&IdentityDocument::new(&entry), out)?;
                } else {
                    self.end_list(END, out);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl StatusText {
    fn item(&mut self, item: &impl Serialize, out: &mut Buffer) -> io::Result<()> {
        // JSON has line breaks between its tokens only.
        let item = serde_json::to_string_pretty(item)?.replace('\n', "\n    ");
        out.put(if self.has_items { b",\n    " } else { b"[\n    " });
        out.put(item.as_bytes());
        self.has_items = true;
        Ok(())
    }

    fn end_list(&mut self, then: &[u8], out: &mut Buffer) {
        out.put(if self.has_items { b"\n  ]" } else { b"[]" });
        out.put(then);
        self.has_items = false;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
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
            content.consume(count);
            (whole, most) = (whole + count, most.max(count));
        }
        assert_eq!(whole, text(&status).len());
        assert!(whole > 20 * most, "{most} of {whole}");
    }
}
