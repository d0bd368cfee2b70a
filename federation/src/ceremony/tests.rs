#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use rand::{Rng, seq::SliceRandom};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::{keys::TreasuryKeyError, roster::tests::federation_of};

mod liars;
mod recovery;
mod restarts;

/// A federation in the middle of its ceremony, with a reproducible source of randomness.
pub(super) struct Room {
    pub(super) seeds: Vec<MemberSeed>,
    pub(super) members: Vec<Ceremony>,
    pub(super) rng: ChaCha20Rng,
}

impl Room {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (seeds, roster) = federation_of(count);
        let members = roster.indexed().zip(&seeds);
        let members =
            members.map(|((index, _), seed)| Ceremony::new(roster.clone(), seed, index, &mut rng).unwrap()).collect();
        Self { seeds, members, rng }
    }

    /// Everybody says what it can, then hears all that the others have said. The first fault ends it.
    pub(super) fn round(&mut self) -> Result<bool, CeremonyFault> {
        let mut new = false;
        for member in &mut self.members {
            new |= member.advance(&mut self.rng)?;
        }
        let said: Vec<Vec<u8>> = self.members.iter().flat_map(Ceremony::messages).collect();
        for member in &mut self.members {
            for message in &said {
                new |= member.accept(message)?;
            }
        }
        Ok(new)
    }

    pub(super) fn run(&mut self) -> Result<(), CeremonyFault> {
        while self.round()? {}
        Ok(())
    }

    /// Plays rounds until everybody has said its message of this step.
    pub(super) fn run_until(&mut self, step: Step) {
        while !self.members.iter().all(|member| member.is_complete((step, 0))) {
            assert!(self.round().unwrap(), "the ceremony stopped before {step}");
        }
    }

    fn check_outcome(&self) {
        let outcomes: Vec<CeremonyOutcome> = self.members.iter().map(|m| m.outcome().unwrap()).collect();
        for (outcome, member) in outcomes.iter().zip(&self.members) {
            let CeremonyOutcome { file, certificate_share, treasury_share } = outcome;
            assert!(member.all_stored());
            assert_eq!(file, &outcomes[0].file);
            let federation = file.check().unwrap();
            assert_eq!(federation.public_key_share(member.me()).unwrap(), &certificate_share.public());
            let key = &federation.treasury_key;
            let again = TreasuryShare::from_bytes(&treasury_share.to_bytes(), member.me(), key).unwrap();
            assert_eq!(&again, treasury_share);
        }
    }
}

/// A federation after its ceremony, with the share of every member.
pub(crate) fn federation_with_shares(count: usize) -> (crate::federation::Federation, Vec<BlsShare>) {
    let mut room = Room::new(count, 1);
    room.run().unwrap();
    let federation = room.members[0].outcome().unwrap().file.check().unwrap();
    (federation, room.members.iter().map(|member| member.outcome().unwrap().certificate_share).collect())
}

#[test]
fn four_members_make_a_key() {
    let mut room = Room::new(4, 1);
    room.run().unwrap();
    room.check_outcome();
    let file = room.members[0].outcome().unwrap().file;
    assert_eq!((file.key_set.len(), file.treasury_key.len()), (3 * 48, 3 * 33));
    let json = serde_json::to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<FederationFile>(&json).unwrap(), file);
}

#[test]
fn one_member_makes_a_key_alone() {
    let mut room = Room::new(1, 1);
    room.run().unwrap();
    room.check_outcome();
    assert_eq!(room.members[0].outcome().unwrap().file.key_set.len(), 48);
}

#[test]
fn two_and_seven_members_make_a_key() {
    for count in [2, 7] {
        let mut room = Room::new(count, 1);
        room.run().unwrap();
        room.check_outcome();
    }
}

/// Messages arrive in any order, many times, through anyone, one by one.
#[test]
fn any_order_of_delivery_leads_to_the_same_end() {
    for seed in 0..4 {
        let mut room = Room::new(4, seed);
        let mut turns = 0;
        while !room.members.iter().all(Ceremony::all_stored) {
            turns += 1;
            assert!(turns < 5_000, "seed {seed}: no end in sight");
            let (from, to) = (room.rng.gen_range(0..4), room.rng.gen_range(0..4));
            room.members[from].advance(&mut room.rng).unwrap_or_else(|fault| unreachable!("seed {seed}: {fault}"));
            let messages = room.members[from].messages();
            if let Some(message) = messages.choose(&mut room.rng) {
                room.members[to].accept(message).unwrap_or_else(|fault| unreachable!("seed {seed}: {fault}"));
            }
        }
        room.check_outcome();
    }
}

/// The secret exists only once everybody stated success and showed that its share signs.
#[test]
fn there_is_no_outcome_before_all_have_tested() {
    let mut room = Room::new(4, 8);
    for step in [Step::Commit, Step::Reveal, Step::Echo, Step::Success, Step::Nonces] {
        room.run_until(step);
        assert!(room.members.iter().all(|member| member.outcome().is_none() && !member.all_stored()), "{step}");
    }
    // Success of all but one is not success.
    let mut late = Room::new(4, 8);
    late.run_until(Step::Echo);
    for member in &mut late.members[..3] {
        member.advance(&mut late.rng).unwrap();
    }
    let said: Vec<Vec<u8>> = late.members[..3].iter().flat_map(Ceremony::messages).collect();
    for message in &said {
        late.members[0].accept(message).unwrap();
    }
    assert!(!late.members[0].advance(&mut late.rng).unwrap());
    assert_eq!(late.members[0].progress().iter().filter(|(_, step)| *step == Step::Success).count(), 3);
    assert!(late.members[0].outcome().is_none());
}

#[test]
fn progress_names_who_is_awaited() {
    let mut room = Room::new(4, 9);
    assert_eq!(room.members[0].progress(), []);
    let mut rng = room.rng.clone();
    room.members[0].advance(&mut rng).unwrap();
    assert_eq!(room.members[0].progress(), [(MemberIndex(0), Step::Commit)]);
    room.run().unwrap();
    let done: Vec<_> = (0..4).map(|i| (MemberIndex(i), Step::Stored)).collect();
    assert_eq!(room.members[3].progress(), done);
}

#[test]
fn only_the_owner_of_a_card_can_begin() {
    let (seeds, roster) = federation_of(4);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let error = Ceremony::new(roster.clone(), &seeds[0], MemberIndex(1), &mut rng).unwrap_err();
    assert_eq!(error, CeremonyError::WrongSeed(MemberIndex(1)));
    let error = Ceremony::new(roster, &seeds[0], MemberIndex(4), &mut rng).unwrap_err();
    assert_eq!(error, CeremonyError::NotAMember(MemberIndex(4)));
}

/// What a federation file must prove, whoever hands it over.
#[test]
fn a_changed_federation_file_is_refused() {
    use crate::federation::FederationFileError as E;
    let mut room = Room::new(4, 10);
    room.run().unwrap();
    let file = room.members[0].outcome().unwrap().file;
    let mut other_room = Room::new(4, 11);
    other_room.run().unwrap();
    let other = other_room.members[0].outcome().unwrap().file;
    let fault = |change: &dyn Fn(&mut FederationFile)| {
        let mut file = file.clone();
        change(&mut file);
        file.check().unwrap_err()
    };
    let first = E::Signature { index: MemberIndex(0), name: "member-0".to_owned() };
    assert_eq!(fault(&|f| f.version = 1), E::Version(1));
    assert_eq!(fault(&|f| f.transcript_hash[0] ^= 1), first);
    assert_eq!(fault(&|f| f.key_set.clone_from(&other.key_set)), first);
    assert_eq!(fault(&|f| f.treasury_key.clone_from(&other.treasury_key)), first);
    assert_eq!(
        fault(&|f| f.signatures[2] = other.signatures[2]),
        E::Signature { index: MemberIndex(2), name: "member-2".to_owned() }
    );
    assert_eq!(fault(&|f| f.signatures.swap(0, 1)), first);
    assert_eq!(fault(&|f| _ = f.signatures.pop()), E::SignatureCount { found: 3, expected: 4 });
    assert!(matches!(fault(&|f| _ = f.key_set.pop()), E::KeySet { threshold: 3, .. }));
    assert!(matches!(fault(&|f| f.key_set.fill(0xff)), E::KeySet { threshold: 3, .. }));
    assert!(matches!(fault(&|f| _ = f.treasury_key.pop()), E::TreasuryKey(TreasuryKeyError { threshold: 3, .. })));
    assert!(matches!(fault(&|f| f.treasury_key.fill(0)), E::TreasuryKey(TreasuryKeyError { threshold: 3, .. })));
    let neutral = [&[0xc0][..], &[0; 47]].concat().repeat(3);
    assert!(matches!(
        fault(&|f| f.key_set.clone_from(&neutral)),
        E::KeySet { reason: "the key is the neutral element", .. }
    ));
    let (_, larger) = federation_of(7);
    assert!(matches!(fault(&|f| f.roster = larger.clone()), E::KeySet { threshold: 5, .. }));
}
