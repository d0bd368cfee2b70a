//! What the demo has to say at the end, for people and for programs.

use std::fmt;

use serde::Serialize;

/// The whole story in numbers. Amounts are in the smallest unit of their asset; hashes and ids are hex as shown by the
/// programs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Number of members.
    pub members: usize,
    /// Final height at the end of the story.
    pub height: u32,
    /// Hash of the block there.
    pub tip_hash: String,
    /// Height of the parent chain.
    pub parent_height: u32,
    /// Time from the first step to the end of the story.
    pub elapsed_ms: u64,
    /// The deposit and its claim.
    pub pegin: Pegin,
    /// Every transaction that was sent on the sidechain, in order.
    pub payments: Vec<Payment>,
    /// The withdrawals, in order.
    pub pegouts: Vec<Pegout>,
    /// What the last of them cost, and would have cost elsewhere.
    pub costs: CostComparison,
    /// Supply of each asset.
    pub assets: Vec<AssetSupply>,
    /// The bitcoin behind the pegged asset.
    pub reserve: Reserve,
    /// Every block with more than a coinbase.
    pub blocks: Vec<BlockSize>,
}

/// A transaction of the sidechain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Payment {
    /// What it does.
    pub kind: String,
    /// Its id.
    pub txid: String,
    /// Height of the block that holds it.
    pub height: u32,
    /// From its submission until it was final and verified by the wallet.
    pub final_after_ms: u64,
    /// Size in bytes, with witness.
    pub size: usize,
    /// Weight that its fee was paid for: with the discount for confidential outputs, in vbytes.
    pub discount_vsize: usize,
    /// Fee, in the pegged asset.
    pub fee_sat: u64,
}

/// A peg-in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pegin {
    /// The Bitcoin address that was paid.
    pub address: String,
    /// The deposit on Bitcoin.
    pub parent_txid: String,
    /// The claim on the sidechain.
    pub claim_txid: String,
    /// The deposit.
    pub amount_sat: u64,
}

/// A peg-out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pegout {
    /// The request on the sidechain.
    pub txid: String,
    /// The payment on Bitcoin.
    pub parent_txid: String,
    /// The Bitcoin address that was paid.
    pub address: String,
    /// What was burned on the sidechain.
    pub amount_sat: u64,
    /// What arrived on Bitcoin; the rest is the Bitcoin fee.
    pub received_sat: u64,
    /// What the payment spends.
    pub spent: SpentCoins,
    /// Its change: what it puts under the treasury key, and what back into the script of the federation.
    pub to_treasury_sat: u64,
    /// See there.
    pub to_script_sat: u64,
    /// Virtual size of the payment.
    pub vsize: usize,
}

/// What a payment on Bitcoin spends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpentCoins {
    /// Deposits of users, by signatures of the members.
    #[default]
    Deposits,
    /// Change in the federation's script, by signatures of the members.
    Script,
    /// Both such change and the probe under the treasury key, which signs for it.
    ScriptAndProbe,
    /// Outputs of the treasury, by one signature of its key each.
    TreasuryByKey,
}

impl fmt::Display for SpentCoins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deposits => "deposits",
            Self::Script => "the federation's script",
            Self::ScriptAndProbe => "the probe, with one signature of the FROST key, and the federation's script",
            Self::TreasuryByKey => "the treasury, with one signature of its FROST key",
        })
    }
}

/// The cost of one peg-out transaction in two kinds of federations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CostComparison {
    /// Inputs of the transaction.
    pub inputs: usize,
    /// Its outputs.
    pub outputs: usize,
    /// The fee rate that was paid.
    pub fee_rate_sat_per_kvb: u64,
    /// As it was paid.
    pub treasury_key: Cost,
    /// With a multisig script in place of the key.
    pub multisig: Cost,
}

/// What a transaction costs in one kind of federation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// The kind.
    pub federation: String,
    /// Virtual size.
    pub vsize: usize,
    /// Fee at the fee rate of the comparison.
    pub fee_sat: u64,
}

/// Supply of an asset, as the chain tells it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AssetSupply {
    /// The asset id.
    pub asset: String,
    /// Issued, or pegged in.
    pub issued_sat: u64,
    /// Burned, or pegged out.
    pub removed_sat: u64,
    /// The difference.
    pub supply_sat: u64,
}

/// The reserve, as the chain tells it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reserve {
    /// Deposits that were claimed.
    pub pegged_in_sat: u64,
    /// Peg-outs that were requested.
    pub pegged_out_sat: u64,
    /// Pegged asset that was burned otherwise.
    pub burned_sat: u64,
    /// Bitcoin held by the federation.
    pub coins_sat: u64,
    /// Peg-outs that are not paid yet.
    pub pending_pegouts_sat: u64,
}

/// The size of a block.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BlockSize {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: String,
    /// Transactions, the coinbase included.
    pub transactions: usize,
    /// Bytes, with witness.
    pub size: usize,
    /// Weight.
    pub weight: usize,
}

/// An amount of bitcoin for people.
pub(super) fn btc(amount_sat: u64) -> String {
    format!("{}.{:08}", amount_sat / 100_000_000, amount_sat % 100_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_keeps_all_its_decimals() {
        assert_eq!(btc(123), "0.00000123");
        assert_eq!(btc(2_100_000_000_000_000), "21000000.00000000");
    }
}
