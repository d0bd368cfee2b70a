//! Stories: wallets over a real connection to a server that judges every transaction by the rules of the chain.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use aquifer_assets::peg::parse_pegout;
use aquifer_proto::ledger::{self as proto, deposit_status::State};
use bitcoin::hashes::Hash as _;
use elements::AssetId;

use crate::assets::{self, AssetError, Description, IssueRequest};
use crate::backend::{BackendError, Ledger};
use crate::keystore::{Account, Home, Keys, KeystoreError, Passphrase, ScriptType};
use crate::peg::follow::{self, Until};
use crate::peg::pegin::{DepositStage, PeginAddress};
use crate::peg::{PegError, pegout};
use crate::testing::{Lie, OTHER_WORDS, TestNetwork, WORDS};
use crate::wallet::{FeeRate, Recipient, Wait, Wallet, WalletError};

pub(crate) const WAIT: Wait = Wait::UntilFinal(Duration::from_secs(60));

pub(crate) struct User {
    pub(crate) wallet: Wallet,
    pub(crate) keys: Keys,
    pub(crate) ledger: Ledger,
    pub(crate) home: tempfile::TempDir,
}

impl User {
    pub(crate) fn new(network: &TestNetwork, words: &str) -> Self {
        Self::with(network, words, &Account::Single(ScriptType::Wpkh))
    }

    pub(crate) fn with(network: &TestNetwork, words: &str, account: &Account) -> Self {
        let home = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new("correct horse".into()).unwrap();
        let name = "main".parse().unwrap();
        let folder =
            Home::new(home.path().into()).create_wallet(&name, words, &passphrase, account, &network.chain).unwrap();
        let wallet = Wallet::open(&folder, network.chain.clone()).unwrap();
        let keys = folder.unlock(&passphrase, &network.chain).unwrap();
        Self { wallet, keys, ledger: network.ledger(home.path()), home }
    }

    fn funded(network: &TestNetwork, amount: u64) -> Self {
        let user = Self::new(network, WORDS);
        user.fund(network, amount);
        user
    }

    pub(crate) fn fund(&self, network: &TestNetwork, amount: u64) {
        let address = self.wallet.address_at(0).unwrap();
        network.world().fund(&address, network.chain.pegged_asset(), amount);
        network.world().mine();
    }

    pub(crate) fn confirmed(&mut self, asset: AssetId) -> u64 {
        self.wallet.sync(&self.ledger).unwrap();
        self.wallet.balance().unwrap().get(&asset).map_or(0, |balance| balance.confirmed)
    }
}

pub(crate) fn rate() -> FeeRate {
    FeeRate::new(100).unwrap()
}

#[test]
fn a_payment_arrives_and_is_final() {
    let network = TestNetwork::start(&["a"]);
    let btc = network.chain.pegged_asset();
    let mut alice = User::funded(&network, 100_000);
    let mut bob = User::new(&network, OTHER_WORDS);
    assert_eq!(alice.confirmed(btc), 100_000);

    let (_, address) = bob.wallet.address().unwrap();
    let recipient = Recipient { address, asset: btc, amount: 30_000 };
    let payment =
        alice.wallet.send(&alice.ledger, &alice.keys, std::slice::from_ref(&recipient), rate(), WAIT).unwrap();
    assert!(payment.place.is_some() && payment.elapsed_ms.is_some());
    let vsize = u64::try_from(payment.transaction.discount_vsize()).unwrap();
    assert!(payment.fee_sat >= rate().fee_sat(vsize), "{} for {vsize} vbytes", payment.fee_sat);
    assert!(payment.fee_sat < rate().fee_sat(vsize + 20));

    assert_eq!(bob.confirmed(btc), 30_000);
    assert_eq!(alice.confirmed(btc), 70_000 - payment.fee_sat);
    assert_eq!(alice.wallet.history().unwrap().len(), 2);
    assert_eq!(bob.wallet.address().unwrap().0, 1, "a paid address is not shown again");

    let too_much = Recipient { amount: 90_000, ..recipient };
    let error = alice.wallet.send(&alice.ledger, &alice.keys, &[too_much], rate(), WAIT).unwrap_err();
    assert!(matches!(error, WalletError::NotEnough { asset, .. } if asset == btc), "{error}");
}

#[test]
fn a_payment_that_is_not_final_is_pending_and_can_be_spent() {
    let network = TestNetwork::start(&["a"]);
    let btc = network.chain.pegged_asset();
    let mut alice = User::funded(&network, 100_000);
    alice.confirmed(btc);
    let (_, address) = alice.wallet.new_address().unwrap();
    let recipient = Recipient { address, asset: btc, amount: 30_000 };
    alice.wallet.send(&alice.ledger, &alice.keys, std::slice::from_ref(&recipient), rate(), Wait::No).unwrap();
    assert_eq!(alice.confirmed(btc), 0);
    assert!(alice.wallet.balance().unwrap()[&btc].pending > 99_000);
    alice.wallet.send(&alice.ledger, &alice.keys, &[recipient], rate(), WAIT).unwrap();
    assert!(alice.confirmed(btc) > 99_000);
}

#[test]
fn an_asset_is_issued_reissued_paid_and_burned() {
    let network = TestNetwork::start(&["a"]);
    let btc = network.chain.pegged_asset();
    let mut alice = User::funded(&network, 100_000);
    let mut bob = User::new(&network, OTHER_WORDS);
    alice.confirmed(btc);
    let description = Description::new("Gold".into(), "GLD".into(), 2).unwrap();
    let contract = description.contract("example.com", &alice.keys.issuer_key().unwrap()).unwrap();
    let request = IssueRequest { amount: 100_000, tokens: 1, description, contract: Some(contract.clone()) };
    let gold = assets::prepare(&alice.wallet, &alice.keys, &request, rate()).unwrap().record.asset;
    // Another run, once the domain stands by it.
    let prepared = assets::prepared(&alice.wallet, gold).unwrap();
    assert_eq!(prepared.amounts(), (Some(100_000), Some(1)));
    let issued = assets::hand_in(&alice.wallet, &alice.ledger, prepared, WAIT).unwrap();
    let token = issued.record.token;
    assert!(matches!(assets::prepared(&alice.wallet, gold), Err(AssetError::NotPrepared(asset)) if asset == gold));
    assert_eq!(alice.wallet.db().assets().unwrap(), vec![issued.record.clone()]);

    // Whoever has the contract knows the name, and nobody can call it otherwise.
    assert_eq!(assets::learn(&bob.wallet, &bob.ledger, gold, &contract).unwrap(), issued.record);
    let silver = Description::new("Silver".into(), "SLV".into(), 2).unwrap();
    let other = silver.contract("example.com", &alice.keys.issuer_key().unwrap()).unwrap();
    let refused = assets::learn(&bob.wallet, &bob.ledger, gold, &other).unwrap_err();
    assert!(matches!(refused, AssetError::OtherContract(asset) if asset == gold), "{refused}");
    assert_eq!(bob.wallet.db().assets().unwrap(), vec![issued.record]);
    assert_eq!((alice.confirmed(gold), alice.confirmed(token)), (100_000, 1));

    assets::reissue(&alice.wallet, &alice.ledger, &alice.keys, gold, 50_000, rate(), WAIT).unwrap();
    assert_eq!((alice.confirmed(gold), alice.confirmed(token)), (150_000, 1));

    let (_, address) = bob.wallet.address().unwrap();
    let recipient = Recipient { address, asset: gold, amount: 40_000 };
    alice.wallet.send(&alice.ledger, &alice.keys, &[recipient], rate(), WAIT).unwrap();
    assert_eq!((alice.confirmed(gold), bob.confirmed(gold)), (110_000, 40_000));

    assets::burn(&alice.wallet, &alice.ledger, &alice.keys, gold, 10_000, rate(), WAIT).unwrap();
    assert_eq!(alice.confirmed(gold), 100_000);
    let of_btc = assets::burn(&alice.wallet, &alice.ledger, &alice.keys, btc, 1, rate(), WAIT).unwrap_err();
    assert!(matches!(of_btc, AssetError::BurnOfPegged));
}

#[test]
fn a_pegout_is_requested_in_the_open_and_followed() {
    let network = TestNetwork::start(&["a"]);
    let btc = network.chain.pegged_asset();
    let mut alice = User::funded(&network, 100_000);
    alice.confirmed(btc);
    let text = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let to = pegout::parse_destination(&network.chain, text).unwrap();
    let ask = |amount| pegout::request(&alice.wallet, &alice.ledger, &alice.keys, to.clone(), amount, rate(), WAIT);
    assert!(matches!(ask(293), Err(PegError::TooSmall { amount_sat: 293, minimum_sat: 294 })));
    let asked = ask(50_000).unwrap();
    let output = &asked.payment.transaction.output[usize::try_from(asked.outpoint.vout).unwrap()];
    let request =
        parse_pegout(&network.chain.file().params, asked.outpoint, &aquifer_assets::primitives::TxOut::from(output))
            .unwrap();
    assert_eq!((request.amount_sat, request.parent_script), (50_000, to.script_pubkey()));

    let mut states = 0;
    let last = pegout::follow(&alice.ledger, asked.outpoint, pegout::Until::Confirmed, &mut |_| states += 1).unwrap();
    assert_eq!((states, pegout::state_name(last.state())), (3, "confirmed"));

    for wrong in ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "el1qq", ""] {
        assert!(matches!(pegout::parse_destination(&network.chain, wrong), Err(PegError::ParentAddress { .. })));
    }
    let name = format!("{}:{}", asked.outpoint.txid, asked.outpoint.vout);
    assert_eq!(pegout::parse_name(&name).unwrap(), asked.outpoint);
    assert!(matches!(pegout::parse_name("1:x"), Err(PegError::BadPegout(_))));
}

/// A payment on Bitcoin to a peg-in address, deep enough.
fn deposit(address: &PeginAddress, amount: u64, tag: u8) -> proto::DepositStatus {
    let to: bitcoin::Address = address.bitcoin_address.parse::<bitcoin::Address<_>>().unwrap().assume_checked();
    let input = bitcoin::TxIn {
        previous_output: bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array([tag; 32]), 0),
        ..Default::default()
    };
    let output = bitcoin::TxOut { value: bitcoin::Amount::from_sat(amount), script_pubkey: to.script_pubkey() };
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![input],
        output: vec![output],
    };
    let txid = tx.compute_txid();
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let mut header = bitcoin::block::Header {
        merkle_root: bitcoin::TxMerkleNode::from_byte_array(txid.to_byte_array()),
        prev_blockhash: genesis.block_hash(),
        ..genesis.header
    };
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    let proof = bitcoin::MerkleBlock::from_header_txids_with_predicate(&header, &[txid], |_| true);
    proto::DepositStatus {
        state: State::Ready.into(),
        parent_txid: txid.to_byte_array().to_vec().into(),
        vout: 0,
        amount_sat: amount,
        confirmations: 8,
        needed_confirmations: 8,
        transaction: bitcoin::consensus::serialize(&tx).into(),
        proof: bitcoin::consensus::serialize(&proof).into(),
        ..Default::default()
    }
}

fn stages(user: &User, address: &PeginAddress) -> Vec<DepositStage> {
    user.wallet.db().deposits(address.index).unwrap().into_iter().map(|deposit| deposit.stage).collect()
}

fn go_on(user: &User, addresses: &[PeginAddress], until: Until) -> Result<(), PegError> {
    follow::follow(&user.wallet, &user.ledger, &user.keys, rate(), addresses, until, &mut |_| {})
}

#[test]
fn deposits_are_claimed_several_of_one_address_too() {
    let network = TestNetwork::start(&["a"]);
    let mut alice = User::new(&network, WORDS);
    let btc = network.chain.pegged_asset();
    let address = follow::new_address(&alice.wallet, &alice.ledger).unwrap();
    assert_eq!(follow::open_addresses(&alice.wallet).unwrap(), vec![address.clone()]);
    assert_ne!(alice.wallet.address().unwrap().0, address.index, "a reserved address is not shown for payments");

    network.world().deposits =
        vec![deposit(&address, 50_000, 1), deposit(&address, 60_000, 2), deposit(&address, 20, 3)];
    // The stream ends after each look, so look until all three are known.
    while stages(&alice, &address).len() < 3 {
        go_on(&alice, std::slice::from_ref(&address), Until::LookedAt).unwrap();
    }
    go_on(&alice, std::slice::from_ref(&address), Until::Settled(address.index)).unwrap();
    let stages = stages(&alice, &address);
    assert!(matches!(stages[0], DepositStage::Claimed { .. }) && matches!(stages[1], DepositStage::Claimed { .. }));
    assert_eq!(stages[2], DepositStage::TooSmall);
    assert!(follow::open_addresses(&alice.wallet).unwrap().is_empty());
    let balance = alice.confirmed(btc);
    assert!((109_000..110_000).contains(&balance), "{balance}");
    assert!(alice.wallet.history().unwrap().iter().all(|tx| tx.tx.input[0].is_pegin));
}

#[test]
fn wallets_of_every_script_receive_spend_and_claim() {
    let network = TestNetwork::start(&["a"]);
    let btc = network.chain.pegged_asset();
    let mut bob = User::new(&network, OTHER_WORDS);
    let mut received = 0;
    for (tag, script) in [(1, ScriptType::Wpkh), (2, ScriptType::ShWpkh), (3, ScriptType::Tr)] {
        let mut alice = User::with(&network, WORDS, &Account::Single(script));
        let own = alice.wallet.address_at(0).unwrap().script_pubkey();
        assert_eq!(
            (own.is_v0_p2wpkh(), own.is_p2sh(), own.is_v1_p2tr()),
            (script == ScriptType::Wpkh, script == ScriptType::ShWpkh, script == ScriptType::Tr)
        );
        alice.fund(&network, 100_000);
        assert_eq!(alice.confirmed(btc), 100_000, "{script}");
        let recipient = Recipient { address: bob.wallet.address().unwrap().1, asset: btc, amount: 30_000 };
        let payment = alice.wallet.send(&alice.ledger, &alice.keys, &[recipient], rate(), WAIT).unwrap();
        let vsize = u64::try_from(payment.transaction.discount_vsize()).unwrap();
        assert!((rate().fee_sat(vsize)..rate().fee_sat(vsize + 20)).contains(&payment.fee_sat), "{script}: {vsize}");
        received += 30_000;
        assert_eq!(bob.confirmed(btc), received, "{script}");

        // A wallet that spends its change, and claims with a P2WPKH claim script whatever its own scripts are.
        let address = follow::new_address(&alice.wallet, &alice.ledger).unwrap();
        assert!(address.claim_script.is_v0_p2wpkh());
        network.world().deposits = vec![deposit(&address, 50_000, tag)];
        go_on(&alice, std::slice::from_ref(&address), Until::Settled(address.index)).unwrap();
        let balance = alice.confirmed(btc);
        assert!((119_000..120_000).contains(&balance), "{script}: {balance}");
        let recipient = Recipient { address: bob.wallet.address().unwrap().1, asset: btc, amount: 110_000 };
        alice.wallet.send(&alice.ledger, &alice.keys, &[recipient], rate(), WAIT).unwrap();
        received += 110_000;
        assert_eq!(bob.confirmed(btc), received, "{script}");
    }
}

#[test]
fn an_interrupted_claim_goes_on_with_the_same_transaction() {
    let network = TestNetwork::start(&["a"]);
    let alice = User::new(&network, WORDS);
    let address = follow::new_address(&alice.wallet, &alice.ledger).unwrap();
    network.world().deposits = vec![deposit(&address, 50_000, 1)];
    network.world().lie = Lie::Full;
    let error = go_on(&alice, std::slice::from_ref(&address), Until::AnySettled).unwrap_err();
    assert!(matches!(error, PegError::Wallet(WalletError::Backend(BackendError::Refused { .. }))), "{error}");
    let DepositStage::Submitted { claim_txid, .. } = stages(&alice, &address)[0].clone() else {
        unreachable!("the claim is written down before it is handed in")
    };

    // As after a restart: the wallet is opened anew from its files.
    let folder = Home::new(alice.home.path().into()).wallet(&"main".parse().unwrap()).unwrap();
    let alice = User { wallet: Wallet::open(&folder, network.chain.clone()).unwrap(), ..alice };
    network.world().lie = Lie::None;
    let open = follow::open_addresses(&alice.wallet).unwrap();
    assert_eq!(open, vec![address.clone()]);
    go_on(&alice, &open, Until::AnySettled).unwrap();
    assert!(
        matches!(stages(&alice, &address)[0], DepositStage::Claimed { claim_txid: same, .. } if same == claim_txid)
    );

    // A wallet restored elsewhere learns that the deposit is claimed already.
    let other = User::new(&network, WORDS);
    let again = follow::new_address(&other.wallet, &other.ledger).unwrap();
    assert_eq!(again.claim_script, address.claim_script);
    for deposit in &mut network.world().deposits {
        deposit.state = State::Claimed.into();
        deposit.claim_txid = claim_txid.to_byte_array().to_vec().into();
    }
    go_on(&other, std::slice::from_ref(&again), Until::AnySettled).unwrap();
    assert!(matches!(stages(&other, &again)[0], DepositStage::Claimed { .. }));
}

#[test]
fn a_server_cannot_make_a_wallet_claim_nonsense() {
    let network = TestNetwork::start(&["a"]);
    let alice = User::new(&network, WORDS);
    let address = follow::new_address(&alice.wallet, &alice.ledger).unwrap();
    let mut elsewhere = address.clone();
    elsewhere.bitcoin_address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080".into();
    let good = deposit(&address, 50_000, 1);
    let lies = [
        deposit(&elsewhere, 50_000, 2),
        proto::DepositStatus {
            amount_sat: 60_000,
            parent_txid: deposit(&address, 50_000, 3).parent_txid,
            ..good.clone()
        },
        proto::DepositStatus { amount_sat: 50_001, ..deposit(&address, 50_000, 4) },
        proto::DepositStatus { vout: 1, ..deposit(&address, 50_000, 5) },
        proto::DepositStatus { transaction: vec![0].into(), ..deposit(&address, 50_000, 6) },
        proto::DepositStatus { proof: vec![0].into(), ..deposit(&address, 50_000, 7) },
    ];
    for lie in lies {
        network.world().deposits = vec![lie];
        let error = go_on(&alice, std::slice::from_ref(&address), Until::AnySettled).unwrap_err();
        assert!(matches!(error, PegError::Claim { .. }), "{error}");
    }
}

#[test]
fn a_wallets_files_are_private_and_never_overwritten() {
    let network = TestNetwork::start(&["a"]);
    let alice = User::new(&network, WORDS);
    let home = Home::new(alice.home.path().into());
    let name = "main".parse().unwrap();
    let passphrase = Passphrase::new("other".into()).unwrap();
    let again = home.create_wallet(&name, OTHER_WORDS, &passphrase, alice.wallet.account(), &network.chain);
    assert!(matches!(again, Err(KeystoreError::Exists { .. })));
    let folder = home.wallet(&name).unwrap();
    assert!(matches!(folder.unlock(&passphrase, &network.chain), Err(KeystoreError::WrongPassphrase)));
    assert_eq!(home.wallets().unwrap(), vec![name]);
    assert!(matches!(home.wallet(&"none".parse().unwrap()), Err(KeystoreError::NoSuchWallet { .. })));
    for bad in ["", "a/b", "..", "a b"] {
        assert!(matches!(bad.parse::<crate::keystore::WalletName>(), Err(KeystoreError::BadName(_))), "{bad}");
    }
    assert!(matches!(Keys::from_words("one two three", &network.chain), Err(KeystoreError::BadWords(_))));

    #[cfg(unix)]
    for file in ["seed.age", "descriptor", "wallet.db"] {
        use std::os::unix::fs::PermissionsExt;
        let path = alice.home.path().join("wallets/main").join(file);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let seed = std::fs::read(alice.home.path().join("wallets/main/seed.age")).unwrap();
    assert!(!seed.windows(7).any(|window| window == b"abandon"));
}

#[test]
fn a_data_folder_stays_with_its_network() {
    let network = TestNetwork::start(&["a"]);
    let other = TestNetwork::start(&["other"]);
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("data"));
    assert!(matches!(home.chain(None), Err(KeystoreError::NoNetwork { .. })));
    home.keep_chain(&network.chain).unwrap();
    assert_eq!(home.chain(None).unwrap().genesis(), network.chain.genesis());
    let given = folder.path().join("other.json");
    std::fs::write(&given, serde_json::to_vec(other.chain.file()).unwrap()).unwrap();
    assert!(matches!(home.chain(Some(&given)), Err(KeystoreError::OtherNetwork { .. })));
    std::fs::write(&given, "{}").unwrap();
    assert!(matches!(home.chain(Some(&given)), Err(KeystoreError::Network(_))));
}

#[test]
fn only_so_many_unused_addresses_are_handed_out() {
    let network = TestNetwork::start(&["a"]);
    let alice = User::new(&network, WORDS);
    for index in 0..20 {
        assert_eq!(alice.wallet.new_address().unwrap().0, index);
    }
    assert!(matches!(alice.wallet.new_address(), Err(WalletError::TooManyUnused)));
    assert_eq!(alice.wallet.address().unwrap().0, 0);
}
