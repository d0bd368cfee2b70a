//! Time and memory.

use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::measuring::median;

/// What something took once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// By the clock on the wall.
    pub wall: Duration,
    /// The time of all cores that it had. Unlike the other it hardly grows with what else the machine does.
    pub cpu: Duration,
}

/// What something takes, of several runs, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// The least by the clock on the wall.
    pub min_ms: f64,
    /// The median of the same.
    pub median_ms: f64,
    /// The least time of all cores together.
    pub cpu_ms: f64,
}

impl Times {
    /// Of these runs.
    pub fn of(runs: &[Cost]) -> Self {
        let mut walls: Vec<Duration> = runs.iter().map(|run| run.wall).collect();
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        Times {
            median_ms: millis(median(&mut walls)),
            min_ms: millis(walls.first().copied().unwrap_or_default()),
            cpu_ms: millis(runs.iter().map(|run| run.cpu).min().unwrap_or_default()),
        }
    }

    /// The least time of this by the clock on the wall, as a share of that of another.
    pub fn share_of(&self, other: &Self) -> f64 {
        self.min_ms / other.min_ms
    }

    /// The same by the time of the cores.
    pub fn cpu_share_of(&self, other: &Self) -> f64 {
        self.cpu_ms / other.cpu_ms
    }
}

/// What the work costs, once.
///
/// # Errors
/// Those of the work.
pub fn time<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Cost, E> {
    let (cpu, start) = (cpu_time(), Instant::now());
    work()?;
    Ok(Cost { wall: start.elapsed(), cpu: cpu_time().saturating_sub(cpu) })
}

/// The time of all cores that this process has had.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The same of another process. `None` where the system does not tell (Linux does).
pub fn cpu_time_of(process: u32) -> Option<Duration> {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Its name, in parentheses, may hold anything. Of the fields after it, the 12th and 13th count ticks.
    let (_, fields) = status.rsplit_once(')')?;
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).map_while(|field| field.parse().ok()).collect();
    let [user, system] = ticks.as_slice() else { return None };
    let per_second = clock_ticks_per_second();
    let millis = user.checked_add(*system)?.checked_mul(1_000)?.checked_div(per_second)?;
    Some(Duration::from_millis(millis))
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
    // The name is for whoever looks with a profiler: the chains are made by other threads.
    rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|_| "measured".to_owned()).build()
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
        field(process, "VmHWM:")
    }

    /// The memory that this process has resident now, in bytes. `None` where the system does not tell.
    pub fn resident_bytes() -> Option<u64> {
        resident_bytes_of(std::process::id())
    }

    /// The same of another process.
    pub fn resident_bytes_of(process: u32) -> Option<u64> {
        field(process, "VmRSS:")
    }

    fn field(process: u32, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix(name))?;
        kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_median_of_the_runs() {
        let cost = |wall, cpu| Cost { wall: Duration::from_millis(wall), cpu: Duration::from_millis(cpu) };
        let runs = [cost(30, 5), cost(10, 9), cost(20, 7)];
        assert_eq!(Times::of(&runs), Times { min_ms: 10.0, median_ms: 20.0, cpu_ms: 5.0 });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_the_peak_and_the_time() {
        let process = std::process::id();
        assert!(memory::peak_bytes(process).is_some_and(|bytes| bytes > 1 << 20));
        assert!(cpu_time_of(process).is_some());
    }
}
