//! Transactions refused for their structure, their inputs or their time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use elements::confidential::{Asset, Value};
use elements::encode::serialize;
use elements::{AssetId, LockTime, OutPoint, Script, Sequence, Txid};

use super::testing::{Blinding, Ledger, Lock, Owned, Pay, sign};
use super::*;
use crate::primitives::DecodeError;
use crate::state::{Coin, DynafedEntries, ViewError};

/// A valid explicit payment of one input.
fn payment(seed: u64) -> (Ledger, Owned, Transaction) {
    let mut ledger = Ledger::new(seed);
    let pegged = ledger.pegged();
    let coin = ledger.coin(pegged, 10_000, Lock::P2wpkh, Blinding::Explicit);
    let pays = [Pay::new(pegged, 9_000, Lock::P2wpkh.script(), Blinding::Explicit)];
    let transaction = ledger.transaction(std::slice::from_ref(&coin), &pays, 1_000);
    ledger.verify(&transaction).unwrap();
    (ledger, coin, transaction)
}

/// The error for the payment with a change, signed anew.
fn refused(change: impl FnOnce(&mut Transaction)) -> TxError {
    let (ledger, coin, mut transaction) = payment(100);
    change(&mut transaction);
    sign(&ledger.params, &mut transaction, &[coin]);
    ledger.verify(&transaction).unwrap_err()
}

#[test]
fn structure() {
    assert_eq!(refused(|tx| tx.input.clear()), TxError::NoInputs);
    assert_eq!(refused(|tx| tx.output.clear()), TxError::NoOutputs);
    let huge = refused(|tx| tx.output[0].script_pubkey = Script::from(vec![0x6a; 1_000_000]));
    assert!(matches!(huge, TxError::TooLarge { weight } if weight > 4_000_000));
    let twice = refused(|tx| tx.input.push(tx.input[0].clone()));
    assert!(matches!(twice, TxError::DuplicateInput { vin: 1, .. }));
    let null = refused(|tx| tx.input.push(crate::primitives::TxIn::default()));
    assert_eq!(null, TxError::NullInput { vin: 1 });
    assert_eq!(refused(|tx| tx.input[0].previous_output = OutPoint::null()), TxError::Coinbase);
    let index = refused(|tx| tx.input[0].previous_output.vout = 1 << 30);
    assert_eq!(index, TxError::OutpointIndex { vin: 0, index: 1 << 30 });
    let flagged = refused(|tx| {
        tx.input[0].previous_output.vout = u32::MAX;
        tx.input[0].is_pegin = true;
    });
    assert_eq!(flagged, TxError::OutpointIndex { vin: 0, index: u32::MAX });
    let null =
        refused(|tx| tx.input[0].asset_issuance.asset_entropy = elements::AssetEntropy::from_byte_array([1; 32]));
    assert_eq!(null, TxError::NullIssuance { vin: 0 });
    assert_eq!(refused(|tx| tx.output[0].asset = Asset::Null), TxError::NullAsset { vout: 0 });
    assert_eq!(refused(|tx| tx.output[0].value = Value::Null), TxError::NullValue { vout: 0 });
}

#[test]
fn values() {
    let too_much = MAX_MONEY + 1;
    let value = refused(|tx| tx.output[0].value = Value::Explicit(too_much));
    assert_eq!(value, TxError::ValueRange { vout: 0, value: too_much });
    let value = refused(|tx| tx.output[0].value = Value::Explicit(u64::MAX));
    assert_eq!(value, TxError::ValueRange { vout: 0, value: u64::MAX });
    // The sum goes over all assets, however little they have to do with each other.
    let total = refused(|tx| {
        tx.output[0].value = Value::Explicit(MAX_MONEY - 1_000);
        let mut other = tx.output[0].clone();
        other.asset = Asset::Explicit(AssetId::from_byte_array([3; 32]));
        other.value = Value::Explicit(1);
        tx.output.push(other);
    });
    assert_eq!(total, TxError::TotalRange { vout: 2, total: too_much });
    assert_eq!(refused(|tx| tx.output[1].value = Value::Explicit(0)), TxError::ZeroFee { vout: 1 });
    assert_eq!(refused(|tx| tx.output[0].value = Value::Explicit(0)), TxError::SpendableZero { vout: 0 });
    assert_eq!(refused(|tx| tx.output[0].value = Value::Explicit(9_001)), TxError::Unbalanced);
    assert_eq!(refused(|tx| tx.output[0].value = Value::Explicit(8_999)), TxError::Unbalanced);
    // Fees in another asset are not made from nothing either.
    let other = Asset::Explicit(AssetId::from_byte_array([3; 32]));
    assert_eq!(refused(|tx| tx.output[1].asset = other), TxError::Unbalanced);
}

#[test]
fn bytes_that_are_no_transaction() {
    let (_, _, transaction) = payment(101);
    let bytes = serialize(&transaction);
    assert_eq!(decode(bytes.clone()).unwrap(), transaction);
    let malformed = |bytes: &[u8]| decode(bytes.to_vec()).unwrap_err();
    assert_eq!(malformed(&[]), TxError::Malformed(DecodeError::End { missing: 4 }));
    assert_eq!(malformed(&bytes[..bytes.len() - 1]), TxError::Malformed(DecodeError::End { missing: 1 }));
    assert_eq!(malformed(&[bytes.as_slice(), &[0]].concat()), TxError::Malformed(DecodeError::Trailing(1)));
    // The issuance bit without an issuance: 64 zero bytes and two null amounts.
    let mut issuing = transaction.clone();
    issuing.input[0].asset_issuance.amount = Value::Explicit(1);
    let mut issuing = serialize(&issuing);
    let amount = issuing.windows(9).position(|window| window == [1, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    issuing.splice(amount..amount + 9, [0]);
    assert_eq!(malformed(&issuing), TxError::Malformed(DecodeError::NullIssuance));
    // A witness flag and only empty witnesses.
    let mut bare = transaction;
    bare.input[0].witness = crate::primitives::TxInWitness::default();
    let mut bytes = serialize(&bare);
    bytes[4] = 1;
    bytes.extend([0; 4 + 2 * 2]);
    assert_eq!(malformed(&bytes), TxError::Malformed(DecodeError::SuperfluousWitness));
}

#[test]
fn inputs() {
    let (mut ledger, coin, transaction) = payment(102);
    let mut unknown = transaction.clone();
    unknown.input[0].previous_output = OutPoint::new(Txid::from_byte_array([1; 32]), 7);
    let error = ledger.verify(&unknown).unwrap_err();
    assert_eq!(error, TxError::MissingInput { vin: 0, outpoint: unknown.input[0].previous_output });
    assert!(error.is_missing_input());
    assert_eq!(error.name(), "missing-input");

    // Matures a hundred blocks after it was made.
    let young = Coin { output: coin.output.clone(), height: 401, is_coinbase: true };
    ledger.view.insert(coin.outpoint, young.clone());
    let error = ledger.verify(&transaction).unwrap_err();
    assert_eq!(error, TxError::ImmatureCoinbase { vin: 0, made: 401, height: 500 });
    assert_eq!(error.outlook(), Outlook::NotYet);
    ledger.view.insert(coin.outpoint, Coin { height: 400, ..young });
    ledger.verify(&transaction).unwrap();

    // What the rules never let into the ledger is not spent either.
    for (value, expected) in [
        (Value::Null, TxError::NullCoin { vin: 0 }),
        (Value::Explicit(0), TxError::SpentValueRange { vin: 0, value: 0 }),
        (Value::Explicit(MAX_MONEY + 1), TxError::SpentValueRange { vin: 0, value: MAX_MONEY + 1 }),
    ] {
        let output = TxOut { value, ..coin.output.clone() };
        ledger.view.insert(coin.outpoint, Coin { output, height: 1, is_coinbase: false });
        assert_eq!(ledger.verify(&transaction), Err(expected));
    }
}

#[test]
fn a_state_that_cannot_be_read_is_no_verdict() {
    struct Broken;
    impl ChainView for Broken {
        fn coin(&self, _: &OutPoint) -> Result<Option<Coin>, ViewError> {
            Err(ViewError("disk".to_owned()))
        }
        fn is_claimed(&self, _: &bitcoin::OutPoint) -> Result<bool, ViewError> {
            Err(ViewError("disk".to_owned()))
        }
        fn median_time_past(&self, _: u32) -> Result<u32, ViewError> {
            Err(ViewError("disk".to_owned()))
        }
        fn has_unspent_outputs(&self, _: &Txid) -> Result<bool, ViewError> {
            Err(ViewError("disk".to_owned()))
        }
        fn dynafed(&self, _: u32) -> Result<DynafedEntries, ViewError> {
            Err(ViewError("disk".to_owned()))
        }
    }
    let (ledger, _, transaction) = payment(103);
    let error = verify_transaction(&ledger.context(), &transaction, &Broken).unwrap_err();
    assert_eq!(error.outlook(), Outlook::Unknown);
}

#[test]
fn absolute_lock_times() {
    let with_lock = |lock_time: u32, sequence: u32| {
        let (ledger, coin, mut transaction) = payment(104);
        transaction.lock_time = LockTime::from_consensus(lock_time);
        transaction.input[0].sequence = Sequence(sequence);
        sign(&ledger.params, &mut transaction, &[coin]);
        ledger.verify(&transaction).map(drop)
    };
    let now = 1_700_000_000 + 499 * 60;
    let locked = |lock_time| Err(TxError::LockTime { lock_time, height: 500, median_time_past: now });
    // The last height or time at which it may not be in a block.
    assert_eq!(with_lock(499, 0xffff_fffe), Ok(()));
    assert_eq!(with_lock(500, 0xffff_fffe), locked(500));
    assert_eq!(with_lock(500, 0xffff_ffff), Ok(()));
    assert_eq!(with_lock(now - 1, 0xffff_fffe), Ok(()));
    assert_eq!(with_lock(now, 0xffff_fffe), locked(now));
    assert_eq!(locked(now).unwrap_err().outlook(), Outlook::NotYet);
}

#[test]
fn relative_lock_times() {
    let spend = |version: u32, made: u32, sequence: u32| {
        let (mut ledger, coin, mut transaction) = payment(105);
        ledger.view.insert(coin.outpoint, Coin { output: coin.output.clone(), height: made, is_coinbase: false });
        transaction.version = version;
        transaction.input[0].sequence = Sequence(sequence);
        sign(&ledger.params, &mut transaction, &[coin]);
        ledger.verify(&transaction).map(drop)
    };
    assert_eq!(spend(2, 490, 10), Ok(()));
    assert_eq!(spend(2, 490, 11), Err(TxError::RelativeHeight { vin: 0, from: 501, height: 500 }));
    assert_eq!(spend(1, 490, 11), Ok(()), "version 1 has none");
    assert_eq!(spend(2, 490, 11 | 1 << 31), Ok(()), "disabled");
    // 512 seconds are more than eight and less than nine blocks of a minute.
    let is_time = 1 << 22;
    let now = 1_700_000_000 + 499 * 60;
    assert_eq!(spend(2, 491, is_time | 1), Ok(()));
    let after = u64::from(1_700_000_000u32 + 491 * 60 + 512);
    let late = TxError::RelativeTime { vin: 0, after, median_time_past: now };
    assert_eq!(spend(2, 492, is_time | 1), Err(late));
    // Made in the block that it would be in: the median time past is that of the context.
    assert_eq!(spend(2, 500, is_time), Ok(()));
}
