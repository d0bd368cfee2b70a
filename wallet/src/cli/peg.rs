//! `aquifer pegin` and `aquifer pegout`.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aquifer_proto::ledger::PegoutStatus;
use bitcoin::hashes::Hash as _;
use elements::OutPoint;
use serde_json::{Value, json};

use super::CliError;
use super::args::{PeginOptions, PegoutOptions};
use super::context::{Context, Session, wait};
use super::report::{self, Report, table};
use crate::amount::{self, PEGGED_PRECISION};
use crate::peg::follow::{self, Progress};
use crate::peg::pegin::{Deposit, DepositStage, PeginAddress};
use crate::peg::{PegError, pegout};
use crate::wallet::{Wait, Wallet};

pub(super) fn pegin(context: &Context, options: &PeginOptions) -> Result<Report, CliError> {
    if options.list {
        let wallet = context.wallet()?;
        return report_of(&wallet, &wallet.db().pegin_addresses()?, &BTreeMap::new());
    }
    let session = context.session()?;
    if options.resume { resume(context, &session, options) } else { start(context, &session, options) }
}

fn start(context: &Context, session: &Session, options: &PeginOptions) -> Result<Report, CliError> {
    let wallet = &session.wallet;
    let keys = if options.no_wait { None } else { Some(context.keys(session)?) };
    let earlier = follow::open_addresses(wallet)?;
    let address = follow::new_address(wallet, &session.ledger)?;
    let Some(keys) = keys else {
        let json = address_json(&address, &[], &BTreeMap::new());
        let text = format!(
            "{}\n\nPay bitcoin to this address, then run `aquifer pegin --resume` to claim them",
            address.bitcoin_address
        );
        return Ok(Report::new(json, text));
    };
    let spinner = context.spinner("waiting for a payment on Bitcoin");
    context.say(&spinner, &format!("Pay bitcoin to this address:\n\n  {}\n", address.bitcoin_address));
    context.say(&spinner, "This can be interrupted; `aquifer pegin --resume` goes on");
    if !earlier.is_empty() {
        context.say(&spinner, &format!("{} earlier peg-ins are open and go on too:", earlier.len()));
        for open in &earlier {
            context.say(&spinner, &format!("  {}", open.bitcoin_address));
        }
    }
    let index = address.index;
    let mut addresses = earlier;
    addresses.push(address);
    run(context, session, &keys, &addresses, follow::Until::Settled(index), options, &spinner)
}

fn resume(context: &Context, session: &Session, options: &PeginOptions) -> Result<Report, CliError> {
    let wallet = &session.wallet;
    let addresses: Vec<PeginAddress> = match &options.address {
        Some(wanted) => {
            let all = wallet.db().pegin_addresses()?;
            let found = all.into_iter().find(|address| address.bitcoin_address == *wanted);
            vec![found.ok_or_else(|| PegError::NoSuchAddress(wanted.clone()))?]
        }
        None => follow::open_addresses(wallet)?,
    };
    if addresses.is_empty() {
        return Err(PegError::NothingOpen.into());
    }
    let keys = context.keys(session)?;
    let until = if options.no_wait { follow::Until::LookedAt } else { follow::Until::AnySettled };
    let spinner = context.spinner("looking for payments on Bitcoin");
    run(context, session, &keys, &addresses, until, options, &spinner)
}

/// Times from handing in to finality, in milliseconds, of claims made now.
type Elapsed = BTreeMap<bitcoin::OutPoint, Value>;

fn run(
    context: &Context,
    session: &Session,
    keys: &crate::keystore::Keys,
    addresses: &[PeginAddress],
    until: follow::Until,
    options: &PeginOptions,
    spinner: &indicatif::ProgressBar,
) -> Result<Report, CliError> {
    let rate = context.fee_rate(session, options.fee_rate)?;
    let mut claims = Elapsed::new();
    let mut last = String::new();
    follow::follow(&session.wallet, &session.ledger, keys, rate, addresses, until, &mut |progress| match progress {
        Progress::Unpaid(_) => {}
        Progress::Problem(problem) => spinner.set_message(format!("waiting: {problem}")),
        Progress::Deposit(deposit) => {
            let text = describe(deposit);
            spinner.set_message(text.clone());
            if text != last {
                context.say(spinner, &text);
                last = text;
            }
        }
        Progress::Claimed(deposit, payment) => {
            context.say(spinner, &describe(deposit));
            claims.insert(deposit.outpoint, report::payment(payment).json);
        }
    })?;
    spinner.finish_and_clear();
    report_of(&session.wallet, addresses, &claims)
}

fn btc(sat: u64) -> String {
    format!("{} BTC", amount::format(sat, PEGGED_PRECISION))
}

fn describe(deposit: &Deposit) -> String {
    let what = format!("{} ({})", btc(deposit.amount_sat), deposit.outpoint);
    match &deposit.stage {
        DepositStage::Confirming => {
            format!("{what}: {} of {} confirmations", deposit.confirmations, deposit.needed_confirmations)
        }
        DepositStage::Ready => format!("{what}: deep enough"),
        DepositStage::TooSmall => format!("{what}: smaller than the fee of its claim, so it stays where it is"),
        DepositStage::Submitted { claim_txid, .. } => {
            format!("{what}: claimed by {claim_txid}, waiting until that is final")
        }
        DepositStage::Claimed { claim_txid, height } => format!("{what}: claimed in block {height} by {claim_txid}"),
    }
}

fn address_json(address: &PeginAddress, deposits: &[Deposit], claims: &Elapsed) -> Value {
    let deposits: Vec<Value> = deposits
        .iter()
        .map(|deposit| {
            let (claim_txid, claim_height) = match &deposit.stage {
                DepositStage::Submitted { claim_txid, .. } => (Some(claim_txid.to_string()), None),
                DepositStage::Claimed { claim_txid, height } => (Some(claim_txid.to_string()), Some(*height)),
                _ => (None, None),
            };
            json!({
                "parent_txid": deposit.outpoint.txid.to_string(),
                "vout": deposit.outpoint.vout,
                "amount_sat": deposit.amount_sat,
                "stage": deposit.stage.name(),
                "confirmations": deposit.confirmations,
                "needed_confirmations": deposit.needed_confirmations,
                "claim_txid": claim_txid,
                "claim_height": claim_height,
                "claim": claims.get(&deposit.outpoint),
            })
        })
        .collect();
    json!({
        "address": address.bitcoin_address,
        "claim_script": hex::encode(address.claim_script.as_bytes()),
        "created_height": address.created_height,
        "deposits": deposits,
    })
}

fn report_of(wallet: &Wallet, addresses: &[PeginAddress], claims: &Elapsed) -> Result<Report, CliError> {
    let mut entries = Vec::new();
    let mut lines = Vec::new();
    for address in addresses {
        let deposits = wallet.db().deposits(address.index)?;
        entries.push(address_json(address, &deposits, claims));
        lines.push(address.bitcoin_address.clone());
        if deposits.is_empty() {
            lines.push("  not paid yet".to_owned());
        }
        lines.extend(deposits.iter().map(|deposit| format!("  {}", describe(deposit))));
    }
    let text =
        if lines.is_empty() { "no peg-ins yet; `aquifer pegin` starts one".to_owned() } else { lines.join("\n") };
    Ok(Report::new(json!({ "pegins": entries }), text))
}

pub(super) fn pegout(context: &Context, options: &PegoutOptions) -> Result<Report, CliError> {
    if let Some(name) = &options.status {
        let name = pegout::parse_name(name)?;
        let ledger = context.ledger(&context.chain()?)?;
        let status = pegout::follow(&ledger, name, pegout::Until::LookedAt, &mut |_| {})?;
        return Ok(Report::new(status_json(name, &status), status_text(&status)));
    }
    let (Some(address), Some(amount)) = (&options.address, &options.amount) else {
        return Err(CliError::Usage("give a Bitcoin address and an amount, or --status TXID:VOUT".to_owned()));
    };
    let destination = pegout::parse_destination(&context.chain()?, address)?;
    let amount_sat = amount::parse(amount, PEGGED_PRECISION)?;
    let session = context.session()?;
    let keys = context.keys(&session)?;
    let rate = context.fee_rate(&session, options.spend.fee_rate)?;
    let spinner = context.spinner("waiting until the request is final");
    let wait = wait(options.spend.wait);
    let requested = pegout::request(&session.wallet, &session.ledger, &keys, destination, amount_sat, rate, wait)?;
    let payment = report::payment(&requested.payment);
    let asked = json!({
        "pegout": name_of(&requested.outpoint),
        "vout": requested.outpoint.vout,
        "destination": requested.destination.to_string(),
        "amount_sat": requested.amount_sat,
    });
    let name = name_of(&requested.outpoint);
    if wait == Wait::No {
        let text = format!("{}\n`aquifer pegout --status {name}` shows how far it is", payment.text);
        return Ok(Report { json: payment.json, text }.with(asked));
    }
    context.say(&spinner, &format!("requested as {name}; `aquifer pegout --status {name}` shows how far it is"));
    let status = pegout::follow(&session.ledger, requested.outpoint, pegout::Until::Confirmed, &mut |status| {
        let text = status_text(status);
        spinner.set_message(text.clone());
        context.say(&spinner, &text);
    })?;
    spinner.finish_and_clear();
    let text = format!("{}\n{}", payment.text, status_text(&status));
    Ok(Report { json: payment.json, text }
        .with(asked)
        .with(json!({ "status": status_json(requested.outpoint, &status) })))
}

/// As `--status` reads it; the type's own text form begins with a mark of Elements.
fn name_of(pegout: &OutPoint) -> String {
    format!("{}:{}", pegout.txid, pegout.vout)
}

fn parent_txid(status: &PegoutStatus) -> Option<String> {
    bitcoin::Txid::from_slice(&status.parent_txid).ok().map(|txid| txid.to_string())
}

fn status_json(name: OutPoint, status: &PegoutStatus) -> Value {
    json!({
        "pegout": name_of(&name),
        "state": pegout::state_name(status.state()),
        "reason": status.reason,
        "expected_seconds": status.expected_seconds,
        "amount_sat": status.amount_sat,
        "fee_sat": status.fee_sat,
        "requested_height": status.requested_height,
        "batch_height": status.batch_height,
        "parent_txid": parent_txid(status),
        "confirmations": status.confirmations,
    })
}

fn status_text(status: &PegoutStatus) -> String {
    let mut rows = vec![vec!["state".to_owned(), pegout::state_name(status.state()).to_owned()]];
    if !status.reason.is_empty() {
        rows.push(vec!["because".to_owned(), status.reason.clone()]);
    }
    if let Some(expected) = status.expected_seconds {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        rows.push(vec!["expected".to_owned(), report::in_about(expected.saturating_sub(now))]);
    }
    if let Some(txid) = parent_txid(status) {
        rows.push(vec!["on Bitcoin".to_owned(), format!("{txid}, {} confirmations", status.confirmations)]);
        rows.push(vec!["Bitcoin fee".to_owned(), btc(status.fee_sat)]);
    }
    table(&rows)
}
