//! Which rules a script is run under.
//!
//! The names and meanings are those of Elements' `SCRIPT_VERIFY_*` flags. Every flag only takes away from what is valid:
//! a spend that is valid under some flags is valid under fewer of them, as long as [`Flags::WITNESS`] is not left without
//! [`Flags::P2SH`], nor [`Flags::CLEANSTACK`] without both. The one exception is [`Flags::SIGHASH_RANGEPROOF`], which
//! gives a meaning to a bit of hash types.

use std::fmt;
use std::ops::BitOr;

/// A set of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[$meta:meta])* $name:ident = $bit:literal;)*) => {
        impl Flags {
            $($(#[$meta])* pub const $name: Self = Self(1 << $bit);)*

            /// Every flag with its name, as Elements writes it.
            pub const ALL: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

flags! {
    /// Run the redeem script of pay-to-script-hash (BIP 16).
    P2SH = 0;
    /// Signatures are strict DER with a defined hash type, keys are compressed or uncompressed. Relay only.
    STRICTENC = 1;
    /// Signatures are strict DER (BIP 66).
    DERSIG = 2;
    /// S of a signature is in the lower half (BIP 62). Relay only.
    LOW_S = 3;
    /// The extra element of CHECKMULTISIG is empty (BIP 147).
    NULLDUMMY = 4;
    /// A scriptSig only pushes (BIP 62).
    SIGPUSHONLY = 5;
    /// Pushes and numbers are in their shortest form (BIP 62). Relay only.
    MINIMALDATA = 6;
    /// NOPs without a meaning are refused. Relay only.
    DISCOURAGE_UPGRADABLE_NOPS = 7;
    /// One element is left on the stack (BIP 62). Relay only, a rule of its own for witness scripts.
    CLEANSTACK = 8;
    /// CHECKLOCKTIMEVERIFY (BIP 65).
    CHECKLOCKTIMEVERIFY = 9;
    /// CHECKSEQUENCEVERIFY (BIP 112).
    CHECKSEQUENCEVERIFY = 10;
    /// Witness programs (BIP 141).
    WITNESS = 11;
    /// Witness programs without a meaning are refused. Relay only.
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = 12;
    /// IF takes nothing but an empty element or 1 in version 0 scripts. Relay only, a rule of its own for tapscript.
    MINIMALIF = 13;
    /// A signature that is wrong is empty. Relay only, a rule of its own for tapscript.
    NULLFAIL = 14;
    /// Keys in version 0 scripts are compressed. Relay only.
    WITNESS_PUBKEYTYPE = 15;
    /// No CODESEPARATOR and no signature inside a script that is no witness script. Relay only.
    CONST_SCRIPTCODE = 16;
    /// Taproot and tapscript (BIPs 341, 342, with the changes of Elements).
    TAPROOT = 17;
    /// Taproot leaves of an unknown version are refused. Relay only.
    DISCOURAGE_UPGRADABLE_TAPROOT_VERSION = 18;
    /// Opcodes that make a tapscript succeed are refused. Relay only.
    DISCOURAGE_OP_SUCCESS = 19;
    /// Keys of an unknown kind in tapscript are refused. Relay only.
    DISCOURAGE_UPGRADABLE_PUBKEYTYPE = 20;
    /// Hash types may have the bit that covers range proofs: on chains with dynafed.
    SIGHASH_RANGEPROOF = 22;
    /// Leaves of version `0xbe` are Simplicity programs.
    SIMPLICITY = 23;
}

impl Flags {
    /// No rule beyond the first ones of Bitcoin.
    pub const NONE: Self = Self(0);

    /// What a block has to keep on a chain whose deployments are all active from the start (`GetBlockScriptFlags`).
    pub const CONSENSUS: Self = Self(
        Self::P2SH.0
            | Self::WITNESS.0
            | Self::TAPROOT.0
            | Self::DERSIG.0
            | Self::CHECKLOCKTIMEVERIFY.0
            | Self::CHECKSEQUENCEVERIFY.0
            | Self::NULLDUMMY.0
            | Self::SIGHASH_RANGEPROOF.0
            | Self::SIMPLICITY.0,
    );

    /// What a relayed transaction has to keep besides (`policy.h`, `STANDARD_SCRIPT_VERIFY_FLAGS`).
    pub const STANDARD: Self = Self(
        Self::CONSENSUS.0
            | Self::STRICTENC.0
            | Self::MINIMALDATA.0
            | Self::DISCOURAGE_UPGRADABLE_NOPS.0
            | Self::CLEANSTACK.0
            | Self::MINIMALIF.0
            | Self::NULLFAIL.0
            | Self::LOW_S.0
            | Self::DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM.0
            | Self::WITNESS_PUBKEYTYPE.0
            | Self::CONST_SCRIPTCODE.0
            | Self::DISCOURAGE_UPGRADABLE_TAPROOT_VERSION.0
            | Self::DISCOURAGE_OP_SUCCESS.0
            | Self::DISCOURAGE_UPGRADABLE_PUBKEYTYPE.0,
    );

    /// What the witness of a header has to keep (`CheckProofGeneric`).
    pub const HEADER: Self = Self(
        Self::P2SH.0
            | Self::STRICTENC.0
            | Self::NULLDUMMY.0
            | Self::CLEANSTACK.0
            | Self::MINIMALDATA.0
            | Self::SIGPUSHONLY.0
            | Self::LOW_S.0
            | Self::WITNESS.0,
    );

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Self::ALL.iter().filter(|(_, flag)| self.contains(*flag)).map(|(name, _)| *name).collect();
        f.write_str(if names.is_empty() { "NONE" } else { "" })?;
        f.write_str(&names.join(","))
    }
}
