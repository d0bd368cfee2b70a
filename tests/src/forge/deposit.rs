//! Deposits: payments to the federation in Bitcoin blocks with proof of work.

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::{deposit_programs, pegin_witness};
use aquifer_assets::primitives::Witness;
use bitcoin::hashes::Hash as _;
use elements::confidential::{AssetBlindingFactor, ValueBlindingFactor};
use elements::{OutPoint, Script, TxOutSecrets, Txid};

use super::ForgeError;
use super::payment::{Coin, Origin, Owner, explicit};

/// Easiest target of regtest.
const BITS: u32 = 0x207f_ffff;

/// A deposit, mined between two other transactions.
#[derive(Clone, Debug)]
pub struct Deposit {
    /// The transaction that pays it.
    pub transaction: bitcoin::Transaction,
    /// The output that pays it.
    pub vout: u32,
    /// The block.
    pub block: bitcoin::Block,
    /// Who may claim it.
    pub owner: Owner,
}

impl Deposit {
    /// Pays `amount_sat` to the federation for `owner`, to be claimed in the block at `height`. `number` tells deposits
    /// of the same amount apart.
    ///
    /// # Errors
    /// [`ForgeError::Peg`] if the federation script cannot be tweaked.
    pub fn new(
        params: &ChainParams,
        height: u32,
        owner: Owner,
        amount_sat: u64,
        number: u8,
    ) -> Result<Self, ForgeError> {
        let programs = deposit_programs(params, height, &owner.script())?;
        let newest = programs.into_iter().next().map(|program| program.script_pubkey).unwrap_or_default();
        Ok(Self::paying(newest, owner, amount_sat, number))
    }

    /// Pays `amount_sat` to any script.
    pub fn paying(script: bitcoin::ScriptBuf, owner: Owner, amount_sat: u64, number: u8) -> Self {
        let change = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
        let transaction = pay(number, 0, vec![(9_000, change.clone()), (amount_sat, script)]);
        let others = [1, 2].map(|input| pay(number, input, vec![(1_000, change.clone())]));
        let [before, after] = others;
        let block = mine(vec![before, transaction.clone(), after]);
        Deposit { transaction, vout: 1, block, owner }
    }

    /// Its name on Bitcoin.
    pub fn outpoint(&self) -> bitcoin::OutPoint {
        bitcoin::OutPoint::new(self.transaction.compute_txid(), self.vout)
    }

    /// Its amount in satoshi.
    pub fn amount_sat(&self) -> u64 {
        let output = usize::try_from(self.vout).ok().and_then(|vout| self.transaction.output.get(vout));
        output.map_or(0, |output| output.value.to_sat())
    }

    /// Proof that the block holds the transaction, as bitcoind gives it.
    pub fn proof(&self) -> Vec<u8> {
        self.proof_of(&self.transaction.compute_txid())
    }

    /// Proof that the block holds some transaction.
    pub fn proof_of(&self, txid: &bitcoin::Txid) -> Vec<u8> {
        let proof = bitcoin::MerkleBlock::from_block_with_predicate(&self.block, |other| other == txid);
        bitcoin::consensus::serialize(&proof)
    }

    /// The witness of the owner's claim of `amount_sat`.
    ///
    /// # Errors
    /// [`ForgeError::Peg`] if its parts do not make a witness.
    pub fn witness(&self, params: &ChainParams, amount_sat: u64) -> Result<Witness, ForgeError> {
        let raw = bitcoin::consensus::serialize(&self.transaction);
        Ok(pegin_witness(params, &self.owner.script(), amount_sat, &raw, &self.proof())?)
    }

    /// The deposit as an input of the owner's claim.
    ///
    /// # Errors
    /// As [`Deposit::witness`].
    pub fn coin(&self, params: &ChainParams) -> Result<Coin, ForgeError> {
        let witness = self.witness(params, self.amount_sat())?;
        Ok(self.coin_with(params, self.amount_sat(), witness, &self.owner.script()))
    }

    /// The deposit as an input that claims something else: what the witness says, and an amount and script that go with
    /// it.
    pub fn coin_with(&self, params: &ChainParams, amount_sat: u64, witness: Witness, script: &Script) -> Coin {
        let deposit = self.outpoint();
        let secrets = TxOutSecrets::new(
            params.pegged_asset(),
            AssetBlindingFactor::zero(),
            amount_sat,
            ValueBlindingFactor::zero(),
        );
        Coin {
            outpoint: OutPoint::new(Txid::from_byte_array(deposit.txid.to_byte_array()), deposit.vout),
            output: explicit(secrets.asset, amount_sat, script.clone()),
            secrets,
            owner: self.owner,
            origin: Origin::Deposit(Box::new(witness)),
        }
    }
}

fn pay(number: u8, vout: u32, outputs: Vec<(u64, bitcoin::ScriptBuf)>) -> bitcoin::Transaction {
    let previous_output = bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array([number; 32]), vout);
    let output =
        |(amount_sat, script_pubkey)| bitcoin::TxOut { value: bitcoin::Amount::from_sat(amount_sat), script_pubkey };
    bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn { previous_output, ..bitcoin::TxIn::default() }],
        output: outputs.into_iter().map(output).collect(),
    }
}

/// A block of these transactions with the least proof of work that regtest takes.
fn mine(txdata: Vec<bitcoin::Transaction>) -> bitcoin::Block {
    let header = bitcoin::block::Header {
        version: bitcoin::block::Version::TWO,
        prev_blockhash: bitcoin::BlockHash::all_zeros(),
        merkle_root: bitcoin::TxMerkleNode::all_zeros(),
        time: 1_700_000_000,
        bits: bitcoin::CompactTarget::from_consensus(BITS),
        nonce: 0,
    };
    let mut block = bitcoin::Block { header, txdata };
    block.header.merkle_root = block.compute_merkle_root().unwrap_or_else(bitcoin::TxMerkleNode::all_zeros);
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}
