//! For tests: a small ledger, keys for every kind of script, and a maker of valid transactions, blinded or not.
//!
//! Randomness is seeded, so every test makes the same transactions each time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]

use bitcoin::hashes::{Hash, hash160, sha256};
use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::issuance::{AssetBlindingNonce, AssetEntropy};
use elements::script::Builder;
use elements::{AssetId, AssetIssuance, LockTime, OutPoint, Script, Sequence, TxOutSecrets, Txid};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{Generator, Keypair, Message, PedersenCommitment, SECP256K1, SecretKey, Tag, Tweak};

use super::{TxContext, TxError, verify_transaction};
use crate::chain::ChainParams;
use crate::fixtures::unchanged;
use crate::primitives::{Nonce, RangeProof, SurjectionProof, Transaction, TxIn, TxOut, TxOutWitness};
use crate::script::{SighashData, TaprootHashType};
use crate::state::{Coin, Effects, MemoryView};

/// Who may spend an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    P2wpkh,
    NestedP2wpkh,
    /// Signatures needed, keys.
    P2wsh(usize, usize),
    NestedP2wsh(usize, usize),
    Taproot,
    Raw(Script),
}

/// Whether an output shows its asset and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blinding {
    Explicit,
    Value,
    Asset,
    Both,
}

/// An unspent output with everything its owner knows.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) outpoint: OutPoint,
    pub(crate) output: TxOut,
    pub(crate) secrets: TxOutSecrets,
    pub(crate) lock: Lock,
}

/// An output to make.
#[derive(Clone, Debug)]
pub(crate) struct Pay {
    pub(crate) asset: AssetId,
    pub(crate) value: u64,
    pub(crate) script: Script,
    pub(crate) blinding: Blinding,
    /// Minimum and bits of the range proof.
    pub(crate) range: (u64, u8),
}

impl Pay {
    pub(crate) fn new(asset: AssetId, value: u64, script: Script, blinding: Blinding) -> Self {
        Self { asset, value, script, blinding, range: (1, 36) }
    }
}

/// An issuance to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issue {
    pub(crate) nonce: [u8; 32],
    /// Contract hash, or entropy of a reissuance.
    pub(crate) entropy: [u8; 32],
    pub(crate) amount: u64,
    pub(crate) tokens: u64,
    pub(crate) blinded: bool,
}

pub(crate) struct Ledger {
    pub(crate) rng: ChaCha20Rng,
    pub(crate) params: ChainParams,
    pub(crate) view: MemoryView,
    pub(crate) height: u32,
    pub(crate) median_time_past: u32,
}

pub(crate) fn secret(index: usize) -> SecretKey {
    SecretKey::from_slice(&[u8::try_from(index + 1).unwrap(); 32]).unwrap()
}

fn multisig_script(threshold: usize, keys: usize) -> Script {
    let mut builder = Builder::new().push_int(threshold as i64);
    for index in 0..keys {
        builder = builder.push_slice(&secret(index).public_key(SECP256K1).serialize());
    }
    builder.push_int(keys as i64).push_opcode(elements::opcodes::all::OP_CHECKMULTISIG).into_script()
}

fn witness_v0(program: &[u8]) -> Script {
    Builder::new().push_int(0).push_slice(program).into_script()
}

fn p2sh(redeem: &Script) -> Script {
    let hash = hash160::Hash::hash(redeem.as_bytes()).to_byte_array();
    Script::from([&[0xa9, 0x14], hash.as_slice(), &[0x87]].concat())
}

impl Lock {
    fn inner(&self) -> Script {
        match self {
            Self::P2wpkh | Self::NestedP2wpkh => {
                witness_v0(&hash160::Hash::hash(&secret(0).public_key(SECP256K1).serialize()).to_byte_array())
            }
            Self::P2wsh(k, n) | Self::NestedP2wsh(k, n) => {
                witness_v0(&sha256::Hash::hash(multisig_script(*k, *n).as_bytes()).to_byte_array())
            }
            Self::Taproot => {
                let key = Keypair::from_secret_key(SECP256K1, &secret(0)).x_only_public_key().0;
                Builder::new().push_int(1).push_slice(&key.serialize()).into_script()
            }
            Self::Raw(script) => script.clone(),
        }
    }

    pub(crate) fn script(&self) -> Script {
        match self {
            Self::NestedP2wpkh | Self::NestedP2wsh(..) => p2sh(&self.inner()),
            _ => self.inner(),
        }
    }
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        let mut view = MemoryView::default();
        (0..=1000).for_each(|height| view.set_median_time_past(height, 1_700_000_000 + height * 60));
        let params = ChainParams::elements_default("transactions");
        (480..=500).for_each(|height| view.set_dynafed(height, unchanged(&params, height)));
        Self {
            rng: ChaCha20Rng::seed_from_u64(seed),
            params,
            view,
            height: 500,
            median_time_past: 1_700_000_000 + 499 * 60,
        }
    }

    pub(crate) fn pegged(&self) -> AssetId {
        self.params.pegged_asset()
    }

    pub(crate) fn context(&self) -> TxContext<'_> {
        TxContext { params: &self.params, height: self.height, median_time_past: self.median_time_past }
    }

    pub(crate) fn verify(&self, transaction: &Transaction) -> Result<Effects, TxError> {
        verify_transaction(&self.context(), transaction, &self.view)
    }

    /// Puts an unspent output of height 1 into the ledger.
    pub(crate) fn coin(&mut self, asset: AssetId, value: u64, lock: Lock, blinding: Blinding) -> Owned {
        let mut txid = [0; 32];
        self.rng.fill_bytes(&mut txid);
        let outpoint = OutPoint::new(Txid::from_byte_array(txid), 0);
        let asset_bf = match blinding {
            Blinding::Explicit | Blinding::Value => AssetBlindingFactor::zero(),
            Blinding::Asset | Blinding::Both => AssetBlindingFactor::new(&mut self.rng),
        };
        let value_bf = match blinding {
            Blinding::Explicit | Blinding::Asset => ValueBlindingFactor::zero(),
            Blinding::Value | Blinding::Both => ValueBlindingFactor::new(&mut self.rng),
        };
        let secrets = TxOutSecrets::new(asset, asset_bf, value, value_bf);
        let output = output(&secrets, &lock.script(), blinding);
        self.view.insert(outpoint, Coin { output: output.clone(), height: 1, is_coinbase: false });
        Owned { outpoint, output, secrets, lock }
    }

    /// Makes and signs a transaction. The last output that hides its value takes up the blinding of the others.
    pub(crate) fn transaction(&mut self, inputs: &[Owned], pays: &[Pay], fee: u64) -> Transaction {
        self.issuing_transaction(inputs, &[], pays, fee)
    }

    /// The same, with an issuance in each of the first inputs.
    pub(crate) fn issuing_transaction(
        &mut self,
        inputs: &[Owned],
        issues: &[Issue],
        pays: &[Pay],
        fee: u64,
    ) -> Transaction {
        let mut transaction =
            Transaction { version: 2, lock_time: LockTime::ZERO, input: Vec::new(), output: Vec::new() };
        let mut known = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let mut txin = TxIn { previous_output: input.outpoint, sequence: Sequence(0xffff_fffd), ..TxIn::default() };
            known.push(input.secrets);
            if let Some(issue) = issues.get(index) {
                known.extend(self.issue(&mut txin, issue));
            }
            transaction.input.push(txin);
        }
        transaction.output = self.outputs(&known, pays, fee);
        sign(&self.params, &mut transaction, inputs);
        transaction
    }

    fn issue(&mut self, input: &mut TxIn, issue: &Issue) -> Vec<TxOutSecrets> {
        // The identifiers depend on whether the amount is blinded, so the shape comes first.
        let shape = |amount: u64| if amount == 0 { Value::Null } else { Value::Explicit(amount) };
        input.asset_issuance = AssetIssuance {
            asset_blinding_nonce: AssetBlindingNonce::from_byte_array(issue.nonce),
            asset_entropy: AssetEntropy::from_byte_array(issue.entropy),
            amount: shape(issue.amount),
            inflation_keys: shape(issue.tokens),
        };
        let (entropy, asset, _) = super::issued_assets(input).unwrap();
        let token = AssetId::reissuance_token_from_entropy(entropy, issue.blinded && issue.amount > 0);
        let mut made = Vec::new();
        for (asset, amount) in [(asset, issue.amount), (token, issue.tokens)] {
            if amount == 0 {
                continue;
            }
            let mut secrets =
                TxOutSecrets::new(asset, AssetBlindingFactor::zero(), amount, ValueBlindingFactor::zero());
            if issue.blinded {
                secrets.value_bf = ValueBlindingFactor::new(&mut self.rng);
                let proof = prove_range(&mut self.rng, &secrets, &Script::new(), (0, 36));
                let value = Value::Confidential(commitment(&secrets));
                if made.is_empty() && issue.amount > 0 {
                    (input.asset_issuance.amount, input.witness.amount_rangeproof) = (value, proof);
                } else {
                    (input.asset_issuance.inflation_keys, input.witness.inflation_keys_rangeproof) = (value, proof);
                }
            }
            made.push(secrets);
        }
        made
    }

    pub(crate) fn outputs(&mut self, known: &[TxOutSecrets], pays: &[Pay], fee: u64) -> Vec<TxOut> {
        let targets: Vec<(Generator, Tag, Tweak)> =
            known.iter().map(|secrets| secrets.surjection_inputs(SECP256K1)).collect();
        let hides_value = |pay: &Pay| matches!(pay.blinding, Blinding::Value | Blinding::Both);
        let last = pays.iter().rposition(hides_value);
        let mut secrets: Vec<TxOutSecrets> = Vec::new();
        for pay in pays {
            let asset_bf = match pay.blinding {
                Blinding::Explicit | Blinding::Value => AssetBlindingFactor::zero(),
                Blinding::Asset | Blinding::Both => AssetBlindingFactor::new(&mut self.rng),
            };
            let value_bf =
                if hides_value(pay) { ValueBlindingFactor::new(&mut self.rng) } else { ValueBlindingFactor::zero() };
            secrets.push(TxOutSecrets::new(pay.asset, asset_bf, pay.value, value_bf));
        }
        if let Some(last) = last {
            let ins: Vec<_> = known.iter().map(TxOutSecrets::value_blind_inputs).collect();
            let mut outs: Vec<_> = secrets.iter().map(TxOutSecrets::value_blind_inputs).collect();
            outs.remove(last);
            secrets[last].value_bf =
                ValueBlindingFactor::last(SECP256K1, pays[last].value, secrets[last].asset_bf, &ins, &outs);
        }
        let mut outputs: Vec<TxOut> = Vec::new();
        for (pay, secrets) in pays.iter().zip(&secrets) {
            let mut output = output(secrets, &pay.script, pay.blinding);
            if hides_value(pay) {
                output.nonce = Nonce::from(secret(20).public_key(SECP256K1));
                output.witness.rangeproof = prove_range(&mut self.rng, secrets, &pay.script, pay.range);
            }
            if matches!(pay.blinding, Blinding::Asset | Blinding::Both) {
                output.witness.surjection_proof =
                    prove_surjection(&mut self.rng, pay.asset, secrets.asset_bf, &targets);
            }
            outputs.push(output);
        }
        if fee > 0 {
            outputs.push(TxOut::new_fee(fee, self.pegged()));
        }
        outputs
    }
}

fn asset_generator(secrets: &TxOutSecrets) -> Generator {
    Generator::new_blinded(SECP256K1, secrets.asset.into_tag(), secrets.asset_bf.into_inner())
}

pub(crate) fn commitment(secrets: &TxOutSecrets) -> PedersenCommitment {
    PedersenCommitment::new(SECP256K1, secrets.value, secrets.value_bf.into_inner(), asset_generator(secrets))
}

pub(crate) fn prove_range(
    rng: &mut ChaCha20Rng,
    secrets: &TxOutSecrets,
    script: &Script,
    (minimum, bits): (u64, u8),
) -> RangeProof {
    let nonce = SecretKey::new(rng);
    let proof = secp256k1_zkp::RangeProof::new(
        SECP256K1,
        minimum,
        commitment(secrets),
        secrets.value,
        secrets.value_bf.into_inner(),
        &[],
        script.as_bytes(),
        nonce,
        0,
        bits,
        asset_generator(secrets),
    );
    proof.unwrap().serialize().into()
}

pub(crate) fn prove_surjection(
    rng: &mut ChaCha20Rng,
    asset: AssetId,
    blinding: AssetBlindingFactor,
    targets: &[(Generator, Tag, Tweak)],
) -> SurjectionProof {
    let proof = elements::SurjectionProof::new(SECP256K1, rng, asset, blinding, targets);
    SurjectionProof::from(&proof.unwrap())
}

fn output(secrets: &TxOutSecrets, script: &Script, blinding: Blinding) -> TxOut {
    TxOut {
        asset: match blinding {
            Blinding::Explicit | Blinding::Value => Asset::Explicit(secrets.asset),
            Blinding::Asset | Blinding::Both => Asset::Confidential(asset_generator(secrets)),
        },
        value: match blinding {
            Blinding::Explicit | Blinding::Asset => Value::Explicit(secrets.value),
            Blinding::Value | Blinding::Both => Value::Confidential(commitment(secrets)),
        },
        nonce: Nonce::Null,
        script_pubkey: script.clone(),
        witness: TxOutWitness::default(),
    }
}

/// Signs every input anew, over all of the transaction.
pub(crate) fn sign(params: &ChainParams, transaction: &mut Transaction, inputs: &[Owned]) {
    sign_as(params, transaction, inputs, 0x01);
}

/// Signs every input anew, with one hash type.
pub(crate) fn sign_as(params: &ChainParams, transaction: &mut Transaction, inputs: &[Owned], hash_type: u8) {
    for (input, owned) in transaction.input.iter_mut().zip(inputs) {
        input.witness.script_witness.clear();
        input.script_sig = match owned.lock {
            Lock::NestedP2wpkh | Lock::NestedP2wsh(..) => {
                Builder::new().push_slice(owned.lock.inner().as_bytes()).into_script()
            }
            _ => Script::new(),
        };
    }
    let unsigned = transaction.clone();
    let spent: Vec<TxOut> = inputs.iter().map(|owned| owned.output.clone()).collect();
    let data = SighashData::new(&unsigned, &spent, params.genesis_hash());
    for (vin, (input, owned)) in transaction.input.iter_mut().zip(inputs).enumerate() {
        let ecdsa = |script_code: &Script, key: usize| {
            let digest = data.segwit_v0(vin, script_code.as_bytes(), &owned.output.value, hash_type).unwrap();
            let signature = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &secret(key));
            [signature.serialize_der().as_ref(), &[hash_type]].concat()
        };
        let witness = match &owned.lock {
            Lock::P2wpkh | Lock::NestedP2wpkh => {
                let key = secret(0).public_key(SECP256K1).serialize();
                let hash = hash160::Hash::hash(&key).to_byte_array();
                let code = Script::from([&[0x76, 0xa9, 0x14], hash.as_slice(), &[0x88, 0xac]].concat());
                vec![ecdsa(&code, 0), key.to_vec()]
            }
            Lock::P2wsh(k, n) | Lock::NestedP2wsh(k, n) => {
                let script = multisig_script(*k, *n);
                let mut witness = vec![vec![]];
                // The last keys sign, so that the first are passed over.
                witness.extend((n - k..*n).map(|key| ecdsa(&script, key)));
                witness.push(script.to_bytes());
                witness
            }
            Lock::Taproot => {
                let digest = data.taproot_key_path(vin, None, TaprootHashType::DEFAULT).unwrap();
                let keypair = Keypair::from_secret_key(SECP256K1, &secret(0));
                let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), &keypair);
                vec![signature.as_ref().to_vec()]
            }
            Lock::Raw(_) => vec![vec![1]],
        };
        witness.iter().for_each(|element| input.witness.script_witness.push(element));
    }
}
