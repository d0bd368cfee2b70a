//! What the treasury holds: deposits, outputs of its own, and what it does not trust to its key yet.

use aquifer_assets::state::PeginClaim;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness,
    script::{Builder, PushBytesBuf},
};
use elements::Script;

use super::{output::TreasuryOutput, rules::Treasury};
use crate::roster::max_witness_size;

/// Bytes of a BIP 340 signature in a witness; with `SIGHASH_DEFAULT` nothing follows it.
pub(super) const SCHNORR_SIZE: usize = 64;

/// An output on the parent chain that the federation can spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreasuryCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What the books call it. Batches that replace each other make alternatives of one coin, of which at most one comes to
    /// exist on Bitcoin; they are booked as that of the first batch. Every other coin is booked as its own outpoint.
    pub booked_as: OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// Its output script.
    pub script_pubkey: ScriptBuf,
    /// How it is spent.
    pub kind: CoinKind,
}

/// How a coin is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoinKind {
    /// A deposit of a user: by `k` ECDSA signatures of peg keys tweaked with the claim script. The first spend moves it on to
    /// the treasury's own output.
    Deposit {
        /// The multisig script that spending it reveals.
        witness_script: ScriptBuf,
        /// The script that could claim it; it tweaks every key.
        claim_script: Script,
        /// For P2SH-P2WSH the redeem script.
        redeem: Option<ScriptBuf>,
    },
    /// Change that is not put under a key of which Bitcoin has not seen a signature: in the federation's script itself, by `k`
    /// ECDSA signatures of the peg keys as they are. No claim script leads to it, so nobody can claim it by a peg-in.
    Federation {
        /// The multisig script that spending it reveals.
        witness_script: ScriptBuf,
        /// The redeem script of the P2SH-P2WSH output.
        redeem: ScriptBuf,
    },
    /// The treasury's own output: by one signature of the FROST key, or by `k` Schnorr signatures of peg keys.
    Treasury,
}

/// By which way an output of the treasury is spent. All others have one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendPath {
    /// By one FROST signature.
    Key,
    /// By the script of the members.
    Members,
}

impl TreasuryCoin {
    /// The coin of a deposit that was claimed by a peg-in.
    pub fn from_deposit(claim: &PeginClaim) -> Self {
        let is_p2sh = claim.deposit_script.is_p2sh();
        Self {
            outpoint: claim.deposit,
            booked_as: claim.deposit,
            amount_sat: claim.amount_sat,
            script_pubkey: claim.deposit_script.clone(),
            kind: CoinKind::Deposit {
                witness_script: claim.witness_script.clone(),
                claim_script: claim.claim_script.clone(),
                redeem: is_p2sh.then(|| claim.witness_script.to_p2wsh()),
            },
        }
    }

    /// A coin in the treasury's own output, as the change of a batch.
    pub fn from_change(output: &TreasuryOutput, outpoint: OutPoint, amount_sat: u64) -> Self {
        Self {
            outpoint,
            booked_as: outpoint,
            amount_sat,
            script_pubkey: output.script_pubkey().clone(),
            kind: CoinKind::Treasury,
        }
    }

    /// A coin in the federation's own script, as the change of a batch while the treasury key has to show what it can.
    pub(super) fn from_federation_change(script: &FederationScript, outpoint: OutPoint, amount_sat: u64) -> Self {
        Self {
            outpoint,
            booked_as: outpoint,
            amount_sat,
            script_pubkey: script.script_pubkey.clone(),
            kind: CoinKind::Federation { witness_script: script.witness_script.clone(), redeem: script.redeem.clone() },
        }
    }

    /// Whether a user paid it. Every other coin is the change of a batch.
    pub fn is_deposit(&self) -> bool {
        matches!(self.kind, CoinKind::Deposit { .. })
    }

    /// The output that it is.
    pub(super) fn txout(&self) -> TxOut {
        TxOut { value: Amount::from_sat(self.amount_sat), script_pubkey: self.script_pubkey.clone() }
    }

    /// The input that spends it, without its witness. All that the txid covers is in place.
    pub(super) fn unsigned_input(&self) -> TxIn {
        let redeem = match &self.kind {
            CoinKind::Deposit { redeem: Some(script), .. } | CoinKind::Federation { redeem: script, .. } => {
                PushBytesBuf::try_from(script.to_bytes()).ok()
            }
            _ => None,
        };
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
    pub(super) fn input_weight(&self, treasury: &Treasury, path: SpendPath) -> u64 {
        let without_witness = self.unsigned_input().legacy_weight().to_wu();
        without_witness.saturating_add(self.witness_weight(treasury, path))
    }

    /// Weight of the longest witness a signed input can have, in weight units.
    pub(super) fn witness_weight(&self, treasury: &Treasury, path: SpendPath) -> u64 {
        let bytes = match (&self.kind, path) {
            (CoinKind::Deposit { witness_script, .. } | CoinKind::Federation { witness_script, .. }, _) => {
                max_witness_size(treasury.threshold, witness_script.len())
            }
            (CoinKind::Treasury, SpendPath::Key) => key_witness(&[0; SCHNORR_SIZE]).size(),
            (CoinKind::Treasury, SpendPath::Members) => treasury.members_witness_bytes,
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// The federation's multisig script as an output, with untweaked keys: P2SH-P2WSH, as deposits have it.
#[derive(Clone, Debug)]
pub(super) struct FederationScript {
    pub(super) witness_script: ScriptBuf,
    pub(super) redeem: ScriptBuf,
    pub(super) script_pubkey: ScriptBuf,
}

impl FederationScript {
    pub(super) fn new(witness_script: ScriptBuf) -> Self {
        let redeem = witness_script.to_p2wsh();
        Self { script_pubkey: redeem.to_p2sh(), redeem, witness_script }
    }
}

/// The witness of an output with the federation's script, whatever its keys; signatures in the order of the keys.
pub(super) fn multisig_witness(script: &ScriptBuf, signatures: &[&[u8]]) -> Witness {
    let mut witness = Witness::new();
    witness.push([]);
    for signature in signatures {
        witness.push(signature);
    }
    witness.push(script);
    witness
}

/// The witness of an ordinary spend of the treasury's output.
pub(super) fn key_witness(signature: &[u8; SCHNORR_SIZE]) -> Witness {
    Witness::from_slice(&[signature])
}

/// The witness of a spend by the members' script: what each member gives, in the order of the keys, empty for those that do
/// not sign.
pub(super) fn members_witness(output: &TreasuryOutput, signatures: &[&[u8]]) -> Witness {
    let leaf = output.members_leaf();
    let mut witness = Witness::new();
    // The first key takes its signature from the top of the stack.
    for signature in signatures.iter().rev() {
        witness.push(signature);
    }
    witness.push(&leaf.script);
    witness.push(leaf.control_block.serialize());
    witness
}
