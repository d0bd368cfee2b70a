#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::{
    chain::ChainParams,
    peg::{PegoutRequest, fedpeg_program},
};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, Txid, hashes::Hash};
use elements::Script;
use rand::Rng;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::{
    change::{ChangeForm, KeyState},
    *,
};
use crate::{
    keys::{MemberSeed, TreasuryKey, TreasuryShare, tests::dealt_treasury_key},
    roster::{Roster, tests::federation_of},
};

mod checking;
mod family;
mod outputs;
mod peg;
mod planning;
mod proving;
mod signing;

pub(super) const RATE: u64 = 5_000;
pub(super) const BTC: u64 = 100_000_000;

pub(super) struct Fixture {
    pub(super) seeds: Vec<MemberSeed>,
    pub(super) key: TreasuryKey,
    pub(super) shares: Vec<TreasuryShare>,
    pub(super) treasury: Treasury,
    roster: Roster,
    params: ChainParams,
}

impl Fixture {
    fn new() -> Self {
        Self::of(4)
    }

    pub(super) fn of(members: usize) -> Self {
        let (seeds, roster) = federation_of(members);
        let (key, shares) = dealt_treasury_key(members, roster.threshold());
        let treasury = Treasury::new(&roster, &key).unwrap();
        // So that there are deposits of both forms.
        let params = ChainParams { start_p2wsh: true, ..roster.chain_params() };
        Self { seeds, key, shares, treasury, roster, params }
    }

    pub(super) fn threshold(&self) -> usize {
        self.roster.threshold()
    }

    /// A deposit with its own claim script; `epoch` 0 makes it P2SH-P2WSH.
    pub(super) fn deposit(&self, number: u8, amount_sat: u64, epoch: u32) -> TreasuryCoin {
        let claim_script = Script::from([&[0x00, 0x14][..], &[number; 20]].concat());
        let program = fedpeg_program(&self.params, epoch, &claim_script).unwrap();
        TreasuryCoin {
            outpoint: outpoint(number),
            booked_as: outpoint(number),
            amount_sat,
            script_pubkey: program.script_pubkey,
            kind: CoinKind::Deposit { witness_script: program.witness_script, claim_script, redeem: program.redeem },
        }
    }

    pub(super) fn change(&self, number: u8, amount_sat: u64) -> TreasuryCoin {
        TreasuryCoin::from_change(self.treasury.output(), outpoint(number), amount_sat)
    }

    /// Change in the federation's own script.
    pub(super) fn rest(&self, number: u8, amount_sat: u64) -> TreasuryCoin {
        TreasuryCoin::from_federation_change(&self.treasury.federation, outpoint(number), amount_sat)
    }

    fn bounds(&self) -> FeeRateBounds {
        FeeRateBounds::around(RATE)
    }

    fn check(
        &self,
        coins: &[TreasuryCoin],
        pending: &[PegoutRequest],
        transaction: &Transaction,
    ) -> Result<BatchPlan, BatchError> {
        check_batch(&self.treasury, coins, pending, transaction, &self.bounds())
    }
}

fn by_outpoint(coins: &[TreasuryCoin]) -> BTreeMap<OutPoint, TreasuryCoin> {
    coins.iter().map(|coin| (coin.outpoint, coin.clone())).collect()
}

/// Change under the treasury key in so many parts.
fn in_parts(parts: usize) -> ChangeForm {
    ChangeForm::Treasury { parts }
}

fn outpoint(number: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([number; 32]), u32::from(number))
}

fn script(kind: PayoutKind, number: u8) -> ScriptBuf {
    let short = vec![number; 20];
    let long = vec![number; 32];
    let bytes = match kind {
        PayoutKind::P2pkh => [&[0x76, 0xa9, 0x14][..], &short, &[0x88, 0xac]].concat(),
        PayoutKind::P2sh => [&[0xa9, 0x14][..], &short, &[0x87]].concat(),
        PayoutKind::P2wpkh => [&[0x00, 0x14][..], &short].concat(),
        PayoutKind::P2wsh => [&[0x00, 0x20][..], &long].concat(),
        PayoutKind::P2tr => [&[0x51, 0x20][..], &long].concat(),
    };
    ScriptBuf::from_bytes(bytes)
}

const KINDS: [PayoutKind; 5] =
    [PayoutKind::P2pkh, PayoutKind::P2sh, PayoutKind::P2wpkh, PayoutKind::P2wsh, PayoutKind::P2tr];

pub(super) fn request(number: u8, amount_sat: u64) -> PegoutRequest {
    request_to(number, amount_sat, script(KINDS[usize::from(number) % 5], number))
}

fn request_to(number: u8, amount_sat: u64, parent_script: ScriptBuf) -> PegoutRequest {
    let txid = elements::Txid::from_byte_array([number; 32]);
    PegoutRequest { outpoint: elements::OutPoint::new(txid, 1), amount_sat, parent_script }
}

/// What must hold of every batch, however it came about.
fn check_sums(plan: &BatchPlan, coins: &[TreasuryCoin]) {
    let coins = by_outpoint(coins);
    let spent: u64 = plan.inputs.iter().map(|outpoint| coins[outpoint].amount_sat).sum();
    let burned: u64 = plan.paid.iter().map(|paid| paid.amount_sat).sum();
    let change = plan.change_sat();
    assert_eq!(spent, burned + change, "supply and reserve shrink by the same");
    let outputs: u64 = plan.transaction.output.iter().map(|output| output.value.to_sat()).sum();
    assert_eq!(spent - outputs, plan.fee_sat);
    assert_eq!(plan.paid.iter().map(|paid| paid.fee_sat).sum::<u64>(), plan.fee_sat);
    for paid in &plan.paid {
        let output = &plan.transaction.output[usize::try_from(paid.vout).unwrap()];
        assert_eq!(output.value.to_sat(), paid.amount_sat - paid.fee_sat);
        assert!(output.value >= output.script_pubkey.minimal_non_dust());
    }
}
