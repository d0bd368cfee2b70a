//! What the unit tests share: a small federation with fixed keys, transactions of its users, deposits on a parent chain.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bitcoin::hashes::Hash as _;
use elements::confidential::{Asset, Value};
use elements::opcodes::all::OP_CHECKMULTISIG;
use elements::script::Builder;
use elements::sighash::SighashCache;
use elements::{AssetId, AssetIssuance, BlockExtData, EcdsaSighashType, LockTime, OutPoint, Script, Sequence, Txid};
use secp256k1_zkp::{Message, PublicKey, SECP256K1, SecretKey};

use crate::chain::{ChainParams, Federation};
use crate::peg::FedpegProgram;
use crate::primitives::{Block, Nonce, Transaction, TxIn, TxInWitness, TxOut, TxOutWitness, Witness};
use crate::state::{Coin, DynafedEntries};

/// A secret key made of one byte repeated, and a number at the end.
pub(crate) fn key(fill: u8, number: u8) -> SecretKey {
    let mut bytes = [fill; 32];
    bytes[31] = number;
    SecretKey::from_slice(&bytes).unwrap()
}

pub(crate) fn public(key: &SecretKey) -> PublicKey {
    PublicKey::from_secret_key(SECP256K1, key)
}

/// The block keys of the three members.
pub(crate) fn block_keys() -> Vec<SecretKey> {
    (1..=3).map(|number| key(7, number)).collect()
}

pub(crate) fn multisig(threshold: i64, keys: &[SecretKey]) -> Script {
    let script =
        keys.iter().fold(Builder::new().push_int(threshold), |script, key| script.push_slice(&public(key).serialize()));
    script.push_int(i64::try_from(keys.len()).unwrap()).push_opcode(OP_CHECKMULTISIG).into_script()
}

/// Two of three, P2WSH after the first epoch of ten blocks. An elementsd with these parameters gave the vectors.
pub(crate) fn params() -> ChainParams {
    let peg_keys: Vec<SecretKey> = (1..=3).map(|number| key(9, number)).collect();
    ChainParams {
        signblock_script: multisig(2, &block_keys()),
        fedpeg_script: multisig(2, &peg_keys),
        max_block_signature_size: 300,
        start_p2wsh: true,
        ..ChainParams::elements_default("aquifertest")
    }
}

/// The dynafed entries of a header as long as nobody votes.
pub(crate) fn unchanged(params: &ChainParams, height: u32) -> DynafedEntries {
    DynafedEntries { current: Federation::without_votes(params, height).entry(), ..DynafedEntries::default() }
}

/// Signs a header with some of the block keys, in the order given.
pub(crate) fn sign(params: &ChainParams, block: &mut Block, signers: &[usize]) {
    let message = Message::from_digest(block.block_hash().to_byte_array());
    let keys = block_keys();
    let mut items = vec![Vec::new()];
    items.extend(signers.iter().map(|signer| {
        let mut signature = SECP256K1.sign_ecdsa(&message, &keys[*signer]).serialize_der().to_vec();
        signature.push(1);
        signature
    }));
    items.push(params.signblock_script.to_bytes());
    *witness_mut(block) = items;
}

pub(crate) fn witness_mut(block: &mut Block) -> &mut Vec<Vec<u8>> {
    match &mut block.header.ext {
        BlockExtData::Dynafed { signblock_witness, .. } => signblock_witness,
        BlockExtData::Proof { .. } => unreachable!("blocks of the fixtures are dynafed"),
    }
}

/// The output script of a user's key (P2WPKH).
pub(crate) fn user_script(key: &SecretKey) -> Script {
    let hash = bitcoin::PublicKey::new(public(key)).wpubkey_hash().unwrap();
    Script::from([[0, 20].as_slice(), hash.as_byte_array()].concat())
}

pub(crate) fn output(asset: AssetId, amount: u64, script_pubkey: Script) -> TxOut {
    TxOut {
        asset: Asset::Explicit(asset),
        value: Value::Explicit(amount),
        nonce: Nonce::Null,
        script_pubkey,
        witness: TxOutWitness::default(),
    }
}

/// Outputs in the types of the `elements` crate, whose digests ours are compared with.
pub(crate) fn their_outputs(outputs: &[TxOut]) -> Vec<elements::TxOut> {
    let holder = Transaction { version: 2, lock_time: LockTime::ZERO, input: vec![], output: outputs.to_vec() };
    elements::Transaction::try_from(&holder).unwrap().output
}

/// An old coin of a user.
pub(crate) fn coin(asset: AssetId, amount: u64, owner: &SecretKey) -> Coin {
    Coin { output: output(asset, amount, user_script(owner)), height: 0, is_coinbase: false }
}

/// A signed transaction that spends one output of `owner`.
pub(crate) fn spend(outpoint: OutPoint, spent: &TxOut, owner: &SecretKey, output: Vec<TxOut>) -> Transaction {
    let mut tx = unsigned(outpoint, output);
    sign_input(&mut tx, spent.value, owner);
    tx
}

fn unsigned(previous_output: OutPoint, output: Vec<TxOut>) -> Transaction {
    let input = TxIn {
        previous_output,
        is_pegin: false,
        script_sig: Script::new(),
        sequence: Sequence::MAX,
        asset_issuance: AssetIssuance::null(),
        witness: TxInWitness::default(),
    };
    Transaction { version: 2, lock_time: LockTime::ZERO, input: vec![input], output }
}

fn sign_input(tx: &mut Transaction, value: Value, owner: &SecretKey) {
    let key = bitcoin::PublicKey::new(public(owner));
    let code = Script::new_p2pkh(&key.pubkey_hash());
    let theirs = elements::Transaction::try_from(&*tx).unwrap();
    let sighash = SighashCache::new(&theirs).segwitv0_sighash(0, &code, value, EcdsaSighashType::All);
    let message = Message::from_digest(sighash.to_byte_array());
    let mut signature = SECP256K1.sign_ecdsa(&message, owner).serialize_der().to_vec();
    signature.push(1);
    tx.input[0].witness.script_witness = Witness::from_slice(&[signature, key.to_bytes()]);
}

/// A deposit on the parent chain.
pub(crate) struct Deposit {
    pub(crate) tx: bitcoin::Transaction,
    pub(crate) block: bitcoin::Block,
    pub(crate) vout: u32,
}

impl Deposit {
    /// Pays `amount_sat` to a program in the second output of a transaction, and mines it between two others.
    pub(crate) fn new(program: &FedpegProgram, amount_sat: u64) -> Self {
        let other = |number: u8| parent_tx(number, vec![(1, bitcoin::ScriptBuf::from_bytes(vec![0x51]))]);
        let tx = parent_tx(
            7,
            vec![(1, bitcoin::ScriptBuf::from_bytes(vec![0x52])), (amount_sat, program.script_pubkey.clone())],
        );
        Self { block: parent_block(vec![other(1), tx.clone(), other(2)]), tx, vout: 1 }
    }

    pub(crate) fn outpoint(&self) -> bitcoin::OutPoint {
        bitcoin::OutPoint::new(self.tx.compute_txid(), self.vout)
    }

    pub(crate) fn raw_tx(&self) -> Vec<u8> {
        bitcoin::consensus::serialize(&self.tx)
    }

    /// A proof of the transactions that `select` picks.
    pub(crate) fn proof(&self, select: impl Fn(&bitcoin::Txid) -> bool) -> Vec<u8> {
        bitcoin::consensus::serialize(&bitcoin::MerkleBlock::from_block_with_predicate(&self.block, select))
    }

    /// The witness of an honest claim.
    pub(crate) fn witness(&self, params: &ChainParams, claim_script: &Script) -> Witness {
        let amount_sat = self.tx.output[usize::try_from(self.vout).unwrap()].value.to_sat();
        let txid = self.tx.compute_txid();
        let proof = self.proof(|other| *other == txid);
        crate::peg::pegin_witness(params, claim_script, amount_sat, &self.raw_tx(), &proof).unwrap()
    }

    /// A signed transaction that claims the deposit for `owner`, whose script is the claim script.
    pub(crate) fn claim(&self, params: &ChainParams, owner: &SecretKey, fee: u64) -> Transaction {
        let asset = params.pegged_asset();
        let witness = self.witness(params, &user_script(owner));
        let amount = u64::from_le_bytes(witness.iter().next().unwrap().try_into().unwrap());
        let deposit = self.outpoint();
        let outpoint = OutPoint::new(Txid::from_byte_array(deposit.txid.to_byte_array()), deposit.vout);
        let outputs = vec![output(asset, amount - fee, user_script(owner)), TxOut::new_fee(fee, asset)];
        let mut tx = unsigned(outpoint, outputs);
        tx.input[0].is_pegin = true;
        sign_input(&mut tx, Value::Explicit(amount), owner);
        tx.input[0].witness.pegin_witness = witness;
        tx
    }
}

fn parent_tx(number: u8, outputs: Vec<(u64, bitcoin::ScriptBuf)>) -> bitcoin::Transaction {
    let input = bitcoin::TxIn {
        previous_output: bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array([number; 32]), 0),
        ..bitcoin::TxIn::default()
    };
    bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![input],
        output: outputs
            .into_iter()
            .map(|(amount, script_pubkey)| bitcoin::TxOut { value: bitcoin::Amount::from_sat(amount), script_pubkey })
            .collect(),
    }
}

/// A block with the proof of work of regtest.
pub(crate) fn parent_block(txdata: Vec<bitcoin::Transaction>) -> bitcoin::Block {
    let mut block = bitcoin::Block {
        header: bitcoin::block::Header {
            version: bitcoin::block::Version::TWO,
            prev_blockhash: bitcoin::BlockHash::from_byte_array([5; 32]),
            merkle_root: bitcoin::TxMerkleNode::from_byte_array([0; 32]),
            time: 1_700_000_000,
            bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}
