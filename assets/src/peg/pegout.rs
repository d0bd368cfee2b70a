//! Peg-outs: an output that nobody can spend, and that says where the bitcoin shall go.
//!
//! The script is `OP_RETURN <parent genesis> <destination script>`, possibly with further pushes, which have no meaning
//! here. What counts as a peg-out is what Elements counts as one, so that other software and we see the same ones.

use elements::confidential::{Asset, Value};
use elements::opcodes::all::{OP_PUSHDATA4, OP_RETURN};
use elements::script::{Builder, Instruction};
use elements::{OutPoint, Script};

use super::PegoutRequest;
use crate::chain::ChainParams;
use crate::primitives::TxOut;

/// The output script of a peg-out to `dest` on the parent chain.
pub fn pegout_script(parent_genesis: &bitcoin::BlockHash, dest: &bitcoin::Script) -> Script {
    let genesis: &[u8; 32] = parent_genesis.as_ref();
    Builder::new().push_opcode(OP_RETURN).push_slice(genesis).push_slice(dest.as_bytes()).into_script()
}

/// The parent chain and the destination, if this is a peg-out script. Asset and amount of the output do not matter here.
pub fn parse_pegout_script(script: &Script) -> Option<(bitcoin::BlockHash, bitcoin::ScriptBuf)> {
    read(script).filter(|(_, destination)| !destination.is_empty())
}

/// Whether Elements takes the script for a peg-out to this parent chain: as above, or one to nowhere.
pub(super) fn is_pegout_script(script: &Script, parent_genesis: bitcoin::BlockHash) -> bool {
    read(script).is_some_and(|(genesis, _)| genesis == parent_genesis)
}

fn read(script: &Script) -> Option<(bitcoin::BlockHash, bitcoin::ScriptBuf)> {
    let mut instructions = script.instructions();
    if !matches!(instructions.next()?.ok()?, Instruction::Op(OP_RETURN)) {
        return None;
    }
    let genesis = <[u8; 32]>::try_from(instructions.next()?.ok()?.push_bytes()?).ok()?;
    let destination = instructions.next()?.ok()?.push_bytes()?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use elements::{AssetId, Txid};

    use super::*;
    use crate::fixtures::{output, params};

    fn destination() -> bitcoin::ScriptBuf {
        bitcoin::ScriptBuf::from_bytes(hex::decode("0014751e76e8199196d454941c45d1b3a323f1433bd6").unwrap())
    }

    fn outpoint() -> OutPoint {
        OutPoint::new(Txid::from_byte_array([4; 32]), 3)
    }

    fn parse(change: impl FnOnce(&mut TxOut)) -> Option<PegoutRequest> {
        let params = params();
        let script = pegout_script(&params.parent_genesis, &destination());
        let mut output = output(params.pegged_asset(), 7000, script);
        change(&mut output);
        parse_pegout(&params, outpoint(), &output)
    }

    #[test]
    fn a_pegout_script_is_read_as_it_was_written() {
        let script = pegout_script(&params().parent_genesis, &destination());
        let regtest = "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f";
        let expected = format!("6a20{regtest}160014751e76e8199196d454941c45d1b3a323f1433bd6");
        assert_eq!(hex::encode(script.as_bytes()), expected);
        let request = PegoutRequest { outpoint: outpoint(), amount_sat: 7000, parent_script: destination() };
        assert_eq!(parse(|_| ()), Some(request));
    }

    #[test]
    fn other_assets_chains_and_hidden_amounts_ask_for_nothing() {
        assert_eq!(parse(|output| output.asset = Asset::Explicit(AssetId::from_byte_array([1; 32]))), None);
        assert_eq!(parse(|output| output.value = Value::Null), None);
        assert_eq!(parse(|output| output.value = Value::Explicit(0)), None);
        let point = crate::fixtures::public(&crate::fixtures::key(1, 1)).serialize();
        let commitment = |prefix: u8| [[prefix].as_slice(), point.get(1..).unwrap()].concat();
        assert_eq!(parse(|output| output.value = Value::from_commitment(&commitment(8)).unwrap()), None);
        assert_eq!(parse(|output| output.asset = Asset::from_commitment(&commitment(10)).unwrap()), None);
        let mainnet = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash();
        assert_eq!(parse(|output| output.script_pubkey = pegout_script(&mainnet, &destination())), None);
    }

    #[test]
    fn what_counts_as_a_pegout_script() {
        let script = pegout_script(&params().parent_genesis, &destination());
        let with_tail = |tail: &[u8]| Script::from([script.as_bytes(), tail].concat());
        assert!(parse_pegout_script(&script).is_some());
        assert!(parse_pegout_script(&with_tail(&[2, 1, 1])).is_some(), "a further push, as an authorization proof is");
        assert!(parse_pegout_script(&with_tail(&[5, 1])).is_some(), "Elements stops at a push that is cut off");
        assert!(parse_pegout_script(&with_tail(&[0])).is_some());
        assert!(parse_pegout_script(&with_tail(&[0x51])).is_none(), "a number is no push here");
        assert!(parse_pegout_script(&with_tail(&[0xac])).is_none());
        let genesis = [7; 32];
        let build = || Builder::new().push_opcode(OP_RETURN);
        for wrong in [
            Script::new(),
            build().into_script(),
            build().push_slice(&genesis).into_script(),
            build().push_slice(&genesis).push_slice(&[]).into_script(),
            build().push_slice(&[7; 31]).push_slice(&[1]).into_script(),
            Builder::new().push_slice(&genesis).push_slice(&[1]).into_script(),
        ] {
            assert_eq!(parse_pegout_script(&wrong), None, "{wrong:x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_destination_comes_back(destination in proptest::collection::vec(proptest::num::u8::ANY, 1..600)) {
            let destination = bitcoin::ScriptBuf::from_bytes(destination);
            let genesis = params().parent_genesis;
            let script = pegout_script(&genesis, &destination);
            proptest::prop_assert_eq!(parse_pegout_script(&script), Some((genesis, destination)));
        }

        #[test]
        fn any_bytes_can_be_asked(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let script = Script::from([[0x6a].as_slice(), &bytes].concat());
            if let Some((genesis, destination)) = parse_pegout_script(&script) {
                // What is read stands in the script, in this order.
                let genesis: &[u8; 32] = genesis.as_ref();
                let at = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part);
                proptest::prop_assert!(at(genesis).is_some() && at(destination.as_bytes()).is_some());
            }
        }
    }
}
