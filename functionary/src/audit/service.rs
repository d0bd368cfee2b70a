//! The service to which auditors report.

use std::sync::Arc;

use aquifer_proto::audit::audit_server::Audit;
use aquifer_proto::audit::{ReportReply, SignedVerdict as Message};
use tonic::{Request, Response, Status};

use super::desk::{AuditDesk, ReportError};
use super::verdict::SignedVerdict;

/// Hands verdicts to the desk.
pub struct AuditService {
    desk: Arc<AuditDesk>,
}

impl AuditService {
    /// A service in front of a desk.
    pub fn new(desk: Arc<AuditDesk>) -> Self {
        Self { desk }
    }
}

fn refusal(error: ReportError) -> Status {
    let text = error.to_string();
    match error {
        ReportError::Unlisted(_) => Status::permission_denied(text),
        ReportError::OtherChain { .. } | ReportError::Verdict(_) => Status::invalid_argument(text),
        ReportError::Store(_) => {
            tracing::error!(%text, "a verdict of an auditor cannot be taken");
            Status::internal(text)
        }
    }
}

#[tonic::async_trait]
impl Audit for AuditService {
    async fn report(&self, request: Request<Message>) -> Result<Response<ReportReply>, Status> {
        let verdict =
            SignedVerdict::from_message(request.get_ref()).map_err(|error| refusal(ReportError::Verdict(error)))?;
        let desk = Arc::clone(&self.desk);
        let taken = tokio::task::spawn_blocking(move || desk.report(verdict)).await;
        taken.map_err(|error| Status::internal(format!("a task failed: {error}")))?.map_err(refusal)?;
        Ok(Response::new(ReportReply {}))
    }
}
