//! Peers of the Elements network of every kind, against the network of a chain that is made by hand: what they are answered
//! and told, and what happens to those that lie, stall or flood.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_functionary::chain::judge::Judge;
use aquifer_functionary::mempool::Mempool;
use aquifer_functionary::p2p::Limits;
use aquifer_tests::HarnessError;
use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use aquifer_tests::forge::{Chain, Coin, FEE_SAT, Owner, Pay, Payment};
use aquifer_tests::p2p::{Kind, NOWHERE, Network, Peer, read_headers};
use aquifer_tests::ports::ReservedPort;
use aquifer_tests::turn::Turn;
use aquifer_tests::wait::{self, Answer};
use elements::BlockHash;
use elements::encode::serialize;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const COIN_SAT: u64 = 50_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// What members log is shown for a test that fails; `RUST_LOG` says how much.
fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

struct World {
    chain: Chain,
    owner: Owner,
    coins: Vec<Coin>,
    blocks: Vec<Vec<u8>>,
    network: Network,
}

impl World {
    /// A chain with some coins and some blocks, served.
    fn new(limits: Limits) -> Result<Self, Box<dyn std::error::Error>> {
        show_logs();
        let mut chain = Chain::new(31)?;
        let owner = Owner::new(&mut chain.rng);
        let coins = chain.peg_in(owner, &[COIN_SAT; 3])?;
        for _ in 0..20 {
            chain.extend(Vec::new())?;
        }
        let network = Network::serve(&chain, Arc::clone(&chain.judge.mempool), limits, Vec::new())?;
        let mut world = Self { chain, owner, coins, blocks: Vec::new(), network };
        world.look()?;
        Ok(world)
    }

    /// Reads the blocks as they are stored.
    fn look(&mut self) -> TestResult {
        let snapshot = self.chain.judge.ledger.snapshot()?;
        let heights = 0..=snapshot.tip()?.height;
        self.blocks = heights
            .map(|height| Ok(snapshot.block(height)?.ok_or("a block is missing")?.block))
            .collect::<Result<_, Box<dyn std::error::Error>>>()?;
        Ok(())
    }

    fn hash(&self, height: usize) -> Result<BlockHash, Box<dyn std::error::Error>> {
        let bytes = self.blocks.get(height).ok_or("there is no such block")?;
        Ok(Block::decode(bytes.clone())?.block_hash())
    }

    fn magic(&self) -> [u8; 4] {
        self.chain.judge.params.network_magic()
    }

    fn peer(&self) -> Result<Peer, HarnessError> {
        Peer::connect(self.network.address, self.magic())
    }

    fn call(&self) -> Result<Peer, HarnessError> {
        Peer::call(self.network.address, self.magic())
    }

    /// Spends a coin, so that it can be spent on.
    fn pay(&mut self, coin: &Coin) -> Result<Payment, Box<dyn std::error::Error>> {
        let (pegged, left) = (self.chain.pegged(), coin.secrets.value - FEE_SAT);
        Ok(self.chain.pay(std::slice::from_ref(coin), &[Pay::confidential(pegged, left, self.owner.script())])?)
    }

    fn coin(&self, number: usize) -> Result<Coin, Box<dyn std::error::Error>> {
        Ok(self.coins.get(number).cloned().ok_or("there is no such coin")?)
    }

    /// An honest peer is served as ever.
    fn assert_serves(&self, story: &str) -> TestResult {
        let mut peer = self.peer().map_err(|error| format!("{story}: {error}"))?;
        let blocks = peer.download(self.hash(0)?).map_err(|error| format!("{story}: {error}"))?;
        assert_eq!(blocks.len() + 1, self.blocks.len(), "{story}");
        Ok(())
    }

    fn wait_waiting(&self, count: usize) -> Result<(), HarnessError> {
        let pool = &self.chain.judge.mempool;
        wait::until(&format!("{count} transactions wait"), LIMIT, || {
            let found = pool.len();
            Ok(if found == count { Answer::Ready(()) } else { Answer::NotYet(format!("{found} wait")) })
        })
    }
}

fn whole(transaction: &Transaction) -> (Kind, [u8; 32]) {
    (Kind::WholeTransaction, transaction.wtxid().to_byte_array())
}

#[test]
fn headers_and_blocks_are_given_as_they_are_stored() -> TestResult {
    let world = World::new(Limits::default())?;
    let mut peer = world.peer()?;
    let expected: Vec<BlockHash> =
        (1..world.blocks.len()).map(|height| world.hash(height)).collect::<Result<_, _>>()?;
    let hashes = |headers: Vec<elements::BlockHeader>| -> Vec<BlockHash> {
        headers.iter().map(elements::BlockHeader::block_hash).collect()
    };
    let (genesis, fifth) = (world.hash(0)?, world.hash(5)?);
    assert_eq!(hashes(peer.headers(&[genesis], NOWHERE)?), expected);
    assert_eq!(hashes(peer.headers(&[NOWHERE, fifth, genesis], NOWHERE)?), expected[5..]);
    assert_eq!(hashes(peer.headers(&[fifth], world.hash(8)?)?), expected[5..8]);
    assert_eq!(hashes(peer.headers(&[NOWHERE], NOWHERE)?), expected);
    assert_eq!(hashes(peer.headers(&[], fifth)?), [fifth]);
    assert!(peer.headers(&[], NOWHERE)?.is_empty());
    let tip = *expected.last().ok_or("there are no blocks")?;
    assert!(peer.headers(&[tip], NOWHERE)?.is_empty());

    assert_eq!(peer.download(genesis)?, world.blocks[1..]);
    peer.ask(&[(Kind::WitnessBlock, genesis.to_byte_array())])?;
    assert_eq!(peer.expect("block")?, world.blocks[0]);
    let (unknown, missing) = ((Kind::WitnessBlock, [9; 32]), (Kind::WholeTransaction, [8; 32]));
    peer.ask(&[unknown, missing])?;
    assert_eq!(peer.expect_inventory("notfound")?, [missing, unknown]);

    // The tip is sent compact, what lies deep is sent whole.
    peer.ask(&[(Kind::CompactBlock, tip.to_byte_array()), (Kind::CompactBlock, fifth.to_byte_array())])?;
    let compact = peer.expect("cmpctblock")?;
    assert_eq!(peer.expect("block")?, world.blocks[5]);
    let block = Block::decode(world.blocks.last().cloned().unwrap_or_default())?;
    assert!(compact.starts_with(&serialize(&block.header)), "a compact block begins with the header and its witness");
    // A nonce, no short names, one transaction in full, the first.
    let coinbase = serialize(block.txdata.first().ok_or("no coinbase")?);
    assert!(compact.ends_with(&[[0, 1, 0].as_slice(), &coinbase].concat()));

    let positions = |hash: BlockHash, positions: &[u8]| [hash.as_byte_array().as_slice(), positions].concat();
    peer.send("getblocktxn", &positions(tip, &[1, 0]))?;
    assert_eq!(peer.expect("blocktxn")?, [tip.as_byte_array().as_slice(), &[1], &coinbase].concat());
    peer.send("getblocktxn", &positions(fifth, &[1, 0]))?;
    assert_eq!(peer.expect("block")?, world.blocks[5]);
    peer.send("getblocktxn", &positions(tip, &[1, 9]))?;
    peer.wait_closed()?;
    Ok(())
}

#[test]
fn new_blocks_are_announced_as_each_peer_wishes() -> TestResult {
    let mut world = World::new(Limits::default())?;
    let genesis = world.hash(0)?;
    let mut peers = [world.peer()?, world.peer()?, world.peer()?, world.peer()?];
    let [names, headers, compact, late] = &mut peers;
    headers.send("sendheaders", &[])?;
    compact.send("sendcmpct", &[[1].as_slice(), &2_u64.to_le_bytes()].concat())?;
    // Version 1 has no witnesses and is passed over.
    late.send("sendcmpct", &[[1].as_slice(), &1_u64.to_le_bytes()].concat())?;
    late.send("sendheaders", &[])?;
    for peer in [&mut *names, &mut *headers, &mut *compact] {
        peer.headers(&[genesis], NOWHERE)?;
    }
    for peer in [&mut *names, &mut *headers, &mut *compact, &mut *late] {
        peer.until_pong()?;
    }
    let coin = world.coin(0)?;
    let payment = world.pay(&coin)?;
    let block = world.chain.extend(vec![payment.transaction.clone()])?;
    let hash = block.block_hash();
    let by_name = vec![(Kind::Block, hash.to_byte_array())];
    let [names, headers, compact, late] = &mut peers;
    assert_eq!(names.expect_inventory("inv")?, by_name);
    // It has told of no header that it has, so none could follow on it.
    assert_eq!(late.expect_inventory("inv")?, by_name);
    let told = read_headers(&headers.expect("headers")?)?;
    assert_eq!(told.iter().map(elements::BlockHeader::block_hash).collect::<Vec<_>>(), [hash]);
    let told = compact.expect("cmpctblock")?;
    assert!(told.starts_with(&serialize(&block.header)));

    // Two at once, and one that the peer has already.
    world.look()?;
    assert_eq!(headers.download(hash)?.len(), 0);
    compact.tell(&by_name)?;
    compact.until_pong()?;
    let next = world.chain.extend(Vec::new())?;
    let told = compact.expect("cmpctblock")?;
    assert!(told.starts_with(&serialize(&next.header)));
    Ok(())
}

#[test]
fn transactions_go_to_the_pool_and_to_every_peer_that_wants_them() -> TestResult {
    let mut world = World::new(Limits::default())?;
    let mut peers = [world.peer()?, world.peer()?, world.peer()?];
    let [giver, taker, miser] = &mut peers;
    let mut old = world.call()?;
    old.introduce(70_015)?;
    miser.send("feefilter", &1_000_000_000_u64.to_le_bytes())?;
    for peer in [&mut *giver, &mut *taker, &mut *miser, &mut old] {
        peer.until_pong()?;
    }
    let coin = world.coin(0)?;
    let payment = world.pay(&coin)?;
    let (transaction, bytes) = (payment.transaction.clone(), serialize(&payment.transaction));
    giver.tell(&[whole(&transaction)])?;
    assert_eq!(giver.expect_inventory("getdata")?, [whole(&transaction)]);
    giver.send("tx", &bytes)?;
    assert_eq!(taker.expect_inventory("inv")?, [whole(&transaction)]);
    taker.ask(&[whole(&transaction)])?;
    assert_eq!(taker.expect("tx")?, bytes);
    // An older peer knows it by its id.
    let by_id = transaction.txid().to_byte_array();
    assert_eq!(old.expect_inventory("inv")?, [(Kind::Transaction, by_id)]);
    old.ask(&[(Kind::WitnessTransaction, by_id)])?;
    assert_eq!(old.expect("tx")?, bytes);
    for peer in [&mut *giver, &mut *miser] {
        let heard = peer.until_pong()?;
        assert!(heard.iter().all(|(command, _)| command != "inv"), "{heard:?}");
    }
    // Whoever asks for all is told of all, once a minute.
    let mut curious = world.peer()?;
    curious.send("mempool", &[])?;
    assert_eq!(curious.expect_inventory("inv")?, [whole(&transaction)]);
    curious.send("getaddr", &[])?;
    assert_eq!(curious.expect("addr")?, [0]);

    // A child comes before its parent, without being asked for.
    let coin = world.coin(1)?;
    let parent = world.pay(&coin)?;
    let child = world.pay(&parent.coin(0, world.owner)?)?;
    let [giver, taker, _] = &mut peers;
    giver.send("tx", &serialize(&child.transaction))?;
    let parent_id = parent.transaction.txid().to_byte_array();
    assert_eq!(giver.expect_inventory("getdata")?, [(Kind::WitnessTransaction, parent_id)]);
    giver.send("tx", &serialize(&parent.transaction))?;
    world.wait_waiting(3)?;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(taker.expect_inventory("inv")?);
    }
    assert_eq!(told, [whole(&parent.transaction), whole(&child.transaction)]);

    // One that is refused is not asked for again before the next block.
    let coin = world.coin(2)?;
    let mut bad = world.pay(&coin)?.transaction;
    if let Some(input) = bad.input.first_mut() {
        input.witness = aquifer_assets::primitives::TxInWitness::default();
    }
    giver.tell(&[whole(&bad)])?;
    assert_eq!(giver.expect_inventory("getdata")?, [whole(&bad)]);
    giver.send("tx", &serialize(&bad))?;
    wait::until("it is refused", LIMIT, || {
        giver.tell(&[whole(&bad)])?;
        let heard = giver.until_pong()?;
        let asks = heard.iter().any(|(command, _)| command == "getdata");
        Ok(if asks { Answer::NotYet("it is asked for".to_owned()) } else { Answer::Ready(()) })
    })?;
    world.wait_waiting(3)?;
    Ok(())
}

#[test]
fn whoever_breaks_the_protocol_is_dropped_and_nobody_else_notices() -> TestResult {
    let world = World::new(Limits::default())?;
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    // Before an introduction.
    for number in 0..20 {
        let mut noise = vec![0; 10 + number * 50];
        rng.fill_bytes(&mut noise);
        let mut peer = world.call()?;
        // The other side may be gone before all is said.
        let _ = peer.send_bytes(&noise);
        let _ = peer.send_bytes(&[0; 24]);
        peer.wait_closed().map_err(|error| format!("{number} bytes of noise: {error}"))?;
    }
    let mut peer = Peer::call(world.network.address, [1, 2, 3, 4])?;
    let frame = peer.frame("verack", &[]);
    peer.send_bytes(&frame)?;
    peer.wait_closed()?;
    let mut peer = world.call()?;
    peer.send("getheaders", &[0; 37])?;
    peer.wait_closed()?;
    assert!(world.call()?.introduce(70_001).is_err(), "a peer that is too old is served");
    // After it.
    let cases: [(&str, Vec<u8>); 9] = [
        ("inv", vec![0xff; 9]),
        ("inv", vec![5, 0]),
        ("getdata", vec![0xfd, 1, 0]),
        ("getheaders", [vec![0; 4], vec![102], vec![0; 103 * 32]].concat()),
        ("getblocktxn", [vec![0; 32], vec![0xfe, 0xff, 0xff, 0xff, 0xff]].concat()),
        ("ping", Vec::new()),
        ("feefilter", vec![0; 7]),
        ("tx", vec![2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("version", vec![0; 80]),
    ];
    for (command, payload) in cases {
        let mut peer = world.peer()?;
        peer.send(command, &payload)?;
        peer.wait_closed().map_err(|error| format!("{command}: {error}"))?;
    }
    let mut peer = world.peer()?;
    let mut frame = peer.frame("ping", &[0; 8]);
    frame.truncate(16);
    frame.extend(u32::MAX.to_le_bytes());
    frame.extend([0; 4]);
    peer.send_bytes(&frame)?;
    peer.wait_closed()?;
    // Blocks and headers of others, and what is not known, are no offence.
    let mut peer = world.peer()?;
    for command in ["block", "headers", "cmpctblock", "blocktxn", "addr", "addrv2", "whatever"] {
        peer.send(command, &[7; 5_000])?;
    }
    peer.tell(&[(Kind::Block, [3; 32])])?;
    let heard = peer.until_pong()?;
    assert!(heard.iter().all(|(command, _)| command != "getdata" && command != "getheaders"), "{heard:?}");
    world.assert_serves("after all of them")
}

#[test]
fn whoever_stalls_is_dropped() -> TestResult {
    let short = Duration::from_millis(700);
    let limits = Limits {
        handshake: short,
        transfer: short,
        silence: Duration::from_secs(4),
        ping_interval: Duration::from_secs(1),
        inbound_per_address: 3,
        ..Limits::default()
    };
    let world = World::new(limits)?;
    let mut half_open = world.call()?;
    half_open.wait_closed().map_err(|error| format!("it says nothing: {error}"))?;
    let mut half_said = world.peer()?;
    let frame = half_said.frame("inv", &[0; 1_000]);
    half_said.send_bytes(frame.split_at(500).0)?;
    half_said.wait_closed().map_err(|error| format!("it says half of it: {error}"))?;
    // Asks for more than the system and the outbox take, and does not read it.
    let mut deaf = world.peer()?;
    let all: Vec<_> = (0..world.blocks.len()).map(|height| world.hash(height)).collect::<Result<_, _>>()?;
    let wanted: Vec<_> =
        all.iter().cycle().take(20_000).map(|hash| (Kind::WitnessBlock, hash.to_byte_array())).collect();
    deaf.ask(&wanted)?;
    let begun = Instant::now();
    let mut others = [world.peer()?, world.peer()?];
    let mut crowd = world.call()?;
    crowd.wait_closed().map_err(|error| format!("there is a fourth from one address: {error}"))?;
    // These answer pings while they wait, so they stay; the deaf one goes, and a place is free.
    wait::until("the peer that does not read is dropped", LIMIT, || {
        for peer in &mut others {
            peer.until_pong()?;
        }
        Ok(match world.peer() {
            Ok(_) => Answer::Ready(()),
            Err(error) => Answer::NotYet(error.to_string()),
        })
    })?;
    assert!(begun.elapsed() > short);
    // Silence, without an answer to pings.
    let [quiet, _] = &mut others;
    quiet.wait_closed().map_err(|error| format!("it is silent: {error}"))?;
    drop(others);
    world.assert_serves("after all of them")
}

#[test]
fn a_flood_of_worthless_transactions_ends_with_its_sender() -> TestResult {
    let mut world = World::new(Limits::default())?;
    let coin = world.coin(0)?;
    let good = world.pay(&coin)?.transaction;
    let mut peer = world.peer()?;
    for number in 0..20_000_u32 {
        let mut worthless = good.clone();
        if let Some(input) = worthless.input.first_mut() {
            // No relative lock time, and another transaction than the one that was signed.
            input.sequence = elements::Sequence(0x8000_0000 | number);
        }
        if peer.send("tx", &serialize(&worthless)).is_err() {
            break;
        }
    }
    peer.wait_closed()?;
    world.wait_waiting(0)?;
    world.assert_serves("after the flood")
}

#[test]
fn nodes_of_ours_connect_and_pass_transactions_on() -> TestResult {
    let mut world = World::new(Limits::default())?;
    let Judge { params, ledger, parent, .. } = &world.chain.judge;
    let pool = Arc::new(Mempool::new((**params).clone(), Arc::clone(ledger), Arc::clone(parent)));
    // Nobody listens at the other address.
    let called = vec![world.network.address, "127.0.0.1:1".parse()?];
    let second = Network::serve(&world.chain, Arc::clone(&pool), Limits::default(), called)?;
    let [mut here, mut there] = [world.peer()?, Peer::connect(second.address, world.magic())?];
    // As long as they are not connected, nothing is passed on; later the second asks for what it has missed.
    let mut coin = world.coin(0)?;
    wait::until("the second node passes on what the first has", LIMIT, || {
        if coin.secrets.value > COIN_SAT - 20 * FEE_SAT {
            let payment = world.pay(&coin).map_err(|error| HarnessError::Story(error.to_string()))?;
            coin = payment.coin(0, world.owner).map_err(|error| HarnessError::Story(error.to_string()))?;
            here.send("tx", &serialize(&payment.transaction))?;
        }
        let heard = there.until_pong()?;
        let hears = heard.iter().any(|(command, _)| command == "inv");
        Ok(if hears { Answer::Ready(()) } else { Answer::NotYet(format!("{} wait", pool.len())) })
    })?;
    let coin = world.coin(1)?;
    let payment = world.pay(&coin)?;
    there.send("tx", &serialize(&payment.transaction))?;
    while !here.expect_inventory("inv")?.contains(&whole(&payment.transaction)) {}
    Ok(())
}

#[test]
fn an_elementsd_that_is_called_gets_the_blocks() -> TestResult {
    let Some(program) = Elementsd::program() else {
        writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so no elementsd is called")?;
        return Ok(());
    };
    let world = World::new(Limits::default())?;
    let params = &world.chain.judge.params;
    let configuration = elements_conf(params, &ElementsConfOptions::default());
    let port = ReservedPort::new()?;
    let address = port.address();
    let bind = format!("-bind={address}");
    drop(port);
    let elementsd = Elementsd::start_with(program, &configuration, &params.name, &["-listen=1", &bind])?;
    let pool = Arc::clone(&world.chain.judge.mempool);
    let _network = Network::serve(&world.chain, pool, Limits::default(), vec![address])?;
    let last = world.blocks.len() - 1;
    wait::until("elementsd has all blocks", LIMIT, || {
        let height: usize = elementsd.call("getblockcount", &[])?;
        Ok(if height == last { Answer::Ready(()) } else { Answer::NotYet(format!("it has {height}")) })
    })?;
    let best: String = elementsd.call("getbestblockhash", &[])?;
    assert_eq!(best, world.hash(last)?.to_string());
    Ok(())
}

/// Blocks that an elementsd downloads.
const DOWNLOADED: u32 = 2_000;

#[test]
fn an_elementsd_downloads_two_thousand_blocks() -> TestResult {
    let Some(program) = Elementsd::program() else {
        writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so no elementsd downloads blocks")?;
        return Ok(());
    };
    show_logs();
    let _turn = Turn::take()?;
    let mut chain = Chain::new(32)?;
    let owner = Owner::new(&mut chain.rng);
    let mut coin = chain.peg_in(owner, &[COIN_SAT])?.pop().ok_or("nothing was pegged in")?;
    let pegged = chain.pegged();
    // A confidential payment in every tenth, and one in the open in every other; signed, certified and stored as ever.
    for height in chain.next_height()?..=DOWNLOADED {
        let left = coin.secrets.value - FEE_SAT;
        let pay = match height % 10 {
            0 => Pay::confidential(pegged, left, owner.script()),
            _ => Pay::explicit(pegged, left, owner.script()),
        };
        let change = chain.pay(&[coin.clone()], &[pay])?;
        coin = change.coin(0, owner)?;
        chain.extend(vec![change.transaction])?;
    }
    let (tip, genesis) = (chain.judge.ledger.snapshot()?.tip()?, chain.judge.params.genesis_hash());
    let network = Network::serve(&chain, Arc::clone(&chain.judge.mempool), Limits::default(), Vec::new())?;

    let begun = Instant::now();
    let mut peer = Peer::connect(network.address, chain.judge.params.network_magic())?;
    let blocks = peer.download(genesis)?;
    let (took, bytes) = (begun.elapsed(), blocks.iter().map(Vec::len).sum::<usize>());
    assert_eq!(blocks.len(), usize::try_from(DOWNLOADED)?);
    report("a peer that checks nothing", took, bytes)?;

    let configuration = elements_conf(&chain.judge.params, &conf_options(network.address));
    let begun = Instant::now();
    let elementsd = Elementsd::start(program, &configuration, &chain.judge.params.name)?;
    wait::until("elementsd has all blocks", Duration::from_secs(600), || {
        let height: u32 = elementsd.call("getblockcount", &[])?;
        Ok(if height == DOWNLOADED { Answer::Ready(()) } else { Answer::NotYet(format!("it has {height}")) })
    })?;
    report("elementsd, its start included", begun.elapsed(), bytes)?;
    let best: String = elementsd.call("getbestblockhash", &[])?;
    assert_eq!(best, tip.hash.to_string());
    Ok(())
}

fn conf_options(address: SocketAddr) -> ElementsConfOptions {
    ElementsConfOptions { connect: Some(address), ..ElementsConfOptions::default() }
}

/// Written around the test runner, which shows nothing of a test that passes.
fn report(who: &str, took: Duration, bytes: usize) -> io::Result<()> {
    let seconds = took.as_secs_f64();
    let rate = f64::from(DOWNLOADED) / seconds;
    writeln!(io::stderr(), "{who}: {DOWNLOADED} blocks of {bytes} bytes in {seconds:.1} s, {rate:.0} blocks/s")
}
