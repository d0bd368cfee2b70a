//! `scantxoutset`: the unspent outputs of some scripts.
//!
//! The ledger knows the history of every script, so nothing is scanned: each script is looked up. One scan runs at a time, of
//! a bounded number of scripts; another caller can ask how far it is and end it.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use elements::{Address, Script};
use miniscript::bitcoin::secp256k1::SECP256K1;
use miniscript::descriptor::{DefiniteDescriptorKey, Descriptor, DescriptorPublicKey};
use serde_json::Value;

use super::arguments::{Arguments, short};
use super::error::{Code, RpcError};
use super::node::Node;
use super::shape::{ADDRESSES, Json, Object, checksum, described, put_amount, put_asset};
use super::table::{Category, Command, Kind, Parameter};

/// Most scripts of one scan.
const MAX_SCRIPTS: usize = 100_000;
/// Last index where an object names no range.
const DEFAULT_RANGE_END: u32 = 1_000;

/// The calls.
pub(crate) const COMMANDS: &[Command] = &[Command {
    name: "scantxoutset",
    category: Category::Blockchain,
    parameters: &[
        Parameter::required("action", Kind::Text, "\"start\", \"status\" or \"abort\"."),
        Parameter::optional(
            "scanobjects",
            Kind::List,
            "none",
            "What to look for: \"addr(..)\", \"raw(..)\", or a descriptor without secret keys, alone or as {\"desc\": .., \
             \"range\": n or [first, last]}.",
        ),
    ],
    text: "The unspent outputs of addresses, scripts and descriptors (pk, pkh, wpkh, sh, wsh, and tr of a key alone); at most \
           100,000 scripts, one scan at a time. `desc` is what the script is, not where in the descriptor it stands.",
    run: scan_tx_out_set,
}];

/// How far a scan is, in scripts.
#[derive(Clone, Copy, Debug)]
struct Progress {
    done: usize,
    all: usize,
}

/// The one scan that may run.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    progress: Mutex<Option<Progress>>,
    abort: AtomicBool,
}

impl Scan {
    fn progress(&self) -> MutexGuard<'_, Option<Progress>> {
        // It is replaced in one step.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, all: usize) -> Result<Running<'_>, RpcError> {
        let mut progress = self.progress();
        if progress.is_some() {
            let message = "Scan already in progress, use action \"abort\" or \"status\"";
            return Err(RpcError::new(Code::Parameter, message));
        }
        *progress = Some(Progress { done: 0, all });
        self.abort.store(false, Ordering::Relaxed);
        Ok(Running(self))
    }
}

/// A scan that runs, as long as this lives.
struct Running<'a>(&'a Scan);

impl Running<'_> {
    /// Notes another script as done; `false` if the scan is to end.
    fn step(&self) -> bool {
        if let Some(progress) = self.0.progress().as_mut() {
            progress.done = progress.done.saturating_add(1);
        }
        !self.0.abort.load(Ordering::Relaxed)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.progress() = None;
    }
}

fn scan_tx_out_set(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    match arguments.needed_text("action")? {
        "start" => start(node, arguments),
        "status" => Ok(match *node.scan.progress() {
            None => Json::Null,
            Some(Progress { done, all }) => {
                let percent = done.saturating_mul(100).checked_div(all).unwrap_or(0);
                Object::new().with("progress", percent).into()
            }
        }),
        "abort" => {
            let runs = node.scan.progress().is_some();
            if runs {
                node.scan.abort.store(true, Ordering::Relaxed);
            }
            Ok(runs.into())
        }
        _ => Err(RpcError::new(Code::Parameter, "Invalid command")),
    }
}

fn start(node: &Node, arguments: &Arguments) -> Result<Json, RpcError> {
    let objects = arguments.get("scanobjects").and_then(Value::as_array);
    let message = "scanobjects argument is required for the start action";
    let objects = objects.ok_or_else(|| RpcError::new(Code::Misc, message))?;
    // Before the scripts are derived: that takes longer than looking for them.
    let running = node.scan.begin(1)?;
    let scripts = scripts_of(objects)?;
    *node.scan.progress() = Some(Progress { done: 0, all: scripts.len() });
    let snapshot = node.snapshot()?;
    let tip = snapshot.tip()?;
    let pegged_asset = node.sources.params.pegged_asset();
    let mut coins = BTreeMap::new();
    let mut finished = true;
    for script in &scripts {
        coins.extend(snapshot.coins_of(script)?);
        if !running.step() {
            finished = false;
            break;
        }
    }
    let mut total_sat = 0_u64;
    let unspents: Json = coins
        .into_iter()
        .map(|(outpoint, coin)| {
            if coin.output.asset.explicit() == Some(pegged_asset) {
                total_sat = total_sat.saturating_add(coin.output.value.explicit().unwrap_or(0));
            }
            let mut fields = Object::new()
                .with("txid", Json::shown(outpoint.txid))
                .with("vout", outpoint.vout)
                .with("scriptPubKey", Json::hex(coin.output.script_pubkey.as_bytes()))
                .with("desc", described(&coin.output.script_pubkey));
            put_amount(&mut fields, "amount", "amountcommitment", &coin.output.value);
            put_asset(&mut fields, &coin.output.asset);
            fields.with("height", coin.height).into()
        })
        .collect();
    let fields = Object::new()
        .with("success", finished)
        .with("txouts", snapshot.coin_count()?)
        .with("height", tip.height)
        .with("bestblock", Json::shown(tip.hash))
        .with("unspents", unspents)
        .with("total_unblinded_bitcoin_amount", Json::amount(total_sat));
    Ok(fields.into())
}

fn wrong(message: impl Into<String>) -> RpcError {
    RpcError::new(Code::AddressOrKey, message)
}

/// The scripts of all objects.
fn scripts_of(objects: &[Value]) -> Result<Vec<Script>, RpcError> {
    let mut scripts = Vec::new();
    for object in objects {
        let (text, range) = match object {
            Value::String(text) => (text.as_str(), None),
            Value::Object(fields) => match fields.get("desc") {
                Some(Value::String(text)) => (text.as_str(), fields.get("range")),
                _ => return Err(RpcError::new(Code::Parameter, "Descriptor needs to be provided in scan object")),
            },
            _ => return Err(RpcError::new(Code::Parameter, "Scan object needs to be either a string or an object")),
        };
        let (first, last) = range_of(range)?;
        let descriptor = without_checksum(text)?;
        let inside = |name: &str| descriptor.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(bytes) = inside("raw") {
            let bytes = hex::decode(bytes).map_err(|_| wrong(format!("Raw script is not hex: {}", short(bytes))))?;
            scripts.push(Script::from(bytes));
        } else if let Some(address) = inside("addr") {
            let address = Address::parse_with_params(address, ADDRESSES);
            scripts.push(address.map_err(|_| wrong(format!("Address is not valid: {}", short(text))))?.script_pubkey());
        } else {
            derive(descriptor, first, last, &mut scripts)?;
        }
        if scripts.len() > MAX_SCRIPTS {
            return Err(too_many());
        }
    }
    Ok(scripts)
}

fn too_many() -> RpcError {
    RpcError::new(Code::Parameter, format!("Range is too large: at most {MAX_SCRIPTS} scripts are looked for at once"))
}

fn range_of(range: Option<&Value>) -> Result<(u32, u32), RpcError> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let range = match range {
        None | Some(Value::Null) => Some((0, DEFAULT_RANGE_END)),
        Some(Value::Array(ends)) => match ends.as_slice() {
            [first, last] => number(first).zip(number(last)),
            _ => None,
        },
        Some(last) => number(last).map(|last| (0, last)),
    };
    let range = range.filter(|(first, last)| first <= last && *last < 1 << 31);
    let range =
        range.ok_or_else(|| RpcError::new(Code::Parameter, "Range must be specified as end or as [begin,end]"))?;
    let length = usize::try_from(range.1.saturating_sub(range.0)).unwrap_or(usize::MAX);
    if length < MAX_SCRIPTS { Ok(range) } else { Err(too_many()) }
}

/// A descriptor without its checksum, which must be right if it is there.
fn without_checksum(text: &str) -> Result<&str, RpcError> {
    let Some((descriptor, shown)) = text.rsplit_once('#') else { return Ok(text) };
    match checksum(descriptor) {
        Some(right) if right == shown => Ok(descriptor),
        _ => Err(wrong(format!("Provided checksum '{}' does not match", short(shown)))),
    }
}

/// The scripts of a descriptor of Bitcoin's language: those that are the same here, and Taproot outputs of a key alone, which
/// are tweaked otherwise.
fn derive(descriptor: &str, first: u32, last: u32, scripts: &mut Vec<Script>) -> Result<(), RpcError> {
    let invalid =
        |reason: &dyn std::fmt::Display| wrong(format!("'{}' is not a valid descriptor: {reason}", short(descriptor)));
    let parsed = Descriptor::<DescriptorPublicKey>::from_str(descriptor).map_err(|error| invalid(&error))?;
    let indexes = if parsed.has_wildcard() { first..=last } else { 0..=0 };
    for single in parsed.into_single_descriptors().map_err(|error| invalid(&error))? {
        for index in indexes.clone() {
            let definite = single.at_derivation_index(index).map_err(|error| invalid(&error))?;
            scripts.push(script_of(&definite).map_err(|reason| invalid(&reason))?);
            if scripts.len() > MAX_SCRIPTS {
                return Err(too_many());
            }
        }
    }
    Ok(())
}

fn script_of(descriptor: &Descriptor<DefiniteDescriptorKey>) -> Result<Script, String> {
    let derived = descriptor.derived_descriptor(SECP256K1).map_err(|error| error.to_string())?;
    let Descriptor::Tr(output) = &derived else { return Ok(Script::from(derived.script_pubkey().into_bytes())) };
    if output.tap_tree().is_some() {
        return Err("Taproot outputs with scripts are not served".to_owned());
    }
    let key = output.internal_key().inner.x_only_public_key().0;
    Ok(Script::new_v1_p2tr(SECP256K1, key, None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const XPUB: &str = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";

    fn found(objects: Value) -> Result<Vec<String>, Code> {
        let scripts = scripts_of(objects.as_array().unwrap());
        scripts
            .map(|scripts| scripts.iter().map(|script| hex::encode(script.as_bytes())).collect())
            .map_err(|error| error.code)
    }

    #[test]
    fn descriptors_give_their_scripts() {
        let wpkh = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
        assert_eq!(found(json!([format!("wpkh({KEY})")])).unwrap(), [wpkh]);
        assert_eq!(found(json!([format!("raw({wpkh})"), "raw(deadbeef)#89f8spxm"])).unwrap(), [wpkh, "deadbeef"]);
        let ranged = |range: Value| found(json!([{"desc": format!("wpkh({XPUB}/0/*)"), "range": range}]));
        assert_eq!(ranged(json!(9)).unwrap().len(), 10);
        assert_eq!(ranged(json!([3, 9])).unwrap().len(), 7);
        assert_eq!(found(json!([format!("wpkh({XPUB}/<0;1>/*)")])).unwrap().len(), 2_002);
        // A key alone is tweaked under Elements' own tag.
        let taproot = found(json!([format!("tr({})", &KEY[2..])])).unwrap();
        assert_ne!(taproot, ["5120da4710964f7852695de2da025290e24af6d8c281de5a0b902b7135fd9fd74d21"]);
    }

    #[test]
    fn what_is_wrong_or_too_much_is_refused() {
        for wrong in ["raw(zz)", "addr(nonsense)", "combo(00)", "wpkh(00)", "raw(deadbeef)#89f8spxx", ""] {
            assert_eq!(found(json!([wrong])), Err(Code::AddressOrKey), "{wrong}");
        }
        for range in [json!([9, 3]), json!(-1), json!("9"), json!(4_294_967_295_u64), json!(2_000_000)] {
            let object = json!([{"desc": format!("wpkh({XPUB}/0/*)"), "range": range}]);
            assert_eq!(found(object), Err(Code::Parameter), "{range}");
        }
        assert_eq!(found(json!([7])), Err(Code::Parameter));
    }

    #[test]
    fn one_scan_runs_at_a_time() {
        let scan = Scan::default();
        let running = scan.begin(2).unwrap();
        assert!(scan.begin(1).is_err());
        assert!(running.step());
        scan.abort.store(true, Ordering::Relaxed);
        assert!(!running.step());
        drop(running);
        scan.begin(1).unwrap();
    }
}
