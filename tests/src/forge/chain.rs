//! A chain of a federation, driven by hand: the ledger, the mempool and the judge of one member, and the keys of all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aquifer_assets::block::{BlockError, Template, build_block, check_block_signatures};
use aquifer_assets::primitives::{Block, Transaction};
use aquifer_assets::state::DynafedEntries;
use aquifer_assets::transaction::{TxError, decode, fee_in};
use aquifer_federation::blocksign::{assemble_witness, sign_header};
use aquifer_federation::certificate::{Statement, combine, sign_share};
use aquifer_federation::roster::MemberIndex;
use aquifer_federation::treasury::{BatchPlan, batch_commitment};
use aquifer_functionary::chain::SystemClock;
use aquifer_functionary::chain::body::Body;
use aquifer_functionary::chain::judge::{BadBlock, Examined, Judge, Scrutiny, Verdict};
use aquifer_functionary::chain::parent::{DepthVerdict, ParentChain};
use aquifer_functionary::halt::HaltDesk;
use aquifer_functionary::mempool::{Admission, Mempool, MempoolError};
use aquifer_functionary::store::OpenGate;
use aquifer_functionary::store::ledger::{LedgerReader, LedgerStore};
use elements::encode::serialize;
use elements::{AssetId, Script};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use super::block::{commit_to_witnesses, set_witness};
use super::{Coin, Deposit, DepthTable, ForgeError, Issue, Owner, Pay, Payment};
use crate::founding::Founded;

/// Members of the federation.
const MEMBERS: u16 = 4;
/// Between two blocks, in seconds.
const SPACING_SECONDS: u32 = 60;
/// Fee of the transactions made here, in satoshi.
pub const FEE_SAT: u64 = 1_000;

/// Why a member does not vote for a block, or does not connect it.
#[derive(Debug)]
pub enum Refusal {
    /// A transaction in it breaks a rule.
    Transaction {
        /// Its position in the block; the coinbase has 0.
        position: usize,
        /// The rule.
        reason: TxError,
    },
    /// The block breaks a rule.
    Block(BadBlock),
    /// No verdict now.
    NotNow(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Transaction { position, reason } => write!(f, "{}@{position}: {reason}", reason.name()),
            Refusal::Block(BadBlock::Block(error)) => write!(f, "{}: {error}", error.name()),
            Refusal::Block(error) => error.fmt(f),
            Refusal::NotNow(reason) => f.write_str(reason),
        }
    }
}

fn refusal_in(verdict: Verdict) -> Option<Refusal> {
    match verdict {
        Verdict::Valid(_) => None,
        Verdict::Invalid(BadBlock::Block(BlockError::Transaction { position, source, .. })) => {
            Some(Refusal::Transaction { position, reason: *source })
        }
        Verdict::Invalid(reason) => Some(Refusal::Block(reason)),
        Verdict::NotNow(reason) => Some(Refusal::NotNow(reason)),
    }
}

/// A chain in a temporary folder.
pub struct Chain {
    /// The federation and all its secrets.
    pub founded: Founded,
    /// What Bitcoin says of deposits.
    pub bitcoin: Arc<DepthTable>,
    /// Seeded randomness for everything that is made.
    pub rng: ChaCha20Rng,
    /// The judge of one member.
    pub judge: Judge,
    /// Its ledger's writer.
    pub ledger: LedgerStore,
    deposits: u8,
    _folder: tempfile::TempDir,
}

impl Chain {
    /// A new federation and its chain, at the genesis block.
    ///
    /// # Errors
    /// If the temporary folder cannot be used.
    pub fn new(seed: u64) -> Result<Self, ForgeError> {
        let founded = Founded::new(MEMBERS, &mut ChaCha20Rng::seed_from_u64(seed));
        let founded = founded.map_err(|error| ForgeError::Ceremony(error.to_string()))?;
        // A stream of its own, so that what is made does not depend on how much randomness the ceremony takes.
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let params = Arc::new(founded.federation.params.clone());
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ledger.db");
        let ledger = LedgerStore::open(&path, &params, Arc::new(OpenGate))?;
        let reader = Arc::new(LedgerReader::new(&path));
        let bitcoin = Arc::new(DepthTable::default());
        let parent: Arc<dyn ParentChain> = Arc::<DepthTable>::clone(&bitcoin);
        let judge = Judge {
            mempool: Arc::new(Mempool::new((*params).clone(), Arc::clone(&reader), Arc::clone(&parent))),
            halts: Arc::new(HaltDesk::open(
                &folder.path().join("halt.db"),
                Arc::new(founded.federation.roster.clone()),
                params.genesis_hash().to_byte_array(),
                MemberIndex(0),
                founded.seeds.first().ok_or_else(|| ForgeError::Ceremony("no seed".to_owned()))?.keys().host,
            )?),
            params,
            roster: Arc::new(founded.federation.roster.clone()),
            treasury: Arc::new(founded.federation.treasury.clone()),
            ledger: reader,
            parent,
            clock: Arc::new(SystemClock),
            fee_script: Owner::new(&mut rng).script(),
            opinion: None,
        };
        Ok(Chain { founded, bitcoin, rng, judge, ledger, deposits: 0, _folder: folder })
    }

    /// The pegged asset.
    pub fn pegged(&self) -> AssetId {
        self.judge.params.pegged_asset()
    }

    /// Height of the next block.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn next_height(&self) -> Result<u32, ForgeError> {
        Ok(self.judge.ledger.snapshot()?.tip()?.height.saturating_add(1))
    }

    /// A new deposit, to be claimed in the next block, and deep on Bitcoin.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn deposit(&mut self, owner: Owner, amount_sat: u64) -> Result<Deposit, ForgeError> {
        self.deposits = self.deposits.saturating_add(1);
        let height = self.next_height()?;
        let deposit = Deposit::new(&self.judge.params, height, owner, amount_sat, self.deposits)?;
        self.bitcoin.set(deposit.outpoint(), DepthVerdict::Deep { confirmations: 8 });
        Ok(deposit)
    }

    /// Spends `coins` for `pays` and the usual fee; what is left over must be among the `pays`.
    ///
    /// # Errors
    /// As [`Payment::new`].
    pub fn pay(&mut self, coins: &[Coin], pays: &[Pay]) -> Result<Payment, ForgeError> {
        let fee = (self.pegged(), FEE_SAT);
        Payment::new(&mut self.rng, coins, pays, fee)
    }

    /// The same with an issuance in the first input.
    ///
    /// # Errors
    /// As [`Payment::issuing`].
    pub fn issue(&mut self, coins: &[Coin], issue: &Issue, pays: &[Pay]) -> Result<Payment, ForgeError> {
        let fee = (self.pegged(), FEE_SAT);
        Payment::issuing(&mut self.rng, coins, Some(issue), pays, fee)
    }

    /// Pegs coins in: claims a deposit of each amount plus the fee into a confidential output of `owner`, in one block.
    ///
    /// # Errors
    /// [`ForgeError::Refused`] if the chain does not take it.
    pub fn peg_in(&mut self, owner: Owner, amounts: &[u64]) -> Result<Vec<Coin>, ForgeError> {
        let pegged = self.pegged();
        let mut claims = Vec::new();
        for amount in amounts {
            let deposit = self.deposit(owner, amount.saturating_add(FEE_SAT))?;
            let coin = deposit.coin(&self.judge.params)?;
            claims.push(self.pay(&[coin], &[Pay::confidential(pegged, *amount, owner.script())])?);
        }
        self.extend(claims.iter().map(|claim| claim.transaction.clone()).collect())?;
        claims.iter().map(|claim| claim.coin(0, owner)).collect()
    }

    /// An unsigned block of these transactions on the tip, with every commitment right.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn propose(&self, transactions: Vec<Transaction>) -> Result<Block, ForgeError> {
        self.propose_paying(transactions, None)
    }

    /// The same with a batch that pays peg-outs beside it.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn propose_paying(
        &self,
        transactions: Vec<Transaction>,
        batch: Option<&BatchPlan>,
    ) -> Result<Block, ForgeError> {
        let tip = self.judge.ledger.snapshot()?.tip()?;
        let pegged = self.pegged();
        let fee = transactions.iter().map(|tx| fee_in(tx, pegged)).fold(0, u64::saturating_add);
        let template = Template {
            height: tip.height.saturating_add(1),
            previous: tip.hash,
            dynafed: DynafedEntries { current: self.judge.federation()?.entry(), ..DynafedEntries::default() },
            time: tip.time.saturating_add(SPACING_SECONDS),
            transactions,
            fees: BTreeMap::from([(pegged, fee)]),
            fee_script: self.judge.fee_script.clone(),
            commitments: batch.map(|batch| batch_commitment(&batch.transaction.compute_txid())).into_iter().collect(),
        };
        Ok(build_block(&self.judge.params, template))
    }

    /// The same with another coinbase, every commitment right again.
    ///
    /// # Errors
    /// As [`Chain::propose`].
    pub fn propose_with(
        &self,
        transactions: Vec<Transaction>,
        change: impl FnOnce(&mut Transaction),
    ) -> Result<Block, ForgeError> {
        let mut block = self.propose(transactions)?;
        if let Some(coinbase) = block.txdata.first_mut() {
            change(coinbase);
        }
        commit_to_witnesses(&mut block);
        Ok(block)
    }

    /// What a member says of a block that another proposes.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn judge(&self, block: &Block) -> Result<Verdict, ForgeError> {
        let body = Body { block: block.clone(), batch: None };
        Ok(self.judge.judge(block.block_hash().into(), &body.to_bytes()?)?)
    }

    /// What a member says of a block of these transactions, if it does not vote for it.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn refusal(&self, transactions: Vec<Transaction>) -> Result<Option<Refusal>, ForgeError> {
        Ok(refusal_in(self.judge(&self.propose(transactions)?)?))
    }

    /// What a member that was away says of a block of these transactions, if it does not connect it, although k members
    /// have signed.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn refusal_when_signed(&self, transactions: Vec<Transaction>) -> Result<Option<Refusal>, ForgeError> {
        let (block, _) = self.seal(self.propose(transactions)?)?;
        if let Err(error) = check_block_signatures(&*self.judge.federation()?, &block.header) {
            return Err(ForgeError::Seal { height: block.header.height, reason: error.to_string() });
        }
        self.refusal_when_final(&block)
    }

    /// What a member that was away says of a block, if it does not connect it although it takes the signatures for good.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn refusal_when_final(&self, block: &Block) -> Result<Option<Refusal>, ForgeError> {
        let body = Body { block: block.clone(), batch: None };
        Ok(refusal_in(self.judge.examine(body, Scrutiny::ChainOnly)?))
    }

    /// Submits the bytes of a transaction to a member on the tip in whose mempool nothing waits.
    ///
    /// # Errors
    /// What the mempool says.
    pub fn submit(&self, transaction: &Transaction) -> Result<Admission, MempoolError> {
        let Judge { params, ledger, parent, .. } = &self.judge;
        let mempool = Mempool::new((**params).clone(), Arc::clone(ledger), Arc::clone(parent));
        mempool.submit(decode(serialize(transaction))?)
    }

    /// Adds a block of these transactions: judged, signed and certified by k members, and stored.
    ///
    /// # Errors
    /// [`ForgeError::Refused`] if it is not valid.
    pub fn extend(&mut self, transactions: Vec<Transaction>) -> Result<Block, ForgeError> {
        let block = self.propose(transactions)?;
        let verdict = self.judge(&block)?;
        let (block, certificate) = self.seal(block)?;
        self.store(&block, &certificate, verdict)?;
        Ok(block)
    }

    /// Adds a block that is final, whoever signed it, as a member does that was away.
    ///
    /// # Errors
    /// [`ForgeError::Refused`] if the chain does not allow it.
    pub fn follow(&mut self, block: &Block) -> Result<(), ForgeError> {
        self.follow_paying(block, None)
    }

    /// The same with the batch beside the block.
    ///
    /// # Errors
    /// As [`Chain::follow`].
    pub fn follow_paying(&mut self, block: &Block, batch: Option<&BatchPlan>) -> Result<(), ForgeError> {
        let body = Body { block: block.clone(), batch: batch.map(|batch| batch.transaction.clone()) };
        let verdict = self.judge.examine(body, Scrutiny::ChainOnly)?;
        let (_, certificate) = self.seal(block.clone())?;
        self.store(block, &certificate, verdict)
    }

    fn store(&mut self, block: &Block, certificate: &[u8], verdict: Verdict) -> Result<(), ForgeError> {
        let height = block.header.height;
        let examined = match verdict {
            Verdict::Valid(examined) => examined,
            Verdict::Invalid(reason) => return Err(ForgeError::Refused { height, reason: reason.to_string() }),
            Verdict::NotNow(reason) => return Err(ForgeError::Refused { height, reason }),
        };
        // What was judged, with the header's signatures that came afterwards.
        let body = Body { block: block.clone(), batch: examined.body.batch.clone() };
        let examined = Examined { body, ..*examined };
        self.judge.connect(&mut self.ledger, &examined, certificate)?;
        Ok(())
    }

    /// Signatures of a header by some members, in the order of the roster.
    pub fn header_signatures(&self, block: &Block, members: &[u16]) -> BTreeMap<MemberIndex, Vec<u8>> {
        let signature = |member: &u16| {
            let seed = self.founded.seeds.get(usize::from(*member))?;
            Some((MemberIndex(*member), sign_header(&seed.keys().block, &block.block_hash())))
        };
        members.iter().filter_map(signature).collect()
    }

    /// The script that a header's witness ends with.
    pub fn signblock_script(&self) -> Script {
        self.judge.params.signblock_script.clone()
    }

    /// Signs and certifies a block with the first k members.
    ///
    /// # Errors
    /// [`ForgeError::Seal`] if that is not enough, which would be a defect.
    pub fn seal(&self, mut block: Block) -> Result<(Block, Vec<u8>), ForgeError> {
        let height = block.header.height;
        let federation = &self.founded.federation;
        let members: Vec<u16> = (0..MEMBERS).take(federation.threshold()).collect();
        let signatures = self.header_signatures(&block, &members);
        let witness = assemble_witness(&federation.params, &signatures)
            .ok_or_else(|| ForgeError::Seal { height, reason: "too few header signatures".to_owned() })?;
        let statement = Statement { genesis: federation.params.genesis_hash(), height, block: block.block_hash() };
        let shares = members
            .iter()
            .zip(&self.founded.shares)
            .map(|(member, share)| (MemberIndex(*member), sign_share(share, &statement)))
            .collect();
        let combined = combine(federation, &statement, &shares)
            .map_err(|error| ForgeError::Seal { height, reason: error.to_string() })?;
        set_witness(&mut block, witness);
        Ok((block, combined.certificate.to_bytes().to_vec()))
    }
}
