//! `aquiferd roster`: the list of members that all operators agree on.

use std::path::PathBuf;

use aquifer_federation::roster::{MemberCard, Roster, Settings};
use aquifer_federation::valve::ValveSettings;
use bitcoin::Network;
use serde_json::json;

use super::{CliError, Output};
use crate::files::{self, Access};

/// Make the roster from the cards of all members, in the order given, and show its fingerprint.
///
/// One operator makes the file and gives it to all. Before the ceremony all operators compare the fingerprint, read aloud
/// for instance: it covers every key, every address and every setting. With `--show` it is printed of a file that exists.
///
/// The limits on peg-outs (`valve` in the file) are made for real money, except on regtest, where they are those of a devnet.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  aquiferd roster --card alpha.json --card beta.json --card gamma.json --card delta.json \\
      --parent signet --pegin-depth 20 --out roster.json\n  aquiferd roster --show roster.json"
)]
pub(super) struct Arguments {
    /// A member's card; once for each member.
    #[arg(long = "card", value_name = "CARD")]
    card: Vec<PathBuf>,
    /// More cards.
    #[arg(value_name = "CARD")]
    cards: Vec<PathBuf>,
    /// The file to make.
    #[arg(long, visible_alias = "output", value_name = "FILE", required_unless_present = "show")]
    out: Option<PathBuf>,
    /// Print the fingerprint of this roster instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["card", "cards", "out"])]
    show: Option<PathBuf>,
    /// Name of the chain.
    #[arg(long)]
    chain_name: Option<String>,
    /// The Bitcoin network that holds the reserve: regtest, signet, testnet, testnet4 or bitcoin.
    #[arg(long)]
    parent: Option<Network>,
    /// Confirmations that a deposit needs, in blocks.
    #[arg(long, value_name = "BLOCKS")]
    pegin_depth: Option<u32>,
    /// Length of a dynafed epoch, in blocks.
    #[arg(long, value_name = "BLOCKS")]
    epoch_length: Option<u32>,
    /// An idle chain makes a block after this time, in seconds.
    #[arg(long, value_name = "SECONDS")]
    idle_seconds: Option<u64>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Output, CliError> {
        if let Some(path) = &self.show {
            let roster = files::read_json(path)?;
            return Ok(describe(&roster, path));
        }
        let Some(out) = &self.out else { return Err(CliError::Failed("name the file with --out".to_owned())) };
        let cards: Result<Vec<MemberCard>, _> =
            self.card.iter().chain(&self.cards).map(|path| files::read_json(path)).collect();
        let roster = Roster::new(self.settings(), cards?)
            .map_err(|error| CliError::Failed(format!("no roster was made: {error}")))?;
        files::create(out, &files::to_json(out, &roster)?, Access::Public)?;
        Ok(describe(&roster, out))
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        if let Some(name) = &self.chain_name {
            settings.chain_name.clone_from(name);
        }
        if let Some(parent) = self.parent {
            settings.parent = parent;
            // Loose limits are for a chain whose bitcoin anybody can make.
            if parent != Network::Regtest {
                settings.valve = ValveSettings::production();
            }
        }
        if let Some(depth) = self.pegin_depth {
            settings.pegin_confirmation_depth_blocks = depth;
        }
        if let Some(length) = self.epoch_length {
            settings.epoch_length_blocks = length;
        }
        if let Some(seconds) = self.idle_seconds {
            settings.idle_interval_ms = seconds.saturating_mul(1_000);
        }
        settings
    }
}

fn describe(roster: &Roster, path: &std::path::Path) -> Output {
    let members: Vec<&str> = roster.members().iter().map(|card| card.name.as_str()).collect();
    let text = format!(
        "Roster of {count} members in {path}; {threshold} of them decide and sign.\n\
         Members:      {names}\n\
         Chain:        {chain}, parent {parent}\n\
         Fingerprint:  {fingerprint}\n\
         Next: give the file to all operators, compare the fingerprint with each of them, and then all run\n  \
         aquiferd ceremony --roster {path}",
        count = members.len(),
        path = path.display(),
        threshold = roster.threshold(),
        names = members.join(", "),
        chain = roster.settings().chain_name,
        parent = roster.settings().parent,
        fingerprint = roster.fingerprint(),
    );
    let json = json!({
        "roster": path,
        "hash": hex::encode(roster.hash()),
        "members": members,
        "threshold": roster.threshold(),
        "chain": roster.settings().chain_name,
        "parent": roster.settings().parent.to_string(),
    });
    Output { text, json }
}
