//! Shares of a block certificate, and putting them together.
//!
//! A member signs the same statement as the certificate (chain, height, block) with its share of the key. Any `k` shares
//! combine into the one certificate that wallets check; which `k` makes no difference to its bytes. Combining takes a
//! millisecond, checking a share another, so shares are combined unchecked and only the result is verified; single
//! shares are looked at when that fails, to name who sent a bad one.

use std::collections::BTreeMap;

use aquifer_assets::block::{Certificate, certificate_message};
use elements::BlockHash;
use threshold_crypto::SignatureShare;

use crate::{federation::Federation, keys::BlsShare, roster::MemberIndex};

/// Size of a share in bytes: a compressed point of BLS12-381 G2.
pub const SHARE_SIZE: usize = 96;

/// Scheme byte of a certificate over BLS12-381 (see `aquifer_assets::block::Certificate`).
const SCHEME: u8 = 1;

/// What a certificate says: this block, at this height, on this chain, is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Hash of the chain's first block.
    pub genesis: BlockHash,
    /// Height of the block.
    pub height: u32,
    /// Hash of the block.
    pub block: BlockHash,
}

impl Statement {
    fn message(&self) -> [u8; 32] {
        certificate_message(&self.genesis, self.height, &self.block)
    }
}

/// A certificate, and who sent shares that were of no use for it.
#[derive(Clone, Debug)]
pub struct Combined {
    /// The certificate. It verifies.
    pub certificate: Certificate,
    /// Members whose shares are wrong. Empty in the ordinary case, in which shares are not looked at singly.
    pub culprits: Vec<MemberIndex>,
}

/// There are not enough good shares for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{good} good shares of {needed} needed for a certificate; bad shares came from {culprits:?}")]
pub struct CombineError {
    /// Good shares, or shares at all while there are fewer than needed and none was checked.
    pub good: usize,
    /// Shares needed.
    pub needed: usize,
    /// Members whose shares are wrong.
    pub culprits: Vec<MemberIndex>,
}

/// Signs the statement with a share of the key.
///
/// # When
/// A share released is a vote for finality: only after the block has its commit certificate, once per height.
pub fn sign_share(share: &BlsShare, statement: &Statement) -> [u8; SHARE_SIZE] {
    share.sign(&statement.message()).to_bytes()
}

/// Whether the bytes are this member's share of the certificate for the statement.
pub fn verify_share(
    federation: &Federation,
    member: MemberIndex,
    statement: &Statement,
    share: &[u8; SHARE_SIZE],
) -> bool {
    let key = federation.public_key_share(member);
    let share = SignatureShare::from_bytes(*share);
    matches!((key, share), (Some(key), Ok(share)) if key.verify(&share, statement.message()))
}

/// Combines shares into a certificate that verifies. Shares need not have been checked.
///
/// # Errors
/// [`CombineError`] if fewer than the threshold are good; it names the senders of the others.
pub fn combine(
    federation: &Federation,
    statement: &Statement,
    shares: &BTreeMap<MemberIndex, [u8; SHARE_SIZE]>,
) -> Result<Combined, CombineError> {
    let needed = federation.threshold();
    if shares.len() < needed {
        return Err(CombineError { good: shares.len(), needed, culprits: Vec::new() });
    }
    if let Some(certificate) = try_combine(federation, statement, shares.iter()) {
        return Ok(Combined { certificate, culprits: Vec::new() });
    }
    let (good, bad): (Vec<_>, Vec<_>) =
        shares.iter().partition(|(member, share)| verify_share(federation, **member, statement, share));
    let culprits: Vec<MemberIndex> = bad.into_iter().map(|(member, _)| *member).collect();
    match try_combine(federation, statement, good.iter().copied()) {
        Some(certificate) => Ok(Combined { certificate, culprits }),
        None => Err(CombineError { good: good.len(), needed, culprits }),
    }
}

/// Combines the first `k` shares and verifies the result once.
fn try_combine<'a>(
    federation: &Federation,
    statement: &Statement,
    shares: impl Iterator<Item = (&'a MemberIndex, &'a [u8; SHARE_SIZE])>,
) -> Option<Certificate> {
    let shares: Vec<(usize, SignatureShare)> = shares
        .take(federation.threshold())
        .map(|(member, share)| Some((member.position(), SignatureShare::from_bytes(*share).ok()?)))
        .collect::<Option<_>>()?;
    let signature = federation.key_set.combine_signatures(shares).ok()?;
    let certificate = Certificate::from_bytes(&[&[SCHEME], signature.to_bytes().as_slice()].concat()).ok()?;
    let Statement { genesis, height, block } = statement;
    federation.certificate_key().verify(&certificate, genesis, *height, block).ok()?;
    Some(certificate)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::ceremony::tests::federation_with_shares;

    fn statement() -> Statement {
        Statement {
            genesis: BlockHash::from_byte_array([1; 32]),
            height: 7,
            block: BlockHash::from_byte_array([2; 32]),
        }
    }

    fn shares(keys: &[BlsShare]) -> BTreeMap<MemberIndex, [u8; SHARE_SIZE]> {
        (0..).map(MemberIndex).zip(keys.iter().map(|key| sign_share(key, &statement()))).collect()
    }

    #[test]
    fn any_three_of_four_make_the_same_certificate() {
        let (federation, keys) = federation_with_shares(4);
        let all = shares(&keys);
        let certificate = combine(&federation, &statement(), &all).unwrap().certificate;
        for missing in 0..4 {
            let mut some = all.clone();
            some.remove(&MemberIndex(missing));
            let combined = combine(&federation, &statement(), &some).unwrap();
            assert_eq!(combined.certificate, certificate);
            assert!(combined.culprits.is_empty());
        }
        let Statement { genesis, height, block } = statement();
        assert_eq!(federation.certificate_key().verify(&certificate, &genesis, height, &block), Ok(()));
        assert!(federation.certificate_key().verify(&certificate, &genesis, height + 1, &block).is_err());
        assert!(certificate.to_bytes().len() <= 100);
    }

    /// Anybody with a standard BLS library can check a certificate.
    #[test]
    fn a_certificate_verifies_with_plain_blst() {
        use blst::{BLST_ERROR, min_pk};
        let (federation, keys) = federation_with_shares(4);
        let certificate = combine(&federation, &statement(), &shares(&keys)).unwrap().certificate.to_bytes();
        let key = min_pk::PublicKey::key_validate(&federation.certificate_key().to_bytes()).unwrap();
        let signature = min_pk::Signature::from_bytes(&certificate[1..]).unwrap();
        let verify = |message: &[u8]| {
            signature.verify(true, message, b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_", &[], &key, true)
        };
        assert_eq!(verify(&statement().message()), BLST_ERROR::BLST_SUCCESS);
        assert_eq!(verify(&[0; 32]), BLST_ERROR::BLST_VERIFY_FAIL);
    }

    #[test]
    fn bad_shares_are_named_and_left_out() {
        let (federation, keys) = federation_with_shares(4);
        let other = Statement { height: 8, ..statement() };
        for bad in
            [sign_share(&keys[0], &other), sign_share(&keys[3], &statement()), [0xff; SHARE_SIZE], [0; SHARE_SIZE]]
        {
            let mut all = shares(&keys);
            all.insert(MemberIndex(0), bad);
            let combined = combine(&federation, &statement(), &all).unwrap();
            assert_eq!(combined.culprits, [MemberIndex(0)]);
            all.remove(&MemberIndex(2));
            let error = combine(&federation, &statement(), &all).unwrap_err();
            assert_eq!(error, CombineError { good: 2, needed: 3, culprits: vec![MemberIndex(0)] });
        }
    }

    #[test]
    fn too_few_shares_make_nothing() {
        let (federation, keys) = federation_with_shares(4);
        let mut two = shares(&keys);
        two.retain(|member, _| member.0 < 2);
        let error = combine(&federation, &statement(), &two).unwrap_err();
        assert_eq!(error, CombineError { good: 2, needed: 3, culprits: vec![] });
    }

    #[test]
    fn strangers_do_not_count() {
        let (federation, keys) = federation_with_shares(4);
        let mut all = shares(&keys);
        all.retain(|member, _| member.0 < 2);
        all.insert(MemberIndex(9), sign_share(&keys[3], &statement()));
        let error = combine(&federation, &statement(), &all).unwrap_err();
        assert_eq!(error.culprits, [MemberIndex(9)]);
        assert!(!verify_share(&federation, MemberIndex(9), &statement(), &all[&MemberIndex(0)]));
        assert!(verify_share(&federation, MemberIndex(0), &statement(), &all[&MemberIndex(0)]));
    }

    #[test]
    fn a_federation_of_one_certifies_alone() {
        let (federation, keys) = federation_with_shares(1);
        assert!(combine(&federation, &statement(), &shares(&keys)).is_ok());
        assert_eq!(federation.network().check(), Ok(()));
    }
}
