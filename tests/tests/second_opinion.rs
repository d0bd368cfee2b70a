//! A member with an elementsd of its own: it follows, votes and signs with it, and without it leaves both to the others.

use std::io::{self, Write};
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::elementsd::{Elementsd, VARIABLE, follows};
use aquifer_tests::json::Printed;
use aquifer_tests::wallet::{Wallet, raw};

const LIMIT: Duration = Duration::from_secs(120);
const PEGOUT_SAT: u64 = 2_000_000;

fn peg_out(devnet: &Devnet, wallet: &Wallet) -> Result<u64, HarnessError> {
    let address = devnet.bitcoind().new_address()?;
    let job = wallet.start(&["pegout", &address.to_string(), &raw(PEGOUT_SAT)])?;
    devnet.wait_parent_mempool(LIMIT)?;
    devnet.bitcoind().mine(1)?;
    job.finish(LIMIT)?;
    devnet.bitcoind().received_sat(&address, 1)
}

fn no_batch_waits(status: &Printed) -> bool {
    status.list("waiting_batches").is_ok_and(|batches| batches.is_empty())
}

#[test]
fn a_member_with_an_elementsd_follows_it_and_the_chain_does_without() -> Result<(), HarnessError> {
    let Some(program) = Elementsd::program() else {
        // Written around the test runner, which shows nothing of a test that passes.
        return writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so there is no second opinion")
            .map_err(HarnessError::program("say what is skipped by", "this test"));
    };
    Devnet::play(DevnetOptions::default(), |devnet| {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, 20_000_000)?;
        let chain = devnet.chain()?.file().params.name.clone();
        let configuration = devnet.member(0)?.elements_conf()?;
        let elementsd = Elementsd::start(program, &configuration, &chain)?;
        let first = devnet.member(0)?;
        first.consult(&elementsd)?;
        // The blocks before it was there are fed from genesis on, the later ones as they become final.
        first.wait_status(LIMIT, "elementsd is fed", follows)?;
        let received_sat = peg_out(devnet, &alice)?;
        assert!(received_sat > 0);
        let first = devnet.member(0)?;
        let status = first.wait_status(LIMIT, "elementsd has followed the peg-out", |status| {
            follows(status) && no_batch_waits(status)
        })?;
        assert_eq!(status.text("elementsd/problem")?, "");
        assert_eq!(status.text("elementsd/disagreement")?, "");
        // It takes blocks whose coinbase carries a notice, and the first member votes for them.
        devnet.member(1)?.say("halt", "a rehearsal")?;
        let first = devnet.member(0)?;
        let status = first.wait_status(LIMIT, "elementsd has the block with the notice", |status| {
            let halts = |member: &Printed| member.value().get("halts") == Some(&true.into());
            follows(status) && status.list("valve/positions").is_ok_and(|members| members.iter().any(halts))
        })?;
        assert_eq!(status.text("elementsd/problem")?, "");
        assert_eq!(status.text("elementsd/disagreement")?, "");
        devnet.member(1)?.say("resume", "the rehearsal is over")?;
        let best: String = elementsd.call("getbestblockhash", &[])?;
        let height = status.height("height")?;
        assert!(
            devnet
                .block_hashes(devnet.members().first().ok_or_else(no_member)?, height)?
                .iter()
                .any(|hash| hash.to_string() == best)
        );

        // Without it the first member neither votes nor signs, says so, and the others go on.
        drop(elementsd);
        let first = devnet.member(0)?;
        first.wait_status(LIMIT, "the member says that elementsd is gone", |status| {
            status.text("elementsd/problem").is_ok_and(|problem| !problem.is_empty())
        })?;
        assert!(peg_out(devnet, &alice)? > 0, "three of four sign without the first member");
        let first = devnet.member(0)?;
        first.wait_status(LIMIT, "the first member has not signed", |status| {
            let waiting = status.list("waiting_batches").unwrap_or_default();
            waiting.iter().any(|batch| batch.text("reason").is_ok_and(|reason| reason.contains("elementsd")))
        })?;
        Ok(())
    })
}

fn no_member() -> HarnessError {
    HarnessError::Story("there is no member".to_owned())
}
