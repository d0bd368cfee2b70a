//! Cosigners, and what they must not be talked into signing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use elements::pset::PsbtSighashType;

use super::*;
use crate::keystore::{Account, CosignerKey, KeystoreError, Multisig, ScriptType};
use crate::testing::{OTHER_WORDS, THIRD_WORDS, TestNetwork, WORDS};
use crate::tests::{User, WAIT, rate};

const FUNDED: u64 = 100_000;

/// Three cosigners of a vault with one coin, of which two must sign, and a stranger.
struct Vault {
    network: TestNetwork,
    cosigners: [User; 3],
    stranger: User,
}

fn cosigner_key(network: &TestNetwork, words: &str) -> CosignerKey {
    Keys::from_words(words, &network.chain).unwrap().cosigner_key().unwrap()
}

impl Vault {
    fn new() -> Self {
        let network = TestNetwork::start(&["a"]);
        let all = [WORDS, OTHER_WORDS, THIRD_WORDS];
        let keys = all.map(|words| cosigner_key(&network, words)).to_vec();
        let account = Account::Multisig(Multisig::new(2, keys).unwrap());
        let mut cosigners = all.map(|words| User::with(&network, words, &account));
        cosigners[0].fund(&network, FUNDED);
        for cosigner in &mut cosigners {
            assert_eq!(cosigner.confirmed(network.chain.pegged_asset()), FUNDED);
        }
        let stranger = User::new(&network, WORDS);
        Self { network, cosigners, stranger }
    }

    fn pegged(&self) -> AssetId {
        self.network.chain.pegged_asset()
    }

    fn payment(&self, amount: u64) -> Proposal {
        let address = self.stranger.wallet.address_at(0).unwrap();
        let recipient = Recipient { address, asset: self.pegged(), amount };
        self.cosigners[0].wallet.propose(&[recipient], rate()).unwrap()
    }

    fn sign(&self, cosigner: usize, proposal: &Proposal) -> Proposal {
        let user = &self.cosigners[cosigner];
        // As it arrives: text that a file carried.
        let read = user.wallet.check(parse(&proposal.to_base64()).unwrap()).unwrap();
        user.wallet.sign(&read, &user.keys).unwrap()
    }

    fn check(&self, pset: PartiallySignedTransaction) -> Result<Proposal, PsetError> {
        self.cosigners[1].wallet.check(pset)
    }
}

#[test]
fn two_of_three_pay() {
    let mut vault = Vault::new();
    let addresses: Vec<Address> = vault.cosigners.iter().map(|user| user.wallet.address_at(5).unwrap()).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0] && address.script_pubkey().is_v0_p2wsh()));

    let proposal = vault.payment(30_000);
    assert_eq!((proposal.signed.len(), proposal.missing.len(), proposal.needed), (0, 3, 2));
    let first = vault.sign(2, &proposal);
    assert_eq!((first.signed.len(), first.is_complete()), (1, false));
    let early = vault.cosigners[0].wallet.finish(&first).unwrap_err();
    assert!(matches!(early, PsetError::Incomplete { have: 1, need: 2, .. }), "{early}");
    let twice = vault.sign(2, &first);
    assert_eq!(twice.to_base64(), first.to_base64(), "signing again changes nothing");

    let second = vault.sign(1, &first);
    assert!(second.is_complete());
    assert_eq!(second.outgoing, proposal.outgoing);
    assert_eq!(second.outgoing[0].amount, 30_000);
    assert_eq!(second.change[&vault.pegged()], FUNDED - 30_000 - second.fee_sat);
    let transaction = vault.cosigners[0].wallet.finish(&second).unwrap();
    let vsize = u64::try_from(transaction.discount_vsize()).unwrap();
    assert!((rate().fee_sat(vsize)..rate().fee_sat(vsize + 20)).contains(&second.fee_sat), "{vsize}");
    let sender = &vault.cosigners[0];
    sender.wallet.hand_in(&sender.ledger, transaction, WAIT).unwrap();
    let pegged = vault.pegged();
    assert_eq!(vault.stranger.confirmed(pegged), 30_000);
    assert_eq!(vault.cosigners[1].confirmed(pegged), FUNDED - 30_000 - second.fee_sat);
    let gone = vault.check(parse(&second.to_base64()).unwrap()).unwrap_err();
    assert!(matches!(gone, PsetError::Spent { index: 0, .. }), "{gone}");
}

#[test]
fn copies_signed_apart_are_combined() {
    let vault = Vault::new();
    let proposal = vault.payment(30_000);
    let apart = [0, 1].map(|cosigner| vault.sign(cosigner, &proposal).pset);
    let wallet = &vault.cosigners[2].wallet;
    assert!(wallet.combine(apart.to_vec()).unwrap().is_complete());
    let other = vault.payment(30_001).pset;
    let mixed = wallet.combine(vec![apart[0].clone(), other]).unwrap_err();
    assert!(matches!(mixed, PsetError::Different(_)), "{mixed}");
}

/// The attack that makes checks necessary: a cosigner's seed signs for their own wallet too.
#[test]
fn coins_of_another_wallet_with_the_same_seed_are_not_signed_for() {
    let mut vault = Vault::new();
    let pegged = vault.pegged();
    vault.stranger.fund(&vault.network, 40_000);
    assert_eq!(vault.stranger.confirmed(pegged), 40_000);
    let address = vault.cosigners[0].wallet.address_at(0).unwrap();
    let private =
        vault.stranger.wallet.propose(&[Recipient { address, asset: pegged, amount: 1_000 }], rate()).unwrap();
    assert!(matches!(vault.check(private.pset.clone()), Err(PsetError::ForeignInput { index: 0, .. })));
    let mut mixed = vault.payment(30_000).pset;
    mixed.add_input(private.pset.inputs()[0].clone());
    assert!(matches!(vault.check(mixed), Err(PsetError::ForeignInput { index: 1, .. })));
}

#[test]
fn a_pset_that_hides_something_is_refused() {
    let vault = Vault::new();
    let good = vault.payment(30_000).pset;
    let refused = |change: &dyn Fn(&mut PartiallySignedTransaction)| {
        let mut pset = good.clone();
        change(&mut pset);
        vault.check(pset).unwrap_err()
    };
    let recipient = good.outputs().iter().position(|output| output.amount == Some(30_000)).unwrap();
    let change =
        (0..).zip(good.outputs()).find(|(at, out)| *at != recipient && !out.script_pubkey.is_empty()).unwrap().0;

    let error = refused(&|pset| pset.outputs_mut()[recipient].amount = Some(3_000));
    assert!(matches!(error, PsetError::NotShown(_)), "another amount than the commitment's: {error}");
    let error = refused(&|pset| pset.outputs_mut()[recipient].blind_value_proof = None);
    assert!(matches!(error, PsetError::NotShown(_)), "an amount without its proof: {error}");
    let error = refused(&|pset| drop(pset.remove_output(change)));
    assert!(matches!(error, PsetError::Unbalanced { spent: FUNDED, .. }), "an output too few: {error}");
    let error = refused(&|pset| pset.inputs_mut()[0].sighash_type = Some(PsbtSighashType::from_u32(0x83)));
    assert!(matches!(error, PsetError::OpenSignatures), "{error}");
    let error = refused(&|pset| {
        let twice = pset.inputs()[0].clone();
        pset.add_input(twice);
    });
    assert!(matches!(error, PsetError::Spent { index: 1, .. }), "{error}");
    let error = refused(&|pset| {
        let named = pset.inputs_mut()[0].witness_utxo.as_mut().unwrap();
        named.value = elements::confidential::Value::Explicit(FUNDED);
    });
    assert!(matches!(error, PsetError::NotShown(_)), "another amount of the coin: {error}");
    let error = refused(&|pset| pset.inputs_mut()[0].issuance_value_amount = Some(1));
    assert!(matches!(error, PsetError::Issuance(0)), "{error}");

    for text in ["", "cHNldP8=", "nonsense"] {
        assert!(matches!(parse(text), Err(PsetError::NotAPset(_))), "{text}");
    }
}

#[test]
fn what_looks_like_change_and_is_not_is_shown_as_a_payment() {
    let vault = Vault::new();
    // A script of the vault that no wallet would look at for years: money sent there is held to ransom.
    let far = vault.cosigners[0].wallet.address_at(1_000_000).unwrap();
    let recipient = Recipient { address: far.clone(), asset: vault.pegged(), amount: 30_000 };
    let proposal = vault.cosigners[0].wallet.propose(&[recipient], rate()).unwrap();
    let seen = vault.check(proposal.pset).unwrap();
    assert_eq!(seen.outgoing.len(), 1);
    assert_eq!(seen.outgoing[0].destination, Destination::Address(far));
}

#[test]
fn false_signatures_are_found() {
    let vault = Vault::new();
    let signed = vault.sign(0, &vault.payment(30_000)).pset;
    let (key, signature) = signed.inputs()[0].partial_sigs.iter().next().map(|(k, s)| (*k, s.clone())).unwrap();
    let with = |key, signature: &[u8]| {
        let mut pset = signed.clone();
        pset.inputs_mut()[0].partial_sigs = BTreeMap::from([(key, signature.to_vec())]);
        vault.check(pset).unwrap_err()
    };
    let other = vault.sign(0, &vault.payment(30_001)).pset.inputs()[0].partial_sigs[&key].clone();
    let stranger = bitcoin::PublicKey::new(vault.stranger.keys.issuer_key().unwrap());
    let mut open = signature.clone();
    *open.last_mut().unwrap() = 0x81;
    for error in [with(key, &other), with(stranger, &signature), with(key, &open), with(key, &[])] {
        assert!(matches!(error, PsetError::BadSignature(0)), "{error}");
    }
}

#[test]
fn a_seed_that_is_no_cosigner_says_so() {
    let vault = Vault::new();
    let words = "letter advice cage absurd amount doctor acoustic avoid letter advice cage above";
    let stranger = Keys::from_words(words, &vault.network.chain).unwrap();
    let error = vault.cosigners[0].wallet.sign(&vault.payment(1_000), &stranger).unwrap_err();
    assert!(matches!(error, PsetError::NotASigner(_)), "{error}");
    let account = vault.cosigners[0].wallet.account().clone();
    assert!(matches!(stranger.descriptor(&account), Err(KeystoreError::NotACosigner(_))));
}

#[test]
fn one_key_signs_psets_too() {
    let network = TestNetwork::start(&["a"]);
    let pegged = network.chain.pegged_asset();
    let mut bob = User::new(&network, OTHER_WORDS);
    for script in [ScriptType::Wpkh, ScriptType::ShWpkh, ScriptType::Tr] {
        let mut alice = User::with(&network, WORDS, &Account::Single(script));
        alice.fund(&network, FUNDED);
        alice.confirmed(pegged);
        let before = bob.confirmed(pegged);
        let recipient = Recipient { address: bob.wallet.address().unwrap().1, asset: pegged, amount: 30_000 };
        let proposal = alice.wallet.propose(&[recipient], rate()).unwrap();
        let read = alice.wallet.check(parse(&proposal.to_base64()).unwrap()).unwrap();
        assert!(!read.is_complete());
        let signed = alice.wallet.sign(&read, &alice.keys).unwrap();
        assert!(signed.is_complete(), "{script}");
        if script == ScriptType::Tr {
            let address = bob.wallet.address().unwrap().1;
            let mut other =
                alice.wallet.propose(&[Recipient { address, asset: pegged, amount: 29_999 }], rate()).unwrap();
            other.pset.inputs_mut()[0].tap_key_sig = signed.pset.inputs()[0].tap_key_sig;
            assert!(matches!(alice.wallet.check(other.pset), Err(PsetError::BadSignature(0))));
        }
        let transaction = alice.wallet.finish(&signed).unwrap();
        alice.wallet.hand_in(&alice.ledger, transaction, WAIT).unwrap();
        assert_eq!(bob.confirmed(pegged), before + 30_000, "{script}");
    }
}
