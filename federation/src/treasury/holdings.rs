//! The coins that a batch may spend, and what else the choice between them depends on.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::OutPoint;

use super::{change::KeyState, coins::TreasuryCoin};

/// Which coins are due to be moved, as a member's bitcoind tells it: for their age, see
/// [`super::Treasury::refresh_after_blocks`], or, where a batch is judged, to show what the treasury key can.
#[derive(Clone, Copy, Debug)]
pub enum Due<'a> {
    /// It was not asked. Nothing is spent for that reason, and to what may have been spent for it nobody objects.
    NotAsked,
    /// These.
    Known(&'a BTreeSet<OutPoint>),
}

/// The coins that a fresh batch may spend.
#[derive(Clone, Copy, Debug)]
pub struct Holdings<'a> {
    pub(super) coins: &'a [TreasuryCoin],
    pub(super) held: usize,
    pub(super) due: Due<'a>,
    pub(super) key: KeyState,
}

impl<'a, Coins: AsRef<[TreasuryCoin]> + ?Sized> From<&'a Coins> for Holdings<'a> {
    /// All coins in the books that no batch spends, with every alternative of each.
    fn from(coins: &'a Coins) -> Self {
        let coins = coins.as_ref();
        let held = coins.iter().map(|coin| coin.booked_as).collect::<BTreeSet<_>>().len();
        Self { coins, held, due: Due::NotAsked, key: KeyState::Proven }
    }
}

impl<'a> Holdings<'a> {
    /// Only these of the coins, with the number of coins in the books as it was.
    #[must_use]
    pub fn restricted_to(self, coins: &'a [TreasuryCoin]) -> Self {
        Self { coins, ..self }
    }

    /// With what bitcoind says about their age.
    #[must_use]
    pub fn with_due(self, due: &'a BTreeSet<OutPoint>) -> Self {
        Self { due: Due::Known(due), ..self }
    }

    /// With what bitcoind says about the treasury key.
    pub(super) fn with_key(self, key: KeyState) -> Self {
        Self { key, ..self }
    }

    pub(super) fn is_due(&self, coin: &TreasuryCoin) -> bool {
        match self.due {
            Due::NotAsked => false,
            Due::Known(due) => due.contains(&coin.outpoint),
        }
    }

    pub(super) fn by_outpoint(&self) -> BTreeMap<OutPoint, &'a TreasuryCoin> {
        self.coins.iter().map(|coin| (coin.outpoint, coin)).collect()
    }
}
