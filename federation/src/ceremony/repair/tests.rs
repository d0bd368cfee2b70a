#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex, PoisonError};

use frost_core::{Field, Group, Scalar};
use rand::{Rng, SeedableRng as _, seq::SliceRandom};

use super::*;
use crate::ceremony::{CeremonyOutcome, tests::Room};

/// A federation after its ceremony, and one member of it that has lost its shares.
struct Hospital {
    federation: Federation,
    seeds: Vec<MemberSeed>,
    shares: Vec<MemberShares>,
    rng: ChaCha20Rng,
}

/// What a ceremony left, of all members. A ceremony of many takes long, so there is one for all tests.
type Outcomes = (Vec<MemberSeed>, Vec<CeremonyOutcome>);

fn outcomes(count: usize) -> Arc<Outcomes> {
    static HELD: Mutex<BTreeMap<usize, Arc<Outcomes>>> = Mutex::new(BTreeMap::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let hold = || {
        let mut room = Room::new(count, 60);
        room.run().unwrap();
        let outcomes = room.members.iter().map(|member| member.outcome().unwrap()).collect();
        Arc::new((room.seeds, outcomes))
    };
    Arc::clone(held.entry(count).or_insert_with(hold))
}

const IN_NEED: MemberIndex = MemberIndex(1);

impl Hospital {
    fn new(count: usize) -> Self {
        let held = outcomes(count);
        let (seeds, outcomes) = &*held;
        let shares = outcomes.iter().map(|outcome| MemberShares {
            certificate: outcome.certificate_share.clone(),
            treasury: outcome.treasury_share.clone(),
        });
        let federation = outcomes[0].file.check().unwrap();
        Self { federation, seeds: seeds.clone(), shares: shares.collect(), rng: ChaCha20Rng::seed_from_u64(61) }
    }

    /// The last k members: for n = 4 these are all but one that could help.
    fn helpers(&self) -> Vec<MemberIndex> {
        let mut others: Vec<MemberIndex> = self.federation.roster.indices().into_iter().collect();
        others.retain(|member| *member != IN_NEED);
        others.split_off(others.len() - self.federation.threshold())
    }

    fn request(&mut self) -> Repair {
        let number = self.rng.r#gen();
        let seed = &self.seeds[IN_NEED.position()];
        Repair::request(&self.federation, seed, IN_NEED, &self.helpers(), number).unwrap()
    }

    fn help(&self, helper: MemberIndex, request: &Repair) -> Repair {
        let (seed, shares) = (&self.seeds[helper.position()], self.shares[helper.position()].clone());
        Repair::help(&self.federation, seed, shares, request_in(request)).unwrap()
    }

    /// The member in need first, then the helpers.
    fn all(&mut self) -> Vec<Repair> {
        let request = self.request();
        let helpers: Vec<Repair> = self.helpers().into_iter().map(|helper| self.help(helper, &request)).collect();
        std::iter::once(request).chain(helpers).collect()
    }

    fn sign(&self, repair: &Repair, from: MemberIndex, body: Body) -> Vec<u8> {
        message::sign(&repair.session, from, body, &self.seeds[from.position()].keys().host).bytes
    }
}

fn request_in(repair: &Repair) -> &[u8] {
    &repair.log[&(IN_NEED, Kind::Request)].bytes
}

/// Everybody says what it can and hears the others, until nothing is new.
fn run(members: &mut [Repair]) -> Result<(), (MemberIndex, RepairFault)> {
    loop {
        let mut new = false;
        for member in &mut *members {
            let me = member.me;
            new |= member.advance().map_err(|fault| (me, fault))?;
        }
        let said: Vec<Vec<u8>> = members.iter().flat_map(Repair::messages).collect();
        for member in &mut *members {
            let me = member.me;
            for message in &said {
                new |= member.accept(message).map_err(|fault| (me, fault))?;
            }
        }
        if !new {
            return Ok(());
        }
    }
}

#[test]
fn k_helpers_give_a_lost_share_back() {
    for count in [4, 7, 15] {
        let mut hospital = Hospital::new(count);
        let mut members = hospital.all();
        run(&mut members).unwrap();
        assert_eq!(members[0].outcome(), Some(&hospital.shares[IN_NEED.position()]), "{count} members");
        assert!(members[0].waiting_for().is_empty());
        assert!(members[1..].iter().all(|helper| helper.outcome().is_none()), "a helper learned the share");
        let longest = members[0].messages().into_iter().map(|message| message.len()).max();
        assert!(longest < Some(crate::ceremony::MAX_MESSAGE_SIZE), "{longest:?}");
    }
}

/// Messages in any order, through anyone, one by one; members killed at any time.
#[test]
fn any_order_and_any_restart_lead_to_the_same_messages() {
    let mut hospital = Hospital::new(4);
    let mut expected = hospital.all();
    run(&mut expected).unwrap();
    for seed in 0..4 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let request = request_in(&expected[0]).to_vec();
        let again = |position: usize| {
            let me = expected[position].me;
            let (seed, shares) = (&hospital.seeds[me.position()], hospital.shares[me.position()].clone());
            let own = (position > 0).then_some(shares);
            Repair::open(&hospital.federation, seed, me, own, &request).unwrap()
        };
        let mut members: Vec<Repair> = (0..4).map(again).collect();
        let mut turns = 0;
        while members[0].outcome().is_none() {
            turns += 1;
            assert!(turns < 5_000, "seed {seed}: no end in sight");
            let (from, to) = (rng.gen_range(0..4), rng.gen_range(0..4));
            members[from].advance().unwrap();
            if rng.gen_range(0..12) == 0 {
                members[from] = again(from);
            }
            if let Some(message) = members[from].messages().choose(&mut rng) {
                members[to].accept(message).unwrap();
            }
        }
        assert_eq!(members[0].messages(), expected[0].messages(), "seed {seed}");
        assert_eq!(members[0].outcome(), expected[0].outcome());
    }
}

#[test]
fn another_request_has_other_deltas() {
    let mut hospital = Hospital::new(4);
    let (mut first, mut second) = (hospital.all(), hospital.all());
    run(&mut first).unwrap();
    run(&mut second).unwrap();
    assert_ne!(first[0].code(), second[0].code());
    assert_eq!(first[0].outcome(), second[0].outcome());
    for (one, other) in first[0].all_deltas().zip(second[0].all_deltas()) {
        assert!(one.1.iter().all(|points| !other.1.contains(points)), "a delta was used twice");
    }
    let foreign = first[1].messages();
    assert_eq!(second[0].accept(&foreign[1]), Err(RepairFault::OtherRepair(first[1].me)));
}

#[test]
fn a_silent_helper_is_named_and_gives_nothing_away() {
    for count in [4, 7, 15] {
        let mut hospital = Hospital::new(count);
        let mut members = hospital.all();
        let silent = members.pop().unwrap().me;
        run(&mut members).unwrap();
        assert!(members.iter().all(|member| member.waiting_for() == [silent]), "{count} members");
        assert_eq!(members[0].outcome(), None);
        // Without the deltas of all nobody has said its sum.
        assert!(members.iter().all(|member| !member.log.keys().any(|(_, kind)| *kind == Kind::Sum)));
    }
}

/// The last helper publishes something else than its deltas. Gives the liar, who noticed, and what.
fn lie_in_deltas(count: usize, change: impl FnOnce(&Repair, &mut Body)) -> (MemberIndex, MemberIndex, RepairFault) {
    let mut hospital = Hospital::new(count);
    let mut members = hospital.all();
    let liar = members.last_mut().unwrap();
    let me = liar.me;
    let mut body = liar.deltas(&hospital.shares[me.position()]).unwrap();
    change(liar, &mut body);
    let signed = message::open(&hospital.federation.roster, &hospital.sign(liar, me, body)).unwrap().1;
    liar.log.insert((me, Kind::Deltas), signed);
    let (who, fault) = run(&mut members).unwrap_err();
    assert!(members.iter().all(|member| member.outcome().is_none()));
    (me, who, fault)
}

/// The last helper sends another sum. Gives the liar, and what the member in need makes of it.
fn lie_in_sum(count: usize, change: impl FnOnce(&Repair, &mut Body)) -> (MemberIndex, RepairFault) {
    let mut hospital = Hospital::new(count);
    let mut members = hospital.all();
    let mut in_need = members.remove(0);
    run(&mut members).unwrap();
    let liar = members.last().unwrap();
    let me = liar.me;
    let mut body = liar.log[&(me, Kind::Sum)].body.clone();
    change(liar, &mut body);
    let lie = hospital.sign(liar, me, body);
    for ((from, kind), signed) in &liar.log {
        let said = if (*from, *kind) == (me, Kind::Sum) { &lie } else { &signed.bytes };
        if let Err(fault) = in_need.accept(said) {
            return (me, fault);
        }
    }
    let fault = in_need.advance().unwrap_err();
    assert!(in_need.outcome().is_none());
    (me, fault)
}

#[test]
fn a_helper_that_splits_another_number_is_named_by_all() {
    for count in [4, 7, 15] {
        // The deltas of a share that is not its own.
        let (liar, _, fault) = lie_in_deltas(count, |liar, body| {
            let mut bytes = [0; 32];
            bytes[31] = 5;
            let treasury = liar.own.clone().unwrap().treasury;
            *body =
                liar.deltas(&MemberShares { certificate: BlsShare::from_bytes(&bytes).unwrap(), treasury }).unwrap();
        });
        assert_eq!(fault, RepairFault::BadDeltas(liar), "{count} members");
        let (liar, _, fault) = lie_in_deltas(count, |_, body| {
            let Body::Deltas { points, .. } = body else { unreachable!() };
            let first = points[0].treasury;
            points[1].treasury = first;
        });
        assert_eq!(fault, RepairFault::BadDeltas(liar), "{count} members");
        assert_eq!(fault.culprit(), Some(liar));
    }
    for of_points in [true, false] {
        let (liar, _, fault) = lie_in_deltas(4, |_, body| {
            let Body::Deltas { points, letter } = body else { unreachable!() };
            if of_points {
                points.pop();
            } else {
                letter.sealed.pop();
            }
        });
        assert_eq!(fault, RepairFault::BadDeltas(liar));
    }
}

#[test]
fn a_delta_that_is_not_the_published_one_is_seen_by_its_recipient() {
    for count in [4, 7, 15] {
        let (liar, who, fault) = lie_in_deltas(count, |_, body| {
            let Body::Deltas { letter, .. } = body else { unreachable!() };
            letter.sealed[0][0] ^= 1;
        });
        assert_eq!(fault, RepairFault::BadDelta(liar), "{count} members");
        assert_ne!(who, IN_NEED);
    }
    // Correctly encrypted, but another number.
    let (liar, _, fault) = lie_in_deltas(4, |liar, body| {
        let Body::Deltas { letter, .. } = body else { unreachable!() };
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let wrong: Vec<Dealt> = liar.helpers.iter().map(|_| number(3)).collect();
        *letter = liar.write(&liar.letters("delta"), &liar.helpers, &wrong, &mut rng).unwrap();
    });
    assert_eq!(fault, RepairFault::BadDelta(liar));
}

fn number(value: u64) -> Dealt {
    fn scalar<C: Ciphersuite>(value: u64) -> SigningShare<C> {
        let one = <<C::Group as Group>::Field as Field>::one();
        let sum: Scalar<C> = (1..value).fold(one, |sum, _| sum + one);
        SigningShare::new(sum)
    }
    Dealt { certificate: scalar(value), treasury: scalar(value) }
}

#[test]
fn a_wrong_sum_is_named_by_the_member_in_need() {
    for count in [4, 7, 15] {
        let (liar, fault) = lie_in_sum(count, |liar, body| {
            let Body::Sum { letter, .. } = body else { unreachable!() };
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            *letter = liar.write(&liar.letters("sum"), &[IN_NEED], &[number(3)], &mut rng).unwrap();
        });
        assert_eq!(fault, RepairFault::BadSum(liar), "{count} members");
    }
    let (liar, fault) = lie_in_sum(4, |_, body| {
        let Body::Sum { letter, .. } = body else { unreachable!() };
        letter.sealed.clear();
    });
    assert_eq!(fault, RepairFault::BadSum(liar));
    let (liar, fault) = lie_in_sum(4, |_, body| {
        let Body::Sum { deltas_hash, .. } = body else { unreachable!() };
        deltas_hash[0] ^= 1;
    });
    assert_eq!(fault, RepairFault::DeltasDiffer(liar));
    assert_eq!(fault.culprit(), None);
}

#[test]
fn two_versions_of_a_message_prove_an_equivocation() {
    let mut hospital = Hospital::new(4);
    let mut members = hospital.all();
    run(&mut members).unwrap();
    let liar = members[3].me;
    let Body::Sum { deltas_hash, mut letter } = members[0].log[&(liar, Kind::Sum)].body.clone() else { unreachable!() };
    letter.sealed[0][0] ^= 1;
    let second = hospital.sign(&members[0], liar, Body::Sum { deltas_hash, letter });
    assert_eq!(members[0].accept(&second), Err(RepairFault::Equivocation(liar)));
}

#[test]
fn requests_that_nobody_should_follow() {
    let mut hospital = Hospital::new(7);
    let helpers = hospital.helpers();
    let ask = |hospital: &Hospital, seed: usize, helpers: &[MemberIndex]| {
        Repair::request(&hospital.federation, &hospital.seeds[seed], IN_NEED, helpers, [7; 32]).map(|_| ()).unwrap_err()
    };
    assert_eq!(ask(&hospital, 0, &helpers), RepairError::WrongSeed(IN_NEED));
    let expected = RepairError::Helpers { expected: 5 };
    let mut with_itself = helpers.clone();
    with_itself[0] = IN_NEED;
    let mut twice = helpers.clone();
    twice[1] = twice[0];
    let mut stranger = helpers.clone();
    stranger[4] = MemberIndex(7);
    let more = [helpers.clone(), vec![MemberIndex(0)]].concat();
    for wrong in [&helpers[1..], &more, &with_itself, &twice, &stranger, &[]] {
        assert_eq!(ask(&hospital, 1, wrong), expected, "{wrong:?}");
    }
    let request = hospital.request();
    let help = |helper: usize, bytes: &[u8]| {
        let shares = hospital.shares[helper].clone();
        Repair::help(&hospital.federation, &hospital.seeds[helper], shares, bytes).map(|_| ()).unwrap_err()
    };
    let bytes = request_in(&request);
    assert_eq!(help(0, bytes), RepairError::NotAsked);
    assert_eq!(help(IN_NEED.position(), bytes), RepairError::NotAsked);
    // Somebody else in the name of the member in need.
    let number = [9; 32];
    let session = message::session_of_request(&hospital.federation.roster, IN_NEED, &helpers, &number);
    let body = Body::Request { helpers: helpers.clone(), number };
    let forged = message::sign(&session, IN_NEED, body.clone(), &hospital.seeds[0].keys().host);
    assert_eq!(help(2, &forged.bytes), RepairError::Request(RepairFault::BadSignature { claimed: IN_NEED }));
    // A request that does not hold what its session says.
    let other = message::sign(&[1; 32], IN_NEED, body, &hospital.seeds[1].keys().host);
    assert_eq!(help(2, &other.bytes), RepairError::Request(RepairFault::OtherRepair(IN_NEED)));
    let deltas = hospital.help(helpers[0], &request).deltas(&hospital.shares[helpers[0].position()]).unwrap();
    let no_request = hospital.sign(&request, IN_NEED, deltas.clone());
    assert_eq!(help(2, &no_request), RepairError::Request(RepairFault::NotItsPart(IN_NEED)));
    let mut repair = hospital.help(helpers[0], &request);
    assert_eq!(repair.accept(&no_request), Err(RepairFault::NotItsPart(IN_NEED)));
    let uninvited = hospital.sign(&request, MemberIndex(0), deltas);
    assert_eq!(repair.accept(&uninvited), Err(RepairFault::NotItsPart(MemberIndex(0))));
}

/// Nothing that comes from outside makes a member panic.
#[test]
fn garbage_is_survived() {
    let mut hospital = Hospital::new(4);
    let mut members = hospital.all();
    run(&mut members).unwrap();
    let messages = members[0].messages();
    let mut fresh = hospital.help(members[1].me, &members[0]);
    for _ in 0..300 {
        let mut bytes = messages.choose(&mut hospital.rng).unwrap().clone();
        let good = bytes.clone();
        let position = hospital.rng.gen_range(0..bytes.len());
        bytes[position] = hospital.rng.r#gen();
        bytes.truncate(hospital.rng.gen_range(0..=bytes.len()));
        if bytes != good {
            assert!(fresh.accept(&bytes).is_err());
        }
    }
    assert_eq!(fresh.accept(&[0; 20_000]), Err(RepairFault::TooLarge(20_000)));
}
