//! The limits of a batch, and which requests can be paid at all.

use aquifer_assets::peg::PegoutRequest;
use bitcoin::{Script, ScriptBuf, secp256k1::PublicKey};

use super::{
    coins::{FederationScript, SCHNORR_SIZE, members_witness},
    output::{TreasuryOutput, TreasuryOutputError},
};
use crate::{keys::TreasuryKey, roster::Roster};

/// Largest batch that this code plans, in weight units.
pub const MAX_BATCH_WEIGHT: u64 = 150_000;
/// Largest batch that a member accepts from a proposer, in weight units. Bitcoin relays up to 400,000.
pub const MAX_ACCEPTED_WEIGHT: u64 = 240_000;
/// Most requests that one batch pays.
pub const MAX_PAYMENTS: usize = 100;
/// Most coins that one batch spends.
pub const MAX_INPUTS: usize = 250;
/// So many coins the treasury likes to hold: change is split while there are fewer, small coins are put together while
/// there are more. Several coins let several batches be on their way at a time.
pub const TARGET_COINS: usize = 8;
/// Change is split into so many parts at most. Every part costs those who are paid.
pub const MAX_CHANGE_PARTS: usize = 2;
/// So many small coins are spent beside those that a batch needs, at low fees, while there are too many coins.
pub const MAX_CONSOLIDATED: usize = 2;
/// A batch above this fee rate spends no small coins that it does not need, unless its fee is the least possible.
pub const CONSOLIDATION_FEE_RATE_SAT_PER_KVB: u64 = 2_000;
/// So many coins are spent beside those that a batch needs because their emergency script would open one day.
pub const MAX_REFRESHED: usize = 4;
/// Most batches of a family: the first one and its replacements.
pub const MAX_FAMILY: usize = 32;
/// Change below this is made only when every other coin worth its fee is spent as well, in satoshi.
pub const MIN_CHANGE_SAT: u64 = 100_000;
/// Lowest fee rate of a batch: what Bitcoin nodes relayed for most of their history.
pub const MIN_FEE_RATE_SAT_PER_KVB: u64 = 1_000;
/// Highest fee rate of a batch, whatever anybody's estimate says.
pub const MAX_FEE_RATE_SAT_PER_KVB: u64 = 500_000;
/// The fee rate of a batch may differ from a member's own estimate by this factor, up or down.
pub const FEE_RATE_FACTOR: u64 = 4;

/// The fee rates that a member accepts for a batch, in satoshi per 1,000 virtual bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRateBounds {
    /// Lowest.
    pub min_sat_per_kvb: u64,
    /// Highest.
    pub max_sat_per_kvb: u64,
}

impl FeeRateBounds {
    /// The hard limits, whatever anybody's estimate says.
    pub const HARD_LIMITS: Self =
        Self { min_sat_per_kvb: MIN_FEE_RATE_SAT_PER_KVB, max_sat_per_kvb: MAX_FEE_RATE_SAT_PER_KVB };

    /// Within [`FEE_RATE_FACTOR`] of an estimate, and within the hard limits.
    pub fn around(estimate_sat_per_kvb: u64) -> Self {
        let estimate = clamp_fee_rate(estimate_sat_per_kvb);
        Self {
            min_sat_per_kvb: clamp_fee_rate(estimate / FEE_RATE_FACTOR),
            max_sat_per_kvb: clamp_fee_rate(estimate.saturating_mul(FEE_RATE_FACTOR)),
        }
    }

    /// Whether a fee rate is accepted.
    pub fn contains(&self, sat_per_kvb: u64) -> bool {
        (self.min_sat_per_kvb..=self.max_sat_per_kvb).contains(&sat_per_kvb)
    }
}

/// A fee rate within the hard limits.
pub(super) fn clamp_fee_rate(sat_per_kvb: u64) -> u64 {
    sat_per_kvb.clamp(MIN_FEE_RATE_SAT_PER_KVB, MAX_FEE_RATE_SAT_PER_KVB)
}

/// The standard output types that peg-outs are paid to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayoutKind {
    /// Pay to public key hash.
    P2pkh,
    /// Pay to script hash.
    P2sh,
    /// Pay to witness public key hash.
    P2wpkh,
    /// Pay to witness script hash.
    P2wsh,
    /// Taproot.
    P2tr,
}

impl PayoutKind {
    /// The kind of an output script; `None` for anything that is not standard.
    pub fn of(script: &Script) -> Option<Self> {
        if script.is_p2pkh() {
            Some(Self::P2pkh)
        } else if script.is_p2sh() {
            Some(Self::P2sh)
        } else if script.is_p2wpkh() {
            Some(Self::P2wpkh)
        } else if script.is_p2wsh() {
            Some(Self::P2wsh)
        } else if script.is_p2tr() {
            Some(Self::P2tr)
        } else {
            None
        }
    }

    /// Smallest amount that Bitcoin nodes relay to an output of this kind, in satoshi.
    pub fn dust_limit_sat(self) -> u64 {
        match self {
            Self::P2pkh => 546,
            Self::P2sh => 540,
            Self::P2wpkh => 294,
            Self::P2wsh | Self::P2tr => 330,
        }
    }
}

/// Why a request is not paid, and will not be by waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParkReason {
    /// The destination is none of the types of [`PayoutKind`]; Bitcoin nodes would not relay the payment.
    #[error("the destination is not a standard output type (P2PKH, P2SH, P2WPKH, P2WSH or P2TR)")]
    NotStandard,
    /// The destination is the treasury itself: a donation.
    #[error("the destination is the treasury itself; the amount is a donation to the reserve")]
    Donation,
    /// The amount is below what the destination could receive even without a fee.
    #[error("{amount_sat} sat is below the smallest payment of this type, {limit_sat} sat")]
    Dust {
        /// Amount of the request, in satoshi.
        amount_sat: u64,
        /// Dust limit of its output type, in satoshi.
        limit_sat: u64,
    },
}

/// Why a request can never be paid, or `None` if it can. A function of the request and the federation alone.
pub fn park_reason(treasury: &Treasury, request: &PegoutRequest) -> Option<ParkReason> {
    let script = &request.parent_script;
    let Some(kind) = PayoutKind::of(script) else { return Some(ParkReason::NotStandard) };
    if treasury.own_scripts.contains(script) {
        return Some(ParkReason::Donation);
    }
    let (amount_sat, limit_sat) = (request.amount_sat, kind.dust_limit_sat());
    (amount_sat < limit_sat).then_some(ParkReason::Dust { amount_sat, limit_sat })
}

/// Who holds the bitcoin behind the peg, and how: what planning, checking and signing need of a federation.
#[derive(Clone, Debug)]
pub struct Treasury {
    /// Signatures of members that an input needs where it is not spent by the FROST key.
    pub(super) threshold: usize,
    /// The members' peg keys, in roster order.
    pub(super) peg_keys: Vec<PublicKey>,
    /// Size of the largest witness by which `k` members spend its output, in bytes.
    pub(super) members_witness_bytes: usize,
    output: TreasuryOutput,
    pub(super) federation: FederationScript,
    /// Output scripts that pay the federation itself.
    own_scripts: Vec<ScriptBuf>,
    emergency_timelock_blocks: Option<u16>,
}

impl Treasury {
    /// The treasury of the federation of this roster with this key.
    ///
    /// # Errors
    /// [`TreasuryOutputError`].
    pub fn new(roster: &Roster, key: &TreasuryKey) -> Result<Self, TreasuryOutputError> {
        let output = TreasuryOutput::new(roster, key.internal_key())?;
        let fedpeg = ScriptBuf::from_bytes(roster.chain_params().fedpeg_script.to_bytes());
        let federation = FederationScript::new(fedpeg.clone());
        let own_scripts = vec![
            output.script_pubkey().clone(),
            federation.script_pubkey.clone(),
            fedpeg.to_p2sh(),
            federation.redeem.clone(),
        ];
        let peg_keys = roster.members().iter().map(|card| card.peg_key).collect();
        let emergency = roster.settings().emergency.as_ref();
        let signature: &[u8] = &[0; SCHNORR_SIZE];
        let signed =
            (0..roster.members().len()).map(|member| if member < roster.threshold() { signature } else { &[] });
        let members_witness_bytes = members_witness(&output, &signed.collect::<Vec<_>>()).size();
        Ok(Self {
            threshold: roster.threshold(),
            peg_keys,
            members_witness_bytes,
            output,
            federation,
            own_scripts,
            emergency_timelock_blocks: emergency.map(|emergency| emergency.timelock_blocks),
        })
    }

    /// From so many confirmations on a coin in the treasury's output is due to be moved: half of the time after which the
    /// emergency keys could spend it. `None` where the federation has chosen none.
    pub fn refresh_after_blocks(&self) -> Option<u32> {
        self.emergency_timelock_blocks.map(|blocks| u32::from(blocks / 2))
    }

    /// The treasury's own output, where change goes once its key has shown what it can.
    pub fn output(&self) -> &TreasuryOutput {
        &self.output
    }
}

/// Whether change of this amount is one we like to have: none at all, or enough to be worth keeping.
pub(super) fn is_good_change(change_sat: u64) -> bool {
    change_sat == 0 || change_sat >= MIN_CHANGE_SAT
}

/// An amount in equal parts, the first ones a satoshi more where it does not divide.
pub(super) fn equal_parts(amount_sat: u64, count: usize) -> impl Iterator<Item = u64> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    (0..count).map(move |position| {
        let extra = u64::from(amount_sat.checked_rem(count).is_some_and(|remainder| position < remainder));
        amount_sat.checked_div(count).unwrap_or(0).saturating_add(extra)
    })
}

/// The fee of a transaction, rounded up to a satoshi.
pub(super) fn fee_sat(weight: u64, sat_per_kvb: u64) -> u64 {
    weight.div_ceil(4).saturating_mul(sat_per_kvb).div_ceil(1_000)
}
