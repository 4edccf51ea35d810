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
    /// `None` if it stays as it is.
    pub(super) reload: Option<Reload<'a>>,
}

/// Whether browsers load a page again.
pub(super) struct Reload<'a> {
    pub(super) is_live: bool,
    /// The same page with the other choice.
    pub(super) other: &'a str,
}

impl Layout<'_> {
    /// Returns the page with this `content`.
    pub(super) fn page(&self, content: &Markup) -> String {
        let Self { title, root, reload } = self;
        let is_live = reload.as_ref().is_some_and(|reload| reload.is_live);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if is_live { meta http-equiv="refresh" content=(REFRESH); }
                    title { (title) " – cachepulse" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (content)
                    footer {
                        p {
                            "cachepulse " (env!("CARGO_PKG_VERSION")) ". "
                            @match reload {
                                Some(Reload { is_live: true, other }) => {
                                    "Reloads every " (REFRESH) " s. " a href=(other) { "Stop reloading" }
                                },
                                Some(Reload { is_live: false, other }) => {
                                    a href=(other) { "Reload every " (REFRESH) " s" }
                                },
                                None => {},
                            }
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
