//! `aquifer asset`.

use std::collections::BTreeSet;

use elements::AssetId;
use serde_json::{Value, json};

use super::CliError;
use super::args::{AmountOptions, AssetCommand, IssueOptions};
use super::context::{Context, wait};
use super::names::Names;
use super::report::{self, Report, table};
use crate::amount;
use crate::assets::{self, AssetError, Description, IssueRequest};

pub(super) fn run(context: &Context, command: AssetCommand) -> Result<Report, CliError> {
    match command {
        AssetCommand::Issue(options) => issue(context, options),
        AssetCommand::Reissue(options) => reissue(context, &options),
        AssetCommand::Burn(options) => burn(context, &options),
        AssetCommand::List => list(context),
    }
}

fn issue(context: &Context, options: IssueOptions) -> Result<Report, CliError> {
    let name = options.name.unwrap_or_else(|| options.ticker.clone());
    let description =
        Description::new(name, options.ticker, options.precision, options.domain).map_err(AssetError::from)?;
    let amount = amount::parse(&options.amount, options.precision)?;
    let request = IssueRequest { amount, tokens: options.tokens, description };
    let session = context.session()?;
    let keys = context.keys(&session)?;
    let rate = context.fee_rate(&session, options.spend.fee_rate)?;
    let spinner = context.spinner("waiting until the issue is final");
    let issued = assets::issue(&session.wallet, &session.ledger, &keys, &request, rate, wait(options.spend.wait))?;
    spinner.finish_and_clear();
    let record = &issued.record;
    let payment = report::payment(&issued.payment);
    let text = format!(
        "asset  {}\ntoken  {}\n{}\nTell receivers the id: a name is not unique{}",
        record.asset,
        record.token,
        payment.text,
        if record.contract.is_some() { "" } else { ", and without --domain it is only noted in this wallet" }
    );
    let json = json!({
        "asset": record.asset.to_string(),
        "token": record.token.to_string(),
        "ticker": record.ticker,
        "name": record.name,
        "precision": record.precision,
        "contract": record.contract,
        "amount_sat": request.amount,
        "tokens": request.tokens,
    });
    Ok(Report { json: payment.json, text }.with(json))
}

fn reissue(context: &Context, options: &AmountOptions) -> Result<Report, CliError> {
    let (asset, amount) = asset_and_amount(context, options)?;
    let session = context.session()?;
    let keys = context.keys(&session)?;
    let rate = context.fee_rate(&session, options.spend.fee_rate)?;
    let spinner = context.spinner("waiting until the reissue is final");
    let wait = wait(options.spend.wait);
    let payment = assets::reissue(&session.wallet, &session.ledger, &keys, asset, amount, rate, wait)?;
    spinner.finish_and_clear();
    Ok(report::payment(&payment).with(json!({ "asset": asset.to_string(), "amount_sat": amount })))
}

fn burn(context: &Context, options: &AmountOptions) -> Result<Report, CliError> {
    let (asset, amount) = asset_and_amount(context, options)?;
    let session = context.session()?;
    let keys = context.keys(&session)?;
    let rate = context.fee_rate(&session, options.spend.fee_rate)?;
    let spinner = context.spinner("waiting until the burn is final");
    let wait = wait(options.spend.wait);
    let payment = assets::burn(&session.wallet, &session.ledger, &keys, asset, amount, rate, wait)?;
    spinner.finish_and_clear();
    Ok(report::payment(&payment).with(json!({ "asset": asset.to_string(), "amount_sat": amount })))
}

fn asset_and_amount(context: &Context, options: &AmountOptions) -> Result<(AssetId, u64), CliError> {
    let names = Names::of(&context.wallet()?)?;
    let asset = names.resolve(Some(&options.asset))?;
    Ok((asset, names.parse(&asset, &options.amount)?))
}

fn list(context: &Context) -> Result<Report, CliError> {
    let session = context.session()?;
    let names = Names::of(&session.wallet)?;
    let balance = session.wallet.balance()?;
    let tokens: BTreeSet<AssetId> = names.records().iter().map(|record| record.token).collect();
    let known = names.records().iter().map(|record| record.asset);
    let all: BTreeSet<AssetId> = known.chain(balance.keys().copied()).filter(|asset| !tokens.contains(asset)).collect();
    let mut entries = Vec::new();
    let mut rows = vec![["asset", "held", "issued", "removed", "id"].map(str::to_owned).to_vec()];
    for asset in all {
        let held = balance.get(&asset).copied().unwrap_or_default();
        let info = assets::supply(&session.ledger, &asset)?;
        let supply = info.as_ref().and_then(|info| info.supply.as_ref());
        let record = names.records().iter().find(|record| record.asset == asset);
        let held_tokens = record.and_then(|record| balance.get(&record.token)).copied().unwrap_or_default();
        let mut entry = names.json(&asset);
        if let Value::Object(fields) = &mut entry {
            fields.insert("name".into(), record.map(|record| record.name.clone()).into());
            fields.insert("token".into(), record.map(|record| record.token.to_string()).into());
            fields.insert("contract".into(), record.and_then(|record| record.contract.clone()).into());
            fields.insert("confirmed_sat".into(), held.confirmed.into());
            fields.insert("pending_sat".into(), held.pending.into());
            fields.insert("tokens".into(), held_tokens.confirmed.into());
            fields.insert("issued_sat".into(), supply.map(|supply| supply.issued_sat).into());
            fields.insert("removed_sat".into(), supply.map(|supply| supply.removed_sat).into());
            fields.insert("blinded_issuances".into(), supply.map(|supply| supply.blinded_issuances).into());
        }
        entries.push(entry);
        let shown =
            |raw: Option<u64>| raw.map_or_else(|| "?".to_owned(), |raw| amount::format(raw, names.precision(&asset)));
        rows.push(vec![
            names.label(&asset),
            amount::format(held.confirmed.saturating_add(held.pending), names.precision(&asset)),
            shown(supply.map(|supply| supply.issued_sat)),
            shown(supply.map(|supply| supply.removed_sat)),
            asset.to_string(),
        ]);
    }
    Ok(Report::new(json!({ "assets": entries }), table(&rows)))
}
