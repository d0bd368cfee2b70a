//! Peg-ins as inputs: what they bring in, and that a deposit is claimed once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use bitcoin::hashes::Hash;
use elements::encode::serialize;
use elements::{LockTime, OutPoint, Sequence, Txid};

use super::testing::{Blinding, Ledger, Lock, Owned, Pay, sign};
use super::*;
use crate::peg::{PegError, deposit_programs, pegin_witness};
use crate::primitives::{Inexpressible, TxIn, Witness};

/// A deposit of 50,000 satoshi for the claim script, mined on the parent chain.
fn deposit(ledger: &Ledger, claim_script: &elements::Script) -> (bitcoin::Transaction, Vec<u8>) {
    let program = deposit_programs(&ledger.params, ledger.height, claim_script).unwrap().remove(0);
    let payment = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn::default()],
        output: vec![bitcoin::TxOut { value: bitcoin::Amount::from_sat(50_000), script_pubkey: program.script_pubkey }],
    };
    let txid = payment.compute_txid();
    let mut header = bitcoin::block::Header {
        version: bitcoin::block::Version::TWO,
        prev_blockhash: bitcoin::BlockHash::all_zeros(),
        merkle_root: bitcoin::TxMerkleNode::from_raw_hash(txid.to_raw_hash()),
        time: 1_700_000_000,
        bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    while header.validate_pow(header.target()).is_err() {
        header.nonce += 1;
    }
    let proof = bitcoin::MerkleBlock::from_header_txids_with_predicate(&header, &[txid], |_| true);
    (payment, bitcoin::consensus::serialize(&proof))
}

/// A claim of a deposit that pays half of it to somebody, in confidence.
fn claim(ledger: &mut Ledger, lock: Lock) -> (Owned, Transaction) {
    let (payment, proof) = deposit(ledger, &lock.script());
    let pegged = ledger.pegged();
    // What the deposit counts as; it is no output of the ledger, so it is taken out again.
    let mut owned = ledger.coin(pegged, 50_000, lock, Blinding::Explicit);
    owned.outpoint = OutPoint::new(Txid::from_byte_array(payment.compute_txid().to_byte_array()), 0);
    let pays = [
        Pay::new(pegged, 25_000, Lock::Taproot.script(), Blinding::Both),
        Pay::new(pegged, 24_000, Lock::P2wpkh.script(), Blinding::Both),
    ];
    let raw = bitcoin::consensus::serialize(&payment);
    let mut transaction = Transaction { version: 2, lock_time: LockTime::ZERO, input: vec![], output: vec![] };
    // A sequence that would be a relative lock of 65,535 blocks: peg-ins have none.
    let mut input =
        TxIn { previous_output: owned.outpoint, is_pegin: true, sequence: Sequence(0xffff), ..TxIn::default() };
    input.witness.pegin_witness =
        pegin_witness(&ledger.params, &owned.output.script_pubkey, 50_000, &raw, &proof).unwrap();
    transaction.input.push(input);
    transaction.output = ledger.outputs(&[owned.secrets], &pays, 1_000);
    sign(&ledger.params, &mut transaction, std::slice::from_ref(&owned));
    (owned, transaction)
}

#[test]
fn a_deposit_is_claimed_once() {
    for (seed, lock) in (500..).zip([Lock::P2wpkh, Lock::NestedP2wpkh, Lock::P2wsh(2, 3), Lock::Taproot]) {
        let mut ledger = Ledger::new(seed);
        let (owned, transaction) = claim(&mut ledger, lock);
        assert_eq!(decode(serialize(&transaction)).unwrap(), transaction);
        let effects = ledger.verify(&transaction).unwrap();
        let [pegin] = effects.pegins.as_slice() else { panic!("one peg-in") };
        assert_eq!((pegin.amount_sat, &pegin.claim_script), (50_000, &owned.output.script_pubkey));
        assert!(effects.spent.is_empty());
        assert_eq!(spent_outputs(&ledger.context(), &transaction, &effects).unwrap(), [owned.output]);

        ledger.view.apply(&effects);
        let error = ledger.verify(&transaction).unwrap_err();
        assert_eq!(error, TxError::AlreadyClaimed { vin: 0, deposit: pegin.deposit });
        assert_eq!(error.outlook(), Outlook::Conflict);
        ledger.view.undo(&effects);
        ledger.verify(&transaction).unwrap();
    }
}

#[test]
fn false_claims() {
    let mut ledger = Ledger::new(510);
    let (owned, transaction) = claim(&mut ledger, Lock::P2wpkh);
    let refused = |change: &dyn Fn(&mut Transaction)| {
        let mut changed = transaction.clone();
        change(&mut changed);
        let inputs = vec![owned.clone(); changed.input.len()];
        sign(&ledger.params, &mut changed, &inputs);
        ledger.verify(&changed).unwrap_err()
    };
    // Twice in one transaction, and the same outpoint as a peg-in and as an output of ours.
    let outpoint = owned.outpoint;
    let twice = TxError::DuplicateInput { vin: 1, outpoint };
    assert_eq!(refused(&|tx| tx.input.push(tx.input[0].clone())), twice);
    assert_eq!(refused(&|tx| tx.input.push(TxIn { previous_output: outpoint, ..TxIn::default() })), twice);
    // Without its flag, and without its witness.
    let flag = refused(&|tx| tx.input[0].is_pegin = false);
    assert_eq!(flag, TxError::MissingInput { vin: 0, outpoint });
    let bare = refused(&|tx| tx.input[0].witness.pegin_witness = Witness::EMPTY);
    assert_eq!(bare, TxError::Pegin { vin: 0, source: PegError::WitnessMissing });
    assert_eq!(bare.name(), "bad-pegin");
    // More than was deposited.
    let more = refused(&|tx| {
        let mut items = tx.input[0].witness.pegin_witness.to_vec();
        items[0][0] += 1;
        tx.input[0].witness.pegin_witness = Witness::from_slice(&items);
    });
    assert!(matches!(more, TxError::Pegin { vin: 0, source: PegError::Amount { .. } }));
    // The owner of the claim script must sign.
    let mut stolen = transaction.clone();
    stolen.input[0].witness.script_witness.clear();
    assert!(matches!(ledger.verify(&stolen), Err(TxError::Script { vin: 0, .. })));
}

/// A claim whose witness has these items, over the wire: the verdict of the chain and that of the members.
fn with_items(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> (Result<(), TxError>, Result<(), TxError>) {
    let mut ledger = Ledger::new(512);
    let (_, mut transaction) = claim(&mut ledger, Lock::P2wpkh);
    let mut items = transaction.input[0].witness.pegin_witness.to_vec();
    change(&mut items);
    transaction.input[0].witness.pegin_witness = Witness::from_slice(&items);
    let read = decode(serialize(&transaction)).unwrap();
    assert_eq!(read, transaction);
    (ledger.verify(&read).map(drop), check_federation_policy(&ledger.params, &read))
}

#[test]
fn what_follows_the_value_in_its_item_means_nothing() {
    assert_eq!(with_items(|_| ()), (Ok(()), Ok(())));
    for tail in [vec![0], vec![0xff; 300]] {
        let (chain, members) = with_items(|items| items[0].extend(tail));
        assert_eq!(chain, Ok(()));
        assert_eq!(members, Err(TxError::Unreadable(Inexpressible::PeginWitness { vin: 0 })));
    }
}

#[test]
fn a_pegin_witness_has_six_items_of_a_form() {
    let refused = |change: &dyn Fn(&mut Vec<Vec<u8>>)| match with_items(change) {
        (Err(TxError::Pegin { vin: 0, source: PegError::WitnessMalformed(reason) }), _) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&|items| drop(items.pop())), "it has 5 items instead of six");
    assert_eq!(refused(&|items| items.push(vec![])), "it has 7 items instead of six");
    assert_eq!(refused(&|items| items[0].truncate(7)), "the value has less than eight bytes");
    assert_eq!(refused(&|items| items[1].truncate(31)), "the asset has 31 bytes instead of 32");
    assert_eq!(refused(&|items| items[2].push(0)), "the parent chain has 33 bytes instead of 32");
    // Items without any byte are items.
    let (chain, _) = with_items(|items| items[4].clear());
    assert!(matches!(chain, Err(TxError::Pegin { source: PegError::Transaction(_), .. })), "{chain:?}");
}

#[test]
fn no_rule_looks_at_a_pegin_witness_without_a_pegin() {
    let mut ledger = Ledger::new(513);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Explicit);
    let pays = [Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Explicit)];
    let mut transaction = ledger.transaction(&[coin], &pays, 1_000);
    for items in [vec![vec![]], vec![vec![7; 300], vec![]], vec![vec![1]; 6], vec![vec![]; 7]] {
        transaction.input[0].witness.pegin_witness = Witness::from_slice(&items);
        let read = decode(serialize(&transaction)).unwrap();
        ledger.verify(&read).unwrap();
        let policy = check_federation_policy(&ledger.params, &read);
        assert_eq!(policy, Err(TxError::SuperfluousPeginWitness { vin: 0 }));
    }
}

#[test]
fn members_do_not_sign_a_pegin_witness_without_a_pegin() {
    let mut ledger = Ledger::new(511);
    let (_, mut transaction) = claim(&mut ledger, Lock::P2wpkh);
    assert_eq!(check_federation_policy(&ledger.params, &transaction), Ok(()));
    transaction.input[0].is_pegin = false;
    let policy = check_federation_policy(&ledger.params, &transaction);
    assert_eq!(policy, Err(TxError::SuperfluousPeginWitness { vin: 0 }));
}
