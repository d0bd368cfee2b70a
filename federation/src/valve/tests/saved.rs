//! The state on disk.

use super::*;
use crate::encoding::tagged_hash;

fn busy() -> Chain {
    let mut chain = Chain::new(4, plain(), 1_000_000);
    chain.block(100, &[request(1, 6_000, 0)], &[chain.notice(0, NoticeKind::Halt)]);
    chain.block(100, &[request(2, 3_000, 0)], &[]);
    chain
}

#[test]
fn what_is_saved_comes_back_and_damage_is_seen() {
    let chain = busy();
    let saved = chain.valve.save();
    assert_eq!(Valve::load(&chain.roster, CHAIN, &saved).unwrap(), chain.valve);
    for position in 0..saved.len() {
        let mut damaged = saved.clone();
        damaged[position] ^= 1;
        let error = Valve::load(&chain.roster, CHAIN, &damaged).unwrap_err();
        assert!(matches!(error, SavedValveError::Damaged(_)), "{position}");
    }
    for length in 0..saved.len() {
        assert!(Valve::load(&chain.roster, CHAIN, &saved[..length]).is_err());
    }
}

#[test]
fn another_version_federation_or_chain_is_refused() {
    let chain = busy();
    let saved = chain.valve.save();
    assert_eq!(Valve::load(&chain.roster, [8; 32], &saved), Err(SavedValveError::OtherFederation));
    let mut settings = plain();
    settings.window_limit_sat += 1;
    let (_, other) = federation(4, settings);
    assert_eq!(Valve::load(&other, CHAIN, &saved), Err(SavedValveError::OtherFederation));
    let (_, other) = federation(7, plain());
    assert_eq!(Valve::load(&other, CHAIN, &saved), Err(SavedValveError::OtherFederation));

    let mut content = saved[..saved.len() - 32].to_vec();
    content[0] = 2;
    let check = tagged_hash("aquifer/valve/saved/v1", &[&content]);
    let newer = [&content[..], &check].concat();
    assert_eq!(Valve::load(&chain.roster, CHAIN, &newer), Err(SavedValveError::Version(2)));
}

/// Members compare states byte for byte, and read what an earlier version wrote: a change of format is made on purpose.
#[test]
fn the_format_is_frozen() {
    let saved = busy().valve.save();
    assert_eq!(
        hex::encode(tagged_hash("frozen", &[&saved])),
        "d04270d3f6c1b7a2d1d168ee2f6eb59fbcde43ed4b6e7388f7218127fadbbc9e"
    );
}
