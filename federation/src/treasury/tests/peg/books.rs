//! What the final blocks say, kept as a ledger keeps it.

use std::collections::BTreeSet;

use super::super::*;
use crate::valve::{BlockFacts, Notice, Payment, Request, Valve};

/// A final block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) time: u32,
    pub(super) pegins: Vec<TreasuryCoin>,
    pub(super) requests: Vec<PegoutRequest>,
    pub(super) batch: Option<Transaction>,
    pub(super) notices: Vec<Notice>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requested {
    request: PegoutRequest,
    seconds: u64,
    family: Option<u32>,
}

/// One member's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) valve: Valve,
    /// Every alternative of every coin.
    coins: BTreeMap<OutPoint, TreasuryCoin>,
    /// By which family a coin of the books is spent.
    spent: BTreeMap<OutPoint, u32>,
    requests: Vec<Requested>,
    families: BTreeMap<u32, Vec<BatchPlan>>,
    pub(super) supply_sat: u64,
    donated_sat: u64,
}

impl Books {
    pub(super) fn new(valve: Valve) -> Self {
        Self {
            valve,
            coins: BTreeMap::new(),
            spent: BTreeMap::new(),
            requests: Vec::new(),
            families: BTreeMap::new(),
            supply_sat: 0,
            donated_sat: 0,
        }
    }

    pub(super) fn unspent(&self) -> Vec<TreasuryCoin> {
        self.coins.values().filter(|coin| !self.spent.contains_key(&coin.booked_as)).cloned().collect()
    }

    /// What lies under the treasury key: of alternatives only one counts.
    pub(super) fn under_key_sat(&self) -> u64 {
        let coins =
            self.coins.values().filter(|coin| coin.kind == CoinKind::Treasury && coin.outpoint == coin.booked_as);
        coins.filter(|coin| !self.spent.contains_key(&coin.outpoint)).map(|coin| coin.amount_sat).sum()
    }

    /// Whether a coin lies under the treasury key.
    pub(super) fn is_under_key(&self, outpoint: &OutPoint) -> bool {
        self.coins.get(outpoint).is_some_and(|coin| coin.kind == CoinKind::Treasury)
    }

    /// What the coins are worth: of alternatives only one counts.
    pub(super) fn reserve_sat(&self) -> u64 {
        let unspent = self.coins.values().filter(|coin| coin.outpoint == coin.booked_as);
        unspent.filter(|coin| !self.spent.contains_key(&coin.outpoint)).map(|coin| coin.amount_sat).sum()
    }

    /// What is owed.
    pub(super) fn liabilities_sat(&self, treasury: &Treasury) -> u64 {
        let waiting = self.requests.iter().filter(|requested| requested.family.is_none());
        let owed = waiting.filter(|requested| park_reason(treasury, &requested.request) != Some(ParkReason::Donation));
        owed.fold(self.supply_sat, |sum, requested| sum + requested.request.amount_sat)
    }

    pub(super) fn donated_sat(&self) -> u64 {
        self.donated_sat
    }

    /// Waiting requests as the valve sees them.
    pub(super) fn queue(&self, treasury: &Treasury) -> Vec<Request> {
        let waiting = self.requests.iter().filter(|requested| requested.family.is_none());
        waiting
            .filter(|requested| park_reason(treasury, &requested.request).is_none())
            .filter_map(|requested| Request::of(&requested.request, requested.seconds))
            .collect()
    }

    pub(super) fn waiting(&self) -> Vec<PegoutRequest> {
        let waiting = self.requests.iter().filter(|requested| requested.family.is_none());
        waiting.map(|requested| requested.request.clone()).collect()
    }

    /// Batches by family, oldest first.
    pub(super) fn families(&self) -> &BTreeMap<u32, Vec<BatchPlan>> {
        &self.families
    }

    /// The family that spends this output's coin.
    pub(super) fn family_spending(&self, outpoint: &OutPoint) -> Option<Family> {
        let coin = self.coins.get(outpoint)?;
        self.spent.get(&coin.booked_as).map(|height| self.family(*height))
    }

    pub(super) fn family(&self, height: u32) -> Family {
        let batches = &self.families[&height];
        let change = batches[0].change.clone();
        let is_spent = change.iter().any(|coin| self.spent.contains_key(&coin.booked_as));
        let request_of = |outpoint: &elements::OutPoint| {
            let mut requests = self.requests.iter().map(|requested| &requested.request);
            requests.find(|request| request.outpoint == *outpoint).unwrap().clone()
        };
        Family {
            height,
            coins: self
                .coins
                .values()
                .filter(|coin| self.spent.get(&coin.booked_as) == Some(&height))
                .cloned()
                .collect(),
            requests: batches[0].paid.iter().map(|paid| request_of(&paid.request)).collect(),
            change,
            change_use: if is_spent { ChangeUse::Spent } else { ChangeUse::Unspent },
            batches: batches
                .iter()
                .map(|batch| FamilyBatch { inputs: batch.inputs.clone(), fee_sat: batch.fee_sat })
                .collect(),
        }
    }

    /// Takes a final block. Whatever a member's bitcoind says, it must pass what the chain alone shows.
    pub(super) fn apply(&mut self, treasury: &Treasury, block: &Block) -> Option<BatchPlan> {
        let height = self.valve.height() + 1;
        let plan = block.batch.as_ref().map(|batch| self.check(treasury, batch));
        let mut paid = Vec::new();
        if let Some(plan) = &plan {
            let ids: Vec<_> = plan.paid.iter().map(|paid| paid.request).collect();
            self.valve.after_notices(&block.notices).check_batch(&self.queue(treasury), &ids).unwrap();
            let family = match plan.kind {
                BatchKind::Fresh => height,
                BatchKind::Replacement { family } => family,
            };
            for paid in &plan.paid {
                let mut requests = self.requests.iter_mut();
                let requested = requests.find(|requested| requested.request.outpoint == paid.request).unwrap();
                assert!(requested.family.is_none_or(|payer| payer == family), "a second family pays {}", paid.request);
                requested.family = Some(family);
            }
            for input in &plan.inputs {
                let spender = self.spent.insert(self.coins[input].booked_as, family);
                assert!(spender.is_none_or(|spender| spender == family), "a second family spends {input}");
            }
            self.coins.extend(plan.change.iter().map(|coin| (coin.outpoint, coin.clone())));
            self.families.entry(family).or_default().push(plan.clone());
            paid.extend(plan.paid.iter().map(|paid| Payment { request: paid.request, amount_sat: paid.amount_sat }));
        }
        for coin in &block.pegins {
            self.supply_sat += coin.amount_sat;
            self.coins.insert(coin.outpoint, coin.clone());
        }
        for request in &block.requests {
            self.supply_sat -= request.amount_sat;
            if park_reason(treasury, request) == Some(ParkReason::Donation) {
                self.donated_sat += request.amount_sat;
            }
            let requested = Requested { request: request.clone(), seconds: u64::from(block.time), family: None };
            self.requests.push(requested);
        }
        let facts = BlockFacts {
            height,
            median_time_past: block.time,
            paid,
            notices: block.notices.clone(),
            reserve_sat: self.reserve_sat(),
            liabilities_sat: self.liabilities_sat(treasury),
        };
        self.valve.apply_block(&facts).unwrap();
        plan
    }

    fn check(&self, treasury: &Treasury, batch: &Transaction) -> BatchPlan {
        let first = batch.input[0].previous_output;
        let bounds = FeeRateBounds::HARD_LIMITS;
        match self.family_spending(&first) {
            Some(family) => check_replacement(treasury, &family, batch, &bounds).unwrap(),
            None => {
                let spent: BTreeSet<OutPoint> = batch.input.iter().map(|input| input.previous_output).collect();
                let (all, mut at_hand) = (self.unspent(), self.unspent());
                at_hand.retain(|coin| spent.contains(&coin.outpoint));
                let holdings = Holdings::from(&all).restricted_to(&at_hand);
                check_batch(treasury, holdings, &self.waiting(), batch, &bounds).unwrap()
            }
        }
    }
}
