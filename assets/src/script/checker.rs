//! What the interpreter has to know of the transaction that spends.
//!
//! The interpreter itself knows nothing of transactions: it asks a [`SignatureChecker`] what a signature signs, and which
//! lock times the transaction has. [`TransactionChecker`] answers for transactions of Elements; whoever has transactions
//! of another form, Bitcoin's for one, writes another checker and runs the same interpreter.

use super::{Flags, SighashData, TaprootHashType, TaprootSpend};

/// The rules that a script is run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptVersion {
    /// Scripts in scriptSigs and outputs, and redeem scripts.
    Base,
    /// Scripts of version 0 witness programs.
    WitnessV0,
    /// Taproot leaves of version `0xc4`.
    Tapscript,
}

/// Answers for one input of one transaction.
pub trait SignatureChecker {
    /// What an ECDSA signature with this hash type signs. `script_code` is the script from the last executed CODESEPARATOR
    /// on, with the signatures of base scripts deleted and CODESEPARATORs left in; `version` is never
    /// [`ScriptVersion::Tapscript`]. `None`, for an input that does not exist, makes every signature wrong.
    fn ecdsa_digest(&self, script_code: &[u8], hash_type: u8, version: ScriptVersion, flags: Flags)
    -> Option<[u8; 32]>;

    /// What a Schnorr signature signs. `None` if it cannot be used with this hash type.
    fn schnorr_digest(&self, spend: &TaprootSpend, hash_type: TaprootHashType) -> Option<[u8; 32]>;

    /// The version of the transaction.
    fn version(&self) -> u32;

    /// The lock time of the transaction, as on the wire.
    fn lock_time(&self) -> u32;

    /// The sequence number of the input.
    fn sequence(&self) -> u32;

    /// The transaction and the position of the input, for the opcodes that inspect them; `None` makes these fail.
    fn inspect(&self) -> Option<(&SighashData<'_>, usize)>;
}

/// Answers for an input of an Elements transaction.
#[derive(Clone, Copy, Debug)]
pub struct TransactionChecker<'a> {
    data: &'a SighashData<'a>,
    vin: usize,
    sequence: u32,
}

impl<'a> TransactionChecker<'a> {
    /// For input `vin`; `None` if there is no such input, or no output that it spends.
    pub fn new(data: &'a SighashData<'a>, vin: usize) -> Option<Self> {
        data.spent.get(vin)?;
        let sequence = data.transaction.input.get(vin)?.sequence.to_consensus_u32();
        Some(Self { data, vin, sequence })
    }
}

impl SignatureChecker for TransactionChecker<'_> {
    fn ecdsa_digest(
        &self,
        script_code: &[u8],
        hash_type: u8,
        version: ScriptVersion,
        flags: Flags,
    ) -> Option<[u8; 32]> {
        match version {
            ScriptVersion::Base => self.data.legacy(self.vin, script_code, hash_type, flags),
            ScriptVersion::WitnessV0 => {
                let amount = &self.data.spent.get(self.vin)?.value;
                self.data.segwit_v0_under(self.vin, script_code, amount, hash_type, flags)
            }
            ScriptVersion::Tapscript => None,
        }
    }

    fn schnorr_digest(&self, spend: &TaprootSpend, hash_type: TaprootHashType) -> Option<[u8; 32]> {
        self.data.taproot(self.vin, spend, hash_type)
    }

    fn version(&self) -> u32 {
        self.data.transaction.version
    }

    fn lock_time(&self) -> u32 {
        self.data.transaction.lock_time.to_consensus_u32()
    }

    fn sequence(&self) -> u32 {
        self.sequence
    }

    fn inspect(&self) -> Option<(&SighashData<'_>, usize)> {
        Some((self.data, self.vin))
    }
}
