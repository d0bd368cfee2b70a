//! What is judged, and what we say of it.

use aquifer_assets::block::check_block_signatures;
use aquifer_assets::primitives::{Block, Transaction};
use bitcoin::hashes::{Hash as _, sha256};
use elements::BlockHash;
use elements::encode::{serialize, serialize_hex};

use super::World;
use crate::forge::ForgeError;

/// What is judged.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A transaction: alone in a block on the tip, and submitted to an empty mempool.
    Transaction(Box<Transaction>),
    /// Bytes of a transaction that we cannot decode.
    Bytes(Vec<u8>),
    /// A block on the tip that nobody has signed yet.
    Proposal(Box<Block>),
    /// A block that should be signed.
    Signed(Box<Block>),
    /// Bytes of a block that we cannot decode.
    BlockBytes(Vec<u8>),
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number under the seed.
    pub number: u64,
    /// What it holds: for a transaction the families of its locks and more, joined by `+`; for a block its family.
    pub kind: String,
    /// What was changed; `none` where all is as it should be.
    pub mutation: &'static str,
    /// What is judged.
    pub subject: Subject,
}

/// Something that is asked about a case.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// May it stand in a block?
    Block,
    /// May it wait for one?
    Mempool,
}

/// What Elements is asked: the method and its arguments in JSON.
pub type Call = (&'static str, Vec<serde_json::Value>);

impl Case {
    /// The first bytes of the hash of what is judged.
    pub fn digest(&self) -> String {
        sha256::Hash::hash(&self.bytes()).to_string().chars().take(8).collect()
    }

    /// What is judged, as on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.subject {
            Subject::Transaction(transaction) => serialize(&**transaction),
            Subject::Bytes(bytes) | Subject::BlockBytes(bytes) => bytes.clone(),
            Subject::Proposal(block) | Subject::Signed(block) => serialize(&**block),
        }
    }

    /// The hash of a block.
    pub fn block_hash(&self) -> Option<BlockHash> {
        match &self.subject {
            Subject::Transaction(_) | Subject::Bytes(_) | Subject::BlockBytes(_) => None,
            Subject::Proposal(block) | Subject::Signed(block) => Some(block.block_hash()),
        }
    }

    /// What is asked about it.
    pub fn questions(&self) -> &'static [Question] {
        match self.subject {
            Subject::Transaction(_) => &[Question::Block, Question::Mempool],
            Subject::Bytes(_) => &[Question::Mempool],
            Subject::Proposal(_) | Subject::Signed(_) | Subject::BlockBytes(_) => &[Question::Block],
        }
    }
}

impl World {
    /// What we say of a case: nothing if it is valid, otherwise the name of the rule.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn verdict(&self, case: &Case, question: Question) -> Result<Option<String>, ForgeError> {
        match (&case.subject, question) {
            (Subject::Bytes(_) | Subject::BlockBytes(_), _) => Ok(Some("malformed".to_owned())),
            (Subject::Transaction(transaction), Question::Mempool) => {
                Ok(self.chain.submit(transaction).err().map(|error| format!("{}: {error}", error.name())))
            }
            (Subject::Transaction(transaction), Question::Block) => self.in_block(&self.alone(transaction)?),
            (Subject::Proposal(block), _) => self.in_block(block),
            (Subject::Signed(block), _) => {
                if let Err(error) = check_block_signatures(&*self.chain.judge.federation()?, &block.header) {
                    return Ok(Some(format!("{}: {error}", error.name())));
                }
                self.in_block(block)
            }
        }
    }

    /// What Elements is asked about it.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn call(&self, case: &Case, question: Question) -> Result<Call, ForgeError> {
        let block = |hex: String| ("testproposedblock", vec![hex.into(), true.into()]);
        Ok(match (&case.subject, question) {
            // No limit on the fee: the limit is for the users of the RPC.
            (Subject::Bytes(_), _) | (Subject::Transaction(_), Question::Mempool) => {
                ("testmempoolaccept", vec![vec![hex::encode(case.bytes())].into(), 0.into()])
            }
            (Subject::Transaction(transaction), Question::Block) => block(serialize_hex(&self.alone(transaction)?)),
            (Subject::Proposal(_) | Subject::BlockBytes(_), _) => block(hex::encode(case.bytes())),
            (Subject::Signed(signed), _) => ("submitblock", vec![serialize_hex(&**signed).into()]),
        })
    }

    fn alone(&self, transaction: &Transaction) -> Result<Block, ForgeError> {
        self.chain.propose(vec![transaction.clone()])
    }

    fn in_block(&self, block: &Block) -> Result<Option<String>, ForgeError> {
        Ok(self.chain.refusal_when_final(block)?.map(|refusal| refusal.to_string()))
    }
}
