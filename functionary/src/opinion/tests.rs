//! A second node that follows, lags, dies and disagrees.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use elements::{BlockExtData, BlockHeader, TxMerkleNode};

use super::*;

/// A chain of empty blocks; whatever is not listed does not exist.
#[derive(Default)]
struct Ours(Mutex<Vec<Block>>);

impl Ours {
    fn extend(&self) -> Block {
        let mut blocks = self.0.lock().unwrap();
        let previous = blocks.last().map_or_else(|| BlockHash::from_byte_array([0; 32]), Block::block_hash);
        let block = block(u32::try_from(blocks.len()).unwrap(), previous);
        blocks.push(block.clone());
        block
    }
}

fn block(height: u32, prev_blockhash: BlockHash) -> Block {
    let ext = BlockExtData::Proof { challenge: elements::Script::new(), solution: elements::Script::new() };
    let merkle_root = TxMerkleNode::from_byte_array([1; 32]);
    Block { header: BlockHeader { version: 4, prev_blockhash, merkle_root, time: 7, height, ext }, txdata: Vec::new() }
}

impl FinalChain for Ours {
    fn height(&self) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.0.lock().unwrap().len()).unwrap() - 1)
    }

    fn block(&self, height: u32) -> Result<Option<(BlockHash, Vec<u8>)>, StoreError> {
        let blocks = self.0.lock().unwrap();
        Ok(blocks.get(usize::try_from(height).unwrap()).map(|block| (block.block_hash(), serialize(block))))
    }
}

#[derive(Default)]
struct Theirs {
    chain: Mutex<Vec<BlockHash>>,
    refuses: Mutex<BTreeMap<BlockHash, String>>,
    down: Mutex<bool>,
}

impl Theirs {
    fn up(&self) -> Result<(), RpcError> {
        if *self.down.lock().unwrap() {
            return Err(RpcError::Starting { program: "elementsd", reason: "Loading block index".to_owned() });
        }
        Ok(())
    }

    fn refusal(&self, bytes: &[u8]) -> (BlockHash, BlockHash, Option<String>) {
        let block = Block::decode(bytes.to_vec()).unwrap();
        let hash = block.block_hash();
        (hash, block.header.prev_blockhash, self.refuses.lock().unwrap().get(&hash).cloned())
    }
}

impl OtherNode for Theirs {
    fn height(&self) -> Result<u32, RpcError> {
        self.up()?;
        Ok(u32::try_from(self.chain.lock().unwrap().len()).unwrap() - 1)
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, RpcError> {
        self.up()?;
        Ok(self.chain.lock().unwrap().get(usize::try_from(height).unwrap()).copied())
    }

    fn submit(&self, block: &[u8]) -> Result<Submitted, RpcError> {
        self.up()?;
        let (hash, previous, refusal) = self.refusal(block);
        if let Some(reason) = refusal {
            return Ok(Submitted::Refused(reason));
        }
        let mut chain = self.chain.lock().unwrap();
        assert_eq!(chain.last(), Some(&previous), "blocks come in order");
        chain.push(hash);
        Ok(Submitted::Taken)
    }

    fn test(&self, block: &[u8]) -> Result<Tested, RpcError> {
        self.up()?;
        let (_, previous, refusal) = self.refusal(block);
        if self.chain.lock().unwrap().last() != Some(&previous) {
            return Ok(Tested::OtherTip);
        }
        Ok(refusal.map_or(Tested::Good, Tested::Bad))
    }
}

struct Story {
    ours: Arc<Ours>,
    theirs: Arc<Theirs>,
    alarms: Arc<Mutex<Vec<String>>>,
    opinion: Arc<Opinion>,
}

impl Story {
    /// Three blocks of ours above the genesis block, which the other node has.
    fn new(policy: Disagreement) -> Self {
        let (ours, theirs) = (Arc::new(Ours::default()), Arc::new(Theirs::default()));
        theirs.chain.lock().unwrap().push(ours.extend().block_hash());
        (0..3).for_each(|_| drop(ours.extend()));
        let alarms = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&alarms);
        let alarm = Box::new(move |text| heard.lock().unwrap().push(text));
        let chain: Arc<dyn FinalChain> = Arc::<Ours>::clone(&ours);
        let opinion = Arc::new(Opinion::new(Arc::<Theirs>::clone(&theirs), chain, policy, alarm));
        Self { ours, theirs, alarms, opinion }
    }

    /// One look of the feeding thread.
    fn feed(&self) {
        if let Err(trouble) = self.opinion.feed() {
            self.opinion.note_trouble(&trouble);
        }
    }

    fn next_proposal(&self) -> Block {
        let height = self.ours.height().unwrap();
        let (hash, _) = self.ours.block(height).unwrap().unwrap();
        block(height + 1, hash)
    }

    fn refuse(&self, block: BlockHash, reason: &str) {
        self.theirs.refuses.lock().unwrap().insert(block, reason.to_owned());
    }
}

#[test]
fn it_is_fed_what_it_lacks_and_then_agrees() {
    let story = Story::new(Disagreement::Abstain);
    assert!(matches!(story.opinion.hold(1), Some(Hold::Waits(_))));
    story.feed();
    assert_eq!(story.opinion.status(), OpinionStatus { follows: Some(3), ..OpinionStatus::default() });
    assert_eq!(story.opinion.hold(3), None);
    assert!(story.opinion.hold(4).is_some());
    assert_eq!(story.opinion.on_proposal(&story.next_proposal()), Ok(()));
    story.ours.extend();
    story.feed();
    assert_eq!(story.opinion.hold(4), None);
    assert!(story.alarms.lock().unwrap().is_empty());
}

#[test]
fn a_vote_waits_for_the_feeding_thread() {
    let story = Story::new(Disagreement::Abstain);
    let feeder = Arc::clone(&story.opinion);
    let thread = std::thread::spawn(move || feeder.feed_until_stopped());
    assert_eq!(story.opinion.on_proposal(&story.next_proposal()), Ok(()));
    story.ours.extend();
    assert_eq!(story.opinion.on_proposal(&story.next_proposal()), Ok(()));
    Feeding { opinion: Arc::clone(&story.opinion), thread }.stop();
}

#[test]
fn without_it_the_member_abstains_or_only_warns() {
    for policy in [Disagreement::Abstain, Disagreement::Warn] {
        let story = Story::new(policy);
        story.feed();
        *story.theirs.down.lock().unwrap() = true;
        story.feed();
        let abstains = policy == Disagreement::Abstain;
        assert_eq!(story.opinion.on_proposal(&story.next_proposal()).is_err(), abstains);
        assert_eq!(story.opinion.hold(2).is_some(), abstains, "what its best chain is now, nobody knows");
        assert!(story.opinion.status().problem.unwrap().contains("Loading block index"));
        assert!(story.alarms.lock().unwrap().is_empty(), "silence is no disagreement");
        *story.theirs.down.lock().unwrap() = false;
        story.feed();
        assert_eq!(story.opinion.on_proposal(&story.next_proposal()), Ok(()));
        assert_eq!(story.opinion.status().problem, None);
    }
}

#[test]
fn a_refused_proposal_is_an_alarm_and_costs_the_vote() {
    for policy in [Disagreement::Abstain, Disagreement::Warn] {
        let story = Story::new(policy);
        story.feed();
        let proposal = story.next_proposal();
        story.refuse(proposal.block_hash(), "bad-txns-in-ne-out");
        for _ in 0..2 {
            let answer = story.opinion.on_proposal(&proposal);
            assert_eq!(answer.is_err(), policy == Disagreement::Abstain);
        }
        let alarms = story.alarms.lock().unwrap();
        assert!(alarms.len() == 1 && alarms.iter().all(|text| text.contains("bad-txns-in-ne-out")), "{alarms:?}");
    }
}

#[test]
fn a_refused_final_block_holds_batches_until_it_is_taken_after_all() {
    let story = Story::new(Disagreement::Abstain);
    story.feed();
    let block = story.ours.extend().block_hash();
    story.refuse(block, "bad-pegin-witness");
    story.feed();
    story.feed();
    assert!(story.opinion.hold(4).unwrap().to_string().contains("bad-pegin-witness"));
    assert_eq!(story.opinion.hold(3), None);
    assert!(story.opinion.on_proposal(&story.next_proposal()).is_err());
    assert_eq!(story.alarms.lock().unwrap().len(), 1);
    story.theirs.refuses.lock().unwrap().clear();
    story.feed();
    assert_eq!(story.opinion.status(), OpinionStatus { follows: Some(4), ..OpinionStatus::default() });
    assert_eq!(story.opinion.hold(4), None);
}

#[test]
fn another_chain_is_told_from_a_disagreement() {
    let story = Story::new(Disagreement::Abstain);
    *story.theirs.chain.lock().unwrap() = vec![BlockHash::from_byte_array([5; 32])];
    story.feed();
    assert!(story.opinion.status().problem.unwrap().contains("elements-conf"));
    assert!(story.alarms.lock().unwrap().is_empty());
    let story = Story::new(Disagreement::Abstain);
    story.theirs.chain.lock().unwrap().push(BlockHash::from_byte_array([5; 32]));
    story.feed();
    assert_eq!(story.alarms.lock().unwrap().len(), 1);
    assert!(story.opinion.hold(1).is_some());
}
