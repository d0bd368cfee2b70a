//! Blocks: a good one, broken in one place.

mod coinbase;
mod dynafed;
mod header;
mod limits;
mod order;
mod signatures;

use aquifer_assets::primitives::{Block, Transaction};
use elements::encode::serialize;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::lock::Lock;
use super::world::{Draft, FEE_SAT, narrow};
use super::{Case, Subject, World, mutation};
use crate::forge::{Coin, ForgeError, Pay, Payment, Shape};

/// Proofs in a block of many.
const PROOFS: usize = 24;
/// Numbers of streams: those of transactions are below.
const STREAMS: u64 = 1 << 50;
const STREAMS_OF_PROOFS: u64 = 1 << 51;
const STREAMS_OF_BYTES: u64 = 1 << 52;
/// Size of a header with short parameters, in bytes.
const HEADER_SIZE: usize = 160;

/// What was changed, and what is judged.
type Made = Result<(&'static str, Subject), ForgeError>;

/// A family of cases: its name, how often it is drawn, and its maker.
struct Family {
    name: &'static str,
    share: u32,
    make: fn(&World, &mut ChaCha20Rng) -> Made,
}

const FAMILIES: [Family; 6] = [
    Family { name: "header", share: 3, make: header::make },
    Family { name: "dynafed", share: 4, make: dynafed::make },
    Family { name: "coinbase", share: 8, make: coinbase::make },
    Family { name: "order", share: 3, make: order::make },
    Family { name: "signatures", share: 4, make: signatures::make },
    Family { name: "limits", share: 1, make: limits::make },
];

impl World {
    /// The block with a number, good or broken.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn block_case(&self, number: u64) -> Result<Case, ForgeError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(STREAMS.saturating_add(number));
        let rng = &mut rng;
        let family = FAMILIES.choose_weighted(rng, |family| family.share).unwrap_or(&FAMILIES[0]);
        let (mutation, subject) = (family.make)(self, rng)?;
        // Not everything that can be made stands on the wire.
        let subject = match subject {
            Subject::Proposal(block) => proposal(serialize(&*block)),
            other => other,
        };
        Ok(Case { number, kind: format!("block+{}", family.name), mutation, subject })
    }

    /// The block with a number that is changed in its bytes.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn wire_case(&self, number: u64) -> Result<Case, ForgeError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(STREAMS_OF_BYTES.saturating_add(number));
        let rng = &mut rng;
        let good = serialize(&self.good_block(rng)?);
        let mut bytes = good.clone();
        // Half of the changes in the header and its parameters.
        let end = if rng.gen_bool(0.5) { bytes.len().min(HEADER_SIZE) } else { bytes.len() };
        mutation::change_bytes(rng, &mut bytes, end);
        if bytes.starts_with(&good) {
            // What follows a block is none of it: elementsd does not look at it.
            bytes = good;
        }
        Ok(Case { number, kind: "block+bytes".to_owned(), mutation: "bytes", subject: proposal(bytes) })
    }

    /// A good block with many proofs, others for each number.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn block_of_proofs(&self, number: u64) -> Result<Block, ForgeError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(STREAMS_OF_PROOFS.saturating_add(number));
        let rng = &mut rng;
        let Some(locked) = self.coins.iter().find(|coin| coin.lock.family == "p2wpkh") else {
            return self.chain.propose(vec![]);
        };
        let (coin, pegged) = (&locked.coin, self.chain.pegged());
        let part = 1_000;
        let hidden = Pay { range: (1, 10), ..Pay::confidential(pegged, part, Lock::open().script_pubkey()) };
        let mut pays = vec![hidden; PROOFS];
        let paid = u64::try_from(PROOFS).unwrap_or(0).saturating_mul(part).saturating_add(FEE_SAT);
        pays.push(Pay::explicit(pegged, coin.secrets.value.saturating_sub(paid), Lock::open().script_pubkey()));
        let payment = Payment::new(rng, std::slice::from_ref(coin), &pays, (pegged, FEE_SAT))?;
        self.chain.propose(vec![self.signed(payment, &locked.lock).transaction])
    }

    /// A block with a few good payments.
    fn good_block(&self, rng: &mut ChaCha20Rng) -> Result<Block, ForgeError> {
        self.chain.propose(self.payments(rng)?)
    }

    /// Good payments from different coins.
    fn payments(&self, rng: &mut ChaCha20Rng) -> Result<Vec<Transaction>, ForgeError> {
        let count = rng.gen_range(0..4);
        let coins: Vec<_> = self.coins.iter().filter(|coin| coin.lock.family == "p2wpkh").collect();
        let chosen: Vec<_> = coins.choose_multiple(rng, count).copied().collect();
        chosen.into_iter().map(|locked| Ok(self.spend(rng, &locked.coin, &locked.lock)?.transaction)).collect()
    }

    /// Spends a coin for one output that anybody can spend.
    fn spend(&self, rng: &mut ChaCha20Rng, coin: &Coin, lock: &Lock) -> Result<Payment, ForgeError> {
        let value = coin.secrets.value.saturating_sub(FEE_SAT);
        let hides = coin.output.value.is_confidential();
        let pay = Pay {
            shape: if hides { Shape::Confidential } else { Shape::Explicit },
            range: narrow(rng, value),
            ..Pay::explicit(coin.secrets.asset, value, Lock::open().script_pubkey())
        };
        let payment = Payment::new(rng, std::slice::from_ref(coin), &[pay], (self.chain.pegged(), FEE_SAT))?;
        Ok(self.signed(payment, lock))
    }

    /// Signs a payment of one coin.
    fn signed(&self, mut payment: Payment, lock: &Lock) -> Payment {
        let draft = Draft { payment: payment.clone(), locks: vec![Some(lock.clone())] };
        draft.sign(&mut payment.transaction, self);
        payment
    }
}

/// What the bytes of a proposed block are.
fn proposal(bytes: Vec<u8>) -> Subject {
    Block::decode(bytes.clone()).map_or(Subject::BlockBytes(bytes), |block| Subject::Proposal(Box::new(block)))
}

/// One of some names, each as likely as the others.
fn choose(rng: &mut ChaCha20Rng, names: &[&'static str]) -> &'static str {
    names.choose(rng).copied().unwrap_or("none")
}
