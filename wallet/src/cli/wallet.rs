//! `aquifer wallet`.

use serde_json::json;

use super::CliError;
use super::args::WalletCommand;
use super::context::Context;
use super::report::Report;
use crate::keystore::Keys;

pub(super) fn run(context: &Context, command: WalletCommand) -> Result<Report, CliError> {
    match command {
        WalletCommand::Create { show_words } => create(context, show_words),
        WalletCommand::Restore => restore(context),
        WalletCommand::List => list(context),
    }
}

fn create(context: &Context, show_words: bool) -> Result<Report, CliError> {
    let name = context.wallet_name()?;
    context.home.check_free(&name)?;
    let chain = context.chain()?;
    let passphrase = context.new_passphrase()?;
    let (_, words) = Keys::generate(&chain)?;
    context.home.create_wallet(&name, &words, &passphrase, &chain)?;
    let text = format!(
        "wallet `{name}` is made.\n\nThese words are the only way to get it back. Write them on paper, now; they are not shown again:\n\n  {}\n",
        words.as_str()
    );
    let mut report = Report::new(json!({ "wallet": name.as_str(), "chain": chain.file().params.name }), text);
    if show_words {
        report = report.with(json!({ "words": words.as_str() }));
    }
    Ok(report)
}

fn restore(context: &Context) -> Result<Report, CliError> {
    let name = context.wallet_name()?;
    context.home.check_free(&name)?;
    let chain = context.chain()?;
    let words = context.read_words()?;
    // Say that words are wrong before asking for a passphrase.
    Keys::from_words(&words, &chain)?;
    let passphrase = context.new_passphrase()?;
    context.home.create_wallet(&name, &words, &passphrase, &chain)?;
    Ok(Report::new(
        json!({ "wallet": name.as_str(), "chain": chain.file().params.name }),
        format!("wallet `{name}` is restored; `aquifer balance --wallet {name}` looks for its coins"),
    ))
}

fn list(context: &Context) -> Result<Report, CliError> {
    let names = context.home.wallets()?;
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let text = if names.is_empty() {
        "no wallet yet; `aquifer wallet create --network network.json` makes one".to_owned()
    } else {
        names.join("\n")
    };
    Ok(Report::new(json!({ "data_dir": context.home.path(), "wallets": names }), text))
}
