//! Members that are killed and come back.

use std::collections::BTreeSet;

use super::*;

/// A member that is killed after any message, before or after it was sent, says the same again and nothing else.
#[test]
fn a_member_resumes_at_every_step() {
    for step in Step::ALL {
        let mut room = Room::new(4, 5);
        room.run_until(step);
        for member in &mut room.members {
            let again = Ceremony::resume(&member.save()).unwrap();
            assert_eq!(again.messages(), member.messages());
            assert_eq!(again.session(), member.session());
            *member = again;
        }
        room.run().unwrap();
        room.check_outcome();
    }
}

/// Killed between saving and sending: the saved state already knows what will be said.
#[test]
fn a_restart_from_an_older_save_never_says_anything_else() {
    let mut room = Room::new(4, 6);
    let saved: Vec<_> = room.members.iter().map(Ceremony::save).collect();
    room.run_until(Step::Reveal);
    let mut again = Ceremony::resume(&saved[2]).unwrap();
    again.advance(&mut room.rng).unwrap();
    // Its own messages come back to it from the others, signed with other randomness, and agree.
    for message in room.members[0].messages() {
        again.accept(&message).unwrap();
    }
    room.members[2] = again;
    room.run().unwrap();
    room.check_outcome();
}

#[test]
fn a_damaged_save_is_refused() {
    let mut room = Room::new(4, 7);
    room.run_until(Step::Echo);
    let saved = room.members[1].save();
    assert!(matches!(Ceremony::resume(&saved[..saved.len() - 1]), Err(CeremonyError::Damaged(_))));
    assert!(matches!(Ceremony::resume(b""), Err(CeremonyError::Damaged(_))));
    for position in (0..saved.len()).step_by(97) {
        let mut changed = saved.to_vec();
        changed[position] ^= 1;
        assert!(matches!(Ceremony::resume(&changed), Err(CeremonyError::Damaged(_))), "byte {position}");
    }
}

fn key_of(position: usize) -> MemberIndex {
    MemberIndex(u16::try_from(position).unwrap())
}

/// Every nonce commitment that is in use in the messages known to a member, with the number of shares that were made with it.
fn nonces_in(messages: &Ceremony) -> BTreeMap<[[u8; 33]; 2], usize> {
    let mut used = BTreeMap::new();
    for ((member, (step, attempt)), signed) in &messages.log {
        if let (Step::Nonces, Body::Nonces { commitments, .. }) = (step, &signed.body) {
            let signed = messages.log.contains_key(&(*member, (Step::Test, *attempt)));
            assert!(used.insert(*commitments, usize::from(signed)).is_none(), "a nonce was published twice");
        }
    }
    used
}

/// Nonces are not saved. A member that is killed after it has published them begins another attempt with fresh ones.
#[test]
fn nonces_do_not_survive_a_restart() {
    for killed in 0..4 {
        let mut room = Room::new(4, 40);
        room.run_until(Step::Nonces);
        let again = Ceremony::resume(&room.members[killed].save()).unwrap();
        room.members[killed] = again;
        room.run().unwrap();
        room.check_outcome();
        assert_eq!(room.members[0].complete_attempt(), Some(1));
        assert!(!room.members[0].log.contains_key(&(key_of(killed), (Step::Test, 0))));
        assert_eq!(nonces_in(&room.members[0]).len(), 8);
    }
}

/// Kills members at random moments all through the test, before and after their words have reached anybody.
#[test]
fn restarts_in_the_test_end_in_one_outcome() {
    let mut most = 0;
    for seed in 0..12 {
        let mut room = Room::new(4, seed);
        room.run_until(Step::Success);
        let mut kills = 0;
        let mut turns = 0;
        while !room.members.iter().all(Ceremony::all_stored) {
            turns += 1;
            assert!(turns < 5_000, "seed {seed}: no end in sight");
            let (from, to) = (room.rng.gen_range(0..4), room.rng.gen_range(0..4));
            room.members[from].advance(&mut room.rng).unwrap_or_else(|fault| unreachable!("seed {seed}: {fault}"));
            if kills < 10 && room.rng.gen_range(0..3) == 0 {
                room.members[from] = Ceremony::resume(&room.members[from].save()).unwrap();
                kills += 1;
            }
            for message in room.members[from].messages() {
                room.members[to].accept(&message).unwrap_or_else(|fault| unreachable!("seed {seed}: {fault}"));
            }
        }
        room.check_outcome();
        let complete: BTreeSet<Option<u32>> = room.members.iter().map(Ceremony::complete_attempt).collect();
        assert_eq!(complete.len(), 1, "seed {seed}");
        most = most.max(complete.into_iter().flatten().max().unwrap());
        nonces_in(&room.members[0]);
    }
    assert!(most > 0, "no restart fell into the test");
}

/// A member that takes up an older copy of its state and says other nonces is caught by its own words.
#[test]
fn a_copy_of_the_state_from_before_the_test_is_caught() {
    let mut room = Room::new(4, 41);
    room.run_until(Step::Success);
    let copy = room.members[1].save();
    room.run_until(Step::Nonces);
    let mut again = Ceremony::resume(&copy).unwrap();
    again.advance(&mut room.rng).unwrap();
    let faults: Vec<_> = again.messages().iter().filter_map(|message| room.members[0].accept(message).err()).collect();
    assert!(matches!(faults[..], [CeremonyFault::Equivocation { member: MemberIndex(1), step: Step::Nonces, .. }]));
    // If it hears its own words from the others first, it begins another attempt instead, and all is well.
    let mut again = Ceremony::resume(&copy).unwrap();
    let mut room = Room::new(4, 41);
    room.run_until(Step::Nonces);
    for message in room.members[0].messages() {
        again.accept(&message).unwrap();
    }
    room.members[1] = again;
    room.run().unwrap();
    room.check_outcome();
    assert_eq!(room.members[2].complete_attempt(), Some(1));
}

/// Whoever is awaited in the test is who has not yet answered in the attempt that goes on.
#[test]
fn progress_counts_the_attempt_that_goes_on() {
    let mut room = Room::new(4, 42);
    room.run_until(Step::Nonces);
    let mut rng = room.rng.clone();
    for member in &mut room.members[..3] {
        member.advance(&mut rng).unwrap();
    }
    let mut again = Ceremony::resume(&room.members[3].save()).unwrap();
    again.advance(&mut rng).unwrap();
    for message in again.messages() {
        room.members[0].accept(&message).unwrap();
    }
    let expected = [Step::Success, Step::Success, Step::Success, Step::Nonces];
    assert_eq!(room.members[0].progress().into_iter().map(|(_, step)| step).collect::<Vec<_>>(), expected);
}

#[test]
fn the_number_of_attempts_has_an_end() {
    let mut room = Room::new(4, 43);
    room.run_until(Step::Nonces);
    for attempt in 1..MAX_ATTEMPTS {
        let again = Ceremony::resume(&room.members[0].save()).unwrap();
        room.members[0] = again;
        room.members[0].advance(&mut room.rng).unwrap();
        assert_eq!(room.members[0].current_attempt(), attempt);
    }
    room.members[0] = Ceremony::resume(&room.members[0].save()).unwrap();
    assert_eq!(room.members[0].advance(&mut room.rng), Err(CeremonyFault::TooManyAttempts(MAX_ATTEMPTS)));
}
