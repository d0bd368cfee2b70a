//! Names of transactions and blocks on the wire, and bounded memories of them.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use elements::{BlockHash, Txid, Wtxid};

const TRANSACTION: u32 = 1;
const BLOCK: u32 = 2;
const COMPACT_BLOCK: u32 = 4;
const WTXID: u32 = 5;
/// Added to a transaction or a block where its witness is wanted.
const WITNESS: u32 = 1 << 30;

/// One entry of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inventory {
    /// What it names, as a number of the protocol.
    pub(super) kind: u32,
    /// The name.
    pub(super) hash: [u8; 32],
}

/// What an entry of an inventory names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A transaction, by its id.
    Txid(Txid),
    /// A transaction, by the hash of all of it.
    Wtxid(Wtxid),
    /// A block.
    Block(BlockHash),
    /// A block, compact if that is any use.
    CompactBlock(BlockHash),
    /// Something else.
    Unknown,
}

impl Inventory {
    pub(super) fn txid(txid: Txid) -> Self {
        Self { kind: TRANSACTION, hash: txid.to_byte_array() }
    }

    /// A transaction that is asked for by its id.
    pub(super) fn witness_txid(txid: Txid) -> Self {
        Self { kind: TRANSACTION | WITNESS, hash: txid.to_byte_array() }
    }

    pub(super) fn wtxid(wtxid: Wtxid) -> Self {
        Self { kind: WTXID, hash: wtxid.to_byte_array() }
    }

    pub(super) fn block(hash: BlockHash) -> Self {
        Self { kind: BLOCK, hash: hash.to_byte_array() }
    }

    /// As it is asked for: an announced transaction with its witness.
    pub(super) fn wanted(self) -> Self {
        match self.kind {
            TRANSACTION => Self { kind: TRANSACTION | WITNESS, ..self },
            _ => self,
        }
    }

    /// What it names. Transactions and blocks are one with their witnesses here, whether they are asked for or not: no
    /// Elements node reads them otherwise.
    pub(super) fn named(self) -> Named {
        match self.kind {
            WTXID => Named::Wtxid(Wtxid::from_byte_array(self.hash)),
            COMPACT_BLOCK => Named::CompactBlock(BlockHash::from_byte_array(self.hash)),
            kind => match kind & !WITNESS {
                TRANSACTION => Named::Txid(Txid::from_byte_array(self.hash)),
                BLOCK => Named::Block(BlockHash::from_byte_array(self.hash)),
                _ => Named::Unknown,
            },
        }
    }
}

/// The latest of many things.
#[derive(Debug)]
pub(super) struct Recent<T> {
    most: usize,
    order: VecDeque<T>,
    all: HashSet<T>,
}

impl<T: Copy + Eq + Hash> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, order: VecDeque::new(), all: HashSet::new() }
    }

    /// Keeps it; whether it is new.
    pub(super) fn insert(&mut self, item: T) -> bool {
        if !self.all.insert(item) {
            return false;
        }
        self.order.push_back(item);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }

    pub(super) fn contains(&self, item: &T) -> bool {
        self.all.contains(item)
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut recent = Recent::new(2);
        assert!(recent.insert(1) && !recent.insert(1) && recent.insert(2) && recent.insert(3));
        assert_eq!([1, 2, 3].map(|item| recent.contains(&item)), [false, true, true]);
        assert!(recent.insert(1));
    }
}
