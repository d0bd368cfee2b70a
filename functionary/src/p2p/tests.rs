//! The network in front of a mempool and a ledger, and peers of every kind.
