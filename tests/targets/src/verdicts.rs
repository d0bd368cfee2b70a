//! Remembered verdicts change no verdict: without a cache, with a cold one and with a warm one, always the same.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use aquifer_assets::primitives::{RangeProof, SurjectionProof, Transaction, Witness};
use aquifer_assets::state::{ChainView as _, Coin, Effects, MemoryView};
use aquifer_assets::transaction::{TxError, verify_transaction, verify_transaction_with};
use aquifer_assets::verdicts::{StatementKey, VerdictCache};
use elements::Script;
use elements::encode::serialize;

use crate::ground::{Case, ground};
use crate::program::Program;
use crate::wire;

/// Remembers everything it is told.
#[derive(Default)]
struct Everything(Mutex<BTreeSet<StatementKey>>);

impl Everything {
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl VerdictCache for Everything {
    fn holds(&self, key: &StatementKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn remember(&self, key: StatementKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }
}

/// A cache that has seen everything valid that any program has come to.
static WARM: LazyLock<Everything> = LazyLock::new(|| {
    let warm = Everything::default();
    for case in &ground().cases {
        let verdict = verify_transaction_with(&ground().context(), &case.transaction, &ground().view, Some(&warm));
        assert_eq!(verdict.as_ref(), Ok(&case.effects), "{}", case.kind);
    }
    warm
});

/// Takes a program that cuts a valid transaction of the ground anew, or what it spends.
///
/// # Panics
/// If a cache changes the verdict, or holds what is not valid.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    let cases = &ground().cases;
    let Some(case) = program.pick(cases) else { return };
    let mut view = ground().view.clone();
    let mut bytes = case.bytes.clone();
    match program.byte() % 4 {
        0 => {
            let other = program.pick(cases).map(|case| case.bytes.as_slice()).unwrap_or_default();
            program.change(&mut bytes, other);
        }
        1 => {
            let vin = program.choose(case.spent.len());
            spend_another(&mut program, case, vin, &mut view);
        }
        _ => {
            let mut child = case.transaction.clone();
            for _ in 0..=program.byte() % 4 {
                cut_again(&mut program, &mut child);
            }
            bytes = serialize(&child);
        }
    }
    // What cannot be sent is no statement.
    let Some(child) = wire::transaction(&bytes) else { return };
    let unchanged = child == case.transaction && has_coins(case, &view);
    let verdict = judge(&child, &view);
    if unchanged {
        assert_eq!(verdict.as_ref(), Ok(&case.effects), "nothing was changed");
    }
}

/// Whether a view has the coins of a case as they are.
fn has_coins(case: &Case, view: &MemoryView) -> bool {
    case.transaction.input.iter().all(|input| {
        let coin = |view: &MemoryView| view.coin(&input.previous_output).ok().flatten();
        coin(view) == coin(&ground().view)
    })
}

/// Lets an input spend something else.
fn spend_another(program: &mut Program<'_>, case: &Case, vin: usize, view: &mut MemoryView) {
    let Some(outpoint) = case.transaction.input.get(vin).map(|input| input.previous_output) else { return };
    let Ok(Some(coin)) = view.coin(&outpoint) else { return };
    let mut output = coin.output.clone();
    let Some(other) = program.pick(&case.spent) else { return };
    match program.byte() % 5 {
        0 => output.asset = other.asset,
        1 => output.value = other.value,
        2 => output.nonce = other.nonce,
        3 => output.script_pubkey = other.script_pubkey.clone(),
        _ => {
            let mut script = output.script_pubkey.to_bytes();
            program.change(&mut script, other.script_pubkey.as_bytes());
            output.script_pubkey = Script::from(script);
        }
    }
    view.insert(outpoint, Coin { output, ..coin });
}

/// Joins two neighbours and cuts them at another place.
fn cut(program: &mut Program<'_>, left: &[u8], right: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let joined = [left, right].concat();
    let (left, right) = joined.split_at(program.choose(joined.len().saturating_add(1)));
    (left.to_vec(), right.to_vec())
}

/// Gives one thing of a transaction the place of another, or moves a border between two of them.
fn cut_again(program: &mut Program<'_>, transaction: &mut Transaction) {
    let kind = program.byte() % 12;
    let vin = program.choose(transaction.input.len());
    let (one, two) = (program.choose(transaction.output.len()), program.choose(transaction.output.len()));
    let other = transaction.output.get(two).cloned().unwrap_or_default();
    if let (8..=9, Some(input)) = (kind, transaction.input.get_mut(vin)) {
        let mut witness = input.witness.script_witness.to_vec();
        let at = program.choose(witness.len());
        if let Some([left, right]) = witness.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
            (*left, *right) = cut(program, left, right);
        }
        input.witness.script_witness = Witness::from_slice(&witness);
    }
    let Some(output) = transaction.output.get_mut(one) else { return };
    let proofs = output.witness.clone();
    match kind {
        0 => {
            let (proof, script) = cut(program, proofs.rangeproof.as_bytes(), output.script_pubkey.as_bytes());
            output.witness.rangeproof = RangeProof::from(proof);
            output.script_pubkey = Script::from(script);
        }
        1 => {
            let (surjection, range) = cut(program, proofs.surjection_proof.as_bytes(), proofs.rangeproof.as_bytes());
            output.witness.surjection_proof = SurjectionProof::from(surjection);
            output.witness.rangeproof = RangeProof::from(range);
        }
        2 => output.witness.rangeproof = other.witness.rangeproof,
        3 => output.witness.surjection_proof = other.witness.surjection_proof,
        4 => output.value = other.value,
        5 => output.asset = other.asset,
        6 => output.nonce = other.nonce,
        7 => output.script_pubkey = other.script_pubkey,
        8 | 9 => {}
        10 => {
            let mut proof = proofs.rangeproof.as_bytes().to_vec();
            program.change(&mut proof, other.witness.rangeproof.as_bytes());
            output.witness.rangeproof = RangeProof::from(proof);
        }
        _ => transaction.output.swap(one, two),
    }
}

fn judge(transaction: &Transaction, view: &MemoryView) -> Result<Effects, TxError> {
    let context = ground().context();
    let with = |cache: &Everything| verify_transaction_with(&context, transaction, view, Some(cache));
    let verdict = verify_transaction(&context, transaction, view);
    let cold = Everything::default();
    assert_eq!(with(&cold), verdict, "cold");
    assert_eq!(cold.len(), usize::from(verdict.is_ok()), "only success is remembered");
    let before = WARM.len();
    assert_eq!(with(&WARM), verdict, "warm");
    assert!(verdict.is_ok() || WARM.len() == before, "a failure is remembered");
    assert_eq!(with(&WARM), verdict, "warm, again");
    verdict
}
