//! Output scripts and how they are spent.

use aquifer_assets::primitives::{Transaction, TxOut, Witness};
use aquifer_assets::script::{Flags, NO_CODE_SEPARATOR, SighashData, TaprootHashType, TaprootLeaf, TaprootSpend};
use bitcoin::hashes::{Hash as _, hash160, sha256};
use elements::{BlockHash, Script};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{Keypair, Message, SECP256K1, Scalar, SecretKey};

/// Version of tapscript leaves of Elements.
const LEAF_VERSION: u8 = 0xc4;

/// What a script stands in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// The output script itself.
    Bare,
    /// The hash of the script.
    P2sh,
    /// Segwit version 0, a public key hash. The script is not used.
    P2wpkh,
    /// The same in P2SH.
    NestedP2wpkh,
    /// Segwit version 0, a script hash.
    P2wsh,
    /// The same in P2SH.
    NestedP2wsh,
    /// The only leaf of a Taproot tree.
    Tapscript,
    /// The key path of the same output.
    TaprootKey,
}

/// Something that a spender gives to the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A signature of a key: ECDSA or Schnorr, as the wrap asks.
    Signature(u8),
}

/// An output script and a way to spend it.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its family, for the counts.
    pub family: &'static str,
    /// What the script stands in.
    pub wrap: Wrap,
    /// The script.
    pub script: Vec<u8>,
    /// What the script is given, bottom first.
    pub items: Vec<Item>,
    /// The hash type of the signatures.
    pub hash_type: u8,
    /// The annex of a Taproot spend.
    pub annex: Option<Vec<u8>>,
    /// Blocks that CHECKSEQUENCEVERIFY in it asks for.
    pub age: Option<u8>,
}

/// The secret key with a number.
pub(super) fn key(number: u8) -> SecretKey {
    SecretKey::new(&mut ChaCha20Rng::seed_from_u64(u64::from(number)))
}

/// Its public key, compressed.
pub(super) fn public(number: u8) -> Vec<u8> {
    key(number).public_key(SECP256K1).serialize().to_vec()
}

/// Its public key as Schnorr signatures use it.
pub(super) fn x_only(number: u8) -> Vec<u8> {
    key(number).x_only_public_key(SECP256K1).0.serialize().to_vec()
}

fn hash160_of(bytes: &[u8]) -> [u8; 20] {
    hash160::Hash::hash(bytes).to_byte_array()
}

fn tagged(tag: &str, parts: &[&[u8]]) -> sha256::Hash {
    let tag = sha256::Hash::hash(tag.as_bytes()).to_byte_array();
    sha256::Hash::hash(&[tag.as_slice(), &tag, &parts.concat()].concat())
}

/// A push as short as it can be.
pub(super) fn push(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len();
    match (bytes, u8::try_from(len)) {
        ([], _) => vec![0],
        ([n @ 1..=16], _) => vec![n.wrapping_add(0x50)],
        ([0x81], _) => vec![0x4f],
        (_, Ok(short @ 0..=75)) => [&[short], bytes].concat(),
        (_, Ok(len)) => [&[0x4c, len], bytes].concat(),
        (_, Err(_)) => [&[0x4d], u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes().as_slice(), bytes].concat(),
    }
}

impl Lock {
    /// A lock whose signatures sign everything.
    pub fn new(family: &'static str, wrap: Wrap, script: Vec<u8>, items: Vec<Item>) -> Self {
        let hash_type = if matches!(wrap, Wrap::Tapscript | Wrap::TaprootKey) { 0 } else { 1 };
        Lock { family, wrap, script, items, hash_type, annex: None, age: None }
    }

    /// What anybody can spend.
    pub fn open() -> Self {
        Lock::new("open", Wrap::P2wsh, vec![0x51], vec![])
    }

    /// Whether a spend of it is of a form that Elements relays, more or less.
    pub(super) fn is_usual(&self) -> bool {
        let known_hash_type = matches!(self.hash_type & !0xc0, 0..=3) && (self.hash_type != 0 || self.is_taproot());
        known_hash_type && self.annex.is_none() && self.wrap != Wrap::Bare && self.family != "operations"
    }

    pub(super) fn is_taproot(&self) -> bool {
        matches!(self.wrap, Wrap::Tapscript | Wrap::TaprootKey)
    }

    fn program(&self) -> Vec<u8> {
        match self.wrap {
            Wrap::P2wpkh | Wrap::NestedP2wpkh => [[0, 20].as_slice(), &hash160_of(&public(0))].concat(),
            _ => [[0, 32].as_slice(), sha256::Hash::hash(&self.script).as_byte_array()].concat(),
        }
    }

    fn leaf(&self) -> sha256::Hash {
        let script = elements::encode::serialize(&self.script);
        tagged("TapLeaf/elements", &[&[LEAF_VERSION], &script])
    }

    fn tweak(&self) -> Scalar {
        let hash = tagged("TapTweak/elements", &[&x_only(0), self.leaf().as_byte_array()]);
        Scalar::from_be_bytes(hash.to_byte_array()).unwrap_or(Scalar::ONE)
    }

    fn output_key(&self) -> Option<(Vec<u8>, u8)> {
        let (key, parity) = key(0).x_only_public_key(SECP256K1).0.add_tweak(SECP256K1, &self.tweak()).ok()?;
        Some((key.serialize().to_vec(), parity.to_u8()))
    }

    /// The output script.
    pub fn script_pubkey(&self) -> Script {
        let p2sh = |redeem: &[u8]| [[0xa9, 20].as_slice(), &hash160_of(redeem), &[0x87]].concat();
        Script::from(match self.wrap {
            Wrap::Bare => self.script.clone(),
            Wrap::P2sh => p2sh(&self.script),
            Wrap::P2wpkh | Wrap::P2wsh => self.program(),
            Wrap::NestedP2wpkh | Wrap::NestedP2wsh => p2sh(&self.program()),
            Wrap::Tapscript | Wrap::TaprootKey => {
                [[0x51, 32].as_slice(), &self.output_key().unwrap_or_default().0].concat()
            }
        })
    }

    fn signature(&self, number: u8, vin: usize, data: &SighashData<'_>, spent: &TxOut) -> Option<Vec<u8>> {
        let schnorr = |key: &Keypair, leaf: Option<TaprootLeaf>| {
            let annex = self.annex.as_deref().map(aquifer_assets::script::annex_hash);
            let hash_type = TaprootHashType::new(self.hash_type)?;
            let digest = data.taproot(vin, &TaprootSpend { annex, leaf }, hash_type)?;
            let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), key);
            let hash_type = (self.hash_type != 0).then_some(self.hash_type);
            Some(signature.as_ref().iter().copied().chain(hash_type).collect())
        };
        let digest = match self.wrap {
            Wrap::Bare | Wrap::P2sh => data.legacy(vin, &self.script, self.hash_type, Flags::SIGHASH_RANGEPROOF)?,
            Wrap::P2wpkh | Wrap::NestedP2wpkh => {
                let code = [[0x76, 0xa9, 20].as_slice(), &hash160_of(&public(0)), &[0x88, 0xac]].concat();
                data.segwit_v0(vin, &code, &spent.value, self.hash_type)?
            }
            Wrap::P2wsh | Wrap::NestedP2wsh => data.segwit_v0(vin, &self.script, &spent.value, self.hash_type)?,
            Wrap::Tapscript => {
                let leaf = TaprootLeaf { hash: self.leaf(), code_separator: NO_CODE_SEPARATOR };
                return schnorr(&Keypair::from_secret_key(SECP256K1, &key(number)), Some(leaf));
            }
            Wrap::TaprootKey => {
                let pair = Keypair::from_secret_key(SECP256K1, &key(0)).add_xonly_tweak(SECP256K1, &self.tweak());
                return schnorr(&pair.ok()?, None);
            }
        };
        let signature = SECP256K1.sign_ecdsa(&Message::from_digest(digest), &key(number));
        Some([signature.serialize_der().as_ref(), &[self.hash_type]].concat())
    }

    /// Fills in what the input `vin` needs to spend this lock.
    pub fn sign(&self, transaction: &mut Transaction, vin: usize, spent: &[TxOut], genesis: BlockHash) {
        let unsigned = transaction.clone();
        let data = SighashData::new(&unsigned, spent, genesis);
        let (Some(output), Some(input)) = (spent.get(vin), transaction.input.get_mut(vin)) else { return };
        let value = |item: &Item| match item {
            Item::Bytes(bytes) => bytes.clone(),
            Item::Signature(number) => self.signature(*number, vin, &data, output).unwrap_or_default(),
        };
        let mut stack: Vec<Vec<u8>> = self.items.iter().map(value).collect();
        let pushes = |stack: &[Vec<u8>]| stack.iter().flat_map(|item| push(item)).collect::<Vec<u8>>();
        let (mut script_sig, mut witness) = (Vec::new(), Vec::new());
        match self.wrap {
            Wrap::Bare => script_sig = pushes(&stack),
            Wrap::P2sh => {
                stack.push(self.script.clone());
                script_sig = pushes(&stack);
            }
            Wrap::P2wpkh => witness = stack,
            Wrap::NestedP2wpkh => {
                script_sig = pushes(&[self.program()]);
                witness = stack;
            }
            Wrap::P2wsh | Wrap::NestedP2wsh => {
                if self.wrap == Wrap::NestedP2wsh {
                    script_sig = pushes(&[self.program()]);
                }
                stack.push(self.script.clone());
                witness = stack;
            }
            Wrap::Tapscript => {
                let parity = self.output_key().unwrap_or_default().1;
                stack.push(self.script.clone());
                stack.push([[LEAF_VERSION | parity].as_slice(), &x_only(0)].concat());
                stack.extend(self.annex.clone());
                witness = stack;
            }
            Wrap::TaprootKey => {
                stack.extend(self.annex.clone());
                witness = stack;
            }
        }
        input.script_sig = Script::from(script_sig);
        input.witness.script_witness = Witness::from_slice(&witness);
    }
}
