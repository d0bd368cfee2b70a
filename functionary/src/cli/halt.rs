//! `aquiferd halt` and `aquiferd resume`: the operator's say on peg-outs, through the running node.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use aquifer_federation::federation::Federation;
use aquifer_federation::valve::{Notice, NoticeKind};
use aquifer_proto::halt::SubmitRequest;
use aquifer_proto::halt::halt_client::HaltClient;
use aquifer_proto::ledger::GetInfoRequest;
use aquifer_proto::ledger::ledger_client::LedgerClient;
use serde_json::json;

use super::status::{PATIENCE, connect};
use super::{CliError, Output, block_on};
use crate::config::Config;
use crate::identity::{FederationMember, Member};

/// Stop peg-outs: this member takes no part in them from now on, and says so to the others.
///
/// It binds this member at once and until `aquiferd resume`, also after a restart: it proposes no batch, votes for none and
/// signs none. When n-k+1 members have said halt, nothing is paid at all, until k members say resume. Everything else on
/// the chain goes on. The node must be running; one that is stopped signs nothing anyway.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha halt --reason \"the auditor objects to block 4711\"")]
pub(super) struct HaltArguments {
    #[command(flatten)]
    common: Common,
}

/// Let peg-outs go on, as far as this member is concerned.
///
/// If members have halted peg-outs for the whole federation, k members must say so. Find out first, with the other
/// operators, why they were halted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  aquiferd --data-dir ~/alpha resume --reason \"block 4711 was checked by hand\" --yes"
)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Why, in a few words: for the log and the status of this member.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Do not ask whether it is meant.
    #[arg(long)]
    yes: bool,
}

impl HaltArguments {
    pub(super) fn run(self, config: &Config) -> Result<Output, CliError> {
        say(config, NoticeKind::Halt, self.common)
    }
}

impl ResumeArguments {
    pub(super) fn run(self, config: &Config) -> Result<Output, CliError> {
        say(config, NoticeKind::Resume, self.common)
    }
}

fn say(config: &Config, kind: NoticeKind, Common { reason, yes }: Common) -> Result<Output, CliError> {
    let FederationMember { member, federation, index, .. } = FederationMember::load(config)?;
    let word = match kind {
        NoticeKind::Halt => "halt",
        NoticeKind::Resume => "resume",
    };
    if !yes {
        confirm(word, &config.file.name, &federation)?;
    }
    let (height, published) = block_on(async {
        let submitting = submit(config, kind, &member, &federation, index, reason.clone());
        tokio::time::timeout(PATIENCE, submitting).await
    })?
    .map_err(|_| CliError::Failed(format!("the node does not answer within {PATIENCE:?}")))??;
    let told = match published {
        true => "the others are told, and the next block shows it",
        false => "the chain shows the same of this member already",
    };
    let text = match kind {
        NoticeKind::Halt => format!(
            "This member takes no part in peg-outs from now on; {told}.\nNext: aquiferd status shows who else has halted them"
        ),
        NoticeKind::Resume => format!("This member takes part in peg-outs again; {told}."),
    };
    let json = json!({
        "said": word,
        "member": config.file.name,
        "seen_height": height,
        "published": published,
        "reason": reason,
    });
    Ok(Output { text, json })
}

fn confirm(word: &str, member: &str, federation: &Federation) -> Result<(), CliError> {
    let no = || CliError::Failed("nothing was changed".to_owned());
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Failed(format!("nobody can be asked here: add --yes if you mean to {word} peg-outs")));
    }
    let members = federation.roster.members().len();
    let (to_halt, to_resume) =
        (members.saturating_sub(federation.threshold()).saturating_add(1), federation.threshold());
    let mut stderr = std::io::stderr().lock();
    let asked = write!(
        stderr,
        "Member {member} of {members}; {to_halt} members halt peg-outs for all, {to_resume} resume them.\n\
         Type `{word}` to {word} them: "
    );
    asked.and_then(|()| stderr.flush()).map_err(|_| no())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|_| no())?;
    if answer.trim() == word { Ok(()) } else { Err(no()) }
}

/// Signs for the state that the node shows, and hands it over.
async fn submit(
    config: &Config,
    kind: NoticeKind,
    member: &Member,
    federation: &Federation,
    index: aquifer_federation::roster::MemberIndex,
    reason: String,
) -> Result<(u32, bool), CliError> {
    let channel = connect(config).await?;
    let refused = |status: tonic::Status| CliError::Failed(format!("the node refuses: {}", status.message()));
    let mut ledger = LedgerClient::new(channel.clone());
    let height = ledger.get_info(GetInfoRequest {}).await.map_err(refused)?.into_inner().height;
    let chain = federation.params.genesis_hash().to_byte_array();
    let notice = Notice::sign(&member.keys.host, &chain, index, kind, height);
    let request = SubmitRequest { notice: notice.to_bytes().into(), reason };
    let reply = HaltClient::new(channel).submit(request).await.map_err(refused)?.into_inner();
    Ok((height, reply.published))
}
