#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::chain::Federation;
use crate::fixtures::{key, multisig, params, public};

fn current() -> FullParams {
    params().block_one_params()
}

fn judge(params: &ChainParams, change: impl FnOnce(&mut FullParams)) -> Result<(), ProposalError> {
    let mut proposed = current();
    change(&mut proposed);
    check_proposal(params, &current(), &Params::Full(proposed))
}

fn set_fedpeg(proposed: &mut FullParams, script: Script) {
    proposed.fedpeg_program = bitcoin::ScriptBuf::from_bytes(script.to_v0_p2wsh().into_bytes());
    proposed.fedpegscript = script.into_bytes();
}

#[test]
fn proposals_that_may_be_are_accepted() {
    let params = params();
    assert_eq!(check_proposal(&params, &current(), &Params::Null), Ok(()));
    assert_eq!(judge(&params, |_| ()), Ok(()), "no change");
    assert_eq!(judge(&params, |p| p.signblock_witness_limit = 0), Ok(()));
    assert_eq!(judge(&params, |p| p.signblockscript = multisig(1, &[key(3, 1)]).to_v0_p2wsh()), Ok(()));
    // Any witness version, whatever comes of it.
    assert_eq!(
        judge(&params, |p| p.signblockscript = Script::from([[0x51, 32].as_slice(), &[7; 32]].concat())),
        Ok(())
    );
    assert_eq!(judge(&params, |p| set_fedpeg(p, multisig(1, &[key(3, 1)]))), Ok(()));
    let unchecked = |p: &mut FullParams| {
        p.fedpeg_program = bitcoin::ScriptBuf::from_bytes([[0x51, 32].as_slice(), &[7; 32]].concat());
        p.fedpegscript = vec![OP_DEPTH.into_u8()];
    };
    assert_eq!(judge(&params, unchecked), Ok(()));
    assert_eq!(judge(&params, |p| p.extension_space = vec![vec![1]]), Ok(()), "junk, where nothing is authorized");
}

#[test]
fn proposals_that_may_not_be_are_refused() {
    let params = params();
    let compact = current().into_compact();
    assert_eq!(check_proposal(&params, &current(), &compact), Err(ProposalError::NotFull));
    for script in [Script::new(), multisig(1, &[key(3, 1)]), Script::from(vec![0x00, 1, 1])] {
        assert_eq!(judge(&params, |p| p.signblockscript = script), Err(ProposalError::SignblockScript));
    }
    let p2sh = |p: &mut FullParams| {
        set_fedpeg(p, multisig(1, &[key(3, 1)]));
        p.fedpeg_program = p.fedpeg_program.to_p2sh();
    };
    assert_eq!(judge(&params, p2sh), Err(ProposalError::FedpegProgram));
    assert_eq!(judge(&params, |p| p.fedpegscript.push(0x61)), Err(ProposalError::FedpegMismatch));
    let other_program = |p: &mut FullParams| {
        p.fedpeg_program = bitcoin::ScriptBuf::from_bytes([[0, 20].as_slice(), &[7; 20]].concat());
    };
    assert_eq!(judge(&params, other_program), Err(ProposalError::FedpegMismatch));
    let template = |p: &mut FullParams| set_fedpeg(p, Script::from(vec![OP_DEPTH.into_u8()]));
    assert_eq!(judge(&params, template), Err(ProposalError::FedpegTemplate));
}

#[test]
fn where_peg_outs_are_authorized_the_extension_space_is_a_list_of_keys_or_empty() {
    let params = ChainParams { enforce_pak: true, ..params() };
    let entry = [public(&key(3, 1)).serialize(), public(&key(3, 2)).serialize()].concat();
    let with = |space: Vec<Vec<u8>>| judge(&params, |p| p.extension_space = space);
    assert_eq!(with(vec![entry.clone()]), Ok(()));
    assert_eq!(with(vec![entry.clone(); 255]), Ok(()));
    assert_eq!(with(vec![]), Ok(()));
    assert_eq!(with(vec![entry.clone(); 256]), Err(ProposalError::ExtensionSpace));
    assert_eq!(with(vec![entry[..65].to_vec()]), Err(ProposalError::ExtensionSpace));
    assert_eq!(with(vec![entry, vec![5; 66]]), Err(ProposalError::ExtensionSpace));
}

#[test]
fn the_root_of_a_short_entry_is_not_looked_at() {
    let params = params();
    let expected = Federation::without_votes(&params, 11).entry();
    assert!(is_expected(&expected, &expected));
    let Params::Compact { signblockscript, signblock_witness_limit, .. } = expected.clone() else { unreachable!() };
    let with = |signblockscript: &Script, signblock_witness_limit| {
        let elided_root = elements::dynafed::ElidedRoot::from_byte_array([0xab; 32]);
        let entry = Params::Compact { signblockscript: signblockscript.clone(), signblock_witness_limit, elided_root };
        is_expected(&entry, &expected)
    };
    assert!(with(&signblockscript, signblock_witness_limit));
    assert!(!with(&signblockscript, signblock_witness_limit + 1));
    assert!(!with(&Script::new(), signblock_witness_limit));
    assert!(!is_expected(&Params::Null, &expected));
    assert!(!is_expected(&Params::Full(current()), &expected));
}
