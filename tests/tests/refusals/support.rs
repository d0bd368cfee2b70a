//! A chain with coins on it, and what is asserted of each case.

use aquifer_assets::primitives::Transaction;
use aquifer_assets::transaction::{TxError, issued_assets};
use aquifer_functionary::mempool::{Admission, MempoolError};
use aquifer_tests::forge::{Chain, Coin, Issue, Owner, Pay, Payment, Refusal, Shape};
use elements::{AssetId, Script};

/// A chain two blocks high: deposits were claimed, and an asset was issued.
pub(crate) struct Start {
    pub(crate) chain: Chain,
    pub(crate) alice: Owner,
    pub(crate) bob: Owner,
    /// Alice's million satoshi.
    pub(crate) money: Coin,
    /// Alice's 500 of an asset.
    pub(crate) gold: Coin,
    /// The right to make more of it.
    pub(crate) token: Coin,
    pub(crate) entropy: [u8; 32],
}

impl Start {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chain = Chain::new(seed).unwrap();
        let (alice, bob) = (Owner::new(&mut chain.rng), Owner::new(&mut chain.rng));
        let mut coins = chain.peg_in(alice, &[1_000_000, 50_000]).unwrap();
        let (paying, money) = (coins.pop().unwrap(), coins.pop().unwrap());
        let issue = Issue::new([7; 32], 500, 1, Shape::Explicit);
        let (gold, token) = issue.assets(&paying).unwrap();
        let pays = [
            Pay::confidential(gold, 500, alice.script()),
            Pay::confidential(token, 1, alice.script()),
            Pay::confidential(chain.pegged(), 49_000, alice.script()),
        ];
        let issuing = chain.issue(&[paying], &issue, &pays).unwrap();
        chain.extend(vec![issuing.transaction.clone()]).unwrap();
        let (entropy, ..) = issued_assets(&issuing.transaction.input[0]).unwrap();
        Start {
            alice,
            bob,
            money,
            gold: issuing.coin(0, alice).unwrap(),
            token: issuing.coin(1, alice).unwrap(),
            entropy: entropy.to_byte_array(),
            chain,
        }
    }

    pub(crate) fn gold(&self) -> AssetId {
        self.gold.secrets.asset
    }

    /// A valid confidential payment of both assets: output 0 of the pegged one, 1 and 2 of gold, 3 explicit, 4 the fee.
    pub(crate) fn payment(&mut self) -> Payment {
        let (alice, bob) = (self.alice.script(), self.bob.script());
        let (pegged, gold) = (self.chain.pegged(), self.gold());
        let pays = [
            Pay::confidential(pegged, 900_000, bob.clone()),
            Pay::confidential(gold, 200, bob),
            Pay::confidential(gold, 300, alice.clone()),
            Pay::explicit(pegged, 99_000, alice),
        ];
        let payment = self.chain.pay(&[self.money.clone(), self.gold.clone()], &pays).unwrap();
        self.assert_accepted(&payment.transaction);
        payment
    }

    pub(crate) fn assert_accepted(&self, transaction: &Transaction) {
        let admission = self.chain.submit(transaction).unwrap();
        assert_eq!(admission, Admission::New(transaction.txid()));
        let refusal = self.chain.refusal(vec![transaction.clone()]).unwrap();
        assert!(refusal.is_none(), "in a block: {refusal:?}");
    }

    /// The mempool, a voting member and one that catches up refuse it for this reason.
    pub(crate) fn assert_refused(&self, transaction: &Transaction, expected: &TxError) {
        self.assert_kept_out(transaction, expected);
        let signed = self.chain.refusal_when_signed(vec![transaction.clone()]).unwrap();
        assert_transaction(signed, expected, "signed block");
    }

    /// The mempool and a voting member refuse it for this reason, but it is valid: a member that catches up connects it.
    pub(crate) fn assert_not_signed(&self, transaction: &Transaction, expected: &TxError) {
        self.assert_kept_out(transaction, expected);
        let signed = self.chain.refusal_when_signed(vec![transaction.clone()]).unwrap();
        assert!(signed.is_none(), "signed block: {signed:?}");
    }

    fn assert_kept_out(&self, transaction: &Transaction, expected: &TxError) {
        match self.chain.submit(transaction) {
            Err(MempoolError::Invalid(reason)) => assert_eq!(reason, *expected, "mempool"),
            other => panic!("mempool: {other:?} instead of {expected}"),
        }
        let proposed = self.chain.refusal(vec![transaction.clone()]).unwrap();
        assert_transaction(proposed, expected, "proposed block");
    }
}

fn assert_transaction(refusal: Option<Refusal>, expected: &TxError, story: &str) {
    match refusal {
        Some(Refusal::Transaction { position: 1, reason }) => assert_eq!(reason, *expected, "{story}"),
        other => panic!("{story}: {other:?} instead of {expected}"),
    }
}

/// A script that nobody can spend.
pub(crate) fn burn() -> Script {
    Script::from(vec![0x6a])
}
