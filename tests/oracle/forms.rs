//! Forms of transactions that hardly anybody makes: bytes that no rule looks at, and bytes that are not what they should be.
//!
//! Common libraries cannot read most of them, and members do not sign them; but in a block that is final they count, so the
//! verdict on each must be that of elementsd. What it says is written here, and asked again where it runs.

use std::mem::size_of;

use aquifer_assets::block::merkle_root;
use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_assets::primitives::{Block, DecodeError, Nonce, Transaction, TxInWitness, TxOutWitness, Witness};
use aquifer_assets::transaction::check_federation_policy;
use aquifer_functionary::chain::body::Body;
use aquifer_functionary::chain::judge::{Scrutiny, Verdict};
use aquifer_tests::elementsd::Elementsd;
use aquifer_tests::forge::{Chain, Coin, Issue, Owner, Pay, Payment, Shape};
use bitcoin::hashes::{Hash as _, sha256d};
use elements::encode::{MAX_VEC_SIZE, serialize, serialize_hex};
use elements::{Script, Txid};
use secp256k1_zkp::Parity;
use serde_json::{Value, json};

/// What elementsd says of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Valid,
    Invalid,
}
use Says::{Invalid, Valid};

/// Whether members sign it, as far as their policy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    Yes,
    No(&'static str),
}

struct Forms {
    chain: Chain,
    alice: Owner,
    /// Elementsd, where it runs, on the same chain.
    elementsd: Option<Elementsd>,
    money: Coin,
}

impl Forms {
    fn new(seed: u64) -> Self {
        let mut chain = Chain::new(seed).unwrap();
        let alice = Owner::new(&mut chain.rng);
        let deposit = chain.deposit(alice, 1_001_000).unwrap().coin(&chain.judge.params).unwrap();
        let pays = [Pay::confidential(chain.pegged(), 1_000_000, alice.script())];
        let claim = chain.pay(&[deposit], &pays).unwrap();
        let block = chain.extend(vec![claim.transaction.clone()]).unwrap();
        let params = &chain.judge.params;
        let elementsd = Elementsd::program().map(|program| {
            let configuration = elements_conf(params, &ElementsConfOptions::default());
            let elementsd = Elementsd::start(program, &configuration, &params.name).unwrap();
            elementsd.submit_block(1, &serialize_hex(&block)).unwrap();
            elementsd
        });
        Forms { money: claim.coin(0, alice).unwrap(), chain, alice, elementsd }
    }

    /// A confidential payment: output 0 is hidden, 1 is not, 2 is the fee.
    fn payment(&mut self) -> Payment {
        let pegged = self.chain.pegged();
        let script = self.alice.script();
        let pays = [Pay::confidential(pegged, 900_000, script.clone()), Pay::explicit(pegged, 99_000, script)];
        self.chain.pay(std::slice::from_ref(&self.money), &pays).unwrap()
    }

    fn claim(&mut self) -> Payment {
        let coin = self.chain.deposit(self.alice, 51_000).unwrap().coin(&self.chain.judge.params).unwrap();
        let pays = [Pay::confidential(self.chain.pegged(), 50_000, self.alice.script())];
        self.chain.pay(&[coin], &pays).unwrap()
    }

    fn issuance(&mut self) -> Payment {
        let (pegged, script) = (self.chain.pegged(), self.alice.script());
        let issue = Issue::new([9; 32], 500, 0, Shape::Confidential);
        let (asset, _) = issue.assets(&self.money).unwrap();
        let pays = [Pay::confidential(pegged, 999_000, script.clone()), Pay::confidential(asset, 500, script)];
        self.chain.issue(std::slice::from_ref(&self.money), &issue, &pays).unwrap()
    }

    /// Both say this of a block with the transaction, and members that of the transaction.
    fn check(&self, name: &str, transaction: Transaction, says: Says, signed: Signed) {
        let policy = check_federation_policy(&self.chain.judge.params, &transaction);
        match (policy, signed) {
            (Ok(()), Signed::Yes) => {}
            (Err(error), Signed::No(expected)) => assert_eq!(error.name(), expected, "{name}"),
            (other, _) => panic!("{name}: {other:?}"),
        }
        let unreadable = elements::encode::deserialize::<elements::Transaction>(&serialize(&transaction)).is_err();
        assert!(!unreadable || signed != Signed::Yes, "{name}: members sign what wallets cannot read");
        self.check_block(name, self.chain.propose(vec![transaction]).unwrap(), says);
    }

    fn check_block(&self, name: &str, block: Block, says: Says) {
        let bytes = serialize(&block);
        let read = Block::decode(bytes.clone()).unwrap();
        assert_eq!(serialize(&read), bytes, "{name}");
        let body = Body { block: read, batch: None };
        let ours = self.chain.judge.examine(body, Scrutiny::ChainOnly).unwrap();
        let valid = matches!(ours, Verdict::Valid(_));
        assert_eq!(valid, says == Valid, "{name}: we say {ours:?}");
        if let Some(elementsd) = &self.elementsd {
            let theirs = elementsd.call::<Value>("testproposedblock", &[json!(hex::encode(bytes)), json!(true)]);
            assert_eq!(theirs.is_ok(), says == Valid, "{name}: elementsd says {theirs:?}");
        }
    }
}

/// The x coordinate of no point.
const NO_POINT: [u8; 32] = [0xff; 32];
const GARBAGE: [u8; 3] = [0xee; 3];

#[test]
fn nonces() {
    let mut forms = Forms::new(90);
    let payment = forms.payment();
    let check = |name, nonce, signed| {
        forms.check(name, payment.with(|tx| tx.output[0].nonce = nonce), Valid, signed);
    };
    check("no nonce", Nonce::Null, Signed::Yes);
    check("an explicit nonce", Nonce::Explicit(NO_POINT), Signed::Yes);
    check("a nonce beyond the field", Nonce::Confidential(Parity::Odd, NO_POINT), Signed::No("unreadable"));
    let mut five = [0; 32];
    five[31] = 5;
    check("a nonce off the curve", Nonce::Confidential(Parity::Even, five), Signed::No("unreadable"));
    let block = forms.chain.propose_with(vec![], |tx| tx.output[0].nonce = Nonce::Confidential(Parity::Odd, NO_POINT));
    forms.check_block("a nonce off the curve in the coinbase", block.unwrap(), Valid);
}

#[test]
fn proofs() {
    let mut forms = Forms::new(91);
    let payment = forms.payment();
    let garbage = || GARBAGE.to_vec();
    let idle = Signed::No("superfluous-issuance-proof");
    let tx = payment.with(|tx| tx.input[0].witness.amount_rangeproof = garbage().into());
    forms.check("bytes for an amount that is not issued", tx, Valid, idle);
    let tx = payment.with(|tx| tx.input[0].witness.inflation_keys_rangeproof = garbage().into());
    forms.check("bytes for tokens that are not issued", tx, Valid, idle);
    let unreadable = Signed::No("unreadable");
    let tx = payment.with(|tx| tx.output[0].witness.rangeproof = garbage().into());
    forms.check("bytes that are no range proof", tx, Invalid, unreadable);
    let tx = payment.with(|tx| tx.output[0].witness.surjection_proof = garbage().into());
    forms.check("bytes that are no surjection proof", tx, Invalid, unreadable);
    let tx = payment.with(|tx| tx.output[1].witness.rangeproof = garbage().into());
    forms.check("bytes where nothing is hidden", tx, Invalid, unreadable);
    let tx = payment.with(|tx| tx.output[2].witness.surjection_proof = garbage().into());
    forms.check("bytes where nothing is hidden, of a fee", tx, Invalid, unreadable);
    let issuance = forms.issuance();
    forms.check("a hidden issuance", issuance.transaction.clone(), Valid, Signed::Yes);
    let tx = issuance.with(|tx| tx.input[0].witness.amount_rangeproof = garbage().into());
    forms.check("bytes that are no range proof of an issuance", tx, Invalid, unreadable);
    let tx = issuance.with(|tx| tx.input[0].witness.inflation_keys_rangeproof = garbage().into());
    forms.check("bytes for tokens beside a hidden amount", tx, Valid, idle);
}

#[test]
fn pegin_witnesses() {
    let mut forms = Forms::new(92);
    let claim = forms.claim();
    let items = claim.transaction.input[0].witness.pegin_witness.to_vec();
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut items = items.clone();
        change(&mut items);
        claim.with(|tx| tx.input[0].witness.pegin_witness = Witness::from_slice(&items))
    };
    forms.check("an honest claim", changed(&|_| ()), Valid, Signed::Yes);
    let unreadable = Signed::No("unreadable");
    forms.check("a byte behind the value", changed(&|items| items[0].push(7)), Valid, unreadable);
    forms.check("many bytes behind the value", changed(&|items| items[0].extend([7; 300])), Valid, unreadable);
    forms.check("a short value", changed(&|items| items[0].truncate(7)), Invalid, unreadable);
    forms.check("a short asset", changed(&|items| items[1].truncate(31)), Invalid, unreadable);
    forms.check("a long parent chain", changed(&|items| items[2].push(0)), Invalid, unreadable);
    forms.check("a byte behind the transaction", changed(&|items| items[4].push(0)), Invalid, Signed::Yes);
    forms.check("a byte behind the proof", changed(&|items| items[5].push(0)), Invalid, Signed::Yes);
    forms.check("an item less", changed(&|items| drop(items.pop())), Invalid, unreadable);
    forms.check("an item more", changed(&|items| items.push(vec![])), Invalid, unreadable);
    forms.check("no item", changed(&|items| items.clear()), Invalid, Signed::Yes);

    let payment = forms.payment();
    let superfluous = Signed::No("superfluous-pegin-witness");
    for stack in [items, vec![vec![]], vec![vec![1; 300]; 7]] {
        let tx = payment.with(|tx| tx.input[0].witness.pegin_witness = Witness::from_slice(&stack));
        forms.check("a peg-in witness without a peg-in", tx, Valid, superfluous);
    }
}

#[test]
fn commitments_that_are_no_points() {
    let mut forms = Forms::new(94);
    let transaction = forms.payment().transaction;
    let output = &transaction.output[0];
    for commitment in [serialize(&output.asset), serialize(&output.value)] {
        let broken = [&commitment[..1], &NO_POINT].concat();
        let replace = |bytes: Vec<u8>| {
            let at = bytes.windows(33).position(|window| window == commitment).unwrap();
            [&bytes[..at], &broken, &bytes[at + 33..]].concat()
        };
        let mut bare = transaction.clone();
        bare.input.iter_mut().for_each(|input| input.witness = TxInWitness::default());
        bare.output.iter_mut().for_each(|output| output.witness = TxOutWitness::default());
        let txid = Txid::from_byte_array(sha256d::Hash::hash(&replace(serialize(&bare))).to_byte_array());
        let mut block = forms.chain.propose(vec![transaction.clone()]).unwrap();
        block.header.merkle_root = merkle_root(&[block.txdata[0].txid(), txid]);
        let bytes = replace(serialize(&block));
        // We refuse it when it is decoded, elementsd when it verifies the transaction.
        assert!(matches!(Block::decode(bytes.clone()), Err(DecodeError::Commitment { .. })));
        if let Some(elementsd) = &forms.elementsd {
            let transaction = hex::encode(replace(serialize(&transaction)));
            elementsd.call::<Value>("decoderawtransaction", &[json!(transaction), json!(true)]).unwrap();
            let theirs = elementsd.call::<Value>("testproposedblock", &[json!(hex::encode(bytes)), json!(true)]);
            assert!(theirs.unwrap_err().to_string().contains("bad-txns-in-ne-out"));
        }
    }
}

#[test]
fn more_outputs_than_common_libraries_read() {
    let mut forms = Forms::new(93);
    let most = MAX_VEC_SIZE / size_of::<elements::TxOut>();
    let (pegged, script) = (forms.chain.pegged(), forms.alice.script());
    // Short scripts, or they would be too many for a block as well.
    let mut pays = vec![Pay::explicit(pegged, 1, Script::from(vec![0x51])); most];
    pays.push(Pay::confidential(pegged, 999_000 - u64::try_from(most).unwrap(), script));
    let payment = forms.chain.pay(std::slice::from_ref(&forms.money), &pays).unwrap();
    forms.check("many outputs", payment.transaction, Valid, Signed::No("unreadable"));
}
