//! Peg-out: the wallet burns the pegged asset in an output that names a Bitcoin script; the federation pays it there.

use std::str::FromStr;

use aquifer_assets::peg::pegout_script;
use aquifer_proto::ledger::PegoutStatus;
use aquifer_proto::ledger::pegout_status::State;
use elements::OutPoint;
use lwk_wollet::Recipient;

use super::PegError;
use crate::backend::watch::Next;
use crate::backend::{BackendError, Ledger};
use crate::keystore::Keys;
use crate::network::Chain;
use crate::wallet::{FeeRate, Payment, Wait, Wallet};

/// A requested peg-out.
#[derive(Clone, Debug)]
pub struct Pegout {
    /// The output that requests it; also its name.
    pub outpoint: OutPoint,
    /// Where the bitcoin goes.
    pub destination: bitcoin::Address,
    /// Amount burned, in satoshi. The Bitcoin fee is taken from it.
    pub amount_sat: u64,
    /// The transaction on our chain.
    pub payment: Payment,
}

/// A stable name for a state.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unknown => "unknown",
        State::Requested => "requested",
        State::Batched => "batched",
        State::Signed => "signed",
        State::Broadcast => "broadcast",
        State::Confirmed => "confirmed",
        State::Parked => "parked",
    }
}

/// Reads a Bitcoin address and checks that it belongs to the parent chain.
pub fn parse_destination(chain: &Chain, text: &str) -> Result<bitcoin::Address, PegError> {
    let network = chain.parent();
    let bad = |reason: String| PegError::ParentAddress { address: text.to_owned(), network, reason };
    bitcoin::Address::from_str(text)
        .map_err(|error| bad(error.to_string()))?
        .require_network(network)
        .map_err(|error| bad(error.to_string()))
}

/// Reads the name of a peg-out.
pub fn parse_name(text: &str) -> Result<OutPoint, PegError> {
    let bad = || PegError::BadPegout(text.to_owned());
    let (txid, vout) = text.split_once(':').ok_or_else(bad)?;
    Ok(OutPoint::new(txid.parse().map_err(|_| bad())?, vout.parse().map_err(|_| bad())?))
}

/// Requests a peg-out. The request is explicit in asset and amount, as Elements demands of peg-outs.
pub fn request(
    wallet: &Wallet,
    ledger: &Ledger,
    keys: &Keys,
    destination: bitcoin::Address,
    amount_sat: u64,
    rate: FeeRate,
    wait: Wait,
) -> Result<Pegout, PegError> {
    let chain = wallet.chain();
    let parent_script = destination.script_pubkey();
    let minimum_sat = parent_script.minimal_non_dust().to_sat();
    if amount_sat < minimum_sat {
        return Err(PegError::TooSmall { amount_sat, minimum_sat });
    }
    let script = pegout_script(&chain.file().params.parent_genesis(), &parent_script);
    let output = Recipient {
        satoshi: amount_sat,
        script_pubkey: script.clone(),
        blinding_pubkey: None,
        asset: chain.pegged_asset(),
    };
    let transaction = wallet.build(keys, rate, |builder| Ok(builder.add_validated_recipient(output)))?;
    let txid = transaction.txid();
    let vout = transaction.output.iter().position(|output| output.script_pubkey == script);
    let vout = vout.and_then(|vout| u32::try_from(vout).ok()).ok_or_else(|| PegError::BadPegout(txid.to_string()))?;
    let payment = wallet.hand_in(ledger, transaction, wait)?;
    Ok(Pegout { outpoint: OutPoint::new(txid, vout), destination, amount_sat, payment })
}

/// When to stop following a peg-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it is confirmed on Bitcoin.
    Confirmed,
    /// After the first state.
    LookedAt,
}

/// Follows a peg-out and tells every change. Returns the last state; one that can never be paid is an error, unless one
/// only looked. The states are the server's word; the payment itself can be checked on Bitcoin.
pub fn follow(
    ledger: &Ledger,
    pegout: OutPoint,
    until: Until,
    tell: &mut dyn FnMut(&PegoutStatus),
) -> Result<PegoutStatus, PegError> {
    loop {
        let mut watch = match ledger.watch_pegout(pegout) {
            Ok(watch) => watch,
            Err(BackendError::AllDown(_)) if until == Until::Confirmed => {
                ledger.pause();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        loop {
            match watch.next_within(std::time::Duration::from_secs(600)) {
                Next::Nothing => {}
                Next::Ended => break,
                Next::State(status) => {
                    tell(&status);
                    match (status.state(), until) {
                        (_, Until::LookedAt) | (State::Confirmed, _) => return Ok(status),
                        (State::Parked, _) => return Err(PegError::Parked(status.reason)),
                        _ => {}
                    }
                }
            }
        }
        ledger.pause();
    }
}
