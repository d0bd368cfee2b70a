//! LWK and `electrum-client` against members of a devnet.

use std::net::SocketAddr;

use aquifer_assets::block::verify_merkle_branch;
use aquifer_assets::primitives::{Transaction, decode_header};
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use aquifer_tests::lwk::LwkWallet;
use electrum_client::{Client, ConfigBuilder, ElectrumApi as _, Param};
use elements::{Address, Txid};
use lwk_wollet::{ElectrumClient, ElectrumUrl};

const FUNDED_SAT: u64 = 10_000_000;
const PAID_SAT: u64 = 1_000_000;
const ISSUED: u64 = 5_000;
const REISSUED: u64 = 700;

fn story(error: impl std::fmt::Display) -> HarnessError {
    HarnessError::Story(format!("an Electrum client fails: {error}"))
}

/// TLS is spoken to names.
fn named(address: SocketAddr) -> String {
    format!("localhost:{}", address.port())
}

#[test]
fn lwk_lives_on_a_member() -> Result<(), HarnessError> {
    let options = DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() };
    Devnet::play(options, |devnet| {
        let chain = devnet.chain()?;
        let pegged = chain.pegged_asset();
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, FUNDED_SAT)?;
        let addresses: Vec<_> = devnet.members().iter().map(|member| member.interfaces()).collect::<Result<_, _>>()?;

        let plain = ElectrumUrl::new(&addresses[0].electrum.to_string(), false, false).map_err(story)?;
        let mut plain = ElectrumClient::new(&plain).map_err(story)?;
        let mut lwk = LwkWallet::with_seed_of(&alice, &chain)?;
        lwk.wait_same(&mut plain, &alice)?;
        lwk.send(&mut plain, &bob.address()?, PAID_SAT, pegged)?;
        bob.wait_balance(&pegged.to_string(), PAID_SAT)?;
        let issued = lwk.issue(&mut plain, ISSUED, 1)?;
        lwk.reissue(&mut plain, &issued, REISSUED)?;
        lwk.wait_same(&mut plain, &alice)?;
        assert_eq!(lwk.balance()?.get(&issued.asset), Some(&(ISSUED + REISSUED)));
        // Now ours spends, and LWK looks.
        alice.send(&bob.address()?, REISSUED, &issued.asset)?;
        lwk.wait_same(&mut plain, &alice)?;

        // A new wallet on another member.
        let other = ElectrumUrl::new(&addresses[1].electrum.to_string(), false, false).map_err(story)?;
        let mut other = ElectrumClient::new(&other).map_err(story)?;
        LwkWallet::with_seed_of(&alice, &chain)?.wait_same(&mut other, &alice)?;

        let receiver: Address = bob.address()?.parse().map_err(story)?;
        // LWK takes no certificate but an authority's; whoever may be told not to ask for one speaks TLS.
        for url in [format!("tcp://{}", addresses[2].electrum), format!("ssl://{}", named(addresses[2].electrum_tls))] {
            let config = ConfigBuilder::new().validate_domain(false).build();
            let client = Client::from_config(&url, config).map_err(story)?;
            every_method(&client, &issued.txid, &receiver).map_err(story)?;
        }
        Ok(())
    })
}

/// What `electrum-client` has methods for, as far as headers of Bitcoin are not needed, and the others of the table raw.
fn every_method(client: &Client, txid: &str, receiver: &Address) -> Result<(), Box<dyn std::error::Error>> {
    let theirs: bitcoin::Txid = txid.parse()?;
    let ours: Txid = txid.parse()?;
    client.ping()?;
    assert_eq!(client.protocol_version()?, "1.6");
    let features = client.server_features()?;
    assert_eq!((features.protocol_min.as_str(), features.hash_function.as_deref()), ("1.4", Some("sha256")));
    let tip = client.block_headers_subscribe_raw()?;
    let header = decode_header(tip.header)?;
    assert_eq!(usize::try_from(header.height)?, tip.height);
    assert!(decode_header(client.block_header_raw(1)?)?.height == 1);
    assert!((client.relay_fee()? - 1e-6).abs() < 1e-9, "0.1 satoshi per vbyte");
    assert!(client.estimate_fee(6, None)? >= 1e-6);
    assert_eq!(client.batch_estimate_fee([1, 6, 24])?.len(), 3);
    assert!(client.mempool_get_info()?.minrelaytxfee > 0.0);

    let raw = client.transaction_get_raw(&theirs)?;
    let transaction = Transaction::decode(raw.clone())?;
    assert_eq!(transaction.txid(), ours);
    let script = bitcoin::ScriptBuf::from_bytes(transaction.output[0].script_pubkey.to_bytes());
    let history = client.script_get_history(&script)?;
    let height = history.iter().find(|entry| entry.tx_hash == theirs).ok_or("it is not in its history")?.height;
    let height = usize::try_from(height)?;
    assert!(client.script_subscribe(&script)?.is_some());
    assert!(client.script_unsubscribe(&script)?);
    assert_eq!(client.batch_script_get_history([script.as_script(), script.as_script()])?.len(), 2);

    let header = decode_header(client.block_header_raw(height)?)?;
    let merkle = client.transaction_get_merkle(&theirs, height)?;
    let mut siblings = merkle.merkle.clone();
    siblings.iter_mut().for_each(|hash| hash.reverse());
    assert!(verify_merkle_branch(&ours, u32::try_from(merkle.pos)?, &siblings, &header.merkle_root));
    assert_eq!(client.txid_from_pos(height, merkle.pos)?, theirs);
    assert_eq!(client.txid_from_pos_with_merkle(height, merkle.pos)?.merkle, merkle.merkle);
    // It is final already: handed in again, it is no error.
    assert_eq!(client.transaction_broadcast_raw(&raw)?, theirs);
    assert!(client.transaction_broadcast_package_raw(&[&raw])?.success);

    let hash = Param::String(aquifer_functionary::index::ScriptHash::of(&receiver.script_pubkey()).to_string());
    for (method, params) in [
        ("blockchain.block.header", vec![Param::Usize(1), Param::Usize(height)]),
        ("blockchain.block.headers", vec![Param::Usize(0), Param::Usize(5)]),
        ("blockchain.scripthash.get_mempool", vec![hash.clone()]),
        ("blockchain.scripthash.listunspent", vec![hash]),
        ("blockchain.transaction.get", vec![Param::String(txid.to_owned()), Param::Bool(true)]),
        ("mempool.get_fee_histogram", vec![]),
        ("server.banner", vec![]),
        ("server.donation_address", vec![]),
        ("server.peers.subscribe", vec![]),
    ] {
        client.raw_call(method, params)?;
    }
    Ok(())
}
