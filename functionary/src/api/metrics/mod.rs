//! Figures for Prometheus (`/metrics`), and whether the member lives (`/health`) and does its work (`/ready`).
//!
//! Everything is read when it is asked for: a member that nobody watches does nothing for it. Names begin with `aquifer_` and
//! end with their unit, or with `_total` for what only grows; what grows begins anew when the member starts.
//! `functionary/dashboard/aquifer.json` shows them in Grafana.

mod figures;
mod readiness;
mod requests;
mod text;
mod witnessed;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use self::figures::Figures;
use self::readiness::Readiness;
pub(super) use self::requests::Requests;
use self::witnessed::Witnessed;
use super::{BackendError, Sources};

/// Answers that are made at a time: the disk and the cores are shared with the member itself.
const PLACES: usize = 2;
/// OpenMetrics, which Prometheus reads since its version 2.5.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";

/// What the answers are made of.
struct Watched {
    sources: Sources,
    requests: Requests,
    witnessed: Mutex<Witnessed>,
    places: Semaphore,
}

/// The places for those who watch over members.
pub(super) fn router(sources: &Sources, requests: &Requests) -> Router {
    let watched = Watched {
        sources: sources.clone(),
        requests: requests.clone(),
        witnessed: Mutex::new(Witnessed::of(&sources.roster)),
        places: Semaphore::new(PLACES),
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(Arc::new(watched))
}

/// The process lives and serves. Nothing is read for it: a disk that is slow is no reason to kill a member.
async fn health() -> Response {
    answer(StatusCode::OK, JSON, concat!("{\"alive\":true,\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n").into())
}

async fn metrics(State(watched): State<Arc<Watched>>) -> Response {
    read(watched, |watched| {
        // One at a time: what witnesses show is counted on from the last time.
        let mut witnessed = watched.witnessed.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = Figures::read(&watched.sources, &mut witnessed)?;
        let text = text::encode(&figures, &watched.requests).map_err(|error| BackendError(error.to_string()))?;
        Ok(answer(StatusCode::OK, OPEN_METRICS, text))
    })
    .await
}

async fn ready(State(watched): State<Arc<Watched>>) -> Response {
    read(watched, |watched| {
        let readiness = Readiness::read(&watched.sources)?;
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Ok(answer(status, JSON, readiness.json()))
    })
    .await
}

/// Reads on a thread for it, when there is a place: waiting for the disk holds up nobody else.
async fn read(watched: Arc<Watched>, make: fn(&Watched) -> Result<Response, BackendError>) -> Response {
    let failed = |error: String| {
        tracing::warn!(%error, "no figures");
        answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", error)
    };
    let Ok(_place) = watched.places.acquire().await else { return failed("the member is shutting down".to_owned()) };
    let watched_there = Arc::clone(&watched);
    match tokio::task::spawn_blocking(move || make(&watched_there)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => failed(error.to_string()),
        Err(error) => failed(error.to_string()),
    }
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response {
    (status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], body).into_response()
}
