//! Decoding transactions: what decodes has one encoding, and nothing that is asked of it panics.

use aquifer_assets::peg::parse_pegout;
use aquifer_assets::primitives::{Transaction, TxOut};
use aquifer_assets::script::{SighashData, sigop_cost, standard, verify_spend};
use aquifer_assets::transaction::{
    check_federation_policy, discount_vsize, fee_in, issued_assets, spent_outputs, verify_transaction,
};
use elements::OutPoint;
use elements::encode::serialize;

use crate::ground::{Case, ground};
use crate::program::Program;
use crate::wire;

/// Takes a transaction as it is, or a program that changes one of the ground.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    let changes = program.byte();
    let cases = &ground().cases;
    let Some(case) = cases.get(program.choose(cases.len())) else { return };
    if changes & 1 == 0 {
        examine(program.take_rest(), case);
    } else {
        let other = program.pick(cases).map(|case| case.bytes.as_slice()).unwrap_or_default();
        let mut bytes = case.bytes.clone();
        program.change(&mut bytes, other);
        examine(&bytes, case);
    }
}

fn examine(bytes: &[u8], case: &Case) {
    let reference = wire::reference::<elements::Transaction>(bytes);
    let transaction = match Transaction::decode(bytes.to_vec()) {
        Ok(transaction) => transaction,
        Err(error) => return wire::check_refusal(&error, reference.as_ref()),
    };
    assert_eq!(serialize(&transaction), bytes, "it has another encoding");
    let converted = elements::Transaction::try_from(&transaction);
    assert_eq!(converted.as_ref().ok(), reference.as_ref(), "{:?}", converted.as_ref().err());
    if let Some(reference) = reference {
        assert_eq!(Transaction::from(&reference), transaction, "the elements crate reads something else");
        let (txid, wtxid) = (reference.txid(), reference.wtxid());
        assert_eq!((transaction.txid(), transaction.wtxid()), (txid, wtxid), "names");
        assert_eq!(transaction.weight(), reference.weight(), "weight");
    }
    ask(&transaction, &case.spent);
    judge(&transaction);
}

/// Everything that can be asked of a transaction that nobody has judged.
fn ask(transaction: &Transaction, spent: &[TxOut]) {
    let ground = ground();
    let weight = transaction.weight();
    assert!(transaction.vsize() >= discount_vsize(transaction), "the discount adds to the size");
    assert!(weight >= transaction.size(), "a byte weighs less than one");
    sigop_cost(transaction, spent);
    fee_in(transaction, ground.params.pegged_asset());
    drop(check_federation_policy(&ground.params, transaction));
    let txid = transaction.txid();
    for (vout, output) in (0..).zip(&transaction.output) {
        parse_pegout(&ground.params, OutPoint::new(txid, vout), output);
    }
    assert!(transaction.input.iter().all(|input| issued_assets(input).is_some() == input.has_issuance()), "issuance");
    let data = SighashData::new(transaction, spent, ground.params.genesis_hash());
    drop(standard::check_standard(&data));
    (0..transaction.input.len()).for_each(|vin| drop(verify_spend(&data, vin)));
}

/// Only what is valid has effects, and they are the same each time.
fn judge(transaction: &Transaction) {
    let context = ground().context();
    let verdict = verify_transaction(&context, transaction, &ground().view);
    assert_eq!(verify_transaction(&context, transaction, &ground().view), verdict, "another verdict");
    if let Ok(effects) = verdict {
        let spent = spent_outputs(&context, transaction, &effects).unwrap_or_default();
        assert_eq!(spent.len(), transaction.input.len(), "effects without the coins that are spent");
    }
}
