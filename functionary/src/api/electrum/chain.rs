//! What clients ask of blocks and final transactions.

use aquifer_assets::block::{merkle_branch, merkle_root};
use elements::Txid;
use serde_json::{Value, json};

use super::rpc::{Params, RpcError};
use super::shape::reversed;
use super::version::Version;
use crate::index::IndexView;

/// Most headers in one answer.
const MAX_HEADERS: u32 = 2_016;

/// A header with its witness; refused above the tip.
pub(super) fn header(view: &IndexView<'_>, height: u32) -> Result<String, RpcError> {
    let stored = if height <= view.tip().0 { view.ledger().header(height)? } else { None };
    match stored {
        Some(stored) => Ok(hex::encode(stored.header)),
        None => Err(RpcError::bad_request(format!("there is no block {height}: the last one is {}", view.tip().0))),
    }
}

/// The last header, as it is told to those who follow headers.
pub(super) fn tip(view: &IndexView<'_>) -> Result<Value, RpcError> {
    let (height, _) = view.tip();
    Ok(json!({ "hex": header(view, height)?, "height": height }))
}

/// `blockchain.block.header`.
pub(super) fn block_header(view: &IndexView<'_>, params: &Params) -> Result<Value, RpcError> {
    let height = params.number(0, "height")?;
    let header = header(view, height)?;
    match params.number_or_zero(1, "cp_height")? {
        0 => Ok(json!(header)),
        checkpoint => {
            let (root, branch) = header_proof(view, height, checkpoint)?;
            Ok(json!({ "header": header, "root": root, "branch": branch }))
        }
    }
}

/// `blockchain.block.headers`.
pub(super) fn block_headers(view: &IndexView<'_>, params: &Params, version: Version) -> Result<Value, RpcError> {
    let (start, wanted) = (params.number(0, "start_height")?, params.number(1, "count")?);
    let checkpoint = params.number_or_zero(2, "cp_height")?;
    let there = view.tip().0.saturating_add(1).saturating_sub(start);
    let count = wanted.min(MAX_HEADERS).min(there);
    let end = start.saturating_add(count);
    let headers: Vec<String> = (start..end).map(|height| header(view, height)).collect::<Result<_, _>>()?;
    let mut answer = json!({ "count": count, "max": MAX_HEADERS });
    let Value::Object(fields) = &mut answer else { return Ok(answer) };
    if version >= Version::LISTS {
        fields.insert("headers".to_owned(), json!(headers));
    } else {
        // Of different lengths, one behind the other: each says by itself where it ends.
        fields.insert("hex".to_owned(), json!(headers.concat()));
    }
    if checkpoint > 0 && count > 0 {
        let (root, branch) = header_proof(view, end.saturating_sub(1), checkpoint)?;
        fields.insert("root".to_owned(), json!(root));
        fields.insert("branch".to_owned(), json!(branch));
    }
    Ok(answer)
}

/// Root of the tree over the hashes of all headers up to a checkpoint, and the branch of one of them.
fn header_proof(view: &IndexView<'_>, height: u32, checkpoint: u32) -> Result<(String, Vec<String>), RpcError> {
    let (tip, _) = view.tip();
    if !(height..=tip).contains(&checkpoint) {
        return Err(RpcError::bad_request(format!(
            "cp_height is not from {height}, the header's, to {tip}, the last one"
        )));
    }
    // The tree is built as that of a block's transactions.
    let hashes = view.hashes(checkpoint)?;
    let leaves: Vec<Txid> = hashes.iter().map(|hash| Txid::from_byte_array(hash.to_byte_array())).collect();
    let branch = merkle_branch(&leaves, height).iter().map(reversed).collect();
    Ok((merkle_root(&leaves).to_string(), branch))
}

/// `blockchain.transaction.get_merkle`.
pub(super) fn merkle(view: &IndexView<'_>, params: &Params) -> Result<Value, RpcError> {
    let (txid, height): (Txid, u32) = (params.hash(0, "tx_hash")?, params.number(1, "height")?);
    let place = view.place(&txid)?.filter(|place| place.height == height);
    let place = place.ok_or_else(|| RpcError::bad_request(format!("{txid} is not in block {height}")))?;
    let branch = merkle_branch(&view.txids(height)?, place.position);
    let merkle: Vec<String> = branch.iter().map(reversed).collect();
    Ok(json!({ "block_height": height, "merkle": merkle, "pos": place.position }))
}

/// `blockchain.transaction.id_from_pos`.
pub(super) fn id_from_position(view: &IndexView<'_>, params: &Params) -> Result<Value, RpcError> {
    let (height, position) = (params.number(0, "height")?, params.number(1, "tx_pos")?);
    let txids = view.txids(height)?;
    let txid = usize::try_from(position).ok().and_then(|position| txids.get(position));
    let txid = txid.ok_or_else(|| {
        RpcError::bad_request(format!("there is no transaction at position {position} of block {height}"))
    })?;
    if !params.flag(2, "merkle")? {
        return Ok(json!(txid.to_string()));
    }
    let merkle: Vec<String> = merkle_branch(&txids, position).iter().map(reversed).collect();
    Ok(json!({ "tx_hash": txid.to_string(), "merkle": merkle }))
}
