//! The interpreter: no script makes it panic, its limits hold, and rules only take away from what is valid.

use std::cell::Cell;
use std::sync::LazyLock;

use aquifer_assets::script::{
    Flags, ScriptError, ScriptVersion, SighashData, SignatureChecker, TaprootHashType, TaprootSpend,
    TransactionChecker, verify_script,
};
use bitcoin::hashes::{Hash as _, HashEngine as _, hash160, sha256};
use secp256k1_zkp::{SECP256K1, Scalar, XOnlyPublicKey};

use crate::ground::ground;
use crate::program::Program;

/// Most bytes of a script that is no tapscript.
const MAX_SCRIPT_SIZE: usize = 10_000;
/// Most bytes of an element.
const MAX_ELEMENT_SIZE: usize = 520;
/// Most operations, and keys of multisigs, in a script that is no tapscript.
const MAX_OPERATIONS: usize = 201;
/// Scripts that one spend runs at most: of the input, the output, the hash and the witness.
const SCRIPTS: usize = 4;
/// What a signature in a tapscript costs of the weight of its witness.
const WEIGHT_OF_SIGNATURE: usize = 50;
/// The x coordinate of the generator of the curve: a key that every tree of leaves is made under.
const INTERNAL_KEY: [u8; 32] = [
    0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b, 0xfc,
    0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];
const TAPSCRIPT_LEAF: u8 = 0xc4;
/// Where a script stands, as programs say it: the hash of a witness script.
pub(crate) const P2WSH: u8 = 4;
/// The same for the leaf of a tree.
pub(crate) const TAPSCRIPT: u8 = 6;

/// What the transactions of the ground sign.
static SIGHASHES: LazyLock<Vec<SighashData<'static>>> =
    LazyLock::new(|| ground().cases.iter().map(|case| case.sighash()).collect());

/// A spend that is to be judged.
#[derive(Default)]
struct Spend {
    script_sig: Vec<u8>,
    script_pubkey: Vec<u8>,
    witness: Vec<Vec<u8>>,
    /// The script that is no tapscript and is run whole if the spend is valid.
    base: Option<Vec<u8>>,
}

/// Takes a program that makes a script, what it is given, and the rules.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    let Some(data) = program.pick(&SIGHASHES) else { return };
    let vin = program.choose(4);
    let Some(checker) = TransactionChecker::new(data, vin).or_else(|| TransactionChecker::new(data, 0)) else { return };
    let mut flags = rules(program.number());
    let fewer = rules(program.number());
    if program.byte() & 1 == 0 {
        flags = Flags::CONSENSUS;
    }
    let spend = make(&mut program);
    let verdict = judge(&spend, flags, &checker);
    assert_eq!(judge(&spend, flags, &checker), verdict, "another verdict");
    if verdict.is_ok() {
        let fewer = common(flags, fewer);
        assert_eq!(judge(&spend, fewer, &checker), Ok(()), "valid under {flags}, not under {fewer}");
        if let (Some(script), true) = (&spend.base, flags.contains(Flags::P2SH | Flags::WITNESS)) {
            check_limits(script);
        }
    }
}

/// The rules whose bits are set, and those that they stand on.
fn rules(bits: u32) -> Flags {
    let chosen = Flags::ALL.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    chosen.fold(Flags::NONE, |flags, (_, (_, flag))| {
        let needed = match *flag {
            Flags::CLEANSTACK => Flags::P2SH | Flags::WITNESS,
            Flags::WITNESS => Flags::P2SH,
            _ => Flags::NONE,
        };
        flags | *flag | needed
    })
}

/// The rules of both; what gives a meaning to a hash type stays as it is.
fn common(flags: Flags, others: Flags) -> Flags {
    let others = others | Flags::SIGHASH_RANGEPROOF;
    Flags::ALL.iter().filter(|(_, flag)| !others.contains(*flag)).fold(flags, |left, (_, flag)| left.without(*flag))
}

fn judge(spend: &Spend, flags: Flags, checker: &TransactionChecker<'_>) -> Result<(), ScriptError> {
    let counter = Counter { checker, ecdsa: Cell::new(0), schnorr: Cell::new(0) };
    let witness: Vec<&[u8]> = spend.witness.iter().map(Vec::as_slice).collect();
    let verdict = verify_script(&spend.script_sig, &spend.script_pubkey, &witness, flags, &counter);
    assert!(counter.ecdsa.get() <= SCRIPTS * MAX_OPERATIONS, "{} digests", counter.ecdsa.get());
    // A length of up to five bytes for each element and one for their number.
    let size: usize = witness.iter().map(|element| element.len().saturating_add(5)).sum();
    let budget = size.saturating_add(5 + WEIGHT_OF_SIGNATURE) / WEIGHT_OF_SIGNATURE;
    assert!(counter.schnorr.get() <= budget, "{} digests for a witness of {size} bytes", counter.schnorr.get());
    verdict
}

/// Asks another checker and counts how often.
struct Counter<'a> {
    checker: &'a TransactionChecker<'a>,
    ecdsa: Cell<usize>,
    schnorr: Cell<usize>,
}

impl SignatureChecker for Counter<'_> {
    fn ecdsa_digest(&self, code: &[u8], hash_type: u8, version: ScriptVersion, flags: Flags) -> Option<[u8; 32]> {
        assert_ne!(version, ScriptVersion::Tapscript, "tapscript has no ECDSA");
        self.ecdsa.set(self.ecdsa.get().saturating_add(1));
        self.checker.ecdsa_digest(code, hash_type, version, flags)
    }

    fn schnorr_digest(&self, spend: &TaprootSpend, hash_type: TaprootHashType) -> Option<[u8; 32]> {
        self.schnorr.set(self.schnorr.get().saturating_add(1));
        self.checker.schnorr_digest(spend, hash_type)
    }

    fn version(&self) -> u32 {
        self.checker.version()
    }

    fn lock_time(&self) -> u32 {
        self.checker.lock_time()
    }

    fn sequence(&self) -> u32 {
        self.checker.sequence()
    }

    fn inspect(&self) -> Option<(&SighashData<'_>, usize)> {
        self.checker.inspect()
    }
}

/// Makes a spend: elements, each after its length, then a script, in one of the places where scripts stand.
fn make(program: &mut Program<'_>) -> Spend {
    let place = program.byte() % 10;
    let mut items: Vec<Vec<u8>> = (0..program.byte() % 8)
        .map(|_| {
            let length = usize::from(program.byte());
            program.take(length).to_vec()
        })
        .collect();
    // A few bytes give a long script, or many elements.
    let (copies, repeats) = (program.byte(), usize::from(program.byte()));
    if copies == 1 {
        items = items.iter().cycle().take(repeats.saturating_mul(5)).cloned().collect();
    }
    let mut script = program.take_rest().to_vec();
    if copies == 2 {
        script = script.repeat(repeats);
    }
    let base = Some(script.clone());
    let pushes = |items: &[Vec<u8>]| items.iter().flat_map(|item| push(item)).collect::<Vec<u8>>();
    let p2sh = |redeem: &[u8]| [[0xa9, 20].as_slice(), hash160::Hash::hash(redeem).as_byte_array(), &[0x87]].concat();
    let program = [[0, 32].as_slice(), sha256::Hash::hash(&script).as_byte_array()].concat();
    match place {
        0 | 1 => Spend { script_sig: pushes(&items), script_pubkey: script, base, ..Spend::default() },
        2 | 3 => {
            let script_pubkey = p2sh(&script);
            items.push(script);
            Spend { script_sig: pushes(&items), script_pubkey, base, ..Spend::default() }
        }
        P2WSH | 5 => {
            items.push(script);
            let (script_sig, script_pubkey) = if place == P2WSH {
                (Vec::new(), program)
            } else {
                (pushes(std::slice::from_ref(&program)), p2sh(&program))
            };
            Spend { script_sig, script_pubkey, witness: items, base }
        }
        TAPSCRIPT..=8 => tapscript(items, script),
        // Anything anywhere.
        _ => {
            let script_sig = items.pop().unwrap_or_default();
            Spend { script_sig, script_pubkey: script, witness: items, base: None }
        }
    }
}

/// The only leaf of a tree; the version of the leaf is the one of tapscripts unless the first element is a single byte.
fn tapscript(mut witness: Vec<Vec<u8>>, script: Vec<u8>) -> Spend {
    let version = match witness.first().map(Vec::as_slice) {
        Some([version]) => version & 0xfe,
        _ => TAPSCRIPT_LEAF,
    };
    let leaf = tagged("TapLeaf/elements", &[&[version], &elements::encode::serialize(&script)]);
    let tweak = Scalar::from_be_bytes(tagged("TapTweak/elements", &[&INTERNAL_KEY, &leaf]));
    let key = XOnlyPublicKey::from_slice(&INTERNAL_KEY).ok().zip(tweak.ok());
    let Some((key, parity)) = key.and_then(|(key, tweak)| key.add_tweak(SECP256K1, &tweak).ok()) else {
        return Spend::default();
    };
    let script_pubkey = [[0x51, 32].as_slice(), &key.serialize()].concat();
    witness.push(script);
    witness.push([[version | parity.to_u8()].as_slice(), &INTERNAL_KEY].concat());
    Spend { script_pubkey, witness, ..Spend::default() }
}

fn tagged(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = sha256::Hash::hash(tag.as_bytes());
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    parts.iter().for_each(|part| engine.input(part));
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// A push of any bytes; numbers are not made shorter.
fn push(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let head = match u8::try_from(length) {
        Ok(short @ 0..=75) => vec![short],
        Ok(length) => vec![0x4c, length],
        Err(_) => [[0x4d].as_slice(), &length.to_le_bytes()].concat(),
    };
    [&head, bytes].concat()
}

/// What every valid script that is no tapscript keeps, whatever it does: every step of it counts, also one not taken.
fn check_limits(script: &[u8]) {
    assert!(script.len() <= MAX_SCRIPT_SIZE, "{} bytes", script.len());
    let mut operations = 0_usize;
    let mut rest = script;
    while let Some((opcode, after)) = rest.split_first() {
        let prefix = match opcode {
            0x4c => 1,
            0x4d => 2,
            0x4e => 4,
            _ => 0,
        };
        let (prefix, after) = after.split_at(prefix.min(after.len()));
        let length = match opcode {
            0..=0x4b => usize::from(*opcode),
            _ => prefix.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        assert!(length <= MAX_ELEMENT_SIZE && length <= after.len(), "a push of {length} bytes");
        operations = operations.saturating_add(usize::from(*opcode > 0x60));
        rest = after.get(length..).unwrap_or_default();
    }
    assert!(operations <= MAX_OPERATIONS, "{operations} operations");
}
