//! The valve of a federation: members halt peg-outs and resume them, an auditor's objection halts its member, what is too
//! large is refused before the burn, and what must wait is told until when.

use std::fs;
use std::time::Duration;

use aquifer_functionary::audit::{SignedVerdict, Verdict};
use aquifer_functionary::config::DataDir;
use aquifer_functionary::peers::pinned_client;
use aquifer_proto::audit::audit_client::AuditClient;
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::json::Printed;
use aquifer_tests::member::Deed;
use aquifer_tests::process;
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::raw;
use bitcoin::secp256k1::{Keypair, SECP256K1};
use tonic::transport::Endpoint;

const LIMIT: Duration = Duration::from_secs(120);
/// Many times what a batch takes when nothing is in the way.
const STANDSTILL: Duration = Duration::from_secs(12);
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
const BTC: u64 = 100_000_000;

fn is_open(status: &Printed) -> bool {
    status.value().pointer("/valve/open") == Some(&true.into())
}

/// The first peg-out that waits, as a member tells.
fn waits(status: &Printed) -> Option<Printed> {
    status.list("valve/waiting").ok()?.into_iter().next()
}

fn nothing_is_paid(devnet: &Devnet) -> Result<(), HarnessError> {
    let client = devnet.bitcoind().client()?;
    wait::holds(STANDSTILL, || {
        let waiting: Vec<String> = client.call("getrawmempool", &[])?;
        assert!(waiting.is_empty(), "paid although peg-outs are halted: {waiting:?}");
        Ok(())
    })
}

#[test]
fn two_of_four_members_halt_pegouts_and_three_resume_them() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, 50_000_000)?;
        let mut refused = devnet.member(1)?.command("halt");
        refused.args(["--reason", "nobody is asked"]);
        let refused = process::run(refused, COMMAND_LIMIT);
        assert!(refused.is_err_and(|error| error.to_string().contains("--yes")), "it must be meant");
        for member in [1, 2] {
            let said = devnet.member(member)?.say("halt", "the books look wrong")?;
            assert_eq!(said.value().get("published"), Some(&true.into()));
        }
        let status = devnet.member(0)?.wait_status(LIMIT, "the valve is closed", |status| !is_open(status))?;
        assert!(status.text("valve/closed")?.contains("members have halted peg-outs"));
        assert_eq!(status.text("valve/own_halt")?, "");

        let address = devnet.bitcoind().new_address()?;
        let job = alice.start(&["pegout", &address.to_string(), &raw(10_000_000)])?;
        let status = devnet.member(0)?.wait_status(LIMIT, "the peg-out waits", |status| waits(status).is_some())?;
        let pegout = waits(&status).ok_or_else(|| HarnessError::Story("no peg-out waits".to_owned()))?;
        assert!(pegout.text("reason")?.contains("halted"), "{}", pegout.value());
        let name = pegout.text("pegout")?;
        // Payments on the chain go on.
        alice.send(&alice.address()?, 1_234_567, "btc")?;
        // A halt outlives its member's process.
        devnet.member(1)?.kill9();
        devnet.member(1)?.start()?;
        devnet.wait_connected()?;
        let status = devnet.member(1)?.wait_status(LIMIT, "the restarted member answers", |_| true)?;
        assert_eq!(status.text("valve/own_halt")?, "the books look wrong");
        assert!(!is_open(&status));
        nothing_is_paid(devnet)?;

        for member in [0, 1] {
            devnet.member(member)?.say("resume", "the books are right")?;
        }
        devnet.member(3)?.wait_status(LIMIT, "two members have resumed", |status| {
            let members = status.list("valve/positions").unwrap_or_default();
            members.iter().filter(|member| member.value().get("halts") == Some(&false.into())).count() == 2
        })?;
        nothing_is_paid(devnet)?;
        devnet.member(2)?.say("resume", "the books are right")?;
        devnet.wait_parent_mempool(LIMIT)?;
        devnet.bitcoind().mine(1)?;
        job.finish(LIMIT)?;
        let status = devnet.member(3)?.wait_status(LIMIT, "the valve is open", is_open)?;
        assert_eq!(status.number("valve/counting_sat")?, 10_000_000);
        assert_eq!(status.value().pointer("/reserve/difference_sat"), Some(&0.into()));
        assert!(status.number("reserve/in_flight_sat")? > 0, "the batch is not buried");
        let again = devnet.member(3)?.say("resume", "once more");
        assert!(again.is_err_and(|error| error.to_string().contains("nothing to resume")));

        // What is buried is followed no more, and still known to be paid.
        devnet.bitcoind().mine(devnet.chain()?.file().params.pegin_confirmation_depth_blocks)?;
        devnet.wait_height(devnet.height()? + 1, LIMIT)?;
        devnet.member(0)?.kill9();
        devnet.member(0)?.start()?;
        devnet.member(0)?.wait_status(LIMIT, "no coins are in flight", |status| {
            status.number("reserve/in_flight_sat").is_ok_and(|sat| sat == 0)
        })?;
        let told = alice.run(&["pegout", "--status", &name])?;
        assert_eq!(told.text("state")?, "confirmed");
        Ok(())
    })
}

/// Whether the chain shows *halt* for a member.
fn halts(status: &Printed, name: &str) -> bool {
    let members = status.list("valve/positions").unwrap_or_default();
    let its = members.iter().find(|member| member.text("name").is_ok_and(|known| known == name));
    its.is_some_and(|member| member.value().get("halts") == Some(&true.into()))
}

#[test]
fn a_notice_in_the_name_of_another_costs_its_sender_the_connection() -> Result<(), HarnessError> {
    const VICTIM: usize = 0;
    const FORGER: usize = 1;
    Devnet::play(DevnetOptions::default(), |devnet| {
        let victim = devnet.member(VICTIM)?.name().to_owned();
        let forger = devnet.member(FORGER)?;
        let name = forger.name().to_owned();
        forger.kill9();
        forger.sabotage(Some(Deed::Forgery));
        devnet.start_all()?;
        // All have just got a block: nobody takes the notice for one that is ahead.
        let height = devnet.height()? + 1;
        devnet.wait_height(height, LIMIT)?;
        devnet.member(FORGER)?.say("halt", "the books look wrong")?;
        for member in devnet.members().iter().filter(|member| member.name() != name) {
            let line = wait::until("the forger loses its connection", LIMIT, || {
                let log = member.logged()?;
                let told = log.lines().find(|line| line.contains("disconnected a member for what it sent"));
                Ok(told.map_or_else(|| Answer::NotYet(member.name().to_owned()), |line| Answer::Ready(line.to_owned())))
            })?;
            assert!(line.contains("index=#1") && line.contains("member #0 is not signed by its host key"), "{line}");
        }
        // What the forger says in its own name counts, once it says so; nothing is said in that of the other.
        let forger = devnet.member(FORGER)?;
        forger.kill9();
        forger.sabotage(None);
        devnet.start_all()?;
        for member in devnet.members() {
            let status = member.wait_status(LIMIT, "a halt stands in a block", |status| halts(status, &name))?;
            assert!(is_open(&status) && !halts(&status, &victim), "{}", status.value());
        }
        assert_eq!(devnet.member(VICTIM)?.printed_status()?.text("valve/own_halt")?, "");
        Ok(())
    })
}

#[test]
fn what_is_too_large_is_refused_and_what_is_large_is_told_when() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, 4 * BTC)?;
        let balance = alice.balance_of("btc")?;
        let address = devnet.bitcoind().new_address()?.to_string();
        let refused = alice.run(&["pegout", &address, &raw(3 * BTC)]);
        let text = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("pegout-above-limit") && text.contains("share of the reserve"), "{text}");
        assert_eq!(alice.balance_of("btc")?, balance, "nothing was burned");

        let job = alice.start(&["pegout", &address, &raw(3 * BTC / 2)])?;
        let status = devnet.member(0)?.wait_status(LIMIT, "the peg-out waits for its delay", |status| {
            waits(status)
                .is_some_and(|pegout| pegout.text("reason").is_ok_and(|reason| reason.contains("waits for 5 s")))
        })?;
        let pegout = waits(&status).ok_or_else(|| HarnessError::Story("no peg-out waits".to_owned()))?;
        assert!(pegout.number("expected_seconds")? > status.number("valve/time_seconds")?);
        let told = alice.run(&["pegout", "--status", &pegout.text("pegout")?])?;
        assert_eq!(told.text("state")?, "requested");
        assert_eq!(told.number("expected_seconds")?, pegout.number("expected_seconds")?);
        devnet.wait_parent_mempool(LIMIT)?;
        devnet.bitcoind().mine(1)?;
        job.finish(LIMIT)?;
        Ok(())
    })
}

/// Reports in the name of a member's auditor that it refuses the first block.
fn object(devnet: &Devnet, number: usize) -> Result<(), Box<dyn std::error::Error>> {
    let member = devnet.members().get(number).ok_or("no such member")?;
    let folder = devnet.folder()?.join(format!("auditor-of-{}", member.name()));
    let key = fs::read_to_string(DataDir::new(folder).audit_key())?;
    let key = Keypair::from_seckey_str(SECP256K1, key.trim())?;
    let chain = devnet.chain()?;
    let file = chain.file();
    let block = *devnet.block_hashes(member, 1)?.first().ok_or("no block")?;
    let genesis = file.params.genesis_hash();
    let verdict = SignedVerdict::sign(&key, genesis, 1, block, Verdict::Refused, "money from nothing".to_owned());
    let server = file.servers.iter().find(|server| server.name == member.name()).ok_or("no such server")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let endpoint = Endpoint::from_shared(format!("https://{}", member.api_address()))?
            .tls_config(pinned_client(&server.name, &server.certificate))?;
        AuditClient::new(endpoint.connect().await?).report(verdict.to_message()).await?;
        Ok(())
    })
}

#[test]
fn the_objections_of_two_auditors_halt_pegouts() -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions::default(), |devnet| {
        devnet.wait_height(1, LIMIT)?;
        for number in [0, 3] {
            devnet.auditor(number)?.terminate()?;
            object(devnet, number).map_err(|error| HarnessError::Story(error.to_string()))?;
            let status = devnet.member(number)?.printed_status()?;
            assert!(status.text("valve/own_halt")?.contains("money from nothing"), "at once");
        }
        devnet.member(1)?.wait_status(LIMIT, "the valve is closed", |status| !is_open(status))?;
        Ok(())
    })
}
