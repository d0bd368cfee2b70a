//! A member that has lost everything but its words.

use super::*;

#[test]
fn seed_and_messages_of_any_other_member_give_the_shares_back() {
    let mut room = Room::new(4, 50);
    room.run().unwrap();
    for (position, member) in room.members.iter().enumerate() {
        let CeremonyOutcome { file, certificate_share, treasury_share } = member.outcome().unwrap();
        let mut messages = room.members[(position + 1) % 4].messages();
        messages.shuffle(&mut room.rng);
        let seed = MemberSeed::from_words(&room.seeds[position].words()).unwrap();
        let shares = recover_shares(&file, &seed, member.me(), &messages).unwrap();
        assert_eq!(shares, MemberShares { certificate: certificate_share, treasury: treasury_share });
    }
}

#[test]
fn messages_that_do_not_give_them_back_say_why() {
    let mut room = Room::new(4, 51);
    room.run().unwrap();
    let file = room.members[0].outcome().unwrap().file;
    let messages = room.members[1].messages();
    let me = MemberIndex(0);
    let recover = |seed: usize, messages: &[Vec<u8>]| recover_shares(&file, &room.seeds[seed], me, messages);
    assert_eq!(recover(1, &messages), Err(RecoveryError::WrongSeed(me)));
    assert_eq!(recover(0, &[]), Err(RecoveryError::Missing(me)));

    let is_reveal_of_two = |bytes: &Vec<u8>| {
        let signed = message::open(&file.roster, &session_of(&file.roster), bytes).unwrap();
        signed.from == MemberIndex(2) && signed.body.place().0 == Step::Reveal
    };
    let position = messages.iter().position(is_reveal_of_two).unwrap();
    let mut fewer = messages.clone();
    fewer.remove(position);
    assert_eq!(recover(0, &fewer), Err(RecoveryError::Missing(MemberIndex(2))));

    let mut changed = messages.clone();
    *changed[position].last_mut().unwrap() ^= 1;
    let fault = CeremonyFault::BadSignature { claimed: MemberIndex(2) };
    assert_eq!(recover(0, &changed), Err(RecoveryError::Message(fault)));

    // A reveal that member 2 never used, correctly signed and dealt: the keys it leads to are others.
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let other = deal::deal(&file.roster, &session_of(&file.roster), MemberIndex(2), &mut rng).unwrap();
    let host = room.seeds[2].keys().host;
    let mut rewritten = messages;
    let session = session_of(&file.roster);
    rewritten[position] = message::sign(&session, MemberIndex(2), Body::Reveal(other), &host, &mut rng).bytes;
    assert_eq!(recover(0, &rewritten), Err(RecoveryError::OtherKeys));
}
