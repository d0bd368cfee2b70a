//! How the file comes to be.

use aquifer_functionary::index::{IndexError, IndexStore, Step};
use aquifer_tests::forge::Life;

use crate::support::{caught_up, follower, path, rows};

#[test]
fn in_one_go_or_block_by_block_or_after_a_kill_it_is_the_same() {
    let life = Life::new(70).unwrap();
    let ledger = life.chain.judge.ledger.snapshot().unwrap();
    let (params, tip) = (&life.chain.judge.params, ledger.tip().unwrap().height);
    let [at_once, slowly, killed] = std::array::from_fn(|_| tempfile::tempdir().unwrap());

    caught_up(&life.chain, at_once.path());
    let expected = rows(at_once.path());

    let mut store = IndexStore::open(&path(slowly.path())).unwrap();
    for height in 0..=tip {
        store.add_blocks(params, &ledger, [height]).unwrap();
    }
    drop(store);
    assert_eq!(rows(slowly.path()), expected);

    for at in 0..=tip {
        let mut store = IndexStore::open(&path(killed.path())).unwrap();
        // Killed before the commit: a block that is not there ends the transaction in its middle.
        store.add_blocks(params, &ledger, at..=tip.saturating_add(1)).unwrap_err();
        drop(store);
        let mut store = IndexStore::open(&path(killed.path())).unwrap();
        assert_eq!(store.tip().unwrap().map(|(height, _)| height), at.checked_sub(1));
        store.add_blocks(params, &ledger, [at]).unwrap();
    }
    assert_eq!(rows(killed.path()), expected);
    // One that is opened again has nothing to do.
    caught_up(&life.chain, killed.path());
    assert_eq!(rows(killed.path()), expected);
}

#[test]
fn one_of_another_chain_or_a_damaged_one_is_made_again() {
    let (life, other) = (Life::new(71).unwrap(), Life::new(72).unwrap());
    let folder = tempfile::tempdir().unwrap();
    caught_up(&other.chain, folder.path());
    let foreign = rows(folder.path());
    caught_up(&life.chain, folder.path());
    let right = rows(folder.path());
    assert_ne!(right, foreign);

    std::fs::write(path(folder.path()), b"this is no database, and was never one; it only has some length").unwrap();
    caught_up(&life.chain, folder.path());
    assert_eq!(rows(folder.path()), right);
}

#[test]
fn it_answers_once_it_has_caught_up_and_tells_of_changes() {
    let mut life = Life::new(73).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut follower = follower(&life.chain, folder.path());
    let reader = std::sync::Arc::clone(follower.reader());
    assert!(matches!(reader.view(), Err(IndexError::Building { height: 0, tip: 6 })));
    let mut changes = reader.changes();

    assert_eq!(follower.step().unwrap(), Step::UpToDate);
    assert_eq!(reader.view().unwrap().tip().0, 6);
    assert_eq!(changes.try_recv().unwrap().height, 6);
    assert!(changes.try_recv().is_err(), "told once");
    assert_eq!(follower.step().unwrap(), Step::UpToDate);
    assert!(changes.try_recv().is_err(), "nothing has changed");

    life.chain.extend(Vec::new()).unwrap();
    assert!(follower.is_behind().unwrap());
    assert_eq!(reader.view().unwrap().tip().0, 6, "as of its own height until the next step");
    assert_eq!(follower.step().unwrap(), Step::UpToDate);
    assert_eq!((reader.view().unwrap().tip().0, changes.try_recv().unwrap().height), (7, 7));
    assert!(reader.progress().is_ready);
}
