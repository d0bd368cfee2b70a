//! JSON-RPC of a member: its protocol, byte by byte; its answers, field by field beside those of a stock elementsd that has
//! the same chain; and `elements-cli` against it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod alike;
mod cli;
mod protocol;
mod wire;

use std::io::{self, Write as _};
use std::time::Duration;

use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use wire::Caller;

const DEPOSIT_SAT: u64 = 100_000_000;
const PAID_SAT: u64 = 1_234_500;
const PEGGED_OUT_SAT: u64 = 400_000;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_member_answers_as_elementsd_does() -> Result<(), HarnessError> {
    let options = DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() };
    Devnet::play(options, |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, DEPOSIT_SAT)?;
        let pegged = devnet.chain()?.pegged_asset().to_string();
        alice.send(&bob.address()?, PAID_SAT, &pegged)?;
        let (issued, _) = alice.issue("GLD", 1_000, 1)?;
        alice.reissue(&issued.asset, 500)?;
        alice.burn(&issued.asset, 20)?;
        let destination = devnet.bitcoind().new_address()?.to_string();
        let pegout = alice.run(&["pegout", &destination, &format!("{PEGGED_OUT_SAT}sat"), "--no-wait"])?;
        let height = devnet.height()?.saturating_add(1);
        devnet.wait_height(height, LIMIT)?;

        // Two of four: what is sent now waits, and the chain stands still.
        devnet.member(2)?.kill9();
        devnet.member(3)?.kill9();
        alice.run(&["send", &bob.address()?, "7000sat", "--no-wait"])?;
        let member = devnet.member(0)?;
        let caller = Caller::new(member.interfaces()?.jsonrpc, &member.folder().join(".cookie"))?;
        protocol::check(&caller)?;
        let Some(program) = Elementsd::program() else {
            // Written around the test runner, which shows nothing of a test that passes.
            return writeln!(
                io::stderr(),
                "SKIPPED: {VARIABLE} is not set, so no elementsd answers the same questions"
            )
            .map_err(HarnessError::program("say what is skipped by", "this test"));
        };
        cli::check(&program, &caller)?;
        let paid = bob.run(&["address"])?.text("unconfidential")?;
        cli::documented(&program, &caller, &paid)?;
        let params = devnet.chain()?.file().params.clone();
        // Without peers: it is to have what is given to it here, and nothing else.
        let configuration = elements_conf(&params, &ElementsConfOptions::default());
        let elementsd = Elementsd::start(program, &configuration, &params.name)?;
        let height = u32::try_from(caller.call("getblockcount", &[])?.as_u64().unwrap()).unwrap();
        let ledger = devnet.ledger()?;
        elementsd.follow(&ledger, height)?;
        alike::check(&caller, &elementsd, &pegout.text("txid")?)
    })
}
