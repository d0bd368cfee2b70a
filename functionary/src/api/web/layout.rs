//! The frame of every page.

use maud::{DOCTYPE, Markup, html};

/// Where a page belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Home,
    Blocks,
    Mempool,
    Assets,
    Peg,
    Operator,
}

impl Section {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Home, "/", "Home"),
        (Self::Blocks, "/blocks", "Blocks"),
        (Self::Mempool, "/mempool", "Mempool"),
        (Self::Assets, "/assets", "Assets"),
        (Self::Peg, "/peg", "Peg audit"),
        (Self::Operator, "/operator", "Operator"),
    ];
}

/// What is in the frame.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) section: Section,
    /// Loaded anew by the browser after so many seconds.
    pub(super) refresh_s: Option<u32>,
    pub(super) body: Markup,
}

impl Page {
    pub(super) fn new(section: Section, title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), section, refresh_s: None, body }
    }

    pub(super) fn refreshed_every(self, seconds: u32) -> Self {
        Self { refresh_s: Some(seconds), ..self }
    }
}

/// What is shown instead of a page that there is not.
pub(super) fn failure(reason: &str) -> Page {
    let body = html! {
        h1 { "Not here" }
        p.notice { (reason) }
        p { a href="/" { "Back to the latest blocks" } }
    };
    Page::new(Section::Home, "Not here", body)
}

/// The whole document.
pub(super) fn document(chain: &str, page: &Page) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = page.refresh_s {
                    meta http-equiv="refresh" content=(seconds);
                }
                title { (page.title) " · " (chain) }
                link rel="stylesheet" href="/static/style.css";
                link rel="icon" type="image/svg+xml" href="/static/icon.svg";
                script src="/static/unblind.js" defer {}
            }
            body {
                header {
                    a.brand href="/" { "Aquifer" span.chain { (chain) } }
                    nav {
                        @for (section, place, name) in Section::ALL {
                            a href=(place) aria-current=[(section == page.section).then_some("page")] { (name) }
                        }
                    }
                    form.search action="/search" method="get" role="search" {
                        input type="search" name="q" aria-label="Search" placeholder="height, hash, address or asset";
                        button type="submit" { "Search" }
                    }
                }
                main { (page.body) }
                footer {
                    "What this page says can be checked: blocks carry the federation’s certificate, and " code { "aquiferd auditor" } " counts it all again. "
                    a href="/api/blocks/tip/height" { "Esplora API" } " · " a href="/metrics" { "Metrics" }
                }
            }
        }
    }
}
