//! The loss of September 2026, played again on a federation whose verifiers all have the same defect.
//!
//! A block with money from nothing is proposed, voted for, signed and certified by everybody. What remains are those who
//! look at it again.

use std::time::Duration;

use aquifer_assets::peg::pegout_script;
use aquifer_assets::primitives::Transaction;
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Sabotaged};
use aquifer_tests::forge::{Coin, FEE_SAT, Owner, Pay, Payment, mint};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::Wallet;
use aquifer_wallet::backend::Ledger;
use elements::encode::{deserialize, serialize};
use elements::{Address, AddressParams};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use secp256k1_zkp::{SECP256K1, SecretKey};

const LIMIT: Duration = Duration::from_secs(120);
/// Many times what a payment takes when nothing is in the way.
const STANDSTILL: Duration = Duration::from_secs(15);
const RESERVE_SAT: u64 = 1_000_000_000;
const STAKE_SAT: u64 = 1_000_000;
const SEED: u64 = 906;

/// Somebody who knows of the defect.
struct Thief {
    rng: ChaCha20Rng,
    owner: Owner,
    blinding: SecretKey,
    ledger: Ledger,
}

impl Thief {
    fn new(devnet: &Devnet) -> Result<Self, HarnessError> {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let (owner, blinding) = (Owner::new(&mut rng), SecretKey::new(&mut rng));
        Ok(Self { rng, owner, blinding, ledger: devnet.ledger()? })
    }

    /// Is paid a little by an honest wallet.
    fn take_stake(&self, payer: &Wallet, asset: &str) -> Result<Coin, HarnessError> {
        let key = self.blinding.public_key(SECP256K1);
        let address = Address::from_script(&self.owner.script(), Some(key), &AddressParams::ELEMENTS)
            .ok_or_else(|| story("the thief has no address"))?;
        let paid = payer.send(&address.to_string(), STAKE_SAT, asset)?;
        let block = self.ledger.block(paid.height("height")?).map_err(|error| story(&error.to_string()))?;
        let coin = block.txdata.iter().find_map(|transaction| self.owner.coin_in(transaction, &self.blinding));
        coin.ok_or_else(|| story("the thief was not paid"))
    }

    /// Makes money from nothing, in a block that the federation certifies.
    fn mint(&mut self, stake: &Coin, loot_sat: u64) -> Result<Coin, HarnessError> {
        let payment = mint(&mut self.rng, stake, loot_sat).map_err(|error| story(&error.to_string()))?;
        self.carry(&payment.transaction)?;
        payment.coin(0, self.owner).map_err(|error| story(&error.to_string()))
    }

    /// Asks for bitcoin, and keeps what is left.
    fn peg_out(
        &mut self,
        coin: &Coin,
        genesis: &bitcoin::BlockHash,
        to: &bitcoin::Address,
        amount_sat: u64,
    ) -> Result<Coin, HarnessError> {
        let asset = coin.secrets.asset;
        let left_sat = coin.secrets.value - amount_sat - FEE_SAT;
        let pays = [
            Pay::confidential(asset, left_sat, self.owner.script()),
            Pay::explicit(asset, amount_sat, pegout_script(genesis, &to.script_pubkey())),
        ];
        let payment = Payment::new(&mut self.rng, std::slice::from_ref(coin), &pays, (asset, FEE_SAT))
            .map_err(|error| story(&error.to_string()))?;
        self.carry(&payment.transaction)?;
        payment.coin(0, self.owner).map_err(|error| story(&error.to_string()))
    }

    /// Hands a transaction in and waits for its block. An honest wallet would not: it looks at the proofs it is sent.
    fn carry(&self, transaction: &Transaction) -> Result<(), HarnessError> {
        let failed = |error: &dyn std::fmt::Display| story(&error.to_string());
        let transaction: elements::Transaction =
            deserialize(&serialize(transaction)).map_err(|error| failed(&error))?;
        let txid = transaction.txid();
        let mut height = self.ledger.tip().map_err(|error| failed(&error))?.height();
        self.ledger.submit(&transaction).map_err(|error| failed(&error))?;
        wait::until("the federation certifies what the thief made", LIMIT, || {
            let tip = self.ledger.tip().map_err(|error| failed(&error))?.height();
            while height < tip {
                height += 1;
                let block = self.ledger.block(height).map_err(|error| failed(&error))?;
                if block.txdata.iter().any(|transaction| transaction.txid() == txid) {
                    return Ok(Answer::Ready(()));
                }
            }
            Ok(Answer::NotYet(format!("not among blocks up to {height}")))
        })
    }
}

fn story(what: &str) -> HarnessError {
    HarnessError::Story(what.to_owned())
}

#[test]
fn auditors_stop_what_all_members_have_signed() -> Result<(), HarnessError> {
    let options = DevnetOptions { sabotaged: Sabotaged::Members, ..DevnetOptions::default() };
    Devnet::play(options, |devnet| {
        let params = devnet.chain()?.file().params.clone();
        let asset = devnet.chain()?.pegged_asset().to_string();
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, RESERVE_SAT)?;
        let mut thief = Thief::new(devnet)?;
        let stake = thief.take_stake(&alice, &asset)?;
        let loot = thief.mint(&stake, RESERVE_SAT / 10 * 9)?;
        let address = devnet.bitcoind().new_address()?;
        thief.peg_out(&loot, &params.parent_genesis, &address, RESERVE_SAT / 10 * 4)?;

        let client = devnet.bitcoind().client()?;
        wait::holds(STANDSTILL, || {
            let waiting: Vec<String> = client.call("getrawmempool", &[])?;
            assert!(waiting.is_empty(), "the thief is paid: {waiting:?}");
            Ok(())
        })?;
        // The chain's own payments go on.
        alice.send(&bob.address()?, 5_000_000, &asset)?;
        bob.wait_balance(&asset, 5_000_000)
    })
}
