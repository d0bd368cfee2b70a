//! The ceremony between processes: the federation crate's state machine on real connections and a real disk.
//!
//! Every member serves the messages it has, its own and those of others, and asks every other member for theirs, again and
//! again. What is new goes through the state machine; the result is on the disk before anybody is shown it. So a member
//! that is killed at any moment goes on where it was, and can never be seen to say two different things.
//!
//! A member stays until every other one has everything: it saw it at that member, or that member fetched the complete set
//! from it. A member that lost its connection even so gets the rest from the others' running nodes, which serve the
//! [`CeremonyArchive`].

mod board;
mod poll;
pub mod repair;
mod store;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aquifer_federation::ceremony::{Ceremony, CeremonyError, CeremonyFault, Step};
use aquifer_federation::federation::{FederationFile, FederationFileError};
use aquifer_federation::roster::{MemberIndex, Roster};
use bytes::Bytes;
use rand::{CryptoRng, RngCore};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use board::Board;
use poll::Polled;
pub use store::CeremonyArchive;

use crate::config::DataDir;
use crate::files::FileError;
use crate::identity::Member;
use crate::peers::{self, Directory, PeersError};

/// After a fault, how long the others are given to fetch the messages that prove it.
const FAULT_GRACE: Duration = Duration::from_secs(10);
/// Answers of other members that wait to be worked on.
const ANSWER_BUFFER: usize = 8;

/// The ceremony did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The network failed.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The ceremony could not be begun.
    #[error("the ceremony cannot begin: {0}")]
    Begin(#[source] CeremonyError),
    /// The saved state cannot be used.
    #[error("{path}: {source}; this member cannot go on: all members make new seeds, cards and a new roster")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        source: CeremonyError,
    },
    /// The saved state belongs to another ceremony.
    #[error(
        "this member has begun the ceremony of another roster; go on with that one, or take a new data folder and a new seed"
    )]
    OtherRoster,
    /// A member broke the protocol, or members disagree.
    #[error(
        "the ceremony has failed: {fault}{}; no key has come of it; begin again under a new roster, with that member repaired (its new card) or without it",
        culprit.as_ref().map(|name| format!(" (member {name:?})")).unwrap_or_default()
    )]
    Fault {
        /// What was found.
        fault: CeremonyFault,
        /// The name of the member that is proven to be at fault.
        culprit: Option<String>,
    },
    /// The outcome does not prove itself.
    #[error("the outcome of the ceremony is wrong: {0}")]
    Outcome(#[source] FederationFileError),
    /// It was stopped.
    #[error("stopped before the end; the same command goes on where this one was")]
    Stopped,
}

/// Who takes part, and where.
#[derive(Debug)]
pub struct Participant {
    /// The member's data folder. The caller holds its lock.
    pub data: DataDir,
    /// The member's secrets.
    pub member: Member,
    /// The roster.
    pub roster: Roster,
    /// The member's position in it.
    pub index: MemberIndex,
    /// Where to listen for the other members.
    pub listen: SocketAddr,
}

/// Whether another member can be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not asked yet.
    Unknown,
    /// This is the member itself.
    Own,
    /// It answers.
    Answers,
    /// It answers, but has no message of this ceremony: not begun, or another roster.
    HasNothing,
    /// It does not answer, and this is why.
    Silent(String),
    /// It passed on something that is no message of this ceremony.
    Misbehaves(String),
}

/// What is known of a member's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Its name.
    pub name: String,
    /// The last step whose message is known; `None` before the first.
    pub step: Option<Step>,
    /// Whether it can be heard.
    pub reach: Reach,
    /// Whether it is known to have everything.
    pub complete: bool,
}

/// How far the ceremony is: every member in roster order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress(pub Vec<MemberProgress>);

impl Progress {
    /// The members that this one waits for: those that are furthest behind.
    pub fn waiting_for(&self) -> Vec<&str> {
        let lowest = self.0.iter().map(|member| (member.step, member.complete)).min();
        let behind = self.0.iter().filter(|member| Some((member.step, member.complete)) == lowest && !member.complete);
        behind.map(|member| member.name.as_str()).collect()
    }
}

/// Takes part in the ceremony until every member has stored its outcome, and gives the federation file. `on_progress` is
/// called whenever something has changed. When `stop` is cancelled, the ceremony can be taken up later.
///
/// # Errors
/// [`RunError`]. Whatever was reached is on the disk.
pub async fn run<R: RngCore + CryptoRng + Send>(
    participant: Participant,
    rng: &mut R,
    on_progress: impl FnMut(&Progress) + Send,
    stop: CancellationToken,
) -> Result<FederationFile, RunError> {
    let Participant { data, member, roster, index, listen } = participant;
    let ceremony = match store::resume(&data)? {
        Some(ceremony) if ceremony.roster() == &roster && ceremony.me() == index => ceremony,
        Some(_) if !store::has_failed(&data) => return Err(RunError::OtherRoster),
        saved => {
            // A failed one makes room: another roster is another session, so nothing said in it can contradict this one.
            if saved.is_some() {
                store::remove_state(&data)?;
            }
            Ceremony::new(roster.clone(), &member.seed, index, rng).map_err(RunError::Begin)?
        }
    };
    let session = ceremony.session();
    let board = Arc::new(Board::new(session));
    let directory = Directory::new(&roster, index);
    let (listener, _) = peers::bind(listen).await?;

    let serving = CancellationToken::new();
    let _stop_serving = serving.clone().drop_guard();
    let (answers, asked) = mpsc::channel(ANSWER_BUFFER);
    let mut polls = JoinSet::new();
    for entry in directory.others() {
        polls.spawn(poll::poll(member.tls.clone(), entry.clone(), session, answers.clone()));
    }
    let source = Arc::clone(&board);
    let tls = member.tls.clone();
    let server_stop = serving.clone();
    let mut server =
        tokio::spawn(async move { peers::serve_ceremony(directory, &tls, listener, source, server_stop).await });

    let reach = roster.indexed().map(|(other, _)| if other == index { Reach::Own } else { Reach::Unknown }).collect();
    let mut runner = Runner { data, ceremony, board, on_progress, reach, complete: BTreeSet::new(), outcome: None };
    let end = tokio::select! {
        end = runner.work_to_the_end(rng, asked) => end,
        () = stop.cancelled() => Err(RunError::Stopped),
        ended = &mut server => Err(match ended {
            Ok(Err(error)) => RunError::Peers(error),
            _ => RunError::Stopped,
        }),
    };
    polls.abort_all();
    // Calls that are being answered are answered in full.
    serving.cancel();
    if !server.is_finished() {
        let _ended = server.await;
    }
    end
}

struct Runner<P> {
    data: DataDir,
    ceremony: Ceremony,
    board: Arc<Board>,
    on_progress: P,
    reach: Vec<Reach>,
    /// Members seen to have everything.
    complete: BTreeSet<MemberIndex>,
    outcome: Option<FederationFile>,
}

impl<P: FnMut(&Progress) + Send> Runner<P> {
    async fn work_to_the_end<R: RngCore + CryptoRng>(
        &mut self,
        rng: &mut R,
        mut asked: mpsc::Receiver<Polled>,
    ) -> Result<FederationFile, RunError> {
        let end = self.work(rng, &mut asked).await;
        if let Err(RunError::Fault { fault, culprit }) = &end {
            tracing::error!(%fault, culprit, "the ceremony has failed");
            store::save_failure(&self.data, &fault.to_string())?;
            self.spread(asked).await;
        }
        end
    }

    async fn work<R: RngCore + CryptoRng>(
        &mut self,
        rng: &mut R,
        asked: &mut mpsc::Receiver<Polled>,
    ) -> Result<FederationFile, RunError> {
        let board = Arc::clone(&self.board);
        self.take_in(&[], rng)?;
        // Also when nothing is new: an earlier run's state is shown again.
        self.publish(false)?;
        loop {
            self.report();
            if self.ceremony.all_stored()
                && self.everybody_is_complete()
                && let Some(file) = self.outcome.take()
            {
                store::remove_state(&self.data)?;
                return Ok(file);
            }
            tokio::select! {
                polled = asked.recv() => match polled {
                    Some(polled) => self.polled(polled, rng)?,
                    None => return Err(RunError::Stopped),
                },
                () = board.changed.notified() => self.complete.extend(board.seen()),
            }
        }
    }

    fn polled<R: RngCore + CryptoRng>(&mut self, polled: Polled, rng: &mut R) -> Result<(), RunError> {
        let Polled { from, answer } = polled;
        let reach = match answer {
            Err(reason) => Reach::Silent(reason),
            Ok(messages) => match self.take_in(&messages, rng)? {
                Some(reason) => Reach::Misbehaves(reason),
                None if messages.is_empty() => Reach::HasNothing,
                None => {
                    if self.ceremony.all_stored()
                        && self.ceremony.messages().iter().all(|own| messages.iter().any(|m| m == own))
                    {
                        self.complete.insert(from);
                    }
                    Reach::Answers
                }
            },
        };
        if let Some(known) = self.reach.get_mut(from.position())
            && *known != reach
        {
            *known = reach.clone();
            if let Reach::Misbehaves(reason) = reach {
                tracing::warn!(member = self.name(from), reason, "a member passed on what is no message");
            }
        }
        Ok(())
    }

    /// Takes in messages, says what can be said, and shows it once it is on the disk. Gives what is wrong with a message
    /// for which only the member that passed it on can be blamed.
    fn take_in<R: RngCore + CryptoRng>(&mut self, messages: &[Bytes], rng: &mut R) -> Result<Option<String>, RunError> {
        let known: BTreeSet<Vec<u8>> = self.ceremony.messages().into_iter().collect();
        let mut changed = false;
        let mut refused = None;
        let mut fault = None;
        for message in messages.iter().filter(|message| !known.contains(message.as_ref())) {
            match self.ceremony.accept(message) {
                Ok(new) => changed |= new,
                // Signed by a member of the roster, and wrong: that member will never say anything better.
                Err(found) if found.culprit().is_some() => fault = Some(found),
                Err(found) => refused = Some(found.to_string()),
            }
        }
        if fault.is_none() {
            match self.ceremony.advance(rng) {
                Ok(new) => changed |= new,
                Err(found) => fault = Some(found),
            }
        }
        if changed || fault.is_some() {
            self.publish(fault.is_some())?;
        }
        match fault {
            Some(fault) => {
                let culprit = fault.culprit().map(|member| self.name(member).to_owned());
                Err(RunError::Fault { fault, culprit })
            }
            None => Ok(refused),
        }
    }

    /// Disk first, then the others.
    fn publish(&mut self, is_fault: bool) -> Result<(), RunError> {
        store::save(&self.data, &self.ceremony)?;
        if self.outcome.is_none() {
            if let Some(outcome) = self.ceremony.outcome() {
                store::save_outcome(&self.data, &self.ceremony, &outcome)?;
                self.outcome = Some(outcome.file);
            }
        } else {
            store::save_archive(&self.data, &self.ceremony)?;
        }
        self.board.publish(self.ceremony.messages(), is_fault || self.ceremony.all_stored());
        Ok(())
    }

    /// Gives the others the chance to fetch the messages that prove a fault, and goes on asking, so that they know that
    /// this member has theirs. Whoever does not answer has ended by the same fault, or learns of it from the operators.
    async fn spread(&self, mut asked: mpsc::Receiver<Polled>) {
        let others = self.reach.len().saturating_sub(1);
        let spreading = async {
            let mut gone = BTreeSet::new();
            while self.board.seen().union(&gone).count() < others {
                tokio::select! {
                    () = self.board.changed.notified() => {}
                    polled = asked.recv() => if let Some(Polled { from, answer: Err(_) }) = polled {
                        gone.insert(from);
                    }
                }
            }
        };
        let _in_time = tokio::time::timeout(FAULT_GRACE, spreading).await;
    }

    fn everybody_is_complete(&self) -> bool {
        let mut others = self.ceremony.roster().indexed().filter(|(index, _)| *index != self.ceremony.me());
        others.all(|(index, _)| self.complete.contains(&index))
    }

    fn name(&self, member: MemberIndex) -> &str {
        self.ceremony.roster().member(member).map_or("unknown", |card| card.name.as_str())
    }

    fn report(&mut self) {
        let steps = self.ceremony.progress();
        let me = self.ceremony.me();
        let members = self.ceremony.roster().indexed().zip(&self.reach).map(|((index, card), reach)| MemberProgress {
            name: card.name.clone(),
            step: steps.iter().find(|(member, _)| *member == index).map(|(_, step)| *step),
            reach: reach.clone(),
            complete: if index == me { self.ceremony.all_stored() } else { self.complete.contains(&index) },
        });
        let progress = Progress(members.collect());
        (self.on_progress)(&progress);
    }
}
