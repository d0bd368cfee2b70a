//! LWK on a federation: over Esplora, over Waterfalls, and with the names of the registry, beside our own wallet.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::str::FromStr as _;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::Wallet;
use aquifer_wallet::network::Chain;
use elements::Txid;
use lwk_common::{DescriptorBlindingKey, Network, Signer as _, Singlesig, singlesig_desc};
use lwk_signer::SwSigner;
use lwk_wollet::blocking::{BlockchainBackend, EsploraClient, WaterfallsClient};
use lwk_wollet::clients::{WaterfallsClientBuilder, WaterfallsSubscriptionEventKind};
use lwk_wollet::{Contract, Wollet, WolletBuilder, WolletTxBuilder};

const LIMIT: Duration = Duration::from_secs(120);
const FUNDED_SAT: u64 = 100_000_000;
const PAID_SAT: u64 = 20_000_000;
const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// A wallet on LWK alone.
struct Lea {
    network: Network,
    signer: SwSigner,
    wollet: Wollet,
}

impl Lea {
    fn new(network: Network) -> Done<Self> {
        let signer = SwSigner::new_with_network(WORDS, network)?;
        let descriptor = singlesig_desc(&signer, Singlesig::Wpkh, DescriptorBlindingKey::Slip77)?;
        let wollet = WolletBuilder::new(network, descriptor.parse()?).build()?;
        Ok(Self { network, signer, wollet })
    }

    /// A fresh wallet of the same keys that has seen nothing.
    fn blank(&self) -> Done<Wollet> {
        Ok(WolletBuilder::new(self.network, self.wollet.wollet_descriptor()).build()?)
    }

    fn sync(&mut self, client: &mut impl BlockchainBackend) -> Done {
        if let Some(update) = client.full_scan(&self.wollet)? {
            self.wollet.apply_update(update)?;
        }
        Ok(())
    }

    /// Syncs until every one of these transactions is in a block.
    fn sync_to(&mut self, client: &mut impl BlockchainBackend, txids: &[Txid]) -> Done {
        wait::until("LWK sees its transactions in blocks", LIMIT, || {
            self.sync(client).map_err(|error| HarnessError::Story(error.to_string()))?;
            let seen = self.wollet.transactions().map_err(|error| HarnessError::Story(error.to_string()))?;
            let final_ones: BTreeSet<Txid> = seen.iter().filter(|tx| tx.height.is_some()).map(|tx| tx.txid).collect();
            let missing = txids.iter().filter(|txid| !final_ones.contains(*txid)).count();
            Ok(if missing == 0 { Answer::Ready(()) } else { Answer::NotYet(format!("{missing} are missing")) })
        })?;
        Ok(())
    }

    /// Builds, signs and sends.
    fn send(
        &self,
        client: &impl BlockchainBackend,
        build: impl FnOnce(WolletTxBuilder<'_>) -> Result<WolletTxBuilder<'_>, lwk_wollet::Error>,
    ) -> Done<Txid> {
        let mut pset = build(self.wollet.tx_builder())?.finish()?;
        self.signer.sign(&mut pset)?;
        let transaction = self.wollet.finalize(&mut pset)?;
        Ok(client.broadcast(&transaction)?)
    }
}

fn balances(wollet: &Wollet) -> Done<BTreeMap<String, u64>> {
    Ok(wollet
        .balance()?
        .iter()
        .filter(|(_, amount)| **amount > 0)
        .map(|(asset, amount)| (asset.to_string(), *amount))
        .collect())
}

fn history(wollet: &Wollet) -> Done<BTreeMap<Txid, Option<u32>>> {
    Ok(wollet.transactions()?.into_iter().map(|tx| (tx.txid, tx.height)).collect())
}

fn scanned(mut wollet: Wollet, client: &mut impl BlockchainBackend) -> Done<Wollet> {
    if let Some(update) = client.full_scan(&wollet)? {
        wollet.apply_update(update)?;
    }
    Ok(wollet)
}

/// What our own wallet has seen, final.
fn history_of(wallet: &Wallet) -> Done<BTreeSet<Txid>> {
    let printed = wallet.run(&["history"])?;
    let entries = printed.value()["transactions"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| Ok(Txid::from_str(entry["txid"].as_str().unwrap_or_default())?)).collect()
}

#[test]
fn lwk_sees_and_does_the_same_over_esplora_and_waterfalls_as_our_wallet() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() }, |devnet| {
        story(devnet).map_err(|error| HarnessError::Story(error.to_string()))
    })
}

fn story(devnet: &mut Devnet) -> Done {
    // The registry is a folder that is empty as yet.
    let registry = devnet.folder()?.join("names");
    std::fs::create_dir(&registry)?;
    let member = devnet.member(0)?;
    member.terminate()?;
    member.configure(&format!("registry = \"{}\"", registry.display()))?;
    member.start()?;
    let address = member.interfaces()?.http;
    devnet.wait_connected()?;

    let network = Chain::read(&devnet.network_file()?)?.lwk();
    let pegged = *network.policy_asset();
    let base = format!("http://{address}/api");
    let mut esplora = EsploraClient::new(&base, network)?;
    let mut waterfalls = WaterfallsClient::new(&base, network)?;
    let mut lea = Lea::new(network)?;
    let alice = devnet.wallet("alice")?;
    devnet.fund(&alice, FUNDED_SAT)?;

    // A payment to LWK is heard of, and seen in both ways.
    lea.sync(&mut waterfalls)?;
    let listening = waterfalls.subscribe(&lea.wollet.wollet_descriptor())?;
    let to_lea = lea.wollet.address(None)?.address().to_string();
    let paid = alice.send(&to_lea, PAID_SAT, &pegged.to_string())?;
    let paid = Txid::from_str(paid.value()["txid"].as_str().unwrap_or_default())?;
    let mut heard = Vec::new();
    while heard.last() != Some(&WaterfallsSubscriptionEventKind::Block) {
        let event = listening.next_update()?.ok_or("the stream of events has ended")?;
        heard.push(event.kind);
    }
    listening.close();
    lea.sync_to(&mut esplora, &[paid])?;
    assert_eq!(balances(&lea.wollet)?, BTreeMap::from([(pegged.to_string(), PAID_SAT)]));

    // It issues an asset with a name, issues more of it, and pays with it, in turn over one and the other.
    let contract = Contract::from_value(&serde_json::json!({
        "entity": { "domain": "silver.example" },
        "issuer_pubkey": "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
        "name": "Silver", "precision": 3, "ticker": "SLV", "version": 0,
    }))?;
    let issued = lea.send(&esplora, |tx| tx.issue_asset(5_000, None, 1, None, Some(contract.clone())))?;
    lea.sync_to(&mut waterfalls, &[issued])?;
    let silver = lea.wollet.issuances()?.first().ok_or("no issuance is seen")?.asset;
    let more = lea.send(&waterfalls, |tx| tx.reissue_asset(silver, 500, None, None))?;
    lea.sync_to(&mut esplora, &[more])?;
    let to_alice: elements::Address = alice.address()?.parse()?;
    let back =
        lea.send(&esplora, |tx| tx.add_recipient(&to_alice, 1_234, silver)?.add_recipient(&to_alice, 70_000, pegged))?;
    lea.sync_to(&mut waterfalls, &[back])?;
    alice.wait_balance(&silver.to_string(), 1_234)?;

    // All see the same.
    let over_esplora = scanned(lea.blank()?, &mut esplora)?;
    let over_waterfalls = scanned(lea.blank()?, &mut waterfalls)?;
    assert_eq!(balances(&over_esplora)?, balances(&over_waterfalls)?);
    assert_eq!(balances(&over_esplora)?.get(&silver.to_string()), Some(&(5_500 - 1_234)));
    assert_eq!(history(&over_esplora)?, history(&over_waterfalls)?);
    assert_eq!(history(&over_esplora)?.len(), 4);
    let printed = alice.run(&["wallet", "descriptor"])?;
    let descriptor = printed.value()["descriptor"].as_str().unwrap_or_default().parse()?;
    let watching = WolletBuilder::new(network, descriptor).build()?;
    let watching = scanned(watching, &mut waterfalls)?;
    let known: BTreeMap<String, u64> = alice.balance()?.into_iter().filter(|(_, amount)| *amount > 0).collect();
    assert_eq!(balances(&watching)?, known);
    assert_eq!(history(&watching)?.into_keys().collect::<BTreeSet<_>>(), history_of(&alice)?);

    // Without history, and without encryption.
    let mut coins_only = WaterfallsClientBuilder::new(&base, network).utxo_only(true).build_blocking()?;
    let unspent = WolletBuilder::new(network, lea.wollet.wollet_descriptor()).utxo_only(true).build()?;
    let unspent = scanned(unspent, &mut coins_only)?;
    assert_eq!(balances(&unspent)?, balances(&over_esplora)?);
    let mut plain = WaterfallsClient::new(&base, network)?;
    plain.avoid_encryption();
    assert_eq!(history(&scanned(lea.blank()?, &mut plain)?)?, history(&over_esplora)?);
    let last = plain.last_used_index(&lea.wollet.wollet_descriptor())?;
    assert!(last.external.is_some() && last.internal.is_some(), "{last:?}");
    assert!(last.tip.is_some());

    // The asset gets its name when the operator puts it into the folder.
    let name = || -> Result<serde_json::Value, reqwest::Error> {
        reqwest::blocking::get(format!("http://{address}/registry/{silver}"))?.error_for_status()?.json()
    };
    assert!(name().is_err(), "nobody has named it");
    let file = serde_json::json!({ "contract": contract });
    std::fs::write(registry.join(format!("{silver}.json")), file.to_string())?;
    let named = wait::until("the asset has a name", LIMIT, || {
        Ok(match name() {
            Ok(named) => Answer::Ready(named),
            Err(error) => Answer::NotYet(error.to_string()),
        })
    })?;
    // As LWK's client of the registry reads it.
    let read: Contract = serde_json::from_value(named["contract"].clone())?;
    assert_eq!(read, contract);
    let spent = &named["issuance_prevout"];
    let spent = elements::OutPoint::new(
        Txid::from_str(spent["txid"].as_str().unwrap_or_default())?,
        u32::try_from(spent["vout"].as_u64().unwrap_or(u64::MAX))?,
    );
    assert_eq!(lwk_wollet::issuance_ids(&read, spent, true)?.0, silver);
    let about: serde_json::Value = reqwest::blocking::get(format!("{base}/asset/{silver}"))?.json()?;
    assert_eq!(about["ticker"], "SLV");
    assert_eq!(about["chain_stats"]["issuance_count"], 2);
    let pegs: serde_json::Value = reqwest::blocking::get(format!("{base}/asset/{pegged}"))?.json()?;
    assert_eq!(pegs["chain_stats"]["peg_in_amount"], FUNDED_SAT);
    Ok(())
}
