//! For tests: a ledger in a folder, coins of one owner in it, and a maker of signed transactions, open and hidden.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aquifer_assets::block::{Template, build_block};
use aquifer_assets::chain::{ChainParams, Federation};
use aquifer_assets::peg::PegoutRequest;
use aquifer_assets::primitives::{Nonce, Transaction, TxIn, TxOut, TxOutWitness, Witness};
use aquifer_assets::script::SighashData;
use aquifer_assets::state::{Coin, DynafedEntries, Effects, PeginClaim};
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, Family, Signed, TreasuryCoin};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr;
use elements::confidential::{Asset, AssetBlindingFactor, Value, ValueBlindingFactor};
use elements::secp256k1_zkp::{Message, SECP256K1, SecretKey};
use elements::sighash::SighashCache;
use elements::{AssetId, EcdsaSighashType, LockTime, OutPoint, Script, Sequence, TxOutSecrets, Txid};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use tempfile::TempDir;

use super::{Limits, Mempool};
use crate::chain::Clock;
use crate::chain::parent::{
    BatchVerdict, BuriedBatch, DepthVerdict, FinalBatch, ParentChain, PegoutError, Shares, SignerRecord,
    WantedSignatures,
};
use crate::store::OpenGate;
use crate::store::ledger::{LedgerReader, LedgerStore, NewBlock};

/// Value of each coin that the ledger begins with, in satoshi.
pub(super) const COIN_SAT: u64 = 1_000_000;
/// A sequence number that offers replacement, and one that does not.
pub(super) const REPLACEABLE: Sequence = Sequence(0xffff_fffd);
pub(super) const FIXED: Sequence = Sequence(0xffff_fffe);

/// A clock that the test moves.
pub(super) struct Hand(AtomicU32);

impl Hand {
    pub(super) fn advance(&self, seconds: u32) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A chain without peg-ins and peg-outs has nothing to ask of its parent.
struct NoParent;

impl ParentChain for NoParent {
    fn deposit_depth(&self, _claim: &PeginClaim) -> DepthVerdict {
        DepthVerdict::Unknown("no parent".into())
    }
    fn propose_batch(&self, _coins: &[TreasuryCoin], _waiting: &[PegoutRequest]) -> Option<BatchPlan> {
        None
    }
    fn judge_batch(
        &self,
        _batch: &bitcoin::Transaction,
        _coins: &[TreasuryCoin],
        _waiting: &[PegoutRequest],
    ) -> BatchVerdict {
        BatchVerdict::Unknown("no parent".into())
    }
    fn overdue_families(&self) -> Vec<u32> {
        Vec::new()
    }

    fn propose_replacement(&self, _family: &Family) -> Option<BatchPlan> {
        None
    }

    fn judge_replacement(&self, _batch: &bitcoin::Transaction, _family: &Family) -> BatchVerdict {
        BatchVerdict::Unknown("no parent".into())
    }

    fn follow_batch(&self, _batch: FinalBatch) -> Result<(), PegoutError> {
        Ok(())
    }
    fn sign_batch(
        &self,
        _batch: FinalBatch,
        _signed: Signed,
        _record: &mut dyn SignerRecord,
    ) -> Result<Vec<Vec<u8>>, PegoutError> {
        Ok(Vec::new())
    }
    fn accept_signatures(
        &self,
        _from: MemberIndex,
        _height: u32,
        _txid: &bitcoin::Txid,
        _signatures: Vec<Vec<u8>>,
    ) -> Result<Shares, PegoutError> {
        Ok(Shares::New)
    }
    fn accept_key_signatures(
        &self,
        _from: MemberIndex,
        _height: u32,
        _txid: &bitcoin::Txid,
        _signatures: &[schnorr::Signature],
    ) -> Result<Shares, PegoutError> {
        Ok(Shares::New)
    }
    fn key_signatures(&self, _height: u32, _txid: &bitcoin::Txid) -> Option<Vec<schnorr::Signature>> {
        None
    }
    fn wanted_signatures(&self) -> Vec<WantedSignatures> {
        Vec::new()
    }

    fn buried_batches(&self) -> Vec<BuriedBatch> {
        Vec::new()
    }

    fn forget_batches(&self, _heights: &[u32]) {}
}

/// A ledger and the pool over it.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) params: ChainParams,
    pub(super) clock: Arc<Hand>,
    pub(super) pool: Mempool,
    ledger: LedgerStore,
    height: u32,
    rng: ChaCha20Rng,
}

fn key() -> SecretKey {
    SecretKey::from_slice(&[7; 32]).unwrap()
}

fn key_hash() -> [u8; 20] {
    bitcoin::PublicKey::new(key().public_key(SECP256K1)).pubkey_hash().to_byte_array()
}

/// The script of all coins.
pub(super) fn own_script() -> Script {
    Script::from([[0, 20].as_slice(), &key_hash()].concat())
}

fn script_code() -> Script {
    Script::from([[0x76, 0xa9, 20].as_slice(), &key_hash(), &[0x88, 0xac]].concat())
}

/// The coin that the ledger begins with under this number.
pub(super) fn coin(number: u8) -> (OutPoint, u64) {
    (OutPoint::new(Txid::from_byte_array([number.wrapping_add(1); 32]), 0), COIN_SAT)
}

/// An output of a transaction that [`World::pay`] made.
pub(super) fn output_of(transaction: &Transaction, vout: u32) -> (OutPoint, u64) {
    let value = transaction.output[usize::try_from(vout).unwrap()].value.explicit().unwrap();
    (OutPoint::new(transaction.txid(), vout), value)
}

impl World {
    /// A ledger with this many coins, all of one owner.
    pub(super) fn new(coins: u8, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let params = ChainParams::elements_default("waiting");
        let path = folder.path().join("ledger.db");
        let ledger = LedgerStore::open(&path, &params, Arc::new(OpenGate)).unwrap();
        let clock = Arc::new(Hand(AtomicU32::new(1_700_000_000)));
        let pool = Self::pool_over(&folder, &params, &clock, limits);
        let rng = ChaCha20Rng::seed_from_u64(3);
        let mut world = World { folder, params, clock, pool, ledger, height: 0, rng };
        let mut effects = Effects::default();
        for number in 0..coins {
            let (outpoint, value) = coin(number);
            let output = world.open(value, own_script());
            effects.created.insert(outpoint, Coin { output, height: 1, is_coinbase: false });
        }
        world.connect(Vec::new(), &effects);
        world
    }

    fn pool_over(folder: &TempDir, params: &ChainParams, clock: &Arc<Hand>, limits: Limits) -> Mempool {
        let reader = Arc::new(LedgerReader::new(&folder.path().join("ledger.db")));
        let clock: Arc<dyn Clock> = Arc::<Hand>::clone(clock);
        Mempool::new(params.clone(), reader, Arc::new(NoParent)).with_limits(limits).with_clock(clock)
    }

    /// Begins again with an empty pool, as after a restart.
    pub(super) fn restart(&mut self) {
        self.pool = Self::pool_over(&self.folder, &self.params, &self.clock, Limits::default());
    }

    pub(super) fn asset(&self) -> AssetId {
        self.params.pegged_asset()
    }

    /// An output that shows everything.
    pub(super) fn open(&self, value: u64, script: Script) -> TxOut {
        TxOut {
            asset: Asset::Explicit(self.asset()),
            value: Value::Explicit(value),
            nonce: Nonce::Null,
            script_pubkey: script,
            witness: TxOutWitness::default(),
        }
    }

    /// Connects a block of these transactions, through the pool.
    pub(super) fn connect(&mut self, transactions: Vec<Transaction>, effects: &Effects) {
        self.height += 1;
        let tip = self.ledger_tip();
        let block = build_block(
            &self.params,
            Template {
                height: self.height,
                previous: tip,
                time: self.clock.now(),
                transactions,
                fees: BTreeMap::new(),
                fee_script: Script::new(),
                commitments: Vec::new(),
                dynafed: DynafedEntries {
                    current: Federation::without_votes(&self.params, self.height).entry(),
                    ..DynafedEntries::default()
                },
            },
        );
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
        let (height, median_time_past) = (self.height, block.header.time);
        let new =
            NewBlock { block: &block, height, median_time_past, effects, certificate: &[], batch: None, valve: None };
        let ledger = &mut self.ledger;
        self.pool.connect(&txids, effects, || ledger.connect(&new)).unwrap();
    }

    fn ledger_tip(&self) -> elements::BlockHash {
        LedgerReader::new(&self.folder.path().join("ledger.db")).snapshot().unwrap().tip().unwrap().hash
    }

    /// What a transaction changes in the ledger, if it spends coins of this owner.
    pub(super) fn effects_of(&self, transaction: &Transaction) -> Effects {
        let mut effects = Effects::default();
        let made = |output| Coin { output, height: 1, is_coinbase: false };
        for input in &transaction.input {
            effects.spent.insert(input.previous_output, made(self.open(COIN_SAT, own_script())));
        }
        for (vout, output) in (0..).zip(&transaction.output).filter(|(_, output)| !output.is_fee()) {
            effects.created.insert(OutPoint::new(transaction.txid(), vout), made(output.clone()));
        }
        effects
    }

    /// A signed transaction that pays back to the owner in `outputs` equal parts, less the fee.
    pub(super) fn pay(
        &self,
        inputs: &[(OutPoint, u64)],
        outputs: u64,
        fee_sat: u64,
        sequence: Sequence,
    ) -> Transaction {
        let total: u64 = inputs.iter().map(|(_, value)| value).sum::<u64>() - fee_sat;
        let mut pays = vec![self.open(total / outputs, own_script()); usize::try_from(outputs).unwrap()];
        pays[0].value = Value::Explicit(total - total / outputs * (outputs - 1));
        pays.push(self.open(fee_sat, Script::new()));
        let transaction = Transaction {
            version: 2,
            lock_time: LockTime::ZERO,
            input: inputs
                .iter()
                .map(|(outpoint, _)| TxIn { previous_output: *outpoint, sequence, ..TxIn::default() })
                .collect(),
            output: pays,
        };
        sign(transaction, inputs)
    }

    /// The same with one output that hides asset and amount.
    pub(super) fn pay_hidden(&mut self, input: (OutPoint, u64), fee_sat: u64) -> Transaction {
        let asset = self.asset();
        let shown = |value| TxOutSecrets::new(asset, AssetBlindingFactor::zero(), value, ValueBlindingFactor::zero());
        let (output, ..) = elements::TxOut::new_last_confidential(
            &mut self.rng,
            SECP256K1,
            input.1 - fee_sat,
            asset,
            own_script(),
            key().public_key(SECP256K1),
            &[shown(input.1)],
            &[&shown(fee_sat)],
        )
        .unwrap();
        let mut transaction = self.pay(&[input], 1, fee_sat, FIXED);
        transaction.output[0] = TxOut::from(&output);
        sign(transaction, &[input])
    }
}

impl World {
    /// Signs the one input of a transaction with any hash type.
    pub(super) fn sign_as(&self, mut transaction: Transaction, value: u64, hash_type: u8) -> Transaction {
        let spent = [self.open(value, own_script())];
        let digest = SighashData::new(&transaction, &spent, self.params.genesis_hash())
            .segwit_v0(0, script_code().as_bytes(), &Value::Explicit(value), hash_type)
            .unwrap();
        let mut signature = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &key()).serialize_der().to_vec();
        signature.push(hash_type);
        let items = vec![signature, key().public_key(SECP256K1).serialize().to_vec()];
        transaction.input[0].witness.script_witness = Witness::from_slice(&items);
        transaction
    }
}

/// Signs anew, whatever has been changed.
pub(super) fn sign(mut transaction: Transaction, inputs: &[(OutPoint, u64)]) -> Transaction {
    let theirs = elements::Transaction::try_from(&transaction).unwrap();
    for (vin, (_, value)) in inputs.iter().enumerate() {
        let digest = SighashCache::new(&theirs).segwitv0_sighash(
            vin,
            &script_code(),
            Value::Explicit(*value),
            EcdsaSighashType::All,
        );
        let signature = SECP256K1.sign_ecdsa(&Message::from_digest(digest.to_byte_array()), &key());
        let mut signature = signature.serialize_der().to_vec();
        signature.push(1);
        let items = vec![signature, key().public_key(SECP256K1).serialize().to_vec()];
        transaction.input[vin].witness.script_witness = Witness::from_slice(&items);
    }
    transaction
}
