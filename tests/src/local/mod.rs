//! A federation in one process: real chains on real SQLite files, with a network in memory that an auditor listens to.
//!
//! For what processes cannot show: a member that stops before or after one particular write, and every message that was
//! ever sent. The engine, the stores, the signatures and the blocks are those of `aquiferd`.

mod audit;
mod bus;
mod gate;
mod parent;
mod peg;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aquifer_assets::chain::ChainParams;
use aquifer_federation::consensus::Timeouts;
use aquifer_federation::federation::Federation;
use aquifer_federation::keys::{BlsShare, MemberSeed, TreasuryShare};
use aquifer_federation::roster::MemberIndex;
use aquifer_functionary::chain::judge::Judge;
use aquifer_functionary::chain::oversight::{BatchGuard, Hold};
use aquifer_functionary::chain::parent::ParentChain;
use aquifer_functionary::chain::{ChainError, Core, CoreParts, CoreStatus, Event, Pacing, SigningKeys, SystemClock};
use aquifer_functionary::halt::HaltDesk;
use aquifer_functionary::mempool::Mempool;
use aquifer_functionary::store::consensus::ConsensusStore;
use aquifer_functionary::store::ledger::{LedgerReader, LedgerStore};
use aquifer_functionary::store::signer::SignerStore;
use aquifer_functionary::store::{Gate, OpenGate, StoreError};
use elements::BlockHash;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use self::parent::{LocalParent, LocalParentTasks};

pub use audit::Audit;
pub use bus::{Bus, Post};
pub use gate::{Moment, StopAt};
pub use peg::User;

use crate::forge::Owner;
use crate::founding::Founded;

/// When a batch is signed by script that the treasury key has not signed.
const SCRIPT_AFTER: Duration = Duration::from_secs(3);

/// A running chain.
struct Running {
    events: SyncSender<Event>,
    mempool: Arc<Mempool>,
    status: Arc<CoreStatus>,
    parent: LocalParentTasks,
    thread: JoinHandle<Result<(), ChainError>>,
}

/// One member: its secrets and its folder outlive its chain.
struct Member {
    seed: MemberSeed,
    share: BlsShare,
    treasury_share: TreasuryShare,
    folder: PathBuf,
    running: Option<Running>,
}

/// The auditors of all members.
#[derive(Default)]
struct Objection(AtomicBool);

impl BatchGuard for Objection {
    fn hold(&self, _height: u32) -> Result<Option<Hold>, StoreError> {
        let stopped = Hold::Stopped { from_height: 0, reason: "an auditor objects".to_owned() };
        Ok(self.0.load(Ordering::SeqCst).then_some(stopped))
    }
}

/// A federation in one process.
pub struct LocalFederation {
    federation: Arc<Federation>,
    members: Vec<Member>,
    bus: Arc<Bus>,
    objection: Arc<Objection>,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl LocalFederation {
    /// Makes a federation of `count` members from a seed: keys, ceremony, folders. Nothing runs yet.
    pub fn new(count: u16, seed: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let Founded { federation, seeds, shares, treasury_shares } = Founded::new(count, &mut rng)?;
        let federation = Arc::new(federation);
        let folder = tempfile::tempdir()?;
        let ledgers = (0..count).map(|number| folder.path().join(number.to_string())).collect::<Vec<_>>();
        for member in &ledgers {
            std::fs::create_dir(member)?;
        }
        let bus = Arc::new(Bus::new(&ledgers));
        let members = seeds
            .into_iter()
            .zip(shares)
            .zip(treasury_shares)
            .zip(ledgers)
            .map(|(((seed, share), treasury_share), folder)| Member {
                seed,
                share,
                treasury_share,
                folder,
                running: None,
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(LocalFederation { federation, members, bus, objection: Arc::default(), runtime, folder })
    }

    /// The auditor's findings so far.
    pub fn audit(&self) -> MutexGuard<'_, Audit> {
        self.bus.audit()
    }

    /// Starts a member's chain from its folder; `gate` watches its writes.
    pub fn start_with(&mut self, index: u16, gate: Arc<dyn Gate>) -> Result<(), Box<dyn std::error::Error>> {
        // Messages grow with the square of the members, and they share one machine.
        let pace = u32::try_from(self.members.len().div_ceil(4).pow(2))?;
        let member = self.members.get_mut(usize::from(index)).ok_or("no such member")?;
        let me = MemberIndex(index);
        let params = Arc::new(self.federation.params.clone());
        let ledger_path = member.folder.join("ledger.db");
        let ledger = LedgerStore::open(&ledger_path, &params, Arc::clone(&gate))?;
        let reader = Arc::new(LedgerReader::new(&ledger_path));
        let (parent, tasks) = LocalParent::start(
            &self.federation,
            me,
            member.seed.keys().peg,
            &member.folder,
            Arc::clone(&gate),
            self.runtime.handle(),
        )?;
        let parent: Arc<dyn ParentChain> = Arc::new(parent);
        let mempool = Arc::new(Mempool::new((*params).clone(), Arc::clone(&reader), Arc::clone(&parent)));
        let roster = Arc::new(self.federation.roster.clone());
        let chain = params.genesis_hash().to_byte_array();
        let halt_path = member.folder.join("halt.db");
        let halts = HaltDesk::open(&halt_path, Arc::clone(&roster), chain, me, member.seed.keys().host)?;
        let judge = Judge {
            halts: Arc::new(halts),
            params,
            roster,
            treasury: Arc::new(self.federation.treasury.clone()),
            ledger: reader,
            mempool: Arc::clone(&mempool),
            parent,
            clock: Arc::new(SystemClock),
            fee_script: Owner::new(&mut ChaCha20Rng::seed_from_u64(u64::from(index))).script(),
            opinion: None,
        };
        let (sender, events) = sync_channel(10_000);
        let status = Arc::new(CoreStatus::default());
        let parts = CoreParts {
            federation: Arc::clone(&self.federation),
            me,
            keys: SigningKeys {
                member: member.seed.keys(),
                bls: member.share.clone(),
                treasury: member.treasury_share.clone(),
            },
            pacing: Pacing {
                idle_interval: Duration::from_millis(30) * pace,
                min_spacing: Duration::from_millis(10) * pace,
                timeouts: Timeouts {
                    propose: Duration::from_millis(800) * pace,
                    vote: Duration::from_millis(300) * pace,
                    per_round: Duration::from_millis(200) * pace,
                    rebroadcast: Duration::from_millis(700) * pace,
                },
            },
            script_after: SCRIPT_AFTER,
            ledger,
            consensus: ConsensusStore::open(&member.folder.join("consensus.db"), Arc::clone(&gate))?,
            signer: SignerStore::open(&member.folder.join("signer.db"), gate)?,
            judge,
            guard: Arc::<Objection>::clone(&self.objection),
            network: self.bus.network(me),
            status: Arc::clone(&status),
        };
        let core = Core::new(parts, sender.clone(), events)?;
        let bus = Arc::clone(&self.bus);
        let thread = std::thread::Builder::new().name(format!("member {index}")).spawn(move || {
            let result = core.run();
            if let Err(error) = &result {
                tracing::error!(member = %me, %error, "stopped");
            }
            bus.leave(me);
            result
        })?;
        self.bus.join(me, sender.clone());
        member.running = Some(Running { events: sender, mempool, status, parent: tasks, thread });
        Ok(())
    }

    /// Starts a member's chain from its folder.
    pub fn start(&mut self, index: u16) -> Result<(), Box<dyn std::error::Error>> {
        self.start_with(index, Arc::new(OpenGate))
    }

    /// Stops a member's chain between two events.
    pub fn stop(&mut self, index: u16) -> Result<(), ChainError> {
        let running = self.members.get_mut(usize::from(index)).and_then(|member| member.running.take());
        running.map_or(Ok(()), |running| running.stop(&self.runtime))
    }

    /// Waits until a member's chain ends by itself, and returns why it did.
    pub fn wait_for_end(&mut self, index: u16, patience: Duration) -> Result<ChainError, String> {
        wait_until(patience, || self.has_ended(index))
            .map_err(|_| format!("member {index} did not stop within {patience:?}"))?;
        match self.stop(index) {
            Err(ChainError::Thread("member")) => Err("it panicked".into()),
            Err(error) => Ok(error),
            Ok(()) => Err("it stopped without an error".into()),
        }
    }

    /// Parameters of the chain.
    pub fn params(&self) -> &ChainParams {
        &self.federation.params
    }

    /// What it takes to sign.
    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// The network between the members.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// From now on the auditors of all members object to everything, or do so no more.
    pub fn object(&self, objects: bool) {
        self.objection.0.store(objects, Ordering::SeqCst);
    }

    /// What a running member asks its operator to look at.
    pub fn alarms(&self, index: u16) -> Vec<String> {
        let running = self.members.get(usize::from(index)).and_then(|member| member.running.as_ref());
        running.map(|running| running.status.alarms()).unwrap_or_default()
    }

    fn mempools(&self) -> impl Iterator<Item = &Mempool> {
        self.members.iter().filter_map(|member| member.running.as_ref()).map(|running| &*running.mempool)
    }

    /// Final height of a member's ledger on disk.
    pub fn height(&self, index: u16) -> u32 {
        self.bus.height(MemberIndex(index))
    }

    /// Waits until all of `members` have come to `height`.
    pub fn wait_for_height(&self, members: &[u16], height: u32, patience: Duration) -> Result<(), String> {
        wait_until(patience, || members.iter().all(|member| self.height(*member) >= height)).map_err(|_| {
            let heights: Vec<u32> = members.iter().map(|member| self.height(*member)).collect();
            let ended: Vec<u16> = members.iter().copied().filter(|member| self.has_ended(*member)).collect();
            format!("members {members:?} stand at {heights:?} after {patience:?}, not at {height}; ended: {ended:?}")
        })
    }

    /// Whether a member's chain was started and has ended by itself.
    fn has_ended(&self, index: u16) -> bool {
        let running = self.members.get(usize::from(index)).and_then(|member| member.running.as_ref());
        running.is_some_and(|running| running.thread.is_finished())
    }

    /// The block at a height in a member's ledger.
    pub fn block_hash(&self, index: u16, height: u32) -> Option<BlockHash> {
        self.bus.block_hash(MemberIndex(index), height)
    }

    /// A member's folder.
    pub fn folder(&self, index: u16) -> PathBuf {
        self.folder.path().join(index.to_string())
    }

    /// Copies a stopped member's folder, as a backup would.
    pub fn back_up(&self, index: u16, to: &Path) -> std::io::Result<()> {
        copy_files(&self.folder(index), to)
    }

    /// Puts a backup in the place of a stopped member's folder.
    pub fn restore(&self, index: u16, from: &Path) -> std::io::Result<()> {
        let folder = self.folder(index);
        std::fs::remove_dir_all(&folder)?;
        copy_files(from, &folder)
    }
}

impl Running {
    /// Ends it, if it has not ended by itself; what it says is what its chain ended with.
    fn stop(self, runtime: &tokio::runtime::Runtime) -> Result<(), ChainError> {
        // A chain that ended by itself takes no more events; its result is what counts.
        let _ = self.events.send(Event::Stop);
        let result = self.thread.join().map_err(|_| ChainError::Thread("member"));
        runtime.block_on(self.parent.stop());
        result?
    }
}

impl Drop for LocalFederation {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(running) = member.running.take() {
                let _ = running.stop(&self.runtime);
            }
        }
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Waits until a condition holds.
///
/// # Errors
/// If it does not within `patience`.
pub fn wait_until(patience: Duration, condition: impl Fn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > patience {
            return Err(format!("not within {patience:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
