//! The expensive part of judging: scripts and proofs, of one transaction or of all transactions of a block at once.
//!
//! A [`Statement`] is all that this part is a function of. It is made only of a transaction whose form was checked and
//! whose inputs were found, so what is left to say depends neither on the ledger nor on the height, and may be
//! remembered by the statement's key ([`crate::verdicts`]).
//!
//! [`verify`] works in two steps, each over all cores. First the balances, which cost little and refuse what makes money
//! from nothing in plain sight. Then every script and every proof is one entry of one queue. Of several failures in a
//! step, the first in the order of the block, and in the order of the transaction there, is the one reported, so the
//! verdict does not depend on the number of cores.

use elements::Txid;
use rayon::prelude::*;
use secp256k1_zkp::Generator;

use super::TxError;
use super::amounts::{self, ProofCheck};
use super::issuance::Issuance;
use crate::primitives::{Transaction, TxOut};
use crate::script::{SighashData, verify_spend};
use crate::verdicts::{RuleSet, StatementKey, VerdictCache};

/// A transaction and what it spends, of which scripts, proofs and balance have yet to be checked.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(super) rules: RuleSet,
    pub(super) transaction: &'a Transaction,
    pub(super) txid: Txid,
    /// The outputs that it spends, in the order of its inputs; for a peg-in what it counts as.
    pub(super) spent: Vec<TxOut>,
    /// What the inputs issue. Like the txid, it follows from the other fields.
    pub(super) issuances: Vec<Option<Issuance>>,
}

impl<'a> Statement<'a> {
    /// The outputs that the transaction spends, in the order of its inputs.
    pub(crate) fn spent(&self) -> &[TxOut] {
        &self.spent
    }

    fn key(&self) -> StatementKey {
        StatementKey::new(&self.rules, self.transaction, &self.spent)
    }

    /// Checks the balance and gets everything ready for the queue.
    fn prepare(&self) -> Result<Prepared<'_>, TxError> {
        let incoming = amounts::incoming(&self.spent, &self.issuances)?;
        let proofs = amounts::check(self.transaction, &self.issuances, &incoming)?;
        let sighash = SighashData::new(self.transaction, &self.spent, self.rules.genesis());
        Ok(Prepared { inputs: self.transaction.input.len(), sighash, targets: incoming.targets, proofs })
    }
}

/// A statement that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its position in the list that was checked.
    pub(crate) index: usize,
    /// The transaction.
    pub(crate) txid: Txid,
    /// The rule.
    pub(crate) error: TxError,
}

/// What the checks of one transaction share.
struct Prepared<'a> {
    inputs: usize,
    sighash: SighashData<'a>,
    targets: Vec<Generator>,
    proofs: Vec<ProofCheck<'a>>,
}

/// One entry of the queue.
enum Check<'a> {
    Script { vin: usize, sighash: &'a SighashData<'a> },
    Proof { proof: &'a ProofCheck<'a>, targets: &'a [Generator] },
}

impl Prepared<'_> {
    fn checks(&self) -> impl Iterator<Item = Check<'_>> {
        let scripts = (0..self.inputs).map(|vin| Check::Script { vin, sighash: &self.sighash });
        scripts.chain(self.proofs.iter().map(|proof| Check::Proof { proof, targets: &self.targets }))
    }
}

impl Check<'_> {
    fn run(&self) -> Result<(), TxError> {
        match *self {
            Self::Script { vin, sighash } => {
                verify_spend(sighash, vin).map_err(|source| TxError::Script { vin, source })
            }
            Self::Proof { proof, targets } => proof.run(targets),
        }
    }
}

/// Checks balances, scripts and proofs of all statements that `verdicts` does not remember, and has it remember them.
///
/// # Errors
/// The first failure.
pub(crate) fn verify(statements: &[Statement<'_>], verdicts: Option<&dyn VerdictCache>) -> Result<(), Failure> {
    let Some(verdicts) = verdicts else {
        return verify_all(statements.iter().enumerate().collect());
    };
    let keys: Vec<(StatementKey, bool)> = statements
        .par_iter()
        .map(|statement| {
            let key = statement.key();
            (key, verdicts.holds(&key))
        })
        .collect();
    let unknown = statements.iter().enumerate().zip(&keys).filter(|(_, (_, holds))| !holds);
    verify_all(unknown.map(|(numbered, _)| numbered).collect())?;
    keys.into_iter().filter(|(_, holds)| !holds).for_each(|(key, _)| verdicts.remember(key));
    Ok(())
}

fn verify_all(statements: Vec<(usize, &Statement<'_>)>) -> Result<(), Failure> {
    let failure = |at: &(usize, &Statement<'_>), error| Failure { index: at.0, txid: at.1.txid, error };
    // Each is prepared, even when an earlier one fails: the first failure in order counts, not the first in time.
    let prepared: Vec<Result<Prepared<'_>, TxError>> =
        statements.par_iter().map(|(_, statement)| statement.prepare()).collect();
    let prepared = statements
        .iter()
        .zip(prepared)
        .map(|(at, prepared)| prepared.map_err(|error| failure(at, error)))
        .collect::<Result<Vec<_>, _>>()?;
    let queue: Vec<_> = statements
        .iter()
        .zip(&prepared)
        .flat_map(|(at, prepared)| prepared.checks().map(move |check| (at, check)))
        .collect();
    let failed = queue
        .par_iter()
        // A check takes far longer than handing it over.
        .with_max_len(1)
        .find_map_first(|(at, check)| check.run().err().map(|error| failure(at, error)));
    failed.map_or(Ok(()), Err)
}
