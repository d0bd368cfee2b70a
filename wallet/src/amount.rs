//! Amounts as people write them.
//!
//! Inside, every amount is a raw integer in the smallest unit of its asset. Outside, an amount has the decimals that the
//! asset's precision says: `1.5` of an asset with precision 8 is 150,000,000. A number with the ending `sat` is always
//! raw. No floating point is involved anywhere, so nothing is rounded: what cannot be expressed is refused.

/// Decimals of the pegged asset, as of bitcoin.
pub const PEGGED_PRECISION: u8 = 8;

/// The largest precision an asset may have.
pub const MAX_PRECISION: u8 = 8;

/// An amount that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a number.
    #[error("`{0}` is not an amount; write for example 0.25, or 25000000sat for the smallest unit")]
    NotANumber(String),
    /// More decimals than the asset has.
    #[error("`{text}` has more than {precision} decimals, which is all this asset has")]
    TooManyDecimals {
        /// What was written.
        text: String,
        /// Decimals of the asset.
        precision: u8,
    },
    /// Larger than 2^64 - 1 smallest units.
    #[error("`{0}` is larger than any amount can be")]
    TooLarge(String),
    /// Zero.
    #[error("the amount is 0; write an amount above 0")]
    Zero,
}

/// Reads an amount of an asset with `precision` decimals. Returns smallest units, at least 1.
pub fn parse(text: &str, precision: u8) -> Result<u64, AmountError> {
    let trimmed = text.trim();
    let raw = match trimmed.strip_suffix("sat") {
        Some(digits) => integer(digits.trim_end(), trimmed)?,
        None => decimal(trimmed, precision)?,
    };
    if raw == 0 { Err(AmountError::Zero) } else { Ok(raw) }
}

fn integer(digits: &str, whole: &str) -> Result<u64, AmountError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AmountError::NotANumber(whole.to_owned()));
    }
    digits.parse().map_err(|_| AmountError::TooLarge(whole.to_owned()))
}

fn decimal(text: &str, precision: u8) -> Result<u64, AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if text.ends_with('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(AmountError::NotANumber(text.to_owned()));
    }
    if fraction.len() > usize::from(precision) {
        if fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError::TooManyDecimals { text: text.to_owned(), precision });
        }
        return Err(AmountError::NotANumber(text.to_owned()));
    }
    let padded = format!("{whole}{fraction:0<width$}", width = usize::from(precision));
    integer(&padded, text)
}

/// Writes an amount with all decimals of the asset.
pub fn format(raw: u64, precision: u8) -> String {
    let width = usize::from(precision);
    if width == 0 {
        return raw.to_string();
    }
    let digits = format!("{raw:0>width$}", width = width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    format!("{whole}.{fraction}")
}

/// Writes a signed amount, always with its sign.
pub fn format_signed(raw: i64, precision: u8) -> String {
    let sign = if raw < 0 { '-' } else { '+' };
    format!("{sign}{}", format(raw.unsigned_abs(), precision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimals_and_raw_units() {
        assert_eq!(parse("1", 8), Ok(100_000_000));
        assert_eq!(parse("0.00000001", 8), Ok(1));
        assert_eq!(parse(".5", 2), Ok(50));
        assert_eq!(parse("7", 0), Ok(7));
        assert_eq!(parse("1234sat", 8), Ok(1234));
        assert_eq!(parse("1234 sat", 2), Ok(1234));
        assert_eq!(parse("18446744073709551615sat", 0), Ok(u64::MAX));
    }

    #[test]
    fn refuses_what_cannot_be_expressed() {
        let not = |text: &str| Err(AmountError::NotANumber(text.to_owned()));
        for text in ["", ".", "1.", "-1", "+1", "1e8", "1,5", "0x10", "sat", "1.5sat", "1.2.3", "½"] {
            assert_eq!(parse(text, 8), not(text), "{text}");
        }
        assert_eq!(parse("0.001", 2), Err(AmountError::TooManyDecimals { text: "0.001".into(), precision: 2 }));
        assert_eq!(parse("1.0", 0), Err(AmountError::TooManyDecimals { text: "1.0".into(), precision: 0 }));
        assert_eq!(parse("184467440738", 8), Err(AmountError::TooLarge("184467440738".into())));
        assert_eq!(parse("0", 8), Err(AmountError::Zero));
        assert_eq!(parse("0.00", 8), Err(AmountError::Zero));
    }

    #[test]
    fn writes_what_it_reads() {
        for precision in 0..=MAX_PRECISION {
            for raw in [1, 9, 10, 99, 12_345_678, 100_000_000, 2_100_000_000_000_000, u64::MAX] {
                assert_eq!(parse(&format(raw, precision), precision), Ok(raw));
            }
        }
        assert_eq!(format(5, 8), "0.00000005");
        assert_eq!(format(0, 2), "0.00");
        assert_eq!(format_signed(-150, 2), "-1.50");
        assert_eq!(format_signed(i64::MIN, 0), "-9223372036854775808");
    }
}
