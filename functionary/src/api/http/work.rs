//! Work for requests that waits for the disk: so much at a time, and none of it for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::answer::Refusal;

/// Requests that are worked on at a time. More would only make each other slow: the disk and the cores are shared with the
/// member itself.
const PLACES: usize = 8;
/// How long a request may take from its arrival to its answer.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// When the answer to a request is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// A step of the work is about to begin.
    ///
    /// # Errors
    /// [`Refusal::NotNow`] when nobody waits for the answer any more. Work on a thread cannot be stopped from outside.
    pub(crate) fn check(self) -> Result<(), Refusal> {
        if Instant::now() < self.0 {
            Ok(())
        } else {
            Err(Refusal::NotNow("this takes too long at the moment".to_owned()))
        }
    }
}

/// Threads for requests.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    places: Arc<Semaphore>,
    limit: Duration,
}

impl Default for Work {
    fn default() -> Self {
        Self::new(PLACES, REQUEST_LIMIT)
    }
}

impl Work {
    /// So many requests at a time, each to be answered within `limit`.
    pub(crate) fn new(places: usize, limit: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), limit }
    }

    /// Does `work` on a thread for it, when there is a place.
    ///
    /// # Errors
    /// [`Refusal`] of the work, or because no place came free in time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Deadline) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let deadline = Deadline::after(self.limit);
        let Ok(Ok(place)) = tokio::time::timeout(self.limit, Arc::clone(&self.places).acquire_owned()).await else {
            return Err(Refusal::NotNow("too many requests wait at the moment".to_owned()));
        };
        let working = tokio::task::spawn_blocking(move || {
            let _place = place;
            deadline.check()?;
            work(deadline)
        });
        working.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the work for a request failed");
            Err(Refusal::Failed("this cannot be answered".to_owned()))
        })
    }
}
