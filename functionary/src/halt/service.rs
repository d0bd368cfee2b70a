//! The service for `aquiferd halt` and `aquiferd resume`.

use std::sync::Arc;

use aquifer_proto::halt::halt_server::Halt;
use aquifer_proto::halt::{SubmitReply, SubmitRequest};
use tonic::{Request, Response, Status};

use super::{HaltDesk, HaltError, Published};
use crate::store::ledger::LedgerReader;

/// Longest reason, in bytes.
const MAX_REASON_LEN: usize = 1_000;

/// Hands the operator's notices to the desk.
pub struct HaltService {
    desk: Arc<HaltDesk>,
    ledger: Arc<LedgerReader>,
}

impl HaltService {
    /// A service in front of a desk.
    pub fn new(desk: Arc<HaltDesk>, ledger: Arc<LedgerReader>) -> Self {
        Self { desk, ledger }
    }
}

fn refusal(error: HaltError) -> Status {
    let text = error.to_string();
    match error {
        HaltError::NotOurs(_) => Status::permission_denied(text),
        HaltError::Malformed => Status::invalid_argument(text),
        HaltError::Store(_) => {
            tracing::error!(%text, "a notice cannot be taken");
            Status::internal(text)
        }
        _ => Status::failed_precondition(text),
    }
}

#[tonic::async_trait]
impl Halt for HaltService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let SubmitRequest { notice, reason } = request.into_inner();
        if reason.len() > MAX_REASON_LEN {
            let text = format!("the reason has {} bytes, at most {MAX_REASON_LEN} are kept", reason.len());
            return Err(Status::invalid_argument(text));
        }
        let (desk, ledger) = (Arc::clone(&self.desk), Arc::clone(&self.ledger));
        let taken = tokio::task::spawn_blocking(move || desk.submit(&ledger, &notice, &reason)).await;
        let published = taken.map_err(|error| Status::internal(format!("a task failed: {error}")))?.map_err(refusal)?;
        Ok(Response::new(SubmitReply { published: published == Published::Yes }))
    }
}
