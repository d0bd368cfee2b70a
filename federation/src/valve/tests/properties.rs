//! Random schedules of requests, batches, replacements, deposits, losses, halts, restarts and quiet times, and what must
//! hold in all of them.

use std::ops::Range;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};

use super::*;

/// One thing that happens. Numbers that choose something are reduced to what there is.
#[derive(Clone, Debug)]
enum Event {
    /// A final block, so many seconds after the last. Its batch pays the released requests whose bit is set.
    Block { seconds: u32, pays: u64 },
    /// Somebody pegs out.
    Request { amount_sat: u64, kind: PayoutKind },
    /// A deposit is claimed.
    Deposit { amount_sat: u64 },
    /// Coins are lost, or found again.
    Books { shortfall: bool },
    /// A member signs a notice for the next block.
    Notice { member: u16, kind: NoticeKind },
    /// An old notice is brought up again.
    Replay { which: u16 },
    /// The last batch is to be replaced.
    Replace,
    /// A member stops and starts again with what it saved.
    Restart,
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 300u64..2_000, 3 => 2_000u64..9_000, 1 => 9_000u64..12_000, 1 => Just(10_000u64)]
}

fn kinds() -> impl Strategy<Value = PayoutKind> {
    prop_oneof![Just(PayoutKind::P2tr), Just(PayoutKind::P2pkh), Just(PayoutKind::P2wpkh)]
}

fn notice_kinds() -> impl Strategy<Value = NoticeKind> {
    prop_oneof![1 => Just(NoticeKind::Halt), 3 => Just(NoticeKind::Resume)]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (prop_oneof![8 => 0u32..60, 1 => 60u32..3_000], any::<u64>())
            .prop_map(|(seconds, pays)| Event::Block { seconds, pays }),
        8 => (amounts(), kinds()).prop_map(|(amount_sat, kind)| Event::Request { amount_sat, kind }),
        1 => (0u64..20_000).prop_map(|amount_sat| Event::Deposit { amount_sat }),
        1 => any::<bool>().prop_map(|shortfall| Event::Books { shortfall }),
        2 => (0u16..8, notice_kinds()).prop_map(|(member, kind)| Event::Notice { member, kind }),
        1 => any::<u16>().prop_map(|which| Event::Replay { which }),
        1 => Just(Event::Replace),
        1 => Just(Event::Restart),
    ]
}

fn settings() -> impl Strategy<Value = ValveSettings> {
    (1u64..3_000, 200u32..=1_000, 100u32..=1_000, 0u64..50).prop_map(
        |(window_seconds, window, batch, delay_seconds)| {
            let mut settings = plain();
            settings.window_seconds = window_seconds;
            settings.window_share_permille = window;
            settings.batch_share_permille = batch.min(window);
            settings.delays[0].delay_seconds = delay_seconds;
            settings.delays.push(DelayStep { from_amount_sat: 5_000, delay_seconds: delay_seconds * 5 });
            settings
        },
    )
}

fn check<S: Strategy>(seed: u64, cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(&strategy, test) {
        panic!("seed {seed}: {error}");
    }
}

/// A batch that was paid: when, what was charged, and the reserve before it.
struct Paid {
    time: u64,
    charged_sat: u64,
    reserve_sat: u64,
}

/// A federation in whose chain anything happens, as one member sees it; another one restarts now and then.
struct World {
    chain: Chain,
    restarted: Valve,
    pending: Vec<Request>,
    number: u32,
    notices: Vec<Notice>,
    old_notices: Vec<Notice>,
    last_batch: Vec<Request>,
    replace: bool,
    history: Vec<Paid>,
    /// A closed block let nothing through, so many times.
    closed: usize,
}

impl World {
    fn new(count: usize, settings: ValveSettings) -> Self {
        let chain = Chain::new(count, settings, 30_000);
        Self {
            restarted: chain.valve.clone(),
            chain,
            pending: Vec::new(),
            number: 0,
            notices: Vec::new(),
            old_notices: Vec::new(),
            last_batch: Vec::new(),
            replace: false,
            history: Vec::new(),
            closed: 0,
        }
    }

    fn play(&mut self, event: Event) {
        let count = u16::try_from(self.chain.hosts.len()).unwrap();
        match event {
            Event::Block { seconds, pays } => self.block(seconds, pays),
            Event::Request { amount_sat, kind } => {
                self.number += 1;
                let requested = Request { kind, ..request(self.number, amount_sat, self.chain.now()) };
                self.pending.push(requested);
            }
            Event::Deposit { amount_sat } => self.chain.reserve_sat += amount_sat,
            Event::Books { shortfall } => self.chain.liabilities_sat = if shortfall { u64::MAX } else { 0 },
            Event::Notice { member, kind } => {
                let notice = self.chain.notice(usize::from(member % count), kind);
                self.notices.push(notice);
            }
            Event::Replay { which } => {
                if let Some(last) = self.old_notices.len().checked_sub(1) {
                    self.notices.push(self.old_notices[usize::from(which) % (last + 1)].clone());
                }
            }
            Event::Replace => self.replace = true,
            Event::Restart => {
                self.restarted = Valve::load(&self.chain.roster, CHAIN, &self.restarted.save()).unwrap();
            }
        }
    }

    fn block(&mut self, seconds: u32, pays: u64) {
        // Notices as they come, good or not: a final block is taken whatever it has.
        let notices = std::mem::take(&mut self.notices);
        let judge = self.chain.valve.after_notices(&notices);
        let decisions = judge.decide(&self.pending);
        let released: Vec<Request> = self.with_verdict(&decisions, |verdict| *verdict == Verdict::Release);
        let waiting: Vec<Request> = self.with_verdict(&decisions, |verdict| *verdict != Verdict::Release);
        let replace = std::mem::take(&mut self.replace);
        let mut paid: Vec<Request> = if replace { self.last_batch.clone() } else { Vec::new() };
        let again = paid.len();
        paid.extend(released.iter().enumerate().filter(|(i, _)| pays >> (i % 64) & 1 == 1).map(|(_, r)| *r));
        let names: Vec<OutPoint> = paid.iter().map(|request| request.outpoint).collect();
        if judge.closure().is_some() {
            assert!(released.is_empty());
            for request in self.pending.iter().chain(&self.last_batch) {
                assert!(judge.check_batch(&self.pending, &[request.outpoint]).is_err());
            }
            self.closed += 1;
            paid.clear();
        } else {
            // Exactly what is released passes, with what was charged before.
            assert_eq!(judge.check_batch(&self.pending, &names), Ok(()));
            for stray in &waiting {
                let with_stray = [&names[..], &[stray.outpoint]].concat();
                assert!(judge.check_batch(&self.pending, &with_stray).is_err());
            }
        }
        let charged_sat = paid.iter().skip(again).map(|request| request.amount_sat).sum();
        let reserve_sat = self.chain.reserve_sat;
        self.chain.reserve_sat -= charged_sat;
        self.chain.time += seconds;
        self.chain.block_with(&paid, &notices);
        if !paid.is_empty() {
            self.history.push(Paid { time: self.chain.now(), charged_sat, reserve_sat });
            self.last_batch.clone_from(&paid);
        }
        self.pending.retain(|request| !names.contains(&request.outpoint) || paid.is_empty());
        self.old_notices.extend(notices);

        self.restarted.apply_block(self.chain.blocks.last().unwrap()).unwrap();
        assert_eq!(self.restarted, self.chain.valve);
        assert_eq!(self.restarted.save(), self.chain.valve.save());
        assert_eq!(judge.closure().is_some_and(is_halt), self.chain.valve.closure().is_some_and(is_halt));
    }

    fn with_verdict(&self, decisions: &[Decision], wanted: impl Fn(&Verdict) -> bool) -> Vec<Request> {
        let find = |decision: &Decision| self.pending.iter().find(|r| r.outpoint == decision.request).copied();
        decisions.iter().filter(|decision| wanted(&decision.verdict)).filter_map(find).collect()
    }

    /// Every window that ends with a payment, added up one by one. A window that ends elsewhere contains no more.
    fn check_all_windows(&self) {
        let settings = &self.chain.valve.settings;
        for (position, last) in self.history.iter().enumerate() {
            let in_window = |paid: &&Paid| paid.time + settings.window_seconds > last.time;
            let sum: u64 = self.history[..=position].iter().filter(in_window).map(|paid| paid.charged_sat).sum();
            assert!(sum <= settings.window_limit_sat, "{sum}");
            assert!(
                sum * 1_000 <= last.reserve_sat * u64::from(settings.window_share_permille) || last.charged_sat == 0
            );
            assert!(last.charged_sat * 1_000 <= last.reserve_sat * u64::from(settings.batch_share_permille));
        }
    }

    /// Somebody who was not there makes the same of the chain.
    fn check_replay(&self) {
        let mut valve = Valve::new(&self.chain.roster, CHAIN);
        for block in &self.chain.blocks {
            valve.apply_block(block).unwrap();
        }
        assert_eq!(valve.save(), self.chain.valve.save());
    }
}

fn is_halt(closure: Closure) -> bool {
    matches!(closure, Closure::Halted { .. })
}

#[test]
fn no_window_exceeds_a_limit_and_all_members_agree() {
    let closed = std::cell::Cell::new(0);
    let paid = std::cell::Cell::new(0);
    let counts = prop_oneof![Just(1usize), Just(4), Just(7)];
    check(20_260_906, 600, (counts, settings(), vec(events(), 1..150)), |(count, settings, events)| {
        let mut world = World::new(count, settings);
        for event in events {
            world.play(event);
        }
        world.check_all_windows();
        world.check_replay();
        closed.set(closed.get() + world.closed);
        paid.set(paid.get() + world.history.len());
        Ok(())
    });
    // The schedules are not idle.
    assert!(closed.get() > 1_000 && paid.get() > 1_000, "{} closed, {} paid", closed.get(), paid.get());
}

/// Notices by these members, true or brought up again, in random blocks.
fn shower(chain: &mut Chain, members: &Range<usize>, draws: &[(u16, u16, NoticeKind)], old: &mut Vec<Notice>) {
    for (member, which, kind) in draws {
        let member = members.start + usize::from(*member) % members.len();
        let mut notices = vec![chain.notice(member, *kind)];
        if !old.is_empty() {
            notices.push(old[usize::from(*which) % old.len()].clone());
        }
        old.extend(notices.clone());
        chain.block(1, &[], &notices);
    }
}

#[test]
fn too_few_members_neither_close_nor_open_the_valve() {
    let counts = prop_oneof![Just(4usize), Just(7), Just(10), Just(15)];
    let draws = vec((any::<u16>(), any::<u16>(), prop_oneof![Just(NoticeKind::Halt), Just(NoticeKind::Resume)]), 0..40);
    check(7, 150, (counts, draws), |(count, draws)| {
        let mut chain = Chain::new(count, plain(), 1_000_000);
        let threshold = chain.roster.threshold();
        let mut old = Vec::new();
        shower(&mut chain, &(0..count - threshold), &draws, &mut old);
        assert_eq!(chain.valve.closure(), None);
        // Now enough of them, and then k−1 who may say what they like.
        chain.block(1, &[], &chain.notices(0..count, NoticeKind::Halt));
        let closure = chain.valve.closure();
        assert!(closure.is_some_and(is_halt));
        shower(&mut chain, &(0..threshold - 1), &draws, &mut old);
        assert_eq!(chain.valve.closure(), closure);
        chain.block(1, &[], &chain.notices(0..count, NoticeKind::Resume));
        let halters = chain.notices(count - threshold..count, NoticeKind::Halt);
        chain.block(1, &[], &halters[..count - threshold]);
        assert_eq!(chain.valve.closure(), None);
        Ok(())
    });
}

/// Requests that stay until they are paid, each with its amount, and a crowd that asks for small amounts with every block
/// and gives up at once: what waits stays finite, and everything that could overtake tries to.
struct Queue {
    chain: Chain,
    pending: Vec<Request>,
    number: u32,
    /// The oldest request that is due, and since when it is that.
    oldest: (Option<OutPoint>, u64),
}

impl Queue {
    const STAYS: [u8; 32] = [1; 32];

    fn ask(&mut self, amount_sat: u64, txid: [u8; 32]) {
        self.number += 1;
        let outpoint = OutPoint::new(Txid::from_byte_array(txid), self.number);
        self.pending.push(Request { outpoint, ..request(self.number, amount_sat, self.chain.now()) });
    }

    /// A block ten seconds later that pays all it may. Gives the number of those paid that stayed.
    fn block(&mut self) -> usize {
        let (now, settings) = (self.chain.now(), &self.chain.valve.settings);
        let due = |r: &&Request| r.requested_seconds + settings.delay_seconds(r.amount_sat) <= now;
        let first = self.pending.iter().filter(due).min_by_key(|r| (r.requested_seconds, r.outpoint));
        let first = first.map(|r| r.outpoint);
        if first.is_none() || first != self.oldest.0 {
            self.oldest = (first, now);
        }
        let longest = settings.window_seconds + settings.window_seconds.div_ceil(288) + 20;
        assert!(now - self.oldest.1 <= longest, "{first:?} waits for too long");
        let decisions = self.chain.valve.decide(&self.pending);
        let released: BTreeSet<OutPoint> =
            decisions.iter().filter(|d| d.verdict == Verdict::Release).map(|d| d.request).collect();
        let paid: Vec<Request> = self.pending.iter().copied().filter(|r| released.contains(&r.outpoint)).collect();
        let stays = |r: &Request| r.outpoint.txid.to_byte_array() == Self::STAYS;
        self.pending.retain(|r| !released.contains(&r.outpoint) && stays(r));
        self.chain.block(10, &paid, &[]);
        paid.into_iter().filter(stays).count()
    }
}

#[test]
fn what_fits_leaves_within_one_window_of_being_the_oldest() {
    // Amounts up to the whole limit, and a reserve of which the shares do not matter.
    let amounts = vec(330u64..=10_000, 1..20);
    let crowd = vec(330u64..3_000, 0..4);
    check(11, 200, (1u64..2_000, amounts, crowd), |(window_seconds, amounts, crowd)| {
        let mut settings = ValveSettings { window_seconds, ..plain() };
        settings.delays.push(DelayStep { from_amount_sat: 6_000, delay_seconds: 300 });
        let chain = Chain::new(4, settings, u64::MAX / 2);
        let mut queue = Queue { oldest: (None, chain.now()), chain, pending: Vec::new(), number: 0 };
        let (mut to_come, mut left) = (amounts.iter(), amounts.len());
        while left > 0 {
            to_come.next().into_iter().for_each(|amount_sat| queue.ask(*amount_sat, Queue::STAYS));
            crowd.iter().for_each(|amount_sat| queue.ask(*amount_sat, [0; 32]));
            left -= queue.block();
        }
        Ok(())
    });
}
