//! Headers and transactions: from the cache, else from a server and verified, then kept.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use aquifer_proto::ledger as proto;
use elements::{Transaction, Txid};
use rayon::prelude::*;
use tonic::{Status, Streaming};

use super::BackendError;
use super::ledger::{Found, Ledger, Place};
use super::verify::{self, VerifiedHeader};

/// Headers asked for at once.
const HEADERS_PER_REQUEST: usize = 1_000;

/// Transactions asked for at once.
const TRANSACTIONS_PER_REQUEST: usize = 200;

impl Ledger {
    /// The certified header at a height.
    pub fn header(&self, height: u32) -> Result<VerifiedHeader, BackendError> {
        self.headers(&BTreeSet::from([height]))?.pop().ok_or_else(|| BackendError::Truncated {
            server: String::new(),
            what: "headers",
            asked: 1,
            got: 0,
        })
    }

    /// The certified headers at these heights, in ascending order.
    pub fn headers(&self, heights: &BTreeSet<u32>) -> Result<Vec<VerifiedHeader>, BackendError> {
        let mut headers = Vec::with_capacity(heights.len());
        let mut missing = Vec::new();
        for height in heights {
            match self.cache.header(*height)? {
                Some(header) => headers.push(header),
                None => missing.push(*height),
            }
        }
        for chunk in missing.chunks(HEADERS_PER_REQUEST) {
            let answer = self.ask(|mut client| {
                let request = proto::GetHeadersRequest { heights: chunk.to_vec() };
                let limit = chunk.len();
                async move { collect(client.get_headers(request).await?.into_inner(), limit).await }
            })?;
            let got = answer.value.len();
            if got != chunk.len() {
                let what = "headers";
                return Err(BackendError::Truncated { server: answer.server, what, asked: chunk.len(), got });
            }
            let (trust, asked): (_, Vec<_>) = (&self.trust, chunk.iter().zip(&answer.value).collect());
            let verified = asked.into_par_iter().map(|(height, signed)| trust.header(&answer.server, *height, signed));
            for header in verified.collect::<Result<Vec<_>, _>>()? {
                self.keep_header(&answer.server, &header)?;
                headers.push(header);
            }
        }
        headers.sort_by_key(VerifiedHeader::height);
        Ok(headers)
    }

    pub(super) fn keep_header(&self, server: &str, header: &VerifiedHeader) -> Result<(), BackendError> {
        match self.cache.put_header(header)? {
            None => Ok(()),
            Some(had) => {
                Err(BackendError::Fork { server: server.to_owned(), height: header.height(), had, now: header.hash })
            }
        }
    }

    /// A transaction by id, with its place when it is final.
    pub fn transaction(&self, txid: Txid) -> Result<Found, BackendError> {
        self.transactions(&[txid])?.pop().ok_or_else(|| BackendError::Truncated {
            server: String::new(),
            what: "transactions",
            asked: 1,
            got: 0,
        })
    }

    /// Transactions by id, in the order asked for, those that are final with their proven places.
    pub fn transactions(&self, txids: &[Txid]) -> Result<Vec<Found>, BackendError> {
        let mut missing = Vec::new();
        for txid in txids {
            if self.cache.height_of(txid)?.is_none() {
                missing.push(*txid);
            }
        }
        for chunk in missing.chunks(TRANSACTIONS_PER_REQUEST) {
            self.fetch(chunk)?;
        }
        txids.iter().map(|txid| self.known(txid)).collect()
    }

    /// Forgets a transaction whose proofs turned out to be damaged.
    pub(super) fn forget(&self, txid: &Txid) -> Result<(), BackendError> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(txid);
        Ok(self.cache.forget_transaction(txid)?)
    }

    fn known(&self, txid: &Txid) -> Result<Found, BackendError> {
        if let (Some(height), Some(transaction)) = (self.cache.height_of(txid)?, self.cache.transaction(txid)?) {
            let header = self.header(height)?;
            let place = Place { height, block: header.hash, time: header.header.time };
            return Ok(Found { transaction, place: Some(place) });
        }
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = pending.get(txid).cloned().ok_or_else(|| BackendError::Truncated {
            server: String::new(),
            what: "transactions",
            asked: 1,
            got: 0,
        })?;
        Ok(Found { transaction, place: None })
    }

    /// Fetches transactions, verifies them and keeps them: proven ones on disk, pending ones in memory. All or nothing
    /// of one answer is kept.
    fn fetch(&self, txids: &[Txid]) -> Result<(), BackendError> {
        let answer = self.ask(|mut client| {
            let ids = txids.iter().map(|txid| txid.to_byte_array().to_vec().into()).collect();
            let request = proto::GetTransactionsRequest { txids: ids };
            let limit = txids.len();
            async move { collect(client.get_transactions(request).await?.into_inner(), limit).await }
        })?;
        let server = &answer.server;
        let got = answer.value.len();
        if got != txids.len() {
            let what = "transactions";
            return Err(BackendError::Truncated { server: server.clone(), what, asked: txids.len(), got });
        }
        let mut decoded: Vec<(Txid, Transaction, Option<&proto::MerkleProof>)> = Vec::with_capacity(got);
        for (txid, proven) in txids.iter().zip(&answer.value) {
            let transaction = verify::transaction(server, *txid, &proven.transaction)?;
            decoded.push((*txid, transaction, proven.proof.as_ref()));
        }
        let heights: BTreeSet<u32> = decoded.iter().filter_map(|(_, _, proof)| proof.map(|p| p.height)).collect();
        let headers = self.headers(&heights)?;
        for (txid, _, proof) in &decoded {
            if let Some(proof) = proof {
                let header = headers.iter().find(|header| header.height() == proof.height);
                let header = header.ok_or_else(|| BackendError::MissingProof {
                    server: server.clone(),
                    txid: *txid,
                    height: proof.height,
                })?;
                verify::inclusion(server, *txid, proof, header)?;
            }
        }
        for (txid, transaction, proof) in decoded {
            match proof {
                Some(proof) => self.cache.put_transaction(proof.height, &txid, &transaction)?,
                None => {
                    self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(txid, transaction);
                }
            }
        }
        Ok(())
    }
}

/// Reads a stream to its end, but not beyond what was asked for.
async fn collect<T>(mut stream: Streaming<T>, limit: usize) -> Result<Vec<T>, Status> {
    let mut items = Vec::with_capacity(limit);
    while let Some(item) = stream.message().await? {
        items.push(item);
        if items.len() > limit {
            break;
        }
    }
    Ok(items)
}
