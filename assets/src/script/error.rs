//! Why a spend was refused, in our words and in Elements'.

/// Why a spend was refused: one variant per rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the values are")]
pub enum ScriptError {
    /// A Simplicity leaf, which Elements runs and we do not know how to run yet.
    #[error("a Simplicity leaf cannot be spent here")]
    Unsupported,
    #[error("there is no input {0}")]
    NoSuchInput(usize),
    #[error("the script leaves false, or nothing")]
    EvalFalse,
    #[error("RETURN was run")]
    OpReturn,
    #[error("a script has {0} bytes, 10,000 are allowed")]
    ScriptSize(usize),
    #[error("an element has {0} bytes, 520 are allowed")]
    PushSize(usize),
    #[error("a script runs more than 201 operations")]
    OpCount,
    #[error("{0} elements are on the stacks, 1,000 are allowed")]
    StackSize(usize),
    #[error("CHECKMULTISIG asks for {0} signatures, fewer than none or more than keys")]
    SigCount(i64),
    #[error("CHECKMULTISIG has {0} keys, fewer than none or more than 20")]
    PubkeyCount(i64),
    #[error("VERIFY failed")]
    Verify,
    #[error("EQUALVERIFY failed")]
    EqualVerify,
    #[error("CHECKMULTISIGVERIFY failed")]
    CheckMultisigVerify,
    #[error("CHECKSIGVERIFY or CHECKSIGFROMSTACK failed")]
    CheckSigVerify,
    #[error("NUMEQUALVERIFY failed")]
    NumEqualVerify,
    #[error("opcode {0:#04x} means nothing here")]
    BadOpcode(u8),
    #[error("a push is cut short")]
    PushCutShort,
    #[error("opcode {0:#04x} is disabled")]
    DisabledOpcode(u8),
    #[error("opcode {0:#04x} has too little on the stack, or what it cannot use")]
    InvalidStackOperation(u8),
    #[error("FROMALTSTACK has nothing to take")]
    InvalidAltstackOperation,
    #[error("IF, ELSE and ENDIF do not fit together")]
    UnbalancedConditional,
    #[error("the lock time {0} is negative")]
    NegativeLockTime(i64),
    #[error("the lock time {0} is not reached")]
    UnsatisfiedLockTime(i64),
    #[error("a signature has the hash type {0:#04x}, which is not defined")]
    SigHashType(u8),
    #[error("a signature is not strict DER")]
    SigDer,
    #[error("a push is not in its shortest form")]
    MinimalData,
    #[error("the scriptSig does more than push")]
    SigPushOnly,
    #[error("a signature has a high S")]
    SigHighS,
    #[error("the dummy element of CHECKMULTISIG is not empty")]
    NullDummy,
    #[error("a key of {0} bytes is of no known kind")]
    PubkeyType(usize),
    #[error("{0} elements are left on the stack, not one")]
    CleanStack(usize),
    #[error("IF or NOTIF has neither an empty element nor 1")]
    MinimalIf,
    #[error("a wrong signature is not empty")]
    NullFail,
    #[error("opcode {0:#04x} is kept for later")]
    DiscourageUpgradableNops(u8),
    #[error("a witness program of version {0} is kept for later")]
    DiscourageUpgradableWitnessProgram(u8),
    #[error("the Taproot leaf version {0:#04x} is kept for later")]
    DiscourageUpgradableTaprootVersion(u8),
    #[error("opcode {0:#04x} in a tapscript is kept for later")]
    DiscourageOpSuccess(u8),
    #[error("a key of {0} bytes in a tapscript is kept for later")]
    DiscourageUpgradablePubkeyType(usize),
    #[error("a version 0 witness program has {0} bytes")]
    WitnessProgramWrongLength(usize),
    #[error("the witness is empty")]
    WitnessProgramWitnessEmpty,
    #[error("the witness does not match the witness program")]
    WitnessProgramMismatch,
    #[error("a witness spend has a scriptSig of {0} bytes")]
    WitnessMalleated(usize),
    #[error("the scriptSig is not one push of the redeem script")]
    WitnessMalleatedP2sh,
    #[error("a script without witness program has a witness")]
    WitnessUnexpected,
    #[error("a key of {0} bytes in a witness is not compressed")]
    WitnessPubkeyType(usize),
    #[error("a Schnorr signature has {0} bytes")]
    SchnorrSigSize(usize),
    #[error("hash type {0:#04x} cannot be used here")]
    SchnorrSigHashType(u8),
    #[error("the Schnorr signature is wrong")]
    SchnorrSig,
    #[error("a Taproot control block has {0} bytes")]
    TaprootWrongControlSize(usize),
    #[error("more signatures are checked than the size of the witness pays for")]
    TapscriptValidationWeight,
    #[error("CHECKMULTISIG is not available in tapscript")]
    TapscriptCheckMultisig,
    #[error("IF or NOTIF in a tapscript has neither an empty element nor 1")]
    TapscriptMinimalIf,
    #[error("CODESEPARATOR stands in a script that is no witness script")]
    CodeSeparator,
    #[error("a signature stands in the script that it signs")]
    SigFindAndDelete,
    #[error("a SHA-256 context cannot be read")]
    Sha2ContextLoad,
    #[error("a SHA-256 context has no room")]
    Sha2ContextWrite,
    #[error("the transaction cannot be inspected")]
    IntrospectContextUnavailable,
    #[error("there is no input or output {0} to inspect")]
    IntrospectIndexOutOfBounds(i64),
    #[error("an operand has {0} bytes, not 8")]
    Expected8Bytes(usize),
    #[error("a 64-bit conversion failed")]
    Arithmetic64,
    #[error("a key is not the product or sum that it should be")]
    EcMultVerifyFail,
    #[error("a Simplicity spend has a wrong number of elements or no 32-byte program root")]
    SimplicityWrongLength,
    #[error("a number of {0} bytes is too long or not in its shortest form")]
    Number(usize),
    #[error("the operands of opcode {0:#04x} make no sense")]
    Operand(u8),
}

impl ScriptError {
    /// Our name, stable, in kebab case, for interfaces and statistics.
    pub fn name(&self) -> &'static str {
        self.names().0
    }

    /// Elements' name for the rule: its `SCRIPT_ERR_` constant without that prefix. What Elements has no name for, and what
    /// it cannot come to, is `UNKNOWN_ERROR`.
    pub fn elements_name(&self) -> &'static str {
        self.names().1
    }

    /// What Elements writes in parentheses behind `mandatory-script-verify-flag-failed` and its like.
    pub fn elements_reason(&self) -> &'static str {
        self.names().2
    }

    fn names(&self) -> (&'static str, &'static str, &'static str) {
        const UNKNOWN: (&str, &str) = ("UNKNOWN_ERROR", "unknown error");
        match self {
            Self::Unsupported => ("unsupported-script-simplicity", UNKNOWN.0, UNKNOWN.1),
            Self::NoSuchInput(_) => ("script-no-such-input", UNKNOWN.0, UNKNOWN.1),
            Self::Number(_) => ("script-number", UNKNOWN.0, UNKNOWN.1),
            Self::Operand(_) => ("script-operand", UNKNOWN.0, UNKNOWN.1),
            Self::EvalFalse => (
                "script-eval-false",
                "EVAL_FALSE",
                "Script evaluated without error but finished with a false/empty top stack element",
            ),
            Self::OpReturn => ("script-op-return", "OP_RETURN", "OP_RETURN was encountered"),
            Self::ScriptSize(_) => ("script-size", "SCRIPT_SIZE", "Script is too big"),
            Self::PushSize(_) => ("script-push-size", "PUSH_SIZE", "Push value size limit exceeded"),
            Self::OpCount => ("script-op-count", "OP_COUNT", "Operation limit exceeded"),
            Self::StackSize(_) => ("script-stack-size", "STACK_SIZE", "Stack size limit exceeded"),
            Self::SigCount(_) => {
                ("script-sig-count", "SIG_COUNT", "Signature count negative or greater than pubkey count")
            }
            Self::PubkeyCount(_) => ("script-pubkey-count", "PUBKEY_COUNT", "Pubkey count negative or limit exceeded"),
            Self::Verify => ("script-verify", "VERIFY", "Script failed an OP_VERIFY operation"),
            Self::EqualVerify => ("script-equalverify", "EQUALVERIFY", "Script failed an OP_EQUALVERIFY operation"),
            Self::CheckMultisigVerify => (
                "script-checkmultisigverify",
                "CHECKMULTISIGVERIFY",
                "Script failed an OP_CHECKMULTISIGVERIFY operation",
            ),
            Self::CheckSigVerify => {
                ("script-checksigverify", "CHECKSIGVERIFY", "Script failed an OP_CHECKSIGVERIFY operation")
            }
            Self::NumEqualVerify => {
                ("script-numequalverify", "NUMEQUALVERIFY", "Script failed an OP_NUMEQUALVERIFY operation")
            }
            Self::BadOpcode(_) => ("script-bad-opcode", "BAD_OPCODE", "Opcode missing or not understood"),
            Self::PushCutShort => ("script-push-cut-short", "BAD_OPCODE", "Opcode missing or not understood"),
            Self::DisabledOpcode(_) => {
                ("script-disabled-opcode", "DISABLED_OPCODE", "Attempted to use a disabled opcode")
            }
            Self::InvalidStackOperation(_) => (
                "script-invalid-stack-operation",
                "INVALID_STACK_OPERATION",
                "Operation not valid with the current stack size",
            ),
            Self::InvalidAltstackOperation => (
                "script-invalid-altstack-operation",
                "INVALID_ALTSTACK_OPERATION",
                "Operation not valid with the current altstack size",
            ),
            Self::UnbalancedConditional => {
                ("script-unbalanced-conditional", "UNBALANCED_CONDITIONAL", "Invalid OP_IF construction")
            }
            Self::NegativeLockTime(_) => ("script-negative-locktime", "NEGATIVE_LOCKTIME", "Negative locktime"),
            Self::UnsatisfiedLockTime(_) => {
                ("script-unsatisfied-locktime", "UNSATISFIED_LOCKTIME", "Locktime requirement not satisfied")
            }
            Self::SigHashType(_) => {
                ("script-sig-hashtype", "SIG_HASHTYPE", "Signature hash type missing or not understood")
            }
            Self::SigDer => ("script-sig-der", "SIG_DER", "Non-canonical DER signature"),
            Self::MinimalData => ("script-minimaldata", "MINIMALDATA", "Data push larger than necessary"),
            Self::SigPushOnly => ("script-sig-pushonly", "SIG_PUSHONLY", "Only push operators allowed in signatures"),
            Self::SigHighS => {
                ("script-sig-high-s", "SIG_HIGH_S", "Non-canonical signature: S value is unnecessarily high")
            }
            Self::NullDummy => ("script-sig-nulldummy", "SIG_NULLDUMMY", "Dummy CHECKMULTISIG argument must be zero"),
            Self::PubkeyType(_) => {
                ("script-pubkeytype", "PUBKEYTYPE", "Public key is neither compressed or uncompressed")
            }
            Self::CleanStack(_) => {
                ("script-cleanstack", "CLEANSTACK", "Stack size must be exactly one after execution")
            }
            Self::MinimalIf => ("script-minimalif", "MINIMALIF", "OP_IF/NOTIF argument must be minimal"),
            Self::NullFail => {
                ("script-sig-nullfail", "SIG_NULLFAIL", "Signature must be zero for failed CHECK(MULTI)SIG operation")
            }
            Self::DiscourageUpgradableNops(_) => (
                "script-discourage-upgradable-nops",
                "DISCOURAGE_UPGRADABLE_NOPS",
                "NOPx reserved for soft-fork upgrades",
            ),
            Self::DiscourageUpgradableWitnessProgram(_) => (
                "script-discourage-upgradable-witness-program",
                "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM",
                "Witness version reserved for soft-fork upgrades",
            ),
            Self::DiscourageUpgradableTaprootVersion(_) => (
                "script-discourage-upgradable-taproot-version",
                "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION",
                "Taproot version reserved for soft-fork upgrades",
            ),
            Self::DiscourageOpSuccess(_) => {
                ("script-discourage-op-success", "DISCOURAGE_OP_SUCCESS", "OP_SUCCESSx reserved for soft-fork upgrades")
            }
            Self::DiscourageUpgradablePubkeyType(_) => (
                "script-discourage-upgradable-pubkeytype",
                "DISCOURAGE_UPGRADABLE_PUBKEYTYPE",
                "Public key version reserved for soft-fork upgrades",
            ),
            Self::WitnessProgramWrongLength(_) => (
                "script-witness-program-wrong-length",
                "WITNESS_PROGRAM_WRONG_LENGTH",
                "Witness program has incorrect length",
            ),
            Self::WitnessProgramWitnessEmpty => (
                "script-witness-program-witness-empty",
                "WITNESS_PROGRAM_WITNESS_EMPTY",
                "Witness program was passed an empty witness",
            ),
            Self::WitnessProgramMismatch => {
                ("script-witness-program-mismatch", "WITNESS_PROGRAM_MISMATCH", "Witness program hash mismatch")
            }
            Self::WitnessMalleated(_) => {
                ("script-witness-malleated", "WITNESS_MALLEATED", "Witness requires empty scriptSig")
            }
            Self::WitnessMalleatedP2sh => (
                "script-witness-malleated-p2sh",
                "WITNESS_MALLEATED_P2SH",
                "Witness requires only-redeemscript scriptSig",
            ),
            Self::WitnessUnexpected => {
                ("script-witness-unexpected", "WITNESS_UNEXPECTED", "Witness provided for non-witness script")
            }
            Self::WitnessPubkeyType(_) => {
                ("script-witness-pubkeytype", "WITNESS_PUBKEYTYPE", "Using non-compressed keys in segwit")
            }
            Self::SchnorrSigSize(_) => {
                ("script-schnorr-sig-size", "SCHNORR_SIG_SIZE", "Invalid Schnorr signature size")
            }
            Self::SchnorrSigHashType(_) => {
                ("script-schnorr-sig-hashtype", "SCHNORR_SIG_HASHTYPE", "Invalid Schnorr signature hash type")
            }
            Self::SchnorrSig => ("script-schnorr-sig", "SCHNORR_SIG", "Invalid Schnorr signature"),
            Self::TaprootWrongControlSize(_) => (
                "script-taproot-wrong-control-size",
                "TAPROOT_WRONG_CONTROL_SIZE",
                "Invalid Taproot control block size",
            ),
            Self::TapscriptValidationWeight => (
                "script-tapscript-validation-weight",
                "TAPSCRIPT_VALIDATION_WEIGHT",
                "Too much signature validation relative to witness weight",
            ),
            Self::TapscriptCheckMultisig => (
                "script-tapscript-checkmultisig",
                "TAPSCRIPT_CHECKMULTISIG",
                "OP_CHECKMULTISIG(VERIFY) is not available in tapscript",
            ),
            Self::TapscriptMinimalIf => (
                "script-tapscript-minimalif",
                "TAPSCRIPT_MINIMALIF",
                "OP_IF/NOTIF argument must be minimal in tapscript",
            ),
            Self::CodeSeparator => {
                ("script-op-codeseparator", "OP_CODESEPARATOR", "Using OP_CODESEPARATOR in non-witness script")
            }
            Self::SigFindAndDelete => {
                ("script-sig-findanddelete", "SIG_FINDANDDELETE", "Signature is found in scriptCode")
            }
            Self::Sha2ContextLoad => {
                ("script-sha2-context-load", "SHA2_CONTEXT_LOAD", "Invalid Sha256 context object read")
            }
            Self::Sha2ContextWrite => {
                ("script-sha2-context-write", "SHA2_CONTEXT_WRITE", "Invalid Sha256 context object write")
            }
            Self::IntrospectContextUnavailable => (
                "script-introspect-context-unavailable",
                "INTROSPECT_CONTEXT_UNAVAILABLE",
                "Introspection opcode used without correct evaluation context",
            ),
            Self::IntrospectIndexOutOfBounds(_) => (
                "script-introspect-index-out-of-bounds",
                "INTROSPECT_INDEX_OUT_OF_BOUNDS",
                "Introspection index out of bounds",
            ),
            Self::Expected8Bytes(_) => {
                ("script-expected-8bytes", "EXPECTED_8BYTES", "Arithmetic opcodes expect 8 bytes operands")
            }
            Self::Arithmetic64 => ("script-arithmetic64", "ARITHMETIC64", "Arithmetic opcode error"),
            Self::EcMultVerifyFail => ("script-ecmultverifyfail", "ECMULTVERIFYFAIL", "EC scalar mult verify fail"),
            Self::SimplicityWrongLength => {
                ("script-simplicity-wrong-length", "SIMPLICITY_WRONG_LENGTH", "Simplicity witness has incorrect length")
            }
        }
    }
}
