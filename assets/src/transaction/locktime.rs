//! Lock times: absolute (`nLockTime`, against the median time past, BIP 113) and relative (`nSequence`, BIP 68).

use super::inputs::Source;
use super::{TxContext, TxError};
use crate::primitives::Transaction;
use crate::state::ChainView;

/// Lock times below this are heights, the others seconds since 1970.
const LOCK_TIME_THRESHOLD: u32 = 500_000_000;
const SEQUENCE_FINAL: u32 = u32::MAX;
const SEQUENCE_DISABLE: u32 = 1 << 31;
const SEQUENCE_IS_TIME: u32 = 1 << 22;
const SEQUENCE_MASK: u32 = 0xffff;
/// Relative times count units of 512 seconds.
const SEQUENCE_GRANULARITY: u32 = 9;

pub(super) fn check(
    ctx: &TxContext<'_>,
    transaction: &Transaction,
    sources: &[Source],
    view: &dyn ChainView,
) -> Result<(), TxError> {
    check_absolute(ctx, transaction)?;
    if transaction.version < 2 {
        return Ok(());
    }
    for (vin, (input, source)) in transaction.input.iter().zip(sources).enumerate() {
        // A deposit has no height on this chain.
        let Source::Coin(coin) = source else { continue };
        let sequence = input.sequence.to_consensus_u32();
        if sequence & SEQUENCE_DISABLE != 0 {
            continue;
        }
        let amount = u64::from(sequence & SEQUENCE_MASK);
        if sequence & SEQUENCE_IS_TIME == 0 {
            let from = u64::from(coin.height) + amount;
            if u64::from(ctx.height) < from {
                return Err(TxError::RelativeHeight { vin, from, height: ctx.height });
            }
        } else {
            // The earliest time that the block of the output could have had: the median of the block before it.
            let before = coin.height.saturating_sub(1);
            let made = if before.checked_add(1) == Some(ctx.height) {
                ctx.median_time_past
            } else {
                view.median_time_past(before)?
            };
            let after = u64::from(made) + (amount << SEQUENCE_GRANULARITY);
            if u64::from(ctx.median_time_past) < after {
                return Err(TxError::RelativeTime { vin, after, median_time_past: ctx.median_time_past });
            }
        }
    }
    Ok(())
}

fn check_absolute(ctx: &TxContext<'_>, transaction: &Transaction) -> Result<(), TxError> {
    if is_final(transaction, ctx.height, ctx.median_time_past) {
        return Ok(());
    }
    let lock_time = transaction.lock_time.to_consensus_u32();
    Err(TxError::LockTime { lock_time, height: ctx.height, median_time_past: ctx.median_time_past })
}

/// Whether the absolute lock time is reached or out of force.
pub(crate) fn is_final(transaction: &Transaction, height: u32, median_time_past: u32) -> bool {
    let lock_time = transaction.lock_time.to_consensus_u32();
    let now = if lock_time < LOCK_TIME_THRESHOLD { height } else { median_time_past };
    let all_final = transaction.input.iter().all(|input| input.sequence.to_consensus_u32() == SEQUENCE_FINAL);
    lock_time == 0 || lock_time < now || all_final
}
