//! Wallets of every kind, Taproot, nested segwit and two of three cosigners, receive and spend on a real federation.

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::wallet::{Wallet, raw};

const FUNDED_SAT: u64 = 10_000_000;
const RECEIVED_SAT: u64 = 1_000_000;
const NESTED_PAYS_SAT: u64 = 123_456;
const VAULT_PAYS_SAT: u64 = 654_321;

/// The wallet that three people share, as each of them has it.
fn vaults(devnet: &Devnet) -> Result<[Wallet; 3], HarnessError> {
    let names = ["anna", "boris", "carla"];
    let mut keys = Vec::new();
    for name in names {
        keys.push(devnet.wallet(name)?.run(&["wallet", "xpub"])?.text("xpub")?);
    }
    let [anna, boris, carla] = names.map(|name| {
        let mut options = vec!["--multisig", "2", "--signer", name];
        // Everybody gets the keys in another order.
        keys.rotate_left(1);
        options.extend(keys.iter().flat_map(|key| ["--cosigner", key]));
        devnet.wallet_with(&format!("vault-{name}"), &options)
    });
    Ok([anna?, boris?, carla?])
}

#[test]
fn every_kind_of_wallet_receives_and_spends() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let asset = devnet.chain()?.pegged_asset().to_string();
        let taproot = devnet.wallet_with("taproot", &["--type", "tr"])?;
        let nested = devnet.wallet_with("nested", &["--type", "shwpkh"])?;
        let bob = devnet.wallet("bob")?;
        let [anna, boris, carla] = vaults(devnet)?;
        devnet.fund(&taproot, FUNDED_SAT)?;

        let shared = anna.address()?;
        assert_eq!(carla.address()?, shared, "cosigners have the same wallet");
        let to = |address: &str| format!("{address}={}", raw(RECEIVED_SAT));
        let paid = taproot.run(&["send", "--to", &to(&nested.address()?), "--to", &to(&shared)])?;
        assert!(paid.height("height")? > 0);
        carla.wait_balance(&asset, RECEIVED_SAT)?;
        nested.wait_balance(&asset, RECEIVED_SAT)?;

        let receiver = bob.address()?;
        nested.send(&receiver, NESTED_PAYS_SAT, &asset)?;

        let file = devnet.folder()?.join("pay.pset").display().to_string();
        let begun = anna.run(&["send", &receiver, &raw(VAULT_PAYS_SAT), "--pset", &file])?;
        assert_eq!(begun.value()["complete"], false);
        let signed = carla.run(&["pset", "sign", &file])?;
        assert_eq!(signed.value()["complete"], true);
        assert_eq!(signed.number("recipients/0/amount_sat")?, VAULT_PAYS_SAT);
        let sent = boris.run(&["pset", "send", &file])?;
        assert!(sent.height("height")? > 0, "final without the third signature");
        bob.wait_balance(&asset, NESTED_PAYS_SAT + VAULT_PAYS_SAT)?;
        boris.wait_balance(&asset, RECEIVED_SAT - VAULT_PAYS_SAT - sent.number("fee_sat")?)
    })
}
