//! What a signer does not sign.

use super::*;

/// A member, and a request that is good for it.
fn asked() -> (Story, Request) {
    let mut story = Story::new(4, 2, &[], 20);
    let batch = story.spends.batch();
    let mut commitments = BTreeMap::new();
    for member in [0, 1, 2].map(MemberIndex) {
        let signer = &mut story.signers[member.position()].signer;
        commitments.insert(member, signer.offer(batch, MemberIndex(3), &mut story.rng).unwrap().commitments);
    }
    let session = SessionId { run: 1, number: 0 };
    (story, Request { batch, coordinator: MemberIndex(3), session, commitments })
}

impl Story {
    fn ask(&mut self, request: &Request) -> Result<Answer, Refusal> {
        self.signers[0].sign(MemberIndex(3), request, &mut self.rng)
    }
}

#[test]
fn a_nonce_signs_one_package() {
    let (mut story, request) = asked();
    let answer = story.ask(&request).unwrap();
    // The same request again: the same answer, from memory.
    assert_eq!(story.ask(&request).unwrap(), answer);
    // The same nonce with other commitments beside it, or in another session: nothing.
    let mut others = request.clone();
    let fresh = story.signers[1].signer.offer(request.batch, MemberIndex(2), &mut story.rng).unwrap();
    others.commitments.insert(MemberIndex(1), fresh.commitments);
    assert_eq!(story.ask(&others), Err(Refusal::UnknownNonces));
    let later = Request { session: SessionId { run: 1, number: 1 }, ..request.clone() };
    assert_eq!(story.ask(&later), Err(Refusal::UnknownNonces));
    // What it offers next is good for one more.
    let mut next = later;
    next.commitments.insert(MemberIndex(0), answer.next.clone());
    assert!(story.ask(&next).is_ok());
    assert_eq!(story.ask(&request), Err(Refusal::UnknownNonces));
}

#[test]
fn nonces_are_gone_after_a_restart() {
    let (mut story, request) = asked();
    story.restart(MemberIndex(0));
    assert_eq!(story.ask(&request), Err(Refusal::UnknownNonces));
    let offer = story.signers[0].signer.offer(request.batch, MemberIndex(3), &mut story.rng).unwrap();
    assert_ne!(offer.commitments, request.commitments[&MemberIndex(0)]);
}

#[test]
fn nonces_are_bound_to_their_coordinator() {
    let (mut story, request) = asked();
    let stolen = Request { coordinator: MemberIndex(2), ..request.clone() };
    let signer = &mut story.signers[0];
    assert_eq!(signer.sign(MemberIndex(2), &stolen, &mut story.rng), Err(Refusal::UnknownNonces));
    let pretended = signer.sign(MemberIndex(2), &request, &mut story.rng);
    assert_eq!(pretended, Err(Refusal::NotTheCoordinator { from: MemberIndex(2), named: MemberIndex(3) }));
    assert!(story.ask(&request).is_ok(), "refusals cost nothing");
}

#[test]
fn only_batches_of_final_blocks_are_signed() {
    let (mut story, request) = asked();
    let unknown = Txid::from_byte_array([9; 32]);
    let other = Request { batch: unknown, ..request.clone() };
    assert_eq!(story.ask(&other), Err(Refusal::UnknownBatch(unknown)));
    let offer = story.signers[0].signer.offer(unknown, MemberIndex(3), &mut story.rng);
    assert_eq!(offer, Err(Refusal::UnknownBatch(unknown)));
    story.signers[0].signer.forget(&request.batch);
    assert_eq!(story.ask(&request), Err(Refusal::UnknownBatch(request.batch)));
    // Known again, its old nonces are still gone.
    let spends = story.spends.clone();
    story.signers[0].signer.add_batch(spends);
    assert_eq!(story.ask(&request), Err(Refusal::UnknownNonces));
}

#[test]
fn malformed_requests_cost_no_nonces() {
    let (mut story, request) = asked();
    let malformed = |story: &mut Story, change: &dyn Fn(&mut BTreeMap<MemberIndex, Commitments>)| {
        let mut bad = request.clone();
        change(&mut bad.commitments);
        story.ask(&bad).unwrap_err()
    };
    let is_malformed = |refusal| matches!(refusal, Refusal::Malformed { coordinator: MemberIndex(3), .. });
    assert!(is_malformed(malformed(&mut story, &|all| _ = all.pop_last())));
    assert!(is_malformed(malformed(&mut story, &|all| {
        let (_, last) = all.pop_last().unwrap();
        all.insert(MemberIndex(4), last);
    })));
    assert!(is_malformed(malformed(&mut story, &|all| _ = all.get_mut(&MemberIndex(1)).unwrap().0.pop())));
    assert!(is_malformed(malformed(&mut story, &|all| all.get_mut(&MemberIndex(1)).unwrap().0[0] = [[0; 33]; 2])));
    let without_us = malformed(&mut story, &|all| {
        let (_, ours) = all.pop_first().unwrap();
        all.insert(MemberIndex(3), ours);
    });
    assert_eq!(without_us, Refusal::NotAsked);
    let nobody = story.signers[0].signer.offer(request.batch, MemberIndex(4), &mut story.rng);
    assert_eq!(nobody, Err(Refusal::NoMember(MemberIndex(4))));
    assert!(story.ask(&request).is_ok());
}

/// What is signed comes from the member's own batch: a coordinator with another one gets shares that are of no use to it.
#[test]
fn shares_are_for_the_members_own_hash() {
    let (mut story, request) = asked();
    let mut robbed = story.plan.transaction.clone();
    robbed.output[0].value -= Amount::from_sat(1);
    let other = KeySpends::of(&robbed, &story.coins).unwrap();
    assert_ne!(other.batch(), story.spends.batch());
    let Fixture { treasury, key, .. } = &story.fixture;
    // It says that its transaction has the txid of the agreed one.
    let lie = KeySpends { batch: request.batch, ..other };
    let mut thief = Coordinator::new(MemberIndex(3), 1, treasury, key, lie);
    let mut effects = Vec::new();
    for (member, commitments) in request.commitments.clone() {
        effects.extend(thief.offer(member, Offer { batch: request.batch, coordinator: MemberIndex(3), commitments }));
    }
    let [Effect::Ask(asking)] = &effects[..] else { unreachable!("{effects:?}") };
    for member in [0, 1, 2].map(MemberIndex) {
        let answer = story.signers[member.position()].sign(MemberIndex(3), asking, &mut story.rng).unwrap();
        thief.answer(member, answer);
    }
    assert!(thief.signatures().is_none());
}
