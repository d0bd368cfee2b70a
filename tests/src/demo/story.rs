//! The story itself. Alice pegs in, pays Bob, issues an asset and manages it; Bob pegs out.

use std::time::{Duration, Instant};

use super::cost;
use super::summary::{Payment, Pegout, SpentCoins, Summary, btc};
use super::teller::Teller;
use super::verify;
use crate::devnet::{Devnet, parent_address};
use crate::error::HarnessError;
use crate::json::Printed;
use crate::wallet::{Issued, Wallet, raw};

/// What is paid to the peg-in address.
const DEPOSIT_SAT: u64 = 200_000_000;
/// What Alice pays Bob.
const PAYMENT_SAT: u64 = 25_000_000;
/// What Bob takes back to Bitcoin, what each payment spends, and what it shows.
const PEGOUTS: [(u64, SpentCoins, &str); 4] = [
    (10_000_000, SpentCoins::Deposits, "Bitcoin has not seen the treasury key sign: it is trusted with a probe"),
    (2_000_000, SpentCoins::ScriptAndProbe, "the key spends the probe, the members' own keys what else it takes"),
    (2_000_000, SpentCoins::Script, "the key is proven: everything else moves to it"),
    (5_000_000, SpentCoins::TreasuryByKey, "from now on a peg-out is one signature"),
];
/// Units of Alice's asset: at first, paid to Bob, issued later, burned.
const TICKER: &str = "GLD";
const ISSUED: u64 = 1_000;
const TOKENS: u64 = 1;
const PAID: u64 = 300;
const REISSUED: u64 = 500;
const BURNED: u64 = 200;

/// Time for something that waits for Bitcoin blocks, which are mined at once.
const PEG_LIMIT: Duration = Duration::from_secs(180);

/// The two wallets.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) alice: Wallet,
    pub(super) bob: Wallet,
}

/// Plays all of it.
pub(super) fn tell(devnet: &mut Devnet, teller: &mut Teller) -> Result<(Summary, Cast), HarnessError> {
    let mut summary = Summary { members: devnet.members().len(), ..Summary::default() };
    teller.chapter("Wallets");
    teller.step("fund a Bitcoin wallet with two block rewards");
    devnet.bitcoind().mine_rewards(2)?;
    teller.step("make wallets for Alice and Bob");
    let cast = Cast { alice: devnet.wallet("alice")?, bob: devnet.wallet("bob")? };
    let pegged_asset = devnet.chain()?.pegged_asset().to_string();

    teller.chapter("Peg-in");
    peg_in(devnet, teller, &cast, &pegged_asset, &mut summary)?;

    teller.chapter("A confidential payment");
    teller.step(&format!("Alice pays Bob {} in the pegged asset", btc(PAYMENT_SAT)));
    let sent = cast.alice.send(&cast.bob.address()?, PAYMENT_SAT, &pegged_asset)?;
    note(teller, &mut summary, "payment", &sent)?;
    teller.step("Bob has it");
    cast.bob.wait_balance(&pegged_asset, PAYMENT_SAT)?;

    teller.chapter("An asset");
    let issued = manage_asset(teller, &cast, &mut summary)?;

    teller.chapter("Peg-outs");
    for (amount_sat, spent, shows) in PEGOUTS {
        teller.text(&format!("  {shows}"));
        peg_out(devnet, teller, &cast, &pegged_asset, amount_sat, &mut summary)?;
        if spent == SpentCoins::ScriptAndProbe {
            teller.step("every member has seen the signature of the treasury key on Bitcoin");
            devnet.wait_key_proven(PEG_LIMIT)?;
        }
    }
    costs(devnet, &mut summary)?;

    teller.chapter("The books");
    verify::books(devnet, teller, &pegged_asset, &issued, &mut summary)?;
    let supply = ISSUED.saturating_add(REISSUED).saturating_sub(BURNED);
    verify::supply_is(&summary, &issued.asset, supply)?;
    verify::supply_is(
        &summary,
        &pegged_asset,
        DEPOSIT_SAT.saturating_sub(PEGOUTS.iter().map(|(amount_sat, ..)| amount_sat).sum()),
    )?;
    Ok((summary, cast))
}

fn peg_in(
    devnet: &Devnet,
    teller: &mut Teller,
    cast: &Cast,
    pegged_asset: &str,
    summary: &mut Summary,
) -> Result<(), HarnessError> {
    let bitcoind = devnet.bitcoind();
    teller.step("Alice asks for a peg-in address");
    let address = cast.alice.pegin_address()?;
    summary.pegin.address.clone_from(&address);
    teller.step(&format!("pay {} to it on Bitcoin", btc(DEPOSIT_SAT)));
    let parent_txid = bitcoind.send_to(&parent_address(&address)?, DEPOSIT_SAT)?;
    summary.pegin.parent_txid = parent_txid.to_string();
    teller.fact(&format!("deposit {parent_txid}"));
    let depth = devnet.chain()?.file().params.pegin_confirmation_depth_blocks;
    teller.step(&format!("mine {depth} Bitcoin blocks, one after the other"));
    for mined in 1..=depth {
        bitcoind.mine(1)?;
        teller.detail(&format!("{mined} of {depth}"));
    }
    teller.step("the wallet claims the deposit by itself");
    let done = cast.alice.claim(&address)?;
    summary.pegin.claim_txid = done.text("txid")?;
    summary.pegin.amount_sat = DEPOSIT_SAT;
    note(teller, summary, "peg-in claim", &done)?;
    teller.step("Alice has it");
    let balance = cast.alice.balance_of(pegged_asset)?;
    // The claim pays its own fee.
    if balance == 0 || balance > DEPOSIT_SAT {
        return Err(HarnessError::Story(format!("after a deposit of {DEPOSIT_SAT} sat Alice has {balance} sat")));
    }
    teller.fact(&format!("{} in the pegged asset", btc(balance)));
    Ok(())
}

fn manage_asset(teller: &mut Teller, cast: &Cast, summary: &mut Summary) -> Result<Issued, HarnessError> {
    teller.step(&format!("Alice issues {ISSUED} units with a reissuance token"));
    let (issued, printed) = cast.alice.issue(TICKER, ISSUED, TOKENS)?;
    note(teller, summary, "issuance", &printed)?;
    teller.fact(&format!("asset {}", issued.asset));

    teller.step(&format!("Alice pays Bob {PAID} units; nobody else sees which asset it is"));
    let sent = cast.alice.send(&cast.bob.address()?, PAID, &issued.asset)?;
    note(teller, summary, "asset payment", &sent)?;
    cast.bob.wait_balance(&issued.asset, PAID)?;

    teller.step(&format!("Alice issues {REISSUED} more with the token"));
    let reissued = cast.alice.reissue(&issued.asset, REISSUED)?;
    note(teller, summary, "reissuance", &reissued)?;

    teller.step(&format!("Alice burns {BURNED}"));
    let burned = cast.alice.burn(&issued.asset, BURNED)?;
    note(teller, summary, "burn", &burned)?;
    let left = ISSUED.saturating_sub(PAID).saturating_add(REISSUED).saturating_sub(BURNED);
    cast.alice.wait_balance(&issued.asset, left)?;
    Ok(issued)
}

fn peg_out(
    devnet: &Devnet,
    teller: &mut Teller,
    cast: &Cast,
    pegged_asset: &str,
    amount_sat: u64,
    summary: &mut Summary,
) -> Result<(), HarnessError> {
    let bitcoind = devnet.bitcoind();
    let address = bitcoind.new_address()?;
    let before = cast.bob.balance_of(pegged_asset)?;
    teller.step(&format!("Bob pegs out {} to {address}", btc(amount_sat)));
    let job = cast.bob.start(&["pegout", &address.to_string(), &raw(amount_sat)])?;
    teller.step("the members agree on a batch, sign it and hand it to Bitcoin");
    let begin = Instant::now();
    let parent_txid = devnet.wait_parent_mempool(PEG_LIMIT)?;
    teller.fact(&format!("payment {parent_txid}, {:.1} s later", begin.elapsed().as_secs_f64()));
    teller.step("mine a Bitcoin block and see it confirmed");
    bitcoind.mine(1)?;
    let done = job.finish(PEG_LIMIT)?;
    note(teller, summary, "peg-out request", &done)?;

    let received_sat = bitcoind.received_sat(&address, 1)?;
    if received_sat == 0 || received_sat > amount_sat {
        return Err(HarnessError::Story(format!("{received_sat} sat arrived of a peg-out of {amount_sat} sat")));
    }
    let after = cast.bob.balance_of(pegged_asset)?;
    if after > before.saturating_sub(amount_sat) {
        return Err(HarnessError::Story(format!("Bob has {after} sat after a peg-out from {before} sat")));
    }
    let payment = parent_payment(devnet, &parent_txid)?;
    let spent = spent_by(&payment, &summary.pegouts);
    let [to_treasury_sat, to_script_sat] = change_of(devnet, &payment)?;
    teller.fact(&format!("{} arrived; the rest is the Bitcoin fee", btc(received_sat)));
    teller.fact(&format!("{} vbytes on Bitcoin; they spend {spent}", payment.vsize()));
    teller.fact(&format!(
        "change: {} under the treasury key, {} in the federation's script",
        btc(to_treasury_sat),
        btc(to_script_sat)
    ));
    summary.pegouts.push(Pegout {
        txid: done.text("txid")?,
        parent_txid,
        address: address.to_string(),
        amount_sat,
        received_sat,
        spent,
        to_treasury_sat,
        to_script_sat,
        vsize: payment.vsize(),
    });
    Ok(())
}

/// What a payment spends, with the peg-outs before it.
fn spent_by(payment: &bitcoin::Transaction, earlier: &[Pegout]) -> SpentCoins {
    let by_key = payment.input.iter().filter(|input| cost::is_key_spend(&input.witness)).count();
    let is_change = |input: &bitcoin::TxIn| {
        let txid = input.previous_output.txid.to_string();
        earlier.iter().any(|pegout| pegout.parent_txid == txid)
    };
    match by_key {
        0 if payment.input.iter().any(is_change) => SpentCoins::Script,
        0 => SpentCoins::Deposits,
        all if all == payment.input.len() => SpentCoins::TreasuryByKey,
        _ => SpentCoins::ScriptAndProbe,
    }
}

/// What a payment puts under the treasury key, and what into the federation's script.
fn change_of(devnet: &Devnet, payment: &bitcoin::Transaction) -> Result<[u64; 2], HarnessError> {
    let chain = devnet.chain()?;
    let network = chain.file();
    let own = network.params.fedpeg_script.to_v0_p2wsh().to_p2sh();
    let paid_to = |script: &[u8]| {
        let outputs = payment.output.iter().filter(|output| output.script_pubkey.as_bytes() == script);
        outputs.map(|output| output.value.to_sat()).sum()
    };
    Ok([paid_to(network.treasury_script.as_bytes()), paid_to(own.as_bytes())])
}

fn parent_payment(devnet: &Devnet, txid: &str) -> Result<bitcoin::Transaction, HarnessError> {
    let txid = txid.parse().map_err(|_| HarnessError::Story(format!("{txid} is no transaction id")))?;
    devnet.bitcoind().transaction(&txid)
}

/// The payments show how a key becomes trusted, and the last one what a peg-out costs from then on.
fn costs(devnet: &Devnet, summary: &mut Summary) -> Result<(), HarnessError> {
    let spent: Vec<SpentCoins> = summary.pegouts.iter().map(|pegout| pegout.spent).collect();
    if spent != PEGOUTS.map(|(_, spent, _)| spent) {
        return Err(HarnessError::Story(format!("the peg-outs spend other coins than they should: {spent:?}")));
    }
    let Some(last) = summary.pegouts.last() else { return Ok(()) };
    let payment = parent_payment(devnet, &last.parent_txid)?;
    summary.costs = cost::compare(&payment, last.amount_sat.saturating_sub(last.received_sat))?;
    Ok(())
}

/// Writes down a transaction that a wallet says is final.
fn note(teller: &mut Teller, summary: &mut Summary, kind: &str, printed: &Printed) -> Result<(), HarnessError> {
    let payment = Payment {
        kind: kind.to_owned(),
        txid: printed.text("txid")?,
        height: printed.height("height")?,
        final_after_ms: printed.number("elapsed_ms")?,
        ..Payment::default()
    };
    teller.fact(&format!("final in block {} after {} ms: {}", payment.height, payment.final_after_ms, payment.txid));
    summary.payments.push(payment);
    Ok(())
}
