//! Proofs: nothing panics, and a proof proves its own statement and no other. Not one byte of either can be changed.

use std::sync::LazyLock;

use aquifer_assets::primitives::{RangeProof, SurjectionProof, TxIn};
use aquifer_assets::proof::{RangeStatement, SurjectionStatement, Tally, generator};
use aquifer_assets::transaction::issued_assets;
use elements::confidential::{Asset, Value};
use secp256k1_zkp::{Generator, PedersenCommitment};

use crate::ground::{Case, ground};
use crate::program::Program;

/// A range proof that holds, and what it speaks about.
#[derive(Clone, PartialEq)]
struct Range {
    proof: RangeProof,
    commitment: PedersenCommitment,
    generator: Generator,
    script: Vec<u8>,
}

/// A surjection proof that holds, and what it speaks about.
#[derive(Clone, PartialEq)]
struct Surjection {
    proof: SurjectionProof,
    asset: Generator,
    targets: Vec<Generator>,
}

/// All proofs of the ground.
struct Proofs {
    ranges: Vec<Range>,
    surjections: Vec<Surjection>,
}

static PROOFS: LazyLock<Proofs> = LazyLock::new(|| {
    let mut proofs = Proofs { ranges: Vec::new(), surjections: Vec::new() };
    for case in &ground().cases {
        let targets = targets(case);
        for output in &case.transaction.output {
            let Some(generator) = generator(&output.asset) else { continue };
            if let Value::Confidential(commitment) = output.value {
                let script = output.script_pubkey.to_bytes();
                proofs.ranges.push(Range { proof: output.witness.rangeproof.clone(), commitment, generator, script });
            }
            if let Asset::Confidential(asset) = output.asset {
                let targets = targets.clone();
                proofs.surjections.push(Surjection { proof: output.witness.surjection_proof.clone(), asset, targets });
            }
        }
    }
    assert!(proofs.ranges.iter().all(Range::verify), "a range proof of the ground");
    assert!(proofs.surjections.iter().all(Surjection::verify), "a surjection proof of the ground");
    proofs
});

/// The generators that go into a transaction.
fn targets(case: &Case) -> Vec<Generator> {
    let explicit = |asset| generator(&Asset::Explicit(asset));
    let issued = |input: &TxIn| {
        let (asset, token) = issued_assets(input).map(|(_, asset, token)| (asset, token))?;
        let issuance = &input.asset_issuance;
        let asset = explicit(asset).filter(|_| issuance.amount != Value::Null);
        let token = explicit(token).filter(|_| issuance.inflation_keys != Value::Null);
        Some([asset, token])
    };
    let inputs = case.transaction.input.iter().zip(&case.spent);
    inputs
        .flat_map(|(input, spent)| {
            let issued = issued(input).into_iter().flatten().flatten();
            generator(&spent.asset).into_iter().chain(issued)
        })
        .collect()
}

impl Range {
    fn verify(&self) -> bool {
        let Self { proof, commitment, generator, script } = self;
        RangeStatement { proof, commitment: *commitment, generator: *generator, script }.verify().is_ok()
    }
}

impl Surjection {
    fn verify(&self) -> bool {
        SurjectionStatement { proof: &self.proof, asset: self.asset, targets: &self.targets }.verify().is_ok()
    }
}

/// Takes a program that changes a proof of the ground, or its statement.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let mut program = Program::new(input);
    match program.byte() % 4 {
        0 | 1 => range(&mut program),
        2 => surjection(&mut program),
        _ => points(program.take_rest()),
    }
}

fn range(program: &mut Program<'_>) {
    let ranges = &PROOFS.ranges;
    let (Some(known), Some(other)) = (program.pick(ranges), program.pick(ranges)) else { return };
    let mut changed = known.clone();
    match program.byte() % 6 {
        0 => changed.commitment = other.commitment,
        1 => changed.generator = other.generator,
        2 => changed.script.clone_from(&other.script),
        3 => program.change(&mut changed.script, known.proof.as_bytes()),
        4 => changed.proof = program.take_rest().to_vec().into(),
        _ => {
            let mut proof = known.proof.as_bytes().to_vec();
            program.change(&mut proof, other.proof.as_bytes());
            changed.proof = proof.into();
        }
    }
    assert_eq!(changed.verify(), ranges.contains(&changed), "range proof");
}

fn surjection(program: &mut Program<'_>) {
    let surjections = &PROOFS.surjections;
    let (Some(known), Some(other)) = (program.pick(surjections), program.pick(surjections)) else { return };
    let mut changed = known.clone();
    let (one, two) = (program.choose(known.targets.len()), program.choose(known.targets.len()));
    match program.byte() % 8 {
        0 => changed.asset = other.asset,
        1 => changed.targets.clone_from(&other.targets),
        2 => changed.targets.swap(one, two),
        3 => drop(changed.targets.pop()),
        4 => changed.targets.extend(other.targets.iter().cycle().take(usize::from(program.byte()).saturating_mul(2))),
        5 => changed.proof = program.take_rest().to_vec().into(),
        _ => {
            let mut proof = known.proof.as_bytes().to_vec();
            program.change(&mut proof, other.proof.as_bytes());
            changed.proof = proof.into();
        }
    }
    assert_eq!(changed.verify(), surjections.contains(&changed), "surjection proof");
}

/// Points of the curve as they stand in outputs: one encoding each. Sums of any of them do not panic.
fn points(bytes: &[u8]) {
    let mut tally = Tally::default();
    for (index, point) in bytes.chunks(33).enumerate() {
        if let Ok(generator) = Generator::from_slice(point) {
            assert_eq!(generator.serialize(), point, "a generator has another encoding");
        }
        if let Ok(commitment) = PedersenCommitment::from_slice(point) {
            assert_eq!(commitment.serialize(), point, "a commitment has another encoding");
            if index % 2 == 0 { tally.add_input(commitment) } else { tally.add_output(commitment) }
        }
    }
    tally.balances();
}
