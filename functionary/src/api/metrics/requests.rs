//! Counting what is asked over HTTP.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The interface and the class of the answer's status: a closed set, whatever is asked.
type Labels = [(&'static str, &'static str); 2];

/// Requests by interface and status. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct Requests(Family<Labels, Counter>);

impl Requests {
    /// The same places, counted.
    pub(in crate::api) fn counted(&self, places: Router) -> Router {
        places.layer(from_fn_with_state(self.clone(), count))
    }

    pub(super) fn family(&self) -> Family<Labels, Counter> {
        self.0.clone()
    }
}

async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let interface = request.extensions().get::<MatchedPath>().map_or("none", |place| interface(place.as_str()));
    let response = next.run(request).await;
    let status = match response.status().as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    requests.0.get_or_create(&[("interface", interface), ("status", status)]).inc();
    response
}

/// Whose place a route is, by the first part of its pattern.
fn interface(pattern: &str) -> &'static str {
    match pattern.split('/').find(|part| !part.is_empty()) {
        Some("api") => "api",
        Some("registry") => "registry",
        Some("metrics" | "health" | "ready") => "monitoring",
        _ => "pages",
    }
}
