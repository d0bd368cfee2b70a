#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use elements::encode::serialize_hex;

use super::*;
use crate::fixtures::{key, multisig, params};
use crate::state::{DynafedEntries, MemoryView};

/// The parameters of block 1 with other peg keys, in P2WSH.
fn proposal(fill: u8) -> FullParams {
    let script = multisig(1, &[key(fill, 1), key(fill, 2)]);
    FullParams {
        fedpeg_program: bitcoin::ScriptBuf::from_bytes(script.to_v0_p2wsh().into_bytes()),
        fedpegscript: script.into_bytes(),
        ..params().block_one_params()
    }
}

/// Headers up to and including `last`, each with the entry that the rules ask for and the vote that `vote` casts.
fn headers(params: &ChainParams, last: u32, vote: impl Fn(u32) -> Option<FullParams>) -> MemoryView {
    let mut view = MemoryView::default();
    for height in 1..=last {
        let current = Federation::at(params, &view, height).unwrap().entry();
        let proposed = vote(height).map_or(Params::Null, Params::Full);
        view.set_dynafed(height, DynafedEntries { current, proposed });
    }
    view
}

fn current(params: &ChainParams, view: &MemoryView, height: u32) -> FullParams {
    Federation::at(params, view, height).unwrap().current().clone()
}

#[test]
fn without_votes_the_founding_parameters_stay() {
    let params = params();
    let view = headers(&params, 45, |_| None);
    for height in 1..=45 {
        let federation = Federation::at(&params, &view, height).unwrap();
        assert_eq!(federation, Federation::without_votes(&params, height), "height {height}");
        assert_eq!(federation.current(), &params.block_one_params());
        let full = height == 1 || height % 10 == 0;
        let entry = federation.entry();
        assert_eq!((entry.is_full(), entry.is_compact()), (full, !full), "height {height}");
    }
}

#[test]
fn roots_are_those_of_elements() {
    // From an elementsd with these parameters.
    let full = Federation::without_votes(&params(), 10).entry();
    let compact = Federation::without_votes(&params(), 11).entry();
    let root = "a36f5ef3d52546297f468b5a599f9da977c46fe082ef7b7e2593c9205a21f11f";
    assert_eq!(full.calculate_root().to_string(), root);
    assert_eq!(compact.calculate_root().to_string(), root);
    let elided = "d44a004fb3c0418e231b9cceed0559ab281fcd2d9727de7eee2189f272888761";
    assert_eq!(compact.elided_root().unwrap().to_string(), elided);
}

#[test]
fn the_entry_of_block_one_is_that_of_elements() {
    // The scripts of a chain whose block signing and federation scripts are one key each.
    let script = "512103dff4923d778550cc13ce0d887d737553b4b58f4e8e886507fc39f5e447b2186451ae";
    let script = Script::from(hex::decode(script).unwrap());
    let params = ChainParams {
        signblock_script: script.clone(),
        fedpeg_script: script.clone(),
        start_p2wsh: true,
        ..ChainParams::elements_default("mychain")
    };
    let full = params.block_one_params();
    let hash = hex::encode(script.wscript_hash().to_byte_array());
    assert_eq!(full.signblockscript.as_bytes(), hex::decode(format!("0020{hash}")).unwrap());
    assert_eq!(full.fedpeg_program.to_hex_string(), format!("0020{hash}"));
    let pak = "02fcba7ecf41bc7e1be4ee122d9d22e3333671eb0a3a87b5cdf099d59874e1940f".repeat(2);
    let expected = format!("02220020{hash}4a000000220020{hash}25{script:x}0142{pak}");
    assert_eq!(serialize_hex(&Federation::at(&params, &MemoryView::default(), 1).unwrap().entry()), expected);
    let p2sh = ChainParams { start_p2wsh: false, ..params }.block_one_params().fedpeg_program;
    assert!(p2sh.is_p2sh());
}

#[test]
fn four_fifths_of_an_epoch_change_the_parameters_at_its_end() {
    let params = params();
    for (votes, wins) in [(7, false), (8, true), (10, true)] {
        let view = headers(&params, 40, |height| (20 - votes..20).contains(&height).then(|| proposal(31)));
        for height in 1..=40 {
            let expected = if wins && height >= 20 { proposal(31) } else { params.block_one_params() };
            assert_eq!(current(&params, &view, height), expected, "{votes} votes, height {height}");
        }
    }
}

#[test]
fn the_genesis_block_has_no_vote() {
    let params = params();
    let view = headers(&params, 20, |height| (1..=8).contains(&height).then(|| proposal(31)));
    assert_eq!(current(&params, &view, 9), params.block_one_params());
    assert_eq!(current(&params, &view, 10), proposal(31), "eight of the nine blocks before");
    let view = headers(&params, 20, |height| (1..=7).contains(&height).then(|| proposal(31)));
    assert_eq!(current(&params, &view, 10), params.block_one_params());
}

#[test]
fn votes_for_different_proposals_and_of_different_epochs_do_not_add_up() {
    let params = params();
    let split = headers(&params, 30, |height| Some(proposal(if height % 2 == 0 { 31 } else { 32 })));
    assert_eq!(current(&params, &split, 30), params.block_one_params());
    let across = headers(&params, 30, |height| (16..=24).contains(&height).then(|| proposal(31)));
    assert_eq!(current(&params, &across, 20), params.block_one_params());
    assert_eq!(current(&params, &across, 30), params.block_one_params());
}

#[test]
fn with_short_epochs_the_newest_vote_that_is_enough_wins() {
    // floor(4 * 2 / 5) is one vote of two, floor(4 / 5) none at all; a vote there must still be.
    let two = ChainParams { epoch_length_blocks: 2, ..params() };
    let view = headers(&two, 5, |height| Some(proposal(if height % 2 == 0 { 31 } else { 32 })));
    assert_eq!(current(&two, &view, 4), proposal(32));
    let one = ChainParams { epoch_length_blocks: 1, ..params() };
    let view = headers(&one, 6, |height| (height == 3).then(|| proposal(31)));
    for height in 1..=6 {
        let expected = if height >= 4 { proposal(31) } else { one.block_one_params() };
        assert_eq!(current(&one, &view, height), expected, "height {height}");
    }
}

#[test]
fn deposits_are_claimed_from_the_scripts_of_the_last_epochs() {
    for epochs in 1..=3 {
        let params = ChainParams { total_valid_epochs: epochs, ..params() };
        let view = headers(&params, 60, |height| match height {
            10..=19 => Some(proposal(31)),
            30..=39 => Some(proposal(32)),
            _ => None,
        });
        let of = |full: &FullParams| Fedpeg::of(full);
        let founding = params.block_one_params();
        // The script in force at the start of each epoch.
        let starts = [
            Fedpeg::of_genesis(&params),
            of(&founding),
            of(&proposal(31)),
            of(&proposal(31)),
            of(&proposal(32)),
            of(&proposal(32)),
        ];
        for height in 1..60_u32 {
            let epoch = usize::try_from(height / 10).unwrap();
            let count = usize::try_from(epochs).unwrap().min(epoch + 1);
            let expected: Vec<Fedpeg> = starts[..=epoch].iter().rev().take(count).cloned().collect();
            let federation = Federation::at(&params, &view, height).unwrap();
            assert_eq!(federation.fedpegs(), expected, "{epochs} epochs, height {height}");
        }
    }
}

#[test]
fn a_missing_header_is_no_verdict() {
    let params = params();
    assert!(Federation::at(&params, &MemoryView::default(), 1).is_ok(), "block 1 needs none");
    for height in [2, 10, 12, 20] {
        assert!(Federation::at(&params, &MemoryView::default(), height).is_err(), "height {height}");
    }
    // A short entry where there must be a full one is a damaged state.
    let mut view = headers(&params, 12, |_| None);
    let compact = Federation::without_votes(&params, 11).entry();
    view.set_dynafed(10, DynafedEntries { current: compact, proposed: Params::Null });
    assert!(Federation::at(&params, &view, 12).is_err());
}

/// Headers of an elementsd's chain, whose block signing and federation scripts are `OP_TRUE`, with votes: eight of nine
/// before block 10, seven of ten in the epoch after, eight among others in the next, a tie, and eight again.
const VOTES: &str = include_str!("testdata/votes.txt");

#[test]
fn the_headers_of_an_elementsd_with_votes_are_the_expected_ones() {
    let params = ChainParams { start_p2wsh: true, ..ChainParams::elements_default("votes") };
    let mut view = MemoryView::default();
    let mut changes = Vec::new();
    for (height, line) in (1..).zip(VOTES.lines()) {
        let header: elements::BlockHeader = elements::encode::deserialize(&hex::decode(line).unwrap()).unwrap();
        assert_eq!(header.height, height);
        let federation = Federation::at(&params, &view, height).unwrap();
        let entries = DynafedEntries::of(&header);
        assert_eq!(entries.current, federation.entry(), "height {height}");
        let current = federation.current().signblock_witness_limit;
        if changes.last().is_none_or(|(_, last)| *last != current) {
            changes.push((height, current));
        }
        // The forms of the federation programs that it gave for the block after each, by their first bytes.
        let programs: Vec<_> =
            federation.fedpegs().iter().map(|fedpeg| hex::encode(&fedpeg.program.as_bytes()[..4])).collect();
        let expected: &[&str] = match height {
            1..10 => &["a91472c4"],
            10..20 => &["00204ae8", "a91472c4"],
            20..30 | 60.. => &["00204ae8", "00204ae8"],
            30..40 => &["00208c25", "00204ae8"],
            40..50 => &["00208c25", "00208c25"],
            _ => &["00204ae8", "00208c25"],
        };
        assert_eq!(programs, expected, "height {height}");
        view.set_dynafed(height, entries);
    }
    assert_eq!(changes, [(1, 74), (10, 80), (30, 90), (50, 80)]);
}
