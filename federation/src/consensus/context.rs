//! The engine's types, bound to ours: members by roster position, block hashes as values, BIP 340 signatures.

use std::fmt;
use std::sync::Arc;

use bitcoin::secp256k1::{SecretKey, XOnlyPublicKey};
use borsh::{BorshDeserialize, BorshSerialize};
use elements::BlockHash;
use malachite_types as mt;
use mt::{NilOrVal, Round, SignedExtension, VoteType};

use crate::roster::{MemberIndex, Roster};

/// The context that binds the engine to a roster.
#[derive(Clone, Debug)]
pub(crate) struct Agreement;

impl mt::Address for MemberIndex {}

/// Height of a block, as the engine counts it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Height(pub u32);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl mt::Height for Height {
    const ZERO: Self = Height(0);
    const INITIAL: Self = Height(1);

    fn increment_by(&self, n: u64) -> Self {
        Height(u32::try_from(n).ok().and_then(|n| self.0.checked_add(n)).unwrap_or(u32::MAX))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        u32::try_from(n).ok().and_then(|n| self.0.checked_sub(n)).map(Height)
    }

    fn as_u64(&self) -> u64 {
        u64::from(self.0)
    }
}

/// What members agree on: the hash of a block, in internal byte order. The body travels apart.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct BlockId(pub [u8; 32]);

impl From<BlockHash> for BlockId {
    fn from(hash: BlockHash) -> Self {
        BlockId(hash.to_byte_array())
    }
}

impl From<BlockId> for BlockHash {
    fn from(id: BlockId) -> Self {
        BlockHash::from_byte_array(id.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", BlockHash::from(*self))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl mt::Value for BlockId {
    type Id = BlockId;

    fn id(&self) -> BlockId {
        *self
    }
}

/// A proposal of a block at a height and round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: BlockId,
    pub(crate) pol_round: Round,
    pub(crate) proposer: MemberIndex,
}

impl mt::Proposal<Agreement> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockId {
        &self.value
    }

    fn take_value(self) -> BlockId {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &MemberIndex {
        &self.proposer
    }
}

/// A prevote or precommit for a block or for none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    pub(crate) kind: VoteType,
    pub(crate) height: Height,
    pub(crate) round: Round,
    pub(crate) value: NilOrVal<BlockId>,
    pub(crate) voter: MemberIndex,
    /// Always `None`: header shares never travel in votes (see the module documentation of `blocksign`).
    pub(crate) extension: Option<SignedExtension<Agreement>>,
}

impl mt::Vote<Agreement> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &MemberIndex {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Agreement>> {
        self.extension.as_ref()
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Agreement>> {
        self.extension.take()
    }

    fn extend(self, extension: SignedExtension<Agreement>) -> Self {
        Self { extension: Some(extension), ..self }
    }
}

/// Bodies are fetched by hash over our own transport; the engine's own parts are never used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPart;

impl mt::ProposalPart<Agreement> for NoPart {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A member as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    index: MemberIndex,
    key: XOnlyPublicKey,
}

impl mt::Validator<Agreement> for Validator {
    fn address(&self) -> &MemberIndex {
        &self.index
    }

    fn public_key(&self) -> &XOnlyPublicKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        1
    }
}

/// The voting members and their consensus keys, in roster order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members(Arc<Vec<Validator>>);

impl Members {
    /// The members of a roster.
    pub fn of(roster: &Roster) -> Self {
        let validators = roster
            .members()
            .iter()
            .zip(0u16..)
            .map(|(card, index)| Validator { index: MemberIndex(index), key: card.consensus_key })
            .collect();
        Members(Arc::new(validators))
    }

    /// The member that proposes at a height and round: members take turns.
    pub fn proposer(&self, height: u32, round: u32) -> Option<MemberIndex> {
        let count = u64::try_from(self.0.len()).ok().filter(|count| *count > 0)?;
        let turn = (u64::from(height) + u64::from(round)) % count;
        self.0.get(usize::try_from(turn).ok()?).map(|validator| validator.index)
    }
}

impl mt::ValidatorSet<Agreement> for Members {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    fn get_by_address(&self, address: &MemberIndex) -> Option<&Validator> {
        self.0.get(usize::from(address.0))
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

/// A BIP 340 signature of a consensus key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub(crate) struct ConsensusSignature(pub(crate) [u8; 64]);

impl fmt::Debug for ConsensusSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// BIP 340 over tagged hashes of borsh-encoded messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bip340;

impl mt::SigningScheme for Bip340 {
    type DecodingError = String;
    type Signature = ConsensusSignature;
    type PublicKey = XOnlyPublicKey;
    type PrivateKey = SecretKey;

    fn decode_signature(bytes: &[u8]) -> Result<ConsensusSignature, String> {
        let bytes = bytes.try_into().map_err(|_| format!("a signature has 64 bytes, this has {}", bytes.len()))?;
        Ok(ConsensusSignature(bytes))
    }

    fn encode_signature(signature: &ConsensusSignature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<XOnlyPublicKey, String> {
        XOnlyPublicKey::from_slice(bytes).map_err(|error| error.to_string())
    }

    fn encode_public_key(key: &XOnlyPublicKey) -> Vec<u8> {
        key.serialize().to_vec()
    }
}

impl mt::Context for Agreement {
    type Address = MemberIndex;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = Members;
    type Timeouts = mt::LinearTimeouts;
    type Value = BlockId;
    type Vote = Vote;
    type Extension = Vec<u8>;
    type SigningScheme = Bip340;

    #[expect(clippy::expect_used, reason = "the engine's interface has no way to fail, and a roster is never empty")]
    fn select_proposer<'a>(&self, members: &'a Members, height: Height, round: Round) -> &'a Validator {
        let member = members.proposer(height.0, round.as_u32().unwrap_or(0)).expect("a roster has at least one member");
        members.0.get(usize::from(member.0)).expect("proposer() names a member of the set")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockId,
        pol_round: Round,
        proposer: MemberIndex,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: MemberIndex) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, voter, extension: None }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: MemberIndex) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, voter, extension: None }
    }
}
