//! LWK on a federation: over Esplora, over Waterfalls, and with the names of the registry, beside our own wallet.

use std::error::Error;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use aquifer_tests::lwk::LwkWallet;
use aquifer_tests::wait::{self, Answer};
use aquifer_wallet::network::Chain;
use elements::OutPoint;
use lwk_wollet::blocking::{BlockchainBackend as _, EsploraClient, WaterfallsClient};
use lwk_wollet::clients::{WaterfallsClientBuilder, WaterfallsSubscriptionEventKind};
use lwk_wollet::{Contract, WolletBuilder};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);
const FUNDED_SAT: u64 = 100_000_000;
const PAID_SAT: u64 = 20_000_000;

#[test]
fn lwk_sees_and_does_the_same_over_esplora_and_waterfalls_as_our_wallet() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() }, |devnet| {
        story(devnet).map_err(|error| HarnessError::Story(error.to_string()))
    })
}

fn story(devnet: &mut Devnet) -> Result<(), Box<dyn Error>> {
    // The registry is a folder that is empty as yet.
    let registry = devnet.folder()?.join("names");
    std::fs::create_dir(&registry)?;
    let member = devnet.member(0)?;
    member.terminate()?;
    member.configure(&format!("registry = \"{}\"", registry.display()))?;
    member.start()?;
    let address = member.interfaces()?.http;
    devnet.wait_connected()?;

    let chain = Chain::read(&devnet.network_file()?)?;
    let (network, pegged) = (chain.lwk(), chain.pegged_asset());
    let base = format!("http://{address}/api");
    let mut esplora = EsploraClient::new(&base, network)?;
    let mut waterfalls = WaterfallsClient::new(&base, network)?;
    let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
    devnet.fund(&alice, FUNDED_SAT)?;
    let mut lwk = LwkWallet::with_seed_of(&alice, &chain)?;
    lwk.wait_same(&mut esplora, &alice)?;

    // A payment is heard of.
    let listening = waterfalls.subscribe(&lwk.descriptor())?;
    lwk.send(&mut esplora, &bob.address()?, PAID_SAT, pegged)?;
    bob.wait_balance(&pegged.to_string(), PAID_SAT)?;
    let mut heard = None;
    while heard != Some(WaterfallsSubscriptionEventKind::Block) {
        heard = Some(listening.next_update()?.ok_or("the stream of events has ended")?.kind);
    }
    listening.close();

    // It issues an asset with a name, issues more of it, and pays with it, in turn over one and the other.
    let contract = Contract::from_value(&json!({
        "entity": { "domain": "silver.example" },
        "issuer_pubkey": "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
        "name": "Silver", "precision": 3, "ticker": "SLV", "version": 0,
    }))?;
    let silver = lwk.issue_as(&mut waterfalls, 5_000, 1, Some(contract.clone()))?;
    lwk.reissue(&mut esplora, &silver, 500)?;
    lwk.send(&mut waterfalls, &bob.address()?, 1_234, silver.asset.parse()?)?;
    bob.wait_balance(&silver.asset, 1_234)?;
    assert_eq!(lwk.balance()?.get(&silver.asset), Some(&(5_500 - 1_234)));

    // All see the same, those who begin afresh, too, and who pays them by our wallet.
    bob.send(&alice.address()?, PAID_SAT / 2, &pegged.to_string())?;
    lwk.wait_same(&mut esplora, &alice)?;
    LwkWallet::with_seed_of(&alice, &chain)?.wait_same(&mut waterfalls, &alice)?;
    LwkWallet::with_seed_of(&bob, &chain)?.wait_same(&mut esplora, &bob)?;
    let mut plain = WaterfallsClient::new(&base, network)?;
    plain.avoid_encryption();
    LwkWallet::with_seed_of(&bob, &chain)?.wait_same(&mut plain, &bob)?;
    let last = plain.last_used_index(&lwk.descriptor())?;
    assert!(last.external.is_some() && last.internal.is_some() && last.tip.is_some(), "{last:?}");

    // Coins alone are as much.
    let mut coins_only = WaterfallsClientBuilder::new(&base, network).utxo_only(true).build_blocking()?;
    let mut unspent = WolletBuilder::new(network, lwk.descriptor()).utxo_only(true).build()?;
    if let Some(update) = coins_only.full_scan(&unspent)? {
        unspent.apply_update(update)?;
    }
    let coins = unspent.balance()?.iter().map(|(asset, amount)| (asset.to_string(), *amount)).collect();
    assert_eq!(lwk.balance()?, coins);

    // The asset gets its name when the operator puts it into the folder.
    let asset = &silver.asset;
    let name = || -> Result<Value, reqwest::Error> {
        reqwest::blocking::get(format!("http://{address}/registry/{asset}"))?.error_for_status()?.json()
    };
    assert!(name().is_err(), "nobody has named it");
    std::fs::write(registry.join(format!("{asset}.json")), json!({ "contract": contract }).to_string())?;
    let named = wait::until("the asset has a name", LIMIT, || {
        Ok(match name() {
            Ok(named) => Answer::Ready(named),
            Err(error) => Answer::NotYet(error.to_string()),
        })
    })?;
    // As LWK's client of the registry reads it.
    let read: Contract = serde_json::from_value(named["contract"].clone())?;
    let spent: OutPoint = {
        let spent = &named["issuance_prevout"];
        OutPoint::new(serde_json::from_value(spent["txid"].clone())?, serde_json::from_value(spent["vout"].clone())?)
    };
    assert_eq!(lwk_wollet::issuance_ids(&read, spent, true)?.0.to_string(), *asset);
    let about: Value = reqwest::blocking::get(format!("{base}/asset/{asset}"))?.json()?;
    assert_eq!((&about["ticker"], &about["chain_stats"]["issuance_count"]), (&json!("SLV"), &json!(2)));
    let pegs: Value = reqwest::blocking::get(format!("{base}/asset/{pegged}"))?.json()?;
    assert_eq!(pegs["chain_stats"]["peg_in_count"], 1);
    Ok(())
}
