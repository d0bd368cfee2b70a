//! The outcome of a ceremony: what a federation is from then on.
//!
//! A [`FederationFile`] is public and the same for all members. It proves itself: every member signed, with the host key
//! of its card, that it holds shares of exactly these keys ([`FederationFile::check`]). From it follow the
//! [`Federation`] that a node works with and the [`Network`] file that wallets get.

use aquifer_assets::{
    block::CertificateKey,
    chain::{ChainParams, NETWORK_VERSION, Network, Server},
};
use bitcoin::secp256k1::schnorr;
use serde::{Deserialize, Serialize};
use threshold_crypto::{PublicKeySet, PublicKeyShare};

use crate::{
    ceremony,
    encoding::{hex_bytes, hex_hash},
    keys::{TreasuryKey, TreasuryKeyError},
    roster::{MemberIndex, Roster},
    treasury::{Treasury, TreasuryOutputError},
};

/// Version of the federation file.
pub const FEDERATION_FILE_VERSION: u16 = 2;

/// Size of a compressed point of BLS12-381 G1, in bytes.
const POINT_SIZE: usize = 48;

/// The public outcome of a ceremony.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederationFile {
    /// Version of the format, [`FEDERATION_FILE_VERSION`].
    pub version: u16,
    /// Members and settings.
    pub roster: Roster,
    /// The certificate key and what its shares are checked with: `k` compressed points, 48 bytes each, the coefficients
    /// of the common polynomial.
    #[serde(with = "hex_bytes")]
    pub key_set: Vec<u8>,
    /// The treasury key and what its shares are checked with: `k` compressed points, 33 bytes each, the coefficients of the
    /// common polynomial.
    #[serde(with = "hex_bytes")]
    pub treasury_key: Vec<u8>,
    /// Hash of all ceremony messages that the key follows from.
    #[serde(with = "hex_hash")]
    pub transcript_hash: [u8; 32],
    /// The success certificate: the host signature of every member, in roster order, under its statement of success.
    pub signatures: Vec<schnorr::Signature>,
}

/// A federation file that does not prove what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationFileError {
    /// The file is of another version of the format.
    #[error("federation file version {0} is not known, this program reads version {FEDERATION_FILE_VERSION}")]
    Version(u16),
    /// The key set has the wrong size or is no list of points.
    #[error("the key set is not {threshold} points of BLS12-381: {reason}")]
    KeySet {
        /// Points expected.
        threshold: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The treasury key has the wrong size or is no list of points.
    #[error(transparent)]
    TreasuryKey(#[from] TreasuryKeyError),
    /// The treasury key gives no output.
    #[error(transparent)]
    TreasuryOutput(#[from] TreasuryOutputError),
    /// There is not one signature per member.
    #[error("the success certificate has {found} signatures for {expected} members")]
    SignatureCount {
        /// Signatures in the file.
        found: usize,
        /// Members in the roster.
        expected: usize,
    },
    /// A member did not sign this outcome.
    #[error("the success signature of member {index} {name:?} does not belong to this outcome")]
    Signature {
        /// Whose signature.
        index: MemberIndex,
        /// Its name.
        name: String,
    },
}

impl FederationFile {
    /// Checks the whole file and gives what a node works with. The roster was checked when it was read.
    ///
    /// # Errors
    /// [`FederationFileError`], naming the member where there is one.
    pub fn check(&self) -> Result<Federation, FederationFileError> {
        if self.version != FEDERATION_FILE_VERSION {
            return Err(FederationFileError::Version(self.version));
        }
        let roster = &self.roster;
        let keys = GroupKeys::parse(roster, &self.key_set, &self.treasury_key)?;
        let expected = roster.members().len();
        if self.signatures.len() != expected {
            return Err(FederationFileError::SignatureCount { found: self.signatures.len(), expected });
        }
        for ((index, card), signature) in roster.indexed().zip(&self.signatures) {
            ceremony::verify_success(self, &keys, index, signature)
                .map_err(|_| FederationFileError::Signature { index, name: card.name.clone() })?;
        }
        let GroupKeys { key_set, certificate_key, public_key_shares, treasury_key } = keys;
        Ok(Federation {
            treasury: Treasury::new(roster, &treasury_key)?,
            roster: roster.clone(),
            params: roster.chain_params(),
            key_set,
            certificate_key,
            public_key_shares,
            treasury_key,
        })
    }
}

/// Both keys, with what shares are checked with.
pub(crate) struct GroupKeys {
    pub(crate) key_set: PublicKeySet,
    pub(crate) certificate_key: CertificateKey,
    /// In roster order.
    pub(crate) public_key_shares: Vec<PublicKeyShare>,
    pub(crate) treasury_key: TreasuryKey,
}

impl GroupKeys {
    /// Reads the commitments to the two common polynomials.
    pub(crate) fn parse(roster: &Roster, key_set: &[u8], treasury_key: &[u8]) -> Result<Self, FederationFileError> {
        let (key_set, certificate_key) = parse_key_set(key_set, roster.threshold())?;
        let public_key_shares = roster.indexed().map(|(index, _)| key_set.public_key_share(index.position())).collect();
        let treasury_key = TreasuryKey::from_bytes(treasury_key, roster.members().len(), roster.threshold())?;
        Ok(Self { key_set, certificate_key, public_key_shares, treasury_key })
    }
}

/// Reads the coefficients of the common polynomial, and the key at its start.
fn parse_key_set(bytes: &[u8], threshold: usize) -> Result<(PublicKeySet, CertificateKey), FederationFileError> {
    let wrong = |reason| FederationFileError::KeySet { threshold, reason };
    if bytes.len() != threshold.saturating_mul(POINT_SIZE) {
        return Err(wrong("wrong length"));
    }
    let key_set = PublicKeySet::from_bytes(bytes.to_vec()).map_err(|_| wrong("not points of the group"))?;
    let key = CertificateKey::from_bytes(&key_set.public_key().to_bytes());
    Ok((key_set, key.map_err(|_| wrong("the key is the neutral element"))?))
}

/// A federation whose ceremony is proven.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Members and settings.
    pub roster: Roster,
    /// Parameters of the chain; a function of the roster.
    pub params: ChainParams,
    /// The certificate key with its commitment.
    pub key_set: PublicKeySet,
    certificate_key: CertificateKey,
    /// Public key of every member's share, in roster order. Kept, since deriving one costs about a millisecond.
    public_key_shares: Vec<PublicKeyShare>,
    /// The treasury key.
    pub treasury_key: TreasuryKey,
    /// The treasury that it holds.
    pub treasury: Treasury,
}

impl Federation {
    /// Members needed to decide and to sign.
    pub fn threshold(&self) -> usize {
        self.roster.threshold()
    }

    /// The key that block certificates are checked with.
    pub fn certificate_key(&self) -> CertificateKey {
        self.certificate_key
    }

    /// The key that a member's share of a certificate is checked with.
    pub fn public_key_share(&self, index: MemberIndex) -> Option<&PublicKeyShare> {
        self.public_key_shares.get(index.position())
    }

    /// What a wallet must know of this federation.
    pub fn network(&self) -> Network {
        let servers = self.roster.members().iter().map(|card| Server {
            name: card.name.clone(),
            api_address: card.api_address.clone(),
            certificate: card.tls_certificate.clone(),
        });
        Network {
            version: NETWORK_VERSION,
            params: self.params.clone(),
            certificate_key: self.certificate_key,
            treasury_script: self.treasury.output().script_pubkey().clone(),
            servers: servers.collect(),
        }
    }
}
