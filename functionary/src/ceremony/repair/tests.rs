//! A member without shares, and nodes beside which operators help.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use aquifer_federation::federation::FederationFile;
use aquifer_proto::peer::FinalBlock;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::ceremony::Participant;
use crate::ceremony::tests::Members;
use crate::files;
use crate::peers::{PeerService, Peers, RunningPeers};

const PATIENCE: Duration = Duration::from_secs(60);

/// What of a node matters here.
struct Node(DataDir);

impl PeerService for Node {
    fn body(&self, _height: u32, _hash: &elements::BlockHash) -> Option<Vec<u8>> {
        None
    }

    fn final_blocks(&self, _from: u32, _limit: u32) -> Result<Vec<FinalBlock>, String> {
        Ok(Vec::new())
    }

    fn ceremony_messages(&self, session: &[u8]) -> Vec<Vec<u8>> {
        CeremonyArchive::load_repair(&self.0).unwrap().messages(session)
    }
}

struct Running {
    said: watch::Receiver<String>,
    task: JoinHandle<Result<(), RepairRunError>>,
}

impl Running {
    async fn until(&mut self, words: &str) -> String {
        let waiting = self.said.wait_for(|said| said.contains(words));
        tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().clone()
    }

    async fn end(self) -> Result<(), RepairRunError> {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

fn ask(members: &Members, number: u64, stop: CancellationToken) -> Running {
    let Participant { data, member, index, listen, .. } = members.participant(0);
    let federation = identity::load_federation(&data).unwrap();
    let helpers = [3, 1, 2].map(MemberIndex).to_vec();
    let in_need = InNeed { data, member, federation, index, helpers, listen };
    let (saying, said) = watch::channel(String::new());
    let mut rng = ChaCha20Rng::seed_from_u64(number);
    let task = tokio::spawn(async move { request(in_need, &mut rng, |line| drop(saying.send(line)), stop).await });
    Running { said, task }
}

fn assist(members: &Members, helper: usize, code: &str, stop: CancellationToken) -> Running {
    let config = members.config(helper);
    let member = FederationMember::load(&config).unwrap();
    let (saying, said) = watch::channel(String::new());
    let code = code.to_owned();
    let task = tokio::spawn(async move {
        help(member, &config.data, MemberIndex(0), &code, |line| drop(saying.send(line)), stop).await
    });
    Running { said, task }
}

async fn node(
    members: &Members,
    member: usize,
    stop: &CancellationToken,
) -> (RunningPeers, mpsc::Receiver<peers::PeerEvent>) {
    let Participant { data, member, index, listen, .. } = members.participant(member);
    let file: FederationFile = files::read_json(&data.federation()).unwrap();
    let (events, received) = mpsc::channel(64);
    let service = Arc::new(Node(data));
    let running =
        Peers::start(&file.check().unwrap(), index, member.tls, listen, events, service, stop.clone()).await.unwrap();
    (running, received)
}

/// The code that is shown to the operator of the member in need.
async fn code_of(asking: &mut Running) -> String {
    let line = asking.until("repair ").await;
    line.strip_prefix("repair ").unwrap().split(':').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_shares_are_repaired_by_those_whose_operators_say_so() {
    let members = Members::after_the_ceremony().await;
    let lost = FederationMember::load(&members.config(0)).unwrap();
    let data = members.data(0);
    for file in [data.certificate_share(), data.treasury_share(), data.ceremony_messages()] {
        std::fs::remove_file(file).unwrap();
    }
    let stop = CancellationToken::new();
    let mut nodes = Vec::new();
    for member in 1..4 {
        nodes.push(node(&members, member, &stop).await);
    }

    // The first request is given up; nobody helps in it by accident.
    let first_stop = CancellationToken::new();
    let mut first = ask(&members, 1, first_stop.clone());
    let old_code = code_of(&mut first).await;
    first_stop.cancel();
    assert!(matches!(first.end().await, Err(RepairRunError::Stopped)));

    let mut asking = ask(&members, 2, stop.clone());
    let code = code_of(&mut asking).await;
    assert_ne!(code, old_code);
    let mut helping = vec![assist(&members, 1, &code, stop.clone()), assist(&members, 2, &code, stop.clone())];
    let wrong_stop = CancellationToken::new();
    let mut wrong = assist(&members, 3, &old_code, wrong_stop.clone());
    wrong.until("compare it with alpha's operator").await;
    asking.until("waiting for delta").await;
    helping[0].until("waiting for delta").await;
    assert!(!data.treasury_share().exists());
    wrong_stop.cancel();
    assert!(matches!(wrong.end().await, Err(RepairRunError::Stopped)));

    helping.push(assist(&members, 3, &code, stop.clone()));
    asking.end().await.unwrap();
    for helper in helping {
        helper.end().await.unwrap();
    }
    stop.cancel();
    let repaired = FederationMember::load(&members.config(0)).unwrap();
    assert_eq!((repaired.share, repaired.treasury_share), (lost.share, lost.treasury_share));
    assert!((1..4).all(|member| !members.data(member).repair_messages().exists()));
}

/// A helper whose node hands out what nobody has signed, and one that is away.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_of_no_help_are_named() {
    let members = Members::after_the_ceremony().await;
    let stop = CancellationToken::new();
    let room = room_of(&members.participant(0).roster, MemberIndex(0));
    CeremonyArchive::new(room, vec![b"babble".to_vec()]).save_as(&members.data(1).repair_messages()).unwrap();
    let _beta = node(&members, 1, &stop).await;
    let mut asking = ask(&members, 1, stop.clone());
    let line = asking.until("beta (the bytes are no repair message)").await;
    assert!(line.contains("gamma"), "{line}");
    asking.until("delta (no answer").await;
    stop.cancel();
    assert!(matches!(asking.end().await, Err(RepairRunError::Stopped)));
}
