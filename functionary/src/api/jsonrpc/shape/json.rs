//! JSON as elementsd prints it: fields in their order, amounts with eight decimals.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

/// A value on its way out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Json {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// What is JSON already: numbers, and ids as they came.
    Raw(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// Names and values.
    Object(Object),
}

/// Names and values, in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Vec<(Cow<'static, str>, Json)>);

impl Object {
    /// Without fields.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub(crate) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        self.0.push((name.into(), value.into()));
    }

    /// With a further field.
    #[must_use]
    pub(crate) fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) -> Self {
        self.set(name, value);
        self
    }

    /// With the fields of another.
    #[must_use]
    pub(crate) fn and(mut self, other: Object) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl Json {
    /// An amount in units of 100,000,000 of the smallest, with eight decimals.
    pub(crate) fn amount(smallest: u64) -> Self {
        Self::Raw(decimals(smallest))
    }

    /// The same of an amount that Elements keeps in 64 bits with a sign, and shows as negative when it is larger.
    pub(crate) fn wrapping_amount(smallest: u64) -> Self {
        let signed = i64::from_le_bytes(smallest.to_le_bytes());
        let sign = if signed < 0 { "-" } else { "" };
        Self::Raw(format!("{sign}{}", decimals(signed.unsigned_abs())))
    }

    /// A number with a fraction.
    pub(crate) fn real(number: f64) -> Self {
        if number.is_finite() { Self::Raw(number.to_string()) } else { Self::Null }
    }

    /// Bytes in hexadecimal.
    pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Self {
        Self::Text(hex::encode(bytes))
    }

    /// What is displayed, as text.
    pub(crate) fn shown(value: impl std::fmt::Display) -> Self {
        Self::Text(value.to_string())
    }

    /// Appends it to `text`, without spaces.
    pub(crate) fn write(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Raw(raw) => text.push_str(raw),
            Self::Text(value) => quote(value, text),
            Self::List(values) => {
                text.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    value.write(text);
                }
                text.push(']');
            }
            Self::Object(Object(fields)) => {
                text.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    quote(name, text);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

fn decimals(smallest: u64) -> String {
    format!("{}.{:08}", smallest / 100_000_000, smallest % 100_000_000)
}

fn quote(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Object> for Json {
    fn from(value: Object) -> Self {
        Self::Object(value)
    }
}

impl From<Vec<Json>> for Json {
    fn from(values: Vec<Json>) -> Self {
        Self::List(values)
    }
}

/// What came in, unchanged.
impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self::Raw(value.to_string())
    }
}

macro_rules! whole_numbers {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Json {
            fn from(value: $kind) -> Self {
                Self::Raw(value.to_string())
            }
        })*
    };
}
whole_numbers!(i32, i64, u8, u32, u64, usize);

impl FromIterator<Json> for Json {
    fn from_iter<T: IntoIterator<Item = Json>>(values: T) -> Self {
        Self::List(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(value: impl Into<Json>) -> String {
        let mut text = String::new();
        value.into().write(&mut text);
        text
    }

    #[test]
    fn amounts_have_eight_decimals_and_fields_their_order() {
        let object = Object::new()
            .with("z", Json::amount(1))
            .with("a", Json::amount(2_100_000_000_000_000))
            .with("m", Json::wrapping_amount(u64::MAX));
        assert_eq!(text(object), r#"{"z":0.00000001,"a":21000000.00000000,"m":-0.00000001}"#);
        assert_eq!(
            text(Json::List(vec![1_u32.into(), Json::Null, true.into(), Json::real(0.25)])),
            "[1,null,true,0.25]"
        );
    }

    #[test]
    fn any_text_comes_back() {
        for value in ["", "a\"b\\c", "\n\r\t\u{0}\u{1f}", "\u{7f}ä\u{1f600}/"] {
            assert_eq!(serde_json::from_str::<Value>(&text(value)).unwrap(), Value::String(value.to_owned()));
        }
    }
}
