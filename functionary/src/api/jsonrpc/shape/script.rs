//! Scripts as `decodescript` and `scriptPubKey` show them (`core_write.cpp`).

use aquifer_assets::chain::ChainParams;
use aquifer_assets::peg::parse_pegout_script;
use aquifer_assets::script::{Form, is_unspendable};
use bitcoin::secp256k1::ecdsa::Signature;
use elements::script::Instruction;
use elements::{Address, AddressParams, Script};

use super::opcodes;
use super::{Json, Object};

/// Addresses have the prefixes of Elements' custom chains.
pub(crate) const ADDRESSES: &AddressParams = &AddressParams::ELEMENTS;
/// Longest data that is shown as a number.
const MAX_NUMBER_LEN: usize = 4;

/// A script in words. In what satisfies a script, signatures are shown with the name of their hash type.
pub(crate) fn asm(script: &Script, satisfies: bool) -> String {
    let name_types = satisfies && !is_unspendable(script);
    let mut words = Vec::new();
    for instruction in script.instructions() {
        match instruction {
            Ok(Instruction::PushBytes(bytes)) if bytes.len() <= MAX_NUMBER_LEN => words.push(number(bytes).to_string()),
            Ok(Instruction::PushBytes(bytes)) => {
                let signature = name_types.then(|| signature(bytes)).flatten();
                words.push(signature.unwrap_or_else(|| hex::encode(bytes)));
            }
            Ok(Instruction::Op(op)) => words.push(opcodes::name(op.into_u8())),
            Err(_) => {
                words.push("[error]".to_owned());
                break;
            }
        }
    }
    words.join(" ")
}

/// The number that at most four bytes stand for: little-endian, the highest bit is the sign.
fn number(bytes: &[u8]) -> i64 {
    let mut magnitude = 0_i64;
    let mut negative = false;
    for (index, byte) in bytes.iter().enumerate() {
        let is_last = index.saturating_add(1) == bytes.len();
        let digits = if is_last { byte & 0x7f } else { *byte };
        negative = is_last && byte & 0x80 != 0;
        magnitude |= i64::from(digits) << (8 * index.min(MAX_NUMBER_LEN));
    }
    if negative { -magnitude } else { magnitude }
}

/// A signature with the name of its hash type, if this is one.
fn signature(bytes: &[u8]) -> Option<String> {
    let (hash_type, der) = bytes.split_last()?;
    let name = match hash_type {
        0x01 => "ALL",
        0x02 => "NONE",
        0x03 => "SINGLE",
        0x81 => "ALL|ANYONECANPAY",
        0x82 => "NONE|ANYONECANPAY",
        0x83 => "SINGLE|ANYONECANPAY",
        _ => return None,
    };
    Signature::from_der(der).ok()?;
    Some(format!("{}[{name}]", hex::encode(der)))
}

/// What Elements calls the form of a script.
pub(crate) fn script_form(script: &Script) -> &'static str {
    match Form::of(script.as_bytes()) {
        Form::Fee => "fee",
        Form::Data => "nulldata",
        Form::Key => "pubkey",
        Form::KeyHash => "pubkeyhash",
        Form::ScriptHash => "scripthash",
        Form::Multisig { .. } => "multisig",
        Form::Program if script.is_v0_p2wpkh() => "witness_v0_keyhash",
        Form::Program if script.is_v0_p2wsh() => "witness_v0_scripthash",
        Form::Program => "witness_v1_taproot",
        Form::LaterProgram => "witness_unknown",
        Form::Other => "nonstandard",
    }
}

/// The address of a script that has one.
pub(crate) fn address_of(script: &Script) -> Option<String> {
    match Form::of(script.as_bytes()) {
        Form::KeyHash | Form::ScriptHash | Form::Program | Form::LaterProgram => {
            Address::from_script(script, None, ADDRESSES).map(|address| address.to_string())
        }
        Form::Fee | Form::Data | Form::Key | Form::Multisig { .. } | Form::Other => None,
    }
}

/// The script as a descriptor, with checksum (BIP 380).
pub(crate) fn described(script: &Script) -> String {
    let keys = || {
        script.instructions().filter_map(|instruction| match instruction {
            Ok(Instruction::PushBytes(bytes)) if bytes.len() >= 33 => Some(hex::encode(bytes)),
            _ => None,
        })
    };
    let descriptor = match Form::of(script.as_bytes()) {
        Form::Key => format!("pk({})", keys().collect::<String>()),
        Form::Multisig { .. } => {
            let needed = asm(script, false);
            let needed = needed.split(' ').next().unwrap_or_default();
            format!("multi({needed},{})", keys().collect::<Vec<_>>().join(","))
        }
        _ => match address_of(script) {
            Some(address) => format!("addr({address})"),
            None => format!("raw({})", hex::encode(script.as_bytes())),
        },
    };
    let checksum = checksum(&descriptor).unwrap_or_default();
    format!("{descriptor}#{checksum}")
}

/// The checksum of a descriptor (BIP 380); `None` if it has characters that none may have.
pub(crate) fn checksum(descriptor: &str) -> Option<String> {
    const INPUT: &str =
        "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";
    const OUTPUT: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u64; 5] = [0xf5_dee5_1989, 0xa9_fdca_3312, 0x1b_ab10_e32d, 0x37_06b1_677a, 0x64_4d62_6ffd];
    let step = |state: u64, value: u64| {
        let top = state >> 35;
        let shifted = ((state & 0x7_ffff_ffff) << 5) ^ value;
        (0..)
            .zip(GENERATOR)
            .fold(shifted, |state, (bit, term)| if (top >> bit) & 1 == 1 { state ^ term } else { state })
    };
    let (mut state, mut group, mut count) = (1, 0, 0);
    for character in descriptor.chars() {
        let position = u64::try_from(INPUT.find(character)?).ok()?;
        state = step(state, position & 31);
        group = group * 3 + (position >> 5);
        count += 1;
        if count == 3 {
            state = step(state, group);
            (group, count) = (0, 0);
        }
    }
    if count > 0 {
        state = step(state, group);
    }
    state = (0..8).fold(state, |state, _| step(state, 0)) ^ 1;
    let characters = (0..8).map(|index| {
        let digit = usize::try_from((state >> (5 * (7 - index))) & 31).unwrap_or_default();
        OUTPUT.get(digit).copied().map_or('q', char::from)
    });
    Some(characters.collect())
}

/// An output script with all that can be said of it.
pub(crate) fn output_script(params: &ChainParams, script: &Script, with_hex: bool) -> Object {
    let mut object = Object::new().with("asm", asm(script, false)).with("desc", described(script));
    if with_hex {
        object.set("hex", Json::hex(script.as_bytes()));
    }
    if let Some(address) = address_of(script) {
        object.set("address", address);
    }
    object.set("type", script_form(script));
    let Some((chain, destination)) = parse_pegout_script(script) else { return object };
    // Elements describes it as a script of this chain, and gives the address of the other one.
    let on_this_chain = Script::from(destination.to_bytes());
    object.set("pegout_chain", Json::shown(chain));
    object.set("pegout_asm", asm(&on_this_chain, false));
    object.set("pegout_desc", described(&on_this_chain));
    if with_hex {
        object.set("pegout_hex", Json::hex(destination.as_bytes()));
    }
    let network = params.parent_network().unwrap_or(bitcoin::Network::Regtest);
    if address_of(&on_this_chain).is_some()
        && let Ok(address) = bitcoin::Address::from_script(&destination, network)
    {
        object.set("pegout_address", Json::shown(address));
    }
    object.set("pegout_type", script_form(&on_this_chain));
    object
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn script(text: &str) -> Script {
        Script::from(hex::decode(text).unwrap())
    }

    #[test]
    fn scripts_are_shown_in_words() {
        for (bytes, words) in [
            ("", ""),
            ("00", "0"),
            ("0181", "-1"),
            ("02e803", "1000"),
            ("04ffffffff", "-2147483647"),
            ("050102030405", "0102030405"),
            ("4f5160", "-1 1 16"),
            (
                "a9140000000000000000000000000000000000000000e4",
                "OP_HASH160 0000000000000000000000000000000000000000 OP_TWEAKVERIFY",
            ),
            ("0501", "[error]"),
            ("6a4c", "OP_RETURN [error]"),
        ] {
            assert_eq!(asm(&script(bytes), false), words, "{bytes}");
        }
    }

    #[test]
    fn checksums_are_those_of_bip_380() {
        assert_eq!(checksum("raw(deadbeef)").unwrap(), "89f8spxm");
        assert_eq!(described(&script("deadbeef")), "raw(deadbeef)#89f8spxm");
        assert_eq!(checksum("ä"), None);
    }
}
