//! The treasury key signs although as many members as may be are silent, or lie, and the script of the members takes over
//! when one more is silent: whole federations of processes, and a real bitcoind that takes what they sign.
//!
//! Silent members and liars are the program with a sabotaged part in signing sessions (`functionary/src/node/sabotage.rs`);
//! they vote, and sign blocks and deposits, as others do. `frost_federation` tells the same of one process, with more ways
//! to lie.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use aquifer_federation::roster::threshold_of;
use aquifer_tests::HarnessError;
use aquifer_tests::devnet::{Devnet, DevnetOptions};
use aquifer_tests::member::Deed;
use aquifer_tests::wait::{self, Answer};
use aquifer_tests::wallet::{Job, Wallet, raw};
use bitcoin::{Address, Transaction, TxIn};

const LIMIT: Duration = Duration::from_secs(180);
const DEPOSIT_SAT: u64 = 80_000_000;
const PEGOUT_SAT: u64 = 3_000_000;
/// Longer than a story: whoever waits so long for the key never signs by script.
const PATIENT_SECONDS: u32 = 3_600;
const IMPATIENT_SECONDS: u32 = 3;

/// How a batch spends a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spend {
    /// A deposit, or change that the key was not trusted with, by `k` signatures.
    Multisig,
    /// A coin of the treasury, by one signature of its key.
    Key,
    /// A coin of the treasury, by `k` signatures of members.
    Script,
}

/// A peg-out that the wallet has asked for.
struct Pegout {
    job: Job,
    address: Address,
}

/// A federation whose treasury key holds its probe.
struct Story<'devnet> {
    devnet: &'devnet mut Devnet,
    alice: Wallet,
    members: usize,
    /// `k`.
    threshold: usize,
}

impl<'devnet> Story<'devnet> {
    fn begin(devnet: &'devnet mut Devnet) -> Result<Self, HarnessError> {
        let alice = devnet.wallet("alice")?;
        devnet.fund(&alice, DEPOSIT_SAT)?;
        let members = devnet.members().len();
        let mut story = Self { devnet, alice, members, threshold: threshold_of(members) };
        let pegout = story.ask()?;
        let spends = story.confirmed(pegout)?;
        assert!(spends.iter().all(|spend| *spend == Spend::Multisig), "{spends:?}");
        Ok(story)
    }

    /// The first of the members, as many as may be silent or lie.
    fn spare(&self) -> Range<usize> {
        0..self.members - self.threshold
    }

    /// Those and one more: without them there is neither a signature of the key nor a spend by script.
    fn needed(&self) -> Range<usize> {
        0..self.members - self.threshold + 1
    }

    fn ask(&self) -> Result<Pegout, HarnessError> {
        let address = self.devnet.bitcoind().new_address()?;
        let job = self.alice.start(&["pegout", &address.to_string(), &raw(PEGOUT_SAT)])?;
        Ok(Pegout { job, address })
    }

    /// Waits until the batch of a peg-out is signed, and confirms it; how it spends its coins.
    fn confirmed(&mut self, pegout: Pegout) -> Result<Vec<Spend>, HarnessError> {
        let txid = self.devnet.wait_parent_mempool(LIMIT)?;
        let bitcoind = self.devnet.bitcoind();
        bitcoind.mine(1)?;
        pegout.job.finish(LIMIT)?;
        let received_sat = bitcoind.received_sat(&pegout.address, 1)?;
        assert!(received_sat > 0 && received_sat < PEGOUT_SAT, "{received_sat} sat arrived");
        let txid = txid.parse().map_err(|_| HarnessError::Story(format!("{txid} is no transaction id")))?;
        let batch: Transaction = bitcoind.transaction(&txid)?;
        batch.input.iter().map(|input| self.spend(input)).collect()
    }

    fn spend(&self, input: &TxIn) -> Result<Spend, HarnessError> {
        let witness: Vec<&[u8]> = input.witness.iter().collect();
        match witness.as_slice() {
            // P2SH: no output of the treasury has a script there.
            _ if !input.script_sig.is_empty() => Ok(Spend::Multisig),
            [signature] if signature.len() == 64 => Ok(Spend::Key),
            [places @ .., _script, _proof] if places.len() == self.members => {
                let signatures = places.iter().filter(|place| place.len() == 64).count();
                assert_eq!(signatures, self.threshold, "{input:?}");
                Ok(Spend::Script)
            }
            _ => Err(HarnessError::Story(format!("an unknown spend: {input:?}"))),
        }
    }

    fn confirmed_by(&mut self, pegout: Pegout, treasury: Spend) -> Result<(), HarnessError> {
        let spends = self.confirmed(pegout)?;
        assert!(spends.contains(&treasury), "{spends:?}");
        assert!(spends.iter().all(|spend| [treasury, Spend::Multisig].contains(spend)), "{spends:?}");
        Ok(())
    }

    /// Members die. When they are back, they do such things in sessions, and give the key so much time.
    fn turn(&mut self, members: Range<usize>, deed: Option<Deed>, seconds: u32) -> Result<(), HarnessError> {
        for member in members {
            let member = self.devnet.member(member)?;
            member.kill9();
            member.wait_for_key(seconds)?;
            member.sabotage(deed);
        }
        Ok(())
    }

    /// What members show their operators, with the number of each.
    fn alarms(&self, of: Range<usize>) -> Result<Vec<(usize, String)>, HarnessError> {
        let mut all = Vec::new();
        let members = self.devnet.members().iter().enumerate();
        for (number, member) in members.filter(|(number, member)| of.contains(number) && member.is_started()) {
            let alarms = member.printed_status()?.list("alarms")?;
            all.extend(alarms.iter().filter_map(|alarm| Some((number, alarm.value().as_str()?.to_owned()))));
        }
        Ok(all)
    }

    /// Members that honest ones name as those who hinder the signing.
    fn named(&self) -> Result<BTreeSet<usize>, HarnessError> {
        let alarms = self.alarms(self.spare().end..self.members)?;
        let named = |(_, alarm): &(usize, String)| {
            let (who, _) = alarm.strip_prefix("member #")?.split_once(" hinders the signing")?;
            who.parse().ok()
        };
        Ok(alarms.iter().filter_map(named).collect())
    }

    /// As many as may be are silent in sessions: the others sign with the key, and take silence for no lie.
    fn silence(&mut self) -> Result<(), HarnessError> {
        self.turn(self.needed(), None, PATIENT_SECONDS)?;
        self.turn(self.spare(), Some(Deed::Silence), PATIENT_SECONDS)?;
        self.devnet.start_all()?;
        let pegout = self.ask()?;
        self.confirmed_by(pegout, Spend::Key)?;
        assert_eq!(self.named()?, BTreeSet::new());
        Ok(())
    }

    /// Bitcoin has shown the key's signature: what the script of the federation still holds goes to the treasury.
    fn trust(&mut self) -> Result<(), HarnessError> {
        self.devnet.wait_key_proven(LIMIT)?;
        let pegout = self.ask()?;
        let spends = self.confirmed(pegout)?;
        assert!(spends.iter().all(|spend| *spend == Spend::Multisig), "{spends:?}");
        Ok(())
    }

    /// As many lie, and as many others are killed, so that there is no session without a liar. All are found out; when those
    /// who were killed are back, the key signs.
    fn lies(&mut self) -> Result<(), HarnessError> {
        let liars = self.spare();
        let killed = self.members - liars.len()..self.members;
        self.turn(liars.clone(), Some(Deed::Lies), PATIENT_SECONDS)?;
        self.devnet.start_all()?;
        for member in killed.clone() {
            self.devnet.member(member)?.kill9();
        }
        let pegout = self.ask()?;
        let liars: BTreeSet<usize> = liars.collect();
        wait::until("all liars are named", LIMIT, || {
            let named = self.named()?;
            Ok(if named == liars { Answer::Ready(()) } else { Answer::NotYet(format!("{named:?}")) })
        })?;
        // Liars are still kept out by those who have heard them.
        for member in killed {
            self.devnet.member(member)?.start()?;
        }
        self.confirmed_by(pegout, Spend::Key)?;
        assert_eq!(self.named()?, liars);
        Ok(())
    }

    /// One more is silent than may be: the script of the members takes over by itself, and operators are told.
    fn too_much_silence(&mut self) -> Result<(), HarnessError> {
        self.turn(0..self.members, None, IMPATIENT_SECONDS)?;
        self.turn(self.needed(), Some(Deed::Silence), IMPATIENT_SECONDS)?;
        self.devnet.start_all()?;
        let pegout = self.ask()?;
        self.confirmed_by(pegout, Spend::Script)?;
        let alarms = self.alarms(0..self.members)?;
        let told = alarms.iter().filter(|(_, alarm)| alarm.contains("the treasury key has not signed"));
        let told: BTreeSet<usize> = told.map(|(member, _)| *member).collect();
        // Whoever signs by script says so.
        assert!(told.len() >= self.threshold, "{alarms:?}");
        Ok(())
    }
}

fn play(members: usize) -> Result<(), HarnessError> {
    Devnet::play(DevnetOptions { members, ..DevnetOptions::default() }, |devnet| {
        let mut story = Story::begin(devnet)?;
        story.silence()?;
        story.trust()?;
        story.lies()?;
        story.too_much_silence()
    })
}

#[test]
fn silence_and_lies_of_one_in_four() -> Result<(), HarnessError> {
    play(4)
}

#[test]
fn silence_and_lies_of_two_in_seven() -> Result<(), HarnessError> {
    play(7)
}

#[test]
fn silence_and_lies_of_four_in_fifteen() -> Result<(), HarnessError> {
    play(15)
}
