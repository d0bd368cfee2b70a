//! What all members of a federation must agree on besides who they are.

use bitcoin::Network;
use borsh::BorshSerialize;
use serde::{Deserialize, Serialize};

use super::emergency::{CanonicalEmergency, Emergency, EmergencyError};
use crate::valve::{ValveSettings, ValveSettingsError};

/// Shortest delay of any peg-out where the bitcoin is real, in seconds.
const MIN_MAIN_DELAY_SECONDS: u64 = 600;

/// Names that select a built-in chain of Elements or Bitcoin, whose parameters would then be used in place of ours.
const RESERVED_NAMES: [&str; 8] =
    ["main", "test", "testnet4", "signet", "regtest", "liquidv1", "liquidv1test", "liquidtestnet"];

/// The common settings of a federation. The defaults are those of a devnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Name of the chain; hashed into its genesis block. 1 to 32 of `a-z`, `0-9` and `-`.
    pub chain_name: String,
    /// The Bitcoin network that holds the reserve.
    pub parent: Network,
    /// Confirmations of a deposit before it may be claimed, in parent blocks.
    pub pegin_confirmation_depth_blocks: u32,
    /// Length of a dynafed epoch in blocks.
    pub epoch_length_blocks: u32,
    /// An idle chain makes a block after this time, in milliseconds.
    pub idle_interval_ms: u64,
    /// Least time between two blocks, in milliseconds.
    pub min_block_spacing_ms: u64,
    /// Keys that can move the treasury's coins after a long rest; by default there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// How much bitcoin leaves the treasury, and how soon.
    pub valve: ValveSettings,
}

/// Settings that no chain can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The name is not of the allowed form.
    #[error("chain name {0:?} must be 1 to 32 of a-z, 0-9 and '-'")]
    ChainName(String),
    /// The name belongs to a built-in chain.
    #[error("chain name {0:?} is that of a built-in chain of Elements, choose another")]
    ReservedChainName(String),
    /// A deposit without confirmations can be taken back.
    #[error("pegin_confirmation_depth_blocks must be at least 1")]
    NoDepth,
    /// The emergency keys give no working script.
    #[error("emergency: {0}")]
    Emergency(#[from] EmergencyError),
    /// An epoch has blocks.
    #[error("epoch_length_blocks must be at least 1")]
    NoEpoch,
    /// The idle interval cannot be shorter than the spacing.
    #[error("idle_interval_ms is {idle_ms}, but must be at least 1 and at least min_block_spacing_ms ({spacing_ms})")]
    IdleInterval {
        /// The idle interval given, in milliseconds.
        idle_ms: u64,
        /// The spacing given, in milliseconds.
        spacing_ms: u64,
    },
    /// The valve cannot work with its settings.
    #[error("valve: {0}")]
    Valve(#[from] ValveSettingsError),
    /// A halt comes too late for peg-outs that do not wait.
    #[error(
        "valve: on the Bitcoin main network every peg-out must wait for at least {MIN_MAIN_DELAY_SECONDS} s, so that \
         members can halt; the first of delays has {0} s"
    )]
    NoDelayOnMain(u64),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chain_name: "aquifer-devnet".to_owned(),
            parent: Network::Regtest,
            pegin_confirmation_depth_blocks: 8,
            epoch_length_blocks: 10,
            idle_interval_ms: 5_000,
            min_block_spacing_ms: 1_000,
            emergency: None,
            valve: ValveSettings::devnet(),
        }
    }
}

/// Whether the text is 1 to 32 of `a-z`, `0-9` and `-`: safe in a file name, a command line and a log.
pub(super) fn is_plain_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Settings {
    /// Checks that a chain can run with these settings.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        if !is_plain_name(&self.chain_name) {
            return Err(SettingsError::ChainName(self.chain_name.clone()));
        }
        if RESERVED_NAMES.contains(&self.chain_name.as_str()) {
            return Err(SettingsError::ReservedChainName(self.chain_name.clone()));
        }
        if self.pegin_confirmation_depth_blocks == 0 {
            return Err(SettingsError::NoDepth);
        }
        if self.epoch_length_blocks == 0 {
            return Err(SettingsError::NoEpoch);
        }
        if let Some(emergency) = &self.emergency {
            emergency.check()?;
        }
        if self.idle_interval_ms == 0 || self.idle_interval_ms < self.min_block_spacing_ms {
            return Err(SettingsError::IdleInterval {
                idle_ms: self.idle_interval_ms,
                spacing_ms: self.min_block_spacing_ms,
            });
        }
        self.valve.check()?;
        let least_delay_seconds = self.valve.least_delay_seconds();
        if self.parent == Network::Bitcoin && least_delay_seconds < MIN_MAIN_DELAY_SECONDS {
            return Err(SettingsError::NoDelayOnMain(least_delay_seconds));
        }
        Ok(())
    }

    /// Every setting in a fixed order, for hashing.
    pub(super) fn canonical_bytes(&self) -> Vec<u8> {
        #[derive(BorshSerialize)]
        struct Canonical<'a> {
            chain_name: &'a str,
            parent: &'a str,
            pegin_confirmation_depth_blocks: u32,
            epoch_length_blocks: u32,
            idle_interval_ms: u64,
            min_block_spacing_ms: u64,
            emergency: Option<CanonicalEmergency>,
            valve: &'a ValveSettings,
        }
        let canonical = Canonical {
            chain_name: &self.chain_name,
            parent: self.parent.to_core_arg(),
            pegin_confirmation_depth_blocks: self.pegin_confirmation_depth_blocks,
            epoch_length_blocks: self.epoch_length_blocks,
            idle_interval_ms: self.idle_interval_ms,
            min_block_spacing_ms: self.min_block_spacing_ms,
            emergency: self.emergency.as_ref().map(Emergency::canonical),
            valve: &self.valve,
        };
        // Writing to memory fails only for lengths above 2^32, which `check` excludes.
        borsh::to_vec(&canonical).unwrap_or_default()
    }
}
