//! What one caller may use: requests per second, and requests at a time.
//!
//! A caller is what [`origin`] says. Behind a reverse proxy all callers look like one: the rate is then the proxy's to limit, and
//! `http_rate` is set high.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue,
};
use axum::http::{Method, Response, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::IntoResponse as _;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Caller;
use super::answer::Refusal;
use super::work::REQUEST_LIMIT;
use crate::sockets::{Counted, Tally, origin};

/// Requests per second of one caller, where the configuration says nothing else. A wallet's first scan comes near it.
const DEFAULT_RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(299);
/// How many seconds of the rate a caller may use at once.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Requests of one caller that are worked on or wait at a time.
const MAX_RUNNING: u32 = 64;
/// After so many requests, callers that have been quiet are forgotten.
const REQUESTS_BETWEEN_SWEEPS: u32 = 10_000;

/// The limits of all callers. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct Limits {
    shared: Arc<Shared>,
}

struct Shared {
    rates: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    running: Tally,
    requests: AtomicU32,
}

impl Limits {
    /// Limits with this many requests per second for each caller.
    pub(crate) fn new(rate: Option<NonZeroU32>) -> Self {
        let rate = rate.unwrap_or(DEFAULT_RATE);
        let quota = Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST_SECONDS));
        Self {
            shared: Arc::new(Shared {
                rates: RateLimiter::keyed(quota),
                clock: DefaultClock::default(),
                running: Tally::default(),
                requests: AtomicU32::new(0),
            }),
        }
    }

    /// Puts these limits, and the time that a request may take, around everything that `router` serves.
    pub(crate) fn around(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), admit))
    }

    fn enter(&self, caller: IpAddr) -> Result<Counted, Refusal> {
        let shared = &self.shared;
        if shared.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(REQUESTS_BETWEEN_SWEEPS) {
            shared.rates.retain_recent();
        }
        if let Err(until) = shared.rates.check_key(&caller) {
            let wait = until.wait_time_from(shared.clock.now());
            return Err(Refusal::TooMany { wait_s: wait.as_secs().saturating_add(1) });
        }
        shared.running.count(caller, MAX_RUNNING).ok_or(Refusal::TooMany { wait_s: 1 })
    }
}

async fn admit(State(limits): State<Limits>, request: Request, next: Next) -> Response<axum::body::Body> {
    // Whoever is not known shares the limits of all who are not.
    let caller = request.extensions().get::<Caller>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |caller| caller.0);
    let _running = match limits.enter(origin(caller)) {
        Ok(running) => running,
        Err(refusal) => return refusal.into_response(),
    };
    match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::NotNow("this takes too long at the moment".to_owned()).into_response(),
    }
}

/// Lets pages of any origin read what `router` serves: it is public, and no answer depends on who asks.
pub(crate) fn open_to_all_origins(router: Router) -> Router {
    router.layer(from_fn(open))
}

async fn open(request: Request, next: Next) -> Response<axum::body::Body> {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "X-Total-Results, Retry-After"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
