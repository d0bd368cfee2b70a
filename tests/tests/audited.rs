//! Auditors beside a federation: batches wait for them, their books are those of the members, and what they refuse stops
//! everything.

use std::time::{Duration, Instant};

use aquifer_assets::primitives::{Block, TxOutWitness};
use aquifer_functionary::audit::Hold;
use aquifer_tests::HarnessError;
use aquifer_tests::auditor::Auditor;
use aquifer_tests::binaries::Binaries;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::forge::{Chain, Owner, Pay, Served};
use aquifer_tests::json::Printed;
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::raw;
use elements::BlockExtData;

const LIMIT: Duration = Duration::from_secs(120);
/// Many times what signing takes when nothing is in the way.
const STANDSTILL: Duration = Duration::from_secs(6);
const PEGOUT_SAT: u64 = 3_000_000;

/// Why the latest peg-out waits, as a member tells.
fn waiting_reason(status: &Printed) -> Option<String> {
    status.list("waiting_batches").ok()?.first()?.text("reason").ok()
}

#[test]
fn a_batch_waits_for_auditors_and_is_signed_when_they_are_back() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, 10_000_000)?;
        // Three signatures are needed: two members whose auditors are away leave two.
        for auditor in [0, 1] {
            devnet.auditor(auditor)?.terminate()?;
        }
        let address = devnet.bitcoind().new_address()?;
        let job = alice.start(&["pegout", &address.to_string(), &raw(PEGOUT_SAT)])?;
        let first = devnet.member(0)?;
        let reason = wait::until("the first member says that the batch waits", LIMIT, || {
            let reason = waiting_reason(&first.printed_status()?);
            Ok(reason.map_or_else(|| Answer::NotYet("no batch waits".to_owned()), Answer::Ready))
        })?;
        assert!(reason.contains("0 of 1 auditors"), "{reason}");
        let client = devnet.bitcoind().client()?;
        wait::holds(STANDSTILL, || {
            let waiting: Vec<String> = client.call("getrawmempool", &[])?;
            assert!(waiting.is_empty(), "paid with two of four auditors: {waiting:?}");
            Ok(())
        })?;
        // A member that is killed now must not sign when it comes back, and still knows what it waits for.
        devnet.member(0)?.kill9();
        devnet.member(0)?.start()?;
        let first = devnet.member(0)?;
        wait::until("the restarted member says that the batch waits", LIMIT, || {
            let reason = first.printed_status().ok().as_ref().and_then(waiting_reason);
            Ok(reason.map_or_else(|| Answer::NotYet("no batch waits".to_owned()), Answer::Ready))
        })?;
        let begun = Instant::now();
        devnet.start_all()?;
        let paid = devnet.wait_parent_mempool(LIMIT)?;
        assert!(!paid.is_empty(), "paid after {:?}", begun.elapsed());
        devnet.bitcoind().mine(1)?;
        job.finish(LIMIT)?;
        assert_eq!(waiting_reason(&devnet.member(0)?.printed_status()?), None);
        assert!(devnet.bitcoind().received_sat(&address, 1)? > 0);
        books_agree(devnet)
    })
}

/// An auditor that begins at genesis counts what the member counts.
fn books_agree(devnet: &mut Devnet) -> Result<(), HarnessError> {
    let folder = devnet.folder()?.join("anybody");
    std::fs::create_dir(&folder).map_err(|error| HarnessError::Story(error.to_string()))?;
    let member = devnet.member(0)?.name().to_owned();
    let stranger = Auditor::init(&devnet.binaries().aquiferd, &folder, &member)?;
    let audited = stranger.once(&devnet.network_file()?)?;
    // The member goes on meanwhile, but nobody pays any more: its books stand still.
    let told = devnet.member(0)?.printed_status()?;
    assert!(audited.height("height")? > 0 && audited.height("height")? <= told.height("height")?);
    assert_eq!(audited.height("height")?, audited.height("blocks_verified")?, "from genesis on");
    assert_eq!(audited.value().get("difference_sat"), Some(&0.into()));
    for field in ["pegged_in_sat", "pegged_out_sat", "coins_sat", "coins"] {
        let field = format!("reserve/{field}");
        assert_eq!(audited.number(&field)?, told.number(&field)?, "{field}");
    }
    assert_eq!(audited.number("pending_pegouts_sat")?, told.number("reserve/pending_pegouts_sat")?);
    let (counted, told) = (audited.list("assets")?, told.list("supply/assets")?);
    assert_eq!(counted.len(), told.len());
    for (ours, theirs) in counted.iter().zip(&told) {
        assert_eq!(ours.text("asset")?, theirs.text("asset")?);
        let added = ours.number("issued_sat")? + ours.number("pegged_in_sat")?;
        let removed = ours.number("pegged_out_sat")? + ours.number("burned_sat")? + ours.number("fees_lost_sat")?;
        assert_eq!((added, removed), (theirs.number("issued_sat")?, theirs.number("removed_sat")?));
    }
    Ok(())
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A chain with a confidential coin on it, served to an auditor that is not started yet.
struct Forged {
    chain: Chain,
    served: Served,
    auditor: Auditor,
    network: std::path::PathBuf,
    height: u32,
    _folder: tempfile::TempDir,
}

impl Forged {
    fn new(seed: u64) -> Result<(Self, aquifer_tests::forge::Coin, Owner), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let auditor = Auditor::init(&Binaries::get()?.aquiferd, folder.path(), "forger")?;
        let mut chain = Chain::new(seed)?;
        let served = Served::start(&chain.founded.federation, auditor.key().parse()?)?;
        let network = folder.path().join("network.json");
        served.write_network(&network)?;
        let alice = Owner::new(&mut chain.rng);
        let money = chain.peg_in(alice, &[1_000_000])?.pop().ok_or("no coin")?;
        let height = chain.next_height()? - 1;
        for height in 1..=height {
            let stored = chain.judge.ledger.snapshot()?.block(height)?.ok_or("no block")?;
            served.put(&Block::decode(stored.block)?, stored.certificate, None);
        }
        Ok((Self { chain, served, auditor, network, height, _folder: folder }, money, alice))
    }

    fn wait_passed(&self, height: u32) -> TestResult {
        let begun = Instant::now();
        while self.served.desk.hold(height)?.is_some() {
            if begun.elapsed() > LIMIT {
                return Err(format!("block {height} is not passed: {}", self.auditor.tail()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

#[test]
fn a_certified_block_with_money_from_nothing_is_refused_and_stops_all_batches() -> TestResult {
    let (mut forged, money, alice) = Forged::new(31)?;
    forged.auditor.start(&forged.network)?;
    forged.wait_passed(forged.height)?;

    // All members' verifiers are fooled: the range proof of an output is that of another statement.
    let pegged = forged.chain.pegged();
    let pays = [
        Pay::confidential(pegged, 600_000, alice.script()),
        Pay::confidential(pegged, 399_000, Owner::new(&mut forged.chain.rng).script()),
    ];
    let payment = forged.chain.pay(&[money], &pays)?;
    let proof = payment.transaction.output.get(1).ok_or("no output")?.witness.rangeproof.clone();
    let stolen = payment.with(|tx| {
        if let Some(output) = tx.output.first_mut() {
            output.witness.rangeproof = proof;
        }
    });
    let (bad, certificate) = forged.chain.seal(forged.chain.propose(vec![stolen])?)?;
    let height = bad.header.height;
    forged.served.put(&bad, certificate, None);

    let status = forged.auditor.wait_end(LIMIT)?;
    assert_eq!(status.code(), Some(1), "{}", forged.auditor.tail());
    let said = forged.auditor.tail();
    assert!(said.contains("REFUSED") && said.contains("The member was told"), "{said}");
    // Not even for blocks that were passed before.
    for batch in [1, height] {
        let hold = forged.served.desk.hold(batch)?;
        assert!(matches!(hold, Some(Hold::Stopped { from_height, .. }) if from_height == height), "{hold:?}");
    }
    // Started again, it does not get past that block either.
    let again = forged.auditor.once(&forged.network);
    assert!(again.is_err_and(|error| error.to_string().contains("REFUSED")));
    Ok(())
}

#[test]
fn what_the_certificate_does_not_cover_is_no_verdict_on_the_chain() -> TestResult {
    let (mut forged, money, alice) = Forged::new(32)?;
    let pegged = forged.chain.pegged();
    let payment = forged.chain.pay(&[money], &[Pay::confidential(pegged, 999_000, alice.script())])?;
    let (good, certificate) = forged.chain.seal(forged.chain.propose(vec![payment.transaction])?)?;
    let height = good.header.height;
    let tampered: [fn(&mut Block); 3] = [
        |block| block.txdata.truncate(1),
        |block| {
            let output = block.txdata.last_mut().and_then(|tx| tx.output.first_mut());
            output.into_iter().for_each(|output| output.witness = TxOutWitness::default());
        },
        |block| {
            if let BlockExtData::Dynafed { signblock_witness, .. } = &mut block.header.ext {
                signblock_witness.pop();
            }
        },
    ];
    for tamper in tampered {
        let mut block = good.clone();
        tamper(&mut block);
        forged.served.put(&block, certificate.clone(), None);
        let Err(error) = forged.auditor.once(&forged.network) else {
            return Err("a block that was tampered with is passed".into());
        };
        let said = error.to_string();
        assert!(said.contains("not what the federation certified") && !said.contains("REFUSED"), "{said}");
    }
    let hold = forged.served.desk.hold(height)?;
    assert!(matches!(hold, Some(Hold::Waits(_))), "no objection: {hold:?}");
    forged.served.put(&good, certificate, None);
    let audited = forged.auditor.once(&forged.network)?;
    assert_eq!(audited.height("height")?, height);
    assert_eq!(forged.served.desk.hold(height)?, None);
    Ok(())
}
