//! The treasury key signs although members are silent, lie or are restarted, and its script takes over when it does not.
//!
//! Whole federations in one process, with the real session host over a network in memory: what members send is lost or
//! changed on the way, which is all that anybody sees of a member that is silent or lies.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aquifer_federation::roster::MemberIndex;
use aquifer_proto::peer::peer_message::Kind;
use aquifer_proto::peer::{PeerMessage, SigningAnswer};
use aquifer_tests::forge::Coin;
use aquifer_tests::local::{LocalFederation, Post, User, wait_until};
use bitcoin::Transaction;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const DEPOSIT_SAT: u64 = 200_000_000;
const PEGOUT_SAT: u64 = 10_000_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// What members log is shown for a test that fails; `RUST_LOG` says how much.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().with_thread_names(true).try_init();
}

/// A federation whose treasury holds an output of its own.
struct Story {
    federation: LocalFederation,
    members: Vec<u16>,
    user: User,
    coin: Coin,
    batches: usize,
}

impl Story {
    fn begin(count: u16, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        show_logs();
        let mut federation = LocalFederation::new(count, seed)?;
        let members: Vec<u16> = (0..count).collect();
        for member in &members {
            federation.start(*member)?;
        }
        let mut user = User::new(seed);
        let (claim, coin) = user.peg_in(&federation, DEPOSIT_SAT)?;
        federation.submit(&claim)?;
        let mut story = Self { federation, members, user, coin, batches: 0 };
        let height = story.peg_out()?;
        for deposits in story.wait_signed(height)? {
            assert!(deposits.input.iter().all(|input| input.witness.len() > 2), "{deposits:?}");
        }
        Ok(story)
    }

    /// Asks for a peg-out, and waits for the block with its batch; its height.
    fn peg_out(&mut self) -> Result<u32, Box<dyn std::error::Error>> {
        let (request, change) = self.user.peg_out(&self.federation, &self.coin, PEGOUT_SAT)?;
        self.federation.submit(&request)?;
        self.coin = change;
        let known = self.batches;
        let batches = || self.federation.batches(0).unwrap_or_default();
        wait_until(PATIENCE, || batches().len() > known).map_err(|_| format!("no batch {known}"))?;
        self.batches = known + 1;
        let (height, _) = batches().get(known).cloned().ok_or("the batch is gone")?;
        Ok(height)
    }

    /// Waits until every member has the batch of a block with all its signatures.
    fn wait_signed(&self, height: u32) -> Result<Vec<Transaction>, String> {
        let signed = |member: &u16| self.federation.signed_batch(*member, height).ok().flatten();
        let all = || self.members.iter().filter_map(signed).collect::<Vec<_>>();
        wait_until(PATIENCE, || all().len() == self.members.len())
            .map_err(|_| format!("only {} of {} have the batch of {height}", all().len(), self.members.len()))?;
        Ok(all())
    }

    /// Every member has the batch by one signature of the treasury key.
    fn assert_signed_by_key(&self, height: u32) -> TestResult {
        for batch in self.wait_signed(height)? {
            let witnesses: Vec<Vec<usize>> =
                batch.input.iter().map(|input| input.witness.iter().map(<[u8]>::len).collect()).collect();
            assert_eq!(witnesses, [[64]]);
        }
        self.assert_sound()
    }

    fn assert_sound(&self) -> TestResult {
        let audit = self.federation.audit();
        // What a leader asks of itself does not travel.
        let least = self.federation.federation().threshold() - 1;
        assert!(audit.nonces_used() >= least, "the recorder heard of {} nonces only", audit.nonces_used());
        assert!(audit.violations().is_empty(), "{:?}", audit.violations());
        Ok(())
    }

    /// Members that others have named in public by dropping their connections.
    fn disconnected(&self) -> BTreeSet<u16> {
        self.federation.bus().disconnects().into_iter().map(|(_, member, _)| member.0).collect()
    }
}

/// The members that lead first are the bad ones, as many as may be.
fn bad_ones(count: u16, next_height: u32) -> BTreeSet<u16> {
    let first = u16::try_from(next_height % u32::from(count)).unwrap_or(0);
    let spare = count - (2 * count / 3 + 1);
    (0..spare).map(|turn| (first + turn) % count).collect()
}

fn is_signing(kind: Option<&Kind>) -> bool {
    matches!(kind, Some(Kind::SigningOffer(_) | Kind::SigningRequest(_) | Kind::SigningAnswer(_)))
}

fn is_of_a_session(kind: Option<&Kind>) -> bool {
    is_signing(kind) || matches!(kind, Some(Kind::KeySignatures(_)))
}

fn silent_members(count: u16) -> TestResult {
    let mut story = Story::begin(count, 1)?;
    let bad = bad_ones(count, story.federation.height(0) + 3);
    let silent = bad.clone();
    story.federation.bus().handle(move |from, _, message| {
        if silent.contains(&from.0) && is_of_a_session(message.kind.as_ref()) { Post::Lose } else { Post::Deliver }
    });
    let height = story.peg_out()?;
    story.assert_signed_by_key(height)?;
    assert!(
        story.disconnected().is_empty(),
        "silence is no proof of a lie: {:?}",
        story.federation.bus().disconnects()
    );
    Ok(())
}

#[test]
fn one_silent_of_four() -> TestResult {
    silent_members(4)
}

#[test]
fn two_silent_of_seven() -> TestResult {
    silent_members(7)
}

#[test]
fn four_silent_of_fifteen() -> TestResult {
    silent_members(15)
}

/// A liar answers with wrong shares, or with commitments that are none.
fn lie(from: MemberIndex, message: &PeerMessage) -> Post {
    let Some(Kind::SigningAnswer(answer)) = &message.kind else { return Post::Deliver };
    let mut lie = SigningAnswer { ..answer.clone() };
    if from.0.is_multiple_of(2) {
        let mut shares = answer.shares.to_vec();
        // At a place of its own for each: errors that cancel each other out would do no harm.
        if let Some(byte) = shares.get_mut(8 + usize::from(from.0)) {
            *byte ^= 1;
        }
        lie.shares = shares.into();
    } else {
        lie.next = vec![0xff; answer.next.len()].into();
    }
    Post::Change(PeerMessage { kind: Some(Kind::SigningAnswer(lie)) })
}

fn lying_members(count: u16) -> TestResult {
    let mut story = Story::begin(count, 2)?;
    // Sessions take those whose offers come first. So that liars are among them, the last honest members come too late, until
    // a lie was told about that batch.
    let spare = count - (2 * count / 3 + 1);
    let lied_about = Mutex::new(BTreeSet::new());
    story.federation.bus().handle(move |from, to, message| {
        let mut lied_about = lied_about.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = (spare..count).rev().filter(|member| *member != to.0).nth(usize::from(spare) - 1);
        match &message.kind {
            Some(Kind::SigningAnswer(answer)) if from.0 < spare => {
                lied_about.insert(answer.txid.clone());
                lie(from, message)
            }
            Some(Kind::SigningOffer(offer)) if Some(from.0) >= latest && !lied_about.contains(&offer.txid) => {
                Post::Lose
            }
            _ => Post::Deliver,
        }
    });
    let mut named = BTreeSet::new();
    // A liar that leads does not hear itself lie: some batches have to be led by others. They take turns by height.
    let mut led_by_others = 0;
    while led_by_others < 2 {
        let height = story.peg_out()?;
        story.assert_signed_by_key(height)?;
        named = story.disconnected();
        led_by_others += u32::from(height % u32::from(count) >= u32::from(spare));
    }
    let liars: BTreeSet<u16> = (0..spare).collect();
    assert!(named.is_subset(&liars) && !named.is_empty(), "{:?}", story.federation.bus().disconnects());
    let alarms: Vec<String> = story.members.iter().flat_map(|member| story.federation.alarms(*member)).collect();
    assert!(alarms.iter().any(|alarm| alarm.contains("hinders the signing")), "{alarms:?}");
    Ok(())
}

#[test]
fn one_liar_of_four() -> TestResult {
    lying_members(4)
}

#[test]
fn two_liars_of_seven() -> TestResult {
    lying_members(7)
}

#[test]
fn four_liars_of_fifteen() -> TestResult {
    lying_members(15)
}

/// Every member is restarted in the middle of the signing, with the nonces in its memory only.
#[test]
fn restarts_in_the_middle_of_sessions() -> TestResult {
    let mut story = Story::begin(4, 3)?;
    // No answer arrives, so that sessions are open when members go.
    story.federation.bus().handle(|_, _, message| match message.kind {
        Some(Kind::SigningAnswer(_) | Kind::KeySignatures(_)) => Post::Lose,
        _ => Post::Deliver,
    });
    let before = story.federation.audit().nonces_used();
    let height = story.peg_out()?;
    for member in [2, 0, 3, 1] {
        let used = story.federation.audit().nonces_used();
        wait_until(PATIENCE, || story.federation.audit().nonces_used() > used)
            .map_err(|_| "no session goes on".to_owned())?;
        story.federation.stop(member)?;
        story.federation.start(member)?;
    }
    story.federation.bus().deliver_all();
    assert!(story.federation.audit().nonces_used() > before);
    story.wait_signed(height)?;
    story.assert_sound()
}

/// The messages of sessions are lost between so many that no session can end. The members' script takes over, by itself,
/// and the operators are told; when the messages arrive again, the key is back.
#[test]
fn the_script_takes_over_when_too_few_take_part() -> TestResult {
    let mut story = Story::begin(4, 4)?;
    story.federation.bus().handle(|from, to, message| {
        let cut_off = from.0 >= 2 || to.0 >= 2;
        if cut_off && is_of_a_session(message.kind.as_ref()) { Post::Lose } else { Post::Deliver }
    });
    let height = story.peg_out()?;
    for batch in story.wait_signed(height)? {
        for input in &batch.input {
            // Four places, the script and its proof.
            assert_eq!(input.witness.len(), 6, "{batch:?}");
        }
    }
    let alarms: Vec<String> = story.members.iter().flat_map(|member| story.federation.alarms(*member)).collect();
    assert!(alarms.len() >= 3, "{alarms:?}");
    assert!(alarms.iter().all(|alarm| alarm.contains("the treasury key has not signed")), "{alarms:?}");
    story.federation.bus().deliver_all();
    let height = story.peg_out()?;
    story.assert_signed_by_key(height)
}

/// Auditors object while sessions run: what has not been signed is not signed any more, by key or by script, until they
/// take it back.
#[test]
fn an_objection_stops_sessions_that_run() -> TestResult {
    let mut story = Story::begin(4, 6)?;
    story.federation.bus().handle(|_, _, message| match message.kind {
        Some(Kind::SigningAnswer(_) | Kind::KeySignatures(_)) => Post::Lose,
        _ => Post::Deliver,
    });
    let used = story.federation.audit().nonces_used();
    let height = story.peg_out()?;
    wait_until(PATIENCE, || story.federation.audit().nonces_used() > used)?;
    story.federation.object(true);
    // Members look at their auditors twice a second; these blocks take longer, and the script's time is over as well.
    let quiet = story.federation.height(0) + 40;
    story.federation.wait_for_height(&story.members, quiet, PATIENCE)?;
    story.federation.bus().deliver_all();
    let used = story.federation.audit().nonces_used();
    let later = quiet + 150;
    story.federation.wait_for_height(&story.members, later, PATIENCE)?;
    assert_eq!(story.federation.audit().nonces_used(), used, "signed in spite of the objection");
    for member in &story.members {
        assert!(story.federation.signed_batch(*member, height)?.is_none());
    }
    story.federation.object(false);
    story.assert_signed_by_key(height)
}

/// The finished signatures of one member are enough for all, and wrong ones cost their sender its connection.
#[test]
fn finished_signatures_are_passed_on_and_verified() -> TestResult {
    let mut story = Story::begin(4, 5)?;
    story.federation.bus().handle(|from, _, message| match &message.kind {
        Some(Kind::KeySignatures(signatures)) if from.0 == 1 => {
            let mut bytes = signatures.signatures.to_vec();
            if let Some(byte) = bytes.get_mut(40) {
                *byte ^= 1;
            }
            let mut wrong = signatures.clone();
            wrong.signatures = bytes.into();
            Post::Change(PeerMessage { kind: Some(Kind::KeySignatures(wrong)) })
        }
        _ => Post::Deliver,
    });
    // Each member leads one of them.
    for _ in 0..4 {
        let height = story.peg_out()?;
        story.assert_signed_by_key(height)?;
    }
    assert!(story.disconnected().iter().all(|member| *member == 1));
    Ok(())
}
