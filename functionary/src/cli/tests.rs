//! The commands that work on files alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aquifer_federation::roster::Roster;
use aquifer_federation::valve::ValveSettings;
use clap::CommandFactory as _;

use super::*;

fn run(arguments: &[&str]) -> Result<Output, CliError> {
    Arguments::try_parse_from([&["aquiferd"], arguments].concat()).unwrap().run()
}

fn init(folder: &Path, name: &str, port: u16) -> Result<Output, CliError> {
    let (peer, api) = (format!("127.0.0.1:{port}"), format!("{name}.example.org:{}", port + 1));
    run(&[
        "--data-dir",
        folder.to_str().unwrap(),
        "init",
        "--name",
        name,
        "--peer-address",
        &peer,
        "--api-address",
        &api,
        "--bitcoind-url",
        "http://127.0.0.1:18443",
        "--bitcoind-cookie",
        "/b/.cookie",
    ])
}

#[test]
fn the_arguments_are_consistent_and_every_command_shows_an_example() {
    Arguments::command().debug_assert();
    for command in Arguments::command().get_subcommands_mut() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{}", command.get_name());
    }
}

#[test]
fn init_makes_a_member_once_and_never_overwrites_it() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("alpha");
    init(&folder, "alpha", 7100).unwrap();
    let data = DataDir::new(&folder);
    assert_eq!(std::fs::metadata(data.seed()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let config = Config::load(data.clone()).unwrap();
    assert_eq!(config.file.peers.listen.to_string(), "127.0.0.1:7100");
    assert_eq!(config.file.api.listen.to_string(), "0.0.0.0:7101");

    let seed = std::fs::read(data.seed()).unwrap();
    let again = init(&folder, "alpha", 7100);
    assert!(matches!(again, Err(CliError::Config(_) | CliError::File(FileError::Exists { .. }))));
    assert_eq!(std::fs::read(data.seed()).unwrap(), seed);
}

#[test]
fn a_seed_from_a_backup_gives_the_same_card() {
    let base = tempfile::tempdir().unwrap();
    let (first, second) = (base.path().join("first"), base.path().join("second"));
    init(&first, "alpha", 7100).unwrap();
    std::fs::create_dir(&second).unwrap();
    std::fs::copy(first.join("seed"), second.join("seed")).unwrap();
    init(&second, "alpha", 7100).unwrap();
    assert_eq!(std::fs::read(first.join("card.json")).unwrap(), std::fs::read(second.join("card.json")).unwrap());

    let third = base.path().join("third");
    std::fs::create_dir(&third).unwrap();
    std::fs::write(third.join("seed"), "not a seed").unwrap();
    assert!(matches!(init(&third, "alpha", 7100), Err(CliError::Identity(IdentityError::Seed { .. }))));
    assert!(!third.join("aquiferd.toml").exists());
}

#[test]
fn wrong_names_and_addresses_leave_nothing_behind() {
    let base = tempfile::tempdir().unwrap();
    for name in ["Alpha", "-alpha", "al pha"] {
        let folder = base.path().join("member");
        let arguments = [
            "--data-dir",
            folder.to_str().unwrap(),
            "init",
            &format!("--name={name}"),
            "--peer-address=127.0.0.1:7100",
            "--api-address=127.0.0.1:7200",
            "--bitcoind-url=http://127.0.0.1:18443",
            "--bitcoind-cookie=/b/.cookie",
        ];
        assert!(run(&arguments).is_err(), "{name}");
        assert!(!folder.join("seed").exists());
    }
}

#[test]
fn a_roster_is_made_from_cards_and_not_overwritten() {
    let base = tempfile::tempdir().unwrap();
    let cards: Vec<String> = [("alpha", 7100), ("beta", 7110), ("gamma", 7120), ("delta", 7130)]
        .into_iter()
        .map(|(name, port)| {
            init(&base.path().join(name), name, port).unwrap();
            base.path().join(name).join("card.json").to_str().unwrap().to_owned()
        })
        .collect();
    let out = base.path().join("roster.json").to_str().unwrap().to_owned();
    let mut arguments = vec!["roster", "--out", &out, "--pegin-depth", "3", "--parent", "signet"];
    arguments.extend(cards.iter().flat_map(|card| ["--card", card.as_str()]));
    let made = run(&arguments).unwrap();
    assert_eq!(made.json["threshold"], 3);
    assert_eq!(made.json["parent"], "signet");
    // Devnet limits on peg-outs are for regtest only.
    let roster: Roster = crate::files::read_json(Path::new(&out)).unwrap();
    assert_eq!(roster.settings().valve, ValveSettings::production());
    let shown = run(&["roster", "--show", &out]).unwrap();
    assert_eq!(shown.json["hash"], made.json["hash"]);
    assert!(matches!(run(&arguments), Err(CliError::File(FileError::Exists { .. }))));

    let twice = run(&["roster", "--out", "unused.json", &cards[0], &cards[0]]);
    assert!(matches!(twice, Err(CliError::Failed(ref text)) if text.contains("same name")), "{:?}", twice.err());
    let missing = run(&["roster", "--out", "unused.json", "/nowhere/card.json"]);
    assert!(matches!(missing, Err(CliError::File(ref error)) if error.is_missing()));
}

#[test]
fn commands_on_an_empty_folder_say_what_to_do() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().to_str().unwrap();
    for command in ["run", "status", "elements-conf"] {
        let error = run(&["--data-dir", folder, command]).err().unwrap();
        assert!(error.to_string().contains("aquiferd init"), "{command}: {error}");
    }
    init(&base.path().join("alpha"), "alpha", 7100).unwrap();
    let alpha = base.path().join("alpha");
    let error = run(&["--data-dir", alpha.to_str().unwrap(), "elements-conf"]).err().unwrap();
    assert!(error.to_string().contains("aquiferd ceremony"), "{error}");
}

#[test]
fn status_tells_what_the_running_node_says() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("alpha");
    let folder_text = folder.to_str().unwrap();
    let listen = crate::testing::free_addresses(1)[0];
    init(&folder, "alpha", 7100).unwrap();
    let data = DataDir::new(&folder);
    let text = std::fs::read_to_string(data.config()).unwrap().replace("0.0.0.0:7101", &listen.to_string());
    std::fs::write(data.config(), text).unwrap();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let identity = crate::identity::Member::load(&Config::load(data).unwrap()).unwrap().tls;
    let api = runtime.block_on(crate::api::grpc::Api::bind(listen)).unwrap();
    let (ledger, desk) = (crate::api::grpc::tests::ledger(), crate::api::grpc::tests::desk());
    runtime.spawn(async move { api.serve(&identity, ledger, desk, None, CancellationToken::new()).await });
    let status = run(&["--data-dir", folder_text, "--log", "error", "status"]).unwrap();
    assert_eq!(status.json["height"], 4);
    assert_eq!(status.json["tip_hash"], "03".repeat(32));
    assert_eq!(status.json["peers"][0]["connected"], true);
    assert_eq!(status.json["reserve"]["coins_sat"], 7);
    assert!(status.text.contains("Parent   bitcoind does not answer"), "{}", status.text);
    assert_eq!(status.json["auditors"][0]["passed_height"], 4);
    assert_eq!(status.json["elementsd"]["height"], 3);
    assert_eq!(status.json["waiting_batches"][0]["height"], 4);
    for line in ["passed up to block 4", "height 3; it sleeps", "block 4: 0 of 1 auditors"] {
        assert!(status.text.contains(line), "{line}: {}", status.text);
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(30));

    let away = run(&["--data-dir", folder_text, "status"]).err().unwrap();
    assert!(away.to_string().contains("aquiferd run"), "{away}");
}
