//! Finds deposits in blocks that were scanned before anybody watched for them here.
//!
//! A wallet may come to this member after its deposit was mined, and a member may start with an empty `parent.db`. A
//! deposit that nobody has claimed is unspent, so one look at all unspent outputs finds every one that is missing. bitcoind
//! does such a look once at a time and takes minutes on the main chain; it therefore has a task and a connection of its
//! own, serves many scripts at once, and rests between two looks as long as the last one took.
//!
//! Nothing is lost between the look and the follower: a script is picked here only when the follower searches every block
//! that it adds from then on, and the look counts only if it saw a chain that the follower has followed from before the
//! pick to the look's best block. The follower's blocks are then covered by the one or the other, and what the look found
//! lies in them, so that a reorganisation takes it back like any deposit. Otherwise the scripts wait for the next look.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use bitcoin::{OutPoint, ScriptBuf, Txid};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{BlockStatus, ParentClient, ParentError, ParentTip, Scan, TransactionStatus};
use super::deposits::find_deposits;
use super::store::Deposit;
use super::{FollowError, Parent, ParentState};

/// Scripts in one look. The effort is nearly the same for one and for thousands.
const MAX_SCRIPTS: u32 = 5_000;
/// How long the follower may take to reach the best block of a look.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);
/// How often a look is told to end, a second apart, when the member stops.
const ABORT_ATTEMPTS: u32 = 10;

/// How a round ended.
enum Round {
    /// Nothing to do before something changes.
    Idle,
    /// All scripts that were picked are done.
    Done,
    /// The scripts go on waiting.
    Later,
}

/// Looks back for every script that waits for it, until `stop` turns true or is dropped.
pub(super) async fn run(parent: Parent, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut changes = parent.changes();
    loop {
        changes.mark_unchanged();
        let started = Instant::now();
        let (worker, stopping) = (parent.clone(), stop.clone());
        let mut working = tokio::task::spawn_blocking(move || round(&worker, interval, &stopping));
        let outcome = tokio::select! {
            outcome = &mut working => Some(outcome),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(outcome) = outcome else { return break_off(&parent, working).await };
        let round = match outcome {
            Ok(Ok(round)) => round,
            Ok(Err(error)) => {
                tracing::warn!(%error, "earlier deposits could not be looked for");
                Round::Later
            }
            Err(_) => {
                tracing::error!("earlier deposits are no longer looked for: the worker has failed; restart the member");
                return;
            }
        };
        let pause = async {
            match round {
                // The sender lives as long as `parent`.
                Round::Idle => drop(changes.changed().await),
                Round::Done | Round::Later => tokio::time::sleep(interval.max(started.elapsed())).await,
            }
        };
        tokio::select! {
            () = pause => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Ends the look that is running and waits for its round. bitcoind would go on with it for minutes.
async fn break_off(parent: &Parent, mut working: JoinHandle<Result<Round, FollowError>>) {
    for _ in 0..ABORT_ATTEMPTS {
        // The round may be before or behind the look; then it ends by itself, or with the next attempt.
        if tokio::time::timeout(Duration::from_secs(1), &mut working).await.is_ok() {
            return;
        }
        let worker = parent.clone();
        let abort = tokio::task::spawn_blocking(move || worker.shared.client.abort_scan());
        if let Ok(Err(error)) = abort.await {
            tracing::debug!(%error, "the look at all unspent outputs could not be ended");
        }
    }
}

/// One look, if a script waits for it.
fn round(parent: &Parent, interval: Duration, stop: &watch::Receiver<bool>) -> Result<Round, FollowError> {
    let ParentState::Healthy { hash: best, .. } = parent.state() else { return Ok(Round::Idle) };
    let (start, wanted) = {
        let store = parent.store();
        let Some(start) = store.position()? else { return Ok(Round::Idle) };
        (start, store.to_look_back(MAX_SCRIPTS)?)
    };
    // The follower is given time to catch up first: a look cannot be used before it has.
    if wanted.is_empty() || start.hash != best || is_stopped(stop) {
        return Ok(Round::Idle);
    }
    let wanted: HashMap<ScriptBuf, elements::Script> = wanted.into_iter().collect();
    tracing::info!(scripts = wanted.len(), "earlier deposits are looked for");
    let client = &parent.shared.scans;
    let (tip, unspent) = match client.scan_unspent(wanted.keys().map(ScriptBuf::as_script))? {
        Scan::Complete { tip, unspent } => (tip, unspent),
        Scan::Busy => {
            tracing::info!("bitcoind is busy with another scan; earlier deposits are looked for later");
            return Ok(Round::Later);
        }
        Scan::Aborted => return Ok(Round::Later),
    };
    let Some(deposits) = fetch(client, &wanted, &tip, &unspent)? else { return Ok(Round::Later) };
    if tip.height < start.height || !wait_for_follower(parent, tip.height, interval, stop)? {
        return Ok(Round::Later);
    }
    let mut store = parent.store();
    if store.scanned(tip.height)? != Some(tip.hash) {
        return Ok(Round::Later);
    }
    for deposit in &deposits {
        // Blocks that the follower remembers are compared one by one; deeper ones are those of the look's own chain.
        if store.scanned(deposit.height)?.is_some_and(|hash| hash != deposit.block) {
            return Ok(Round::Later);
        }
    }
    store.end_look_back(wanted.keys(), tip.height, &deposits)?;
    drop(store);
    for deposit in &deposits {
        tracing::info!(outpoint = %deposit.outpoint, amount_sat = deposit.amount_sat, height = deposit.height, "earlier deposit found");
    }
    parent.changed();
    Ok(Round::Done)
}

/// The deposits at these outpoints with their proofs, or `None` if the chain of `tip` is no longer the best one.
fn fetch(
    client: &ParentClient,
    wanted: &HashMap<ScriptBuf, elements::Script>,
    tip: &ParentTip,
    unspent: &[(OutPoint, u32)],
) -> Result<Option<Vec<Deposit>>, ParentError> {
    let mut outpoints_at: BTreeMap<u32, HashSet<OutPoint>> = BTreeMap::new();
    for (outpoint, height) in unspent {
        outpoints_at.entry(*height).or_default().insert(*outpoint);
    }
    let mut found = Vec::new();
    for (height, outpoints) in outpoints_at {
        let Some(hash) = client.block_hash(height)? else { return Ok(None) };
        let mut deposits = find_deposits(&client.block(&hash)?, height, wanted);
        deposits.retain(|deposit| outpoints.contains(&deposit.outpoint));
        if deposits.len() != outpoints.len() {
            return Ok(None);
        }
        found.append(&mut deposits);
    }
    let still_best = matches!(client.block_status(&tip.hash)?, BlockStatus::Best { .. });
    Ok(still_best.then_some(found))
}

/// Waits until the follower has reached a height. Tells whether it has.
fn wait_for_follower(
    parent: &Parent,
    height: u32,
    interval: Duration,
    stop: &watch::Receiver<bool>,
) -> Result<bool, FollowError> {
    let started = Instant::now();
    loop {
        if parent.store().position()?.is_some_and(|position| position.height >= height) {
            return Ok(true);
        }
        if is_stopped(stop) || started.elapsed() > FOLLOW_LIMIT {
            return Ok(false);
        }
        parent.refresh();
        std::thread::sleep(interval);
    }
}

fn is_stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Takes in the deposits of one transaction, if the follower is past its block.
pub(super) fn take_in_transaction(
    parent: &Parent,
    claim_script: &elements::Script,
    scripts: &[ScriptBuf],
    txid: &Txid,
) -> Result<(), FollowError> {
    let TransactionStatus::Confirmed { block: hash, .. } = parent.transaction_status(txid)? else { return Ok(()) };
    let block = parent.ask(|client| client.block(&hash))?;
    let BlockStatus::Best { height, .. } = parent.ask(|client| client.block_status(&hash))? else { return Ok(()) };
    let wanted = scripts.iter().map(|script| (script.clone(), claim_script.clone())).collect();
    let mut deposits = find_deposits(&block, height, &wanted);
    deposits.retain(|deposit| deposit.outpoint.txid == *txid);
    let mut store = parent.store();
    // A block that the follower has yet to scan is left to it, so that a reorganisation takes back what it removed.
    let past = store.position()?.is_some_and(|position| position.height >= height);
    if past && store.scanned(height)?.is_none_or(|scanned| scanned == hash) {
        store.add_deposits(&deposits)?;
        drop(store);
        parent.changed();
    }
    Ok(())
}
