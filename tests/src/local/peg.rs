//! Users of a federation in one process: they peg in, and out again.

use aquifer_assets::peg::pegout_script;
use aquifer_assets::primitives::Transaction;
use aquifer_functionary::parent::ParentStore;
use aquifer_functionary::store::ledger::LedgerReader;
use bitcoin::ScriptBuf;
use elements::encode::serialize;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::LocalFederation;
use crate::forge::{Coin, Deposit, FEE_SAT, Owner, Pay, Payment};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Somebody with coins on the chain.
pub struct User {
    rng: ChaCha20Rng,
    owner: Owner,
    deposits: u8,
}

impl User {
    /// A new one.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let owner = Owner::new(&mut rng);
        Self { rng, owner, deposits: 0 }
    }

    /// A deposit of this amount and the claim of it; gives the coin that the claim makes.
    ///
    /// # Errors
    /// If the transaction cannot be made.
    pub fn peg_in(&mut self, federation: &LocalFederation, amount_sat: u64) -> Outcome<(Transaction, Coin)> {
        self.deposits = self.deposits.saturating_add(1);
        let params = federation.params();
        let deposit = Deposit::new(params, 1, self.owner, amount_sat, self.deposits)?;
        let asset = params.pegged_asset();
        let pay = Pay::explicit(asset, amount_sat.saturating_sub(FEE_SAT), self.owner.script());
        let claim = Payment::new(&mut self.rng, &[deposit.coin(params)?], &[pay], (asset, FEE_SAT))?;
        let coin = claim.coin(0, self.owner)?;
        Ok((claim.transaction, coin))
    }

    /// Asks for a peg-out to a script of its own on Bitcoin; gives the change.
    ///
    /// # Errors
    /// If the transaction cannot be made.
    pub fn peg_out(
        &mut self,
        federation: &LocalFederation,
        coin: &Coin,
        amount_sat: u64,
    ) -> Outcome<(Transaction, Coin)> {
        let params = federation.params();
        let asset = params.pegged_asset();
        let change_sat = coin.secrets.value.saturating_sub(amount_sat).saturating_sub(FEE_SAT);
        let pays = [
            Pay::explicit(asset, amount_sat, pegout_script(&params.parent_genesis, &self.payee())),
            Pay::explicit(asset, change_sat, self.owner.script()),
        ];
        let request = Payment::new(&mut self.rng, std::slice::from_ref(coin), &pays, (asset, FEE_SAT))?;
        let change = request.coin(1, self.owner)?;
        Ok((request.transaction, change))
    }

    /// Where its peg-outs go.
    pub fn payee(&self) -> ScriptBuf {
        ScriptBuf::from_bytes(self.owner.script().to_bytes())
    }
}

impl LocalFederation {
    /// Gives a transaction to every running member.
    ///
    /// # Errors
    /// If one refuses it.
    pub fn submit(&self, transaction: &Transaction) -> Outcome<()> {
        for mempool in self.mempools() {
            mempool.submit(aquifer_assets::transaction::decode(serialize(transaction))?)?;
        }
        Ok(())
    }

    /// The batches of a member's final blocks: height and unsigned transaction, in order.
    ///
    /// # Errors
    /// If its ledger cannot be read.
    pub fn batches(&self, index: u16) -> Outcome<Vec<(u32, bitcoin::Transaction)>> {
        let ledger = LedgerReader::new(&self.folder(index).join("ledger.db"));
        let batches = ledger.snapshot()?.open_batches()?;
        batches.into_iter().map(|(height, _, bytes)| Ok((height, bitcoin::consensus::deserialize(&bytes)?))).collect()
    }

    /// The batch of a block with all its signatures, if a member has it.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn signed_batch(&self, index: u16, height: u32) -> Outcome<Option<bitcoin::Transaction>> {
        let store = ParentStore::open(&self.folder(index).join("parent.db"))?;
        Ok(store.batch(height)?.map(|batch| batch.transaction))
    }
}
