//! The pages of a member over a devnet on which something of everything has happened.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions, Served};
use reqwest::StatusCode;
use reqwest::blocking::Client;
use reqwest::redirect::Policy;

const DEPOSIT_SAT: u64 = 100_000_000;
const PAID_SAT: u64 = 1_234_500;
const PEGGED_OUT_SAT: u64 = 400_000;

/// Reads pages of one member.
struct Reader {
    client: Client,
    base: String,
}

impl Reader {
    fn get(&self, place: &str) -> (StatusCode, String) {
        let answer = self.client.get(format!("{}{place}", self.base)).send().unwrap();
        let policy = answer.headers().get("content-security-policy").map(|policy| policy.to_str().unwrap().to_owned());
        assert!(place.starts_with("/static") || policy.unwrap().starts_with("default-src 'none'"), "{place}");
        (answer.status(), answer.text().unwrap())
    }

    /// A page that is there and shows all of this.
    fn shows(&self, place: &str, wanted: &[&str]) -> String {
        let (status, text) = self.get(place);
        assert_eq!(status, StatusCode::OK, "{place}: {text}");
        for wanted in wanted {
            assert!(text.contains(wanted), "{place} does not show {wanted:?}:\n{text}");
        }
        text
    }

    /// Where the search leads.
    fn search(&self, name: &str) -> Option<String> {
        let answer = self.client.get(format!("{}/search", self.base)).query(&[("q", name)]).send().unwrap();
        answer.headers().get("location").map(|place| place.to_str().unwrap().to_owned())
    }
}

#[test]
fn pages_show_what_has_happened() -> Result<(), HarnessError> {
    let options = DevnetOptions { served: Served::Everybody, ..DevnetOptions::default() };
    Devnet::play(options, |devnet| {
        let (alice, bob) = (devnet.wallet("alice")?, devnet.wallet("bob")?);
        devnet.fund(&alice, DEPOSIT_SAT)?;
        let pegged = devnet.chain()?.pegged_asset().to_string();
        let address = bob.address()?;
        let payment = alice.send(&address, PAID_SAT, &pegged)?;
        let (issued, issue) = alice.issue("GLD", 1_000, 1)?;
        let destination = devnet.bitcoind().new_address()?.to_string();
        let amount = format!("{PEGGED_OUT_SAT}sat");
        let pegout = alice.run(&["pegout", &destination, &amount, "--no-wait"])?;
        let pegout = pegout.text("txid")?;
        let height = devnet.height()?.saturating_add(1);
        devnet.wait_height(height, std::time::Duration::from_secs(60))?;

        let member = &devnet.members()[0];
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let reader = Reader { client, base: format!("http://{}", member.interfaces()?.http) };
        let (paid, paid_in) = (payment.text("txid")?, payment.number("height")?.to_string());
        reader.shows("/", &["Explorer", "Held on Bitcoin", "4 of 4", "anna: signed"]);
        reader.shows("/blocks", &["genesis", &format!("/block/{paid_in}\"")]);
        let block = reader.shows(&format!("/block/{paid_in}"), &[&paid, "3 of 4", "anna", "coinbase", "Certificate"]);
        let hash = payment.text("block_hash")?;
        assert!(block.contains(&hash));
        reader.shows(&format!("/block/{hash}"), &[&format!("Block {paid_in}")]);
        reader.shows("/block/0", &["Block 0", "Merkle root"]);
        reader.shows(&format!("/tx/{paid}"), &["final in block", "hidden", "fee"]);
        reader.shows(&format!("/tx/{}", issue.text("txid")?), &["issuance", &issued.asset, "reissuance tokens"]);
        reader.shows(&format!("/tx/{pegout}"), &["peg-out", "0.00400000 BTC", &destination]);
        reader.shows(&format!("/address/{address}"), &["Unspent outputs", &paid]);
        reader.shows("/assets", &["the pegged bitcoin", "reissuance token of"]);
        reader.shows(&format!("/asset/{}", issued.asset), &["Issued in", "1000", &issue.text("txid")?]);
        reader.shows(&format!("/asset/{pegged}"), &["Pegged in", "1.00000000 BTC"]);
        reader.shows("/mempool", &["Mempool"]);
        reader.shows("/peg", &["polyline", "The valve", "Peg-outs are paid", &pegout, &destination, "anna"]);
        reader.shows("/operator", &["Member anna", "no alarms", "connected", "this member", "boris"]);
        reader.shows("/static/style.css", &["prefers-color-scheme"]);

        // The link of the wallet opens what the wallet sees, and only that.
        let opened = bob.run(&["tx", &paid, "--unblind"])?.text("unblinding")?;
        let opened = reader.shows(&format!("/tx/{paid}?{opened}"), &["opened by the link", "0.01234500 BTC"]);
        assert!(opened.contains("class=\"hidden\""), "bob does not see what alice keeps: {opened}");
        // What is shown of hidden amounts is checked: the values of the wallet open the output, others do not.
        let wrong = format!("/tx/{paid}?blinded={PAID_SAT},{pegged},{0},{0}", "11".repeat(32));
        assert!(!reader.shows(&wrong, &["has seen them"]).contains("opened by the link"));

        assert_eq!(reader.search(&paid_in), Some(format!("/block/{paid_in}")));
        assert_eq!(reader.search(&hash), Some(format!("/block/{hash}")));
        assert_eq!(reader.search(&paid), Some(format!("/tx/{paid}")));
        assert_eq!(reader.search(&address), Some(format!("/address/{address}")));
        assert_eq!(reader.search(&issued.asset), Some(format!("/asset/{}", issued.asset)));
        assert_eq!(reader.search("<script>alert(1)</script>"), None);
        let (status, text) = reader.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E");
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script>alert"), "{text}");
        for (place, expected) in [
            ("/block/999999", StatusCode::NOT_FOUND),
            ("/block/x", StatusCode::BAD_REQUEST),
            ("/tx/x", StatusCode::BAD_REQUEST),
            ("/address/x", StatusCode::BAD_REQUEST),
            ("/asset/x", StatusCode::BAD_REQUEST),
        ] {
            assert_eq!(reader.get(place).0, expected, "{place}");
        }
        Ok(())
    })
}
