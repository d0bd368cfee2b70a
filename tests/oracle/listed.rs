//! Where we are stricter than Elements on purpose.

use aquifer_tests::oracle::Question;

/// What we refuse, and why. In final blocks we refuse nothing that Elements accepts, but for what is listed for blocks.
const STRICTER: [(Question, &str, &str); 4] = [
    (
        Question::Mempool,
        "unreadable",
        "what common libraries cannot read would be invisible to wallets, and nobody needs it",
    ),
    (
        Question::Mempool,
        "pegout-of-wrong-asset",
        "a peg-out of another asset than the pegged one would burn it: nobody can pay it",
    ),
    (Question::Mempool, "blinded-pegout", "a peg-out of a hidden amount would burn it: nobody can pay it"),
    (
        Question::Mempool,
        "pegin-transaction-witness",
        "anybody can change the witness of the parent transaction, which nothing needs",
    ),
];

/// The name under which a refusal of ours is listed.
pub(crate) fn listed(question: Question, ours: &str) -> Option<&'static str> {
    let is_it = |(asked, name, _): &&(Question, &'static str, &str)| *asked == question && ours.starts_with(name);
    STRICTER.iter().find(is_it).map(|(_, name, _)| *name)
}
