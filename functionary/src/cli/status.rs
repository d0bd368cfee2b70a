//! `aquiferd status`: what the running node says of itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aquifer_federation::roster::MemberCard;
use aquifer_federation::treasury::PROBE_SAT;
use aquifer_proto::ledger::ledger_client::LedgerClient;
use aquifer_proto::ledger::{
    AuditorInfo, ElementsdInfo, GetInfoRequest, GetSupplyRequest, IndexInfo, Info, Oversight, Reserve, Supply,
};
use elements::{AssetId, BlockHash, Txid};
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use super::{CliError, Output, block_on, valve};
use crate::config::Config;
use crate::files;
use crate::peers::{chain, pinned_client};

/// How long to wait for the node.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Show height, peers, auditors, mempool, index, parent chain, supply and reserve of the running node.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha status --json")]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(self, config: &Config) -> Result<Output, CliError> {
        let address = reachable(config.file.api.listen);
        let (info, supply) = block_on(async { tokio::time::timeout(PATIENCE, ask(config)).await })?
            .map_err(|_| CliError::Failed(format!("the node at {address} does not answer within {PATIENCE:?}")))??;
        describe(&info, &supply)
    }
}

/// An address to listen on as one to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A connection with the running node of this data folder.
pub(super) async fn connect(config: &Config) -> Result<Channel, CliError> {
    let card: MemberCard = files::read_json(&config.data.card())?;
    let address = reachable(config.file.api.listen);
    let unreachable = |error: tonic::transport::Error| {
        CliError::Failed(format!("cannot reach the node at {address}: {}; is `aquiferd run` running?", chain(&error)))
    };
    let endpoint = Endpoint::from_shared(format!("https://{address}")).map_err(unreachable)?;
    let endpoint = endpoint.tls_config(pinned_client(&card.name, &card.tls_certificate)).map_err(unreachable)?;
    endpoint.connect().await.map_err(unreachable)
}

async fn ask(config: &Config) -> Result<(Info, Supply), CliError> {
    let mut client = LedgerClient::new(connect(config).await?);
    let failed = |status: tonic::Status| CliError::Failed(format!("the node refuses: {}", status.message()));
    let info = client.get_info(GetInfoRequest {}).await.map_err(failed)?.into_inner();
    let supply = client.get_supply(GetSupplyRequest {}).await.map_err(failed)?.into_inner();
    Ok((info, supply))
}

pub(super) fn hash(bytes: &[u8]) -> Result<[u8; 32], CliError> {
    let wrong = |_| CliError::Failed("the node sends a hash that is not 32 bytes long".to_owned());
    <[u8; 32]>::try_from(bytes).map_err(wrong)
}

fn describe(info: &Info, supply: &Supply) -> Result<Output, CliError> {
    use std::fmt::Write as _;
    let tip = BlockHash::from_byte_array(hash(&info.tip_hash)?);
    let genesis = BlockHash::from_byte_array(hash(&info.genesis_hash)?);
    let pegged = AssetId::from_byte_array(hash(&info.pegged_asset)?);
    let reserve = supply.reserve.unwrap_or_default();
    let mut text = format!(
        "Member   {} of {}, aquiferd {}\nHeight   {}, round {}\nTip      {tip}\nMempool  {} transactions, at least {} sat/kvB\n",
        info.member,
        info.chain,
        info.version,
        info.height,
        info.round,
        info.mempool_transactions,
        info.min_fee_rate_sat_per_kvb,
    );
    let parent = match (info.parent_height, info.parent_problem.as_str()) {
        (Some(height), "") => format!("height {height}"),
        (Some(height), problem) => format!("height {height}; {problem}"),
        (None, "") => "out of reach".to_owned(),
        (None, problem) => problem.to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Parent   {parent}");
    let key_proof = key_proof(&info.key_proof)?;
    let _ = match &key_proof {
        Some(txid) => writeln!(text, "Treasury key proven, it has signed on Bitcoin: {txid}"),
        None => writeln!(
            text,
            "Treasury key not proven, a batch puts {PROBE_SAT} sat at most under it; missing is {}",
            info.key_missing
        ),
    };
    let _ = writeln!(text, "Index    {}", index_text(info.index.as_ref()));
    for alarm in &info.alarms {
        let _ = writeln!(text, "ALARM    {alarm}");
    }
    let oversight = info.oversight.clone().unwrap_or_default();
    text.push_str(&oversight_text(&oversight));
    let valve = info.valve.clone().unwrap_or_default();
    text.push_str(&valve::text(&valve)?);
    for peer in &info.peers {
        let state = if peer.connected { "connected" } else { "away" };
        let _ = writeln!(text, "Peer     {:<16} {state:<10} height {}", peer.name, peer.height);
    }
    let _ = write!(
        text,
        "Supply   {} sat pegged in, {} sat pegged out, {} sat burned\n\
         Reserve  {} sat in {} coins, difference {} sat; {} sat of peg-outs to pay, {} sat in flight\n\
         Assets   {} beside the pegged one",
        reserve.pegged_in_sat,
        reserve.pegged_out_sat,
        reserve.burned_sat,
        reserve.coins_sat,
        reserve.coins,
        reserve.difference_sat,
        reserve.pending_pegouts_sat,
        reserve.in_flight_sat,
        supply.assets.iter().filter(|asset| asset.asset != info.pegged_asset).count(),
    );
    let peers: Vec<_> = info
        .peers
        .iter()
        .map(|peer| json!({ "name": peer.name, "connected": peer.connected, "height": peer.height }))
        .collect();
    let assets: Result<Vec<_>, CliError> = supply
        .assets
        .iter()
        .map(|asset| {
            Ok(json!({
                "asset": AssetId::from_byte_array(hash(&asset.asset)?),
                "issued_sat": asset.issued_sat,
                "removed_sat": asset.removed_sat,
                "burned_sat": asset.burned_sat,
                "blinded_issuances": asset.blinded_issuances,
            }))
        })
        .collect();
    let json = json!({
        "member": info.member,
        "chain": info.chain,
        "version": info.version,
        "genesis_hash": genesis,
        "pegged_asset": pegged,
        "height": info.height,
        "round": info.round,
        "tip_hash": tip,
        "mempool_transactions": info.mempool_transactions,
        "min_fee_rate_sat_per_kvb": info.min_fee_rate_sat_per_kvb,
        "parent_height": info.parent_height,
        "parent_problem": info.parent_problem,
        "alarms": info.alarms,
        "key_proof": key_proof,
        "index": info.index.as_ref().map(|index| json!({
            "height": index.height,
            "tip": index.tip,
            "remaining_s": index.remaining_s,
            "problem": index.problem,
        })),
        "key_missing": (!info.key_missing.is_empty()).then_some(&info.key_missing),
        "peers": peers,
        "auditors_required": oversight.auditors_required,
        "auditors": oversight.auditors.iter().map(auditor_json).collect::<Result<Vec<_>, _>>()?,
        "elementsd": oversight.elementsd.as_ref().map(elementsd_json),
        "waiting_batches": waiting_json(&oversight),
        "valve": valve::json(&valve)?,
        "supply": { "height": supply.height, "assets": assets? },
        "reserve": reserve_json(&reserve),
    });
    Ok(Output { text, json })
}

fn index_text(index: Option<&IndexInfo>) -> String {
    let Some(index) = index else { return "switched off".to_owned() };
    let IndexInfo { height, tip, remaining_s, problem } = index;
    match (problem.as_str(), remaining_s) {
        ("", _) if height >= tip => format!("height {height}"),
        ("", Some(seconds)) => format!("height {height} of {tip}, {seconds} s left"),
        ("", None) => format!("height {height} of {tip}"),
        (problem, _) => format!("height {height} of {tip}; {problem}"),
    }
}

/// The transaction in which the treasury key was first seen to sign.
fn key_proof(bytes: &[u8]) -> Result<Option<String>, CliError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    // Bitcoin writes its ids like Elements.
    Ok(Some(Txid::from_byte_array(hash(bytes)?).to_string()))
}

/// One line for each auditor, for elementsd and for each batch that waits.
fn oversight_text(oversight: &Oversight) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing to a string cannot fail.
    if oversight.auditors_required == 0 {
        let _ = writeln!(text, "Auditors NONE REQUIRED: peg-out batches are signed unaudited");
    } else {
        let _ = writeln!(
            text,
            "Auditors {} of {} must pass a peg-out batch",
            oversight.auditors_required,
            oversight.auditors.len()
        );
    }
    for auditor in &oversight.auditors {
        let state = match (&auditor.refusal, auditor.passed_height) {
            (Some(refusal), _) => format!("OBJECTS to block {}: {}", refusal.height, refusal.reason),
            (None, Some(height)) => format!("passed up to block {height}"),
            (None, None) => "has not reported since this member started".to_owned(),
        };
        let _ = writeln!(text, "Auditor  {} {state}", hex::encode(&auditor.key));
    }
    if let Some(elementsd) = &oversight.elementsd {
        let height = elementsd.height.map_or_else(|| "out of reach".to_owned(), |height| format!("height {height}"));
        let _ = write!(text, "Elements {height}");
        for problem in [&elementsd.problem, &elementsd.disagreement].into_iter().filter(|problem| !problem.is_empty()) {
            let _ = write!(text, "; {problem}");
        }
        let _ = writeln!(text, "{}", if elementsd.only_warns { " (only warns)" } else { "" });
    }
    for batch in &oversight.waiting_batches {
        let _ = writeln!(text, "Batch    of block {}: {}", batch.height, batch.reason);
    }
    text
}

fn auditor_json(auditor: &AuditorInfo) -> Result<serde_json::Value, CliError> {
    let refusal = auditor.refusal.as_ref().map(|refusal| -> Result<_, CliError> {
        let block = BlockHash::from_byte_array(hash(&refusal.block_hash)?);
        Ok(json!({ "height": refusal.height, "block_hash": block, "reason": refusal.reason }))
    });
    Ok(json!({
        "key": hex::encode(&auditor.key),
        "passed_height": auditor.passed_height,
        "refusal": refusal.transpose()?,
    }))
}

fn elementsd_json(elementsd: &ElementsdInfo) -> serde_json::Value {
    json!({
        "height": elementsd.height,
        "problem": elementsd.problem,
        "disagreement": elementsd.disagreement,
        "only_warns": elementsd.only_warns,
    })
}

fn waiting_json(oversight: &Oversight) -> Vec<serde_json::Value> {
    oversight.waiting_batches.iter().map(|batch| json!({ "height": batch.height, "reason": batch.reason })).collect()
}

fn reserve_json(reserve: &Reserve) -> serde_json::Value {
    json!({
        "pegged_in_sat": reserve.pegged_in_sat,
        "pegged_out_sat": reserve.pegged_out_sat,
        "burned_sat": reserve.burned_sat,
        "coins_sat": reserve.coins_sat,
        "coins": reserve.coins,
        "pending_pegouts_sat": reserve.pending_pegouts_sat,
        "in_flight_sat": reserve.in_flight_sat,
        "owed_sat": reserve.owed_sat,
        "difference_sat": reserve.difference_sat,
    })
}
