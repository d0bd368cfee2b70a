//! The text, the dashboard that reads it, readiness, and the counting of requests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aquifer_federation::valve::{Closure, NoticeKind};
use axum::body::Body;
use axum::http::Request;
use elements::{AssetId, BlockHash};
use tower::ServiceExt as _;

use super::figures::MemberFigures;
use super::*;
use crate::api::{
    ChainInfo, ElementsdState, KeyProof, MemberPosition, MissingProof, Oversight, PeerState, Reserve, Supply,
    ValveState,
};
use crate::audit::AuditorStatus;
use crate::chain::Pace;
use crate::index::IndexProgress;
use crate::opinion::OpinionStatus;

const DASHBOARD: &str = include_str!("../../../dashboard/aquifer.json");

fn info() -> ChainInfo {
    let auditor = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let peer = |name: &str, connected, height| PeerState { name: name.to_owned(), connected, height };
    ChainInfo {
        chain: "devnet".to_owned(),
        genesis: BlockHash::from_byte_array([1; 32]),
        pegged_asset: AssetId::from_byte_array([2; 32]),
        height: 70,
        tip: BlockHash::from_byte_array([3; 32]),
        certificate_key: Vec::new(),
        member: "anna".to_owned(),
        mempool_transactions: 5,
        parent_height: Some(130),
        parent_problem: String::new(),
        alarms: vec!["a coin is gone".to_owned()],
        key_proof: KeyProof::Missing(MissingProof::Probe),
        peers: vec![peer("bo\"ris", true, 71), peer("carla", true, 70), peer("deniz", false, 12)],
        min_fee_rate_sat_per_kvb: 100,
        round: 1,
        oversight: Oversight {
            auditors_required: 1,
            auditors: vec![AuditorStatus { key: auditor, passed: Some(69), objection: None }],
            elementsd: Some(ElementsdState {
                status: OpinionStatus { follows: Some(68), problem: None, disagreement: None },
                only_warns: false,
            }),
            waiting_batches: BTreeMap::from([(70, "the auditor".to_owned())]),
        },
        valve: ValveState {
            closure: Some(Closure::Halted { since_height: 60 }),
            positions: vec![MemberPosition { name: "carla".to_owned(), position: NoticeKind::Halt, changing: false }],
            counting_sat: 700,
            window_cap_sat: 10_000,
            ..ValveState::default()
        },
        index: Some(IndexProgress { height: 70, tip: 70, is_ready: true, remaining_s: None, problem: None }),
    }
}

fn figures() -> Figures {
    Figures {
        info: info(),
        supply: Supply {
            height: 70,
            assets: Vec::new(),
            reserve: Reserve {
                pegged_in_sat: 1_000,
                pegged_out_sat: 300,
                burned_sat: 50,
                coins_sat: 690,
                coins: 2,
                pending_pegouts_sat: 20,
                in_flight_sat: 280,
                owed_sat: 720,
                difference_sat: -30,
            },
        },
        tip_time_s: 1_795_653_296,
        pace: Pace {
            heights: 4,
            extra_rounds: 1,
            deciding: Duration::from_millis(1_500),
            signing: Duration::from_millis(250),
            ..Pace::default()
        },
        members: ["anna", "bo\"ris"]
            .map(|name| MemberFigures {
                name: name.to_owned(),
                proposed: 2,
                signed: 3,
                silent: (name != "anna").then_some(Duration::from_secs(7)),
            })
            .into(),
    }
}

/// The names of the lines, as Prometheus stores them.
fn names(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap()).collect()
}

#[test]
fn the_text_says_what_the_figures_are() {
    let text = text::encode(&figures(), &Requests::default()).unwrap();
    for line in [
        "aquifer_block_height 70",
        "aquifer_block_time_seconds 1795653296",
        "aquifer_blocks_signed_total{member=\"anna\"} 3",
        "aquifer_blocks_proposed_total{member=\"bo\\\"ris\"} 2",
        "aquifer_peer_connected{member=\"deniz\"} 0",
        "aquifer_peer_silent_seconds{member=\"bo\\\"ris\"} 7",
        "aquifer_deciding_seconds_total 1.5",
        "aquifer_supply_sat 650",
        "aquifer_reserve_difference_sat -30",
        "aquifer_pegged_in_sat_total 1000",
        "aquifer_valve_open 0",
        "aquifer_member_halts{member=\"carla\"} 1",
        "aquifer_alarms 1",
        "aquifer_batches_waiting 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(names(&text).iter().all(|name| name.starts_with("aquifer_")), "{text}");
}

#[test]
fn the_dashboard_shows_only_what_is_told() {
    let requests = Requests::default();
    requests.family().get_or_create(&[("interface", "api"), ("status", "2xx")]).inc();
    let text = text::encode(&figures(), &requests).unwrap();
    let told = names(&text);
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(titles.insert(panel["title"].as_str().unwrap()), "two panels have one title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            shown.extend(words.filter(|word| word.starts_with("aquifer_")));
        }
    }
    assert!(shown.len() > 20, "{shown:?}");
    let unknown: Vec<_> = shown.difference(&told).collect();
    assert!(unknown.is_empty(), "the dashboard shows {unknown:?}, which is not in\n{text}");
}

#[test]
fn a_member_is_ready_when_nothing_keeps_it_from_its_work() {
    let info = info();
    let ready = Readiness::of(&info, 3, 60, 200);
    assert!(ready.is_ready());
    let json = "{\"height\":70,\"member\":\"anna\",\"problems\":[],\"ready\":true}\n";
    assert_eq!(ready.json(), json);

    let alone = ChainInfo { peers: info.peers[2..].to_vec(), ..info.clone() };
    let behind = ChainInfo { height: 60, ..info.clone() };
    let parentless = ChainInfo { parent_height: None, parent_problem: "it sleeps".to_owned(), ..info.clone() };
    for (info, age_s, problem) in [
        (&alone, 0, "0 other members are connected; blocks need 3 members"),
        (&behind, 0, "it is at block 60, others are at 71"),
        (&parentless, 0, "bitcoind: it sleeps"),
        (&info, 500, "the last block is 500 seconds old"),
    ] {
        let readiness = Readiness::of(info, 3, 60, age_s);
        assert!(!readiness.is_ready());
        assert!(readiness.json().contains(problem), "{}", readiness.json());
    }
}

#[tokio::test]
async fn requests_are_counted_by_interface_and_status() {
    let requests = Requests::default();
    let places = Router::new()
        .route("/", get(|| async { "home" }))
        .route("/api/block/{hash}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/health", get(health));
    let places = requests.counted(places);
    for place in ["/", "/", "/api/block/aa", "/api/block/bb", "/health", "/nothing/here", "/api/nothing"] {
        let request = Request::get(place).body(Body::empty()).unwrap();
        places.clone().oneshot(request).await.unwrap();
    }
    let text = text::encode(&figures(), &requests).unwrap();
    for (interface, status, count) in
        [("pages", "2xx", 2), ("api", "4xx", 2), ("monitoring", "2xx", 1), ("none", "4xx", 2)]
    {
        let line = format!("aquifer_http_requests_total{{interface=\"{interface}\",status=\"{status}\"}} {count}");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}
