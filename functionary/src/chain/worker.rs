//! The thread that builds and judges blocks, so that votes never wait for proofs or for bitcoind.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use aquifer_federation::consensus::BlockId;

use super::judge::{Examined, Judge, Verdict};
use super::{Event, WorkDone};
use crate::store::StoreError;

/// What is asked of the worker.
pub(super) enum Job {
    Build { height: u32, round: u32 },
    Judge { height: u32, block: BlockId, body: Vec<u8> },
}

/// What it answers.
#[derive(Debug)]
pub(crate) enum Done {
    Built {
        height: u32,
        round: u32,
        result: Result<Box<Examined>, StoreError>,
    },
    /// Our own block is not proposed: the second opinion does not support it.
    Withheld {
        height: u32,
        reason: String,
    },
    Judged {
        height: u32,
        block: BlockId,
        body: Vec<u8>,
        result: Result<Verdict, StoreError>,
    },
}

/// The worker's end that the chain holds. The thread ends when this is dropped.
pub(super) struct Worker {
    jobs: Sender<Job>,
    _thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(judge: Judge, events: std::sync::mpsc::SyncSender<Event>) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new().name("judge".into()).spawn(move || work(&judge, &queue, &events))?;
        Ok(Worker { jobs, _thread: thread })
    }

    /// Queues a job; `false` if the worker's thread has ended.
    pub(super) fn ask(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }
}

fn work(judge: &Judge, queue: &Receiver<Job>, events: &std::sync::mpsc::SyncSender<Event>) {
    while let Ok(job) = queue.recv() {
        let done = match job {
            Job::Build { height, round } => match judge.build_agreed() {
                Ok(Ok(examined)) => Done::Built { height, round, result: Ok(Box::new(examined)) },
                Ok(Err(reason)) => Done::Withheld { height, reason },
                Err(error) => Done::Built { height, round, result: Err(error) },
            },
            Job::Judge { height, block, body } => {
                let result = judge.judge(block, &body);
                Done::Judged { height, block, body, result }
            }
        };
        if events.send(Event::Work(WorkDone(done))).is_err() {
            return;
        }
    }
}
