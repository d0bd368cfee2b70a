//! Errors as clients of Bitcoin and Elements know them (`rpc/protocol.h`).

use super::shape::{Json, Object};
use crate::api::BackendError;
use crate::store::StoreError;
use aquifer_assets::state::ViewError;

/// The number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Something went wrong while the call was done; also a call with too few or too many arguments.
    Misc,
    /// An argument is of another type.
    Type,
    /// An address, key, hash or transaction that does not exist or is wrong.
    AddressOrKey,
    /// An argument has a value that it may not have.
    Parameter,
    /// There is no such wallet; there never is one.
    WalletNotFound,
    /// The ledger could not be read.
    Database,
    /// Bytes that are no transaction, block or script.
    Deserialization,
    /// A transaction cannot be taken.
    Transaction,
    /// A transaction was refused by a rule.
    Rejected,
    /// A transaction is in a block already.
    AlreadyInChain,
    /// The request is none.
    InvalidRequest,
    /// There is no such call here.
    MethodNotFound,
    /// The member failed.
    Internal,
    /// The request is no JSON.
    Parse,
}

impl Code {
    /// The number.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Misc => -1,
            Self::Type => -3,
            Self::AddressOrKey => -5,
            Self::Parameter => -8,
            Self::WalletNotFound => -18,
            Self::Database => -20,
            Self::Deserialization => -22,
            Self::Transaction => -25,
            Self::Rejected => -26,
            Self::AlreadyInChain => -27,
            Self::InvalidRequest => -32_600,
            Self::MethodNotFound => -32_601,
            Self::Internal => -32_603,
            Self::Parse => -32_700,
        }
    }
}

/// A call was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {})", code.number())]
pub(crate) struct RpcError {
    /// What kind of error.
    pub(crate) code: Code,
    /// For the user.
    pub(crate) message: String,
}

impl RpcError {
    /// An error.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// As it stands in an answer.
    pub(crate) fn json(&self) -> Json {
        Object::new().with("code", self.code.number()).with("message", self.message.as_str()).into()
    }
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        Self::new(Code::Database, error.to_string())
    }
}

impl From<ViewError> for RpcError {
    fn from(error: ViewError) -> Self {
        Self::new(Code::Database, error.to_string())
    }
}

impl From<BackendError> for RpcError {
    fn from(error: BackendError) -> Self {
        Self::new(Code::Internal, error.to_string())
    }
}
