//! Witnesses: what of a transaction its id does not commit to.

use bytes::Bytes;

use super::decode::{DecodeError, Reader};

/// A list of byte strings: what satisfies a script, or what proves a deposit.
///
/// The items stay in the one piece that they were decoded from, so that many of them take no more memory than on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Witness {
    count: usize,
    /// The items, each behind its length.
    items: Bytes,
}

impl Witness {
    /// Without any item.
    pub const EMPTY: Self = Self { count: 0, items: Bytes::new() };

    /// Puts items together.
    pub fn from_slice<T: AsRef<[u8]>>(items: &[T]) -> Self {
        let mut bytes = Vec::new();
        for item in items {
            super::encode::put_prefixed(&mut bytes, item.as_ref());
        }
        Self { count: items.len(), items: bytes.into() }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no item. A witness of one item without bytes is not empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items from the first to the last.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        Items(&self.items)
    }

    /// The last item.
    pub fn last(&self) -> Option<&[u8]> {
        self.iter().last()
    }

    /// The items, copied.
    pub fn to_vec(&self) -> Vec<Vec<u8>> {
        self.iter().map(<[u8]>::to_vec).collect()
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: impl AsRef<[u8]>) {
        let mut bytes = self.items.to_vec();
        super::encode::put_prefixed(&mut bytes, item.as_ref());
        *self = Self { count: self.count.saturating_add(1), items: bytes.into() };
    }

    /// Takes all items out.
    pub fn clear(&mut self) {
        *self = Self::EMPTY;
    }

    /// The items as on the wire, without their count.
    pub(super) fn encoded_items(&self) -> &[u8] {
        &self.items
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.stack().map(|(count, items)| Self { count, items })
    }
}

/// The items of a [`Witness`].
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // Nothing but well-formed items gets into a witness.
        let (first, rest) = self.0.split_first()?;
        let (length, rest) = match first {
            0xfd => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest))?,
            0xfe => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
            }
            length => (usize::from(*length), rest),
        };
        let (item, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(item)
    }
}

macro_rules! proof {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(Bytes);

        impl $name {
            /// No proof.
            pub const EMPTY: Self = Self(Bytes::new());

            /// Whether there is no proof.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Length in bytes.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// The bytes, whatever they are.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
                reader.bytes().map(Self)
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                Self(bytes.into())
            }
        }
    };
}

proof! {
    /// The bytes of a range proof. They may be anything; [`crate::proof`] tells whether they prove something.
    RangeProof
}

proof! {
    /// The bytes of a surjection proof. They may be anything; [`crate::proof`] tells whether they prove something.
    SurjectionProof
}

/// The witness of an input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TxInWitness {
    /// Range proof of the issued amount.
    pub amount_rangeproof: RangeProof,
    /// Range proof of the issued tokens.
    pub inflation_keys_rangeproof: RangeProof,
    /// What satisfies the script that is spent.
    pub script_witness: Witness,
    /// What proves a deposit. It may be there without a peg-in, and then means nothing.
    pub pegin_witness: Witness,
}

impl TxInWitness {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.amount_rangeproof.is_empty()
            && self.inflation_keys_rangeproof.is_empty()
            && self.script_witness.is_empty()
            && self.pegin_witness.is_empty()
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            amount_rangeproof: RangeProof::read(reader)?,
            inflation_keys_rangeproof: RangeProof::read(reader)?,
            script_witness: Witness::read(reader)?,
            pegin_witness: Witness::read(reader)?,
        })
    }
}

/// The witness of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TxOutWitness {
    /// Proves that the asset is one of those that go in.
    pub surjection_proof: SurjectionProof,
    /// Proves that the amount is not negative.
    pub rangeproof: RangeProof,
}

impl TxOutWitness {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.surjection_proof.is_empty() && self.rangeproof.is_empty()
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { surjection_proof: SurjectionProof::read(reader)?, rangeproof: RangeProof::read(reader)? })
    }
}
