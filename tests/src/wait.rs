//! Waiting for a condition with a deadline. Nothing in the harness sleeps and hopes: it asks again until the answer is
//! there, and names what it last saw when the deadline passes.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::HarnessError;
use crate::interrupt;

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// What a question was answered with.
#[derive(Debug)]
pub enum Answer<T> {
    /// The condition holds.
    Ready(T),
    /// Not yet; the text says what is the case instead.
    NotYet(String),
}

/// Asks until the answer is ready.
///
/// # Errors
/// The error of a question at once; [`HarnessError::Timeout`] after `limit`; [`HarnessError::Interrupted`] on Ctrl-C.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Answer<T>, HarnessError>,
) -> Result<T, HarnessError> {
    let start = Instant::now();
    loop {
        interrupt::check()?;
        let last = match ask()? {
            Answer::Ready(value) => return Ok(value),
            Answer::NotYet(last) => last,
        };
        if start.elapsed() >= limit {
            return Err(HarnessError::Timeout { what: what.to_owned(), seconds: limit.as_secs(), last });
        }
        thread::sleep(PAUSE);
    }
}

/// Checks for as long as `span` that something stays as it is.
///
/// # Errors
/// The error of a check at once; [`HarnessError::Interrupted`] on Ctrl-C.
pub fn holds(span: Duration, mut check: impl FnMut() -> Result<(), HarnessError>) -> Result<(), HarnessError> {
    let start = Instant::now();
    while start.elapsed() < span {
        interrupt::check()?;
        check()?;
        thread::sleep(PAUSE);
    }
    check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_what_was_last_seen() {
        let result = until::<()>("the moon", Duration::ZERO, || Ok(Answer::NotYet("a cloud".to_owned())));
        assert!(
            matches!(result, Err(HarnessError::Timeout { ref what, ref last, .. }) if what == "the moon" && last == "a cloud")
        );
    }

    #[test]
    fn an_answer_that_comes_later_is_taken() -> Result<(), HarnessError> {
        let mut asked = 0_u32;
        let value = until("third time", Duration::from_secs(60), || {
            asked = asked.saturating_add(1);
            Ok(if asked == 3 { Answer::Ready(asked) } else { Answer::NotYet(asked.to_string()) })
        })?;
        assert_eq!(value, 3);
        Ok(())
    }
}
