//! Work for the chain: one wallet pays another as fast as payments become final, until it is told to stop.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::HarnessError;
use crate::wallet::Wallet;

/// What each payment is worth.
pub const PAYMENT_SAT: u64 = 10_000;

/// What the wallet says when no member answers.
const UNREACHABLE: &str = "no server of the federation can be reached";

/// Payments that go on in the background. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    payer: Option<JoinHandle<Result<RangeInclusive<u64>, HarnessError>>>,
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
            let (mut paid, mut unclear): (u64, u64) = (0, 0);
            while !told.load(Ordering::SeqCst) {
                match payer.send(&address, PAYMENT_SAT, &asset) {
                    Ok(_) => paid = paid.saturating_add(1),
                    // All members were down at that moment, as they may be in a story. The wallet says so at once; whether
                    // a member took the payment before it died is not known.
                    Err(HarnessError::Failed { output, .. }) if output.contains(UNREACHABLE) => {
                        unclear = unclear.saturating_add(1);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(paid..=paid.saturating_add(unclear))
        });
        Ok(Self { stop, payer: Some(payer) })
    }

    /// Lets the running payment finish, and gives the number of payments that became final: more than the least where no
    /// member could be reached in the middle of one.
    ///
    /// # Errors
    /// The first payment that failed.
    pub fn finish(mut self) -> Result<RangeInclusive<u64>, HarnessError> {
        self.stop.store(true, Ordering::SeqCst);
        let Some(payer) = self.payer.take() else { return Ok(0..=0) };
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
