//! Figures in the text format of OpenMetrics.

use aquifer_federation::valve::NoticeKind;
use prometheus_client::encoding::{EncodeCounterValue, EncodeGaugeValue, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::figures::Figures;
use super::requests::Requests;

/// Takes figures by their names. Descriptions get their full stop from the encoder.
struct Sheet(Registry);

impl Sheet {
    fn gauge<N>(&mut self, name: &str, help: &str, value: N)
    where
        N: EncodeGaugeValue + std::fmt::Debug + Send + Sync + 'static,
    {
        self.0.register(name, help, ConstGauge::new(value));
    }

    fn counter<N>(&mut self, name: &str, help: &str, value: N)
    where
        N: EncodeCounterValue + std::fmt::Debug + Send + Sync + 'static,
    {
        self.0.register(name, help, ConstCounter::new(value));
    }

    fn gauges(&mut self, name: &str, help: &str, label: &'static str, values: impl Iterator<Item = (String, i64)>) {
        let family = Family::<[(&'static str, String); 1], Gauge>::default();
        for (of, value) in values {
            family.get_or_create(&[(label, of)]).set(value);
        }
        self.0.register(name, help, family);
    }

    fn counters(&mut self, name: &str, help: &str, label: &'static str, values: impl Iterator<Item = (String, u64)>) {
        let family = Family::<[(&'static str, String); 1], Counter>::default();
        for (of, value) in values {
            family.get_or_create(&[(label, of)]).inc_by(value);
        }
        self.0.register(name, help, family);
    }
}

/// The whole text.
pub(super) fn encode(figures: &Figures, requests: &Requests) -> Result<String, std::fmt::Error> {
    let mut sheet = Sheet(Registry::with_prefix("aquifer"));
    chain(&mut sheet, figures);
    members(&mut sheet, figures);
    parent_and_oversight(&mut sheet, figures);
    peg(&mut sheet, figures);
    sheet.0.register("http_requests", "Answered requests over HTTP", requests.family());
    let mut encoded = String::new();
    text::encode(&mut encoded, &sheet.0)?;
    Ok(encoded)
}

fn chain(sheet: &mut Sheet, figures: &Figures) {
    let Figures { info, pace, .. } = figures;
    let labels = vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("member", info.member.clone()),
        ("chain", info.chain.clone()),
    ];
    sheet.0.register("build", "This member", Info::new(labels));
    sheet.gauge("block_height", "Height of the last final block", info.height);
    sheet.gauge("block_time_seconds", "Time of the last final block, since 1970", figures.tip_time_s);
    sheet.gauge("round", "Round of the height that is being agreed on", info.round);
    sheet.counter("heights_agreed", "Heights that this member agreed on", pace.heights);
    sheet.counter("extra_rounds", "Rounds beyond the first of each height", pace.extra_rounds);
    let (deciding_s, signing_s) = (pace.deciding.as_secs_f64(), pace.signing.as_secs_f64());
    sheet.counter("deciding_seconds", "From the start of each height to its decision", deciding_s);
    sheet.counter("signing_seconds", "From each decision to the last signature that was needed", signing_s);
    sheet.gauge("mempool_transactions", "Transactions that wait for a block", info.mempool_transactions);
    sheet.gauge(
        "min_fee_rate_sat_per_kvb",
        "Lowest fee rate that is accepted, in satoshi per 1,000 discounted vbytes",
        info.min_fee_rate_sat_per_kvb,
    );
    sheet.gauge("alarms", "What an operator must look at", info.alarms.len());
    if let Some(index) = &figures.info.index {
        sheet.gauge("index_height", "Last block in the index", index.height);
        sheet.gauge("index_ready", "Whether the index answers", i64::from(index.is_ready));
    }
}

fn members(sheet: &mut Sheet, figures: &Figures) {
    let Figures { info, members, .. } = figures;
    let each = || members.iter();
    sheet.counters(
        "blocks_proposed",
        "Blocks by the member that proposed them, of those that were agreed on here",
        "member",
        each().map(|member| (member.name.clone(), member.proposed)),
    );
    sheet.counters(
        "blocks_signed",
        "Signatures in the witnesses of blocks; a witness takes those of the first members that have signed",
        "member",
        each().map(|member| (member.name.clone(), member.signed)),
    );
    let peers = || info.peers.iter();
    sheet.gauges(
        "peer_connected",
        "Whether there is a connection to another member",
        "member",
        peers().map(|peer| (peer.name.clone(), peer.connected.into())),
    );
    sheet.gauges(
        "peer_height",
        "Last final height that another member told",
        "member",
        peers().map(|peer| (peer.name.clone(), peer.height.into())),
    );
    sheet.gauges(
        "peer_silent_seconds",
        "Time since anything came from another member",
        "member",
        each().filter_map(|member| Some((member.name.clone(), whole(member.silent?.as_secs())))),
    );
    sheet.gauges(
        "member_halts",
        "Whether a member has said halt to peg-outs",
        "member",
        info.valve.positions.iter().map(|at| (at.name.clone(), i64::from(at.position == NoticeKind::Halt))),
    );
}

fn parent_and_oversight(sheet: &mut Sheet, figures: &Figures) {
    let info = &figures.info;
    sheet.gauge("parent_healthy", "Whether bitcoind is followed", i64::from(info.parent_height.is_some()));
    if let Some(height) = info.parent_height {
        sheet.gauge("parent_height", "Height of the parent chain", height);
    }
    let oversight = &info.oversight;
    let auditors = || oversight.auditors.iter().map(|auditor| (auditor.key.to_string(), auditor));
    sheet.gauge(
        "auditors_required",
        "Auditors that must have passed a block before its batch is signed",
        oversight.auditors_required,
    );
    sheet.gauges(
        "auditor_height",
        "Block up to which an auditor has passed the chain",
        "auditor",
        auditors().filter_map(|(key, auditor)| Some((key, auditor.passed?.into()))),
    );
    sheet.gauges(
        "auditor_objects",
        "Whether an auditor objects",
        "auditor",
        auditors().map(|(key, auditor)| (key, auditor.objection.is_some().into())),
    );
    if let Some(elementsd) = &oversight.elementsd {
        let healthy = elementsd.status.problem.is_none() && elementsd.status.disagreement.is_none();
        sheet.gauge("elementsd_healthy", "Whether elementsd follows and agrees", i64::from(healthy));
        if let Some(height) = elementsd.status.follows {
            sheet.gauge("elementsd_height", "Block up to which elementsd follows", height);
        }
    }
    sheet.gauge(
        "batches_waiting",
        "Final peg-out batches that this member has not signed",
        oversight.waiting_batches.len(),
    );
}

fn peg(sheet: &mut Sheet, figures: &Figures) {
    let (reserve, valve) = (&figures.supply.reserve, &figures.info.valve);
    sheet.counter("pegged_in_sat", "Peg-ins claimed since genesis", reserve.pegged_in_sat);
    sheet.counter("pegged_out_sat", "Peg-outs requested since genesis", reserve.pegged_out_sat);
    sheet.counter("burned_sat", "The pegged asset burned without a peg-out since genesis", reserve.burned_sat);
    let removed_sat = reserve.pegged_out_sat.saturating_add(reserve.burned_sat);
    sheet.gauge("supply_sat", "The pegged asset that is about", reserve.pegged_in_sat.saturating_sub(removed_sat));
    sheet.gauge("reserve_sat", "Coins that the federation holds on the parent chain", reserve.coins_sat);
    sheet.gauge("reserve_coins", "Number of those coins", reserve.coins);
    sheet.gauge("reserve_owed_sat", "What those coins must cover", reserve.owed_sat);
    sheet.gauge(
        "reserve_difference_sat",
        "Coins held less what is owed; negative when the reserve is short",
        reserve.difference_sat,
    );
    sheet.gauge("pegouts_waiting_sat", "Requested peg-outs that no batch has paid yet", reserve.pending_pegouts_sat);
    sheet.gauge(
        "pegouts_waiting",
        "Number of peg-outs that wait for the valve or a batch, as far as they are listed",
        valve.waiting.len(),
    );
    sheet.gauge(
        "pegouts_in_flight_sat",
        "Coins spent by batches that are not known to be buried on the parent chain",
        reserve.in_flight_sat,
    );
    sheet.gauge("valve_open", "Whether peg-outs are paid", i64::from(valve.closure.is_none()));
    sheet.gauge("valve_own_halt", "Whether this member itself takes no part", i64::from(valve.own_halt.is_some()));
    sheet.gauge("valve_window_used_sat", "What counts against the limit of the rolling window", valve.counting_sat);
    sheet.gauge("valve_window_limit_sat", "That limit", valve.window_cap_sat);
    let issued = figures.supply.assets.len();
    sheet.gauge("assets", "Assets with a supply that is known, the pegged one included", issued);
}

fn whole(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
