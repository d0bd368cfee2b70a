//! The first transaction of a block: it collects fees, tells the height and commits to the witnesses.

use std::collections::BTreeMap;

use elements::opcodes::all::OP_RETURN;
use elements::script::Builder;
use elements::{AssetId, AssetIssuance, LockTime, OutPoint, Script, Sequence, confidential};

use super::{BlockError, witness_commitment};
use crate::chain::ChainParams;
use crate::peg::{PakList, check_authorized};
use crate::primitives::{Block, Transaction, TxIn, TxInWitness, TxOut, TxOutWitness, Witness};
use crate::state::Coin;
use crate::transaction::{MAX_MONEY, is_final};

/// What a witness commitment's output script begins with: `OP_RETURN`, a push of 36 bytes, a magic number.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Shortest and longest coinbase script, in bytes.
const SCRIPT_LENGTH: std::ops::RangeInclusive<usize> = 2..=100;
/// Longest script that can be run, in bytes; outputs with a longer one can never be spent.
const MAX_SCRIPT_SIZE: usize = 10_000;
/// The nonce that our blocks use; it has no meaning.
const NONCE: [u8; 32] = [0; 32];

/// What the coinbase's script begins with (BIP 34).
fn height_prefix(height: u32) -> Script {
    Builder::new().push_int(i64::from(height)).into_script()
}

fn explicit_output(asset: AssetId, amount: u64, script_pubkey: Script) -> TxOut {
    TxOut {
        asset: confidential::Asset::Explicit(asset),
        value: confidential::Value::Explicit(amount),
        nonce: crate::primitives::Nonce::Null,
        script_pubkey,
        witness: TxOutWitness::default(),
    }
}

fn commitment_script(commitment: &[u8; 32]) -> Script {
    Script::from([COMMITMENT_PREFIX.as_slice(), commitment].concat())
}

/// Makes the coinbase in front of `transactions`: `amount` of `asset` to `script` if it is not zero, the extra
/// commitments, the witness commitment last.
pub(super) fn build(
    height: u32,
    asset: AssetId,
    amount: u64,
    script: Script,
    commitments: Vec<Script>,
    transactions: &[Transaction],
) -> Transaction {
    let mut output = Vec::new();
    if amount > 0 {
        output.push(explicit_output(asset, amount, script));
    }
    output.extend(commitments.into_iter().map(|commitment| explicit_output(asset, 0, commitment)));
    output.push(explicit_output(asset, 0, commitment_script(&[0; 32])));
    // One zero byte after the height keeps the script at its least length of two bytes.
    let script_sig = Builder::new().push_int(i64::from(height)).push_int(0).into_script();
    let witness = TxInWitness { script_witness: Witness::from_slice(&[NONCE]), ..TxInWitness::default() };
    let mut coinbase = Transaction {
        version: 2,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            is_pegin: false,
            script_sig,
            sequence: Sequence::MAX,
            asset_issuance: AssetIssuance::null(),
            witness,
        }],
        output,
    };
    let all: Vec<Transaction> = std::iter::once(coinbase.clone()).chain(transactions.iter().cloned()).collect();
    let commitment = commitment_script(&witness_commitment(&all, &NONCE));
    if let Some(output) = coinbase.output.last_mut() {
        output.script_pubkey = commitment;
    }
    coinbase
}

/// Whether nobody can ever spend an output with this script, as Elements decides it.
fn is_unspendable(script: &Script) -> bool {
    script.is_empty() || script.as_bytes().first() == Some(&OP_RETURN.into_u8()) || script.len() > MAX_SCRIPT_SIZE
}

/// Checks everything about the coinbase that does not depend on the other transactions.
pub(super) fn check_form(coinbase: &Transaction, height: u32, median_time_past: u32) -> Result<(), BlockError> {
    let [input] = coinbase.input.as_slice() else { return Err(BlockError::CoinbaseMissing) };
    let script = input.script_sig.as_bytes();
    if !SCRIPT_LENGTH.contains(&script.len()) || !script.starts_with(height_prefix(height).as_bytes()) {
        return Err(BlockError::CoinbaseHeight { script: input.script_sig.clone(), height });
    }
    if input.has_issuance() {
        return Err(BlockError::CoinbaseIssuance);
    }
    if input.is_pegin || !input.witness.pegin_witness.is_empty() {
        return Err(BlockError::CoinbasePegin);
    }
    if !input.witness.amount_rangeproof.is_empty() || !input.witness.inflation_keys_rangeproof.is_empty() {
        return Err(BlockError::CoinbaseInputWitness);
    }
    if !is_final(coinbase, height, median_time_past) {
        return Err(BlockError::CoinbaseLockTime { lock_time: coinbase.lock_time.to_consensus_u32() });
    }
    if coinbase.output.is_empty() {
        return Err(BlockError::CoinbaseEmpty);
    }
    coinbase.output.iter().enumerate().try_for_each(|(vout, output)| check_output(vout, output))?;
    // Over all assets together, as in other transactions.
    let total = coinbase.output.iter().filter_map(|output| output.value.explicit()).fold(0, u64::saturating_add);
    if total > MAX_MONEY { Err(BlockError::CoinbaseTotal { total }) } else { Ok(()) }
}

fn check_output(vout: usize, output: &TxOut) -> Result<(), BlockError> {
    if !output.witness.is_empty() {
        return Err(BlockError::CoinbaseOutputWitness { vout });
    }
    let (Some(_), Some(amount)) = (output.asset.explicit(), output.value.explicit()) else {
        return Err(BlockError::CoinbaseConfidential { vout });
    };
    if output.script_pubkey.is_empty() {
        return Err(BlockError::CoinbaseFee { vout });
    }
    if amount == 0 && !is_unspendable(&output.script_pubkey) {
        return Err(BlockError::CoinbaseZero { vout });
    }
    Ok(())
}

/// Checks where the coinbase pays to: the policy asset to the mandatory script only, if there is one, and peg-outs, if
/// they must be authorized, only if they are.
pub(super) fn check_destinations(
    params: &ChainParams,
    list: Option<&PakList>,
    coinbase: &Transaction,
) -> Result<(), BlockError> {
    let (policy_asset, mandatory) = (params.pegged_asset(), &params.mandatory_coinbase);
    for (vout, output) in coinbase.output.iter().enumerate() {
        let pays_policy_asset = output.asset.explicit() == Some(policy_asset) && output.value.explicit() != Some(0);
        if !mandatory.is_empty() && pays_policy_asset && output.script_pubkey != *mandatory {
            return Err(BlockError::CoinbaseDestination { vout });
        }
        if params.enforce_pak {
            check_authorized(params, list, output).map_err(|source| BlockError::CoinbasePak { vout, source })?;
        }
    }
    Ok(())
}

/// Checks the commitment to the witnesses of the block.
pub(super) fn check_witness_commitment(block: &Block, coinbase: &Transaction) -> Result<(), BlockError> {
    // Of several commitments the last one counts; an output may be longer, what follows has no meaning.
    let committed = coinbase.output.iter().rev().find_map(|output| {
        let rest = output.script_pubkey.as_bytes().strip_prefix(&COMMITMENT_PREFIX)?;
        rest.get(..32)
    });
    let witness = &coinbase.input.first().ok_or(BlockError::CoinbaseMissing)?.witness.script_witness;
    let Some(committed) = committed else {
        let has_witness = block.txdata.iter().any(Transaction::has_witness);
        return if has_witness { Err(BlockError::WitnessCommitmentMissing) } else { Ok(()) };
    };
    let nonce = match witness.to_vec().as_slice() {
        [nonce] => <[u8; 32]>::try_from(nonce.as_slice()).map_err(|_| BlockError::CoinbaseInputWitness)?,
        _ => return Err(BlockError::CoinbaseInputWitness),
    };
    let expected = witness_commitment(&block.txdata, &nonce);
    if committed == expected { Ok(()) } else { Err(BlockError::WitnessCommitment { expected }) }
}

/// What the coinbase does to the state.
pub(super) struct Collected {
    /// Outputs that can be spent once they mature.
    pub(super) created: BTreeMap<OutPoint, Coin>,
    /// Per asset: fees that nobody collected, and what the coinbase itself sent to unspendable outputs.
    pub(super) burned: BTreeMap<AssetId, u64>,
}

/// Checks that the coinbase takes no more than the fees and the subsidy, per asset. It may take less.
pub(super) fn check_amounts(
    params: &ChainParams,
    coinbase: &Transaction,
    height: u32,
    fees: &BTreeMap<AssetId, u64>,
) -> Result<Collected, BlockError> {
    let (asset, subsidy) = params.subsidy(height);
    let mut rewards = fees.clone();
    let total = rewards.entry(asset).or_default();
    *total = total.saturating_add(subsidy);
    if *total > MAX_MONEY {
        return Err(BlockError::RewardRange { asset, total: *total });
    }
    let txid = coinbase.txid();
    let mut kept: BTreeMap<AssetId, u64> = BTreeMap::new();
    let mut taken: BTreeMap<AssetId, u64> = BTreeMap::new();
    let mut created = BTreeMap::new();
    for (vout, output) in (0..).zip(&coinbase.output) {
        let (Some(asset), Some(amount)) = (output.asset.explicit(), output.value.explicit()) else { continue };
        let sum = taken.entry(asset).or_default();
        *sum = sum.saturating_add(amount);
        let available = rewards.get(&asset).copied().unwrap_or(0);
        if *sum > available {
            return Err(BlockError::CoinbaseAmount { asset, taken: *sum, available });
        }
        if !is_unspendable(&output.script_pubkey) {
            let sum = kept.entry(asset).or_default();
            *sum = sum.saturating_add(amount);
            created.insert(OutPoint::new(txid, vout), Coin { output: output.clone(), height, is_coinbase: true });
        }
    }
    let lost = |(asset, paid): (&AssetId, &u64)| {
        let lost = paid.saturating_sub(kept.get(asset).copied().unwrap_or(0));
        (lost > 0).then_some((*asset, lost))
    };
    let burned = fees.iter().filter_map(lost).collect();
    Ok(Collected { created, burned })
}
