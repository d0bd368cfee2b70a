//! JSON-RPC as Bitcoin Core and its relatives speak it. The client blocks; asynchronous code calls it on a thread for
//! blocking work.
//!
//! The login is taken from the cookie file and read again after every failure, because the server writes a new one at each
//! start. Every call has a time limit.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jsonrpc::http::bitreq_http;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The server is still starting (`rpc/protocol.h`).
const RPC_IN_WARMUP: i32 = -28;

const HTTP_UNAUTHORIZED: i32 = 401;
const HTTP_FORBIDDEN: i32 = 403;

/// The server cannot be asked, or answers with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No answer: not running, wrong address, or no permission.
    #[error("{program} at {url} is out of reach: {reason}")]
    OutOfReach {
        /// Which program.
        program: &'static str,
        /// Where it should be.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The cookie file cannot be read: the program is not running, or keeps its files elsewhere.
    #[error("the login of {program} cannot be read from {cookie_file}: {reason}")]
    Cookie {
        /// Which program.
        program: &'static str,
        /// The cookie file.
        cookie_file: String,
        /// What happened.
        reason: String,
    },
    /// It is still starting.
    #[error("{program} is not ready: {reason}")]
    Starting {
        /// Which program.
        program: &'static str,
        /// What it says.
        reason: String,
    },
    /// It answered with an error.
    #[error("{program} refuses {method}: {message} ({code})")]
    Refused {
        /// Which program.
        program: &'static str,
        /// The method.
        method: &'static str,
        /// The code in its answer.
        code: i32,
        /// The text in its answer.
        message: String,
    },
    /// It answered with something else than expected.
    #[error("{program} answers {method} with something unexpected: {reason}")]
    Malformed {
        /// Which program.
        program: &'static str,
        /// The method.
        method: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A blocking client of one server.
#[derive(Debug)]
pub struct RpcClient {
    program: &'static str,
    url: String,
    cookie_file: PathBuf,
    call_limit: Duration,
    /// Built at the first call after a failure, with the login of that moment.
    connection: Mutex<Option<jsonrpc::client::Client>>,
}

impl RpcClient {
    /// A client of the `program` at `url` (`http://host:port`); no call takes longer than `call_limit`. Nothing is asked
    /// yet.
    pub fn new(program: &'static str, url: String, cookie_file: PathBuf, call_limit: Duration) -> Self {
        Self { program, url, cookie_file, call_limit, connection: Mutex::new(None) }
    }

    /// A second client of the same server, with a connection and a patience of its own.
    pub fn with_limit(&self, call_limit: Duration) -> Self {
        Self::new(self.program, self.url.clone(), self.cookie_file.clone(), call_limit)
    }

    /// Calls a method whose answer is never empty.
    ///
    /// # Errors
    /// Every kind of [`RpcError`].
    pub fn call<T: DeserializeOwned>(&self, method: &'static str, args: &[Value]) -> Result<T, RpcError> {
        let empty = || RpcError::Malformed { program: self.program, method, reason: "the answer is empty".to_owned() };
        self.call_nullable(method, args)?.ok_or_else(empty)
    }

    /// Calls a method whose answer may be empty.
    ///
    /// # Errors
    /// Every kind of [`RpcError`].
    pub fn call_nullable<T: DeserializeOwned>(
        &self,
        method: &'static str,
        args: &[Value],
    ) -> Result<Option<T>, RpcError> {
        let program = self.program;
        let malformed = |error: serde_json::Error| RpcError::Malformed { program, method, reason: error.to_string() };
        let args = serde_json::value::to_raw_value(args).map_err(malformed)?;
        // The lock is held during the call: the server answers one question of ours at a time, which keeps its queue short.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match connection.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        match client.call::<Value>(method, Some(&args)) {
            Ok(value) => {
                *connection = Some(client);
                serde_json::from_value(value).map_err(malformed)
            }
            Err(jsonrpc::Error::Rpc(error)) if error.code == RPC_IN_WARMUP => {
                Err(RpcError::Starting { program, reason: error.message })
            }
            Err(jsonrpc::Error::Rpc(error)) => {
                *connection = Some(client);
                Err(RpcError::Refused { program, method, code: error.code, message: error.message })
            }
            // The connection is left out: the next call reads the cookie again.
            Err(jsonrpc::Error::Json(error)) => Err(malformed(error)),
            Err(error) => Err(self.out_of_reach(error)),
        }
    }

    fn connect(&self) -> Result<jsonrpc::client::Client, RpcError> {
        let login = fs::read_to_string(&self.cookie_file).map_err(|error| RpcError::Cookie {
            program: self.program,
            cookie_file: self.cookie_file.display().to_string(),
            reason: error.to_string(),
        })?;
        let transport = bitreq_http::Builder::new()
            .url(&self.url)
            .map_err(|error| self.out_of_reach(error))?
            .timeout(self.call_limit)
            .cookie_auth(login.trim())
            .build();
        Ok(jsonrpc::client::Client::with_transport(transport))
    }

    fn out_of_reach(&self, error: impl Into<jsonrpc::Error>) -> RpcError {
        let error = error.into();
        let reason = match &error {
            jsonrpc::Error::Transport(cause) => match cause.downcast_ref::<bitreq_http::Error>() {
                Some(bitreq_http::Error::Http(answer))
                    if [HTTP_UNAUTHORIZED, HTTP_FORBIDDEN].contains(&answer.status_code) =>
                {
                    format!("it does not accept the login in {}", self.cookie_file.display())
                }
                _ => cause.to_string(),
            },
            other => other.to_string(),
        };
        RpcError::OutOfReach { program: self.program, url: self.url.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cookie_file_is_named() {
        let limit = Duration::from_secs(1);
        let client = RpcClient::new("bitcoind", "http://127.0.0.1:1".to_owned(), "/nowhere/.cookie".into(), limit);
        let answer = client.call::<u32>("getblockcount", &[]);
        assert!(
            matches!(&answer, Err(RpcError::Cookie { cookie_file, .. }) if cookie_file == "/nowhere/.cookie"),
            "{answer:?}"
        );
    }
}
