//! Fees: outputs with an empty script and explicit asset and value. Nobody can spend them; the coinbase may collect them.

use std::collections::BTreeMap;

use elements::AssetId;

use super::{MAX_MONEY, TxError};
use crate::primitives::Transaction;

/// Fees per asset. Each fee is more than nothing, and the sum per asset at most 21 million coins
/// (`confidential_validation.cpp`, `HasValidFee`).
pub(super) fn check(transaction: &Transaction) -> Result<BTreeMap<AssetId, u64>, TxError> {
    let mut fees: BTreeMap<AssetId, u64> = BTreeMap::new();
    for (vout, output) in transaction.output.iter().enumerate().filter(|(_, output)| output.is_fee()) {
        let (Some(asset), Some(value)) = (output.asset.explicit(), output.value.explicit()) else { continue };
        if value == 0 {
            return Err(TxError::ZeroFee { vout });
        }
        let sum = fees.entry(asset).or_default();
        *sum = sum.saturating_add(value);
        if *sum > MAX_MONEY {
            return Err(TxError::FeeRange { asset, total: *sum });
        }
    }
    Ok(fees)
}

/// Fee of a transaction in one asset, in its smallest unit.
pub fn fee_in(transaction: &Transaction, asset: AssetId) -> u64 {
    transaction
        .output
        .iter()
        .filter(|output| output.is_fee() && output.asset.explicit() == Some(asset))
        .filter_map(|output| output.value.explicit())
        .fold(0, u64::saturating_add)
}

/// Discounted virtual size in bytes, rounded up: what fees are measured by. Proofs, and what commitments are longer than
/// explicit fields, do not count (`policy/discount.h`).
pub fn discount_vsize(transaction: &Transaction) -> usize {
    transaction.discount_vsize()
}
