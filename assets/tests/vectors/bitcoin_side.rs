//! What Bitcoin's transactions are to the interpreter.

use std::collections::BTreeSet;

use aquifer_assets::script::{
    Flags, LegacyInput, LegacyOutput, LegacyParts, ScriptVersion, SighashData, SignatureChecker, TaprootHashType,
    TaprootSpend,
};
use bitcoin::consensus::encode::serialize;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute::LockTime, transaction::Version,
};

/// The parts that signatures without witness sign.
pub(crate) fn legacy_parts(transaction: &Transaction) -> LegacyParts {
    LegacyParts {
        version: transaction.version.0.cast_unsigned(),
        inputs: transaction
            .input
            .iter()
            .map(|input| LegacyInput {
                outpoint: serialize(&input.previous_output),
                sequence: input.sequence.0,
                issuance: Vec::new(),
            })
            .collect(),
        outputs: transaction
            .output
            .iter()
            .map(|output| LegacyOutput { output: serialize(output), proofs: Vec::new() })
            .collect(),
        // The value -1 and no script.
        null_output: [[0xff; 8].as_slice(), &[0]].concat(),
        lock_time: transaction.lock_time.to_consensus_u32(),
    }
}

/// Answers for an input of a Bitcoin transaction. There is no Taproot: Elements' differs from Bitcoin's.
pub(crate) struct BitcoinChecker<'a> {
    transaction: &'a Transaction,
    vin: usize,
    amount_sat: u64,
}

impl<'a> BitcoinChecker<'a> {
    pub(crate) fn new(transaction: &'a Transaction, vin: usize, amount_sat: u64) -> Self {
        Self { transaction, vin, amount_sat }
    }

    /// BIP 143. The hash type may be any byte, which the types of the `bitcoin` crate do not allow.
    fn segwit_v0(&self, script_code: &[u8], hash_type: u8) -> Option<[u8; 32]> {
        let (transaction, input) = (self.transaction, self.transaction.input.get(self.vin)?);
        let hash = |bytes: Vec<u8>| sha256d::Hash::hash(&bytes).to_byte_array();
        let (anyone, kind) = (hash_type & 0x80 != 0, hash_type & 0x1f);
        let all = kind != 2 && kind != 3;
        let none = [0; 32];
        let outpoints = transaction.input.iter().flat_map(|input| serialize(&input.previous_output)).collect();
        let sequences = transaction.input.iter().flat_map(|input| serialize(&input.sequence)).collect();
        let outputs = match transaction.output.get(self.vin) {
            _ if all => hash(transaction.output.iter().flat_map(serialize).collect()),
            Some(output) if kind == 3 => hash(serialize(output)),
            _ => none,
        };
        let message = [
            serialize(&transaction.version),
            if anyone { none } else { hash(outpoints) }.to_vec(),
            if anyone || !all { none } else { hash(sequences) }.to_vec(),
            serialize(&input.previous_output),
            serialize(&script_code.to_vec()),
            self.amount_sat.to_le_bytes().to_vec(),
            serialize(&input.sequence),
            outputs.to_vec(),
            serialize(&transaction.lock_time),
            u32::from(hash_type).to_le_bytes().to_vec(),
        ];
        Some(hash(message.concat()))
    }
}

impl SignatureChecker for BitcoinChecker<'_> {
    fn ecdsa_digest(&self, script_code: &[u8], hash_type: u8, version: ScriptVersion, _: Flags) -> Option<[u8; 32]> {
        match version {
            ScriptVersion::Base => {
                legacy_parts(self.transaction).digest(self.vin, script_code, u32::from(hash_type), Flags::NONE)
            }
            ScriptVersion::WitnessV0 => self.segwit_v0(script_code, hash_type),
            ScriptVersion::Tapscript => None,
        }
    }

    fn schnorr_digest(&self, _: &TaprootSpend, _: TaprootHashType) -> Option<[u8; 32]> {
        None
    }

    fn version(&self) -> u32 {
        self.transaction.version.0.cast_unsigned()
    }

    fn lock_time(&self) -> u32 {
        self.transaction.lock_time.to_consensus_u32()
    }

    fn sequence(&self) -> u32 {
        self.transaction.input[self.vin].sequence.0
    }

    fn inspect(&self) -> Option<(&SighashData<'_>, usize)> {
        None
    }
}

/// The transaction that spends the one output of another, as the rows of `script_tests` mean it.
pub(crate) fn credit_and_spend(script_sig: &[u8], script_pubkey: &[u8], amount_sat: u64) -> Transaction {
    let transaction = |previous_output, script_sig: Vec<u8>, script_pubkey: Vec<u8>| Transaction {
        version: Version::ONE,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output,
            script_sig: ScriptBuf::from(script_sig),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::from_sat(amount_sat), script_pubkey: ScriptBuf::from(script_pubkey) }],
    };
    let credit = transaction(OutPoint::null(), vec![0, 0], script_pubkey.to_vec());
    transaction(OutPoint::new(credit.compute_txid(), 0), script_sig.to_vec(), Vec::new())
}

/// What Bitcoin asks of a transaction by itself.
pub(crate) fn check_transaction(transaction: &Transaction) -> Result<(), String> {
    let (inputs, outputs) = (&transaction.input, &transaction.output);
    if inputs.is_empty() || outputs.is_empty() {
        return Err("no inputs or no outputs".to_owned());
    }
    if transaction.base_size() * 4 > 4_000_000 {
        return Err("too large".to_owned());
    }
    let mut total = 0;
    for output in outputs {
        // A negative amount is far above this.
        let amount = output.value.to_sat();
        total += u128::from(amount);
        if amount > Amount::MAX_MONEY.to_sat() || total > u128::from(Amount::MAX_MONEY.to_sat()) {
            return Err("amounts out of range".to_owned());
        }
    }
    let distinct: BTreeSet<OutPoint> = inputs.iter().map(|input| input.previous_output).collect();
    if distinct.len() != inputs.len() {
        return Err("an output is spent twice".to_owned());
    }
    if transaction.is_coinbase() {
        if !(2..=100).contains(&inputs[0].script_sig.len()) {
            return Err("a coinbase has a scriptSig of 2 to 100 bytes".to_owned());
        }
    } else if inputs.iter().any(|input| input.previous_output.is_null()) {
        return Err("an input spends nothing".to_owned());
    }
    Ok(())
}
