//! Requests and answers: JSON-RPC as Bitcoin and Elements speak it, of the old kind and of version 2.0.
//!
//! Of the old kind are requests that name no version, 1.0 or 1.1: their answers always have `result` and `error`, and an error
//! shows in the HTTP status. Those of 2.0 have one of the two, always with status 200, and none at all if they have no `id`.

use serde_json::{Map, Value};

use super::arguments::{Arguments, Parameters, short};
use super::error::{Code, RpcError};
use super::node::Node;
use super::shape::{Json, Object};
use super::table::command;

/// Most requests of a batch: what indexers of this field send at once, and some more.
const MAX_BATCH: usize = 100_000;
/// Longest answer to a batch, in bytes. What does not fit is answered with an error.
const MAX_BATCH_ANSWER_LEN: usize = 128 << 20;

/// What goes back over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body; empty for notifications.
    pub(crate) body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Old,
    Two,
}

/// A request as far as it could be read: enough to answer it.
struct Request {
    version: Version,
    /// `None` if there is none: then a request of 2.0 is not answered.
    id: Option<Value>,
    call: Result<(String, Parameters), RpcError>,
}

fn invalid(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::InvalidRequest, message)
}

impl Request {
    fn read(request: Value) -> Self {
        let Value::Object(mut fields) = request else {
            return Self { version: Version::Old, id: None, call: Err(invalid("Invalid Request object")) };
        };
        let id = fields.remove("id");
        let (version, wrong) = match fields.get("jsonrpc") {
            None | Some(Value::Null) => (Version::Old, None),
            Some(Value::String(version)) if version == "2.0" => (Version::Two, None),
            Some(Value::String(version)) if version == "1.0" || version == "1.1" => (Version::Old, None),
            Some(Value::String(_)) => (Version::Old, Some(invalid("JSON-RPC version not supported"))),
            Some(_) => (Version::Old, Some(invalid("jsonrpc field must be a string"))),
        };
        let call = match wrong {
            Some(error) => Err(error),
            None => Self::read_call(&mut fields),
        };
        Self { version, id, call }
    }

    fn read_call(fields: &mut Map<String, Value>) -> Result<(String, Parameters), RpcError> {
        let method = match fields.remove("method") {
            None | Some(Value::Null) => return Err(invalid("Missing method")),
            Some(Value::String(method)) => method,
            Some(_) => return Err(invalid("Method must be a string")),
        };
        let parameters = match fields.remove("params") {
            None | Some(Value::Null) => Parameters::Positional(Vec::new()),
            Some(Value::Array(values)) => Parameters::Positional(values),
            Some(Value::Object(named)) => Parameters::Named(named),
            Some(_) => return Err(invalid("Params must be an array or object")),
        };
        Ok((method, parameters))
    }

    fn is_notification(&self) -> bool {
        self.version == Version::Two && self.id.is_none()
    }

    fn answer(&self, result: Result<Json, RpcError>, text: &mut String) {
        let id = self.id.as_ref().map_or(Json::Null, Json::from);
        let answer = match (self.version, result) {
            (Version::Old, Ok(result)) => Object::new().with("result", result).with("error", Json::Null),
            (Version::Old, Err(error)) => Object::new().with("result", Json::Null).with("error", error.json()),
            (Version::Two, Ok(result)) => Object::new().with("jsonrpc", "2.0").with("result", result),
            (Version::Two, Err(error)) => Object::new().with("jsonrpc", "2.0").with("error", error.json()),
        };
        Json::from(answer.with("id", id)).write(text);
    }
}

/// The status that an error of the old kind shows.
fn status_of(code: Code) -> u16 {
    match code {
        Code::InvalidRequest => 400,
        Code::MethodNotFound => 404,
        _ => 500,
    }
}

/// The answer to requests that concern no call.
pub(crate) fn refusal(error: &RpcError) -> Reply {
    let request = Request { version: Version::Old, id: None, call: Err(error.clone()) };
    let mut body = String::new();
    request.answer(Err(error.clone()), &mut body);
    body.push('\n');
    Reply { status: status_of(error.code), body }
}

/// What stands before the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The node.
    Node,
    /// A wallet, which there is not.
    Wallet(String),
}

/// Answers what a client sent: a request, or a list of them. Takes as long as the calls take.
pub(crate) fn answer(node: &Node, scope: &Scope, body: &[u8]) -> Reply {
    match serde_json::from_slice(body) {
        Ok(Value::Array(requests)) => answer_batch(node, scope, requests),
        Ok(request @ Value::Object(_)) => answer_one(node, scope, request),
        Ok(_) => refusal(&RpcError::new(Code::Parse, "Top-level object parse error")),
        Err(_) => refusal(&RpcError::new(Code::Parse, "Parse error")),
    }
}

fn answer_one(node: &Node, scope: &Scope, request: Value) -> Reply {
    let mut request = Request::read(request);
    let result = call(node, scope, &mut request);
    if request.is_notification() {
        return Reply { status: 204, body: String::new() };
    }
    let status = match (&result, request.version) {
        (Err(error), Version::Old) => status_of(error.code),
        _ => 200,
    };
    let mut body = String::new();
    request.answer(result, &mut body);
    body.push('\n');
    Reply { status, body }
}

fn answer_batch(node: &Node, scope: &Scope, requests: Vec<Value>) -> Reply {
    if requests.len() > MAX_BATCH {
        return refusal(&invalid(format!("{} requests, at most {MAX_BATCH} are taken at once", requests.len())));
    }
    let is_empty = requests.is_empty();
    let mut body = "[".to_owned();
    for request in requests {
        let mut request = Request::read(request);
        let result = if body.len() > MAX_BATCH_ANSWER_LEN {
            Err(RpcError::new(Code::Misc, "the answers to this batch are too long: ask for less at once"))
        } else {
            call(node, scope, &mut request)
        };
        if !request.is_notification() {
            if body.len() > 1 {
                body.push(',');
            }
            request.answer(result, &mut body);
        }
    }
    if body.len() == 1 && !is_empty {
        return Reply { status: 204, body: String::new() };
    }
    body.push_str("]\n");
    Reply { status: 200, body }
}

/// Does what a request asks for, which is taken out of it.
fn call(node: &Node, scope: &Scope, request: &mut Request) -> Result<Json, RpcError> {
    let taken = std::mem::replace(&mut request.call, Err(invalid("Missing method")));
    let (method, parameters) = taken?;
    if let Scope::Wallet(name) = scope {
        return Err(RpcError::new(
            Code::WalletNotFound,
            format!(
                "Requested wallet does not exist or is not loaded: this node has no wallet \"{}\" and no other; use `aquifer`, \
                 or ask the path /",
                short(name)
            ),
        ));
    }
    let command = command(&method)?;
    let arguments = Arguments::read(command, parameters)?;
    let _running = node.note(&method);
    (command.run)(node, &arguments)
}
