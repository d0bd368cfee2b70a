//! The chains that are measured. The same seed makes the same blocks.

use std::collections::VecDeque;

use aquifer_assets::block::MAX_BLOCK_WEIGHT;
use aquifer_assets::peg::pegout_script;
use aquifer_assets::primitives::Transaction;
use aquifer_assets::transaction::issued_assets;
use elements::{AssetId, Script};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use super::{BenchError, Plan};
use crate::forge::{Chain, Coin, FEE_SAT, ForgeError, Issue, Owner, Pay, Payment, Shape};

/// Minimum and bits of range proofs as wallets make them.
const WALLET_RANGE: (u64, u8) = (1, 52);
/// Weight kept free for the header and the coinbase, and for what signatures of a few payments are longer than most.
const RESERVED_WEIGHT: u64 = 10_000;
/// What a coin begins with.
const COIN_SAT: u64 = 100_000_000;
/// The smaller output of a payment, and what is pegged out and burned.
const SMALL_SAT: u64 = 10_000;
/// Coins of each kind that the mixed chain begins with.
const COINS: usize = 16;

/// A transaction to be made.
struct Draft {
    coins: Vec<Coin>,
    issue: Option<Issue>,
    pays: Vec<Pay>,
}

/// Makes the transactions of a block, on all cores.
fn make(chain: &mut Chain, drafts: &[Draft]) -> Result<Vec<Payment>, ForgeError> {
    let fee = (chain.pegged(), FEE_SAT);
    // Randomness of its own for each, so that it does not matter which is made first.
    let seeded: Vec<([u8; 32], &Draft)> = drafts.iter().map(|draft| (chain.rng.r#gen(), draft)).collect();
    let made = seeded.into_par_iter().map(|(seed, draft)| {
        Payment::issuing(&mut ChaCha20Rng::from_seed(seed), &draft.coins, draft.issue.as_ref(), &draft.pays, fee)
    });
    made.collect()
}

fn transactions(payments: &[Payment]) -> Vec<Transaction> {
    payments.iter().map(|payment| payment.transaction.clone()).collect()
}

fn hidden(asset: AssetId, value: u64, owner: Owner) -> Pay {
    Pay { range: WALLET_RANGE, ..Pay::confidential(asset, value, owner.script()) }
}

/// Pegs so many explicit coins in, with one block.
fn fund(chain: &mut Chain, owner: Owner, count: usize) -> Result<VecDeque<Coin>, ForgeError> {
    let pegged = chain.pegged();
    let total = (0..count).fold(FEE_SAT, |sum, _| sum.saturating_add(COIN_SAT));
    let deposit = chain.deposit(owner, total)?.coin(&chain.judge.params)?;
    let claim = chain.pay(&[deposit], &vec![Pay::explicit(pegged, COIN_SAT, owner.script()); count])?;
    chain.extend(vec![claim.transaction.clone()])?;
    (0..).zip(0..count).map(|(vout, _)| claim.coin(vout, owner)).collect()
}

/// A payment of one coin into two hidden outputs; the first keeps nearly all.
fn two_outputs(pegged: AssetId, owner: Owner, coin: Coin) -> Draft {
    let left = coin.secrets.value.saturating_sub(FEE_SAT).saturating_sub(SMALL_SAT);
    Draft { coins: vec![coin], issue: None, pays: vec![hidden(pegged, left, owner), hidden(pegged, SMALL_SAT, owner)] }
}

/// A chain of full blocks: nothing but payments with two hidden outputs. Those of the first spend explicit outputs,
/// those of the others hidden ones. `progress` is told of each block.
///
/// # Errors
/// If the chain refuses a block, which would be a defect.
pub fn confidential(plan: &Plan, progress: &mut dyn FnMut(u32)) -> Result<Chain, BenchError> {
    let mut chain = Chain::new(plan.seed)?;
    let owner = Owner::new(&mut chain.rng);
    let pegged = chain.pegged();
    let sample = fund(&mut chain, owner, 1)?.into_iter().map(|coin| two_outputs(pegged, owner, coin));
    let sample = make(&mut chain, &sample.collect::<Vec<_>>())?;
    let weight = sample.iter().map(|payment| payment.transaction.weight()).max().unwrap_or(usize::MAX);
    let room = plan.block_weight.min(MAX_BLOCK_WEIGHT).saturating_sub(RESERVED_WEIGHT);
    let count = usize::try_from(room).unwrap_or(0) / weight;
    let mut coins: Vec<Coin> = fund(&mut chain, owner, count)?.into();
    for done in 0..plan.full_blocks {
        progress(done);
        let drafts: Vec<Draft> = coins.drain(..).map(|coin| two_outputs(pegged, owner, coin)).collect();
        let payments = make(&mut chain, &drafts)?;
        chain.extend(transactions(&payments))?;
        coins = payments.iter().map(|payment| payment.coin(0, owner)).collect::<Result<_, _>>()?;
    }
    Ok(chain)
}

/// What can be spent on the mixed chain.
struct Purse {
    owner: Owner,
    pegged: AssetId,
    /// Explicit coins of the pegged asset, oldest first.
    shown: VecDeque<Coin>,
    /// Hidden ones.
    hidden: VecDeque<Coin>,
    /// A reissuance token, with the entropy of its asset and the shape of its issuance.
    token: Option<(Coin, [u8; 32], Shape)>,
    /// An explicit coin of an issued asset.
    issued: Option<Coin>,
}

/// What comes back to the purse of a transaction.
#[derive(Clone, Copy)]
enum Returns {
    Shown(u32),
    Hidden(u32),
    Token(u32, Shape),
    Issued(u32),
}

/// A chain of small blocks of mixed content: hidden payments of one and of two coins and an explicit one in every
/// block, and in turn peg-ins, peg-outs, issuances, reissuances and burns. `progress` is told of each block.
///
/// # Errors
/// If the chain refuses a block, which would be a defect.
pub fn mixed(plan: &Plan, progress: &mut dyn FnMut(u32)) -> Result<Chain, BenchError> {
    let mut chain = Chain::new(plan.seed.wrapping_add(1))?;
    let owner = Owner::new(&mut chain.rng);
    let shown = fund(&mut chain, owner, COINS)?;
    let hidden = fund(&mut chain, owner, COINS)?;
    let mut purse = Purse { owner, pegged: chain.pegged(), shown, hidden, token: None, issued: None };
    for number in 0..plan.mixed_blocks {
        progress(number);
        let mut drafts = vec![purse.pay_hidden(1)?, purse.pay_hidden(2)?, purse.pay_shown()?];
        drafts.extend(match number % 6 {
            0 => Some(purse.issue(number, if number % 4 == 0 { Shape::Explicit } else { Shape::Confidential })?),
            1 => purse.reissue()?,
            2 => purse.burn()?,
            3 => Some(purse.peg_out(&chain)?),
            4 => Some(purse.peg_in(&mut chain)?),
            _ => None,
        });
        let (drafts, returns): (Vec<Draft>, Vec<Vec<Returns>>) = drafts.into_iter().unzip();
        let payments = make(&mut chain, &drafts)?;
        chain.extend(transactions(&payments))?;
        for (payment, returns) in payments.iter().zip(returns) {
            returns.into_iter().try_for_each(|back| purse.put(payment, back))?;
        }
    }
    Ok(chain)
}

impl Purse {
    fn put(&mut self, payment: &Payment, returns: Returns) -> Result<(), ForgeError> {
        match returns {
            Returns::Shown(vout) => self.shown.push_back(payment.coin(vout, self.owner)?),
            Returns::Hidden(vout) => self.hidden.push_back(payment.coin(vout, self.owner)?),
            Returns::Issued(vout) => self.issued = Some(payment.coin(vout, self.owner)?),
            Returns::Token(vout, shape) => {
                let entropy = payment.transaction.input.first().and_then(issued_assets).map(|issued| issued.0);
                let entropy = entropy.map(|entropy| entropy.to_byte_array()).unwrap_or_default();
                self.token = Some((payment.coin(vout, self.owner)?, entropy, shape));
            }
        }
        Ok(())
    }

    fn take_shown(&mut self) -> Result<Coin, ForgeError> {
        self.shown.pop_front().ok_or(ForgeError::NoOutput(0))
    }

    /// What is left of a coin after the fee and another amount.
    fn change(coin: &Coin, spent: u64) -> u64 {
        coin.secrets.value.saturating_sub(FEE_SAT).saturating_sub(spent)
    }

    fn pay_hidden(&mut self, inputs: usize) -> Result<(Draft, Vec<Returns>), ForgeError> {
        let coins: Vec<Coin> = self.hidden.drain(..inputs.min(self.hidden.len())).collect();
        let total = coins.iter().fold(0u64, |sum, coin| sum.saturating_add(coin.secrets.value)).saturating_sub(FEE_SAT);
        let half = total / 2;
        let pays = [half, total.saturating_sub(half)].map(|value| hidden(self.pegged, value, self.owner)).to_vec();
        Ok((Draft { coins, issue: None, pays }, vec![Returns::Hidden(0), Returns::Hidden(1)]))
    }

    fn pay_shown(&mut self) -> Result<(Draft, Vec<Returns>), ForgeError> {
        let coin = self.take_shown()?;
        let pays = [Self::change(&coin, SMALL_SAT), SMALL_SAT];
        let pays = pays.map(|value| Pay::explicit(self.pegged, value, self.owner.script())).to_vec();
        Ok((Draft { coins: vec![coin], issue: None, pays }, vec![Returns::Shown(0)]))
    }

    fn issue(&mut self, number: u32, shape: Shape) -> Result<(Draft, Vec<Returns>), ForgeError> {
        let coin = self.take_shown()?;
        let mut contract = [0; 32];
        contract.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        let issue = Issue { bits: WALLET_RANGE.1, ..Issue::new(contract, 1_000_000, 10, shape) };
        let (asset, token) = issue.assets(&coin).ok_or(ForgeError::NoOutput(0))?;
        let pays = vec![
            Pay::explicit(self.pegged, Self::change(&coin, 0), self.owner.script()),
            hidden(token, 10, self.owner),
            Pay::explicit(asset, SMALL_SAT, self.owner.script()),
            hidden(asset, 1_000_000 - SMALL_SAT, self.owner),
        ];
        let returns = vec![Returns::Shown(0), Returns::Token(1, shape), Returns::Issued(2)];
        Ok((Draft { coins: vec![coin], issue: Some(issue), pays }, returns))
    }

    fn reissue(&mut self) -> Result<Option<(Draft, Vec<Returns>)>, ForgeError> {
        let Some((token, entropy, shape)) = self.token.take() else { return Ok(None) };
        let coin = self.take_shown()?;
        let issue = Issue { bits: WALLET_RANGE.1, ..Issue::again(entropy, &token, SMALL_SAT, shape) };
        let (asset, _) = issue.assets(&token).ok_or(ForgeError::NoOutput(0))?;
        let pays = vec![
            Pay::explicit(self.pegged, Self::change(&coin, 0), self.owner.script()),
            hidden(token.secrets.asset, token.secrets.value, self.owner),
            hidden(asset, SMALL_SAT, self.owner),
        ];
        Ok(Some((Draft { coins: vec![token, coin], issue: Some(issue), pays }, vec![Returns::Shown(0)])))
    }

    fn burn(&mut self) -> Result<Option<(Draft, Vec<Returns>)>, ForgeError> {
        let Some(issued) = self.issued.take() else { return Ok(None) };
        let coin = self.take_shown()?;
        let pays = vec![
            Pay::explicit(self.pegged, Self::change(&coin, 0), self.owner.script()),
            Pay::explicit(issued.secrets.asset, issued.secrets.value, Script::from(vec![0x6a])),
        ];
        Ok(Some((Draft { coins: vec![coin, issued], issue: None, pays }, vec![Returns::Shown(0)])))
    }

    fn peg_out(&mut self, chain: &Chain) -> Result<(Draft, Vec<Returns>), ForgeError> {
        let coin = self.take_shown()?;
        let to = bitcoin::ScriptBuf::from_bytes([vec![0, 20], vec![9; 20]].concat());
        let pays = vec![
            Pay::explicit(self.pegged, Self::change(&coin, SMALL_SAT), self.owner.script()),
            Pay::explicit(self.pegged, SMALL_SAT, pegout_script(&chain.judge.params.parent_genesis(), &to)),
        ];
        Ok((Draft { coins: vec![coin], issue: None, pays }, vec![Returns::Shown(0)]))
    }

    fn peg_in(&mut self, chain: &mut Chain) -> Result<(Draft, Vec<Returns>), ForgeError> {
        let deposit = chain.deposit(self.owner, COIN_SAT)?.coin(&chain.judge.params)?;
        let pays = [SMALL_SAT, Self::change(&deposit, SMALL_SAT)].map(|value| hidden(self.pegged, value, self.owner));
        Ok((Draft { coins: vec![deposit], issue: None, pays: pays.to_vec() }, vec![Returns::Hidden(1)]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use aquifer_assets::block::block_weight;
    use aquifer_assets::primitives::Block;

    use super::*;
    use crate::bench::follower::stored_block;

    const PLAN: Plan = Plan { seed: 7, full_blocks: 2, block_weight: 40_000, mixed_blocks: 6, pegouts: 1_000, runs: 1 };

    fn blocks(chain: &Chain) -> Vec<Block> {
        let next = chain.next_height().unwrap();
        (1..next)
            .map(|height| Block::decode(stored_block(&chain.judge.ledger, height).unwrap().block).unwrap())
            .collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_full_blocks() {
        let made = [(); 2].map(|()| blocks(&confidential(&PLAN, &mut drop).unwrap()));
        let [first, second] = &made;
        assert_eq!(first, second);
        for block in first.iter().rev().take(2) {
            let weight = block_weight(block);
            assert!((20_000..=40_000).contains(&weight), "{weight}");
            let hidden = |tx: &Transaction| tx.output.iter().filter(|output| output.value.is_confidential()).count();
            assert!(block.txdata.iter().skip(1).all(|tx| hidden(tx) == 2));
        }
    }

    #[test]
    fn mixed_blocks_have_something_of_every_kind() {
        let chain = mixed(&PLAN, &mut drop).unwrap();
        let blocks = blocks(&chain);
        let inputs: Vec<_> = blocks.iter().flat_map(|block| &block.txdata).flat_map(|tx| &tx.input).collect();
        let issuances = || inputs.iter().filter(|input| input.has_issuance());
        let new = issuances().filter(|input| input.asset_issuance.asset_blinding_nonce.is_null()).count();
        // Two claims fund the chain.
        let claims = inputs.iter().filter(|input| input.is_pegin).count();
        assert_eq!((new, issuances().count(), claims), (1, 2, 3));
        let ledger = chain.judge.ledger.snapshot().unwrap();
        assert_eq!(ledger.waiting_pegouts().unwrap().len(), 1);
        assert!(ledger.supply().unwrap().iter().any(|supply| supply.burned == SMALL_SAT));
    }
}
