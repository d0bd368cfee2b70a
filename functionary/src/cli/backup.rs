//! `aquiferd backup`: a member's files in one, encrypted.

use std::path::PathBuf;

use rand::rngs::OsRng;
use serde_json::json;

use super::{CliError, Output};
use crate::backup;
use crate::config::Config;
use crate::files::{self, Access};

/// Write a backup of this member: configuration, federation file, transcript of the ceremony and shares, encrypted.
///
/// It opens only with the 24 words of the member's seed, which are not in it: keep both, in different places. It can be
/// made while the node runs, and stays good until the configuration changes. What the member signs is in no backup; after
/// `aquiferd restore` it asks the others how far it had gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha backup --out alpha.backup")]
pub(super) struct Arguments {
    /// The file to make.
    #[arg(long, visible_alias = "output", value_name = "FILE")]
    out: PathBuf,
}

impl Arguments {
    pub(super) fn run(self, config: &Config) -> Result<Output, CliError> {
        let sealed = backup::make(config, &mut OsRng)?;
        files::create(&self.out, &sealed, Access::Secret)?;
        // What cannot be read back is no backup.
        let member = crate::identity::Member::load(config)?;
        backup::open(member.seed, &files::read(&self.out)?)?;
        let text = format!(
            "Backup of {name} in {out}, {size} bytes; it was read back.\n\
             It opens only with the 24 words in {seed}, which are not in it: keep them somewhere else.",
            name = config.file.name,
            out = self.out.display(),
            size = sealed.len(),
            seed = config.data.seed().display(),
        );
        Ok(Output { text, json: json!({ "backup": self.out, "bytes": sealed.len() }) })
    }
}
