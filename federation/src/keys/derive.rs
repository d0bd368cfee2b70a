//! The keys of a member, derived from its seed by BIP 32 along hardened paths.
//!
//! Paths: `m/16721'/0'/<purpose>'` from the BIP 39 seed with an empty passphrase; 16721 is `AQ` in ASCII, the second step
//! is the version of this scheme. Purposes: 0 host, 1 consensus, 2 block, 3 peg, 4 TLS, 5 fee, 6 backup. Hardened throughout, so
//! one derived key that leaks says nothing of the others.

use std::fmt;

use bitcoin::{
    bip32::{self, ChildNumber, Xpriv},
    secp256k1::{Keypair, PublicKey, SECP256K1, SecretKey},
};
use zeroize::Zeroize;

const SCHEME: u32 = 16_721;
const VERSION: u32 = 0;

/// Every key a member derives from its seed. Wiped on drop.
#[derive(Clone)]
pub struct MemberKeys {
    /// Identity of the member: signs its card and its ceremony messages, and opens the shares sent to it.
    pub host: Keypair,
    /// Signs votes and proposals (BIP 340).
    pub consensus: Keypair,
    /// Signs block headers (ECDSA).
    pub block: SecretKey,
    /// Signs for the treasury (ECDSA); deposits are signed with this key plus the tweak of their claim script.
    pub peg: SecretKey,
    /// Secret from which the node makes its TLS key.
    pub tls_seed: [u8; 32],
    /// Owns the block fees of a member that names no address for them.
    pub fee: SecretKey,
    /// Encrypts the member's backups.
    pub(super) backup: [u8; 32],
}

impl MemberKeys {
    pub(super) fn derive(bip39_seed: &[u8]) -> Result<Self, bip32::Error> {
        // The network only matters for the text form of extended keys, which is never used.
        let mut master = Xpriv::new_master(bitcoin::Network::Bitcoin, bip39_seed)?;
        let secret = |purpose: u32| -> Result<SecretKey, bip32::Error> {
            let path = [
                ChildNumber::from_hardened_idx(SCHEME)?,
                ChildNumber::from_hardened_idx(VERSION)?,
                ChildNumber::from_hardened_idx(purpose)?,
            ];
            Ok(master.derive_priv(SECP256K1, &path)?.private_key)
        };
        let keys = Self {
            host: Keypair::from_secret_key(SECP256K1, &secret(0)?),
            consensus: Keypair::from_secret_key(SECP256K1, &secret(1)?),
            block: secret(2)?,
            peg: secret(3)?,
            tls_seed: secret(4)?.secret_bytes(),
            fee: secret(5)?,
            backup: secret(6)?.secret_bytes(),
        };
        master.private_key.non_secure_erase();
        Ok(keys)
    }

    /// Public half of the block key.
    pub fn block_public(&self) -> PublicKey {
        self.block.public_key(SECP256K1)
    }

    /// Public half of the peg key.
    pub fn peg_public(&self) -> PublicKey {
        self.peg.public_key(SECP256K1)
    }
}

impl Drop for MemberKeys {
    fn drop(&mut self) {
        self.host.non_secure_erase();
        self.consensus.non_secure_erase();
        self.block.non_secure_erase();
        self.peg.non_secure_erase();
        self.tls_seed.zeroize();
        self.fee.non_secure_erase();
        self.backup.zeroize();
    }
}

impl fmt::Debug for MemberKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKeys(..)")
    }
}
