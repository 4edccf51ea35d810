//! The page of a request that gets no other.

use maud::html;

use super::layout::Layout;
use crate::http::refusal::Refusal;

/// Returns a page that says why `path` has none.
pub(in crate::http) fn refusal(Refusal { code, text }: &Refusal, path: &str) -> String {
    let root = match path.matches('/').count() {
        ..=1 => "./".to_owned(),
        slashes => "../".repeat(slashes - 1),
    };
    let title = code.to_string();
    let content = html! {
        header {
            p { a href=(root) { "All caches" } }
            h1 { (title) }
        }
        main { p { (text) } }
    };
    Layout { title: &title, root: &root, reload: None }.page(&content)
}
