//! Ceremonies between members with real TLS, real files, and members that die.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use aquifer_federation::keys::MemberSeed;
use aquifer_federation::roster::{CardDetails, MemberCard, Settings};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{
    AuditConfig, BitcoindConfig, Config, ConfigFile, InterfacesConfig, Listen, LogConfig, MempoolConfig,
    TreasuryConfig, VerdictMemory,
};
use crate::files::{self, Access};
use crate::identity::FederationMember;
use crate::peers::{CeremonySource, PeerService, Peers};
use crate::testing::free_addresses;

/// Longest wait for a ceremony of four members.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

pub(crate) fn seed_of(member: usize) -> MemberSeed {
    MemberSeed::generate(&mut ChaCha20Rng::seed_from_u64(1_000 + u64::try_from(member).unwrap()))
}

/// Four members with their data folders, before the ceremony.
pub(crate) struct Members {
    folders: Vec<TempDir>,
    roster: Roster,
    listen: Vec<SocketAddr>,
}

impl Members {
    fn new() -> Self {
        let addresses = free_addresses(8);
        let cards = (0..4).map(|member| {
            let Member { keys, tls, .. } = Member::new(NAMES[member], seed_of(member)).unwrap();
            let details = CardDetails {
                name: NAMES[member].to_owned(),
                peer_address: addresses[member].to_string(),
                api_address: addresses[4 + member].to_string(),
                tls_certificate: tls.certificate().to_vec(),
            };
            MemberCard::new(&keys, details).unwrap()
        });
        let roster = Roster::new(Settings::default(), cards.collect()).unwrap();
        let folders = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        Self { folders, roster, listen: addresses[..4].to_vec() }
    }

    pub(crate) fn data(&self, member: usize) -> DataDir {
        DataDir::new(self.folders[member].path())
    }

    pub(crate) fn participant(&self, member: usize) -> Participant {
        Participant {
            data: self.data(member),
            member: Member::new(NAMES[member], seed_of(member)).unwrap(),
            roster: self.roster.clone(),
            index: MemberIndex(u16::try_from(member).unwrap()),
            listen: self.listen[member],
        }
    }

    /// Runs a member with a random number generator of its own for this run.
    fn start(&self, member: usize, run_number: u64) -> Running {
        let participant = self.participant(member);
        let (progress, seen) = tokio::sync::watch::channel(Progress(Vec::new()));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // A runtime for each member: when it goes, every socket and task of the member goes, as with its process.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let task = runtime.spawn(async move {
            let mut rng = ChaCha20Rng::seed_from_u64(u64::from(participant.index.0) * 100 + run_number);
            run(participant, &mut rng, |now| drop(progress.send_replace(now.clone())), stopped).await
        });
        Running { runtime, task, seen, stop }
    }

    pub(crate) fn config(&self, member: usize) -> Config {
        let file = ConfigFile {
            name: NAMES[member].to_owned(),
            peers: Listen { listen: self.listen[member] },
            api: Listen { listen: self.listen[member] },
            bitcoind: BitcoindConfig { url: "http://127.0.0.1:1".to_owned(), cookie_file: "none".into() },
            treasury: TreasuryConfig::default(),
            audit: AuditConfig::default(),
            elementsd: None,
            fee_address: None,
            verdicts: VerdictMemory::default(),
            mempool: MempoolConfig::default(),
            interfaces: InterfacesConfig::default(),
            log: LogConfig::default(),
        };
        Config { data: self.data(member), file }
    }

    /// Members after their ceremony, each with its complete data folder.
    pub(crate) async fn after_the_ceremony() -> Self {
        let members = Self::new();
        let running: Vec<Running> = (0..4).map(|member| members.start(member, 0)).collect();
        for member in running {
            member.end().await.unwrap();
        }
        for member in 0..4 {
            let config = members.config(member);
            files::create(&config.data.seed(), seed_of(member).words().as_bytes(), Access::Secret).unwrap();
            config.create().unwrap();
        }
        members
    }

    /// Loads what the ceremony left, as a node would, and checks that the shares make certificates together.
    fn check_outcome(&self, outcomes: &[FederationFile]) {
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "members have different outcomes");
        for member in 0..4 {
            let data = self.data(member);
            files::create(&data.seed(), seed_of(member).words().as_bytes(), Access::Secret).unwrap();
            let loaded = FederationMember::load(&self.config(member)).unwrap();
            assert_eq!(loaded.index.position(), member);
            assert_eq!(files::read_json::<FederationFile>(&data.federation()).unwrap(), outcomes[0]);
            let network: aquifer_assets::chain::Network = files::read_json(&data.network()).unwrap();
            network.check().unwrap();
            assert!(!data.ceremony_state().exists(), "the secret state was left behind");
        }
    }
}

struct Running {
    runtime: Runtime,
    task: JoinHandle<Result<FederationFile, RunError>>,
    seen: tokio::sync::watch::Receiver<Progress>,
    stop: CancellationToken,
}

impl Running {
    async fn end(self) -> Result<FederationFile, RunError> {
        let end = tokio::time::timeout(PATIENCE, self.task).await;
        self.runtime.shutdown_background();
        end.unwrap().unwrap()
    }

    async fn until(&mut self, reached: impl Fn(&Progress) -> bool) {
        let waiting = self.seen.wait_for(|progress| reached(progress));
        drop(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap());
    }

    /// Ends it wherever it is, with every socket it has, as kill -9 would.
    async fn kill(self) {
        tokio::task::spawn_blocking(move || self.runtime.shutdown_timeout(PATIENCE)).await.unwrap();
    }
}

#[tokio::test]
async fn four_members_make_a_federation() {
    let members = Members::new();
    let running: Vec<Running> = (0..4).map(|member| members.start(member, 0)).collect();
    let mut outcomes = Vec::new();
    for member in running {
        outcomes.push(member.end().await.unwrap());
    }
    members.check_outcome(&outcomes);
    let archive = CeremonyArchive::load(&members.data(0)).unwrap();
    assert_eq!(archive.messages(b"another session"), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_killed_member_goes_on_where_it_was() {
    let members = Members::new();
    let mut delta = members.start(3, 0);
    let others: Vec<Running> = (0..3).map(|member| members.start(member, 0)).collect();
    delta.until(|progress| progress.0.iter().any(|member| member.step >= Some(Step::Reveal))).await;
    delta.kill().await;
    // With other randomness: were its part dealt anew, the others would see two different messages.
    let delta = members.start(3, 1);
    let mut outcomes = Vec::new();
    for member in others.into_iter().chain([delta]) {
        outcomes.push(member.end().await.unwrap());
    }
    members.check_outcome(&outcomes);
}

#[tokio::test]
async fn a_missing_member_is_named_and_a_stopped_one_goes_on() {
    let members = Members::new();
    let mut running: Vec<Running> = (0..3).map(|member| members.start(member, 0)).collect();
    running[0].until(|progress| progress.waiting_for() == ["delta"]).await;
    let alpha = running.remove(0);
    alpha.stop.cancel();
    assert!(matches!(alpha.end().await, Err(RunError::Stopped)));
    running.insert(0, members.start(0, 1));
    running.push(members.start(3, 0));
    let mut outcomes = Vec::new();
    for member in running {
        outcomes.push(member.end().await.unwrap());
    }
    members.check_outcome(&outcomes);
}

#[tokio::test]
async fn a_member_that_starts_over_is_caught_and_named_and_another_roster_takes_its_place() {
    let mut members = Members::new();
    let mut delta = members.start(3, 0);
    let mut others: Vec<Running> = (0..3).map(|member| members.start(member, 0)).collect();
    for other in &mut others {
        other.until(|progress| progress.0.get(3).is_some_and(|delta| delta.step.is_some())).await;
    }
    delta.until(|progress| progress.0.iter().all(|member| member.step.is_some())).await;
    delta.kill().await;
    std::fs::remove_file(members.data(3).ceremony_state()).unwrap();
    let delta = members.start(3, 1);
    for other in others.into_iter().chain([delta]) {
        let error = other.end().await.unwrap_err();
        let RunError::Fault { fault: CeremonyFault::Equivocation { .. }, culprit } = &error else {
            unreachable!("{error}")
        };
        assert_eq!(culprit.as_deref(), Some("delta"));
    }
    for data in (0..4).map(|member| members.data(member)) {
        for file in [data.federation(), data.network(), data.certificate_share(), data.treasury_share()] {
            assert!(!file.exists(), "{} was left behind", file.display());
        }
    }
    // The same roster stays a failure; under another one the same folders begin anew.
    let again = members.start(0, 2).end().await;
    assert!(matches!(again, Err(RunError::Fault { .. })), "{again:?}");
    let settings = Settings { epoch_length_blocks: 77, ..Settings::default() };
    members.roster = Roster::new(settings, members.roster.members().to_vec()).unwrap();
    let running: Vec<Running> = (0..4).map(|member| members.start(member, 3)).collect();
    let mut outcomes = Vec::new();
    for member in running {
        outcomes.push(member.end().await.unwrap());
    }
    members.check_outcome(&outcomes);
    assert!((0..4).all(|member| !members.data(member).ceremony_failure().exists()));
}

#[tokio::test]
async fn another_roster_is_not_mixed_with_a_ceremony_that_has_begun() {
    let members = Members::new();
    let mut alpha = members.start(0, 0);
    alpha.until(|progress| progress.0.first().is_some_and(|alpha| alpha.step.is_some())).await;
    alpha.kill().await;
    let mut participant = members.participant(0);
    let settings = Settings { epoch_length_blocks: 77, ..Settings::default() };
    participant.roster = Roster::new(settings, members.roster.members().to_vec()).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let end = run(participant, &mut rng, |_| {}, CancellationToken::new()).await;
    assert!(matches!(end, Err(RunError::OtherRoster)), "{end:?}");
}

/// A running node, as far as late members are concerned.
pub(crate) struct LateHelp(pub(crate) CeremonyArchive);

impl PeerService for LateHelp {
    fn body(&self, _height: u32, _hash: &elements::BlockHash) -> Option<Vec<u8>> {
        None
    }

    fn final_blocks(&self, _from: u32, _limit: u32) -> Result<Vec<aquifer_proto::peer::FinalBlock>, String> {
        Ok(Vec::new())
    }

    fn ceremony_messages(&self, session: &[u8]) -> Vec<Vec<u8>> {
        self.0.messages(session)
    }
}

#[tokio::test]
async fn a_member_that_died_at_the_very_end_gets_the_rest_from_running_nodes() {
    let members = Members::new();
    let others: Vec<Running> = (0..3).map(|member| members.start(member, 0)).collect();
    // Delta keeps a copy of its state at the moment when it has stored.
    let data = members.data(3);
    let copy = data.path().join("copy");
    let participant = members.participant(3);
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let keep = |progress: &Progress| {
        let delta = &progress.0[3];
        if delta.step == Some(Step::Stored) && !copy.exists() {
            std::fs::copy(data.ceremony_state(), &copy).unwrap();
        }
    };
    run(participant, &mut rng, keep, CancellationToken::new()).await.unwrap();
    let mut outcomes = Vec::new();
    for other in others {
        outcomes.push(other.end().await.unwrap());
    }
    for lost in
        [data.federation(), data.network(), data.certificate_share(), data.treasury_share(), data.ceremony_messages()]
    {
        std::fs::remove_file(lost).unwrap();
    }
    std::fs::rename(&copy, data.ceremony_state()).unwrap();

    let federation = outcomes[0].check().unwrap();
    let stop = CancellationToken::new();
    let mut nodes = Vec::new();
    for member in 0..3 {
        let Participant { data, member, index, listen, .. } = members.participant(member);
        let service = Arc::new(LateHelp(CeremonyArchive::load(&data).unwrap()));
        let (events, received) = mpsc::channel(64);
        let node = Peers::start(&federation, index, member.tls, listen, events, service, stop.clone()).await;
        nodes.push((node.unwrap(), received));
    }
    outcomes.push(members.start(3, 1).end().await.unwrap());
    stop.cancel();
    members.check_outcome(&outcomes);
}

/// A member that passes on what nobody has signed.
struct Babbler;

impl CeremonySource for Babbler {
    fn messages_for(&self, _caller: MemberIndex, _session: &[u8]) -> Vec<Vec<u8>> {
        vec![b"babble".to_vec()]
    }
}

#[tokio::test]
async fn babble_is_blamed_on_the_member_that_passes_it_on_and_ends_nothing() {
    let members = Members::new();
    let mut alpha = members.start(0, 0);
    let Participant { member, roster, index, listen, .. } = members.participant(3);
    let (listener, _) = peers::bind(listen).await.unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let babbling = tokio::spawn(async move {
        let directory = Directory::new(&roster, index);
        peers::serve_ceremony(directory, &member.tls, listener, Arc::new(Babbler), stopped).await
    });
    alpha
        .until(|progress| matches!(progress.0.get(3), Some(delta) if matches!(delta.reach, Reach::Misbehaves(_))))
        .await;
    stop.cancel();
    babbling.await.unwrap().unwrap();
    let mut running: Vec<Running> = (1..4).map(|member| members.start(member, 0)).collect();
    running.push(alpha);
    let mut outcomes = Vec::new();
    for member in running {
        outcomes.push(member.end().await.unwrap());
    }
    members.check_outcome(&outcomes);
}
