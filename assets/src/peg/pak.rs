//! Authorized peg-outs: who may ask for bitcoin, when a chain restricts it (`enforce_pak`).
//!
//! The extension space of the parameters in force is a list of key pairs. A peg-out then goes to a single key, shows that
//! key and proves that its maker has the online key of an entry of the list, and that the destination derives from that
//! entry's offline key, without telling which entry it is. Only explicit amounts of the pegged asset are held to this:
//! nothing else is a peg-out (`primitives/pak.cpp`).

use bitcoin::hashes::{Hash as _, hash160};
use elements::Script;
use elements::script::Instruction;
use secp256k1_zkp::{PublicKey, SECP256K1, WhitelistSignature};

use super::pegout::is_pegout_script;
use crate::chain::ChainParams;
use crate::primitives::TxOut;

/// Most entries that a proof can speak of.
const MAX_ENTRIES: usize = 255;
/// Length of a public key in an entry and in a peg-out, in bytes.
const KEY_LENGTH: usize = 33;

/// The list of those who may ask for a peg-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PakList {
    offline: Vec<PublicKey>,
    online: Vec<PublicKey>,
}

/// Why a peg-out is not authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PakError {
    /// The extension space in force names nobody.
    #[error("nobody may ask for a peg-out")]
    NoList,
    /// The peg-out shows no key.
    #[error("it does not show the key of its destination")]
    Key,
    /// The destination is not that of the key.
    #[error("its destination is not P2PKH, P2WPKH or P2SH-P2WPKH of the key that it shows")]
    Destination,
    /// There is no proof, or it is not one over this list.
    #[error("it has no proof over the list in force")]
    ProofMissing,
    /// The proof is wrong.
    #[error("its proof is wrong")]
    Proof,
    /// Something follows the proof.
    #[error("something follows its proof")]
    Superfluous,
}

impl PakList {
    /// The list in an extension space; `None` if it is empty or not a list of pairs of public keys.
    pub fn parse(extension_space: &[Vec<u8>]) -> Option<Self> {
        let key = |bytes: &[u8]| PublicKey::from_slice(bytes).ok();
        let pair = |entry: &Vec<u8>| {
            let (offline, online) = entry.split_at_checked(KEY_LENGTH).filter(|(_, on)| on.len() == KEY_LENGTH)?;
            Some((key(offline)?, key(online)?))
        };
        let (offline, online): (Vec<_>, Vec<_>) =
            extension_space.iter().map(pair).collect::<Option<Vec<_>>>()?.into_iter().unzip();
        (1..=MAX_ENTRIES).contains(&offline.len()).then_some(Self { offline, online })
    }

    /// Checks what a peg-out script shows.
    fn authorize(&self, script: &Script) -> Result<(), PakError> {
        // `OP_RETURN`, the parent chain, the destination, the key, the proof.
        let mut instructions = script.instructions().skip(2);
        let destination = next_push(&mut instructions).ok_or(PakError::Destination)?;
        let key = next_push(&mut instructions).filter(|key| key.len() == KEY_LENGTH).ok_or(PakError::Key)?;
        if !pays_key(destination, key) {
            return Err(PakError::Destination);
        }
        let key = PublicKey::from_slice(key).map_err(|_| PakError::Key)?;
        let proof = next_push(&mut instructions).ok_or(PakError::ProofMissing)?;
        let proof = WhitelistSignature::from_slice(proof).map_err(|_| PakError::ProofMissing)?;
        if proof.n_keys() != self.online.len() {
            return Err(PakError::ProofMissing);
        }
        proof.verify(SECP256K1, &self.online, &self.offline, &key).map_err(|_| PakError::Proof)?;
        // A push that is cut off ends the script, as far as Elements is concerned.
        if matches!(instructions.next(), Some(Ok(_))) { Err(PakError::Superfluous) } else { Ok(()) }
    }
}

/// Checks that an output, if it is a peg-out, is authorized by the list in force, if there is one.
///
/// # Errors
/// What is missing for it to be authorized.
pub fn check_authorized(params: &ChainParams, list: Option<&PakList>, output: &TxOut) -> Result<(), PakError> {
    let is_pegout = output.asset.explicit() == Some(params.pegged_asset())
        && is_pegout_script(&output.script_pubkey, params.parent_genesis);
    if !is_pegout {
        return Ok(());
    }
    list.ok_or(PakError::NoList)?.authorize(&output.script_pubkey)
}

fn next_push<'a>(
    instructions: &mut impl Iterator<Item = Result<Instruction<'a>, elements::script::Error>>,
) -> Option<&'a [u8]> {
    match instructions.next()?.ok()? {
        Instruction::PushBytes(bytes) => Some(bytes),
        Instruction::Op(_) => None,
    }
}

/// Whether a script pays to a single key in one of the three usual ways.
fn pays_key(script: &[u8], key: &[u8]) -> bool {
    let hash = hash160::Hash::hash(key).to_byte_array();
    let p2wpkh = [[0, 20].as_slice(), &hash].concat();
    let p2sh = || [[0xa9, 20].as_slice(), hash160::Hash::hash(&p2wpkh).as_byte_array(), &[0x87]].concat();
    script == [[0x76, 0xa9, 20].as_slice(), &hash, &[0x88, 0xac]].concat() || script == p2wpkh || script == p2sh()
}

#[cfg(test)]
#[path = "pak_tests.rs"]
mod tests;
