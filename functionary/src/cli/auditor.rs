//! `aquiferd auditor`: verifies a chain again from genesis on, in a process of its own.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aquifer_assets::chain::Network;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{CliError, Output, block_on, stop_signal};
use crate::auditor::{AuditKey, Options, Progress, Summary, Until, run};
use crate::config::DataDir;
use crate::files;

/// How often a line is written where no bar can be shown.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Verify every block of a chain again, from genesis on, and report the verdicts to a member.
///
/// Anybody can run one: it needs nothing but the federation's network.json. A member that lists its key signs peg-out batches
/// only when the auditor has passed them. It goes on where it was when it is started again. Exit code 1 with a loud message
/// when a block that carries the federation's certificate must not be believed.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  aquiferd --data-dir ~/audit auditor init\n  aquiferd --data-dir ~/audit auditor --network network.json\n  \
                  aquiferd --data-dir ~/audit auditor --network network.json --once --json"
)]
pub(super) struct Arguments {
    /// What the ceremony left for wallets [default: network.json in the auditor's folder].
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// The member to follow and to report to [default: the first one of the network file].
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// End when the chain is verified up to its end, and print what was counted.
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the auditor's folder and key, and print the public key, which goes into [audit] of a member's aquiferd.toml.
    #[command(after_help = "Example:\n  aquiferd --data-dir ~/audit auditor init")]
    Init,
}

impl Arguments {
    pub(super) fn run(self, data: DataDir, shown: Shown) -> Result<Output, CliError> {
        data.make()?;
        let _lock = data.lock()?;
        let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
        let key = AuditKey::load_or_make(&data).map_err(|error| failed(&error))?.public();
        if let Some(Command::Init) = self.command {
            let text = format!(
                "Audit key: {key}\n\
                 Next:      put it into aquiferd.toml of the member that this auditor shall guard:\n\
                 \n    [audit]\n    keys = [\"{key}\"]\n"
            );
            return Ok(Output { text, json: json!({ "key": key, "data_dir": data.path() }) });
        }
        let path = self.network.unwrap_or_else(|| data.network());
        let network: Network = files::read_json(&path)?;
        network.check().map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        let until = if self.once { Until::CaughtUp } else { Until::Stopped };
        let options = Options { data, network, member: self.member, until };
        tracing::info!(%key, "auditing");
        let begun = Instant::now();
        let summary = block_on(async {
            let stop = stop_signal()?;
            let mut view = View::new(shown);
            let end = run(options, &mut |progress| view.show(&progress), stop).await;
            view.end();
            end.map_err(|error| failed(&error))
        })??;
        Ok(describe(&summary, &key.to_string(), begun.elapsed()))
    }
}

fn describe(summary: &Summary, key: &str, elapsed: Duration) -> Output {
    use std::fmt::Write as _;
    let Summary { height, block, verified, assets, reserve } = summary;
    let difference_sat = reserve.difference_sat();
    let mut text = format!(
        "Passed   all {height} blocks, the last is {block}; {verified} of them in this run, {:.1} s\n\
         Reserve  {} sat in {} coins, difference {difference_sat} sat\n\
         Pegged   in {} sat in {} deposits; out {} sat in {} requests, {} of them paid, {} sat pending\n",
        elapsed.as_secs_f64(),
        reserve.coins_sat,
        reserve.coins,
        reserve.pegged_in_sat,
        reserve.deposits,
        reserve.pegged_out_sat,
        reserve.requests,
        reserve.requests_paid,
        reserve.pending_pegouts_sat(),
    );
    for asset in assets {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "Asset    {} issued {}, pegged in {}, pegged out {}, burned {}, fees lost {}{}",
            asset.asset,
            asset.issued_sat,
            asset.pegged_in_sat,
            asset.pegged_out_sat,
            asset.burned_sat,
            asset.fees_lost_sat,
            if asset.blinded_issuances > 0 { ", and blinded issuances" } else { "" },
        );
    }
    let json = json!({
        "verdict": "passed",
        "auditor": key,
        "height": height,
        "block_hash": block,
        "blocks_verified": verified,
        "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "assets": assets,
        "reserve": reserve,
        "pending_pegouts_sat": reserve.pending_pegouts_sat(),
        "difference_sat": i64::try_from(difference_sat).unwrap_or(if difference_sat < 0 { i64::MIN } else { i64::MAX }),
    });
    Output { text, json }
}

/// What is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The log alone.
    Log,
    /// A bar on a terminal, else the log.
    Progress,
}

/// Shows how far it is, and logs what matters.
struct View {
    bar: Option<ProgressBar>,
    begun: Instant,
    start: u32,
    last_line: Option<Instant>,
}

impl View {
    fn new(shown: Shown) -> Self {
        let bar = (shown == Shown::Progress && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template(
                "{spinner} verified {pos} of {len} [{bar:30}] {per_sec}, {eta} left {msg}",
            );
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, begun: Instant::now(), start: 0, last_line: None }
    }

    fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::Connected { member, height, goal } => {
                tracing::info!(member, height, goal, "following");
                (self.begun, self.start) = (Instant::now(), *height);
                if let Some(bar) = &self.bar {
                    bar.set_message("");
                    bar.set_length(u64::from(*goal));
                    bar.reset_eta();
                    bar.set_position(u64::from(*height));
                }
            }
            Progress::Passed { height, goal } => {
                tracing::debug!(height, "passed");
                match &self.bar {
                    Some(bar) => {
                        bar.set_length(u64::from(*goal));
                        bar.set_position(u64::from(*height));
                    }
                    None => self.log_progress(*height, *goal),
                }
            }
            Progress::Trouble(reason) => {
                tracing::warn!(reason, "waiting");
                if let Some(bar) = &self.bar {
                    bar.set_message(reason.clone());
                }
            }
            Progress::Unlisted { member } => {
                tracing::warn!(member, "this member does not list this auditor's key: it is not told of the verdicts");
            }
            Progress::Refused { height, block, reason } => {
                tracing::error!(height, %block, reason, "REFUSED: this block carries the federation's certificate");
            }
        }
    }

    /// Every ten seconds, and at the end of the chain.
    fn log_progress(&mut self, height: u32, goal: u32) {
        if height < goal && self.last_line.is_some_and(|last| last.elapsed() < LINE_INTERVAL) {
            return;
        }
        self.last_line = Some(Instant::now());
        let done = f64::from(height.saturating_sub(self.start));
        let per_second = done / self.begun.elapsed().as_secs_f64().max(0.001);
        let left_s = f64::from(goal.saturating_sub(height)) / per_second.max(0.001);
        tracing::info!(height, goal, "passed; {per_second:.0} blocks a second, {left_s:.0} s left");
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            // A line that cannot be shown is no reason to fail.
            let _shown = std::io::stderr().flush();
        }
    }
}
