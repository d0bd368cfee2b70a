//! A repair between processes: how the messages of `aquifer_federation::ceremony::repair` travel.
//!
//! The member in need has no node, since it has no shares. It serves the messages that it has on its own address, and asks
//! its helpers' running nodes for theirs. A helper's operator starts [`help`], a process beside the node: it asks the member in
//! need for what there is, and leaves what it says in `repair.messages`, which the node gives to whoever asks. So no
//! node ever gives anything away by itself, and all messages meet at the member in need, which passes them on.
//!
//! Nothing must survive a crash: what a member says follows from its secrets and the request, and a request that was
//! interrupted is made anew, under another code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use aquifer_federation::ceremony::MemberShares;
use aquifer_federation::ceremony::repair::{Repair, RepairError, RepairFault, room_of};
use aquifer_federation::federation::Federation;
use aquifer_federation::roster::{MemberIndex, Roster};
use bytes::Bytes;
use rand::{CryptoRng, RngCore};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::poll::{Polled, poll};
use super::{ANSWER_BUFFER, CeremonyArchive, FAULT_GRACE};
use crate::config::DataDir;
use crate::files::FileError;
use crate::identity::{self, FederationMember, Member};
use crate::peers::{self, Directory, PeersError};

#[cfg(test)]
mod tests;

/// The repair did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RepairRunError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The network failed.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The repair could not be begun.
    #[error("the repair cannot begin: {0}")]
    Begin(#[from] RepairError),
    /// A member broke the protocol.
    #[error(
        "the repair has failed, and no share has come of it: {fault}{}; ask again with other helpers, or when that member is in order",
        culprit.as_ref().map(|name| format!(" (member {name:?})")).unwrap_or_default()
    )]
    Fault {
        /// What was found.
        fault: RepairFault,
        /// The name of the member that is at fault.
        culprit: Option<String>,
    },
    /// It was stopped.
    #[error("stopped before the end; no share has come of it")]
    Stopped,
}

/// A member that has lost its shares, and nothing else.
#[derive(Debug)]
pub struct InNeed {
    /// Its data folder. The caller holds its lock.
    pub data: DataDir,
    /// Its keys.
    pub member: Member,
    /// The federation.
    pub federation: Federation,
    /// Its place in it.
    pub index: MemberIndex,
    /// Whom it asks: exactly `k` other members.
    pub helpers: Vec<MemberIndex>,
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Asks the helpers, and stores the shares when all have answered. `on_change` is told the code of the request and how far
/// it is, in words.
///
/// # Errors
/// [`RepairRunError`]; then nothing was stored.
pub async fn request<R: RngCore + CryptoRng>(
    in_need: InNeed,
    rng: &mut R,
    mut on_change: impl FnMut(String),
    stop: CancellationToken,
) -> Result<(), RepairRunError> {
    let InNeed { data, member, federation, index, helpers, listen } = in_need;
    let mut number = [0; 32];
    rng.fill_bytes(&mut number);
    let repair = Repair::request(&federation, &member.seed, index, &helpers, number)?;
    let room = room_of(&federation.roster, index);
    let board = Arc::new(Board::new(room));
    board.publish(repair.messages(), false);

    let directory = Directory::new(&federation.roster, index);
    let (listener, _) = peers::bind(listen).await?;
    let serving = CancellationToken::new();
    let _stop_serving = serving.clone().drop_guard();
    let (answers, mut asked) = mpsc::channel(ANSWER_BUFFER);
    let mut polls = JoinSet::new();
    for entry in directory.others().filter(|entry| helpers.contains(&entry.index)) {
        polls.spawn(poll(member.tls.clone(), entry.clone(), room, answers.clone()));
    }
    let (source, tls) = (Arc::clone(&board), member.tls.clone());
    let server_stop = serving.clone();
    let mut server =
        tokio::spawn(async move { peers::serve_ceremony(directory, &tls, listener, source, server_stop).await });

    let mut run = Run { repair, roster: federation.roster.clone(), problems: BTreeMap::new() };
    on_change(run.words());
    let gathering = async {
        loop {
            let Some(polled) = asked.recv().await else { return Err(RepairRunError::Stopped) };
            let from = polled.from;
            let changed = run.hear(from, polled.answer)?;
            if changed {
                board.publish(run.repair.messages(), run.repair.outcome().is_some());
            }
            on_change(run.words());
            if let Some(shares) = run.repair.outcome() {
                identity::store_shares(&data, &shares.certificate, &shares.treasury)?;
                return Ok(());
            }
        }
    };
    tokio::select! {
        end = gathering => end?,
        () = stop.cancelled() => return Err(RepairRunError::Stopped),
        ended = &mut server => return Err(match ended {
            Ok(Err(error)) => RepairRunError::Peers(error),
            _ => RepairRunError::Stopped,
        }),
    }
    // The helpers wait until they see that their answers have arrived.
    let spreading = async {
        while !helpers.iter().all(|helper| board.seen().contains(helper)) {
            board.changed.notified().await;
        }
    };
    let _in_time = tokio::time::timeout(FAULT_GRACE, spreading).await;
    // Calls that are being answered are answered in full.
    serving.cancel();
    let _ended = server.await;
    Ok(())
}

/// Helps the member `in_need` in the one repair that has this code, until it has everything from this member. The node of
/// this member must run: it hands out what is said here.
///
/// # Errors
/// [`RepairRunError`].
pub async fn help(
    helper: FederationMember,
    data: &DataDir,
    in_need: MemberIndex,
    code: &str,
    mut on_change: impl FnMut(String),
    stop: CancellationToken,
) -> Result<(), RepairRunError> {
    let FederationMember { member, share, treasury_share, federation, index } = helper;
    let shares = MemberShares { certificate: share, treasury: treasury_share };
    let roster = federation.roster.clone();
    let entry = Directory::new(&roster, index).other(in_need).cloned();
    let entry = entry.ok_or(RepairError::NotAsked)?;
    let name = entry.name.clone();
    let room = room_of(&roster, in_need);
    let (answers, mut asked) = mpsc::channel(ANSWER_BUFFER);
    let mut polls = JoinSet::new();
    polls.spawn(poll(member.tls.clone(), entry, room, answers));

    let helping = async {
        let mut run: Option<Run> = None;
        loop {
            let Some(Polled { answer, .. }) = asked.recv().await else { return Err(RepairRunError::Stopped) };
            if run.is_none()
                && let Ok(messages) = &answer
            {
                let begin = |request: &Bytes| {
                    Repair::help(&federation, &member.seed, shares.clone(), request).ok().filter(|it| it.code() == code)
                };
                let begun = messages.iter().find_map(begin);
                run = begun.map(|repair| Run { repair, roster: roster.clone(), problems: BTreeMap::new() });
            }
            let Some(run) = &mut run else {
                on_change(match answer {
                    Err(reason) => format!("{name} does not answer: {reason}"),
                    Ok(_) => {
                        format!("{name} does not ask this member under this code; compare it with {name}'s operator")
                    }
                });
                continue;
            };
            let arrived = answer.as_ref().map(|messages| messages.to_vec()).unwrap_or_default();
            run.hear(in_need, answer)?;
            let own = run.repair.messages();
            CeremonyArchive::new(room, own.clone()).save_as(&data.repair_messages())?;
            if !run.repair.has_said_all() {
                on_change(run.words());
            } else if own.iter().all(|message| arrived.iter().any(|other| other == message)) {
                return Ok(());
            } else {
                on_change(format!("{name} has not fetched the answer yet; does the node of this member run?"));
            }
        }
    };
    let end = tokio::select! {
        end = helping => end,
        () = stop.cancelled() => Err(RepairRunError::Stopped),
    };
    // It has no further use, whatever the end was.
    match std::fs::remove_file(data.repair_messages()) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::Write { path: data.repair_messages(), source }.into())
        }
        _ => end,
    }
}

/// A repair with those that are heard in it.
struct Run {
    repair: Repair,
    roster: Roster,
    /// Why a member cannot be heard, or what is wrong with what it passes on.
    problems: BTreeMap<MemberIndex, String>,
}

impl Run {
    /// Takes in the answer of a member. `true` if there is something new.
    fn hear(&mut self, from: MemberIndex, answer: Result<Vec<Bytes>, String>) -> Result<bool, RepairRunError> {
        let mut changed = false;
        self.problems.remove(&from);
        match answer {
            Err(reason) => drop(self.problems.insert(from, format!("no answer: {reason}"))),
            Ok(messages) => {
                for message in &messages {
                    match self.repair.accept(message) {
                        Ok(new) => changed |= new,
                        Err(fault) if fault.culprit().is_some() => return Err(self.failed(fault)),
                        // What an earlier repair left at a member, or what only whoever passed it on can be blamed for.
                        Err(fault) => drop(self.problems.insert(from, fault.to_string())),
                    }
                }
            }
        }
        changed |= self.repair.advance().map_err(|fault| self.failed(fault))?;
        Ok(changed)
    }

    fn failed(&self, fault: RepairFault) -> RepairRunError {
        RepairRunError::Fault { fault, culprit: fault.culprit().map(|member| self.name(member)) }
    }

    fn name(&self, member: MemberIndex) -> String {
        self.roster.member(member).map_or_else(|| member.to_string(), |card| card.name.clone())
    }

    /// How far it is, for people.
    fn words(&self) -> String {
        let waiting = self.repair.waiting_for();
        if waiting.is_empty() {
            return format!("repair {}: everybody has answered", self.repair.code());
        }
        let waiting = waiting.into_iter().map(|member| match self.problems.get(&member) {
            Some(problem) => format!("{} ({problem})", self.name(member)),
            None => self.name(member),
        });
        let waiting: Vec<String> = waiting.collect();
        format!("repair {}: waiting for {}", self.repair.code(), waiting.join(", "))
    }
}
