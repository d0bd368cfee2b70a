//! Fuzz input, read as a program: numbers, and changes to bytes that are given.
//!
//! Input that has run out reads as zeros, so every input is a program, and a short one is a simple one.

/// Most changes that one program makes.
const MAX_CHANGES: usize = 8;

/// What is left of an input.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    rest: &'a [u8],
}

impl<'a> Program<'a> {
    /// Reads an input from its start.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes, as far as there are any.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        self.take(self.rest.len())
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.iter_mut().zip(self.take(N)).for_each(|(byte, taken)| *byte = *taken);
        bytes
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// A number of 32 bits.
    pub fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of 64 bits.
    pub fn amount(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One of `choices`, counted from 0; 0 if there are none.
    pub fn choose(&mut self, choices: usize) -> usize {
        let drawn = usize::from(u16::from_le_bytes(self.array()));
        drawn.checked_rem(choices).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        let index = self.choose(from.len());
        from.get(index)
    }

    /// Changes bytes until the program ends: single ones, pieces left out, doubled or taken from `other`.
    pub fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..MAX_CHANGES {
            if self.is_over() {
                return;
            }
            let kind = self.byte() % 8;
            let at = self.choose(bytes.len().saturating_add(1));
            let to = at.saturating_add(self.choose(80)).min(bytes.len());
            match kind {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..to)),
                2 => {
                    let piece = bytes.get(at..to).unwrap_or_default().to_vec();
                    drop(bytes.splice(at..at, piece));
                }
                3 => {
                    let from = self.choose(other.len());
                    let piece: Vec<u8> = other.iter().skip(from).take(to.saturating_sub(at)).copied().collect();
                    drop(bytes.splice(at..to, piece));
                }
                4 => {
                    let length = usize::from(self.byte() % 40);
                    drop(bytes.splice(at..at, self.take(length).iter().copied()));
                }
                _ => {
                    let mask = self.byte();
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
                }
            }
        }
    }
}
