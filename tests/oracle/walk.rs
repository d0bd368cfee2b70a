//! A chain across epochs and votes: what a vote puts in force, who signs then, where deposits go, and when a coinbase may
//! be spent. Every block is judged by us, and by elementsd if there is one.

use aquifer_assets::block::check_block_signatures;
use aquifer_assets::chain::{ElementsConfOptions, elements_conf};
use aquifer_assets::primitives::{Block, Transaction, TxOut};
use aquifer_functionary::chain::parent::DepthVerdict;
use aquifer_tests::elementsd::Elementsd;
use aquifer_tests::forge::{Chain, Deposit, Owner, Pay, Payment, commit_to_witnesses, set_witness};
use bitcoin::hashes::{Hash as _, hash160};
use elements::dynafed::{FullParams, Params};
use elements::{BlockExtData, OutPoint, Script};
use rand::SeedableRng as _;
use secp256k1_zkp::{Message, SECP256K1, SecretKey};
use serde_json::{Value, json};

/// Makes the witness of a header.
type Signers = Box<dyn Fn(&Chain, &Block) -> Vec<Vec<u8>>>;

struct Walk {
    chain: Chain,
    elementsd: Option<Elementsd>,
    signers: Signers,
}

impl Walk {
    fn new() -> Self {
        let chain = Chain::new(77).unwrap();
        let params = &chain.judge.params;
        let configuration = elements_conf(params, &ElementsConfOptions::default());
        let elementsd =
            Elementsd::program().map(|program| Elementsd::start(program, &configuration, &params.name).unwrap());
        Walk { chain, elementsd, signers: Box::new(members) }
    }

    /// Whether a block is valid, signatures aside: asked of both, who have to say what is expected.
    fn propose(&self, what: &str, block: &Block, valid: bool) {
        let ours = self.chain.refusal_when_final(block).unwrap().map(|refusal| refusal.to_string());
        assert_eq!(ours.is_none(), valid, "height {}, {what}: we say {ours:?}", block.header.height);
        if let Some(elementsd) = &self.elementsd {
            let hex = elements::encode::serialize_hex(block);
            let theirs = elementsd.call::<Value>("testproposedblock", &[json!(hex), json!(true)]).err();
            assert_eq!(theirs.is_none(), valid, "height {}, {what}: elementsd says {theirs:?}", block.header.height);
        }
    }

    /// The same of the witness of a header.
    fn sign(&self, what: &str, mut block: Block, witness: Vec<Vec<u8>>, valid: bool) {
        set_witness(&mut block, witness);
        let ours = check_block_signatures(&self.chain.judge.federation().unwrap(), &block.header);
        assert_eq!(ours.is_ok(), valid, "height {}, {what}: we say {ours:?}", block.header.height);
        if let Some(elementsd) = &self.elementsd {
            let theirs = elementsd.submit_block(block.header.height, &elements::encode::serialize_hex(&block));
            assert_eq!(theirs.is_ok(), valid, "height {}, {what}: elementsd says {theirs:?}", block.header.height);
            if valid {
                let hash = json!(block.block_hash().to_string());
                elementsd.call::<Value>("invalidateblock", &[hash]).unwrap();
            }
        }
    }

    /// A block on the tip, with a hash that no other has.
    fn block(&self, transactions: Vec<Transaction>, number: u32) -> Block {
        let mut block = self.chain.propose(transactions).unwrap();
        block.header.time += number;
        block
    }

    /// Adds a block to both chains.
    fn extend(&mut self, mut block: Block) {
        let witness = (self.signers)(&self.chain, &block);
        set_witness(&mut block, witness);
        check_block_signatures(&self.chain.judge.federation().unwrap(), &block.header).unwrap();
        self.chain.follow(&block).unwrap();
        if let Some(elementsd) = &self.elementsd {
            elementsd.submit_block(block.header.height, &elements::encode::serialize_hex(&block)).unwrap();
        }
    }

    fn next_height(&self) -> u32 {
        self.chain.next_height().unwrap()
    }

    /// Goes to the start of the next epoch, with a number of votes on the way.
    fn vote(&mut self, proposal: &FullParams, mut votes: u32) {
        loop {
            let mut block = self.block(vec![], 9);
            if votes > 0 {
                votes -= 1;
                propose(&mut block, Params::Full(proposal.clone()));
            }
            self.propose("with its vote", &block, true);
            self.extend(block);
            if self.next_height().is_multiple_of(10) {
                return;
            }
        }
    }

    fn in_force(&self) -> FullParams {
        self.chain.judge.federation().unwrap().current().clone()
    }
}

fn propose(block: &mut Block, proposal: Params) {
    if let BlockExtData::Dynafed { proposed, .. } = &mut block.header.ext {
        *proposed = proposal;
    }
}

/// Three of the four members.
fn members(chain: &Chain, block: &Block) -> Vec<Vec<u8>> {
    let signatures = chain.header_signatures(block, &[0, 1, 2]).into_values();
    std::iter::once(vec![]).chain(signatures).chain([chain.signblock_script().to_bytes()]).collect()
}

fn stranger() -> SecretKey {
    SecretKey::from_slice(&[0x55; 32]).unwrap()
}

fn public() -> Vec<u8> {
    stranger().public_key(SECP256K1).serialize().to_vec()
}

fn signature(block: &Block) -> Vec<u8> {
    let message = Message::from_digest(block.block_hash().to_byte_array());
    [SECP256K1.sign_ecdsa(&message, &stranger()).serialize_der().as_ref(), &[1]].concat()
}

fn bytes(script: &Script) -> bitcoin::ScriptBuf {
    bitcoin::ScriptBuf::from_bytes(script.to_bytes())
}

/// Puts new parameters in force by vote; `signers` sign from then on.
fn transition(walk: &mut Walk, proposal: &FullParams, signers: Signers) {
    walk.vote(proposal, 8);
    assert_eq!(&walk.in_force(), proposal);
    walk.signers = signers;
}

#[test]
fn votes_change_who_signs_and_where_deposits_go() {
    let mut walk = Walk::new();
    let first = walk.in_force();
    // Epoch 0. Seven votes are too few.
    let key_script = Script::from([vec![33], public(), vec![0xac]].concat());
    let single = FullParams { signblockscript: key_script.to_v0_p2wsh(), ..walk.in_force() };
    walk.vote(&single, 7);
    assert_eq!(walk.in_force(), first);
    deposits(&walk);
    // Epoch 1. Eight are enough.
    let script = key_script.to_bytes();
    let sign = {
        let script = script.clone();
        Box::new(move |_: &Chain, block: &Block| vec![signature(block), script.clone()])
    };
    transition(&mut walk, &single, sign);
    let block = walk.block(vec![], 1);
    walk.sign("by the old members", block.clone(), members(&walk.chain, &block), false);
    walk.sign("by the new one", block.clone(), vec![signature(&block), script.clone()], true);
    let block = walk.block(vec![], 2);
    walk.sign("with an item more", block.clone(), vec![vec![], signature(&block), script.clone()], false);
    walk.sign("by nobody", block, vec![], false);
    let mut stale = walk.block(vec![], 3);
    if let BlockExtData::Dynafed { current, .. } = &mut stale.header.ext {
        *current = Params::Full(first.clone());
    }
    walk.propose("with the old parameters", &stale, false);
    deposits(&walk);
    // Epoch 2: a federation script whose end is cut short and that has odd pushes.
    let odd = [script.clone(), vec![0x4c, 0, 0x4d, 2, 0, 7, 7, 33, 2, 2]].concat();
    let odd_peg = FullParams {
        fedpeg_program: bytes(&Script::from(odd.clone()).to_v0_p2wsh()),
        fedpegscript: odd,
        ..walk.in_force()
    };
    let sign = {
        let script = script.clone();
        Box::new(move |_: &Chain, block: &Block| vec![signature(block), script.clone()])
    };
    transition(&mut walk, &odd_peg, sign);
    deposits(&walk);
    // Epoch 3: a script that is no signature check, and a federation program of a later version.
    let odd_script = Script::from(vec![0x5a, 0xb1, 0xb2, 0x76, 0x87]);
    let later = FullParams {
        signblockscript: odd_script.to_v0_p2wsh(),
        fedpeg_program: bytes(&Script::from([vec![0x51, 32], vec![7; 32]].concat())),
        ..walk.in_force()
    };
    let script = odd_script.to_bytes();
    let sign = {
        let script = script.clone();
        Box::new(move |_: &Chain, _: &Block| vec![script.clone()])
    };
    transition(&mut walk, &later, sign);
    let block = walk.block(vec![], 1);
    walk.sign("by the script alone", block, vec![script.clone()], true);
    let block = walk.block(vec![], 2);
    walk.sign("with an item more", block, vec![vec![1], script], false);
    deposits(&walk);
    // Epoch 4: a key hash.
    let hash = hash160::Hash::hash(&public());
    let program = Script::from([[0, 20].as_slice(), hash.as_byte_array()].concat());
    let by_hash = FullParams { signblockscript: program, ..walk.in_force() };
    transition(&mut walk, &by_hash, Box::new(|_, block| vec![signature(block), public()]));
    let block = walk.block(vec![], 1);
    walk.sign("by the key", block.clone(), vec![signature(&block), public()], true);
    let block = walk.block(vec![], 2);
    walk.sign("by an empty signature", block.clone(), vec![vec![], public()], false);
    let mut wrong_kind = signature(&block);
    wrong_kind.pop();
    walk.sign("without a hash type", block.clone(), vec![wrong_kind.clone(), public()], false);
    walk.sign("with another hash type", block, vec![[wrong_kind, vec![2]].concat(), public()], false);
    // Epoch 5: a program of a later version, so that anybody signs (trap 7.2).
    let anybody = FullParams { signblockscript: Script::from([vec![0x51, 32], vec![7; 32]].concat()), ..by_hash };
    transition(&mut walk, &anybody, Box::new(|_, _| vec![]));
    for (number, witness) in [vec![], vec![vec![]], vec![vec![1; 80]; 2], vec![vec![9; 30]]].into_iter().enumerate() {
        let block = walk.block(vec![], u32::try_from(number).unwrap());
        walk.sign("by anybody", block, witness, true);
    }
    let block = walk.block(vec![], 7);
    walk.sign("by too much", block, vec![vec![0; 2_000]], false);
    walk.vote(&anybody, 0);
    deposits(&walk);
}

/// Deposits to every script of the window, and to none of them.
fn deposits(walk: &Walk) {
    let owner = Owner::new(&mut rand_chacha::ChaCha20Rng::from_seed([1; 32]));
    let federation = walk.chain.judge.federation().unwrap();
    let programs = federation.deposit_programs(&owner.script()).unwrap();
    let is_open = federation.fedpegs().iter().any(|fedpeg| fedpeg.tweaked(&owner.script()).unwrap().is_none());
    for (number, program) in (1..).zip(programs) {
        let block = walk.block(vec![claim(walk, &Deposit::paying(program.script_pubkey, owner, 50_000, number))], 0);
        walk.propose("a claim", &block, true);
    }
    let elsewhere = bitcoin::ScriptBuf::from_bytes([vec![0, 32], vec![6; 32]].concat());
    let block = walk.block(vec![claim(walk, &Deposit::paying(elsewhere, owner, 50_000, 9))], 0);
    walk.propose("a claim of a payment to somebody else", &block, is_open);
}

fn claim(walk: &Walk, deposit: &Deposit) -> Transaction {
    walk.chain.bitcoin.set(deposit.outpoint(), DepthVerdict::Deep { confirmations: 8 });
    let coin = deposit.coin(&walk.chain.judge.params).unwrap();
    let pegged = walk.chain.pegged();
    let pays = [Pay::explicit(pegged, 49_000, deposit.owner.script())];
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([2; 32]);
    Payment::new(&mut rng, &[coin], &pays, (pegged, 1_000)).unwrap().transaction
}

#[test]
fn a_coinbase_is_spent_after_a_hundred_blocks() {
    let mut walk = Walk::new();
    let owner = Owner::new(&mut rand_chacha::ChaCha20Rng::from_seed([1; 32]));
    let programs = walk.chain.judge.federation().unwrap().deposit_programs(&owner.script()).unwrap();
    let deposit = Deposit::paying(programs[0].script_pubkey.clone(), owner, 50_000, 1);
    let mut block = walk.block(vec![claim(&walk, &deposit)], 0);
    block.txdata[0].output[0].script_pubkey = owner.script();
    commit_to_witnesses(&mut block);
    walk.extend(block.clone());
    let collected = Payment {
        transaction: block.txdata[0].clone(),
        secrets: vec![claimed(&block.txdata[0].output[0])],
        coins: vec![],
        incoming: vec![],
    };
    let coin = collected.coin(0, owner).unwrap();
    assert_eq!(coin.outpoint, OutPoint::new(block.txdata[0].txid(), 0));
    let pegged = walk.chain.pegged();
    let pays = [Pay::explicit(pegged, 600, owner.script())];
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([3; 32]);
    let spend = Payment::new(&mut rng, &[coin], &pays, (pegged, 400)).unwrap().transaction;
    loop {
        let height = walk.next_height();
        let block = walk.block(vec![spend.clone()], 0);
        walk.propose("spends what block 1 collected", &block, height >= 101);
        if height == 101 {
            break;
        }
        walk.extend(walk.block(vec![], 0));
    }
}

fn claimed(output: &TxOut) -> elements::TxOutSecrets {
    elements::TxOutSecrets::new(
        output.asset.explicit().unwrap(),
        elements::confidential::AssetBlindingFactor::zero(),
        output.value.explicit().unwrap(),
        elements::confidential::ValueBlindingFactor::zero(),
    )
}
