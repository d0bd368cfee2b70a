//! Watching deposits and claiming them.
//!
//! Everything is written down before it is acted upon: the address before it is shown, the claim before it is handed
//! in. So this can be killed anywhere and begun again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash as _;
use elements::encode::{deserialize, serialize};
use elements::{Transaction, Txid};

use super::PegError;
use super::claim::{self, ClaimParts};
use super::pegin::{Deposit, DepositStage, PeginAddress, Step, observe};
use crate::backend::watch::{Next, Watch};
use crate::backend::{BackendError, Ledger};
use crate::keystore::Keys;
use crate::wallet::{FeeRate, Payment, Wait, Wallet};
use aquifer_proto::ledger::DepositStatus;

/// Time given to one address before the next one is looked at.
const TURN: Duration = Duration::from_millis(200);

/// Time after which an address that its server says nothing about counts as unpaid, where one does not wait.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// Time a claim may take to be final.
const CLAIM_PATIENCE: Duration = Duration::from_secs(180);

/// Something worth telling.
#[derive(Debug)]
pub enum Progress<'a> {
    /// No deposit yet.
    Unpaid(&'a PeginAddress),
    /// A deposit has changed.
    Deposit(&'a Deposit),
    /// A deposit was claimed now.
    Claimed(&'a Deposit, &'a Payment),
    /// Why Bitcoin is not followed at the moment.
    Problem(String),
}

/// Makes a peg-in address and writes it down. Sync before; only then show it.
pub fn new_address(wallet: &Wallet, ledger: &Ledger) -> Result<PeginAddress, PegError> {
    let height = ledger.tip()?.height();
    // A wallet that cannot claim says so before it uses up an address.
    wallet.address_key(0)?;
    let (index, _) = wallet.new_address()?;
    let (key, _) = wallet.address_key(index)?;
    // P2WPKH whatever scripts the wallet has: the claim pays to the wallet's own kind of address.
    let claim_script = elements::Script::new_v0_wpkh(&elements::WPubkeyHash::hash(&key.to_bytes()));
    // The next block is the first that could hold a claim.
    let chain = wallet.chain();
    let bitcoin_address =
        aquifer_assets::peg::deposit_address(&chain.file().params, height + 1, &claim_script, chain.parent())
            .map_err(PegError::Address)?
            .to_string();
    // Members see only deposits that are paid after they were told of the address, so nobody gets it before that.
    ledger.announce_deposits(&claim_script)?;
    let address = PeginAddress { index, claim_script, bitcoin_address, created_height: height };
    wallet.db().add_pegin_address(&address)?;
    Ok(address)
}

/// The peg-in addresses that are not settled: without a deposit, or with one that is under way.
pub fn open_addresses(wallet: &Wallet) -> Result<Vec<PeginAddress>, PegError> {
    let mut open = Vec::new();
    for address in wallet.db().pegin_addresses()? {
        if !is_settled(&wallet.db().deposits(address.index)?) {
            open.push(address);
        }
    }
    Ok(open)
}

fn is_settled(deposits: &[Deposit]) -> bool {
    !deposits.is_empty() && deposits.iter().all(|deposit| deposit.stage.is_settled())
}

/// When to stop following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When the address with this index, and every other one that has a deposit, is settled.
    Settled(u32),
    /// When every address that has a deposit is settled; waits for a first deposit.
    AnySettled,
    /// When every address was looked at once; claims what is ready.
    LookedAt,
}

struct Turn<'a> {
    address: &'a PeginAddress,
    watch: Option<Watch<'a, DepositStatus>>,
    began: Instant,
    heard: bool,
    /// The server has said something and then nothing more: what there is to know is known.
    looked_at: bool,
}

/// Follows the deposits to these addresses and claims what is ready, until there is nothing left to do.
pub fn follow(
    wallet: &Wallet,
    ledger: &Ledger,
    keys: &Keys,
    rate: FeeRate,
    addresses: &[PeginAddress],
    until: Until,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<(), PegError> {
    let follower = Follower { wallet, ledger, keys, rate };
    let mut turns: Vec<Turn<'_>> = addresses
        .iter()
        .map(|address| Turn { address, watch: None, began: Instant::now(), heard: false, looked_at: false })
        .collect();
    if turns.is_empty() {
        return Err(PegError::NothingOpen);
    }
    loop {
        for turn in &mut turns {
            follower.take_turn(turn, tell)?;
        }
        let mut settled = BTreeMap::new();
        let mut paid = false;
        for address in addresses {
            let deposits = wallet.db().deposits(address.index)?;
            paid |= !deposits.is_empty();
            settled.insert(address.index, (deposits.is_empty(), is_settled(&deposits)));
        }
        let paid_ones_settled = settled.values().all(|(unpaid, settled)| *unpaid || *settled);
        let done = match until {
            Until::Settled(index) => settled.get(&index).is_none_or(|(_, settled)| *settled) && paid_ones_settled,
            Until::AnySettled => paid && paid_ones_settled,
            Until::LookedAt => turns.iter().all(|turn| turn.looked_at || turn.began.elapsed() > FIRST_WORD),
        };
        if done {
            return Ok(());
        }
    }
}

struct Follower<'a> {
    wallet: &'a Wallet,
    ledger: &'a Ledger,
    keys: &'a Keys,
    rate: FeeRate,
}

impl<'a> Follower<'a> {
    fn take_turn(&self, turn: &mut Turn<'a>, tell: &mut dyn FnMut(Progress<'_>)) -> Result<(), PegError> {
        let watch = match &mut turn.watch {
            Some(watch) => watch,
            empty => match self.ledger.watch_deposits(&turn.address.claim_script) {
                Ok(watch) => empty.insert(watch),
                Err(error @ BackendError::AllDown(_)) => {
                    tell(Progress::Problem(error.to_string()));
                    self.ledger.pause();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            },
        };
        match watch.next_within(TURN) {
            Next::Nothing => {
                turn.looked_at |= turn.heard;
                Ok(())
            }
            Next::Ended => {
                turn.watch = None;
                turn.looked_at |= turn.heard;
                self.ledger.pause();
                Ok(())
            }
            Next::State(status) => {
                turn.heard = true;
                let server = watch.server().to_owned();
                if self.take_in(turn.address, &server, &status, tell)? == Verdict::AskAgain {
                    turn.watch = None;
                }
                Ok(())
            }
        }
    }

    fn take_in(
        &self,
        address: &PeginAddress,
        server: &str,
        status: &DepositStatus,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Verdict, PegError> {
        if !status.problem.is_empty() {
            tell(Progress::Problem(status.problem.clone()));
        }
        let known = self.wallet.db().deposits(address.index)?;
        let lookup = |outpoint: &bitcoin::OutPoint| known.iter().find(|known| known.outpoint == *outpoint).cloned();
        let Some((mut deposit, step)) = observe(server, lookup, status)? else {
            tell(Progress::Unpaid(address));
            return Ok(Verdict::GoOn);
        };
        self.wallet.db().put_deposit(address.index, &deposit)?;
        tell(Progress::Deposit(&deposit));
        match step {
            Step::Wait => Ok(Verdict::GoOn),
            Step::Claim { transaction, proof } => {
                match self.build_claim(address, &deposit, &transaction, &proof)? {
                    None => deposit.stage = DepositStage::TooSmall,
                    Some(claim) => {
                        deposit.stage = DepositStage::Submitted { claim_txid: claim.txid(), claim: serialize(&claim) };
                        self.wallet.db().put_deposit(address.index, &deposit)?;
                        return self.hand_in(address, deposit, claim, tell);
                    }
                }
                self.wallet.db().put_deposit(address.index, &deposit)?;
                tell(Progress::Deposit(&deposit));
                Ok(Verdict::GoOn)
            }
            Step::HandIn(bytes) => {
                let claim: Transaction = deserialize(&bytes).map_err(|error| PegError::Claim {
                    deposit: deposit.outpoint,
                    reason: format!("the claim written down earlier is damaged: {error}"),
                })?;
                self.hand_in(address, deposit, claim, tell)
            }
            Step::LookUp(txid) => self.look_up(address, server, deposit, txid, tell),
        }
    }

    fn build_claim(
        &self,
        address: &PeginAddress,
        deposit: &Deposit,
        transaction: &[u8],
        proof: &[u8],
    ) -> Result<Option<Transaction>, PegError> {
        let receiver = self.wallet.address_at(address.index)?;
        let parts = ClaimParts {
            outpoint: deposit.outpoint,
            amount_sat: deposit.amount_sat,
            transaction,
            proof,
            address,
            height: self.ledger.tip()?.height() + 1,
            receiver: &receiver,
        };
        let key = self.keys.secret_key(&self.wallet.address_key(address.index)?.1)?;
        claim::build(self.wallet.chain(), &parts, &key, self.rate, &mut rand::thread_rng())
    }

    fn hand_in(
        &self,
        address: &PeginAddress,
        mut deposit: Deposit,
        claim: Transaction,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Verdict, PegError> {
        tell(Progress::Deposit(&deposit));
        let claim_txid = claim.txid();
        match self.wallet.hand_in(self.ledger, claim, Wait::UntilFinal(CLAIM_PATIENCE)) {
            Ok(payment) => {
                if let Some(place) = payment.place {
                    deposit.stage = DepositStage::Claimed { claim_txid, height: place.height };
                    self.wallet.db().put_deposit(address.index, &deposit)?;
                }
                tell(Progress::Claimed(&deposit, &payment));
                Ok(Verdict::GoOn)
            }
            // The member that was asked sees Bitcoin a moment later than the one that told: ask again.
            Err(crate::wallet::WalletError::Backend(BackendError::Refused {
                code: tonic::Code::FailedPrecondition,
                message,
                ..
            })) => {
                tell(Progress::Problem(message));
                self.ledger.pause();
                Ok(Verdict::AskAgain)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A claim that this run did not hand in: final, proven, and really of this deposit?
    fn look_up(
        &self,
        address: &PeginAddress,
        server: &str,
        mut deposit: Deposit,
        claim_txid: Txid,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Verdict, PegError> {
        let found = self.ledger.transaction(claim_txid)?;
        let claims_it = found.transaction.input.iter().any(|input| input.pegin_prevout() == Some(deposit.outpoint));
        if !claims_it {
            return Err(PegError::Deposit {
                server: server.to_owned(),
                what: format!("{claim_txid} does not claim {}", deposit.outpoint),
            });
        }
        let Some(place) = found.place else {
            self.ledger.pause();
            return Ok(Verdict::AskAgain);
        };
        deposit.stage = DepositStage::Claimed { claim_txid, height: place.height };
        self.wallet.db().put_deposit(address.index, &deposit)?;
        tell(Progress::Deposit(&deposit));
        Ok(Verdict::GoOn)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    GoOn,
    AskAgain,
}
