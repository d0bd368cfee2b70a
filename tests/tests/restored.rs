//! Members that lose their disks: one has a backup, one only its words, one its words and no transcript either. Each
//! comes back and signs nothing but what it had signed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, wait_height};
use aquifer_tests::load::Load;
use aquifer_tests::member::{Member, signed_in};
use aquifer_tests::process::{self, Process};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::raw;

const LIMIT: Duration = Duration::from_secs(180);
const HEADERS: &str = "SELECT height, block FROM headers";
const BATCHES: &str = "SELECT height, txid FROM batches";

#[test]
fn members_that_lose_their_disks_come_back_and_sign_nothing_else() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, 100_000_000)?;
        let address = devnet.bitcoind().new_address()?.to_string();
        let job = alice.start(&["pegout", &address, &raw(10_000_000)])?;
        devnet.wait_parent_mempool(LIMIT)?;
        devnet.bitcoind().mine(1)?;
        job.finish(LIMIT)?;
        for member in devnet.members() {
            let batches = wait_signed_batches(member)?;
            assert_eq!(batches.len(), 1, "{}", member.name());
        }
        let asset = devnet.chain()?.pegged_asset().to_string();
        let load = Load::start(alice, &bob, &asset)?;

        from_a_backup(devnet)?;
        from_words_alone(devnet)?;
        without_a_transcript(devnet)?;
        without_the_record_of_signatures(devnet)?;

        devnet.settle(load, &bob, &asset, LIMIT)
    })
}

/// The backup is made while the member runs; everything it signs afterwards is lost with the disk.
fn from_a_backup(devnet: &mut Devnet) -> Result<(), HarnessError> {
    let (backup, lost) = (devnet.folder()?.join("backup"), devnet.folder()?.join("lost-1"));
    let member = devnet.member(1)?;
    let mut command = member.command("backup");
    command.arg("--out").arg(&backup);
    process::run(command, LIMIT)?;
    let height = devnet.height()?;
    devnet.wait_height(height.saturating_add(2), LIMIT)?;
    let member = devnet.member(1)?;
    let words = member.lose_disk(&lost)?;
    let wrong = member.restore(&words.replacen(' ', "  abandon ", 1), &["--backup", text(&backup)?]);
    assert!(matches!(&wrong, Err(error) if error.to_string().contains("24 words")), "{wrong:?}");
    member.restore(&words, &["--backup", text(&backup)?])?;
    let again = member.restore(&words, &["--backup", text(&backup)?]);
    assert!(matches!(&again, Err(error) if error.to_string().contains("not empty")), "{again:?}");
    comes_back(devnet, 1, &lost)
}

/// There is no backup. Others run, and one of their operators gives away its federation.json.
fn from_words_alone(devnet: &mut Devnet) -> Result<(), HarnessError> {
    let (federation, lost) = (devnet.member(0)?.folder().join("federation.json"), devnet.folder()?.join("lost-2"));
    let (url, cookie) = (devnet.bitcoind().rpc_url(), devnet.bitcoind().cookie_path());
    let auditor = devnet.auditor(2)?.key().to_owned();
    let member = devnet.member(2)?;
    let words = member.lose_disk(&lost)?;
    let arguments = [
        "--federation",
        text(&federation)?,
        "--bitcoind-url",
        &url,
        "--bitcoind-cookie",
        text(&cookie)?,
        "--auditor",
        &auditor,
    ];
    member.restore(&words, &arguments)?;
    // Choices of the operator in aquiferd.toml are in a backup alone.
    for file in ["certificate.share", "treasury.share", "ceremony.messages", "federation.json", "card.json"] {
        let read = |folder: &Path| fs::read_to_string(folder.join(file)).or_else(|_| hex_of(&folder.join(file)));
        assert_eq!(read(member.folder()).ok(), read(&lost).ok(), "{file}");
    }
    comes_back(devnet, 2, &lost)
}

fn hex_of(path: &Path) -> std::io::Result<String> {
    fs::read(path).map(hex::encode)
}

/// The shares are gone, and so is every copy of the transcript: k others help.
fn without_a_transcript(devnet: &mut Devnet) -> Result<(), HarnessError> {
    let lost = devnet.folder()?.join("lost-3");
    let log = devnet.folder()?.join("repair.log");
    let helpers: Vec<String> = devnet.members().iter().take(3).map(|member| member.name().to_owned()).collect();
    let member = devnet.member(3)?;
    let words = member.lose_disk(&lost)?;
    let name = member.name().to_owned();
    fs::create_dir(member.folder()).map_err(HarnessError::file("make", member.folder()))?;
    // What `aquiferd init` makes of the words, and a copy of another member's file.
    let kept = [("seed", Some(words)), ("card.json", None), ("aquiferd.toml", None), ("federation.json", None)];
    for (file, content) in kept {
        let content = content.map_or_else(|| fs::read_to_string(lost.join(file)), Ok);
        let path = member.folder().join(file);
        content.and_then(|content| fs::write(&path, content)).map_err(HarnessError::file("write", &path))?;
    }
    let mut command = member.command("repair");
    command.arg("request").args(helpers.iter().flat_map(|helper| ["--helper", helper]));
    let mut request = Process::spawn("repair request", command, &log)?;
    let code = wait::until("a code is shown", LIMIT, || {
        request.check_running()?;
        let shown = fs::read_to_string(&log).map_err(HarnessError::file("read", &log))?;
        let code = shown.split_once("repair ").and_then(|(_, rest)| rest.split_once(':'));
        Ok(code.map_or(Answer::NotYet(shown.clone()), |(code, _)| Answer::Ready(code.to_owned())))
    })?;
    let mut helping = Vec::new();
    for helper in devnet.members().iter().take(3) {
        let mut command = helper.command("repair");
        command.args(["assist", &name, "--code", &code]);
        helping.push(Process::spawn(format!("repair assist of {}", helper.name()), command, helper.log())?);
    }
    for process in helping.iter_mut().chain([&mut request]) {
        let status = process.wait(LIMIT)?;
        assert!(status.success(), "{}", process.tail());
    }
    for file in ["certificate.share", "treasury.share"] {
        let read = |folder: &Path| fs::read(folder.join(file)).ok();
        assert_eq!(read(devnet.member(3)?.folder()), read(&lost), "{file}");
    }
    comes_back(devnet, 3, &lost)
}

/// Only `signer.db` is lost. The batch is signed once more, and it is the same.
fn without_the_record_of_signatures(devnet: &mut Devnet) -> Result<(), HarnessError> {
    let member = devnet.member(0)?;
    member.kill9();
    let before = signed_in(member.folder(), BATCHES)?;
    for file in ["signer.db", "signer.db-wal", "signer.db-shm"] {
        match fs::remove_file(member.folder().join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(HarnessError::Story(format!("{file}: {error}")));
            }
            _ => {}
        }
    }
    member.start()?;
    assert_eq!(wait_signed_batches(member)?, before);
    let height = devnet.height()?;
    devnet.wait_height(height.saturating_add(2), LIMIT)?;
    Ok(())
}

/// The member starts, catches up and signs again. What it signed before and after do not contradict each other.
fn comes_back(devnet: &mut Devnet, number: usize, lost: &Path) -> Result<(), HarnessError> {
    let before = signed_in(lost, HEADERS)?;
    let last = before.keys().next_back().copied().unwrap_or_default();
    let height = devnet.height()?.max(last);
    let member = devnet.member(number)?;
    member.start()?;
    wait_height(member, height, LIMIT)?;
    wait_signed(member, HEADERS)?;
    for (height, block) in signed_in(member.folder(), HEADERS)? {
        assert!(before.get(&height).is_none_or(|earlier| *earlier == block), "two headers at {height}");
    }
    assert_eq!(wait_signed_batches(member)?, signed_in(lost, BATCHES)?);
    Ok(())
}

/// The batches that a member has signed, once there is one.
fn wait_signed_batches(member: &Member) -> Result<BTreeMap<u32, [u8; 32]>, HarnessError> {
    wait_signed(member, BATCHES)
}

fn wait_signed(member: &Member, query: &str) -> Result<BTreeMap<u32, [u8; 32]>, HarnessError> {
    wait::until(&format!("{} has signed: {query}", member.name()), LIMIT, || {
        Ok(match signed_in(member.folder(), query) {
            Ok(signed) if !signed.is_empty() => Answer::Ready(signed),
            Ok(_) => Answer::NotYet("nothing".to_owned()),
            // A member that has just started may not have made the file.
            Err(error) => Answer::NotYet(error.to_string()),
        })
    })
}

fn text(path: &Path) -> Result<&str, HarnessError> {
    path.to_str().ok_or_else(|| HarnessError::Story(format!("{} is no text", path.display())))
}
