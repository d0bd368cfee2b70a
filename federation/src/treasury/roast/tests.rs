//! Members that are silent, lie, are restarted or replay; coordinators that die; and the consensus rules of Bitcoin as judge.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeSet, VecDeque};

use bitcoin::{
    Amount, OutPoint, Transaction,
    hashes::Hash,
    secp256k1::{Message, SECP256K1, schnorr},
    sighash::{Prevouts, SighashCache, TapSighashType},
};
use rand::{Rng, RngCore, seq::SliceRandom};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::treasury::{
    BatchPlan, KeySpends, Signed, TreasuryCoin, finalize_batch, plan_batch, sign_batch,
    tests::{BTC, Fixture, RATE, request},
};

mod refusals;

/// How a member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Honest,
    /// Offers nothing, answers nothing.
    Silent,
    /// Offers, and never answers.
    Stalling,
    /// Answers with wrong shares.
    BadShares,
    /// Its next commitments are no points.
    BadCommitments,
    /// Leaves a share out.
    TooFew,
    /// Signs well, and then answers a session in which nobody has asked it.
    Unsolicited,
    /// Loses its memory when it is asked for the first time.
    RestartsOnce,
    /// Loses its memory whenever it is asked.
    AlwaysRestarts,
}

/// Signs for a member and remembers what every nonce was used for.
struct RecordingSigner {
    signer: Signer,
    used: BTreeMap<[[u8; 33]; 2], (usize, Request)>,
}

impl RecordingSigner {
    fn sign(&mut self, from: MemberIndex, request: &Request, rng: &mut ChaCha20Rng) -> Result<Answer, Refusal> {
        let answer = self.signer.sign(from, request, rng)?;
        for (input, nonce) in request.commitments[&self.signer_index()].0.iter().enumerate() {
            let use_of_it = (input, request.clone());
            if let Some(earlier) = self.used.insert(*nonce, use_of_it.clone()) {
                assert_eq!(earlier, use_of_it, "a nonce was used twice");
            }
        }
        Ok(answer)
    }

    fn signer_index(&self) -> MemberIndex {
        self.signer.me()
    }
}

enum Mail {
    Offer(Offer),
    Request(Request),
    Answer(Answer),
}

/// A federation that signs one batch.
struct Story {
    fixture: Fixture,
    coins: Vec<TreasuryCoin>,
    plan: BatchPlan,
    spends: KeySpends,
    signers: Vec<RecordingSigner>,
    conduct: Vec<Conduct>,
    coordinators: BTreeMap<MemberIndex, Coordinator>,
    /// Messages on the way: from, to.
    mail: VecDeque<(MemberIndex, MemberIndex, Mail)>,
    named: BTreeMap<MemberIndex, BTreeSet<MemberIndex>>,
    rng: ChaCha20Rng,
    /// Messages are delivered in any order, and some twice.
    disorder: bool,
}

impl Story {
    fn new(members: usize, inputs: u8, conduct: &[(usize, Conduct)], seed: u64) -> Self {
        let fixture = Fixture::of(members);
        let mut coins: Vec<TreasuryCoin> = (1..=inputs).map(|number| fixture.change(number, BTC)).collect();
        coins.push(fixture.deposit(100, BTC, 1));
        let pending = [request(1, u64::from(inputs) * BTC + BTC / 2)];
        let plan = plan_batch(&fixture.treasury, &coins, &pending, RATE).unwrap();
        assert_eq!(plan.inputs.len(), usize::from(inputs) + 1);
        let spends = KeySpends::of(&plan.transaction, &coins).unwrap();
        assert_eq!(spends.count(), usize::from(inputs));
        let mut all = vec![Conduct::Honest; members];
        for (member, conduct) in conduct {
            all[*member] = *conduct;
        }
        let signers = (0..members).map(|_| ()).zip(&fixture.shares).map(|((), share)| RecordingSigner {
            signer: Signer::new(&fixture.treasury, share),
            used: BTreeMap::new(),
        });
        let signers = signers.collect();
        let mut story = Self {
            fixture,
            coins,
            plan,
            spends,
            signers,
            conduct: all,
            coordinators: BTreeMap::new(),
            mail: VecDeque::new(),
            named: BTreeMap::new(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            disorder: true,
        };
        for signer in &mut story.signers {
            signer.signer.add_batch(story.spends.clone());
        }
        story
    }

    fn indices(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (0..u16::try_from(self.signers.len()).unwrap()).map(MemberIndex)
    }

    /// A member begins to lead; everybody that is not silent offers.
    fn lead(&mut self, coordinator: MemberIndex) {
        let Fixture { treasury, key, .. } = &self.fixture;
        let run = self.rng.next_u64();
        let leader = Coordinator::new(coordinator, run, treasury, key, self.spends.clone());
        self.coordinators.insert(coordinator, leader);
        for member in self.indices() {
            self.offer(member, coordinator);
        }
    }

    fn offer(&mut self, member: MemberIndex, coordinator: MemberIndex) {
        if self.conduct[member.position()] == Conduct::Silent {
            return;
        }
        let signer = &mut self.signers[member.position()].signer;
        let offer = signer.offer(self.spends.batch(), coordinator, &mut self.rng).unwrap();
        self.mail.push_back((member, coordinator, Mail::Offer(offer)));
    }

    /// A member's process dies and comes back, with the batch from its ledger and nothing else.
    fn restart(&mut self, member: MemberIndex) {
        let mut signer = Signer::new(&self.fixture.treasury, &self.fixture.shares[member.position()]);
        signer.add_batch(self.spends.clone());
        self.signers[member.position()].signer = signer;
    }

    fn asked(&mut self, member: MemberIndex, request: &Request) {
        let coordinator = request.coordinator;
        match self.conduct[member.position()] {
            Conduct::Silent | Conduct::Stalling => return,
            Conduct::RestartsOnce => {
                self.conduct[member.position()] = Conduct::Honest;
                self.restart(member);
            }
            Conduct::AlwaysRestarts => self.restart(member),
            _ => {}
        }
        let answer = self.signers[member.position()].sign(coordinator, request, &mut self.rng);
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(Refusal::UnknownNonces) => return self.offer(member, coordinator),
            Err(other) => unreachable!("{other}"),
        };
        match self.conduct[member.position()] {
            // At a place of its own for each: errors that cancel each other out would make a good signature, and no harm.
            Conduct::BadShares => answer.shares.iter_mut().for_each(|share| share[8 + member.position()] ^= 1),
            Conduct::BadCommitments => answer.next.0[0] = [[0xff; 33]; 2],
            Conduct::TooFew => _ = answer.shares.pop(),
            Conduct::Unsolicited => answer.session.number += 7,
            _ => {}
        }
        self.mail.push_back((member, coordinator, Mail::Answer(answer)));
    }

    /// Delivers one message. `false` if there is none.
    fn step(&mut self) -> bool {
        if self.disorder && self.mail.len() > 1 {
            let last = self.mail.len() - 1;
            let chosen = self.rng.gen_range(0..=last);
            self.mail.swap(0, chosen);
            if self.rng.gen_range(0..5) == 0 {
                let (from, to, mail) = &self.mail[0];
                let again = match mail {
                    Mail::Offer(offer) => Mail::Offer(offer.clone()),
                    Mail::Request(request) => Mail::Request(request.clone()),
                    Mail::Answer(answer) => Mail::Answer(answer.clone()),
                };
                self.mail.push_back((*from, *to, again));
            }
        }
        let Some((from, to, mail)) = self.mail.pop_front() else { return false };
        let effects = match mail {
            Mail::Request(request) => {
                self.asked(to, &request);
                Vec::new()
            }
            Mail::Offer(offer) => {
                self.coordinators.get_mut(&to).map(|leader| leader.offer(from, offer)).unwrap_or_default()
            }
            Mail::Answer(answer) => {
                self.coordinators.get_mut(&to).map(|leader| leader.answer(from, answer)).unwrap_or_default()
            }
        };
        for effect in effects {
            match effect {
                Effect::Ask(request) => {
                    assert_eq!(request.commitments.len(), self.fixture.threshold());
                    for member in request.commitments.keys() {
                        self.mail.push_back((to, *member, Mail::Request(request.clone())));
                    }
                }
                Effect::Excluded { member, .. } => _ = self.named.entry(to).or_default().insert(member),
                Effect::Finished(_) => {}
            }
        }
        true
    }

    fn run(&mut self) {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 100_000, "no end in sight");
        }
    }

    /// The signatures that a coordinator has, put into the transaction together with those for the deposit, and judged.
    fn judge(&self, coordinator: u16) {
        let signatures = self.coordinators[&MemberIndex(coordinator)].signatures().unwrap();
        let own = self.own_signatures(Signed::Multisig);
        let transaction =
            finalize_batch(&self.fixture.treasury, &self.plan.transaction, &self.coins, &own, signatures).unwrap();
        judge_key_spends(&self.fixture, &transaction, &self.coins);
        let least = self.plan.fee_sat * 4_000 / RATE;
        assert!(transaction.weight().to_wu() <= least, "the fee was measured for no less");
    }

    fn own_signatures(&self, signed: Signed) -> BTreeMap<MemberIndex, Vec<Vec<u8>>> {
        let sign = |seed: &crate::keys::MemberSeed| {
            let peg = seed.keys().peg;
            sign_batch(&self.fixture.treasury, &peg, &self.plan.transaction, &self.coins, signed).unwrap()
        };
        self.indices().zip(self.fixture.seeds.iter().map(sign)).collect()
    }
}

/// What Bitcoin asks of a Taproot key spend: one item of 64 bytes, a BIP 340 signature by the key in the output.
fn judge_key_spends(fixture: &Fixture, transaction: &Transaction, coins: &[TreasuryCoin]) {
    let spent: Vec<bitcoin::TxOut> = coins
        .iter()
        .map(|coin| bitcoin::TxOut {
            value: Amount::from_sat(coin.amount_sat),
            script_pubkey: coin.script_pubkey.clone(),
        })
        .collect();
    let mut cache = SighashCache::new(transaction);
    let mut judged = 0;
    for (input, coin) in coins.iter().enumerate().filter(|(_, coin)| coin.script_pubkey.is_p2tr()) {
        let key = bitcoin::XOnlyPublicKey::from_slice(&coin.script_pubkey.as_bytes()[2..]).unwrap();
        assert_eq!(key, fixture.treasury.output().output_key());
        let items: Vec<&[u8]> = transaction.input[input].witness.iter().collect();
        let [signature] = items[..] else { unreachable!("not a key spend") };
        let signature = schnorr::Signature::from_slice(signature).unwrap();
        let hash =
            cache.taproot_key_spend_signature_hash(input, &Prevouts::All(&spent), TapSighashType::Default).unwrap();
        SECP256K1.verify_schnorr(&signature, &Message::from_digest(hash.to_byte_array()), &key).unwrap();
        judged += 1;
    }
    assert_eq!(judged, coins.len() - 1);
}

const SIZES: [(usize, usize); 3] = [(4, 1), (7, 2), (15, 4)];

/// The first members are the bad ones: they are in every session as long as they can.
fn first(count: usize, conduct: Conduct) -> Vec<(usize, Conduct)> {
    (0..count).map(|member| (member, conduct)).collect()
}

fn members(positions: &[usize]) -> BTreeSet<MemberIndex> {
    positions.iter().map(|position| MemberIndex(u16::try_from(*position).unwrap())).collect()
}

#[test]
fn all_honest_members_finish_at_once() {
    for (n, _) in SIZES {
        let mut story = Story::new(n, 3, &[], 1);
        story.lead(MemberIndex(0));
        story.run();
        story.judge(0);
        // A second one may have begun before the last answers to the first came.
        assert!(story.coordinators[&MemberIndex(0)].sessions() <= 2);
        assert!(story.named.is_empty());
    }
}

#[test]
fn silent_members_delay_nothing_for_ever() {
    for (n, spare) in SIZES {
        for conduct in [Conduct::Silent, Conduct::Stalling] {
            let mut story = Story::new(n, 2, &first(spare, conduct), 2);
            story.lead(MemberIndex(3));
            story.run();
            story.judge(3);
            let leader = &story.coordinators[&MemberIndex(3)];
            assert!(leader.sessions() <= spare + 2);
            assert!(leader.excluded().is_empty(), "silence is not proof of a lie");
        }
    }
}

#[test]
fn liars_are_named_and_do_not_stop_it() {
    for (n, spare) in SIZES {
        for conduct in [Conduct::BadShares, Conduct::BadCommitments, Conduct::TooFew, Conduct::Unsolicited] {
            let mut story = Story::new(n, 2, &first(spare, conduct), 3);
            // In order, so that the liars are in the first session for sure.
            story.disorder = false;
            story.lead(MemberIndex(3));
            story.run();
            story.judge(3);
            let leader = &story.coordinators[&MemberIndex(3)];
            let positions: Vec<usize> = (0..spare).collect();
            let named = story.named.get(&MemberIndex(3)).cloned().unwrap_or_default();
            assert_eq!(named, members(&positions), "{conduct:?} among {n}");
            assert_eq!(leader.excluded().keys().copied().collect::<BTreeSet<_>>(), members(&positions));
            assert!(leader.sessions() <= 2 * spare + 2);
        }
    }
}

/// One silent, one stalling, two that lie in different ways, in random order: eleven of fifteen come through, and nobody honest
/// is named.
#[test]
fn mixtures_in_any_order() {
    use Conduct::*;
    let bad = [Silent, Stalling, BadShares, BadCommitments, TooFew, Unsolicited, AlwaysRestarts];
    for seed in 0..15 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (n, spare) = *SIZES.choose(&mut rng).unwrap();
        let mut positions: Vec<usize> = (0..n).collect();
        positions.shuffle(&mut rng);
        let conduct: Vec<(usize, Conduct)> =
            positions[..spare].iter().map(|position| (*position, *bad.choose(&mut rng).unwrap())).collect();
        let mut story = Story::new(n, 2, &conduct, seed);
        let leader = MemberIndex(u16::try_from(positions[spare]).unwrap());
        story.lead(leader);
        story.run();
        story.judge(leader.0);
        let named = story.named.get(&leader).cloned().unwrap_or_default();
        assert!(named.is_subset(&members(&positions[..spare])), "seed {seed}: {conduct:?}, named {named:?}");
    }
}

#[test]
fn too_many_bad_members_stop_it_without_a_wrong_signature() {
    let mut story = Story::new(7, 2, &first(3, Conduct::BadShares), 4);
    story.lead(MemberIndex(6));
    story.run();
    assert!(story.coordinators[&MemberIndex(6)].signatures().is_none());
    assert_eq!(story.named[&MemberIndex(6)], members(&[0, 1, 2]));
}

#[test]
fn restarted_signers_offer_again() {
    for (n, _) in SIZES {
        let everybody: Vec<(usize, Conduct)> = first(n, Conduct::RestartsOnce);
        let mut story = Story::new(n, 2, &everybody, 5);
        story.lead(MemberIndex(0));
        story.run();
        story.judge(0);
        assert!(story.named.is_empty());
    }
}

#[test]
fn whoever_always_restarts_is_left_out() {
    let mut story = Story::new(4, 1, &[(0, Conduct::AlwaysRestarts)], 6);
    story.disorder = false;
    story.lead(MemberIndex(1));
    story.run();
    story.judge(1);
}

/// The coordinator dies at every moment. Another one, that was at work all the time, finishes; so does the first, started again.
#[test]
fn a_coordinator_dies_and_others_finish() {
    for moment in [0, 1, 5, 9, 13, 17] {
        for seed in 0..2 {
            let mut story = Story::new(7, 2, &[(5, Conduct::BadShares)], seed);
            story.lead(MemberIndex(0));
            story.lead(MemberIndex(1));
            for _ in 0..moment {
                story.step();
            }
            story.coordinators.remove(&MemberIndex(0));
            story.run();
            story.judge(1);
            // Answers to its first life are still on the way when it comes back.
            let mut story = Story::new(7, 2, &[(5, Conduct::BadShares)], seed);
            story.lead(MemberIndex(0));
            for _ in 0..moment {
                story.step();
            }
            story.lead(MemberIndex(0));
            story.run();
            story.judge(0);
            let named = story.named.get(&MemberIndex(0)).cloned().unwrap_or_default();
            assert!(named.is_subset(&members(&[5])), "seed {seed}, moment {moment}: {named:?}");
        }
    }
}

/// Everybody leads at the same time; nonces are separate, so all of them finish.
#[test]
fn several_coordinators_at_the_same_time() {
    let mut story = Story::new(7, 2, &[(0, Conduct::BadShares), (1, Conduct::Stalling)], 7);
    for leader in 2..7 {
        story.lead(MemberIndex(leader));
    }
    story.run();
    let mut different = BTreeSet::new();
    for leader in 2..7 {
        story.judge(leader);
        let signatures = story.coordinators[&MemberIndex(leader)].signatures().unwrap();
        different.extend(signatures.values().map(|signature| signature.serialize()));
    }
    assert_eq!(different.len(), 10, "five coordinators, two inputs, separate nonces");
}

/// FROST does not finish: the members sign with their own keys, and the script is used.
#[test]
fn the_script_of_the_members_takes_over() {
    let story = Story::new(7, 2, &[], 8);
    let deposits = story.own_signatures(Signed::Multisig);
    let none: BTreeMap<OutPoint, schnorr::Signature> = BTreeMap::new();
    let finish = |own: &BTreeMap<MemberIndex, Vec<Vec<u8>>>, by_key: &BTreeMap<OutPoint, schnorr::Signature>| {
        finalize_batch(&story.fixture.treasury, &story.plan.transaction, &story.coins, own, by_key)
    };
    assert_eq!(finish(&deposits, &none), None);
    let mut everything = story.own_signatures(Signed::Everything);
    everything.retain(|member, _| member.0 >= 2);
    let transaction = finish(&everything, &none).unwrap();
    assert!(transaction.input.iter().all(|input| input.witness.len() > 1));
    assert_eq!(transaction.compute_txid(), story.plan.transaction.compute_txid());
    // A mixture: one input by the key, the other by script; a wrong signature of the key counts for nothing.
    let mut led = Story::new(7, 2, &[], 8);
    led.lead(MemberIndex(0));
    led.run();
    let signatures = led.coordinators[&MemberIndex(0)].signatures().unwrap().clone();
    let mut one = signatures.clone();
    let (moved, _) = one.pop_last().unwrap();
    let mixed = finish(&everything, &one).unwrap();
    let by_key = mixed.input.iter().filter(|input| input.witness.len() == 1).count();
    assert_eq!(by_key, 1);
    let wrong = BTreeMap::from([(moved, *one.values().next().unwrap())]);
    assert_eq!(finish(&everything, &wrong).unwrap(), transaction);
}
