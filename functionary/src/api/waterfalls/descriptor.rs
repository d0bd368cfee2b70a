//! The scripts of a wallet, from its descriptor.

use std::collections::HashSet;
use std::slice;

use bitcoin::bip32::ChildNumber;
use elements::Script;
use elements_miniscript::descriptor::Wildcard;
use elements_miniscript::{Descriptor, DescriptorPublicKey, ForEachKey as _};

use super::key::MAX_DESCRIPTOR_LEN;
use crate::api::http::Refusal;

/// Most chains of addresses: receiving and change.
const MAX_CHAINS: usize = 2;
/// Most keys of a script; each costs a derivation for each address.
const MAX_KEYS: usize = 20;

/// One chain of addresses of a wallet.
pub(super) struct Chain {
    descriptor: Descriptor<DescriptorPublicKey>,
}

impl Chain {
    /// How it is called in answers.
    pub(super) fn name(&self) -> String {
        self.descriptor.to_string()
    }

    /// Whether it has more than one address.
    pub(super) fn is_ranged(&self) -> bool {
        self.descriptor.has_wildcard()
    }

    /// The script of an address.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if there is none at this index.
    pub(super) fn script(&self, index: u32) -> Result<Script, Refusal> {
        let definite = self.descriptor.at_derivation_index(index).map_err(malformed)?;
        Ok(definite.script_pubkey())
    }
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(format!("not a descriptor of this chain: {error}"))
}

/// Whether the public key is enough to derive from. The library does not ask before it derives.
fn is_derived_in_public(key: &DescriptorPublicKey) -> bool {
    let (wildcard, paths) = match key {
        DescriptorPublicKey::Single(_) => return true,
        DescriptorPublicKey::XPub(key) => (key.wildcard, slice::from_ref(&key.derivation_path)),
        DescriptorPublicKey::MultiXPub(key) => (key.wildcard, key.derivation_paths.paths().as_slice()),
    };
    wildcard != Wildcard::Hardened && !paths.iter().flat_map(|path| path.into_iter()).any(ChildNumber::is_hardened)
}

/// The chains of a descriptor, in its order.
///
/// # Errors
/// [`Refusal::Malformed`] if it is none, or asks for too much.
pub(super) fn chains(text: &str) -> Result<Vec<Chain>, Refusal> {
    if text.len() > MAX_DESCRIPTOR_LEN {
        return Err(malformed("too long"));
    }
    let descriptor: Descriptor<DescriptorPublicKey> = text.parse().map_err(malformed)?;
    let mut keys = 0_usize;
    let is_public = descriptor.for_each_key(|key| {
        keys = keys.saturating_add(1);
        keys <= MAX_KEYS && is_derived_in_public(key)
    });
    if !is_public {
        return Err(malformed(format!("it has more than {MAX_KEYS} keys, or hardened steps after one")));
    }
    let chains = descriptor.into_single_descriptors().map_err(malformed)?;
    let distinct: HashSet<String> = chains.iter().map(ToString::to_string).collect();
    if chains.len() > MAX_CHAINS || distinct.len() < chains.len() {
        return Err(malformed(format!("it must have at most {MAX_CHAINS} different paths")));
    }
    Ok(chains.into_iter().map(|descriptor| Chain { descriptor }).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "tpubDCRMaF33e44pcJj534LXVhFbHibPbJ5vuLhSSPFAw57kYURv4tzXFL6LSnd78bkjqdmE3USedkbpXJUPA1tdzKfuYSL7PianceqAhwL2UkA";

    #[test]
    fn a_wallet_has_two_chains() {
        let chains = chains(&format!("elwpkh({KEY}/<0;1>/*)")).unwrap();
        let [receiving, change] = chains.as_slice() else { panic!("{} chains", chains.len()) };
        assert!(receiving.is_ranged() && receiving.name().starts_with(&format!("elwpkh({KEY}/0/*)#")));
        assert!(change.name().starts_with(&format!("elwpkh({KEY}/1/*)#")));
        assert!(receiving.script(0).unwrap().is_v0_p2wpkh());
        assert_ne!(receiving.script(0).unwrap(), change.script(0).unwrap());
        assert_ne!(receiving.script(0).unwrap(), receiving.script(1).unwrap());
        assert!(receiving.script(1 << 31).is_err(), "a hardened index");
    }

    #[test]
    fn what_asks_for_too_much_is_refused() {
        let refused = |text: &str| matches!(chains(text), Err(Refusal::Malformed(_)));
        assert!(refused(""));
        assert!(refused("elwpkh("));
        assert!(refused(&format!("wpkh({KEY}/0/*)")), "a descriptor of Bitcoin");
        assert!(refused(&format!("elwpkh({KEY}/<0;1;2>/*)")));
        assert!(refused(&format!("elwpkh({KEY}/0'/*)")));
        assert!(refused(&format!("elwpkh({KEY}/0/*')")));
        assert!(refused(&"(".repeat(4_000)));
        assert!(refused(&format!("elwsh({}pk({KEY}){})", "n:".repeat(500), "")));
        let many: Vec<String> = (0..25).map(|number| format!("{KEY}/{number}/*")).collect();
        assert!(refused(&format!("elwsh(multi(1,{}))", many.join(","))));
    }
}
