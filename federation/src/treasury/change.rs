//! Where the change of a batch goes: under the treasury key, or little of it as long as the key has to show what it can.

use bitcoin::{OutPoint, Transaction, TxOut};

use super::{
    coins::{CoinKind, TreasuryCoin},
    rules::{MAX_CHANGE_PARTS, MIN_CHANGE_SAT, TARGET_COINS, Treasury, equal_parts},
};

/// So much a batch puts at most under a key of which Bitcoin has not seen a signature, in satoshi. More than it costs to
/// spend at any fee rate that a batch may have, and little enough to be lost.
pub const PROBE_SAT: u64 = 50_000;

/// What a member knows of the treasury key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    /// Bitcoin has shown it a signature.
    Proven,
    /// It has not: the key holds a probe at most, and the next batch spends it.
    Unproven,
}

/// The form of a batch's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeForm {
    /// All of it in the treasury's output, in so many equal parts.
    Treasury {
        /// At least one.
        parts: usize,
    },
    /// A probe in the treasury's output, and the rest in the federation's own script.
    Probe,
}

impl ChangeForm {
    /// The form of a fresh batch of a proposer that knows this of the key. `held_after` are the coins in the books that the
    /// batch does not spend.
    pub(super) fn of_fresh(key: KeyState, change_sat: u64, held_after: usize) -> Self {
        match key {
            KeyState::Unproven => Self::Probe,
            KeyState::Proven => Self::Treasury { parts: change_parts(change_sat, held_after) },
        }
    }

    /// The form of change that was made before.
    pub(super) fn of_change(change: &[TreasuryCoin]) -> Self {
        if change.iter().any(|coin| matches!(coin.kind, CoinKind::Federation { .. })) {
            Self::Probe
        } else {
            // A probe alone is the same in either form.
            Self::Treasury { parts: change.len().max(1) }
        }
    }

    /// The coins that change of this amount becomes, without their places.
    pub(super) fn coins(self, treasury: &Treasury, change_sat: u64) -> Vec<TreasuryCoin> {
        let under_key = |amount_sat| TreasuryCoin::from_change(treasury.output(), OutPoint::null(), amount_sat);
        let amounts: Vec<u64> = match self {
            Self::Treasury { parts } => equal_parts(change_sat, parts).collect(),
            Self::Probe => vec![probe_sat(change_sat)],
        };
        let rest_sat = amounts.iter().fold(change_sat, |rest_sat, part_sat| rest_sat.saturating_sub(*part_sat));
        let rest = TreasuryCoin::from_federation_change(&treasury.federation, OutPoint::null(), rest_sat);
        amounts.into_iter().map(under_key).chain([rest]).filter(|coin| coin.amount_sat > 0).collect()
    }
}

/// How much of the change is put under a key that has to show what it can. Change that is no more than a probe is one, and
/// none is split into an output that nobody would spend.
fn probe_sat(change_sat: u64) -> u64 {
    if change_sat <= PROBE_SAT { change_sat } else { PROBE_SAT.min(change_sat / 2) }
}

/// Into how many outputs change is split: a function of what the chain tells, so that every member builds the same batch.
/// `held_after` are the coins in the books that the batch does not spend.
fn change_parts(change_sat: u64, held_after: usize) -> usize {
    let affordable = change_sat.checked_div(MIN_CHANGE_SAT).and_then(|parts| usize::try_from(parts).ok());
    let wanted = TARGET_COINS.saturating_sub(held_after).min(MAX_CHANGE_PARTS);
    wanted.min(affordable.unwrap_or(MAX_CHANGE_PARTS)).max(1)
}

/// Whether an output goes back to the federation. What pays its scripts is change: requests that ask for that are donations
/// and not paid.
pub(super) fn is_change(treasury: &Treasury, output: &TxOut) -> bool {
    output.script_pubkey == *treasury.output().script_pubkey() || is_rest(treasury, output)
}

fn is_rest(treasury: &Treasury, output: &TxOut) -> bool {
    output.script_pubkey == treasury.federation.script_pubkey
}

/// What the proposer of a fresh batch knows of the key, by the change that it makes.
pub(super) fn key_state_of(treasury: &Treasury, transaction: &Transaction) -> KeyState {
    let is_careful = transaction.output.iter().any(|output| is_rest(treasury, output));
    if is_careful { KeyState::Unproven } else { KeyState::Proven }
}

/// Whether a batch puts no more than a probe under the treasury key.
pub(super) fn is_probe_at_most(treasury: &Treasury, transaction: &Transaction) -> bool {
    let under_key =
        transaction.output.iter().filter(|output| output.script_pubkey == *treasury.output().script_pubkey());
    under_key.fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat())) <= PROBE_SAT
}
