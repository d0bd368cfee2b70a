//! Answers, for people and for programs.

use serde_json::{Value, json};

use crate::backend::Place;
use crate::wallet::Payment;

/// One answer in both forms.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) json: Value,
    pub(super) text: String,
}

impl Report {
    pub(super) fn new(json: Value, text: impl Into<String>) -> Self {
        Self { json, text: text.into() }
    }

    /// Adds the fields of `more` to the object.
    pub(super) fn with(mut self, more: Value) -> Self {
        if let (Value::Object(all), Value::Object(more)) = (&mut self.json, more) {
            all.extend(more);
        }
        self
    }
}

/// Sizes and fee of a transaction and where it is final.
pub(super) fn payment(payment: &Payment) -> Report {
    let txid = payment.transaction.txid();
    let json = json!({
        "txid": txid.to_string(),
        "final": payment.place.is_some(),
        "height": payment.place.map(|place| place.height),
        "block_hash": payment.place.map(|place| place.block.to_string()),
        "fee_sat": payment.fee_sat,
        "size": payment.transaction.size(),
        "weight": payment.transaction.weight(),
        "discount_vsize": payment.transaction.discount_vsize(),
        "elapsed_ms": payment.elapsed_ms,
    });
    let state = match (payment.place, payment.elapsed_ms) {
        (Some(place), Some(elapsed)) => format!("final in block {} after {}", place.height, seconds(elapsed)),
        _ => format!("handed in; `aquifer tx {txid}` shows when it is final"),
    };
    Report::new(json, format!("{txid}\n{state}, fee {} sat", payment.fee_sat))
}

/// Where a transaction stands, for JSON.
pub(super) fn place(place: Option<Place>) -> Value {
    json!({
        "final": place.is_some(),
        "height": place.map(|place| place.height),
        "block_hash": place.map(|place| place.block.to_string()),
        "time": place.map(|place| place.time),
    })
}

fn seconds(elapsed_ms: u64) -> String {
    format!("{}.{:02} s", elapsed_ms / 1_000, elapsed_ms % 1_000 / 10)
}

/// A wait in words: estimates are in the chain's time, which runs a few blocks behind.
pub(super) fn in_about(seconds: u64) -> String {
    match seconds {
        0 => "with one of the next batches".to_owned(),
        1..120 => format!("in about {seconds} s"),
        120..7_200 => format!("in about {} minutes", seconds / 60),
        _ => format!("in about {} hours", seconds / 3_600),
    }
}

/// Lines as a table with aligned columns.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("a", "b"), row("long", "c")]), "a     b\nlong  c");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn reports_grow() {
        let report = Report::new(json!({ "a": 1 }), "x").with(json!({ "b": 2 }));
        assert_eq!(report.json, json!({ "a": 1, "b": 2 }));
        assert_eq!(seconds(1_239), "1.23 s");
        let waits = [0, 90, 3_600, 90_000].map(in_about).join(", ");
        assert_eq!(waits, "with one of the next batches, in about 90 s, in about 60 minutes, in about 25 hours");
    }
}
