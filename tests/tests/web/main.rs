//! The pages of a member in a browser: every view is reached from the home page by clicks and shows what has happened on the
//! chain, on a screen and on a phone, in light and dark, without a complaint in the console.
//!
//! Pictures of all of it lie in `target/pages/` afterwards, for a person to look at.

#![allow(clippy::panic, clippy::print_stdout, reason = "tests; what is skipped is said")]

mod driver;

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use aquifer_tests::HarnessError;
use aquifer_tests::binaries::target_folder;
use aquifer_tests::chromium::Chromium;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use driver::{Look, Session};
use reqwest::StatusCode;
use reqwest::blocking::Client;

const DEPOSIT_SAT: u64 = 200_000_000;
const PAID_SAT: u64 = 25_000_000;
const PEGOUTS_SAT: [u64; 2] = [10_000_000, 5_000_000];
const ISSUED: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(180);
/// Most pages of blocks that are turned to find one.
const MAX_PAGES: u32 = 50;

const LOOKS: [Look; 4] = [
    Look { name: "screen-light", size: (1280, 800), scheme: "light" },
    Look { name: "screen-dark", size: (1280, 800), scheme: "dark" },
    Look { name: "phone-light", size: (390, 844), scheme: "light" },
    Look { name: "phone-dark", size: (390, 844), scheme: "dark" },
];

/// What happened on the chain.
struct Past {
    pegged: String,
    claim: String,
    payment: String,
    payment_height: u64,
    unblinding: String,
    address: String,
    issuance: String,
    asset: String,
    pegout: String,
    pegout_parent: String,
    waiting: String,
}

fn live(devnet: &mut Devnet) -> Result<Past, HarnessError> {
    let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
    let pegged = devnet.chain()?.pegged_asset().to_string();
    devnet.bitcoind().mine_rewards(2)?;
    let deposit = alice.pegin_address()?;
    devnet.bitcoind().send_to(&aquifer_tests::devnet::parent_address(&deposit)?, DEPOSIT_SAT)?;
    devnet.bitcoind().mine(devnet.chain()?.file().params.pegin_confirmation_depth_blocks)?;
    let claim = alice.claim(&deposit)?.text("txid")?;
    let address = bob.address()?;
    let payment = alice.send(&address, PAID_SAT, &pegged)?;
    let (issued, issuance) = alice.issue("GLD", ISSUED, 1)?;

    // One peg-out is through, one waits.
    let (mut pegouts, mut pegout_parent) = (Vec::new(), String::new());
    for amount_sat in PEGOUTS_SAT {
        let destination = devnet.bitcoind().new_address()?.to_string();
        let requested = bob.run(&["pegout", &destination, &format!("{amount_sat}sat"), "--no-wait"])?;
        pegouts.push(requested.text("txid")?);
        if pegouts.len() == 1 {
            pegout_parent = devnet.wait_parent_mempool(LIMIT)?;
            devnet.bitcoind().mine(2)?;
        }
    }
    let height = devnet.height()?.saturating_add(2);
    devnet.wait_height(height, LIMIT)?;
    let waiting = pegouts.pop().unwrap_or_default();
    let pegout = pegouts.pop().unwrap_or_default();
    Ok(Past {
        claim,
        unblinding: bob.run(&["tx", &payment.text("txid")?, "--unblind"])?.text("unblinding")?,
        payment: payment.text("txid")?,
        payment_height: payment.number("height")?,
        address,
        issuance: issuance.text("txid")?,
        asset: issued.asset,
        pegged,
        pegout,
        pegout_parent,
        waiting,
    })
}

/// The beginning of a hash, as pages show it.
fn shortened(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// The pages, as somebody sees them who began at the home page.
struct Visitor<'a> {
    session: &'a Session<'a>,
    home: String,
    look: Look,
    pictures: PathBuf,
    problems: &'a RefCell<Vec<String>>,
}

impl Visitor<'_> {
    /// Back to the home page, by the name of the site.
    fn go_home(&self) -> Result<(), HarnessError> {
        self.session.follow("/")
    }

    /// Turns the pages of the list of blocks until one is there, and opens it.
    fn open_block(&self, height: u64) -> Result<(), HarnessError> {
        self.go_home()?;
        self.session.follow("/blocks")?;
        let place = format!("/block/{height}");
        for _ in 0..MAX_PAGES {
            if self.session.has(&format!("a[href=\"{place}\"]"))? {
                return self.session.follow(&place);
            }
            self.session.click("a[rel=next]")?;
        }
        Err(HarnessError::Story(format!("block {height} is in no list of blocks")))
    }

    /// The page shows all of this, fits its window, and has nothing to complain of. It is kept as a picture; what is wrong is
    /// told when everything was seen.
    fn sees(&self, view: &str, wanted: &[&str]) -> Result<(), HarnessError> {
        self.session.picture(&self.pictures.join(format!("{view}-{}.png", self.look.name)))?;
        let text = self.session.text()?;
        // Style may show capital letters.
        let shown = text.to_lowercase();
        for wanted in wanted.iter().filter(|wanted| !shown.contains(&wanted.to_lowercase())) {
            self.note(view, &format!("does not show {wanted:?}, but:\n{text}"));
        }
        for complaint in self.session.complaints()? {
            self.note(view, &format!("the console says {complaint}"));
        }
        // Where something is too wide, a phone makes everything smaller.
        let width = self.session.evaluate("Math.max(document.documentElement.scrollWidth, innerWidth)")?;
        if width.as_u64().is_none_or(|width| width > self.look.size.0.into()) {
            self.note(view, &format!("is {width} pixels wide"));
        }
        let red = "Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])";
        let red = self.session.evaluate(red)?;
        let is_dark = red.as_u64().is_some_and(|red| red < 128);
        if is_dark != (self.look.scheme == "dark") {
            self.note(view, &format!("its background has {red} of red"));
        }
        Ok(())
    }

    fn note(&self, view: &str, problem: &str) {
        self.problems.borrow_mut().push(format!("{view}, {}: {problem}", self.look.name));
    }

    fn visit_everything(&self, past: &Past) -> Result<(), HarnessError> {
        let session = self.session;
        session.go(&self.home)?;
        self.sees("home", &["Blocks", "1.85000000 BTC", "Latest blocks"])?;
        session.follow("/blocks")?;
        self.sees("blocks", &["Blocks"])?;

        let tx = |txid: &str| format!("/tx/{txid}");
        self.open_block(past.payment_height)?;
        self.sees("block", &[&format!("Block {}", past.payment_height), "Certificate", "coinbase"])?;
        session.follow(&tx(&past.payment))?;
        self.sees("transaction", &[&past.payment, "hidden", "fee"])?;
        // A link with amounts is only opened when its reader says so: the server would see them.
        session.go(&self.home)?;
        session.go(&format!("{}{}#{}", self.home, tx(&past.payment), past.unblinding))?;
        self.sees("link", &["amounts of hidden outputs"])?;
        session.click("main .notice a")?;
        self.sees("opened", &["has seen them", "0.25000000 BTC", "opened by the link"])?;

        for (view, name, wanted) in [
            ("pegin", &past.claim, vec!["peg-in", "2.00000000 BTC"]),
            ("issuance", &past.issuance, vec!["issuance of", shortened(&past.asset)]),
            ("pegout", &past.pegout, vec!["peg-out", "0.10000000 BTC", &past.pegout_parent]),
            ("pegout-waiting", &past.waiting, vec!["peg-out", "0.05000000 BTC"]),
        ] {
            self.go_home()?;
            session.ask("input[name=q]", name)?;
            session.wait_for(&tx(name))?;
            self.sees(view, &wanted)?;
        }
        self.go_home()?;
        session.ask("input[name=q]", &past.address)?;
        session.wait_for(&format!("/address/{}", past.address))?;
        self.sees("address", &["Unspent outputs"])?;
        session.ask("input[name=q]", "nothing of the kind")?;
        session.wait_for("/search?q=nothing+of+the+kind")?;
        session.complaints()?;
        self.sees("nothing", &["nothing of the kind"])?;

        self.go_home()?;
        session.follow("/mempool")?;
        self.sees("mempool", &["Mempool"])?;
        session.follow("/assets")?;
        self.sees("assets", &["the pegged bitcoin"])?;
        session.follow(&format!("/asset/{}", past.asset))?;
        self.sees("asset", &["1000", shortened(&past.issuance)])?;
        session.follow("/assets")?;
        session.follow(&format!("/asset/{}", past.pegged))?;
        self.sees("pegged-asset", &["2.00000000 BTC"])?;
        session.follow("/peg")?;
        self.sees("peg", &["The valve", "anna", "0.10000000 BTC", "0.05000000 BTC"])?;
        session.follow("/operator")?;
        self.sees("operator", &["Member anna", "boris", "carla", "deniz", "connected"])
    }
}

/// What watches over members finds what it looks for.
fn figures_are_told(home: &str) -> Result<(), HarnessError> {
    let client = Client::builder().no_proxy().build().map_err(|error| HarnessError::Story(error.to_string()))?;
    let get = |place: &str| -> Result<(StatusCode, String), HarnessError> {
        let answer = client.get(format!("{home}{place}")).send();
        answer
            .and_then(|answer| Ok((answer.status(), answer.text()?)))
            .map_err(|error| HarnessError::Story(error.to_string()))
    };
    let (status, text) = get("/health")?;
    assert!(status.is_success() && text.starts_with("{\"alive\":true"), "{status} {text}");
    let (status, text) = get("/ready")?;
    assert!(status.is_success() && text.contains("\"problems\":[]"), "{status} {text}");
    get("/metrics")?;
    let (status, text) = get("/metrics")?;
    assert_eq!(status, StatusCode::OK);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    };
    assert_eq!(value("aquifer_pegged_in_sat_total"), 200_000_000.0);
    assert_eq!(value("aquifer_pegged_out_sat_total"), 15_000_000.0);
    assert_eq!(value("aquifer_supply_sat"), 185_000_000.0);
    assert_eq!(value("aquifer_reserve_difference_sat"), 0.0);
    assert_eq!(value("aquifer_peer_connected{member=\"boris\"}"), 1.0);
    assert_eq!(value("aquifer_parent_healthy"), 1.0);
    assert!(value("aquifer_blocks_proposed_total{member=\"anna\"}") >= 1.0);
    assert!(value("aquifer_heights_agreed_total") >= 5.0);
    assert!(value("aquifer_deciding_seconds_total") > 0.0);
    assert!(value("aquifer_http_requests_total{interface=\"monitoring\",status=\"2xx\"}") >= 3.0);
    Ok(())
}

#[test]
fn every_view_opens_by_clicks_and_looks_right() -> Result<(), HarnessError> {
    let chromium = match Chromium::start() {
        Ok(chromium) => chromium,
        Err(HarnessError::Unobtainable { program, problem }) => {
            println!("SKIPPED: no browser to look at the pages with: {program}: {problem}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let pictures = target_folder()?.join("pages");
    fs::create_dir_all(&pictures).map_err(HarnessError::file("make the folder", &pictures))?;
    let options = DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() };
    Devnet::play(options, |devnet| {
        let past = live(devnet)?;
        let home = format!("http://{}", devnet.member(0)?.interfaces()?.http);
        figures_are_told(&home)?;
        let session = Session::open(&chromium)?;
        let problems = RefCell::default();
        for look in LOOKS {
            session.wear(look)?;
            let (home, pictures) = (home.clone(), pictures.clone());
            Visitor { session: &session, home, look, pictures, problems: &problems }.visit_everything(&past)?;
        }
        let problems = problems.into_inner();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(HarnessError::Story(problems.join("\n"))),
        }
    })
}
