//! A member that lies: it speaks over the members' own protocol, with its own key and certificate, and says what no
//! `aquiferd` would.
//!
//! It changes what an honest member would say, byte by byte, and signs it again. So the format is written down here a
//! second time: `version ‖ session ‖ member ‖ body ‖ signature`, as `aquifer_federation::ceremony` has it.

use std::sync::Arc;

use aquifer_federation::ceremony::Ceremony;
use aquifer_federation::keys::MemberSeed;
use aquifer_federation::roster::{MemberIndex, Roster};
use aquifer_functionary::peers::{TlsIdentity, wallet_server};
use aquifer_proto::peer::peer_server::{Peer, PeerServer};
use aquifer_proto::peer::{
    BodyChunk, FetchBlocksRequest, FetchBodyRequest, FetchCeremonyReply, FetchCeremonyRequest, FinalBlock, GossipEnd,
    PeerMessage,
};
use aquifer_tests::HarnessError;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::secp256k1::{Message, SECP256K1};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use tokio::runtime::Runtime;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::operators::{NAMES, Operators, story};

/// Where the body of a message begins, and how long the signature behind it is.
const BODY_START: usize = 1 + 32 + 2;
const SIGNATURE_SIZE: usize = 64;
/// The first byte of a body: which message it is.
const COMMIT: u8 = 0;
const REVEAL: u8 = 1;
/// Of a reveal among four members: an encrypted share, and the certificate key's part of three points with its proof.
const SEALED_SIZE: usize = 80;
const CERTIFICATE_PROOF_END: usize = 1 + 4 + 3 * 48 + 80;

pub(crate) struct Liar {
    seed: MemberSeed,
    name: &'static str,
    address: String,
    session: [u8; 32],
    index: u16,
    /// Bodies of what it says: its commit and its reveal, honest at first.
    said: Vec<Vec<u8>>,
    /// The same of another run with other randomness.
    other: Vec<Vec<u8>>,
}

/// The lying server; gone when dropped.
pub(crate) struct Serving {
    _runtime: Runtime,
}

fn tagged_hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = sha256::Hash::hash(tag.as_bytes());
    let mut engine = sha256::Hash::engine();
    engine.input(tag.as_byte_array());
    engine.input(tag.as_byte_array());
    for part in parts {
        engine.input(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

impl Liar {
    /// The member with this number, who has rehearsed with the seeds of all what an honest member would say.
    pub(crate) fn new(operators: &Operators, member: usize) -> Result<Self, HarnessError> {
        let text = std::fs::read(operators.roster()).map_err(HarnessError::file("read", operators.roster()))?;
        let roster: Roster = serde_json::from_slice(&text).map_err(|error| story(error.to_string()))?;
        let seeds = (0..NAMES.len()).map(|member| {
            let path = operators.folder(member).join("seed");
            let words = std::fs::read_to_string(&path).map_err(HarnessError::file("read", &path))?;
            MemberSeed::from_words(&words).map_err(|error| story(error.to_string()))
        });
        let seeds: Vec<MemberSeed> = seeds.collect::<Result<_, HarnessError>>()?;
        let index = u16::try_from(member).map_err(|error| story(error.to_string()))?;
        let (session, said) = rehearse(&roster, &seeds, index, 1)?;
        let (_, other) = rehearse(&roster, &seeds, index, 2)?;
        let card = roster.member(MemberIndex(index)).ok_or_else(|| story("no such member"))?;
        let address = card.peer_address.clone();
        Ok(Self { seed: seeds[member].clone(), name: NAMES[member], address, session, index, said, other })
    }

    /// Deals a share to the first member that it cannot open, with a commitment that fits.
    pub(crate) fn spoil_share_of_first(&mut self) -> Result<(), HarnessError> {
        self.change_reveal(|reveal| reveal.len() - NAMES.len() * SEALED_SIZE)
    }

    /// Does not prove that it knows its part of the certificate key.
    pub(crate) fn spoil_proof(&mut self) -> Result<(), HarnessError> {
        self.change_reveal(|_| CERTIFICATE_PROOF_END - 1)
    }

    /// Commits to two different parts.
    pub(crate) fn say_two_things(&mut self) -> Result<(), HarnessError> {
        self.said.extend(self.other.iter().filter(|body| body.first() == Some(&COMMIT)).cloned());
        Ok(())
    }

    fn change_reveal(&mut self, position: impl FnOnce(&[u8]) -> usize) -> Result<(), HarnessError> {
        let reveal = self.said.iter_mut().find(|body| body.first() == Some(&REVEAL));
        let reveal = reveal.ok_or_else(|| story("there is no reveal"))?;
        let position = position(reveal);
        reveal[position] ^= 1;
        let hash = tagged_hash("aquifer/ceremony/commit/v2", &[&self.session, &reveal[1..]]);
        let commit = self.said.iter_mut().find(|body| body.first() == Some(&COMMIT));
        *commit.ok_or_else(|| story("there is no commit"))? = [&[COMMIT][..], &hash].concat();
        Ok(())
    }

    fn sign(&self, body: &[u8]) -> Vec<u8> {
        let member = self.index.to_le_bytes();
        let digest = tagged_hash("aquifer/ceremony/message/v2", &[&[2], &self.session, &member, body]);
        let signature = SECP256K1.sign_schnorr_no_aux_rand(&Message::from_digest(digest), &self.seed.keys().host);
        [&[2][..], &self.session, &member, body, signature.as_ref()].concat()
    }

    /// Serves what it has to say at its own address, under its own certificate.
    pub(crate) fn serve(self) -> Result<Serving, HarnessError> {
        let messages = Arc::new(self.said.iter().map(|body| self.sign(body)).collect());
        let identity = TlsIdentity::from_seed(self.name, &self.seed.keys().tls_seed);
        let identity = identity.map_err(|error| story(error.to_string()))?;
        let address = self.address.parse().map_err(|_| story("no address"))?;
        let runtime = Runtime::new().map_err(|error| story(error.to_string()))?;
        let mut server =
            Server::builder().tls_config(wallet_server(&identity)).map_err(|error| story(error.to_string()))?;
        // A port that is taken shows in what the others say: they cannot hear the liar.
        drop(runtime.spawn(async move { server.add_service(PeerServer::new(Says(messages))).serve(address).await }));
        Ok(Serving { _runtime: runtime })
    }
}

/// Plays a ceremony among all and gives its session and the bodies of the member's commit and reveal.
fn rehearse(
    roster: &Roster,
    seeds: &[MemberSeed],
    index: u16,
    seed: u64,
) -> Result<([u8; 32], Vec<Vec<u8>>), HarnessError> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let members = roster.indexed().zip(seeds);
    let members = members.map(|((index, _), seed)| Ceremony::new(roster.clone(), seed, index, &mut rng));
    let mut members: Vec<Ceremony> = members.collect::<Result<_, _>>().map_err(|error| story(error.to_string()))?;
    let own = |members: &[Ceremony]| -> Vec<Vec<u8>> {
        let said = members.iter().flat_map(Ceremony::messages);
        let mut said: Vec<Vec<u8>> =
            said.filter(|message| message.get(33..35) == Some(&index.to_le_bytes()[..])).collect();
        said.sort();
        said.dedup();
        said.iter()
            .filter_map(|message| Some(message.get(BODY_START..message.len() - SIGNATURE_SIZE)?.to_vec()))
            .collect()
    };
    while !own(&members).iter().any(|body| body.first() == Some(&REVEAL)) {
        for member in &mut members {
            member.advance(&mut rng).map_err(|fault| story(fault.to_string()))?;
        }
        let said: Vec<Vec<u8>> = members.iter().flat_map(Ceremony::messages).collect();
        for member in &mut members {
            for message in &said {
                member.accept(message).map_err(|fault| story(fault.to_string()))?;
            }
        }
    }
    let session = members[0].session();
    Ok((session, own(&members)))
}

/// Gives the same messages to whoever asks.
struct Says(Arc<Vec<Vec<u8>>>);

#[tonic::async_trait]
impl Peer for Says {
    type GossipStream = BoxStream<GossipEnd>;
    type FetchBodyStream = BoxStream<BodyChunk>;
    type FetchBlocksStream = BoxStream<FinalBlock>;

    async fn gossip(&self, _: Request<Streaming<PeerMessage>>) -> Result<Response<Self::GossipStream>, Status> {
        Err(Status::unimplemented("it only lies"))
    }

    async fn fetch_body(&self, _: Request<FetchBodyRequest>) -> Result<Response<Self::FetchBodyStream>, Status> {
        Err(Status::unimplemented("it only lies"))
    }

    async fn fetch_blocks(&self, _: Request<FetchBlocksRequest>) -> Result<Response<Self::FetchBlocksStream>, Status> {
        Err(Status::unimplemented("it only lies"))
    }

    async fn fetch_ceremony(&self, _: Request<FetchCeremonyRequest>) -> Result<Response<FetchCeremonyReply>, Status> {
        let messages = self.0.iter().map(|message| message.clone().into()).collect();
        Ok(Response::new(FetchCeremonyReply { messages }))
    }
}
