//! What another implementation refuses although this member finds it valid.

use std::collections::VecDeque;

use elements::Txid;

/// So many are remembered, the latest: with all of them forgotten, the search for them costs a few questions again.
const MOST: usize = 1_024;

/// Transactions and why they are refused, oldest first. Forgotten with a restart.
#[derive(Debug, Default)]
pub(super) struct Objections(VecDeque<(Txid, String)>);

impl Objections {
    pub(super) fn reason(&self, txid: &Txid) -> Option<String> {
        self.0.iter().find(|(refused, _)| refused == txid).map(|(_, reason)| reason.clone())
    }

    pub(super) fn keep(&mut self, txid: Txid, reason: String) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((txid, reason));
    }
}
