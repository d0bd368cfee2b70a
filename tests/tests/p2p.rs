//! The network of Elements nodes at live members: peers that speak its protocol by hand, and stock nodes with their wallets.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use aquifer_assets::primitives::{Block, TxOut};
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served, parent_address};
use aquifer_tests::elementsd::{Elementsd, VARIABLE};
use aquifer_tests::forge::{Coin, FEE_SAT, Origin, Owner, Pay, Payment};
use aquifer_tests::load::Load;
use aquifer_tests::p2p::{Kind, NOWHERE, Peer};
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::Wallet;
use elements::encode::serialize;
use elements::{Address, AddressParams, AssetId, OutPoint};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{SECP256K1, SecretKey};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);
const FUNDED_SAT: u64 = 100_000_000;
const PAID_SAT: u64 = 1_000_000;
const OPTIONS: DevnetOptions =
    DevnetOptions { members: 4, sabotaged: aquifer_tests::devnet::Sabotaged::Nobody, served: Served::Everybody };

fn story(error: impl std::fmt::Display) -> HarnessError {
    HarnessError::Story(error.to_string())
}

/// A wallet pays a script whose keys the story has; the coin, as it stands in its block.
fn coin_for(
    devnet: &Devnet,
    alice: &Wallet,
    owner: Owner,
    rng: &mut ChaCha20Rng,
    asset: AssetId,
) -> Result<Coin, HarnessError> {
    let blinding_key = SecretKey::new(rng);
    let address =
        Address::from_script(&owner.script(), Some(blinding_key.public_key(SECP256K1)), &AddressParams::ELEMENTS)
            .ok_or_else(|| story("a script has no address"))?;
    let sent = alice.send(&address.to_string(), PAID_SAT, &asset.to_string())?.text("txid")?;
    let ledger = devnet.ledger()?;
    for height in (1..=devnet.height()?).rev() {
        for transaction in ledger.block(height)?.txdata {
            if transaction.txid().to_string() != sent {
                continue;
            }
            let mut outputs = (0..).zip(&transaction.output);
            if let Some((vout, output)) = outputs.find(|(_, output)| output.script_pubkey == owner.script()) {
                let secrets = output.unblind(SECP256K1, blinding_key).map_err(story)?;
                let (outpoint, output) = (OutPoint::new(transaction.txid(), vout), TxOut::from(output));
                return Ok(Coin { outpoint, output, secrets, owner, origin: Origin::Output });
            }
        }
    }
    Err(story(format!("{sent} is in no block")))
}

#[test]
fn peers_sync_are_told_of_blocks_and_have_their_transactions_in_them() -> Result<(), HarnessError> {
    Devnet::play(OPTIONS, |devnet| {
        let params = devnet.chain()?.file().params.clone();
        let (magic, genesis, asset) = (params.network_magic(), params.genesis_hash(), params.pegged_asset());
        let mut rng = ChaCha20Rng::seed_from_u64(51);
        let owner = Owner::new(&mut rng);
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, FUNDED_SAT)?;
        let coin = coin_for(devnet, &alice, owner, &mut rng, asset)?;
        let bait = coin_for(devnet, &alice, owner, &mut rng, asset)?;
        let [first, second] = [0, 1].map(|member| devnet.member(member).and_then(|member| member.interfaces()));
        let (first, second) = (first?.p2p, second?.p2p);

        // Both have every block, the same from each member.
        let mut reader = Peer::connect(first, magic)?;
        let mut writer = Peer::connect(second, magic)?;
        let height = devnet.height()?;
        devnet.wait_height(height, LIMIT)?;
        let ledger = devnet.ledger()?;
        for peer in [&mut reader, &mut writer] {
            let blocks = peer.download(genesis)?;
            assert!(blocks.len() >= usize::try_from(height).map_err(story)?, "{} of {height} blocks", blocks.len());
            for (height, bytes) in (1..=height).zip(blocks) {
                // Members may have different signatures of k under the same block.
                let (expected, found) = (ledger.block(height)?, Block::decode(bytes).map_err(story)?);
                assert_eq!(expected.block_hash(), found.block_hash(), "block {height}");
                assert_eq!(serialize(&expected.txdata), serialize(&found).split_off(serialize(&found.header).len()));
            }
        }

        // A flood that has to be stopped, while the chain goes on: blocks, and transactions that are not signed.
        let mut attackers = (0..4).map(|_| Peer::connect(first, magic)).collect::<Result<Vec<_>, _>>()?;
        let pay = |value| Pay::confidential(asset, value, owner.script());
        let mut pay_with =
            |coin: Coin| Payment::new(&mut rng, &[coin], &[pay(PAID_SAT - FEE_SAT)], (asset, FEE_SAT)).map_err(story);
        let (payment, mut worthless) = (pay_with(coin)?, pay_with(bait)?.transaction);
        let flooding = std::thread::spawn(move || {
            let begun = Instant::now();
            loop {
                if attackers.is_empty() {
                    return Ok(());
                }
                if begun.elapsed() > LIMIT {
                    return Err(story(format!("{} that flood are not dropped", attackers.len())));
                }
                attackers.retain_mut(|peer| {
                    if let Some(input) = worthless.input.first_mut() {
                        // No relative lock time, and another transaction than the one that was signed.
                        let next = input.sequence.0.wrapping_add(1) | 0x8000_0000;
                        input.sequence = elements::Sequence(next);
                    }
                    let bytes = serialize(&worthless);
                    peer.send("block", &[1; 20_000]).and_then(|()| peer.send("tx", &bytes)).is_ok()
                });
            }
        });
        let mut stranger = Peer::connect(second, magic)?;
        stranger.send("tx", &[0xff; 40])?;
        stranger.wait_closed()?;

        // One announces by its wish, one sends, and the block has what was sent.
        reader.send("sendcmpct", &[[1].as_slice(), &2_u64.to_le_bytes()].concat())?;
        reader.headers(&[genesis], NOWHERE)?;
        reader.until_pong()?;
        // Is told of blocks by their names, so that what it asks for does not get mixed up with what it is told.
        let (mut fetcher, mut last) = (Peer::connect(first, magic)?, genesis);
        let (transaction, wtxid) = (payment.transaction.clone(), payment.transaction.wtxid().to_byte_array());
        writer.tell(&[(Kind::WholeTransaction, wtxid)])?;
        assert_eq!(writer.expect_inventory("getdata")?, [(Kind::WholeTransaction, wtxid)]);
        writer.send("tx", &serialize(&transaction))?;
        let block = wait::until("the block with the transaction is announced", LIMIT, || {
            // Compact, or by their headers where one followed another too fast.
            reader.expect_one_of(&["cmpctblock", "headers"])?;
            let blocks = fetcher.download(last)?;
            for bytes in blocks {
                let block = Block::decode(bytes).map_err(story)?;
                last = block.block_hash();
                if block.txdata.iter().any(|found| found.txid() == transaction.txid()) {
                    return Ok(Answer::Ready(block));
                }
            }
            Ok(Answer::NotYet(format!("{last} does not have it")))
        })?;
        flooding.join().map_err(|_| story("the flood panicked"))??;
        let height = block.header.height;
        devnet.wait_height(height + 2, LIMIT)?;
        assert_eq!(devnet.ledger()?.block(height)?.block_hash(), block.block_hash());
        devnet.check_agreement(height + 2)?;
        devnet.check_signatures(height + 2)
    })
}

/// A stock elementsd with its own wallet, connected to one member.
struct Stock {
    elementsd: Elementsd,
}

impl Stock {
    fn start(devnet: &mut Devnet, program: std::ffi::OsString, member: usize) -> Result<Self, HarnessError> {
        let configuration = devnet.member(member)?.elements_conf()?;
        let name = devnet.chain()?.file().params.name.clone();
        let elementsd = Elementsd::start_with(program, &configuration, &name, &["-fallbackfee=0.00001"])?;
        Ok(Self { elementsd })
    }

    fn text(&self, method: &str, arguments: &[Value]) -> Result<String, HarnessError> {
        self.elementsd.call(method, arguments)
    }

    fn height(&self) -> Result<u32, HarnessError> {
        self.elementsd.call("getblockcount", &[])
    }

    fn hash(&self, height: u32) -> Result<String, HarnessError> {
        self.text("getblockhash", &[json!(height)])
    }

    fn wait_height(&self, height: u32) -> Result<(), HarnessError> {
        wait::until(&format!("elementsd has block {height}"), LIMIT, || {
            let found = self.height()?;
            Ok(if found >= height { Answer::Ready(()) } else { Answer::NotYet(format!("it has {found}")) })
        })
    }

    /// What it can spend of the pegged asset.
    fn balance_sat(&self) -> Result<u64, HarnessError> {
        let balance: Value = self.elementsd.call("getbalance", &[])?;
        balance.get("bitcoin").map_or(Ok(0), |amount| {
            let amount = bitcoin::Amount::from_str_in(&amount.to_string(), bitcoin::Denomination::Bitcoin);
            amount.map(bitcoin::Amount::to_sat).map_err(story)
        })
    }

    fn wait_balance(&self, what: &str, fits: impl Fn(u64) -> bool) -> Result<u64, HarnessError> {
        wait::until(what, LIMIT, || {
            let found = self.balance_sat()?;
            Ok(if fits(found) { Answer::Ready(found) } else { Answer::NotYet(format!("it has {found} sat")) })
        })
    }

    /// Waits until a transaction of its wallet is in a block, and gives the block.
    fn wait_confirmed(&self, txid: &str) -> Result<String, HarnessError> {
        wait::until("its transaction is in a block", LIMIT, || {
            let seen: Value = self.elementsd.call("gettransaction", &[json!(txid)])?;
            let block = seen.get("blockhash").and_then(Value::as_str);
            Ok(block.map_or_else(|| Answer::NotYet(seen.to_string()), |block| Answer::Ready(block.to_owned())))
        })
    }

    /// Pays another, and waits until it is in a block and the other has it.
    fn pay(&self, to: &Self, amount_sat: u64) -> Result<(), HarnessError> {
        let address = to.text("getnewaddress", &[])?;
        let before = to.balance_sat()?;
        let amount = json!(bitcoin::Amount::from_sat(amount_sat).to_btc());
        let txid = self.text("sendtoaddress", &[json!(address), amount])?;
        self.wait_confirmed(&txid)?;
        to.wait_balance("the other has been paid", |found| found == before + amount_sat).map(drop)
    }
}

/// Blocks that the nodes follow as they are made.
const FOLLOWED: u32 = 200;

#[test]
fn stock_nodes_sync_follow_pay_each_other_and_peg_in_over_the_network() -> Result<(), HarnessError> {
    let Some(program) = Elementsd::program() else {
        // Written around the test runner, which shows nothing of a test that passes.
        return writeln!(io::stderr(), "SKIPPED: {VARIABLE} is not set, so no elementsd is connected")
            .map_err(HarnessError::program("say what is skipped by", "this test"));
    };
    Devnet::play(OPTIONS, |devnet| {
        let params = devnet.chain()?.file().params.clone();
        let asset = params.pegged_asset().to_string();
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, FUNDED_SAT)?;
        let nodes = [Stock::start(devnet, program.clone(), 0)?, Stock::start(devnet, program.clone(), 1)?];
        let [anna, boris] = &nodes;
        let height = devnet.height()?;
        nodes.iter().try_for_each(|node| node.wait_height(height))?;
        let wallet = [json!(""), json!(false), json!(false), json!(""), json!(false), json!(false)];
        for node in &nodes {
            if let Err(error) = node.elementsd.call::<Value>("createwallet", &wallet) {
                // Only the old kind of wallet pegs in, and not every build has it.
                assert!(error.to_string().contains("without bdb"), "{error}");
                return writeln!(
                    io::stderr(),
                    "SKIPPED: {VARIABLE} was built without the wallets that can peg in (BDB)"
                )
                .map_err(HarnessError::program("say what is skipped by", "this test"));
            }
        }

        // In, with nothing but its own commands; the claim travels over the network.
        let bitcoind = devnet.bitcoind();
        let deposit: Value = anna.elementsd.call("getpeginaddress", &[])?;
        let deposit = deposit.get("mainchain_address").and_then(Value::as_str).unwrap_or_default().to_owned();
        let paid = bitcoind.send_to(&parent_address(&deposit)?, FUNDED_SAT)?;
        // Its `claimpegin` wants two blocks more than the depth that members ask for.
        bitcoind.mine(params.pegin_confirmation_depth_blocks + 2)?;
        let client = bitcoind.client()?;
        let raw: String = client.call("getrawtransaction", &[json!(paid)])?;
        let proof: String = client.call("gettxoutproof", &[json!([paid])])?;
        let claim = anna.text("claimpegin", &[json!(raw), json!(proof)])?;
        anna.wait_confirmed(&claim)?;
        anna.wait_balance("what was pegged in is there", |found| found > FUNDED_SAT / 2)?;

        // Blocks of ours and of theirs, followed one by one.
        let load = Load::start(alice, &bob, &asset)?;
        anna.pay(boris, FUNDED_SAT / 4)?;
        let mut seen = devnet.height()?;
        while seen < FOLLOWED {
            anna.pay(boris, 20_000)?;
            boris.pay(anna, 10_000)?;
            seen = devnet.height()?;
            for node in &nodes {
                node.wait_height(seen)?;
            }
            assert_eq!(anna.hash(seen)?, boris.hash(seen)?, "block {seen}");
        }

        for node in &nodes {
            let peers: Vec<Value> = node.elementsd.call("getpeerinfo", &[])?;
            let is_fast = |peer: &Value| peer.get("bip152_hb_to") == Some(&json!(true));
            assert!(peers.iter().any(is_fast), "blocks do not come as compact blocks: {peers:?}");
        }

        // The member that one hangs on goes away and comes back. The other follows the three that are left.
        devnet.member(0)?.terminate()?;
        let gone_at = anna.height()?;
        let later = devnet.height()? + 5;
        boris.wait_height(later)?;
        assert!(anna.height()? <= gone_at + 1, "it hears of blocks from nobody");
        devnet.start_all()?;
        anna.wait_height(later)?;
        anna.pay(boris, 20_000)?;
        boris.pay(anna, 10_000)?;
        devnet.settle(load, &bob, &asset, LIMIT)?;

        let height = devnet.height()?;
        let ledger = devnet.ledger()?;
        nodes.iter().try_for_each(|node| node.wait_height(height))?;
        for height in 1..=height {
            let ours = ledger.block(height)?.block_hash().to_string();
            for node in &nodes {
                assert_eq!(node.hash(height)?, ours, "block {height}");
            }
        }
        let transactions: usize =
            (1..=height).map(|height| ledger.block(height).map_or(0, |block| block.txdata.len())).sum();
        writeln!(io::stderr(), "two nodes followed {height} blocks with {transactions} transactions")
            .map_err(HarnessError::program("say what was seen by", "this test"))
    })
}
