//! `aquiferd repair`: lost shares, computed again with the help of other members.

use std::io::Write as _;

use aquifer_federation::roster::{MemberIndex, Roster};
use clap::Subcommand;
use rand::rngs::OsRng;
use serde_json::json;

use super::{CliError, Output, block_on, stop_signal};
use crate::ceremony::repair::{self, InNeed};
use crate::config::Config;
use crate::files;
use crate::identity::{FederationMember, Member, load_federation};

/// Compute a member's lost shares again, with the help of as many members as sign.
///
/// For the day when a member has its seed, but neither a backup nor any copy of the ceremony's transcript is left: else
/// `aquiferd restore` is the way. A new folder is made by `aquiferd init` with the words in the file `seed`, and gets a copy of
/// another member's federation.json. The member in need runs `repair request` and reads the code that it shows to the operators
/// of its helpers; each of them, sure whom it talks to, runs `repair assist`. Nobody learns another one's share.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  aquiferd --data-dir ~/alpha repair request --helper beta --helper gamma --helper delta\n  \
      aquiferd --data-dir ~/beta repair assist alpha --code 1f0c-77ab-9e02-41d5"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    Request(Request),
    Assist(Assist),
}

/// Ask other members for help with the lost shares of this one. Its node must not run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  aquiferd --data-dir ~/alpha repair request --helper beta --helper gamma --helper delta"
)]
struct Request {
    /// A helper by its name; as many as sign for the federation.
    #[arg(long = "helper", value_name = "NAME", required = true)]
    helpers: Vec<String>,
}

/// Help another member, in the one repair whose code its operator has read to you. The node of this member must run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/beta repair assist alpha --code 1f0c-77ab-9e02-41d5")]
struct Assist {
    /// The member in need.
    #[arg(value_name = "NAME")]
    member: String,
    /// The code that `repair request` shows there.
    #[arg(long, value_name = "CODE")]
    code: String,
}

/// What is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Progress,
}

impl Arguments {
    pub(super) fn run(self, config: &Config, shown: Shown) -> Result<Output, CliError> {
        match self.part {
            Part::Request(request) => request.run(config),
            Part::Assist(assist) => assist.run(config, shown),
        }
    }
}

impl Request {
    fn run(self, config: &Config) -> Result<Output, CliError> {
        let _lock = config.data.lock()?;
        if FederationMember::load(config).is_ok() {
            return Err(CliError::Failed("this member has both its shares; nothing is lost".to_owned()));
        }
        let member = Member::load(config)?;
        let federation = load_federation(&config.data)?;
        let index = member.index_in(&federation.roster, &config.file.name)?;
        let helpers = self.helpers.iter().map(|name| index_of(&federation.roster, name));
        let helpers = helpers.collect::<Result<_, _>>()?;
        let in_need =
            InNeed { data: config.data.clone(), member, federation, index, helpers, listen: config.file.peers.listen };
        block_on(async {
            let stop = stop_signal()?;
            // Also with --json: without the code nobody can help.
            Ok::<_, CliError>(repair::request(in_need, &mut OsRng, teller(Shown::Progress), stop).await?)
        })??;
        let repaired = FederationMember::load(config)?;
        files::replace_json(&config.data.network(), &repaired.federation.network())?;
        let text = format!(
            "The shares of {name} are repaired: both fit the federation's keys.\n\
             Next: aquiferd --data-dir {folder} backup --out {name}.backup",
            name = config.file.name,
            folder = config.data.path().display(),
        );
        Ok(Output { text, json: json!({ "repaired": config.file.name }) })
    }
}

impl Assist {
    fn run(self, config: &Config, shown: Shown) -> Result<Output, CliError> {
        let helper = FederationMember::load(config)?;
        let in_need = index_of(&helper.federation.roster, &self.member)?;
        let code = self.code.trim().to_lowercase();
        block_on(async {
            let stop = stop_signal()?;
            Ok::<_, CliError>(repair::help(helper, &config.data, in_need, &code, teller(shown), stop).await?)
        })??;
        let text = format!("{name} has everything it needs from {me}.", name = self.member, me = config.file.name);
        Ok(Output { text, json: json!({ "helped": self.member }) })
    }
}

fn index_of(roster: &Roster, name: &str) -> Result<MemberIndex, CliError> {
    let found = roster.indexed().find(|(_, card)| card.name == name);
    found.map(|(index, _)| index).ok_or_else(|| {
        let names: Vec<&str> = roster.members().iter().map(|card| card.name.as_str()).collect();
        CliError::Failed(format!("there is no member {name:?}; the members are {}", names.join(", ")))
    })
}

/// Shows a line whenever it differs from the one before.
fn teller(shown: Shown) -> impl FnMut(String) {
    let mut last = String::new();
    move |line| {
        if shown == Shown::Progress && line != last {
            // Progress that cannot be shown is no reason to end a repair.
            let _shown = writeln!(std::io::stderr(), "{line}");
            last = line;
        }
    }
}
