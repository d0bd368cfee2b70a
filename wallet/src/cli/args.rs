//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::keystore::ScriptType;

/// A confidential wallet for Aquifer that trusts the federation's certificates instead of its server.
#[derive(Debug, Parser)]
#[command(
    name = "aquifer",
    version,
    after_help = "Example:\n  aquifer wallet create --network network.json\n  aquifer pegin\n  aquifer send el1qq… 0.01"
)]
pub struct Arguments {
    /// Folder for wallets and the verified chain [default: ~/.aquifer]
    #[arg(long, global = true, env = "AQUIFER_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Name of the wallet
    #[arg(long, global = true, env = "AQUIFER_WALLET", default_value = "default", value_name = "NAME")]
    pub wallet: String,
    /// The federation's network.json; kept in the data folder after the first wallet is made
    #[arg(long, global = true, env = "AQUIFER_NETWORK", value_name = "FILE")]
    pub network: Option<PathBuf>,
    /// Ask only this server of the network file
    #[arg(long, global = true, value_name = "NAME")]
    pub server: Option<String>,
    /// File whose first line is the passphrase; else AQUIFER_PASSPHRASE, else the terminal is asked
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Print one JSON object, with raw integers for amounts
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, restore and list wallets
    #[command(subcommand, after_help = "Example:\n  aquifer wallet create --network network.json")]
    Wallet(WalletCommand),
    /// Show an address to be paid at
    #[command(after_help = "Example:\n  aquifer address --new")]
    Address(AddressOptions),
    /// Show what the wallet has, per asset
    #[command(after_help = "Example:\n  aquifer balance --json")]
    Balance,
    /// Pay one or several recipients in one transaction
    #[command(after_help = "Examples:\n  aquifer send el1qq… 0.01\n  aquifer send el1qq… 12.50 --asset GLD\n  \
                            aquifer send --to el1qq…=0.01 --to el1qq…=12.50@GLD\n  \
                            aquifer send el1qq… 0.01 --wallet vault --pset pay.pset")]
    Send(SendOptions),
    /// Show, sign, combine and send transactions that several cosigners sign
    #[command(
        subcommand,
        after_help = "Example:\n  aquifer send el1qq… 0.01 --wallet vault --pset pay.pset\n  \
                                        aquifer pset sign pay.pset --wallet vault     (another cosigner)\n  \
                                        aquifer pset send pay.pset --wallet vault"
    )]
    Pset(PsetCommand),
    /// Show the wallet's transactions, newest first
    #[command(after_help = "Example:\n  aquifer history --limit 10")]
    History(HistoryOptions),
    /// Show a transaction and where it is final
    #[command(after_help = "Example:\n  aquifer tx 6f1d…")]
    Tx(TxOptions),
    /// Issue, reissue, burn and list assets
    #[command(
        subcommand,
        after_help = "Example:\n  aquifer asset issue 1000 --ticker GLD --name Gold --precision 2 --tokens 1"
    )]
    Asset(AssetCommand),
    /// Bring bitcoin in: shows a Bitcoin address, waits for the deposit and claims it
    #[command(after_help = "Examples:\n  aquifer pegin                  new address, wait, claim\n  \
                            aquifer pegin --no-wait        only the address\n  \
                            aquifer pegin --resume         go on with what is open")]
    Pegin(PeginOptions),
    /// Take bitcoin out: burns the amount and follows the payment on Bitcoin
    #[command(after_help = "Examples:\n  aquifer pegout bcrt1q… 0.5\n  aquifer pegout --status 6f1d…:0")]
    Pegout(PegoutOptions),
    /// What is known of the federation
    #[command(subcommand, after_help = "Example:\n  aquifer federation info")]
    Federation(FederationCommand),
    /// Show a final block, verified
    #[command(after_help = "Example:\n  aquifer block 12")]
    Block(BlockOptions),
    /// Print the script with which a shell completes commands and options
    #[command(after_help = "Example:\n  aquifer completions bash > ~/.local/share/bash-completion/completions/aquifer")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages, one for each command
    #[command(after_help = "Example:\n  aquifer man ~/.local/share/man/man1")]
    Man {
        /// The folder for the pages; made if there is none
        folder: PathBuf,
    },
}

/// About wallets.
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a wallet: with a fresh seed, or together with cosigners
    #[command(after_help = "Examples:\n  aquifer wallet create --wallet savings --network network.json\n  \
                            aquifer wallet create --wallet modern --type tr\n\n\
                            A wallet of which any two of three can spend. Each of the three has a wallet of their own,\n\
                            shows its key with `aquifer wallet xpub`, gets the keys of the others over a channel that\n\
                            cannot be tampered with, and runs the same command, their own key included:\n\n  \
                            aquifer wallet create --wallet vault --multisig 2 --signer default \\\n    \
                            --cosigner [73c5da0a/87h/1h/0h]tpubDC… --cosigner [b8688df1/…]tpubDD… --cosigner [9d2f…")]
    Create {
        /// What kind of wallet
        #[command(flatten)]
        account: AccountOptions,
        /// With --multisig: the wallet whose seed signs for you; its key is one of the --cosigner keys
        #[arg(long, value_name = "WALLET", requires = "multisig")]
        signer: Option<String>,
        /// Include the words in the JSON output; on a terminal they are always shown once
        #[arg(long, conflicts_with = "multisig")]
        show_words: bool,
    },
    /// Make a wallet from its words, read from the terminal or from standard input
    #[command(after_help = "Examples:\n  aquifer wallet restore --wallet savings --network network.json\n  \
                            aquifer wallet restore --wallet modern --type tr\n  \
                            aquifer wallet restore --wallet vault --multisig 2 --cosigner [73c5da0a/… --cosigner […")]
    Restore {
        /// What kind of wallet it was
        #[command(flatten)]
        account: AccountOptions,
    },
    /// Show the public key with which the wallet's seed takes part in a wallet of several cosigners
    #[command(after_help = "Example:\n  aquifer wallet xpub")]
    Xpub,
    /// Show the confidential descriptor: with it another program can watch the wallet and see every amount
    #[command(after_help = "Example:\n  aquifer wallet descriptor --wallet vault")]
    Descriptor,
    /// List the wallets of the data folder
    #[command(after_help = "Example:\n  aquifer wallet list --json")]
    List,
}

/// What kind of wallet to make.
#[derive(Debug, Args)]
pub struct AccountOptions {
    /// Scripts of a wallet with one key
    #[arg(long = "type", value_enum, default_value_t, value_name = "TYPE", conflicts_with = "multisig")]
    pub script: ScriptType,
    /// Signatures needed of the cosigners, for a wallet that several share
    #[arg(long, value_name = "NUMBER", requires = "cosigner")]
    pub multisig: Option<u32>,
    /// With --multisig, once for each cosigner, yourself included: the output of `aquifer wallet xpub`
    #[arg(long, value_name = "KEY", requires = "multisig")]
    pub cosigner: Vec<String>,
}

/// Options of `address`.
#[derive(Debug, Args)]
pub struct AddressOptions {
    /// One that was never shown before
    #[arg(long)]
    pub new: bool,
}

/// Options of whatever hands in a transaction.
#[derive(Clone, Debug, Args)]
pub struct SpendOptions {
    /// Fee rate in satoshi per 1,000 discounted vbytes [default: what the server asks for, at least 100]
    #[arg(long, value_name = "RATE")]
    pub fee_rate: Option<u64>,
    /// How long to wait
    #[command(flatten)]
    pub wait: WaitOptions,
}

/// Whether to wait for finality.
#[derive(Clone, Copy, Debug, Args)]
pub struct WaitOptions {
    /// Return when a server has accepted the transaction, instead of when it is final
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds to wait for finality
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub timeout: u64,
}

/// Options of `send`.
#[derive(Debug, Args)]
pub struct SendOptions {
    /// A confidential address
    #[arg(required_unless_present = "to", conflicts_with = "to")]
    pub address: Option<String>,
    /// Amount, such as 0.01, or 1000000sat for the smallest unit
    #[arg(required_unless_present = "to")]
    pub amount: Option<String>,
    /// Asset: id, ticker or name; without it, bitcoin
    #[arg(long)]
    pub asset: Option<String>,
    /// Several recipients: ADDRESS=AMOUNT or ADDRESS=AMOUNT@ASSET
    #[arg(long, value_name = "ADDRESS=AMOUNT[@ASSET]")]
    pub to: Vec<String>,
    /// Write the transaction as a PSET, signed with this wallet's seed, instead of handing it in; a wallet that needs
    /// several signatures always does [default there: a file named after the wallet]
    #[arg(long, value_name = "FILE")]
    pub pset: Option<PathBuf>,
    /// How to hand it in
    #[command(flatten)]
    pub spend: SpendOptions,
}

/// About transactions that are not fully signed.
#[derive(Debug, Subcommand)]
pub enum PsetCommand {
    /// Show what a PSET pays and who has signed it, checked against the chain
    #[command(after_help = "Example:\n  aquifer pset show vault-6f1d2c3b.pset --wallet vault")]
    Show {
        /// The PSET
        file: PathBuf,
    },
    /// Check a PSET, show it, and add the signature of the wallet's seed
    #[command(after_help = "Example:\n  aquifer pset sign vault-6f1d2c3b.pset --wallet vault")]
    Sign {
        /// The PSET; the signature is added to the file
        file: PathBuf,
        /// Write the signed PSET to a new file instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Put the signatures of copies that were signed apart together
    #[command(after_help = "Example:\n  aquifer pset combine anna.pset boris.pset --output all.pset --wallet vault")]
    Combine {
        /// The copies
        #[arg(required = true, num_args = 2..)]
        files: Vec<PathBuf>,
        /// The new file
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Hand in a PSET that has enough signatures, and wait until it is final
    #[command(after_help = "Example:\n  aquifer pset send vault-6f1d2c3b.pset --wallet vault")]
    Send {
        /// The PSET
        file: PathBuf,
        /// How long to wait
        #[command(flatten)]
        wait: WaitOptions,
    },
}

/// Options of `history`.
#[derive(Debug, Args)]
pub struct HistoryOptions {
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub limit: usize,
}

/// Options of `tx`.
#[derive(Debug, Args)]
pub struct TxOptions {
    /// The transaction's id
    pub txid: String,
    /// Show what an explorer's link needs to show the wallet's hidden amounts to whoever has the link
    #[arg(long)]
    pub unblind: bool,
}

/// About assets.
#[derive(Debug, Subcommand)]
pub enum AssetCommand {
    /// Write the contract of an asset: its name, ticker and decimals, bound to a domain and a key of this wallet
    #[command(after_help = "Example:\n  aquifer asset contract --ticker GLD --name Gold --precision 2 \
                            --domain example.com > gold.json")]
    Contract(ContractOptions),
    /// Take name, ticker and decimals of an asset from its contract, after checking that the asset's id commits to it
    #[command(after_help = "Example:\n  aquifer asset learn 6f1d… --contract gold.json")]
    Learn(LearnOptions),
    /// Issue a new asset
    ///
    /// With a contract, the asset is issued once the domain stands by it: the first run builds and signs the issue and says
    /// which line to put where on the domain's web server; the second, with --prepared, looks at it and issues.
    #[command(
        after_help = "Examples:\n  aquifer asset issue 1000 --ticker GLD --name Gold --precision 2 --tokens 1\n  \
                            aquifer asset issue 1000 --contract gold.json --tokens 1\n  \
                            aquifer asset issue --prepared 6f1d…"
    )]
    Issue(IssueOptions),
    /// Issue more of an asset; the wallet must hold a reissuance token of it
    #[command(after_help = "Example:\n  aquifer asset reissue GLD 500")]
    Reissue(AmountOptions),
    /// Destroy an amount of an asset for ever
    #[command(after_help = "Example:\n  aquifer asset burn GLD 10")]
    Burn(AmountOptions),
    /// List the assets that the wallet has issued or holds
    #[command(after_help = "Example:\n  aquifer asset list")]
    List,
}

/// Options of `asset contract`.
#[derive(Debug, Args)]
pub struct ContractOptions {
    /// Short name, 3 to 24 letters, digits, `.` and `-`
    #[arg(long)]
    pub ticker: String,
    /// Name for people [default: the ticker]
    #[arg(long)]
    pub name: Option<String>,
    /// Decimals, 0 to 8
    #[arg(long, default_value_t = 0)]
    pub precision: u8,
    /// The issuer's domain
    #[arg(long)]
    pub domain: String,
}

/// Options of `asset learn`.
#[derive(Debug, Args)]
pub struct LearnOptions {
    /// The asset's id
    pub asset: elements::AssetId,
    /// Its contract
    #[arg(long, value_name = "FILE")]
    pub contract: PathBuf,
}

/// Options of `asset issue`.
#[derive(Debug, Args)]
pub struct IssueOptions {
    /// Amount, with the decimals of --precision or of the contract
    #[arg(required_unless_present = "prepared")]
    pub amount: Option<String>,
    /// Short name, 3 to 24 letters, digits, `.` and `-`
    #[arg(long, required_unless_present_any = ["contract", "prepared"])]
    pub ticker: Option<String>,
    /// Name for people [default: the ticker]
    #[arg(long, requires = "ticker")]
    pub name: Option<String>,
    /// Decimals, 0 to 8
    #[arg(long, default_value_t = 0, requires = "ticker")]
    pub precision: u8,
    /// The issuer's domain: binds ticker, name and precision into the asset's id, as `asset contract` does
    #[arg(long, requires = "ticker")]
    pub domain: Option<String>,
    /// A contract, as `asset contract` writes it, instead of --ticker
    #[arg(long, value_name = "FILE", conflicts_with = "ticker")]
    pub contract: Option<PathBuf>,
    /// Issue what an earlier run has prepared
    #[arg(long, value_name = "ASSET", conflicts_with_all = ["amount", "ticker", "contract", "tokens"])]
    pub prepared: Option<elements::AssetId>,
    /// Issue although the domain does not stand by the asset (yet): registries will not show its name
    #[arg(long)]
    pub no_domain_proof: bool,
    /// Reissuance tokens: whoever holds one can issue more
    #[arg(long, default_value_t = 0)]
    pub tokens: u64,
    /// How to hand it in
    #[command(flatten)]
    pub spend: SpendOptions,
}

/// An asset and an amount of it.
#[derive(Debug, Args)]
pub struct AmountOptions {
    /// Asset: id, ticker or name
    pub asset: String,
    /// Amount
    pub amount: String,
    /// How to hand it in
    #[command(flatten)]
    pub spend: SpendOptions,
}

/// Options of `pegin`.
#[derive(Debug, Args)]
pub struct PeginOptions {
    /// Go on with the peg-ins that are open instead of starting a new one
    #[arg(long, conflicts_with = "list")]
    pub resume: bool,
    /// With --resume: only this peg-in address
    #[arg(long, requires = "resume", value_name = "BITCOIN ADDRESS")]
    pub address: Option<String>,
    /// Only list the peg-ins of this wallet, without asking anybody
    #[arg(long)]
    pub list: bool,
    /// Do not wait: only show the address, or with --resume claim what is ready
    #[arg(long)]
    pub no_wait: bool,
    /// Fee rate of the claim in satoshi per 1,000 discounted vbytes
    #[arg(long, value_name = "RATE")]
    pub fee_rate: Option<u64>,
}

/// Options of `pegout`.
#[derive(Debug, Args)]
pub struct PegoutOptions {
    /// A Bitcoin address
    #[arg(required_unless_present = "status", conflicts_with = "status")]
    pub address: Option<String>,
    /// Amount to burn; the Bitcoin fee is taken from it
    #[arg(required_unless_present = "status")]
    pub amount: Option<String>,
    /// Show the state of a peg-out
    #[arg(long, value_name = "TXID:VOUT")]
    pub status: Option<String>,
    /// How to hand it in; with --no-wait the payment is not followed
    #[command(flatten)]
    pub spend: SpendOptions,
}

/// About the federation.
#[derive(Debug, Subcommand)]
pub enum FederationCommand {
    /// Chain, servers, supply and reserve
    #[command(after_help = "Example:\n  aquifer federation info --json")]
    Info,
}

/// Options of `block`.
#[derive(Debug, Args)]
pub struct BlockOptions {
    /// Height of the block
    pub height: u32,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("aquifer").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound_and_every_help_has_an_example() {
        let command = Arguments::command();
        command.clone().debug_assert();
        let mut pending = vec![command];
        while let Some(mut command) = pending.pop() {
            if command.get_name() == "help" {
                continue;
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
            pending.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn commands_parse() {
        for line in [
            "wallet create --network n.json",
            "wallet create --show-words --json",
            "wallet create --type tr",
            "wallet create --multisig 2 --cosigner a --cosigner b --signer default",
            "wallet restore --wallet b",
            "wallet restore --type shwpkh",
            "wallet restore --multisig 2 --cosigner a --cosigner b",
            "wallet xpub",
            "wallet descriptor",
            "address --new",
            "balance",
            "send el1 1",
            "send el1 1 --asset GLD --no-wait",
            "send --to el1=1 --to el2=2@GLD",
            "send el1 1 --pset a.pset",
            "pset show a.pset",
            "pset sign a.pset --output b.pset",
            "pset combine a.pset b.pset --output c.pset",
            "pset send a.pset --no-wait",
            "history --limit 3",
            "tx 00",
            "asset issue 10 --ticker GLD --precision 2 --tokens 1",
            "asset reissue GLD 5",
            "asset burn GLD 5",
            "asset list",
            "pegin",
            "pegin --resume --address bcrt1",
            "pegin --no-wait",
            "pegin --list",
            "pegout bcrt1 0.5",
            "pegout --status 00:1",
            "federation info",
            "block 5 --json --data-dir /x --server a",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err().map(|error| error.to_string()));
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_code_2() {
        for line in [
            "",
            "send",
            "send el1",
            "send el1 1 --to el2=1",
            "pegout bcrt1",
            "pegout bcrt1 1 --status 00:1",
            "pegin --address x",
            "block x",
            "asset issue 10",
            "wallet create --passphrase secret",
            "wallet create --type p2sh",
            "wallet create --type tr --multisig 2 --cosigner a --signer default",
            "wallet create --multisig 2 --signer default",
            "wallet create --cosigner a",
            "wallet create --signer default",
            "wallet create --show-words --multisig 2 --cosigner a --signer default",
            "pset combine a.pset --output b.pset",
            "pset combine a.pset b.pset",
            "pset sign",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
