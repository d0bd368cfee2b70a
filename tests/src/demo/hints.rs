//! What a person can do with the devnet that stays up: commands to copy.

use super::story::Cast;
use crate::devnet::Devnet;
use crate::error::HarnessError;
use crate::interfaces::Interfaces;

/// The text that is shown at the end.
pub(super) fn text(devnet: &Devnet, cast: &Cast) -> Result<String, HarnessError> {
    let binaries = devnet.binaries();
    let folder = binaries.aquifer.parent().map(|path| path.display().to_string()).unwrap_or_default();
    let bitcoind = devnet.bitcoind();
    let mut lines = vec![
        String::new(),
        "The federation stays up until you press Ctrl-C; Bitcoin gets a block every five seconds.".to_owned(),
        "In another terminal:".to_owned(),
        String::new(),
        format!("  export PATH={}:$PATH", quoted(&folder)),
    ];
    lines.extend(cast.alice.environment().iter().map(|(name, value)| format!("  export {name}={}", quoted(value))));
    lines.extend(
        [
            String::new(),
            "  aquifer balance                                  # what alice has".to_owned(),
            format!("  aquifer --wallet {} address                      # where {} gets paid", cast.bob.name(), cast.bob.name()),
            "  aquifer send <address> 0.01                      # pay there, final in about a second".to_owned(),
            "  aquifer asset issue 1000 --ticker SLV --tokens 1 # an asset of your own".to_owned(),
            "  aquifer history".to_owned(),
            "  aquifer federation info".to_owned(),
            "  aquifer pegin                                    # gives a Bitcoin address and waits; pay it like this:".to_owned(),
            format!(
                "  curl --user \"$(cat {})\" --data '{{\"method\":\"sendtoaddress\",\"params\":[\"<Bitcoin address>\",0.5]}}' {}/wallet/miner",
                quoted(&bitcoind.cookie_path().display().to_string()),
                bitcoind.rpc_url(),
            ),
            format!("  aquifer pegout {} 0.01   # back to Bitcoin", bitcoind.new_address()?),
            String::new(),
        ],
    );
    lines.extend(devnet.members().iter().map(|member| {
        let folder = member.folder().display().to_string();
        format!("  aquiferd --data-dir {} status", quoted(&folder))
    }));
    if let Some(member) = devnet.members().first() {
        let Interfaces { http, electrum, electrum_tls, jsonrpc, p2p } = member.interfaces()?;
        let cookie = quoted(&member.folder().join(".cookie").display().to_string());
        lines.extend([
            String::new(),
            format!("Other software finds {} at", member.name()),
            format!("  http://{http}/           explorer, peg audit, the operator's page"),
            format!("  http://{http}/api        Esplora and Waterfalls"),
            format!("  tcp://{electrum}            Electrum; with TLS: ssl://{electrum_tls}"),
            format!("  http://{jsonrpc}/           JSON-RPC: elements-cli -rpcport={} -rpccookiefile={cookie} getblockchaininfo", jsonrpc.port()),
            format!("  {p2p}                  elementsd, with what aquiferd elements-conf prints"),
        ]);
    }
    let logs = devnet.folder()?.join("*.log");
    lines.push(String::new());
    lines.push(format!("Logs: {}", logs.display()));
    Ok(lines.join("\n"))
}

/// A value as a shell takes it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_split_is_quoted() {
        assert_eq!(quoted("/tmp/x-1"), "/tmp/x-1");
        assert_eq!(quoted("two words"), "'two words'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
