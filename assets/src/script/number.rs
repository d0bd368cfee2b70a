//! Numbers on the stack: little-endian, the highest bit of the last byte is the sign.
//!
//! Operands have at most four bytes (five for lock times), results may have more; then they are good for nothing but
//! being looked at as bytes.

use super::ScriptError;

/// Most bytes of an operand.
pub(super) const MAX_OPERAND_SIZE: usize = 4;

/// Reads a number.
///
/// # Errors
/// [`ScriptError::Number`] if it has more than `max_size` bytes, or if `minimal` and it is not in its shortest form.
pub(super) fn decode(bytes: &[u8], minimal: bool, max_size: usize) -> Result<i64, ScriptError> {
    // The widest that is asked for has five bytes.
    if bytes.len() > max_size.min(7) {
        return Err(ScriptError::Number(bytes.len()));
    }
    if minimal && !is_minimal(bytes) {
        return Err(ScriptError::Number(bytes.len()));
    }
    let Some((last, low)) = bytes.split_last() else { return Ok(0) };
    let magnitude = low.iter().rev().fold(i64::from(last & 0x7f), |value, byte| (value << 8) | i64::from(*byte));
    Ok(if last & 0x80 == 0 { magnitude } else { -magnitude })
}

fn is_minimal(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [last] => last & 0x7f != 0,
        [.., before, last] => last & 0x7f != 0 || before & 0x80 != 0,
    }
}

/// Writes a number in its shortest form.
pub(super) fn encode(value: i64) -> Vec<u8> {
    let mut bytes = value.unsigned_abs().to_le_bytes().to_vec();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    let sign = if value < 0 { 0x80 } else { 0 };
    match bytes.last_mut() {
        Some(last) if *last & 0x80 == 0 => *last |= sign,
        Some(_) => bytes.push(sign),
        None => {}
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_have_one_shortest_form() {
        for (value, bytes) in [
            (0, [].as_slice()),
            (1, &[1]),
            (-1, &[0x81]),
            (127, &[0x7f]),
            (128, &[0x80, 0]),
            (-128, &[0x80, 0x80]),
            (-255, &[0xff, 0x80]),
            (256, &[0, 1]),
            (2_147_483_647, &[0xff, 0xff, 0xff, 0x7f]),
            (-2_147_483_647, &[0xff, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(encode(value), bytes);
            assert_eq!(decode(bytes, true, 4), Ok(value));
        }
        assert_eq!(encode(i64::MIN).len(), 9);
        for bytes in [[0].as_slice(), &[0x80], &[1, 0], &[1, 0x80], &[0xff, 0x7f, 0]] {
            assert_eq!(decode(bytes, true, 4), Err(ScriptError::Number(bytes.len())), "{bytes:?}");
            assert!(decode(bytes, false, 4).is_ok());
        }
        assert_eq!(decode(&[0x80], false, 4), Ok(0));
        assert_eq!(decode(&[0; 5], false, 4), Err(ScriptError::Number(5)));
        assert_eq!(decode(&[0xff; 5], false, 5), Ok(-0x7f_ffff_ffff));
    }
}
