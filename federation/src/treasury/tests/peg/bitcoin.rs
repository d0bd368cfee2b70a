//! A model of Bitcoin: transactions, and a chain of blocks that can be reorganised to any depth.

use super::super::*;

/// A deposit, or a batch that has its signatures.
#[derive(Clone)]
struct Known {
    spends: Vec<OutPoint>,
    /// Outputs of the treasury.
    makes: Vec<(OutPoint, u64)>,
}

/// All transactions that anybody has seen, and the best chain.
#[derive(Clone, Default)]
pub(super) struct Bitcoin {
    known: BTreeMap<Txid, Known>,
    blocks: Vec<Vec<Txid>>,
}

/// A best chain as somebody sees it: for every unspent output of the treasury its height and amount.
#[derive(Clone, Default)]
pub(super) struct Seen {
    height: usize,
    unspent: BTreeMap<OutPoint, (usize, u64)>,
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
        self.unspent.values().map(|(_, amount_sat)| amount_sat).sum()
    }

    fn connect(&mut self, txid: Txid, transaction: &Known) -> bool {
        let spendable = transaction.spends.iter().all(|outpoint| self.unspent.contains_key(outpoint));
        if self.is_confirmed(&txid) || !spendable {
            return false;
        }
        self.confirmed.insert(txid, self.height);
        self.unspent.retain(|outpoint, _| !transaction.spends.contains(outpoint));
        let height = self.height;
        self.unspent.extend(transaction.makes.iter().map(|(outpoint, amount_sat)| (*outpoint, (height, *amount_sat))));
        true
    }
}

impl Bitcoin {
    pub(super) fn deposit(&mut self, coin: &TreasuryCoin) {
        let makes = vec![(coin.outpoint, coin.amount_sat)];
        self.known.insert(coin.outpoint.txid, Known { spends: Vec::new(), makes });
    }

    pub(super) fn broadcast(&mut self, batch: &BatchPlan) {
        let makes = batch.change.iter().map(|coin| (coin.outpoint, coin.amount_sat)).collect();
        self.known.insert(batch.transaction.compute_txid(), Known { spends: batch.inputs.clone(), makes });
    }

    /// The best chain.
    pub(super) fn best(&self) -> Seen {
        self.seen_at(self.blocks.len())
    }

    /// The best chain without its latest blocks.
    pub(super) fn behind(&self, blocks: usize) -> Seen {
        self.seen_at(self.blocks.len().saturating_sub(blocks))
    }

    fn seen_at(&self, height: usize) -> Seen {
        let mut seen = Seen::default();
        for block in &self.blocks[..height] {
            for txid in block {
                assert!(seen.connect(*txid, &self.known[txid]), "{txid} cannot be in this chain");
            }
            seen.height += 1;
        }
        seen
    }

    /// Mines a block of what `picks` picks, in whatever order: of transactions that exclude each other any may win.
    pub(super) fn mine(&mut self, mut picks: impl FnMut() -> bool, rng: &mut ChaCha20Rng) {
        let mut seen = self.best();
        let mut pool: Vec<Txid> = self.known.keys().filter(|txid| !seen.is_confirmed(txid)).copied().collect();
        rand::seq::SliceRandom::shuffle(&mut pool[..], rng);
        let mut block = Vec::new();
        for txid in pool {
            if picks() && seen.connect(txid, &self.known[&txid]) {
                block.push(txid);
            }
        }
        self.blocks.push(block);
    }

    /// Takes the latest blocks back: what they confirmed waits again.
    pub(super) fn reorganise(&mut self, depth: usize) {
        self.blocks.truncate(self.blocks.len().saturating_sub(depth));
    }

    pub(super) fn height(&self) -> usize {
        self.blocks.len()
    }

    /// Whether two transactions exclude each other in every history there can be: they, or transactions that they need,
    /// spend a common output.
    pub(super) fn exclude_each_other(&self, one: &Txid, other: &Txid) -> bool {
        let mut spender: BTreeMap<OutPoint, Txid> = BTreeMap::new();
        let mut open = vec![*one, *other];
        let mut needed = std::collections::BTreeSet::new();
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
