//! A member that stops before or after any write that a signature depends on never signs twice, and the chain goes on.
//!
//! The federation runs in one process (see `aquifer_tests::local`), with real stores, keys, blocks and signatures; an
//! auditor hears every message that is ever sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aquifer_federation::consensus::{BlockId, Step, VoteSlot};
use aquifer_federation::roster::MemberIndex;
use aquifer_functionary::chain::ChainError;
use aquifer_functionary::store::signer::SignerStore;
use aquifer_functionary::store::{OpenGate, StoreError, Write};
use aquifer_proto::peer::peer_message::Kind;
use aquifer_tests::forge::Coin;
use aquifer_tests::local::{Audit, LocalFederation, Moment, Post, StopAt, User, wait_until};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const WRITES: [Write; 5] = [Write::Journal, Write::Body, Write::Decided, Write::HeaderSignature, Write::Block];
const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];
const PATIENCE: Duration = Duration::from_secs(60);
const ALL: [u16; 4] = [0, 1, 2, 3];

/// What members log is shown for a test that fails; `RUST_LOG` says how much.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().with_thread_names(true).try_init();
}

/// The blocks of all members agree up to `height`, and nobody has signed twice.
fn assert_sound(federation: &LocalFederation, height: u32, story: &str) {
    for height in 1..=height {
        let hashes: BTreeSet<_> = ALL.iter().map(|member| federation.block_hash(*member, height)).collect();
        assert_eq!(hashes.len(), 1, "{story}: blocks at {height} differ: {hashes:?}");
    }
    let audit = federation.audit();
    let (votes, headers) = audit.heard();
    assert!(votes > 0 && headers > 0, "{story}: the auditor heard nothing");
    assert!(audit.violations().is_empty(), "{story}: {:?}", audit.violations());
}

/// Which occurrence of a write to stop at: somewhere in the middle of height 3 or 4. Journals are written several times
/// a height, and the first block is that of genesis.
fn occurrence(write: Write) -> u32 {
    match write {
        Write::Journal => 17,
        _ => 4,
    }
}

fn assert_stopped(error: &ChainError, write: Write, story: &str) {
    assert!(
        matches!(error, ChainError::Store(StoreError::Stopped(stopped, _)) if *stopped == write),
        "{story}: stopped for another reason: {error}"
    );
}

#[test]
fn a_member_that_stops_at_any_write_comes_back_and_never_signs_twice() -> TestResult {
    show_logs();
    for write in WRITES {
        for moment in MOMENTS {
            let story = format!("member 2 stops {moment:?} {write:?}");
            let mut federation = LocalFederation::new(4, 1)?;
            for member in [0, 1, 3] {
                federation.start(member)?;
            }
            federation.start_with(2, Arc::new(StopAt::new(write, moment, occurrence(write))))?;
            let error = federation.wait_for_end(2, PATIENCE).map_err(|error| format!("{story}: {error}"))?;
            assert_stopped(&error, write, &story);
            let stopped_at = federation.height(0);
            federation.wait_for_height(&[0, 1, 3], stopped_at + 2, PATIENCE).map_err(|e| format!("{story}: {e}"))?;
            federation.start(2)?;
            let goal = federation.height(0) + 6;
            federation.wait_for_height(&ALL, goal, PATIENCE).map_err(|error| format!("{story}: {error}"))?;
            assert_sound(&federation, goal, &story);
        }
    }
    Ok(())
}

#[test]
fn all_members_that_stop_at_the_same_write_go_on_from_there() -> TestResult {
    show_logs();
    for write in WRITES {
        for moment in MOMENTS {
            let story = format!("all members stop {moment:?} {write:?}");
            let mut federation = LocalFederation::new(4, 2)?;
            for member in ALL {
                federation.start_with(member, Arc::new(StopAt::new(write, moment, occurrence(write))))?;
            }
            // Once two have stopped the others cannot go on and may never come to their own point: stop them as well.
            let mut stopped = 0;
            for member in ALL {
                if let Ok(error) = federation.wait_for_end(member, Duration::from_secs(3)) {
                    assert_stopped(&error, write, &story);
                    stopped += 1;
                } else {
                    federation.stop(member).map_err(|error| format!("{story}: {error}"))?;
                }
            }
            assert!(stopped >= 2, "{story}: only {stopped} members came to the point");
            let heights: Vec<u32> = ALL.iter().map(|member| federation.height(*member)).collect();
            for member in ALL {
                federation.start(member)?;
            }
            let goal = heights.iter().max().copied().unwrap_or(0) + 5;
            federation.wait_for_height(&ALL, goal, PATIENCE).map_err(|error| format!("{story}: {error}"))?;
            assert_sound(&federation, goal, &story);
        }
    }
    Ok(())
}

#[test]
fn two_of_four_stop_the_chain_and_one_of_them_brings_it_back() -> TestResult {
    show_logs();
    let mut federation = LocalFederation::new(4, 3)?;
    for member in ALL {
        federation.start(member)?;
    }
    federation.wait_for_height(&ALL, 3, PATIENCE)?;
    federation.stop(2)?;
    federation.stop(3)?;
    let height = federation.height(0).max(federation.height(1));
    // Two cannot decide: whatever was under way is over after the longest time-outs of three rounds.
    std::thread::sleep(Duration::from_secs(3));
    let later = federation.height(0).max(federation.height(1));
    assert!(later <= height + 1, "two members of four went on from {height} to {later}");
    federation.start(2)?;
    federation.wait_for_height(&[0, 1, 2], later + 4, PATIENCE)?;
    federation.start(3)?;
    let goal = federation.height(0) + 3;
    federation.wait_for_height(&ALL, goal, PATIENCE)?;
    assert_sound(&federation, goal, "two of four");
    Ok(())
}

#[test]
fn a_member_restored_from_a_backup_does_not_vote_where_it_voted_before() -> TestResult {
    show_logs();
    let mut federation = LocalFederation::new(4, 4)?;
    for member in ALL {
        federation.start(member)?;
    }
    federation.wait_for_height(&ALL, 3, PATIENCE)?;
    federation.stop(1)?;
    let backup = tempfile::tempdir()?;
    federation.back_up(1, backup.path())?;
    federation.start(1)?;
    let height = federation.height(1) + 4;
    federation.wait_for_height(&ALL, height, PATIENCE)?;
    federation.stop(1)?;
    federation.restore(1, backup.path())?;
    let before = federation.audit().latest(MemberIndex(1));
    federation.start(1)?;
    let goal = federation.height(0) + 6;
    federation.wait_for_height(&ALL, goal, PATIENCE)?;
    assert_sound(&federation, goal, "restored from a backup");
    let after = federation.audit().latest(MemberIndex(1));
    assert!(after > before, "the restored member votes again: {before:?}, {after:?}");
    Ok(())
}

/// The signatures of a peg-out batch: stopped on either side of the write, a member has signed once or not
/// at all, gives the same signature when it is asked again, and refuses another at that height.
#[test]
fn a_signature_is_recorded_once_on_whichever_side_of_the_write_a_member_stops() -> TestResult {
    let (batch, other) = ([7; 32], [8; 32]);
    let signed = |mark: u8| vec![vec![mark; 71]];
    for moment in MOMENTS {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("signer.db");
        let mut signer = SignerStore::open(&path, Arc::new(StopAt::new(Write::BatchSignature, moment, 1)))?;
        let stopped = signer.record_batch(5, batch, signed(1));
        assert!(matches!(stopped, Err(StoreError::Stopped(Write::BatchSignature, _))), "{moment:?}");
        drop(signer);
        let mut signer = SignerStore::open(&path, Arc::new(OpenGate))?;
        assert_eq!(signer.batch(5)?.is_some(), moment == Moment::After, "{moment:?}");
        let first = signer.record_batch(5, batch, signed(2))?;
        assert_eq!(first, signed(if moment == Moment::After { 1 } else { 2 }), "{moment:?}");
        assert_eq!(signer.record_batch(5, batch, signed(3))?, first);
        let refused = signer.record_batch(5, other, signed(4));
        assert!(matches!(refused, Err(StoreError::Inconsistent { .. })), "{moment:?}");
    }
    Ok(())
}

/// Two peg-outs: the batch of the first spends the deposit, that of the second an output of the treasury.
struct Pegouts {
    user: User,
    coin: Coin,
    /// Heights of the blocks with a batch.
    heights: Vec<u32>,
}

impl Pegouts {
    const DEPOSIT_SAT: u64 = 200_000_000;
    const PEGOUT_SAT: u64 = 10_000_000;

    fn begin(federation: &LocalFederation) -> Result<Self, Box<dyn std::error::Error>> {
        let mut user = User::new(9);
        let (claim, coin) = user.peg_in(federation, Self::DEPOSIT_SAT)?;
        federation.submit(&claim)?;
        Ok(Self { user, coin, heights: Vec::new() })
    }

    /// Asks for another peg-out and waits for the block with its batch at some member.
    fn ask(&mut self, federation: &LocalFederation, witness: u16) -> TestResult {
        let (request, change) = self.user.peg_out(federation, &self.coin, Self::PEGOUT_SAT)?;
        federation.submit(&request)?;
        self.coin = change;
        let known = self.heights.len();
        let batches = || federation.batches(witness).unwrap_or_default();
        wait_until(PATIENCE, || batches().len() > known).map_err(|_| format!("no batch {known}"))?;
        self.heights = batches().iter().map(|(height, _)| *height).collect();
        Ok(())
    }

    /// Waits until these members have every batch with all its signatures; the last ones.
    fn wait_signed(&self, federation: &LocalFederation, members: &[u16]) -> Result<Vec<bitcoin::Transaction>, String> {
        let height = self.heights.last().copied().unwrap_or(0);
        let signed = |member: &u16| federation.signed_batch(*member, height).ok().flatten();
        let all = || members.iter().filter_map(signed).collect::<Vec<_>>();
        wait_until(PATIENCE, || all().len() == members.len())
            .map_err(|_| format!("members {members:?}: only {} have the batch of block {height}", all().len()))?;
        Ok(all())
    }

    /// Everybody has the same batches, every request is paid once, and no nonce has signed twice.
    fn assert_paid_once(&self, federation: &LocalFederation, story: &str) -> TestResult {
        let goal = ALL.iter().map(|member| federation.height(*member)).max().unwrap_or(0) + 2;
        federation.wait_for_height(&ALL, goal, PATIENCE).map_err(|error| format!("{story}: {error}"))?;
        assert_sound(federation, goal, story);
        let batches = federation.batches(0)?;
        assert_eq!(batches.len(), 2, "{story}");
        for member in ALL {
            assert_eq!(federation.batches(member)?, batches, "{story}: member {member}");
        }
        let payee = self.user.payee();
        for (_, batch) in &batches {
            let paid = batch.output.iter().filter(|output| output.script_pubkey == payee).count();
            assert_eq!(paid, 1, "{story}: {batch:?}");
        }
        Ok(())
    }
}

/// All that travels for signatures of the treasury key.
fn is_of_a_session(kind: Option<&Kind>) -> bool {
    use Kind::{KeySignatures, SigningAnswer, SigningOffer, SigningRequest};
    matches!(kind, Some(SigningOffer(_) | SigningRequest(_) | SigningAnswer(_) | KeySignatures(_)))
}

fn lose_sessions(federation: &LocalFederation) {
    federation.bus().handle(|_, _, message| match is_of_a_session(message.kind.as_ref()) {
        true => Post::Lose,
        false => Post::Deliver,
    });
}

/// The writes of the batch that spends an output of the treasury, the second of each kind but for the script.
const PEGOUT_WRITES: [(Write, u32); 3] =
    [(Write::BatchSignature, 2), (Write::ScriptSignature, 1), (Write::SignedBatch, 2)];

fn assert_stopped_signing(error: &ChainError, write: Write, story: &str) {
    let expected = format!("{write:?} was stopped");
    assert!(error.to_string().contains(&expected), "{story}: stopped for another reason: {error}");
}

#[test]
fn a_member_that_stops_while_it_signs_a_batch_pays_nothing_twice_and_uses_no_nonce_again() -> TestResult {
    show_logs();
    for (write, occurrence) in PEGOUT_WRITES {
        for moment in MOMENTS {
            let story = format!("member 2 stops {moment:?} {write:?}");
            let told = |error: String| format!("{story}: {error}");
            let mut federation = LocalFederation::new(4, 5)?;
            for member in [0, 1, 3] {
                federation.start(member)?;
            }
            federation.start_with(2, Arc::new(StopAt::new(write, moment, occurrence)))?;
            let mut pegouts = Pegouts::begin(&federation)?;
            pegouts.ask(&federation, 0)?;
            pegouts.wait_signed(&federation, &ALL).map_err(told)?;
            if write == Write::ScriptSignature {
                // Nor does it hear the others sign by script: who has all their signatures need not give its own.
                federation.bus().handle(|_, to, message| match &message.kind {
                    Some(Kind::BatchShare(_)) if to.0 == 2 => Post::Lose,
                    kind if is_of_a_session(kind.as_ref()) => Post::Lose,
                    _ => Post::Deliver,
                });
            }
            pegouts.ask(&federation, 0)?;
            let error = federation.wait_for_end(2, PATIENCE).map_err(told)?;
            assert_stopped_signing(&error, write, &story);
            if write == Write::ScriptSignature {
                lose_sessions(&federation);
            }
            federation.start(2)?;
            let signed = pegouts.wait_signed(&federation, &ALL).map_err(told)?;
            let by_key = signed.iter().all(|batch| batch.input.iter().all(|input| input.witness.len() == 1));
            assert_eq!(by_key, write != Write::ScriptSignature, "{story}: {signed:?}");
            pegouts.assert_paid_once(&federation, &story)?;
        }
    }
    Ok(())
}

#[test]
fn all_members_that_stop_while_they_sign_a_batch_sign_the_same_one_after_it() -> TestResult {
    show_logs();
    for (write, occurrence) in PEGOUT_WRITES {
        for moment in MOMENTS {
            let story = format!("all members stop {moment:?} {write:?}");
            let told = |error: String| format!("{story}: {error}");
            let mut federation = LocalFederation::new(4, 6)?;
            for member in ALL {
                federation.start_with(member, Arc::new(StopAt::new(write, moment, occurrence)))?;
            }
            let mut pegouts = Pegouts::begin(&federation)?;
            pegouts.ask(&federation, 0)?;
            pegouts.wait_signed(&federation, &ALL).map_err(told)?;
            if write == Write::ScriptSignature {
                lose_sessions(&federation);
            }
            pegouts.ask(&federation, 0)?;
            // Once too few are left to sign, the others may never come to their own point: stop them as well.
            let mut stopped = 0;
            for member in ALL {
                if let Ok(error) = federation.wait_for_end(member, Duration::from_secs(5)) {
                    assert_stopped_signing(&error, write, &story);
                    stopped += 1;
                } else {
                    federation.stop(member).map_err(|error| format!("{story}: {error}"))?;
                }
            }
            assert!(stopped >= 2, "{story}: only {stopped} members came to the point");
            federation.bus().deliver_all();
            for member in ALL {
                federation.start(member)?;
            }
            pegouts.wait_signed(&federation, &ALL).map_err(told)?;
            pegouts.assert_paid_once(&federation, &story)?;
        }
    }
    Ok(())
}

#[test]
fn the_auditor_sees_a_double_vote() {
    let mut audit = Audit::default();
    let slot = VoteSlot { height: 7, round: 0, step: Step::Precommit };
    audit.hear_vote(MemberIndex(1), slot, Some(BlockId([1; 32])));
    audit.hear_vote(MemberIndex(1), slot, Some(BlockId([1; 32])));
    audit.hear_vote(MemberIndex(2), slot, None);
    assert!(audit.violations().is_empty());
    audit.hear_vote(MemberIndex(1), slot, None);
    assert_eq!(audit.violations().len(), 1);
}
