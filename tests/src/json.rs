//! Reading the JSON that the programs print. A missing field is an error that names the field, the command and what was
//! printed instead.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::error::HarnessError;
use crate::process;

/// One JSON value that a command printed.
#[derive(Clone, Debug)]
pub struct Printed {
    command: String,
    value: Value,
}

impl Printed {
    /// Runs a command to its end and takes the last line of its output, or all of it, as JSON.
    ///
    /// # Errors
    /// As [`process::run`]; [`HarnessError::Output`] when there is no JSON.
    pub fn by(command: Command, limit: Duration) -> Result<Self, HarnessError> {
        let shown = process::shown(&command);
        let output = process::run(command, limit)?;
        let value = serde_json::from_str(&output)
            .or_else(|_| serde_json::from_str(output.lines().last().unwrap_or_default()))
            .map_err(|error| HarnessError::Output {
                command: shown.clone(),
                problem: format!("no JSON: {error}"),
                output,
            })?;
        Ok(Self { command: shown, value })
    }

    /// A value and the command that printed it.
    pub fn new(command: impl Into<String>, value: Value) -> Self {
        Self { command: command.into(), value }
    }

    /// All of it.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    fn lacks(&self, field: &str, kind: &str) -> HarnessError {
        HarnessError::Output {
            command: self.command.clone(),
            problem: format!("no {kind} `{field}`"),
            output: self.value.to_string(),
        }
    }

    /// A field that holds text, by its JSON pointer without the first slash.
    ///
    /// # Errors
    /// [`HarnessError::Output`] when it is not there.
    pub fn text(&self, field: &str) -> Result<String, HarnessError> {
        let found = self.value.pointer(&format!("/{field}")).and_then(Value::as_str);
        found.map(str::to_owned).ok_or_else(|| self.lacks(field, "text"))
    }

    /// A field that holds an unsigned number.
    ///
    /// # Errors
    /// [`HarnessError::Output`] when it is not there.
    pub fn number(&self, field: &str) -> Result<u64, HarnessError> {
        let found = self.value.pointer(&format!("/{field}")).and_then(Value::as_u64);
        found.ok_or_else(|| self.lacks(field, "number"))
    }

    /// A field that holds a height or another number of 32 bits.
    ///
    /// # Errors
    /// [`HarnessError::Output`] when it is not there.
    pub fn height(&self, field: &str) -> Result<u32, HarnessError> {
        u32::try_from(self.number(field)?).map_err(|_| self.lacks(field, "32-bit number"))
    }

    /// A field that holds an object.
    ///
    /// # Errors
    /// [`HarnessError::Output`] when it is not there.
    pub fn object(&self, field: &str) -> Result<Self, HarnessError> {
        let found = self.value.pointer(&format!("/{field}")).filter(|value| value.is_object());
        let value = found.ok_or_else(|| self.lacks(field, "object"))?;
        Ok(Self::new(self.command.clone(), value.clone()))
    }

    /// A field that holds a list.
    ///
    /// # Errors
    /// [`HarnessError::Output`] when it is not there.
    pub fn list(&self, field: &str) -> Result<Vec<Self>, HarnessError> {
        let found = self.value.pointer(&format!("/{field}")).and_then(Value::as_array);
        let list = found.ok_or_else(|| self.lacks(field, "list"))?;
        Ok(list.iter().map(|value| Self::new(self.command.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_missing_field_is_named_with_the_command() {
        let printed = Printed::new("aquifer balance", json!({"tip": {"height": 7}}));
        assert!(matches!(printed.height("tip/height"), Ok(7)));
        let text = printed.text("tip/hash").map_err(|error| error.to_string());
        assert!(
            matches!(&text, Err(error) if error.contains("aquifer balance") && error.contains("tip/hash")),
            "{text:?}"
        );
    }
}
