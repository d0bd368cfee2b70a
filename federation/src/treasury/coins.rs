//! What the treasury holds: deposits, and the change of its own batches.

use aquifer_assets::{chain::ChainParams, state::PeginClaim};
use bitcoin::{
    OutPoint, ScriptBuf, Sequence, TxIn, Witness,
    script::{Builder, PushBytesBuf},
};
use elements::Script;

use crate::roster::{MAX_SIGNATURE_SIZE, max_witness_size};

/// An output on the parent chain that the federation can spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreasuryCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// Its output script.
    pub script_pubkey: ScriptBuf,
    /// The multisig script that spending it reveals.
    pub witness_script: ScriptBuf,
    /// For a deposit the script that could claim it; it tweaks every key. `None` for change.
    pub claim_script: Option<Script>,
    /// For P2SH-P2WSH the redeem script.
    pub redeem: Option<ScriptBuf>,
}

/// The script that change of the treasury goes to: P2WSH of the fedpeg script, untweaked.
pub fn change_script(params: &ChainParams) -> ScriptBuf {
    fedpeg_script(params).to_p2wsh()
}

pub(super) fn fedpeg_script(params: &ChainParams) -> ScriptBuf {
    ScriptBuf::from_bytes(params.fedpeg_script.to_bytes())
}

impl TreasuryCoin {
    /// The coin of a deposit that was claimed by a peg-in.
    pub fn from_deposit(claim: &PeginClaim) -> Self {
        let is_p2sh = claim.deposit_script.is_p2sh();
        Self {
            outpoint: claim.deposit,
            amount_sat: claim.amount_sat,
            script_pubkey: claim.deposit_script.clone(),
            witness_script: claim.witness_script.clone(),
            claim_script: Some(claim.claim_script.clone()),
            redeem: is_p2sh.then(|| claim.witness_script.to_p2wsh()),
        }
    }

    /// The coin that is the change of a batch.
    pub fn from_change(params: &ChainParams, outpoint: OutPoint, amount_sat: u64) -> Self {
        Self {
            outpoint,
            amount_sat,
            script_pubkey: change_script(params),
            witness_script: fedpeg_script(params),
            claim_script: None,
            redeem: None,
        }
    }

    /// The input that spends it, without its witness. All that the txid covers is in place.
    pub(super) fn unsigned_input(&self) -> TxIn {
        let redeem = self.redeem.as_ref().and_then(|script| PushBytesBuf::try_from(script.to_bytes()).ok());
        let script_sig = redeem.map(|script| Builder::new().push_slice(script).into_script());
        TxIn {
            previous_output: self.outpoint,
            script_sig: script_sig.unwrap_or_default(),
            // Replaceable (BIP 125), no relative lock time.
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }
    }

    /// Weight of the signed input in weight units, with the longest signatures.
    pub(super) fn input_weight(&self, threshold: usize) -> u64 {
        let without_witness = self.unsigned_input().legacy_weight().to_wu();
        let witness = max_witness_size(threshold, self.witness_script.len());
        without_witness.saturating_add(u64::try_from(witness).unwrap_or(u64::MAX))
    }

    /// The witness of a signed input; signatures in the order of the keys.
    pub(super) fn witness(&self, signatures: &[&Vec<u8>]) -> Witness {
        let mut witness = Witness::new();
        witness.push([]);
        for signature in signatures {
            witness.push(signature);
        }
        witness.push(&self.witness_script);
        witness
    }

    /// The longest witness a signed input can have.
    pub(super) fn longest_witness(&self, threshold: usize) -> Witness {
        let signature = vec![0; MAX_SIGNATURE_SIZE];
        self.witness(&vec![&signature; threshold])
    }
}
