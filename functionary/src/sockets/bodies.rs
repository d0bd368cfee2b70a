//! Bodies of requests: the long ones take memory while they come in, so there are so many at a time.
//!
//! A server that takes bodies of a megabyte or more from whoever connects would otherwise hold as many of them as there are
//! connections, and their senders need not hurry. Short ones are never held up by others.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::{Counted, Tally, origin};

/// Up to this length, in bytes, a body comes in at any time.
const SHORT_LEN: usize = 64 << 10;

/// How many long bodies there are. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct LongBodies {
    places: Arc<Semaphore>,
    callers: Tally,
    of_caller: u32,
}

/// The place of one body, from its first long byte until this is dropped.
pub(crate) type Place = Arc<OnceLock<(OwnedSemaphorePermit, Counted)>>;

impl LongBodies {
    /// So many at a time, and at most `of_caller` of one caller. The next one waits, or fails if it is the caller's own fault.
    pub(crate) fn new(all: usize, of_caller: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(all)), callers: Tally::default(), of_caller }
    }

    /// The same body, and the place that it takes if it is long: to be kept as long as what was read is kept.
    pub(crate) fn bound(&self, body: Body, caller: IpAddr) -> (Body, Place) {
        let place = Place::default();
        let bounded = Bounded {
            body,
            read: 0,
            caller: origin(caller),
            bodies: self.clone(),
            places: PollSemaphore::new(Arc::clone(&self.places)),
            place: Arc::clone(&place),
        };
        (Body::new(bounded), place)
    }
}

struct Bounded {
    body: Body,
    read: usize,
    caller: IpAddr,
    bodies: LongBodies,
    places: PollSemaphore,
    place: Place,
}

/// One caller sends too many long bodies at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {of_caller} long requests at a time")]
struct TooManyLong {
    of_caller: u32,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.read > SHORT_LEN && self.place.get().is_none() {
            // The semaphore is never closed.
            let Some(permit) = ready!(self.places.poll_acquire(cx)) else { return Poll::Ready(None) };
            let of_caller = self.bodies.of_caller;
            let Some(counted) = self.bodies.callers.count(self.caller, of_caller) else {
                return Poll::Ready(Some(Err(axum::Error::new(TooManyLong { of_caller }))));
            };
            // Nobody else fills it.
            let _ = self.place.set((permit, counted));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.read = self.read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    const LONG_LEN: usize = 3 * SHORT_LEN;

    /// Reads a body of such a length, which comes in pieces, and keeps its place.
    async fn read(bodies: &LongBodies, length: usize, caller: u8) -> Option<Result<Place, axum::Error>> {
        let pieces = (0..length.div_ceil(1 << 10)).map(|_| Ok::<_, axum::Error>(Bytes::from_static(&[0; 1 << 10])));
        let body = Body::from_stream(futures::stream::iter(pieces));
        let (body, place) = bodies.bound(body, IpAddr::from([10, 0, 0, caller]));
        let reading = axum::body::to_bytes(body, usize::MAX);
        let read = tokio::time::timeout(Duration::from_millis(200), reading).await.ok()?;
        Some(read.map(|bytes| {
            assert_eq!(bytes.len(), length);
            place
        }))
    }

    #[tokio::test]
    async fn long_bodies_wait_for_each_other_and_short_ones_for_nobody() {
        let bodies = LongBodies::new(2, 2);
        let one = read(&bodies, LONG_LEN, 1).await.unwrap().unwrap();
        let _another = read(&bodies, LONG_LEN, 2).await.unwrap().unwrap();
        assert!(read(&bodies, LONG_LEN, 3).await.is_none(), "it waits");
        assert!(read(&bodies, SHORT_LEN, 3).await.unwrap().is_ok());
        drop(one);
        assert!(read(&bodies, LONG_LEN, 3).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn nobody_has_all_places() {
        let bodies = LongBodies::new(3, 2);
        let _held =
            [read(&bodies, LONG_LEN, 1).await.unwrap().unwrap(), read(&bodies, LONG_LEN, 1).await.unwrap().unwrap()];
        assert!(read(&bodies, LONG_LEN, 1).await.unwrap().is_err());
        assert!(read(&bodies, LONG_LEN, 2).await.unwrap().is_ok());
    }
}
