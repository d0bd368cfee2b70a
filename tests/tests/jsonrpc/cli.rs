//! `elements-cli`, as its user calls it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aquifer_tests::HarnessError;
use aquifer_tests::documented::{Commands, Terminal};

use super::{LIMIT, wire::Caller};

/// The commands of the README, as they stand there.
pub(crate) fn documented(elementsd: &OsStr, caller: &Caller, address: &str) -> Result<(), HarnessError> {
    let terminal = Terminal::open(&[("elements-cli", &elements_cli(elementsd))])?;
    let commands = Commands::of_readme("elements-cli")?
        .with("7041", &caller.address.port().to_string())?
        .with("alpha/.cookie", &caller.cookie.display().to_string())?
        .with("<address>", address)?;
    let said = terminal.run(&commands, LIMIT)?;
    let height = caller.call("getblockcount", &[])?;
    for (command, told) in [
        ("-getinfo", format!("Blocks: {height}")),
        ("getblock ", format!("\"height\": {height}")),
        ("getblockhash", caller.call("getblockhash", &[1.into()])?.as_str().unwrap_or_default().to_owned()),
        ("getsidechaininfo", "\"pegged_asset\"".to_owned()),
        ("getmempoolinfo", "\"loaded\": true".to_owned()),
        ("scantxoutset", "\"success\": true".to_owned()),
        ("help", "sendrawtransaction \"hexstring\"".to_owned()),
        ("curl", format!("\"result\":{height}")),
    ] {
        let said = said.iter().find(|said| said.command.contains(command));
        assert!(said.is_some_and(|said| said.output.contains(&told)), "{command}: {told} in {said:?}");
    }
    Ok(())
}

/// It lies beside its elementsd.
fn elements_cli(elementsd: &OsStr) -> PathBuf {
    Path::new(elementsd).with_file_name("elements-cli")
}

/// The exit code is 0, or what the number of an error leaves of itself in eight bits.
pub(crate) fn check(elementsd: &OsStr, caller: &Caller) -> Result<(), HarnessError> {
    let program = elements_cli(elementsd);
    let run = |arguments: &[&str]| -> Result<Output, HarnessError> {
        let mut command = Command::new(&program);
        command.arg(format!("-datadir={}", caller.cookie.parent().unwrap_or(Path::new(".")).display()));
        command.args(["-chain=none", "-rpcconnect=127.0.0.1"]);
        command.arg(format!("-rpcport={}", caller.address.port()));
        command.arg(format!("-rpccookiefile={}", caller.cookie.display()));
        command.args(arguments).output().map_err(HarnessError::program("run", program.display().to_string()))
    };
    let height = caller.call("getblockcount", &[])?.to_string();
    for (arguments, code, said) in [
        (&["getblockcount"][..], 0, height.as_str()),
        (&["-named", "getblockhash", "height=1"], 0, ""),
        (&["getblockhash", "99999999"], 8, "Block height out of range"),
        (&["getblock", "11"], 8, "must be of length 64"),
        (&["getnewaddress"], 32_601 & 0xff, "no wallet"),
        (&["-rpcwallet=mine", "getblockcount"], 18, "no wallet"),
        (&["generatetoaddress", "1", "x"], 32_601 & 0xff, "functionaries make and sign the blocks"),
        (&["-rpcuser=a", "-rpcpassword=b", "getblockcount"], 1, "Authorization failed"),
        (&["getblockheader", "00", "false"], 8, ""),
        (&["help"], 0, "== Blockchain =="),
        (&["-getinfo"], 0, "Chain: "),
    ] {
        let output = run(arguments)?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "elements-cli {arguments:?}: {text}");
        assert!(text.contains(said), "elements-cli {arguments:?}: {text}");
    }
    Ok(())
}
