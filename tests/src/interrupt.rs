//! Ctrl-C and SIGTERM. The first one is noticed by every wait of the harness, which then returns an error, so that the
//! stack unwinds and everything is reaped by its owner. The second one, or a program that is still there ten seconds
//! later, kills all children and ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::HarnessError;
use crate::process;

/// How long the orderly way may take.
const GRACE: Duration = Duration::from_secs(10);

/// Exit code of a program that was interrupted, as shells count: 128 + SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Starts watching for signals; further calls do nothing.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn watch() -> Result<(), HarnessError> {
    let mut first = false;
    let flag = INTERRUPTED.get_or_init(|| {
        first = true;
        Arc::new(AtomicBool::new(false))
    });
    if !first {
        return Ok(());
    }
    let flag = Arc::clone(flag);
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(HarnessError::program("watch signals of", "this process"))?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if flag.swap(true, Ordering::SeqCst) {
                process::kill_all_children();
                std::process::exit(EXIT_INTERRUPTED);
            }
            thread::spawn(|| {
                thread::sleep(GRACE);
                process::kill_all_children();
                std::process::exit(EXIT_INTERRUPTED);
            });
        }
    });
    Ok(())
}

/// Was the process asked to stop?
pub fn requested() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}

/// # Errors
/// [`HarnessError::Interrupted`] once the process was asked to stop.
pub fn check() -> Result<(), HarnessError> {
    if requested() { Err(HarnessError::Interrupted) } else { Ok(()) }
}
