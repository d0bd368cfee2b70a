//! What is known of a deposit, and what to do when a server tells something new of it. Pure.
//!
//! The stages of a deposit go one way: confirming → ready → submitted → claimed. Only a Bitcoin reorganisation brings a
//! deposit back from ready to confirming. A submitted claim is never built anew: the same transaction is handed in
//! again, so a deposit cannot be claimed twice by mistake.

use aquifer_proto::ledger::DepositStatus;
use aquifer_proto::ledger::deposit_status::State;
use bitcoin::hashes::Hash as _;
use elements::{Script, Txid};

use super::PegError;

/// An address on Bitcoin whose deposits this wallet can claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeginAddress {
    /// Index of the wallet's address whose key can claim, and that receives the coins.
    pub index: u32,
    /// The wallet's own script that tweaks the federation script: P2WPKH of that key.
    pub claim_script: Script,
    /// Where to pay bitcoin.
    pub bitcoin_address: String,
    /// Height of our chain when it was made, in blocks: the federation script of that time counts.
    pub created_height: u32,
}

/// How far a deposit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepositStage {
    /// Paid, not deep enough in Bitcoin's chain.
    Confirming,
    /// Deep enough to be claimed.
    Ready,
    /// Smaller than the fee of its claim: it stays where it is.
    TooSmall,
    /// The claim is signed and handed in.
    Submitted {
        /// The claim's id.
        claim_txid: Txid,
        /// The claim itself.
        claim: Vec<u8>,
    },
    /// The claim is final.
    Claimed {
        /// The claim's id.
        claim_txid: Txid,
        /// Height of its block.
        height: u32,
    },
}

impl DepositStage {
    /// A stable name for records and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Confirming => "confirming",
            Self::Ready => "ready",
            Self::TooSmall => "too-small",
            Self::Submitted { .. } => "submitted",
            Self::Claimed { .. } => "claimed",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Claimed { .. } | Self::TooSmall)
    }
}

/// A payment on Bitcoin to a peg-in address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// The output on Bitcoin.
    pub outpoint: bitcoin::OutPoint,
    /// Its amount in satoshi.
    pub amount_sat: u64,
    /// How far it is.
    pub stage: DepositStage,
    /// Confirmations on Bitcoin, in blocks.
    pub confirmations: u32,
    /// Confirmations it needs, in blocks.
    pub needed_confirmations: u32,
}

/// What to do next about a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but wait.
    Wait,
    /// Build a claim from this Bitcoin transaction (without witness) and this Merkle block.
    Claim {
        /// The transaction.
        transaction: Vec<u8>,
        /// The proof.
        proof: Vec<u8>,
    },
    /// Hand in this claim, built before, and wait until it is final.
    HandIn(Vec<u8>),
    /// Somebody with this wallet's keys claimed it: look whether that is final.
    LookUp(Txid),
}

/// Takes in what a server says of a deposit. `known` is what the wallet has written down of the same output. Returns
/// `None` while there is no deposit, else what to write down and what to do.
pub fn observe(
    server: &str,
    known: impl Fn(&bitcoin::OutPoint) -> Option<Deposit>,
    status: &DepositStatus,
) -> Result<Option<(Deposit, Step)>, PegError> {
    if status.state() == State::Waiting {
        return Ok(None);
    }
    let impossible = |what: &str| PegError::Deposit { server: server.to_owned(), what: what.to_owned() };
    let txid =
        bitcoin::Txid::from_slice(&status.parent_txid).map_err(|_| impossible("its transaction id is not 32 bytes"))?;
    let outpoint = bitcoin::OutPoint::new(txid, status.vout);
    let known = known(&outpoint);
    if let Some(known) = &known
        && known.amount_sat != status.amount_sat
    {
        return Err(impossible(&format!("the amount of {outpoint} has changed")));
    }
    let before = known.map(|deposit| deposit.stage);
    let (stage, step) = match (before, status.state()) {
        (Some(settled), _) if settled.is_settled() => (settled, Step::Wait),
        (before, State::Claimed) => {
            let claim = <[u8; 32]>::try_from(&status.claim_txid[..])
                .map(Txid::from_byte_array)
                .map_err(|_| impossible("its claim has no id"))?;
            (before.unwrap_or(DepositStage::Ready), Step::LookUp(claim))
        }
        (Some(DepositStage::Submitted { claim_txid, claim }), state) => {
            let step = if state == State::Ready { Step::HandIn(claim.clone()) } else { Step::Wait };
            (DepositStage::Submitted { claim_txid, claim }, step)
        }
        (_, State::Ready) => {
            let step = Step::Claim { transaction: status.transaction.to_vec(), proof: status.proof.to_vec() };
            (DepositStage::Ready, step)
        }
        (_, State::Confirming | State::Waiting) => (DepositStage::Confirming, Step::Wait),
    };
    let deposit = Deposit {
        outpoint,
        amount_sat: status.amount_sat,
        stage,
        confirmations: status.confirmations,
        needed_confirmations: status.needed_confirmations,
    };
    Ok(Some((deposit, step)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn status(state: State) -> DepositStatus {
        DepositStatus {
            state: state.into(),
            parent_txid: vec![3; 32].into(),
            vout: 1,
            amount_sat: 50_000,
            confirmations: 2,
            needed_confirmations: 8,
            transaction: vec![1].into(),
            proof: vec![2].into(),
            claim_txid: vec![9; 32].into(),
            problem: String::new(),
        }
    }

    fn step(stage: Option<DepositStage>, state: State) -> (DepositStage, Step) {
        let known = |outpoint: &bitcoin::OutPoint| {
            stage.clone().map(|stage| Deposit {
                outpoint: *outpoint,
                amount_sat: 50_000,
                stage,
                confirmations: 0,
                needed_confirmations: 8,
            })
        };
        let (deposit, step) = observe("a", known, &status(state)).unwrap().unwrap();
        assert_eq!(deposit.outpoint.vout, 1);
        assert_eq!(deposit.confirmations, 2);
        (deposit.stage, step)
    }

    #[test]
    fn a_deposit_goes_its_way() {
        let txid = Txid::from_byte_array([9; 32]);
        let claim = Step::Claim { transaction: vec![1], proof: vec![2] };
        let submitted = DepositStage::Submitted { claim_txid: txid, claim: vec![5] };
        let claimed = DepositStage::Claimed { claim_txid: txid, height: 4 };
        assert!(observe("a", |_| None, &status(State::Waiting)).unwrap().is_none());
        assert_eq!(step(None, State::Confirming), (DepositStage::Confirming, Step::Wait));
        assert_eq!(step(Some(DepositStage::Confirming), State::Ready), (DepositStage::Ready, claim.clone()));
        assert_eq!(step(None, State::Ready), (DepositStage::Ready, claim.clone()));
        assert_eq!(step(Some(DepositStage::Ready), State::Ready), (DepositStage::Ready, claim));
        assert_eq!(step(Some(submitted.clone()), State::Ready), (submitted.clone(), Step::HandIn(vec![5])));
        assert_eq!(step(Some(submitted.clone()), State::Claimed), (submitted, Step::LookUp(txid)));
        assert_eq!(step(Some(claimed.clone()), State::Claimed), (claimed, Step::Wait));
        assert_eq!(step(Some(DepositStage::TooSmall), State::Ready), (DepositStage::TooSmall, Step::Wait));
    }

    #[test]
    fn a_bitcoin_reorganisation_sends_it_back_but_a_claim_is_kept() {
        let txid = Txid::from_byte_array([9; 32]);
        let submitted = DepositStage::Submitted { claim_txid: txid, claim: vec![5] };
        assert_eq!(step(Some(DepositStage::Ready), State::Confirming), (DepositStage::Confirming, Step::Wait));
        assert_eq!(step(Some(submitted.clone()), State::Confirming), (submitted, Step::Wait));
    }

    #[test]
    fn impossible_states_name_the_server() {
        let mut bad = status(State::Confirming);
        bad.parent_txid = vec![3; 31].into();
        assert!(matches!(observe("x", |_| None, &bad), Err(PegError::Deposit { server, .. }) if server == "x"));
        let known = |outpoint: &bitcoin::OutPoint| {
            Some(Deposit {
                outpoint: *outpoint,
                amount_sat: 1,
                stage: DepositStage::Confirming,
                confirmations: 0,
                needed_confirmations: 8,
            })
        };
        assert!(matches!(observe("x", known, &status(State::Ready)), Err(PegError::Deposit { .. })));
        let mut bad = status(State::Claimed);
        bad.claim_txid = Default::default();
        assert!(matches!(observe("x", |_| None, &bad), Err(PegError::Deposit { .. })));
    }
}
