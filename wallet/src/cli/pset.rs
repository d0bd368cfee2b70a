//! `aquifer pset`, and `send` in a wallet of several cosigners.

use std::path::{Path, PathBuf};

use bitcoin::bip32::Fingerprint;
use elements::AssetId;
use elements::pset::PartiallySignedTransaction;
use serde_json::{Value, json};

use super::CliError;
use super::args::{PsetCommand, SendOptions, WaitOptions};
use super::context::{Context, Session, wait};
use super::names::Names;
use super::report::{self, Report, table};
use crate::files;
use crate::pset::{self, Destination, Outgoing, Proposal};
use crate::wallet::Recipient;

pub(super) fn run(context: &Context, command: PsetCommand) -> Result<Report, CliError> {
    match command {
        PsetCommand::Show { file } => show(context, &file),
        PsetCommand::Sign { file, output } => sign(context, &file, output.as_deref()),
        PsetCommand::Combine { files, output } => combine(context, &files, &output),
        PsetCommand::Send { file, wait } => send(context, &file, wait),
    }
}

/// Builds a payment, signs it as far as this wallet can, and writes it down for the others.
pub(super) fn propose(
    context: &Context,
    session: &Session,
    recipients: &[Recipient],
    options: &SendOptions,
) -> Result<Report, CliError> {
    let rate = context.fee_rate(session, options.spend.fee_rate)?;
    let keys = context.keys(session)?;
    let proposal = session.wallet.propose(recipients, rate)?;
    let proposal = session.wallet.sign(&proposal, &keys)?;
    let file = match &options.pset {
        Some(file) => file.clone(),
        None => PathBuf::from(format!("{}-{}.pset", context.wallet_name()?, proposal.short_name())),
    };
    write_new(&file, &proposal)?;
    report(context, session, &file, &proposal)
}

fn show(context: &Context, file: &Path) -> Result<Report, CliError> {
    let pset = read(file)?;
    let session = context.session()?;
    let proposal = session.wallet.check(pset)?;
    report(context, &session, file, &proposal)
}

fn sign(context: &Context, file: &Path, output: Option<&Path>) -> Result<Report, CliError> {
    let pset = read(file)?;
    let session = context.session()?;
    let proposal = session.wallet.check(pset)?;
    // What one signs is shown before the passphrase is asked.
    context.show(&table(&rows(&Names::of(&session.wallet)?, &proposal)));
    let signed = session.wallet.sign(&proposal, &context.keys(&session)?)?;
    match output {
        Some(output) => write_new(output, &signed)?,
        None => files::replace_private(file, signed.to_base64().as_bytes())
            .map_err(|source| CliError::Write { path: file.to_owned(), source })?,
    }
    report(context, &session, output.unwrap_or(file), &signed)
}

fn combine(context: &Context, files: &[PathBuf], output: &Path) -> Result<Report, CliError> {
    let psets = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let session = context.session()?;
    let combined = session.wallet.combine(psets)?;
    write_new(output, &combined)?;
    report(context, &session, output, &combined)
}

fn send(context: &Context, file: &Path, options: WaitOptions) -> Result<Report, CliError> {
    let pset = read(file)?;
    let session = context.session()?;
    let proposal = session.wallet.check(pset)?;
    let transaction = session.wallet.finish(&proposal)?;
    let spinner = context.spinner("waiting until the payment is final");
    let payment = session.wallet.hand_in(&session.ledger, transaction, wait(options))?;
    spinner.finish_and_clear();
    let names = Names::of(&session.wallet)?;
    Ok(report::payment(&payment).with(json!({ "recipients": recipients_json(&names, &proposal.outgoing) })))
}

fn read(file: &Path) -> Result<PartiallySignedTransaction, CliError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| CliError::Input { what: file.display().to_string(), source })?;
    Ok(pset::parse(&text)?)
}

fn write_new(file: &Path, proposal: &Proposal) -> Result<(), CliError> {
    files::write_private_new(file, proposal.to_base64().as_bytes())
        .map_err(|source| CliError::Write { path: file.to_owned(), source })
}

fn report(context: &Context, session: &Session, file: &Path, proposal: &Proposal) -> Result<Report, CliError> {
    let names = Names::of(&session.wallet)?;
    let wallet = context.wallet_name()?;
    let fingerprints = |all: &std::collections::BTreeSet<Fingerprint>| -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    };
    let change: Vec<Value> =
        proposal.change.iter().map(|(asset, amount)| amount_json(&names, asset, *amount)).collect();
    let json = json!({
        "wallet": wallet.as_str(),
        "file": file,
        "pset": proposal.to_base64(),
        "recipients": recipients_json(&names, &proposal.outgoing),
        "change": change,
        "fee_sat": proposal.fee_sat,
        "signatures_needed": proposal.needed,
        "signed": fingerprints(&proposal.signed),
        "missing": fingerprints(&proposal.missing),
        "complete": proposal.is_complete(),
    });
    let file = file.display();
    let next = if proposal.is_complete() {
        format!("There are enough signatures. `aquifer pset send {file} --wallet {wallet}` hands it in")
    } else {
        format!(
            "More signatures are needed. Give {file} to one of {}, who runs `aquifer pset sign {file}`;\n\
             then `aquifer pset send {file} --wallet {wallet}` hands it in",
            fingerprints(&proposal.missing).join(", ")
        )
    };
    Ok(Report::new(json, format!("{}\n\n{next}", table(&rows(&names, proposal)))))
}

fn rows(names: &Names, proposal: &Proposal) -> Vec<Vec<String>> {
    let row = |what: &str, content: String, more: String| vec![what.to_owned(), content, more];
    let mut rows: Vec<Vec<String>> = proposal
        .outgoing
        .iter()
        .map(|out| row(verb(&out.destination), names.show(&out.asset, out.amount), destination(&out.destination)))
        .collect();
    for (asset, amount) in &proposal.change {
        rows.push(row("change", names.show(asset, *amount), "back to this wallet".to_owned()));
    }
    rows.push(row("fee", names.show_pegged(proposal.fee_sat), String::new()));
    let needed = format!("{} needed", proposal.needed);
    let signed: Vec<String> = proposal.signed.iter().map(ToString::to_string).collect();
    let signed = if signed.is_empty() { "nobody".to_owned() } else { signed.join(", ") };
    rows.push(row("signed", signed, needed));
    rows
}

fn verb(destination: &Destination) -> &'static str {
    match destination {
        Destination::Address(_) | Destination::Script(_) => "pays",
        Destination::Pegout(_) => "pegs out",
        Destination::Burn => "burns",
    }
}

fn destination(destination: &Destination) -> String {
    match destination {
        Destination::Address(address) => address.to_string(),
        Destination::Pegout(script) => format!("Bitcoin script {}", script.to_hex_string()),
        Destination::Burn => String::new(),
        Destination::Script(script) => format!("script {}", hex::encode(script.as_bytes())),
    }
}

fn amount_json(names: &Names, asset: &AssetId, amount: u64) -> Value {
    let mut json = names.json(asset);
    if let Value::Object(fields) = &mut json {
        fields.insert("amount_sat".into(), amount.into());
    }
    json
}

fn recipients_json(names: &Names, outgoing: &[Outgoing]) -> Vec<Value> {
    outgoing
        .iter()
        .map(|out| {
            let (kind, place) = match &out.destination {
                Destination::Address(address) => ("address", Some(address.to_string())),
                Destination::Pegout(script) => ("pegout", Some(script.to_hex_string())),
                Destination::Burn => ("burn", None),
                Destination::Script(script) => ("script", Some(hex::encode(script.as_bytes()))),
            };
            let mut json = amount_json(names, &out.asset, out.amount);
            if let Value::Object(fields) = &mut json {
                fields.insert("kind".into(), kind.into());
                fields.insert(if kind == "address" { "address" } else { "script" }.into(), place.into());
            }
            json
        })
        .collect()
}
