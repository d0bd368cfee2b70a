//! An honest claim of a deposit is accepted, and each way of lying about one is refused by its own name.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use elements::dynafed::{FullParams, Params};
use elements::{AssetId, PeginData, PeginWitness, Script};

use super::*;
use crate::chain::{ChainParams, Federation};
use crate::fixtures::{Deposit, key, multisig, params, parent_block, user_script};
use crate::primitives::{Transaction, Witness};
use crate::state::{DynafedEntries, MemoryView, PeginClaim};

const HEIGHT: u32 = 12;
const AMOUNT_SAT: u64 = 50_000;

fn claim_script() -> Script {
    user_script(&key(21, 1))
}

fn deposit_at(height: u32) -> Deposit {
    let programs = deposit_programs(&params(), height, &claim_script()).unwrap();
    Deposit::new(&programs[0], AMOUNT_SAT)
}

fn check(params: &ChainParams, height: u32, tx: &Transaction) -> Result<PeginClaim, PegError> {
    check_pegin(params, &Federation::without_votes(params, height), tx, 0)
}

/// The refusal of an honest claim after a change to its witness.
fn refusal(change: impl FnOnce(&mut PeginData)) -> PegError {
    check(&params(), HEIGHT, &changed(&deposit_at(HEIGHT), change)).unwrap_err()
}

/// A proof like the honest one, after a change to the header.
fn with_header(deposit: &Deposit, change: impl FnOnce(&mut bitcoin::block::Header)) -> Vec<u8> {
    let txid = deposit.tx.compute_txid();
    let mut proof = bitcoin::MerkleBlock::from_block_with_predicate(&deposit.block, |other| *other == txid);
    change(&mut proof.header);
    serialize(&proof)
}

#[test]
fn an_honest_claim_is_accepted_with_what_it_claims() {
    let deposit = deposit_at(HEIGHT);
    let tx = deposit.claim(&params(), &key(21, 1), 100);
    let claim = check(&params(), HEIGHT, &tx).unwrap();
    let program = deposit_programs(&params(), HEIGHT, &claim_script()).unwrap().remove(0);
    let expected = PeginClaim {
        deposit: deposit.outpoint(),
        amount_sat: AMOUNT_SAT,
        claim_script: claim_script(),
        parent_block: deposit.block.block_hash(),
        witness_script: program.witness_script,
        deposit_script: program.script_pubkey,
        claim_txid: tx.txid(),
    };
    assert_eq!(claim, expected);
    // And after a round over the wire.
    let bytes = elements::encode::serialize(&tx);
    let read = Transaction::decode(bytes).unwrap();
    assert_eq!(check(&params(), HEIGHT, &read).unwrap(), expected);
}

#[test]
fn the_form_of_the_deposit_depends_on_the_epoch() {
    let (first, later) = (deposit_at(1), deposit_at(HEIGHT));
    assert!(first.tx.output[1].script_pubkey.is_p2sh() && later.tx.output[1].script_pubkey.is_p2wsh());
    let claim =
        |deposit: &Deposit, height| check(&params(), height, &deposit.claim(&params(), &key(21, 1), 100)).map(|_| ());
    for height in [1, 9, 10, 19] {
        assert_eq!(claim(&first, height), Ok(()), "height {height}");
    }
    assert_eq!(claim(&first, 20), Err(PegError::Destination(first.tx.output[1].script_pubkey.clone())));
    assert_eq!(claim(&later, 9), Err(PegError::Destination(later.tx.output[1].script_pubkey.clone())));
    for height in [10, 19, 20, 500] {
        assert_eq!(claim(&later, height), Ok(()), "height {height}");
    }
}

#[test]
fn inputs_that_claim_nothing_are_refused() {
    let mut tx = deposit_at(HEIGHT).claim(&params(), &key(21, 1), 100);
    let params = params();
    let federation = Federation::without_votes(&params, HEIGHT);
    assert_eq!(check_pegin(&params, &federation, &tx, 1), Err(PegError::NotPegin(1)));
    tx.input[0].witness.pegin_witness = Witness::EMPTY;
    assert_eq!(check_pegin(&params, &federation, &tx, 0), Err(PegError::WitnessMissing));
    tx.input[0].is_pegin = false;
    assert_eq!(check_pegin(&params, &federation, &tx, 0), Err(PegError::NotPegin(0)));
}

#[test]
fn wrong_values_are_refused() {
    assert_eq!(refusal(|data| data.value = 0), PegError::Value(0));
    assert_eq!(refusal(|data| data.value = 2_100_000_000_000_001), PegError::Value(2_100_000_000_000_001));
    for claimed_sat in [AMOUNT_SAT - 1, AMOUNT_SAT + 1] {
        let expected = PegError::Amount { claimed_sat, deposit_sat: AMOUNT_SAT };
        assert_eq!(refusal(|data| data.value = claimed_sat), expected);
    }
}

#[test]
fn other_assets_and_foreign_chains_are_refused() {
    let other = AssetId::from_byte_array([3; 32]);
    assert_eq!(refusal(|data| data.asset_id = other), PegError::Asset(other));
    let mainnet = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash();
    assert_eq!(refusal(|data| data.genesis_hash = mainnet), PegError::ParentGenesis(mainnet));
}

#[test]
fn another_claim_script_does_not_get_the_deposit() {
    let thief = bitcoin::ScriptBuf::from_bytes(user_script(&key(21, 2)).to_bytes());
    assert!(matches!(refusal(|data| data.claim_script = thief), PegError::Destination(_)));
    let long = bitcoin::ScriptBuf::from_bytes(vec![0x51; 101]);
    assert_eq!(refusal(|data| data.claim_script = long), PegError::ClaimScriptSize(101));
    let longest = bitcoin::ScriptBuf::from_bytes(vec![0x51; 100]);
    assert!(matches!(refusal(|data| data.claim_script = longest), PegError::Destination(_)));
}

#[test]
fn parent_transactions_must_be_exactly_the_claimed_one() {
    let error = refusal(|data| data.transaction.push(0));
    assert!(matches!(error, PegError::Transaction(_)), "{error}");
    let error = refusal(|data| {
        data.transaction.pop();
    });
    assert!(matches!(error, PegError::Transaction(_)), "{error}");
    let error = refusal(|data| data.transaction.clear());
    assert!(matches!(error, PegError::Transaction(_)), "{error}");
    let mut other = deposit_at(HEIGHT).tx;
    other.output[1].value = bitcoin::Amount::from_sat(AMOUNT_SAT * 1000);
    let found = other.compute_txid();
    let error = refusal(|data| data.transaction = serialize(&other));
    assert_eq!(error, PegError::TransactionId { found, claimed: deposit_at(HEIGHT).tx.compute_txid() });
}

#[test]
fn the_claimed_output_must_exist_and_pay_the_federation() {
    let mut deposit = deposit_at(HEIGHT);
    // Output 0 of the transaction pays somebody else.
    deposit.vout = 0;
    let tx = deposit.claim(&params(), &key(21, 1), 0);
    let expected = PegError::Destination(deposit.tx.output[0].script_pubkey.clone());
    assert_eq!(check(&params(), HEIGHT, &tx), Err(expected));
    deposit.vout = 1;
    let mut tx = deposit.claim(&params(), &key(21, 1), 0);
    tx.input[0].previous_output.vout = 2;
    assert_eq!(check(&params(), HEIGHT, &tx), Err(PegError::Output(2)));
}

#[test]
fn proofs_must_be_well_formed_and_lead_to_the_root() {
    let error = refusal(|data| data.merkle_proof.push(0));
    assert!(matches!(error, PegError::ProofMalformed(_)), "{error}");
    let error = refusal(|data| data.merkle_proof.truncate(80));
    assert!(matches!(error, PegError::ProofMalformed(_)), "{error}");
    let error = refusal(|data| data.merkle_proof[40] ^= 1);
    assert!(matches!(error, PegError::ProofInvalid(_)), "{error}");
    let another_block = parent_block(deposit_at(1).block.txdata);
    let error = refusal(|data| {
        let proof = bitcoin::MerkleBlock::from_block_with_predicate(&another_block, |_| true);
        let mut bytes = serialize(&another_block.header);
        bytes.extend(&serialize(&proof)[80..]);
        bytes[36..68].copy_from_slice(&deposit_at(HEIGHT).block.header.merkle_root.to_byte_array());
        data.merkle_proof = bytes;
    });
    assert!(matches!(error, PegError::ProofInvalid(_)), "{error}");
}

#[test]
fn proofs_must_be_of_the_one_transaction() {
    let deposit = deposit_at(HEIGHT);
    let claimed = deposit.tx.compute_txid();
    let found = deposit.block.txdata[0].compute_txid();
    let error = refusal(|data| data.merkle_proof = deposit.proof(|txid| *txid == found));
    assert_eq!(error, PegError::ProofTransaction { found, claimed });
    assert_eq!(refusal(|data| data.merkle_proof = deposit.proof(|_| true)), PegError::ProofMatches(3));
    assert_eq!(refusal(|data| data.merkle_proof = deposit.proof(|_| false)), PegError::ProofMatches(0));
}

#[test]
fn the_parent_block_must_have_its_work() {
    let deposit = deposit_at(HEIGHT);
    let lazy = with_header(&deposit, |header| {
        while header.validate_pow(header.target()).is_ok() {
            header.nonce += 1;
        }
    });
    let error = refusal(|data| data.merkle_proof = lazy);
    assert!(matches!(error, PegError::ParentWork(_)), "{error}");
    // Negative, zero, and too large for a number.
    for bits in [0x2080_ffff, 0x2000_0000, 0x2300_ffff, 0x2200_017f, 0xff12_3456] {
        let odd = with_header(&deposit, |header| header.bits = bitcoin::CompactTarget::from_consensus(bits));
        let error = refusal(|data| data.merkle_proof = odd);
        assert!(matches!(error, PegError::ParentTarget(_)), "{bits:#x}: {error}");
    }
}

/// An honest claim after a change to its witness.
fn changed(deposit: &Deposit, change: impl FnOnce(&mut PeginData)) -> Transaction {
    let mut tx = deposit.claim(&params(), &key(21, 1), 100);
    let bytes = elements::encode::serialize(&tx.input[0].witness.pegin_witness);
    let mut data = elements::encode::deserialize::<PeginWitness>(&bytes).unwrap().into_data().unwrap();
    change(&mut data);
    tx.input[0].witness.pegin_witness = Witness::from(&PeginWitness::new(data));
    tx
}

#[test]
fn a_target_may_be_written_in_another_form_than_the_canonical_one() {
    let deposit = deposit_at(HEIGHT);
    let odd = with_header(&deposit, |header| {
        header.bits = bitcoin::CompactTarget::from_consensus(0x2100_007f);
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
    });
    check(&params(), HEIGHT, &changed(&deposit, |data| data.merkle_proof = odd)).unwrap();
}

#[test]
fn a_parent_transaction_may_carry_a_witness_that_members_do_not_sign() {
    let deposit = deposit_at(HEIGHT);
    let mut witnessed = deposit.tx.clone();
    witnessed.input[0].witness.push([1, 2, 3]);
    let tx = changed(&deposit, |data| data.transaction = serialize(&witnessed));
    check(&params(), HEIGHT, &tx).unwrap();
    let policy = crate::transaction::check_federation_policy(&params(), &tx);
    let expected = crate::transaction::TxError::Pegin { vin: 0, source: PegError::TransactionWitness };
    assert_eq!(policy, Err(expected));
    let honest = deposit.claim(&params(), &key(21, 1), 100);
    assert_eq!(crate::transaction::check_federation_policy(&params(), &honest), Ok(()));
}

/// The federation of height 25 after a vote in the epoch before, for `proposed`.
fn after_a_vote(proposed: &FullParams) -> Federation {
    let params = params();
    let mut view = MemoryView::default();
    for height in 1..25 {
        let current = Federation::at(&params, &view, height).unwrap().entry();
        let proposed = if height < 10 { Params::Null } else { Params::Full(proposed.clone()) };
        view.set_dynafed(height, DynafedEntries { current, proposed });
    }
    Federation::at(&params, &view, 25).unwrap()
}

#[test]
fn deposits_to_the_old_and_the_new_federation_are_claimed_after_a_vote() {
    let params = params();
    let script = multisig(1, &[key(31, 1)]);
    let new = FullParams {
        fedpeg_program: bitcoin::ScriptBuf::from_bytes(script.to_v0_p2wsh().into_bytes()),
        fedpegscript: script.to_bytes(),
        ..params.block_one_params()
    };
    let federation = after_a_vote(&new);
    let programs = federation.deposit_programs(&claim_script()).unwrap();
    let scripts: Vec<_> = programs.iter().map(|program| program.witness_script.clone()).collect();
    let tweaked = |script: &Script| tweak_fedpeg(script, &claim_script()).unwrap();
    assert_eq!(scripts, [tweaked(&script), tweaked(&params.fedpeg_script)]);
    for program in &programs {
        let tx = Deposit::new(program, AMOUNT_SAT).claim(&params, &key(21, 1), 100);
        let claim = check_pegin(&params, &federation, &tx, 0).unwrap();
        assert_eq!(claim.witness_script, program.witness_script);
    }
    let outdated = deposit_at(1).claim(&params, &key(21, 1), 100);
    assert!(matches!(check_pegin(&params, &federation, &outdated, 0), Err(PegError::Destination(_))));
}

#[test]
fn under_a_federation_program_of_a_later_version_every_output_is_a_deposit() {
    let params = params();
    let program = bitcoin::ScriptBuf::from_bytes([[0x51, 32].as_slice(), &[7; 32]].concat());
    let federation = after_a_vote(&FullParams { fedpeg_program: program, ..params.block_one_params() });
    let mut deposit = deposit_at(1);
    deposit.vout = 0;
    let claim = check_pegin(&params, &federation, &deposit.claim(&params, &key(21, 1), 0), 0).unwrap();
    assert_eq!((claim.witness_script.len(), claim.deposit_script.to_bytes()), (0, vec![0x52]));
    assert_eq!(federation.deposit_programs(&claim_script()).unwrap().len(), 1, "that of the epoch before");
}

#[test]
fn the_parent_block_must_meet_the_limit_of_the_chain() {
    let mut strict = params();
    strict.parent_pow_limit[0] = 0x7e;
    let tx = deposit_at(HEIGHT).claim(&params(), &key(21, 1), 100);
    assert!(matches!(check(&strict, HEIGHT, &tx), Err(PegError::ParentTarget(_))));
    let mut mainnet = params();
    mainnet.parent_pow_limit = bitcoin::Target::MAX.to_be_bytes();
    assert!(matches!(check(&mainnet, HEIGHT, &tx), Err(PegError::ParentTarget(_))));
}

#[test]
fn a_witness_needs_a_proof_with_a_header() {
    let error = pegin_witness(&params(), &claim_script(), 1, &[], &[0; 79]).unwrap_err();
    assert!(matches!(error, PegError::WitnessMalformed(_)), "{error}");
}
