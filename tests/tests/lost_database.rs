//! A member that has lost every database but its seed and shares comes back, follows, signs again, and nothing is paid
//! twice.

use std::fs;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, wait_height};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::{Job, raw};

const LIMIT: Duration = Duration::from_secs(120);
const PEGOUT_SAT: u64 = 2_000_000;

/// Removes all databases of a member that is down.
fn lose(devnet: &mut Devnet, index: usize) -> Result<usize, HarnessError> {
    let folder = devnet.member(index)?.folder().to_owned();
    let failed = HarnessError::file("read", &folder);
    let mut lost = 0;
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(HarnessError::file("read", &folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // With the journals of SQLite beside them.
        if name.contains(".db") {
            fs::remove_file(&path).map_err(HarnessError::file("remove", &path))?;
            lost += 1;
        }
    }
    Ok(lost)
}

#[test]
fn a_member_without_its_databases_pays_nothing_twice() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, 50_000_000)?;
        let address = devnet.bitcoind().new_address()?;
        let ask = || alice.start(&["pegout", &address.to_string(), &raw(PEGOUT_SAT)]);
        let mut jobs: Vec<Job> = Vec::new();
        for victim in [0, 1] {
            jobs.push(ask()?);
            // Signed and broadcast, and in no Bitcoin block yet: this is when what it forgets could hurt.
            let batch = devnet.wait_parent_mempool(LIMIT)?;
            devnet.member(victim)?.kill9();
            assert!(lose(devnet, victim)? >= 4);
            devnet.member(victim)?.start()?;
            let height = devnet.height()?;
            wait_height(devnet.member(victim)?, height, LIMIT)?;
            devnet.wait_connected()?;
            let waiting: Vec<String> = devnet.bitcoind().client()?.call("getrawmempool", &[])?;
            assert_eq!(waiting, [batch], "the same payment, and no other");
            devnet.bitcoind().mine(1)?;
        }
        // The third is needed for everything from now on: who has forgotten votes and signs again.
        devnet.member(3)?.kill9();
        let before = devnet.height()?;
        for victim in [0, 1] {
            wait_height(devnet.member(victim)?, before.saturating_add(2), LIMIT)?;
        }
        jobs.push(ask()?);
        devnet.wait_parent_mempool(LIMIT)?;
        devnet.bitcoind().mine(1)?;
        for job in jobs {
            job.finish(LIMIT)?;
        }
        let client = devnet.bitcoind().client()?;
        wait::until("Bitcoin has no more payments", LIMIT, || {
            let waiting: Vec<String> = client.call("getrawmempool", &[])?;
            Ok(if waiting.is_empty() { Answer::Ready(()) } else { Answer::NotYet(format!("{waiting:?}")) })
        })?;
        devnet.bitcoind().mine(2)?;
        let received_sat = devnet.bitcoind().received_sat(&address, 1)?;
        let asked_sat = 3 * PEGOUT_SAT;
        assert!((asked_sat - PEGOUT_SAT / 2..asked_sat).contains(&received_sat), "{received_sat} sat for {asked_sat}");
        devnet.start_all()?;
        let height = devnet.height()?;
        devnet.wait_height(height, LIMIT)?;
        devnet.check_agreement(height)
    })
}
