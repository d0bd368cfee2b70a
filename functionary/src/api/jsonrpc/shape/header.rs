//! Headers as `getblockheader` shows them (`rpc/blockchain.cpp`).

use elements::dynafed::{FullParams, Params};
use elements::{BlockExtData, BlockHeader};

use super::script::asm;
use super::{Json, Object};

/// What a header says by itself, without where it stands.
pub(crate) fn header_fields(header: &BlockHeader, median_time_past: u32) -> Object {
    let fields = Object::new()
        .with("version", header.version)
        .with("versionHex", format!("{:08x}", header.version))
        .with("merkleroot", Json::shown(header.merkle_root))
        .with("time", header.time)
        .with("mediantime", median_time_past);
    match &header.ext {
        BlockExtData::Proof { challenge, solution } => fields
            .with("signblock_witness_asm", asm(solution, false))
            .with("signblock_witness_hex", Json::hex(solution.as_bytes()))
            .with("signblock_challenge", Json::hex(challenge.as_bytes())),
        BlockExtData::Dynafed { current, proposed, signblock_witness } => {
            let parameters =
                Object::new().with("current", dynafed_entry(current)).with("proposed", dynafed_entry(proposed));
            fields
                .with("signblock_witness_hex", signblock_witness.iter().map(Json::hex).collect::<Json>())
                .with("dynamic_parameters", parameters)
        }
    }
}

/// An entry of dynamic federation parameters.
pub(crate) fn dynafed_entry(entry: &Params) -> Object {
    let common = |kind: &'static str, signblock: &elements::Script, limit: u32, extra: Json| {
        Object::new()
            .with("type", kind)
            .with("root", Json::shown(entry.calculate_root()))
            .with("signblockscript", Json::hex(signblock.as_bytes()))
            .with("max_block_witness", limit)
            .with("extra_root", extra)
    };
    match entry {
        Params::Null => Object::new().with("type", "null"),
        Params::Compact { signblockscript, signblock_witness_limit, elided_root } => {
            common("compact", signblockscript, *signblock_witness_limit, Json::shown(elided_root))
        }
        Params::Full(full) => {
            let FullParams { signblockscript, signblock_witness_limit, fedpeg_program, fedpegscript, extension_space } =
                full;
            let extra = match full.clone().into_compact() {
                Params::Compact { elided_root, .. } => Json::shown(elided_root),
                Params::Null | Params::Full(_) => Json::Null,
            };
            common("full", signblockscript, *signblock_witness_limit, extra)
                .with("fedpeg_program", Json::hex(fedpeg_program.as_bytes()))
                .with("fedpegscript", Json::hex(fedpegscript))
                .with("extension_space", extension_space.iter().map(Json::hex).collect::<Json>())
        }
    }
}
