//! A ceremony on disk: everything that a restart needs to say the same again.

use std::collections::BTreeMap;

use bitcoin::secp256k1::{Keypair, SECP256K1, SecretKey};
use borsh::{BorshDeserialize, BorshSerialize};
use zeroize::{Zeroize, Zeroizing};

use super::{
    Ceremony, CeremonyError, CeremonyFault, Step, check_host,
    message::{Reveal, encode},
    session_of,
};
use crate::{
    encoding::tagged_hash,
    roster::{MemberIndex, Roster},
};

/// Version of the format on disk.
const SAVED_VERSION: u16 = 2;

#[derive(BorshSerialize, BorshDeserialize)]
struct Saved {
    version: u16,
    /// The roster in JSON, as in its own file.
    roster: Vec<u8>,
    me: MemberIndex,
    host_secret: [u8; 32],
    reveal: Reveal,
    messages: Vec<Vec<u8>>,
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.host_secret.zeroize();
    }
}

/// Guards against a damaged file: a reveal that changed by itself would be broadcast, and blamed on this member.
fn checksum(content: &[u8]) -> [u8; 32] {
    tagged_hash("aquifer/ceremony/saved/v2", &[content])
}

impl Ceremony {
    /// Everything, for [`Ceremony::resume`]. Secret: it holds the host key. Persist it (and wait until it is on disk)
    /// before [`Ceremony::messages`] are handed out.
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let saved = Saved {
            version: SAVED_VERSION,
            // A roster has no map keys and no numbers that JSON cannot hold.
            roster: serde_json::to_vec(&self.roster).unwrap_or_default(),
            me: self.me,
            host_secret: self.host.secret_bytes(),
            reveal: self.reveal.clone(),
            messages: self.messages(),
        };
        let mut bytes = Zeroizing::new(encode(&saved));
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Takes up a ceremony where [`Ceremony::save`] left it.
    ///
    /// # Errors
    /// [`CeremonyError::Damaged`] if the bytes are not what was saved.
    pub fn resume(saved: &[u8]) -> Result<Self, CeremonyError> {
        let damaged = |reason: &dyn ToString| CeremonyError::Damaged(reason.to_string());
        let (content, check) = saved.split_last_chunk::<32>().ok_or_else(|| damaged(&"it is too short"))?;
        if *check != checksum(content) {
            return Err(damaged(&"the checksum is wrong"));
        }
        let saved: Saved = borsh::from_slice(content).map_err(|error| damaged(&error))?;
        if saved.version != SAVED_VERSION {
            return Err(damaged(&format!("version {} is not known", saved.version)));
        }
        let roster: Roster = serde_json::from_slice(&saved.roster).map_err(|error| damaged(&error))?;
        let secret = SecretKey::from_slice(&saved.host_secret).map_err(|error| damaged(&error))?;
        let host = Keypair::from_secret_key(SECP256K1, &secret);
        check_host(&roster, saved.me, &host)?;
        let mut ceremony = Self {
            session: session_of(&roster),
            roster,
            me: saved.me,
            host,
            reveal: saved.reveal.clone(),
            log: BTreeMap::new(),
            contradiction: None,
            round: None,
            nonces: None,
        };
        for message in &saved.messages {
            match ceremony.accept(message) {
                // The one fault that is saved on purpose.
                Ok(_) | Err(CeremonyFault::Equivocation { .. }) => {}
                Err(fault) => return Err(damaged(&fault)),
            }
        }
        // The shares are not saved; they follow from the messages.
        if ceremony.has_said(Step::Echo) {
            ceremony.round().map_err(|fault| damaged(&fault))?;
        }
        Ok(ceremony)
    }
}
