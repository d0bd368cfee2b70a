//! Measures the signing of a batch with the treasury key: 10 outputs of the treasury, 11 of 15 members, all in one process.
//!
//! `cargo run --release -p aquifer-federation --example sign_batch` prints one JSON value; times are in milliseconds of wall
//! clock, each the sum over all members; what one member takes is given beside it. An argument sets how often it is
//! measured; the fastest run is printed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use aquifer_assets::peg::PegoutRequest;
use aquifer_federation::{
    ceremony::{Ceremony, CeremonyOutcome},
    keys::MemberSeed,
    roster::{CardDetails, MemberCard, MemberIndex, Roster, Settings},
    treasury::{
        KeySpends, TreasuryCoin, finalize_batch, plan_batch,
        roast::{Coordinator, Effect, Signer},
    },
};
use bitcoin::{OutPoint, ScriptBuf, Txid, hashes::Hash};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde_json::json;

const MEMBERS: u16 = 15;
const INPUTS: u8 = 10;
const COIN_SAT: u64 = 100_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let runs: u32 = std::env::args().nth(1).map_or(Ok(5), |runs| runs.parse())?;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let begun = Instant::now();
    let outcomes = found(&mut rng)?;
    let ceremony = begun.elapsed();
    let federation = outcomes.first().ok_or("no members")?.file.check()?;
    let mut best: Option<Parts> = None;
    for _ in 0..runs.max(1) {
        let parts = measure(&federation, &outcomes, &mut rng)?;
        if best.as_ref().is_none_or(|best| parts.total() < best.total()) {
            best = Some(parts);
        }
    }
    let parts = best.ok_or("nothing was measured")?;
    let ms = |time: Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0;
    let report = json!({
        "members": MEMBERS,
        "threshold": federation.threshold(),
        "treasury_inputs": INPUTS,
        "ceremony_all_members_ms": ms(ceremony),
        "signature_hashes_ms": ms(parts.hashes),
        "offers_ms": ms(parts.offers),
        "offer_per_member_ms": ms(parts.offers / u32::from(MEMBERS)),
        "shares_with_next_nonces_ms": ms(parts.shares),
        "share_per_member_ms": ms(parts.shares / u32::try_from(federation.threshold())?),
        "coordinator_ms": ms(parts.coordinator),
        "finalize_and_verify_ms": ms(parts.finalize),
        "total_ms": ms(parts.total()),
        "batch_vsize": parts.vsize,
    });
    println!("{report:#}");
    Ok(())
}

struct Parts {
    hashes: Duration,
    offers: Duration,
    shares: Duration,
    coordinator: Duration,
    finalize: Duration,
    vsize: usize,
}

impl Parts {
    fn total(&self) -> Duration {
        self.hashes + self.offers + self.shares + self.coordinator + self.finalize
    }
}

/// Runs `work` and adds the time it takes.
fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    *sum += begun.elapsed();
    result
}

fn measure(
    federation: &aquifer_federation::federation::Federation,
    outcomes: &[CeremonyOutcome],
    rng: &mut ChaCha20Rng,
) -> Result<Parts, Box<dyn Error>> {
    let treasury = &federation.treasury;
    let coins: Vec<TreasuryCoin> = (0..INPUTS)
        .map(|number| {
            let outpoint = OutPoint::new(Txid::from_byte_array([number; 32]), 0);
            TreasuryCoin::from_change(treasury.output(), outpoint, COIN_SAT)
        })
        .collect();
    let request = PegoutRequest {
        outpoint: elements::OutPoint::new(elements::Txid::from_byte_array([7; 32]), 0),
        amount_sat: u64::from(INPUTS) * COIN_SAT - COIN_SAT / 2,
        parent_script: ScriptBuf::from_bytes([&[0x51, 0x20][..], &[9; 32]].concat()),
    };
    let plan = plan_batch(treasury, &coins, &[request], 5_000).ok_or("no batch")?;
    let [mut hashes, mut offers, mut shares, mut leading, mut finalize] = [Duration::ZERO; 5];

    let leader = MemberIndex(0);
    let mut signers: Vec<Signer> =
        outcomes.iter().map(|outcome| Signer::new(treasury, &outcome.treasury_share)).collect();
    let mut spends = None;
    for signer in &mut signers {
        let own = timed(&mut hashes, || KeySpends::of(&plan.transaction, &coins))?;
        signer.add_batch(own.clone());
        spends = Some(own);
    }
    let spends = spends.ok_or("no members")?;
    let batch = spends.batch();
    let run = rng.next_u64();
    let mut coordinator = Coordinator::new(leader, run, treasury, &federation.treasury_key, spends);
    let mut asked = None;
    for (member, signer) in (0..).map(MemberIndex).zip(&mut signers) {
        let offer = timed(&mut offers, || signer.offer(batch, leader, rng))?;
        for effect in timed(&mut leading, || coordinator.offer(member, offer)) {
            if let Effect::Ask(request) = effect {
                asked = Some(request);
            }
        }
    }
    let asked = asked.ok_or("no session")?;
    for member in asked.commitments.keys() {
        let signer = signers.get_mut(member.position()).ok_or("no such member")?;
        let answer = timed(&mut shares, || signer.sign(leader, &asked, rng))?;
        timed(&mut leading, || coordinator.answer(*member, answer));
    }
    let signatures = coordinator.signatures().ok_or("no signatures")?;
    let signed =
        timed(&mut finalize, || finalize_batch(treasury, &plan.transaction, &coins, &BTreeMap::new(), signatures));
    let vsize = signed.ok_or("it cannot be put together")?.vsize();
    Ok(Parts { hashes, offers, shares, coordinator: leading, finalize, vsize })
}

/// Holds the ceremony among all members in one process.
fn found(rng: &mut ChaCha20Rng) -> Result<Vec<CeremonyOutcome>, Box<dyn Error>> {
    let seeds: Vec<MemberSeed> = (0..MEMBERS).map(|_| MemberSeed::generate(rng)).collect();
    let cards = (0..MEMBERS).zip(&seeds).map(|(number, seed)| {
        let details = CardDetails {
            name: format!("member-{number}"),
            peer_address: format!("127.0.0.1:{}", 20_000 + number),
            api_address: format!("127.0.0.1:{}", 30_000 + number),
            // Nobody connects: a DER sequence that tells the members apart is enough.
            tls_certificate: [[0x30, 2], number.to_le_bytes()].concat(),
        };
        MemberCard::new(&seed.keys(), details)
    });
    let roster = Roster::new(Settings::default(), cards.collect::<Result<_, _>>()?)?;
    let begin = (0..).zip(&seeds).map(|(index, seed)| Ceremony::new(roster.clone(), seed, MemberIndex(index), rng));
    let mut members = begin.collect::<Result<Vec<_>, _>>()?;
    while !members.iter().all(Ceremony::all_stored) {
        for member in &mut members {
            member.advance(rng)?;
        }
        let said: Vec<Vec<u8>> = members.iter().flat_map(Ceremony::messages).collect();
        for member in &mut members {
            for message in &said {
                member.accept(message)?;
            }
        }
    }
    members.iter().map(Ceremony::outcome).collect::<Option<_>>().ok_or_else(|| "no outcome".into())
}
