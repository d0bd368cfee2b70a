//! The members of a federation and what they agree on before anything else.
//!
//! A [`Roster`] is the ordered list of member cards and the settings all members share. Its [`Roster::hash`] covers every
//! byte of both; operators compare it over another channel before the ceremony, and everything that follows (session of
//! the ceremony, chain parameters, network file) is a function of it. A roster that exists has been checked: it can
//! only be made by [`Roster::new`], and reading one from JSON runs the same checks.
//!
//! `k = floor(2n/3) + 1` of the `n` members decide and sign. With fewer than four members `k = n`: such a federation works,
//! but stops as soon as one member does. More than 20 members do not fit the multisig scripts that Elements and Bitcoin
//! check (`OP_CHECKMULTISIG` takes at most 20 keys).

mod card;
mod emergency;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aquifer_assets::chain::ChainParams;
use bitcoin::{Network, hashes::Hash, secp256k1::PublicKey};
use borsh::{BorshDeserialize, BorshSerialize};
use elements::{
    Script,
    opcodes::all::{OP_CHECKMULTISIG, OP_PUSHNUM_1},
    script::Builder,
};
use serde::{Deserialize, Serialize};

pub use card::{CardDetails, CardError, MemberCard};
pub use emergency::{Emergency, EmergencyError};
pub use settings::{Settings, SettingsError};

use crate::encoding::tagged_hash;

/// Version of the roster format.
pub const ROSTER_VERSION: u16 = 1;

/// Most members a federation can have: the limit of `OP_CHECKMULTISIG` in Bitcoin and Elements.
pub const MAX_MEMBERS: usize = 20;

/// Longest ECDSA signature in a witness: 71 bytes of DER with a low S, and the sighash byte.
pub(crate) const MAX_SIGNATURE_SIZE: usize = 72;

/// Position of a member in the roster, from 0.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(transparent)]
pub struct MemberIndex(pub u16);

impl MemberIndex {
    /// The index as a position in a list.
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Members needed to decide and to sign, of `members`: `floor(2n/3) + 1`.
///
/// Any two sets of this size share a member that is honest as long as fewer than a third are not.
pub fn threshold_of(members: usize) -> usize {
    (members.saturating_mul(2) / 3).saturating_add(1).min(members.max(1))
}

/// The members in order, and their common settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RosterData", into = "RosterData")]
pub struct Roster {
    settings: Settings,
    members: Vec<MemberCard>,
}

/// A roster as it stands in a file, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RosterData {
    version: u16,
    settings: Settings,
    members: Vec<MemberCard>,
}

/// A roster that no federation can be built on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The file is of another version of the format.
    #[error("roster version {0} is not known, this program reads version {ROSTER_VERSION}")]
    Version(u16),
    /// The common settings are wrong.
    #[error("settings: {0}")]
    Settings(#[from] SettingsError),
    /// Nobody is in it.
    #[error("the roster has no members")]
    Empty,
    /// More members than a multisig script can name.
    #[error("the roster has {0} members; OP_CHECKMULTISIG takes at most {MAX_MEMBERS} keys")]
    TooManyMembers(usize),
    /// A card is wrong.
    #[error("card of member {index} {name:?}: {error}")]
    Card {
        /// Whose card.
        index: MemberIndex,
        /// Name on the card.
        name: String,
        /// What is wrong with it.
        error: CardError,
    },
    /// Something that must be a member's own stands on two cards.
    #[error("members {first:?} and {second:?} have the same {what}")]
    Duplicate {
        /// What they share: `name`, `address`, `key` or `TLS certificate`.
        what: &'static str,
        /// Name on the earlier card.
        first: String,
        /// Name on the later card.
        second: String,
    },
}

impl Roster {
    /// Makes a roster of these members, in this order.
    ///
    /// # Errors
    /// [`RosterError`], which names the member.
    pub fn new(settings: Settings, members: Vec<MemberCard>) -> Result<Self, RosterError> {
        settings.check()?;
        if members.is_empty() {
            return Err(RosterError::Empty);
        }
        if members.len() > MAX_MEMBERS {
            return Err(RosterError::TooManyMembers(members.len()));
        }
        let roster = Self { settings, members };
        for (index, card) in roster.indexed() {
            card.check().map_err(|error| RosterError::Card { index, name: card.name.clone(), error })?;
        }
        roster.check_distinct()?;
        Ok(roster)
    }

    fn check_distinct(&self) -> Result<(), RosterError> {
        let mut seen: BTreeMap<(&'static str, Vec<u8>), &str> = BTreeMap::new();
        let mut claim = |what: &'static str, value: Vec<u8>, name| match seen.insert((what, value), name) {
            Some(first) => Err(RosterError::Duplicate { what, first: first.to_owned(), second: name.to_owned() }),
            None => Ok(()),
        };
        for card in &self.members {
            claim("name", card.name.clone().into_bytes(), &card.name)?;
            claim("address", card.peer_address.clone().into_bytes(), &card.name)?;
            claim("address", card.api_address.clone().into_bytes(), &card.name)?;
            claim("TLS certificate", card.tls_certificate.clone(), &card.name)?;
            // All kinds together: a key used for two purposes would let a signature for one pass for the other.
            for key in card.keys() {
                claim("key", key.serialize().to_vec(), &card.name)?;
            }
        }
        Ok(())
    }

    /// A hash over every byte of the roster. Operators compare it before the ceremony; see [`Roster::fingerprint`].
    pub fn hash(&self) -> [u8; 32] {
        let cards: Vec<Vec<u8>> = self.members.iter().map(MemberCard::canonical_bytes).collect();
        let settings = self.settings.canonical_bytes();
        let version = ROSTER_VERSION.to_le_bytes();
        let mut parts: Vec<&[u8]> = vec![&version, &settings];
        parts.extend(cards.iter().map(Vec::as_slice));
        tagged_hash("aquifer/roster/v1", &parts)
    }

    /// The hash as 16 groups of 4 hexadecimal digits, to be read out and compared by people.
    pub fn fingerprint(&self) -> String {
        let groups: Vec<String> = self.hash().chunks(2).map(hex::encode).collect();
        groups.join(" ")
    }

    /// Members needed to decide and to sign.
    pub fn threshold(&self) -> usize {
        threshold_of(self.members.len())
    }

    /// The settings all members share.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cards in order.
    pub fn members(&self) -> &[MemberCard] {
        &self.members
    }

    /// The cards with their indices.
    pub fn indexed(&self) -> impl Iterator<Item = (MemberIndex, &MemberCard)> {
        (0..=u16::MAX).map(MemberIndex).zip(&self.members)
    }

    /// The indices of all members.
    pub fn indices(&self) -> BTreeSet<MemberIndex> {
        self.indexed().map(|(index, _)| index).collect()
    }

    /// The card of a member.
    pub fn member(&self, index: MemberIndex) -> Option<&MemberCard> {
        self.members.get(index.position())
    }

    /// Whose card has this TLS certificate (DER).
    pub fn index_of_certificate(&self, der: &[u8]) -> Option<MemberIndex> {
        self.indexed().find(|(_, card)| card.tls_certificate == der).map(|(index, _)| index)
    }

    /// Whose card has this host key.
    pub fn index_of_host_key(&self, key: &PublicKey) -> Option<MemberIndex> {
        self.indexed().find(|(_, card)| card.host_key == *key).map(|(index, _)| index)
    }

    /// The parameters of this federation's chain: Elements' defaults for a custom chain, with the scripts of the members.
    ///
    /// The extension space is left as Elements has it, one entry that authorizes nobody: peg-outs need no authorization
    /// here, and Elements cannot express an empty list.
    pub fn chain_params(&self) -> ChainParams {
        let settings = &self.settings;
        let threshold = self.threshold();
        let signblock_script = multisig_script(threshold, self.members.iter().map(|card| card.block_key));
        let limit = max_witness_size(threshold, signblock_script.len());
        let mut params = ChainParams::elements_default(&settings.chain_name);
        params.max_block_signature_size = u32::try_from(limit).unwrap_or(u32::MAX);
        params.signblock_script = signblock_script;
        params.fedpeg_script = multisig_script(threshold, self.members.iter().map(|card| card.peg_key));
        // P2SH-P2WSH in every epoch. With P2WSH from epoch 1 on, an address of epoch 0 (which Elements always makes
        // P2SH-P2WSH) could be claimed for `total_valid_epochs` epochs only, and a deposit to it later would be lost.
        params.start_p2wsh = false;
        params.has_parent_chain = true;
        params.parent_genesis = parent_genesis(settings.parent);
        params.parent_pow_limit = bitcoin::params::Params::new(settings.parent).max_attainable_target.to_be_bytes();
        params.pegin_confirmation_depth_blocks = settings.pegin_confirmation_depth_blocks;
        params.epoch_length_blocks = settings.epoch_length_blocks;
        params
    }
}

impl TryFrom<RosterData> for Roster {
    type Error = RosterError;

    fn try_from(data: RosterData) -> Result<Self, RosterError> {
        if data.version != ROSTER_VERSION {
            return Err(RosterError::Version(data.version));
        }
        Self::new(data.settings, data.members)
    }
}

impl From<Roster> for RosterData {
    fn from(roster: Roster) -> Self {
        Self { version: ROSTER_VERSION, settings: roster.settings, members: roster.members }
    }
}

/// Hash of the first block of a Bitcoin network.
fn parent_genesis(network: Network) -> bitcoin::BlockHash {
    bitcoin::BlockHash::from_byte_array(bitcoin::constants::genesis_block(network).block_hash().to_byte_array())
}

/// The bare script `k <keys> n OP_CHECKMULTISIG`, keys in the given order.
fn multisig_script(threshold: usize, keys: impl Iterator<Item = PublicKey>) -> Script {
    let mut count = 0;
    let mut builder = push_number(Builder::new(), threshold);
    for key in keys {
        builder = builder.push_slice(&key.serialize());
        count += 1;
    }
    push_number(builder, count).push_opcode(OP_CHECKMULTISIG).into_script()
}

/// Pushes a number from 1 to 20 in the shortest way: an opcode up to 16, above that one byte of data.
fn push_number(builder: Builder, number: usize) -> Builder {
    match u8::try_from(number) {
        Ok(small @ 1..=16) => builder.push_opcode((OP_PUSHNUM_1.into_u8() + (small - 1)).into()),
        Ok(byte) => builder.push_slice(&[byte]),
        Err(_) => builder,
    }
}

/// Serialized size in bytes of the largest witness of `threshold` signatures: item count, the empty item that
/// `OP_CHECKMULTISIG` takes, the signatures and the script, each with its length.
pub(crate) fn max_witness_size(threshold: usize, script: usize) -> usize {
    let count = 1;
    let dummy = 1;
    let signatures = threshold * (1 + MAX_SIGNATURE_SIZE);
    let script_length = if script < 0xfd { 1 } else { 3 };
    count + dummy + signatures + script_length + script
}

#[cfg(test)]
pub(crate) mod tests;
