//! Auditors and the second opinion of a running node, put together.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use elements::BlockHash;
use tokio_util::sync::CancellationToken;

use super::{NodeError, hand_over};
use crate::api;
use crate::audit::{AuditDesk, AuditStore, Hold, SignedVerdict, describe};
use crate::chain::oversight::{BatchGuard, SecondOpinion};
use crate::chain::{CoreStatus, Event};
use crate::config::{Config, Disagreement};
use crate::halt::HaltDesk;
use crate::opinion::{Feeding, Opinion};
use crate::parent::{DeepReorganisation, ReorganisationAlarm};
use crate::peg::CoinAlarm;
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// Everybody who must be content before a batch is signed.
#[derive(Clone)]
pub(super) struct Oversight {
    pub(super) desk: Arc<AuditDesk>,
    pub(super) opinion: Option<Arc<Opinion>>,
    halts: Arc<HaltDesk>,
    status: Arc<CoreStatus>,
}

impl Oversight {
    /// Opens the desk for auditors, and begins to feed elementsd where one is configured.
    pub(super) fn start(
        config: &Config,
        genesis: BlockHash,
        ledger: &Arc<LedgerReader>,
        status: &Arc<CoreStatus>,
        halts: &Arc<HaltDesk>,
    ) -> Result<(Self, Option<Feeding>), NodeError> {
        say_what_is_asked(config);
        let alarms = Arc::clone(status);
        let store = AuditStore::open(&config.data.database("audit"))?;
        let halting = (Arc::clone(halts), Arc::clone(ledger));
        let on_refusal =
            Box::new(move |objection: &SignedVerdict| on_refusal(&alarms, &halting.0, &halting.1, objection));
        let blocks = Arc::<LedgerReader>::clone(ledger);
        let desk = AuditDesk::new(&config.file.audit, genesis, store, blocks, on_refusal)?;
        // A crash between an objection and the halt that follows from it must not lose the halt.
        for objection in desk.auditors().into_iter().filter_map(|auditor| auditor.objection) {
            if halts.last_seen().is_none_or(|seen| seen < objection.height) {
                halt_for(status, halts, ledger, &describe(&objection));
            }
        }
        let (opinion, feeding) = match &config.file.elementsd {
            Some(elementsd) => {
                let alarms = Arc::clone(status);
                let on_disagreement = Box::new(move |text| alarms.raise(text));
                let (opinion, feeding) =
                    Opinion::start(elementsd, Arc::clone(ledger), on_disagreement).map_err(NodeError::Thread)?;
                (Some(opinion), Some(feeding))
            }
            None => (None, None),
        };
        Ok((Self { desk: Arc::new(desk), opinion, halts: Arc::clone(halts), status: Arc::clone(status) }, feeding))
    }

    /// What the judge asks before a vote.
    pub(super) fn second_opinion(&self) -> Option<Arc<dyn SecondOpinion>> {
        let opinion = self.opinion.as_ref()?;
        Some(Arc::<Opinion>::clone(opinion))
    }

    /// Tells the chain whenever a batch may have become free to be signed.
    pub(super) async fn wake_chain(self, events: SyncSender<Event>, stop: CancellationToken) {
        let mut verdicts = self.desk.changes();
        let mut opinion = self.opinion.as_ref().map(|opinion| opinion.changes());
        let mut halts = self.halts.changes();
        loop {
            let opinion_changed = async {
                match &mut opinion {
                    Some(opinion) => opinion.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = verdicts.changed() => if changed.is_err() { return },
                changed = opinion_changed => if changed.is_err() { return },
                changed = halts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    hand_over(&events, Event::NoticesMoved).await;
                    continue;
                }
                () = stop.cancelled() => return,
            }
            hand_over(&events, Event::GuardMoved).await;
        }
    }

    /// The operator is called. For a coin that is gone this member halts peg-outs; one that is old is moved by them.
    pub(super) fn on_coin(&self, ledger: &LedgerReader, alarm: CoinAlarm) {
        let gone = match alarm {
            CoinAlarm::Gone(gone) => gone,
            CoinAlarm::Old(old) => return self.status.raise(old.to_string()),
        };
        self.status.raise(format!("{gone}. This member has halted peg-outs; `aquiferd resume` ends that"));
        halt_for(&self.status, &self.halts, ledger, &gone.to_string());
    }

    /// What the API shows.
    pub(super) fn describe(&self) -> api::Oversight {
        api::Oversight {
            auditors_required: u32::try_from(self.desk.required()).unwrap_or(u32::MAX),
            auditors: self.desk.auditors(),
            elementsd: self.opinion.as_ref().map(|opinion| api::ElementsdState {
                status: opinion.status(),
                only_warns: opinion.policy() == Disagreement::Warn,
            }),
            waiting_batches: self.status.waiting_batches(),
        }
    }
}

impl BatchGuard for Oversight {
    fn hold(&self, height: u32) -> Result<Option<Hold>, StoreError> {
        if let Some(reason) = self.halts.hold() {
            let reason = format!("this member has halted peg-outs: {reason}");
            return Ok(Some(Hold::Stopped { from_height: 0, reason }));
        }
        let audit = self.desk.hold(height)?;
        Ok(audit.or_else(|| self.opinion.as_ref().and_then(|opinion| opinion.hold(height))))
    }
}

/// For a reorganisation of Bitcoin deeper than a peg-in: a deposit that was claimed may be gone, and with it what batches
/// spend. This member takes part in no peg-out until a person has looked.
pub(super) fn reorganisation_alarm(
    status: &Arc<CoreStatus>,
    halts: &Arc<HaltDesk>,
    ledger: &Arc<LedgerReader>,
) -> ReorganisationAlarm {
    let (status, halts, ledger) = (Arc::clone(status), Arc::clone(halts), Arc::<LedgerReader>::clone(ledger));
    Arc::new(move |reorganisation| {
        let DeepReorganisation { height, depth_blocks } = reorganisation;
        let what = format!(
            "a reorganisation of Bitcoin took {depth_blocks} blocks back from height {height} on, more than a peg-in waits for"
        );
        status.raise(format!(
            "{what}. Deposits that were claimed may be gone. This member has said halt: compare `aquiferd status` with \
             Bitcoin, and run `aquiferd resume` when all coins are there"
        ));
        halts.halt(&ledger, &what).map_err(|error| error.to_string())
    })
}

/// An auditor objects: no batch is signed any more, all members are told to halt, and the operator is called.
fn on_refusal(status: &CoreStatus, halts: &HaltDesk, ledger: &LedgerReader, objection: &SignedVerdict) {
    status.raise(format!(
        "{}. This member signs no peg-out batch and has said halt to the others, until you have found out why; if the \
         auditor was wrong, stop the member, run `aquiferd dismiss-objection --auditor {}`, start it, and run `aquiferd \
         resume`",
        describe(objection),
        objection.key
    ));
    halt_for(status, halts, ledger, &describe(objection));
}

/// Halts peg-outs on this member's own account, and calls the operator if that cannot be kept.
fn halt_for(status: &CoreStatus, halts: &HaltDesk, ledger: &LedgerReader, reason: &str) {
    if let Err(error) = halts.halt(ledger, reason) {
        status.raise(format!("{reason}; that this member halts peg-outs could not be kept: {error}"));
    }
}

fn say_what_is_asked(config: &Config) {
    let audit = &config.file.audit;
    match audit.required {
        0 => tracing::warn!("NO AUDIT: [audit] required = 0 in aquiferd.toml; peg-out batches are signed unaudited"),
        required if required > audit.keys.len() => tracing::warn!(
            required,
            listed = audit.keys.len(),
            "peg-out batches cannot be signed: aquiferd.toml lists too few auditors in [audit]"
        ),
        required => tracing::info!(required, listed = audit.keys.len(), "peg-out batches wait for auditors"),
    }
    if let Some(elementsd) = &config.file.elementsd {
        tracing::info!(url = elementsd.url, disagreement = ?elementsd.disagreement, "asking elementsd for a second opinion");
    }
}
