//! What Elements asks of the spends that it relays, beyond consensus (`policy.h`, `STANDARD_SCRIPT_VERIFY_FLAGS`).
//!
//! For the mempool only: a block may contain such spends. They are the ways in which a stranger could change the bytes
//! of a valid witness, forms that nobody needs, and what is kept for rules to come.

use crate::primitives::{TxIn, TxOut};

use super::sigops::{accurate_sigops, redeem_script};
use super::verify::{split_annex, witness_program};
use super::{Flags, Form, ScriptError, SighashData, verify_spend_under};

/// Most signature operations of a redeem script.
const MAX_P2SH_SIGOPS: u64 = 15;

/// Why a valid spend is not relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonStandardSpend {
    /// A Taproot spend has an annex, which has no meaning yet.
    #[error("input {vin}: the witness has an annex")]
    Annex {
        /// The input.
        vin: usize,
    },
    /// The output is of no form that is relayed when it is spent. What a peg-in counts as may be of any.
    #[error("input {vin}: the script of the output is of no known form")]
    Output {
        /// The input.
        vin: usize,
    },
    /// A redeem script has too many signature operations.
    #[error("input {vin}: the redeem script has {count} signature operations, more than {MAX_P2SH_SIGOPS}")]
    Sigops {
        /// The input.
        vin: usize,
        /// How many.
        count: u64,
    },
    /// The spend breaks a rule for relay, or one for blocks.
    #[error("input {vin}: {source}")]
    Script {
        /// The input.
        vin: usize,
        /// The rule.
        source: ScriptError,
    },
}

/// Checks the spends of a transaction by the rules for relay, which include those for blocks.
///
/// # Errors
/// [`NonStandardSpend`] for the first input that would not be relayed.
pub fn check_standard(data: &SighashData<'_>) -> Result<(), NonStandardSpend> {
    for (vin, (input, spent)) in data.transaction.input.iter().zip(data.spent).enumerate() {
        if !input.is_pegin {
            check_output(vin, input, spent)?;
        }
        let is_taproot =
            matches!(witness_program(spent.script_pubkey.as_bytes()), Some((1, program)) if program.len() == 32);
        let witness: Vec<&[u8]> = input.witness.script_witness.iter().collect();
        if is_taproot && split_annex(&witness).0.is_some() {
            return Err(NonStandardSpend::Annex { vin });
        }
        verify_spend_under(data, vin, Flags::STANDARD).map_err(|source| NonStandardSpend::Script { vin, source })?;
    }
    Ok(())
}

fn check_output(vin: usize, input: &TxIn, spent: &TxOut) -> Result<(), NonStandardSpend> {
    match Form::of(spent.script_pubkey.as_bytes()) {
        Form::Other | Form::LaterProgram => Err(NonStandardSpend::Output { vin }),
        Form::ScriptHash => {
            let count = redeem_script(&input.script_sig).map_or(0, accurate_sigops);
            if count > MAX_P2SH_SIGOPS { Err(NonStandardSpend::Sigops { vin, count }) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use elements::{Script, confidential};

    use crate::primitives::{Nonce, TxOutWitness};

    use super::*;

    fn verdict(script: &[u8], script_sig: Vec<u8>) -> Result<(), NonStandardSpend> {
        let spent = TxOut {
            asset: confidential::Asset::Null,
            value: confidential::Value::Null,
            nonce: Nonce::Null,
            script_pubkey: Script::from(script.to_vec()),
            witness: TxOutWitness::default(),
        };
        check_output(3, &TxIn { script_sig: Script::from(script_sig), ..TxIn::default() }, &spent)
    }

    #[test]
    fn outputs_of_no_known_form_are_not_spent() {
        assert_eq!(verdict(&[0x51], vec![]), Err(NonStandardSpend::Output { vin: 3 }));
        // The anchor of later versions is none in 23.3.
        assert_eq!(verdict(&[0x51, 2, 0x4e, 0x73], vec![]), Err(NonStandardSpend::Output { vin: 3 }));
        verdict(&[[0x51, 32].as_slice(), &[7; 32]].concat(), vec![]).unwrap();
    }

    #[test]
    fn a_redeem_script_has_few_signature_operations() {
        let program = [[0xa9, 20].as_slice(), &[7; 20], &[0x87]].concat();
        let script_sig = |count: u8| [vec![count], vec![0xac; usize::from(count)]].concat();
        verdict(&program, script_sig(15)).unwrap();
        assert_eq!(verdict(&program, script_sig(16)), Err(NonStandardSpend::Sigops { vin: 3, count: 16 }));
    }
}
