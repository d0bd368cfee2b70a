//! The wallet of a stock elementsd, as its user has it, pegs in, pays, is paid and pegs out on our chain.

use std::io::{self, Write};
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, parent_address};
use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use aquifer_tests::wait::{self, Answer};
use aquifer_wallet::backend::{BackendError, Ledger};
use elements::Transaction;
use elements::encode::deserialize;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);
const DEPOSIT_SAT: u64 = 50_000_000;
const PAID_SAT: u64 = 7_000_000;
const PAID_BACK_SAT: u64 = 3_000_000;
const PEGOUT_SAT: u64 = 10_000_000;

/// The wallet, in the default wallet of its node.
struct Stock<'a> {
    elementsd: &'a Elementsd,
    ledger: &'a Ledger,
}

impl Stock<'_> {
    fn text(&self, method: &str, arguments: &[Value]) -> Result<String, HarnessError> {
        self.elementsd.call(method, arguments)
    }

    /// Takes a transaction from the mempool of elementsd to a member, and waits until elementsd has it in a block.
    fn carry(&self, txid: &str) -> Result<Transaction, HarnessError> {
        let bytes = self.text("getrawtransaction", &[json!(txid)])?;
        let failed = |error: &dyn std::fmt::Display| HarnessError::Story(format!("{txid} of elementsd: {error}"));
        let bytes = hex::decode(&bytes).map_err(|error| failed(&error))?;
        let transaction: Transaction = deserialize(&bytes).map_err(|error| failed(&error))?;
        wait::until("the member takes the transaction", LIMIT, || match self.ledger.submit(&transaction) {
            Ok(_) => Ok(Answer::Ready(())),
            // Its view of Bitcoin may be a moment older than that of elementsd.
            Err(BackendError::Refused { message, .. }) if message.starts_with("parent-unavailable") => {
                Ok(Answer::NotYet(message))
            }
            Err(error) => Err(failed(&error)),
        })?;
        self.ledger.wait_final(&transaction, LIMIT).map_err(|error| failed(&error))?;
        wait::until("elementsd has the block", LIMIT, || {
            let seen: Value = self.elementsd.call("gettransaction", &[json!(txid)])?;
            let confirmations = seen.get("confirmations").and_then(Value::as_i64).unwrap_or_default();
            Ok(if confirmations > 0 { Answer::Ready(()) } else { Answer::NotYet(seen.to_string()) })
        })?;
        Ok(transaction)
    }

    /// What it can spend of the pegged asset.
    fn balance_sat(&self) -> Result<u64, HarnessError> {
        let balance: Value = self.elementsd.call("getbalance", &[])?;
        balance.get("bitcoin").map_or(Ok(0), amount_sat)
    }

    fn wait_balance(&self, amount_sat: u64) -> Result<(), HarnessError> {
        wait::until("elementsd has been paid", LIMIT, || {
            let found = self.balance_sat()?;
            Ok(if found == amount_sat { Answer::Ready(()) } else { Answer::NotYet(format!("it has {found} sat")) })
        })
    }
}

fn amount_sat(value: &Value) -> Result<u64, HarnessError> {
    bitcoin::Amount::from_str_in(&value.to_string(), bitcoin::Denomination::Bitcoin)
        .map(bitcoin::Amount::to_sat)
        .map_err(|error| HarnessError::Story(format!("{value} is no amount: {error}")))
}

fn bitcoins(amount_sat: u64) -> Value {
    json!(bitcoin::Amount::from_sat(amount_sat).to_btc())
}

/// A wallet with keys of its own and without descriptors.
fn create_wallet(elementsd: &Elementsd) -> Result<Value, HarnessError> {
    elementsd.call("createwallet", &[json!(""), json!(false), json!(false), json!(""), json!(false), json!(false)])
}

/// The fee of a transaction; its network pays it openly.
fn fee_sat(transaction: &Transaction) -> u64 {
    transaction.output.iter().filter(|output| output.is_fee()).filter_map(|output| output.value.explicit()).sum()
}

#[test]
fn the_wallet_of_a_stock_elementsd_pegs_in_pays_and_pegs_out() -> Result<(), HarnessError> {
    let Some(program) = Elementsd::program() else {
        // Written around the test runner, which shows nothing of a test that passes.
        return writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so there is no wallet of an elementsd")
            .map_err(HarnessError::program("say what is skipped by", "this test"));
    };
    Devnet::play(DevnetOptions::default(), |devnet| {
        let params = devnet.chain()?.file().params.clone();
        let asset = devnet.chain()?.pegged_asset().to_string();
        let configuration = devnet.member(0)?.elements_conf()?;
        let elementsd = Elementsd::start_with(program, &configuration, &params.name, &["-fallbackfee=0.00001"])?;
        devnet.member(0)?.consult(&elementsd)?;
        devnet.wait_connected()?;
        let ledger = devnet.ledger()?;
        let stock = Stock { elementsd: &elementsd, ledger: &ledger };
        if let Err(error) = create_wallet(&elementsd) {
            // Only the old kind of wallet pegs in, and not every build has it.
            assert!(error.to_string().contains("without bdb"), "{error}");
            return writeln!(io::stderr(), "SKIPPED: {VARIABLE} was built without the wallets that can peg in (BDB)")
                .map_err(HarnessError::program("say what is skipped by", "this test"));
        }

        // Its wallet waits for a block of today.
        wait::until("elementsd has left its first synchronisation", LIMIT, || {
            let state: Value = elementsd.call("getblockchaininfo", &[])?;
            let is_syncing = state.get("initialblockdownload") != Some(&json!(false));
            Ok(if is_syncing { Answer::NotYet(state.to_string()) } else { Answer::Ready(()) })
        })?;

        // In, with nothing but its own commands and a Bitcoin wallet.
        let bitcoind = devnet.bitcoind();
        bitcoind.mine_rewards(2)?;
        let deposit: Value = elementsd.call("getpeginaddress", &[])?;
        let deposit = deposit.get("mainchain_address").and_then(Value::as_str).unwrap_or_default().to_owned();
        let paid = bitcoind.send_to(&parent_address(&deposit)?, DEPOSIT_SAT)?;
        // Its `claimpegin` wants two blocks more than the depth that members ask for.
        bitcoind.mine(params.pegin_confirmation_depth_blocks + 2)?;
        let client = bitcoind.client()?;
        let raw: String = client.call("getrawtransaction", &[json!(paid)])?;
        let proof: String = client.call("gettxoutproof", &[json!([paid])])?;
        let claim = stock.text("claimpegin", &[json!(raw), json!(proof)])?;
        let claim = stock.carry(&claim)?;
        let mut balance_sat = DEPOSIT_SAT - fee_sat(&claim);
        stock.wait_balance(balance_sat)?;

        // Confidential payments in both directions.
        let alice = devnet.wallet("alice")?;
        let sent = stock.text("sendtoaddress", &[json!(alice.address()?), bitcoins(PAID_SAT)])?;
        let sent = stock.carry(&sent)?;
        balance_sat -= PAID_SAT + fee_sat(&sent);
        alice.wait_balance(&asset, PAID_SAT)?;
        let confidential = stock.text("getnewaddress", &[])?;
        alice.send(&confidential, PAID_BACK_SAT, &asset)?;
        balance_sat += PAID_BACK_SAT;
        stock.wait_balance(balance_sat)?;

        // Out, to an address of the Bitcoin wallet.
        let address = bitcoind.new_address()?;
        let out: Value = elementsd.call("sendtomainchain", &[json!(address), bitcoins(PEGOUT_SAT)])?;
        let txid = out.get("txid").unwrap_or(&out).as_str().unwrap_or_default().to_owned();
        let burned = stock.carry(&txid)?;
        balance_sat -= PEGOUT_SAT + fee_sat(&burned);
        stock.wait_balance(balance_sat)?;
        devnet.wait_parent_mempool(LIMIT)?;
        bitcoind.mine(1)?;
        let received_sat = bitcoind.received_sat(&address, 1)?;
        assert!((1..PEGOUT_SAT).contains(&received_sat), "{received_sat} sat arrived on Bitcoin");
        assert!(burned.output.iter().any(elements::TxOut::is_pegout), "elementsd made no peg-out");
        Ok(())
    })
}
