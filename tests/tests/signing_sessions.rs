//! The sessions of all members on a clock that the test moves: who leads when, what is sent again, and what is not signed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use aquifer_assets::peg::PegoutRequest;
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{KeySpends, TreasuryCoin, plan_batch};
use aquifer_functionary::peg::messages::SessionMessage;
use aquifer_functionary::peg::sessions::{LEAD_INTERVAL, RESEND_INTERVAL, SessionEffect, Sessions};
use aquifer_tests::founding::Founded;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, ScriptBuf, Txid};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const COIN_SAT: u64 = 100_000_000;
/// The height gives the turn: member 1 of four leads first.
const HEIGHT: u32 = 5;

type Signatures = BTreeMap<OutPoint, schnorr::Signature>;

/// Four members, of whom three must sign, and a batch with two outputs of the treasury.
struct Story {
    founded: Founded,
    spends: KeySpends,
    members: Vec<Sessions>,
    mail: VecDeque<(MemberIndex, MemberIndex, SessionMessage)>,
    /// What was sent: from, to, and whether it was an offer.
    sent: Vec<(u16, u16, bool)>,
    finished: BTreeMap<u16, Signatures>,
    named: Vec<MemberIndex>,
    now: Instant,
}

impl Story {
    fn begin() -> Outcome<Self> {
        let founded = Founded::new(4, &mut ChaCha20Rng::seed_from_u64(1))?;
        let treasury = &founded.federation.treasury;
        let coin = |number: u8| {
            let outpoint = OutPoint::new(Txid::from_byte_array([number; 32]), 0);
            TreasuryCoin::from_change(treasury.output(), outpoint, COIN_SAT)
        };
        let coins = vec![coin(1), coin(2)];
        let request = PegoutRequest {
            outpoint: elements::OutPoint::new(elements::Txid::from_byte_array([7; 32]), 0),
            amount_sat: COIN_SAT + COIN_SAT / 2,
            parent_script: ScriptBuf::from_bytes([&[0, 20][..], &[9; 20]].concat()),
        };
        let plan = plan_batch(treasury, &coins, &[request], 2_000).ok_or("no batch")?;
        let spends = KeySpends::of(&plan.transaction, &coins)?;
        assert_eq!(spends.count(), 2);
        let members = (0..4).filter_map(|member| sessions(&founded, member)).collect();
        let (mail, sent, finished, named) = Default::default();
        Ok(Self { founded, spends, members, mail, sent, finished, named, now: Instant::now() })
    }

    fn take(&mut self, member: u16, effects: Vec<SessionEffect>) {
        for effect in effects {
            match effect {
                SessionEffect::Send(to, message) => {
                    self.sent.push((member, to.0, matches!(message, SessionMessage::Offer(_))));
                    self.mail.push_back((MemberIndex(member), to, message));
                }
                SessionEffect::Finished { height, batch, signatures } => {
                    assert_eq!((height, batch), (HEIGHT, self.spends.batch()));
                    let treasury = &self.founded.federation.treasury;
                    assert!(signatures.iter().all(|(coin, one)| self.spends.verify(treasury, coin, one)));
                    self.finished.insert(member, signatures);
                }
                SessionEffect::Misbehaved { member, .. } => self.named.push(member),
            }
        }
    }

    fn with(&mut self, member: u16, work: impl FnOnce(&mut Sessions, Instant) -> Vec<SessionEffect>) {
        let now = self.now;
        let effects = self.members.get_mut(usize::from(member)).map(|sessions| work(sessions, now));
        self.take(member, effects.unwrap_or_default());
    }

    fn open(&mut self, members: &[u16]) {
        for member in members {
            let spends = self.spends.clone();
            self.with(*member, |sessions, now| sessions.open(HEIGHT, spends, now));
        }
    }

    /// Delivers what is under way, but for what is lost.
    fn deliver(&mut self, is_lost: impl Fn(u16, u16, &SessionMessage) -> bool) {
        while let Some((from, to, message)) = self.mail.pop_front() {
            if !is_lost(from.0, to.0, &message) {
                self.with(to.0, |sessions, _| sessions.receive(from, message));
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for member in 0..4 {
            self.with(member, Sessions::tick);
        }
    }

    fn restart(&mut self, member: u16) {
        let fresh = sessions(&self.founded, member);
        if let (Some(place), Some(fresh)) = (self.members.get_mut(usize::from(member)), fresh) {
            *place = fresh;
        }
    }
}

fn sessions(founded: &Founded, member: u16) -> Option<Sessions> {
    let share = founded.treasury_shares.get(usize::from(member))?;
    Some(Sessions::new(4, &founded.federation.treasury, &founded.federation.treasury_key, share))
}

#[test]
fn one_member_leads_at_first() -> Outcome<()> {
    let mut story = Story::begin()?;
    story.open(&[0, 1, 2, 3]);
    story.deliver(|_, _, _| false);
    assert_eq!(story.finished.keys().collect::<Vec<_>>(), [&1]);
    assert!(story.sent.iter().all(|(_, to, is_offer)| !is_offer || *to == 1), "{:?}", story.sent);
    // Three offers; two requests and two answers, the leader being the third signer. The fourth member waits with the first
    // two that have answered: that opens another session, a moment before the first is complete.
    assert_eq!(story.sent.len(), 3 + 4 + 4, "{:?}", story.sent);
    assert!(story.named.is_empty());
    Ok(())
}

#[test]
fn the_next_in_turn_leads_when_the_first_is_away() -> Outcome<()> {
    let mut story = Story::begin()?;
    story.open(&[0, 2, 3]);
    story.deliver(|_, to, _| to == 1);
    story.wait(LEAD_INTERVAL / 2);
    story.deliver(|_, to, _| to == 1);
    assert!(story.finished.is_empty());
    story.wait(LEAD_INTERVAL / 2);
    story.deliver(|_, to, _| to == 1);
    assert_eq!(story.finished.keys().collect::<Vec<_>>(), [&2]);
    assert!(story.sent.iter().all(|(_, to, is_offer)| !is_offer || [1, 2].contains(to)), "{:?}", story.sent);
    Ok(())
}

#[test]
fn an_offer_to_a_member_whose_auditor_is_slower_is_kept() -> Outcome<()> {
    let mut story = Story::begin()?;
    story.open(&[0, 2, 3]);
    story.deliver(|_, _, _| false);
    assert!(story.finished.is_empty(), "nothing is led before the batch is open");
    story.open(&[1]);
    story.deliver(|_, _, _| false);
    assert_eq!(story.finished.keys().collect::<Vec<_>>(), [&1]);
    Ok(())
}

#[test]
fn nothing_is_signed_that_is_not_open() -> Outcome<()> {
    let mut story = Story::begin()?;
    story.open(&[0, 1]);
    // Member 2 does not take part, and member 3 not any more.
    story.open(&[3]);
    let batch = story.spends.batch();
    story.deliver(|_, to, message| to == 3 && matches!(message, SessionMessage::Request(_)));
    story.with(3, |sessions, _| {
        sessions.close(&batch);
        Vec::new()
    });
    story.sent.clear();
    story.wait(RESEND_INTERVAL);
    let is_request = |message: &SessionMessage| matches!(message, SessionMessage::Request(_));
    assert!(story.mail.iter().any(|(_, to, message)| *to == MemberIndex(3) && is_request(message)));
    story.deliver(|_, _, _| false);
    assert!(story.sent.iter().all(|(from, _, _)| *from != 3), "{:?}", story.sent);
    assert!(story.finished.is_empty() && story.named.is_empty());
    // Open again, it has fresh nonces, and the session goes on with them.
    story.open(&[3]);
    story.deliver(|_, _, _| false);
    story.wait(RESEND_INTERVAL);
    story.deliver(|_, _, _| false);
    assert!(!story.finished.is_empty());
    assert!(story.named.is_empty());
    Ok(())
}

#[test]
fn what_was_lost_is_sent_again_and_nobody_is_blamed() -> Outcome<()> {
    for lost in 0..12 {
        let mut story = Story::begin()?;
        story.open(&[0, 1, 2]);
        let count = std::cell::Cell::new(0);
        // A link breaks: one message, and what follows in the same moment, does not arrive.
        story.deliver(|_, _, _| count.replace(count.get() + 1) >= lost);
        story.wait(LEAD_INTERVAL / 2);
        for _ in 0..4 {
            story.wait(RESEND_INTERVAL);
            story.deliver(|_, _, _| false);
        }
        assert!(!story.finished.is_empty(), "lost from message {lost} on");
        assert!(story.named.is_empty(), "lost from message {lost} on: {:?}", story.named);
    }
    Ok(())
}

#[test]
fn whoever_is_restarted_offers_again() -> Outcome<()> {
    for restarted in [0, 1, 2] {
        let mut story = Story::begin()?;
        story.open(&[0, 1, 2]);
        // Everybody is asked, and nobody's answer arrives.
        story.deliver(|_, _, message| matches!(message, SessionMessage::Answer(_)));
        story.restart(restarted);
        story.open(&[restarted]);
        for _ in 0..4 {
            story.deliver(|_, _, _| false);
            story.wait(RESEND_INTERVAL);
        }
        assert!(!story.finished.is_empty(), "member {restarted} was restarted");
        assert!(story.named.is_empty(), "{:?}", story.named);
    }
    Ok(())
}
