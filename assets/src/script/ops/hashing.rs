//! Hashes, at once and, in tapscript, piece by piece.

use bitcoin::hashes::sha256::Midstate;
use bitcoin::hashes::{Hash, HashEngine, hash160, ripemd160, sha1, sha256, sha256d};

use super::super::ScriptError;
use super::super::machine::Machine;
use super::super::opcode::*;

const BLOCK_SIZE: usize = 64;
/// Most bytes that SHA-256 takes: their number in bits has 64 bits.
const MAX_LENGTH: u64 = u64::MAX >> 3;

pub(super) fn execute(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let element = machine.pop()?;
    let hash = match machine.opcode {
        RIPEMD160 => ripemd160::Hash::hash(&element).to_byte_array().to_vec(),
        SHA1 => sha1::Hash::hash(&element).to_byte_array().to_vec(),
        SHA256 => sha256::Hash::hash(&element).to_byte_array().to_vec(),
        HASH160 => hash160::Hash::hash(&element).to_byte_array().to_vec(),
        HASH256 => sha256d::Hash::hash(&element).to_byte_array().to_vec(),
        other => return Err(ScriptError::BadOpcode(other)),
    };
    machine.stack.push(hash);
    Ok(())
}

pub(super) fn execute_streaming(machine: &mut Machine<'_>) -> Result<(), ScriptError> {
    let (mut context, data) = if machine.opcode == SHA256INITIALIZE {
        (Context::new(), machine.pop()?)
    } else {
        let [context, data] = machine.pop_many()?;
        (Context::load(&context).ok_or(ScriptError::Sha2ContextLoad)?, data)
    };
    context.write(&data).ok_or(ScriptError::Sha2ContextWrite)?;
    let result = if machine.opcode == SHA256FINALIZE { context.finalize() } else { Some(context.save()) };
    machine.stack.push(result.ok_or(ScriptError::Sha2ContextWrite)?);
    Ok(())
}

/// SHA-256 stopped on the way: eight words of state in big-endian, the number of bits so far in little-endian, and the
/// bytes that do not fill a block yet.
struct Context {
    state: [u8; 32],
    /// Bytes so far.
    length: u64,
    /// Fewer than a block.
    buffer: Vec<u8>,
}

impl Context {
    fn new() -> Self {
        Self { state: sha256::Hash::engine().midstate().0, length: 0, buffer: Vec::new() }
    }

    fn load(element: &[u8]) -> Option<Self> {
        let (state, rest) = element.split_first_chunk::<32>()?;
        let (bits, buffer) = rest.split_first_chunk::<8>()?;
        let bits = u64::from_le_bytes(*bits);
        let length = bits / 8;
        let whole_bytes = bits % 8 == 0;
        let expected = usize::try_from(length % 64).ok()?;
        (whole_bytes && buffer.len() == expected).then(|| Self { state: *state, length, buffer: buffer.to_vec() })
    }

    fn save(&self) -> Vec<u8> {
        [self.state.as_slice(), &(self.length << 3).to_le_bytes(), &self.buffer].concat()
    }

    /// `None` if there is no room.
    fn write(&mut self, data: &[u8]) -> Option<()> {
        let length = self.length.checked_add(u64::try_from(data.len()).ok()?).filter(|length| *length <= MAX_LENGTH)?;
        let mut engine = self.engine()?;
        let mut pending = std::mem::take(&mut self.buffer);
        pending.extend_from_slice(data);
        let whole = pending.len() / BLOCK_SIZE * BLOCK_SIZE;
        let (blocks, buffer) = pending.split_at_checked(whole)?;
        engine.input(blocks);
        *self = Self { state: engine.midstate().0, length, buffer: buffer.to_vec() };
        Some(())
    }

    fn finalize(&self) -> Option<Vec<u8>> {
        let mut engine = self.engine()?;
        engine.input(&self.buffer);
        Some(sha256::Hash::from_engine(engine).to_byte_array().to_vec())
    }

    /// An engine that has taken the whole blocks so far. `None` where so many bytes cannot be counted.
    fn engine(&self) -> Option<sha256::HashEngine> {
        let whole = usize::try_from(self.length).ok()? / BLOCK_SIZE * BLOCK_SIZE;
        Some(sha256::HashEngine::from_midstate(Midstate(self.state), whole))
    }
}
