//! What kind of scripts a wallet has and who must sign: one key, or several of several cosigners.
//!
//! The kind is part of the confidential descriptor (ELIP 150), so the descriptor is all that is kept of it. A wallet of
//! several cosigners takes its blinding key from the descriptor itself (ELIP 151): every cosigner who enters the same
//! keys, in whatever order, gets the same wallet, and no further secret has to be handed around. Whoever knows all keys
//! of the cosigners sees the amounts, so they are private data, although they can spend nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bitcoin::NetworkKind;
use bitcoin::bip32::{DerivationPath, Fingerprint, Xpub};
use lwk_common::{DescriptorBlindingKey, Multisig as MultisigScript, Singlesig, multisig_desc};
use lwk_wollet::WolletDescriptor;
use lwk_wollet::elements_miniscript::descriptor::{Descriptor, DescriptorPublicKey, ShInner, WshInner};
use lwk_wollet::elements_miniscript::{ForEachKey, Terminal};

use super::KeystoreError;

/// The most keys that `OP_CHECKMULTISIG` takes.
const MAX_COSIGNERS: usize = 20;

/// The scripts of a wallet with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ScriptType {
    /// P2WPKH, derived as BIP 84 says
    #[default]
    Wpkh,
    /// P2WPKH inside P2SH, as BIP 49 says, for payers that know no segwit addresses
    #[value(name = "shwpkh")]
    ShWpkh,
    /// Taproot with the key path only, as BIP 86 says
    Tr,
}

impl ScriptType {
    pub(super) fn lwk(self) -> Singlesig {
        match self {
            Self::Wpkh => Singlesig::Wpkh,
            Self::ShWpkh => Singlesig::ShWpkh,
            Self::Tr => Singlesig::Tr,
        }
    }
}

impl fmt::Display for ScriptType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wpkh => "wpkh",
            Self::ShWpkh => "shwpkh",
            Self::Tr => "tr",
        })
    }
}

/// A cosigner's public key of BIP 87 with its origin, written `[fingerprint/87h/1h/0h]tpub…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignerKey {
    fingerprint: Fingerprint,
    path: DerivationPath,
    key: Xpub,
}

impl CosignerKey {
    pub(super) fn new(fingerprint: Fingerprint, path: DerivationPath, key: Xpub) -> Self {
        Self { fingerprint, path, key }
    }

    /// What names the cosigner in a PSET: the fingerprint of the key that all of theirs are derived from.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.fingerprint)?;
        for step in &self.path {
            write!(f, "/{}", step.to_string().replace('\'', "h"))?;
        }
        write!(f, "]{}", self.key)
    }
}

impl FromStr for CosignerKey {
    type Err = KeystoreError;

    fn from_str(text: &str) -> Result<Self, KeystoreError> {
        let bad = |reason: String| KeystoreError::BadCosigner { key: text.to_owned(), reason };
        if text.contains("prv") {
            return Err(KeystoreError::PrivateCosigner);
        }
        let (origin, key) = lwk_common::keyorigin_xpub_from_str(text.trim()).map_err(|error| bad(error.to_string()))?;
        let (fingerprint, path) = origin.ok_or_else(|| bad("its origin in brackets is missing".to_owned()))?;
        if key.network != NetworkKind::Test {
            return Err(bad("it is a key for Bitcoin's main network".to_owned()));
        }
        if usize::from(key.depth) != path.len() {
            return Err(bad(format!("the origin has {} steps, the key {}", path.len(), key.depth)));
        }
        Ok(Self { fingerprint, path, key })
    }
}

/// So many signatures of these cosigners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multisig {
    threshold: u32,
    cosigners: Vec<CosignerKey>,
}

impl Multisig {
    /// Checks the numbers and puts the keys into the one order that all cosigners use, that of their texts.
    pub fn new(threshold: u32, mut cosigners: Vec<CosignerKey>) -> Result<Self, KeystoreError> {
        let count = cosigners.len();
        if !(2..=MAX_COSIGNERS).contains(&count) {
            return Err(KeystoreError::CosignerCount(count));
        }
        if threshold == 0 || usize::try_from(threshold).is_ok_and(|threshold| threshold > count) {
            return Err(KeystoreError::Threshold { threshold, cosigners: count });
        }
        // Signatures are counted by fingerprint, so one seed takes part once.
        let (mut keys, mut seeds) = (BTreeSet::new(), BTreeSet::new());
        let repeated = |cosigner: &&CosignerKey| !keys.insert(cosigner.key) || !seeds.insert(cosigner.fingerprint);
        if let Some(twice) = cosigners.iter().find(repeated) {
            return Err(KeystoreError::CosignerTwice(twice.to_string()));
        }
        cosigners.sort_by_key(ToString::to_string);
        Ok(Self { threshold, cosigners })
    }

    /// Signatures that a spend needs.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// All cosigners, in the order of the script.
    pub fn cosigners(&self) -> &[CosignerKey] {
        &self.cosigners
    }

    /// The confidential descriptor: P2WSH over `OP_CHECKMULTISIG`, with the blinding key of ELIP 151.
    pub(super) fn descriptor(&self) -> Result<String, KeystoreError> {
        let keys =
            self.cosigners.iter().map(|cosigner| (Some((cosigner.fingerprint, cosigner.path.clone())), cosigner.key));
        multisig_desc(self.threshold, keys.collect(), MultisigScript::Wsh, DescriptorBlindingKey::Elip151)
            .map_err(KeystoreError::Derive)
    }
}

/// What kind of wallet it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// One key signs.
    Single(ScriptType),
    /// Several cosigners sign.
    Multisig(Multisig),
}

impl Account {
    /// Reads the kind from a descriptor.
    pub fn of(descriptor: &WolletDescriptor) -> Result<Self, KeystoreError> {
        let unknown = || KeystoreError::UnknownDescriptor;
        match descriptor.descriptor().map_err(|_| unknown())? {
            Descriptor::Wpkh(_) => Ok(Self::Single(ScriptType::Wpkh)),
            Descriptor::Tr(_) => Ok(Self::Single(ScriptType::Tr)),
            Descriptor::Sh(sh) if matches!(sh.as_inner(), ShInner::Wpkh(_)) => Ok(Self::Single(ScriptType::ShWpkh)),
            Descriptor::Wsh(wsh) => {
                let WshInner::Ms(script) = wsh.as_inner() else { return Err(unknown()) };
                let Terminal::Multi(threshold, keys) = &script.node else { return Err(unknown()) };
                let cosigners: Option<Vec<CosignerKey>> = keys.iter().map(cosigner).collect();
                let threshold = u32::try_from(*threshold).map_err(|_| unknown())?;
                Ok(Self::Multisig(Multisig { threshold, cosigners: cosigners.ok_or_else(unknown)? }))
            }
            _ => Err(unknown()),
        }
    }

    /// Signatures that each input of a spend needs.
    pub fn threshold(&self) -> u32 {
        match self {
            Self::Single(_) => 1,
            Self::Multisig(multisig) => multisig.threshold,
        }
    }
}

/// `wpkh`, `shwpkh`, `tr`, or for example `2-of-3 multisig`.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(script) => script.fmt(f),
            Self::Multisig(multisig) => write!(f, "{}-of-{} multisig", multisig.threshold, multisig.cosigners.len()),
        }
    }
}

fn cosigner(key: &DescriptorPublicKey) -> Option<CosignerKey> {
    let DescriptorPublicKey::MultiXPub(key) = key else { return None };
    let (fingerprint, path) = key.origin.clone()?;
    Some(CosignerKey { fingerprint, path, key: key.xkey })
}

/// The fingerprints of all signers in a descriptor.
pub(crate) fn signers(descriptor: &WolletDescriptor) -> BTreeSet<Fingerprint> {
    let mut found = BTreeSet::new();
    if let Ok(descriptor) = descriptor.descriptor() {
        descriptor.for_each_key(|key| {
            found.insert(key.master_fingerprint());
            true
        });
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::keystore::Keys;
    use crate::testing::{OTHER_WORDS, THIRD_WORDS, TestNetwork, WORDS};

    fn keys() -> Vec<CosignerKey> {
        let network = TestNetwork::start(&["a"]);
        let key = |words| Keys::from_words(words, &network.chain).unwrap().cosigner_key().unwrap();
        [WORDS, OTHER_WORDS, THIRD_WORDS].map(key).to_vec()
    }

    fn read(descriptor: &str) -> WolletDescriptor {
        descriptor.parse().unwrap()
    }

    #[test]
    fn a_key_reads_as_it_is_written() {
        let key = keys().remove(0);
        let text = key.to_string();
        // Fingerprint and key of the all-`abandon` mnemonic, as every wallet shows them.
        assert!(text.starts_with("[73c5da0a/87h/1h/0h]tpub"), "{text}");
        assert_eq!(text.parse::<CosignerKey>().unwrap(), key);
        let bare = text.split_once(']').unwrap().1.to_owned();
        let short = text.replace("/0h]", "]");
        for bad in ["", "tpub", &bare, &short, "[73c5da0a/87h/1h/0h]xpub"] {
            assert!(matches!(bad.parse::<CosignerKey>(), Err(KeystoreError::BadCosigner { .. })), "{bad}");
        }
        let secret = text.replace("tpub", "tprv").parse::<CosignerKey>().unwrap_err();
        assert!(matches!(secret, KeystoreError::PrivateCosigner));
        assert!(!secret.to_string().contains("tprv"), "a private key is not repeated");
    }

    #[test]
    fn every_order_of_the_keys_makes_the_same_wallet() {
        let [a, b, c] = <[CosignerKey; 3]>::try_from(keys()).unwrap();
        let first = Multisig::new(2, vec![a.clone(), b.clone(), c.clone()]).unwrap();
        let second = Multisig::new(2, vec![c, a, b]).unwrap();
        assert_eq!(first.descriptor().unwrap(), second.descriptor().unwrap());
        let descriptor = read(&first.descriptor().unwrap());
        assert!(descriptor.is_elip151());
        assert_eq!(Account::of(&descriptor).unwrap(), Account::Multisig(first));
        assert_eq!(Account::of(&descriptor).unwrap().to_string(), "2-of-3 multisig");
        assert_eq!(signers(&descriptor).len(), 3);
    }

    #[test]
    fn senseless_numbers_are_refused() {
        let keys = keys();
        let make = |threshold, keys: &[CosignerKey]| Multisig::new(threshold, keys.to_vec());
        assert!(matches!(make(0, &keys), Err(KeystoreError::Threshold { threshold: 0, cosigners: 3 })));
        assert!(matches!(make(4, &keys), Err(KeystoreError::Threshold { threshold: 4, cosigners: 3 })));
        assert!(matches!(make(1, &keys[..1]), Err(KeystoreError::CosignerCount(1))));
        let twice = [keys[0].clone(), keys[1].clone(), keys[0].clone()];
        assert!(matches!(make(2, &twice), Err(KeystoreError::CosignerTwice(_))));
        let mut same_seed = keys[0].clone();
        same_seed.key = keys[1].key;
        let twice = [keys[0].clone(), same_seed];
        assert!(matches!(make(2, &twice), Err(KeystoreError::CosignerTwice(_))));
        let many: Vec<CosignerKey> = keys.iter().cycle().take(21).cloned().collect();
        assert!(matches!(make(2, &many), Err(KeystoreError::CosignerCount(21))));
    }

    #[test]
    fn single_keys_name_their_scripts() {
        let network = TestNetwork::start(&["a"]);
        let keys = Keys::from_words(WORDS, &network.chain).unwrap();
        // What wallets have that were made before there were other kinds.
        let first = "ct(slip77(9c8e4f05c7711a98c838be228bcb84924d4570ca53f35fa1c793e58841d47023),elwpkh([73c5da0a/84h/1h/0h]tpub";
        assert!(keys.descriptor(&Account::Single(ScriptType::default())).unwrap().starts_with(first));
        for script in [ScriptType::Wpkh, ScriptType::ShWpkh, ScriptType::Tr] {
            let account = Account::Single(script);
            assert_eq!(Account::of(&read(&keys.descriptor(&account).unwrap())).unwrap(), account);
            assert_eq!(account.threshold(), 1);
        }
    }
}
