//! What it answers.

use std::collections::{BTreeMap, BTreeSet};

use aquifer_assets::primitives::{Block, Transaction};
use aquifer_assets::script::is_unspendable;
use aquifer_functionary::index::{
    AssetTotals, FinalTx, IndexView, Order, ScriptCounts, ScriptHash, Spender, Touch, TouchPlace,
};
use aquifer_tests::forge::{FEE_SAT, ISSUED, Life, PEGGED_OUT_SAT};
use elements::encode::serialize;
use elements::{OutPoint, Script};

use crate::support::caught_up;

/// Everything about scripts and spends, found by looking at every block.
#[derive(Default)]
struct Looked {
    transactions: BTreeMap<FinalKey, Transaction>,
    touches: BTreeMap<Script, Vec<Touch>>,
    spenders: BTreeMap<OutPoint, Spender>,
}

type FinalKey = (u32, u32);

impl Looked {
    fn at(view: &IndexView<'_>) -> Self {
        let mut looked = Self::default();
        let mut scripts: BTreeMap<OutPoint, Script> = BTreeMap::new();
        for height in 0..=view.tip().0 {
            let block = Block::decode(view.ledger().block(height).unwrap().unwrap().block).unwrap();
            for (position, tx) in (0u32..).zip(block.txdata) {
                let transaction = FinalTx { txid: tx.txid(), height, position };
                let spendable = (0u32..).zip(&tx.output).filter(|(_, output)| !is_unspendable(&output.script_pubkey));
                let mut touched = Vec::new();
                for (vout, output) in spendable {
                    scripts.insert(OutPoint::new(transaction.txid, vout), output.script_pubkey.clone());
                    touched.push((output.script_pubkey.clone(), TouchPlace::Output(vout)));
                }
                for (vin, input) in (0u32..).zip(&tx.input).filter(|(_, input)| !input.is_pegin && !input.is_coinbase())
                {
                    touched.push((scripts[&input.previous_output].clone(), TouchPlace::Input(vin)));
                    looked.spenders.insert(input.previous_output, Spender { transaction, vin });
                }
                for (script, place) in touched {
                    looked.touches.entry(script).or_default().push(Touch { transaction, place });
                }
                looked.transactions.insert((height, position), tx);
            }
        }
        looked
    }
}

fn history(touches: &[Touch]) -> Vec<FinalTx> {
    let mut found: Vec<FinalTx> = touches.iter().map(|touch| touch.transaction).collect();
    found.dedup();
    found
}

#[test]
fn histories_spends_and_bytes_are_those_of_the_blocks() {
    let life = Life::new(74).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let follower = caught_up(&life.chain, folder.path());
    let view = follower.reader().view().unwrap();
    let looked = Looked::at(&view);
    assert!(looked.touches.len() >= 3, "Alice, Bob and who takes the fees");

    for ((height, position), tx) in &looked.transactions {
        let place = FinalTx { txid: tx.txid(), height: *height, position: *position };
        assert_eq!(view.transaction(&tx.txid()).unwrap(), Some((place, serialize(tx))));
        for (vout, _) in (0u32..).zip(&tx.output) {
            let outpoint = OutPoint::new(tx.txid(), vout);
            assert_eq!(view.spender(&outpoint).unwrap(), looked.spenders.get(&outpoint).copied());
        }
        let spenders = (0u32..)
            .zip(&tx.output)
            .filter_map(|(vout, _)| Some((vout, *looked.spenders.get(&OutPoint::new(tx.txid(), vout))?)));
        assert_eq!(view.spenders(&tx.txid()).unwrap(), spenders.collect::<Vec<_>>());
    }
    for height in 0..=view.tip().0 {
        let of_block = looked.transactions.range((height, 0)..=(height, u32::MAX)).map(|(_, tx)| tx.txid());
        assert_eq!(view.txids(height).unwrap(), of_block.collect::<Vec<_>>());
    }
    assert!(view.txids(view.tip().0 + 1).unwrap().is_empty());

    for (script, touches) in &looked.touches {
        let hash = ScriptHash::of(script);
        let whole = history(touches);
        let found: BTreeSet<_> =
            view.touches(&hash, 0, 1_000).unwrap().iter().map(|touch| format!("{touch:?}")).collect();
        assert_eq!(found, touches.iter().map(|touch| format!("{touch:?}")).collect());
        let from_3 = whole.iter().filter(|transaction| transaction.height >= 3).copied().collect::<Vec<_>>();
        assert_eq!(history(&view.touches(&hash, 3, 1_000).unwrap()), from_3);
        assert_eq!(history(&view.touches(&hash, 0, 1).unwrap()), whole[..1], "all of the first transaction");

        let mut newest = whole.clone();
        newest.reverse();
        for (order, expected) in [(Order::OldestFirst, whole.clone()), (Order::NewestFirst, newest)] {
            let mut pages = Vec::new();
            while let page = view.history(&hash, order, pages.last().map(|last: &FinalTx| &last.txid), 2).unwrap()
                && !page.is_empty()
            {
                assert!(page.len() <= 2);
                pages.extend(page);
            }
            assert_eq!(pages, expected);
        }
        let funded = touches.iter().filter(|touch| matches!(touch.place, TouchPlace::Output(_))).count();
        let spent = touches.len() - funded;
        let count = |value: usize| u64::try_from(value).unwrap();
        let counts = ScriptCounts { transactions: count(whole.len()), funded: count(funded), spent: count(spent) };
        assert_eq!(view.counts(&hash).unwrap(), counts);

        let unspent = view.unspent(&hash, 1_000).unwrap();
        assert_eq!(unspent.len(), funded - spent);
        for unspent in unspent {
            let outpoint = OutPoint::new(unspent.transaction.txid, unspent.vout);
            assert!(!looked.spenders.contains_key(&outpoint));
            assert_eq!(&unspent.output.script_pubkey, script);
        }
    }
    let nobody = ScriptHash::of(&Script::from(vec![0x51]));
    assert_eq!(view.counts(&nobody).unwrap(), ScriptCounts::default());
    assert!(view.history(&nobody, Order::NewestFirst, None, 10).unwrap().is_empty());
}

#[test]
fn assets_are_counted() {
    let life = Life::new(75).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let follower = caught_up(&life.chain, folder.path());
    let view = follower.reader().view().unwrap();
    let [issued, again, burned] = ISSUED;
    let pegged = life.chain.pegged();
    let gold = AssetTotals {
        transactions: 3,
        issuances: 2,
        issued: issued + again,
        tokens: 1,
        burns: 1,
        burned,
        ..AssetTotals::default()
    };
    assert_eq!(view.asset_totals(&life.gold).unwrap(), Some(gold));
    let token = AssetTotals { transactions: 1, issuances: 1, issued: 1, ..AssetTotals::default() };
    assert_eq!(view.asset_totals(&life.token).unwrap(), Some(token));
    let money = AssetTotals {
        transactions: 3,
        pegins: 2,
        pegged_in_sat: 1_500_000 + 2 * FEE_SAT,
        pegouts: 1,
        pegged_out_sat: PEGGED_OUT_SAT,
        ..AssetTotals::default()
    };
    assert_eq!(view.asset_totals(&pegged).unwrap(), Some(money));
    let assets = view.assets(0, 10).unwrap();
    assert_eq!(
        assets.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&(pegged, None), &(life.gold, None), &(life.token, Some(life.gold)),])
    );
    assert_eq!(view.assets(1, 1).unwrap(), assets[1..2]);

    let oldest = view.asset_history(&life.gold, Order::OldestFirst, None, 10).unwrap();
    assert_eq!(oldest.iter().map(|transaction| transaction.height).collect::<Vec<_>>(), [2, 4, 5]);
    let newest = view.asset_history(&life.gold, Order::NewestFirst, Some(&oldest[2].txid), 1).unwrap();
    assert_eq!(newest, oldest[1..2]);
}

#[test]
fn what_waits_is_seen_beside_the_blocks_and_leaves_with_them() {
    let mut life = Life::new(76).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut follower = caught_up(&life.chain, folder.path());
    let reader = std::sync::Arc::clone(follower.reader());
    let (alice, bob) = (ScriptHash::of(&life.alice.script()), ScriptHash::of(&life.bob.script()));
    let payment = life.payment().unwrap();
    let (txid, spent) = (payment.txid(), payment.input[0].previous_output);
    let mut changes = reader.changes();

    life.chain.judge.mempool.submit(payment.clone()).unwrap();
    follower.step().unwrap();
    let scripts = changes.try_recv().unwrap().scripts.clone();
    assert!(scripts.contains(&alice) && scripts.contains(&bob) && scripts.len() == 2);
    {
        let view = reader.view().unwrap();
        let waiting = view.waiting();
        assert_eq!(waiting.touches(&alice), [(txid, TouchPlace::Input(0))]);
        assert_eq!(waiting.touches(&bob), [(txid, TouchPlace::Output(0))]);
        assert_eq!(waiting.spender(&spent), Some((txid, 0)));
        let found = waiting.get(&txid).unwrap();
        assert_eq!((found.fee_sat, found.spent.len(), waiting.len()), (FEE_SAT, 1, 1));
        assert!(!waiting.depends_on_waiting(found));
        assert_eq!((view.place(&txid).unwrap(), view.spender(&spent).unwrap()), (None, None));
    }
    life.chain.extend(vec![payment]).unwrap();
    // The ledger has it, the mempool has not; as long as the index has not followed, it is still where it was.
    assert_eq!(reader.view().unwrap().waiting().len(), 1);
    follower.step().unwrap();
    assert!(changes.try_recv().unwrap().scripts.contains(&alice));
    let view = reader.view().unwrap();
    assert!(view.waiting().is_empty() && view.waiting().history(&alice).is_empty());
    assert_eq!(view.place(&txid).unwrap().map(|place| place.height), Some(7));
    assert_eq!(view.spender(&spent).unwrap().map(|spender| spender.transaction.txid), Some(txid));
}
