//! One devnet at a time on this machine: tests of one program and of several wait for each other. Four members, a
//! bitcoind and the wallets keep two cores busy; more at once would only make times meaningless.

use std::fs::File;

use crate::binaries;
use crate::error::HarnessError;

/// The right to run a devnet. It ends when the value is dropped or the process is gone.
#[derive(Debug)]
pub struct Turn {
    _locked: File,
}

impl Turn {
    /// Waits for the turn.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn take() -> Result<Self, HarnessError> {
        let path = binaries::target_folder()?.join("aquifer-devnet.lock");
        let file = File::create(&path).map_err(HarnessError::file("make", &path))?;
        file.lock().map_err(HarnessError::file("lock", &path))?;
        Ok(Self { _locked: file })
    }
}
