//! Pages for people: an explorer, the peg audit and the operator's page.
//!
//! Every page is complete as it is sent: it needs no script, no cookie and nothing from another server. What comes from the
//! chain or from the address line is escaped by the template, and the content security policy forbids whatever would run
//! all the same.

mod asset;
mod audit;
mod block;
mod chart;
mod explorer;
mod history;
mod layout;
mod look;
mod operator;
mod script;
mod transaction;
mod unblind;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use maud::Markup;
use serde::Deserialize;

use self::layout::{Page, document};
use super::Sources;
use super::http::{REQUEST_LIMIT, Refusal, Work};
use crate::index::IndexView;

/// Pages that are made at a time: the disk and the cores are shared with the member itself.
const PLACES: usize = 4;

/// What a page may load: its own style and its own script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// What pages are made from.
struct Site {
    sources: Sources,
    work: Work,
}

impl Site {
    /// The index.
    fn index(&self) -> Result<IndexView<'_>, Refusal> {
        match &self.sources.index {
            Some(index) => Ok(index.view()?),
            None => Err(Refusal::NotNow("this member keeps no index; its operator has switched it off".to_owned())),
        }
    }
}

type Shared = State<Arc<Site>>;

/// The pages of a member.
pub(super) fn router(sources: Sources) -> Router {
    let site = Arc::new(Site { sources, work: Work::new(PLACES, REQUEST_LIMIT) });
    Router::new()
        .route("/", get(|State(site): Shared| show(site, explorer::home)))
        .route(
            "/blocks",
            get(|State(site): Shared, Query(start): Query<Start>| {
                show(site, move |site| explorer::blocks(site, start.from))
            }),
        )
        .route(
            "/block/{name}",
            get(|State(site): Shared, Path(name): Path<String>| show(site, move |site| block::page(site, &name))),
        )
        .route(
            "/tx/{txid}",
            get(|State(site): Shared, Path(txid): Path<String>, Query(opened): Query<Opened>| {
                show(site, move |site| transaction::page(site, &txid, opened.blinded.as_deref()))
            }),
        )
        .route(
            "/address/{name}",
            get(|State(site): Shared, Path(name): Path<String>, Query(after): Query<After>| {
                show(site, move |site| script::page(site, &name, after.after.as_deref()))
            }),
        )
        .route("/mempool", get(|State(site): Shared| show(site, explorer::mempool)))
        .route(
            "/assets",
            get(|State(site): Shared, Query(start): Query<Start>| {
                show(site, move |site| asset::list(site, start.from))
            }),
        )
        .route(
            "/asset/{id}",
            get(|State(site): Shared, Path(id): Path<String>, Query(after): Query<After>| {
                show(site, move |site| asset::page(site, &id, after.after.as_deref()))
            }),
        )
        .route("/peg", get(|State(site): Shared| show(site, audit::page)))
        .route("/operator", get(|State(site): Shared| show(site, operator::page)))
        .route("/search", get(search))
        .route("/static/style.css", get(|| fixed("text/css", include_str!("style.css"))))
        .route("/static/icon.svg", get(|| fixed("image/svg+xml", include_str!("icon.svg"))))
        .route("/static/unblind.js", get(|| fixed("text/javascript", include_str!("unblind.js"))))
        .with_state(site)
}

#[derive(Deserialize)]
struct Start {
    from: Option<u32>,
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
}

#[derive(Deserialize)]
struct Opened {
    blinded: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    q: Option<String>,
}

/// Does what reads files on a thread for it, when there is a place.
async fn work<T: Send + 'static>(
    site: Arc<Site>,
    make: impl FnOnce(&Site) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let work = site.work.clone();
    work.run(move |_| make(&site)).await
}

/// Makes a page and sends it.
async fn show(site: Arc<Site>, make: impl FnOnce(&Site) -> Result<Page, Refusal> + Send + 'static) -> Response {
    let chain = site.sources.params.name.clone();
    match work(site, make).await {
        Ok(page) => html(StatusCode::OK, document(&chain, &page)),
        Err(error) => html(error.status(), document(&chain, &layout::failure(&error.to_string()))),
    }
}

async fn search(State(site): Shared, Query(Wanted { q }): Query<Wanted>) -> Response {
    let chain = site.sources.params.name.clone();
    match work(site, move |site| explorer::search(site, q.unwrap_or_default().trim())).await {
        Ok(place) => match HeaderValue::try_from(place) {
            Ok(place) => (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response(),
            Err(_) => html(StatusCode::NOT_FOUND, document(&chain, &layout::failure("there is no such thing"))),
        },
        Err(error) => html(error.status(), document(&chain, &layout::failure(&error.to_string()))),
    }
}

fn html(status: StatusCode, page: Markup) -> Response {
    let headers =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store"), (CONTENT_SECURITY_POLICY, POLICY)];
    (status, headers, page.into_string()).into_response()
}

async fn fixed(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "public, max-age=3600")], text).into_response()
}
