//! Time and memory.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How long something takes, of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// The least.
    pub min_ms: f64,
    /// The median.
    pub median_ms: f64,
}

impl Times {
    /// Of these runs.
    pub fn of(runs: &[Duration]) -> Self {
        let mut sorted = runs.to_vec();
        sorted.sort_unstable();
        let millis = |run: Option<&Duration>| run.map_or(0.0, |run| run.as_secs_f64() * 1_000.0);
        Times { min_ms: millis(sorted.first()), median_ms: millis(sorted.get(sorted.len() / 2)) }
    }

    /// The least time of this, as a share of the least time of another.
    pub fn share_of(&self, other: &Self) -> f64 {
        self.min_ms / other.min_ms
    }
}

/// How long the work takes, once.
///
/// # Errors
/// Those of the work.
pub fn time<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Cores of this machine that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A pool of so many threads, in which everything parallel of the ledger then runs.
///
/// # Errors
/// If the system gives no threads.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build()
}

/// Peaks of memory, where the system tells them (Linux).
pub mod memory {
    use std::fs;

    /// Has the peak of this process counted from now on. Elsewhere than on Linux there is nothing to do.
    pub fn forget_peak() {
        // Without this the peak is that of the whole process, which is more and no less true.
        let _ = fs::write("/proc/self/clear_refs", "5");
    }

    /// The most memory that a process had resident at once, in bytes. `None` where the system does not tell.
    pub fn peak_bytes(process: u32) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_median_of_the_runs() {
        let runs = [30, 10, 20].map(Duration::from_millis);
        assert_eq!(Times::of(&runs), Times { min_ms: 10.0, median_ms: 20.0 });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_the_peak() {
        assert!(memory::peak_bytes(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
    }
}
