//! What is relayed beyond what is valid: the rules of Elements in its default settings (`policy/policy.h`), those of
//! 23.3.x where it and its master differ. A block may contain what is refused here.
//!
//! Sizes that fees are measured by are *discounted*: proofs, and what commitments are longer than explicit fields, cost
//! nothing (`policy/discount.h`). One measure serves the least fee, replacement, the order in blocks and eviction, so that
//! no two of them can contradict each other.

use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Transaction, TxIn, TxOut};
use aquifer_assets::script::standard::{NonStandardSpend, check_standard};
use aquifer_assets::script::{Form, SighashData, is_unspendable, sigop_cost};
use aquifer_assets::transaction::{MAX_MONEY, discount_vsize};
use elements::encode::serialize;
use elements::script::Instruction;
use elements::{AssetId, BlockHash, Script};

/// Least fee, in satoshi per 1,000 vbytes of the discounted size: 0.1 sat/vB (`-minrelaytxfee`).
pub const MIN_FEE_RATE_SAT_PER_KVB: u64 = 100;
/// What each vbyte of a replacement pays more than what it replaces (`-incrementalrelayfee`).
pub const INCREMENTAL_FEE_RATE_SAT_PER_KVB: u64 = 100;
/// An output that costs more than its value to spend at this rate is dust (`-dustrelayfee`, ELIP 201).
pub const DUST_FEE_RATE_SAT_PER_KVB: u64 = 100;
/// Heaviest transaction that is admitted, in weight units.
pub const MAX_TRANSACTION_WEIGHT: u64 = 400_000;
/// Shortest transaction that is admitted, without witness, in bytes: one more than a node of a Merkle tree
/// (CVE-2017-12842).
pub const MIN_BASE_SIZE: u64 = 65;
/// Longest scriptSig, in bytes.
pub const MAX_SCRIPT_SIG_SIZE: usize = 1_650;
/// Highest signature operation cost of a transaction: a fifth of a block's.
pub const MAX_SIGOP_COST: u64 = 16_000;

/// Weight that each unit of signature operation cost stands for (`-bytespersigop`).
const WEIGHT_PER_SIGOP: u64 = 20;
const WITNESS_SCALE_FACTOR: u64 = 4;
const MAX_BARE_MULTISIG_KEYS: usize = 3;
const MAX_P2WSH_SCRIPT_SIZE: usize = 3_600;
const MAX_P2WSH_ITEMS: usize = 100;
const MAX_WITNESS_ITEM_SIZE: usize = 80;
const TAPSCRIPT_LEAF: u8 = 0xc4;
const LEAF_MASK: u8 = 0xfe;
const OP_16: u8 = 0x60;
/// What it takes to spend an output, in vbytes: outpoint, sequence, length, and a signature with its key, in the witness or
/// in the scriptSig.
const SPEND_WITNESS_VBYTES: u64 = 32 + 4 + 1 + 26 + 4;
const SPEND_LEGACY_VBYTES: u64 = 32 + 4 + 1 + 107 + 4;

/// Why a valid transaction is not relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonStandard {
    /// Its version has no meaning yet.
    #[error("transactions of version {version} are not relayed: use version 2")]
    Version {
        /// The version.
        version: u32,
    },
    /// It is too heavy.
    #[error("the transaction weighs {weight} units, at most {MAX_TRANSACTION_WEIGHT} are relayed: split it")]
    TooHeavy {
        /// Its weight.
        weight: u64,
    },
    /// It is too short.
    #[error("the transaction has {size} bytes without witness, at least {MIN_BASE_SIZE} are relayed: add an output")]
    TooSmall {
        /// Its size without witness, in bytes.
        size: u64,
    },
    /// A scriptSig is too long.
    #[error("input {vin}: a scriptSig of {size} bytes, at most {MAX_SCRIPT_SIG_SIZE} are relayed: use a witness")]
    ScriptSigSize {
        /// The input.
        vin: usize,
        /// Its size in bytes.
        size: usize,
    },
    /// A scriptSig does more than push data.
    #[error("input {vin}: the scriptSig may only push data")]
    ScriptSigNotPushOnly {
        /// The input.
        vin: usize,
    },
    /// An output script of no known form.
    #[error("output {vout}: the script {script} is of no form that is relayed: pay to an address")]
    OutputScript {
        /// The output.
        vout: usize,
        /// Its script.
        script: Script,
    },
    /// More than one output carries data, and peg-outs need no authorization, which takes several.
    #[error("outputs {first} and {second} carry data, one may: use a transaction for each")]
    MultipleData {
        /// The first of them.
        first: usize,
        /// The second.
        second: usize,
    },
    /// An output worth less than it costs to spend.
    #[error("output {vout}: {value_sat} sat are dust, pay at least {least_sat} sat or leave the output out")]
    Dust {
        /// The output.
        vout: usize,
        /// Its value, in satoshi.
        value_sat: u64,
        /// Least value that is relayed, in satoshi.
        least_sat: u64,
    },
    /// More of an asset than there may be coins.
    #[error("input {vin}: issues {amount} units openly, at most {MAX_MONEY} are relayed: issue less, or blinded")]
    IssuanceRange {
        /// The input.
        vin: usize,
        /// The amount, in the asset's smallest unit.
        amount: u64,
    },
    /// A spend of a form that is not relayed.
    #[error("{0}: sign again in the usual form")]
    Spend(#[from] NonStandardSpend),
    /// A witness beyond the usual bounds.
    #[error("input {vin}: {what} of {found} exceed the {most} that are relayed: use a smaller script")]
    Witness {
        /// The input.
        vin: usize,
        /// What is too large.
        what: &'static str,
        /// Its size or number.
        found: usize,
        /// The bound.
        most: usize,
    },
    /// Too many signature operations.
    #[error("signature operations cost {cost}, at most {MAX_SIGOP_COST} are relayed: spend fewer outputs at once")]
    SigopCost {
        /// The cost.
        cost: u64,
    },
}

impl NonStandard {
    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            NonStandard::Version { .. } => "nonstandard-version",
            NonStandard::TooHeavy { .. } => "too-heavy",
            NonStandard::TooSmall { .. } => "too-small",
            NonStandard::ScriptSigSize { .. } => "script-sig-size",
            NonStandard::ScriptSigNotPushOnly { .. } => "script-sig-not-push-only",
            NonStandard::OutputScript { .. } => "nonstandard-output",
            NonStandard::MultipleData { .. } => "multiple-data-outputs",
            NonStandard::Dust { .. } => "dust",
            NonStandard::IssuanceRange { .. } => "issuance-range",
            NonStandard::Spend(_) => "nonstandard-spend",
            NonStandard::Witness { .. } => "nonstandard-witness",
            NonStandard::SigopCost { .. } => "too-many-sigops",
        }
    }

    /// What Elements answers in the same case.
    pub fn elements_reason(&self) -> &'static str {
        match self {
            NonStandard::Version { .. } => "version",
            NonStandard::TooHeavy { .. } => "tx-size",
            NonStandard::TooSmall { .. } => "tx-size-small",
            NonStandard::ScriptSigSize { .. } => "scriptsig-size",
            NonStandard::ScriptSigNotPushOnly { .. } => "scriptsig-not-pushonly",
            NonStandard::OutputScript { .. } => "scriptpubkey",
            NonStandard::MultipleData { .. } => "multi-op-return",
            NonStandard::Dust { .. } => "dust",
            NonStandard::IssuanceRange { .. } => "issuance-out-of-range",
            NonStandard::Spend(NonStandardSpend::Output { .. } | NonStandardSpend::Sigops { .. }) => {
                "bad-txns-nonstandard-inputs"
            }
            NonStandard::Spend(NonStandardSpend::Script { .. }) => "mempool-script-verify-flag-failed",
            NonStandard::Spend(NonStandardSpend::Annex { .. }) | NonStandard::Witness { .. } => {
                "bad-witness-nonstandard"
            }
            NonStandard::SigopCost { .. } => "bad-txns-too-many-sigops",
        }
    }
}

/// How much room and work a transaction takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    /// Weight, in weight units.
    pub(super) weight: u64,
    /// Signature operation cost.
    pub(super) sigop_cost: u64,
    /// Virtual size, in vbytes; many signature operations count as size.
    pub(super) vsize: u64,
    /// The same after the discount: what fees are measured by.
    pub(super) discounted_vsize: u64,
}

impl Measure {
    /// Measures a transaction whose signature operations cost `sigop_cost`.
    pub(super) fn of(transaction: &Transaction, sigop_cost: u64) -> Self {
        let weight = number(transaction.weight());
        let sigop_weight = sigop_cost.saturating_mul(WEIGHT_PER_SIGOP);
        let surplus = sigop_weight.saturating_sub(weight).div_ceil(WITNESS_SCALE_FACTOR);
        Measure {
            weight,
            sigop_cost,
            vsize: weight.max(sigop_weight).div_ceil(WITNESS_SCALE_FACTOR),
            discounted_vsize: number(discount_vsize(transaction)).saturating_add(surplus),
        }
    }
}

/// The fee for `vsize` vbytes at a rate, in satoshi, rounded up.
pub(super) fn fee_at(rate_sat_per_kvb: u64, vsize: u64) -> u64 {
    vsize.saturating_mul(rate_sat_per_kvb).div_ceil(1_000)
}

fn number(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// What needs nothing but the transaction.
pub(super) fn check_form(transaction: &Transaction, params: &ChainParams) -> Result<(), NonStandard> {
    if !(1..=2).contains(&transaction.version) {
        return Err(NonStandard::Version { version: transaction.version });
    }
    let weight = number(transaction.weight());
    if weight > MAX_TRANSACTION_WEIGHT {
        return Err(NonStandard::TooHeavy { weight });
    }
    for (vin, input) in transaction.input.iter().enumerate() {
        check_input(vin, input)?;
    }
    check_outputs(&transaction.output, params)?;
    for (vout, output) in transaction.output.iter().enumerate() {
        if let Some((value_sat, least_sat)) = dust(output, params.pegged_asset()) {
            return Err(NonStandard::Dust { vout, value_sat, least_sat });
        }
    }
    let size = base_size(transaction);
    if size < MIN_BASE_SIZE {
        return Err(NonStandard::TooSmall { size });
    }
    Ok(())
}

fn check_input(vin: usize, input: &TxIn) -> Result<(), NonStandard> {
    let size = input.script_sig.len();
    if size > MAX_SCRIPT_SIG_SIZE {
        return Err(NonStandard::ScriptSigSize { vin, size });
    }
    if !is_push_only(&input.script_sig) {
        return Err(NonStandard::ScriptSigNotPushOnly { vin });
    }
    let issuance = &input.asset_issuance;
    for amount in [issuance.amount.explicit(), issuance.inflation_keys.explicit()].into_iter().flatten() {
        if amount > MAX_MONEY {
            return Err(NonStandard::IssuanceRange { vin, amount });
        }
    }
    Ok(())
}

fn check_outputs(outputs: &[TxOut], params: &ChainParams) -> Result<(), NonStandard> {
    // How much data does not matter: a transaction with more than `-datacarriersize` allows (100,000) is too heavy.
    let mut data = None;
    for (vout, output) in outputs.iter().enumerate() {
        let script = &output.script_pubkey;
        match Form::of(script.as_bytes()) {
            Form::Data => {
                // As `-multi_data_permitted` by default.
                if let Some(first) = data.replace(vout).filter(|_| !params.enforce_pak) {
                    return Err(NonStandard::MultipleData { first, second: vout });
                }
            }
            Form::Other => return Err(NonStandard::OutputScript { vout, script: script.clone() }),
            Form::Multisig { keys } if keys > MAX_BARE_MULTISIG_KEYS => {
                return Err(NonStandard::OutputScript { vout, script: script.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_push_only(script: &Script) -> bool {
    script.instructions().all(|instruction| match instruction {
        Ok(Instruction::PushBytes(_)) => true,
        Ok(Instruction::Op(op)) => op.into_u8() <= OP_16,
        Err(_) => false,
    })
}

/// Value of an output that is dust, and the least that would not be. Other assets and hidden outputs are never dust.
fn dust(output: &TxOut, policy_asset: AssetId) -> Option<(u64, u64)> {
    let value_sat = output.value.explicit()?;
    if output.asset.explicit() != Some(policy_asset) || is_unspendable(&output.script_pubkey) {
        return None;
    }
    let spend = if output.script_pubkey.is_witness_program() { SPEND_WITNESS_VBYTES } else { SPEND_LEGACY_VBYTES };
    let least_sat = fee_at(DUST_FEE_RATE_SAT_PER_KVB, number(serialize(output).len()).saturating_add(spend));
    (value_sat < least_sat).then_some((value_sat, least_sat))
}

/// Size without witness, in bytes: the weight counts it four times and the witness once.
fn base_size(transaction: &Transaction) -> u64 {
    let total = number(serialize(transaction).len());
    number(transaction.weight()).saturating_sub(total).checked_div(WITNESS_SCALE_FACTOR - 1).unwrap_or(0)
}

/// What needs the outputs that are spent, in the order of the inputs. Gives the size with signature operations counted.
pub(super) fn check_spends(
    transaction: &Transaction,
    spent: &[TxOut],
    genesis: BlockHash,
) -> Result<Measure, NonStandard> {
    check_standard(&SighashData::new(transaction, spent, genesis))?;
    for (vin, (input, output)) in transaction.input.iter().zip(spent).enumerate() {
        check_witness(vin, input, output)?;
    }
    let cost = sigop_cost(transaction, spent);
    if cost > MAX_SIGOP_COST {
        return Err(NonStandard::SigopCost { cost });
    }
    Ok(Measure::of(transaction, cost))
}

fn check_witness(vin: usize, input: &TxIn, output: &TxOut) -> Result<(), NonStandard> {
    let bounded = |what, found, most| match found > most {
        true => Err(NonStandard::Witness { vin, what, found, most }),
        false => Ok(()),
    };
    let witness: Vec<&[u8]> = input.witness.script_witness.iter().collect();
    // Of a nested program the scriptSig is one push of it.
    let nested = output.script_pubkey.is_p2sh().then(|| input.script_sig.as_bytes().get(1..)).flatten();
    let program = nested.map_or_else(|| output.script_pubkey.clone(), |program| Script::from(program.to_vec()));
    if program.is_v0_p2wsh() {
        let Some((script, items)) = witness.split_last() else { return Ok(()) };
        bounded("bytes of the witness script", script.len(), MAX_P2WSH_SCRIPT_SIZE)?;
        bounded("witness items", items.len(), MAX_P2WSH_ITEMS)?;
        for item in items {
            bounded("bytes of a witness item", item.len(), MAX_WITNESS_ITEM_SIZE)?;
        }
    } else if output.script_pubkey.is_v1_p2tr()
        && let [items @ .., _script, control] = witness.as_slice()
        && control.first().is_some_and(|leaf| leaf & LEAF_MASK == TAPSCRIPT_LEAF)
    {
        for item in items {
            bounded("bytes of a witness item", item.len(), MAX_WITNESS_ITEM_SIZE)?;
        }
    }
    Ok(())
}
