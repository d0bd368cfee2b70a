//! Members that lose their disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use aquifer_proto::peer::FinalBlock;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ceremony::Participant;
use crate::ceremony::tests::{LateHelp, Members, seed_of};
use crate::config::DataDir;
use crate::peers::{PeerService, Peers};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(77)
}

/// The files of a folder with their content and mode.
fn files_of(folder: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        (entry.file_name().into_string().unwrap(), (std::fs::read(entry.path()).unwrap(), mode))
    });
    files.collect()
}

#[tokio::test]
async fn a_backup_and_the_words_make_the_same_member_again() {
    let members = Members::after_the_ceremony().await;
    let config = members.config(0);
    let backup = make(&config, &mut rng()).unwrap();
    let base = tempfile::tempdir().unwrap();
    let data = DataDir::new(base.path().join("new").join("alpha"));
    std::fs::create_dir(base.path().join("new")).unwrap();
    open(seed_of(0), &backup).unwrap().put_into(&data).unwrap();

    let mut expected = files_of(members.data(0).path());
    // Nobody holds the lock of a folder that was just made. (The members of this test have no card in theirs.)
    expected.remove("lock");
    let mut restored = files_of(data.path());
    assert!(restored.remove("card.json").is_some());
    assert_eq!(restored, expected);
    for secret in ["seed", "certificate.share", "treasury.share"] {
        assert_eq!(restored[secret].1, 0o600, "{secret}");
    }
    assert_eq!(std::fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
    let loaded = FederationMember::load(&Config { data: data.clone(), file: config.file }).unwrap();
    assert_eq!(loaded.index, MemberIndex(0));
    let beside = std::fs::read_dir(base.path().join("new")).unwrap().count();
    assert_eq!(beside, 1, "something was left beside the folder");

    // What is there is never touched.
    std::fs::remove_file(data.network()).unwrap();
    let before = files_of(data.path());
    let again = open(seed_of(0), &backup).unwrap().put_into(&data);
    assert!(matches!(again, Err(BackupError::Occupied { .. })), "{again:?}");
    assert_eq!(files_of(data.path()), before);
}

#[tokio::test]
async fn a_backup_opens_for_its_own_member_only() {
    let members = Members::after_the_ceremony().await;
    let backup = make(&members.config(0), &mut rng()).unwrap();
    let other = open(seed_of(1), &backup);
    assert!(matches!(other, Err(BackupError::Sealed(keys::BackupError::Locked))), "{other:?}");
    let text = open(seed_of(0), b"24 words");
    assert!(matches!(text, Err(BackupError::Sealed(keys::BackupError::Form))), "{text:?}");

    // A member whose files do not belong together makes no backup.
    std::fs::copy(members.data(1).treasury_share(), members.data(0).treasury_share()).unwrap();
    let broken = make(&members.config(0), &mut rng());
    assert!(matches!(broken, Err(BackupError::Identity(IdentityError::Share { .. }))), "{broken:?}");
}

#[tokio::test]
async fn what_an_interrupted_restoration_left_does_no_harm() {
    let members = Members::after_the_ceremony().await;
    let backup = make(&members.config(0), &mut rng()).unwrap();
    let base = tempfile::tempdir().unwrap();
    let half = base.path().join(".alpha.restoring");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("seed"), "half a se").unwrap();
    let data = DataDir::new(base.path().join("alpha"));
    // An empty folder is as good as none.
    data.make().unwrap();
    open(seed_of(0), &backup).unwrap().put_into(&data).unwrap();
    assert_eq!(files::read(&data.seed()).unwrap(), seed_of(0).words().as_bytes());
    assert!(!half.exists());
}

/// A member that hands over somebody's messages, but not those of this ceremony.
struct Liar;

impl PeerService for Liar {
    fn body(&self, _height: u32, _hash: &elements::BlockHash) -> Option<Vec<u8>> {
        None
    }

    fn final_blocks(&self, _from: u32, _limit: u32) -> Result<Vec<FinalBlock>, String> {
        Ok(Vec::new())
    }

    fn ceremony_messages(&self, _session: &[u8]) -> Vec<Vec<u8>> {
        vec![b"babble".to_vec()]
    }
}

#[tokio::test]
async fn words_and_one_honest_member_give_the_shares_back() {
    let members = Members::after_the_ceremony().await;
    let file: FederationFile = files::read_json(&members.data(0).federation()).unwrap();
    let federation = file.check().unwrap();
    let lost = FederationMember::load(&members.config(0)).unwrap();
    let Participant { member, index, .. } = members.participant(0);
    let nobody = shares_from_members(&member, index, &file).await;
    assert!(matches!(&nobody, Err(BackupError::NoTranscript(problems)) if problems.len() == 3), "{nobody:?}");

    // The first member that is asked lies, the second is away, the third helps.
    let stop = CancellationToken::new();
    let mut nodes = Vec::new();
    for helper in [1, 3] {
        let Participant { data, member, index, listen, .. } = members.participant(helper);
        let service: Arc<dyn PeerService> =
            if helper == 1 { Arc::new(Liar) } else { Arc::new(LateHelp(CeremonyArchive::load(&data).unwrap())) };
        let (events, received) = mpsc::channel(64);
        let node = Peers::start(&federation, index, member.tls, listen, events, service, stop.clone()).await;
        nodes.push((node.unwrap(), received));
    }
    let (shares, transcript) = shares_from_members(&member, index, &file).await.unwrap();
    stop.cancel();
    assert_eq!(shares, MemberShares { certificate: lost.share, treasury: lost.treasury_share });
    assert_eq!(transcript, CeremonyArchive::load(&members.data(3)).unwrap());
    let (_, place) = place_of(&seed_of(0), &file).unwrap();
    assert_eq!(place, MemberIndex(0));
    let stranger = place_of(&seed_of(9), &file);
    assert!(matches!(stranger, Err(BackupError::NotAMember)), "{stranger:?}");
}
