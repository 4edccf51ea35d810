//! What a reader wants to see of the page `/`: the parameters of its query string.

use std::borrow::Cow;
use std::num::NonZero;

use crate::http::query::InvalidQuery;

/// What a reader wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct View {
    /// The parameter `q`.
    pub(super) text: String,
    /// The parameter `state`.
    pub(super) state: String,
    /// The number of the page, from 1.
    pub(super) page: usize,
    /// Whether browsers load the page again.
    pub(super) is_live: bool,
}

impl View {
    /// Reads the parameters by `get`, which returns an empty text for those that are absent.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub(in crate::http) fn new<'a>(
        get: impl Fn(&'static str) -> Result<Cow<'a, str>, InvalidQuery>,
    ) -> Result<Self, InvalidQuery> {
        Ok(Self {
            text: get("q")?.trim().to_owned(),
            state: get("state")?.into_owned(),
            page: page(&get("page")?)?,
            is_live: get("refresh")? != "off",
        })
    }

    /// Returns a link to the view.
    pub(super) fn link(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", &self.text), ("state", &self.state)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        if !self.is_live {
            query.append_pair("refresh", "off");
        }
        format!("?{}", query.finish())
    }

    /// Returns a link to another page of the view.
    pub(super) fn link_to(&self, page: usize) -> String {
        Self { page, ..self.clone() }.link()
    }
}

/// Returns the number of the page; the first one if there is no `text`.
fn page(text: &str) -> Result<usize, InvalidQuery> {
    if text.is_empty() {
        return Ok(1);
    }
    text.parse().map(NonZero::get).map_err(|_| InvalidQuery::NotPositive("page"))
}
