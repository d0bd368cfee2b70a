//! What a batch pays, found out from the transaction, the reserve and the open requests alone.
//!
//! Nothing of the federation's code is used: commitment, change and shares of the fee are read by the published rules.
//!
//! * The coinbase commits to a batch by an output `OP_RETURN <"AQB1" txid>`; one at most.
//! * Outputs to the treasury's own script, and to the federation's multisig script, are change. Every other output pays one open request: same script, same amount
//!   less its share of the fee. The payments bear the fee in equal parts, the first ones one satoshi more where it does not
//!   divide. So what leaves the reserve is exactly what was burned for it.
//! * Identical requests are paid oldest first; none is paid twice.
//! * A batch that spends a coin again which an earlier one spends takes its place: it spends exactly the same coins, pays
//!   exactly the same requests in the same order, and makes the same change. So Bitcoin confirms one of them at most, and for
//!   the reserve it does not matter which. Change of the later one is an *alternative* of the change of the first: one coin
//!   with several places where it may be, and with the name of the first.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::chain::Network;
use aquifer_assets::primitives::Transaction;
use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, ScriptBuf, Txid};

/// What a commitment's output script begins with: `OP_RETURN`, a push of 36 bytes, the mark.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 36, b'A', b'Q', b'B', b'1'];
/// The mark of commitments in an `OP_RETURN` with any push: whatever has it must be one.
const MARK: &[u8] = b"AQB1";

/// No batch pays more for a byte (the federation's hard limit), in satoshi.
const MAX_FEE_SAT_PER_BYTE: u64 = 500;
/// What signing adds to an input of the largest federation at most, in virtual bytes.
const SIGNED_INPUT_BYTES: u64 = 500;

/// A peg-out that was requested and not paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The output that requests it.
    pub outpoint: elements::OutPoint,
    /// What was burned for it, in satoshi.
    pub amount_sat: u64,
    /// Where it goes.
    pub script: ScriptBuf,
}

/// A coin of the reserve, at one of the places where it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReserveCoin {
    /// Its name: the first of these places.
    pub(super) name: OutPoint,
    pub(super) amount_sat: u64,
    /// Height of the first batch that spends it.
    pub(super) spent_height: Option<u32>,
}

/// What the batches before it, whose place a batch takes, have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Earlier {
    /// Height of the first of them.
    pub(super) height: u32,
    /// Names of the coins they spend.
    pub(super) spent: BTreeSet<OutPoint>,
    /// The requests they pay, in order.
    pub(super) paid: Vec<Request>,
    /// The coins they make, by name, with their amounts in satoshi, in order.
    pub(super) change: Vec<(OutPoint, u64)>,
}

/// A batch must not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// The coinbase does not say in one way which batch it commits to.
    #[error("the coinbase commits to a batch in a way that cannot be read: {0}")]
    Commitment(&'static str),
    /// It spends what the reserve does not hold.
    #[error("the batch spends {0}, which is no unspent coin of the reserve")]
    Input(OutPoint),
    /// It spends one coin twice.
    #[error("the batch spends {0} twice")]
    RepeatedInput(OutPoint),
    /// It pays more than it spends.
    #[error("the batch spends {inputs_sat} sat and pays {outputs_sat} sat")]
    Overspent {
        /// Sum of its inputs.
        inputs_sat: u64,
        /// Sum of its outputs.
        outputs_sat: u64,
    },
    /// It leaves more to the miners than any market asks for, at the expense of those it pays.
    #[error("the batch has a fee of {fee_sat} sat, more than {limit_sat} sat cannot be right")]
    Fee {
        /// Its fee.
        fee_sat: u64,
        /// The limit for a batch of its size.
        limit_sat: u64,
    },
    /// It pays nobody.
    #[error("the batch pays no request")]
    PaysNobody,
    /// It pays what nobody has requested, or what is paid already.
    #[error(
        "output {vout} of the batch pays {paid_sat} sat and {fee_sat} sat of the fee to {script:x}, which no open request asks for"
    )]
    NoRequest {
        /// The output.
        vout: u32,
        /// Its amount.
        paid_sat: u64,
        /// Its share of the fee.
        fee_sat: u64,
        /// Where it goes.
        script: ScriptBuf,
    },
    /// It takes the place of an earlier batch, but does not do the same.
    #[error("the batch takes the place of that of block {height}, but does not {what}")]
    Replacement {
        /// Height of the earlier batch.
        height: u32,
        /// What differs.
        what: &'static str,
    },
    /// A deposit is the change of a batch.
    #[error("a peg-in claims {0}, which is change of the treasury and no deposit")]
    ClaimedChange(OutPoint),
}

/// What a batch does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Payments {
    /// The coins it spends, by name.
    pub(super) spent: BTreeSet<OutPoint>,
    /// Where the coins are that it makes, with their amounts in satoshi.
    pub(super) change: Vec<(OutPoint, u64)>,
    /// The requests it pays, with their share of the fee in satoshi.
    pub(super) paid: Vec<(elements::OutPoint, u64)>,
    /// What was burned for them, in satoshi.
    pub(super) paid_sat: u64,
    /// Whose place it takes.
    pub(super) replaces: Option<Earlier>,
}

/// Whether an output script of the parent chain is the federation's, so that what is paid to it stays in the reserve: the
/// treasury's, or the script whose keys deposits tweak, without a tweak, in P2SH-P2WSH. No peg-in can claim the latter.
pub(super) fn is_treasury(network: &Network, script: &bitcoin::Script) -> bool {
    let untweaked = network.params.fedpeg_script.to_v0_p2wsh().to_p2sh();
    *script == network.treasury_script || script.as_bytes() == untweaked.as_bytes()
}

/// The txid of the batch that a coinbase commits to, if it commits to one.
pub(super) fn committed_batch(coinbase: &Transaction) -> Result<Option<Txid>, BatchFault> {
    let mut found = None;
    for output in &coinbase.output {
        let script = output.script_pubkey.as_bytes();
        let marked = script.first() == Some(&0x6a) && script.get(2..).is_some_and(|rest| rest.starts_with(MARK));
        if !marked {
            continue;
        }
        let txid = script.strip_prefix(&COMMITMENT_PREFIX).and_then(|rest| <[u8; 32]>::try_from(rest).ok());
        let txid = txid.ok_or(BatchFault::Commitment("the mark is not followed by a txid alone"))?;
        if found.replace(Txid::from_byte_array(txid)).is_some() {
            return Err(BatchFault::Commitment("there are several"));
        }
    }
    Ok(found)
}

fn fee_limit_sat(batch: &bitcoin::Transaction) -> u64 {
    let [unsigned, inputs] =
        [batch.base_size(), batch.input.len()].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    unsigned.saturating_add(inputs.saturating_mul(SIGNED_INPUT_BYTES)).saturating_mul(MAX_FEE_SAT_PER_BYTE)
}

/// Finds out what a batch does that takes the place of earlier ones. `coins` are those that it spends, as far as the earlier
/// ones spend them too.
pub(super) fn follow_replacement(
    network: &Network,
    batch: &bitcoin::Transaction,
    coins: &BTreeMap<OutPoint, ReserveCoin>,
    earlier: Earlier,
) -> Result<Payments, BatchFault> {
    let payments = follow_batch(network, batch, coins, &earlier.paid)?;
    let fault = |what| BatchFault::Replacement { height: earlier.height, what };
    if payments.spent != earlier.spent {
        return Err(fault("spend the same coins"));
    }
    if !payments.paid.iter().map(|(request, _)| *request).eq(earlier.paid.iter().map(|request| request.outpoint)) {
        return Err(fault("pay the same requests in the same order"));
    }
    if !payments
        .change
        .iter()
        .map(|(_, amount_sat)| amount_sat)
        .eq(earlier.change.iter().map(|(_, amount_sat)| amount_sat))
    {
        return Err(fault("make the same change"));
    }
    Ok(Payments { replaces: Some(earlier), ..payments })
}

/// Finds out what a batch does. `unspent` has the coins of the reserve, as far as the batch spends them; `open` are
/// the requests of earlier blocks that are not paid, oldest first.
pub(super) fn follow_batch(
    network: &Network,
    batch: &bitcoin::Transaction,
    unspent: &BTreeMap<OutPoint, ReserveCoin>,
    open: &[Request],
) -> Result<Payments, BatchFault> {
    let mut seen = BTreeSet::new();
    let mut inputs_sat = 0u64;
    for input in &batch.input {
        let outpoint = input.previous_output;
        let coin = unspent.get(&outpoint).ok_or(BatchFault::Input(outpoint))?;
        // Nor two places where one coin may be.
        if !seen.insert(coin.name) {
            return Err(BatchFault::RepeatedInput(outpoint));
        }
        inputs_sat = inputs_sat.saturating_add(coin.amount_sat);
    }
    let outputs_sat = batch.output.iter().fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    let fee_sat = inputs_sat.checked_sub(outputs_sat).ok_or(BatchFault::Overspent { inputs_sat, outputs_sat })?;

    let limit_sat = fee_limit_sat(batch);
    if fee_sat > limit_sat {
        return Err(BatchFault::Fee { fee_sat, limit_sat });
    }
    let mut payments = Payments { spent: seen, ..Payments::default() };
    let txid = batch.compute_txid();
    let (change, paying): (Vec<_>, Vec<_>) =
        (0u32..).zip(&batch.output).partition(|(_, output)| is_treasury(network, &output.script_pubkey));
    payments.change =
        change.into_iter().map(|(vout, output)| (OutPoint::new(txid, vout), output.value.to_sat())).collect();
    let count = u64::try_from(paying.len()).unwrap_or(u64::MAX);
    let (Some(share), Some(rest)) = (fee_sat.checked_div(count), fee_sat.checked_rem(count)) else {
        return Err(BatchFault::PaysNobody);
    };
    let mut open: Vec<Option<&Request>> = open.iter().map(Some).collect();
    for (position, (vout, output)) in (0u64..).zip(paying) {
        let fee_sat = share.saturating_add(u64::from(position < rest));
        let (paid_sat, script) = (output.value.to_sat(), &output.script_pubkey);
        let asked =
            |request: &Request| request.script == *script && Some(request.amount_sat) == paid_sat.checked_add(fee_sat);
        let request = open
            .iter_mut()
            .find(|request| request.is_some_and(asked))
            .and_then(Option::take)
            .ok_or_else(|| BatchFault::NoRequest { vout, paid_sat, fee_sat, script: script.clone() })?;
        payments.paid.push((request.outpoint, fee_sat));
        payments.paid_sat = payments.paid_sat.saturating_add(request.amount_sat);
    }
    Ok(payments)
}
