//! How long the first look of a wallet with a long history takes, in one run and from one member: through our own backend,
//! which verifies certificates and inclusion of everything, and through Electrum and Waterfalls, which LWK believes.

pub mod cli;
mod history;

use std::path::Path;
use std::time::{Duration, Instant};

use aquifer_wallet::backend::Ledger;
use aquifer_wallet::network::Chain;
use lwk_wollet::blocking::BlockchainBackend;
use lwk_wollet::clients::WaterfallsClientBuilder;
use lwk_wollet::{ElectrumClient, ElectrumUrl, Wollet, WolletBuilder, WolletDescriptor};
use serde::Serialize;

use crate::demo::Teller;
use crate::devnet::{Devnet, DevnetOptions, Served};
use crate::error::HarnessError;
use crate::interfaces::Interfaces;
use crate::lwk::{LwkWallet, look};
use crate::measuring::median;
use crate::turn::Turn;

/// Requests of LWK over Waterfalls at a time. It asks for one transaction after the other otherwise.
const WATERFALLS_REQUESTS: usize = 4;
/// Requests per second that the member grants: the protocols are compared, not the limits.
const GRANTED_PER_SECOND: u32 = 100_000;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Payments that the wallet has received.
    pub payments: u32,
    /// How often each way is measured.
    pub rounds: u32,
    /// Where all randomness comes from.
    pub seed: u64,
}

/// What was measured. Times are medians, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Transactions of the wallet.
    pub transactions: u32,
    /// Blocks of the chain.
    pub height: u32,
    /// Through our backend.
    pub ours_ms: u64,
    /// Through our backend once more, when everything is known.
    pub again_ms: u64,
    /// As LWK does it over Electrum.
    pub electrum_ms: u64,
    /// As LWK does it over Waterfalls.
    pub waterfalls_ms: u64,
    /// The time over Electrum as a multiple of ours.
    pub electrum_ratio: f64,
    /// The time over Waterfalls as a multiple of ours.
    pub waterfalls_ratio: f64,
}

fn failed(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> HarnessError {
    move |error| HarnessError::Story(format!("{what}: {error}"))
}

/// Measures.
///
/// # Errors
/// When the devnet fails, or a way does not show the whole history.
pub fn run(plan: &Plan, teller: &mut Teller) -> Result<Report, HarnessError> {
    let _turn = Turn::take()?;
    teller.chapter("A federation and a wallet with a history");
    teller.step("start it");
    let mut devnet = Devnet::start(DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() })?;
    let member = devnet.member(0)?;
    member.terminate()?;
    member.configure(&format!("http_rate = {GRANTED_PER_SECOND}"))?;
    member.start()?;
    let interfaces = member.interfaces()?;
    devnet.wait_connected()?;
    let chain = devnet.chain()?;
    let saver = LwkWallet::with_seed_of(&devnet.wallet("saver")?, &chain)?;
    let looker = Looker { chain, descriptor: saver.descriptor(), interfaces, payments: plan.payments };
    history::pay(&devnet, &looker.wollet()?, plan.payments, plan.seed, teller)?;

    teller.chapter("The first look");
    let (mut ours, mut again, mut electrum, mut waterfalls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        teller.step(&format!("round {round}: through our own backend"));
        let [first, second] = looker.ours(&devnet.folder()?.join(format!("look-{round}.db")))?;
        ours.push(first);
        again.push(second);
        teller.step(&format!("round {round}: over Electrum"));
        electrum.push(looker.electrum()?);
        teller.step(&format!("round {round}: over Waterfalls"));
        waterfalls.push(looker.waterfalls()?);
    }
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (ours, again) = (median(&mut ours), median(&mut again));
    let (electrum, waterfalls) = (median(&mut electrum), median(&mut waterfalls));
    Ok(Report {
        transactions: plan.payments,
        height: devnet.height()?,
        ours_ms: milliseconds(ours),
        again_ms: milliseconds(again),
        electrum_ms: milliseconds(electrum),
        waterfalls_ms: milliseconds(waterfalls),
        electrum_ratio: electrum.as_secs_f64() / ours.as_secs_f64(),
        waterfalls_ratio: waterfalls.as_secs_f64() / ours.as_secs_f64(),
    })
}

/// Looks at the chain for the first time, again and again.
struct Looker {
    chain: Chain,
    descriptor: WolletDescriptor,
    interfaces: Interfaces,
    payments: u32,
}

impl Looker {
    /// The wallet, which knows nothing yet.
    fn wollet(&self) -> Result<Wollet, HarnessError> {
        let builder = WolletBuilder::new(self.chain.lwk(), self.descriptor.clone());
        builder.build().map_err(|error| failed("make a wallet")(&error))
    }

    fn ours(&self, cache: &Path) -> Result<[Duration; 2], HarnessError> {
        let mut wollet = self.wollet()?;
        let server = self.chain.file().servers.first().map(|server| server.name.clone());
        let ledger = Ledger::new(&self.chain, cache, server.as_deref(), Box::new(|_| {}))?;
        let mut look = || {
            let start = Instant::now();
            ledger.sync(&mut wollet, 0)?;
            Ok::<_, HarnessError>(start.elapsed())
        };
        let times = [look()?, look()?];
        self.check(&wollet)?;
        Ok(times)
    }

    fn electrum(&self) -> Result<Duration, HarnessError> {
        let failed = failed("Electrum");
        let url =
            ElectrumUrl::new(&self.interfaces.electrum.to_string(), false, false).map_err(|error| failed(&error))?;
        self.through(ElectrumClient::new(&url).map_err(|error| failed(&error))?)
    }

    fn waterfalls(&self) -> Result<Duration, HarnessError> {
        let base = format!("http://{}/api", self.interfaces.http);
        let client = WaterfallsClientBuilder::new(&base, self.chain.lwk()).concurrency(WATERFALLS_REQUESTS);
        self.through(client.build_blocking().map_err(|error| failed("Waterfalls")(&error))?)
    }

    fn through(&self, mut backend: impl BlockchainBackend) -> Result<Duration, HarnessError> {
        let mut wollet = self.wollet()?;
        let start = Instant::now();
        look(&mut wollet, &mut backend)?;
        let took = start.elapsed();
        self.check(&wollet)?;
        Ok(took)
    }

    /// Every payment is seen and can be read.
    fn check(&self, wollet: &Wollet) -> Result<(), HarnessError> {
        let failed = failed("read a wallet");
        let transactions = wollet.transactions().map_err(|error| failed(&error))?.len();
        let balance = wollet.balance().map_err(|error| failed(&error))?;
        let balance_sat = balance.get(&self.chain.pegged_asset()).copied().unwrap_or(0);
        if u32::try_from(transactions).ok() == Some(self.payments)
            && balance_sat == u64::from(self.payments) * history::PAID_SAT
        {
            return Ok(());
        }
        Err(HarnessError::Story(format!("the wallet shows {transactions} transactions and {balance_sat} sat")))
    }
}

/// Tells a report to a person.
pub fn tell(teller: &mut Teller, report: &Report) {
    teller.chapter("In numbers");
    teller.fact(&format!("{} transactions, {} blocks", report.transactions, report.height));
    teller.fact(&format!("our own backend: {} ms, and {} ms when all is known", report.ours_ms, report.again_ms));
    teller.fact(&format!("LWK over Electrum: {} ms, {:.2} times as long", report.electrum_ms, report.electrum_ratio));
    teller.fact(&format!(
        "LWK over Waterfalls: {} ms, {:.2} times as long",
        report.waterfalls_ms, report.waterfalls_ratio
    ));
}
