#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::{
    keys::MemberSeed,
    valve::{ValveSettings, ValveSettingsError},
};

/// Seeds and roster of a federation of `count` members; the same for the same `count`.
pub(crate) fn federation_of(count: usize) -> (Vec<MemberSeed>, Roster) {
    let mut rng = ChaCha20Rng::seed_from_u64(u64::try_from(count).unwrap());
    let seeds: Vec<MemberSeed> = (0..count).map(|_| MemberSeed::generate(&mut rng)).collect();
    let cards = seeds.iter().enumerate().map(|(i, seed)| card(seed, i)).collect();
    (seeds, Roster::new(Settings::default(), cards).unwrap())
}

pub(crate) fn details(i: usize) -> CardDetails {
    CardDetails {
        name: format!("member-{i}"),
        peer_address: format!("127.0.0.1:{}", 7000 + i),
        api_address: format!("127.0.0.1:{}", 8000 + i),
        tls_certificate: vec![0x30, 1, u8::try_from(i).unwrap()],
    }
}

fn card(seed: &MemberSeed, i: usize) -> MemberCard {
    MemberCard::new(&seed.keys(), details(i)).unwrap()
}

#[test]
fn thresholds() {
    let table: Vec<usize> = (1..=20).map(threshold_of).collect();
    assert_eq!(table, [1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11, 11, 12, 13, 13, 14]);
}

#[test]
fn json_round_trip_and_checks_on_reading() {
    let (_, roster) = federation_of(4);
    let json = serde_json::to_value(&roster).unwrap();
    assert_eq!(serde_json::from_value::<Roster>(json.clone()).unwrap(), roster);
    let mut version = json.clone();
    version["version"] = 2.into();
    let error = serde_json::from_value::<Roster>(version).unwrap_err().to_string();
    assert_eq!(error, RosterError::Version(2).to_string());
    let mut renamed = json;
    renamed["members"][2]["name"] = "mallory".into();
    let error = serde_json::from_value::<Roster>(renamed).unwrap_err().to_string();
    assert!(error.contains("#2") && error.contains("mallory") && error.contains("signature"), "{error}");
}

#[test]
fn hash_covers_everything() {
    let (seeds, roster) = federation_of(4);
    let mut settings = vec![Settings::default(); 8];
    settings[0].chain_name = "other".to_owned();
    settings[1].parent = Network::Signet;
    settings[2].pegin_confirmation_depth_blocks += 1;
    settings[3].epoch_length_blocks += 1;
    settings[4].idle_interval_ms += 1;
    settings[5].min_block_spacing_ms += 1;
    let keys = vec![roster.members[0].peg_key.x_only_public_key().0];
    settings[6].emergency = Some(Emergency { keys, threshold: 1, timelock_blocks: 4_032 });
    settings[7].valve.window_limit_sat += 1;
    let mut hashes: BTreeSet<[u8; 32]> =
        settings.into_iter().map(|s| Roster::new(s, roster.members.clone()).unwrap().hash()).collect();
    hashes.insert(roster.hash());
    let mut swapped = roster.members.clone();
    swapped.swap(0, 1);
    hashes.insert(Roster::new(Settings::default(), swapped).unwrap().hash());
    let mut moved = roster.members.clone();
    moved[3] = MemberCard::new(&seeds[3].keys(), details(9)).unwrap();
    hashes.insert(Roster::new(Settings::default(), moved).unwrap().hash());
    assert_eq!(hashes.len(), 11);
    assert_eq!(roster.fingerprint().replace(' ', ""), hex::encode(roster.hash()));
    assert_eq!(roster.fingerprint().split(' ').count(), 16);
}

/// The hash is what operators compare and what the ceremony is bound to; a change of format changes it on purpose only.
#[test]
fn hash_is_frozen() {
    assert_eq!(
        hex::encode(federation_of(4).1.hash()),
        "d6749b98e84e953631fac2ee86eb45a5e32f5eccc3360c9ba1f0d081d8775e51"
    );
}

#[test]
fn bad_cards_are_named() {
    let (_, roster) = federation_of(4);
    let broken = |change: &dyn Fn(&mut MemberCard)| {
        let mut members = roster.members.clone();
        change(&mut members[1]);
        Roster::new(Settings::default(), members).unwrap_err()
    };
    let fault = |name: &str, error| RosterError::Card { index: MemberIndex(1), name: name.to_owned(), error };
    assert_eq!(broken(&|c| c.version = 7), fault("member-1", CardError::Version(7)));
    assert_eq!(broken(&|c| c.name = "M".to_owned()), fault("M", CardError::Name("M".to_owned())));
    assert_eq!(broken(&|c| c.name.clear()), fault("", CardError::Name(String::new())));
    assert_eq!(
        broken(&|c| c.api_address = "here".to_owned()),
        fault("member-1", CardError::Address("here".to_owned()))
    );
    assert_eq!(broken(&|c| c.tls_certificate.clear()), fault("member-1", CardError::Certificate(0)));
    assert_eq!(broken(&|c| c.peer_address = "127.0.0.1:1".to_owned()), fault("member-1", CardError::Signature));
    assert_eq!(broken(&|c| c.peg_key = c.block_key), fault("member-1", CardError::Signature));
}

#[test]
fn members_share_nothing() {
    let (seeds, roster) = federation_of(4);
    let with = |seed: &MemberSeed, details: CardDetails| {
        let mut members = roster.members.clone();
        members[3] = MemberCard::new(&seed.keys(), details).unwrap();
        Roster::new(Settings::default(), members).unwrap_err()
    };
    let duplicate =
        |what, second: &str| RosterError::Duplicate { what, first: "member-0".to_owned(), second: second.to_owned() };
    let mut same = details(3);
    same.name = "member-0".to_owned();
    assert_eq!(with(&seeds[3], same), duplicate("name", "member-0"));
    let mut same = details(3);
    same.peer_address = "127.0.0.1:8000".to_owned();
    assert_eq!(with(&seeds[3], same), duplicate("address", "member-3"));
    let mut same = details(3);
    same.tls_certificate = details(0).tls_certificate;
    assert_eq!(with(&seeds[3], same), duplicate("TLS certificate", "member-3"));
    assert_eq!(with(&seeds[0], details(3)), duplicate("key", "member-3"));
    // One key for two purposes, even on one card.
    let mut keys = seeds[3].keys();
    keys.peg = keys.block;
    let mut members = roster.members.clone();
    members[3] = MemberCard::new(&keys, details(3)).unwrap();
    let error = Roster::new(Settings::default(), members).unwrap_err();
    assert!(matches!(error, RosterError::Duplicate { what: "key", .. }));
}

#[test]
fn sizes_and_settings() {
    let (_, roster) = federation_of(4);
    assert_eq!(Roster::new(Settings::default(), vec![]).unwrap_err(), RosterError::Empty);
    let many = vec![roster.members[0].clone(); 21];
    assert_eq!(Roster::new(Settings::default(), many).unwrap_err(), RosterError::TooManyMembers(21));
    let bad = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err()
    };
    assert_eq!(bad(&|s| s.chain_name = "A".to_owned()), SettingsError::ChainName("A".to_owned()));
    assert_eq!(bad(&|s| s.chain_name = "a".repeat(33)), SettingsError::ChainName("a".repeat(33)));
    assert_eq!(bad(&|s| s.chain_name = "liquidv1".to_owned()), SettingsError::ReservedChainName("liquidv1".to_owned()));
    assert_eq!(bad(&|s| s.pegin_confirmation_depth_blocks = 0), SettingsError::NoDepth);
    assert_eq!(bad(&|s| s.epoch_length_blocks = 0), SettingsError::NoEpoch);
    assert_eq!(bad(&|s| s.idle_interval_ms = 10), SettingsError::IdleInterval { idle_ms: 10, spacing_ms: 1_000 });
    assert_eq!(bad(&|s| s.valve.window_seconds = 0), SettingsError::Valve(ValveSettingsError::Window(0)));
    // A devnet's valve is not for real money.
    assert_eq!(bad(&|s| s.parent = Network::Bitcoin), SettingsError::NoDelayOnMain(0));
    let main = Settings { parent: Network::Bitcoin, valve: ValveSettings::production(), ..Settings::default() };
    assert_eq!(main.check(), Ok(()));
}

#[test]
fn scripts_are_multisig_in_roster_order() {
    let (_, roster) = federation_of(4);
    let params = roster.chain_params();
    let bytes = params.signblock_script.as_bytes();
    assert_eq!((bytes[0], bytes[bytes.len() - 2], bytes[bytes.len() - 1]), (0x53, 0x54, 0xae));
    for (i, card) in roster.members().iter().enumerate() {
        assert_eq!(&bytes[2 + 34 * i..35 + 34 * i], card.block_key.serialize());
        assert_eq!(&params.fedpeg_script.as_bytes()[2 + 34 * i..35 + 34 * i], card.peg_key.serialize());
    }
    assert_eq!(params.max_block_signature_size, 1 + 1 + 3 * 73 + 1 + 139);
    assert_eq!(params.parent_genesis.to_string(), "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206");
    let (_, large) = federation_of(20);
    let params = large.chain_params();
    let bytes = params.fedpeg_script.as_bytes();
    assert_eq!((bytes[0], &bytes[bytes.len() - 3..]), (0x5e, &[1, 20, 0xae][..]));
    assert_eq!(bytes.len(), 1 + 20 * 34 + 3);
}

#[test]
fn look_ups() {
    let (_, roster) = federation_of(4);
    assert_eq!(roster.index_of_certificate(&[0x30, 1, 2]), Some(MemberIndex(2)));
    assert_eq!(roster.index_of_certificate(&[0x30]), None);
    assert_eq!(roster.index_of_host_key(&roster.members()[3].host_key), Some(MemberIndex(3)));
    assert_eq!(roster.member(MemberIndex(4)), None);
    assert_eq!(MemberIndex(4).to_string(), "#4");
}
