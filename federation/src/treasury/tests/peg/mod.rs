//! The whole peg under random schedules: deposits, requests, the valve, batches and their replacements, members with
//! different views of Bitcoin, and Bitcoin itself with reorganisations of any depth.
//!
//! The rules are the real ones. Only Bitcoin ([`bitcoin`]) and the ledger ([`books`]) are models. Every schedule comes from
//! its seed; `AQUIFER_PEG_SCHEDULES` sets how many are tried and `AQUIFER_PEG_SEED` the first one.

mod bitcoin;
mod books;

use std::{
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use ::bitcoin::secp256k1::Keypair;

use self::{
    bitcoin::{Bitcoin, Seen, Signed},
    books::{Block, Books},
};
use super::*;
use crate::{
    roster::{Emergency, MemberIndex, Settings},
    valve::{DelayStep, Notice, NoticeKind, Valve, ValveSettings},
};

const SCHEDULES: u64 = 10_000;
const CHAIN: [u8; 32] = [7; 32];
const MEMBERS: usize = 4;
/// Members whose votes decide a block.
const THRESHOLD: usize = 3;
/// Confirmations of a deposit that is claimed.
const PEGIN_DEPTH: usize = 2;
const WINDOW_SECONDS: u64 = 600;
const WINDOW_LIMIT_SAT: u64 = 40_000_000;

struct Federation {
    fixture: Fixture,
    valve: Valve,
    hosts: Vec<Keypair>,
    /// Deposits of one satoshi: making their keys is slow.
    deposits: Vec<TreasuryCoin>,
}

impl Federation {
    /// A federation without emergency keys, or with.
    fn any(emergency: bool) -> &'static Self {
        static MADE: [OnceLock<Federation>; 2] = [OnceLock::new(), OnceLock::new()];
        MADE[usize::from(emergency)].get_or_init(|| {
            let mut fixture = Fixture::of(MEMBERS);
            let keys = fixture.seeds.iter().map(|seed| seed.keys().host.x_only_public_key().0).collect();
            let settings = Settings {
                valve: ValveSettings {
                    window_seconds: WINDOW_SECONDS,
                    window_limit_sat: WINDOW_LIMIT_SAT,
                    window_share_permille: 900,
                    batch_share_permille: 800,
                    delays: vec![
                        DelayStep { from_amount_sat: 0, delay_seconds: 0 },
                        DelayStep { from_amount_sat: 10_000_000, delay_seconds: 60 },
                    ],
                    ..ValveSettings::devnet()
                },
                emergency: emergency.then_some(Emergency { keys, threshold: 2, timelock_blocks: 20 }),
                ..Settings::default()
            };
            let roster = Roster::new(settings, fixture.roster.members().to_vec()).unwrap();
            fixture.treasury = Treasury::new(&roster, &fixture.key).unwrap();
            let valve = Valve::new(&roster, CHAIN);
            let hosts = fixture.seeds.iter().map(|seed| seed.keys().host).collect();
            let deposits = (1..=80).map(|number| fixture.deposit(number, 1, u32::from(number % 2))).collect();
            Self { fixture, valve, hosts, deposits }
        })
    }
}

/// What a member's bitcoind says.
struct View {
    seen: Rc<Seen>,
    fee_rate: u64,
    is_up: bool,
    is_key_proven: bool,
}

impl BitcoinView for View {
    type Error = &'static str;

    fn confirmations(&self, outpoint: &OutPoint) -> Result<Option<u32>, &'static str> {
        self.is_up.then(|| self.seen.confirmations(outpoint)).ok_or("bitcoind is down")
    }

    fn fee_rate_sat_per_kvb(&self) -> Result<u64, &'static str> {
        self.is_up.then_some(self.fee_rate).ok_or("bitcoind is down")
    }

    fn is_key_proven(&self) -> Result<bool, &'static str> {
        Ok(self.is_key_proven)
    }
}

/// What came of many schedules: a test that never sees a reorganised replacement shows nothing.
#[derive(Default)]
struct Tally {
    fresh: AtomicU64,
    raised: AtomicU64,
    moved_to_other_coins: AtomicU64,
    split: AtomicU64,
    consolidated: AtomicU64,
    refreshed: AtomicU64,
    reorganised: AtomicU64,
    refused: AtomicU64,
    closed: AtomicU64,
    /// Batches that put a probe under the key, and all change.
    careful: AtomicU64,
    bold: AtomicU64,
    /// Careful batches that somebody votes for who has seen the key sign.
    late: AtomicU64,
}

fn count(tally: &AtomicU64, happened: bool) {
    tally.fetch_add(u64::from(happened), Ordering::Relaxed);
}

struct Schedule<'a> {
    federation: &'a Federation,
    tally: &'a Tally,
    rng: ChaCha20Rng,
    bitcoin: Bitcoin,
    views: Vec<View>,
    blocks: Vec<Block>,
    /// The books after each block. What members that read the chain later come to is compared at the end.
    books: Vec<Books>,
    /// How many blocks each member has read.
    read: Vec<usize>,
    time: u32,
    fee_rate: u64,
    deposits: Vec<TreasuryCoin>,
    claimed: usize,
    wanted: Vec<PegoutRequest>,
    requests: usize,
    notices: Vec<Notice>,
    /// When which amount first left, by the blocks.
    left: Vec<(u32, u64)>,
    /// In some federations the key never signs.
    key_works: bool,
    /// Whether Bitcoin has ever shown a signature of the key, on whatever branch.
    key_was_seen: bool,
}

impl<'a> Schedule<'a> {
    fn new(federation: &'a Federation, tally: &'a Tally, seed: u64) -> Self {
        Self {
            federation,
            tally,
            rng: ChaCha20Rng::seed_from_u64(seed),
            key_works: seed % 16 < 14,
            key_was_seen: false,
            bitcoin: Bitcoin::default(),
            views: (0..MEMBERS)
                .map(|_| View { seen: Rc::default(), fee_rate: RATE, is_up: true, is_key_proven: false })
                .collect(),
            blocks: Vec::new(),
            books: vec![Books::new(federation.valve.clone())],
            read: vec![0; MEMBERS],
            time: 1_000_000,
            fee_rate: RATE,
            deposits: Vec::new(),
            claimed: 0,
            wanted: Vec::new(),
            requests: 0,
            notices: Vec::new(),
            left: Vec::new(),
        }
    }

    fn treasury(&self) -> &'a Treasury {
        &self.federation.fixture.treasury
    }

    fn deposit(&mut self) {
        let amount_sat = self.rng.gen_range(200_000..30_000_000);
        let coin = TreasuryCoin { amount_sat, ..self.federation.deposits[self.deposits.len()].clone() };
        self.bitcoin.deposit(&coin);
        self.deposits.push(coin);
    }

    /// Somebody burns a part of the supply.
    fn request(&mut self) {
        let burned: u64 = self.wanted.iter().map(|request| request.amount_sat).sum();
        let free_sat = self.newest().supply_sat.saturating_sub(burned);
        if free_sat < 1_000 {
            return;
        }
        self.requests += 1;
        let number = u8::try_from(self.requests).unwrap();
        let amount_sat = match self.rng.gen_range(0..8) {
            0 => 1_000,
            1 => free_sat,
            _ => self.rng.gen_range(1_000..=free_sat.min(25_000_000)),
        };
        // Now and then two identical ones, what nobody can be paid, and a donation.
        let request = match self.rng.gen_range(0..10) {
            0 => request_to(number, amount_sat.min(500_000), script(PayoutKind::P2wpkh, 0)),
            1 => request_to(number, amount_sat.min(50_000), ScriptBuf::from_bytes(vec![0x51])),
            2 => request_to(number, amount_sat.min(50_000), self.treasury().output().script_pubkey().clone()),
            _ => request(number, amount_sat),
        };
        self.wanted.push(request);
    }

    fn newest(&self) -> &Books {
        self.books.last().unwrap()
    }

    /// A member looks at Bitcoin, or at a bitcoind that is behind or down.
    fn look(&mut self, member: usize) {
        let lag = if self.rng.gen_bool(0.85) { 0 } else { self.rng.gen_range(1..4) };
        let fee_rate = self.fee_rate * self.rng.gen_range(80..=125) / 100;
        let is_up = self.rng.gen_bool(0.95);
        let seen = self.bitcoin.behind(lag);
        // Some members learn late that the key has signed, and some forget it with their database.
        let shows_key = seen.shows_key() && self.rng.gen_bool(0.5);
        let is_key_proven = (self.views[member].is_key_proven && !self.rng.gen_bool(0.02)) || shows_key;
        self.views[member] = View { seen, fee_rate, is_up, is_key_proven };
    }

    fn catch_up(&mut self, member: usize) {
        self.read[member] = self.blocks.len();
    }

    fn is_current(&self, member: usize) -> bool {
        self.read[member] == self.blocks.len()
    }

    fn plan(&mut self, member: usize, notices: &[Notice]) -> Option<BatchPlan> {
        let (treasury, view) = (self.treasury(), &self.views[member]);
        let replaces = self.rng.gen_bool(0.7);
        let books = self.newest();
        let valve = books.valve.after_notices(notices);
        let released: Vec<_> = valve
            .decide(&books.queue(treasury))
            .into_iter()
            .filter(|decision| decision.verdict == crate::valve::Verdict::Release)
            .map(|decision| decision.request)
            .collect();
        if valve.closure().is_some() {
            return None;
        }
        let families: Vec<u32> = books.families().keys().copied().collect();
        let mut replaceable =
            families.iter().filter_map(|height| propose_replacement(view, treasury, &books.family(*height)).ok()?.ok());
        if let Some(replacement) = replaces.then(|| replaceable.next()).flatten() {
            return Some(replacement);
        }
        let mut pending = books.waiting();
        pending.retain(|request| released.contains(&request.outpoint));
        propose_batch(view, treasury, &books.unspent(), &pending).ok().flatten()
    }

    fn judge(&self, member: usize, batch: &Transaction, notices: &[Notice]) -> BatchVerdict {
        let (treasury, view, books) = (self.treasury(), &self.views[member], self.newest());
        let verdict = match books.family_spending(&batch.input[0].previous_output) {
            Some(family) => judge_replacement(view, treasury, batch, &family),
            None => judge_batch(view, treasury, batch, &books.unspent(), &books.waiting()),
        };
        if let BatchVerdict::Good(plan) = &verdict {
            let paid: Vec<_> = plan.paid.iter().map(|paid| paid.request).collect();
            if let Err(error) = books.valve.after_notices(notices).check_batch(&books.queue(treasury), &paid) {
                return BatchVerdict::Bad(error.to_string());
            }
        }
        verdict
    }

    /// A proposer makes a block, and those who are current vote.
    fn block(&mut self) {
        let proposer = self.rng.gen_range(0..MEMBERS);
        self.catch_up(proposer);
        let mut notices: Vec<Notice> = Vec::new();
        for notice in std::mem::take(&mut self.notices) {
            let valve = &self.newest().valve;
            if valve.check_notices(&[notices.as_slice(), std::slice::from_ref(&notice)].concat()).is_ok() {
                notices.push(notice);
            }
        }
        let plan = self.plan(proposer, &notices);
        let mut batch = plan.map(|plan| plan.transaction);
        if let Some(proposed) = &batch {
            let verdicts: Vec<BatchVerdict> = (0..MEMBERS)
                .filter(|member| self.is_current(*member))
                .map(|member| self.judge(member, proposed, &notices))
                .collect();
            for verdict in &verdicts {
                assert!(!matches!(verdict, BatchVerdict::Bad(_)), "an honest proposal is called wrong: {verdict:?}");
            }
            if verdicts.iter().filter(|verdict| matches!(verdict, BatchVerdict::Good(_))).count() < THRESHOLD {
                count(&self.tally.refused, true);
                batch = None;
            }
            // A member that has seen the key sign has no other reason to refuse what one proposes that has not.
            let judges = self.views.iter().any(|view| view.is_key_proven);
            let late = batch.is_some() && judges && !self.views[proposer].is_key_proven;
            count(&self.tally.late, late);
        }
        let view = &self.views[proposer];
        let pegins: Vec<TreasuryCoin> = self.deposits[self.claimed..]
            .iter()
            .take_while(|coin| view.seen.depth(&coin.outpoint.txid) >= PEGIN_DEPTH)
            .cloned()
            .collect();
        self.claimed += pegins.len();
        self.time += self.rng.gen_range(1..120);
        let requests = std::mem::take(&mut self.wanted);
        self.blocks.push(Block { time: self.time, pegins, requests, batch, notices });
        self.connect(proposer);
        // Some hear of it at once, others later.
        for member in 0..MEMBERS {
            if self.rng.gen_bool(0.8) {
                self.catch_up(member);
            }
        }
    }

    /// The proposer applies the block, the batch is signed and given to Bitcoin, and all that must hold is checked.
    fn connect(&mut self, proposer: usize) {
        let (treasury, block) = (self.treasury(), self.blocks.last().unwrap().clone());
        let mut after = self.newest().clone();
        let plan = after.apply(treasury, &block);
        self.books.push(after);
        let [.., before, books] = self.books.as_slice() else { unreachable!("there are books before the first block") };
        assert_eq!(books.reserve_sat(), books.liabilities_sat(treasury) + books.donated_sat());
        count(&self.tally.closed, books.valve.closure().is_some());
        let Some(plan) = plan else { return };
        let paid_sat = plan.paid.iter().map(|paid| paid.amount_sat).sum();
        let tally = match plan.kind {
            BatchKind::Fresh => {
                self.left.push((block.time, paid_sat));
                assert!(paid_sat <= before.reserve_sat() * 800 / 1_000);
                let recent = |(time, _): &&(u32, u64)| u64::from(block.time - time) < WINDOW_SECONDS;
                let window_sat: u64 = self.left.iter().filter(recent).map(|(_, amount_sat)| amount_sat).sum();
                assert!(window_sat <= WINDOW_LIMIT_SAT.min(before.reserve_sat() * 900 / 1_000));
                let treasury_coins = plan.inputs.len() > 1 && self.proposes_due(proposer, &plan);
                count(&self.tally.refreshed, treasury_coins);
                &self.tally.fresh
            }
            BatchKind::Replacement { family } => {
                let family = before.family(family);
                match family.outbid_rate_sat_per_kvb(&plan) {
                    Some(_) => &self.tally.raised,
                    None => &self.tally.moved_to_other_coins,
                }
            }
        };
        count(tally, true);
        let under_key = plan.change.iter().filter(|coin| coin.kind == CoinKind::Treasury);
        let (parts, under_key_sat) = (under_key.clone().count(), under_key.map(|coin| coin.amount_sat).sum::<u64>());
        if plan.kind == BatchKind::Fresh && under_key_sat > PROBE_SAT {
            let sure = self.views.iter().filter(|view| view.is_key_proven).count();
            assert!(sure >= THRESHOLD, "{under_key_sat} sat are put under a key that {sure} members have seen sign");
        }
        count(&self.tally.careful, parts < plan.change.len());
        count(&self.tally.bold, under_key_sat > PROBE_SAT);
        count(&self.tally.split, parts > 1);
        count(&self.tally.consolidated, plan.fee_sat == plan.relay_fee_sat && plan.inputs.len() > 2);
        let tries_key = plan.inputs.iter().any(|input| before.is_under_key(input));
        // Now and then the members are quicker with their own keys.
        let by_key = tries_key && self.key_works && self.rng.gen_bool(0.8);
        self.bitcoin.broadcast(&plan, if by_key { Signed::ByKey } else { Signed::ByMembers });
        self.check_conflicts(&plan);
    }

    /// Whether a batch moves a coin that is due in the eyes of who proposed it.
    fn proposes_due(&self, proposer: usize, plan: &BatchPlan) -> bool {
        let seen = &self.views[proposer].seen;
        let blocks = self.treasury().refresh_after_blocks().unwrap_or(u32::MAX);
        plan.inputs.iter().any(|input| seen.confirmations(input).is_some_and(|confirmed| confirmed >= blocks))
    }

    /// All batches that pay a request exclude each other, in every history, and spend the same coins of the books.
    fn check_conflicts(&self, plan: &BatchPlan) {
        let txid = plan.transaction.compute_txid();
        for batches in self.newest().families().values() {
            let pays = batches.iter().any(|batch| batch.transaction.compute_txid() == txid);
            for other in batches.iter().filter(|_| pays) {
                let other_txid = other.transaction.compute_txid();
                if other_txid != txid {
                    assert!(
                        self.bitcoin.exclude_each_other(&txid, &other_txid),
                        "{txid} and {other_txid} can both be paid"
                    );
                    assert_eq!(plan.change_sat(), other.change_sat());
                }
            }
        }
    }

    /// Whatever the best chain is: nothing is paid twice, and the coins in it are worth all deposits less what was burned
    /// for the payments in it.
    fn check_bitcoin(&self) {
        let best = self.bitcoin.best();
        let deposits = self.deposits.iter().filter(|coin| best.is_confirmed(&coin.outpoint.txid));
        let mut expected_sat: u64 = deposits.map(|coin| coin.amount_sat).sum();
        let mut paid = BTreeSet::new();
        for batch in self.newest().families().values().flatten() {
            if best.is_confirmed(&batch.transaction.compute_txid()) {
                for payment in &batch.paid {
                    assert!(paid.insert(payment.request), "{} is paid twice", payment.request);
                    expected_sat -= payment.amount_sat;
                }
            }
        }
        assert_eq!(best.reserve_sat(), expected_sat, "coins in the chain");
        // A key that has not signed holds no more than a probe, neither by the books nor on Bitcoin.
        if !self.key_was_seen {
            assert!(best.under_key_sat() <= PROBE_SAT, "{} sat under an unproven key", best.under_key_sat());
            assert!(self.newest().under_key_sat() <= PROBE_SAT);
        }
        // With every claimed deposit in it, no chain holds less than is owed.
        if self.deposits[..self.claimed].iter().all(|coin| best.is_confirmed(&coin.outpoint.txid)) {
            assert!(best.reserve_sat() >= self.newest().liabilities_sat(self.treasury()));
        }
    }

    fn notice(&mut self) {
        let kind = if self.rng.gen_bool(0.5) { NoticeKind::Halt } else { NoticeKind::Resume };
        let member = self.rng.gen_range(0..MEMBERS);
        let height = self.newest().valve.height();
        let index = MemberIndex(u16::try_from(member).unwrap());
        self.notices.push(Notice::sign(&self.federation.hosts[member], &CHAIN, index, kind, height));
    }

    fn mine(&mut self, chance: f64) {
        let mut picks = self.rng.clone();
        self.bitcoin.mine(|| picks.gen_bool(chance), &mut self.rng);
        self.key_was_seen |= self.bitcoin.best().shows_key();
    }

    fn step(&mut self) {
        match self.rng.gen_range(0..20) {
            0 => self.deposit(),
            1..5 => self.request(),
            5..9 => self.mine(0.5),
            9 => {
                let depth = self.rng.gen_range(1..=self.bitcoin.height().max(1));
                let before = self.bitcoin.best();
                self.bitcoin.reorganise(depth);
                let (after, families) = (self.bitcoin.best(), self.newest().families());
                let was_undone = |batch: &BatchPlan| {
                    let txid = batch.transaction.compute_txid();
                    before.is_confirmed(&txid) && !after.is_confirmed(&txid)
                };
                count(&self.tally.reorganised, families.values().flatten().any(was_undone));
                // The other branch is the longer one.
                (0..=depth).for_each(|_| self.mine(0.5));
            }
            10 | 11 => self.fee_rate = 1_000 * self.rng.gen_range(1..30),
            12 if self.rng.gen_bool(0.5) => self.notice(),
            _ => {
                (0..MEMBERS).for_each(|member| self.look(member));
                self.block();
            }
        }
    }

    /// Everybody is well again: whatever can be paid is paid, by whichever batch.
    fn settle(&mut self) {
        let family_confirmed = |schedule: &Self| {
            let best = schedule.bitcoin.best();
            let families = schedule.newest().families().clone();
            families
                .values()
                .all(|batches| batches.iter().any(|batch| best.is_confirmed(&batch.transaction.compute_txid())))
        };
        for member in 0..MEMBERS {
            let index = MemberIndex(u16::try_from(member).unwrap());
            let height = self.newest().valve.height();
            self.notices.push(Notice::sign(&self.federation.hosts[member], &CHAIN, index, NoticeKind::Resume, height));
        }
        self.fee_rate = RATE;
        // So many blocks without a batch are more than a window: nothing else will leave.
        let mut idle = 0;
        for _ in 0..60 {
            let seen = self.bitcoin.best();
            for member in 0..MEMBERS {
                let is_key_proven = self.views[member].is_key_proven || seen.shows_key();
                self.views[member] = View { seen: seen.clone(), fee_rate: self.fee_rate, is_up: true, is_key_proven };
                self.catch_up(member);
            }
            self.time += 300;
            self.block();
            self.mine(1.0);
            idle = if self.blocks.last().is_some_and(|block| block.batch.is_some()) { 0 } else { idle + 1 };
            if idle > 3 && family_confirmed(self) {
                break;
            }
        }
        assert!(family_confirmed(self), "a batch is lost");
        if idle > 3 {
            self.check_nothing_can_be_paid();
        }
        // A member that lost everything, and one that was never there, read the chain and come to the same.
        let mut late = Books::new(self.federation.valve.clone());
        for block in &self.blocks {
            late.apply(self.treasury(), block);
        }
        assert_eq!(&late, self.newest());
        assert_eq!(late.valve.save(), self.newest().valve.save());
    }

    /// A key that never signs, or signs late, makes nobody wait for ever.
    fn check_nothing_can_be_paid(&self) {
        let (treasury, books) = (self.treasury(), self.newest());
        let decisions = books.valve.decide(&books.queue(treasury)).into_iter();
        let released: BTreeSet<_> = decisions
            .filter(|decision| decision.verdict == crate::valve::Verdict::Release)
            .map(|decision| decision.request)
            .collect();
        let mut pending = books.waiting();
        pending.retain(|request| books.valve.closure().is_none() && released.contains(&request.outpoint));
        let proven = self.views.iter().any(|view| view.is_key_proven);
        let key = if proven { KeyState::Proven } else { KeyState::Unproven };
        let coins = books.unspent();
        assert_eq!(plan_batch(treasury, Holdings::from(&coins).with_key(key), &pending, RATE), None);
    }

    fn run(mut self) {
        (0..self.rng.gen_range(1..13)).for_each(|_| self.deposit());
        (0..3).for_each(|_| self.mine(1.0));
        for _ in 0..self.rng.gen_range(10..50) {
            self.step();
            self.check_bitcoin();
        }
        self.settle();
        self.check_bitcoin();
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_nothing_is_paid_twice_and_nothing_is_lost() {
    let (first, count) = (number_from("AQUIFER_PEG_SEED", 0), number_from("AQUIFER_PEG_SCHEDULES", SCHEDULES));
    let (tally, next) = (Tally::default(), AtomicU64::new(first));
    let federations = [Federation::any(false), Federation::any(true)];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let schedule = Schedule::new(federations[usize::try_from(seed % 2).unwrap()], &tally, seed);
                    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| schedule.run()));
                    assert!(outcome.is_ok(), "schedule {seed} failed: AQUIFER_PEG_SEED={seed} AQUIFER_PEG_SCHEDULES=1");
                }
            });
        }
    });
    let Tally {
        fresh,
        raised,
        moved_to_other_coins,
        split,
        consolidated,
        refreshed,
        reorganised,
        refused,
        closed,
        careful,
        bold,
        late,
    } = tally;
    let batches = [fresh, raised, moved_to_other_coins, split, consolidated, refreshed, careful, bold, late];
    let seen = batches.into_iter().chain([reorganised, refused, closed]);
    let seen: Vec<u64> = seen.map(AtomicU64::into_inner).collect();
    assert!(count < 1_000 || seen.iter().all(|count| *count > 0), "not everything has happened: {seen:?}");
}
