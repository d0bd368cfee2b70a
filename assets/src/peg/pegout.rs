//! Peg-outs: an output that nobody can spend, and that says where the bitcoin shall go.
//!
//! The script is `OP_RETURN <parent genesis> <destination script>`, possibly with further pushes, which have no meaning
//! here. What counts as a peg-out is what Elements counts as one, so that other software and we see the same ones.

use elements::confidential::{Asset, Value};
use elements::opcodes::all::{OP_PUSHDATA4, OP_RETURN};
use elements::script::{Builder, Instruction};
use elements::{OutPoint, Script, TxOut};

use super::PegoutRequest;
use crate::chain::ChainParams;

/// The output script of a peg-out to `dest` on the parent chain.
pub fn pegout_script(parent_genesis: &bitcoin::BlockHash, dest: &bitcoin::Script) -> Script {
    let genesis: &[u8; 32] = parent_genesis.as_ref();
    Builder::new().push_opcode(OP_RETURN).push_slice(genesis).push_slice(dest.as_bytes()).into_script()
}

/// The parent chain and the destination, if this is a peg-out script. Asset and amount of the output do not matter here.
pub fn parse_pegout_script(script: &Script) -> Option<(bitcoin::BlockHash, bitcoin::ScriptBuf)> {
    let mut instructions = script.instructions();
    if !matches!(instructions.next()?.ok()?, Instruction::Op(OP_RETURN)) {
        return None;
    }
    let genesis = <[u8; 32]>::try_from(instructions.next()?.ok()?.push_bytes()?).ok()?;
    let destination = instructions.next()?.ok()?.push_bytes()?;
    if destination.is_empty() {
        return None;
    }
    // Elements reads on to the end or to the first push that is cut off, and wants to see pushes only.
    let only_pushes = instructions.map_while(Result::ok).all(|instruction| match instruction {
        Instruction::PushBytes(_) => true,
        Instruction::Op(op) => op.into_u8() <= OP_PUSHDATA4.into_u8(),
    });
    let genesis = bitcoin::hashes::Hash::from_byte_array(genesis);
    only_pushes.then(|| (genesis, bitcoin::ScriptBuf::from_bytes(destination.to_vec())))
}

/// The request in an output: an explicit, non-zero amount of the pegged asset in a peg-out script to our parent chain.
/// Everything else asks for nothing and is, if it is unspendable, burned.
pub fn parse_pegout(params: &ChainParams, outpoint: OutPoint, output: &TxOut) -> Option<PegoutRequest> {
    let (Asset::Explicit(asset), Value::Explicit(amount_sat)) = (output.asset, output.value) else { return None };
    if asset != params.pegged_asset() || amount_sat == 0 {
        return None;
    }
    let (genesis, parent_script) = parse_pegout_script(&output.script_pubkey)?;
    (genesis == params.parent_genesis).then_some(PegoutRequest { outpoint, amount_sat, parent_script })
}
