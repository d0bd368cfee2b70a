//! `aquifer address`, `balance`, `send`, `history`, `tx`.

use elements::Txid;
use serde_json::{Value, json};

use super::CliError;
use super::args::{AddressOptions, HistoryOptions, SendOptions, TxOptions};
use super::context::{Context, wait};
use super::names::Names;
use super::report::{self, Report, table};
use crate::wallet::{Recipient, Wallet};

pub(super) fn address(context: &Context, options: &AddressOptions) -> Result<Report, CliError> {
    let session = context.session()?;
    let (index, address) = if options.new { session.wallet.new_address()? } else { session.wallet.address()? };
    let unconfidential = address.to_unconfidential().to_string();
    let json = json!({
        "address": address.to_string(),
        "unconfidential": unconfidential,
        "script": hex::encode(address.script_pubkey().as_bytes()),
        "index": index,
    });
    Ok(Report::new(json, address.to_string()))
}

pub(super) fn balance(context: &Context) -> Result<Report, CliError> {
    let session = context.session()?;
    let names = Names::of(&session.wallet)?;
    let tip = session.wallet.wollet().tip();
    let mut assets = Vec::new();
    let mut rows = Vec::new();
    for (asset, balance) in session.wallet.balance()? {
        let mut entry = names.json(&asset);
        if let Value::Object(fields) = &mut entry {
            fields.insert("confirmed_sat".into(), balance.confirmed.into());
            fields.insert("pending_sat".into(), balance.pending.into());
        }
        assets.push(entry);
        let pending = match balance.pending {
            0 => String::new(),
            pending => format!("+ {} pending", names.show(&asset, pending)),
        };
        rows.push(vec![names.show(&asset, balance.confirmed), pending]);
    }
    let json = json!({ "height": tip.height(), "block_hash": tip.hash().to_string(), "assets": assets });
    Ok(Report::new(json, table(&rows)))
}

pub(super) fn send(context: &Context, options: &SendOptions) -> Result<Report, CliError> {
    // What can be refused without anybody's help is refused first.
    let names = Names::of(&context.wallet()?)?;
    let recipients = recipients(&names, options)?;
    let session = context.session()?;
    if options.pset.is_some() || session.wallet.account().threshold() > 1 {
        return super::pset::propose(context, &session, &recipients, options);
    }
    let keys = context.keys(&session)?;
    let rate = context.fee_rate(&session, options.spend.fee_rate)?;
    let spinner = context.spinner("waiting until the payment is final");
    let payment = session.wallet.send(&session.ledger, &keys, &recipients, rate, wait(options.spend.wait))?;
    spinner.finish_and_clear();
    let paid: Vec<Value> = recipients
        .iter()
        .map(|recipient| {
            json!({
                "address": recipient.address.to_string(),
                "asset": recipient.asset.to_string(),
                "amount_sat": recipient.amount,
            })
        })
        .collect();
    Ok(report::payment(&payment).with(json!({ "recipients": paid })))
}

fn recipients(names: &Names, options: &SendOptions) -> Result<Vec<Recipient>, CliError> {
    let one = |address: &str, amount: &str, asset: Option<&str>| {
        let asset = names.resolve(asset)?;
        Ok(Recipient { address: Wallet::parse_address(address)?, asset, amount: names.parse(&asset, amount)? })
    };
    if let (Some(address), Some(amount)) = (&options.address, &options.amount) {
        return one(address, amount, options.asset.as_deref()).map(|recipient| vec![recipient]);
    }
    let several = options.to.iter().map(|text| {
        let (address, rest) = text.split_once('=').ok_or_else(|| {
            CliError::Usage(format!("`{text}` is not a recipient; write ADDRESS=AMOUNT or ADDRESS=AMOUNT@ASSET"))
        })?;
        match rest.split_once('@') {
            Some((amount, asset)) => one(address, amount, Some(asset)),
            None => one(address, rest, options.asset.as_deref()),
        }
    });
    several.collect()
}

pub(super) fn history(context: &Context, options: &HistoryOptions) -> Result<Report, CliError> {
    let session = context.session()?;
    let names = Names::of(&session.wallet)?;
    let mut entries = Vec::new();
    let mut rows = Vec::new();
    for tx in session.wallet.history()?.into_iter().take(options.limit) {
        let changes: Vec<String> = tx.balance.iter().map(|(asset, raw)| names.show_signed(asset, *raw)).collect();
        let balance: serde_json::Map<String, Value> =
            tx.balance.iter().map(|(asset, raw)| (asset.to_string(), (*raw).into())).collect();
        let kind = kind(&tx);
        let state = tx.height.map_or_else(|| "pending".to_owned(), |height| format!("block {height}"));
        rows.push(vec![state, kind.clone(), changes.join(", "), tx.txid.to_string()]);
        entries.push(json!({
            "txid": tx.txid.to_string(),
            "final": tx.height.is_some(),
            "height": tx.height,
            "time": tx.timestamp,
            "kind": kind,
            "fee_sat": tx.fee,
            "balance": balance,
        }));
    }
    let text = if rows.is_empty() { "no transactions yet".to_owned() } else { table(&rows) };
    Ok(Report::new(json!({ "transactions": entries }), text))
}

fn kind(tx: &lwk_wollet::WalletTx) -> String {
    if tx.tx.input.iter().any(|input| input.is_pegin) {
        "pegin".to_owned()
    } else if tx.tx.output.iter().any(|output| output.is_pegout()) {
        "pegout".to_owned()
    } else {
        tx.type_.clone()
    }
}

pub(super) fn transaction(context: &Context, options: &TxOptions) -> Result<Report, CliError> {
    let txid: Txid = options
        .txid
        .parse()
        .map_err(|_| CliError::Usage(format!("`{}` is not a transaction id: 64 hexadecimal digits", options.txid)))?;
    let chain = context.chain()?;
    let pegged = chain.pegged_asset();
    let found = context.ledger(&chain)?.transaction(txid)?;
    let tx = &found.transaction;
    let outputs: Vec<Value> = tx
        .output
        .iter()
        .enumerate()
        .map(|(vout, output)| {
            json!({
                "vout": vout,
                "kind": output_kind(output),
                "asset": output.asset.explicit().map(|asset| asset.to_string()),
                "amount_sat": output.value.explicit(),
                "script": hex::encode(output.script_pubkey.as_bytes()),
            })
        })
        .collect();
    let json = json!({
        "txid": txid.to_string(),
        "size": tx.size(),
        "weight": tx.weight(),
        "discount_vsize": tx.discount_vsize(),
        "fee_sat": tx.fee_in(pegged),
        "inputs": tx.input.len(),
        "outputs": outputs,
        "hex": hex::encode(elements::encode::serialize(tx)),
    });
    let state = match found.place {
        Some(place) => format!("final in block {} ({}), proven", place.height, place.block),
        None => "pending: in the mempool of the server".to_owned(),
    };
    let text = format!(
        "{txid}\n{state}\n{} inputs, {} outputs, {} bytes, {} discounted vbytes, fee {} sat",
        tx.input.len(),
        tx.output.len(),
        tx.size(),
        tx.discount_vsize(),
        tx.fee_in(pegged)
    );
    let report = Report::new(json, text).with(report::place(found.place));
    if !options.unblind {
        return Ok(report);
    }
    let session = context.session()?;
    let opened = session.wallet.transaction(&txid)?.ok_or_else(|| {
        CliError::Usage(format!("this wallet has no part in {txid}, so there is nothing that it could unblind"))
    })?;
    // The form of the field: behind the address of the transaction in an explorer.
    let fragment =
        opened.unblinded_url("").split_once('#').map(|(_, fragment)| fragment.to_owned()).unwrap_or_default();
    let text =
        format!("{}\nlink    http://EXPLORER/tx/{txid}#{fragment}\nWhoever has it sees these amounts", report.text);
    Ok(Report { json: report.json, text }.with(json!({ "unblinding": fragment })))
}

fn output_kind(output: &elements::TxOut) -> &'static str {
    if output.is_fee() {
        "fee"
    } else if output.is_pegout() {
        "pegout"
    } else if output.script_pubkey.is_provably_unspendable() {
        "burn"
    } else if output.is_partially_blinded() {
        "confidential"
    } else {
        "explicit"
    }
}
