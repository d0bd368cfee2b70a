//! Clients that mean no good, on every port of a member that serves everybody: what they do is a table. Each of them loses
//! its connection within the limit that the port has for it, honest clients are answered on all ports meanwhile, payments go
//! on being final, and afterwards the member holds no more files and memory than before.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod attacks;
mod crowds;
mod ports;
mod wire;

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aquifer_tests::HarnessError;
use aquifer_tests::bench::measure::memory;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use aquifer_tests::load::Load;
use aquifer_tests::member::Member;
use aquifer_tests::wait::{self, Answer};
use ports::{PATIENCE, Port, Target};
use wire::Opener;

const LIMIT: Duration = Duration::from_secs(60);
/// What allocators and caches may keep.
const KEPT_BYTES: u64 = 96 << 20;
/// Files that databases may have opened meanwhile: two readers keep eight spare connections each, of up to three files, and
/// SQLite holds on to files of closed connections as long as others lock the same. Attackers are two thousand.
const KEPT_FILES: usize = 64;
/// Sockets of a payment that is under way.
const KEPT_SOCKETS: usize = 2;

/// What a member holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    sockets: usize,
    files: usize,
    resident_bytes: u64,
}

impl Held {
    fn by(member: &Member) -> Result<Self, HarnessError> {
        let process = member.process_id()?;
        let folder = format!("/proc/{process}/fd");
        let entries = std::fs::read_dir(&folder).map_err(HarnessError::file("read", folder.as_ref()))?;
        let links: Vec<_> = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
        let sockets = links.iter().filter(|link| link.to_string_lossy().starts_with("socket:")).count();
        let resident_bytes = memory::resident_bytes_of(process).unwrap_or_default();
        Ok(Self { sockets, files: links.len() - sockets, resident_bytes })
    }
}

/// The address of an attacker; each has its own, as far as the limits for one address are concerned.
pub(crate) fn attacker(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(127, 1 + high, low, 1)
}

#[test]
fn clients_that_mean_no_good_lose_their_connections_and_nobody_else_notices() -> Result<(), HarnessError> {
    // As most systems have it: the member is to help itself.
    crowds::allow_files(crowds::AT_FIRST)?;
    let options = DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() };
    Devnet::play(options, |devnet| {
        crowds::allow_files(crowds::MANY)?;
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, 100_000_000)?;
        let chain = devnet.chain()?;
        let asset = chain.pegged_asset().to_string();
        let (opener, target) = (Opener::new()?, Target::new(devnet, &chain)?);
        for port in Port::ALL {
            target.ask(&opener, port)?;
        }
        let before = Held::by(devnet.member(0)?)?;
        let load = Load::start(alice, &bob, &asset)?;
        let begun = Instant::now();
        attack(&opener, &target)?;
        let took = begun.elapsed();
        let after = wait::until("the member closes what was left behind", LIMIT, || {
            let held = Held::by(devnet.member(0)?)?;
            let is_back = held.sockets <= before.sockets + KEPT_SOCKETS && held.files <= before.files + KEPT_FILES;
            Ok(if is_back { Answer::Ready(held) } else { Answer::NotYet(format!("{held:?}, before {before:?}")) })
        })?;
        assert!(after.resident_bytes <= before.resident_bytes + KEPT_BYTES, "{before:?}, {after:?}");
        for index in 0..4 {
            assert_eq!(devnet.member(index)?.status()?.connected, 3, "member {index}");
        }
        say(&format!("attacked for {took:?}; {before:?}, then {after:?}"))?;
        devnet.settle(load, &bob, &asset, LIMIT)
    })
}

/// All attacks at once, and an honest client on each port as long as they last.
fn attack(opener: &Opener, target: &Target) -> Result<(), HarnessError> {
    let table = attacks::table(opener, target)?;
    let is_over = AtomicBool::new(false);
    let over = &is_over;
    thread::scope(|scope| {
        let honest: Vec<_> =
            Port::ALL.into_iter().map(|port| scope.spawn(move || visit(opener, target, port, over))).collect();
        let mut attacks = Vec::new();
        for (number, attack) in table.iter().enumerate() {
            attacks.push((attack, scope.spawn(move || attack.run(opener, target, attacker(number)))));
        }
        let crowds: Vec<_> = Port::ALL
            .into_iter()
            .enumerate()
            .map(|(number, port)| scope.spawn(move || crowds::gather(opener, target, port, attacker(1_000 + number))))
            .collect();
        let listeners = scope.spawn(|| crowds::listen(opener, target));
        let mut wrong = Vec::new();
        for (attack, running) in attacks {
            match running.join().unwrap() {
                Ok(took) => say(&format!("{:?}, {}: closed after {took:.1?}", attack.port, attack.name))?,
                Err(error) => wrong.push(error.to_string()),
            }
        }
        wrong.extend(crowds.into_iter().filter_map(|crowd| crowd.join().unwrap().err()).map(|error| error.to_string()));
        wrong.extend(listeners.join().unwrap().err().map(|error| error.to_string()));
        over.store(true, Ordering::SeqCst);
        for (port, visits) in Port::ALL.iter().zip(honest) {
            match visits.join().unwrap() {
                Ok((count, slowest)) => {
                    say(&format!("{port:?}: {count} honest clients, the slowest took {slowest:.1?}"))?
                }
                Err(error) => wrong.push(format!("an honest client of {port:?}: {error}")),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(HarnessError::Story(wrong.join("\n"))) }
    })
}

/// Honest clients, one after the other. How many there were, and the longest that one has waited.
fn visit(opener: &Opener, target: &Target, port: Port, over: &AtomicBool) -> Result<(u32, Duration), HarnessError> {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        target.ask(opener, port)?;
        slowest = slowest.max(begun.elapsed());
        count += 1;
        if slowest > PATIENCE {
            return Err(HarnessError::Story(format!("it waits for {slowest:?}")));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok((count, slowest))
}

/// Written around the test runner, which shows nothing of a test that passes.
fn say(what: &str) -> Result<(), HarnessError> {
    writeln!(io::stderr(), "{what}").map_err(HarnessError::program("say what was seen by", "this test"))
}
