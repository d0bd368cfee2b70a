//! Stops a member before or after one particular write, as a power cut would.

use std::sync::atomic::{AtomicU32, Ordering};

use aquifer_functionary::store::{Gate, StoreError, Write};

/// On which side of the write.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it begins: it never happens.
    Before,
    /// When it is durable and nobody has heard of it.
    After,
}

/// Stops its member at the n-th write of a kind.
#[derive(Debug)]
pub struct StopAt {
    write: Write,
    moment: Moment,
    left: AtomicU32,
}

impl StopAt {
    /// Stops at the `count`-th write of this kind, counted from 1.
    pub fn new(write: Write, moment: Moment, count: u32) -> Self {
        StopAt { write, moment, left: AtomicU32::new(count) }
    }

    fn pass(&self, write: Write, moment: Moment) -> Result<(), StoreError> {
        if write != self.write || moment != self.moment {
            return Ok(());
        }
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(1) | Err(_) => Err(StoreError::Stopped(write, format!("{moment:?} the write"))),
            Ok(_) => Ok(()),
        }
    }
}

impl Gate for StopAt {
    fn before(&self, write: Write) -> Result<(), StoreError> {
        self.pass(write, Moment::Before)
    }

    fn after(&self, write: Write) -> Result<(), StoreError> {
        self.pass(write, Moment::After)
    }
}
