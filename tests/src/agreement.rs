//! Whether the members of a devnet have the same chain, and none has signed two headers of one height.

use aquifer_wallet::backend::Ledger;
use elements::BlockHash;

use crate::devnet::Devnet;
use crate::error::HarnessError;
use crate::member::Member;

impl Devnet {
    /// The final blocks that a member has, from 1 to `height`, by hash.
    ///
    /// # Errors
    /// When it does not have them, or they do not verify.
    pub fn block_hashes(&self, member: &Member, height: u32) -> Result<Vec<BlockHash>, HarnessError> {
        let cache = tempfile::NamedTempFile::new().map_err(HarnessError::program("make a file for", "the observer"))?;
        let ledger = Ledger::new(&self.chain()?, cache.path(), Some(member.name()), Box::new(|_| {}))?;
        (1..=height).map(|height| Ok(ledger.block(height)?.block_hash())).collect()
    }

    /// Checks that all members have the same blocks up to `height`.
    ///
    /// # Errors
    /// [`HarnessError::Story`] when two differ.
    pub fn check_agreement(&self, height: u32) -> Result<(), HarnessError> {
        let mut chains = self.members().iter().map(|member| Ok((member, self.block_hashes(member, height)?)));
        let Some(first) = chains.next() else { return Ok(()) };
        let (first, expected) = first?;
        chains.try_for_each(|other: Result<_, HarnessError>| {
            let (other, hashes) = other?;
            if hashes == expected {
                return Ok(());
            }
            Err(HarnessError::Story(format!("{} and {} disagree below height {height}", first.name(), other.name())))
        })
    }

    /// Checks, in what the members have on disk, that each header they ever signed up to `height` is that of the final
    /// block: a member that signed another one at the same height has signed twice.
    ///
    /// # Errors
    /// [`HarnessError::Story`] naming the member and the height.
    pub fn check_signatures(&self, height: u32) -> Result<(), HarnessError> {
        let first = self.members().first().ok_or_else(|| HarnessError::Story("there is no member".to_owned()))?;
        let hashes = self.block_hashes(first, height)?;
        for member in self.members() {
            let signed = member.signed_headers()?;
            let wrong =
                (1..).zip(&hashes).find(|(height, hash)| signed.get(height).is_some_and(|other| other != *hash));
            if let Some((height, hash)) = wrong {
                let name = member.name();
                return Err(HarnessError::Story(format!("{name} signed another header at {height} than {hash}")));
            }
        }
        Ok(())
    }
}
