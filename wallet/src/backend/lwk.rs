//! The verified chain as LWK's source of data.
//!
//! LWK would reveal the hidden outputs of a wallet one after the other, each at the cost of checking a range proof: most of
//! the time of a first look. It is given transactions without proofs; the outputs are revealed here, on all cores.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use elements::{BlockHash, BlockHeader, OutPoint, Script, Transaction, TxOutSecrets, TxOutWitness, Txid};
use lwk_wollet::clients::blocking::BlockchainBackend;
use lwk_wollet::clients::try_unblind;
use lwk_wollet::{Chain, Error as LwkError, History, Update, Wollet, WolletDescriptor};
use rayon::prelude::*;
use tonic::Code;

use super::ledger::Ledger;
use super::scan::Entry;
use super::{BackendError, verify};

/// Scripts that are asked for ahead of LWK, at most. With LWK's twenty, less than a server answers at once.
const MAX_AHEAD: u32 = 640;

impl Ledger {
    /// Brings a wallet up to date, over all addresses below `next_index` and the gap behind the last used one. A
    /// failure leaves the wallet as it was.
    ///
    /// All of it comes from one server, and from one that is not behind what was verified before: histories of a server
    /// that lacks the last block would bring back coins that are spent.
    ///
    /// # Errors
    /// When no server answers, or one lies, or a file fails.
    pub fn sync(&self, wollet: &mut Wollet, next_index: u32) -> Result<(), BackendError> {
        loop {
            self.tip()?;
            let switches = self.connection().switches();
            let update = self.scan(wollet, next_index)?;
            if self.connection().switches() == switches {
                return update.map_or(Ok(()), |update| {
                    wollet.apply_update(update).map_err(|error| BackendError::Lwk(error.to_string()))
                });
            }
        }
    }

    fn scan(&self, wollet: &Wollet, next_index: u32) -> Result<Option<Update>, BackendError> {
        let descriptor = wollet.wollet_descriptor();
        let mut scan = Scan::new(self, descriptor.clone());
        let found = scan.full_scan_to_index(wollet, next_index);
        let Scan { fault, scripts, mut transactions, .. } = scan;
        let update =
            found.map_err(|error| fault.into_inner().unwrap_or_else(|| BackendError::Lwk(error.to_string())))?;
        let Some(mut update) = update else { return Ok(None) };
        for (txid, transaction) in &mut update.new_txs.txs {
            if let Some(whole) = transactions.get_mut().remove(txid) {
                *transaction = whole;
            }
        }
        let revealed = reveal(&update.new_txs.txs, &scripts.into_inner(), &descriptor);
        update.new_txs.unblinds = revealed.or_else(|output| self.damaged(output))?;
        Ok(Some(update))
    }

    /// The damaged transaction is forgotten, so that the next look asks for it again.
    fn damaged<T>(&self, output: OutPoint) -> Result<T, BackendError> {
        self.forget(&output.txid)?;
        let server = self.connection().name().to_owned();
        Err(BackendError::DamagedWitness { server, txid: output.txid, vout: output.vout })
    }
}

/// What is in the outputs of these scripts. One that does not open is passed over, as its sender may have hidden it badly, but
/// not when its proof is false, as then nobody has accepted it like that: that is the error.
fn reveal(
    transactions: &[(Txid, Transaction)],
    scripts: &HashSet<Script>,
    descriptor: &WolletDescriptor,
) -> Result<Vec<(OutPoint, TxOutSecrets)>, OutPoint> {
    let outputs: Vec<_> = transactions
        .iter()
        .flat_map(|(txid, transaction)| {
            (0..).zip(&transaction.output).map(|(vout, output)| (OutPoint::new(*txid, vout), output))
        })
        .filter(|(_, output)| scripts.contains(&output.script_pubkey))
        .collect();
    let revealed = outputs.into_par_iter().filter_map(|(outpoint, output)| match try_unblind(output, descriptor) {
        Ok(secrets) => Some(Ok((outpoint, secrets))),
        Err(_) if verify::witness(output) => None,
        Err(_) => Some(Err(outpoint)),
    });
    revealed.collect()
}

/// Scripts that LWK has not asked for yet, but will if those before them are used. It asks for twenty at a time, each time
/// with a journey to the server and back; asked for together, a long history takes a few.
struct Ahead {
    descriptor: WolletDescriptor,
    /// The script up to which it was asked.
    chain: Chain,
    index: u32,
    /// How many to ask for beyond those that LWK asks for: more with each answer.
    reach: u32,
    /// What was heard.
    histories: HashMap<Script, Vec<Entry>>,
}

impl Ahead {
    fn new(descriptor: WolletDescriptor) -> Self {
        Self { descriptor, chain: Chain::External, index: 0, reach: 0, histories: HashMap::new() }
    }

    /// The scripts behind these, if these are the next ones of a chain or the first ones of the second chain.
    fn behind(&mut self, scripts: &[&Script]) -> Vec<Script> {
        let is_first = |chain, index| {
            let first = self.descriptor.script_pubkey(chain, index).ok();
            first.is_some_and(|first| scripts.first() == Some(&&first))
        };
        if !is_first(self.chain, self.index) {
            if !is_first(Chain::Internal, 0) {
                return Vec::new();
            }
            (self.chain, self.index, self.reach) = (Chain::Internal, 0, 0);
        }
        let asked = u32::try_from(scripts.len()).unwrap_or(u32::MAX);
        let from = self.index.saturating_add(asked);
        let to = from.saturating_add(self.reach);
        let (descriptor, chain) = (&self.descriptor, self.chain);
        let scripts = (from..to).into_par_iter().map(|index| descriptor.script_pubkey(chain, index).ok());
        let scripts = scripts.while_some().collect();
        self.index = to;
        self.reach = self.reach.saturating_add(asked).saturating_mul(2).min(MAX_AHEAD);
        scripts
    }
}

/// One look at the chain through LWK's eyes.
struct Scan<'ledger> {
    ledger: &'ledger Ledger,
    ahead: RefCell<Ahead>,
    /// The failure that had to pass through LWK, whose errors have no room for it.
    fault: RefCell<Option<BackendError>>,
    /// Everything that was asked for: the wallet's scripts.
    scripts: RefCell<HashSet<Script>>,
    /// What LWK was given without proofs.
    transactions: RefCell<HashMap<Txid, Transaction>>,
}

impl<'ledger> Scan<'ledger> {
    fn new(ledger: &'ledger Ledger, descriptor: WolletDescriptor) -> Self {
        Self {
            ledger,
            ahead: RefCell::new(Ahead::new(descriptor)),
            fault: RefCell::default(),
            scripts: RefCell::default(),
            transactions: RefCell::default(),
        }
    }

    /// Asks for the histories of these scripts, if they are not known yet, and of some that come behind them.
    fn ask(&self, ahead: &mut Ahead, scripts: &[&Script]) -> Result<(), BackendError> {
        if scripts.iter().all(|script| ahead.histories.contains_key(*script)) {
            return Ok(());
        }
        let behind = ahead.behind(scripts);
        let all: Vec<&Script> = scripts.iter().copied().chain(&behind).collect();
        let (asked, histories) = match self.ledger.histories(&all) {
            // More than fits into an answer.
            Err(BackendError::Refused { code: Code::ResourceExhausted, .. }) if !behind.is_empty() => {
                (scripts.to_vec(), self.ledger.histories(scripts)?)
            }
            answer => (all, answer?),
        };
        ahead.histories.extend(asked.into_iter().cloned().zip(histories));
        Ok(())
    }

    fn pass<T>(&self, result: Result<T, BackendError>) -> Result<T, LwkError> {
        result.map_err(|error| {
            let words = error.to_string();
            self.fault.replace(Some(error));
            LwkError::Generic(words)
        })
    }
}

impl BlockchainBackend for Scan<'_> {
    fn tip(&mut self) -> Result<BlockHeader, LwkError> {
        self.pass(self.ledger.tip()).map(|tip| tip.header)
    }

    fn broadcast(&self, tx: &Transaction) -> Result<Txid, LwkError> {
        self.pass(self.ledger.submit(tx))
    }

    fn get_transactions(&self, txids: &[Txid]) -> Result<Vec<Transaction>, LwkError> {
        let found = self.pass(self.ledger.transactions(txids))?;
        let mut whole = self.transactions.borrow_mut();
        let without_proofs = found.into_iter().zip(txids).map(|(found, txid)| {
            let mut bare = found.transaction.clone();
            whole.insert(*txid, found.transaction);
            bare.output.iter_mut().for_each(|output| output.witness = TxOutWitness::default());
            bare
        });
        Ok(without_proofs.collect())
    }

    fn get_headers(&self, heights: &[u32], _known: &HashMap<u32, BlockHash>) -> Result<Vec<BlockHeader>, LwkError> {
        let wanted: BTreeSet<u32> = heights.iter().copied().collect();
        let headers: BTreeMap<u32, BlockHeader> = self
            .pass(self.ledger.headers(&wanted))?
            .into_iter()
            .map(|verified| (verified.height(), verified.header))
            .collect();
        Ok(heights.iter().filter_map(|height| headers.get(height).cloned()).collect())
    }

    fn get_scripts_history(&self, scripts: &[&Script]) -> Result<Vec<Vec<History>>, LwkError> {
        self.scripts.borrow_mut().extend(scripts.iter().copied().cloned());
        let mut ahead = self.ahead.borrow_mut();
        self.pass(self.ask(&mut ahead, scripts))?;
        let histories = scripts.iter().map(|script| ahead.histories.get(*script));
        histories
            .map(|entries| {
                let entries = entries.into_iter().flatten();
                entries
                    .map(|entry| {
                        let height = i32::try_from(entry.height.unwrap_or(0))
                            .map_err(|_| LwkError::Generic("a height above 2^31".to_owned()))?;
                        let txid = entry.txid;
                        Ok(History { txid, height, block_hash: None, block_timestamp: None, v: 0 })
                    })
                    .collect()
            })
            .collect()
    }
}
