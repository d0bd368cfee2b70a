//! From the node's types to the messages of the wallets' service, and from bytes of a request to types.

use aquifer_federation::valve::NoticeKind;
use aquifer_proto::ledger as proto;
use bytes::Bytes;
use elements::{AssetId, BlockHash, Txid};
use tonic::Status;

use crate::api::backend::{
    Asset, AssetSupply, ChainInfo, Deposit, DepositState, ElementsdState, HistoryEntry, KeyProof, MemberPosition,
    MerkleProof, Oversight, Pegout, PegoutState, ProvenTransaction, Reserve, SignedBlock, SignedHeader, Supply,
    TransactionStatus, ValveState,
};

use crate::audit::{AuditorStatus, SignedVerdict};

/// Longest script taken, in bytes: Elements' limit for scripts.
const MAX_SCRIPT_LEN: usize = 10_000;

/// The 32 bytes of a hash in a request; `what` names the field.
pub(super) fn hash_bytes(bytes: &[u8], what: &str) -> Result<[u8; 32], Status> {
    <[u8; 32]>::try_from(bytes)
        .map_err(|_| Status::invalid_argument(format!("{what} has {} bytes, it must have 32", bytes.len())))
}

/// A transaction id in a request.
pub(super) fn txid(bytes: &[u8]) -> Result<Txid, Status> {
    hash_bytes(bytes, "a transaction id").map(Txid::from_byte_array)
}

/// A script in a request.
pub(super) fn script(bytes: &[u8]) -> Result<elements::Script, Status> {
    if bytes.is_empty() || bytes.len() > MAX_SCRIPT_LEN {
        let text = format!("a script has {} bytes, it must have 1 to {MAX_SCRIPT_LEN}", bytes.len());
        return Err(Status::invalid_argument(text));
    }
    Ok(elements::Script::from(bytes.to_vec()))
}

fn bytes_of_block(hash: &BlockHash) -> Bytes {
    Bytes::copy_from_slice(&hash.to_byte_array())
}

fn bytes_of_tx(txid: &Txid) -> Bytes {
    Bytes::copy_from_slice(&txid.to_byte_array())
}

fn bytes_of_parent_tx(txid: &bitcoin::Txid) -> Bytes {
    use bitcoin::hashes::Hash as _;
    Bytes::copy_from_slice(&txid.to_byte_array())
}

fn bytes_of_asset(asset: &AssetId) -> Bytes {
    Bytes::copy_from_slice(&asset.to_byte_array())
}

pub(super) fn info(info: ChainInfo) -> proto::Info {
    proto::Info {
        chain: info.chain,
        genesis_hash: bytes_of_block(&info.genesis),
        pegged_asset: bytes_of_asset(&info.pegged_asset),
        height: info.height,
        tip_hash: bytes_of_block(&info.tip),
        certificate_key: info.certificate_key.into(),
        member: info.member,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mempool_transactions: info.mempool_transactions,
        parent_height: info.parent_height,
        parent_problem: info.parent_problem,
        alarms: info.alarms,
        key_proof: match info.key_proof {
            KeyProof::Seen(txid) => bitcoin::hashes::Hash::to_byte_array(txid).to_vec().into(),
            KeyProof::Missing(_) => Bytes::new(),
        },
        key_missing: match info.key_proof {
            KeyProof::Seen(_) => String::new(),
            KeyProof::Missing(missing) => missing.to_string(),
        },
        peers: info
            .peers
            .into_iter()
            .map(|peer| proto::PeerInfo { name: peer.name, connected: peer.connected, height: peer.height })
            .collect(),
        min_fee_rate_sat_per_kvb: info.min_fee_rate_sat_per_kvb,
        round: info.round,
        oversight: Some(oversight(info.oversight)),
        valve: Some(valve(info.valve)),
        index: info.index.map(|index| proto::IndexInfo {
            height: index.height,
            tip: index.tip,
            remaining_s: index.remaining_s,
            problem: index.problem.unwrap_or_default(),
        }),
    }
}

fn valve(valve: ValveState) -> proto::Valve {
    let position = |member: MemberPosition| proto::MemberPosition {
        name: member.name,
        halts: member.position == NoticeKind::Halt,
        changing: member.changing,
    };
    proto::Valve {
        closed: valve.closure.map(|closure| closure.to_string()).unwrap_or_default(),
        own_halt: valve.own_halt.unwrap_or_default(),
        positions: valve.positions.into_iter().map(position).collect(),
        counting_sat: valve.counting_sat,
        window_cap_sat: valve.window_cap_sat,
        time_seconds: valve.time_seconds,
        waiting: valve.waiting.iter().map(pegout).collect(),
    }
}

fn oversight(oversight: Oversight) -> proto::Oversight {
    let refusal = |objection: SignedVerdict| proto::Refusal {
        height: objection.height,
        block_hash: bytes_of_block(&objection.block),
        reason: objection.reason,
    };
    let auditor = |auditor: AuditorStatus| proto::AuditorInfo {
        key: Bytes::copy_from_slice(&auditor.key.serialize()),
        passed_height: auditor.passed,
        refusal: auditor.objection.map(refusal),
    };
    let elementsd = |elementsd: ElementsdState| proto::ElementsdInfo {
        height: elementsd.status.follows,
        problem: elementsd.status.problem.unwrap_or_default(),
        disagreement: elementsd.status.disagreement.unwrap_or_default(),
        only_warns: elementsd.only_warns,
    };
    let waiting = |(height, reason): (u32, String)| proto::WaitingBatch { height, reason };
    proto::Oversight {
        auditors_required: oversight.auditors_required,
        auditors: oversight.auditors.into_iter().map(auditor).collect(),
        elementsd: oversight.elementsd.map(elementsd),
        waiting_batches: oversight.waiting_batches.into_iter().map(waiting).collect(),
    }
}

/// Whether a header's transactions are listed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Txids {
    Listed,
    Omitted,
}

pub(super) fn header(header: SignedHeader, txids: Txids) -> proto::SignedHeader {
    proto::SignedHeader {
        height: header.height,
        header: header.header.into(),
        certificate: header.certificate.into(),
        txids: match txids {
            Txids::Listed => header.txids.iter().map(bytes_of_tx).collect(),
            Txids::Omitted => Vec::new(),
        },
        block_size: header.block_size,
        block_weight: header.block_weight,
    }
}

pub(super) fn block(block: SignedBlock) -> proto::Block {
    proto::Block {
        height: block.height,
        block: block.block.into(),
        certificate: block.certificate.into(),
        batch: block.batch.into(),
    }
}

pub(super) fn transaction(transaction: ProvenTransaction) -> proto::ProvenTransaction {
    let proof = |proof: MerkleProof| proto::MerkleProof {
        height: proof.height,
        position: proof.position,
        siblings: proof.siblings.iter().map(|sibling| Bytes::copy_from_slice(sibling)).collect(),
    };
    proto::ProvenTransaction { transaction: transaction.transaction.into(), proof: transaction.proof.map(proof) }
}

pub(super) fn history(entries: &[HistoryEntry]) -> proto::ScriptHistory {
    let entry = |entry: &HistoryEntry| proto::HistoryEntry {
        txid: bytes_of_tx(&entry.txid),
        height: entry.block.map_or(0, |(height, _)| height),
        block_hash: entry.block.map_or_else(Bytes::new, |(_, hash)| bytes_of_block(&hash)),
    };
    proto::ScriptHistory { entries: entries.iter().map(entry).collect() }
}

pub(super) fn transaction_status(status: &TransactionStatus) -> proto::TransactionStatus {
    use proto::transaction_status::State;
    let (state, height, block_hash) = match status {
        TransactionStatus::Unknown => (State::Unknown, 0, Bytes::new()),
        TransactionStatus::Mempool => (State::Mempool, 0, Bytes::new()),
        TransactionStatus::Final { height, block } => (State::Final, *height, bytes_of_block(block)),
    };
    proto::TransactionStatus { state: state.into(), height, block_hash }
}

/// The state of a deposit; `None` while none has been seen.
pub(super) fn deposit(deposit: Option<&Deposit>, problem: &str) -> proto::DepositStatus {
    use proto::deposit_status::State;
    let mut status = proto::DepositStatus { problem: problem.to_owned(), ..proto::DepositStatus::default() };
    let Some(deposit) = deposit else { return status };
    status.parent_txid = bytes_of_parent_tx(&deposit.outpoint.txid);
    status.vout = deposit.outpoint.vout;
    status.amount_sat = deposit.amount_sat;
    status.confirmations = deposit.confirmations;
    status.needed_confirmations = deposit.needed_confirmations;
    match &deposit.state {
        DepositState::Confirming => status.set_state(State::Confirming),
        DepositState::Ready { transaction, proof } => {
            status.set_state(State::Ready);
            status.transaction = Bytes::copy_from_slice(transaction);
            status.proof = Bytes::copy_from_slice(proof);
        }
        DepositState::Claimed { claim_txid } => {
            status.set_state(State::Claimed);
            status.claim_txid = bytes_of_tx(claim_txid);
        }
    }
    status
}

pub(super) fn pegout(pegout: &Pegout) -> proto::PegoutStatus {
    use proto::pegout_status::State;
    let state = match pegout.state {
        PegoutState::Requested => State::Requested,
        PegoutState::Batched => State::Batched,
        PegoutState::Signed => State::Signed,
        PegoutState::Broadcast => State::Broadcast,
        PegoutState::Confirmed => State::Confirmed,
        PegoutState::Parked => State::Parked,
    };
    proto::PegoutStatus {
        state: state.into(),
        reason: pegout.reason.clone(),
        txid: bytes_of_tx(&pegout.request.txid),
        vout: pegout.request.vout,
        amount_sat: pegout.amount_sat,
        fee_sat: pegout.fee_sat,
        parent_script: Bytes::copy_from_slice(pegout.parent_script.as_bytes()),
        requested_height: pegout.requested_height,
        batch_height: pegout.batch.map_or(0, |(height, _)| height),
        parent_txid: pegout.batch.map_or_else(Bytes::new, |(_, txid)| bytes_of_parent_tx(&txid)),
        confirmations: pegout.confirmations,
        expected_seconds: pegout.expected_seconds,
    }
}

/// A peg-out that no final block requests (yet).
pub(super) fn unknown_pegout(request: &elements::OutPoint) -> proto::PegoutStatus {
    proto::PegoutStatus { txid: bytes_of_tx(&request.txid), vout: request.vout, ..proto::PegoutStatus::default() }
}

fn asset_supply(supply: &AssetSupply) -> proto::SupplyOfAsset {
    proto::SupplyOfAsset {
        asset: bytes_of_asset(&supply.asset),
        issued_sat: supply.issued_sat,
        removed_sat: supply.removed_sat,
        burned_sat: supply.burned_sat,
        blinded_issuances: supply.blinded_issuances,
    }
}

pub(super) fn asset(asset: &Asset) -> proto::AssetInfo {
    let mut info = proto::AssetInfo {
        asset: bytes_of_asset(&asset.asset),
        supply: Some(asset_supply(&asset.supply)),
        ..proto::AssetInfo::default()
    };
    if let Some(issuance) = &asset.issuance {
        info.entropy = Bytes::copy_from_slice(&issuance.entropy);
        info.token = bytes_of_asset(&issuance.token);
        info.contract_hash = Bytes::copy_from_slice(&issuance.contract_hash);
        info.issuance_txid = bytes_of_tx(&issuance.txid);
        info.issuance_vin = issuance.vin;
        info.height = issuance.height;
    }
    info
}

pub(super) fn supply(supply: &Supply) -> proto::Supply {
    let Reserve {
        pegged_in_sat,
        pegged_out_sat,
        burned_sat,
        coins_sat,
        coins,
        pending_pegouts_sat,
        in_flight_sat,
        owed_sat,
        difference_sat,
    } = supply.reserve;
    proto::Supply {
        height: supply.height,
        assets: supply.assets.iter().map(asset_supply).collect(),
        reserve: Some(proto::Reserve {
            pegged_in_sat,
            pegged_out_sat,
            burned_sat,
            coins_sat,
            coins,
            pending_pegouts_sat,
            in_flight_sat,
            owed_sat,
            difference_sat,
        }),
    }
}
