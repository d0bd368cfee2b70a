//! `consensus.db`: the journal of the running height, the bodies of proposed blocks, the vote slots, the decided block.
//!
//! Vote slots outlive the journal. A slot holds one value for ever: signing another one in it is refused here, whatever
//! the engine wants, so that a lost or damaged journal can cost liveness but never a double vote.

use std::path::Path;
use std::sync::Arc;

use aquifer_federation::consensus::{BlockId, Step, VoteSlot};
use aquifer_federation::roster::MemberIndex;
use rusqlite::{OptionalExtension as _, params};

use super::db::{Database, Gate, StoreError, Write, failed, integer, open_reader};

const MIGRATIONS: &[&str] = &["
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    height INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE TABLE votes (
    height INTEGER NOT NULL,
    round INTEGER NOT NULL,
    step INTEGER NOT NULL,
    block BLOB,                       -- NULL: a vote for no block
    PRIMARY KEY (height, round, step)
) WITHOUT ROWID;
CREATE TABLE bodies (
    height INTEGER NOT NULL,
    block BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (height, block)
) WITHOUT ROWID;
CREATE TABLE own_proposals (
    height INTEGER NOT NULL,
    round INTEGER NOT NULL,
    block BLOB NOT NULL,
    PRIMARY KEY (height, round)
) WITHOUT ROWID;
CREATE TABLE decided (
    height INTEGER PRIMARY KEY,
    block BLOB NOT NULL,
    certificate BLOB NOT NULL
);
CREATE TABLE seen (                   -- the latest slot that a member was seen to sign
    member INTEGER PRIMARY KEY,
    height INTEGER NOT NULL,
    round INTEGER NOT NULL,
    step INTEGER NOT NULL
);
"];

/// The journal, bodies and votes of one member.
pub struct ConsensusStore {
    database: Database,
    /// Appended and recorded, not yet durable.
    pending: Vec<Pending>,
}

enum Pending {
    Record { height: u32, record: Vec<u8> },
    Slot { slot: VoteSlot, block: Option<BlockId> },
    Seen { member: MemberIndex, slot: VoteSlot },
}

/// A block that a quorum has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedBlock {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub block: BlockId,
    /// The encoded commit certificate.
    pub certificate: Vec<u8>,
}

impl ConsensusStore {
    /// Opens or makes the file.
    pub fn open(path: &Path, gate: Arc<dyn Gate>) -> Result<Self, StoreError> {
        Ok(ConsensusStore { database: Database::open(path, MIGRATIONS, gate)?, pending: Vec::new() })
    }

    /// Adds a record to the journal; durable after [`ConsensusStore::sync`].
    pub fn append(&mut self, height: u32, record: &[u8]) {
        self.pending.push(Pending::Record { height, record: record.to_vec() });
    }

    /// Gives a vote slot its value; durable after [`ConsensusStore::sync`]. Refuses another value for a taken slot.
    pub fn record_vote(&mut self, slot: VoteSlot, block: Option<BlockId>) -> Result<(), StoreError> {
        let pending = self.pending.iter().find_map(|pending| match pending {
            Pending::Slot { slot: taken, block } if *taken == slot => Some(*block),
            _ => None,
        });
        let taken = match pending {
            Some(block) => Some(block),
            None => self.vote(slot)?,
        };
        match taken {
            None => self.pending.push(Pending::Slot { slot, block }),
            Some(taken) if taken == block => {}
            Some(taken) => {
                return Err(self.database.inconsistent(format!(
                    "refusing to sign twice: {slot:?} was signed for {taken:?}, now wanted for {block:?}"
                )));
            }
        }
        Ok(())
    }

    /// Notes that a member was seen to sign in a slot; written with the next [`ConsensusStore::sync`].
    pub fn note_seen(&mut self, member: MemberIndex, slot: VoteSlot) {
        let known = self.pending.iter_mut().find_map(|pending| match pending {
            Pending::Seen { member: noted, slot } if *noted == member => Some(slot),
            _ => None,
        });
        match known {
            Some(known) => *known = slot.max(*known),
            None => self.pending.push(Pending::Seen { member, slot }),
        }
    }

    /// Makes everything appended and recorded durable.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.database.write(Write::Journal, |transaction| {
            let fail = |error| failed("consensus.db", error);
            for entry in pending {
                match entry {
                    Pending::Record { height, record } => {
                        transaction
                            .prepare_cached("INSERT INTO journal (height, record) VALUES (?1, ?2)")
                            .and_then(|mut insert| insert.execute(params![height, record]))
                            .map_err(fail)?;
                    }
                    Pending::Slot { slot, block } => {
                        transaction
                            .prepare_cached("INSERT INTO votes (height, round, step, block) VALUES (?1, ?2, ?3, ?4)")
                            .and_then(|mut insert| {
                                insert.execute(params![
                                    slot.height,
                                    slot.round,
                                    step_number(slot.step),
                                    block.map(|block| block.0)
                                ])
                            })
                            .map_err(fail)?;
                    }
                    Pending::Seen { member, slot } => {
                        transaction
                            .prepare_cached(
                                "INSERT INTO seen (member, height, round, step) VALUES (?1, ?2, ?3, ?4)
                                 ON CONFLICT (member) DO UPDATE
                                 SET height = excluded.height, round = excluded.round, step = excluded.step
                                 WHERE (excluded.height, excluded.round, excluded.step) > (height, round, step)",
                            )
                            .and_then(|mut insert| {
                                insert.execute(params![member.0, slot.height, slot.round, step_number(slot.step)])
                            })
                            .map_err(fail)?;
                    }
                }
            }
            Ok(())
        })
    }

    fn vote(&self, slot: VoteSlot) -> Result<Option<Option<BlockId>>, StoreError> {
        self.database
            .connection
            .prepare_cached("SELECT block FROM votes WHERE height = ?1 AND round = ?2 AND step = ?3")
            .and_then(|mut select| {
                select
                    .query_row(params![slot.height, slot.round, step_number(slot.step)], |row| {
                        row.get::<_, Option<[u8; 32]>>(0)
                    })
                    .optional()
            })
            .map(|row| row.map(|block| block.map(BlockId)))
            .map_err(|error| self.database.failed(error))
    }

    /// The journal of a height, in order.
    pub fn journal(&self, height: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.database
            .connection
            .prepare("SELECT record FROM journal WHERE height = ?1 ORDER BY sequence")
            .and_then(|mut select| select.query_map([height], |row| row.get(0))?.collect())
            .map_err(|error| self.database.failed(error))
    }

    /// Keeps the body of a proposed block; durable on return.
    pub fn put_body(&mut self, height: u32, block: BlockId, body: &[u8]) -> Result<(), StoreError> {
        self.database.write(Write::Body, |transaction| {
            transaction
                .execute(
                    "INSERT OR IGNORE INTO bodies (height, block, body) VALUES (?1, ?2, ?3)",
                    params![height, block.0, body],
                )
                .map_err(|error| failed("consensus.db", error))?;
            Ok(())
        })
    }

    /// Keeps the body of our own proposal of a round, so that a restart proposes the same again; durable on return.
    pub fn put_own(&mut self, height: u32, round: u32, block: BlockId, body: &[u8]) -> Result<(), StoreError> {
        self.database.write(Write::Body, |transaction| {
            let fail = |error| failed("consensus.db", error);
            transaction
                .execute(
                    "INSERT OR IGNORE INTO bodies (height, block, body) VALUES (?1, ?2, ?3)",
                    params![height, block.0, body],
                )
                .map_err(fail)?;
            transaction
                .execute(
                    "INSERT INTO own_proposals (height, round, block) VALUES (?1, ?2, ?3)",
                    params![height, round, block.0],
                )
                .map_err(fail)?;
            Ok(())
        })
    }

    /// Our own proposal of a round, if one was made.
    pub fn own(&self, height: u32, round: u32) -> Result<Option<BlockId>, StoreError> {
        self.database
            .connection
            .query_row(
                "SELECT block FROM own_proposals WHERE height = ?1 AND round = ?2",
                params![height, round],
                |row| row.get(0),
            )
            .optional()
            .map(|block| block.map(BlockId))
            .map_err(|error| self.database.failed(error))
    }

    /// The body of a proposed block.
    pub fn body(&self, height: u32, block: BlockId) -> Result<Option<Vec<u8>>, StoreError> {
        self.database
            .connection
            .query_row("SELECT body FROM bodies WHERE height = ?1 AND block = ?2", params![height, block.0], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| self.database.failed(error))
    }

    /// Keeps the decision of a height; durable on return. Everything that led to it stays until [`ConsensusStore::prune`].
    pub fn put_decided(&mut self, decided: &DecidedBlock) -> Result<(), StoreError> {
        self.sync()?;
        self.database.write(Write::Decided, |transaction| {
            transaction
                .execute(
                    "INSERT OR IGNORE INTO decided (height, block, certificate) VALUES (?1, ?2, ?3)",
                    params![decided.height, decided.block.0, decided.certificate],
                )
                .map_err(|error| failed("consensus.db", error))?;
            Ok(())
        })
    }

    /// The decision of a height, if there is one.
    pub fn decided(&self, height: u32) -> Result<Option<DecidedBlock>, StoreError> {
        self.database
            .connection
            .query_row("SELECT block, certificate FROM decided WHERE height = ?1", [height], |row| {
                Ok(DecidedBlock { height, block: BlockId(row.get(0)?), certificate: row.get(1)? })
            })
            .optional()
            .map_err(|error| self.database.failed(error))
    }

    /// Forgets journals, bodies and decisions below `height`, which stand in the ledger; the vote slots of the latest
    /// 1,000 heights stay.
    pub fn prune(&mut self, height: u32) -> Result<(), StoreError> {
        self.database.note(|transaction| {
            for table in ["journal", "bodies", "own_proposals", "decided"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE height < ?1"), [height])?;
            }
            transaction.execute("DELETE FROM votes WHERE height < ?1", [integer(height) - 1_000])?;
            Ok(())
        })
    }

    /// The latest slot this member has signed in.
    pub fn highest_vote(&self) -> Result<Option<VoteSlot>, StoreError> {
        self.database
            .connection
            .query_row(
                "SELECT height, round, step FROM votes ORDER BY height DESC, round DESC, step DESC LIMIT 1",
                [],
                slot_of_row,
            )
            .optional()
            .map_err(|error| self.database.failed(error))
    }

    /// The latest slot in which `member` was seen to sign.
    pub fn seen(&self, member: MemberIndex) -> Result<Option<VoteSlot>, StoreError> {
        let stored = self
            .database
            .connection
            .query_row("SELECT height, round, step FROM seen WHERE member = ?1", [member.0], slot_of_row)
            .optional()
            .map_err(|error| self.database.failed(error))?;
        let pending = self.pending.iter().find_map(|pending| match pending {
            Pending::Seen { member: noted, slot } if *noted == member => Some(*slot),
            _ => None,
        });
        Ok(stored.max(pending))
    }
}

fn slot_of_row(row: &rusqlite::Row<'_>) -> Result<VoteSlot, rusqlite::Error> {
    Ok(VoteSlot { height: row.get(0)?, round: row.get(1)?, step: step_of_number(row.get(2)?) })
}

/// The number of a step in the file and on the wire; the order is the order in time.
pub fn step_number(step: Step) -> u8 {
    match step {
        Step::Propose => 0,
        Step::Prevote => 1,
        Step::Precommit => 2,
    }
}

/// The step of a number; what is unknown counts as the last, which is the careful reading.
pub fn step_of_number(number: u32) -> Step {
    match number {
        0 => Step::Propose,
        1 => Step::Prevote,
        _ => Step::Precommit,
    }
}

/// Reads bodies beside the writer, for other members that ask for them.
pub struct BodyReader {
    path: std::path::PathBuf,
}

impl BodyReader {
    /// A reader of a file that [`ConsensusStore::open`] has made.
    pub fn new(path: &Path) -> Self {
        BodyReader { path: path.to_owned() }
    }

    /// The body of a proposed block of the running height.
    pub fn body(&self, height: u32, block: BlockId) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || {
            open_reader(&self.path)?
                .query_row(
                    "SELECT body FROM bodies WHERE height = ?1 AND block = ?2",
                    params![height, block.0],
                    |row| row.get(0),
                )
                .optional()
        };
        read().map_err(|error| failed("consensus.db", error))
    }
}
