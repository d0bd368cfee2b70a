//! The whole program but the printing, against a real connection.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use clap::Parser;
use serde_json::Value;

use super::args::{Command, WalletCommand};
use super::context::Context;
use super::{Arguments, CliError, run, wallet};
use crate::keystore::KeystoreError;
use crate::testing::TestNetwork;

struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    fn new(network: &TestNetwork) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("network.json"), serde_json::to_vec(network.chain.file()).unwrap()).unwrap();
        std::fs::write(folder.path().join("secret"), "correct horse\n").unwrap();
        Self { folder }
    }

    fn parse(&self, line: &str) -> Arguments {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let fixed =
            ["aquifer", "--json", "--data-dir", &path("data"), "--passphrase-file", &path("secret")].map(str::to_owned);
        let words = line.split_whitespace().map(|word| word.replace("NETWORK", &path("network.json")));
        Arguments::try_parse_from(fixed.into_iter().chain(words)).unwrap()
    }

    fn run(&self, line: &str) -> Result<Value, CliError> {
        let arguments = self.parse(line);
        let context = Context::new(&arguments)?;
        let report = run(&context, arguments.command)?;
        assert!(!report.text.is_empty(), "{line} says something to people");
        Ok(report.json)
    }

    /// `wallet restore`, with the words that a person would type.
    fn restore(&self, line: &str, words: &str) -> Result<Value, CliError> {
        let arguments = self.parse(line);
        let context = Context::new(&arguments)?;
        let Command::Wallet(WalletCommand::Restore { account }) = arguments.command else { panic!("{line}") };
        Ok(wallet::restore(&context, &wallet::kind(&account)?, words)?.json)
    }

    fn json(&self, line: &str) -> Value {
        self.run(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn a_day_with_the_program() {
    let network = TestNetwork::start(&["a"]);
    let terminal = Terminal::new(&network);
    let created = terminal.json("wallet create --network NETWORK");
    assert!(created.get("words").is_none(), "words are shown only when asked for");
    let other = terminal.json("wallet create --wallet bob --show-words");
    assert_eq!(text(&other["words"]).split(' ').count(), 12);
    assert_eq!(terminal.json("wallet list")["wallets"], serde_json::json!(["bob", "default"]));

    let address = text(&terminal.json("address")["address"]);
    let parsed = crate::wallet::Wallet::parse_address(&address).unwrap();
    network.world().fund(&parsed, network.chain.pegged_asset(), 1_000_000);
    network.world().mine();
    assert_eq!(terminal.json("balance")["assets"][0]["confirmed_sat"], 1_000_000);

    let bob = text(&terminal.json("address --wallet bob")["address"]);
    let sent = terminal.json(&format!("send {bob} 0.001"));
    for field in ["txid", "height", "block_hash", "fee_sat", "size", "weight", "discount_vsize", "elapsed_ms"] {
        assert!(!sent[field].is_null(), "{field}");
    }
    assert_eq!(sent["final"], true);
    let pending = terminal.json(&format!("send --to {bob}=0.001 --to {bob}=500sat@BTC --no-wait --fee-rate 200"));
    assert_eq!((&pending["final"], &pending["height"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(terminal.json(&format!("tx {}", text(&pending["txid"])))["final"], false);
    assert_eq!(terminal.json(&format!("tx {}", text(&sent["txid"])))["height"], sent["height"]);

    let issued = terminal.json("asset issue 10.00 --ticker GLD --name Gold --precision 2 --tokens 1");
    assert_eq!((&issued["amount_sat"], &issued["tokens"]), (&1_000.into(), &1.into()));
    terminal.json("asset reissue GLD 2.50");
    terminal.json("asset burn Gold 0.50");
    terminal.json(&format!("send {bob} 1 --asset {}", text(&issued["asset"])));
    let assets = terminal.json("asset list");
    let gold = assets["assets"].as_array().unwrap().iter().find(|entry| entry["label"] == "GLD").unwrap();
    assert_eq!((&gold["confirmed_sat"], &gold["tokens"]), (&1_100.into(), &1.into()));
    let history = terminal.json("history --limit 3");
    let kinds: Vec<String> =
        history["transactions"].as_array().unwrap().iter().map(|entry| text(&entry["kind"])).collect();
    assert_eq!(kinds, ["outgoing", "burn", "reissuance"]);

    // Nobody can have this domain, so nothing is issued before it is told to do without.
    let contract = terminal.json("asset contract --ticker SLV --name Silver --precision 2 --domain aquifer.invalid");
    let path = terminal.folder.path().join("silver.json");
    std::fs::write(&path, contract["contract"].to_string()).unwrap();
    let prepared = terminal.json(&format!("asset issue 5 --contract {}", path.display()));
    assert_eq!((&prepared["issued"], &prepared["ticker"]), (&false.into(), &"SLV".into()));
    let silver = text(&prepared["asset"]);
    assert!(text(&prepared["domain_proof"]["statement"]).ends_with(&silver));
    let issued = terminal.json(&format!("asset issue --prepared {silver} --no-domain-proof"));
    assert_eq!((&issued["issued"], &issued["amount_sat"]), (&true.into(), &500.into()));
    let learned = terminal.json(&format!("asset learn {silver} --contract {} --wallet bob", path.display()));
    assert_eq!(learned["ticker"], "SLV");

    let pegin = terminal.json("pegin --no-wait");
    assert!(text(&pegin["address"]).starts_with('2'), "P2SH-P2WSH in epoch 0");
    assert_eq!(terminal.json("pegin --list")["pegins"].as_array().unwrap().len(), 1);
    let pegout = terminal.json("pegout bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 0.001");
    assert_eq!(pegout["status"]["state"], "confirmed");
    let status = terminal.json(&format!("pegout --status {}", text(&pegout["pegout"])));
    assert_eq!(status["state"], "requested");

    assert_eq!(terminal.json("block 2")["certified"], true);
    let info = terminal.json("federation info");
    assert_eq!((&info["members"], &info["threshold"]), (&4.into(), &3.into()));
}

#[test]
fn cosigners_share_a_wallet() {
    let network = TestNetwork::start(&["a"]);
    let people = [(); 3].map(|()| Terminal::new(&network));
    let mut cosigners = String::new();
    for person in &people {
        person.json("wallet create --network NETWORK");
        cosigners += &format!(" --cosigner {}", text(&person.json("wallet xpub")["xpub"]));
    }
    let create = format!("wallet create --wallet vault --multisig 2 --signer default{cosigners}");
    let made: Vec<Value> = people.iter().map(|person| person.json(&create)).collect();
    assert!(made.iter().all(|wallet| wallet["id"] == made[0]["id"] && wallet["type"] == "2-of-3 multisig"));
    let [anna, boris, carla] = &people;
    assert_eq!(anna.json("wallet list")["types"]["vault"], "2-of-3 multisig");
    let descriptor = text(&boris.json("wallet descriptor --wallet vault")["descriptor"]);
    assert_eq!(text(&anna.json("wallet descriptor --wallet vault")["descriptor"]), descriptor);

    let vault = text(&anna.json("address --wallet vault")["address"]);
    assert_eq!(text(&carla.json("address --wallet vault")["address"]), vault);
    let parsed = crate::wallet::Wallet::parse_address(&vault).unwrap();
    network.world().fund(&parsed, network.chain.pegged_asset(), 1_000_000);
    network.world().mine();
    assert_eq!(carla.json("balance --wallet vault")["assets"][0]["confirmed_sat"], 1_000_000);

    let file = anna.folder.path().join("pay.pset").display().to_string();
    let bob = text(&anna.json("address")["address"]);
    let begun = anna.json(&format!("send {bob} 0.001 --wallet vault --pset {file}"));
    assert_eq!((&begun["complete"], &begun["signatures_needed"]), (&Value::Bool(false), &2.into()));
    assert_eq!(begun["signed"].as_array().unwrap().len(), 1);
    let early = anna.run(&format!("pset send {file} --wallet vault")).unwrap_err();
    assert!(early.to_string().contains("1 of 2 signatures"), "{early}");
    let again = anna.run(&format!("send {bob} 0.001 --wallet vault --pset {file}")).unwrap_err();
    assert!(matches!(again, CliError::Write { .. }), "a file is not overwritten: {again}");

    // Two more copies are signed apart and put together.
    let copy = |name: &str| carla.folder.path().join(name).display().to_string();
    boris.json(&format!("pset sign {file} --wallet vault --output {}", copy("boris")));
    carla.json(&format!("pset sign {file} --wallet vault --output {}", copy("carla")));
    let combine = format!("pset combine {} {} --output {}", copy("boris"), copy("carla"), copy("all"));
    assert_eq!(anna.json(&format!("{combine} --wallet vault"))["missing"], serde_json::json!([]));
    boris.json(&format!("pset sign {file} --wallet vault"));
    let shown = carla.json(&format!("pset show {file} --wallet vault"));
    assert_eq!(shown["complete"], true);
    assert_eq!(
        (&shown["recipients"][0]["amount_sat"], &shown["recipients"][0]["address"]),
        (&100_000.into(), &bob.into())
    );
    let sent = carla.json(&format!("pset send {file} --wallet vault"));
    assert_eq!(sent["final"], true);
    assert_eq!(sent["fee_sat"], shown["fee_sat"]);
    assert_eq!(anna.json("balance")["assets"][0]["confirmed_sat"], 100_000);
    let gone = boris.run(&format!("pset show {file} --wallet vault")).unwrap_err();
    assert!(gone.to_string().contains("spent already"), "{gone}");

    let alone = boris.run("asset issue 1 --ticker GLD --wallet vault").unwrap_err();
    assert!(alone.to_string().contains("needs 2 signatures"), "{alone}");
    let pegin = boris.run("pegin --no-wait --wallet vault").unwrap_err();
    assert!(pegin.to_string().contains("one key"), "{pegin}");
}

#[test]
fn wallets_of_every_kind_come_back_from_their_words() {
    let network = TestNetwork::start(&["a"]);
    let (old, new) = (Terminal::new(&network), Terminal::new(&network));
    for kind in ["wpkh", "shwpkh", "tr"] {
        let made = old.json(&format!("wallet create --wallet {kind} --type {kind} --show-words --network NETWORK"));
        let restore = format!("wallet restore --wallet {kind} --type {kind} --network NETWORK");
        let restored = new.restore(&restore, &text(&made["words"])).unwrap();
        assert_eq!((&restored["id"], &restored["type"]), (&made["id"], &Value::from(kind)));
        let address = format!("address --wallet {kind}");
        assert_eq!(new.json(&address)["address"], old.json(&address)["address"]);
    }
    let person = |name: &str| {
        let made = old.json(&format!("wallet create --wallet {name} --show-words"));
        (text(&made["words"]), text(&old.json(&format!("wallet xpub --wallet {name}"))["xpub"]))
    };
    let ((words, anna), (_, boris), (strangers_words, _)) = (person("anna"), person("boris"), person("carla"));
    let keys = format!("--wallet vault --multisig 2 --cosigner {anna} --cosigner {boris}");
    let made = old.json(&format!("wallet create {keys} --signer anna"));
    let stranger = new.restore(&format!("wallet restore {keys}"), &strangers_words).unwrap_err();
    assert!(matches!(stranger, CliError::Keystore(KeystoreError::NotACosigner(_))), "{stranger}");
    let outsider = old.run(&format!("wallet create {keys}2 --signer carla").replace("vault", "other"));
    assert!(outsider.is_err(), "a key with a wrong digit has a wrong checksum");
    assert_eq!(new.restore(&format!("wallet restore {keys}"), &words).unwrap()["id"], made["id"]);
}

#[test]
fn mistakes_have_their_exit_codes() {
    let network = TestNetwork::start(&["a"]);
    let terminal = Terminal::new(&network);
    let code = |line: &str| terminal.run(line).unwrap_err().exit_code();
    assert_eq!(code("balance"), 1, "no wallet yet");
    assert_eq!(code("wallet create"), 1, "no network file yet");
    terminal.json("wallet create --network NETWORK");
    assert_eq!(code("wallet create"), 1, "exists");
    let own = text(&terminal.json("address")["address"]);
    assert_eq!(code(&format!("send {own} 0")), 2);
    assert_eq!(code(&format!("send {own} 1.000000001")), 2);
    assert_eq!(code(&format!("send {own} 1 --asset TIN")), 2);
    assert_eq!(code("send --to nonsense"), 2);
    assert_eq!(code("tx 00"), 2);
    assert_eq!(code("balance --wallet a/b"), 2);
    assert_eq!(code("pegin --resume"), 1, "nothing is open");
    assert_eq!(code("block 99"), 1);
    assert_eq!(code("balance --server nobody"), 1);
    assert_eq!(code("wallet create --wallet v --multisig 2 --signer default --cosigner x --cosigner y"), 2);
    let key = text(&terminal.json("wallet xpub")["xpub"]);
    assert_eq!(code(&format!("wallet create --wallet v --multisig 1 --signer default --cosigner {key}")), 2);
    assert_eq!(code(&format!("wallet create --wallet v --multisig 1 --cosigner {key}")), 2);
    assert_eq!(code("pset show none.pset"), 1);
    std::fs::write(terminal.folder.path().join("secret"), "wrong horse").unwrap();
    let error = terminal.run(&format!("send {own} 1")).unwrap_err();
    assert!(error.to_string().contains("passphrase is wrong"), "{error}");
}
