//! Dynamic federations: which parameter entry a header must carry.
//!
//! In this version no proposal is accepted, so the parameters of the first block stay in force for ever. They are
//! written in full in block 1 and at the start of every epoch, and elsewhere in short form, where a root stands for
//! the peg data.

use elements::dynafed::Params;

use crate::chain::ChainParams;

/// The entry that the header at `height` must carry as `current`.
pub fn expected_current(params: &ChainParams, height: u32) -> Params {
    let full = params.block_one_params();
    // The genesis block has no entry, so the first block stands in as the start of epoch 0.
    if height == 1 || height.is_multiple_of(params.epoch_length_blocks) {
        Params::Full(full)
    } else {
        full.into_compact()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use elements::encode::serialize_hex;

    use super::*;
    use crate::fixtures::params;

    #[test]
    fn full_in_block_one_and_at_the_start_of_epochs_else_compact() {
        let params = params();
        for height in 1..=40 {
            let entry = expected_current(&params, height);
            let full = height == 1 || height % 10 == 0;
            assert_eq!((entry.is_full(), entry.is_compact()), (full, !full), "height {height}");
        }
    }

    #[test]
    fn roots_are_those_of_elements() {
        // From an elementsd with these parameters.
        let full = expected_current(&params(), 10);
        let compact = expected_current(&params(), 11);
        let root = "a36f5ef3d52546297f468b5a599f9da977c46fe082ef7b7e2593c9205a21f11f";
        assert_eq!(full.calculate_root().to_string(), root);
        assert_eq!(compact.calculate_root().to_string(), root);
        let elided = "d44a004fb3c0418e231b9cceed0559ab281fcd2d9727de7eee2189f272888761";
        assert_eq!(compact.elided_root().unwrap().to_string(), elided);
    }

    #[test]
    fn the_entry_of_block_one_is_that_of_elements() {
        // The scripts of a chain whose block signing and federation scripts are one key each.
        let script = "512103dff4923d778550cc13ce0d887d737553b4b58f4e8e886507fc39f5e447b2186451ae";
        let script = elements::Script::from(hex::decode(script).unwrap());
        let params = ChainParams {
            signblock_script: script.clone(),
            fedpeg_script: script.clone(),
            start_p2wsh: true,
            ..ChainParams::elements_default("mychain")
        };
        let full = params.block_one_params();
        let hash = hex::encode(script.wscript_hash().to_byte_array());
        assert_eq!(full.signblockscript.as_bytes(), hex::decode(format!("0020{hash}")).unwrap());
        assert_eq!(full.fedpeg_program.to_hex_string(), format!("0020{hash}"));
        let pak = "02fcba7ecf41bc7e1be4ee122d9d22e3333671eb0a3a87b5cdf099d59874e1940f".repeat(2);
        let expected = format!("02220020{hash}4a000000220020{hash}25{script:x}0142{pak}");
        assert_eq!(serialize_hex(&expected_current(&params, 1)), expected);
        let p2sh = ChainParams { start_p2wsh: false, ..params }.block_one_params().fedpeg_program;
        assert!(p2sh.is_p2sh());
    }
}
