//! `lwk_cli`, unmodified, on a devnet: what the README says of it, with the commands that stand there.
#![allow(clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use aquifer_tests::documented::{Commands, Said, Terminal};
use aquifer_tests::json::Printed;
use aquifer_tests::ports::ReservedPort;
use aquifer_tests::process::{self, Process};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::Wallet;
use serde_json::Value;

/// Names the program.
const VARIABLE: &str = "LWK_CLI_EXE";
const FUNDED_SAT: u64 = 200_000_000;
const LIMIT: Duration = Duration::from_secs(300);
const SCAN_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn lwk_cli_follows_the_chain_and_signs() -> Result<(), HarnessError> {
    let Some(program) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        // Written around the test runner, which shows nothing of a test that passes.
        return writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so lwk_cli is not tried")
            .map_err(HarnessError::program("say what is skipped by", "this test"));
    };
    Devnet::play(DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() }, |devnet| {
        let wallet = devnet.wallet("default")?;
        devnet.fund(&wallet, FUNDED_SAT)?;
        let interfaces = devnet.member(0)?.interfaces()?;
        let servers = Commands::of_readme("lwk_cli server")?
            .with("127.0.0.1:50001", &interfaces.electrum.to_string())?
            .with("127.0.0.1:3000", &interfaces.http.to_string())?;
        let pegged = devnet.chain()?.pegged_asset().to_string();
        let (lwk_cli, aquifer) = (Path::new(&program), devnet.binaries().aquifer.as_path());
        for server in servers.each() {
            Reader::sits_down(lwk_cli, aquifer, &wallet, &pegged, &server)?.reads()?;
        }
        Ok(())
    })
}

/// Who reads the README, with an `aquifer` that has coins and a running server of `lwk_cli`.
struct Reader<'a> {
    terminal: Terminal,
    server: Process,
    payer: &'a Wallet,
    pegged: &'a str,
}

impl<'a> Reader<'a> {
    /// Starts this server, in a home of its own.
    fn sits_down(
        lwk_cli: &Path,
        aquifer: &Path,
        payer: &'a Wallet,
        pegged: &'a str,
        server: &Commands,
    ) -> Result<Self, HarnessError> {
        let mut terminal = Terminal::open(&[("lwk_cli", lwk_cli), ("aquifer", aquifer)])?;
        // Its server's port is a fixed one unless it is told.
        terminal.export("ADDR", &format!("127.0.0.1:{}", ReservedPort::new()?.release()));
        for (name, value) in payer.environment() {
            terminal.export(name, &value);
        }
        // Wallets get the same names in each home.
        let wallets = terminal.file("wallets");
        terminal.export("AQUIFER_DATA_DIR", &wallets.display().to_string());
        process::run_with_input(terminal.command("aquifer wallet restore"), &payer.words()?, LIMIT)?;
        let server = terminal.start("server", server)?;
        let mut reader = Self { terminal, server, payer, pegged };
        wait::until("the server of lwk_cli answers", SCAN_LIMIT, || {
            reader.server.check_running()?;
            Ok(match reader.lwk_cli("signer list") {
                Ok(_) => Answer::Ready(()),
                Err(error) => Answer::NotYet(error.to_string()),
            })
        })?;
        Ok(reader)
    }

    /// Does everything that the README says, in its order.
    fn reads(mut self) -> Result<(), HarnessError> {
        let blocks = ["wallet", "assets", "cosigner"].map(|name| Commands::of_readme(&format!("lwk_cli {name}")));
        let blocks = blocks.into_iter().collect::<Result<Vec<_>, _>>()?;
        let said = self.runs(&blocks.into_iter().reduce(Commands::then).unwrap_or_default())?;
        let mine = self.agrees_with_aquifer("mine")?;
        assert_eq!(mine.len(), 3, "bitcoin, an asset, its token: {mine:?}");
        let named = self.lwk_cli("wallet balance --wallet mine --with-tickers")?;
        assert_eq!(named.number("balance/SLV")?, 1_500);
        assert_eq!(named.number("balance/reissuance token for SLV")?, 1);
        let vault = self.agrees_with_aquifer("vault")?;
        let left = vault.get(self.pegged).copied().unwrap_or_default();
        assert!(
            vault.len() == 1 && (2_990_000..3_000_000).contains(&left),
            "what was not paid, less the fee: {vault:?}"
        );
        let details = said.iter().find(|said| said.command.contains("pset-details"));
        let details: Value = serde_json::from_str(details.map_or("", |said| &said.output)).unwrap_or_default();
        assert_eq!(details.pointer("/missing_signatures_from/0/name"), Some(&"me".into()), "{details}");
        assert!(details.pointer(&format!("/fees/{}", self.pegged)).is_some(), "{details}");

        // When one of these works one day, the README has to say so.
        let (address, pegged) = (self.payer.address()?, self.pegged);
        let silver = Printed::by(self.terminal.command("cat silver.json"), LIMIT)?.text("asset")?;
        for (refused, reason) in [
            (&*format!("send --recipient {address}:1000:{pegged}"), "Insufficient funds"),
            (&*format!("drain --address {address}"), "Insufficient funds"),
            ("issue --satoshi-asset 5 --satoshi-token 0", "More issuances than inputs"),
            (&*format!("reissue --satoshi-asset 5 --asset {silver}"), "Insufficient funds"),
            (&*format!("burn --satoshi-asset 5 --asset {silver}"), "Insufficient funds"),
        ] {
            let answer = self.lwk_cli(&format!("wallet {refused} --wallet mine"))?;
            assert!(answer.text("message")?.contains(reason), "{refused}: {answer:?}");
        }
        self.runs(&Commands::of_readme("lwk_cli stop")?)?;
        self.server.wait(LIMIT).map(drop)
    }

    /// Runs commands of the README, none of which is refused.
    fn runs(&self, commands: &Commands) -> Result<Vec<Said>, HarnessError> {
        let said = self.terminal.run(commands, LIMIT)?;
        // `lwk_cli` ends with 0 whatever its server answers.
        let answers = said.iter().filter_map(|said| Some((said, serde_json::from_str::<Value>(&said.output).ok()?)));
        let refused: Vec<_> = answers.filter(|(_, answer)| answer.get("code").is_some()).collect();
        assert!(refused.is_empty(), "{refused:?}");
        Ok(said)
    }

    /// What `lwk_cli` answers to a command of the person's own.
    fn lwk_cli(&self, arguments: &str) -> Result<Printed, HarnessError> {
        Printed::by(self.terminal.command(&format!("lwk_cli -n regtest {arguments}")), LIMIT)
    }

    /// Waits until `lwk_cli` sees the coins of a wallet that `aquifer` sees, and gives the balance by asset.
    fn agrees_with_aquifer(&self, wallet: &str) -> Result<BTreeMap<String, u64>, HarnessError> {
        wait::until(&format!("lwk_cli and aquifer see the same in {wallet}"), SCAN_LIMIT, || {
            let ours = Printed::by(self.terminal.command(&format!("aquifer balance --json --wallet {wallet}")), LIMIT)?;
            let ours = ours.list("assets")?;
            let ours = ours.iter().map(|entry| Ok((entry.text("asset")?, entry.number("confirmed_sat")?)));
            let ours = ours.collect::<Result<BTreeMap<_, _>, HarnessError>>()?;
            let theirs = self.lwk_cli(&format!("wallet balance --wallet {wallet}"))?.object("balance")?;
            let theirs = theirs.value().as_object().into_iter().flatten();
            let theirs = theirs.map(|(asset, amount)| (asset.clone(), amount.as_u64().unwrap_or_default()));
            // Its own pegged asset is always there, with nothing.
            let theirs: BTreeMap<_, _> = theirs.filter(|(_, amount)| *amount > 0).collect();
            Ok(if ours == theirs { Answer::Ready(ours) } else { Answer::NotYet(format!("{theirs:?}, ours {ours:?}")) })
        })
    }
}
