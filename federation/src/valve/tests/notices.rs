//! Halt and resume: the format, who counts, and what is refused.

use std::slice::from_ref;

use aquifer_assets::primitives::{Transaction, TxOut};
use bitcoin::secp256k1::schnorr;
use elements::{LockTime, Script, confidential};

use super::*;
use NoticeKind::{Halt, Resume};

fn coinbase(scripts: &[Script]) -> Transaction {
    let output = |script: &Script| TxOut {
        value: confidential::Value::Explicit(0),
        script_pubkey: script.clone(),
        ..TxOut::default()
    };
    Transaction { version: 2, lock_time: LockTime::ZERO, input: vec![], output: scripts.iter().map(output).collect() }
}

/// Every change of this format must be a new one.
#[test]
fn the_format_is_frozen_and_comes_back() {
    let chain = Chain::new(4, plain(), 0);
    let notice = Notice::sign(&chain.hosts[2], &CHAIN, MemberIndex(2), Resume, 0x0102_0304);
    let script = notice.script();
    assert_eq!(script.len(), 77);
    assert_eq!(hex::encode(&script.as_bytes()[..13]), "6a4b4151483102020004030201");
    assert_eq!(&script.as_bytes()[13..], notice.signature.as_ref());
    assert_eq!(
        hex::encode(notice.signature.as_ref()),
        "c5bfe9e4b7d816ed68b1de649e2a0d69e295349a6812ef9a90c841ec352b2bb7\
         6ab7930104bf0d80544b251faead519717a018d98547812db4c0e6927e62ce74"
    );
    assert_eq!(Notice::from_bytes(&notice.to_bytes()).as_ref(), Some(&notice));
    assert_eq!(Notice::from_bytes(&[notice.to_bytes(), vec![0]].concat()), None);
    assert_eq!(find_notices(&coinbase(&[script])), [Ok(notice)]);
}

#[test]
fn only_whole_notices_are_read() {
    let chain = Chain::new(4, plain(), 0);
    let good = chain.notice(1, Halt);
    let bytes = good.script().to_bytes();
    let change = |position: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[position] = value;
        Script::from(bytes)
    };
    let longer = Script::from([&bytes[..], &[0]].concat());
    let malformed = [
        change(1, 0x4a),
        change(6, 0),
        change(6, 3),
        longer,
        Script::from(bytes[..76].to_vec()),
        Script::from(bytes[..6].to_vec()),
    ];
    for script in malformed {
        let found = find_notices(&coinbase(&[Script::new(), script, good.script()]));
        assert_eq!(found, [Err(NoticeError::Malformed(1)), Ok(good.clone())]);
    }
    let others = [Script::new(), change(0, 0x51), change(2, b'B'), Script::from(bytes[..5].to_vec())];
    assert_eq!(find_notices(&coinbase(&others)), []);
}

#[test]
fn the_signature_covers_everything() {
    let chain = Chain::new(4, plain(), 0);
    let good = chain.notice(1, Halt);
    let valve = &chain.valve;
    assert_eq!(valve.check_notices(from_ref(&good)), Ok(()));
    let mut signature = *good.signature.as_ref();
    signature[40] ^= 1;
    let forged = [
        Notice { signature: schnorr::Signature::from_slice(&signature).unwrap(), ..good.clone() },
        Notice { member: MemberIndex(2), ..good.clone() },
        Notice { seen_height: 0, ..good.clone() },
        Notice::sign(&chain.hosts[1], &[8; 32], MemberIndex(1), Halt, 1),
        Notice::sign(&chain.hosts[2], &CHAIN, MemberIndex(1), Halt, 1),
        Notice { kind: Halt, ..Notice::sign(&chain.hosts[1], &CHAIN, MemberIndex(1), Resume, 1) },
    ];
    for notice in forged {
        assert_eq!(valve.check_notices(from_ref(&notice)), Err(NoticeError::Signature(notice.member)));
        assert_eq!(valve.after_notices(&[notice]), *valve);
    }
}

#[test]
fn what_a_block_may_not_carry_counts_for_nothing() {
    let mut chain = Chain::new(4, plain(), 0);
    chain.block(1, &[], &[]);
    let hosts = chain.hosts.clone();
    let sign = |member: u16, kind, seen_height| {
        Notice::sign(&hosts[usize::from(member)], &CHAIN, MemberIndex(member), kind, seen_height)
    };
    let first = sign(0, Halt, 1);
    chain.block(1, &[], from_ref(&first));
    assert_eq!(chain.valve.height(), 3);
    let stale = |seen_height, least_height| NoticeError::Stale { member: MemberIndex(0), seen_height, least_height };
    let unknown = Notice { member: MemberIndex(4), ..sign(1, Halt, 3) };
    let cases = [
        (unknown, NoticeError::UnknownMember(MemberIndex(4))),
        (sign(1, Halt, 4), NoticeError::Future { member: MemberIndex(1), seen_height: 4, height: 4 }),
        (first, stale(1, 2)),
        (sign(0, Resume, 1), stale(1, 2)),
        (sign(0, Halt, 3), NoticeError::NothingNew { member: MemberIndex(0), kind: Halt }),
        (sign(1, Resume, 3), NoticeError::NothingNew { member: MemberIndex(1), kind: Resume }),
    ];
    for (notice, error) in cases {
        assert_eq!(chain.valve.check_notices(from_ref(&notice)), Err(error));
        // One good notice more would close it.
        let next = chain.valve.after_notices(&[notice]);
        assert_eq!((next.closure(), next.position(MemberIndex(0))), (None, Halt));
    }
    let (one, other) = (sign(0, Resume, 2), sign(0, Resume, 3));
    assert_eq!(chain.valve.check_notices(&[one.clone(), other]), Err(NoticeError::Second(MemberIndex(0))));
    let many = vec![one.clone(); MAX_NOTICES_PER_BLOCK + 1];
    assert_eq!(chain.valve.check_notices(&many), Err(NoticeError::TooMany(21)));

    // Of two of one member the first counts; of too many, the first so many; what is bad does not hide what is good.
    let halt = sign(1, Halt, 2);
    assert!(chain.valve.after_notices(&[halt.clone(), sign(1, Resume, 3)]).closure().is_some());
    for (position, counts) in [(MAX_NOTICES_PER_BLOCK - 1, true), (MAX_NOTICES_PER_BLOCK, false)] {
        let mut crowd = vec![sign(2, Resume, 3); position];
        crowd.push(halt.clone());
        assert_eq!(chain.valve.after_notices(&crowd).closure().is_some(), counts);
    }
}

#[test]
fn n_minus_k_plus_1_close_it_and_k_open_it() {
    for (count, closes, opens) in [(1, 1, 1), (3, 1, 3), (4, 2, 3), (7, 3, 5), (15, 5, 11)] {
        let mut chain = Chain::new(count, plain(), 1_000_000);
        let pending = [request(1, 1_000, 0), request(2, 1_000, 0)];
        chain.block(1, &pending[..1], &[]);
        chain.block(1, &[], &chain.notices(0..closes - 1, Halt));
        assert_eq!(chain.released(&pending[1..]), [2]);
        let last = chain.notice(closes - 1, Halt);
        assert!(chain.valve.after_notices(from_ref(&last)).closure().is_some());
        chain.block(1, &[], &[last]);
        let closure = Closure::Halted { since_height: 4 };
        assert_eq!(chain.valve.closure(), Some(closure));
        assert_eq!(chain.reason(&pending[1..], 2), WaitReason::Closed(closure));
        // Neither a new payment nor a replacement.
        for paid in &pending {
            assert_eq!(chain.valve.check_batch(&pending[1..], &[paid.outpoint]), Err(ValveError::Closed(closure)));
        }
        assert_eq!(chain.valve.position(MemberIndex(0)), Halt);

        // One after the other, in whatever order.
        for member in (count - opens + 1..count).rev() {
            chain.block(1, &[], &[chain.notice(member, Resume)]);
            assert_eq!(chain.valve.closure(), Some(closure));
        }
        chain.block(1, &[], &[chain.notice(count - opens, Resume)]);
        assert_eq!(chain.valve.closure(), None);
        assert_eq!(chain.released(&pending[1..]), [2]);
        assert_eq!(chain.valve.position(MemberIndex(0)), Resume);
    }
}

#[test]
fn a_member_changes_its_mind_either_way() {
    let mut chain = Chain::new(4, plain(), 0);
    chain.block(1, &[], &[chain.notice(0, Halt)]);
    chain.block(1, &[], &[chain.notice(0, Resume)]);
    assert_eq!(chain.valve.position(MemberIndex(0)), Resume);
    chain.block(1, &[], &[chain.notice(1, Halt)]);
    assert_eq!(chain.valve.closure(), None);
    chain.block(1, &[], &[chain.notice(0, Halt)]);
    assert_eq!(chain.valve.closure(), Some(Closure::Halted { since_height: 5 }));
    chain.block(1, &[], &chain.notices(0..2, Resume));
    chain.block(1, &[], &[chain.notice(0, Halt)]);
    chain.block(1, &[], &[chain.notice(2, Resume)]);
    assert!(chain.valve.closure().is_some());
    chain.block(1, &[], &[chain.notice(3, Resume)]);
    assert_eq!(chain.valve.closure(), None);
}

#[test]
fn notices_of_an_earlier_phase_cannot_be_brought_up_again() {
    let mut chain = Chain::new(4, plain(), 0);
    // Signed by members 2 and 3 in the first phase, but never carried by a block.
    let kept = chain.notices(2..4, Halt);
    chain.block(1, &[], &chain.notices(0..2, Halt));
    let kept_resume = chain.notices(1..4, Resume);
    chain.block(1, &[], &[]);
    let used = chain.notices(0..3, Resume);
    chain.block(1, &[], &used);
    assert_eq!(chain.valve.closure(), None);
    let before = chain.valve.clone();
    for old in kept.iter().chain(&used) {
        assert!(chain.valve.check_notices(from_ref(old)).is_err());
        assert_eq!(chain.valve.after_notices(from_ref(old)), before);
    }
    chain.block(1, &[], &kept);
    assert_eq!(chain.valve.closure(), None);
    // Closed again: the resumes of the last time do not open it.
    chain.block(1, &[], &chain.notices(0..2, Halt));
    let closure = chain.valve.closure();
    assert!(closure.is_some());
    for old in [kept_resume, used] {
        chain.block(1, &[], &old);
        assert_eq!(chain.valve.closure(), closure);
    }
}
