//! A federation made in one process: members from a seed, and the ceremony among them.

use aquifer_federation::ceremony::{Ceremony, CeremonyOutcome};
use aquifer_federation::federation::Federation;
use aquifer_federation::keys::{BlsShare, MemberSeed, TreasuryShare};
use aquifer_federation::roster::{CardDetails, MemberCard, MemberIndex, Roster, Settings};
use aquifer_functionary::peers::TlsIdentity;
use rand_chacha::ChaCha20Rng;

/// A federation with the secrets of all its members, in the order of the roster.
pub struct Founded {
    /// What is public, checked.
    pub federation: Federation,
    /// Each member's seed, from which its keys are derived.
    pub seeds: Vec<MemberSeed>,
    /// Each member's share of the certificate key.
    pub shares: Vec<BlsShare>,
    /// Each member's share of the treasury key.
    pub treasury_shares: Vec<TreasuryShare>,
}

impl Founded {
    /// Makes a federation of `count` members with the default settings. The same state of `rng` gives the same one.
    ///
    /// # Errors
    /// If no federation has that many members.
    pub fn new(count: u16, rng: &mut ChaCha20Rng) -> Result<Self, Box<dyn std::error::Error>> {
        let seeds: Vec<MemberSeed> = (0..count).map(|_| MemberSeed::generate(rng)).collect();
        let cards = seeds
            .iter()
            .enumerate()
            .map(|(number, seed)| {
                let (name, keys) = (format!("member-{number}"), seed.keys());
                let certificate = TlsIdentity::from_seed(&name, &keys.tls_seed)?.certificate().to_vec();
                let details = CardDetails {
                    name,
                    peer_address: format!("127.0.0.1:{}", 20_000 + 2 * number),
                    api_address: format!("127.0.0.1:{}", 20_001 + 2 * number),
                    tls_certificate: certificate,
                };
                Ok(MemberCard::new(&keys, details)?)
            })
            .collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
        let roster = Roster::new(Settings::default(), cards)?;
        let outcomes = hold_ceremony(&roster, &seeds, rng)?;
        let federation = outcomes.first().ok_or("no members")?.file.check()?;
        let both = outcomes.into_iter().map(|outcome| (outcome.certificate_share, outcome.treasury_share));
        let (shares, treasury_shares) = both.unzip();
        Ok(Founded { federation, seeds, shares, treasury_shares })
    }
}

/// Holds the ceremony among all members at once: everybody hears everything.
fn hold_ceremony(
    roster: &Roster,
    seeds: &[MemberSeed],
    rng: &mut ChaCha20Rng,
) -> Result<Vec<CeremonyOutcome>, Box<dyn std::error::Error>> {
    let mut ceremonies = (0u16..)
        .zip(seeds)
        .map(|(index, seed)| Ceremony::new(roster.clone(), seed, MemberIndex(index), rng))
        .collect::<Result<Vec<_>, _>>()?;
    loop {
        let mut moved = false;
        for ceremony in &mut ceremonies {
            moved |= ceremony.advance(rng)?;
        }
        let said: Vec<Vec<u8>> = ceremonies.iter().flat_map(Ceremony::messages).collect();
        for ceremony in &mut ceremonies {
            for message in &said {
                moved |= ceremony.accept(message)?;
            }
        }
        if !moved {
            break;
        }
    }
    ceremonies.iter().map(Ceremony::outcome).collect::<Option<Vec<_>>>().ok_or_else(|| "no outcome".into())
}
