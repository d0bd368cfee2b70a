#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bitcoin::hashes::Hash as _;
use elements::opcodes::all::OP_RETURN;
use elements::script::Builder;
use secp256k1_zkp::{Scalar, SecretKey};

use super::*;
use crate::fixtures::{key, output, params, public};

/// Three who may ask for peg-outs, and the key that the second derives from its offline key.
struct Authorized {
    space: Vec<Vec<u8>>,
    derived: SecretKey,
    proof: Vec<u8>,
}

/// The destination's key is the entry's offline key with a tweak, whose owner shows the sum with the online key.
fn authorized() -> Authorized {
    let offline: Vec<SecretKey> = (1..=3).map(|number| key(41, number)).collect();
    let online: Vec<SecretKey> = (1..=3).map(|number| key(42, number)).collect();
    let publics = |keys: &[SecretKey]| keys.iter().map(public).collect::<Vec<_>>();
    // The destination is a key that the member holds; what it proves is that it knows offline + destination.
    let derived = key(43, 1);
    let summed = offline[1].add_tweak(&Scalar::from(derived)).unwrap();
    let proof = WhitelistSignature::new(
        SECP256K1,
        &publics(&online),
        &publics(&offline),
        &public(&derived),
        &online[1],
        &summed,
        1,
    )
    .unwrap();
    let entry = |index: usize| [public(&offline[index]).serialize(), public(&online[index]).serialize()].concat();
    Authorized { space: (0..3).map(entry).collect(), derived, proof: proof.serialize() }
}

fn destinations(key: &[u8]) -> [Vec<u8>; 3] {
    let hash = hash160::Hash::hash(key).to_byte_array();
    let p2wpkh = [[0, 20].as_slice(), &hash].concat();
    let nested = hash160::Hash::hash(&p2wpkh).to_byte_array();
    [
        [[0x76, 0xa9, 20].as_slice(), &hash, &[0x88, 0xac]].concat(),
        [[0xa9, 20].as_slice(), &nested, &[0x87]].concat(),
        p2wpkh,
    ]
}

fn script(destination: &[u8], pushes: &[&[u8]]) -> Script {
    let genesis = params().parent_genesis.to_byte_array();
    let start = Builder::new().push_opcode(OP_RETURN).push_slice(&genesis).push_slice(destination);
    pushes.iter().fold(start, |script, push| script.push_slice(push)).into_script()
}

fn judge(space: &[Vec<u8>], script: Script) -> Result<(), PakError> {
    let params = params();
    check_authorized(&params, PakList::parse(space).as_ref(), &output(params.pegged_asset(), 5_000, script))
}

#[test]
fn an_authorized_pegout_to_a_single_key_is_accepted() {
    let pak = authorized();
    let key = public(&pak.derived).serialize();
    for destination in destinations(&key) {
        assert_eq!(judge(&pak.space, script(&destination, &[&key, &pak.proof])), Ok(()));
        // A push that is cut off ends the script.
        let mut tail = script(&destination, &[&key, &pak.proof]).into_bytes();
        tail.push(5);
        assert_eq!(judge(&pak.space, Script::from(tail)), Ok(()));
    }
}

#[test]
fn each_way_of_not_being_authorized_has_its_name() {
    let pak = authorized();
    let key = public(&pak.derived).serialize();
    let [p2pkh, ..] = destinations(&key);
    let with = |pushes: &[&[u8]]| judge(&pak.space, script(&p2pkh, pushes));
    assert_eq!(judge(&[], script(&p2pkh, &[&key, &pak.proof])), Err(PakError::NoList));
    assert_eq!(with(&[]), Err(PakError::Key));
    assert_eq!(with(&[&key[1..], &pak.proof]), Err(PakError::Key));
    assert_eq!(with(&[&key]), Err(PakError::ProofMissing));
    assert_eq!(with(&[&key, &[]]), Err(PakError::ProofMissing));
    assert_eq!(with(&[&key, &pak.proof[1..]]), Err(PakError::ProofMissing));
    assert_eq!(with(&[&key, &pak.proof, &[1]]), Err(PakError::Superfluous));
    let mut wrong = pak.proof.clone();
    wrong[40] ^= 1;
    assert_eq!(with(&[&key, &wrong]), Err(PakError::Proof));
    // Over a list of another length, over the same in another order, and by somebody else.
    let shorter = &pak.space[..2];
    assert_eq!(judge(shorter, script(&p2pkh, &[&key, &pak.proof])), Err(PakError::ProofMissing));
    let other: Vec<_> = pak.space.iter().rev().cloned().collect();
    assert_eq!(judge(&other, script(&p2pkh, &[&key, &pak.proof])), Err(PakError::Proof));
    let stranger = public(&crate::fixtures::key(44, 1)).serialize();
    let [theirs, ..] = destinations(&stranger);
    assert_eq!(judge(&pak.space, script(&theirs, &[&stranger, &pak.proof])), Err(PakError::Proof));
    assert_eq!(judge(&pak.space, script(&theirs, &[&key, &pak.proof])), Err(PakError::Destination));
    // Nor to a script, nor to nowhere.
    let p2wsh = [[0, 32].as_slice(), &[7; 32]].concat();
    assert_eq!(judge(&pak.space, script(&p2wsh, &[&key, &pak.proof])), Err(PakError::Destination));
    assert_eq!(judge(&pak.space, script(&[], &[&key, &pak.proof])), Err(PakError::Destination));
}

#[test]
fn what_is_no_pegout_of_the_pegged_asset_needs_no_authorization() {
    let params = params();
    let [p2pkh, ..] = destinations(&public(&key(43, 1)).serialize());
    let pegout = script(&p2pkh, &[]);
    let check = |output: &TxOut| check_authorized(&params, None, output);
    let mut other = output(elements::AssetId::from_byte_array([1; 32]), 5, pegout.clone());
    assert_eq!(check(&other), Ok(()));
    other.asset = elements::confidential::Asset::Null;
    assert_eq!(check(&other), Ok(()));
    assert_eq!(check(&output(params.pegged_asset(), 5, Script::new_op_return(&[1; 32]))), Ok(()));
    let elsewhere = Builder::new().push_opcode(OP_RETURN).push_slice(&[9; 32]).push_slice(&p2pkh).into_script();
    assert_eq!(check(&output(params.pegged_asset(), 5, elsewhere)), Ok(()));
    // Hidden amounts too, but not hidden amounts only.
    assert_eq!(check(&output(params.pegged_asset(), 0, pegout)), Err(PakError::NoList));
}
