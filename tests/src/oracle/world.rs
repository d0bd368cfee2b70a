//! The chain on which cases are judged, and the making of a case.

use std::sync::Arc;

use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_assets::peg::pegout_script;
use aquifer_assets::primitives::{Block, DecodeError, Transaction, TxOut};
use aquifer_assets::transaction::decode;
use aquifer_functionary::chain::body::Body;
use aquifer_functionary::chain::judge::{BadBlock, Scrutiny, Verdict};
use bitcoin::hashes::{Hash as _, sha256};
use elements::encode::{serialize, serialize_hex};
use elements::{AssetId, BlockHash, LockTime, Script, Sequence};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use super::lock::Lock;
use super::{mutation, scripts};
use crate::forge::{Chain, Coin, Deposit, ForgeError, Issue, Owner, Pay, Payment, Shape};

const FEE_SAT: u64 = 1_000;
const ANCHOR_SAT: u64 = 100_000_000;
/// Empty blocks on top, so that locks have something to count.
const DEPTH: u32 = 6;

/// What is judged.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A block on the tip.
    Block(Box<Block>),
    /// Bytes of a transaction that we cannot decode.
    Bytes(Vec<u8>),
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number under the seed.
    pub number: u64,
    /// Families of its locks and what else it holds, joined by `+`.
    pub kind: String,
    /// What was changed; `none` for a transaction as it should be.
    pub mutation: &'static str,
    /// The child's bytes.
    pub bytes: Vec<u8>,
    /// What is judged.
    pub subject: Subject,
}

impl Case {
    /// The first bytes of the hash of what is judged.
    pub fn digest(&self) -> String {
        let hash = match &self.subject {
            Subject::Block(block) => sha256::Hash::hash(&serialize(&**block)),
            Subject::Bytes(bytes) => sha256::Hash::hash(bytes),
        };
        hash.to_string().chars().take(8).collect()
    }
}

/// An asset that can be reissued.
struct Asset {
    asset: AssetId,
    entropy: [u8; 32],
    /// Its tokens, hidden.
    token: Coin,
}

/// A chain and what can be spent on it.
pub struct World {
    /// The chain.
    pub chain: Chain,
    /// Its blocks above genesis.
    pub blocks: Vec<Block>,
    seed: u64,
    /// Whose signature nobody asks for.
    owner: Owner,
    anchor: Coin,
    /// An asset whose issuance hid its amounts, shown and hidden.
    assets: [Coin; 2],
    hidden: Asset,
    /// An asset whose issuance showed its amounts.
    shown: Asset,
}

/// A transaction with the locks of its inputs.
struct Draft {
    payment: Payment,
    /// `None`: signed by the payment itself.
    locks: Vec<Option<Lock>>,
}

impl Draft {
    fn sign(&self, transaction: &mut Transaction, genesis: BlockHash) {
        let spent: Vec<TxOut> = self.payment.coins.iter().map(|coin| coin.output.clone()).collect();
        if spent.len() != transaction.input.len() {
            return;
        }
        for (vin, lock) in self.locks.iter().enumerate() {
            if let Some(lock) = lock {
                lock.sign(transaction, vin, &spent, genesis);
            }
        }
    }
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
        for _ in 0..DEPTH {
            blocks.push(chain.extend(vec![])?);
        }
        let assets = [issuance.coin(0, owner)?, issuance.coin(1, owner)?];
        let hidden = Asset { asset, entropy: entropy_of(&issuance), token: issuance.coin(2, owner)? };
        Ok(World { chain, blocks, seed, owner, anchor, assets, hidden, shown })
    }

    /// The configuration of an elementsd that follows this chain.
    pub fn configuration(&self) -> String {
        elements_conf(&self.chain.judge.params, &ElementsConfOptions::default())
    }

    /// The case with a number.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn case(&self, number: u64) -> Result<Case, ForgeError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(number.wrapping_add(1));
        let rng = &mut rng;
        let genesis = self.chain.judge.params.genesis_hash();
        let height = self.chain.next_height()?;
        let pegged = self.chain.pegged();
        let mut kind = Vec::new();
        let locks: Vec<Lock> = (0..rng.gen_range(1..4)).map(|_| scripts::draw(rng, height)).collect();
        kind.extend(locks.iter().map(|lock| lock.family));
        let parent = self.parent(rng, &locks)?;
        let child = self.child(rng, &parent.1, locks, &mut kind)?;
        let mutation = match rng.gen_range(0..10) {
            0..=3 => "none",
            4..=7 => mutation::BEFORE.choose(rng).copied().unwrap_or("none"),
            _ => mutation::AFTER.choose(rng).copied().unwrap_or("none"),
        };
        let late = if rng.gen_bool(0.8) { height.saturating_sub(1) } else { rng.gen_range(0..height) };
        let times = (late, rng.gen_range(0..5));
        let mut transaction = child.payment.with(|transaction| {
            transaction.lock_time = LockTime::from_consensus(times.0);
            for input in &mut transaction.input {
                input.sequence = if times.1 == 0 { Sequence(0xffff_fffd) } else { Sequence(0) };
            }
            if mutation::BEFORE.contains(&mutation) {
                mutation::before(mutation, rng, transaction, pegged);
            }
        });
        child.sign(&mut transaction, genesis);
        let bytes = if mutation::AFTER.contains(&mutation) {
            mutation::after(mutation, rng, &mut transaction)
        } else {
            serialize(&transaction)
        };
        let subject = match decode(bytes.clone()) {
            Ok(child) => Subject::Block(Box::new(self.chain.propose(vec![parent.0, child])?)),
            Err(_) => Subject::Bytes(bytes.clone()),
        };
        Ok(Case { number, kind: kind.join("+"), mutation, bytes, subject })
    }

    fn parent(&self, rng: &mut ChaCha20Rng, locks: &[Lock]) -> Result<(Transaction, Vec<Coin>), ForgeError> {
        let pegged = self.chain.pegged();
        let mut left = ANCHOR_SAT.saturating_sub(FEE_SAT);
        let mut pays = Vec::new();
        for lock in locks {
            let value = rng.gen_range(50_000..1_000_000);
            left = left.saturating_sub(value);
            let shape = if rng.gen_bool(0.4) { Shape::Confidential } else { Shape::Explicit };
            pays.push(Pay { shape, range: narrow(rng, value), ..Pay::explicit(pegged, value, lock.script_pubkey()) });
        }
        pays.push(Pay::explicit(pegged, left, Lock::open().script_pubkey()));
        if pays.iter().any(|pay| pay.shape == Shape::Confidential) {
            // Somebody has to take up the blinding.
            pays.push(Pay { range: (0, 8), ..Pay::confidential(pegged, 0, Script::from(vec![0x6a])) });
        }
        let payment = Payment::new(rng, std::slice::from_ref(&self.anchor), &pays, (pegged, FEE_SAT))?;
        let coins = (0..).zip(locks).map(|(vout, _)| payment.coin(vout, self.owner)).collect::<Result<_, _>>()?;
        let draft = Draft { payment, locks: vec![Some(Lock::open())] };
        let mut transaction = draft.payment.transaction.clone();
        draft.sign(&mut transaction, self.chain.judge.params.genesis_hash());
        Ok((transaction, coins))
    }

    fn child(
        &self,
        rng: &mut ChaCha20Rng,
        coins: &[Coin],
        locks: Vec<Lock>,
        kind: &mut Vec<&'static str>,
    ) -> Result<Draft, ForgeError> {
        let params = &self.chain.judge.params;
        let pegged = self.chain.pegged();
        let mut coins = coins.to_vec();
        let mut locks: Vec<Option<Lock>> = locks.into_iter().map(Some).collect();
        if rng.gen_bool(0.2) {
            kind.push("pegin");
            let height = self.chain.next_height()?;
            let deposit = Deposit::new(params, height, self.owner, rng.gen_range(1_000..1_000_000), rng.r#gen())?;
            coins.push(deposit.coin(params)?);
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
        add(pegged, 0);
        coins.iter().for_each(|coin| add(coin.secrets.asset, coin.secrets.value));
        if let (Some(issue), Some(coin)) = (&issue, coins.first()) {
            let (fresh, tokens) = issue.assets(coin).unwrap_or((pegged, pegged));
            let reissued = issue.nonce != [0; 32];
            add(if reissued { again.asset } else { fresh }, issue.amount);
            add(tokens, issue.tokens);
        }
        let mut pays = Vec::new();
        for (asset, mut left) in totals.into_iter().rev() {
            if asset == pegged {
                left = left.saturating_sub(FEE_SAT);
            }
            if left > 10 && rng.gen_bool(if asset == pegged { 0.15 } else { 0.01 }) {
                kind.push("pegout");
                let to = bitcoin::ScriptBuf::from_bytes([vec![0, 20], vec![9; 20]].concat());
                let shape = if rng.gen_bool(0.95) { Shape::Explicit } else { Shape::Confidential };
                let out = Pay::explicit(asset, 5, pegout_script(&params.parent_genesis(), &to));
                pays.push(Pay { shape, range: (1, 8), ..out });
                left = left.saturating_sub(5);
            }
            while left > 0 {
                let part = if rng.gen_bool(0.6) { left } else { rng.gen_range(1..=left) };
                left = left.saturating_sub(part);
                let script = if rng.gen_bool(0.1) {
                    kind.push("burn");
                    Script::from(vec![0x6a, 1, 2])
                } else {
                    Lock::open().script_pubkey()
                };
                let shape = if rng.gen_bool(0.5) { Shape::Confidential } else { Shape::Explicit };
                pays.push(Pay { shape, range: narrow(rng, part), ..Pay::explicit(asset, part, script) });
            }
        }
        let hides = coins.iter().any(|coin| coin.output.value.is_confidential())
            || issue.is_some_and(|i| i.shape == Shape::Confidential);
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

    /// What we say of a case: nothing if it is valid, otherwise the name of the rule.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn verdict(&self, case: &Case) -> Result<Option<String>, ForgeError> {
        let block = match &case.subject {
            Subject::Block(block) => block,
            Subject::Bytes(bytes) => {
                return Ok(Transaction::decode(bytes.clone()).err().map(|error| match error {
                    DecodeError::Commitment { .. } => format!("commitment: {error}"),
                    _ => "malformed".to_owned(),
                }));
            }
        };
        let body = Body { block: (**block).clone(), batch: None };
        Ok(match Arc::new(&self.chain.judge).examine(body, Scrutiny::ChainOnly)? {
            Verdict::Valid(_) => None,
            Verdict::Invalid(BadBlock::Block(aquifer_assets::block::BlockError::Transaction {
                position,
                source,
                ..
            })) => Some(format!("{}@{position}: {source}", source.name())),
            Verdict::Invalid(other) => Some(other.to_string()),
            Verdict::NotNow(reason) => Some(reason),
        })
    }
}

/// The entropy of the asset that the first input issues.
fn entropy_of(payment: &Payment) -> [u8; 32] {
    let issued = payment.transaction.input.first().and_then(aquifer_assets::transaction::issued_assets);
    issued.map(|(entropy, _, _)| entropy.to_byte_array()).unwrap_or_default()
}

/// A range that holds a value, of few bits: short proofs are checked fast.
fn narrow(rng: &mut ChaCha20Rng, value: u64) -> (u64, u8) {
    match rng.gen_range(0..8) {
        0 => (1, 36),
        1 => (value, 0),
        2 => (1, 52),
        _ => (value.saturating_sub(rng.gen_range(0..200)).max(1), 8),
    }
}

/// What an elementsd is asked about a case: the method and its argument.
pub fn elements_hex(case: &Case) -> (&'static str, String) {
    match &case.subject {
        Subject::Block(block) => ("testproposedblock", serialize_hex(&**block)),
        Subject::Bytes(bytes) => ("decoderawtransaction", hex::encode(bytes)),
    }
}
