//! The output in which the treasury holds its bitcoin: Taproot, by one key or by scripts.
//!
//! The internal key is the FROST key of all members, so an ordinary spend looks and costs like one with a single key. The
//! scripts are for the day when FROST fails: `k` members sign with their own peg keys; and, only where the federation has
//! chosen it, emergency keys after a long time in which a coin was not moved. The tree is small and fixed, so every member,
//! and every wallet that knows the descriptor, comes to the same address.

use bitcoin::{
    ScriptBuf, TapLeafHash, TapNodeHash, XOnlyPublicKey,
    opcodes::all::{OP_CHECKSIG, OP_CHECKSIGADD, OP_CSV, OP_NUMEQUAL, OP_NUMEQUALVERIFY},
    script::Builder,
    secp256k1::SECP256K1,
    taproot::{ControlBlock, LeafVersion, TaprootBuilder, TaprootBuilderError, TaprootSpendInfo},
};

use crate::roster::{Emergency, Roster};

/// The treasury's output, with all that spending it needs.
#[derive(Clone, Debug)]
pub struct TreasuryOutput {
    internal_key: XOnlyPublicKey,
    members: Leaf,
    emergency: Option<Leaf>,
    merkle_root: TapNodeHash,
    output_key: XOnlyPublicKey,
    script_pubkey: ScriptBuf,
    descriptor: String,
}

/// A script of the tree and the proof that it is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The script.
    pub script: ScriptBuf,
    /// What a spend shows beside the script.
    pub control_block: ControlBlock,
}

impl Leaf {
    /// The hash that a signature for this script covers.
    pub fn hash(&self) -> TapLeafHash {
        TapLeafHash::from_script(&self.script, LeafVersion::TapScript)
    }
}

/// A key from which no output can be made. Happens only by a chance of 2^-128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Taproot output can be made of the treasury key {0}")]
pub struct TreasuryOutputError(pub XOnlyPublicKey);

/// `multi_a(threshold, keys)` of miniscript, without its last opcode: the number of good signatures and the threshold.
fn count_signatures(threshold: usize, keys: &[XOnlyPublicKey]) -> Builder {
    let mut builder = Builder::new();
    for (position, key) in keys.iter().enumerate() {
        let opcode = if position == 0 { OP_CHECKSIG } else { OP_CHECKSIGADD };
        builder = builder.push_x_only_key(key).push_opcode(opcode);
    }
    builder.push_int(i64::try_from(threshold).unwrap_or(i64::MAX))
}

fn members_script(threshold: usize, keys: &[XOnlyPublicKey]) -> ScriptBuf {
    count_signatures(threshold, keys).push_opcode(OP_NUMEQUAL).into_script()
}

fn emergency_script(emergency: &Emergency) -> ScriptBuf {
    count_signatures(usize::from(emergency.threshold), &emergency.keys)
        .push_opcode(OP_NUMEQUALVERIFY)
        .push_int(i64::from(emergency.timelock_blocks))
        .push_opcode(OP_CSV)
        .into_script()
}

fn list(keys: &[XOnlyPublicKey]) -> String {
    keys.iter().map(XOnlyPublicKey::to_string).collect::<Vec<_>>().join(",")
}

impl TreasuryOutput {
    /// The output of the federation of this roster, held by this key.
    ///
    /// # Errors
    /// [`TreasuryOutputError`].
    pub fn new(roster: &Roster, internal_key: XOnlyPublicKey) -> Result<Self, TreasuryOutputError> {
        let keys: Vec<XOnlyPublicKey> =
            roster.members().iter().map(|card| card.peg_key.x_only_public_key().0).collect();
        let emergency = roster.settings().emergency.as_ref();
        Self::of_keys(internal_key, roster.threshold(), &keys, emergency).ok_or(TreasuryOutputError(internal_key))
    }

    fn of_keys(
        internal_key: XOnlyPublicKey,
        threshold: usize,
        keys: &[XOnlyPublicKey],
        emergency: Option<&Emergency>,
    ) -> Option<Self> {
        let members = members_script(threshold, keys);
        let emergency_script = emergency.map(emergency_script);
        let tree = || -> Result<TaprootBuilder, TaprootBuilderError> {
            match &emergency_script {
                None => TaprootBuilder::new().add_leaf(0, members.clone()),
                Some(script) => TaprootBuilder::new().add_leaf(1, members.clone())?.add_leaf(1, script.clone()),
            }
        };
        let spend_info = tree().ok()?.finalize(SECP256K1, internal_key).ok()?;
        let multi = format!("multi_a({threshold},{})", list(keys));
        let scripts = match emergency {
            None => multi,
            Some(Emergency { keys, threshold, timelock_blocks }) => {
                format!("{{{multi},and_v(v:multi_a({threshold},{}),older({timelock_blocks}))}}", list(keys))
            }
        };
        Some(Self {
            internal_key,
            members: leaf(&spend_info, members)?,
            emergency: match emergency_script {
                Some(script) => Some(leaf(&spend_info, script)?),
                None => None,
            },
            merkle_root: spend_info.merkle_root()?,
            output_key: spend_info.output_key().to_x_only_public_key(),
            script_pubkey: ScriptBuf::new_p2tr_tweaked(spend_info.output_key()),
            descriptor: format!("tr({internal_key},{scripts})"),
        })
    }

    /// The output script.
    pub fn script_pubkey(&self) -> &ScriptBuf {
        &self.script_pubkey
    }

    /// The FROST key before the tweak.
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.internal_key
    }

    /// The key that an ordinary spend signs for: the internal key with the scripts added.
    pub fn output_key(&self) -> XOnlyPublicKey {
        self.output_key
    }

    /// The root of the scripts, with which the FROST key is tweaked (BIP 341).
    pub fn merkle_root(&self) -> TapNodeHash {
        self.merkle_root
    }

    /// The script by which `k` members spend with their peg keys.
    pub fn members_leaf(&self) -> &Leaf {
        &self.members
    }

    /// The script by which the emergency keys spend, if the federation has chosen any.
    pub fn emergency_leaf(&self) -> Option<&Leaf> {
        self.emergency.as_ref()
    }

    /// The output as a descriptor, without a checksum.
    pub fn descriptor(&self) -> &str {
        &self.descriptor
    }
}

fn leaf(spend_info: &TaprootSpendInfo, script: ScriptBuf) -> Option<Leaf> {
    let control_block = spend_info.control_block(&(script.clone(), LeafVersion::TapScript))?;
    Some(Leaf { script, control_block })
}
