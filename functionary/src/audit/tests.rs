//! Which verdicts let a batch pass, and which stop all batches.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::{Keypair, SECP256K1, SecretKey};
use elements::BlockHash;

use super::*;
use crate::config::AuditConfig;
use crate::store::StoreError;

const GENESIS: [u8; 32] = [9; 32];

/// A chain that grows by hand.
#[derive(Default)]
struct Blocks(Mutex<BTreeMap<u32, BlockHash>>);

impl FinalBlocks for Blocks {
    fn final_block(&self, height: u32) -> Result<Option<BlockHash>, StoreError> {
        Ok(self.0.lock().unwrap().get(&height).copied())
    }
}

fn block(tag: u8) -> BlockHash {
    BlockHash::from_byte_array([tag; 32])
}

fn key(tag: u8) -> Keypair {
    SecretKey::from_slice(&[tag; 32]).unwrap().keypair(SECP256K1)
}

struct Story {
    folder: tempfile::TempDir,
    blocks: Arc<Blocks>,
    alarms: Arc<Mutex<Vec<u32>>>,
    config: AuditConfig,
    desk: AuditDesk,
}

impl Story {
    /// A member at height 5 that listens to the auditors 1 and 2.
    fn new(required: usize) -> Self {
        let keys = [1, 2].map(|tag| key(tag).x_only_public_key().0).to_vec();
        let config = AuditConfig { keys, required };
        let (folder, blocks, alarms) = (tempfile::tempdir().unwrap(), Arc::new(Blocks::default()), Arc::default());
        let desk = open(&folder, &config, &blocks, &alarms);
        let story = Self { folder, blocks, alarms, config, desk };
        (1..=5).for_each(|height| story.extend(height));
        story
    }

    /// The block at each height has its height as its hash.
    fn extend(&self, height: u8) {
        self.blocks.0.lock().unwrap().insert(height.into(), block(height));
    }

    fn restart(self) -> Self {
        let Self { folder, blocks, alarms, config, desk } = self;
        drop(desk);
        let desk = open(&folder, &config, &blocks, &alarms);
        Self { folder, blocks, alarms, config, desk }
    }

    fn says(&self, auditor: u8, height: u8, hash: BlockHash, verdict: Verdict) -> Result<(), ReportError> {
        self.desk.report(signed(auditor, height, hash, verdict))
    }

    fn passes(&self, auditor: u8, height: u8) {
        self.says(auditor, height, block(height), Verdict::Passed).unwrap();
    }

    fn hold(&self, height: u32) -> Option<Hold> {
        self.desk.hold(height).unwrap()
    }

    fn waits(&self, height: u32) -> bool {
        matches!(self.hold(height), Some(Hold::Waits(_)))
    }

    fn stopped_from(&self) -> Option<u32> {
        match self.hold(1) {
            Some(Hold::Stopped { from_height, .. }) => Some(from_height),
            _ => None,
        }
    }
}

fn open(
    folder: &tempfile::TempDir,
    config: &AuditConfig,
    blocks: &Arc<Blocks>,
    alarms: &Arc<Mutex<Vec<u32>>>,
) -> AuditDesk {
    let store = AuditStore::open(&folder.path().join("audit.db")).unwrap();
    let (blocks, alarms) = (Arc::clone(blocks), Arc::clone(alarms));
    let on_refusal = Box::new(move |objection: &SignedVerdict| alarms.lock().unwrap().push(objection.height));
    AuditDesk::new(config, BlockHash::from_byte_array(GENESIS), store, blocks, on_refusal).unwrap()
}

fn signed(auditor: u8, height: u8, hash: BlockHash, verdict: Verdict) -> SignedVerdict {
    let genesis = BlockHash::from_byte_array(GENESIS);
    SignedVerdict::sign(&key(auditor), genesis, height.into(), hash, verdict, String::new())
}

#[test]
fn a_batch_waits_until_its_block_or_a_later_one_is_passed() {
    let story = Story::new(1);
    assert!(story.waits(3));
    story.passes(1, 2);
    assert!(story.waits(3));
    story.passes(1, 3);
    assert_eq!(story.hold(3), None);
    assert!(story.waits(4));
    story.passes(1, 5);
    assert_eq!(story.hold(4), None);
    // What an auditor has passed stays passed, even if an old report comes late.
    story.passes(1, 1);
    assert_eq!(story.hold(5), None);
}

#[test]
fn as_many_auditors_as_required_must_pass() {
    let story = Story::new(2);
    story.passes(1, 5);
    story.passes(1, 5);
    assert!(story.waits(5), "one auditor counts once");
    story.passes(2, 5);
    assert_eq!(story.hold(5), None);
    let open = Story::new(0);
    assert_eq!(open.hold(5), None);
    let impossible = Story::new(3);
    impossible.passes(1, 5);
    impossible.passes(2, 5);
    assert!(impossible.waits(5));
}

#[test]
fn passes_are_asked_for_again_after_a_restart() {
    let story = Story::new(1);
    story.passes(1, 5);
    let story = story.restart();
    assert!(story.waits(5));
    story.passes(1, 5);
    assert_eq!(story.hold(5), None);
}

#[test]
fn a_pass_ahead_of_this_member_counts_when_it_gets_there() {
    let story = Story::new(1);
    story.passes(1, 7);
    assert!(story.waits(5));
    story.extend(6);
    assert!(story.waits(5));
    story.extend(7);
    assert_eq!(story.hold(5), None);
    // However many come early, those that can be compared first are kept.
    let story = Story::new(1);
    (6..200).for_each(|height| story.passes(1, height));
    (6..10).for_each(|height| story.extend(height));
    assert_eq!(story.hold(9), None);
}

#[test]
fn a_refusal_stops_all_batches_for_good() {
    let story = Story::new(1);
    story.passes(1, 5);
    story.passes(2, 5);
    story.says(2, 4, block(4), Verdict::Refused).unwrap();
    assert_eq!(story.stopped_from(), Some(4));
    // Neither another auditor, nor the same one, nor a restart lifts it.
    story.passes(1, 5);
    story.passes(2, 5);
    assert_eq!(story.stopped_from(), Some(4));
    let story = story.restart();
    story.passes(1, 5);
    assert_eq!(story.stopped_from(), Some(4));
    assert_eq!(*story.alarms.lock().unwrap(), [4, 4], "one alarm when it comes, one after the restart");
    // The operator can.
    let Story { folder, blocks, alarms, config, desk } = story;
    drop(desk);
    let auditor = key(2).x_only_public_key().0;
    assert!(AuditStore::open(&folder.path().join("audit.db")).unwrap().dismiss(&auditor).unwrap());
    let desk = open(&folder, &config, &blocks, &alarms);
    let story = Story { folder, blocks, alarms, config, desk };
    assert!(story.waits(5));
    story.passes(1, 5);
    assert_eq!(story.hold(5), None);
}

#[test]
fn a_refusal_counts_where_no_audit_is_required() {
    let story = Story::new(0);
    story.says(1, 5, block(5), Verdict::Refused).unwrap();
    assert_eq!(story.stopped_from(), Some(5));
}

#[test]
fn a_pass_of_another_block_is_an_objection() {
    let story = Story::new(1);
    story.says(1, 5, block(77), Verdict::Passed).unwrap();
    assert_eq!(story.stopped_from(), Some(5));
    let story = Story::new(1);
    story.says(1, 6, block(77), Verdict::Passed).unwrap();
    assert!(story.waits(5), "nobody can tell yet");
    story.extend(6);
    assert_eq!(story.stopped_from(), Some(6));
    assert_eq!(*story.alarms.lock().unwrap(), [6]);
}

#[test]
fn verdicts_of_strangers_and_forged_ones_are_not_taken() {
    let story = Story::new(1);
    let stranger = story.says(3, 5, block(5), Verdict::Refused);
    assert!(matches!(stranger, Err(ReportError::Unlisted(_))));
    let genuine = signed(1, 5, block(5), Verdict::Passed);
    let changes: [fn(&mut SignedVerdict); 4] = [
        |forged| forged.height = 4,
        |forged| forged.block = block(4),
        |forged| forged.verdict = Verdict::Refused,
        |forged| forged.key = key(2).x_only_public_key().0,
    ];
    for change in changes {
        let mut forged = genuine.clone();
        change(&mut forged);
        assert!(matches!(story.desk.report(forged), Err(ReportError::Verdict(VerdictError::Signature { .. }))));
    }
    let foreign = SignedVerdict::sign(&key(1), block(1), 5, block(5), Verdict::Passed, String::new());
    assert!(matches!(story.desk.report(foreign), Err(ReportError::OtherChain { .. })));
    assert!(story.waits(5));
    assert!(story.alarms.lock().unwrap().is_empty());
}

#[test]
fn a_verdict_survives_its_message() {
    let verdict = signed(1, 5, block(5), Verdict::Refused);
    let message = verdict.to_message();
    assert_eq!(SignedVerdict::from_message(&message), Ok(verdict));
    let changes: [fn(&mut aquifer_proto::audit::SignedVerdict); 6] = [
        |message| message.key = vec![1; 31].into(),
        |message| message.genesis_hash = vec![1; 33].into(),
        |message| message.block_hash = vec![].into(),
        |message| message.kind = 0,
        |message| message.signature = vec![1; 63].into(),
        |message| message.reason = "x".repeat(5_000),
    ];
    for change in changes {
        let mut malformed = message.clone();
        change(&mut malformed);
        assert!(matches!(SignedVerdict::from_message(&malformed), Err(VerdictError::Malformed(_))));
    }
}
