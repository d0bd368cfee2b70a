//! Requests and answers as Electrum writes them: JSON-RPC, one message a line, with or without `"jsonrpc"`.

use serde_json::{Map, Value, json};

use crate::index::ScriptHash;

/// Most requests in one array.
pub(super) const MAX_BATCH: usize = 20;

/// Why a request has no result, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i32,
    pub(super) message: String,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The line is no JSON.
    pub(super) fn parse(message: impl Into<String>) -> Self {
        Self::new(-32_700, message)
    }

    /// The JSON is no request.
    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32_600, message)
    }

    /// There is no such method.
    pub(super) fn unknown_method(message: impl Into<String>) -> Self {
        Self::new(-32_601, message)
    }

    /// The parameters do not fit.
    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(-32_602, message)
    }

    /// The member cannot read its files.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(-32_603, message)
    }

    /// What is asked for does not exist, or is too much.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// The node refuses, or is not ready.
    pub(super) fn node(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }
}

/// What a line holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// One request, or what is none.
    One(Result<Request, Refused>),
    /// An array of them.
    Many(Vec<Result<Request, Refused>>),
}

/// Something that is no request: what is answered to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) id: Value,
    pub(super) error: RpcError,
}

/// A request. Members other than these are not looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// `None` if no answer is wanted.
    pub(super) id: Option<Value>,
    pub(super) method: String,
    pub(super) params: Params,
}

/// Parameters by position or by name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Params {
    List(Vec<Value>),
    Named(Map<String, Value>),
}

/// Reads a line.
pub(super) fn read(line: &[u8]) -> Message {
    let value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => {
            let error = RpcError::parse(format!("this is no JSON: {error}"));
            return Message::One(Err(Refused { id: Value::Null, error }));
        }
    };
    let refuse =
        |message: String| Message::One(Err(Refused { id: Value::Null, error: RpcError::invalid_request(message) }));
    match value {
        Value::Array(requests) if requests.is_empty() => refuse("the array of requests is empty".to_owned()),
        Value::Array(requests) if requests.len() > MAX_BATCH => {
            refuse(format!("{} requests in one array, {MAX_BATCH} are allowed", requests.len()))
        }
        Value::Array(requests) => Message::Many(requests.into_iter().map(request).collect()),
        value => Message::One(request(value)),
    }
}

fn request(value: Value) -> Result<Request, Refused> {
    let Value::Object(mut members) = value else {
        let error = RpcError::invalid_request("a request is an object with id, method and params");
        return Err(Refused { id: Value::Null, error });
    };
    let id = members.remove("id");
    let refuse =
        |message: &str| Refused { id: id.clone().unwrap_or_default(), error: RpcError::invalid_request(message) };
    if matches!(id, Some(Value::Array(_) | Value::Object(_) | Value::Bool(_))) {
        return Err(Refused { id: Value::Null, error: RpcError::invalid_request("an id is a number or a text") });
    }
    let Some(Value::String(method)) = members.remove("method") else { return Err(refuse("there is no method")) };
    let params = match members.remove("params") {
        None | Some(Value::Null) => Params::List(Vec::new()),
        Some(Value::Array(list)) => Params::List(list),
        Some(Value::Object(named)) => Params::Named(named),
        Some(_) => return Err(refuse("params are an array or an object")),
    };
    Ok(Request { id, method, params })
}

/// The answer to a request.
pub(super) fn answer(id: &Value, result: Result<Value, RpcError>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(RpcError { code, message }) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    }
}

/// A line that tells a subscriber of a change.
pub(super) fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

impl Params {
    fn get(&self, position: usize, name: &str) -> Option<&Value> {
        let value = match self {
            Self::List(list) => list.get(position),
            Self::Named(named) => named.get(name),
        };
        value.filter(|value| !value.is_null())
    }

    /// A parameter of any kind.
    pub(super) fn any(&self, position: usize, name: &str) -> Result<&Value, RpcError> {
        self.get(position, name).ok_or_else(|| RpcError::params(format!("{name} is missing")))
    }

    /// A text.
    pub(super) fn text(&self, position: usize, name: &str) -> Result<&str, RpcError> {
        let value = self.any(position, name)?;
        value.as_str().ok_or_else(|| RpcError::params(format!("{name} is not a text")))
    }

    /// A list of texts.
    pub(super) fn texts(&self, position: usize, name: &str) -> Result<Vec<&str>, RpcError> {
        let wrong = || RpcError::params(format!("{name} is not a list of texts"));
        let list = self.any(position, name)?.as_array().ok_or_else(wrong)?;
        list.iter().map(|value| value.as_str().ok_or_else(wrong)).collect()
    }

    /// A number that is not negative.
    pub(super) fn number(&self, position: usize, name: &str) -> Result<u32, RpcError> {
        let value = self.any(position, name)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| RpcError::params(format!("{name} is not a number from 0 to {}", u32::MAX)))
    }

    /// The same, 0 where it is left out.
    pub(super) fn number_or_zero(&self, position: usize, name: &str) -> Result<u32, RpcError> {
        match self.get(position, name) {
            None => Ok(0),
            Some(_) => self.number(position, name),
        }
    }

    /// Whether something is wanted; not, where it is left out.
    pub(super) fn flag(&self, position: usize, name: &str) -> Result<bool, RpcError> {
        match self.get(position, name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| RpcError::params(format!("{name} is neither true nor false"))),
        }
    }

    /// What a hash is given as, its bytes reversed.
    pub(super) fn hash<T: std::str::FromStr>(&self, position: usize, name: &str) -> Result<T, RpcError> {
        let text = self.text(position, name)?;
        text.parse().map_err(|_| RpcError::params(format!("{name} is not 64 hexadecimal digits")))
    }

    /// A scripthash.
    pub(super) fn script(&self) -> Result<ScriptHash, RpcError> {
        let text = self.text(0, "scripthash")?;
        ScriptHash::from_electrum(text)
            .ok_or_else(|| RpcError::params("scripthash is not 64 hexadecimal digits".to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (Value, i32) {
        match read(line.as_bytes()) {
            Message::One(Err(Refused { id, error })) => (id, error.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_id_where_it_has_one() {
        for (line, id, code) in [
            ("", json!(null), -32_700),
            ("GET / HTTP/1.1\r", json!(null), -32_700),
            ("{\"id\":1", json!(null), -32_700),
            ("7", json!(null), -32_600),
            ("[]", json!(null), -32_600),
            ("{\"id\":1}", json!(1), -32_600),
            ("{\"id\":[1],\"method\":\"server.ping\"}", json!(null), -32_600),
            ("{\"id\":\"a\",\"method\":\"server.ping\",\"params\":7}", json!("a"), -32_600),
        ] {
            assert_eq!(refused(line), (id, code), "{line}");
        }
        let many = format!("[{}]", vec!["{}"; MAX_BATCH + 1].join(","));
        assert_eq!(refused(&many), (json!(null), -32_600));
        // As deep as a line is long: refused, not a stack that overflows.
        assert_eq!(refused(&"[".repeat(100_000)), (json!(null), -32_700));
    }

    #[test]
    fn parameters_come_by_position_or_by_name_and_other_members_are_left_alone() {
        let read = |line: &str| match read(line.as_bytes()) {
            Message::One(Ok(request)) => request,
            other => panic!("{other:?}"),
        };
        for line in [
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[5,true],\"authorization\":\"Bearer x\"}",
            "{\"id\":1,\"method\":\"m\",\"params\":{\"height\":5,\"merkle\":true}}\r",
        ] {
            let request = read(line);
            assert_eq!(request.params.number(0, "height"), Ok(5));
            assert_eq!(request.params.flag(1, "merkle"), Ok(true));
            assert_eq!(request.params.number_or_zero(2, "cp_height"), Ok(0));
            assert_eq!(request.params.text(0, "height").unwrap_err().code, -32_602);
            assert_eq!(request.params.number(2, "cp_height").unwrap_err().code, -32_602);
        }
        assert_eq!(read("{\"method\":\"m\"}").id, None);
        assert!(Params::List(vec![json!(-1)]).number(0, "height").is_err());
        assert!(Params::List(vec![json!("00")]).script().is_err());
    }
}
