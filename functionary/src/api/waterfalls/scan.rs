//! The history of a wallet in one answer.

use std::collections::{BTreeMap, HashMap};

use elements::{Address, BlockHash, OutPoint, Script, Txid};
use serde::Serialize;

use super::descriptor::Chain;
use crate::api::esplora::{ADDRESSES, View};
use crate::api::http::Refusal;
use crate::index::{Order, ScriptHash, TouchPlace};
use crate::store::ledger::Tip;

/// Addresses of a chain on a page. Clients know the number: a full page means that there is another.
pub(super) const PAGE: u32 = 1_000;
/// Unused addresses after which a chain ends.
pub(super) const GAP: u32 = 20;
/// Final transactions of one address that are told at once; clients ask for more of an address by itself.
const MAX_OF_SCRIPT: usize = 200;
/// Transactions in one answer.
const MAX_OF_ANSWER: usize = 100_000;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Transactions.
    History,
    /// Unspent outputs.
    Unspent,
}

/// Which addresses of each chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// From number `page` times [`PAGE`] on.
    pub(super) page: u16,
    /// At least up to this one, however many are unused.
    pub(super) to_index: u32,
}

/// A transaction, or an output of one.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    txid: Txid,
    /// 0 while it waits.
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_hash: Option<BlockHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_timestamp: Option<u32>,
    /// One more than the number of the unspent output; 0 for a transaction.
    v: u32,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    txs_seen: BTreeMap<String, Vec<Vec<Seen>>>,
    page: u16,
    tip: BlockHash,
    /// Addresses that have more transactions than were told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_more: Vec<String>,
}

/// Looks for scripts, and counts what it has found.
struct Search<'v, 'a> {
    view: &'v View<'a>,
    wanted: Wanted,
    blocks: HashMap<u32, Tip>,
    told: usize,
    has_more: Vec<String>,
}

impl<'v, 'a> Search<'v, 'a> {
    fn new(view: &'v View<'a>, wanted: Wanted) -> Self {
        Self { view, wanted, blocks: HashMap::new(), told: 0, has_more: Vec::new() }
    }

    fn seen(&mut self, outpoint: OutPoint, height: u32) -> Result<Seen, Refusal> {
        let block = match self.blocks.get(&height) {
            Some(block) => *block,
            None => {
                let block = self.view.known(height)?;
                self.blocks.insert(height, block);
                block
            }
        };
        let v = self.v_of(outpoint.vout);
        let (hash, time) = (block.hash, block.time);
        Ok(Seen { txid: outpoint.txid, height, block_hash: Some(hash), block_timestamp: Some(time), v })
    }

    fn waiting(&self, outpoint: OutPoint) -> Seen {
        let v = self.v_of(outpoint.vout);
        Seen { txid: outpoint.txid, height: 0, block_hash: None, block_timestamp: None, v }
    }

    fn v_of(&self, vout: u32) -> u32 {
        match self.wanted {
            Wanted::History => 0,
            Wanted::Unspent => vout.saturating_add(1),
        }
    }

    /// What there is of a script, on its page number `page`; waiting transactions are on the first.
    fn of_script(&mut self, script: &Script, page: usize) -> Result<Vec<Seen>, Refusal> {
        self.view.check_time()?;
        let hash = ScriptHash::of(script);
        let seen = match self.wanted {
            Wanted::History => self.history(script, &hash, page)?,
            Wanted::Unspent => self.unspent(&hash)?,
        };
        self.told = self.told.saturating_add(seen.len());
        if self.told > MAX_OF_ANSWER {
            let text = format!("more than {MAX_OF_ANSWER} transactions: use Electrum or Esplora");
            return Err(Refusal::Malformed(text));
        }
        Ok(seen)
    }

    fn history(&mut self, script: &Script, hash: &ScriptHash, page: usize) -> Result<Vec<Seen>, Refusal> {
        let skipped = page.saturating_mul(MAX_OF_SCRIPT);
        let up_to = skipped.saturating_add(MAX_OF_SCRIPT);
        let found = self.view.index.history(hash, Order::OldestFirst, None, up_to.saturating_add(1))?;
        if found.len() > up_to {
            // Only addresses can be asked for by themselves.
            self.has_more.extend(Address::from_script(script, None, ADDRESSES).map(|address| address.to_string()));
        }
        let shown = found.iter().skip(skipped).take(MAX_OF_SCRIPT);
        let shown = shown.map(|place| self.seen(OutPoint::new(place.txid, 0), place.height));
        let mut seen = shown.collect::<Result<Vec<_>, _>>()?;
        if page == 0 {
            let waiting = self.view.waiting().history(hash);
            seen.extend(waiting.iter().map(|waiting| self.waiting(OutPoint::new(waiting.txid, 0))));
        }
        Ok(seen)
    }

    fn unspent(&mut self, hash: &ScriptHash) -> Result<Vec<Seen>, Refusal> {
        let kept = self.view.index.unspent(hash, MAX_OF_SCRIPT.saturating_add(1))?;
        if kept.len() > MAX_OF_SCRIPT {
            return Err(Refusal::Malformed("UtxoOnlyHistoryTooLarge".to_owned()));
        }
        let mut seen = Vec::new();
        for kept in kept {
            let outpoint = OutPoint::new(kept.transaction.txid, kept.vout);
            if self.view.waiting().spender(&outpoint).is_none() {
                seen.push(self.seen(outpoint, kept.transaction.height)?);
            }
        }
        for (txid, place) in self.view.waiting().touches(hash) {
            let TouchPlace::Output(vout) = place else { continue };
            let outpoint = OutPoint::new(txid, vout);
            if self.view.waiting().spender(&outpoint).is_none() {
                seen.push(self.waiting(outpoint));
            }
        }
        Ok(seen)
    }

    fn found(self, txs_seen: BTreeMap<String, Vec<Vec<Seen>>>, page: u16) -> Found {
        Found { txs_seen, page, tip: self.view.tip.hash, has_more: self.has_more }
    }
}

/// Whether a script was ever paid.
pub(super) fn is_used(view: &View<'_>, script: &Script) -> Result<bool, Refusal> {
    let hash = ScriptHash::of(script);
    Ok(view.index.counts(&hash)?.transactions > 0 || !view.waiting().history(&hash).is_empty())
}

/// A page of each chain.
pub(super) fn of_chains(view: &View<'_>, chains: &[Chain], range: Range, wanted: Wanted) -> Result<Found, Refusal> {
    let mut search = Search::new(view, wanted);
    let mut txs_seen = BTreeMap::new();
    for chain in chains {
        let mut of_chain = Vec::new();
        let first = u32::from(range.page).saturating_mul(PAGE);
        let mut index = first;
        let mut unused = 0;
        let is_over = |index: u32, unused: u32| {
            let is_searched = unused >= GAP && index > range.to_index;
            // The answer is made of whole gaps.
            index >= first + PAGE
                || (is_searched && (index - first).is_multiple_of(GAP))
                || (!chain.is_ranged() && index > 0)
        };
        while !is_over(index, unused) {
            let script = chain.script(index)?;
            of_chain.push(search.of_script(&script, 0)?);
            unused = if is_used(view, &script)? { 0 } else { unused + 1 };
            index += 1;
        }
        txs_seen.insert(chain.name(), of_chain);
    }
    Ok(search.found(txs_seen, range.page))
}

/// A page of addresses that have nothing to do with each other.
pub(super) fn of_addresses(view: &View<'_>, scripts: &[Script], page: u16, wanted: Wanted) -> Result<Found, Refusal> {
    let mut search = Search::new(view, wanted);
    let seen = scripts.iter().map(|script| search.of_script(script, page.into())).collect::<Result<Vec<_>, _>>()?;
    Ok(search.found(BTreeMap::from([("addresses".to_owned(), seen)]), page))
}

/// The scripts of a chain up to a gap after the last used one, and the number of that one.
pub(super) fn window(view: &View<'_>, chain: &Chain, limit: u32) -> Result<(Vec<ScriptHash>, Option<u32>), Refusal> {
    let (mut scripts, mut last) = (Vec::new(), None);
    for index in 0..limit {
        let is_over = last.map_or(index, |last| index - last - 1) >= GAP || (!chain.is_ranged() && index > 0);
        if is_over {
            break;
        }
        view.check_time()?;
        let script = chain.script(index)?;
        if is_used(view, &script)? {
            last = Some(index);
        }
        scripts.push(ScriptHash::of(&script));
    }
    Ok((scripts, last))
}
