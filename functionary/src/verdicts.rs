//! The node's memory of statements that hold: scripts and proofs of a transaction are checked when it arrives, and not
//! again when its block does.
//!
//! One memory serves the mempool and the judge of blocks. It holds keys of whole statements and nothing else
//! ([`aquifer_assets::verdicts`]), is bounded, forgets the oldest first, and is lost at the end of the process. It can be
//! switched off in `aquiferd.toml`; verdicts are the same without it.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aquifer_assets::verdicts::{StatementKey, VerdictCache};

/// Statements that are remembered: several full blocks and a full mempool. Each takes about 100 bytes.
pub const MAX_VERDICTS: usize = 20_000;

#[derive(Default)]
struct Known {
    keys: HashSet<StatementKey>,
    /// The same keys, oldest first.
    order: VecDeque<StatementKey>,
}

/// Remembers the last statements that were found to hold.
pub struct Verdicts {
    capacity: usize,
    known: Mutex<Known>,
}

impl Verdicts {
    /// Remembers at most `capacity` statements.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, known: Mutex::default() }
    }

    /// Statements that are remembered.
    pub fn len(&self) -> usize {
        self.lock().keys.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing panics between the two changes that belong together.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Verdicts {
    fn default() -> Self {
        Self::new(MAX_VERDICTS)
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verdicts({} of {})", self.len(), self.capacity)
    }
}

impl VerdictCache for Verdicts {
    fn holds(&self, key: &StatementKey) -> bool {
        self.lock().keys.contains(key)
    }

    fn remember(&self, key: StatementKey) {
        let mut known = self.lock();
        if self.capacity == 0 || !known.keys.insert(key) {
            return;
        }
        known.order.push_back(key);
        if known.keys.len() > self.capacity
            && let Some(oldest) = known.order.pop_front()
        {
            known.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use aquifer_assets::chain::ChainParams;
    use aquifer_assets::primitives::Transaction;
    use aquifer_assets::verdicts::RuleSet;
    use elements::LockTime;

    use super::*;

    fn keys(count: u32) -> Vec<StatementKey> {
        let rules = RuleSet::of(&ChainParams::elements_default("verdicts"));
        let transaction = |version| Transaction { version, lock_time: LockTime::ZERO, input: vec![], output: vec![] };
        (0..count).map(|version| StatementKey::new(&rules, &transaction(version), &[])).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_and_no_key_counts_twice() {
        let (verdicts, keys) = (Verdicts::new(3), keys(5));
        for key in &keys {
            assert!(!verdicts.holds(key));
            verdicts.remember(*key);
            verdicts.remember(*key);
            assert!(verdicts.holds(key));
        }
        let held: Vec<bool> = keys.iter().map(|key| verdicts.holds(key)).collect();
        assert_eq!((held, verdicts.len()), (vec![false, false, true, true, true], 3));
    }

    #[test]
    fn no_capacity_remembers_nothing() {
        let verdicts = Verdicts::new(0);
        for key in keys(2) {
            verdicts.remember(key);
            assert!(!verdicts.holds(&key) && verdicts.is_empty());
        }
    }
}
