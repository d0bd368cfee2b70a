//! One member lies; the others must notice, and name it.

use super::*;

const LIAR: MemberIndex = MemberIndex(2);

impl Room {
    fn liar(&mut self) -> &mut Ceremony {
        &mut self.members[LIAR.position()]
    }

    /// Signs anything in the name of the liar.
    fn forge(&mut self, body: Body) -> Vec<u8> {
        let host = self.seeds[LIAR.position()].keys().host;
        let session = self.members[0].session();
        message::sign(&session, LIAR, body, &host, &mut self.rng).bytes
    }

    /// Makes the liar say this in place of its own message of the step.
    fn lie(&mut self, body: Body) {
        let place = body.place();
        let bytes = self.forge(body);
        let signed = message::open(&self.members[0].roster.clone(), &self.members[0].session, &bytes).unwrap();
        self.liar().log.insert((LIAR, place), signed);
    }

    /// Plays on as honest members do, with whatever the liar has said, until someone objects.
    fn first_fault(&mut self) -> CeremonyFault {
        let faults = self.faults();
        faults.into_iter().flatten().next().unwrap()
    }

    /// Plays on until all members but the liar have met a fault; what a member says with its fault still reaches the others.
    fn faults(&mut self) -> Vec<Option<CeremonyFault>> {
        let mut faults = vec![None; self.members.len()];
        while faults.iter().flatten().count() < self.members.len() - 1 {
            let mut new = false;
            let said: Vec<Vec<u8>> = self.members.iter().flat_map(Ceremony::messages).collect();
            for (i, member) in self.members.iter_mut().enumerate() {
                if i == LIAR.position() || faults[i].is_some() {
                    continue;
                }
                let accepted = said.iter().try_fold(false, |new, message| Ok(member.accept(message)? | new));
                match accepted.and_then(|accepted| Ok(member.advance(&mut self.rng)? | accepted)) {
                    Ok(progress) => new |= progress,
                    Err(fault) => {
                        faults[i] = Some(fault);
                        new = true;
                    }
                }
            }
            assert!(new, "nobody noticed: {faults:?}");
        }
        faults
    }

    /// Plays on until all members but the liar have met the same fault.
    fn common_fault(&mut self) -> CeremonyFault {
        let mut faults: Vec<CeremonyFault> = self.faults().into_iter().flatten().collect();
        faults.dedup();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.remove(0)
    }
}

/// Lies about a reveal, with a commitment that fits.
fn lying_reveal(change: impl FnOnce(&mut Reveal)) -> Room {
    let mut room = Room::new(4, 20);
    let session = room.members[0].session();
    change(&mut room.liar().reveal);
    let reveal = room.liar().reveal.clone();
    room.lie(Body::Commit { reveal_hash: reveal.hash(&session) });
    room.lie(Body::Reveal(reveal));
    room
}

fn reveal_lie(change: impl FnOnce(&mut Reveal)) -> CeremonyFault {
    lying_reveal(change).common_fault()
}

#[test]
fn a_reveal_that_was_not_committed_to() {
    let mut room = Room::new(4, 21);
    room.run_until(Step::Commit);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (roster, session) = (room.members[0].roster.clone(), room.members[0].session());
    let other = deal::deal(&roster, &session, LIAR, &mut rng).unwrap();
    room.lie(Body::Reveal(other));
    let fault = room.first_fault();
    assert_eq!(fault, CeremonyFault::RevealMismatch { member: LIAR });
    assert_eq!(fault.culprit(), Some(LIAR));
    // It does not go away by asking again, or by a restart.
    let honest = room.members.iter().find(|m| m.is_complete((Step::Reveal, 0))).unwrap();
    let mut again = Ceremony::resume(&honest.save()).unwrap();
    assert_eq!(again.advance(&mut rng).unwrap_err(), fault);
}

#[test]
fn a_wrong_proof_of_possession() {
    let named = CeremonyFault::BadProof { member: LIAR };
    assert_eq!(reveal_lie(|reveal| reveal.certificate.proof[79] ^= 1), named);
    assert_eq!(reveal_lie(|reveal| reveal.treasury.proof[63] ^= 1), named);
    assert_eq!(reveal_lie(|reveal| reveal.ephemeral_proof[63] ^= 1), named);
    assert_eq!(reveal_lie(|reveal| reveal.ephemeral_key = [0; 33]), named);
}

/// A key chosen as somebody else's negative would cancel it out; without its secret there is no proof.
#[test]
fn a_commitment_taken_from_another_member() {
    let victim = Room::new(4, 20).members[0].reveal.clone();
    let named = CeremonyFault::BadProof { member: LIAR };
    assert_eq!(reveal_lie(|reveal| reveal.certificate = victim.certificate.clone()), named);
    assert_eq!(reveal_lie(|reveal| reveal.treasury = victim.treasury.clone()), named);
    let stolen_key = reveal_lie(|reveal| {
        reveal.ephemeral_key = victim.ephemeral_key;
        reveal.ephemeral_proof = victim.ephemeral_proof;
    });
    assert_eq!(stolen_key, named);
}

fn bad_share(recipient: u16) -> CeremonyFault {
    CeremonyFault::BadShare { dealer: LIAR, recipient: MemberIndex(recipient) }
}

/// Only member 0 can see that its share is bad. It complains, and everybody names the dealer.
#[test]
fn a_share_that_cannot_be_decrypted() {
    assert_eq!(reveal_lie(|reveal| reveal.shares[0][0] ^= 1), bad_share(0));
    assert_eq!(bad_share(0).culprit(), Some(LIAR));
}

/// Shares that decrypt but lie on other polynomials, of either key.
#[test]
fn a_share_that_does_not_fit_the_commitment() {
    let room = Room::new(4, 20);
    let (roster, session) = (room.members[0].roster.clone(), room.members[0].session());
    let other = || deal::deal(&roster, &session, LIAR, &mut ChaCha20Rng::seed_from_u64(99)).unwrap();
    let check = |change: &dyn Fn(&Reveal) -> Reveal| {
        // All shares are bad, so each member ends with its own complaint; all of them are about the same dealer.
        let faults = lying_reveal(|reveal| *reveal = change(reveal)).faults();
        let expected = [0, 1, 3].map(|recipient| Some(bad_share(recipient)));
        assert_eq!([&faults[0], &faults[1], &faults[3]], expected.each_ref());
    };
    check(&|reveal| Reveal { certificate: reveal.certificate.clone(), ..other() });
    check(&|reveal| Reveal { treasury: reveal.treasury.clone(), ..other() });
}

#[test]
fn a_share_meant_for_another_member_does_not_open() {
    assert_eq!(reveal_lie(|reveal| reveal.shares[1] = reveal.shares[3]), bad_share(1));
}

/// It survives a restart between the complaint and its spreading, and says the same again.
#[test]
fn a_complaint_is_said_again_after_a_restart() {
    let mut room = Room::new(4, 20);
    let session = room.members[0].session();
    room.liar().reveal.shares[0][0] ^= 1;
    let reveal = room.liar().reveal.clone();
    room.lie(Body::Commit { reveal_hash: reveal.hash(&session) });
    room.lie(Body::Reveal(reveal));
    let before = loop {
        let said: Vec<Vec<u8>> = room.members.iter().flat_map(Ceremony::messages).collect();
        for member in &mut room.members {
            assert!(said.iter().all(|message| member.accept(message).is_ok()));
        }
        if room.members[0].is_complete((Step::Reveal, 0)) {
            break room.members[0].save();
        }
        for member in &mut room.members {
            member.advance(&mut room.rng).unwrap();
        }
    };
    assert_eq!(room.members[0].advance(&mut room.rng), Err(bad_share(0)));
    let complaint = room.members[0].log[&(MemberIndex(0), (Step::Echo, 0))].digest;
    let mut again = Ceremony::resume(&before).unwrap();
    assert_eq!(again.advance(&mut room.rng), Err(bad_share(0)));
    assert_eq!(again.log[&(MemberIndex(0), (Step::Echo, 0))].digest, complaint);
    let mut later = Ceremony::resume(&again.save()).unwrap();
    assert_eq!(later.advance(&mut room.rng), Err(bad_share(0)));
    assert!(later.outcome().is_none());
}

/// The liar complains about a good share: everybody opens it and sees.
#[test]
fn a_complaint_without_cause() {
    let complaint = |room: &Room, dealer: MemberIndex, owner: MemberIndex| {
        let Body::Reveal(reveal) = &room.members[0].log[&(dealer, (Step::Reveal, 0))].body else { unreachable!() };
        let part = Part::open(&room.members[0].session, dealer, reveal).unwrap();
        let route = Route { session: &room.members[0].session, from: dealer, to: LIAR };
        complaint::complain(&room.seeds[owner.position()].keys().host, &part.ephemeral, route).unwrap()
    };
    let about = MemberIndex(1);
    let named = CeremonyFault::FalseComplaint { member: LIAR, dealer: about };
    assert_eq!(named.culprit(), Some(LIAR));
    let run = |change: &dyn Fn(&Room) -> complaint::Complaint| {
        let mut room = Room::new(4, 28);
        room.run_until(Step::Reveal);
        let round_hash = room.members[0].round().unwrap().hash;
        let complaints = vec![change(&room)];
        room.lie(Body::Echo { round_hash, complaints });
        room.common_fault()
    };
    assert_eq!(run(&|room| complaint(room, about, LIAR)), named);
    // With a point that is not its own, so that nothing can be opened: the proof fails.
    assert_eq!(run(&|room| complaint(room, about, MemberIndex(3))), named);
    let forged = |room: &Room| {
        let good = complaint(room, about, LIAR);
        complaint::Complaint { point: complaint(room, about, MemberIndex(3)).point, ..good }
    };
    assert_eq!(run(&forged), named);
}

#[test]
fn complaints_of_the_wrong_form() {
    let complaint =
        |dealer: u16| complaint::Complaint { dealer: MemberIndex(dealer), point: [2; 33], proof: [[1; 32]; 2] };
    for complaints in [vec![complaint(9)], vec![complaint(1); 5]] {
        let mut room = Room::new(4, 29);
        room.run_until(Step::Reveal);
        let echo = room.forge(Body::Echo { round_hash: [0; 32], complaints });
        let fault = room.members[0].accept(&echo).unwrap_err();
        assert!(matches!(fault, CeremonyFault::Malformed { member: LIAR, step: Step::Echo, .. }), "{fault}");
    }
}

#[test]
fn points_that_are_none() {
    let named = CeremonyFault::BadProof { member: LIAR };
    assert_eq!(reveal_lie(|reveal| reveal.certificate.commitment[1] = [0xff; 48]), named);
    assert_eq!(reveal_lie(|reveal| reveal.treasury.commitment[1] = [0xff; 33]), named);
}

#[test]
fn a_reveal_of_the_wrong_form() {
    let malformed = |fault| matches!(fault, CeremonyFault::Malformed { member: LIAR, step: Step::Reveal, .. });
    assert!(malformed(reveal_lie(|reveal| _ = reveal.certificate.commitment.pop())));
    assert!(malformed(reveal_lie(|reveal| _ = reveal.treasury.commitment.pop())));
    assert!(malformed(reveal_lie(|reveal| _ = reveal.shares.pop())));
}

/// Different reveals to different members: each is fine alone.
#[test]
fn equivocation_is_proven_by_the_two_messages() {
    let mut room = Room::new(4, 22);
    room.run_until(Step::Commit);
    let (roster, session) = (room.members[0].roster.clone(), room.members[0].session());
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let other = deal::deal(&roster, &session, LIAR, &mut rng).unwrap();
    let second_commit = room.forge(Body::Commit { reveal_hash: other.hash(&session) });
    let first_commit = room.members[0].log[&(LIAR, (Step::Commit, 0))].bytes.clone();
    let fault = room.members[0].accept(&second_commit).unwrap_err();
    let expected =
        CeremonyFault::Equivocation { member: LIAR, step: Step::Commit, first: first_commit, second: second_commit };
    assert_eq!(fault, expected);
    assert_eq!(fault.culprit(), Some(LIAR));
    // From now on it does not take part, also after a restart, and the proof spreads with the other messages.
    assert_eq!(room.members[0].advance(&mut rng).unwrap_err(), fault);
    let mut again = Ceremony::resume(&room.members[0].save()).unwrap();
    assert_eq!(again.advance(&mut rng).unwrap_err(), fault);
    let faults: Vec<_> = again.messages().iter().filter_map(|m| room.members[3].accept(m).err()).collect();
    assert_eq!(faults, [expected]);
}

/// The two halves never exchange the contradicting messages themselves, but echoes cross.
#[test]
fn echoes_uncover_what_was_told_differently() {
    let mut room = Room::new(4, 23);
    room.run_until(Step::Reveal);
    room.lie(Body::Echo { round_hash: [7; 32], complaints: Vec::new() });
    let fault = room.first_fault();
    assert_eq!(fault, CeremonyFault::EchoDiffers { member: LIAR });
    assert_eq!(fault.culprit(), None);
}

#[test]
fn a_wrong_statement_of_success() {
    let mut room = Room::new(4, 24);
    room.run_until(Step::Echo);
    let statement = room.members[0].statement().unwrap();
    let mut certificate = statement.clone();
    certificate.key_set[40] ^= 1;
    room.lie(Body::Success(certificate));
    assert_eq!(room.common_fault(), CeremonyFault::WrongOutcome { member: LIAR });

    let mut room = Room::new(4, 24);
    room.run_until(Step::Echo);
    let mut treasury = statement;
    treasury.treasury_shares.swap(0, 1);
    room.lie(Body::Success(treasury));
    assert_eq!(room.common_fault(), CeremonyFault::WrongOutcome { member: LIAR });
}

/// Runs up to the test and lets the liar sign what `change` makes of its two shares.
fn test_lie(change: impl Fn(&mut [u8; 96], &mut [u8; 32])) -> CeremonyFault {
    let mut room = Room::new(4, 25);
    room.run_until(Step::Nonces);
    let mut rng = room.rng.clone();
    room.liar().advance(&mut rng).unwrap();
    let said = room.liar().log[&(LIAR, (Step::Test, 0))].body.clone();
    let Body::Test { attempt, mut certificate, mut treasury } = said else { unreachable!() };
    change(&mut certificate, &mut treasury);
    room.lie(Body::Test { attempt, certificate, treasury });
    let fault = room.common_fault();
    assert!(room.members.iter().all(|member| member.outcome().is_none()));
    fault
}

#[test]
fn a_wrong_test_signature() {
    let named = CeremonyFault::BadTest { member: LIAR };
    let mut bytes = [0; 32];
    bytes[31] = 5;
    let foreign = BlsShare::from_bytes(&bytes).unwrap().sign(&[1; 32]).to_bytes();
    assert_eq!(test_lie(|certificate, _| *certificate = foreign), named);
    assert_eq!(test_lie(|certificate, _| *certificate = [0xff; 96]), named);
    assert_eq!(test_lie(|_, treasury| treasury[31] ^= 1), named);
    assert_eq!(test_lie(|_, treasury| *treasury = [0xff; 32]), named);
    assert_eq!(test_lie(|_, treasury| *treasury = [0; 32]), named);
}

/// The treasury's output is not its bare key: a share that signs for that one is of no use.
#[test]
fn a_test_signature_without_the_scripts_of_the_output() {
    let mut room = Room::new(4, 25);
    room.run_until(Step::Nonces);
    let liar = room.liar();
    let nonces = liar.nonces.take().unwrap().nonces;
    let outcome = liar.outcome_of_round().unwrap();
    let message = liar.test_message(0);
    let package = liar.test_package(0, &testing::test_sighash(outcome, &message).unwrap()).unwrap();
    let bare = frost_secp256k1_tr::round2::sign(&package, &nonces, outcome.treasury_share.package()).unwrap();
    let certificate = outcome.certificate_share.sign(&message).to_bytes();
    room.lie(Body::Test { attempt: 0, certificate, treasury: bare.serialize().try_into().unwrap() });
    assert_eq!(room.common_fault(), CeremonyFault::BadTest { member: LIAR });
}

#[test]
fn nonces_and_attempts_of_the_wrong_form() {
    let mut room = Room::new(4, 30);
    room.run_until(Step::Success);
    let good = room.members[0].reveal.ephemeral_key;
    let fault = |room: &mut Room, body| {
        let bytes = room.forge(body);
        room.members[0].accept(&bytes).unwrap_err()
    };
    for commitments in [[[0; 33], good], [good, [0xff; 33]]] {
        let fault = fault(&mut room, Body::Nonces { attempt: 0, commitments });
        assert!(matches!(fault, CeremonyFault::Malformed { member: LIAR, step: Step::Nonces, .. }), "{fault}");
    }
    let body = Body::Nonces { attempt: MAX_ATTEMPTS, commitments: [good; 2] };
    assert!(matches!(fault(&mut room, body), CeremonyFault::Malformed { step: Step::Nonces, .. }));
    let body = Body::Test { attempt: MAX_ATTEMPTS, certificate: [0; 96], treasury: [0; 32] };
    assert!(matches!(fault(&mut room, body), CeremonyFault::Malformed { step: Step::Test, .. }));
}

#[test]
fn messages_of_nobody_and_of_elsewhere() {
    let mut room = Room::new(4, 26);
    room.run_until(Step::Commit);
    let good = room.members[0].log[&(LIAR, (Step::Commit, 0))].bytes.clone();
    let member = &mut room.members[1];
    let before = member.messages();
    assert_eq!(member.accept(&good), Ok(false));
    assert_eq!(member.accept(b""), Err(CeremonyFault::Undecodable));
    assert_eq!(member.accept(&vec![0; MAX_MESSAGE_SIZE + 1]), Err(CeremonyFault::TooLarge(MAX_MESSAGE_SIZE + 1)));
    let changed = |position: usize, by: u8| {
        let mut bytes = good.clone();
        bytes[position] ^= by;
        bytes
    };
    assert_eq!(member.accept(&changed(0, 3)), Err(CeremonyFault::Version(1)));
    assert!(matches!(member.accept(&changed(1, 1)), Err(CeremonyFault::WrongSession { .. })));
    assert_eq!(member.accept(&changed(34, 1)), Err(CeremonyFault::UnknownMember(MemberIndex(258))));
    assert_eq!(member.accept(&changed(33, 1)), Err(CeremonyFault::BadSignature { claimed: MemberIndex(3) }));
    let last = good.len() - 1;
    assert_eq!(member.accept(&changed(last, 1)), Err(CeremonyFault::BadSignature { claimed: LIAR }));
    assert_eq!(member.accept(&changed(40, 1)), Err(CeremonyFault::BadSignature { claimed: LIAR }));
    assert_eq!(member.accept(&[good.clone(), vec![0]].concat()), Err(CeremonyFault::Undecodable));
    assert_eq!(member.messages(), before);
    // The same members under other settings are another ceremony.
    let settings = crate::roster::Settings { idle_interval_ms: 6_000, ..Default::default() };
    let roster = Roster::new(settings, member.roster().members().to_vec()).unwrap();
    let mut other = Ceremony::new(roster, &room.seeds[0], MemberIndex(0), &mut room.rng).unwrap();
    assert!(matches!(other.accept(&good), Err(CeremonyFault::WrongSession { .. })));
}

/// Nothing that comes from outside makes a member panic.
#[test]
fn garbage_is_survived() {
    let mut room = Room::new(4, 27);
    room.run_until(Step::Reveal);
    let good = room.members[0].log[&(LIAR, (Step::Reveal, 0))].bytes.clone();
    for _ in 0..300 {
        let mut bytes = good.clone();
        let position = room.rng.gen_range(0..bytes.len());
        bytes[position] = room.rng.r#gen();
        bytes.truncate(room.rng.gen_range(0..=bytes.len()));
        if bytes != good {
            assert!(room.members[1].accept(&bytes).is_err());
        }
    }
}
