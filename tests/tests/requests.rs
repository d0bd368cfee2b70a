//! Peg-outs to every type of output, twice the same, and those that nobody should have to burn anything for.

use std::collections::BTreeMap;
use std::time::Duration;

use aquifer_assets::peg::pegout_script;
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::forge::{FEE_SAT, Owner, Pay, Payment, for_wallets};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::{Wallet, raw};
use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Network, ScriptBuf};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use secp256k1_zkp::SecretKey;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);
const FUNDED_SAT: u64 = 100_000_000;
const AMOUNT_SAT: u64 = 1_000_000;
const SEED: u64 = 77;

/// An address of every standard type. Those of the first four belong to bitcoind's wallet.
fn every_type(devnet: &Devnet) -> Result<Vec<Address>, HarnessError> {
    let wallet = devnet.bitcoind().client()?;
    let mut addresses = Vec::new();
    for kind in ["legacy", "p2sh-segwit", "bech32", "bech32m"] {
        let text: String = wallet.call("getnewaddress", &[json!(""), json!(kind)])?;
        addresses.push(aquifer_tests::devnet::parent_address(&text)?);
    }
    let script = ScriptBuf::from_bytes(vec![0x51]);
    addresses.push(Address::p2wsh(&script, Network::Regtest));
    Ok(addresses)
}

/// What the confirmed transactions of Bitcoin have paid to each of these scripts: how often, and how much altogether.
fn received(devnet: &Devnet, scripts: &[ScriptBuf]) -> Result<BTreeMap<ScriptBuf, (u32, u64)>, HarnessError> {
    let client = devnet.bitcoind().client()?;
    let wanted: Vec<String> = scripts.iter().map(|script| format!("raw({})", script.to_hex_string())).collect();
    let found: serde_json::Value = client.call("scantxoutset", &[json!("start"), json!(wanted)])?;
    let mut received = BTreeMap::new();
    for output in found.get("unspents").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let script = output.get("scriptPubKey").and_then(serde_json::Value::as_str).unwrap_or_default();
        let script = ScriptBuf::from_hex(script).map_err(|error| HarnessError::Story(error.to_string()))?;
        let amount = output.get("amount").map(ToString::to_string).unwrap_or_default();
        let amount = bitcoin::Amount::from_str_in(&amount, bitcoin::Denomination::Bitcoin)
            .map_err(|error| HarnessError::Story(error.to_string()))?;
        let entry: &mut (u32, u64) = received.entry(script).or_default();
        *entry = (entry.0 + 1, entry.1 + amount.to_sat());
    }
    Ok(received)
}

/// Why the wallet could not ask for it; nothing was burned.
fn refusal(wallet: &Wallet, address: &str, amount_sat: u64) -> Result<String, HarnessError> {
    match wallet.run(&["pegout", address, &raw(amount_sat), "--no-wait"]) {
        Ok(printed) => Err(HarnessError::Story(format!("a peg-out to {address} was taken: {}", printed.value()))),
        Err(error) => Ok(error.to_string()),
    }
}

#[test]
fn every_type_of_output_is_paid_once_for_each_request() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, FUNDED_SAT)?;
        let addresses = every_type(devnet)?;
        let scripts: Vec<ScriptBuf> = addresses.iter().map(Address::script_pubkey).collect();
        // The first one twice: two requests that look the same are two requests.
        for address in addresses.iter().chain(addresses.first()) {
            alice.run(&["pegout", &address.to_string(), &raw(AMOUNT_SAT), "--no-wait"])?;
        }
        let bitcoind = devnet.bitcoind();
        let expected = |number: usize| if number == 0 { 2 } else { 1 };
        let paid = wait::until("every request is paid", LIMIT, || {
            bitcoind.mine(1)?;
            let received = received(devnet, &scripts)?;
            let is_paid = scripts
                .iter()
                .enumerate()
                .all(|(number, script)| received.get(script).is_some_and(|(times, _)| *times >= expected(number)));
            Ok(if is_paid { Answer::Ready(received) } else { Answer::NotYet(format!("{received:?}")) })
        })?;
        for (number, script) in scripts.iter().enumerate() {
            let (times, amount_sat) = paid.get(script).copied().unwrap_or_default();
            assert_eq!(times, expected(number), "payments to {}", script.to_asm_string());
            let burned_sat = u64::from(times) * AMOUNT_SAT;
            assert!(
                (burned_sat - burned_sat / 50..burned_sat).contains(&amount_sat),
                "{amount_sat} of {burned_sat} sat"
            );
        }
        // Nobody pays again.
        bitcoind.mine(2)?;
        assert_eq!(received(devnet, &scripts)?, paid);
        Ok(())
    })
}

#[test]
fn what_can_never_be_paid_is_refused_before_anything_burns() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, FUNDED_SAT)?;
        let asset = devnet.chain()?.pegged_asset().to_string();
        let params = devnet.chain()?.file().params.clone();
        let address = devnet.bitcoind().new_address()?.to_string();
        let dust = refusal(&alice, &address, 200)?;
        assert!(dust.contains("smallest payment") || dust.contains("below"), "{dust}");
        // A future witness version: valid, and relayed by nobody yet.
        let script = ScriptBuf::from_bytes([vec![0x52, 32], vec![7; 32]].concat());
        let unknown =
            Address::from_script(&script, Network::Regtest).map_err(|error| HarnessError::Story(error.to_string()))?;
        let unknown = refusal(&alice, &unknown.to_string(), AMOUNT_SAT)?;
        assert!(unknown.contains("not a standard output type"), "{unknown}");
        let treasury = Address::from_script(&devnet.chain()?.file().treasury_script, Network::Regtest)
            .map_err(|error| HarnessError::Story(error.to_string()))?;
        let donation = refusal(&alice, &treasury.to_string(), AMOUNT_SAT)?;
        assert!(donation.contains("treasury itself"), "{donation}");

        // A wallet of ours names no other parent chain; somebody else's may.
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let (owner, blinding) = (Owner::new(&mut rng), SecretKey::new(&mut rng));
        let ledger = devnet.ledger()?;
        let coin = owner.be_paid(&alice, &ledger, &blinding, AMOUNT_SAT, &asset)?;
        let failed = |error: &dyn std::fmt::Display| HarnessError::Story(error.to_string());
        let mut pegs_out_to = |genesis: bitcoin::BlockHash| {
            let pegged = coin.secrets.asset;
            let left_sat = coin.secrets.value - AMOUNT_SAT / 2 - FEE_SAT;
            let to = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([9; 20]));
            let pays = [
                Pay::confidential(pegged, left_sat, owner.script()),
                Pay::explicit(pegged, AMOUNT_SAT / 2, pegout_script(&genesis, &to)),
            ];
            let payment = Payment::new(&mut rng, std::slice::from_ref(&coin), &pays, (pegged, FEE_SAT))
                .map_err(|error| failed(&error))?;
            Ok::<_, HarnessError>(ledger.submit(&for_wallets(&payment.transaction)?).map(drop))
        };
        let elsewhere = pegs_out_to(bitcoin::BlockHash::from_byte_array([3; 32]))?;
        let elsewhere = elsewhere.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(elsewhere.contains("would be lost"), "{elsewhere}");
        // The same with the right chain is taken.
        pegs_out_to(params.parent_genesis)?.map_err(|error| failed(&error))
    })
}
