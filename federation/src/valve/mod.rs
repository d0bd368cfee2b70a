//! The valve: how much bitcoin leaves the treasury, how soon, and who can stop it.
//!
//! Whatever goes wrong in the ledger, in a proof library or in one member's machine, money leaves only through peg-out
//! batches, and a batch passes the valve or is not signed. The valve knows nothing of proofs. It counts satoshi and seconds,
//! and listens to members who say halt.
//!
//! # Protocol
//! * Every member applies every final block ([`Valve::apply_block`]): its height and median time past, the requests that its
//!   batch pays, the notices in its coinbase, and the books after it. Nothing else changes the state: no clock, no message
//!   that is not in a block, no opinion of a bitcoind. The time of the chain is the median time past.
//! * A request is made by a final block and named by its outpoint. It waits for a **delay** that grows with its amount. It
//!   leaves with a batch as long as all payments of the last **window** stay below a fixed amount and below a share of the
//!   reserve, and the batch below a smaller **share of the reserve**. Amounts are what was burned; the Bitcoin fee comes out
//!   of them. Requests below the **minimum** of their output type are not paid. See [`ValveSettings`].
//! * Who plans a batch asks [`Valve::decide`] and pays of what is released as many as coins, weight and fee allow. Who
//!   judges a batch asks [`Valve::check_batch`], which is the same decision: any part of what is released passes, nothing
//!   else. Both ask about the state after the last final block, with the notices of the block in question already counted
//!   ([`Valve::after_notices`]), so that no block both closes the valve and carries a batch.
//! * A **halt** or **resume** is a signed [`Notice`] in a coinbase. `n−k+1` members who hold *halt* close the valve; it
//!   opens when `k` hold *resume*. Between the two, what was signed before counts no more; see [`Notice::seen_height`]. A
//!   member's own halt binds itself at once: its node neither plans nor votes for batches, whatever the chain says; this
//!   module is not asked about that.
//! * A **shortfall**, a reserve below what is owed, closes the valve for as long as it lasts.
//! * A closed valve releases nothing, and no replacement of an earlier batch either: such a block is refused.
//! * A **replacement** (fee bump) pays requests that were charged to the window already. They pass, and are not charged
//!   again: of all payments for one request at most one happens, as they spend a common coin. The latest
//!   [`MAX_CHARGED_REQUESTS`] are remembered; one that was forgotten is treated, and charged, like a new one.
//!
//! # Order and fairness
//! Requests leave oldest first, by the time of the block that made them, then by outpoint. One that is not due yet, can
//! never be paid, or does not fit now, is passed over. The first *due* request that does not fit is the **head**: the state
//! tells the earliest time at which it can leave if nothing more is paid, and younger requests leave before it only if they
//! leave that time, and its place in a batch, as they are. So
//! * no request is starved: among those due the oldest leaves within one window (and one slice of it) of being the oldest,
//!   as all that counts against it has left the window by then and nothing was let in to its cost; only those older than
//!   itself, which are finitely many, can come before it;
//! * no large request blocks small ones for longer than that, and what fits beside it does not wait at all.
//!
//! A request that is larger than a limit is told so, and holds up nobody. Limits that are shares move with the reserve.
//!
//! # What holds, and why
//! * **In any window of time, wherever it begins, no more than the limit is paid**: the payments that count at a time include
//!   all within one window before it (see `window.rs`), and a batch passes only if they and it stay within the limit. A block is
//!   charged at its own time, which is not before the time that was judged.
//! * **In any window, no more is paid than the share of the reserve** before the last batch in it, for the same reason.
//! * **Equal blocks make equal valves**, bit for bit ([`Valve::save`]): the state is a function of settings, members, chain
//!   and blocks. What no member should have voted for, in a final block nevertheless, is passed over in one defined way.
//! * **`n−k` members cannot close the valve, `k−1` cannot open it**: each member has one position, changed only by its own
//!   signature; a notice counts once, in the phase in which it was signed, and never again.
//! * **The state is bounded**: 290 slices of the window, [`MAX_CHARGED_REQUESTS`] names of requests, one position per
//!   member. Requests that wait are the ledger's to keep, with the time of their block; they are an argument.
//! * **Nothing overflows**: sums saturate, on the side that pays less.
//!
//! # Time
//! The median of the last eleven block times can be moved only by those who propose more than half of these blocks, never
//! falls, and a member does not vote for a block that is far ahead of its own clock. A chain that stands still lets nothing
//! out. [`Verdict::Wait`] has an estimate, in the same time, which supposes that all older requests leave first.

mod notice;
mod queue;
mod saved;
mod settings;
mod switch;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aquifer_assets::peg::PegoutRequest;
use borsh::{BorshDeserialize, BorshSerialize};
use elements::OutPoint;

pub use notice::{MAX_NOTICES_PER_BLOCK, Notice, NoticeError, NoticeKind, find_notices};
pub use saved::SavedValveError;
pub use settings::{DelayStep, MAX_DELAY_STEPS, MAX_VALVE_SECONDS, Minimums, ValveSettings, ValveSettingsError};

use self::{
    switch::{Electorate, Switch},
    window::Window,
};
use crate::{
    roster::{MemberIndex, Roster},
    treasury::PayoutKind,
};

/// So many paid requests are remembered, the latest, so that a replacement is not charged again: twenty full batches.
pub const MAX_CHARGED_REQUESTS: usize = 2_000;

/// A request that no batch has paid, or that one has paid and a replacement shall pay again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The output that requests it; also its name.
    pub outpoint: OutPoint,
    /// Amount burned, in satoshi.
    pub amount_sat: u64,
    /// Type of the output that pays it.
    pub kind: PayoutKind,
    /// Median time past of the block that made it, in seconds.
    pub requested_seconds: u64,
}

impl Request {
    /// The request as the valve sees it. `None` if it asks for an output of no standard type; such a request is parked,
    /// see [`crate::treasury::park_reason`].
    pub fn of(pegout: &PegoutRequest, requested_seconds: u64) -> Option<Self> {
        let kind = PayoutKind::of(&pegout.parent_script)?;
        Some(Self { outpoint: pegout.outpoint, amount_sat: pegout.amount_sat, kind, requested_seconds })
    }
}

/// A request that the batch of a final block pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The request.
    pub request: OutPoint,
    /// Amount burned for it, in satoshi.
    pub amount_sat: u64,
}

/// What the valve must know of a final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// Its height.
    pub height: u32,
    /// Median of the times of this block and the ten before it, in seconds.
    pub median_time_past: u32,
    /// What its batch pays; empty without a batch.
    pub paid: Vec<Payment>,
    /// The notices in its coinbase that can be read, in order. See [`find_notices`].
    pub notices: Vec<Notice>,
    /// Coins that the treasury holds after it, with the change of batches, in satoshi.
    pub reserve_sat: u64,
    /// What these coins must cover after it: the supply of the pegged asset and the requests that no batch has paid, in
    /// satoshi.
    pub liabilities_sat: u64,
}

/// Why nothing leaves at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closure {
    /// Members have said halt.
    #[error("members have halted peg-outs in block {since_height}")]
    Halted {
        /// The block that closed it.
        since_height: u32,
    },
    /// Less is there than is owed.
    #[error("the treasury holds {reserve_sat} sat, but {liabilities_sat} sat are owed")]
    Shortfall {
        /// Coins held, in satoshi.
        reserve_sat: u64,
        /// What they must cover, in satoshi.
        liabilities_sat: u64,
    },
}

/// A limit on a single request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// [`ValveSettings::window_limit_sat`]: a larger request can never be paid.
    #[error("the most that leaves in a window")]
    Window,
    /// [`ValveSettings::window_share_permille`]: not with the reserve as it is.
    #[error("the share of the reserve that leaves in a window")]
    ReserveShareOfWindow,
    /// [`ValveSettings::batch_share_permille`]: not with the reserve as it is.
    #[error("the share of the reserve that one batch pays")]
    ReserveShareOfBatch,
}

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    /// Nothing leaves at all.
    #[error("{0}")]
    Closed(Closure),
    /// It is too small, and will be.
    #[error("{amount_sat} sat is below the least that is paid to this type of output, {minimum_sat} sat")]
    BelowMinimum {
        /// Amount of the request, in satoshi.
        amount_sat: u64,
        /// The minimum, in satoshi.
        minimum_sat: u64,
    },
    /// It is larger than a limit, and no waiting changes that; a larger reserve may, where the limit is a share of it.
    #[error("{amount_sat} sat is above {limit}, {limit_sat} sat")]
    TooLarge {
        /// Amount of the request, in satoshi.
        amount_sat: u64,
        /// The limit, in satoshi.
        limit_sat: u64,
        /// Which limit.
        limit: Limit,
    },
    /// A request of this amount waits so long, in any case.
    #[error("a request of this amount waits for {delay_seconds} seconds")]
    Delay {
        /// Delay from the block that made the request, in seconds.
        delay_seconds: u64,
    },
    /// As much has left in this window as may, or it does not fit into the rest.
    #[error("the limit of the current window leaves no room for it")]
    WindowFull,
    /// It does not fit beside those that leave now; the next batch has room.
    #[error("it does not fit into the next batch")]
    BatchFull,
    /// It would fit, but would make an older request wait longer.
    #[error("it would delay the older request {older}")]
    Behind {
        /// The older request.
        older: OutPoint,
    },
}

/// What becomes of a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next batch may pay it.
    Release,
    /// It waits.
    Wait {
        /// Why.
        reason: WaitReason,
        /// When it may leave, by estimate, in seconds of the chain's time. A time that has passed means the next batch.
        /// `None` where waiting does not help, or nobody can say.
        expected_seconds: Option<u64>,
    },
}

/// The verdict on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The request.
    pub request: OutPoint,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// A batch that does not pass, or a block that cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValveError {
    /// No batch passes.
    #[error("no batch passes: {0}")]
    Closed(Closure),
    /// It pays what is neither pending nor paid lately.
    #[error("request {0} is not pending")]
    NotPending(OutPoint),
    /// It pays a request twice.
    #[error("request {0} is paid twice")]
    PaidTwice(OutPoint),
    /// It pays a request that has to wait.
    #[error("request {request} must wait: {reason}")]
    MustWait {
        /// The request.
        request: OutPoint,
        /// Why.
        reason: WaitReason,
    },
    /// Blocks are applied one by one from the first on.
    #[error("block {found} was to be applied, the next one is {expected}")]
    OutOfOrder {
        /// Height of the block given.
        found: u32,
        /// Height of the next block.
        expected: u32,
    },
}

/// The name of a request, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
struct RequestId {
    txid: [u8; 32],
    vout: u32,
}

impl RequestId {
    fn of(outpoint: &OutPoint) -> Self {
        Self { txid: outpoint.txid.to_byte_array(), vout: outpoint.vout }
    }
}

/// What the blocks have made of the valve.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct State {
    /// The last block applied.
    height: u32,
    /// Its time. Never falls.
    time_seconds: u64,
    reserve_sat: u64,
    liabilities_sat: u64,
    window: Window,
    /// Requests that were charged to the window, oldest first.
    charged: VecDeque<RequestId>,
    switch: Switch,
}

/// The valve of a federation after some final block. See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valve {
    settings: ValveSettings,
    electorate: Electorate,
    state: State,
}

impl Valve {
    /// The valve after the genesis block of the chain whose genesis hash is `chain`: open, with an empty treasury.
    pub fn new(roster: &Roster, chain: [u8; 32]) -> Self {
        let host_keys = roster.members().iter().map(|card| card.host_key.x_only_public_key().0).collect();
        Self {
            settings: roster.settings().valve.clone(),
            electorate: Electorate { host_keys, threshold: roster.threshold(), chain },
            state: State {
                height: 0,
                time_seconds: 0,
                reserve_sat: 0,
                liabilities_sat: 0,
                window: Window::new(),
                charged: VecDeque::new(),
                switch: Switch::new(),
            },
        }
    }

    /// Takes the next final block. What it says is counted whether or not it should have been voted for.
    ///
    /// # Errors
    /// [`ValveError::OutOfOrder`] if it is not the next block; nothing has changed then.
    pub fn apply_block(&mut self, block: &BlockFacts) -> Result<(), ValveError> {
        let expected = self.next_height();
        if block.height != expected || block.height == self.state.height {
            return Err(ValveError::OutOfOrder { found: block.height, expected });
        }
        let window_seconds = self.settings.window_seconds;
        let state = &mut self.state;
        state.height = block.height;
        state.time_seconds = state.time_seconds.max(u64::from(block.median_time_past));
        state.window.forget(window_seconds, state.time_seconds);
        let mut charged: BTreeSet<RequestId> = state.charged.iter().copied().collect();
        for payment in &block.paid {
            let id = RequestId::of(&payment.request);
            if charged.insert(id) {
                state.window.charge(window_seconds, state.time_seconds, payment.amount_sat);
                state.charged.push_back(id);
            }
        }
        let forgotten = state.charged.len().saturating_sub(MAX_CHARGED_REQUESTS);
        state.charged.drain(..forgotten);
        state.switch.apply(&self.electorate, block.height, &block.notices);
        state.reserve_sat = block.reserve_sat;
        state.liabilities_sat = block.liabilities_sat;
        Ok(())
    }

    /// The valve in whose state the batch of the next block is planned and judged: with the notices of that block counted.
    #[must_use]
    pub fn after_notices(&self, notices: &[Notice]) -> Self {
        let mut valve = self.clone();
        valve.state.switch.apply(&valve.electorate, self.next_height(), notices);
        valve
    }

    /// Decides on requests: which the next batch may pay, and why and for how long each of the others waits. Oldest first,
    /// whatever order they come in; one that comes twice is decided once.
    ///
    /// The requests must be all that are pending, without those that can never be paid ([`crate::treasury::park_reason`]):
    /// what is released depends on what else waits.
    pub fn decide(&self, requests: &[Request]) -> Vec<Decision> {
        queue::decide(self, requests)
    }

    /// Whether a batch that pays these may stand in the next block; `requests` as for [`Valve::decide`]. Requests that were
    /// paid lately pass, whether they are among `requests` or not.
    ///
    /// # Errors
    /// [`ValveError`], with the request at fault.
    pub fn check_batch(&self, requests: &[Request], paid: &[OutPoint]) -> Result<(), ValveError> {
        if let Some(closure) = self.closure() {
            return Err(ValveError::Closed(closure));
        }
        let charged: BTreeSet<&RequestId> = self.state.charged.iter().collect();
        let verdicts: BTreeMap<OutPoint, Verdict> =
            self.decide(requests).into_iter().map(|decision| (decision.request, decision.verdict)).collect();
        let mut seen = BTreeSet::new();
        for request in paid.iter().copied() {
            if !seen.insert(request) {
                return Err(ValveError::PaidTwice(request));
            }
            match verdicts.get(&request) {
                Some(Verdict::Release) => {}
                Some(Verdict::Wait { reason, .. }) => return Err(ValveError::MustWait { request, reason: *reason }),
                None if charged.contains(&RequestId::of(&request)) => {}
                None => return Err(ValveError::NotPending(request)),
            }
        }
        Ok(())
    }

    /// Whether the coinbase of the next block may carry exactly these notices. Asked before a vote, and with a single
    /// notice before it is relayed or put into a block.
    ///
    /// # Errors
    /// [`NoticeError`], with the member at fault.
    pub fn check_notices(&self, notices: &[Notice]) -> Result<(), NoticeError> {
        self.state.switch.check_all(&self.electorate, self.next_height(), notices)
    }

    /// Why a request of this amount could not be paid however long it waited, with the reserve as it is. For refusing it
    /// before anything is burned.
    pub fn refusal(&self, amount_sat: u64, kind: PayoutKind) -> Option<WaitReason> {
        queue::never(self, amount_sat, kind, self.state.reserve_sat)
    }

    /// Why nothing leaves, if nothing does.
    pub fn closure(&self) -> Option<Closure> {
        queue::closure(self)
    }

    /// What a member holds by its last notice that counts.
    pub fn position(&self, member: MemberIndex) -> NoticeKind {
        self.state.switch.position(member)
    }

    /// Height of the last block applied.
    pub fn height(&self) -> u32 {
        self.state.height
    }

    /// The time of that block, in seconds.
    pub fn time_seconds(&self) -> u64 {
        self.state.time_seconds
    }

    /// What counts against the limits of the window, in satoshi.
    pub fn counting_sat(&self) -> u64 {
        self.state.window.outlook(self.settings.window_seconds, self.state.time_seconds).counting_now_sat()
    }

    /// What may count against them, in satoshi.
    pub fn window_cap_sat(&self) -> u64 {
        self.settings.window_cap_sat(self.state.reserve_sat)
    }

    fn next_height(&self) -> u32 {
        self.state.height.saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
