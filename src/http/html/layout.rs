//! What all pages for people have in common.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::super::Route;

const STYLE: &str = include_str!("style.css");

/// After how many seconds a browser loads a page again.
const REFRESH: u32 = 15;

/// A page.
pub(super) struct Layout<'a> {
    pub(super) title: &'a str,
    /// Leads from the page to `/`: a reverse proxy may serve the endpoint below a path of its own.
    pub(super) root: &'a str,
    /// Whether browsers load it again.
    pub(super) is_live: bool,
    /// The same page with the other choice.
    pub(super) other: &'a str,
}

impl Layout<'_> {
    /// Returns the page with this `content`.
    pub(super) fn page(&self, content: &Markup) -> String {
        let Self { title, root, is_live, other } = self;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if *is_live { meta http-equiv="refresh" content=(REFRESH); }
                    title { (title) " – cachepulse" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (content)
                    footer {
                        p {
                            "cachepulse " (env!("CARGO_PKG_VERSION")) ". "
                            @if *is_live { "Reloads every " (REFRESH) " s. " a href=(other) { "Stop reloading" } }
                            @else { a href=(other) { "Reload every " (REFRESH) " s" } }
                        }
                        nav aria-label="Other pages" {
                            @for route in Route::ALL.into_iter().filter(|route| route.is_linked()) {
                                a href={ (root) (route.as_str().trim_start_matches('/')) } title=(route.meaning().replace('`', "")) { (route) } " "
                            }
                        }
                    }
                }
            }
        };
        page.into_string()
    }
}
