//! Work for the chain: one wallet pays another as fast as payments become final, until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::HarnessError;
use crate::wallet::Wallet;

/// What each payment is worth.
pub const PAYMENT_SAT: u64 = 10_000;

/// Payments that go on in the background. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    payer: Option<JoinHandle<Result<u64, HarnessError>>>,
}

impl Load {
    /// Starts paying.
    ///
    /// # Errors
    /// When the payee gives no address.
    pub fn start(payer: Wallet, payee: &Wallet, asset: &str) -> Result<Self, HarnessError> {
        let address = payee.address()?;
        let asset = asset.to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let payer = thread::spawn(move || {
            let mut paid: u64 = 0;
            while !told.load(Ordering::SeqCst) {
                payer.send(&address, PAYMENT_SAT, &asset)?;
                paid = paid.saturating_add(1);
            }
            Ok(paid)
        });
        Ok(Self { stop, payer: Some(payer) })
    }

    /// Lets the running payment finish, and gives the number of payments that became final.
    ///
    /// # Errors
    /// The first payment that failed.
    pub fn finish(mut self) -> Result<u64, HarnessError> {
        self.stop.store(true, Ordering::SeqCst);
        let Some(payer) = self.payer.take() else { return Ok(0) };
        payer.join().map_err(|_| HarnessError::Story("the payer panicked".to_owned()))?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(payer) = self.payer.take() {
            // The story has failed already; what the payer says adds nothing.
            let _ = payer.join();
        }
    }
}
