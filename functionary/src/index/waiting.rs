//! What waits for a block, under the same questions as the final blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Transaction, TxOut};
use aquifer_assets::script::is_unspendable;
use elements::{AssetId, OutPoint, Txid};

use super::facts::{AssetEvent, AssetTotals, asset_events};
use super::{ScriptHash, TouchPlace};
use crate::mempool::{Mempool, WaitingTransaction};

/// A waiting transaction.
#[derive(Clone, Debug)]
pub struct WaitingTx {
    /// Its id.
    pub txid: Txid,
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// The outputs that its inputs spend, in their order; `None` for a peg-in.
    pub spent: Vec<Option<TxOut>>,
    /// Its fee in the pegged asset, in satoshi.
    pub fee_sat: u64,
    /// Its size, in virtual bytes.
    pub vsize: u64,
    /// The same after the discount for confidential outputs: what fees are measured by.
    pub discounted_vsize: u64,
    /// When it was admitted, in seconds since 1970.
    pub admitted_at: u32,
    /// What it changes in the supply of assets.
    pub events: Vec<(AssetId, AssetEvent)>,
    /// Place in the order of arrival: what it depends on comes before it.
    arrival: u64,
}

impl WaitingTx {
    /// Where it pays a script and where it spends from one, inputs before outputs.
    fn touches(&self) -> impl Iterator<Item = (ScriptHash, TouchPlace)> + '_ {
        let spends = (0u32..)
            .zip(&self.spent)
            .filter_map(|(vin, spent)| Some((ScriptHash::of(&spent.as_ref()?.script_pubkey), TouchPlace::Input(vin))));
        let outputs = (0u32..).zip(&self.transaction.output);
        let pays = outputs.filter(|(_, output)| !is_unspendable(&output.script_pubkey));
        spends.chain(pays.map(|(vout, output)| (ScriptHash::of(&output.script_pubkey), TouchPlace::Output(vout))))
    }

    fn spends(&self) -> impl Iterator<Item = (u32, OutPoint)> + '_ {
        let inputs = (0u32..).zip(&self.transaction.input);
        inputs.filter(|(_, input)| !input.is_pegin).map(|(vin, input)| (vin, input.previous_output))
    }
}

/// The transactions that wait, as of the height of the view that has them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    transactions: HashMap<Txid, Arc<WaitingTx>>,
    order: BTreeMap<u64, Txid>,
    scripts: HashMap<ScriptHash, BTreeSet<(u64, Txid)>>,
    assets: HashMap<AssetId, BTreeSet<(u64, Txid)>>,
    spends: HashMap<OutPoint, (Txid, u32)>,
    arrivals: u64,
    state: u64,
}

type Places<K> = HashMap<K, BTreeSet<(u64, Txid)>>;

fn note<K: Eq + std::hash::Hash>(places: &mut Places<K>, key: K, place: (u64, Txid)) {
    places.entry(key).or_default().insert(place);
}

fn forget<K: Eq + std::hash::Hash>(places: &mut Places<K>, key: K, place: &(u64, Txid)) {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = places.entry(key) {
        entry.get_mut().remove(place);
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

/// How the mempool differs from a [`Waiting`].
pub(super) struct Difference {
    gone: Vec<Txid>,
    new: Vec<WaitingTransaction>,
}

impl Waiting {
    /// A waiting transaction.
    pub fn get(&self, txid: &Txid) -> Option<&Arc<WaitingTx>> {
        self.transactions.get(txid)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// All, latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Arc<WaitingTx>> {
        self.order.values().rev().filter_map(|txid| self.transactions.get(txid))
    }

    fn of<K: Eq + std::hash::Hash>(&self, places: &Places<K>, key: &K) -> Vec<Arc<WaitingTx>> {
        let found = places.get(key).into_iter().flatten();
        found.filter_map(|(_, txid)| self.transactions.get(txid).map(Arc::clone)).collect()
    }

    /// Those that pay a script or spend from it, in the order of arrival.
    pub fn history(&self, script: &ScriptHash) -> Vec<Arc<WaitingTx>> {
        self.of(&self.scripts, script)
    }

    /// Where they pay a script and where they spend from it, in the order of arrival.
    pub fn touches(&self, script: &ScriptHash) -> Vec<(Txid, TouchPlace)> {
        let mut touches = Vec::new();
        for waiting in self.history(script) {
            let places = waiting.touches().filter(|(touched, _)| touched == script);
            touches.extend(places.map(|(_, place)| (waiting.txid, place)));
        }
        touches
    }

    /// Those that change the supply of an asset, in the order of arrival.
    pub fn asset_history(&self, asset: &AssetId) -> Vec<Arc<WaitingTx>> {
        self.of(&self.assets, asset)
    }

    /// What they change in the supply of an asset.
    pub fn asset_totals(&self, asset: &AssetId) -> AssetTotals {
        let mut totals = AssetTotals::default();
        for waiting in self.asset_history(asset) {
            totals.count_transaction();
            waiting.events.iter().filter(|(of, _)| of == asset).for_each(|(_, event)| totals.count(event));
        }
        totals
    }

    /// The input that spends an output: transaction and position.
    pub fn spender(&self, outpoint: &OutPoint) -> Option<(Txid, u32)> {
        self.spends.get(outpoint).copied()
    }

    /// Whether a transaction spends outputs of another one that waits.
    pub fn depends_on_waiting(&self, waiting: &WaitingTx) -> bool {
        waiting.spends().any(|(_, outpoint)| self.transactions.contains_key(&outpoint.txid))
    }

    /// The number of this state of the chain and the mempool.
    pub(super) fn state(&self) -> u64 {
        self.state
    }

    /// Another state begins.
    pub(super) fn begin_state(&mut self) {
        self.state = self.state.saturating_add(1);
    }

    /// How the mempool differs now.
    pub(super) fn difference(&self, mempool: &Mempool) -> Difference {
        let (all, new) = mempool.waiting_unless(|txid| self.transactions.contains_key(txid));
        let all: HashSet<Txid> = all.into_iter().collect();
        let gone = self.transactions.keys().filter(|txid| !all.contains(*txid)).copied().collect();
        Difference { gone, new }
    }

    /// Applies a difference; returns the scripts that are touched by it.
    pub(super) fn apply(&mut self, params: &ChainParams, difference: Difference) -> HashSet<ScriptHash> {
        let mut touched = HashSet::new();
        for txid in difference.gone {
            self.remove(&txid, &mut touched);
        }
        for new in difference.new {
            self.insert(params, new, &mut touched);
        }
        touched
    }

    /// Leaves out what is final now, and what cannot become it any more: it spends the same outputs, or depends on what
    /// does. Returns the scripts that are touched by it.
    pub(super) fn leave_out(&mut self, included: &[Txid], spent: &[OutPoint]) -> HashSet<ScriptHash> {
        let mut touched = HashSet::new();
        for txid in included {
            self.remove(txid, &mut touched);
        }
        let mut doomed: Vec<Txid> =
            spent.iter().filter_map(|outpoint| self.spender(outpoint)).map(|(by, _)| by).collect();
        while let Some(txid) = doomed.pop() {
            let Some(waiting) = self.remove(&txid, &mut touched) else { continue };
            let outputs = (0u32..).zip(&waiting.transaction.output).map(|(vout, _)| OutPoint::new(txid, vout));
            doomed.extend(outputs.filter_map(|outpoint| self.spender(&outpoint)).map(|(by, _)| by));
        }
        touched
    }

    fn insert(&mut self, params: &ChainParams, new: WaitingTransaction, touched: &mut HashSet<ScriptHash>) {
        let WaitingTransaction { txid, transaction, mut spent, fee_sat, vsize, discounted_vsize, admitted_at } = new;
        self.arrivals = self.arrivals.saturating_add(1);
        let waiting = WaitingTx {
            txid,
            spent: transaction.input.iter().map(|input| spent.remove(&input.previous_output)).collect(),
            fee_sat,
            vsize,
            discounted_vsize,
            admitted_at,
            events: asset_events(params, txid, &transaction),
            arrival: self.arrivals,
            transaction,
        };
        let place = (waiting.arrival, txid);
        for (script, _) in waiting.touches() {
            note(&mut self.scripts, script, place);
            touched.insert(script);
        }
        for (asset, _) in &waiting.events {
            note(&mut self.assets, *asset, place);
        }
        self.spends.extend(waiting.spends().map(|(vin, outpoint)| (outpoint, (txid, vin))));
        self.order.insert(waiting.arrival, txid);
        self.transactions.insert(txid, Arc::new(waiting));
    }

    fn remove(&mut self, txid: &Txid, touched: &mut HashSet<ScriptHash>) -> Option<Arc<WaitingTx>> {
        let waiting = self.transactions.remove(txid)?;
        let place = (waiting.arrival, *txid);
        for (script, _) in waiting.touches() {
            forget(&mut self.scripts, script, &place);
            touched.insert(script);
        }
        for (asset, _) in &waiting.events {
            forget(&mut self.assets, *asset, &place);
        }
        for (_, outpoint) in waiting.spends() {
            // Its place may have been taken by what replaces it.
            if self.spender(&outpoint).is_some_and(|(by, _)| by == *txid) {
                self.spends.remove(&outpoint);
            }
        }
        self.order.remove(&waiting.arrival);
        Some(waiting)
    }
}
