//! The folder of a registry: one file for each asset, `<asset>.json` or `xx/<asset>.json` with the first two digits of
//! its id, with the asset's `contract`; a picture `<asset>.png` may lie beside it. So does the database of the public
//! registry, of which the folder may be a copy.
//!
//! An asset is listed when the chain has it and its issuance commits to the contract. It then stays so: issuances are
//! final. The folder is looked through again now and then; files that have not changed are not read again.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use elements::{AssetId, OutPoint, Txid};
use serde_json::Value;

use super::contract::Contract;
use crate::api::esplora::View;
use crate::api::http::Refusal;

/// How long the folder is not looked at again.
const PAUSE: Duration = Duration::from_secs(15);
/// Most assets that are read.
const MAX_ASSETS: usize = 100_000;
/// Longest file of an asset, in bytes.
const MAX_FILE_LEN: u64 = 64 << 10;
/// Longest picture, in bytes. More are not shown.
const MAX_ICON_LEN: u64 = 32 << 10;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// An asset whose contract its issuance commits to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    /// The asset.
    pub(crate) asset: AssetId,
    /// Its contract.
    pub(crate) contract: Contract,
    /// The transaction that issues it, and its input.
    pub(crate) issuance: (Txid, u32),
    /// What that input spends.
    pub(crate) prevout: OutPoint,
    /// A picture, PNG.
    pub(crate) icon: Option<Vec<u8>>,
}

/// What is listed at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// By asset.
    pub(crate) assets: BTreeMap<AssetId, Arc<Listed>>,
    /// Since when it is so.
    pub(crate) since: Option<SystemTime>,
}

/// A file that was read.
struct File {
    modified: SystemTime,
    icon_modified: Option<SystemTime>,
    /// `None` if it is not what it should be.
    contract: Option<Contract>,
    icon: Option<Vec<u8>>,
    /// Once the chain is known to confirm it.
    listed: Option<Arc<Listed>>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    files: BTreeMap<AssetId, File>,
    listing: Arc<Listing>,
}

/// A registry in a folder.
pub(crate) struct Registry {
    folder: PathBuf,
    state: Mutex<State>,
}

impl Registry {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The listing is replaced in one step at the end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is listed now. May look through the folder: for threads that may wait.
    ///
    /// # Errors
    /// [`Refusal`] if the ledger cannot be read.
    pub(crate) fn listing(&self, view: &View<'_>) -> Result<Arc<Listing>, Refusal> {
        let mut state = self.state();
        if state.looked.is_none_or(|looked| looked.elapsed() >= PAUSE) {
            self.look(&mut state);
            let mut assets = BTreeMap::new();
            for (asset, file) in &mut state.files {
                // What was found out stays, even if there is no time for the rest.
                if file.listed.is_none() {
                    file.listed = committed(view, asset, file)?.map(Arc::new);
                }
                assets.extend(file.listed.as_ref().map(|listed| (*asset, Arc::clone(listed))));
            }
            state.looked = Some(Instant::now());
            if state.listing.since.is_none() || assets != state.listing.assets {
                state.listing = Arc::new(Listing { assets, since: Some(SystemTime::now()) });
            }
        }
        Ok(Arc::clone(&state.listing))
    }

    fn look(&self, state: &mut State) {
        let mut found = Vec::new();
        for folder in std::iter::once(self.folder.clone()).chain(parts(&self.folder)) {
            for path in entries(&folder) {
                let named = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
                if let Some(asset) = named
                    && path.extension().is_some_and(|extension| extension == "json")
                    && found.len() < MAX_ASSETS
                {
                    found.push((asset, path));
                }
            }
        }
        let mut files = BTreeMap::new();
        for (asset, path) in found {
            let (modified, icon_path) = (modified(&path), path.with_extension("png"));
            let icon_modified = fs::metadata(&icon_path).and_then(|about| about.modified()).ok();
            let Some(modified) = modified else { continue };
            let file = match state.files.remove(&asset) {
                Some(file) if file.modified == modified && file.icon_modified == icon_modified => file,
                _ => File { modified, icon_modified, contract: contract(&path), icon: icon(&icon_path), listed: None },
            };
            files.insert(asset, file);
        }
        state.files = files;
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot read the asset registry");
            Vec::new()
        }
    }
}

/// Folders whose names are two hexadecimal digits.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let is_part = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) && path.is_dir()
    };
    entries(folder).into_iter().filter(is_part).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|about| about.modified()).ok()
}

/// A file up to a length; `None` if there is none or it is longer.
fn read(path: &Path, max_len: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(max_len + 1).read_to_end(&mut bytes).ok()?;
    u64::try_from(bytes.len()).is_ok_and(|len| len <= max_len).then_some(bytes)
}

fn contract(path: &Path) -> Option<Contract> {
    let read = || {
        let bytes = read(path, MAX_FILE_LEN).ok_or_else(|| "it cannot be read or is too long".to_owned())?;
        let mut document: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let contract = document.get_mut("contract").map(Value::take).ok_or("it has no contract")?;
        Contract::read(contract).map_err(|error| error.to_string())
    };
    read().inspect_err(|reason| tracing::warn!(file = %path.display(), reason, "left out of the asset registry")).ok()
}

fn icon(path: &Path) -> Option<Vec<u8>> {
    read(path, MAX_ICON_LEN).filter(|bytes| bytes.starts_with(PNG))
}

/// The entry of an asset, if the chain has it and its issuance commits to the contract in the file.
fn committed(view: &View<'_>, asset: &AssetId, file: &File) -> Result<Option<Listed>, Refusal> {
    let Some(contract) = &file.contract else { return Ok(None) };
    let stored = view.ledger().issuance(asset)?.filter(|stored| stored.height <= view.tip.height);
    let Some(record) = stored.map(|stored| stored.record) else { return Ok(None) };
    if record.contract_hash != Some(contract.hash.to_byte_array()) {
        return Ok(None);
    }
    let transaction = view.decoded(&record.txid)?;
    let input = transaction.as_ref().and_then(|found| found.input.get(usize::try_from(record.vin).ok()?));
    Ok(input.map(|input| Listed {
        asset: *asset,
        contract: contract.clone(),
        issuance: (record.txid, record.vin),
        prevout: input.previous_output,
        icon: file.icon.clone(),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn asset(number: u8) -> AssetId {
        AssetId::from_byte_array([number; 32])
    }

    fn document(name: &str) -> String {
        let contract = json!({ "entity": { "domain": "gold.example" }, "name": name, "precision": 2, "version": 0 });
        json!({ "contract": contract, "name": "whatever else it says" }).to_string()
    }

    fn names(state: &State) -> Vec<(AssetId, Option<&str>, bool)> {
        let named = state.files.iter().map(|(asset, file)| {
            (*asset, file.contract.as_ref().map(|contract| contract.name.as_str()), file.icon.is_some())
        });
        named.collect()
    }

    #[test]
    fn files_are_found_in_both_places_and_bad_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: String| folder.path().join(path);
        fs::create_dir(at("02".into())).unwrap();
        fs::write(at(format!("{}.json", asset(1))), document("Gold")).unwrap();
        fs::write(at(format!("{}.png", asset(1))), [PNG, b"rest"].concat()).unwrap();
        fs::write(at(format!("02/{}.json", asset(2))), document("Silver")).unwrap();
        fs::write(at(format!("02/{}.png", asset(2))), "<svg onload=...>").unwrap();
        fs::write(at(format!("{}.json", asset(3))), "{").unwrap();
        fs::write(at(format!("{}.json", asset(4))), vec![b' '; 100_000]).unwrap();
        fs::write(at("index.json".into()), document("Nothing")).unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let mut state = State::default();
        registry.look(&mut state);
        let expected = [
            (asset(1), Some("Gold"), true),
            (asset(2), Some("Silver"), false),
            (asset(3), None, false),
            (asset(4), None, false),
        ];
        assert_eq!(names(&state), expected);

        fs::remove_file(at(format!("{}.json", asset(1)))).unwrap();
        fs::write(at(format!("{}.json", asset(3))), document("Copper")).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(at(format!("{}.json", asset(3)))).unwrap().set_modified(later).unwrap();
        registry.look(&mut state);
        assert_eq!(
            names(&state),
            [(asset(2), Some("Silver"), false), (asset(3), Some("Copper"), false), (asset(4), None, false)]
        );
    }

    #[test]
    fn a_folder_that_is_not_there_lists_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().join("nowhere"));
        let mut state = State::default();
        registry.look(&mut state);
        assert!(state.files.is_empty());
    }
}
