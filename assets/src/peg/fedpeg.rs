//! Where deposits go: the federation script, tweaked by the script whose owner may claim.
//!
//! Every key P of the federation script becomes P + t·G with t = HMAC-SHA256(key = P, message = claim script). So each
//! claim script has an address of its own, which nobody else can claim from, and the members can sign for it with
//! their keys and the claim script alone.
//!
//! A federation script takes deposits in the epoch in which it was in force at the start, and in the epochs after, as
//! many in all as `total_valid_epochs`: see [`Federation`].

use elements::Script;
use elements::hashes::{Hash as _, HashEngine as _, HmacEngine, sha256};
use elements::opcodes::all::{OP_DEPTH, OP_RESERVED};
use elements::script::Builder;
use secp256k1_zkp::{PublicKey, SECP256K1, Scalar};

use super::PegError;
use crate::chain::{ChainParams, Federation, Fedpeg};
use crate::script::Items;

/// The scripts of a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FedpegProgram {
    /// What the spender of the deposit has to satisfy.
    pub witness_script: bitcoin::ScriptBuf,
    /// The deposit's output script.
    pub script_pubkey: bitcoin::ScriptBuf,
    /// With P2SH: the witness program that the spender shows in the script signature.
    pub redeem: Option<bitcoin::ScriptBuf>,
}

/// The scalar that the peg key `pubkey` is tweaked with for a claim script. Whoever signs adds it to the secret key.
///
/// # Errors
/// [`PegError::Tweak`] if the hash is no scalar, which nobody will ever see.
pub fn tweak_scalar(pubkey: &PublicKey, claim_script: &Script) -> Result<Scalar, PegError> {
    let mut engine = HmacEngine::<sha256::HashEngine>::new(&pubkey.serialize());
    engine.input(claim_script.as_bytes());
    let bytes = engine.finalize().to_byte_array();
    Scalar::from_be_bytes(bytes).map_err(|_| PegError::Tweak(pubkey.to_string()))
}

/// The federation script for a claim script: every 33-byte push is a key and is tweaked.
///
/// A script that has been voted for can be anything. As Elements has it (`calculate_contract`), it ends where a push is
/// cut short, pushes are written anew in their form by length, and of an empty push the opcode alone is left.
///
/// # Errors
/// If the script is the old template that begins with `OP_DEPTH` (which is tweaked in part only), or has a 33-byte push
/// that is no key, with which no elementsd goes on.
pub fn tweak_fedpeg(fedpeg_script: &Script, claim_script: &Script) -> Result<bitcoin::ScriptBuf, PegError> {
    if fedpeg_script.as_bytes().first() == Some(&OP_DEPTH.into_u8()) {
        return Err(PegError::FedpegScript);
    }
    let mut tweaked = Vec::new();
    for item in Items::new(fedpeg_script.as_bytes()).map_while(|item| item) {
        match item.data {
            [] => tweaked.push(item.opcode),
            bytes if bytes.len() == 33 => {
                let invalid = || PegError::Tweak(hex::encode(bytes));
                let key = PublicKey::from_slice(bytes).map_err(|_| invalid())?;
                let tweak = tweak_scalar(&key, claim_script)?;
                let key = key.add_exp_tweak(SECP256K1, &tweak).map_err(|_| invalid())?;
                tweaked.extend(push(&key.serialize()));
            }
            bytes => tweaked.extend(push(bytes)),
        }
    }
    Ok(bitcoin::ScriptBuf::from_bytes(tweaked))
}

fn push(bytes: &[u8]) -> Vec<u8> {
    Builder::new().push_slice(bytes).into_script().into_bytes()
}

/// The witness version and program of an output script that is one: a version, and a push of 2 to 40 bytes.
pub(crate) fn witness_program(script: &[u8]) -> Option<(u8, &[u8])> {
    let (version, push) = script.split_first()?;
    let (length, program) = push.split_first()?;
    let version = match *version {
        0 => 0,
        version => version.checked_sub(OP_RESERVED.into_u8()).filter(|version| (1..=16).contains(version))?,
    };
    ((2..=40).contains(length) && program.len() == usize::from(*length)).then_some((version, program))
}

impl Fedpeg {
    /// The program that a deposit for a claim script pays, or `None` if the federation's program is of a later witness
    /// version, when Elements takes any output for a deposit.
    ///
    /// # Errors
    /// As [`tweak_fedpeg`].
    pub fn tweaked(&self, claim_script: &Script) -> Result<Option<FedpegProgram>, PegError> {
        if witness_program(self.program.as_bytes()).is_some_and(|(version, _)| version > 0) {
            return Ok(None);
        }
        let witness_script = tweak_fedpeg(&self.script, claim_script)?;
        let witness_program = witness_script.to_p2wsh();
        Ok(Some(if self.program.is_p2sh() {
            FedpegProgram { witness_script, script_pubkey: witness_program.to_p2sh(), redeem: Some(witness_program) }
        } else {
            FedpegProgram { witness_script, script_pubkey: witness_program, redeem: None }
        }))
    }
}

impl Federation {
    /// The programs a deposit may pay for its claim to stand in a block, newest first, without repetitions.
    ///
    /// # Errors
    /// As [`tweak_fedpeg`].
    pub fn deposit_programs(&self, claim_script: &Script) -> Result<Vec<FedpegProgram>, PegError> {
        let mut programs: Vec<FedpegProgram> = Vec::new();
        for fedpeg in self.fedpegs() {
            match fedpeg.tweaked(claim_script)? {
                Some(program) if !programs.contains(&program) => programs.push(program),
                Some(_) | None => {}
            }
        }
        Ok(programs)
    }
}

fn epoch_at(params: &ChainParams, height: u32) -> u32 {
    height.checked_div(params.epoch_length_blocks).unwrap_or(0)
}

/// The program for a claim script in `epoch`, as long as no vote has changed the federation.
///
/// # Errors
/// As [`tweak_fedpeg`]; [`PegError::FedpegScript`] if the epoch is too far away to have a height.
pub fn fedpeg_program(params: &ChainParams, epoch: u32, claim_script: &Script) -> Result<FedpegProgram, PegError> {
    let start = epoch.checked_mul(params.epoch_length_blocks).ok_or(PegError::FedpegScript)?;
    let programs = deposit_programs(params, start, claim_script)?;
    programs.into_iter().next().ok_or(PegError::FedpegScript)
}

/// The programs a deposit may pay if its claim is to stand in the block at `height`, newest first, without repetitions,
/// as long as no vote has changed the federation. [`Federation::deposit_programs`] knows of votes.
///
/// # Errors
/// As [`tweak_fedpeg`].
pub fn deposit_programs(
    params: &ChainParams,
    height: u32,
    claim_script: &Script,
) -> Result<Vec<FedpegProgram>, PegError> {
    Federation::without_votes(params, height).deposit_programs(claim_script)
}

/// The address to give a depositor while the next block is the one at `height`: that of the current epoch.
///
/// With `start_p2wsh`, an address of epoch 0 can be claimed from only until `total_valid_epochs` epochs have passed; the
/// addresses of later epochs stay good as long as the federation script does.
///
/// # Errors
/// As [`tweak_fedpeg`].
pub fn deposit_address(
    params: &ChainParams,
    height: u32,
    claim_script: &Script,
    network: bitcoin::Network,
) -> Result<bitcoin::Address, PegError> {
    let program = fedpeg_program(params, epoch_at(params, height), claim_script)?;
    bitcoin::Address::from_script(&program.script_pubkey, network).map_err(|error| PegError::Address(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::{key, params, public};

    fn wpkh() -> Script {
        Script::from(hex::decode("0014751e76e8199196d454941c45d1b3a323f1433bd6").unwrap())
    }

    #[test]
    fn the_tweak_is_that_of_elements() {
        // From an elementsd's `tweakfedpegscript`, with the script of these parameters.
        for (claim, tweaked) in [
            (
                Script::from(vec![0x51]),
                "5221036a9d179bdd52665f71813ffc13353a205509123bfac0b19def9083efaf6ad062210327292714e5c9a94a71d149519687295\
                 700b93b241973d9a454fa5ded86a971e42102f5fefe58034b6182aaaf70979362458bfb53ea5296caea6db2466ba59be319aa53ae",
            ),
            (
                wpkh(),
                "522103924b632f1a11d694ef3f78aa23798c78711e8caf52a483cd79702149eca8dbe72102c0bf0e343a505b021b1a4ff8cab5a27\
                 f24f474c5b166f73ee219adab23ace8e42103a25ca3fc07f7e6a7323e7ae7c2907c4744fbeb48064c7c62252c780f3db7850853ae",
            ),
        ] {
            assert_eq!(tweak_fedpeg(&params().fedpeg_script, &claim).unwrap().to_hex_string(), tweaked);
        }
    }

    #[test]
    fn whoever_has_the_key_and_the_claim_script_can_sign() {
        let secret = key(9, 1);
        let tweak = tweak_scalar(&public(&secret), &wpkh()).unwrap();
        let tweaked = public(&secret.add_tweak(&tweak).unwrap());
        let script = tweak_fedpeg(&params().fedpeg_script, &wpkh()).unwrap();
        assert_eq!(script.as_bytes()[2..35], tweaked.serialize());
    }

    #[test]
    fn scripts_whose_keys_cannot_be_tweaked_are_refused() {
        let not_a_key = Builder::new().push_slice(&[5; 33]).into_script();
        assert_eq!(tweak_fedpeg(&not_a_key, &wpkh()), Err(PegError::Tweak("05".repeat(33))));
        let template = Builder::new().push_opcode(OP_DEPTH).into_script();
        assert_eq!(tweak_fedpeg(&template, &wpkh()), Err(PegError::FedpegScript));
        let op_true = Script::from(vec![0x51]);
        assert_eq!(tweak_fedpeg(&op_true, &wpkh()).unwrap().as_bytes(), [0x51], "nothing to tweak");
    }

    #[test]
    fn a_script_with_odd_pushes_is_tweaked_as_elements_does() {
        let odd = |bytes: &[u8]| tweak_fedpeg(&Script::from(bytes.to_vec()), &wpkh()).unwrap().into_bytes();
        assert_eq!(odd(&[0x51, 33, 2, 2]), [0x51], "it ends where a push is cut short");
        assert_eq!(odd(&[0x51, 0x4d, 1]), [0x51]);
        assert_eq!(odd(&[0x4c, 2, 7, 7, 0xac]), [2, 7, 7, 0xac], "pushes are written anew by their length");
        assert_eq!(odd(&[0x4c, 0, 0x4d, 0, 0, 0]), [0x4c, 0x4d, 0], "of an empty push the opcode is left");
    }

    #[test]
    fn programs_of_the_window_are_those_of_elements() {
        // An elementsd with these parameters gives the same forms for the block after each height.
        let params = params();
        let p2sh = "a9146ede6b28f3a86ba6b442b7ab50c250f99b229c4f87";
        let p2wsh = "0020b8b51aee40d64351898a86669c4f93f275a721cdeceac7b171caddb965c344a5";
        for (height, expected) in [
            (1, vec![p2sh]),
            (9, vec![p2sh]),
            (10, vec![p2wsh, p2sh]),
            (19, vec![p2wsh, p2sh]),
            (20, vec![p2wsh]),
            (1000, vec![p2wsh]),
        ] {
            let programs = deposit_programs(&params, height, &Script::from(vec![0x51])).unwrap();
            let scripts: Vec<_> = programs.iter().map(|program| program.script_pubkey.to_hex_string()).collect();
            assert_eq!(scripts, expected, "height {height}");
        }
        let p2sh_only = ChainParams { start_p2wsh: false, ..params };
        for height in [1, 10, 1000] {
            let programs = deposit_programs(&p2sh_only, height, &Script::from(vec![0x51])).unwrap();
            assert_eq!(programs.len(), 1);
            assert_eq!(programs[0].script_pubkey.to_hex_string(), p2sh);
        }
    }

    #[test]
    fn a_longer_window_keeps_the_first_program_longer() {
        let params = ChainParams { total_valid_epochs: 4, ..params() };
        assert_eq!(deposit_programs(&params, 39, &wpkh()).unwrap().len(), 2);
        assert_eq!(deposit_programs(&params, 40, &wpkh()).unwrap().len(), 1);
        let one = ChainParams { total_valid_epochs: 1, ..params };
        assert_eq!(deposit_programs(&one, 10, &wpkh()).unwrap().len(), 1);
    }

    #[test]
    fn addresses_are_of_the_current_epoch() {
        let op_true = Script::from(vec![0x51]);
        let address = |height| deposit_address(&params(), height, &op_true, bitcoin::Network::Regtest).unwrap();
        assert_eq!(address(9).to_string(), "2N3MSmJMpVfio6gcxP4Eu4jF199h75dZy1L");
        let p2wsh = "bcrt1qhz634mjq6ep4rzv2senfcnun7f66wgwdan4v0vt3etwmjewrgjjs64869c";
        assert_eq!(address(10).to_string(), p2wsh);
        let program = fedpeg_program(&params(), 0, &op_true).unwrap();
        assert_eq!(program.redeem.unwrap(), program.witness_script.to_p2wsh());
    }
}
