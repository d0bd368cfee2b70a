//! `aquiferd dismiss-objection`: the operator's answer to an auditor that was wrong.

use bitcoin::secp256k1::XOnlyPublicKey;
use serde_json::json;

use super::{CliError, Output};
use crate::audit::AuditStore;
use crate::config::Config;

/// Let peg-out batches be signed again after an auditor had objected to a block, and was wrong.
///
/// The member must be stopped. Find out first why the auditor objected, with the other operators: if it was right, bitcoin
/// will be stolen. An auditor that still objects reports again, and stops the batches again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  aquiferd --data-dir ~/alpha dismiss-objection --auditor 79be667e...")]
pub(super) struct Arguments {
    /// The key of the auditor that had objected, as `aquiferd status` shows it.
    #[arg(long, value_name = "KEY")]
    auditor: XOnlyPublicKey,
}

impl Arguments {
    pub(super) fn run(self, config: &Config) -> Result<Output, CliError> {
        let _lock = config.data.lock()?;
        let failed = |error: crate::store::StoreError| CliError::Failed(error.to_string());
        let mut store = AuditStore::open(&config.data.database("audit")).map_err(failed)?;
        if !store.dismiss(&self.auditor).map_err(failed)? {
            return Err(CliError::Failed(format!("the auditor {} has not objected to anything", self.auditor)));
        }
        let text = format!("The objection of {} is dismissed.\nNext: aquiferd run", self.auditor);
        Ok(Output { text, json: json!({ "dismissed": self.auditor }) })
    }
}
