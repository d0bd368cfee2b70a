//! What wallets are told: the ledger, the mempool, the parent chain and the batches, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use aquifer_assets::block::merkle_branch;
use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_federation::federation::Federation;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{CoinKind, park_reason, plan};
use aquifer_federation::valve::{Valve, Verdict};
use aquifer_proto::peer::{PeerMessage, peer_message::Kind};
use elements::encode::serialize;
use elements::{AssetId, OutPoint, Script, Txid};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::oversight::Oversight;
use crate::api::{
    Asset, AssetSupply, BackendError, ChainInfo, Deposit, DepositState, Deposits, HistoryEntry, Issuance, KeyProof,
    LedgerBackend, MemberPosition, MerkleProof, MissingProof, PeerState, Pegout, PegoutState, ProvenTransaction,
    Reserve, SignedBlock, SignedHeader, SubmitError, Supply, TransactionStatus, ValveState,
};
use crate::chain::CoreStatus;
use crate::halt::HaltDesk;
use crate::index::IndexReader;
use crate::mempool::{Admission, Mempool, MempoolError};
use crate::parent::{DepositProgress, Parent, ParentState};
use crate::peers::Peers;
use crate::peg::{BatchState, PegoutDriver};
use crate::store::StoreError;
use crate::store::ledger::{LedgerReader, PaidBy, Snapshot, StoredPegout, WaitingPegout};

/// Waiting peg-outs that the status of the member lists.
const MAX_WAITING_SHOWN: usize = 100;

/// Why a peg-out waits, and until when in the chain's time.
#[derive(Clone, Debug, Default)]
struct Wait {
    reason: String,
    expected_seconds: Option<u64>,
}

/// What the backend looks at.
pub(super) struct Parts {
    pub(super) federation: Arc<Federation>,
    pub(super) me: MemberIndex,
    pub(super) params: Arc<ChainParams>,
    pub(super) ledger: Arc<LedgerReader>,
    pub(super) mempool: Arc<Mempool>,
    pub(super) parent: Parent,
    pub(super) driver: PegoutDriver,
    pub(super) peers: Peers,
    pub(super) status: Arc<CoreStatus>,
    pub(super) oversight: Oversight,
    pub(super) halts: Arc<HaltDesk>,
    /// `None` where it is switched off.
    pub(super) index: Option<Arc<IndexReader>>,
}

/// The node behind the wallets' service.
pub(super) struct NodeBackend {
    parts: Parts,
    changes: watch::Sender<u64>,
}

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        BackendError(error.to_string())
    }
}

fn backend_error(error: impl std::fmt::Display) -> BackendError {
    BackendError(error.to_string())
}

impl NodeBackend {
    pub(super) fn new(parts: Parts) -> Self {
        NodeBackend { parts, changes: watch::Sender::new(0) }
    }

    /// Counts the changes of everything that can be watched.
    pub(super) fn gather_changes(self: &Arc<Self>, runtime: &Handle, stop: CancellationToken) -> JoinHandle<()> {
        // The mempool counts final blocks as well: each is connected through it.
        let mut mempool = self.parts.mempool.changes();
        let mut parent = self.parts.parent.changes();
        let mut driver = self.parts.driver.changes();
        let mut verdicts = self.parts.oversight.desk.changes();
        let mut halts = self.parts.halts.changes();
        let backend = Arc::clone(self);
        runtime.spawn(async move {
            loop {
                tokio::select! {
                    changed = mempool.changed() => if changed.is_err() { return },
                    changed = parent.changed() => if changed.is_err() { return },
                    changed = driver.changed() => if changed.is_err() { return },
                    changed = verdicts.changed() => if changed.is_err() { return },
                    changed = halts.changed() => if changed.is_err() { return },
                    () = stop.cancelled() => return,
                }
                backend.changes.send_modify(|count| *count = count.wrapping_add(1));
            }
        })
    }

    fn snapshot(&self) -> Result<Snapshot<'_>, BackendError> {
        Ok(self.parts.ledger.snapshot()?)
    }

    fn final_transaction(
        &self,
        snapshot: &Snapshot<'_>,
        txid: &Txid,
    ) -> Result<Option<ProvenTransaction>, BackendError> {
        let Some(place) = snapshot.place(txid)? else { return Ok(None) };
        let stored = snapshot.block(place.height)?.ok_or_else(|| BackendError(format!("no block {}", place.height)))?;
        let block = Block::decode(stored.block).map_err(backend_error)?;
        let position = usize::try_from(place.position).map_err(backend_error)?;
        let transaction =
            block.txdata.get(position).ok_or_else(|| BackendError(format!("{txid} is not in its block")))?;
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::txid).collect();
        let proof = MerkleProof {
            height: place.height,
            position: place.position,
            siblings: merkle_branch(&txids, place.position),
        };
        Ok(Some(ProvenTransaction { transaction: serialize(transaction), proof: Some(proof) }))
    }

    /// The valve after the last block of a snapshot.
    fn valve(&self, snapshot: &Snapshot<'_>) -> Result<Valve, BackendError> {
        let Parts { federation, params, .. } = &self.parts;
        snapshot.valve(&federation.roster, params.genesis_hash().to_byte_array())?.map_err(backend_error)
    }

    /// Why each waiting peg-out waits, and until when: what the valve says, then what Bitcoin allows.
    fn waits(&self, snapshot: &Snapshot<'_>) -> Result<BTreeMap<OutPoint, Wait>, BackendError> {
        let waiting = snapshot.waiting_pegouts()?;
        if waiting.is_empty() {
            return Ok(BTreeMap::new());
        }
        let treasury = &self.parts.federation.treasury;
        let payable = waiting.iter().filter(|waiting| park_reason(treasury, &waiting.request).is_none());
        let requests: Vec<_> = payable.filter_map(WaitingPegout::for_valve).collect();
        let mut waits = BTreeMap::new();
        for decision in self.valve(snapshot)?.decide(&requests) {
            if let Verdict::Wait { reason, expected_seconds } = decision.verdict {
                waits.insert(decision.request, Wait { reason: reason.to_string(), expected_seconds });
            }
        }
        let released: Vec<_> = waiting
            .into_iter()
            .map(|waiting| waiting.request)
            .filter(|request| !waits.contains_key(&request.outpoint))
            .collect();
        let mut tell = |request: OutPoint, reason: String| {
            waits.entry(request).or_insert(Wait { reason, expected_seconds: None });
        };
        if let ParentState::Unhealthy { reason } | ParentState::WrongChain { reason } = self.parts.parent.state() {
            let reason = format!("the parent chain cannot be followed: {reason}");
            released.iter().for_each(|request| tell(request.outpoint, reason.clone()));
            return Ok(waits);
        }
        let fee_rate = self.parts.parent.fee_rate_sat_per_kvb().map_err(backend_error)?;
        let planning = plan(treasury, &snapshot.treasury_coins()?, &released, fee_rate);
        for left in planning.waiting {
            tell(left.request, left.reason.to_string());
        }
        for paid in planning.batch.iter().flat_map(|batch| &batch.paid) {
            tell(paid.request, "for the next block, or for its coins to be confirmed".into());
        }
        Ok(waits)
    }

    fn valve_state(&self, snapshot: &Snapshot<'_>) -> Result<ValveState, BackendError> {
        let valve = self.valve(snapshot)?;
        let pool = self.parts.halts.pool();
        let positions = self.parts.federation.roster.indexed().map(|(index, card)| MemberPosition {
            name: card.name.clone(),
            position: valve.position(index),
            changing: pool.iter().any(|notice| notice.member == index),
        });
        let waits = self.waits(snapshot)?;
        let waiting = snapshot.waiting_pegouts()?.into_iter().take(MAX_WAITING_SHOWN);
        let waiting: Result<Vec<Pegout>, BackendError> = waiting
            .filter_map(|waiting| snapshot.pegout(&waiting.request.outpoint).transpose())
            .map(|stored| self.describe(snapshot, stored?, &waits))
            .collect();
        Ok(ValveState {
            closure: valve.closure(),
            own_halt: self.parts.halts.hold(),
            positions: positions.collect(),
            counting_sat: valve.counting_sat(),
            window_cap_sat: valve.window_cap_sat(),
            time_seconds: valve.time_seconds(),
            waiting: waiting?,
        })
    }

    fn describe(
        &self,
        snapshot: &Snapshot<'_>,
        stored: StoredPegout,
        waits: &BTreeMap<OutPoint, Wait>,
    ) -> Result<Pegout, BackendError> {
        let request = &stored.request;
        let mut pegout = Pegout {
            request: request.outpoint,
            state: PegoutState::Requested,
            reason: String::new(),
            amount_sat: request.amount_sat,
            fee_sat: 0,
            parent_script: request.parent_script.clone(),
            requested_height: stored.height,
            batch: None,
            confirmations: 0,
            expected_seconds: None,
        };
        let Some(paid) = stored.batch else {
            match park_reason(&self.parts.federation.treasury, request) {
                Some(reason) => {
                    pegout.state = PegoutState::Parked;
                    pegout.reason = reason.to_string();
                }
                None => {
                    let Wait { reason, expected_seconds } = waits.get(&request.outpoint).cloned().unwrap_or_default();
                    (pegout.reason, pegout.expected_seconds) = (reason, expected_seconds);
                }
            }
            return Ok(pegout);
        };
        // The batch that is confirmed; as long as none is, the latest.
        let (siblings, buried) = snapshot.siblings(paid.height)?;
        let is_confirmed =
            |height: &u32| matches!(self.parts.driver.state(*height), Some(BatchState::Confirmed { .. }));
        let height = siblings.into_iter().find(is_confirmed).or(buried).unwrap_or(paid.height);
        let paid = PaidBy { height, ..paid };
        let batch = snapshot.header(paid.height)?.and_then(|block| block.batch);
        let batch = batch.ok_or_else(|| BackendError(format!("block {} has no batch", paid.height)))?;
        let batch: bitcoin::Transaction = bitcoin::consensus::deserialize(&batch).map_err(backend_error)?;
        pegout.batch = Some((paid.height, batch.compute_txid()));
        let output = usize::try_from(paid.vout).ok().and_then(|vout| batch.output.get(vout));
        let paid_sat = output.map_or(0, |output| output.value.to_sat());
        pegout.fee_sat = request.amount_sat.saturating_sub(paid_sat);
        (pegout.state, pegout.reason) = match self.parts.driver.state(paid.height) {
            Some(BatchState::Signing { signatures, needed }) => {
                let signed = format!("{signatures} of {needed} members have signed");
                let reason = match self.parts.status.waiting_batches().remove(&paid.height) {
                    Some(reason) => format!("{signed}; this one waits: {reason}"),
                    None => signed,
                };
                (PegoutState::Batched, reason)
            }
            Some(BatchState::Signed { problem }) => (PegoutState::Signed, problem.unwrap_or_default()),
            Some(BatchState::Broadcast) => (PegoutState::Broadcast, String::new()),
            Some(BatchState::Confirmed { confirmations, .. }) => {
                pegout.confirmations = confirmations;
                (PegoutState::Confirmed, String::new())
            }
            // Asked of the latest state: what is buried is dropped there before it is no longer followed.
            None if self.snapshot()?.is_open_batch(paid.height)? => {
                (PegoutState::Batched, "the members are about to sign".into())
            }
            None => {
                pegout.confirmations = self.parts.params.pegin_confirmation_depth_blocks;
                (PegoutState::Confirmed, String::new())
            }
        };
        Ok(pegout)
    }

    fn key_proof(&self, snapshot: &Snapshot<'_>) -> Result<KeyProof, BackendError> {
        if let Some(txid) = self.parts.parent.key_proof() {
            return Ok(KeyProof::Seen(txid));
        }
        if let Some(batch) = self.parts.driver.unconfirmed_key_spend() {
            return Ok(KeyProof::Missing(MissingProof::Confirmation { batch }));
        }
        // Of a coin with several places one counts.
        let coins = snapshot.treasury_coins()?.into_iter().filter(|coin| coin.outpoint == coin.booked_as);
        let under_key = coins.filter(|coin| coin.kind == CoinKind::Treasury);
        let under_key_sat = under_key.fold(0u64, |sum, coin| sum.saturating_add(coin.amount_sat));
        Ok(KeyProof::Missing(match under_key_sat {
            0 => MissingProof::Probe,
            under_key_sat => MissingProof::Spend { under_key_sat },
        }))
    }
}

impl LedgerBackend for NodeBackend {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn info(&self) -> Result<ChainInfo, BackendError> {
        let Parts { federation, me, params, mempool, parent, peers, status, .. } = &self.parts;
        let snapshot = self.snapshot()?;
        let tip = snapshot.tip()?;
        let connected = peers.connected();
        let others = federation.roster.indexed().filter(|(index, _)| index != me);
        let (parent_height, parent_problem) = match parent.state() {
            ParentState::Healthy { height, .. } => (Some(height), String::new()),
            ParentState::Unhealthy { reason } | ParentState::WrongChain { reason } => (None, reason),
        };
        Ok(ChainInfo {
            chain: params.name.clone(),
            genesis: params.genesis_hash(),
            pegged_asset: params.pegged_asset(),
            height: tip.height,
            tip: tip.hash,
            certificate_key: federation.certificate_key().to_bytes().to_vec(),
            member: federation.roster.member(*me).map(|card| card.name.clone()).unwrap_or_default(),
            mempool_transactions: u32::try_from(mempool.len()).unwrap_or(u32::MAX),
            parent_height,
            parent_problem,
            alarms: status.alarms(),
            key_proof: self.key_proof(&snapshot)?,
            peers: others
                .map(|(index, card)| PeerState {
                    name: card.name.clone(),
                    connected: connected.contains(&index),
                    height: status.peer(index).height,
                })
                .collect(),
            min_fee_rate_sat_per_kvb: mempool.min_fee_rate_sat_per_kvb(),
            round: status.round(),
            oversight: self.parts.oversight.describe(),
            valve: self.valve_state(&snapshot)?,
            index: self.parts.index.as_ref().map(|index| index.progress()),
        })
    }

    fn height(&self) -> Result<u32, BackendError> {
        Ok(self.snapshot()?.tip()?.height)
    }

    fn submit(&self, transaction: Transaction) -> Result<Txid, SubmitError> {
        let bytes = serialize(&transaction);
        match self.parts.mempool.submit(transaction) {
            Ok(admission) => {
                if let Admission::New(_) = admission {
                    self.parts.peers.broadcast(PeerMessage { kind: Some(Kind::Transaction(bytes.into())) });
                }
                Ok(admission.txid())
            }
            Err(MempoolError::Store(error)) => Err(SubmitError::Backend(error.into())),
            Err(error) => {
                let text = match error.elements_reason().filter(|reason| *reason != error.name()) {
                    Some(reason) => format!("{} ({reason}): {error}", error.name()),
                    None => format!("{}: {error}", error.name()),
                };
                Err(if error.is_temporary() { SubmitError::NotNow(text) } else { SubmitError::Invalid(text) })
            }
        }
    }

    fn header(&self, height: u32) -> Result<Option<SignedHeader>, BackendError> {
        let snapshot = self.snapshot()?;
        let Some(stored) = snapshot.header(height)? else { return Ok(None) };
        Ok(Some(SignedHeader {
            height,
            header: stored.header,
            certificate: stored.certificate,
            txids: snapshot.txids(height)?,
            block_size: stored.size,
            block_weight: stored.weight,
        }))
    }

    fn block(&self, height: u32) -> Result<Option<SignedBlock>, BackendError> {
        let stored = self.snapshot()?.block(height)?;
        Ok(stored.map(|stored| SignedBlock {
            height,
            block: stored.block,
            certificate: stored.certificate,
            batch: stored.batch.unwrap_or_default(),
        }))
    }

    fn transaction(&self, txid: &Txid) -> Result<Option<ProvenTransaction>, BackendError> {
        // The mempool first: a transaction that is connected meanwhile is then found in the ledger.
        let waiting = self.parts.mempool.get(txid);
        if let Some(found) = self.final_transaction(&self.snapshot()?, txid)? {
            return Ok(Some(found));
        }
        Ok(waiting.map(|transaction| ProvenTransaction { transaction: serialize(&*transaction), proof: None }))
    }

    fn history(&self, script: &Script) -> Result<Vec<HistoryEntry>, BackendError> {
        let waiting = self.parts.mempool.touching(script);
        let snapshot = self.snapshot()?;
        let mut history = Vec::new();
        for (height, txid) in snapshot.script_history(script)? {
            let header = snapshot.header(height)?.ok_or_else(|| BackendError(format!("no block {height}")))?;
            history.push(HistoryEntry { txid, block: Some((height, header.hash)) });
        }
        for txid in waiting {
            if !history.iter().any(|entry| entry.txid == txid) {
                history.push(HistoryEntry { txid, block: None });
            }
        }
        Ok(history)
    }

    fn transaction_status(&self, txid: &Txid) -> Result<TransactionStatus, BackendError> {
        let waits = self.parts.mempool.get(txid).is_some();
        let snapshot = self.snapshot()?;
        if let Some(place) = snapshot.place(txid)? {
            let header = snapshot.header(place.height)?;
            let header = header.ok_or_else(|| BackendError(format!("no block {}", place.height)))?;
            return Ok(TransactionStatus::Final { height: place.height, block: header.hash });
        }
        Ok(if waits { TransactionStatus::Mempool } else { TransactionStatus::Unknown })
    }

    fn watch_deposits(&self, claim_script: &Script, parent_txid: Option<bitcoin::Txid>) -> Result<(), BackendError> {
        let height = self.height()?;
        self.parts.parent.watch_deposit(claim_script, height, parent_txid).map_err(backend_error)
    }

    fn deposits(&self, claim_script: &Script) -> Result<Deposits, BackendError> {
        let snapshot = self.snapshot()?;
        let mut deposits = Vec::new();
        for found in self.parts.parent.deposits(claim_script).map_err(backend_error)? {
            let state = match (snapshot.claim_of(&found.outpoint)?, found.progress) {
                (Some((claim_txid, _)), _) => DepositState::Claimed { claim_txid },
                (None, DepositProgress::Confirming) => DepositState::Confirming,
                (None, DepositProgress::Ready { transaction, proof }) => DepositState::Ready { transaction, proof },
            };
            deposits.push(Deposit {
                outpoint: found.outpoint,
                amount_sat: found.amount_sat,
                confirmations: found.confirmations,
                needed_confirmations: found.needed_confirmations,
                state,
            });
        }
        let problem = match self.parts.parent.state() {
            ParentState::Healthy { .. }
                if deposits.is_empty() && self.parts.parent.looks_back(claim_script).map_err(backend_error)? =>
            {
                "looking for earlier deposits".to_owned()
            }
            ParentState::Healthy { .. } => String::new(),
            ParentState::Unhealthy { reason } | ParentState::WrongChain { reason } => reason,
        };
        Ok(Deposits { deposits, problem })
    }

    fn pegout(&self, request: &OutPoint) -> Result<Option<Pegout>, BackendError> {
        let snapshot = self.snapshot()?;
        let Some(stored) = snapshot.pegout(request)? else { return Ok(None) };
        let waits = match stored.batch {
            None => self.waits(&snapshot)?,
            Some(_) => BTreeMap::new(),
        };
        self.describe(&snapshot, stored, &waits).map(Some)
    }

    fn pegouts(&self, limit: u32) -> Result<Vec<Pegout>, BackendError> {
        let snapshot = self.snapshot()?;
        let waits = self.waits(&snapshot)?;
        let stored = snapshot.latest_pegouts(limit)?;
        stored.into_iter().map(|stored| self.describe(&snapshot, stored, &waits)).collect()
    }

    fn asset(&self, asset: &AssetId) -> Result<Option<Asset>, BackendError> {
        let snapshot = self.snapshot()?;
        let issuance = snapshot.issuance(asset)?.map(|stored| Issuance {
            entropy: stored.record.entropy,
            token: stored.record.token,
            contract_hash: stored.record.contract_hash.unwrap_or_default(),
            txid: stored.record.txid,
            vin: stored.record.vin,
            height: stored.height,
        });
        let supply = snapshot.supply()?.into_iter().find(|supply| supply.asset == *asset).map(asset_supply);
        if issuance.is_none() && supply.is_none() && *asset != self.parts.params.pegged_asset() {
            return Ok(None);
        }
        let nothing = AssetSupply { asset: *asset, issued_sat: 0, removed_sat: 0, burned_sat: 0, blinded_issuances: 0 };
        Ok(Some(Asset { asset: *asset, issuance, supply: supply.unwrap_or(nothing) }))
    }

    fn supply(&self) -> Result<Supply, BackendError> {
        let snapshot = self.snapshot()?;
        let books = snapshot.books()?;
        let supplies = snapshot.supply()?;
        Ok(Supply {
            height: snapshot.tip()?.height,
            assets: supplies.into_iter().map(asset_supply).collect(),
            reserve: Reserve {
                pegged_in_sat: books.pegged_in_sat,
                pegged_out_sat: books.pegged_out_sat,
                burned_sat: books.burned_sat,
                coins_sat: books.coins_sat,
                coins: books.coins,
                pending_pegouts_sat: books.waiting_sat,
                in_flight_sat: books.in_flight_sat,
                owed_sat: books.owed_sat(),
                difference_sat: books.difference_sat(),
            },
        })
    }
}

fn asset_supply(supply: crate::store::ledger::AssetSupply) -> AssetSupply {
    AssetSupply {
        asset: supply.asset,
        issued_sat: supply.issued,
        removed_sat: supply.removed,
        burned_sat: supply.burned,
        blinded_issuances: supply.blinded_issuances,
    }
}
