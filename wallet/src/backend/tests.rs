//! One test per lie: each has its own error, and nothing of a lie is kept.

#![allow(clippy::unwrap_used, clippy::panic)]

use elements::Script;

use super::{BackendError, Ledger};
use crate::keystore::{Account, Home, Keys, Passphrase, ScriptType};
use crate::testing::{Lie, TestNetwork, WORDS};
use crate::wallet::Wallet;

struct Setup {
    network: TestNetwork,
    ledger: Ledger,
    script: Script,
    wallet: Wallet,
    _folder: tempfile::TempDir,
}

/// A wallet with one final payment on a chain of four blocks, not looked at yet.
fn setup(servers: &[&str]) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let network = TestNetwork::start(servers);
    let home = Home::new(folder.path().to_owned());
    let passphrase = Passphrase::new("x".into()).unwrap();
    let name = "a".parse().unwrap();
    let account = Account::Single(ScriptType::Wpkh);
    let wallet = home.create_wallet(&name, WORDS, &passphrase, &account, &network.chain).unwrap();
    let wallet = Wallet::open(&wallet, network.chain.clone()).unwrap();
    let address = wallet.address_at(0).unwrap();
    network.world().fund(&address, network.chain.pegged_asset(), 70_000);
    network.world().mine();
    let ledger = network.ledger(folder.path());
    Setup { network, ledger, script: address.script_pubkey(), wallet, _folder: folder }
}

fn synced(setup: &mut Setup) -> Result<u64, BackendError> {
    match setup.wallet.sync(&setup.ledger) {
        Ok(()) => {}
        Err(crate::wallet::WalletError::Backend(error)) => return Err(error),
        Err(other) => panic!("{other}"),
    }
    Ok(setup.wallet.balance().unwrap().values().map(|balance| balance.confirmed).sum())
}

/// What a wallet says when its server lies from the first question on. Afterwards, the truth must still be accepted.
fn fooled_by(lie: Lie) -> BackendError {
    let mut setup = setup(&["a"]);
    setup.network.world().lie = lie;
    let error = synced(&mut setup).unwrap_err();
    assert!(error.to_string().starts_with("a ") || error.to_string().starts_with("a:"), "names the server: {error}");
    assert!(setup.wallet.history().unwrap().is_empty(), "nothing is applied");
    setup.network.world().lie = Lie::None;
    assert_eq!(synced(&mut setup).unwrap(), 70_000, "the truth is still accepted");
    error
}

#[test]
fn the_truth_is_accepted_and_cached() {
    let mut setup = setup(&["a"]);
    assert_eq!(synced(&mut setup).unwrap(), 70_000);
    let tip = setup.ledger.tip().unwrap();
    assert_eq!(tip.height(), 4);
    let history = setup.ledger.histories(&[&setup.script]).unwrap();
    let entry = *history.first().unwrap().first().unwrap();
    assert_eq!(entry.height, Some(4));
    // Every answer about headers and transactions is a lie now, but nothing has to be asked again.
    setup.network.world().lie = Lie::Garbage;
    assert_eq!(synced(&mut setup).unwrap(), 70_000);
    assert_eq!(setup.ledger.transaction(entry.txid).unwrap().place.unwrap().height, 4);
}

#[test]
fn a_wrong_certificate() {
    assert!(matches!(fooled_by(Lie::Certificate), BackendError::Certificate { height: 4, .. }));
    assert!(matches!(fooled_by(Lie::BrokenCertificate), BackendError::Certificate { height: 4, .. }));
}

#[test]
fn a_header_of_another_height() {
    assert!(matches!(fooled_by(Lie::Height), BackendError::WrongHeight { asked: 4, got: 3, .. }));
}

#[test]
fn a_foreign_transaction() {
    assert!(matches!(fooled_by(Lie::ForeignTransaction), BackendError::ForeignTransaction { .. }));
}

#[test]
fn a_wrong_branch() {
    for lie in [Lie::Branch, Lie::Position, Lie::LongBranch] {
        assert!(matches!(fooled_by(lie), BackendError::WrongBranch { height: 4, .. }), "{lie:?}");
    }
}

#[test]
fn a_final_transaction_without_proof() {
    assert!(matches!(fooled_by(Lie::NoProof), BackendError::MissingProof { height: 4, .. }));
}

#[test]
fn a_wrong_height_or_block_in_a_history() {
    let mut setup = setup(&["a"]);
    setup.network.world().mine();
    setup.network.world().lie = Lie::HistoryHeight;
    let error = synced(&mut setup).unwrap_err();
    assert!(matches!(error, BackendError::WrongPlace { claimed: 5, proven: 4, .. }), "{error}");
    assert!(matches!(fooled_by(Lie::HistoryBlock), BackendError::WrongBlock { height: 4, .. }));
}

#[test]
fn truncated_answers() {
    let truncated = |lie, expected: &str| match fooled_by(lie) {
        BackendError::Truncated { what, .. } => assert_eq!(what, expected),
        other => panic!("{other}"),
    };
    truncated(Lie::FewerHistories, "histories");
    truncated(Lie::FewerTransactions, "transactions");
    truncated(Lie::FewerHeaders, "headers");
    assert!(matches!(fooled_by(Lie::Garbage), BackendError::Malformed { what: "a transaction", .. }));
}

#[test]
fn damaged_range_proofs() {
    assert!(matches!(fooled_by(Lie::StripProofs), BackendError::DamagedWitness { vout: 0, .. }));
}

#[test]
fn damaged_range_proofs_of_what_waits() {
    let mut setup = setup(&["a"]);
    synced(&mut setup).unwrap();
    let address = setup.wallet.address_at(1).unwrap();
    setup.network.world().fund(&address, setup.network.chain.pegged_asset(), 5_000);
    setup.network.world().lie = Lie::StripProofs;
    assert!(matches!(synced(&mut setup), Err(BackendError::DamagedWitness { .. })));
    // Had it been kept like that, its amount could never be read.
    setup.network.world().lie = Lie::None;
    setup.network.world().mine();
    assert_eq!(synced(&mut setup).unwrap(), 75_000);
}

#[test]
fn addresses_far_beyond_the_first_are_found() {
    let mut setup = setup(&["a"]);
    let pegged = setup.network.chain.pegged_asset();
    for index in (1..=130).step_by(15) {
        let address = setup.wallet.address_at(index).unwrap();
        setup.network.world().fund(&address, pegged, 1_000);
    }
    setup.network.world().mine();
    assert_eq!(synced(&mut setup).unwrap(), 70_000 + 9 * 1_000);
    assert_eq!(setup.wallet.history().unwrap().len(), 10);
    // From here on the first addresses are known, and those behind the last one are looked at too.
    let address = setup.wallet.address_at(139).unwrap();
    setup.network.world().fund(&address, pegged, 500);
    setup.network.world().mine();
    assert_eq!(synced(&mut setup).unwrap(), 79_500);
}

#[test]
fn a_history_that_forgets() {
    let mut setup = setup(&["a"]);
    synced(&mut setup).unwrap();
    setup.network.world().lie = Lie::ForgetEntry;
    assert!(matches!(synced(&mut setup), Err(BackendError::HistoryShrank { .. })));
    assert_eq!(setup.wallet.history().unwrap().len(), 1);
}

#[test]
fn a_tip_that_goes_back() {
    let mut setup = setup(&["a", "b"]);
    assert_eq!(setup.ledger.tip().unwrap().height(), 4);
    setup.network.world().lie = Lie::OldTip;
    assert!(matches!(setup.ledger.tip(), Err(BackendError::TipWentBack { had: 4, now: 3, .. })));
    assert!(matches!(synced(&mut setup), Err(BackendError::TipWentBack { .. })));
    setup.network.world().lie = Lie::None;
    assert_eq!(setup.ledger.tip().unwrap().height(), 4);
}

#[test]
fn another_chain() {
    let setup = setup(&["a"]);
    setup.network.world().lie = Lie::OtherChain;
    assert!(matches!(setup.ledger.tip(), Err(BackendError::OtherChain { .. })));
}

#[test]
fn a_block_must_have_the_transactions_of_its_header() {
    let setup = setup(&["a"]);
    assert_eq!(setup.ledger.block(4).unwrap().txdata.len(), 2);
    setup.network.world().lie = Lie::ShortBlock;
    assert!(matches!(setup.ledger.block(4), Err(BackendError::WrongBlockBody { height: 4, .. })));
    assert!(matches!(setup.ledger.block(9), Err(BackendError::Refused { code: tonic::Code::NotFound, .. })));
}

#[test]
fn a_server_that_is_down_is_passed_over() {
    let mut setup = setup(&["down-a", "b"]);
    assert_eq!(synced(&mut setup).unwrap(), 70_000);
    let folder = tempfile::tempdir().unwrap();
    let open = |name| Ledger::new(&setup.network.chain, &folder.path().join("c.db"), Some(name), Box::new(|_| {}));
    assert!(matches!(open("down-a").unwrap().tip(), Err(BackendError::AllDown(tried)) if tried.len() == 1));
    assert_eq!(open("b").unwrap().tip().unwrap().height(), 4);
    assert!(matches!(open("c"), Err(BackendError::UnknownServer { .. })));
}

#[test]
fn a_server_with_another_certificate_is_not_spoken_to() {
    let setup = setup(&["a"]);
    let other = TestNetwork::start(&["a"]);
    let mut file = setup.network.chain.file().clone();
    for (server, impostor) in file.servers.iter_mut().zip(&other.chain.file().servers) {
        server.api_address = impostor.api_address.clone();
    }
    let chain = crate::network::Chain::new(file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new(&chain, &folder.path().join("c.db"), None, Box::new(|_| {})).unwrap();
    assert!(matches!(ledger.tip(), Err(BackendError::AllDown(_))));
}

#[test]
fn the_keys_of_the_words_belong_to_the_descriptor() {
    let setup = setup(&["a"]);
    let keys = Keys::from_words(WORDS, &setup.network.chain).unwrap();
    let (public, path) = setup.wallet.address_key(0).unwrap();
    let key = keys.secret_key(&path).unwrap().public_key(secp256k1_zkp::SECP256K1);
    assert_eq!((path.to_string().as_str(), public.inner), ("84'/1'/0'/0/0", key));
    let hash = bitcoin::PublicKey::new(key).wpubkey_hash().unwrap();
    assert_eq!(setup.script, Script::new_v0_wpkh(&hash));
}
