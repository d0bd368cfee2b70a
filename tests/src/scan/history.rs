//! The history: many payments of one hand to one wallet, each hidden and to an address of its own.

use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

use aquifer_assets::primitives::Transaction;
use aquifer_wallet::backend::Ledger;
use elements::{AssetId, Txid};
use lwk_wollet::Wollet;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use secp256k1_zkp::SecretKey;

use crate::demo::Teller;
use crate::devnet::Devnet;
use crate::error::HarnessError;
use crate::forge::{Coin, FEE_SAT, Owner, Pay, Payment, for_wallets};
use crate::wait::{self, Answer};

/// What each payment is worth, in satoshi.
pub(super) const PAID_SAT: u64 = 10_000;
/// What each payment spends: itself, its fee, and change that is hidden too.
const COIN_SAT: u64 = PAID_SAT + FEE_SAT + 1_000;
/// Coins that one transaction makes. Its outputs are shown, so that it is cheap.
const COINS_PER_SPLIT: u64 = 250;
/// The fee of such a transaction: about 17,000 vB.
const SPLIT_FEE_SAT: u64 = 20_000;
/// Minimum and bits of range proofs as wallets make them.
const WALLET_RANGE: (u64, u8) = (1, 52);
/// Payments that are made, handed in and waited for at a time: fewer than a mempool holds.
const BATCH: usize = 500;
/// Time for a batch to become final.
const BATCH_LIMIT: Duration = Duration::from_secs(300);

fn failed(error: &dyn std::fmt::Display) -> HarnessError {
    HarnessError::Story(error.to_string())
}

/// Pays `wollet` so many times, at its first addresses.
///
/// # Errors
/// When the devnet fails or refuses a payment.
pub(super) fn pay(
    devnet: &Devnet,
    wollet: &Wollet,
    payments: u32,
    seed: u64,
    teller: &mut Teller,
) -> Result<(), HarnessError> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (owner, ledger, pegged) = (Owner::new(&mut rng), devnet.ledger()?, devnet.chain()?.pegged_asset());
    teller.step("give the payer coins");
    let splits = u64::from(payments).div_ceil(COINS_PER_SPLIT);
    let split_sat = COINS_PER_SPLIT * COIN_SAT + SPLIT_FEE_SAT;
    let left_sat = 10_000;
    let needed_sat = splits * split_sat + left_sat + FEE_SAT;
    let funder = devnet.wallet("funder")?;
    devnet.fund(&funder, 2 * needed_sat)?;
    let blinding = SecretKey::new(&mut rng);
    let coin = owner.be_paid(&funder, &ledger, &blinding, needed_sat, &pegged.to_string())?;

    // Hidden once more, as what is spent hidden cannot all become shown.
    let mut pays =
        vec![Pay::explicit(pegged, split_sat, owner.script()); usize::try_from(splits).unwrap_or(usize::MAX)];
    pays.push(Pay::confidential(pegged, left_sat, owner.script()));
    let root = Payment::new(&mut rng, &[coin], &pays, (pegged, FEE_SAT)).map_err(|error| failed(&error))?;
    // A mempool does not take so many descendants.
    wait_final(&ledger, BTreeSet::from([hand_in(&ledger, &root.transaction)?]))?;
    let (mut coins, mut waiting) = (Vec::new(), BTreeSet::new());
    for (vout, _) in (0..).zip(0..splits) {
        let coin = root.coin(vout, owner).map_err(|error| failed(&error))?;
        let pays = vec![Pay::explicit(pegged, COIN_SAT, owner.script()); usize::try_from(COINS_PER_SPLIT).unwrap_or(0)];
        let split = Payment::new(&mut rng, &[coin], &pays, (pegged, SPLIT_FEE_SAT)).map_err(|error| failed(&error))?;
        waiting.insert(hand_in(&ledger, &split.transaction)?);
        let made = (0..).zip(&pays).map(|(vout, _)| split.coin(vout, owner));
        coins.extend(made.collect::<Result<Vec<Coin>, _>>().map_err(|error| failed(&error))?);
    }

    wait_final(&ledger, waiting)?;

    let mut numbered: Vec<(u32, Coin)> = (0..payments).zip(coins).collect();
    while !numbered.is_empty() {
        let done = payments - u32::try_from(numbered.len()).unwrap_or(0);
        teller.step(&format!("pay it: {done} of {payments}"));
        let batch: Vec<_> = numbered.drain(..BATCH.min(numbered.len())).collect();
        let made = make(&mut rng, wollet, owner, pegged, &batch)?;
        let waiting = made.iter().map(|payment| hand_in(&ledger, &payment.transaction));
        wait_final(&ledger, waiting.collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

/// Makes payments on all cores.
fn make(
    rng: &mut ChaCha20Rng,
    wollet: &Wollet,
    owner: Owner,
    pegged: AssetId,
    coins: &[(u32, Coin)],
) -> Result<Vec<Payment>, HarnessError> {
    let mut orders = Vec::new();
    for (index, coin) in coins {
        let address = wollet.address(Some(*index)).map_err(|error| failed(&error))?;
        let (script, reader) = (address.address().script_pubkey(), address.address().blinding_pubkey);
        let to_wallet = Pay { reader, range: WALLET_RANGE, ..Pay::confidential(pegged, PAID_SAT, script) };
        let change_sat = COIN_SAT - PAID_SAT - FEE_SAT;
        let change = Pay { range: WALLET_RANGE, ..Pay::confidential(pegged, change_sat, owner.script()) };
        orders.push((rng.r#gen::<[u8; 32]>(), coin, [to_wallet, change]));
    }
    let made = orders.into_par_iter().map(|(seed, coin, pays)| {
        Payment::new(&mut ChaCha20Rng::from_seed(seed), slice::from_ref(coin), &pays, (pegged, FEE_SAT))
    });
    made.collect::<Result<_, _>>().map_err(|error| failed(&error))
}

fn hand_in(ledger: &Ledger, transaction: &Transaction) -> Result<Txid, HarnessError> {
    Ok(ledger.submit(&for_wallets(transaction)?)?)
}

fn wait_final(ledger: &Ledger, mut waiting: BTreeSet<Txid>) -> Result<(), HarnessError> {
    wait::until("payments become final", BATCH_LIMIT, || {
        let asked: Vec<Txid> = waiting.iter().copied().collect();
        for (txid, found) in asked.iter().zip(ledger.transactions(&asked)?) {
            if found.place.is_some() {
                waiting.remove(txid);
            }
        }
        Ok(if waiting.is_empty() { Answer::Ready(()) } else { Answer::NotYet(format!("{} wait", waiting.len())) })
    })
}
