//! Tagged hashes and hexadecimal fields, shared by every format of this crate.

use bitcoin::hashes::{Hash, HashEngine, sha256};

/// A hash of length-framed parts under a tag (the construction of BIP 340, with framing).
///
/// Every part is preceded by its length as 8 little-endian bytes, so two different lists of parts never hash the same
/// bytes: a missing length is how a verdict for one statement was once taken for that of another.
pub(crate) fn tagged_hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = sha256::Hash::hash(tag.as_bytes());
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    for part in parts {
        // A slice is never longer than 2^63 bytes, so the conversion cannot fail; the fallback is never a real length.
        engine.input(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// Serde: bytes of any length as a hexadecimal string.
pub(crate) mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Serde: 32 bytes as a hexadecimal string.
pub(crate) mod hex_hash {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let bytes = hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|bytes: Vec<u8>| D::Error::invalid_length(bytes.len(), &"32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::tagged_hash;

    #[test]
    fn parts_are_framed() {
        assert_ne!(tagged_hash("t", &[b"ab", b"c"]), tagged_hash("t", &[b"a", b"bc"]));
        assert_ne!(tagged_hash("t", &[b"abc"]), tagged_hash("t", &[b"abc", b""]));
        assert_ne!(tagged_hash("t", &[b"abc"]), tagged_hash("u", &[b"abc"]));
    }
}
