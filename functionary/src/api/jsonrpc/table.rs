//! The calls: what each is called, takes and does. `help`, the documentation and the dispatcher stand on this one table.

use std::fmt::Write as _;

use super::arguments::Arguments;
use super::error::{Code, RpcError};
use super::node::Node;
use super::shape::Json;
use super::{blocks, mempool, network, refused, scan, sidechain, transactions, utilities};

/// Where `help` lists a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// Blocks and unspent outputs.
    Blockchain,
    /// This server.
    Control,
    /// Other members.
    Network,
    /// Transactions on their way into a block, or by themselves.
    RawTransactions,
    /// The federation and the peg.
    Sidechain,
    /// Addresses and fees.
    Util,
}

impl Category {
    /// All of them, in the order of `help`.
    pub(super) const ALL: [Self; 6] =
        [Self::Blockchain, Self::Control, Self::Network, Self::RawTransactions, Self::Sidechain, Self::Util];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Blockchain => "Blockchain",
            Self::Control => "Control",
            Self::Network => "Network",
            Self::RawTransactions => "Rawtransactions",
            Self::Sidechain => "Sidechain",
            Self::Util => "Util",
        }
    }
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// Bytes or a hash in hexadecimal.
    Hex,
    /// A number.
    Number,
    /// True or false.
    Switch,
    /// A number, or true or false in its place.
    Verbosity,
    /// A decimal number, or the same as text.
    Amount,
    /// A list.
    List,
}

/// A parameter of a call.
#[derive(Debug)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// What older clients call it.
    alias: Option<&'static str>,
    /// What it may be.
    pub(crate) kind: Kind,
    /// What counts where it is left out; `None` where it may not be.
    default: Option<&'static str>,
    /// What it means.
    text: &'static str,
}

impl Parameter {
    /// One that must be given.
    pub(crate) const fn required(name: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { name, alias: None, kind, default: None, text }
    }

    /// One that may be left out.
    pub(crate) const fn optional(name: &'static str, kind: Kind, default: &'static str, text: &'static str) -> Self {
        Self { name, alias: None, kind, default: Some(default), text }
    }

    /// The same under a second name.
    #[must_use]
    pub(crate) const fn or(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    pub(crate) const fn is_required(&self) -> bool {
        self.default.is_none()
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }

    /// As `help` writes it in a line.
    fn shown(&self) -> String {
        let name = match self.kind {
            Kind::Text | Kind::Hex => format!("\"{}\"", self.name),
            Kind::List => format!("[{},...]", self.name),
            Kind::Number | Kind::Switch | Kind::Verbosity | Kind::Amount => self.name.to_owned(),
        };
        if self.is_required() { name } else { format!("( {name} )") }
    }
}

/// What answers a call.
type Handler = fn(&Node, &Arguments) -> Result<Json, RpcError>;

/// A call.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where `help` lists it.
    pub(crate) category: Category,
    /// What it takes.
    pub(crate) parameters: &'static [Parameter],
    /// What it does, and where it differs from elementsd.
    pub(crate) text: &'static str,
    /// What answers it.
    pub(crate) run: Handler,
}

impl Command {
    /// Name and parameters in one line.
    pub(super) fn usage(&self) -> String {
        let mut usage = self.name.to_owned();
        for parameter in self.parameters {
            usage.push(' ');
            usage.push_str(&parameter.shown());
        }
        usage
    }

    /// All about it.
    pub(crate) fn help(&self) -> String {
        let mut help = format!("{}\n\n{}\n", self.usage(), self.text);
        if !self.parameters.is_empty() {
            help.push_str("\nArguments:\n");
        }
        for (number, parameter) in (1..).zip(self.parameters) {
            let need = match parameter.default {
                None => "required".to_owned(),
                Some(default) => format!("optional, default={default}"),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                help,
                "{number}. {}    ({}, {need}) {}",
                parameter.name,
                parameter.kind.name(),
                parameter.text
            );
        }
        help
    }
}

/// All calls.
pub(crate) fn commands() -> impl Iterator<Item = &'static Command> {
    [
        blocks::COMMANDS,
        mempool::COMMANDS,
        network::COMMANDS,
        scan::COMMANDS,
        sidechain::COMMANDS,
        transactions::COMMANDS,
        utilities::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// The call of this name.
///
/// # Errors
/// Code -32601; where elementsd has such a call, with the reason why there is none here.
pub(crate) fn command(name: &str) -> Result<&'static Command, RpcError> {
    let found = commands().find(|command| command.name == name);
    found.ok_or_else(|| match refused::reason(name) {
        Some(reason) => RpcError::new(Code::MethodNotFound, format!("Method not found: {reason}")),
        None => RpcError::new(Code::MethodNotFound, "Method not found"),
    })
}

/// The calls of a category, by name.
pub(super) fn of(category: Category) -> Vec<&'static Command> {
    let mut found: Vec<_> = commands().filter(|command| command.category == category).collect();
    found.sort_unstable_by_key(|command| command.name);
    found
}

/// What `help` says: all calls, or all about one.
pub(crate) fn help(name: Option<&str>) -> String {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let sections = Category::ALL.map(|category| {
            let lines: Vec<String> = of(category).into_iter().map(Command::usage).collect();
            format!("== {} ==\n{}", category.name(), lines.join("\n"))
        });
        return sections.join("\n\n");
    };
    match (commands().find(|command| command.name == name), refused::reason(name)) {
        (Some(command), _) => command.help(),
        (None, Some(reason)) => format!("{name} is not served: {reason}"),
        (None, None) => format!("help: unknown command: {name}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_means_one_thing() {
        let mut seen = BTreeSet::new();
        for name in commands()
            .map(|command| command.name)
            .chain(refused::GROUPS.iter().flat_map(|group| group.names.iter().copied()))
        {
            assert!(seen.insert(name), "{name} is there twice");
        }
        for command in commands() {
            let first_optional = command.parameters.iter().position(|parameter| !parameter.is_required());
            let last_required = command.parameters.iter().rposition(Parameter::is_required);
            assert!(
                first_optional.is_none_or(|first| last_required.is_none_or(|last| last < first)),
                "{}",
                command.name
            );
            assert!(help(None).contains(command.name) && help(Some(command.name)).contains(command.text));
        }
    }
}
