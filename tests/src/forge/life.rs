//! A short chain with one of everything on it: for those who read chains.

use aquifer_assets::peg::pegout_script;
use aquifer_assets::primitives::Transaction;
use aquifer_assets::transaction::issued_assets;
use elements::{AssetId, Script};

use super::{Chain, Coin, FEE_SAT, ForgeError, Issue, Owner, Pay, Shape};

/// Six blocks: deposits claimed, an asset issued, payments of which one spends the other in the same block, the asset
/// reissued, some of it burned with a peg-out beside it, and a block with nothing in it.
pub struct Life {
    /// The chain.
    pub chain: Chain,
    /// Who pegs in and issues.
    pub alice: Owner,
    /// Whom she pays.
    pub bob: Owner,
    /// The asset.
    pub gold: AssetId,
    /// Its reissuance token.
    pub token: AssetId,
    /// Money of Alice's that is not spent, in the last block but one.
    pub money: Coin,
}

/// What Alice issues at first, issues later and burns.
pub const ISSUED: [u64; 3] = [500, 250, 50];
/// What she pegs out, in satoshi.
pub const PEGGED_OUT_SAT: u64 = 100_000;

impl Life {
    /// Lives it. The same seed makes the same blocks.
    ///
    /// # Errors
    /// [`ForgeError`] if it is not valid, which would be a defect.
    pub fn new(seed: u64) -> Result<Self, ForgeError> {
        let mut chain = Chain::new(seed)?;
        let (alice, bob) = (Owner::new(&mut chain.rng), Owner::new(&mut chain.rng));
        let pegged = chain.pegged();
        let [issued, again, burned] = ISSUED;
        let coins = chain.peg_in(alice, &[1_000_000, 500_000])?;
        let [money, paying] = <[Coin; 2]>::try_from(coins).map_err(|_| ForgeError::NoOutput(0))?;

        let issue = Issue::new([7; 32], issued, 1, Shape::Explicit);
        let (gold, token) = issue.assets(&paying).ok_or(ForgeError::NoOutput(0))?;
        let pays = [
            Pay::explicit(gold, issued, alice.script()),
            Pay::confidential(token, 1, alice.script()),
            Pay::confidential(pegged, 500_000 - FEE_SAT, alice.script()),
        ];
        let issuing = chain.issue(&[paying], &issue, &pays)?;
        chain.extend(vec![issuing.transaction.clone()])?;
        let input = issuing.transaction.input.first().ok_or(ForgeError::NoOutput(0))?;
        let (entropy, ..) = issued_assets(input).ok_or(ForgeError::NoOutput(0))?;

        let pays = [
            Pay::confidential(pegged, 400_000, bob.script()),
            Pay::confidential(pegged, 600_000 - FEE_SAT, alice.script()),
        ];
        let first = chain.pay(&[money], &pays)?;
        let second =
            chain.pay(&[first.coin(0, bob)?], &[Pay::confidential(pegged, 400_000 - FEE_SAT, bob.script())])?;
        chain.extend(vec![first.transaction.clone(), second.transaction.clone()])?;

        let right = issuing.coin(1, alice)?;
        let pays = [
            Pay::explicit(gold, again, bob.script()),
            Pay::confidential(token, 1, alice.script()),
            Pay::confidential(pegged, 600_000 - 2 * FEE_SAT, alice.script()),
        ];
        let reissue = Issue::again(entropy.to_byte_array(), &right, again, Shape::Explicit);
        let reissuing = chain.issue(&[right, first.coin(1, alice)?], &reissue, &pays)?;
        chain.extend(vec![reissuing.transaction.clone()])?;

        let parent = chain.judge.params.parent_genesis;
        let to_bitcoin = pegout_script(&parent, &bitcoin::ScriptBuf::from_bytes(bob.script().to_bytes()));
        let pays = [
            Pay::explicit(gold, burned, Script::from(vec![0x6a])),
            Pay::confidential(gold, issued - burned, bob.script()),
            Pay::explicit(pegged, PEGGED_OUT_SAT, to_bitcoin),
            Pay::confidential(pegged, 500_000 - PEGGED_OUT_SAT - 2 * FEE_SAT, alice.script()),
        ];
        let leaving = chain.pay(&[issuing.coin(0, alice)?, issuing.coin(2, alice)?], &pays)?;
        chain.extend(vec![leaving.transaction.clone()])?;
        chain.extend(Vec::new())?;
        Ok(Life { alice, bob, gold, token, money: leaving.coin(3, alice)?, chain })
    }

    /// A payment of Alice's money to Bob that the chain takes now.
    ///
    /// # Errors
    /// [`ForgeError`] if it cannot be made.
    pub fn payment(&mut self) -> Result<Transaction, ForgeError> {
        let pay = Pay::confidential(self.chain.pegged(), self.money.secrets.value - FEE_SAT, self.bob.script());
        Ok(self.chain.pay(std::slice::from_ref(&self.money), &[pay])?.transaction)
    }
}
