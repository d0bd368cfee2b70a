//! Looks whether the coins that the books count are there on Bitcoin.
//!
//! The ledger counts coins as the chain tells it: claimed deposits, and the change of batches. If one of them is gone from
//! Bitcoin although no batch spends it, somebody spent it without the federation (a stolen key, the emergency script), or a
//! reorganisation deeper than any deposit has to be took it. Neither must happen, and both mean that less is there than is
//! owed: an alarm with the name and the amount of the coin, and this member halts peg-outs.
//!
//! Where the federation has chosen emergency keys, a coin that rests for long could be spent by them one day. Batches move such
//! coins after half of that time. One that still rests after three quarters of it calls the operator.
//!
//! What is no reason to miss a coin:
//! * change of a batch that is not confirmed: it is not there yet;
//! * a coin that a batch spends of which this member does not know yet: a batch stands in a final block before anybody signs
//!   it, so a coin counts as gone only when blocks that are later than its disappearance are final here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aquifer_federation::treasury::{CoinKind, TreasuryCoin};
use bitcoin::OutPoint;
use tokio_util::sync::CancellationToken;

use super::PegoutDriver;
use crate::chain::Clock;
use crate::parent::{Parent, ParentError, ParentState};
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// A coin is gone when the last final block is so much later than the moment from which it was missed, in seconds: clocks of
/// members differ a little.
const MARGIN_S: u32 = 30;
/// How often Bitcoin's state is compared with that of the last look.
const INTERVAL: Duration = Duration::from_secs(2);

/// A coin of the books that is gone from Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the coin {outpoint} of {amount_sat} sat is gone from Bitcoin, and no batch of this federation spends it: find out with \
     the other operators who did, or which reorganisation took it"
)]
pub struct GoneCoin {
    /// Its name in the books.
    pub outpoint: OutPoint,
    /// What it is worth, in satoshi.
    pub amount_sat: u64,
}

/// A coin that emergency keys can spend before long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the coin {outpoint} of {amount_sat} sat has rested for {confirmations} blocks of Bitcoin, and emergency keys can spend it \
     after {timelock_blocks}: make a peg-out, which moves it"
)]
pub struct OldCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is worth, in satoshi.
    pub amount_sat: u64,
    /// Blocks since it came to be.
    pub confirmations: u32,
    /// After so many blocks the emergency keys can spend it.
    pub timelock_blocks: u32,
}

/// What a look at the coins has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoinAlarm {
    /// One is gone.
    Gone(GoneCoin),
    /// One was not moved in time.
    Old(OldCoin),
}

/// Coins that were told to be old.
#[derive(Debug, Default)]
struct Aged(BTreeSet<OutPoint>);

impl Aged {
    /// Gives the coins that have rested for three quarters of the time lock, each once.
    fn look(&mut self, coins: &[(TreasuryCoin, Seen)], timelock_blocks: u32) -> Vec<OldCoin> {
        let is_old = |confirmations: u32| u64::from(confirmations) * 4 >= u64::from(timelock_blocks) * 3;
        let old_one = |(coin, seen): &(TreasuryCoin, Seen)| match *seen {
            Seen::There { confirmations } if coin.kind == CoinKind::Treasury && is_old(confirmations) => {
                let (outpoint, amount_sat) = (coin.outpoint, coin.amount_sat);
                Some((outpoint, OldCoin { outpoint, amount_sat, confirmations, timelock_blocks }))
            }
            _ => None,
        };
        let old: BTreeMap<OutPoint, OldCoin> = coins.iter().filter_map(old_one).collect();
        self.0.retain(|outpoint| old.contains_key(outpoint));
        old.into_values().filter(|coin| self.0.insert(coin.outpoint)).collect()
    }
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    missing: Missing,
    aged: Aged,
}

/// What Bitcoin says of an output, the best last: of the alternatives of a coin one that is there will do, and so will one
/// that may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// It is not in the best chain, or a transaction there spends it, and it should be.
    Missed,
    /// It is not there, and need not be yet.
    NotYet,
    /// It is in the best chain, and no transaction there spends it.
    There {
        /// Blocks since it came to be.
        confirmations: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Missed {
    since: u32,
    told: bool,
}

/// Coins that are missed, by their names in the books.
#[derive(Debug, Default)]
struct Missing(BTreeMap<OutPoint, Missed>);

impl Missing {
    /// Takes a look at all coins that no batch spends, each with what Bitcoin says of it; gives those that are gone for
    /// sure, each once. Alternatives of one coin are one coin. `tip_time` is that of the last final block.
    fn look(&mut self, coins: &[(TreasuryCoin, Seen)], now: u32, tip_time: u32) -> Vec<GoneCoin> {
        let mut booked: BTreeMap<OutPoint, (u64, Seen)> = BTreeMap::new();
        for (coin, seen) in coins {
            let entry = booked.entry(coin.booked_as).or_insert((coin.amount_sat, *seen));
            entry.1 = entry.1.max(*seen);
        }
        booked.retain(|_, (_, seen)| *seen == Seen::Missed);
        self.0.retain(|outpoint, _| booked.contains_key(outpoint));
        let mut gone = Vec::new();
        for (outpoint, (amount_sat, _)) in booked {
            let missed = self.0.entry(outpoint).or_insert(Missed { since: now, told: false });
            if !missed.told && tip_time > missed.since.saturating_add(MARGIN_S) {
                missed.told = true;
                gone.push(GoneCoin { outpoint, amount_sat });
            }
        }
        gone
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a look was not taken.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("{0}")]
    Parent(#[from] ParentError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What a watch over the coins needs.
pub struct CoinWatch {
    /// This member's bitcoind.
    pub parent: Parent,
    /// The final chain.
    pub ledger: Arc<LedgerReader>,
    /// The batches that are not buried.
    pub driver: PegoutDriver,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// After so many blocks emergency keys can spend a coin of the treasury, if the federation has chosen any.
    pub timelock_blocks: Option<u32>,
}

impl CoinWatch {
    /// Looks at every coin after each new block of Bitcoin, and while one is missed, until it is cancelled. `on_alarm` is
    /// called once for each coin that is gone or old.
    pub async fn run(self, on_alarm: impl Fn(CoinAlarm) + Send + Sync + 'static, stop: CancellationToken) {
        let watch = Arc::new((self, on_alarm));
        let mut memory = Memory::default();
        let mut seen = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
            let ParentState::Healthy { hash, .. } = watch.0.parent.state() else { continue };
            if seen == Some(hash) && memory.missing.is_empty() {
                continue;
            }
            let looking = Arc::clone(&watch);
            let looked = tokio::task::spawn_blocking(move || {
                let result = looking.0.look(&mut memory);
                if let Ok(alarms) = &result {
                    alarms.iter().for_each(|alarm| (looking.1)(*alarm));
                }
                (memory, result)
            });
            let Ok((back, result)) = looked.await else {
                tracing::error!("the treasury's coins are no longer watched: the watch has failed");
                return;
            };
            memory = back;
            match result {
                Ok(_) => seen = Some(hash),
                Err(error) => tracing::debug!(%error, "the treasury's coins could not be looked at"),
            }
        }
    }

    fn look(&self, memory: &mut Memory) -> Result<Vec<CoinAlarm>, WatchError> {
        let (tip, coins) = {
            let snapshot = self.ledger.snapshot()?;
            (snapshot.tip()?, snapshot.treasury_coins()?)
        };
        let mut looked = Vec::with_capacity(coins.len());
        for coin in coins {
            let may_come = || !coin.is_deposit() && self.driver.is_unconfirmed(&coin.outpoint.txid);
            let seen = match self.parent.is_unspent(&coin.outpoint)? {
                Some(confirmations) => Seen::There { confirmations },
                None if may_come() => Seen::NotYet,
                None => Seen::Missed,
            };
            looked.push((coin, seen));
        }
        let gone = memory.missing.look(&looked, self.clock.now(), tip.time).into_iter().map(CoinAlarm::Gone);
        let old = self.timelock_blocks.map(|blocks| memory.aged.look(&looked, blocks)).unwrap_or_default();
        Ok(gone.chain(old.into_iter().map(CoinAlarm::Old)).collect())
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use bitcoin::{ScriptBuf, Txid};

    use super::*;

    const THERE: Seen = Seen::There { confirmations: 1 };

    fn coin(number: u8, booked_as: u8) -> TreasuryCoin {
        let name = |number| OutPoint::new(Txid::from_byte_array([number; 32]), 0);
        TreasuryCoin {
            outpoint: name(number),
            booked_as: name(booked_as),
            amount_sat: u64::from(booked_as),
            script_pubkey: ScriptBuf::new(),
            kind: CoinKind::Treasury,
        }
    }

    #[test]
    fn a_coin_is_gone_once_and_only_when_later_blocks_are_final() {
        let mut missing = Missing::default();
        let looked = [(coin(1, 1), Seen::Missed), (coin(2, 2), THERE), (coin(3, 3), Seen::NotYet)];
        assert_eq!(missing.look(&looked, 1_000, 990), []);
        assert_eq!(missing.look(&looked, 1_100, 1_000 + MARGIN_S), [], "a batch may be in the next block");
        let gone = missing.look(&looked, 1_100, 1_001 + MARGIN_S);
        assert_eq!(gone, [GoneCoin { outpoint: coin(1, 1).outpoint, amount_sat: 1 }]);
        assert_eq!(missing.look(&looked, 1_200, 1_200), [], "said once");
        assert_eq!(missing.look(&[(coin(1, 1), THERE)], 1_300, 1_300), []);
        assert!(missing.is_empty(), "it came back");
        assert_eq!(missing.look(&looked, 1_400, 1_400), [], "and is missed anew");
        assert_eq!(missing.look(&[], 1_500, 1_500), [], "a batch has spent it");
        assert!(missing.is_empty());
    }

    #[test]
    fn a_coin_that_was_not_moved_in_time_is_told_once() {
        let mut aged = Aged::default();
        let mut look = |ages: [u32; 2]| {
            let deposit = TreasuryCoin { kind: deposit_kind(), ..coin(3, 3) };
            let there = |confirmations| Seen::There { confirmations };
            let coins = [(coin(1, 1), there(ages[0])), (coin(2, 2), there(ages[1])), (deposit, there(5_000))];
            aged.look(&coins, 1_000).into_iter().map(|old| old.amount_sat).collect::<Vec<_>>()
        };
        assert!(look([749, 10]).is_empty());
        assert_eq!(look([750, 750]), [1, 2]);
        assert!(look([751, 751]).is_empty());
        // A reorganisation, and old again.
        assert!(look([700, 752]).is_empty());
        assert_eq!(look([750, 753]), [1]);
    }

    fn deposit_kind() -> CoinKind {
        CoinKind::Deposit { witness_script: ScriptBuf::new(), claim_script: elements::Script::new(), redeem: None }
    }

    #[test]
    fn alternatives_are_one_coin() {
        let mut missing = Missing::default();
        let look = |missing: &mut Missing, seen: [Seen; 2]| {
            let looked = [(coin(1, 1), seen[0]), (coin(2, 1), seen[1])];
            missing.look(&looked, 1_000, 1_000);
            missing.look(&looked, 2_000, 2_000).len()
        };
        for enough in [THERE, Seen::NotYet] {
            assert_eq!(look(&mut missing, [enough, Seen::Missed]), 0);
            assert_eq!(look(&mut missing, [Seen::Missed, enough]), 0);
        }
        assert_eq!(look(&mut missing, [Seen::Missed, Seen::Missed]), 1);
    }
}
