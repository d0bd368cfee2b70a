//! The configuration with which a stock `elementsd` follows the chain.
//!
//! Everything that nodes must agree on is written out, also where it equals Elements' default, so that a default that
//! changes between versions cannot split the chain. The options are those that both Elements 23.3 and later know.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{ChainParams, GenesisStyle};

/// What the configuration says beside the chain's own parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementsConfOptions {
    /// A node of the parent chain with which Elements confirms the depth of peg-ins. Without one it does not check
    /// depth at all; everything else about peg-ins it checks in any case.
    pub parent: Option<ParentRpc>,
    /// A node of this chain's network that Elements gets its blocks from and gives its transactions to.
    pub connect: Option<SocketAddr>,
}

/// How to reach a node of the parent chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentRpc {
    /// Its host.
    pub host: String,
    /// Its RPC port.
    pub port: u16,
    /// How to log in.
    pub login: ParentRpcLogin,
}

/// How Elements logs in at the node of the parent chain.
#[derive(Clone, PartialEq, Eq)]
pub enum ParentRpcLogin {
    /// The file in which the node leaves its cookie.
    Cookie(PathBuf),
    /// A user and a password of the node's own configuration.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for ParentRpcLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
        }
    }
}

/// The text of an `elements.conf` for this chain.
pub fn elements_conf(params: &ChainParams, extra: &ElementsConfOptions) -> String {
    let mut conf = Conf::default();
    conf.comment("How a stock elementsd follows this chain. Generated: change the chain's parameters, not this file.");
    conf.set("chain", &params.name);
    conf.section(&params.name);
    genesis(&mut conf, params);
    rules(&mut conf, params);
    conf.comment("Policy: as the federation's members have it.");
    conf.set("acceptdiscountct", 1);
    conf.set("anyonecanspendaremine", 0);
    conf.comment("The network.");
    conf.set("pchmessagestart", hex::encode(params.network_magic()));
    if let Some(address) = extra.connect {
        conf.set("connect", address);
    }
    match &extra.parent {
        None => {
            conf.comment("No node of the parent chain: the depth of peg-ins is not checked, everything else is.");
            conf.set("validatepegin", 0);
        }
        Some(parent) => parent_node(&mut conf, parent),
    }
    conf.text
}

/// Lines of a configuration.
#[derive(Default)]
struct Conf {
    text: String,
}

impl Conf {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }

    fn set(&mut self, name: &str, value: impl fmt::Display) {
        self.line(format_args!("{name}={value}"));
    }

    fn comment(&mut self, text: &str) {
        self.line(format_args!("# {text}"));
    }

    fn section(&mut self, name: &str) {
        self.line(format_args!("[{name}]"));
    }
}

fn flag(value: bool) -> u8 {
    u8::from(value)
}

fn genesis(conf: &mut Conf, params: &ChainParams) {
    conf.comment("The genesis block.");
    conf.set("signblockscript", hex::encode(params.signblock_script.as_bytes()));
    conf.set("fedpegscript", hex::encode(params.fedpeg_script.as_bytes()));
    conf.set("parentgenesisblockhash", params.parent_genesis);
    conf.set("initialfreecoins", params.initial_free_coins_sat);
    conf.set("initialreissuancetokens", params.initial_reissuance_tokens);
    let style = match params.genesis_style {
        GenesisStyle::Elements => "elements",
        GenesisStyle::Bitcoin => "bitcoin",
    };
    conf.set("con_genesis_style", style);
    conf.set("con_signed_blocks", flag(params.signed_blocks));
    conf.set("con_blockheightinheader", flag(params.block_height_in_header));
    conf.set("con_elementsmode", 1);
    conf.set("con_connect_genesis_outputs", flag(params.connect_genesis_outputs));
}

fn rules(conf: &mut Conf, params: &ChainParams) {
    conf.comment("Blocks and dynamic federations, in force from the first block.");
    conf.set("con_max_block_sig_size", params.max_block_signature_size);
    conf.set("dynamic_epoch_length", params.epoch_length_blocks);
    conf.set("total_valid_epochs", params.total_valid_epochs);
    conf.set("evbparams", "dynafed:-1:::");
    let (subsidy_asset, _) = params.subsidy(0);
    conf.set("con_blocksubsidy", params.block_subsidy);
    conf.set("con_nsubsidyhalvinginterval", params.subsidy_halving_interval_blocks);
    conf.set("subsidyasset", subsidy_asset);
    if !params.mandatory_coinbase.is_empty() {
        conf.set("con_mandatorycoinbase", hex::encode(params.mandatory_coinbase.as_bytes()));
    }
    conf.set("con_bip34height", 0);
    conf.set("con_bip65height", 0);
    conf.set("con_bip66height", 0);
    conf.comment("The peg.");
    conf.set("con_has_parent_chain", flag(params.has_parent_chain));
    conf.set("con_parentpowlimit", hex::encode(params.parent_pow_limit));
    conf.set("con_start_p2wsh_script", flag(params.start_p2wsh));
    conf.set("peginconfirmationdepth", params.pegin_confirmation_depth_blocks);
    conf.set("enforce_pak", flag(params.enforce_pak));
    for entry in &params.extension_space {
        conf.set("pak", hex::encode(entry));
    }
}

fn parent_node(conf: &mut Conf, parent: &ParentRpc) {
    conf.comment("The node of the parent chain that confirms the depth of peg-ins.");
    conf.set("validatepegin", 1);
    conf.set("mainchainrpchost", &parent.host);
    conf.set("mainchainrpcport", parent.port);
    match &parent.login {
        ParentRpcLogin::Cookie(path) => conf.set("mainchainrpccookiefile", path.display()),
        ParentRpcLogin::Password { user, password } => {
            conf.set("mainchainrpcuser", user);
            conf.set("mainchainrpcpassword", password);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::params;

    fn lines(extra: &ElementsConfOptions) -> Vec<String> {
        elements_conf(&params(), extra).lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_parameter_is_told() {
        let lines = lines(&ElementsConfOptions::default());
        let params = params();
        for expected in [
            "chain=aquifertest".to_owned(),
            "[aquifertest]".to_owned(),
            format!("signblockscript={:x}", params.signblock_script),
            format!("fedpegscript={:x}", params.fedpeg_script),
            format!("parentgenesisblockhash={}", params.parent_genesis),
            "con_max_block_sig_size=300".to_owned(),
            "con_start_p2wsh_script=1".to_owned(),
            format!("con_parentpowlimit=7f{}", "ff".repeat(31)),
            "peginconfirmationdepth=8".to_owned(),
            "dynamic_epoch_length=10".to_owned(),
            "total_valid_epochs=2".to_owned(),
            format!("pak={}", hex::encode(ChainParams::default_extension_entry())),
            "con_connect_genesis_outputs=1".to_owned(),
            "initialfreecoins=0".to_owned(),
            "acceptdiscountct=1".to_owned(),
            "anyonecanspendaremine=0".to_owned(),
            "validatepegin=0".to_owned(),
        ] {
            assert!(lines.contains(&expected), "{expected} is missing in {lines:#?}");
        }
    }

    #[test]
    fn the_network_is_told() {
        let alone = lines(&ElementsConfOptions::default());
        let magic = params().network_magic();
        assert!(alone.contains(&format!("pchmessagestart={}", hex::encode(magic))), "{alone:#?}");
        assert!(!alone.iter().any(|line| line.starts_with("connect")));
        let other = ChainParams { name: "another".to_owned(), ..params() };
        assert_ne!(magic, other.network_magic());
        let connected =
            ElementsConfOptions { connect: "127.0.0.1:7042".parse().ok(), ..ElementsConfOptions::default() };
        assert!(lines(&connected).contains(&"connect=127.0.0.1:7042".to_owned()));
    }

    #[test]
    fn authorized_pegouts_the_subsidy_and_the_mandatory_coinbase_are_told() {
        let plain = lines(&ElementsConfOptions::default());
        for expected in ["enforce_pak=0", "con_blocksubsidy=0", "con_nsubsidyhalvinginterval=150"] {
            assert!(plain.contains(&expected.to_owned()), "{expected} is missing in {plain:#?}");
        }
        assert!(plain.contains(&format!("subsidyasset={}", params().pegged_asset())));
        assert!(!plain.iter().any(|line| line.starts_with("con_mandatorycoinbase")));
        let changed = ChainParams {
            enforce_pak: true,
            mandatory_coinbase: elements::Script::from(vec![0x51]),
            block_subsidy: 7,
            ..params()
        };
        let conf = elements_conf(&changed, &ElementsConfOptions::default());
        for expected in ["enforce_pak=1", "con_mandatorycoinbase=51", "con_blocksubsidy=7"] {
            assert!(conf.lines().any(|line| line == expected), "{expected} is missing in {conf}");
        }
    }

    #[test]
    fn the_chain_is_named_before_its_section() {
        // elementsd reads `chain` outside sections only, and everything in a section for that chain only.
        let lines = lines(&ElementsConfOptions::default());
        let position = |text: &str| lines.iter().position(|line| line == text);
        assert!(position("chain=aquifertest") < position("[aquifertest]"));
        let first = lines.iter().position(|line| line.contains('=')).map(|index| lines.get(index).cloned());
        assert_eq!(first.flatten().as_deref(), Some("chain=aquifertest"));
    }

    #[test]
    fn a_parent_node_confirms_the_depth_of_pegins() {
        let parent = |login| {
            let parent = Some(ParentRpc { host: "localhost".into(), port: 18443, login });
            lines(&ElementsConfOptions { parent, ..ElementsConfOptions::default() })
        };
        let cookie = parent(ParentRpcLogin::Cookie("/bitcoin/.cookie".into()));
        for expected in [
            "validatepegin=1",
            "mainchainrpchost=localhost",
            "mainchainrpcport=18443",
            "mainchainrpccookiefile=/bitcoin/.cookie",
        ] {
            assert!(cookie.contains(&expected.to_owned()), "{expected} is missing");
        }
        assert!(!cookie.contains(&"validatepegin=0".to_owned()));
        let login = ParentRpcLogin::Password { user: "u".into(), password: "secret".into() };
        assert!(!format!("{login:?}").contains("secret"));
        let password = parent(login);
        assert!(password.contains(&"mainchainrpcuser=u".to_owned()));
        assert!(password.contains(&"mainchainrpcpassword=secret".to_owned()));
    }
}
