//! The treasury's output, against miniscript and against FROST's own tweak.

use frost_secp256k1_tr::keys::Tweak as _;
use miniscript::{Descriptor, descriptor::checksum};

use super::*;
use crate::roster::{Emergency, EmergencyError, RosterError, Settings, SettingsError};

fn emergency() -> Emergency {
    let keys = (1..=3u8).map(|byte| {
        let pair = bitcoin::secp256k1::Keypair::from_seckey_slice(bitcoin::secp256k1::SECP256K1, &[byte; 32]).unwrap();
        pair.x_only_public_key().0
    });
    Emergency { keys: keys.collect(), threshold: 2, timelock_blocks: 4_032 }
}

fn with(fixture: &Fixture, emergency: Emergency) -> Result<Roster, RosterError> {
    let settings = Settings { emergency: Some(emergency), ..fixture.roster.settings().clone() };
    Roster::new(settings, fixture.roster.members().to_vec())
}

/// Miniscript builds the same scripts, tree and address from the descriptor, and finds nothing wrong with them.
fn check(output: &TreasuryOutput) {
    let descriptor: Descriptor<bitcoin::XOnlyPublicKey> = output.descriptor().parse().unwrap();
    descriptor.sanity_check().unwrap();
    assert_eq!(descriptor.script_pubkey(), *output.script_pubkey());
    let expected = format!("{}#{}", output.descriptor(), checksum::desc_checksum(output.descriptor()).unwrap());
    assert_eq!(descriptor.to_string(), expected);
    let Descriptor::Tr(tr) = &descriptor else { unreachable!() };
    let info = tr.spend_info();
    assert_eq!(info.merkle_root(), Some(output.merkle_root()));
    assert_eq!(info.output_key().to_x_only_public_key(), output.output_key());
    let scripts: Vec<ScriptBuf> = tr.iter_scripts().map(|(_, script)| script.encode()).collect();
    let leaves: Vec<&Leaf> = [Some(output.members_leaf()), output.emergency_leaf()].into_iter().flatten().collect();
    assert_eq!(scripts, leaves.iter().map(|leaf| leaf.script.clone()).collect::<Vec<_>>());
    for leaf in leaves {
        let secp = bitcoin::secp256k1::SECP256K1;
        assert!(leaf.control_block.verify_taproot_commitment(secp, output.output_key(), &leaf.script));
    }
}

#[test]
fn miniscript_builds_the_same_output() {
    for members in [1, 2, 4, 7, 15, 17, 20] {
        let fixture = Fixture::of(members);
        check(fixture.treasury.output());
        let roster = with(&fixture, emergency()).unwrap();
        let treasury = Treasury::new(&roster, &fixture.key).unwrap();
        check(treasury.output());
        assert_ne!(treasury.output().script_pubkey(), fixture.treasury.output().script_pubkey());
    }
}

#[test]
fn frost_tweaks_its_key_to_the_same_output() {
    for members in [1, 4, 15] {
        let fixture = Fixture::of(members);
        let output = fixture.treasury.output();
        let tweaked = fixture.key.package().clone().tweak(Some(output.merkle_root().to_byte_array()));
        assert_eq!(tweaked.verifying_key().serialize().unwrap()[1..], output.output_key().serialize());
    }
}

/// What fees are measured with is what miniscript says of the script's largest witness.
#[test]
fn weights_are_those_of_miniscript() {
    let fixture = Fixture::of(15);
    let coin = fixture.change(1, BTC);
    let descriptor: Descriptor<bitcoin::XOnlyPublicKey> = fixture.treasury.output().descriptor().parse().unwrap();
    let weight = |path| coin.input_weight(&fixture.treasury, path);
    // Outpoint, empty script and sequence: 41 bytes, four units each; miniscript counts what is added to an empty input.
    let bare = 41 * 4;
    assert_eq!(weight(SpendPath::Key), bare + 1 + 1 + 64);
    let satisfaction = descriptor.max_weight_to_satisfy().unwrap().to_wu();
    // Miniscript leaves room for a sighash byte in each signature; with `SIGHASH_DEFAULT` there is none.
    let signatures = u64::try_from(fixture.threshold()).unwrap();
    assert_eq!(weight(SpendPath::Members), bare + 1 + satisfaction - signatures);
}

#[test]
fn emergency_settings_are_checked() {
    let fixture = Fixture::new();
    let error = |change: &dyn Fn(&mut Emergency)| {
        let mut emergency = emergency();
        change(&mut emergency);
        match with(&fixture, emergency) {
            Err(RosterError::Settings(SettingsError::Emergency(error))) => error,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(error(&|e| e.keys.clear()), EmergencyError::KeyCount(0));
    assert_eq!(error(&|e| e.keys = vec![e.keys[0]; 21]), EmergencyError::KeyCount(21));
    assert_eq!(error(&|e| e.keys[1] = e.keys[0]), EmergencyError::Twice(emergency().keys[0]));
    assert_eq!(error(&|e| e.threshold = 0), EmergencyError::Threshold { threshold: 0, keys: 3 });
    assert_eq!(error(&|e| e.threshold = 4), EmergencyError::Threshold { threshold: 4, keys: 3 });
    assert_eq!(error(&|e| e.timelock_blocks = 0), EmergencyError::NoTimelock);
    // They are part of what operators compare.
    let hash = |emergency| with(&fixture, emergency).unwrap().hash();
    assert_ne!(hash(emergency()), fixture.roster.hash());
    assert_ne!(hash(emergency()), hash(Emergency { timelock_blocks: 4_033, ..emergency() }));
}
