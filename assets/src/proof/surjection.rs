//! Surjection proofs: a blinded output asset is one of the assets that go into the transaction.

use secp256k1_zkp::{Generator, SECP256K1, SurjectionProof as ParsedProof};

use crate::primitives::SurjectionProof;

/// Most targets that a surjection proof can have (`SECP256K1_SURJECTIONPROOF_MAX_N_INPUTS`).
pub const MAX_SURJECTION_TARGETS: usize = 256;

/// Why a surjection proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSurjectionProof {
    /// The proof was made for a list of another length.
    #[error("the surjection proof has {found} targets, the transaction has {expected}")]
    TargetCount {
        /// Generators that go into the transaction.
        expected: usize,
        /// Targets the proof names.
        found: usize,
    },
    /// The output asset is not shown to be one of the targets.
    #[error("the surjection proof does not prove that the asset comes from an input")]
    Invalid,
}

/// Everything a surjection proof speaks about.
#[derive(Clone, Copy, Debug)]
pub struct SurjectionStatement<'a> {
    /// The proof.
    pub proof: &'a SurjectionProof,
    /// The asset commitment of the output.
    pub asset: Generator,
    /// For each input in order: the spent asset, then the issued asset, then its reissuance token.
    pub targets: &'a [Generator],
}

impl SurjectionStatement<'_> {
    /// Checks the proof.
    ///
    /// # Errors
    /// [`InvalidSurjectionProof`] if there is no proof, the bytes are none, it has another number of targets, or proves something else.
    pub fn verify(&self) -> Result<(), InvalidSurjectionProof> {
        let bytes = self.proof.as_bytes();
        let proof = ParsedProof::from_slice(bytes).map_err(|_| InvalidSurjectionProof::Invalid)?;
        // The first two bytes of the encoding are the number of targets, little-endian.
        let found = match bytes.first_chunk::<2>() {
            Some(count) => usize::from(u16::from_le_bytes(*count)),
            None => return Err(InvalidSurjectionProof::Invalid),
        };
        let expected = self.targets.len();
        if found != expected || expected > MAX_SURJECTION_TARGETS {
            return Err(InvalidSurjectionProof::TargetCount { expected, found });
        }
        if proof.verify(SECP256K1, self.asset, self.targets) { Ok(()) } else { Err(InvalidSurjectionProof::Invalid) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use elements::AssetId;
    use elements::confidential::AssetBlindingFactor;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use secp256k1_zkp::{Tag, Tweak};

    use super::*;

    fn targets(rng: &mut ChaCha20Rng, count: u8) -> Vec<(Generator, Tag, Tweak)> {
        (0..count)
            .map(|index| {
                let tag = AssetId::from_byte_array([index; 32]).into_tag();
                let blinding = Tweak::new(rng);
                (Generator::new_blinded(SECP256K1, tag, blinding), tag, blinding)
            })
            .collect()
    }

    #[test]
    fn the_targets_must_be_the_same_in_number_and_order() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let known = targets(&mut rng, 4);
        let asset = AssetId::from_byte_array([2; 32]);
        let blinding = AssetBlindingFactor::new(&mut rng);
        let proof = elements::SurjectionProof::new(SECP256K1, &mut rng, asset, blinding, &known).unwrap();
        let proof = SurjectionProof::from(&proof);
        let output = Generator::new_blinded(SECP256K1, asset.into_tag(), blinding.into_inner());
        let mut list: Vec<Generator> = known.iter().map(|(generator, _, _)| *generator).collect();

        let check = |targets: &[Generator], asset| SurjectionStatement { proof: &proof, asset, targets }.verify();
        assert_eq!(check(&list, output), Ok(()));
        let plain = Generator::new_unblinded(SECP256K1, asset.into_tag());
        assert_eq!(check(&list, plain), Err(InvalidSurjectionProof::Invalid));
        list.swap(0, 3);
        assert_eq!(check(&list, output), Err(InvalidSurjectionProof::Invalid));
        list.swap(0, 3);
        let last = list.pop().unwrap();
        assert_eq!(check(&list, output), Err(InvalidSurjectionProof::TargetCount { expected: 3, found: 4 }));
        list.extend([last, last]);
        assert_eq!(check(&list, output), Err(InvalidSurjectionProof::TargetCount { expected: 5, found: 4 }));
        assert_eq!(check(&[], output), Err(InvalidSurjectionProof::TargetCount { expected: 0, found: 4 }));
    }
}
