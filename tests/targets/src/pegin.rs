//! Peg-in witnesses: nothing panics, and a real deposit can be claimed by its owner and for its amount only.

use aquifer_assets::chain::Federation;
use aquifer_assets::peg::{PegError, check_pegin};
use aquifer_assets::primitives::Transaction;
use aquifer_assets::state::PeginClaim;

use crate::ground::ground;
use crate::program::Program;
use crate::wire;

/// Takes a program that changes the claim of a deposit of the ground.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    let claims: Vec<&Transaction> = ground()
        .cases
        .iter()
        .map(|case| &case.transaction)
        .filter(|child| child.input.iter().any(|input| input.is_pegin))
        .collect();
    let Some(mut transaction) = program.pick(&claims).map(|child| (*child).clone()) else { return };
    let Some(vin) = transaction.input.iter().position(|input| input.is_pegin) else { return };
    let Ok(honest) = check(&transaction, vin) else { return };
    let Some(input) = transaction.input.get_mut(vin) else { return };
    let Some(mut items) = wire::pegin_items(input) else { return };
    let [.., proof] = &items;
    let proof = proof.clone();
    let changes = program.byte();
    if changes & 1 != 0 {
        input.previous_output.vout = program.number();
    }
    let item = program.choose(items.len());
    if let Some(item) = items.get_mut(item) {
        if changes & 2 == 0 { program.change(item, &proof) } else { *item = program.take_rest().to_vec() }
    }
    wire::set_pegin_items(input, &items);
    let outpoint = input.previous_output;
    if let Ok(claim) = check(&transaction, vin) {
        assert_eq!((claim.deposit.vout, claim.deposit.txid), (outpoint.vout, honest.deposit.txid), "another deposit");
        assert_eq!(claim.deposit, honest.deposit, "no output but one pays the federation");
        assert_eq!(claim.amount_sat, honest.amount_sat, "amount");
        assert_eq!(claim.claim_script, honest.claim_script, "somebody else claims it");
        assert_eq!(
            (claim.witness_script, claim.deposit_script),
            (honest.witness_script, honest.deposit_script),
            "the deposit could not be spent"
        );
    }
}

fn check(transaction: &Transaction, vin: usize) -> Result<PeginClaim, PegError> {
    let ground = ground();
    let federation = Federation::without_votes(&ground.params, ground.context().height);
    let verdict = check_pegin(&ground.params, &federation, transaction, vin);
    assert_eq!(check_pegin(&ground.params, &federation, transaction, vin), verdict, "another verdict");
    verdict
}
