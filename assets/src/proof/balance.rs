//! The balance: what goes into a transaction equals what comes out, asset by asset, without opening a commitment.
//!
//! An amount `v` of an asset with generator `H` and blinding `r` is the point `v·H + r·G`. Assets have independent
//! generators, so the points of both sides are equal only if the amounts of every asset are (and the blindings sum up).

use elements::AssetId;
use elements::confidential::Asset;
use secp256k1_zkp::{Generator, PedersenCommitment, SECP256K1, Tweak, verify_commitments_sum_to_equal};

/// The generator of an asset as it stands in an output; `None` if the field is empty.
pub fn generator(asset: &Asset) -> Option<Generator> {
    match *asset {
        Asset::Null => None,
        Asset::Explicit(asset) => Some(Generator::new_unblinded(SECP256K1, asset.into_tag())),
        Asset::Confidential(generator) => Some(generator),
    }
}

/// The generator of an asset under a public blinding factor; `None` if that is not a scalar of the curve.
pub fn blinded_generator(asset: AssetId, blinding: &[u8; 32]) -> Option<Generator> {
    let blinding = Tweak::from_slice(blinding).ok()?;
    Some(Generator::new_blinded(SECP256K1, asset.into_tag(), blinding))
}

/// The commitment that an explicit amount counts as; `None` for zero, which has no commitment (it would be the point
/// at infinity) and weighs nothing.
pub fn explicit_commitment(amount: u64, generator: Generator) -> Option<PedersenCommitment> {
    (amount > 0).then(|| PedersenCommitment::new_unblinded(SECP256K1, amount, generator))
}

/// Both sides of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    inputs: Vec<PedersenCommitment>,
    outputs: Vec<PedersenCommitment>,
}

impl Tally {
    /// Adds a spent or issued amount.
    pub fn add_input(&mut self, commitment: PedersenCommitment) {
        self.inputs.push(commitment);
    }

    /// Adds an output, fees included.
    pub fn add_output(&mut self, commitment: PedersenCommitment) {
        self.outputs.push(commitment);
    }

    /// Whether both sides are equal.
    pub fn balances(&self) -> bool {
        verify_commitments_sum_to_equal(SECP256K1, &self.inputs, &self.outputs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn amounts_balance_per_asset() {
        let gold = generator(&Asset::Explicit(AssetId::from_byte_array([1; 32]))).unwrap();
        let silver = generator(&Asset::Explicit(AssetId::from_byte_array([2; 32]))).unwrap();
        let tally = |inputs: &[(u64, Generator)], outputs: &[(u64, Generator)]| {
            let mut tally = Tally::default();
            inputs.iter().for_each(|(v, g)| tally.add_input(explicit_commitment(*v, *g).unwrap()));
            outputs.iter().for_each(|(v, g)| tally.add_output(explicit_commitment(*v, *g).unwrap()));
            tally.balances()
        };
        assert!(tally(&[(5, gold), (7, silver)], &[(4, silver), (5, gold), (3, silver)]));
        assert!(!tally(&[(5, gold), (7, silver)], &[(5, silver), (7, gold)]));
        assert!(!tally(&[(5, gold)], &[(6, gold)]));
        assert!(!tally(&[(5, gold)], &[]));
    }

    #[test]
    fn what_has_no_point_is_none() {
        let gold = AssetId::from_byte_array([1; 32]);
        assert!(generator(&Asset::Null).is_none());
        assert!(explicit_commitment(0, generator(&Asset::Explicit(gold)).unwrap()).is_none());
        assert!(blinded_generator(gold, &[0xff; 32]).is_none());
        assert!(blinded_generator(gold, &[0x01; 32]).is_some());
    }
}
