//! A model of Bitcoin: transactions, and a chain of blocks that can be reorganised to any depth.

use std::rc::Rc;

use super::super::*;

/// A deposit, or a batch that has its signatures.
#[derive(Clone)]
struct Known {
    spends: Vec<OutPoint>,
    makes: Vec<TreasuryCoin>,
    signed: Signed,
}

/// Who has signed for what a batch spends under the treasury key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    /// There is nothing of it, or the members with their own keys.
    ByMembers,
    ByKey,
}

/// All transactions that anybody has seen, and the best chain.
pub(super) struct Bitcoin {
    known: BTreeMap<Txid, Known>,
    /// What the chain shows up to each block, beginning with none.
    chain: Vec<Rc<Seen>>,
}

impl Default for Bitcoin {
    fn default() -> Self {
        Self { known: BTreeMap::new(), chain: vec![Rc::default()] }
    }
}

/// A best chain as somebody sees it: every unspent output of the federation with its height.
#[derive(Clone, Default)]
pub(super) struct Seen {
    height: usize,
    unspent: BTreeMap<OutPoint, (usize, TreasuryCoin)>,
    shows_key: bool,
    confirmed: BTreeMap<Txid, usize>,
}

impl Seen {
    pub(super) fn confirmations(&self, outpoint: &OutPoint) -> Option<u32> {
        let (height, _) = self.unspent.get(outpoint)?;
        u32::try_from(self.height - height).ok()
    }

    pub(super) fn is_confirmed(&self, txid: &Txid) -> bool {
        self.confirmed.contains_key(txid)
    }

    pub(super) fn depth(&self, txid: &Txid) -> usize {
        self.confirmed.get(txid).map_or(0, |height| self.height - height)
    }

    pub(super) fn reserve_sat(&self) -> u64 {
        self.unspent.values().map(|(_, coin)| coin.amount_sat).sum()
    }

    /// What lies under the treasury key.
    pub(super) fn under_key_sat(&self) -> u64 {
        let coins = self.unspent.values().map(|(_, coin)| coin);
        coins.filter(|coin| coin.kind == CoinKind::Treasury).map(|coin| coin.amount_sat).sum()
    }

    /// Whether the treasury key has signed something that is confirmed here.
    pub(super) fn shows_key(&self) -> bool {
        self.shows_key
    }

    /// Adds a transaction if it can be added.
    fn connect(&mut self, txid: Txid, transaction: &Known) {
        let spendable = transaction.spends.iter().all(|outpoint| self.unspent.contains_key(outpoint));
        if !spendable {
            return;
        }
        self.confirmed.insert(txid, self.height);
        self.shows_key |= transaction.signed == Signed::ByKey;
        for outpoint in &transaction.spends {
            self.unspent.remove(outpoint);
        }
        let height = self.height;
        self.unspent.extend(transaction.makes.iter().map(|coin| (coin.outpoint, (height, coin.clone()))));
    }
}

impl Bitcoin {
    pub(super) fn deposit(&mut self, coin: &TreasuryCoin) {
        let makes = vec![coin.clone()];
        self.known.insert(coin.outpoint.txid, Known { spends: Vec::new(), makes, signed: Signed::ByMembers });
    }

    pub(super) fn broadcast(&mut self, batch: &BatchPlan, signed: Signed) {
        let (spends, makes) = (batch.inputs.clone(), batch.change.clone());
        self.known.insert(batch.transaction.compute_txid(), Known { spends, makes, signed });
    }

    /// The best chain.
    pub(super) fn best(&self) -> Rc<Seen> {
        self.behind(0)
    }

    /// The best chain without its latest blocks.
    pub(super) fn behind(&self, blocks: usize) -> Rc<Seen> {
        self.chain[self.height().saturating_sub(blocks)].clone()
    }

    /// Mines a block of what `picks` picks, in whatever order: of transactions that exclude each other any may win.
    pub(super) fn mine(&mut self, mut picks: impl FnMut() -> bool, rng: &mut ChaCha20Rng) {
        let mut seen = Seen::clone(&self.best());
        let mut pool: Vec<Txid> = self.known.keys().filter(|txid| !seen.is_confirmed(txid)).copied().collect();
        rand::seq::SliceRandom::shuffle(&mut pool[..], rng);
        for txid in pool {
            if picks() {
                seen.connect(txid, &self.known[&txid]);
            }
        }
        seen.height += 1;
        self.chain.push(Rc::new(seen));
    }

    /// Takes the latest blocks back: what they confirmed waits again.
    pub(super) fn reorganise(&mut self, depth: usize) {
        self.chain.truncate(self.height().saturating_sub(depth) + 1);
    }

    pub(super) fn height(&self) -> usize {
        self.chain.len() - 1
    }

    /// Whether two transactions exclude each other in every history there can be: they, or transactions that they need,
    /// spend a common output.
    pub(super) fn exclude_each_other(&self, one: &Txid, other: &Txid) -> bool {
        let mut spender: BTreeMap<OutPoint, Txid> = BTreeMap::new();
        let mut open = vec![*one, *other];
        let mut needed = BTreeSet::new();
        while let Some(txid) = open.pop() {
            if !needed.insert(txid) {
                continue;
            }
            for outpoint in &self.known[&txid].spends {
                if spender.insert(*outpoint, txid).is_some() {
                    return true;
                }
                open.push(outpoint.txid);
            }
        }
        false
    }
}
