//! The pages for people. They work without scripts, are rendered on the endpoint's thread, and hold no lock meanwhile.
//!
//! `layout.rs` is what they have in common. `overview.rs` is the page `/`, `headline.rs` its first line and `view.rs` its
//! parameters. `target.rs` is the page of one target. On both, `card.rs` shows a target. `charts.rs` draws, and `words.rs`
//! writes times and shares. `refusal.rs` says why there is no page.
//! Every text that comes from elsewhere is escaped by `maud`, and the layout holds whatever its length.

mod card;
mod charts;
mod headline;
mod layout;
mod overview;
mod refusal;
mod target;
mod view;
mod words;

pub(super) use self::overview::overview;
pub(super) use self::refusal::refusal;
pub(super) use self::target::target;
pub(super) use self::view::View;

#[cfg(test)]
mod tests;
