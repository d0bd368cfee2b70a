//! Chain parameters: everything two nodes must agree on before the first block.
//!
//! The parameters are those of an Elements custom chain. Only some of them are hashed into the genesis block
//! ([`ChainParams::genesis_hash`]); the others must match all the same, or nodes split silently later. They therefore
//! live in this one structure, from which the genesis block, the first block's dynafed entry and the `elements.conf`
//! are generated.

use bitcoin::hashes::Hash as _;
use elements::{AssetId, BlockHash, Script, dynafed::FullParams};
use serde::{Deserialize, Serialize};

use super::Multisig;
use crate::transaction::MAX_MONEY;

/// Elements' default `-pak` entry of a custom chain: one junk entry that authorizes nobody.
const DEFAULT_PAK_KEY: [u8; 33] = [
    0x02, 0xfc, 0xba, 0x7e, 0xcf, 0x41, 0xbc, 0x7e, 0x1b, 0xe4, 0xee, 0x12, 0x2d, 0x9d, 0x22, 0xe3, 0x33, 0x36, 0x71,
    0xeb, 0x0a, 0x3a, 0x87, 0xb5, 0xcd, 0xf0, 0x99, 0xd5, 0x98, 0x74, 0xe1, 0x94, 0x0f,
];

/// What the magic number of a chain is hashed under.
const MAGIC_TAG: &[u8] = b"aquifer/network-magic";

/// Length of a `-pak` entry in bytes: the offline and the online public key.
const PAK_ENTRY_LENGTH: usize = 66;

/// Layout of the genesis coinbase (`-con_genesis_style`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenesisStyle {
    /// The coinbase commits to the chain name and both scripts; initial coins are issued in a second transaction.
    Elements,
    /// Bitcoin's genesis coinbase; initial coins are ignored.
    Bitcoin,
}

/// The parameters of a chain. Each names the Elements option it corresponds to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainParams {
    /// `-chain`. Hashed into the genesis block.
    pub name: String,
    /// `-signblockscript`: the bare k-of-n multisig of the block keys. Headers are signed under its P2WSH.
    pub signblock_script: Script,
    /// `-con_max_block_sig_size`: limit of the serialized header witness, in bytes.
    pub max_block_signature_size: u32,
    /// `-fedpegscript`: the bare k-of-n multisig of the peg keys, before the tweak by a claim script.
    pub fedpeg_script: Script,
    /// `-con_start_p2wsh_script`: whether the first federation program is P2WSH rather than P2SH-P2WSH.
    pub start_p2wsh: bool,
    /// `-parentgenesisblockhash`: which parent chain peg-ins come from and peg-outs go to.
    pub parent_genesis: bitcoin::BlockHash,
    /// `-con_parentpowlimit`: the easiest proof of work of a parent block, as a big-endian number.
    #[serde(with = "super::hex_fields::bytes32")]
    pub parent_pow_limit: [u8; 32],
    /// `-con_has_parent_chain`. Without a parent chain `parent_genesis` is zero.
    pub has_parent_chain: bool,
    /// `-peginconfirmationdepth`: confirmations of a deposit before it may be claimed, in parent blocks. Each member
    /// judges it with its own parent node; it is no rule of the chain.
    pub pegin_confirmation_depth_blocks: u32,
    /// `-dynamic_epoch_length`: length of a dynafed epoch, in blocks.
    pub epoch_length_blocks: u32,
    /// `-total_valid_epochs`: for how many epochs, the current one included, a federation script takes deposits.
    pub total_valid_epochs: u32,
    /// `-pak`, one entry of 66 bytes (offline and online key) each. At least one: Elements cannot express none.
    #[serde(with = "super::hex_fields::bytes_list")]
    pub extension_space: Vec<Vec<u8>>,
    /// `-initialfreecoins`: pegged asset made in the genesis block, in satoshi.
    pub initial_free_coins_sat: u64,
    /// `-initialreissuancetokens`: reissuance tokens of the pegged asset made in the genesis block.
    pub initial_reissuance_tokens: u64,
    /// `-con_genesis_style`.
    pub genesis_style: GenesisStyle,
    /// `-con_signed_blocks`: signed headers rather than proof of work.
    pub signed_blocks: bool,
    /// `-con_blockheightinheader`.
    pub block_height_in_header: bool,
    /// `-con_connect_genesis_outputs`: whether the outputs of the genesis block can be spent.
    pub connect_genesis_outputs: bool,
    /// `-enforce_pak`: whether a peg-out must be authorized by an entry of the extension space.
    #[serde(default)]
    pub enforce_pak: bool,
    /// `-con_mandatorycoinbase`: the only script to which a coinbase may pay the policy asset; empty for any.
    #[serde(default)]
    pub mandatory_coinbase: Script,
    /// `-con_blocksubsidy`: what a coinbase may take beside the fees, in the smallest unit of `subsidy_asset`.
    #[serde(default)]
    pub block_subsidy: u64,
    /// `-con_nsubsidyhalvinginterval`: after how many blocks the subsidy halves.
    #[serde(default = "default_halving_interval")]
    pub subsidy_halving_interval_blocks: u32,
    /// `-subsidyasset`: of which asset the subsidy is; the pegged one if there is none.
    #[serde(default)]
    pub subsidy_asset: Option<AssetId>,
}

/// Elements' default of a custom chain, that of Bitcoin's regtest.
fn default_halving_interval() -> u32 {
    150
}

/// Parameters of a chain that these rules cannot judge, or that could never make a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The name is part of file names and of command lines.
    #[error("chain name {0:?} is not 1 to 32 lower-case letters, digits, '-' or '_'")]
    Name(String),
    /// The name selects a built-in chain of Elements, whose parameters it would then use in place of ours.
    #[error("chain name {0:?} is one of Elements' built-in chains; choose another")]
    ReservedName(String),
    /// Only signed blocks with heights and the Elements genesis can be judged.
    #[error("option {0} must have its default: this implementation judges signed blocks with heights only")]
    Unsupported(&'static str),
    /// The script is no `k <keys> n OP_CHECKMULTISIG` of compressed keys.
    #[error("{0} is not a bare multisig script of compressed public keys")]
    NotMultisig(&'static str),
    /// A witness of k signatures would not fit.
    #[error("a header witness can have {needed} bytes, but the limit is {limit}")]
    SignatureLimit {
        /// Size of the largest witness, in bytes.
        needed: usize,
        /// The limit of the parameters, in bytes.
        limit: u32,
    },
    /// A length of zero or a missing value.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// No coinbase could take it.
    #[error("the block subsidy {0} is more than 21 million coins")]
    Subsidy(u64),
    /// Elements reads two public keys from each entry.
    #[error("an extension space entry has {0} bytes, not {PAK_ENTRY_LENGTH}")]
    ExtensionEntry(usize),
    /// An empty list of entries cannot be told to Elements.
    #[error("the extension space has no entry; Elements needs at least one")]
    ExtensionSpaceEmpty,
}

impl ChainParams {
    /// The defaults of Elements for a custom chain of this name: no federation, anyone can sign.
    pub fn elements_default(name: &str) -> Self {
        let op_true = Script::from(vec![0x51]);
        let mut parent_pow_limit = [0xff; 32];
        parent_pow_limit[0] = 0x7f;
        Self {
            name: name.to_owned(),
            signblock_script: op_true.clone(),
            max_block_signature_size: 74,
            fedpeg_script: op_true,
            start_p2wsh: false,
            parent_genesis: bitcoin::constants::genesis_block(bitcoin::Network::Regtest).block_hash(),
            parent_pow_limit,
            has_parent_chain: true,
            pegin_confirmation_depth_blocks: 8,
            epoch_length_blocks: 10,
            total_valid_epochs: 2,
            extension_space: vec![Self::default_extension_entry()],
            initial_free_coins_sat: 0,
            initial_reissuance_tokens: 0,
            genesis_style: GenesisStyle::Elements,
            signed_blocks: true,
            block_height_in_header: true,
            connect_genesis_outputs: true,
            enforce_pak: false,
            mandatory_coinbase: Script::new(),
            block_subsidy: 0,
            subsidy_halving_interval_blocks: default_halving_interval(),
            subsidy_asset: None,
        }
    }

    /// The `-pak` entry that Elements uses when none is given.
    pub fn default_extension_entry() -> Vec<u8> {
        [DEFAULT_PAK_KEY, DEFAULT_PAK_KEY].concat()
    }

    /// Refuses parameters that this implementation cannot judge or under which no block could ever be signed.
    ///
    /// # Errors
    /// The first parameter found wrong.
    pub fn check(&self) -> Result<(), ParamsError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(allowed) {
            return Err(ParamsError::Name(self.name.clone()));
        }
        let built_in = ["main", "test", "testnet4", "signet", "regtest", "liquidv1", "liquidv1test", "liquidtestnet"];
        if built_in.contains(&self.name.as_str()) {
            return Err(ParamsError::ReservedName(self.name.clone()));
        }
        for (supported, option) in [
            (self.signed_blocks, "con_signed_blocks"),
            (self.block_height_in_header, "con_blockheightinheader"),
            (self.genesis_style == GenesisStyle::Elements, "con_genesis_style"),
            (self.has_parent_chain, "con_has_parent_chain"),
        ] {
            if !supported {
                return Err(ParamsError::Unsupported(option));
            }
        }
        let signers = Multisig::parse(&self.signblock_script).ok_or(ParamsError::NotMultisig("signblock_script"))?;
        Multisig::parse(&self.fedpeg_script).ok_or(ParamsError::NotMultisig("fedpeg_script"))?;
        let needed = crate::block::max_witness_size(signers.threshold, &self.signblock_script);
        if u32::try_from(needed).is_ok_and(|size| size > self.max_block_signature_size) {
            return Err(ParamsError::SignatureLimit { needed, limit: self.max_block_signature_size });
        }
        for (value, name) in [
            (self.epoch_length_blocks, "epoch_length_blocks"),
            (self.total_valid_epochs, "total_valid_epochs"),
            (self.subsidy_halving_interval_blocks, "subsidy_halving_interval_blocks"),
        ] {
            if value == 0 {
                return Err(ParamsError::Zero(name));
            }
        }
        if self.block_subsidy > MAX_MONEY {
            return Err(ParamsError::Subsidy(self.block_subsidy));
        }
        if self.parent_genesis == bitcoin::BlockHash::all_zeros() {
            return Err(ParamsError::Zero("parent_genesis"));
        }
        if self.extension_space.is_empty() {
            return Err(ParamsError::ExtensionSpaceEmpty);
        }
        match self.extension_space.iter().find(|entry| entry.len() != PAK_ENTRY_LENGTH) {
            Some(entry) => Err(ParamsError::ExtensionEntry(entry.len())),
            None => Ok(()),
        }
    }

    /// Hash of the parent chain's genesis block.
    pub fn parent_genesis(&self) -> bitcoin::BlockHash {
        self.parent_genesis
    }

    /// The network of the parent chain, whose addresses peg-outs pay to; `None` where it is no public chain of Bitcoin and no
    /// regtest.
    pub fn parent_network(&self) -> Option<bitcoin::Network> {
        use bitcoin::Network::{Bitcoin, Regtest, Signet, Testnet, Testnet4};
        [Bitcoin, Testnet, Testnet4, Signet, Regtest]
            .into_iter()
            .find(|network| bitcoin::constants::genesis_block(*network).block_hash() == self.parent_genesis)
    }

    /// The dynafed entry of the first block. It stays in force until a vote changes it.
    ///
    /// The block signing program is the P2WSH *of* the signblock script; the federation program is the P2WSH of the
    /// fedpeg script, inside P2SH unless `start_p2wsh` is set.
    pub fn block_one_params(&self) -> FullParams {
        let witness_program = self.fedpeg_script.to_v0_p2wsh();
        let program = if self.start_p2wsh { witness_program } else { witness_program.to_p2sh() };
        FullParams::new(
            self.signblock_script.to_v0_p2wsh(),
            self.max_block_signature_size,
            bitcoin::ScriptBuf::from_bytes(program.into_bytes()),
            self.fedpeg_script.to_bytes(),
            self.extension_space.clone(),
        )
    }

    /// Hash of the genesis block: the name of the chain.
    pub fn genesis_hash(&self) -> BlockHash {
        super::genesis::hash(self)
    }

    /// `-pchmessagestart`: what messages between nodes of this chain begin with. It follows from the genesis block, so that
    /// nodes of two chains with Elements' one default do not take each other for peers.
    pub fn network_magic(&self) -> [u8; 4] {
        let hash = bitcoin::hashes::sha256::Hash::hash(&[MAGIC_TAG, self.genesis_hash().as_byte_array()].concat());
        let [a, b, c, d, ..] = hash.to_byte_array();
        [a, b, c, d]
    }

    /// The asset that peg-ins make. It is also the policy asset, in which fees are paid.
    pub fn pegged_asset(&self) -> AssetId {
        super::genesis::pegged_asset(self)
    }

    /// What the coinbase at `height` may take beside the fees, and of which asset.
    pub fn subsidy(&self, height: u32) -> (AssetId, u64) {
        let halvings = height.checked_div(self.subsidy_halving_interval_blocks).unwrap_or(0);
        let amount = self.block_subsidy.checked_shr(halvings).unwrap_or(0);
        (self.subsidy_asset.unwrap_or_else(|| self.pegged_asset()), amount)
    }

    /// The genesis block.
    ///
    /// With unsigned blocks or without heights in headers the wire form differs from that of the returned type; the
    /// fields that are not on the wire are then filled in. [`ChainParams::genesis_bytes`] has the wire form always.
    pub fn genesis_block(&self) -> crate::primitives::Block {
        super::genesis::block(self)
    }

    /// The genesis block as it is stored and sent.
    pub fn genesis_bytes(&self) -> Vec<u8> {
        super::genesis::bytes(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixtures::params;

    #[test]
    fn parameters_of_a_federation_are_accepted() {
        assert_eq!(params().check(), Ok(()));
    }

    #[test]
    fn parameters_survive_json_and_unknown_fields_are_refused() {
        let text = serde_json::to_string(&params()).unwrap();
        assert!(text.contains("\"parent_pow_limit\":\"7fffff"), "{text}");
        assert_eq!(serde_json::from_str::<ChainParams>(&text).unwrap(), params());
        let more = text.replacen('{', "{\"surprise\":1,", 1);
        assert!(serde_json::from_str::<ChainParams>(&more).unwrap_err().to_string().contains("surprise"));
        let short = text.replace("\"7fffff", "\"7fff");
        assert!(serde_json::from_str::<ChainParams>(&short).unwrap_err().to_string().contains("32 bytes"));
    }

    #[test]
    fn parameters_of_older_files_have_the_defaults() {
        let mut value = serde_json::to_value(params()).unwrap();
        for name in
            ["enforce_pak", "mandatory_coinbase", "block_subsidy", "subsidy_halving_interval_blocks", "subsidy_asset"]
        {
            assert!(value.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        }
        assert_eq!(serde_json::from_value::<ChainParams>(value).unwrap(), params());
    }

    #[test]
    fn the_subsidy_halves_until_nothing_is_left() {
        let params = ChainParams { block_subsidy: 1_000, ..params() };
        for (height, amount) in
            [(0, 1_000), (149, 1_000), (150, 500), (1_499, 1), (1_500, 0), (64 * 150, 0), (u32::MAX, 0)]
        {
            assert_eq!(params.subsidy(height), (params.pegged_asset(), amount), "height {height}");
        }
    }

    #[test]
    fn unusable_parameters_are_refused_by_name() {
        let with = |change: fn(&mut ChainParams)| {
            let mut params = params();
            change(&mut params);
            params.check().unwrap_err()
        };
        assert!(matches!(with(|p| p.name = "A".into()), ParamsError::Name(_)));
        assert!(matches!(with(|p| p.name = "../x".into()), ParamsError::Name(_)));
        assert!(matches!(with(|p| p.name = "liquidv1".into()), ParamsError::ReservedName(_)));
        assert_eq!(with(|p| p.signed_blocks = false), ParamsError::Unsupported("con_signed_blocks"));
        assert_eq!(with(|p| p.has_parent_chain = false), ParamsError::Unsupported("con_has_parent_chain"));
        assert_eq!(with(|p| p.signblock_script = Script::new()), ParamsError::NotMultisig("signblock_script"));
        assert_eq!(
            with(|p| p.fedpeg_script = p.fedpeg_script.to_v0_p2wsh()),
            ParamsError::NotMultisig("fedpeg_script")
        );
        assert_eq!(with(|p| p.epoch_length_blocks = 0), ParamsError::Zero("epoch_length_blocks"));
        assert_eq!(with(|p| p.total_valid_epochs = 0), ParamsError::Zero("total_valid_epochs"));
        let halving = ParamsError::Zero("subsidy_halving_interval_blocks");
        assert_eq!(with(|p| p.subsidy_halving_interval_blocks = 0), halving);
        assert_eq!(with(|p| p.block_subsidy = MAX_MONEY + 1), ParamsError::Subsidy(MAX_MONEY + 1));
        assert_eq!(with(|p| p.extension_space.clear()), ParamsError::ExtensionSpaceEmpty);
        assert_eq!(with(|p| p.extension_space.push(vec![2; 33])), ParamsError::ExtensionEntry(33));
    }

    #[test]
    fn the_signature_limit_must_hold_the_largest_witness() {
        // Two signatures of up to 72 bytes with their lengths, the script of 105 with its own, the empty item, the count.
        let mut params = params();
        params.max_block_signature_size = 254;
        assert_eq!(params.check(), Ok(()));
        params.max_block_signature_size = 253;
        assert_eq!(params.check(), Err(ParamsError::SignatureLimit { needed: 254, limit: 253 }));
    }
}
