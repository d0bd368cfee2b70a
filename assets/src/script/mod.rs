//! Whether an input may be spent: the scripts of spent outputs.
//!
//! Four kinds of script are accepted, each checked completely: P2WPKH, P2SH-P2WPKH, P2WSH multisig (bare or inside
//! P2SH) and the key path of Taproot. Every other kind is refused by [`ScriptError::Unsupported`], which names it;
//! nothing is accepted because it is not understood, as Elements does for unknown witness versions. That is stricter
//! than Elements and therefore safe for those who make the blocks.
//!
//! The rules for the accepted kinds are the consensus rules of Elements (P2SH, WITNESS, TAPROOT, DERSIG, NULLDUMMY,
//! SIGHASH_RANGEPROOF). What Elements asks only of transactions that it relays (low S, defined hash types, compressed
//! keys, no annex) is in [`standard`].

mod multisig;
mod sighash;
mod signature;
mod sigops;
mod spend;
pub mod standard;

pub use multisig::{MAX_MULTISIG_KEYS, MultisigTemplate};
pub use sighash::{SighashData, TaprootHashType};
pub use sigops::sigop_cost;
pub use spend::{SpendKind, is_unspendable, verify_spend};

/// A kind of script that cannot be spent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedKind {
    /// No script at all.
    #[error("an empty script")]
    Empty,
    /// `DUP HASH160 <hash> EQUALVERIFY CHECKSIG`.
    #[error("P2PKH")]
    P2pkh,
    /// `<key> CHECKSIG`.
    #[error("P2PK")]
    P2pk,
    /// P2SH whose redeem script is not a version 0 witness program.
    #[error("P2SH without a version 0 witness program")]
    P2sh,
    /// A multisig script that stands in the output itself.
    #[error("bare multisig")]
    BareMultisig,
    /// A P2WSH script other than `k <keys> n CHECKMULTISIG`.
    #[error("a P2WSH script other than multisig")]
    P2wshOther,
    /// A Taproot script path with a tapscript leaf.
    #[error("a Taproot script path")]
    TaprootScriptPath,
    /// A Taproot script path with a Simplicity leaf.
    #[error("a Simplicity leaf")]
    Simplicity,
    /// A Taproot script path with a leaf version without meaning.
    #[error("a Taproot leaf of version {0:#04x}")]
    UnknownLeaf(u8),
    /// `1 <4e73>`.
    #[error("a pay-to-anchor output")]
    Anchor,
    /// A witness program without meaning.
    #[error("a witness program of version {version} with {length} bytes")]
    UnknownWitness {
        /// Version, 0 to 16.
        version: u8,
        /// Length of the program in bytes.
        length: usize,
    },
    /// `OP_RETURN`: nobody can spend it.
    #[error("OP_RETURN")]
    OpReturn,
    /// Anything else.
    #[error("a non-standard script")]
    NonStandard,
}

/// Why a spend was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The script is of a kind that is not accepted.
    #[error("cannot spend {kind}")]
    Unsupported {
        /// The kind.
        kind: UnsupportedKind,
    },
    /// There is no such input, or no output that it spends.
    #[error("there is no input {0}")]
    NoSuchInput(usize),
    /// A native witness program needs an empty scriptSig (BIP 141).
    #[error("a witness spend has a scriptSig of {0} bytes")]
    ScriptSigNotEmpty(usize),
    /// The scriptSig is not exactly one push of the redeem script (BIP 141), or that has another hash (BIP 16).
    #[error("the scriptSig is not one push of the redeem script")]
    RedeemScript,
    /// The witness has another number of elements than the script needs.
    #[error("the witness has {found} elements, the script needs {expected}")]
    WitnessLength {
        /// Elements needed.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// The key or the witness script does not hash to the program.
    #[error("the witness does not match the witness program")]
    ProgramMismatch,
    /// An element of the witness stack is longer than 520 bytes.
    #[error("a witness element has {0} bytes, 520 are allowed")]
    ElementSize(usize),
    /// The first element for CHECKMULTISIG is not empty (BIP 147).
    #[error("the dummy element of CHECKMULTISIG is not empty")]
    NullDummy,
    /// An ECDSA signature is not strict DER (BIP 66).
    #[error("a signature is not strict DER")]
    SignatureEncoding,
    /// An ECDSA signature is not by the key, or over something else.
    #[error("a signature is wrong")]
    BadSignature,
    /// Fewer keys than needed signed, or in another order.
    #[error("{found} of {needed} signatures are right")]
    Multisig {
        /// Signatures needed.
        needed: usize,
        /// Signatures that matched a key, in order.
        found: usize,
    },
    /// A Schnorr signature is neither 64 nor 65 bytes long (BIP 341).
    #[error("a Schnorr signature has {0} bytes")]
    SchnorrSize(usize),
    /// The hash type of a Schnorr signature is not defined, or has no output to sign (BIP 341).
    #[error("hash type {0:#04x} cannot be used here")]
    SchnorrHashType(u8),
    /// The program is not a point, or the signature is wrong.
    #[error("the Schnorr signature is wrong")]
    BadSchnorrSignature,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;
