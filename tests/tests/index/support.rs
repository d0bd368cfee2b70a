//! An index over the chain of a [`Life`], and everything that is in its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aquifer_functionary::index::{Follower, Step};
use aquifer_tests::forge::Chain;
use rusqlite::types::Value;

/// The index of a chain, in `folder`.
pub(crate) fn follower(chain: &Chain, folder: &Path) -> Follower {
    let judge = &chain.judge;
    let (params, ledger, mempool) = (&judge.params, &judge.ledger, &judge.mempool);
    Follower::open(&path(folder), Arc::clone(params), Arc::clone(ledger), Arc::clone(mempool)).unwrap()
}

/// Its file.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("index.db")
}

/// The same, up to date.
pub(crate) fn caught_up(chain: &Chain, folder: &Path) -> Follower {
    let mut follower = follower(chain, folder);
    while follower.step().unwrap() != Step::UpToDate {}
    follower
}

/// Every row of every table.
pub(crate) fn rows(folder: &Path) -> Vec<(String, Vec<Value>)> {
    let connection = rusqlite::Connection::open(path(folder)).unwrap();
    let mut rows = Vec::new();
    for table in ["blocks", "transactions", "scripts", "outputs", "touches", "assets", "asset_transactions"] {
        let mut query = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = query.column_count();
        let found = query.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
        rows.extend(found.map(|row| (table.to_owned(), row.unwrap())));
    }
    rows
}
