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
        let step = body.step();
        let bytes = self.forge(body);
        let signed = message::open(&self.members[0].roster.clone(), &self.members[0].session, &bytes).unwrap();
        self.liar().log.insert((LIAR, step), signed);
    }

    /// Plays on as honest members do, with whatever the liar has said, until someone objects.
    fn first_fault(&mut self) -> CeremonyFault {
        loop {
            let mut new = false;
            let said: Vec<Vec<u8>> = self.members.iter().flat_map(Ceremony::messages).collect();
            for (i, member) in self.members.iter_mut().enumerate() {
                if i == LIAR.position() {
                    continue;
                }
                for message in &said {
                    match member.accept(message) {
                        Ok(accepted) => new |= accepted,
                        Err(fault) => return fault,
                    }
                }
                match member.advance(&mut self.rng) {
                    Ok(advanced) => new |= advanced,
                    Err(fault) => return fault,
                }
            }
            assert!(new, "nobody noticed");
        }
    }
}

/// Lies about a reveal, with a commitment that fits.
fn reveal_lie(change: impl FnOnce(&mut Reveal)) -> CeremonyFault {
    let mut room = Room::new(4, 20);
    let session = room.members[0].session();
    change(&mut room.liar().reveal);
    let reveal = room.liar().reveal.clone();
    room.lie(Body::Commit { reveal_hash: reveal.hash(&session) });
    room.lie(Body::Reveal(reveal));
    room.first_fault()
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
    let honest = room.members.iter().find(|m| m.is_complete(Step::Reveal)).unwrap();
    let mut again = Ceremony::resume(&honest.save()).unwrap();
    assert_eq!(again.advance(&mut rng).unwrap_err(), fault);
}

#[test]
fn a_wrong_proof_of_possession() {
    assert_eq!(reveal_lie(|reveal| reveal.proof[79] ^= 1), CeremonyFault::BadProof { member: LIAR });
}

/// A key chosen as somebody else's negative would cancel it out; without its secret there is no proof.
#[test]
fn a_commitment_taken_from_another_member() {
    let victim = Room::new(4, 20).members[0].reveal.clone();
    let fault = reveal_lie(|reveal| {
        reveal.commitment.clone_from(&victim.commitment);
        reveal.proof = victim.proof;
    });
    assert_eq!(fault, CeremonyFault::BadProof { member: LIAR });
}

#[test]
fn a_share_that_cannot_be_decrypted() {
    assert_eq!(reveal_lie(|reveal| reveal.shares[0][0] ^= 1), CeremonyFault::BadShare { dealer: LIAR });
    let fault = reveal_lie(|reveal| reveal.ephemeral_key = [0; 33]);
    assert_eq!(fault, CeremonyFault::BadShare { dealer: LIAR });
}

/// A share that decrypts but lies on another polynomial.
#[test]
fn a_share_that_does_not_fit_the_commitment() {
    let mut rng = ChaCha20Rng::seed_from_u64(99);
    let room = Room::new(4, 20);
    let other = deal::deal(&room.members[0].roster, &room.members[0].session(), LIAR, &mut rng).unwrap();
    let fault = reveal_lie(|reveal| {
        reveal.ephemeral_key = other.ephemeral_key;
        reveal.shares = other.shares;
    });
    assert_eq!(fault, CeremonyFault::BadShare { dealer: LIAR });
}

#[test]
fn a_share_meant_for_another_member_does_not_open() {
    assert_eq!(reveal_lie(|reveal| reveal.shares.swap(0, 1)), CeremonyFault::BadShare { dealer: LIAR });
}

#[test]
fn points_that_are_none() {
    assert_eq!(reveal_lie(|reveal| reveal.commitment[1] = [0xff; 48]), CeremonyFault::BadProof { member: LIAR });
}

#[test]
fn a_reveal_of_the_wrong_form() {
    let malformed = |fault| matches!(fault, CeremonyFault::Malformed { member: LIAR, step: Step::Reveal, .. });
    assert!(malformed(reveal_lie(|reveal| _ = reveal.commitment.pop())));
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
    let first_commit = room.members[0].log[&(LIAR, Step::Commit)].bytes.clone();
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
    room.lie(Body::Echo { round_hash: [7; 32] });
    let fault = room.first_fault();
    assert_eq!(fault, CeremonyFault::EchoDiffers { member: LIAR });
    assert_eq!(fault.culprit(), None);
}

#[test]
fn a_wrong_statement_of_success() {
    let mut room = Room::new(4, 24);
    room.run_until(Step::Echo);
    let mut body = room.members[0].success_body().unwrap();
    if let Body::Success { key_set, .. } = &mut body {
        key_set[40] ^= 1;
    }
    room.lie(body);
    assert_eq!(room.first_fault(), CeremonyFault::WrongOutcome { member: LIAR });
}

#[test]
fn a_wrong_test_signature() {
    let mut room = Room::new(4, 25);
    room.run_until(Step::Success);
    let mut bytes = [0; 32];
    bytes[31] = 5;
    let wrong = BlsShare::from_bytes(&bytes).unwrap().sign(&room.members[0].test_message()).to_bytes();
    room.lie(Body::Test { share: wrong });
    assert_eq!(room.first_fault(), CeremonyFault::BadTest { member: LIAR });
    assert!(room.members.iter().all(|member| member.outcome().is_none()));

    let mut room = Room::new(4, 25);
    room.run_until(Step::Success);
    room.lie(Body::Test { share: [0xff; 96] });
    assert_eq!(room.first_fault(), CeremonyFault::BadTest { member: LIAR });
}

#[test]
fn messages_of_nobody_and_of_elsewhere() {
    let mut room = Room::new(4, 26);
    room.run_until(Step::Commit);
    let good = room.members[0].log[&(LIAR, Step::Commit)].bytes.clone();
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
    assert_eq!(member.accept(&changed(0, 3)), Err(CeremonyFault::Version(2)));
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
    let good = room.members[0].log[&(LIAR, Step::Reveal)].bytes.clone();
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
