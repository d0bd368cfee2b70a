//! `aquifer wallet`.

use serde_json::{Value, json};

use super::CliError;
use super::args::{AccountOptions, WalletCommand};
use super::context::Context;
use super::report::{Report, table};
use crate::keystore::{Account, Keys, Multisig, WalletName};

pub(super) fn run(context: &Context, command: WalletCommand) -> Result<Report, CliError> {
    match command {
        WalletCommand::Create { account, signer, show_words } => match (kind(&account)?, signer) {
            (Account::Multisig(multisig), Some(signer)) => join(context, multisig, &signer),
            (Account::Multisig(_), None) => Err(CliError::Usage(
                "say with --signer which wallet's seed signs for you; `aquifer wallet xpub` showed its key".to_owned(),
            )),
            (account, _) => create(context, &account, show_words),
        },
        WalletCommand::Restore { account } => {
            let account = kind(&account)?;
            context.home.check_free(&context.wallet_name()?)?;
            restore(context, &account, &context.read_words()?)
        }
        WalletCommand::Xpub => xpub(context),
        WalletCommand::Descriptor => descriptor(context),
        WalletCommand::List => list(context),
    }
}

pub(super) fn kind(options: &AccountOptions) -> Result<Account, CliError> {
    let Some(threshold) = options.multisig else { return Ok(Account::Single(options.script)) };
    let cosigners = options.cosigner.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
    Ok(Account::Multisig(Multisig::new(threshold, cosigners)?))
}

fn create(context: &Context, account: &Account, show_words: bool) -> Result<Report, CliError> {
    let name = context.wallet_name()?;
    context.home.check_free(&name)?;
    let chain = context.chain()?;
    let passphrase = context.new_passphrase()?;
    let (_, words) = Keys::generate(&chain)?;
    context.home.create_wallet(&name, &words, &passphrase, account, &chain)?;
    let again = match account {
        Account::Single(script) if *script != Default::default() => {
            format!("\nTo get it back, restore it with --type {script}\n")
        }
        _ => String::new(),
    };
    let text = format!(
        "wallet `{name}` is made.\n\nThese words are the only way to get it back. Write them on paper, now; they are not shown again:\n\n  {}\n{again}",
        words.as_str()
    );
    let mut report = made(context, &name, text)?;
    if show_words {
        report = report.with(json!({ "words": words.as_str() }));
    }
    Ok(report)
}

/// Makes a wallet with others, in which the seed of a wallet that exists signs.
fn join(context: &Context, multisig: Multisig, signer: &str) -> Result<Report, CliError> {
    let name = context.wallet_name()?;
    context.home.check_free(&name)?;
    let chain = context.chain()?;
    let signer = context.home.wallet(&signer.parse()?)?;
    let passphrase = context.passphrase("passphrase of the signer: ")?;
    let words = signer.words(&passphrase)?;
    context.home.create_wallet(&name, &words, &passphrase, &Account::Multisig(multisig), &chain)?;
    let report = made(context, &name, String::new())?;
    let id = report.json.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = format!(
        "wallet `{name}` is made. Compare its id with the other cosigners; it must be the same:\n\n  {id}\n\n\
         To get it back one needs the signer's words and the keys of all cosigners; keep a copy of the keys, or of\n\
         what `aquifer wallet descriptor --wallet {name}` shows. Whoever has them sees all amounts"
    );
    Ok(Report { text, ..report })
}

pub(super) fn restore(context: &Context, account: &Account, words: &str) -> Result<Report, CliError> {
    let name = context.wallet_name()?;
    let chain = context.chain()?;
    // Say that words are wrong, or of no cosigner, before asking for a passphrase.
    Keys::from_words(words, &chain)?.descriptor(account)?;
    let passphrase = context.new_passphrase()?;
    context.home.create_wallet(&name, words, &passphrase, account, &chain)?;
    made(context, &name, format!("wallet `{name}` is restored; `aquifer balance --wallet {name}` looks for its coins"))
}

fn made(context: &Context, name: &WalletName, text: String) -> Result<Report, CliError> {
    let wallet = context.wallet()?;
    let json = json!({
        "wallet": name.as_str(),
        "chain": wallet.chain().file().params.name,
        "type": wallet.account().to_string(),
        "id": wallet.id()?,
    });
    Ok(Report::new(json, text))
}

fn xpub(context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.wallet_name()?)?;
    let chain = context.chain()?;
    let passphrase = context.passphrase("passphrase: ")?;
    let key = wallet.unlock(&passphrase, &chain)?.cosigner_key()?;
    let json = json!({ "xpub": key.to_string(), "fingerprint": key.fingerprint().to_string() });
    Ok(Report::new(json, key.to_string()))
}

fn descriptor(context: &Context) -> Result<Report, CliError> {
    let wallet = context.wallet()?;
    let descriptor = wallet.wollet().wollet_descriptor().to_string();
    let (needed, cosigners) = match wallet.account() {
        Account::Single(_) => (1, Vec::new()),
        Account::Multisig(multisig) => {
            (multisig.threshold(), multisig.cosigners().iter().map(ToString::to_string).collect())
        }
    };
    let json = json!({
        "descriptor": descriptor,
        "type": wallet.account().to_string(),
        "id": wallet.id()?,
        "signatures_needed": needed,
        "cosigners": cosigners,
    });
    Ok(Report::new(json, descriptor))
}

fn list(context: &Context) -> Result<Report, CliError> {
    let names = context.home.wallets()?;
    let mut rows = Vec::new();
    let mut types = serde_json::Map::new();
    for name in &names {
        let kind = context.home.wallet(name)?.descriptor().and_then(|descriptor| Account::of(&descriptor));
        // One wallet that cannot be read does not hide the others.
        let kind = kind.map_or_else(|_| "cannot be read".to_owned(), |kind| kind.to_string());
        rows.push(vec![name.to_string(), kind.clone()]);
        types.insert(name.to_string(), kind.into());
    }
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let text = if names.is_empty() {
        "no wallet yet; `aquifer wallet create --network network.json` makes one".to_owned()
    } else {
        table(&rows)
    };
    Ok(Report::new(json!({ "data_dir": context.home.path(), "wallets": names, "types": types }), text))
}
