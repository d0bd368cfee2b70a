//! What an auditor says of a block, and how it proves that it said so.

use aquifer_proto::audit::{SignedVerdict as Message, signed_verdict::Kind};
use bitcoin::secp256k1::{self, Keypair, SECP256K1, XOnlyPublicKey, schnorr};
use elements::BlockHash;
use sha2::{Digest as _, Sha256};

const TAG: &[u8] = b"aquifer/audit/v1";
/// Longest reason that is taken, in bytes.
const MAX_REASON_LEN: usize = 2_000;

/// What an auditor thinks of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The block and everything before it was verified from genesis on.
    Passed,
    /// The block carries the federation's certificate and must not be believed.
    Refused,
}

impl Verdict {
    /// The byte that is signed and stored.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Passed => 1,
            Self::Refused => 2,
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Passed),
            2 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// A verdict with the signature of the auditor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedVerdict {
    /// Who says it.
    pub key: XOnlyPublicKey,
    /// The chain.
    pub genesis: BlockHash,
    /// Height of the block.
    pub height: u32,
    /// The block.
    pub block: BlockHash,
    /// What it thinks of it.
    pub verdict: Verdict,
    /// BIP 340, over all the above.
    pub signature: schnorr::Signature,
    /// For people; not signed.
    pub reason: String,
}

/// A message that is no verdict of who it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerdictError {
    /// A field has the wrong length or content.
    #[error("the verdict's {0} is malformed")]
    Malformed(&'static str),
    /// The signature is not by that key over that verdict.
    #[error("the verdict on block {block} is not signed by {key}")]
    Signature {
        /// Who is said to have signed.
        key: XOnlyPublicKey,
        /// The block.
        block: BlockHash,
    },
}

fn digest(genesis: &BlockHash, height: u32, block: &BlockHash, verdict: Verdict) -> secp256k1::Message {
    let tag = Sha256::digest(TAG);
    let mut hasher = Sha256::new();
    hasher.update(tag);
    hasher.update(tag);
    hasher.update(genesis.to_byte_array());
    hasher.update(height.to_le_bytes());
    hasher.update(block.to_byte_array());
    hasher.update([verdict.code()]);
    secp256k1::Message::from_digest(hasher.finalize().into())
}

impl SignedVerdict {
    /// Signs a verdict. Without randomness: the same verdict always has the same signature.
    pub fn sign(
        key: &Keypair,
        genesis: BlockHash,
        height: u32,
        block: BlockHash,
        verdict: Verdict,
        reason: String,
    ) -> Self {
        let signature = SECP256K1.sign_schnorr_no_aux_rand(&digest(&genesis, height, &block, verdict), key);
        Self { key: key.x_only_public_key().0, genesis, height, block, verdict, signature, reason }
    }

    /// Whether the signature is by that key over that verdict.
    pub fn is_authentic(&self) -> bool {
        let message = digest(&self.genesis, self.height, &self.block, self.verdict);
        SECP256K1.verify_schnorr(&self.signature, &message, &self.key).is_ok()
    }

    /// The message that carries it.
    pub fn to_message(&self) -> Message {
        let kind = match self.verdict {
            Verdict::Passed => Kind::Passed,
            Verdict::Refused => Kind::Refused,
        };
        Message {
            key: self.key.serialize().to_vec().into(),
            genesis_hash: self.genesis.to_byte_array().to_vec().into(),
            height: self.height,
            block_hash: self.block.to_byte_array().to_vec().into(),
            kind: kind.into(),
            signature: self.signature.serialize().to_vec().into(),
            reason: self.reason.clone(),
        }
    }

    /// Reads a message; its signature is not looked at.
    ///
    /// # Errors
    /// [`VerdictError::Malformed`].
    pub fn from_message(message: &Message) -> Result<Self, VerdictError> {
        let malformed = VerdictError::Malformed;
        let hash = |bytes: &[u8], field| {
            <[u8; 32]>::try_from(bytes).map(BlockHash::from_byte_array).map_err(|_| malformed(field))
        };
        let verdict = match message.kind() {
            Kind::Passed => Verdict::Passed,
            Kind::Refused => Verdict::Refused,
            Kind::Unspecified => return Err(malformed("kind")),
        };
        if message.reason.len() > MAX_REASON_LEN {
            return Err(malformed("reason"));
        }
        Ok(Self {
            key: XOnlyPublicKey::from_slice(&message.key).map_err(|_| malformed("key"))?,
            genesis: hash(&message.genesis_hash, "genesis hash")?,
            height: message.height,
            block: hash(&message.block_hash, "block hash")?,
            verdict,
            signature: schnorr::Signature::from_slice(&message.signature).map_err(|_| malformed("signature"))?,
            reason: message.reason.clone(),
        })
    }
}
