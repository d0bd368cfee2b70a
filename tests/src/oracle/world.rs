//! The chain on which cases are judged, and what can be spent on it.

use std::cell::RefCell;

use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_assets::primitives::{Block, Transaction, TxOut};
use elements::{AssetId, Script};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::child::Base;
use super::lock::Lock;
use super::scripts;
use crate::forge::{Chain, Coin, ForgeError, Issue, Owner, Pay, Payment, Shape};

pub(super) const FEE_SAT: u64 = 1_000;
const ANCHOR_SAT: u64 = 1_000_000_000;
/// Transactions that make the coins which cases spend, one in a block.
const PARENTS: u32 = 8;
/// Coins of each.
const COINS: usize = 32;

/// An asset that can be reissued.
pub(super) struct Asset {
    pub(super) asset: AssetId,
    pub(super) entropy: [u8; 32],
    /// Its tokens, hidden.
    pub(super) token: Coin,
}

/// A coin and the script that guards it.
#[derive(Clone)]
pub(super) struct Locked {
    pub(super) coin: Coin,
    pub(super) lock: Lock,
}

/// A chain and what can be spent on it.
pub struct World {
    /// The chain.
    pub chain: Chain,
    /// Its blocks above genesis.
    pub blocks: Vec<Block>,
    pub(super) seed: u64,
    /// Whose signature nobody asks for.
    pub(super) owner: Owner,
    /// Coins of the pegged asset under all kinds of locks.
    pub(super) coins: Vec<Locked>,
    /// An asset whose issuance hid its amounts, shown and hidden.
    pub(super) assets: [Coin; 2],
    pub(super) hidden: Asset,
    /// An asset whose issuance showed its amounts.
    pub(super) shown: Asset,
    /// The transaction that several cases in a row change: making it takes most of the time.
    pub(super) base: RefCell<Option<Base>>,
}

impl World {
    /// The world of a seed.
    ///
    /// # Errors
    /// If it cannot be made, which would be a defect.
    pub fn new(seed: u64) -> Result<Self, ForgeError> {
        let mut chain = Chain::new(seed)?;
        let owner = Owner::new(&mut chain.rng);
        let open = Lock::open();
        let pegged = chain.pegged();
        let mut blocks = Vec::new();
        let amount = ANCHOR_SAT.saturating_mul(2);
        let deposit = chain.deposit(owner, amount)?.coin(&chain.judge.params)?;
        let left = |fees: u64| amount.saturating_sub(ANCHOR_SAT).saturating_sub(fees.saturating_mul(FEE_SAT));
        let pays =
            [Pay::explicit(pegged, ANCHOR_SAT, open.script_pubkey()), Pay::explicit(pegged, left(1), owner.script())];
        let claim = chain.pay(&[deposit], &pays)?;
        blocks.push(chain.extend(vec![claim.transaction.clone()])?);
        let anchor = claim.coin(0, owner)?;
        let rest = claim.coin(1, owner)?;
        let issue = Issue::new([5; 32], 1_000_000, 10, Shape::Confidential);
        let (asset, token) = issue.assets(&rest).ok_or(ForgeError::NoOutput(0))?;
        let pays = [
            Pay::explicit(asset, 400_000, open.script_pubkey()),
            Pay::confidential(asset, 600_000, open.script_pubkey()),
            Pay::confidential(token, 10, open.script_pubkey()),
            Pay::confidential(pegged, left(2), owner.script()),
        ];
        let issuance = chain.issue(std::slice::from_ref(&rest), &issue, &pays)?;
        blocks.push(chain.extend(vec![issuance.transaction.clone()])?);
        let rest = issuance.coin(3, owner)?;
        let issue = Issue::new([6; 32], 1, 10, Shape::Explicit);
        let (asset_shown, token_shown) = issue.assets(&rest).ok_or(ForgeError::NoOutput(0))?;
        let pays = [
            Pay::confidential(asset_shown, 1, open.script_pubkey()),
            Pay::confidential(token_shown, 10, open.script_pubkey()),
            Pay::confidential(pegged, left(3), owner.script()),
        ];
        let second = chain.issue(std::slice::from_ref(&rest), &issue, &pays)?;
        blocks.push(chain.extend(vec![second.transaction.clone()])?);
        let shown = Asset { asset: asset_shown, entropy: entropy_of(&second), token: second.coin(1, owner)? };
        let assets = [issuance.coin(0, owner)?, issuance.coin(1, owner)?];
        let hidden = Asset { asset, entropy: entropy_of(&issuance), token: issuance.coin(2, owner)? };
        let base = RefCell::default();
        let mut world = World { chain, blocks, seed, owner, coins: Vec::new(), assets, hidden, shown, base };
        world.make_coins(anchor)?;
        Ok(world)
    }

    /// Makes coins under all kinds of locks, and some empty blocks on top, so that the next block stands at any place of an
    /// epoch.
    fn make_coins(&mut self, mut anchor: Coin) -> Result<(), ForgeError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let rng = &mut rng;
        let first = self.chain.next_height()?;
        let empty = rng.gen_range(0..self.chain.judge.params.epoch_length_blocks);
        let judged = first.saturating_add(PARENTS).saturating_add(empty);
        for height in (first..).take(usize::try_from(PARENTS).unwrap_or(0)) {
            let age = judged.saturating_sub(height);
            let locks: Vec<Lock> = (0..COINS).map(|_| scripts::draw(rng, judged, age)).collect();
            let (transaction, payment) = self.parent(rng, &anchor, &locks)?;
            self.blocks.push(self.chain.extend(vec![transaction])?);
            for (vout, lock) in (0..).zip(locks) {
                self.coins.push(Locked { coin: payment.coin(vout, self.owner)?, lock });
            }
            anchor = payment.coin(u32::try_from(COINS).unwrap_or(u32::MAX), self.owner)?;
        }
        for _ in 0..empty {
            self.blocks.push(self.chain.extend(vec![])?);
        }
        Ok(())
    }

    /// Pays the locks from the anchor; the rest is the next anchor.
    fn parent(
        &self,
        rng: &mut ChaCha20Rng,
        anchor: &Coin,
        locks: &[Lock],
    ) -> Result<(Transaction, Payment), ForgeError> {
        let pegged = self.chain.pegged();
        let mut left = anchor.secrets.value.saturating_sub(FEE_SAT);
        let mut pays = Vec::new();
        for lock in locks {
            let value = rng.gen_range(50_000..1_000_000);
            left = left.saturating_sub(value);
            let shape = if rng.gen_bool(0.4) { Shape::Confidential } else { Shape::Explicit };
            pays.push(Pay { shape, range: narrow(rng, value), ..Pay::explicit(pegged, value, lock.script_pubkey()) });
        }
        pays.push(Pay::explicit(pegged, left, Lock::open().script_pubkey()));
        // Somebody has to take up the blinding.
        pays.push(Pay { range: (0, 8), ..Pay::confidential(pegged, 0, Script::from(vec![0x6a])) });
        let mut payment = Payment::new(rng, std::slice::from_ref(anchor), &pays, (pegged, FEE_SAT))?;
        let spent = [anchor.output.clone()];
        Lock::open().sign(&mut payment.transaction, 0, &spent, self.chain.judge.params.genesis_hash());
        Ok((payment.transaction.clone(), payment))
    }

    /// The configuration of an elementsd that follows this chain.
    pub fn configuration(&self) -> String {
        elements_conf(&self.chain.judge.params, &ElementsConfOptions::default())
    }

    /// Some different coins; now and then only such as Elements relays the spends of.
    pub(super) fn some_coins(&self, rng: &mut ChaCha20Rng) -> Vec<Locked> {
        let usual = rng.gen_bool(0.6);
        let from: Vec<&Locked> = self.coins.iter().filter(|coin| !usual || coin.lock.is_usual()).collect();
        let count = rng.gen_range(1..4);
        from.choose_multiple(rng, count).map(|coin| (*coin).clone()).collect()
    }
}

/// The entropy of the asset that the first input issues.
fn entropy_of(payment: &Payment) -> [u8; 32] {
    let issued = payment.transaction.input.first().and_then(aquifer_assets::transaction::issued_assets);
    issued.map(|(entropy, _, _)| entropy.to_byte_array()).unwrap_or_default()
}

/// A range that holds a value, of few bits: short proofs are checked fast.
pub(super) fn narrow(rng: &mut ChaCha20Rng, value: u64) -> (u64, u8) {
    match rng.gen_range(0..8) {
        0 => (1, 36),
        1 => (value, 0),
        2 => (1, 52),
        _ => (value.saturating_sub(rng.gen_range(0..200)).max(1), 8),
    }
}

/// A transaction with the locks of its inputs.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) payment: Payment,
    /// `None`: signed by the payment itself.
    pub(super) locks: Vec<Option<Lock>>,
}

impl Draft {
    /// Signs a changed form of the transaction.
    pub(super) fn sign(&self, transaction: &mut Transaction, world: &World) {
        let spent: Vec<TxOut> = self.payment.coins.iter().map(|coin| coin.output.clone()).collect();
        if spent.len() != transaction.input.len() {
            return;
        }
        for (vin, lock) in self.locks.iter().enumerate() {
            if let Some(lock) = lock {
                lock.sign(transaction, vin, &spent, world.chain.judge.params.genesis_hash());
            }
        }
    }
}
