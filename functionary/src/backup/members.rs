//! The transcript of the ceremony from other members' running nodes, and the shares from it.

use std::sync::Arc;

use aquifer_federation::ceremony::{MemberShares, recover_shares, session_of};
use aquifer_federation::federation::FederationFile;
use aquifer_federation::roster::MemberIndex;

use super::BackupError;
use crate::ceremony::CeremonyArchive;
use crate::identity::Member;
use crate::peers::{Directory, chain, connect, fetch_ceremony};

/// Asks one member after the other for the ceremony's messages, until the shares of the member `me` follow from them.
///
/// # Errors
/// [`BackupError::NoTranscript`] with what came of each.
pub async fn shares_from_members(
    member: &Member,
    me: MemberIndex,
    file: &FederationFile,
) -> Result<(MemberShares, CeremonyArchive), BackupError> {
    let session = session_of(&file.roster);
    let mut problems = Vec::new();
    for entry in Directory::new(&file.roster, me).others() {
        let messages = match connect(&member.tls, &Arc::new(entry.clone())).await {
            Ok(channel) => fetch_ceremony(channel, &session).await.map_err(|error| error.to_string()),
            Err(error) => Err(chain(&error)),
        };
        let shares = messages.and_then(|messages| {
            let shares = recover_shares(file, &member.seed, me, &messages).map_err(|error| error.to_string())?;
            Ok((shares, messages))
        });
        match shares {
            Ok((shares, messages)) => {
                let messages = messages.into_iter().map(Vec::from).collect();
                return Ok((shares, CeremonyArchive::new(session, messages)));
            }
            Err(problem) => problems.push(format!("{}: {problem}", entry.name)),
        }
    }
    Err(BackupError::NoTranscript(problems))
}
