//! The page `/`: every target, those that fail first.

use maud::{Markup, html};

use super::View;
use super::card::{card, word};
use super::headline::headline;
use super::layout::{Layout, Reload};
use crate::counted::counted;
use crate::status::{Brief, Filter, Overview, StateFilter, Verdict};

/// The targets on a page. A page of them, compressed, takes less than 30 KB.
const PER_PAGE: usize = 100;

/// The rejected files with targets on a page.
const FILES: usize = 5;

/// The states of the filter, each with the values that select it. Links have the first of them.
const STATES: &[(Verdict, &[StateFilter])] = &[
    (Verdict::Down, &[StateFilter::Failing, StateFilter::Down]),
    (Verdict::Up, &[StateFilter::Up]),
    (Verdict::Unknown, &[StateFilter::Unknown]),
];

/// Returns the page `/` of the targets that `filter` selects.
pub(in crate::http) fn overview(overview: &Overview, filter: &Filter, view: &View) -> String {
    // The names are in order already.
    let (mut selected, others): (Vec<&Brief>, Vec<&Brief>) = overview
        .targets
        .iter()
        .filter(|target| target.is_selected(filter))
        .partition(|target| target.state == Verdict::Down);
    selected.extend(others);
    let pages = selected.len().div_ceil(PER_PAGE).max(1);
    let page = view.page.clamp(1, pages);
    let shown = selected.iter().skip((page - 1) * PER_PAGE).take(PER_PAGE);
    let title = headline(overview);
    let content = html! {
        header { h1 { (title) } }
        main {
            @for (rejected, error) in [
                ("configuration", &overview.config_error),
                ("web configuration", &overview.web_config_error),
            ] {
                @if let Some(error) = error {
                    section.rejected {
                        h2 { "The last " (rejected) " was rejected at " (error.time) }
                        pre { (error.detail) }
                    }
                }
            }
            @for error in overview.target_file_errors.iter().take(FILES) {
                section.rejected {
                    h2 { "The target file " (error.file) " was rejected at " (error.time) }
                    pre { (error.detail) }
                }
            }
            @if overview.target_file_errors.len() > FILES {
                p { (counted((overview.target_file_errors.len() - FILES) as u64, "more target file")) " rejected. " a href="status" { "Show all" } }
            }
            @if !overview.targets.is_empty() { (form(view)) }
            @if selected.len() < overview.targets.len() {
                p { (counted(selected.len() as u64, "cache")) " selected. " a href=(View { is_live: view.is_live, ..View::default() }.link()) { "Show all" } }
            }
            ul { @for target in shown { (card(&overview.details(target), overview.now, view.is_live)) } }
            @if pages > 1 { (pager(view, page, pages)) }
        }
    };
    let other = View { is_live: !view.is_live, ..view.clone() }.link();
    let reload = Some(Reload { is_live: view.is_live, other: &other });
    Layout { title: &title, root: "", reload }.page(&content)
}

fn form(View { text, state, is_live, .. }: &View) -> Markup {
    html! {
        form role="search" {
            label { "Name or address" input type="search" name="q" value=(text) maxlength="128"; }
            label {
                "State"
                select name="state" {
                    option value="" { "any" }
                    @for (verdict, values) in STATES {
                        option value=(values[0]) selected[values.iter().any(|value| value.as_str() == state)] { (word(*verdict)) }
                    }
                }
            }
            @if !is_live { input type="hidden" name="refresh" value="off"; }
            button { "Filter" }
        }
    }
}

fn pager(view: &View, page: usize, pages: usize) -> Markup {
    html! {
        nav aria-label="Pages" {
            @if page > 1 { a href=(view.link_to(page - 1)) rel="prev" { "Previous" } " " }
            "Page " (page) " of " (pages)
            @if page < pages { " " a href=(view.link_to(page + 1)) rel="next" { "Next" } }
        }
    }
}
