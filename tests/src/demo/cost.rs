//! What a peg-out costs on Bitcoin: as it was paid, and as a federation of the usual kind would have paid it.
//!
//! Liquid and its like hold their bitcoin in P2WSH outputs of 11 of 15 keys. The same transaction, with the same inputs and
//! outputs, is built with a real script of that kind and with signatures of the greatest length, and weighed.

use bitcoin::opcodes::all::OP_CHECKMULTISIG;
use bitcoin::script::Builder;
use bitcoin::secp256k1::{SECP256K1, SecretKey};
use bitcoin::{PublicKey, ScriptBuf, Transaction, Witness};

use super::summary::{Cost, CostComparison};
use crate::error::HarnessError;

/// The usual federation.
const THRESHOLD: u8 = 11;
const MEMBERS: u8 = 15;
/// Longest signature that is relayed (DER, low S), with its sighash byte.
const SIGNATURE_LEN: usize = 72;

/// Compares a batch that one signature of the treasury key spends, and that paid one peg-out with this fee.
///
/// # Errors
/// If it is no such batch.
pub(super) fn compare(batch: &Transaction, fee_sat: u64) -> Result<CostComparison, HarnessError> {
    let by_key = batch.input.iter().all(|input| is_key_spend(&input.witness));
    if !by_key || batch.input.is_empty() {
        return Err(HarnessError::Story(format!("{} is not spent by the treasury key", batch.compute_txid())));
    }
    let vsize = batch.vsize();
    let per_kvb = u64::try_from(vsize).ok().and_then(|vsize| fee_sat.checked_mul(1_000)?.checked_div(vsize));
    let fee_rate_sat_per_kvb = per_kvb.unwrap_or(0);
    let cost = |name: &str, vsize: usize| {
        let fee = u64::try_from(vsize).unwrap_or(u64::MAX).saturating_mul(fee_rate_sat_per_kvb).div_ceil(1_000);
        Cost { federation: name.to_owned(), vsize, fee_sat: fee }
    };
    let script = usual_script()?;
    let mut usual = batch.clone();
    for input in &mut usual.input {
        input.witness = usual_witness(&script);
    }
    Ok(CostComparison {
        inputs: batch.input.len(),
        outputs: batch.output.len(),
        fee_rate_sat_per_kvb,
        treasury_key: cost("FROST key, any number of members", vsize),
        multisig: cost("P2WSH, 11 of 15", usual.vsize()),
    })
}

/// One BIP 340 signature and nothing else.
pub(super) fn is_key_spend(witness: &Witness) -> bool {
    witness.iter().map(<[u8]>::len).eq([64])
}

fn usual_script() -> Result<ScriptBuf, HarnessError> {
    let mut builder = Builder::new().push_int(THRESHOLD.into());
    for number in 1..=MEMBERS {
        let key = SecretKey::from_slice(&[number; 32]).map_err(|error| HarnessError::Story(error.to_string()))?;
        builder = builder.push_key(&PublicKey::new(key.public_key(SECP256K1)));
    }
    Ok(builder.push_int(MEMBERS.into()).push_opcode(OP_CHECKMULTISIG).into_script())
}

fn usual_witness(script: &ScriptBuf) -> Witness {
    let mut witness = Witness::new();
    witness.push([]);
    for _ in 0..THRESHOLD {
        witness.push([0; SIGNATURE_LEN]);
    }
    witness.push(script);
    witness
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_witness_has_its_known_size() -> Result<(), HarnessError> {
        let script = usual_script()?;
        assert_eq!(script.len(), 3 + 15 * 34);
        // Count, empty item, eleven signatures, and the script behind three bytes of length.
        assert_eq!(usual_witness(&script).size(), 1 + 1 + 11 * 73 + 3 + 513);
        Ok(())
    }
}
