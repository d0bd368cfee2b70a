//! Histories of scripts: what belongs to the wallet, proven before it is believed.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_proto::ledger as proto;
use elements::{Script, Txid};

use super::ledger::Ledger;
use super::{BackendError, verify};

/// One transaction of a script's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The transaction.
    pub txid: Txid,
    /// The proven height, `None` while it is pending.
    pub height: Option<u32>,
}

struct Claim {
    txid: Txid,
    height: u32,
    block_hash: Vec<u8>,
}

impl Ledger {
    /// For each script, its transactions. Final ones are proven and cached before this returns; one failed proof and
    /// nothing of the answer counts. A final transaction that the server listed before must still be there.
    pub fn histories(&self, scripts: &[&Script]) -> Result<Vec<Vec<Entry>>, BackendError> {
        let answer = self.ask(|mut client| {
            let scripts = scripts.iter().map(|script| script.as_bytes().to_vec().into()).collect();
            let request = proto::GetScriptHistoriesRequest { scripts };
            async move { client.get_script_histories(request).await.map(tonic::Response::into_inner) }
        })?;
        let server = answer.server;
        let got = answer.value.histories.len();
        if got != scripts.len() {
            return Err(BackendError::Truncated { server, what: "histories", asked: scripts.len(), got });
        }
        let claims = answer
            .value
            .histories
            .iter()
            .map(|history| history.entries.iter().map(|entry| claim(&server, entry)).collect())
            .collect::<Result<Vec<Vec<Claim>>, BackendError>>()?;

        self.prove(&server, claims.iter().flatten())?;

        let mut histories = Vec::with_capacity(claims.len());
        for (script, claims) in scripts.iter().zip(&claims) {
            let mut entries = Vec::with_capacity(claims.len());
            for claim in claims {
                // Proven beats pending: a server may be a moment behind the one that proved it.
                entries.push(Entry { txid: claim.txid, height: self.cache.height_of(&claim.txid)? });
            }
            self.compare_with_the_past(&server, script, &entries)?;
            histories.push(entries);
        }
        Ok(histories)
    }

    /// Proves every claim of a height, and fetches what is pending.
    fn prove<'a>(&self, server: &str, claims: impl Iterator<Item = &'a Claim>) -> Result<(), BackendError> {
        let by_txid: BTreeMap<Txid, &Claim> = claims.map(|claim| (claim.txid, claim)).collect();
        let heights: BTreeSet<u32> = by_txid.values().map(|claim| claim.height).filter(|height| *height > 0).collect();
        let certified: BTreeMap<u32, _> =
            self.headers(&heights)?.into_iter().map(|header| (header.height(), header.hash)).collect();
        for claim in by_txid.values() {
            if let Some(hash) = certified.get(&claim.height)
                && !claim.block_hash.is_empty()
                && claim.block_hash != AsRef::<[u8]>::as_ref(hash)
            {
                return Err(BackendError::WrongBlock {
                    server: server.to_owned(),
                    txid: claim.txid,
                    height: claim.height,
                    claimed: hex::encode(&claim.block_hash).into(),
                    certified: *hash,
                });
            }
        }
        let txids: Vec<Txid> = by_txid.keys().copied().collect();
        let found = self.transactions(&txids)?;
        for (claim, found) in by_txid.values().zip(&found) {
            match (claim.height, found.place) {
                (0, _) => {}
                (height, None) => {
                    return Err(BackendError::MissingProof { server: server.to_owned(), txid: claim.txid, height });
                }
                (claimed, Some(place)) if claimed != place.height => {
                    return Err(BackendError::WrongPlace {
                        server: server.to_owned(),
                        txid: claim.txid,
                        claimed,
                        proven: place.height,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn compare_with_the_past(&self, server: &str, script: &Script, entries: &[Entry]) -> Result<(), BackendError> {
        let listed: BTreeSet<Txid> = entries.iter().map(|entry| entry.txid).collect();
        if let Some(txid) = self.cache.history(script)?.into_iter().find(|txid| !listed.contains(txid)) {
            return Err(BackendError::HistoryShrank { server: server.to_owned(), txid });
        }
        let proven: Vec<Txid> = entries.iter().filter(|entry| entry.height.is_some()).map(|entry| entry.txid).collect();
        self.cache.extend_history(script, &proven)?;
        Ok(())
    }
}

fn claim(server: &str, entry: &proto::HistoryEntry) -> Result<Claim, BackendError> {
    Ok(Claim { txid: verify::txid(server, &entry.txid)?, height: entry.height, block_hash: entry.block_hash.to_vec() })
}
