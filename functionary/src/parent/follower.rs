//! Follows the best chain of bitcoind, block by block.
//!
//! The store's position is always a block that bitcoind had in its best chain. Each round first takes back blocks that are
//! no longer in it, then adds the next ones, so a reorganisation takes exactly the deposits back that it removed. A round
//! that fails leaves the position where it was; the next one goes on from there. A reorganisation deeper than a peg-in is
//! told to the node before the first block is taken back, so a crash in between does not lose the alarm.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;

use super::client::{ParentError, ParentTip};
use super::deposits::find_deposits;
use super::{DeepReorganisation, FollowError, Parent, ParentState, lookback};

/// Asks bitcoind for news until `stop` turns true or is dropped.
pub(super) async fn run(parent: Parent, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = parent.shared.asked.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let worker = parent.clone();
        let stopping = stop.clone();
        if tokio::task::spawn_blocking(move || round(&worker, &stopping)).await.is_err() {
            tracing::error!("the parent chain is no longer followed: its worker has failed");
            parent.set_state(ParentState::Unhealthy {
                reason: "its follower has stopped; restart the member".to_owned(),
            });
            return;
        }
    }
}

/// One look at bitcoind.
fn round(parent: &Parent, stop: &watch::Receiver<bool>) {
    let outcome = parent.shared.client.tip().map_err(FollowError::from).and_then(|tip| {
        parent.set_state(ParentState::Healthy { height: tip.height, hash: tip.hash });
        follow(parent, &tip, stop)
    });
    match outcome {
        Ok(()) => {}
        Err(FollowError::Parent(error)) => parent.note_failure(&error),
        Err(FollowError::Alarm(reason)) => {
            tracing::error!(reason, "the parent chain is not followed through a deep reorganisation");
            parent.set_state(ParentState::Unhealthy { reason });
        }
        Err(FollowError::Store(error)) => {
            tracing::error!(%error, "the parent chain cannot be followed");
            parent.set_state(ParentState::Unhealthy { reason: error.to_string() });
        }
    }
}

/// Moves the position to the tip.
fn follow(parent: &Parent, tip: &ParentTip, stop: &watch::Receiver<bool>) -> Result<(), FollowError> {
    let client = &parent.shared.client;
    let mut taken_back = false;
    loop {
        let position = parent.store().position()?;
        let Some(position) = position else {
            // The first start: what came before has been watched by nobody.
            restart(parent, tip)?;
            return Ok(());
        };
        if position.hash == tip.hash || *stop.borrow() {
            return Ok(());
        }
        if client.block_hash(position.height)? != Some(position.hash) {
            if !taken_back && let Some(reorganisation) = deep_reorganisation(parent, &position)? {
                (parent.shared.alarm)(reorganisation).map_err(FollowError::Alarm)?;
            }
            taken_back = true;
            take_back(parent, &position)?;
            continue;
        }
        let height = position.height.saturating_add(1);
        let Some(hash) = client.block_hash(height)? else { return Ok(()) };
        let block = client.block(&hash)?;
        if block.header.prev_blockhash != position.hash {
            // The chain moved between two questions.
            continue;
        }
        // Held until the position has moved: who finds a script in both lists knows that every later block is searched.
        let watched = parent.shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let deposits = find_deposits(&block, height, &watched);
        for deposit in &deposits {
            tracing::info!(outpoint = %deposit.outpoint, amount_sat = deposit.amount_sat, height, "deposit seen");
        }
        parent.store().connect(&ParentTip { height, hash }, &deposits)?;
        drop(watched);
        parent.changed();
    }
}

/// Whether more blocks have left the best chain than a peg-in waits for.
fn deep_reorganisation(parent: &Parent, position: &ParentTip) -> Result<Option<DeepReorganisation>, FollowError> {
    let mut depth_blocks = parent.shared.params.pegin_confirmation_depth_blocks;
    while let Some(height) = position.height.checked_sub(depth_blocks) {
        let Some(remembered) = parent.store().scanned(height)? else { break };
        if parent.shared.client.block_hash(height)? == Some(remembered) {
            break;
        }
        depth_blocks = depth_blocks.saturating_add(1);
    }
    let is_deep = depth_blocks > parent.shared.params.pegin_confirmation_depth_blocks;
    Ok(is_deep.then_some(DeepReorganisation { height: position.height, depth_blocks }))
}

fn take_back(parent: &Parent, position: &ParentTip) -> Result<(), FollowError> {
    tracing::warn!(height = position.height, hash = %position.hash, "the parent chain was reorganised; a block is taken back");
    parent.store().disconnect(position.height)?;
    if parent.store().position()?.is_none() {
        // Deeper than what is remembered: go on from the block below, as bitcoind knows it now.
        let height = position.height.saturating_sub(1);
        let hash = parent
            .shared
            .client
            .block_hash(height)?
            .ok_or_else(|| ParentError::Syncing(format!("its chain has become shorter than {height} blocks")))?;
        return restart(parent, &ParentTip { height, hash });
    }
    parent.changed();
    Ok(())
}

/// Follows from a block on without knowing the ones below. Deposits in blocks that left the best chain are taken back
/// here, and those that came with the blocks in their place are found by the look back.
fn restart(parent: &Parent, tip: &ParentTip) -> Result<(), FollowError> {
    let blocks = parent.store().deposit_blocks()?;
    let mut stale = Vec::new();
    for block in blocks {
        if parent.shared.client.block_hash(block.height)? != Some(block.hash) {
            stale.push(block.hash);
        }
    }
    parent.store().restart_at(tip, &stale)?;
    parent.changed();
    Ok(())
}

/// Keeps the follower and the look back alive; dropping it ends their tasks after the round they are in.
#[derive(Debug)]
pub struct Following {
    stop: watch::Sender<bool>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Following {
    pub(super) fn start(parent: Parent, interval: Duration, runtime: &tokio::runtime::Handle) -> Self {
        let (stop, stopped) = watch::channel(false);
        let look_back = lookback::run(parent.clone(), interval, stopped.clone());
        let tasks = [runtime.spawn(run(parent, interval, stopped)), runtime.spawn(look_back)];
        Self { stop, tasks }
    }

    /// Ends the tasks and waits for the rounds they are in; a look at all unspent outputs is broken off.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if task.await.is_err() {
                tracing::error!("a follower of the parent chain had failed before it was stopped");
            }
        }
    }
}
