//! Decoding and judging blocks: nothing panics, and a block says of a transaction what the mempool says.

use aquifer_assets::block::{
    BlockError, MAX_BLOCK_WEIGHT, Template, block_weight, build_block, check_block, check_block_signatures,
    check_federation_policy, stricter_block_weight,
};
use aquifer_assets::chain::Federation;
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_assets::state::{DynafedEntries, Effects};
use aquifer_assets::transaction::{fee_in, verify_transaction};
use elements::Script;
use elements::encode::serialize;

use crate::ground::{Case, ground};
use crate::program::Program;
use crate::wire;

/// After the last block of the ground, in seconds.
const SPACING_SECONDS: u32 = 60;

/// Takes a block as it is, or a program that puts changed transactions into a block whose commitments are right, or
/// changes the bytes of a good block.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    let cases = &ground().cases;
    match program.byte() % 4 {
        0 => examine(program.take_rest()),
        1 => {
            let Some(case) = program.pick(cases) else { return };
            let mut block = bytes(case);
            program.change(&mut block, &case.bytes);
            examine(&block);
        }
        _ => {
            let Some(case) = program.pick(cases) else { return };
            let mut bytes = case.bytes.clone();
            let other = program.pick(cases).map(|case| case.bytes.as_slice()).unwrap_or_default();
            program.change(&mut bytes, other);
            if let Some(transaction) = wire::transaction(&bytes) {
                hold(transaction);
            }
        }
    }
}

/// Bytes from a peer.
fn examine(bytes: &[u8]) {
    let reference = wire::reference::<elements::Block>(bytes);
    let block = match Block::decode(bytes.to_vec()) {
        Ok(block) => block,
        Err(error) => return wire::check_refusal(&error, reference.as_ref()),
    };
    assert_eq!(serialize(&block), bytes, "it has another encoding");
    if let Some(reference) = reference {
        assert_eq!(Block::from(&reference), block, "the elements crate reads something else");
        assert_eq!(block.block_hash(), reference.block_hash(), "name");
    }
    let ground = ground();
    let weight = block_weight(&block);
    stricter_block_weight(&block);
    drop(check_federation_policy(&ground.params, &block));
    let federation = Federation::without_votes(&ground.params, block.header.height);
    drop(check_block_signatures(&federation, &block.header));
    if judge(&block).is_ok() {
        assert!(weight <= MAX_BLOCK_WEIGHT, "a block of weight {weight}");
    }
}

fn judge(block: &Block) -> Result<Effects, BlockError> {
    let ground = ground();
    check_block(&ground.params, &ground.tip, block, &ground.view, ground.time)
}

/// A transaction in a block whose every other part is right.
fn hold(transaction: Transaction) {
    let ground = ground();
    let alone = verify_transaction(&ground.context(), &transaction, &ground.view);
    let verdict = judge(&build(vec![transaction]));
    match (verdict, alone) {
        (Ok(effects), Ok(alone)) => {
            assert!(alone.created.keys().all(|outpoint| effects.created.contains_key(outpoint)), "an output is lost");
            assert_eq!(effects.pegins, alone.pegins, "peg-ins");
            assert_eq!(effects.pegouts, alone.pegouts, "peg-outs");
        }
        (Err(BlockError::Transaction { source, .. }), alone) => {
            assert_eq!(alone.err(), Some(*source), "another reason in the block");
        }
        (Ok(_), alone @ Err(_)) => assert_eq!(alone.err(), None, "valid in a block only"),
        // The block may have a rule against it that the transaction alone has not: weight, signature operations, a name
        // that is taken, and then the transaction is not looked at.
        (Err(_), _) => {}
    }
}

/// A valid block that holds a case, as it is sent.
pub(crate) fn bytes(case: &Case) -> Vec<u8> {
    serialize(&build(vec![case.transaction.clone()]))
}

/// A block on the tip, complete but for its signatures.
fn build(transactions: Vec<Transaction>) -> Block {
    let ground = ground();
    let height = ground.tip.height.saturating_add(1);
    let pegged = ground.params.pegged_asset();
    let fee = transactions.iter().map(|transaction| fee_in(transaction, pegged)).fold(0, u64::saturating_add);
    let current = Federation::without_votes(&ground.params, height).entry();
    let template = Template {
        height,
        previous: ground.tip.hash,
        dynafed: DynafedEntries { current, ..DynafedEntries::default() },
        time: ground.time.saturating_add(SPACING_SECONDS),
        transactions,
        fees: [(pegged, fee)].into(),
        fee_script: Script::from(vec![0x51]),
        commitments: Vec::new(),
    };
    build_block(&ground.params, template)
}
