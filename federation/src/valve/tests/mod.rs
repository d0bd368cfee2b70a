#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod notices;
mod properties;
mod queue;
mod saved;
mod settings;
mod story;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bitcoin::secp256k1::Keypair;
use elements::Txid;

use super::*;
use crate::roster::{Settings, tests::federation_of};

/// The chain of all tests.
const CHAIN: [u8; 32] = [7; 32];

const BTC: u64 = 100_000_000;

/// A federation of `count` members with these settings, and the host keys. Making keys is slow, so they are made once.
fn federation(count: usize, valve: ValveSettings) -> (Vec<Keypair>, Roster) {
    static MADE: Mutex<BTreeMap<usize, (Vec<Keypair>, Roster)>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let (hosts, roster) = made.entry(count).or_insert_with(|| {
        let (seeds, roster) = federation_of(count);
        (seeds.iter().map(|seed| seed.keys().host).collect(), roster)
    });
    let settings = Settings { valve, ..Settings::default() };
    (hosts.clone(), Roster::new(settings, roster.members().to_vec()).unwrap())
}

/// A window of 1,000 seconds with a limit of 10,000 sat, of which a batch may take all; no delay, no shares, dust as minimum.
fn plain() -> ValveSettings {
    ValveSettings {
        window_seconds: 1_000,
        window_limit_sat: 10_000,
        window_share_permille: 1_000,
        batch_share_permille: 1_000,
        delays: vec![DelayStep { from_amount_sat: 0, delay_seconds: 0 }],
        minimums: ValveSettings::devnet().minimums,
    }
}

fn outpoint(number: u32) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([1; 32]), number)
}

fn request(number: u32, amount_sat: u64, requested_seconds: u64) -> Request {
    Request { outpoint: outpoint(number), amount_sat, kind: PayoutKind::P2tr, requested_seconds }
}

/// A valve with a chain of its own, a reserve, and nothing owed.
struct Chain {
    valve: Valve,
    hosts: Vec<Keypair>,
    roster: Roster,
    time: u32,
    reserve_sat: u64,
    liabilities_sat: u64,
    blocks: Vec<BlockFacts>,
}

impl Chain {
    fn new(count: usize, settings: ValveSettings, reserve_sat: u64) -> Self {
        let (hosts, roster) = federation(count, settings);
        let valve = Valve::new(&roster, CHAIN);
        let mut chain =
            Self { valve, hosts, roster, time: 1_000_000, reserve_sat, liabilities_sat: 0, blocks: Vec::new() };
        chain.block(0, &[], &[]);
        chain
    }

    /// A block, so many seconds after the one before.
    fn block(&mut self, seconds: u32, paid: &[Request], notices: &[Notice]) {
        self.time += seconds;
        for request in paid {
            self.reserve_sat -= request.amount_sat;
        }
        self.block_with(paid, notices);
    }

    /// The same, with the reserve as it is.
    fn block_with(&mut self, paid: &[Request], notices: &[Notice]) {
        let block = BlockFacts {
            height: self.valve.height() + 1,
            median_time_past: self.time,
            paid: paid
                .iter()
                .map(|request| Payment { request: request.outpoint, amount_sat: request.amount_sat })
                .collect(),
            notices: notices.to_vec(),
            reserve_sat: self.reserve_sat,
            liabilities_sat: self.liabilities_sat,
        };
        self.valve.apply_block(&block).unwrap();
        self.blocks.push(block);
    }

    fn now(&self) -> u64 {
        u64::from(self.time)
    }

    /// A notice that has seen the last block.
    fn notice(&self, member: usize, kind: NoticeKind) -> Notice {
        let index = MemberIndex(u16::try_from(member).unwrap());
        Notice::sign(&self.hosts[member], &CHAIN, index, kind, self.valve.height())
    }

    fn notices(&self, members: std::ops::Range<usize>, kind: NoticeKind) -> Vec<Notice> {
        members.map(|member| self.notice(member, kind)).collect()
    }

    /// The verdicts, by the number of the request.
    fn verdicts(&self, requests: &[Request]) -> BTreeMap<u32, Verdict> {
        let decisions = self.valve.decide(requests);
        decisions.into_iter().map(|decision| (decision.request.vout, decision.verdict)).collect()
    }

    /// The numbers of the requests that may leave.
    fn released(&self, requests: &[Request]) -> Vec<u32> {
        let mut released = self.verdicts(requests);
        released.retain(|_, verdict| *verdict == Verdict::Release);
        released.into_keys().collect()
    }

    fn reason(&self, requests: &[Request], number: u32) -> WaitReason {
        match self.verdicts(requests)[&number] {
            Verdict::Wait { reason, .. } => reason,
            Verdict::Release => panic!("request {number} is released"),
        }
    }

    /// In how many seconds a waiting request is expected to leave.
    fn expected_in(&self, requests: &[Request], number: u32) -> Option<u64> {
        match self.verdicts(requests)[&number] {
            Verdict::Wait { expected_seconds, .. } => expected_seconds.map(|at| at - self.now()),
            Verdict::Release => panic!("request {number} is released"),
        }
    }
}
