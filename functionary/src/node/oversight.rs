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
use crate::opinion::{Feeding, Opinion};
use crate::store::StoreError;
use crate::store::ledger::LedgerReader;

/// Everybody who must be content before a batch is signed.
#[derive(Clone)]
pub(super) struct Oversight {
    pub(super) desk: Arc<AuditDesk>,
    pub(super) opinion: Option<Arc<Opinion>>,
    status: Arc<CoreStatus>,
}

impl Oversight {
    /// Opens the desk for auditors, and begins to feed elementsd where one is configured.
    pub(super) fn start(
        config: &Config,
        genesis: BlockHash,
        ledger: &Arc<LedgerReader>,
        status: &Arc<CoreStatus>,
    ) -> Result<(Self, Option<Feeding>), NodeError> {
        say_what_is_asked(config);
        let alarms = Arc::clone(status);
        let store = AuditStore::open(&config.data.database("audit"))?;
        let on_refusal = Box::new(move |objection: &SignedVerdict| on_refusal(&alarms, objection));
        let blocks = Arc::<LedgerReader>::clone(ledger);
        let desk = AuditDesk::new(&config.file.audit, genesis, store, blocks, on_refusal)?;
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
        Ok((Self { desk: Arc::new(desk), opinion, status: Arc::clone(status) }, feeding))
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
                () = stop.cancelled() => return,
            }
            hand_over(&events, Event::GuardMoved).await;
        }
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
        let audit = self.desk.hold(height)?;
        Ok(audit.or_else(|| self.opinion.as_ref().and_then(|opinion| opinion.hold(height))))
    }
}

/// An auditor objects: no batch is signed any more, and the operator is called. This is also the place from which a request
/// to halt peg-outs is published.
fn on_refusal(status: &CoreStatus, objection: &SignedVerdict) {
    status.raise(format!(
        "{}. This member signs no peg-out batch until you have found out why; if the auditor was wrong, stop the member and \
         run `aquiferd dismiss-objection --auditor {}`",
        describe(objection),
        objection.key
    ));
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
