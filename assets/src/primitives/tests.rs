#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::ops::Range;

use bytes::Bytes;
use elements::confidential::{Asset, Value};
use elements::dynafed::{ElidedRoot, FullParams, Params};
use elements::encode::serialize;
use elements::{
    AssetBlindingNonce, AssetEntropy, AssetId, AssetIssuance, BlockExtData, BlockHash, BlockHeader, LockTime, OutPoint,
    Script, Sequence, TxMerkleNode, Txid,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use secp256k1_zkp::{Generator, Parity, PedersenCommitment, SECP256K1, Tag, Tweak};

use super::*;

/// Whether forms may come that the `elements` crate does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forms {
    Common,
    All,
}

struct Maker {
    rng: ChaCha20Rng,
    forms: Forms,
}

impl Maker {
    fn new(seed: u64, forms: Forms) -> Self {
        Self { rng: ChaCha20Rng::seed_from_u64(seed), forms }
    }

    fn bytes(&mut self, lengths: Range<usize>) -> Vec<u8> {
        (0..self.rng.gen_range(lengths)).map(|_| self.rng.r#gen()).collect()
    }

    fn generator(&mut self) -> Generator {
        Generator::new_blinded(SECP256K1, Tag::from(self.rng.r#gen::<[u8; 32]>()), Tweak::new(&mut self.rng))
    }

    fn asset(&mut self) -> Asset {
        match self.rng.r#gen() {
            true => Asset::Explicit(AssetId::from_byte_array(self.rng.r#gen())),
            false => Asset::Confidential(self.generator()),
        }
    }

    fn value(&mut self) -> Value {
        let generator = self.generator();
        match self.rng.r#gen() {
            true => Value::Explicit(self.rng.r#gen()),
            false => {
                let blinding = Tweak::new(&mut self.rng);
                Value::Confidential(PedersenCommitment::new(SECP256K1, self.rng.r#gen(), blinding, generator))
            }
        }
    }

    fn nonce(&mut self) -> Nonce {
        match self.rng.gen_range(0..3) {
            0 => Nonce::Null,
            1 => Nonce::Explicit(self.rng.r#gen()),
            _ if self.forms == Forms::Common => {
                Nonce::from(secp256k1_zkp::SecretKey::new(&mut self.rng).public_key(SECP256K1))
            }
            // Half of all numbers are the x of no point.
            _ => Nonce::Confidential(if self.rng.r#gen() { Parity::Even } else { Parity::Odd }, self.rng.r#gen()),
        }
    }

    fn range_proof(&mut self) -> RangeProof {
        if self.rng.r#gen() {
            return RangeProof::EMPTY;
        }
        if self.forms == Forms::All && self.rng.r#gen() {
            return self.bytes(0..300).into();
        }
        let (generator, blinding) = (self.generator(), Tweak::new(&mut self.rng));
        let commitment = PedersenCommitment::new(SECP256K1, 5, blinding, generator);
        let key = secp256k1_zkp::SecretKey::new(&mut self.rng);
        secp256k1_zkp::RangeProof::new(SECP256K1, 0, commitment, 5, blinding, &[], &[], key, 0, 3, generator)
            .unwrap()
            .serialize()
            .into()
    }

    fn surjection_proof(&mut self) -> SurjectionProof {
        match self.rng.gen_range(0..3) {
            0 => SurjectionProof::EMPTY,
            1 if self.forms == Forms::All => self.bytes(0..100).into(),
            // One target, used, and the two numbers of its ring signature: the form of a proof.
            _ => [vec![1, 0, 1], self.bytes(64..65)].concat().into(),
        }
    }

    fn witness(&mut self, items: Range<usize>) -> Witness {
        let mut list = Vec::new();
        for _ in 0..self.rng.gen_range(items) {
            let longest = [1, 90, 600, 70_000][self.rng.gen_range(0..4)];
            list.push(self.bytes(0..longest));
        }
        Witness::from_slice(&list)
    }

    fn pegin_witness(&mut self) -> Witness {
        match self.rng.gen_range(0..3) {
            0 => Witness::EMPTY,
            1 if self.forms == Forms::All => self.witness(0..9),
            _ => {
                let lengths = [8..9, 32..33, 32..33, 0..101, 0..300, 80..500];
                Witness::from_slice(&lengths.map(|range| self.bytes(range)))
            }
        }
    }

    fn input(&mut self) -> TxIn {
        let is_coinbase = self.rng.gen_ratio(1, 8);
        let vout = if is_coinbase { u32::MAX } else { self.rng.gen_range(0..0x3fff_ffff) };
        let mut input = TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array(self.rng.r#gen()), vout),
            is_pegin: !is_coinbase && self.rng.r#gen(),
            script_sig: Script::from(self.bytes(0..300)),
            sequence: Sequence::from_consensus(self.rng.r#gen()),
            ..TxIn::default()
        };
        if !is_coinbase && self.rng.r#gen() {
            let null = self.rng.gen_range(0..3);
            input.asset_issuance = AssetIssuance {
                asset_blinding_nonce: AssetBlindingNonce::from_byte_array(self.rng.r#gen()),
                asset_entropy: AssetEntropy::from_byte_array(self.rng.r#gen()),
                amount: if null == 0 { Value::Null } else { self.value() },
                inflation_keys: if null == 1 { Value::Null } else { self.value() },
            };
        }
        input.witness = TxInWitness {
            amount_rangeproof: self.range_proof(),
            inflation_keys_rangeproof: self.range_proof(),
            script_witness: self.witness(0..5),
            pegin_witness: self.pegin_witness(),
        };
        input
    }

    fn output(&mut self) -> TxOut {
        TxOut {
            asset: self.asset(),
            value: self.value(),
            nonce: self.nonce(),
            script_pubkey: Script::from(self.bytes(0..300)),
            witness: TxOutWitness { surjection_proof: self.surjection_proof(), rangeproof: self.range_proof() },
        }
    }

    fn transaction(&mut self) -> Transaction {
        let mut transaction = Transaction {
            version: self.rng.r#gen(),
            lock_time: LockTime::from_consensus(self.rng.r#gen()),
            input: (0..self.rng.gen_range(0..4)).map(|_| self.input()).collect(),
            output: (0..self.rng.gen_range(0..4)).map(|_| self.output()).collect(),
        };
        if self.rng.gen_ratio(1, 4) {
            transaction.input.iter_mut().for_each(|input| input.witness = TxInWitness::default());
            transaction.output.iter_mut().for_each(|output| output.witness = TxOutWitness::default());
        }
        transaction
    }

    fn params(&mut self) -> Params {
        match self.rng.gen_range(0..3) {
            0 => Params::Null,
            1 => Params::Compact {
                signblockscript: Script::from(self.bytes(0..300)),
                signblock_witness_limit: self.rng.r#gen(),
                elided_root: ElidedRoot::from_byte_array(self.rng.r#gen()),
            },
            _ => Params::Full(FullParams {
                signblockscript: Script::from(self.bytes(0..300)),
                signblock_witness_limit: self.rng.r#gen(),
                fedpeg_program: self.bytes(0..50).into(),
                fedpegscript: self.bytes(0..300),
                extension_space: vec![self.bytes(0..70), self.bytes(0..70)],
            }),
        }
    }

    fn header(&mut self) -> BlockHeader {
        BlockHeader {
            version: self.rng.r#gen::<u32>() >> 1,
            prev_blockhash: BlockHash::from_byte_array(self.rng.r#gen()),
            merkle_root: TxMerkleNode::from_byte_array(self.rng.r#gen()),
            time: self.rng.r#gen(),
            height: self.rng.r#gen(),
            ext: match self.rng.r#gen() {
                true => BlockExtData::Dynafed {
                    current: self.params(),
                    proposed: self.params(),
                    signblock_witness: vec![vec![], self.bytes(0..300)],
                },
                false => BlockExtData::Proof {
                    challenge: Script::from(self.bytes(0..80)),
                    solution: Script::from(self.bytes(0..300)),
                },
            },
        }
    }
}

/// A small transaction of which some byte positions are known.
fn small() -> Transaction {
    let output =
        TxOut { script_pubkey: Script::from(vec![0x51]), ..TxOut::new_fee(7, AssetId::from_byte_array([3; 32])) };
    let input = TxIn { previous_output: OutPoint::new(Txid::from_byte_array([9; 32]), 1), ..TxIn::default() };
    Transaction { version: 2, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] }
}

/// Where what stands in [`small`].
mod at {
    pub(super) const FLAGS: usize = 4;
    pub(super) const INPUT_COUNT: usize = 5;
    pub(super) const INDEX: usize = INPUT_COUNT + 1 + 32;
    pub(super) const SEQUENCE: usize = INDEX + 4 + 1;
    pub(super) const ASSET: usize = SEQUENCE + 4 + 1;
    pub(super) const VALUE: usize = ASSET + 33;
    pub(super) const NONCE: usize = VALUE + 9;
}

fn refusal(bytes: Vec<u8>) -> DecodeError {
    let error = Transaction::decode(bytes.clone()).unwrap_err();
    assert!(elements::encode::deserialize::<elements::Transaction>(&bytes).is_err(), "{error}");
    error
}

fn replaced(at: usize, taken: usize, by: &[u8]) -> Vec<u8> {
    let mut bytes = serialize(&small());
    bytes.splice(at..at + taken, by.iter().copied());
    bytes
}

/// With one witness: a script witness of one item.
fn with_witness() -> Transaction {
    let mut transaction = small();
    transaction.input[0].witness.script_witness.push([5, 6]);
    transaction
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>()) {
        let transaction = Maker::new(seed, Forms::All).transaction();
        let bytes = serialize(&transaction);
        prop_assert_eq!(&Transaction::decode(bytes.clone()).unwrap(), &transaction);
        prop_assert_eq!(transaction.size(), bytes.len());
        for output in &transaction.output {
            let bare = TxOut { witness: TxOutWitness::default(), ..output.clone() };
            prop_assert_eq!(TxOut::decode(serialize(output)).unwrap(), bare);
        }
    }

    #[test]
    fn the_elements_crate_writes_the_same(seed in any::<u64>()) {
        let transaction = Maker::new(seed, Forms::Common).transaction();
        let bytes = serialize(&transaction);
        let theirs = elements::Transaction::try_from(&transaction).unwrap();
        prop_assert_eq!(&Transaction::from(&theirs), &transaction);
        prop_assert_eq!(&elements::encode::deserialize::<elements::Transaction>(&bytes).unwrap(), &theirs);
        prop_assert_eq!(serialize(&theirs), bytes);
        prop_assert_eq!(transaction.txid(), theirs.txid());
        prop_assert_eq!(transaction.wtxid(), theirs.wtxid());
        prop_assert_eq!(transaction.weight(), theirs.weight());
        prop_assert_eq!(transaction.vsize(), theirs.vsize());
        prop_assert_eq!(transaction.size(), theirs.size());
        if !transaction.output.is_empty() || transaction.has_witness() {
            prop_assert_eq!(transaction.discount_vsize(), theirs.discount_vsize());
        }
        prop_assert_eq!(transaction.has_witness(), theirs.has_witness());
    }

    #[test]
    fn what_the_elements_crate_cannot_read_is_named(seed in any::<u64>()) {
        let transaction = Maker::new(seed, Forms::All).transaction();
        let read = elements::encode::deserialize::<elements::Transaction>(&serialize(&transaction));
        prop_assert_eq!(elements::Transaction::try_from(&transaction).ok(), read.ok());
    }

    #[test]
    fn one_value_has_one_encoding(seed in any::<u64>(), flips in proptest::collection::vec(any::<(usize, u8)>(), 1..4)) {
        let mut bytes = serialize(&Maker::new(seed, Forms::All).transaction());
        for (at, byte) in flips {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let ours = Transaction::decode(bytes.clone());
        if let Ok(transaction) = &ours {
            prop_assert_eq!(&serialize(transaction), &bytes);
        }
        // The crate also reads outputs without asset or value, and tolerates no form that Elements does not.
        if let Ok(theirs) = elements::encode::deserialize::<elements::Transaction>(&bytes)
            && theirs.output.iter().all(|output| !output.asset.is_null() && !output.value.is_null())
        {
            prop_assert_eq!(ours.unwrap(), Transaction::from(&theirs));
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(transaction) = Transaction::decode(bytes.clone()) {
            prop_assert_eq!(serialize(&transaction), bytes.clone());
        }
        if let Ok(block) = Block::decode(bytes.clone()) {
            prop_assert_eq!(serialize(&block), bytes);
        }
    }

    #[test]
    fn headers_and_blocks(seed in any::<u64>()) {
        let mut maker = Maker::new(seed, Forms::Common);
        let header = maker.header();
        let bytes = serialize(&header);
        prop_assert_eq!(&decode_header(bytes.clone()).unwrap(), &header);
        prop_assert_eq!(&elements::encode::deserialize::<BlockHeader>(&bytes).unwrap(), &header);
        for cut in 0..bytes.len() {
            prop_assert!(decode_header(bytes[..cut].to_vec()).is_err());
        }
        let block = Block { header, txdata: vec![maker.transaction(), maker.transaction()] };
        let bytes = serialize(&block);
        let theirs: elements::Block = elements::encode::deserialize(&bytes).unwrap();
        prop_assert_eq!(&Block::decode(bytes).unwrap(), &block);
        prop_assert_eq!(&Block::from(&theirs), &block);
        prop_assert_eq!(block.block_hash(), theirs.block_hash());
    }

    #[test]
    fn items_of_a_witness(items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6)) {
        let witness = Witness::from_slice(&items);
        prop_assert_eq!(witness.to_vec(), items.clone());
        prop_assert_eq!(witness.last(), items.last().map(Vec::as_slice));
        prop_assert_eq!((witness.len(), witness.is_empty()), (items.len(), items.is_empty()));
        let mut pushed = Witness::EMPTY;
        items.iter().for_each(|item| pushed.push(item));
        prop_assert_eq!(pushed, witness);
    }
}

#[test]
fn witnesses_share_the_buffer() {
    let mut transaction = with_witness();
    transaction.input[0].witness.amount_rangeproof = vec![1; 5000].into();
    transaction.output[0].witness.rangeproof = vec![2; 5000].into();
    let bytes = Bytes::from(serialize(&transaction));
    let inside = bytes.as_ptr_range();
    let read = Transaction::decode(bytes.clone()).unwrap();
    let item = read.input[0].witness.script_witness.last().unwrap();
    for slice in
        [read.input[0].witness.amount_rangeproof.as_bytes(), read.output[0].witness.rangeproof.as_bytes(), item]
    {
        assert!(inside.contains(&slice.as_ptr()) && slice.as_ptr_range().end <= inside.end);
    }
}

#[test]
fn every_end_but_the_right_one_is_refused() {
    let bytes = serialize(&with_witness());
    assert!(Transaction::decode(bytes.clone()).is_ok());
    for cut in 0..bytes.len() {
        let error = refusal(bytes[..cut].to_vec());
        assert!(matches!(error, DecodeError::End { missing: 1.. }), "{cut}: {error}");
    }
    assert_eq!(refusal([bytes, vec![0]].concat()), DecodeError::Trailing(1));
}

#[test]
fn flags_say_whether_there_are_witnesses() {
    for flags in [2, 3, 0x80, 0xff] {
        let bytes = replaced(at::FLAGS, 1, &[flags]);
        assert_eq!(refusal(bytes), DecodeError::Flags(flags));
    }
    let empty = [replaced(at::FLAGS, 1, &[1]), vec![0; 6]].concat();
    assert_eq!(refusal(empty), DecodeError::SuperfluousWitness);
    // One item without bytes is a witness.
    let mut transaction = small();
    transaction.input[0].witness.script_witness.push([]);
    assert_eq!(Transaction::decode(serialize(&transaction)).unwrap(), transaction);
}

#[test]
fn lengths_are_written_in_the_shortest_form() {
    for (form, length) in [(vec![0xfd, 1, 0], 1), (vec![0xfe, 1, 0, 0, 0], 1), (vec![0xff, 1, 0, 0, 0, 0, 0, 0, 0], 1)]
    {
        assert_eq!(refusal(replaced(at::INPUT_COUNT, 1, &form)), DecodeError::LengthNotMinimal(length));
    }
    let too_long = 0x0200_0001_u32.to_le_bytes();
    let bytes = replaced(at::INPUT_COUNT, 1, &[[0xfe].as_slice(), &too_long].concat());
    assert_eq!(refusal(bytes), DecodeError::Length(0x0200_0001));
    // As many inputs as a length may say take no memory before they are read.
    let most = 0x0200_0000_u32.to_le_bytes();
    let bytes = replaced(at::INPUT_COUNT, 1, &[[0xfe].as_slice(), &most].concat());
    assert!(matches!(refusal(bytes), DecodeError::End { .. }));
}

#[test]
fn more_inputs_and_outputs_than_the_crate_reads() {
    let mut transaction = small();
    transaction.output = vec![transaction.output[0].clone(); 20_000];
    let bytes = serialize(&transaction);
    assert!(elements::encode::deserialize::<elements::Transaction>(&bytes).is_err());
    assert_eq!(elements::Transaction::try_from(&transaction), Err(Inexpressible::Count { count: 20_000 }));
    assert_eq!(Transaction::decode(bytes).unwrap(), transaction);
}

#[test]
fn an_index_of_all_ones_has_no_flags() {
    let read = Transaction::decode(replaced(at::INDEX, 4, &[0xff; 4])).unwrap();
    let input = &read.input[0];
    assert_eq!(input.previous_output.vout, u32::MAX);
    assert!(!input.is_pegin && !input.has_issuance() && !input.is_coinbase());
    let read = Transaction::decode(replaced(at::INDEX, 4, &[0xff, 0xff, 0xff, 0x7f])).unwrap();
    assert_eq!((read.input[0].previous_output.vout, read.input[0].is_pegin), (0x3fff_ffff, true));
}

#[test]
fn an_issuance_issues_something() {
    let issuing = |amounts: &[u8]| {
        let mut bytes = replaced(at::INDEX, 4, &[1, 0, 0, 0x80]);
        bytes.splice(at::SEQUENCE + 4..at::SEQUENCE + 4, [[1; 64].as_slice(), amounts].concat());
        bytes
    };
    assert_eq!(refusal(issuing(&[0, 0])), DecodeError::NullIssuance);
    assert!(Transaction::decode(issuing(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0])).is_ok());
    assert_eq!(refusal(issuing(&[2, 0])), DecodeError::Prefix { what: "value", prefix: 2 });
}

#[test]
fn outputs_have_asset_and_value() {
    let refused = |at, taken, by: &[u8]| Transaction::decode(replaced(at, taken, by)).unwrap_err();
    assert_eq!(refused(at::ASSET, 33, &[0]), DecodeError::Null { what: "asset" });
    assert_eq!(refused(at::VALUE, 9, &[0]), DecodeError::Null { what: "value" });
    assert_eq!(refused(at::ASSET, 1, &[8]), DecodeError::Prefix { what: "asset", prefix: 8 });
    assert_eq!(refused(at::VALUE, 1, &[10]), DecodeError::Prefix { what: "value", prefix: 10 });
    assert_eq!(refused(at::NONCE, 1, &[8]), DecodeError::Prefix { what: "nonce", prefix: 8 });
    // No point has the x coordinate 5, or one beyond the field.
    let mut five = [0; 32];
    five[31] = 5;
    for x in [five, [0xff; 32]] {
        let asset = [[10].as_slice(), &x].concat();
        assert_eq!(refused(at::ASSET, 33, &asset), DecodeError::Commitment { what: "asset" });
        let value = [[9].as_slice(), &x].concat();
        assert_eq!(refused(at::VALUE, 9, &value), DecodeError::Commitment { what: "value" });
        // Of a nonce nobody asks that it is one.
        let read = Transaction::decode(replaced(at::NONCE, 1, &[[3].as_slice(), &x].concat())).unwrap();
        assert_eq!(read.output[0].nonce, Nonce::Confidential(Parity::Odd, x));
        assert_eq!(read.output[0].nonce.commitment(), None);
        assert_eq!(elements::Transaction::try_from(&read), Err(Inexpressible::Nonce { vout: 0 }));
    }
}

#[test]
fn dynafed_parameters_are_of_three_types() {
    let mut maker = Maker::new(1, Forms::Common);
    let ext = BlockExtData::Dynafed { current: Params::Null, proposed: Params::Null, signblock_witness: vec![] };
    let header = BlockHeader { ext, ..maker.header() };
    let mut bytes = serialize(&header);
    let at = bytes.len() - 2;
    bytes[at] = 3;
    assert_eq!(decode_header(bytes), Err(DecodeError::DynafedType(3)));
}
