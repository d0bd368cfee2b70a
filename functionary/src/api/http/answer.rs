//! What is answered over HTTP, how long it may be kept, and refusals in words.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::api::BackendError;
use crate::index::IndexError;
use crate::store::StoreError;

/// What a handler gives.
pub(crate) type Answer = Result<Response<Body>, Refusal>;

/// Five years: what is settled never changes.
const SETTLED_S: u32 = 157_784_630;

/// How long an answer may be kept by those between us and the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It never changes: everything that follows from final blocks alone.
    Settled,
    /// So many seconds.
    Seconds(u32),
    /// Not at all.
    No,
}

impl Keep {
    /// What follows from the tip or the mempool.
    pub(crate) const SHORT: Self = Self::Seconds(10);

    fn header(self) -> HeaderValue {
        let seconds = match self {
            Self::Settled => SETTLED_S,
            Self::Seconds(seconds) => seconds,
            Self::No => return HeaderValue::from_static("no-store"),
        };
        HeaderValue::try_from(format!("public, max-age={seconds}"))
            .unwrap_or_else(|_| HeaderValue::from_static("no-store"))
    }
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It cannot be understood, or asks for too much.
    #[error("{0}")]
    Malformed(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is not offered.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Its body is too long.
    #[error("the body has more than {most} bytes")]
    TooLong {
        /// The most that is taken, in bytes.
        most: u64,
    },
    /// It was encrypted for another key.
    #[error("{0}")]
    WrongKey(&'static str),
    /// The caller sends too many requests.
    #[error("too many requests, try again in {wait_s} s")]
    TooMany {
        /// When the next one is taken, in seconds from now.
        wait_s: u64,
    },
    /// It may succeed later.
    #[error("{0}")]
    NotNow(String),
    /// This member cannot answer.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// What HTTP calls it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongKey(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn wait_s(&self) -> Option<u64> {
        match self {
            Self::TooMany { wait_s } => Some(*wait_s),
            Self::NotNow(_) => Some(1),
            _ => None,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "cannot read a database for a client");
        // The client learns nothing of this machine's files.
        Self::Failed("the ledger cannot be read".to_owned())
    }
}

impl From<BackendError> for Refusal {
    fn from(error: BackendError) -> Self {
        tracing::error!(%error, "the member cannot say what a client asks");
        Self::Failed("the ledger cannot be read".to_owned())
    }
}

impl From<IndexError> for Refusal {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Building { .. } => Self::NotNow(error.to_string()),
            IndexError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut response = form(Keep::No, "text/plain", self.to_string());
        *response.status_mut() = self.status();
        if let Some(wait_s) = self.wait_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        response
    }
}

fn form(keep: Keep, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, keep.header());
    response
}

/// A line of text.
pub(crate) fn text(line: impl ToString, keep: Keep) -> Answer {
    Ok(form(keep, "text/plain", line.to_string()))
}

/// Bytes as they are.
pub(crate) fn binary(bytes: Vec<u8>, keep: Keep) -> Answer {
    Ok(form(keep, "application/octet-stream", bytes))
}

/// A JSON document.
pub(crate) fn json(value: &impl Serialize, keep: Keep) -> Answer {
    let document = serde_json::to_vec(value).map_err(|error| Refusal::Failed(error.to_string()))?;
    Ok(form(keep, "application/json", document))
}

/// The caller has it already.
pub(crate) fn not_modified(keep: Keep) -> Answer {
    let mut response = form(keep, "text/plain", Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    Ok(response)
}
