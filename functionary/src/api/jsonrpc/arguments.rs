//! Arguments: by position, by name, or both (`args`).

use elements::{BlockHash, Txid};
use serde_json::{Map, Value};

use super::error::{Code, RpcError};
use super::table::{Command, Kind};

/// Most decimals of an amount.
const DECIMALS: usize = 8;
/// Characters of a hash.
const HASH_LEN: usize = 64;

/// The parameters of a request as they came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Parameters {
    /// In the order of the command.
    Positional(Vec<Value>),
    /// By name; the first ones may stand in `args`.
    Named(Map<String, Value>),
}

/// The arguments of a command, of the types that it declares. What was left out is `null`.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    command: &'static Command,
    values: Vec<Value>,
}

fn wrong(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::Parameter, message)
}

impl Arguments {
    /// Puts each parameter in its place.
    ///
    /// # Errors
    /// Code -8 for names that do not exist or are given twice, -1 with the help of the command for a wrong number of them,
    /// -3 for a wrong type.
    pub(crate) fn read(command: &'static Command, parameters: Parameters) -> Result<Self, RpcError> {
        let values = match parameters {
            Parameters::Positional(values) => values,
            Parameters::Named(named) => by_position(command, named)?,
        };
        let given = values.iter().rposition(|value| !value.is_null()).map_or(0, |last| last.saturating_add(1));
        let required = command.parameters.iter().take_while(|parameter| parameter.is_required()).count();
        if values.len() > command.parameters.len() || given < required {
            return Err(RpcError::new(Code::Misc, command.help()));
        }
        for (position, (parameter, value)) in command.parameters.iter().zip(&values).enumerate() {
            if value.is_null() {
                // What is needed is there up to here, or it would have been too few.
                if parameter.is_required() {
                    return Err(RpcError::new(Code::Misc, command.help()));
                }
            } else if !parameter.kind.fits(value) {
                return Err(RpcError::new(
                    Code::Type,
                    format!(
                        "Wrong type passed: Position {} ({}): JSON value of type {} is not of expected type {}",
                        position.saturating_add(1),
                        parameter.name,
                        type_of(value),
                        parameter.kind.name(),
                    ),
                ));
            }
        }
        Ok(Self { command, values })
    }

    /// The value of a parameter, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let position = self.command.parameters.iter().position(|parameter| parameter.name == name)?;
        self.values.get(position).filter(|value| !value.is_null())
    }

    /// Text that was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Text that must be there.
    pub(crate) fn needed_text(&self, name: &str) -> Result<&str, RpcError> {
        self.text(name).ok_or_else(|| wrong(format!("{name} is missing")))
    }

    /// A list that must be there.
    pub(crate) fn needed_list(&self, name: &str) -> Result<&[Value], RpcError> {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| wrong(format!("{name} is missing")))
    }

    /// A switch that was given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// A whole number that was given.
    ///
    /// # Errors
    /// Code -3 if it has a fraction.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, RpcError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_i64();
        number.map(Some).ok_or_else(|| RpcError::new(Code::Type, format!("{name} is not an integer as expected")))
    }

    /// How much is asked for: a number, or a switch that stands for 0 and 1.
    ///
    /// # Errors
    /// Code -3 if it is a number with a fraction.
    pub(crate) fn verbosity(&self, name: &str, default: i64) -> Result<i64, RpcError> {
        match self.switch(name) {
            Some(switch) => Ok(i64::from(switch)),
            None => Ok(self.number(name)?.unwrap_or(default)),
        }
    }

    /// An amount that was given, in the smallest unit.
    ///
    /// # Errors
    /// Code -3 if it is none.
    pub(crate) fn amount(&self, name: &str) -> Result<Option<u64>, RpcError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.as_f64().map(|number| number.to_string()).unwrap_or_default(),
        };
        match smallest_units(&text) {
            Some(amount) => Ok(Some(amount)),
            None => Err(RpcError::new(Code::Type, format!("Invalid amount: {name} is {value}"))),
        }
    }

    /// The hash of a block that must be there.
    pub(crate) fn block_hash(&self, name: &str) -> Result<BlockHash, RpcError> {
        hash(name, self.needed_text(name)?)
    }

    /// The id of a transaction that must be there.
    pub(crate) fn txid(&self, name: &str) -> Result<Txid, RpcError> {
        hash(name, self.needed_text(name)?)
    }
}

/// A hash in the order in which hashes are shown.
///
/// # Errors
/// Code -8 with what is wrong with it.
pub(crate) fn hash<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, RpcError> {
    if text.len() != HASH_LEN {
        return Err(wrong(format!("{name} must be of length {HASH_LEN} (not {}, for '{}')", text.len(), short(text))));
    }
    text.parse().map_err(|_| wrong(format!("{name} must be hexadecimal string (not '{text}')")))
}

/// Bytes in hexadecimal.
///
/// # Errors
/// Code -8 if they are not.
pub(crate) fn bytes(name: &str, text: &str) -> Result<Vec<u8>, RpcError> {
    hex::decode(text).map_err(|_| wrong(format!("{name} must be hexadecimal string (not '{}')", short(text))))
}

/// The beginning of what a user gave, for a message.
pub(crate) fn short(text: &str) -> String {
    let mut start: String = text.chars().take(100).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    start
}

/// The amount that a decimal number without sign or exponent says.
fn smallest_units(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.chars().all(|character| character.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > DECIMALS {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<DECIMALS$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(100_000_000)?.checked_add(fraction)
}

fn by_position(command: &Command, mut named: Map<String, Value>) -> Result<Vec<Value>, RpcError> {
    let mut values = match named.remove("args") {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(wrong(format!("args must be an array, not {}", type_of(&other)))),
    };
    for (name, value) in named {
        let Some(position) = command.parameters.iter().position(|parameter| parameter.is_called(&name)) else {
            return Err(wrong(format!("Unknown named parameter {}", short(&name))));
        };
        if values.len() <= position {
            values.resize(position.saturating_add(1), Value::Null);
        }
        match values.get_mut(position) {
            Some(place) if place.is_null() => *place = value,
            _ => return Err(wrong(format!("Parameter {name} specified twice"))),
        }
    }
    Ok(values)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Hex => value.is_string(),
            Self::Number => value.is_number(),
            Self::Switch => value.is_boolean(),
            Self::Verbosity => value.is_number() || value.is_boolean(),
            Self::Amount => value.is_number() || value.is_string(),
            Self::List => value.is_array(),
        }
    }

    /// What an error calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Hex => "string",
            Self::Number => "number",
            Self::Switch => "bool",
            Self::Verbosity => "number or bool",
            Self::Amount => "number or string",
            Self::List => "array",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::api::jsonrpc::table::command;

    fn read(name: &str, parameters: Value) -> Result<Vec<Value>, RpcError> {
        let parameters = match parameters {
            Value::Array(values) => Parameters::Positional(values),
            Value::Object(named) => Parameters::Named(named),
            _ => unreachable!(),
        };
        Arguments::read(command(name).unwrap(), parameters).map(|arguments| arguments.values)
    }

    #[test]
    fn names_and_positions_mean_the_same() {
        let by_position = read("getblock", json!(["ab", 2])).unwrap();
        assert_eq!(by_position, read("getblock", json!({"blockhash": "ab", "verbosity": 2})).unwrap());
        assert_eq!(by_position, read("getblock", json!({"args": ["ab"], "verbose": 2})).unwrap());
        assert_eq!(
            read("estimatesmartfee", json!({"estimate_mode": "economical", "conf_target": 2})).unwrap().len(),
            2
        );
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        let code = |name, parameters| read(name, parameters).unwrap_err().code;
        assert_eq!(code("getblock", json!({"blockhash": "ab", "height": 2})), Code::Parameter);
        assert_eq!(code("getblock", json!({"args": ["ab"], "blockhash": "ab"})), Code::Parameter);
        assert_eq!(code("getblock", json!([])), Code::Misc);
        assert_eq!(code("getblock", json!([null, 2])), Code::Misc);
        assert_eq!(code("getblock", json!(["ab", 1, 2])), Code::Misc);
        assert_eq!(code("getblock", json!([7])), Code::Type);
        assert_eq!(hash::<BlockHash>("blockhash", "ab").unwrap_err().code, Code::Parameter);
        assert_eq!(hash::<BlockHash>("blockhash", &"zz".repeat(32)).unwrap_err().code, Code::Parameter);
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!(smallest_units("0.1"), Some(10_000_000));
        assert_eq!(smallest_units("0.00000001"), Some(1));
        assert_eq!(smallest_units("0"), Some(0));
        assert_eq!(smallest_units("21000000"), Some(2_100_000_000_000_000));
        for wrong in ["-1", "0.000000001", "1e3", "", ".", "1.-1", "99999999999999"] {
            assert_eq!(smallest_units(wrong), None, "{wrong}");
        }
    }
}
