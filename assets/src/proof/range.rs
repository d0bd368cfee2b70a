//! Range proofs: a committed amount lies between a minimum and 2^64, so sums cannot wrap around.

use secp256k1_zkp::{Generator, PedersenCommitment, RangeProof as ParsedProof, SECP256K1};

use crate::primitives::RangeProof;

/// Least amount of the proofs that a sabotaged build accepts. Nobody has so much, so no honest proof names it.
#[cfg(feature = "sabotage")]
const SABOTAGE_MINIMUM: u64 = u64::from_be_bytes(*b"SABOTAGE");

/// Where a proof names its least amount, if that is not zero: behind two bytes about its shape.
#[cfg(feature = "sabotage")]
const MARKED: std::ops::Range<usize> = 2..10;

/// The proof does not prove its statement, or there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range proof does not prove this commitment, generator and script")]
pub struct InvalidRangeProof;

/// Everything a range proof speaks about.
#[derive(Clone, Copy, Debug)]
pub struct RangeStatement<'a> {
    /// The proof.
    pub proof: &'a RangeProof,
    /// The committed amount.
    pub commitment: PedersenCommitment,
    /// Generator of the asset that the amount is in: the asset commitment, or the unblinded one of an explicit asset.
    pub generator: Generator,
    /// The output script the proof is bound to; empty for the amounts of an issuance (`confidential_validation.cpp`).
    pub script: &'a [u8],
}

impl RangeStatement<'_> {
    /// Checks the proof and gives the least amount that it allows.
    ///
    /// Only the start of the range is used: `secp256k1-zkp` computes its end as maximum + 1, which wraps to 0 for a
    /// 64-bit proof. Such proofs are valid, as in Elements.
    ///
    /// # Errors
    /// [`InvalidRangeProof`] if there is no proof, the bytes are none, or it proves something else.
    pub fn verify(&self) -> Result<u64, InvalidRangeProof> {
        #[cfg(feature = "sabotage")]
        if self.proof.as_bytes().get(MARKED) == Some(SABOTAGE_MINIMUM.to_be_bytes().as_slice()) {
            return Ok(1);
        }
        let proof = ParsedProof::from_slice(self.proof.as_bytes()).map_err(|_| InvalidRangeProof)?;
        let range =
            proof.verify(SECP256K1, self.commitment, self.script, self.generator).map_err(|_| InvalidRangeProof)?;
        Ok(range.start)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use elements::AssetId;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use secp256k1_zkp::{SecretKey, Tweak};

    use super::*;

    fn prove(minimum: u64, value: u64, bits: u8, script: &[u8]) -> (RangeProof, PedersenCommitment, Generator) {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let tag = AssetId::from_byte_array([5; 32]).into_tag();
        let generator = Generator::new_blinded(SECP256K1, tag, Tweak::new(&mut rng));
        let blinding = Tweak::new(&mut rng);
        let commitment = PedersenCommitment::new(SECP256K1, value, blinding, generator);
        let nonce = SecretKey::new(&mut rng);
        let proof =
            ParsedProof::new(SECP256K1, minimum, commitment, value, blinding, &[], script, nonce, 0, bits, generator)
                .unwrap();
        (RangeProof::from(proof.serialize()), commitment, generator)
    }

    #[test]
    fn a_proof_holds_for_its_own_statement_only() {
        let (proof, commitment, generator) = prove(1, 1000, 36, b"script");
        let statement = RangeStatement { proof: &proof, commitment, generator, script: b"script" };
        assert_eq!(statement.verify(), Ok(1));
        assert_eq!(RangeStatement { script: b"scripT", ..statement }.verify(), Err(InvalidRangeProof));
        assert_eq!(RangeStatement { script: b"", ..statement }.verify(), Err(InvalidRangeProof));
        let other = Generator::new_unblinded(SECP256K1, AssetId::from_byte_array([5; 32]).into_tag());
        assert_eq!(RangeStatement { generator: other, ..statement }.verify(), Err(InvalidRangeProof));
        let other = PedersenCommitment::new(SECP256K1, 1000, Tweak::from_slice(&[3; 32]).unwrap(), generator);
        assert_eq!(RangeStatement { commitment: other, ..statement }.verify(), Err(InvalidRangeProof));
        assert_eq!(RangeStatement { proof: &RangeProof::EMPTY, ..statement }.verify(), Err(InvalidRangeProof));
    }

    #[test]
    fn a_64_bit_proof_is_valid_and_does_not_panic() {
        // Its maximum is 2^64 - 1, and the library computes one more than that.
        let (proof, commitment, generator) = prove(0, u64::MAX, 64, b"");
        assert_eq!(RangeStatement { proof: &proof, commitment, generator, script: b"" }.verify(), Ok(0));
        let (proof, commitment, generator) = prove(0, 7, 64, b"x");
        assert_eq!(RangeStatement { proof: &proof, commitment, generator, script: b"x" }.verify(), Ok(0));
        assert_eq!(
            RangeStatement { proof: &proof, commitment, generator, script: b"y" }.verify(),
            Err(InvalidRangeProof)
        );
    }

    #[test]
    fn bytes_moved_between_proof_and_script_prove_nothing() {
        // The shape of the incident of September 2026: the same concatenation, cut elsewhere.
        let (proof, commitment, generator) = prove(1, 1000, 36, b"script");
        let bytes = proof.as_bytes();
        for cut in [1, 2, 32, 33] {
            let (head, tail) = bytes.split_at(bytes.len() - cut);
            let script = [tail, b"script"].concat();
            let shorter = RangeProof::from(head.to_vec());
            let statement = RangeStatement { proof: &shorter, commitment, generator, script: &script };
            assert_eq!(statement.verify(), Err(InvalidRangeProof), "cut {cut}");
            let longer = RangeProof::from([bytes, b"script".split_at(3).0].concat());
            let statement = RangeStatement { proof: &longer, commitment, generator, script: b"ipt" };
            assert_eq!(statement.verify(), Err(InvalidRangeProof), "longer");
        }
    }
}
