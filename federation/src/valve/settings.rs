//! How far the valve opens. Part of the settings of a federation, so the same for all members and covered by the hash of
//! the roster that their operators compare.

use bitcoin::Amount;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::treasury::PayoutKind;

/// The whole of something, in permille.
const WHOLE_PERMILLE: u32 = 1_000;

/// Every type of output, each with a minimum of its own.
const KINDS: [PayoutKind; 5] =
    [PayoutKind::P2pkh, PayoutKind::P2sh, PayoutKind::P2wpkh, PayoutKind::P2wsh, PayoutKind::P2tr];

/// Longest window and longest delay, in seconds: a year. Long enough for anybody, and times cannot overflow with it.
pub const MAX_VALVE_SECONDS: u64 = 366 * 24 * 60 * 60;

/// Most steps of the delay.
pub const MAX_DELAY_STEPS: usize = 16;

/// What leaves the treasury at most, and how soon. Times are seconds of the chain's own time (median time past), amounts
/// are what was burned for a peg-out, in satoshi, and shares are of the coins held before the batch, in permille.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct ValveSettings {
    /// Length of the rolling window, in seconds.
    pub window_seconds: u64,
    /// Most that leaves in any window, in satoshi.
    pub window_limit_sat: u64,
    /// Most that leaves in any window, in permille of the reserve.
    pub window_share_permille: u32,
    /// Most that one batch pays, in permille of the reserve. No larger request can be paid.
    pub batch_share_permille: u32,
    /// How long a request waits at least after the block that made it. The first step begins at 0; amounts rise strictly,
    /// and delays do not fall.
    pub delays: Vec<DelayStep>,
    /// Smallest requests that are paid.
    pub minimums: Minimums,
}

/// The delay from an amount on, up to the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct DelayStep {
    /// The smallest amount that waits so long, in satoshi.
    pub from_amount_sat: u64,
    /// How long, in seconds.
    pub delay_seconds: u64,
}

/// The smallest request that is paid to each type of output, in satoshi. Never below the dust limit of that type, see
/// [`PayoutKind::dust_limit_sat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimums {
    /// To a public key hash.
    pub p2pkh_sat: u64,
    /// To a script hash.
    pub p2sh_sat: u64,
    /// To a witness public key hash.
    pub p2wpkh_sat: u64,
    /// To a witness script hash.
    pub p2wsh_sat: u64,
    /// To a Taproot output.
    pub p2tr_sat: u64,
}

impl Minimums {
    /// The minimum of one type of output, in satoshi.
    pub fn of(&self, kind: PayoutKind) -> u64 {
        match kind {
            PayoutKind::P2pkh => self.p2pkh_sat,
            PayoutKind::P2sh => self.p2sh_sat,
            PayoutKind::P2wpkh => self.p2wpkh_sat,
            PayoutKind::P2wsh => self.p2wsh_sat,
            PayoutKind::P2tr => self.p2tr_sat,
        }
    }

    /// What Bitcoin relays, and no less.
    fn dust_limits() -> Self {
        Self {
            p2pkh_sat: PayoutKind::P2pkh.dust_limit_sat(),
            p2sh_sat: PayoutKind::P2sh.dust_limit_sat(),
            p2wpkh_sat: PayoutKind::P2wpkh.dust_limit_sat(),
            p2wsh_sat: PayoutKind::P2wsh.dust_limit_sat(),
            p2tr_sat: PayoutKind::P2tr.dust_limit_sat(),
        }
    }
}

/// Settings that no valve can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValveSettingsError {
    /// The window has no length, or is longer than a year.
    #[error("window_seconds is {0}, but must be 1 to {MAX_VALVE_SECONDS}")]
    Window(u64),
    /// The limit lets nothing through, or more bitcoin than there are.
    #[error("window_limit_sat is {0}, but must be 1 to 2100000000000000")]
    WindowLimit(u64),
    /// The shares are not shares.
    #[error(
        "batch_share_permille is {batch} and window_share_permille is {window}, but they must be 1 to {WHOLE_PERMILLE}, \
         and a batch cannot take more than a window"
    )]
    Shares {
        /// Share of a batch, in permille.
        batch: u32,
        /// Share of a window, in permille.
        window: u32,
    },
    /// There must be a delay for every amount.
    #[error("delays has {0} steps, but must have 1 to {MAX_DELAY_STEPS}, the first of them from 0 sat")]
    DelayCount(usize),
    /// A step of the delay is out of order or too long.
    #[error(
        "step {position} of delays ({} s from {} sat) must begin above the one before, not wait less, and not wait more \
         than {MAX_VALVE_SECONDS} s", .step.delay_seconds, .step.from_amount_sat
    )]
    Delay {
        /// Which step, from 0.
        position: usize,
        /// The step.
        step: DelayStep,
    },
    /// Bitcoin would not relay such a payment, or nothing so large is ever paid.
    #[error(
        "the minimum for {kind:?} is {found_sat} sat, but must be {dust_sat} (dust) to {limit_sat} (window_limit_sat)"
    )]
    Minimum {
        /// Type of the output.
        kind: PayoutKind,
        /// The minimum given, in satoshi.
        found_sat: u64,
        /// The dust limit of the type, in satoshi.
        dust_sat: u64,
        /// The limit of the window, in satoshi.
        limit_sat: u64,
    },
}

impl Default for ValveSettings {
    fn default() -> Self {
        Self::devnet()
    }
}

impl ValveSettings {
    /// For a federation on one machine: everything happens in seconds, and a good part of a small reserve can leave.
    pub fn devnet() -> Self {
        Self {
            window_seconds: 60,
            window_limit_sat: 100 * Amount::ONE_BTC.to_sat(),
            window_share_permille: 750,
            batch_share_permille: 500,
            delays: vec![
                DelayStep { from_amount_sat: 0, delay_seconds: 0 },
                DelayStep { from_amount_sat: Amount::ONE_BTC.to_sat(), delay_seconds: 5 },
                DelayStep { from_amount_sat: 10 * Amount::ONE_BTC.to_sat(), delay_seconds: 30 },
            ],
            minimums: Minimums::dust_limits(),
        }
    }

    /// For real money: a federation of 15 members with a reserve of some thousand bitcoin.
    ///
    /// Made to have stopped the loss of 2026-09-06, when about 90 % of a reserve of some 4,400 BTC was requested and paid 36
    /// minutes later. Whatever is requested, and in however many pieces, *nothing* is paid within the first hour, so that
    /// the auditors and the members have time for a halt; within a day not more than 200 BTC and not more than 5 % of the
    /// reserve are. No request above 2.5 % of the reserve is paid at all, and those of 50 BTC and more wait for a day.
    pub fn production() -> Self {
        let btc = Amount::ONE_BTC.to_sat();
        let hour = 60 * 60;
        Self {
            window_seconds: 24 * hour,
            window_limit_sat: 200 * btc,
            window_share_permille: 50,
            batch_share_permille: 25,
            delays: vec![
                DelayStep { from_amount_sat: 0, delay_seconds: hour },
                DelayStep { from_amount_sat: btc, delay_seconds: 3 * hour },
                DelayStep { from_amount_sat: 10 * btc, delay_seconds: 12 * hour },
                DelayStep { from_amount_sat: 50 * btc, delay_seconds: 24 * hour },
            ],
            // A legacy output costs more to spend for as long as it exists, and the requester pays an equal part of the fee.
            minimums: Minimums {
                p2pkh_sat: 100_000,
                p2sh_sat: 100_000,
                p2wpkh_sat: 50_000,
                p2wsh_sat: 50_000,
                p2tr_sat: 50_000,
            },
        }
    }

    /// Checks that a valve can work with these settings.
    ///
    /// # Errors
    /// [`ValveSettingsError`], with the value that is wrong.
    pub fn check(&self) -> Result<(), ValveSettingsError> {
        if !(1..=MAX_VALVE_SECONDS).contains(&self.window_seconds) {
            return Err(ValveSettingsError::Window(self.window_seconds));
        }
        if !(1..=Amount::MAX_MONEY.to_sat()).contains(&self.window_limit_sat) {
            return Err(ValveSettingsError::WindowLimit(self.window_limit_sat));
        }
        let (batch, window) = (self.batch_share_permille, self.window_share_permille);
        if batch == 0 || batch > window || window > WHOLE_PERMILLE {
            return Err(ValveSettingsError::Shares { batch, window });
        }
        self.check_delays()?;
        for kind in KINDS {
            let (found_sat, dust_sat, limit_sat) =
                (self.minimums.of(kind), kind.dust_limit_sat(), self.window_limit_sat);
            if found_sat < dust_sat || found_sat > limit_sat {
                return Err(ValveSettingsError::Minimum { kind, found_sat, dust_sat, limit_sat });
            }
        }
        Ok(())
    }

    fn check_delays(&self) -> Result<(), ValveSettingsError> {
        let count = self.delays.len();
        if count > MAX_DELAY_STEPS || self.delays.first().is_none_or(|first| first.from_amount_sat != 0) {
            return Err(ValveSettingsError::DelayCount(count));
        }
        let mut before: Option<DelayStep> = None;
        for (position, step) in self.delays.iter().copied().enumerate() {
            let rises = before.is_none_or(|before| {
                before.from_amount_sat < step.from_amount_sat && before.delay_seconds <= step.delay_seconds
            });
            if !rises || step.delay_seconds > MAX_VALVE_SECONDS {
                return Err(ValveSettingsError::Delay { position, step });
            }
            before = Some(step);
        }
        Ok(())
    }

    /// How long a request of this amount waits at least, in seconds.
    pub fn delay_seconds(&self, amount_sat: u64) -> u64 {
        let step = self.delays.iter().take_while(|step| step.from_amount_sat <= amount_sat).last();
        step.map_or(0, |step| step.delay_seconds)
    }

    /// The shortest delay of any request, in seconds.
    pub fn least_delay_seconds(&self) -> u64 {
        self.delay_seconds(0)
    }

    /// Most that one batch pays while the treasury holds this much, in satoshi.
    pub fn batch_cap_sat(&self, reserve_sat: u64) -> u64 {
        share_sat(reserve_sat, self.batch_share_permille).min(self.window_limit_sat)
    }

    /// Most that leaves in a window while the treasury holds this much, in satoshi.
    pub fn window_cap_sat(&self, reserve_sat: u64) -> u64 {
        share_sat(reserve_sat, self.window_share_permille).min(self.window_limit_sat)
    }
}

/// A share of an amount, rounded down.
pub(super) fn share_sat(amount_sat: u64, permille: u32) -> u64 {
    let share = u128::from(amount_sat) * u128::from(permille) / u128::from(WHOLE_PERMILLE);
    // Only a share above the whole could be too large, which `check` excludes.
    u64::try_from(share).unwrap_or(u64::MAX)
}
