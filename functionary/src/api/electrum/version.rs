//! Which protocol a client and this server have in common.

use std::fmt;

use serde_json::Value;

use super::rpc::{Params, RpcError};

/// A version of the protocol, such as `1.4.2`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version([u16; 3]);

impl Version {
    /// The oldest that is spoken.
    pub(super) const MIN: Self = Self([1, 4, 0]);
    /// The newest that is spoken.
    pub(super) const MAX: Self = Self([1, 6, 0]);
    /// Headers come in a list, and the order of what waits is settled.
    pub(super) const LISTS: Self = Self([1, 6, 0]);

    fn parse(text: &str) -> Option<Self> {
        let mut version = [0; 3];
        let mut parts = text.split('.');
        for (number, part) in version.iter_mut().zip(&mut parts) {
            *number = part.parse().ok()?;
        }
        parts.next().is_none().then_some(Self(version))
    }

    /// The newest version that both speak, by the second parameter of `server.version`: a version, or the oldest and the
    /// newest that the client speaks. Without one the client speaks 1.4.
    pub(super) fn negotiate(params: &Params) -> Result<Self, RpcError> {
        let wrong = || RpcError::params("protocol_version is a version such as \"1.4\", or a pair of them");
        let parse = |value: &Value| value.as_str().and_then(Self::parse).ok_or_else(wrong);
        let (oldest, newest) = match params.any(1, "protocol_version") {
            Err(_) => (Self::MIN, Self::MIN),
            Ok(Value::Array(pair)) => match pair.as_slice() {
                [oldest, newest] => (parse(oldest)?, parse(newest)?),
                _ => return Err(wrong()),
            },
            Ok(version) => (parse(version)?, parse(version)?),
        };
        let common = newest.min(Self::MAX);
        if common < oldest || common < Self::MIN {
            let [min, max] = [Self::MIN, Self::MAX];
            return Err(RpcError::bad_request(format!(
                "unsupported protocol version: this server speaks {min} to {max}"
            )));
        }
        Ok(common)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, revision]) = self;
        write!(f, "{major}.{minor}")?;
        if *revision > 0 { write!(f, ".{revision}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken() {
        for (asked, spoken) in [
            (json!(["", "1.4"]), Some("1.4")),
            (json!(["lwk", ["1.4", "1.6"]]), Some("1.6")),
            (json!(["", ["1.4", "1.4.2"]]), Some("1.4.2")),
            (json!(["", ["1.2", "2.0"]]), Some("1.6")),
            (json!(["", "1.4", "more"]), Some("1.4")),
            (json!([]), Some("1.4")),
            (json!(["", "1.3"]), None),
            (json!(["", ["1.7", "2.0"]]), None),
            (json!(["", ["1.4"]]), None),
            (json!(["", "one"]), None),
            (json!(["", "1.4.2.1"]), None),
            (json!(["", 1.4]), None),
        ] {
            let params = Params::List(asked.as_array().cloned().unwrap_or_default());
            let found = Version::negotiate(&params).ok().map(|version| version.to_string());
            assert_eq!(found.as_deref(), spoken, "{asked}");
        }
    }
}
