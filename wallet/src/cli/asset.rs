//! `aquifer asset`.

use std::collections::BTreeSet;
use std::path::Path;

use elements::AssetId;
use serde_json::{Value, json};

use super::CliError;
use super::args::{AmountOptions, AssetCommand, ContractOptions, IssueOptions, LearnOptions};
use super::context::{Context, Session, wait};
use super::names::Names;
use super::report::{self, Report, table};
use crate::amount;
use crate::assets::domain::{self, DomainError, DomainProof};
use crate::assets::{self, AssetError, Contract, Description, IssueRequest, PreparedIssue, parse_contract};
use crate::keystore::Keys;
use crate::store::wallet::AssetRecord;

pub(super) fn run(context: &Context, command: AssetCommand) -> Result<Report, CliError> {
    match command {
        AssetCommand::Contract(options) => contract(context, options),
        AssetCommand::Learn(options) => learn(context, &options),
        AssetCommand::Issue(options) => issue(context, options),
        AssetCommand::Reissue(options) => reissue(context, &options),
        AssetCommand::Burn(options) => burn(context, &options),
        AssetCommand::List => list(context),
    }
}

fn describe(ticker: String, name: Option<String>, precision: u8) -> Result<Description, CliError> {
    let name = name.unwrap_or_else(|| ticker.clone());
    Ok(Description::new(name, ticker, precision).map_err(AssetError::from)?)
}

/// The contract of a description, with the issuer key of the wallet.
fn bind(keys: &Keys, description: &Description, domain: &str) -> Result<Contract, CliError> {
    let issuer = keys.issuer_key()?;
    Ok(description.contract(domain, &issuer).map_err(AssetError::from)?)
}

fn read_contract(path: &Path) -> Result<Contract, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CliError::Input { what: format!("the contract {}", path.display()), source })?;
    Ok(parse_contract(&text).map_err(AssetError::from)?)
}

fn contract(context: &Context, options: ContractOptions) -> Result<Report, CliError> {
    let description = describe(options.ticker, options.name, options.precision)?;
    let contract = bind(&context.unlock()?, &description, &options.domain)?;
    let failed = |error: &dyn std::fmt::Display| CliError::Usage(format!("the contract cannot be written: {error}"));
    let hash = contract.contract_hash().map_err(|error| failed(&error))?;
    let value = serde_json::to_value(&contract).map_err(|error| failed(&error))?;
    let text = value.to_string();
    Ok(Report::new(json!({ "contract": value, "contract_hash": hash.to_string() }), text))
}

fn learn(context: &Context, options: &LearnOptions) -> Result<Report, CliError> {
    let contract = read_contract(&options.contract)?;
    let session = context.session()?;
    let record = assets::learn(&session.wallet, &session.ledger, options.asset, &contract)?;
    let domain = contract.entity().domain();
    let text = format!(
        "{} is {} ({}), {} decimals\nThe asset's id commits to that, and to the domain {domain}: if you trust whoever has that domain, \
         see that it stands by the asset at\n  {}",
        record.asset,
        record.ticker,
        record.name,
        record.precision,
        DomainProof::new(domain, &record.asset).url,
    );
    Ok(Report::new(asset_json(&record).with(json!({ "domain": domain })).json, text))
}

/// What JSON says of an asset that this wallet has a name for.
fn asset_json(record: &AssetRecord) -> Report {
    let json = json!({
        "asset": record.asset.to_string(),
        "token": record.token.to_string(),
        "ticker": record.ticker,
        "name": record.name,
        "precision": record.precision,
        "contract": record.contract,
    });
    Report::new(json, "")
}

fn issue(context: &Context, options: IssueOptions) -> Result<Report, CliError> {
    let session = context.session()?;
    let prepared = match options.prepared {
        Some(asset) => assets::prepared(&session.wallet, asset)?,
        None => prepare(context, &session, &options)?,
    };
    let contract = prepared.record.contract.as_deref().map(parse_contract).transpose().map_err(AssetError::from)?;
    if let Some(contract) = contract.filter(|_| !options.no_domain_proof) {
        let proof = DomainProof::new(contract.entity().domain(), &prepared.record.asset);
        let spinner = context.spinner("asking the domain");
        let checked = domain::client().and_then(|client| proof.check(&client));
        spinner.finish_and_clear();
        if let Err(error) = checked {
            return Ok(wait_for_domain(&prepared, &proof, &error));
        }
    }
    let (amount, tokens) = prepared.amounts();
    let spinner = context.spinner("waiting until the issue is final");
    let issued = assets::hand_in(&session.wallet, &session.ledger, prepared, wait(options.spend.wait))?;
    spinner.finish_and_clear();
    let record = &issued.record;
    let payment = report::payment(&issued.payment);
    let text = format!(
        "asset  {}\ntoken  {}\n{}\nTell receivers the id: a name is not unique{}",
        record.asset,
        record.token,
        payment.text,
        match record.contract {
            Some(_) => "; with the contract they can check it (`aquifer asset learn`)",
            None => ", and without a contract it is only noted in this wallet",
        }
    );
    let more = json!({ "issued": true, "amount_sat": amount, "tokens": tokens });
    Ok(Report { json: asset_json(record).with(payment.json).json, text }.with(more))
}

fn prepare(context: &Context, session: &Session, options: &IssueOptions) -> Result<PreparedIssue, CliError> {
    let contract = options.contract.as_deref().map(read_contract).transpose()?;
    let description = match (&contract, &options.ticker) {
        (Some(contract), _) => Description::of_contract(contract),
        (None, Some(ticker)) => describe(ticker.clone(), options.name.clone(), options.precision)?,
        (None, None) => return Err(CliError::Usage("name the asset with --ticker or --contract".to_owned())),
    };
    let amount = amount::parse(options.amount.as_deref().unwrap_or_default(), description.precision)?;
    let keys = context.keys(session)?;
    let contract = match (contract, &options.domain) {
        (None, Some(domain)) => Some(bind(&keys, &description, domain)?),
        (contract, _) => contract,
    };
    let request = IssueRequest { amount, tokens: options.tokens, description, contract };
    let rate = context.fee_rate(session, options.spend.fee_rate)?;
    Ok(assets::prepare(&session.wallet, &keys, &request, rate)?)
}

/// Says what the domain has to do before the issue.
fn wait_for_domain(prepared: &PreparedIssue, proof: &DomainProof, error: &DomainError) -> Report {
    let asset = prepared.record.asset;
    let text = format!(
        "asset  {asset}\nIt is prepared and not issued: its domain does not stand by it yet ({error}).\n\
         Put this line at {}\n  {}\nand then run\n  aquifer asset issue --prepared {asset}\n\
         The coins of the prepared issue stay free: a payment that spends them makes it void.",
        proof.url, proof.statement
    );
    let json = json!({
        "issued": false,
        "domain_proof": { "url": proof.url, "statement": proof.statement, "problem": error.to_string() },
    });
    Report { json: asset_json(&prepared.record).with(json).json, text }
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
