//! Scripts and flags as the files write them.

use aquifer_assets::script::{Flags, opcode};

/// Reads a script: decimal numbers, `0x` bytes as they are, quoted text as a push, and opcodes with or without `OP_`.
pub(crate) fn parse_script(assembly: &str) -> Result<Vec<u8>, String> {
    let mut script = Vec::new();
    for word in assembly.split_ascii_whitespace() {
        let digits = word.strip_prefix('-').unwrap_or(word);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            push_number(&mut script, word.parse().map_err(|_| format!("{word} is no number"))?);
        } else if let Some(raw) = word.strip_prefix("0x") {
            script.extend(hex::decode(raw).map_err(|error| format!("{word}: {error}"))?);
        } else if let Some(quoted) = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            push_bytes(&mut script, quoted.as_bytes());
        } else {
            script.push(parse_opcode(word.strip_prefix("OP_").unwrap_or(word))?);
        }
    }
    Ok(script)
}

/// Names that begin with a digit cannot be those of constants.
fn parse_opcode(name: &str) -> Result<u8, String> {
    let numbered = match name {
        "2DROP" => opcode::OP_2DROP,
        "2DUP" => opcode::OP_2DUP,
        "3DUP" => opcode::OP_3DUP,
        "2OVER" => opcode::OP_2OVER,
        "2ROT" => opcode::OP_2ROT,
        "2SWAP" => opcode::OP_2SWAP,
        "1ADD" => opcode::OP_1ADD,
        "1SUB" => opcode::OP_1SUB,
        "2MUL" => opcode::OP_2MUL,
        "2DIV" => opcode::OP_2DIV,
        "0NOTEQUAL" => opcode::OP_0NOTEQUAL,
        // The names from before they had a meaning.
        "NOP2" => opcode::CHECKLOCKTIMEVERIFY,
        "NOP3" => opcode::CHECKSEQUENCEVERIFY,
        _ => 0,
    };
    let named = opcode::ALL.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    named.or((numbered != 0).then_some(numbered)).ok_or_else(|| format!("there is no opcode {name}"))
}

fn push_number(script: &mut Vec<u8>, value: i64) {
    match u8::try_from(value) {
        Ok(0) => script.push(0),
        Ok(small @ 1..=16) => script.push(opcode::OP_1 - 1 + small),
        _ if value == -1 => script.push(opcode::OP_1NEGATE),
        _ => {
            let mut bytes = [0; 8];
            let length = bitcoin::script::write_scriptint(&mut bytes, value);
            push_bytes(script, &bytes[..length]);
        }
    }
}

fn push_bytes(script: &mut Vec<u8>, data: &[u8]) {
    let length = u16::try_from(data.len()).expect("texts are short");
    match length.to_le_bytes() {
        [short @ 0..=75, 0] => script.push(short),
        [one, 0] => script.extend([opcode::PUSHDATA1, one]),
        [low, high] => script.extend([opcode::PUSHDATA2, low, high]),
    }
    script.extend_from_slice(data);
}

/// Reads flags, separated by commas.
pub(crate) fn parse_flags(names: &str) -> Result<Flags, String> {
    names.split(',').filter(|name| !matches!(*name, "" | "NONE")).try_fold(Flags::NONE, |flags, name| {
        let known = Flags::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, flag)| flags | *flag).ok_or_else(|| format!("there is no flag {name}"))
    })
}
