//! LWK's state inside the wallet's database, so that one file holds the wallet.
//!
//! LWK encrypts what it stores under a key of the descriptor; this is a plain key-value table.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lwk_common::Store;
use rusqlite::OptionalExtension;

use super::{Database, StoreError};

/// The table `lwk` of the wallet's database as a store of LWK.
#[derive(Debug)]
pub struct LwkStore(Mutex<Database>);

impl LwkStore {
    /// Opens the wallet's database a second time, for LWK.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        super::wallet::open_database(path).map(|database| Self(Mutex::new(database)))
    }

    fn with<T>(&self, run: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let database = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run(&database.connection).map_err(|error| database.wrap(error))
    }
}

impl Store for LwkStore {
    type Error = StoreError;

    fn get<K: AsRef<[u8]>>(&self, key: K) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|db| {
            db.query_row("SELECT value FROM lwk WHERE key = ?1", [key.as_ref()], |row| row.get(0)).optional()
        })
    }

    fn put<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, key: K, value: V) -> Result<(), StoreError> {
        self.with(|db| {
            db.execute("INSERT OR REPLACE INTO lwk (key, value) VALUES (?1, ?2)", [key.as_ref(), value.as_ref()])
                .map(|_| ())
        })
    }

    fn remove<K: AsRef<[u8]>>(&self, key: K) -> Result<(), StoreError> {
        self.with(|db| db.execute("DELETE FROM lwk WHERE key = ?1", [key.as_ref()]).map(|_| ()))
    }

    fn is_persisted(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet.db");
        let store = LwkStore::open(&path).unwrap();
        store.put("a", [1, 2]).unwrap();
        store.put("a", [3]).unwrap();
        store.put("b", [4]).unwrap();
        store.remove("b").unwrap();
        drop(store);
        let store = LwkStore::open(&path).unwrap();
        assert_eq!(store.get("a").unwrap(), Some(vec![3]));
        assert_eq!(store.get("b").unwrap(), None);
        assert!(store.is_persisted());
    }
}
