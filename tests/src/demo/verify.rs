//! The end of the story: what the chain says of itself is compared with what was done.

use aquifer_proto::ledger::SupplyOfAsset;
use elements::{AssetId, Block, Transaction};

use super::summary::{AssetSupply, BlockSize, Payment, Reserve, Summary, btc};
use super::teller::Teller;
use crate::devnet::Devnet;
use crate::error::HarnessError;
use crate::wallet::Issued;

/// Fills in what the chain tells, and checks that supply and reserve agree.
pub(super) fn books(
    devnet: &mut Devnet,
    teller: &mut Teller,
    pegged_asset: &str,
    issued: &Issued,
    summary: &mut Summary,
) -> Result<(), HarnessError> {
    teller.step("read every block");
    let tip = devnet.height()?;
    devnet.wait_height(tip, super::CATCH_UP_LIMIT)?;
    summary.height = tip;
    summary.parent_height = devnet.bitcoind().block_count()?;
    let ledger = devnet.ledger()?;
    for height in 1..=tip {
        let block = ledger.block(height)?;
        sizes(summary, height, &block);
        summary.tip_hash = block.block_hash().to_string();
    }
    if let Some(lost) = summary.payments.iter().find(|payment| payment.size == 0) {
        return Err(HarnessError::Story(format!("{} {} is in no block", lost.kind, lost.txid)));
    }

    teller.step("compare supply and reserve");
    let supply = ledger.supply()?;
    summary.assets = supply.assets.iter().map(read_supply).collect::<Result<_, HarnessError>>()?;
    let reserve = supply.reserve.ok_or_else(|| HarnessError::Story("the member tells no reserve".to_owned()))?;
    summary.reserve = Reserve {
        pegged_in_sat: reserve.pegged_in_sat,
        pegged_out_sat: reserve.pegged_out_sat,
        burned_sat: reserve.burned_sat,
        coins_sat: reserve.coins_sat,
        pending_pegouts_sat: reserve.pending_pegouts_sat,
    };
    let reserve = &summary.reserve;
    let backed = supply_of(summary, pegged_asset)?;
    if reserve.coins_sat != backed.saturating_add(reserve.pending_pegouts_sat).saturating_add(reserve.burned_sat) {
        return Err(HarnessError::Story(format!(
            "the federation holds {} sat, but {backed} sat are in circulation and {} sat wait to be paid out",
            reserve.coins_sat, reserve.pending_pegouts_sat
        )));
    }
    teller.fact(&format!("pegged asset: {} in circulation, {} held on Bitcoin", btc(backed), btc(reserve.coins_sat)));
    teller.fact(&format!("Alice's asset: {} in circulation", supply_of(summary, &issued.asset)?));
    Ok(())
}

fn read_supply(told: &SupplyOfAsset) -> Result<AssetSupply, HarnessError> {
    let bytes: [u8; 32] = told
        .asset
        .as_ref()
        .try_into()
        .map_err(|_| HarnessError::Story(format!("{} is no asset id", hex::encode(&told.asset))))?;
    let asset = AssetId::from_byte_array(bytes);
    let (issued_sat, removed_sat) = (told.issued_sat, told.removed_sat);
    let supply_sat = issued_sat.checked_sub(removed_sat).ok_or_else(|| {
        HarnessError::Story(format!("{removed_sat} units of {asset} were removed, but only {issued_sat} issued"))
    })?;
    Ok(AssetSupply { asset: asset.to_string(), issued_sat, removed_sat, supply_sat })
}

/// Checks the supply of one asset.
pub(super) fn supply_is(summary: &Summary, asset: &str, expected: u64) -> Result<(), HarnessError> {
    let actual = supply_of(summary, asset)?;
    if actual == expected {
        return Ok(());
    }
    Err(HarnessError::Story(format!("the supply of {asset} is {actual}, not {expected}")))
}

fn supply_of(summary: &Summary, asset: &str) -> Result<u64, HarnessError> {
    let found = summary.assets.iter().find(|entry| entry.asset == asset);
    found.map(|entry| entry.supply_sat).ok_or_else(|| HarnessError::Story(format!("the chain knows no asset {asset}")))
}

fn sizes(summary: &mut Summary, height: u32, block: &Block) {
    for payment in &mut summary.payments {
        if let Some(transaction) = block.txdata.iter().find(|tx| tx.txid().to_string() == payment.txid) {
            describe(payment, height, transaction);
        }
    }
    if block.txdata.len() > 1 {
        summary.blocks.push(BlockSize {
            height,
            hash: block.block_hash().to_string(),
            transactions: block.txdata.len(),
            size: block.size(),
            weight: block.weight(),
        });
    }
}

fn describe(payment: &mut Payment, height: u32, transaction: &Transaction) {
    payment.height = height;
    payment.size = transaction.size();
    payment.discount_vsize = transaction.discount_vsize();
    payment.fee_sat = transaction.all_fees().values().sum();
}
