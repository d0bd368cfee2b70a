//! The opcodes of Elements (`script.h`). Bytes without a name here fail a script that runs them, and make a tapscript
//! succeed if [`is_success`] says so.

#![allow(missing_docs, reason = "the names are those of Bitcoin and Elements, and say what they do")]

macro_rules! opcodes {
    ($($name:ident = $value:literal)*) => {
        $(pub const $name: u8 = $value;)*

        /// Every opcode that is not a push, with its name and without `OP_`.
        pub const ALL: &[(&str, u8)] = &[$((stringify!($name), $value)),*];

        /// The name of an opcode, without `OP_`; `None` if it has none.
        pub fn name(opcode: u8) -> Option<&'static str> {
            ALL.iter().find(|(_, value)| *value == opcode).map(|(name, _)| *name)
        }
    };
}

pub const OP_0: u8 = 0x00;
pub const PUSHDATA1: u8 = 0x4c;
pub const PUSHDATA2: u8 = 0x4d;
pub const PUSHDATA4: u8 = 0x4e;
pub const OP_1NEGATE: u8 = 0x4f;
pub const OP_1: u8 = 0x51;
pub const OP_16: u8 = 0x60;
pub const OP_1ADD: u8 = 0x8b;
pub const OP_1SUB: u8 = 0x8c;
pub const OP_0NOTEQUAL: u8 = 0x92;
pub const OP_2DROP: u8 = 0x6d;
pub const OP_2DUP: u8 = 0x6e;
pub const OP_3DUP: u8 = 0x6f;
pub const OP_2OVER: u8 = 0x70;
pub const OP_2ROT: u8 = 0x71;
pub const OP_2SWAP: u8 = 0x72;
pub const OP_2MUL: u8 = 0x8d;
pub const OP_2DIV: u8 = 0x8e;

opcodes! {
    RESERVED = 0x50
    NOP = 0x61 VER = 0x62 IF = 0x63 NOTIF = 0x64 VERIF = 0x65 VERNOTIF = 0x66 ELSE = 0x67 ENDIF = 0x68 VERIFY = 0x69
    RETURN = 0x6a
    TOALTSTACK = 0x6b FROMALTSTACK = 0x6c IFDUP = 0x73 DEPTH = 0x74 DROP = 0x75 DUP = 0x76 NIP = 0x77 OVER = 0x78
    PICK = 0x79 ROLL = 0x7a ROT = 0x7b SWAP = 0x7c TUCK = 0x7d
    CAT = 0x7e SUBSTR = 0x7f LEFT = 0x80 RIGHT = 0x81 SIZE = 0x82
    INVERT = 0x83 AND = 0x84 OR = 0x85 XOR = 0x86 EQUAL = 0x87 EQUALVERIFY = 0x88 RESERVED1 = 0x89 RESERVED2 = 0x8a
    NEGATE = 0x8f ABS = 0x90 NOT = 0x91 ADD = 0x93 SUB = 0x94 MUL = 0x95 DIV = 0x96 MOD = 0x97 LSHIFT = 0x98
    RSHIFT = 0x99 BOOLAND = 0x9a BOOLOR = 0x9b NUMEQUAL = 0x9c NUMEQUALVERIFY = 0x9d NUMNOTEQUAL = 0x9e LESSTHAN = 0x9f
    GREATERTHAN = 0xa0 LESSTHANOREQUAL = 0xa1 GREATERTHANOREQUAL = 0xa2 MIN = 0xa3 MAX = 0xa4 WITHIN = 0xa5
    RIPEMD160 = 0xa6 SHA1 = 0xa7 SHA256 = 0xa8 HASH160 = 0xa9 HASH256 = 0xaa
    CODESEPARATOR = 0xab CHECKSIG = 0xac CHECKSIGVERIFY = 0xad CHECKMULTISIG = 0xae CHECKMULTISIGVERIFY = 0xaf
    NOP1 = 0xb0 CHECKLOCKTIMEVERIFY = 0xb1 CHECKSEQUENCEVERIFY = 0xb2 NOP4 = 0xb3 NOP5 = 0xb4 NOP6 = 0xb5 NOP7 = 0xb6
    NOP8 = 0xb7 NOP9 = 0xb8 NOP10 = 0xb9 CHECKSIGADD = 0xba
    DETERMINISTICRANDOM = 0xc0 CHECKSIGFROMSTACK = 0xc1 CHECKSIGFROMSTACKVERIFY = 0xc2 SUBSTR_LAZY = 0xc3
    SHA256INITIALIZE = 0xc4 SHA256UPDATE = 0xc5 SHA256FINALIZE = 0xc6
    INSPECTINPUTOUTPOINT = 0xc7 INSPECTINPUTASSET = 0xc8 INSPECTINPUTVALUE = 0xc9 INSPECTINPUTSCRIPTPUBKEY = 0xca
    INSPECTINPUTSEQUENCE = 0xcb INSPECTINPUTISSUANCE = 0xcc PUSHCURRENTINPUTINDEX = 0xcd
    INSPECTOUTPUTASSET = 0xce INSPECTOUTPUTVALUE = 0xcf INSPECTOUTPUTNONCE = 0xd0 INSPECTOUTPUTSCRIPTPUBKEY = 0xd1
    INSPECTVERSION = 0xd2 INSPECTLOCKTIME = 0xd3 INSPECTNUMINPUTS = 0xd4 INSPECTNUMOUTPUTS = 0xd5 TXWEIGHT = 0xd6
    ADD64 = 0xd7 SUB64 = 0xd8 MUL64 = 0xd9 DIV64 = 0xda NEG64 = 0xdb LESSTHAN64 = 0xdc LESSTHANOREQUAL64 = 0xdd
    GREATERTHAN64 = 0xde GREATERTHANOREQUAL64 = 0xdf
    SCRIPTNUMTOLE64 = 0xe0 LE64TOSCRIPTNUM = 0xe1 LE32TOLE64 = 0xe2 ECMULSCALARVERIFY = 0xe3 TWEAKVERIFY = 0xe4
}

/// Whether a tapscript that contains this opcode succeeds whatever else it has (BIP 342). Elements gave a meaning to most
/// of the opcodes that Bitcoin counts here.
pub const fn is_success(opcode: u8) -> bool {
    matches!(opcode, 80 | 98 | 137..=138 | 141..=142 | 149..=151 | 187..=191 | 229..=254)
}
