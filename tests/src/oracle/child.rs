//! The making of a transaction: a base, good in itself, of which several cases in a row change one thing each.

use aquifer_assets::peg::pegout_script;
use aquifer_assets::transaction::decode;
use aquifer_functionary::chain::parent::DepthVerdict;
use elements::encode::serialize;
use elements::{AssetId, LockTime, Script, Sequence};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::lock::Lock;
use super::world::{Draft, FEE_SAT, Locked, narrow};
use super::{Case, Subject, World, mutation};
use crate::forge::{Coin, Deposit, ForgeError, Issue, Pay, Payment, Shape};

/// Cases of a base. The first is the base itself.
const VARIANTS: u64 = 8;
/// Numbers of streams: those of bases are below.
const VARIANT_STREAMS: u64 = 1 << 40;
/// A sequence number that asks for nothing, of a transaction that may be replaced.
const REPLACEABLE: u32 = 0xffff_fffd;

/// What the cases in a row have in common.
pub(super) struct Base {
    number: u64,
    kind: String,
    draft: Draft,
}

impl World {
    fn rng(&self, stream: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    /// The transaction with a number, good or broken.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn case(&self, number: u64) -> Result<Case, ForgeError> {
        let base = number.checked_div(VARIANTS).unwrap_or(0);
        let variant = number.checked_rem(VARIANTS).unwrap_or(0);
        let mut cached = self.base.borrow_mut();
        let base = match cached.take().filter(|cached| cached.number == base) {
            Some(base) => cached.insert(base),
            None => cached.insert(self.base(base)?),
        };
        let mut rng = self.rng(VARIANT_STREAMS.saturating_add(number));
        let rng = &mut rng;
        let mutation = match (variant, rng.gen_bool(0.6)) {
            (0, _) => "none",
            (_, true) => mutation::BEFORE.choose(rng).copied().unwrap_or("none"),
            (_, false) => mutation::AFTER.choose(rng).copied().unwrap_or("none"),
        };
        let moment = mutation::Moment { height: self.chain.next_height()?, median_time_past: self.median_time()? };
        let mut transaction = base.draft.payment.transaction.clone();
        if mutation::BEFORE.contains(&mutation) {
            mutation::before(mutation, rng, &mut transaction, self.chain.pegged(), moment);
            transaction = base.draft.payment.with(|changed| *changed = transaction);
        }
        base.draft.sign(&mut transaction, self);
        let bytes = if mutation::AFTER.contains(&mutation) {
            mutation::after(mutation, rng, &mut transaction)
        } else {
            serialize(&transaction)
        };
        let subject = match decode(bytes.clone()) {
            Ok(transaction) => Subject::Transaction(Box::new(transaction)),
            Err(_) => Subject::Bytes(bytes),
        };
        Ok(Case { number, kind: base.kind.clone(), mutation, subject })
    }

    fn median_time(&self) -> Result<u32, ForgeError> {
        Ok(self.chain.judge.ledger.snapshot()?.tip()?.median_time_past)
    }

    fn base(&self, number: u64) -> Result<Base, ForgeError> {
        let mut rng = self.rng(number.saturating_add(1));
        let rng = &mut rng;
        let height = self.chain.next_height()?;
        let spent = self.some_coins(rng);
        let mut kind: Vec<&'static str> = spent.iter().map(|coin| coin.lock.family).collect();
        let mut draft = self.draft(rng, &spent, &mut kind)?;
        let late = if rng.gen_bool(0.9) { height.saturating_sub(1) } else { rng.gen_range(0..height) };
        let sequences: Vec<u32> = draft
            .locks
            .iter()
            .map(|lock| match lock.as_ref().and_then(|lock| lock.age) {
                // Old enough for the lock, whether or not the coin is.
                Some(age) if rng.gen_bool(0.9) => u32::from(age),
                _ if rng.gen_bool(0.3) => REPLACEABLE,
                _ => 0,
            })
            .collect();
        draft.payment.transaction = draft.payment.with(|transaction| {
            transaction.lock_time = LockTime::from_consensus(late);
            for (input, sequence) in transaction.input.iter_mut().zip(sequences) {
                input.sequence = Sequence(sequence);
            }
        });
        Ok(Base { number, kind: kind.join("+"), draft })
    }

    fn draft(
        &self,
        rng: &mut ChaCha20Rng,
        spent: &[Locked],
        kind: &mut Vec<&'static str>,
    ) -> Result<Draft, ForgeError> {
        let mut coins: Vec<Coin> = spent.iter().map(|locked| locked.coin.clone()).collect();
        let mut locks: Vec<Option<Lock>> = spent.iter().map(|locked| Some(locked.lock.clone())).collect();
        if rng.gen_bool(0.2) {
            kind.push("pegin");
            coins.push(self.claim(rng)?);
            locks.push(None);
        }
        for (asset, name) in self.assets.iter().zip(["explicit-asset", "hidden-asset"]) {
            if rng.gen_bool(0.2) {
                kind.push(name);
                coins.push(asset.clone());
                locks.push(Some(Lock::open()));
            }
        }
        let shape = if rng.gen_bool(0.5) { Shape::Confidential } else { Shape::Explicit };
        let mut issue = None;
        let again = if shape == Shape::Confidential { &self.hidden } else { &self.shown };
        match rng.gen_range(0..6) {
            0 => {
                kind.push(if shape == Shape::Explicit { "issuance" } else { "hidden-issuance" });
                issue = Some(Issue::new(rng.r#gen(), rng.gen_range(0..60_000), rng.gen_range(1..5), shape));
            }
            1 => {
                kind.push(if shape == Shape::Explicit { "reissuance" } else { "hidden-reissuance" });
                coins.insert(0, again.token.clone());
                locks.insert(0, Some(Lock::open()));
                issue = Some(Issue::again(again.entropy, &again.token, rng.gen_range(1..60_000), shape));
            }
            _ => {}
        }
        let issue = issue.map(|issue| Issue { bits: 18, ..issue });
        let mut totals: Vec<(AssetId, u64)> = Vec::new();
        let mut add = |asset, value: u64| match totals.iter_mut().find(|(other, _)| *other == asset) {
            Some((_, total)) => *total = total.saturating_add(value),
            None => totals.push((asset, value)),
        };
        let pegged = self.chain.pegged();
        add(pegged, 0);
        coins.iter().for_each(|coin| add(coin.secrets.asset, coin.secrets.value));
        if let (Some(issue), Some(coin)) = (&issue, coins.first()) {
            let (fresh, tokens) = issue.assets(coin).unwrap_or((pegged, pegged));
            let reissued = issue.nonce != [0; 32];
            add(if reissued { again.asset } else { fresh }, issue.amount);
            add(tokens, issue.tokens);
        }
        let mut pays: Vec<Pay> = Vec::new();
        for (asset, total) in totals.into_iter().rev() {
            pays.extend(self.pays(rng, asset, total, kind));
        }
        let hides = coins.iter().any(|coin| coin.output.value.is_confidential())
            || issue.is_some_and(|issue| issue.shape == Shape::Confidential);
        if let (true, Some(last)) = (hides, pays.last_mut()) {
            last.shape = Shape::Confidential;
        }
        if !hides && pays.iter().filter(|pay| pay.shape == Shape::Confidential).count() == 1 {
            kind.push("one-hidden");
        }
        kind.push(if pays.iter().any(|pay| pay.shape == Shape::Confidential) { "confidential" } else { "explicit" });
        let payment = Payment::issuing(rng, &coins, issue.as_ref(), &pays, (pegged, FEE_SAT))?;
        Ok(Draft { payment, locks })
    }

    /// A deposit to claim, deep enough.
    fn claim(&self, rng: &mut ChaCha20Rng) -> Result<Coin, ForgeError> {
        let params = &self.chain.judge.params;
        let height = self.chain.next_height()?;
        let deposit = Deposit::new(params, height, self.owner, rng.gen_range(1_000..1_000_000), rng.r#gen())?;
        self.chain.bitcoin.set(deposit.outpoint(), DepthVerdict::Deep { confirmations: 8 });
        deposit.coin(params)
    }

    /// Outputs for all there is of an asset, but for the fee.
    fn pays(&self, rng: &mut ChaCha20Rng, asset: AssetId, total: u64, kind: &mut Vec<&'static str>) -> Vec<Pay> {
        let is_pegged = asset == self.chain.pegged();
        let mut left = if is_pegged { total.saturating_sub(FEE_SAT) } else { total };
        let mut pays = Vec::new();
        if left > 10 && rng.gen_bool(if is_pegged { 0.15 } else { 0.01 }) {
            kind.push("pegout");
            let to = bitcoin::ScriptBuf::from_bytes([vec![0, 20], vec![9; 20]].concat());
            let shape = if rng.gen_bool(0.95) { Shape::Explicit } else { Shape::Confidential };
            let out = Pay::explicit(asset, 5, pegout_script(&self.chain.judge.params.parent_genesis(), &to));
            pays.push(Pay { shape, range: (1, 8), ..out });
            left = left.saturating_sub(5);
        }
        while left > 0 {
            let part = if rng.gen_bool(0.6) { left } else { rng.gen_range(1..=left) };
            left = left.saturating_sub(part);
            let script = if rng.gen_bool(0.05) {
                kind.push("burn");
                Script::from(vec![0x6a, 1, 2])
            } else {
                Lock::open().script_pubkey()
            };
            let shape = if rng.gen_bool(0.5) { Shape::Confidential } else { Shape::Explicit };
            pays.push(Pay { shape, range: narrow(rng, part), ..Pay::explicit(asset, part, script) });
        }
        pays
    }
}
