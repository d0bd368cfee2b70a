//! A member's view of the parent chain, for one test.

use std::sync::Arc;
use std::time::Duration;

use aquifer_assets::chain::ChainParams;
use aquifer_functionary::parent::{DepositStatus, Following, Parent, ParentConfig, ParentState};
use aquifer_tests::bitcoind::Bitcoind;
use bitcoin::secp256k1::{PublicKey, SECP256K1, SecretKey};
use tempfile::TempDir;
use tokio::sync::watch;

/// A condition that has not come true by then never will.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const MEMBERS: u8 = 4;
pub(crate) const THRESHOLD: u8 = 3;

/// A peg key of a test federation.
pub(crate) fn peg_key(member: u8) -> SecretKey {
    SecretKey::from_slice(&[member + 1; 32]).unwrap()
}

/// Parameters of a chain whose federation script is 3 of 4.
pub(crate) fn params() -> ChainParams {
    let mut script = elements::script::Builder::new().push_int(THRESHOLD.into());
    for member in 0..MEMBERS {
        script = script.push_slice(&PublicKey::from_secret_key(SECP256K1, &peg_key(member)).serialize());
    }
    let fedpeg_script =
        script.push_int(MEMBERS.into()).push_opcode(elements::opcodes::all::OP_CHECKMULTISIG).into_script();
    let start_p2wsh = true;
    ChainParams { fedpeg_script, start_p2wsh, ..ChainParams::elements_default("aquifer-test") }
}

/// A claim script that stands for one user.
pub(crate) fn claim_script(user: u8) -> elements::Script {
    elements::Script::new_v0_wpkh(&elements::WPubkeyHash::from_raw_hash(
        bitcoin::hashes::Hash::from_slice(&[user; 20]).unwrap(),
    ))
}

/// A member that follows bitcoind, with a folder that survives its restarts.
pub(crate) struct Member {
    pub(crate) params: Arc<ChainParams>,
    pub(crate) parent: Parent,
    folder: Arc<TempDir>,
    config: ParentConfig,
    following: Following,
}

impl Member {
    pub(crate) fn start(bitcoind: &Bitcoind) -> Self {
        Self::start_with(bitcoind, params())
    }

    pub(crate) fn start_with(bitcoind: &Bitcoind, params: ChainParams) -> Self {
        let config = ParentConfig {
            url: bitcoind.rpc_url(),
            cookie_file: bitcoind.cookie_path(),
            poll_interval: Duration::from_millis(50),
            fallback_fee_rate_sat_per_kvb: 5_000,
            alarm: Arc::new(|_| Ok(())),
        };
        Self::open(config, Arc::new(params), Arc::new(tempfile::tempdir().unwrap()))
    }

    fn open(config: ParentConfig, params: Arc<ChainParams>, folder: Arc<TempDir>) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let store = folder.path().join("parent.db");
        let (parent, following) = Parent::start(config.clone(), Arc::clone(&params), &store, &runtime).unwrap();
        Self { params, parent, folder, config, following }
    }

    /// Ends it and starts it again on what it stored.
    pub(crate) async fn restart(self) -> Self {
        self.following.stop().await;
        Self::open(self.config, self.params, self.folder)
    }

    /// Ends it and starts it again without what it stored.
    pub(crate) async fn restart_emptied(self) -> Self {
        self.following.stop().await;
        // The last handle closes the file.
        drop(self.parent);
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        Self::open(self.config, self.params, self.folder)
    }

    /// Waits until nothing is left to look back for.
    pub(crate) async fn looked_back(&self, user: u8) {
        wait(&mut self.parent.changes(), |_| !self.parent.looks_back(&claim_script(user)).unwrap()).await;
    }

    /// Watches for deposits of a user.
    pub(crate) fn watch(&self, user: u8, height: u32) {
        self.parent.watch_deposit(&claim_script(user), height, None).unwrap();
    }

    /// The deposits of a user.
    pub(crate) fn deposits(&self, user: u8) -> Vec<DepositStatus> {
        self.parent.deposits(&claim_script(user)).unwrap()
    }

    /// Waits until the deposits of a user are as they should be.
    pub(crate) async fn wait_deposits(
        &self,
        user: u8,
        mut fits: impl FnMut(&[DepositStatus]) -> bool,
    ) -> Vec<DepositStatus> {
        let mut seen = Vec::new();
        wait(&mut self.parent.changes(), |_| {
            seen = self.deposits(user);
            fits(&seen)
        })
        .await;
        seen
    }

    /// Waits until it has seen bitcoind's best block.
    pub(crate) async fn catch_up(&self, bitcoind: &Bitcoind) {
        let best = bitcoind.block_count().unwrap();
        wait(
            &mut self.parent.subscribe(),
            |state| matches!(state, ParentState::Healthy { height, .. } if *height == best),
        )
        .await;
    }
}

/// Waits for a value that fits.
pub(crate) async fn wait<T: Clone + std::fmt::Debug>(
    receiver: &mut watch::Receiver<T>,
    fits: impl FnMut(&T) -> bool,
) -> T {
    let found = tokio::time::timeout(LIMIT, receiver.wait_for(fits)).await.map(|value| value.unwrap().clone());
    found.unwrap_or_else(|_| panic!("not within {LIMIT:?}; last: {:?}", *receiver.borrow()))
}

/// Runs blocking work where it belongs.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
