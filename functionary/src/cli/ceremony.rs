//! `aquiferd ceremony`: the members make the certificate key and the treasury key together.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use aquifer_federation::ceremony::Step;
use aquifer_federation::federation::FederationFile;
use aquifer_federation::roster::Roster;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::OsRng;
use serde_json::json;

use super::{CliError, Output, block_on, stop_signal};
use crate::ceremony::{MemberProgress, Participant, Progress, Reach, run};
use crate::config::Config;
use crate::files;
use crate::identity::{Member, load_federation};

/// Take part in the ceremony that makes the federation's certificate key and treasury key.
///
/// All members run it at the same time; it ends when every member has stored the outcome. It can be stopped and started
/// again at any time. It begins by showing the roster's fingerprint: compare it with the other operators.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha ceremony --roster roster.json")]
pub(super) struct Arguments {
    /// The roster that all operators have compared.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
}

/// What is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Progress,
}

impl Arguments {
    pub(super) fn run(self, config: Config, shown: Shown) -> Result<Output, CliError> {
        let _lock = config.data.lock()?;
        let roster: Roster = files::read_json(&self.roster)?;
        let member = Member::load(&config)?;
        let index = member.index_in(&roster, &config.file.name)?;
        // What an interrupted run left is taken up, until every member is known to have the outcome.
        if config.data.federation().exists() && !config.data.ceremony_state().exists() {
            let federation = load_federation(&config.data)?;
            if federation.roster != roster {
                let text = "the ceremony of another roster has ended for this member; use a new data folder for a new federation";
                return Err(CliError::Failed(text.to_owned()));
            }
            return Ok(describe(&config, &files::read_json(&config.data.federation())?));
        }
        let participant =
            Participant { listen: config.file.peers.listen, data: config.data.clone(), member, roster, index };
        let file = block_on(async {
            let stop = stop_signal()?;
            let mut view = View::new(shown);
            view.begin(&participant.roster);
            let end = run(participant, &mut OsRng, |progress| view.show(progress), stop).await;
            view.end();
            Ok::<_, CliError>(end?)
        })??;
        Ok(describe(&config, &file))
    }
}

fn describe(config: &Config, file: &FederationFile) -> Output {
    let data = &config.data;
    let transcript = hex::encode(file.transcript_hash);
    let text = format!(
        "The ceremony has ended: all {count} members hold their shares.\n\
         Federation:  {federation}\n\
         For wallets: {network}\n\
         Shares:      {share}\n             {treasury_share}\n\
         Backup:      aquiferd --data-dir {folder} backup --out {name}.backup   beside the 24 words of the seed\n\
         Transcript:  {transcript}\n\
         Next:        aquiferd --data-dir {folder} run",
        count = file.roster.members().len(),
        federation = data.federation().display(),
        network = data.network().display(),
        share = data.certificate_share().display(),
        treasury_share = data.treasury_share().display(),
        folder = data.path().display(),
        name = config.file.name,
    );
    let json = json!({
        "federation": data.federation(),
        "network": data.network(),
        "transcript_hash": transcript,
        "members": file.roster.members().len(),
    });
    Output { text, json }
}

/// Shows progress: one moving line on a terminal, else a line whenever something has changed.
enum View {
    Nothing,
    Lines { last: String },
    Bar(ProgressBar),
}

impl View {
    fn new(shown: Shown) -> Self {
        match shown {
            Shown::Nothing => Self::Nothing,
            Shown::Progress if std::io::stderr().is_terminal() => {
                let style = ProgressStyle::with_template("{spinner} ceremony [{bar:30}] {msg}");
                let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.enable_steady_tick(std::time::Duration::from_millis(120));
                Self::Bar(bar)
            }
            Shown::Progress => Self::Lines { last: String::new() },
        }
    }

    /// Says what the operators must compare. A member with another roster would wait for ever.
    fn begin(&self, roster: &Roster) {
        if !matches!(self, Self::Nothing) {
            let text = format!(
                "ceremony of {} members, {} of them sign; the roster's fingerprint must be the same for all:\n{}",
                roster.members().len(),
                roster.threshold(),
                roster.fingerprint(),
            );
            // What cannot be shown is no reason to end a ceremony.
            let _shown = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn show(&mut self, progress: &Progress) {
        match self {
            Self::Nothing => {}
            Self::Lines { last } => {
                let line = summary(progress);
                if *last != line {
                    // Progress that cannot be shown is no reason to end a ceremony.
                    let _shown = writeln!(std::io::stderr(), "{line}");
                    *last = line;
                }
            }
            Self::Bar(bar) => {
                let steps = Step::ALL.len() + 1;
                let done: usize = progress.0.iter().map(done_steps).sum();
                bar.set_length(u64::try_from(progress.0.len() * steps).unwrap_or(u64::MAX));
                bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
                bar.set_message(summary(progress));
            }
        }
    }

    fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn done_steps(member: &MemberProgress) -> usize {
    let said = Step::ALL.iter().filter(|step| Some(**step) <= member.step).count();
    said + usize::from(member.complete)
}

/// Each member's step, and whom this one waits for.
fn summary(progress: &Progress) -> String {
    let waiting = progress.waiting_for();
    let members = progress.0.iter().map(|member| {
        let step = match (member.step, member.complete) {
            (_, true) => "complete".to_owned(),
            (None, _) => "nothing yet".to_owned(),
            (Some(step), _) => step.to_string(),
        };
        let reach = match &member.reach {
            Reach::Silent(_) if member.complete => String::new(),
            Reach::Own | Reach::Answers | Reach::Unknown => String::new(),
            Reach::HasNothing => " (answers, but not in this ceremony: does it use the same roster?)".to_owned(),
            Reach::Silent(reason) if waiting.contains(&member.name.as_str()) => format!(" (no answer: {reason})"),
            Reach::Silent(_) => " (no answer)".to_owned(),
            Reach::Misbehaves(reason) => format!(" (passes on what is no message: {reason})"),
        };
        format!("{} {step}{reach}", member.name)
    });
    let members: Vec<String> = members.collect();
    let waiting = if waiting.is_empty() { String::new() } else { format!("; waiting for {}", waiting.join(", ")) };
    format!("{}{waiting}", members.join(", "))
}
