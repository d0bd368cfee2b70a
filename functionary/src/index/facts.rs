//! What a transaction says of the supply of assets, for all to read.

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::parse_pegout;
use aquifer_assets::primitives::{Transaction, TxIn, TxOut};
use aquifer_assets::script::is_unspendable;
use aquifer_assets::transaction::issued_assets;
use elements::confidential::Value;
use elements::{AssetId, OutPoint, Txid};

/// Something that changes the supply of one asset. Amounts are in its smallest unit.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AssetEvent {
    /// It is issued, for the first time or again.
    Issued {
        /// How much; `None` if that is hidden.
        amount: Option<u64>,
        /// How many of its reissuance tokens; `None` if that is hidden.
        tokens: Option<u64>,
    },
    /// It is the reissuance token of an asset, made with it.
    TokenIssued {
        /// The asset that it allows to reissue.
        of: AssetId,
        /// How many; `None` if that is hidden.
        amount: Option<u64>,
    },
    /// It is sent to where nobody can spend it.
    Burned {
        /// How much.
        amount: u64,
    },
    /// The pegged asset comes in from Bitcoin.
    PeggedIn {
        /// How much, in satoshi.
        amount_sat: u64,
    },
    /// The pegged asset is to leave for Bitcoin.
    PeggedOut {
        /// How much, in satoshi.
        amount_sat: u64,
    },
}

/// Sums over what transactions say of one asset. Amounts are in its smallest unit.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetTotals {
    /// Transactions that change its supply.
    pub transactions: u64,
    /// Issuances and reissuances.
    pub issuances: u64,
    /// Sum of those whose amount is shown.
    pub issued: u64,
    /// Number of those whose amount is hidden.
    pub blinded_issuances: u64,
    /// Reissuance tokens issued with it, as far as that is shown.
    pub tokens: u64,
    /// Issuances that hide how many tokens they make.
    pub blinded_tokens: u64,
    /// Outputs that burn it.
    pub burns: u64,
    /// Their sum.
    pub burned: u64,
    /// Peg-ins.
    pub pegins: u64,
    /// Their sum, in satoshi.
    pub pegged_in_sat: u64,
    /// Peg-outs.
    pub pegouts: u64,
    /// Their sum, in satoshi.
    pub pegged_out_sat: u64,
}

impl AssetTotals {
    /// Counts one event; the transaction is counted by [`AssetTotals::count_transaction`].
    pub fn count(&mut self, event: &AssetEvent) {
        let add = |count: &mut u64, sum: &mut u64, amount: u64| {
            *count = count.saturating_add(1);
            *sum = sum.saturating_add(amount);
        };
        match event {
            AssetEvent::Issued { amount, tokens } => {
                add(&mut self.issuances, &mut self.issued, amount.unwrap_or(0));
                self.blinded_issuances = self.blinded_issuances.saturating_add(u64::from(amount.is_none()));
                self.tokens = self.tokens.saturating_add(tokens.unwrap_or(0));
                self.blinded_tokens = self.blinded_tokens.saturating_add(u64::from(tokens.is_none()));
            }
            AssetEvent::TokenIssued { amount, .. } => {
                add(&mut self.issuances, &mut self.issued, amount.unwrap_or(0));
                self.blinded_issuances = self.blinded_issuances.saturating_add(u64::from(amount.is_none()));
            }
            AssetEvent::Burned { amount } => add(&mut self.burns, &mut self.burned, *amount),
            AssetEvent::PeggedIn { amount_sat } => add(&mut self.pegins, &mut self.pegged_in_sat, *amount_sat),
            AssetEvent::PeggedOut { amount_sat } => add(&mut self.pegouts, &mut self.pegged_out_sat, *amount_sat),
        }
    }

    /// Counts a transaction.
    pub fn count_transaction(&mut self) {
        self.transactions = self.transactions.saturating_add(1);
    }
}

/// What a valid transaction changes in the supply of assets, inputs before outputs.
pub fn asset_events(params: &ChainParams, txid: Txid, transaction: &Transaction) -> Vec<(AssetId, AssetEvent)> {
    let pegged = params.pegged_asset();
    let mut events = Vec::new();
    for input in &transaction.input {
        if let Some(amount_sat) = pegged_in(input) {
            events.push((pegged, AssetEvent::PeggedIn { amount_sat }));
        }
        events.extend(issuances(input));
    }
    for (vout, output) in (0u32..).zip(&transaction.output) {
        events.extend(removal(params, OutPoint::new(txid, vout), output));
    }
    events
}

/// The first item of a peg-in witness is the amount (`pegins.cpp`, `IsValidPeginWitness`).
fn pegged_in(input: &TxIn) -> Option<u64> {
    let amount = input.witness.pegin_witness.iter().next().filter(|_| input.is_pegin)?;
    amount.try_into().ok().map(u64::from_le_bytes)
}

fn issuances(input: &TxIn) -> Vec<(AssetId, AssetEvent)> {
    let Some((_, asset, token)) = issued_assets(input) else { return Vec::new() };
    let issuance = &input.asset_issuance;
    let (amount, tokens) = (shown(&issuance.amount), shown(&issuance.inflation_keys));
    let mut events = vec![(asset, AssetEvent::Issued { amount, tokens })];
    if !issuance.inflation_keys.is_null() {
        events.push((token, AssetEvent::TokenIssued { of: asset, amount: tokens }));
    }
    events
}

/// An amount of an issuance; none at all is 0.
fn shown(value: &Value) -> Option<u64> {
    match value {
        Value::Null => Some(0),
        Value::Explicit(amount) => Some(*amount),
        Value::Confidential(_) => None,
    }
}

/// A peg-out, or a burn of a shown amount.
fn removal(params: &ChainParams, outpoint: OutPoint, output: &TxOut) -> Option<(AssetId, AssetEvent)> {
    if !is_unspendable(&output.script_pubkey) || output.is_fee() {
        return None;
    }
    if let Some(request) = parse_pegout(params, outpoint, output) {
        return Some((params.pegged_asset(), AssetEvent::PeggedOut { amount_sat: request.amount_sat }));
    }
    let amount = output.value.explicit().filter(|amount| *amount > 0)?;
    Some((output.asset.explicit()?, AssetEvent::Burned { amount }))
}
