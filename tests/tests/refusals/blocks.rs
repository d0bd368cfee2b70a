//! Blocks that break a rule of their own.

use std::collections::BTreeMap;

use aquifer_assets::block::{BlockError, check_block_signatures};
use aquifer_assets::chain::ChainParams;
use aquifer_assets::primitives::{Block, Transaction, Witness};
use aquifer_assets::transaction::TxError;
use aquifer_federation::blocksign::{assemble_witness, sign_header};
use aquifer_federation::certificate::{Statement, combine, sign_share};
use aquifer_federation::roster::MemberIndex;
use aquifer_functionary::chain::judge::{BadBlock, Verdict};
use aquifer_functionary::mempool::MempoolError;
use aquifer_tests::forge::{Chain, commit_to_transactions, set_witness};
use elements::confidential::{Asset, Value};
use elements::dynafed::{FullParams, Params};
use elements::{BlockExtData, Script};

use crate::support::Start;

fn accepted(chain: &Chain, block: &Block) -> bool {
    matches!(chain.judge(block).unwrap(), Verdict::Valid(_))
}

/// Why a voting member calls a block invalid.
fn reason(chain: &Chain, block: &Block) -> BlockError {
    match chain.judge(block).unwrap() {
        Verdict::Invalid(BadBlock::Block(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_coinbase_that_takes_more_than_the_fees() {
    let mut start = Start::new(50);
    let transactions = vec![start.payment().transaction];
    let (pegged, gold) = (start.chain.pegged(), start.gold());
    let taking = |amount: u64| {
        let change = |coinbase: &mut Transaction| coinbase.output[0].value = Value::Explicit(amount);
        start.chain.propose_with(transactions.clone(), change).unwrap()
    };
    assert!(accepted(&start.chain, &taking(1_000)));
    assert!(accepted(&start.chain, &taking(999)));
    for taken in [1_001, 21_000_000_000] {
        match reason(&start.chain, &taking(taken)) {
            BlockError::CoinbaseAmount { asset, taken: found, available: 1_000 } => {
                assert_eq!((asset, found), (pegged, taken));
            }
            other => panic!("{other}"),
        }
    }
    // In two outputs; in an asset that nobody paid; where no fees are at all.
    let again = |asset, amount, transactions: Vec<_>| {
        let script = start.bob.script();
        let add = |coinbase: &mut Transaction| {
            let mut output = coinbase.output[0].clone();
            (output.asset, output.value, output.script_pubkey) =
                (Asset::Explicit(asset), Value::Explicit(amount), script);
            coinbase.output.insert(0, output);
        };
        reason(&start.chain, &start.chain.propose_with(transactions, add).unwrap())
    };
    for (asset, amount, transactions, total, paid) in [
        (pegged, 1, transactions.clone(), 1_001, 1_000),
        (gold, 1, transactions.clone(), 1, 0),
        (pegged, 1, vec![], 1, 0),
    ] {
        match again(asset, amount, transactions) {
            BlockError::CoinbaseAmount { asset: named, taken, available } => {
                assert_eq!((named, taken, available), (asset, total, paid));
            }
            other => panic!("{other}"),
        }
    }
    // A coinbase has no business in a mempool.
    let coinbase = taking(1_000).txdata[0].clone();
    let refused = start.chain.submit(&coinbase);
    assert!(matches!(refused, Err(MempoolError::Invalid(TxError::Coinbase))), "{refused:?}");
    let block = start.chain.propose(vec![coinbase]).unwrap();
    assert!(matches!(reason(&start.chain, &block), BlockError::CoinbaseSecond { position: 1 }));
}

/// A block whose header has these items between the empty one and the script.
fn witnessed(chain: &Chain, block: &Block, signatures: impl IntoIterator<Item = Vec<u8>>) -> Block {
    let mut block = block.clone();
    let mut witness = vec![Vec::new()];
    witness.extend(signatures);
    witness.push(chain.signblock_script().to_bytes());
    set_witness(&mut block, witness);
    block
}

#[test]
fn a_block_with_too_few_signatures() {
    let start = Start::new(51);
    let chain = &start.chain;
    let params = &chain.judge.params;
    let federation = chain.judge.federation().unwrap();
    let block = chain.propose(vec![]).unwrap();
    let check = |signatures: BTreeMap<MemberIndex, Vec<u8>>| {
        check_block_signatures(&federation, &witnessed(chain, &block, signatures.into_values()).header)
    };
    let by = |members: &[u16]| chain.header_signatures(&block, members);
    // Four members, of whom three are needed.
    for members in [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]] {
        check(by(&members)).unwrap();
        let two = by(&members[..2]);
        assert_eq!(assemble_witness(params, &two), None);
        assert!(matches!(check(two), Err(BlockError::SignatureCount { found: 2, needed: 3 })));
    }
    // A fourth does no good: Elements refuses items that its script leaves over. Here it does not even fit.
    assert!(matches!(check(by(&[0, 1, 2, 3])), Err(BlockError::SignatureSize { .. })));
    assert!(matches!(check_block_signatures(&federation, &block.header), Err(BlockError::Unsigned)));

    // The place of the third is filled: by the second again, by a stranger, by a signature of another block.
    let filled = |third: Vec<u8>| {
        let mut signatures = by(&[0, 1]);
        signatures.insert(MemberIndex(2), third);
        check(signatures)
    };
    let second = by(&[1]).into_values().next().unwrap();
    assert!(matches!(filled(second), Err(BlockError::SignatureOrder { position: 2 })));
    let stranger = Chain::new(52).unwrap().founded.seeds[2].keys();
    let strange = sign_header(&stranger.block, &block.block_hash());
    assert!(matches!(filled(strange), Err(BlockError::SignatureInvalid { position: 2 })));
    let other = sign_header(&chain.founded.seeds[2].keys().block, &block.header.prev_blockhash);
    assert!(matches!(filled(other), Err(BlockError::SignatureInvalid { position: 2 })));

    // Whoever proposes has no signatures to show yet.
    let early = witnessed(chain, &block, by(&[0, 1]).into_values());
    assert!(matches!(chain.judge(&early).unwrap(), Verdict::Invalid(BadBlock::SignedAlready)));
    assert!(accepted(chain, &block));
}

#[test]
fn a_certificate_of_too_few_members() {
    let start = Start::new(53);
    let federation = &start.chain.founded.federation;
    let block = start.chain.propose(vec![]).unwrap();
    let genesis = federation.params.genesis_hash();
    let statement = Statement { genesis, height: block.header.height, block: block.block_hash() };
    let other = Statement { block: block.header.prev_blockhash, ..statement };
    let share = |member: u16, statement: &Statement| {
        (MemberIndex(member), sign_share(&start.chain.founded.shares[usize::from(member)], statement))
    };
    let combined = combine(federation, &statement, &BTreeMap::from([0, 1, 2].map(|member| share(member, &statement))));
    assert_eq!(combined.unwrap().culprits, []);
    let two = combine(federation, &statement, &BTreeMap::from([0, 3].map(|member| share(member, &statement))));
    let error = two.unwrap_err();
    assert_eq!((error.good, error.needed, error.culprits), (2, 3, vec![]));
    let shares = BTreeMap::from([share(0, &statement), share(1, &other), share(2, &statement)]);
    let error = combine(federation, &statement, &shares).unwrap_err();
    assert_eq!((error.good, error.needed, error.culprits), (2, 3, vec![MemberIndex(1)]));
}

fn with_entry(block: &Block, entry: Params) -> Block {
    let mut block = block.clone();
    if let BlockExtData::Dynafed { current, .. } = &mut block.header.ext {
        *current = entry;
    }
    block
}

/// The parameters in force with another federation's block keys.
fn foreign(chain: &Chain) -> FullParams {
    let stranger = Chain::new(55).unwrap().judge.params.signblock_script.clone();
    ChainParams { signblock_script: stranger, ..(*chain.judge.params).clone() }.block_one_params()
}

#[test]
fn a_wrong_dynafed_entry() {
    let mut start = Start::new(54);
    let full = start.chain.judge.params.block_one_params();
    let foreign = foreign(&start.chain);
    let wrong = |chain: &Chain, entries: Vec<Params>| {
        let block = chain.propose(vec![]).unwrap();
        let height = block.header.height;
        assert!(accepted(chain, &block), "height {height}");
        let federation = chain.judge.federation().unwrap();
        assert!(accepted(chain, &with_entry(&block, federation.entry())));
        for entry in entries {
            let bad = with_entry(&block, entry);
            assert!(matches!(reason(chain, &bad), BlockError::DynafedCurrent { height: at } if at == height));
            // Nor does it help that members sign it.
            let (bad, _) = chain.seal(bad).unwrap();
            let signatures = check_block_signatures(&federation, &bad.header);
            assert!(matches!(signatures, Err(BlockError::DynafedCurrent { .. })), "{signatures:?}");
        }
    };
    // Within an epoch the short form.
    let entries = vec![Params::Null, Params::Full(full.clone()), foreign.clone().into_compact()];
    wrong(&start.chain, entries);
    // At the start of an epoch the full one.
    let epoch = start.chain.judge.params.epoch_length_blocks;
    while !start.chain.next_height().unwrap().is_multiple_of(epoch) {
        start.chain.extend(vec![]).unwrap();
    }
    wrong(&start.chain, vec![Params::Null, full.clone().into_compact(), Params::Full(foreign)]);

    // A proposal of new parameters, even of the same.
    let mut block = start.chain.propose(vec![]).unwrap();
    if let BlockExtData::Dynafed { proposed, .. } = &mut block.header.ext {
        *proposed = Params::Full(full);
    }
    assert!(matches!(reason(&start.chain, &block), BlockError::ProposalNotAgreed { height: 10 }));
}

#[test]
fn a_wrong_witness_commitment() {
    let mut start = Start::new(56);
    let payment = start.payment();
    let transactions = vec![payment.transaction.clone()];
    let right = start.chain.propose(transactions).unwrap();
    assert!(accepted(&start.chain, &right));

    let last = right.txdata[0].output.len() - 1;
    let script = right.txdata[0].output[last].script_pubkey.to_bytes();
    let committing = |script: Vec<u8>| {
        let mut block = right.clone();
        block.txdata[0].output[last].script_pubkey = Script::from(script);
        commit_to_transactions(&mut block);
        block
    };
    assert!(accepted(&start.chain, &committing(script.clone())));
    let mut changed = script.clone();
    changed[10] ^= 1;
    match reason(&start.chain, &committing(changed)) {
        BlockError::WitnessCommitment { expected } => assert_eq!(expected[..], script[6..]),
        other => panic!("{other}"),
    }
    let none = committing(vec![0x6a]);
    assert!(matches!(reason(&start.chain, &none), BlockError::WitnessCommitmentMissing));

    // Another witness of the same transaction: neither its id nor the block's hash show it.
    let mut malleated = right.clone();
    let proof = payment.transaction.output[0].witness.rangeproof.clone();
    malleated.txdata[1].output[1].witness.rangeproof = proof;
    assert_eq!(malleated.block_hash(), right.block_hash());
    assert!(matches!(reason(&start.chain, &malleated), BlockError::WitnessCommitment { .. }));
    // The nonce that the commitment is made with.
    let mut other = right.clone();
    other.txdata[0].input[0].witness.script_witness = Witness::from_slice(&[[1u8; 32]]);
    assert!(matches!(reason(&start.chain, &other), BlockError::WitnessCommitment { .. }));
}
